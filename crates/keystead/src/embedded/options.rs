//! How a node in this process is started.
//! Owns: [`Options`]: settings, and what only an embedded node has. Never: a setting of its own; those
//! are [`Config`]'s.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::config::value::Address;
use crate::config::{Config, Durability};
use crate::error::Error;

/// What [`Keystead::start`](crate::Keystead::start) is told.
///
/// Begin with [`new`](Self::new), or with a [`Config`]: then the node serves clients and nodes at the
/// addresses that the settings name, as `keystead serve` does.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) config: Config,
    pub(crate) serves_clients: bool,
}

impl Options {
    /// A node with its data in `data`, which is made if it does not exist.
    ///
    /// It serves no Redis clients, and other nodes only at a free port of the loopback address. Without
    /// data it founds a cluster of one.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let any_port = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let config =
            Config { data: data.into(), listen: any_port, peer: any_port, ..Config::default() };
        Self { config, serves_clients: false }
    }

    /// Serves Redis clients at `address`, too; port 0 takes a free one
    /// ([`client_address`](crate::Keystead::client_address) says which).
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.serves_clients = true;
        self.config.listen = address;
        self
    }

    /// Serves other nodes at `address`; port 0 takes a free one.
    ///
    /// Give an address that the other nodes can reach, and the same one at every start.
    #[must_use]
    pub fn peer(mut self, address: SocketAddr) -> Self {
        self.config.peer = address;
        self
    }

    /// Joins the cluster that one of the nodes at `addresses` (`HOST:PORT`, where they answer nodes)
    /// belongs to, instead of founding one. A node that is a member already goes on as before.
    ///
    /// # Errors
    /// `Invalid` if one is not `HOST:PORT`.
    pub fn join<A: AsRef<str>>(
        mut self,
        addresses: impl IntoIterator<Item = A>,
    ) -> Result<Self, Error> {
        for address in addresses {
            self.config.join.push(address.as_ref().parse::<Address>()?);
        }
        Ok(self)
    }

    /// Says when a write is acknowledged: [`Durability::Fsync`] (the default) once a majority has it on
    /// disk, [`Durability::Replicated`] once a majority has it in memory, the disk following soon.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.config.durability = durability;
        self
    }

    /// Changes any other setting.
    ///
    /// ```
    /// let options = keystead::Options::new("./my-data").configure(|config| config.shards = 1);
    /// ```
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }
}

impl From<Config> for Options {
    fn from(config: Config) -> Self {
        Self { config, serves_clients: true }
    }
}
