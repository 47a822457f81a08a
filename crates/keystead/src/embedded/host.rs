//! What an embedded handle needs of the node beneath it.
//! Owns: the trait [`Host`]. Never: a command; those go through the host's door.
//! The real host is the node of `crate::server`; tests put a store in its place.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keystead_node::{Door, SyncReport};
use keystead_types::DatabaseId;

use crate::config::value::Address;
use crate::error::Error;

/// A node, as the handle sees it. The methods that are given patience, and the last, block.
pub(crate) trait Host: Send + Sync + 'static {
    /// A way for commands into the node; `None` if there is none any more. `wake` is called when the door has completions to tell, by
    /// any thread, also while that thread is within a method of the door.
    fn open_door(&self, wake: Arc<dyn Fn() + Send + Sync>) -> Option<Box<dyn Door + Send>>;

    /// Shows the string under `key` of a database if this node may answer at once (it leads the key's shard and
    /// holds a lease) and the key holds no other type. False: `look` was not called.
    fn look_at(&self, key: (DatabaseId, &[u8]), look: &mut dyn FnMut(Option<&[u8]>)) -> bool;

    /// How many databases there are.
    fn databases(&self) -> u16;

    /// Where Redis clients are served, if they are.
    fn client_address(&self) -> Option<SocketAddr>;

    /// Where other nodes reach this one, `HOST:PORT`.
    fn peer_address(&self) -> String;

    /// Waits until every shard has a leader that this node knows.
    fn ready(&self, patience: Duration) -> Result<(), Error>;

    /// Waits until every replica of every shard is there and level, and compares their digests.
    fn sync(&self, patience: Duration) -> Result<SyncReport, Error>;

    /// Grows whenever another node takes the place of the one before: doors opened earlier are void.
    fn incarnation(&self) -> u64;

    /// Joins the cluster of the node at `address`.
    fn connect(&self, address: Address, patience: Duration) -> Result<(), Error>;

    /// Hands leaderships over, writes out what is left, stops every thread.
    fn shutdown(&self) -> Result<(), Error>;
}
