//! A node in this process: the handle, and what it does for a caller.
//!
//! Owns: [`Keystead`] and its commands. Never: a thread or a lock that commands of different callers
//! wait for; a retry of a write whose outcome is not known. Beneath it: `host` (the node), `exchange`
//! (the one door that all callers share), `json`, `update`, `scan`, `command`.
//!
//! INV-EMB4: a write that was handed to the node is not handed to it again by this crate.
//!
//! The futures of this module need no runtime and no timer: the node's own threads end every run by its
//! deadline (`write_timeout_ms`) and wake the caller.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keystead_node::{Access, SyncReport};
use keystead_resp::{Value, encode};
use keystead_types::{DatabaseId, Slot};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub mod blocking;
mod command;
mod exchange;
mod host;
mod json;
mod local;
mod offload;
mod options;
mod park;
mod reply;
mod scan;
mod slot;
#[cfg(test)]
mod stand_in;
mod update;

pub use options::Options;
pub use scan::Scan;

use crate::config::value::Address;
use crate::error::Error;
use exchange::{Exchange, Place};
use host::Host;
use local::Local;
use offload::offload;

/// Longest time to live, milliseconds: far enough from the end of time that no clock reaches it.
pub const TTL_MS_MAX: u64 = 1 << 53;

/// A node in this process, and the way to its data.
///
/// Clones are handles of the same node, for as many tasks and threads as like. All methods that wait are
/// futures that run on any executor, or none ([`blocking`] has the same methods for threads). Writes of
/// concurrent callers share log entries and fsyncs, so many at a time cost little more than one.
///
/// Consistency: every read and write is linearizable, whichever node of the cluster it is called on. A
/// write has returned once a majority of the shard's replicas has it on disk (or, with
/// `durability = "replicated"`, in memory).
///
/// Dropping a future that was polled does not withdraw what it asked for. When the last handle is
/// dropped without [`shutdown`](Self::shutdown), the node stops as if the process had died: nothing that
/// was acknowledged is lost, but the other nodes notice only by its silence.
#[derive(Clone)]
pub struct Keystead {
    inner: Arc<Inner>,
    /// The one that this handle works on.
    database: DatabaseId,
}

struct Inner {
    /// Taken by `drop`.
    host: Option<Box<dyn Host>>,
    exchange: Arc<Exchange>,
}

impl Inner {
    fn host(&self) -> &dyn Host {
        self.host.as_deref().expect("only `drop` takes it")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Ended on a thread outside any runtime: there it waits until the node's threads are gone and the
        // data directory is free for the next start, which a thread of a runtime could not.
        let host = self.host.take();
        let ending = std::thread::Builder::new().name("keystead-drop".into()).spawn(|| drop(host));
        if let Ok(ending) = ending
            && ending.join().is_err()
        {
            tracing::error!("a node that was dropped panicked while it stopped");
        }
    }
}

impl std::fmt::Debug for Keystead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keystead").field("exchange", &self.inner.exchange).finish_non_exhaustive()
    }
}

impl Keystead {
    /// Starts a node in this process and returns a handle of it.
    ///
    /// Reads its data directory first, at some hundred MB/s, then founds a cluster of one, goes on as the
    /// member it was, or begins to join ([`ready`](Self::ready) waits until that has succeeded). A data
    /// directory belongs to one node at a time; a second start is refused.
    ///
    /// The node runs on threads of its own and ends with the last handle. If its log cannot be written
    /// any more it ends the process, because nothing it could still say would be true.
    ///
    /// # Errors
    /// `Invalid` for settings that do not go together, `Corrupt` for a data directory that cannot be
    /// trusted (the message names file, place and remedy), `Conflict` for one of another cluster than the
    /// one to join, `Unavailable` if an address is taken.
    ///
    /// ```
    /// use keystead::{Keystead, Options};
    ///
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let data = directory.path();
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let store = Keystead::start(Options::new(data)).await?;
    /// store.put("greeting", &"hello").await?;
    /// store.shutdown().await?;
    /// # Ok::<(), keystead::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn start(options: impl Into<Options>) -> Result<Self, Error> {
        let options = options.into();
        let local = offload("keystead-start", move || Local::start(options)).await??;
        Ok(Self::over(Box::new(local)))
    }

    /// Waits until this node knows a leader of every shard, at most `patience`.
    ///
    /// Not needed on a cluster of one, whose calls wait by themselves. After a start that joins, and
    /// before that has succeeded, all others fail with `Unavailable`.
    ///
    /// # Errors
    /// `Unavailable` if there was none in time.
    pub async fn ready(&self, patience: Duration) -> Result<(), Error> {
        self.offloaded("keystead-ready", move |host| host.ready(patience)).await
    }

    /// Where Redis clients reach this node, if it serves them.
    #[must_use]
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.inner.host().client_address()
    }

    /// Where other nodes reach this one, `HOST:PORT`: what they are given to join.
    #[must_use]
    pub fn peer_address(&self) -> String {
        self.inner.host().peer_address()
    }

    /// A handle of a node that runs.
    pub(crate) fn over(host: Box<dyn Host>) -> Self {
        let exchange = Exchange::open(&*host);
        let inner = Arc::new(Inner { host: Some(host), exchange });
        Self { inner, database: DatabaseId::FIRST }
    }

    /// Returns a handle of the same node that works on the database of this number, as SELECT makes a connection do.
    /// A handle begins with database 0. Costs as much as a clone.
    ///
    /// # Errors
    /// `Invalid` if the setting `databases` says that there are not so many.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let options = keystead::Options::new(directory.path());
    /// # let options = options.configure(|config| config.segment_bytes = 1 << 20);
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let store = keystead::Keystead::start(options).await?;
    /// let drafts = store.database(3)?;
    /// drafts.put("page", &"not yet").await?;
    /// assert!(!store.exists("page").await?);
    /// # Ok::<(), keystead::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn database(&self, number: u16) -> Result<Self, Error> {
        let databases = self.inner.host().databases();
        if number >= databases {
            return Err(Error::NoDatabase { number, databases });
        }
        Ok(Self { inner: Arc::clone(&self.inner), database: DatabaseId(number) })
    }

    /// Stores `value` as JSON under `key`, whatever was there before, and returns once it is kept.
    ///
    /// The key then has no time to live. Redis clients read the JSON text with `GET`.
    ///
    /// # Errors
    /// [`Kind::Unknown`](crate::Kind::Unknown) if leadership or the deadline was lost after the write had
    /// gone out: it may have happened, or may yet; read before you repeat it. `Invalid` if the value has
    /// no JSON form, `Unavailable`, `Overloaded` or `Closed` if nothing happened; see [`Error::kind`].
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let options = keystead::Options::new(directory.path());
    /// # let options = options.configure(|config| config.segment_bytes = 1 << 20);
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let store = keystead::Keystead::start(options).await?;
    /// store.put("user1", &serde_json::json!({"name": "Alice", "age": 30})).await?;
    /// # Ok::<(), keystead::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn put<T>(&self, key: impl AsRef<[u8]>, value: &T) -> Result<(), Error>
    where
        T: Serialize + ?Sized,
    {
        let text = json::encode(value)?;
        self.put_bytes(key, text).await
    }

    /// Stores `value` as [`put`](Self::put) does, for `ttl` only.
    ///
    /// `ttl` counts whole milliseconds, from 1 ms to [`TTL_MS_MAX`], from the moment at which the
    /// shard's leader proposes the write. After that the key is absent for everybody at once.
    ///
    /// # Errors
    /// Those of [`put`](Self::put); `Invalid` if `ttl` is shorter than 1 ms or longer than the maximum.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let options = keystead::Options::new(directory.path());
    /// # let options = options.configure(|config| config.segment_bytes = 1 << 20);
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let store = keystead::Keystead::start(options).await?;
    /// use std::time::Duration;
    /// store.put_with_ttl("session:9", &"open", Duration::from_secs(1800)).await?;
    /// # Ok::<(), keystead::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn put_with_ttl<T>(
        &self,
        key: impl AsRef<[u8]>,
        value: &T,
        ttl: Duration,
    ) -> Result<(), Error>
    where
        T: Serialize + ?Sized,
    {
        let ttl_ms = match u64::try_from(ttl.as_millis()) {
            Ok(ttl_ms @ 1..=TTL_MS_MAX) => ttl_ms.to_string(),
            _ => {
                let (ttl_ms, ttl_ms_max) = (ttl.as_millis(), TTL_MS_MAX);
                return Err(Error::TimeToLive { ttl_ms, ttl_ms_max });
            }
        };
        let (key, text) = (key.as_ref(), json::encode(value)?);
        self.set(key, &[b"SET", key, &text, b"PX", ttl_ms.as_bytes()]).await
    }

    /// Stores `value` under `key` as it is, whatever was there before, and returns once it is kept.
    ///
    /// # Errors
    /// Those of [`put`](Self::put), but for the JSON.
    pub async fn put_bytes(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let key = key.as_ref();
        self.set(key, &[b"SET", key, value.as_ref()]).await
    }

    /// Returns the value under `key`, or `None` if there is none.
    ///
    /// Linearizable: it is at least as new as every write that had returned, anywhere, when this was
    /// called. Answered from memory without a wait if this node leads the key's shard, else by the
    /// leader.
    ///
    /// # Errors
    /// `Corrupt` if the text is not the JSON of a `T`, `Invalid` if the key holds no string,
    /// `Unavailable` if the shard has no leader in time. A read never changes anything.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let options = keystead::Options::new(directory.path());
    /// # let options = options.configure(|config| config.segment_bytes = 1 << 20);
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let store = keystead::Keystead::start(options).await?;
    /// store.put("visits", &41).await?;
    /// assert_eq!(store.get::<u32>("visits").await?, Some(41));
    /// assert_eq!(store.get::<u32>("nobody").await?, None);
    /// # Ok::<(), keystead::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn get<T: DeserializeOwned>(
        &self,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<T>, Error> {
        let key = key.as_ref();
        let local = json::with_scratch(|scratch| {
            // Decoded behind the shard's lock, not under it: `T` may run any code.
            let found =
                self.look_at(key, |value| value.map(|text| scratch.extend_from_slice(text)));
            Some(found?.map(|()| json::decode(scratch)).transpose())
        });
        match local {
            Some(result) => result,
            None => self.fetch(key).await?.as_deref().map(json::decode).transpose(),
        }
    }

    /// Returns the bytes under `key`, or `None` if there are none. As [`get`](Self::get) otherwise.
    ///
    /// # Errors
    /// Those of [`get`](Self::get), but for the JSON.
    pub async fn get_bytes(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        let key = key.as_ref();
        match self.look_at(key, |value| value.map(<[u8]>::to_vec)) {
            Some(found) => Ok(found),
            None => self.fetch(key).await,
        }
    }

    /// Returns what `look` makes of the bytes under `key`: the fastest way to read, because nothing is
    /// copied or allocated if this node leads the key's shard.
    ///
    /// `look` then runs under the shard's shared lock: keep it to some microseconds, and do not use
    /// a handle of this node in it, which could wait for that very lock. Consistency is that of
    /// [`get`](Self::get).
    ///
    /// # Errors
    /// Those of [`get_bytes`](Self::get_bytes).
    ///
    /// # Panics
    /// Only if `look` does.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let options = keystead::Options::new(directory.path());
    /// # let options = options.configure(|config| config.segment_bytes = 1 << 20);
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let store = keystead::Keystead::start(options).await?;
    /// store.put_bytes("raw", b"four").await?;
    /// let length = store.get_with("raw", |bytes| bytes.map_or(0, <[u8]>::len)).await?;
    /// assert_eq!(length, 4);
    /// # Ok::<(), keystead::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn get_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        look: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Error> {
        let (key, mut look) = (key.as_ref(), Some(look));
        let mut look_once = |value: Option<&[u8]>| look.take().map(|look| look(value));
        if let Some(Some(seen)) = self.look_at(key, &mut look_once) {
            return Ok(seen);
        }
        let value = self.fetch(key).await?;
        Ok(look_once(value.as_deref()).expect("a host that answers false has not looked"))
    }

    /// Replaces the value under `key` by what `change` makes of it, and returns what is then there.
    ///
    /// Atomic against every other client of the cluster: between the value that `change` was given and
    /// the one that it returned nobody else wrote. It works by comparing and setting, so **`change` may
    /// run several times**, each time with the value of that moment: it should do nothing but compute.
    ///
    /// `change` is given `None` if there is no value. It returns the new value, or an `Option` of it:
    /// `None` then removes the key, or leaves it absent. A time to live stays as it was.
    ///
    /// # Errors
    /// Those of [`get`](Self::get) and [`put`](Self::put); `Conflict` if others changed the key between
    /// reading and writing more than a thousand times in a row, which leaves no trace of this update.
    /// After `Unknown` the change may have been made once, never more often.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let options = keystead::Options::new(directory.path());
    /// # let options = options.configure(|config| config.segment_bytes = 1 << 20);
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let store = keystead::Keystead::start(options).await?;
    /// let visits = store.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1).await?;
    /// assert_eq!(visits, Some(1));
    /// let gone = store.update("visits", |_: Option<u32>| None).await?;
    /// assert_eq!(gone, None);
    /// assert!(!store.exists("visits").await?);
    /// # Ok::<(), keystead::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn update<T, R>(
        &self,
        key: impl AsRef<[u8]>,
        change: impl FnMut(Option<T>) -> R,
    ) -> Result<Option<T>, Error>
    where
        T: Serialize + DeserializeOwned,
        R: Into<Option<T>>,
    {
        self.update_by(key.as_ref(), change).await
    }

    /// Removes `key`, whatever it holds, and returns whether there was something.
    ///
    /// # Errors
    /// Those of [`put`](Self::put), but for the JSON.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let key = key.as_ref();
        let reply = self.run(place_of(key), Access::Write, &[b"DEL", key]).await?;
        Ok(reply::count(&reply)? > 0)
    }

    /// Returns whether there is something under `key`, of whatever type. As [`get`](Self::get) otherwise.
    ///
    /// # Errors
    /// `Unavailable` if the shard has no leader in time, `Closed` after a shutdown.
    pub async fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let key = key.as_ref();
        if let Some(is_there) = self.look_at(key, |value| value.is_some()) {
            return Ok(is_there);
        }
        let reply = self.run(place_of(key), Access::Read, &[b"EXISTS", key]).await?;
        Ok(reply::count(&reply)? > 0)
    }

    /// Returns a walk over all keys that begin with `prefix`; an empty one walks over all keys.
    ///
    /// It looks at every key of the cluster, page by page; see [`Scan`] for what it promises.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let options = keystead::Options::new(directory.path());
    /// # let options = options.configure(|config| config.segment_bytes = 1 << 20);
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let store = keystead::Keystead::start(options).await?;
    /// store.put("user:1", &"Alice").await?;
    /// store.put("user:2", &"Bob").await?;
    /// store.put("order:1", &"tea").await?;
    /// let mut users = store.scan("user:");
    /// let mut count = 0;
    /// while let Some(key) = users.next().await? {
    ///     assert!(key.starts_with(b"user:"));
    ///     count += 1;
    /// }
    /// assert_eq!(count, 2);
    /// # Ok::<(), keystead::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn scan(&self, prefix: impl AsRef<[u8]>) -> Scan {
        Scan::new(self.clone(), scan::pattern_of_prefix(prefix.as_ref()))
    }

    /// Returns a walk over all keys that match a glob pattern as Redis knows it: `*`, `?`, `[a-c]`,
    /// `[^x]`, and `\` before a byte that stands for itself.
    #[must_use]
    pub fn scan_matching(&self, pattern: impl AsRef<[u8]>) -> Scan {
        Scan::new(self.clone(), pattern.as_ref().to_vec())
    }

    /// Executes any command on keys, its name first, and returns its reply in the forms of RESP3.
    ///
    /// Commands that only read are answered from memory where possible, as [`get`](Self::get) is. Several
    /// keys must lie in one shard (give them a common `{tag}`). `DBSIZE`, `FLUSHALL`, `KEYS`, `RANDOMKEY`, `SCAN`
    /// and `SWAPDB` go through all shards, as of no single moment. Nothing waits here: `BLPOP` and its like answer at once, as
    /// within a transaction. Commands of connections (`MULTI`,
    /// `CLIENT`, ...) and of the server (`INFO`) are refused; there is no connection.
    ///
    /// # Errors
    /// `Invalid` with the text that a Redis client would get, for example for a wrong number of arguments
    /// or a value of another type; else those of [`get`](Self::get) and [`put`](Self::put).
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let options = keystead::Options::new(directory.path());
    /// # let options = options.configure(|config| config.segment_bytes = 1 << 20);
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let store = keystead::Keystead::start(options).await?;
    /// use keystead::Value;
    /// store.command(&["SET", "greeting", "hello"]).await?;
    /// assert_eq!(store.command(&["GET", "greeting"]).await?, Value::Bulk(b"hello".to_vec()));
    /// assert_eq!(store.command(&["DEL", "greeting"]).await?, Value::Integer(1));
    /// # Ok::<(), keystead::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn command(&self, words: &[impl AsRef<[u8]>]) -> Result<Value, Error> {
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        self.command_of(&words).await
    }

    /// Waits until every replica of every shard has all that was acknowledged before the call, proves that
    /// they are equal by digests taken at one index of each shard's log, and returns these.
    ///
    /// Takes at most about `patience`. Writes may go on meanwhile. Each replica walks over its keys once
    /// (some ten million keys a second), so this is for after a repair, not for every write.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// `Unavailable` if a replica was missing or behind in time; the message names its shard. `Corrupt` if
    /// two replicas differ where they must be equal.
    pub async fn sync(&self, patience: Duration) -> Result<SyncReport, Error> {
        self.offloaded("keystead-sync", move |host| host.sync(patience)).await
    }

    /// Joins this node to the cluster that the node at `address` (`HOST:PORT`, where it answers nodes)
    /// belongs to, and returns once it takes part, at most after `patience`.
    ///
    /// Everything else follows by itself: replicas come here until the load is even. Calls under way end
    /// first; Redis clients of this node lose their connection and find the cluster when they come back.
    /// A node joins once; one that knows at its start which cluster to join is given
    /// [`Options::join`] instead, with which it founds nothing before.
    ///
    /// # Errors
    /// `Conflict` if this node has keys of its own, which joining would lose, or is one of several
    /// nodes already; then it goes on as before, and the message says how to bring keys along. `Invalid` if
    /// `address` is not `HOST:PORT`. `Unavailable` if the node does not take part in time; it goes on
    /// trying, and [`ready`](Self::ready) waits for that.
    pub async fn connect(&self, address: impl AsRef<str>, patience: Duration) -> Result<(), Error> {
        let address: Address = address.as_ref().parse()?;
        let inner = Arc::clone(&self.inner);
        let joined = offload("keystead-join", move || {
            let before = inner.host().incarnation();
            let joined = inner.host().connect(address, patience);
            if inner.host().incarnation() != before {
                inner.exchange.reopen(inner.host());
            }
            joined
        });
        joined.await?
    }

    /// Stops the node: refuses new calls, ends those under way, hands its shards over, closes the log.
    ///
    /// Other handles of the node answer `Closed` from then on. Dropping the future does not stop the
    /// stop. A second call waits for the same.
    ///
    /// # Errors
    /// What went wrong while stopping; the node is stopped nonetheless, and nothing that was
    /// acknowledged is lost.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.inner.exchange.refuse();
        let inner = Arc::clone(&self.inner);
        let stopped = offload("keystead-stop", move || {
            let stopped = inner.host().shutdown();
            inner.exchange.close();
            stopped
        });
        stopped.await?
    }

    /// Runs a call that blocks, on a thread of its own.
    async fn offloaded<T: Send + 'static>(
        &self,
        name: &'static str,
        call: impl FnOnce(&dyn Host) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        offload(name, move || call(inner.host())).await?
    }

    /// What `look` sees under `key`; `None` if this node may not say, or the key holds no string.
    fn look_at<R>(&self, key: &[u8], look: impl FnOnce(Option<&[u8]>) -> R) -> Option<R> {
        let (mut look, mut seen) = (Some(look), None);
        let key = (self.database, key);
        self.inner.host().look_at(key, &mut |value| seen = look.take().map(|look| look(value)));
        seen
    }

    /// The string under `key`, asked for by command.
    async fn fetch(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        reply::string(&self.run(place_of(key), Access::Read, &[b"GET", key]).await?)
    }

    async fn set(&self, key: &[u8], words: &[&[u8]]) -> Result<(), Error> {
        let reply = self.run(place_of(key), Access::Write, words).await?;
        let is_set = reply::is_set(&reply)?;
        assert!(is_set, "SET without a condition sets");
        Ok(())
    }

    /// Runs one command and returns its reply.
    async fn run(&self, place: Place, access: Access, words: &[&[u8]]) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        encode::command(&mut bytes, words.iter().copied());
        if access == Access::Read {
            let mut spans = Vec::new();
            let args = command::args_of(&bytes, &mut spans);
            if let Some(query) = command::query_of(self.database, args)
                && let Some(reply) = self.inner.exchange.try_read(place, &query)
            {
                return Ok(reply);
            }
        }
        self.inner.exchange.submit((self.database, place), access, bytes)?.leave().await
    }

    fn exchange(&self) -> &Exchange {
        &self.inner.exchange
    }
}

fn place_of(key: &[u8]) -> Place {
    Place::Slot(Slot::of_key(key))
}

#[cfg(test)]
mod tests;
