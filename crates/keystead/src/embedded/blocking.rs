//! The handle for threads without a runtime: the same methods, and each returns when it is done.
//! Owns: nothing; every method waits for the future of the same name. Never: starts a runtime, since
//! those futures need none; so it may be used anywhere, if the thread may sleep.

use std::net::SocketAddr;
use std::time::Duration;

use keystead_node::SyncReport;
use keystead_resp::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::options::Options;
use super::park::block_on;
use crate::error::Error;

/// [`Keystead`](crate::Keystead) with methods that block the calling thread.
///
/// Get one with [`start`](Self::start), or from a handle with [`From`]. Within an async task use the
/// other: a method of this one keeps the executor's thread from everything else.
#[derive(Clone, Debug)]
pub struct Keystead {
    store: crate::Keystead,
}

impl From<crate::Keystead> for Keystead {
    fn from(store: crate::Keystead) -> Self {
        Self { store }
    }
}

impl From<Keystead> for crate::Keystead {
    fn from(blocking: Keystead) -> Self {
        blocking.store
    }
}

impl Keystead {
    /// See [`start`](crate::Keystead::start).
    ///
    /// # Errors
    /// See [`start`](crate::Keystead::start).
    ///
    /// ```
    /// use keystead::{Options, blocking::Keystead};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let data = directory.path();
    /// let store = Keystead::start(Options::new(data))?;
    /// store.put("visits", &1)?;
    /// store.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
    /// assert_eq!(store.get::<u32>("visits")?, Some(2));
    /// store.shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start(options: impl Into<Options>) -> Result<Self, Error> {
        block_on(crate::Keystead::start(options)).map(Self::from)
    }

    /// See [`ready`](crate::Keystead::ready).
    ///
    /// # Errors
    /// See [`ready`](crate::Keystead::ready).
    pub fn ready(&self, patience: Duration) -> Result<(), Error> {
        block_on(self.store.ready(patience))
    }

    /// See [`client_address`](crate::Keystead::client_address).
    #[must_use]
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.store.client_address()
    }

    /// See [`peer_address`](crate::Keystead::peer_address).
    #[must_use]
    pub fn peer_address(&self) -> String {
        self.store.peer_address()
    }

    /// See [`database`](crate::Keystead::database).
    ///
    /// # Errors
    /// See [`database`](crate::Keystead::database).
    pub fn database(&self, number: u16) -> Result<Self, Error> {
        self.store.database(number).map(Self::from)
    }

    /// See [`put`](crate::Keystead::put).
    ///
    /// # Errors
    /// See [`put`](crate::Keystead::put).
    pub fn put<T>(&self, key: impl AsRef<[u8]>, value: &T) -> Result<(), Error>
    where
        T: Serialize + ?Sized,
    {
        block_on(self.store.put(key, value))
    }

    /// See [`put_with_ttl`](crate::Keystead::put_with_ttl).
    ///
    /// # Errors
    /// See [`put_with_ttl`](crate::Keystead::put_with_ttl).
    pub fn put_with_ttl<T>(
        &self,
        key: impl AsRef<[u8]>,
        value: &T,
        ttl: Duration,
    ) -> Result<(), Error>
    where
        T: Serialize + ?Sized,
    {
        block_on(self.store.put_with_ttl(key, value, ttl))
    }

    /// See [`put_bytes`](crate::Keystead::put_bytes).
    ///
    /// # Errors
    /// See [`put_bytes`](crate::Keystead::put_bytes).
    pub fn put_bytes(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        block_on(self.store.put_bytes(key, value))
    }

    /// See [`get`](crate::Keystead::get).
    ///
    /// # Errors
    /// See [`get`](crate::Keystead::get).
    pub fn get<T: DeserializeOwned>(&self, key: impl AsRef<[u8]>) -> Result<Option<T>, Error> {
        block_on(self.store.get(key))
    }

    /// See [`get_bytes`](crate::Keystead::get_bytes).
    ///
    /// # Errors
    /// See [`get_bytes`](crate::Keystead::get_bytes).
    pub fn get_bytes(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        block_on(self.store.get_bytes(key))
    }

    /// See [`get_with`](crate::Keystead::get_with).
    ///
    /// # Errors
    /// See [`get_with`](crate::Keystead::get_with).
    pub fn get_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        look: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Error> {
        block_on(self.store.get_with(key, look))
    }

    /// See [`update`](crate::Keystead::update).
    ///
    /// # Errors
    /// See [`update`](crate::Keystead::update).
    pub fn update<T, R>(
        &self,
        key: impl AsRef<[u8]>,
        change: impl FnMut(Option<T>) -> R,
    ) -> Result<Option<T>, Error>
    where
        T: Serialize + DeserializeOwned,
        R: Into<Option<T>>,
    {
        block_on(self.store.update(key, change))
    }

    /// See [`delete`](crate::Keystead::delete).
    ///
    /// # Errors
    /// See [`delete`](crate::Keystead::delete).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        block_on(self.store.delete(key))
    }

    /// See [`exists`](crate::Keystead::exists).
    ///
    /// # Errors
    /// See [`exists`](crate::Keystead::exists).
    pub fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        block_on(self.store.exists(key))
    }

    /// See [`scan`](crate::Keystead::scan).
    #[must_use]
    pub fn scan(&self, prefix: impl AsRef<[u8]>) -> Scan {
        Scan { scan: self.store.scan(prefix) }
    }

    /// See [`scan_matching`](crate::Keystead::scan_matching).
    #[must_use]
    pub fn scan_matching(&self, pattern: impl AsRef<[u8]>) -> Scan {
        Scan { scan: self.store.scan_matching(pattern) }
    }

    /// See [`command`](crate::Keystead::command).
    ///
    /// # Errors
    /// See [`command`](crate::Keystead::command).
    pub fn command(&self, words: &[impl AsRef<[u8]>]) -> Result<Value, Error> {
        block_on(self.store.command(words))
    }

    /// See [`sync`](crate::Keystead::sync).
    ///
    /// # Errors
    /// See [`sync`](crate::Keystead::sync).
    pub fn sync(&self, patience: Duration) -> Result<SyncReport, Error> {
        block_on(self.store.sync(patience))
    }

    /// See [`connect`](crate::Keystead::connect).
    ///
    /// # Errors
    /// See [`connect`](crate::Keystead::connect).
    pub fn connect(&self, address: impl AsRef<str>, patience: Duration) -> Result<(), Error> {
        block_on(self.store.connect(address, patience))
    }

    /// See [`shutdown`](crate::Keystead::shutdown).
    ///
    /// # Errors
    /// See [`shutdown`](crate::Keystead::shutdown).
    pub fn shutdown(&self) -> Result<(), Error> {
        block_on(self.store.shutdown())
    }
}

/// [`Scan`](crate::Scan) as an iterator. After an error the next call asks for the same page again.
#[derive(Debug)]
pub struct Scan {
    scan: crate::Scan,
}

impl Iterator for Scan {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(self.scan.next()).transpose()
    }
}
