//! The network between nodes.
//!
//! Owns: which directions are cut, how messages fare, connections of calls. Never: what a frame means; the world
//! carries frames to their nodes.
//!
//! Two kinds of traffic. Raft's messages may be lost, doubled, late and out of order: the product sends them over a
//! connection, which is kinder, but Raft must bear it. Calls and answers of forwarded commands travel as over TCP: in
//! order, each once; when a connection breaks, what was under way is lost and its sender hears of the break.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use keystead_replication::transport::FrameKind;
use keystead_types::NodeId;

/// How messages fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// So many of a thousand are lost.
    pub lost_permille: u64,
    /// So many arrive twice.
    pub doubled_permille: u64,
    /// So many are late, and overtaken.
    pub late_permille: u64,
}

/// Fair weather.
pub const FAIR: Weather = Weather { lost_permille: 0, doubled_permille: 0, late_permille: 0 };

/// The connection from one node to another.
#[derive(Debug, Default)]
pub struct Link {
    /// True if frames are taken.
    pub is_up: bool,
    /// Counts connections: what travels on an earlier one is lost.
    pub epoch: u64,
    /// When the last frame arrives: the next one does so later.
    pub last_arrival_us: u64,
    /// Frames that wait for the network to heal.
    pub stalled: Vec<(FrameKind, Bytes)>,
    /// True while somebody tries to connect.
    pub is_dialing: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Net {
    /// Directions in which nothing gets through.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// How messages fare.
    pub weather: Weather,
    links: BTreeMap<(NodeId, NodeId), Link>,
}

impl Default for Net {
    fn default() -> Self {
        Self { cut: BTreeSet::new(), weather: FAIR, links: BTreeMap::new() }
    }
}

impl Net {
    /// The connection from one node to another.
    pub fn link(&mut self, from: NodeId, to: NodeId) -> &mut Link {
        self.links.entry((from, to)).or_default()
    }

    /// The connections with this node at one end, as they stand.
    #[must_use]
    pub fn links_of(&self, node: NodeId) -> Vec<(NodeId, NodeId)> {
        self.links.keys().copied().filter(|(from, to)| *from == node || *to == node).collect()
    }

    /// Every connection.
    #[must_use]
    pub fn links(&self) -> Vec<(NodeId, NodeId)> {
        self.links.keys().copied().collect()
    }

    /// True if a connection between the two works: it needs both directions.
    #[must_use]
    pub fn may_talk(&self, one: NodeId, other: NodeId) -> bool {
        !self.cut.contains(&(one, other)) && !self.cut.contains(&(other, one))
    }

    /// Forgets a node that will not come back.
    pub fn forget(&mut self, node: NodeId) {
        self.cut.retain(|(from, to)| *from != node && *to != node);
        self.links.retain(|(from, to), _| *from != node && *to != node);
    }
}
