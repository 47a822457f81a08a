//! The real host: a node with its supervision tree in this process.
//!
//! Owns: starting it, joining, and turning its errors into those of the handle. Never: a command.
//!
//! A node that joins becomes another node: the one that it founded a cluster of one with ends, and one
//! with a new identity begins in the same data directory, at the same addresses.
//! INV-EMB5: the first one's directory is removed only after it was stopped and found to hold no key.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keystead_node::{Door, Node, SyncReport};
use keystead_types::DatabaseId;
use parking_lot::RwLock;
use tokio::time::{Instant, sleep};

use super::host::Host;
use super::options::Options;
use crate::config::Config;
use crate::config::value::Address;
use crate::error::Error;
use crate::server::{Server, ServerOptions};

/// Longest time that the start of a node that joins nobody waits until it knows its own cluster.
const FOUNDING_MAX: Duration = Duration::from_secs(10);
/// How often a condition of the node is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// See the module.
pub(super) struct Local {
    serves_clients: bool,
    config: Config,
    /// `None` while one node ended and the next has not begun.
    server: RwLock<Option<Arc<Server>>>,
    incarnation: AtomicU64,
    /// Read by calls that keep the server for long, written by the one that replaces it.
    replacing: RwLock<()>,
}

impl Local {
    /// Starts a node. Blocks while its log is read, and until it knows its cluster unless it has one to
    /// join.
    pub(super) fn start(options: Options) -> Result<Self, Error> {
        let Options { mut config, serves_clients } = options;
        config.validate()?;
        if !serves_clients {
            // The map of the cluster names an address for every node. Port 0 stands for none.
            config.listen.set_port(0);
            config.advertise_listen.get_or_insert(config.listen.into());
        }
        let server = start_server(&config, serves_clients)?;
        if config.join.is_empty() {
            // A node that takes longer is not given up: its calls say that it knows no cluster yet.
            wait_until(&server, FOUNDING_MAX, knows_cluster);
        }
        let (server, replacing) = (RwLock::new(Some(Arc::new(server))), RwLock::default());
        Ok(Self { serves_clients, config, server, incarnation: AtomicU64::new(0), replacing })
    }

    /// The node of this moment.
    fn server(&self) -> Result<Arc<Server>, Error> {
        self.server.read().clone().ok_or(Error::Closed)
    }

    /// Refuses to join if something would be lost by it.
    fn check_alone_and_empty(&self, node: &Node) -> Result<(), Error> {
        let nodes = node.cluster_view().nodes.len();
        if nodes > 1 || !self.config.join.is_empty() {
            return Err(Error::InCluster { nodes });
        }
        let keys = node.status().keys_held;
        if keys > 0 {
            return Err(Error::HasKeys { keys, data: self.config.data.clone() });
        }
        Ok(())
    }

    /// The settings of the node that joins: the same, at the addresses that `first` has.
    fn config_to_join(&self, address: Address, first: &Server) -> Result<Config, Error> {
        let mut config = Config { join: vec![address], ..self.config.clone() };
        config.listen = first.client_address().unwrap_or(config.listen);
        if config.advertise_peer.is_none() {
            config.peer = first.node().peer_address().parse().unwrap_or(config.peer);
        }
        config.validate()?;
        Ok(config)
    }

    /// Ends the node that is alone, and frees its addresses and its directory.
    fn end_first(&self) -> Result<PathBuf, Error> {
        let Some(first) = self.server.write().take() else { return Err(Error::Closed) };
        self.incarnation.fetch_add(1, Ordering::SeqCst);
        first.stop()?;
        // Again, now that nobody writes any more: a write of the last moment is not lost.
        if let Err(error) = self.check_alone_and_empty(first.node()) {
            drop(first);
            *self.server.write() = Some(Arc::new(start_server(&self.config, self.serves_clients)?));
            return Err(error);
        }
        drop(first);
        let data = &self.config.data;
        let mut aside = data.clone().into_os_string();
        aside.push(".before-join");
        let aside = PathBuf::from(aside);
        match std::fs::rename(data, &aside) {
            Ok(()) => Ok(aside),
            Err(source) => Err(Error::SetAside { data: data.clone(), source }),
        }
    }
}

fn start_server(config: &Config, serves_clients: bool) -> Result<Server, Error> {
    let options = ServerOptions { serves_clients, ..ServerOptions::default() };
    Ok(Server::start(config, options)?)
}

fn knows_cluster(node: &Node) -> bool {
    !node.cluster_view().shards.is_empty()
}

/// Waits until `is_so`, at most `patience`; false if it is not.
fn wait_until(server: &Server, patience: Duration, is_so: impl Fn(&Node) -> bool) -> bool {
    server.block_on(async {
        let deadline = Instant::now() + patience;
        while !is_so(server.node()) {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(LOOK_EVERY).await;
        }
        true
    })
}

impl Host for Local {
    fn open_door(&self, wake: Arc<dyn Fn() + Send + Sync>) -> Option<Box<dyn Door + Send>> {
        Some(Box::new(self.server().ok()?.node().door(wake)))
    }

    fn look_at(&self, key: (DatabaseId, &[u8]), look: &mut dyn FnMut(Option<&[u8]>)) -> bool {
        let server = self.server.read();
        server.as_ref().is_some_and(|server| server.node().look(key, look).is_some())
    }

    fn databases(&self) -> u16 {
        self.config.databases
    }

    fn client_address(&self) -> Option<SocketAddr> {
        self.server().ok()?.client_address()
    }

    fn peer_address(&self) -> String {
        self.server()
            .map_or_else(|_| String::new(), |server| server.node().peer_address().to_owned())
    }

    fn ready(&self, patience: Duration) -> Result<(), Error> {
        let _kept = self.replacing.read();
        let server = self.server()?;
        if wait_until(&server, patience, |node| node.cluster_view().is_ok) {
            return Ok(());
        }
        let view = server.node().cluster_view();
        let leaderless = view.shards.iter().find(|shard| shard.leader.is_none());
        Err(leaderless.map_or(Error::NoTopology, |shard| Error::NoLeader { shard: shard.id }))
    }

    fn sync(&self, patience: Duration) -> Result<SyncReport, Error> {
        let _kept = self.replacing.read();
        let server = self.server()?;
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let report = server.block_on(server.node().sync(left))?;
            // A replica that does not vote yet may be level, and still not be there for a majority.
            let is_full = |node: &Node| node.cluster_view().replication_is_full;
            if is_full(server.node()) {
                return Ok(report);
            }
            if !wait_until(&server, left, is_full) {
                return Err(Error::Repairing);
            }
        }
    }

    fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::SeqCst)
    }

    fn connect(&self, address: Address, patience: Duration) -> Result<(), Error> {
        let _replacing = self.replacing.write();
        let config = {
            let first = self.server()?;
            self.check_alone_and_empty(first.node())?;
            self.config_to_join(address, &first)?
        };
        let aside = self.end_first()?;
        let joined = Arc::new(start_server(&config, self.serves_clients)?);
        *self.server.write() = Some(Arc::clone(&joined));
        if let Err(error) = std::fs::remove_dir_all(&aside) {
            tracing::warn!(directory = %aside.display(), %error, "an empty node's directory is left behind; remove it");
        }
        let has_joined = wait_until(&joined, patience, knows_cluster);
        if has_joined { Ok(()) } else { Err(Error::NoTopology) }
    }

    fn shutdown(&self) -> Result<(), Error> {
        Ok(self.server()?.stop()?)
    }
}
