//! The real host: a node with its supervision tree in this process.
//! Owns: starting it, and turning its errors into those of the handle. Never: a command.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keystead_node::{Door, SyncReport};
use tokio::time::{Instant, sleep};

use super::host::Host;
use super::options::Options;
use crate::error::Error;
use crate::server::{Server, ServerOptions};

/// Longest time that the start of a node that joins nobody waits until it knows its own cluster.
const FOUNDING_MAX: Duration = Duration::from_secs(10);
/// How often a condition of the node is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// See the module.
pub(super) struct Local {
    server: Server,
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
        let server_options = ServerOptions { serves_clients, ..ServerOptions::default() };
        let local = Self { server: Server::start(&config, server_options)? };
        if config.join.is_empty() {
            // A node that takes longer is not given up: its calls say that it knows no cluster yet.
            local.wait_until(FOUNDING_MAX, Self::knows_cluster);
        }
        Ok(local)
    }

    fn knows_cluster(&self) -> bool {
        !self.server.node().cluster_view().shards.is_empty()
    }

    /// Waits until `is_so`, at most `patience`; false if it is not.
    fn wait_until(&self, patience: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        self.server.block_on(async {
            let deadline = Instant::now() + patience;
            while !is_so(self) {
                if Instant::now() >= deadline {
                    return false;
                }
                sleep(LOOK_EVERY).await;
            }
            true
        })
    }
}

impl Host for Local {
    fn open_door(&self, wake: Arc<dyn Fn() + Send + Sync>) -> Box<dyn Door + Send> {
        Box::new(self.server.node().door(wake))
    }

    fn look_at(&self, key: &[u8], look: &mut dyn FnMut(Option<&[u8]>)) -> bool {
        self.server.node().look(key, look).is_some()
    }

    fn client_address(&self) -> Option<SocketAddr> {
        self.server.client_address()
    }

    fn peer_address(&self) -> String {
        self.server.node().peer_address().to_owned()
    }

    fn ready(&self, patience: Duration) -> Result<(), Error> {
        if self.wait_until(patience, |local| local.server.node().cluster_view().is_ok) {
            return Ok(());
        }
        let view = self.server.node().cluster_view();
        let leaderless = view.shards.iter().find(|shard| shard.leader.is_none());
        Err(leaderless.map_or(Error::NoTopology, |shard| Error::NoLeader { shard: shard.id }))
    }

    fn sync(&self, patience: Duration) -> Result<SyncReport, Error> {
        Ok(self.server.block_on(self.server.node().sync(patience))?)
    }

    fn shutdown(&self) -> Result<(), Error> {
        Ok(self.server.stop()?)
    }
}
