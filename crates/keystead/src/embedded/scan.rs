//! Walking over the keys of all shards, page by page.
//! Owns: [`Scan`], its place, the pattern of a prefix. Never: holds a lock or a cursor on the node
//! between two pages.

use std::collections::VecDeque;

use keystead_node::Access;
use keystead_resp::Value;
use keystead_types::ShardId;

use super::Keystead;
use super::exchange::Place;
use super::reply;
use crate::error::Error;

/// Keys that a shard looks at for one page: some tens of microseconds of its lock.
const PAGE_KEYS: &[u8] = b"512";

/// A walk over the keys of the cluster, as of no single moment.
///
/// Every key that is there from the first call to the last is returned at least once; one that comes or
/// goes meanwhile may be. Keys come in no useful order. Nothing is held on the nodes between calls, so a
/// walk may be dropped, or take as long as it likes.
#[derive(Debug)]
pub struct Scan {
    store: Keystead,
    pattern: Vec<u8>,
    /// Shards to walk through, the current one first; `None` before the first call.
    shards: Option<VecDeque<ShardId>>,
    cursor: Vec<u8>,
    page: VecDeque<Vec<u8>>,
}

impl Scan {
    pub(crate) fn new(store: Keystead, pattern: Vec<u8>) -> Self {
        let page = VecDeque::new();
        Self { store, pattern, shards: None, cursor: b"0".to_vec(), page }
    }

    /// Returns the next key, or `None` after the last.
    ///
    /// Cancel safe: a key is lost by no dropped future. After an error the next call asks for the same
    /// page again.
    ///
    /// # Errors
    /// [`Kind::Unavailable`](crate::Kind::Unavailable) if a shard has no leader;
    /// [`Kind::Closed`](crate::Kind::Closed) after [`shutdown`](Keystead::shutdown).
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            if let Some(key) = self.page.pop_front() {
                return Ok(Some(key));
            }
            let Some(shard) = self.shard()? else { return Ok(None) };
            let words = [b"SCAN", &*self.cursor, b"MATCH", &self.pattern, b"COUNT", PAGE_KEYS];
            let reply = self.store.run(Place::Shard(shard), Access::Read, &words).await?;
            self.take_page(&reply)?;
        }
    }

    /// Returns all keys that are left.
    ///
    /// # Errors
    /// Those of [`next`](Self::next). What was gathered until then is lost.
    pub async fn collect(mut self) -> Result<Vec<Vec<u8>>, Error> {
        let mut keys = Vec::new();
        while let Some(key) = self.next().await? {
            keys.push(key);
        }
        Ok(keys)
    }

    /// The shard to ask next, or `None` after the last.
    fn shard(&mut self) -> Result<Option<ShardId>, Error> {
        if let Some(shards) = &self.shards {
            return Ok(shards.front().copied());
        }
        let shards = self.store.exchange().with_door(|door| door.shards());
        if shards.is_empty() {
            return Err(Error::NoTopology);
        }
        let shards = self.shards.insert(shards.iter().copied().collect());
        Ok(shards.front().copied())
    }

    fn take_page(&mut self, reply: &[u8]) -> Result<(), Error> {
        let (cursor, keys) = match reply::value(reply)? {
            Value::Array(parts) => match <[Value; 2]>::try_from(parts) {
                Ok([Value::Bulk(cursor), Value::Array(keys)]) => (cursor, keys),
                other => panic!("SCAN answers a cursor and keys, not {other:?}"),
            },
            other => panic!("SCAN answers an array, not {other:?}"),
        };
        if cursor == b"0"
            && let Some(shards) = &mut self.shards
        {
            shards.pop_front();
        }
        self.cursor = cursor;
        self.page.extend(keys.into_iter().filter_map(|key| match key {
            Value::Bulk(key) => Some(key),
            _ => None,
        }));
        Ok(())
    }
}

/// The glob pattern of all keys that begin with `prefix`.
pub(crate) fn pattern_of_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for &byte in prefix {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'^' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    pattern
}
