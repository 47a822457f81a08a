//! What membership, reconcile and keeper do in the product with a runtime, here as a step of the world.
//!
//! Owns: when a node is registered, hears of the topology, lets go of a replica; carrying out the metadata leader's
//! orders. Never: what those orders are: `node::reconcile` and `topology::plan` decide, the same code as in the product.
//!
//! Questions between nodes, which the product asks over calls, are answered here at once if the two can talk and both run.

use std::collections::{BTreeMap, BTreeSet};

use keystead_node::simulation::{Order, Reconciler, Report};
use keystead_replication::Role;
use keystead_topology::{Command, NodeRecord, NodeState, Topology};
use keystead_types::{Clock, NodeId, ShardId};

use crate::coverage::Event;
use crate::scenario::MS;
use crate::world::{Happening, World};

/// See the module.
#[derive(Default)]
pub struct Control {
    /// The loop's memory on each node that leads the metadata group.
    loops: BTreeMap<NodeId, Reconciler>,
    /// Nodes that were let in, as they know it themselves.
    members: BTreeSet<NodeId>,
    /// True if the metadata leader's last look found every replica level.
    pub is_full: bool,
}

impl Control {
    /// True if the node belongs to the cluster and knows it.
    #[must_use]
    pub fn is_member(&self, id: NodeId) -> bool {
        self.members.contains(&id)
    }
}

impl World {
    /// What a node says about itself.
    fn record(&self, id: NodeId) -> NodeRecord {
        let host = &self.hosts[&id];
        NodeRecord {
            id,
            client_addr: format!("h{}:7379", host.place),
            peer_addr: format!("h{}:17379", host.place),
            zone: String::new(),
            incarnation: host.life,
        }
    }

    /// The node at a client address.
    pub(crate) fn node_at(&self, address: &str) -> Option<NodeId> {
        let place: u64 = address.strip_prefix('h')?.split_once(':')?.0.parse().ok()?;
        self.hosts.iter().find(|(_, host)| host.place == place).map(|(id, _)| *id)
    }

    /// True if the node runs and does not stand still.
    fn is_awake(&self, id: NodeId) -> bool {
        let host = self.hosts.get(&id);
        host.is_some_and(|host| host.process.is_some() && host.paused_until <= self.now_us)
    }

    /// True if one node can ask the other a question.
    fn may_ask(&self, one: NodeId, other: NodeId) -> bool {
        self.is_awake(one)
            && self.is_awake(other)
            && (one == other || self.net.may_talk(one, other))
    }

    pub(crate) fn control(&mut self) {
        let awake: Vec<NodeId> = self.ids().into_iter().filter(|id| self.is_awake(*id)).collect();
        for id in &awake {
            self.introduce(*id);
            self.hear(*id);
            self.let_go_of_moved(*id);
        }
        let mut is_full = false;
        for id in awake {
            let leads = self
                .process(id)
                .and_then(|process| process.parts.cell(ShardId::META))
                .is_some_and(|cell| cell.role() == Role::Leader);
            if leads {
                is_full |= self.reconcile(id);
            } else {
                self.control.loops.remove(&id);
            }
        }
        self.control.is_full = is_full;
        let is_calm = is_full && !self.is_stormy;
        let every = if is_calm { 500 * MS } else { 100 * MS } * self.scenario.scale;
        self.after(every, Happening::Control);
    }

    /// Founds the cluster, or has the node registered in it.
    fn introduce(&mut self, id: NodeId) {
        let topology = self.process(id).expect("it is awake").parts.topology();
        let record = self.record(id);
        if id == NodeId(1) && !topology.is_founded() {
            self.control.members.insert(id);
            let (cluster_id, shards) = (self.scenario.seed | 1, self.scenario.shards);
            let hash_seed = self.parts_settings().hash_seed;
            return self
                .propose(id, &Command::Found { cluster_id, hash_seed, shards, node: record });
        }
        if !self.control.members.contains(&id) {
            return self.join(id, record);
        }
        let known = topology.nodes().get(&id);
        let is_known = known.is_some_and(|known| {
            known.incarnation == record.incarnation || known.state == NodeState::Gone
        });
        if topology.is_founded() && !is_known {
            self.propose(id, &Command::RegisterNode { node: record });
        }
    }

    /// A fresh node asks one that is in the cluster to let it in.
    fn join(&mut self, id: NodeId, record: NodeRecord) {
        let members = self.ids().into_iter().filter(|other| {
            *other != id
                && self.may_ask(id, *other)
                && self.hosts[other]
                    .process
                    .as_ref()
                    .is_some_and(|process| process.parts.topology().is_founded())
        });
        let members: Vec<NodeId> = members.collect();
        let Some(member) = self.rng.pick(&members).copied() else { return };
        let topology = self.process(member).expect("it is awake").parts.topology();
        // As `control::displace`: whoever had the address before cannot be there any more.
        if let Some((node, state)) = topology.displaced_by(&record) {
            return self.propose(member, &Command::SetNodeState { node, state });
        }
        if topology.nodes().contains_key(&id) {
            self.control.members.insert(id);
            self.count(Event::Joined);
            return self.process(id).expect("it is awake").parts.hear_topology(&topology);
        }
        self.propose(member, &Command::RegisterNode { node: record });
    }

    fn propose(&mut self, id: NodeId, command: &Command) {
        self.trace.note_bytes(&command.encode());
        self.trace.line(self.now_us, format_args!("{id} proposes {command:?}"));
        if let Some(process) = self.process(id) {
            process.parts.propose(command);
            self.settle_down(id);
        }
    }

    /// Asks somebody what the cluster looks like.
    fn hear(&mut self, id: NodeId) {
        if !self.control.members.contains(&id) {
            return;
        }
        let others: Vec<NodeId> = self
            .ids()
            .into_iter()
            .filter(|other| *other != id && self.may_ask(id, *other))
            .collect();
        let Some(other) = self.rng.pick(&others).copied() else { return };
        let theirs = self.process(other).expect("it is awake").parts.topology();
        let ours = self.process(id).expect("it is awake").parts.topology();
        if theirs.is_founded() && theirs.applied() > ours.applied() {
            self.process(id).expect("it is awake").parts.hear_topology(&theirs);
            self.settle_down(id);
        }
    }

    /// Replicas that were moved elsewhere, by their group's own word (INV-N2).
    fn let_go_of_moved(&mut self, id: NodeId) {
        let Some(process) = self.hosts.get(&id).and_then(|host| host.process.as_ref()) else {
            return;
        };
        let topology = process.parts.topology();
        let mut gone = Vec::new();
        for group in &process.here {
            let (Some(shard), Some(cell)) =
                (topology.shards().get(group), process.parts.cell(*group))
            else {
                continue;
            };
            let members = cell.members();
            let is_settled = shard.is_hosted_by(id) || shard.step.is_some();
            if is_settled || cell.role() == Role::Down || members.voters.is_empty() {
                continue;
            }
            let mut asked = shard.replicas.keys().filter(|peer| self.may_ask(id, **peer));
            let excludes = |peer: &NodeId| {
                let reports = self.reports_of(*peer);
                reports.iter().any(|r| r.shard() == *group && r.excludes(id, members.index))
            };
            if asked.any(excludes) {
                gone.push(*group);
            }
        }
        for group in gone {
            self.let_go(id, group);
        }
    }

    fn let_go(&mut self, id: NodeId, group: ShardId) {
        self.trace.line(self.now_us, format_args!("{id} lets go of {group}"));
        let life = self.hosts[&id].life;
        let process = self.process(id).expect("it is awake");
        process.parts.stop(group);
        let asked = process.turn();
        let outcome = process.let_go(group);
        process.turn_at = None;
        // Also if it failed: the record may be there all the same.
        if let Some(host) = self.hosts.get_mut(&id) {
            host.shadow.removed(group);
        }
        if let Err(error) = outcome {
            return self.fatal(id, &error);
        }
        self.count(Event::LetGo);
        self.carry_out(id, life, asked);
        self.checks.gone(id, life, group);
        if let Some(host) = self.hosts.get_mut(&id) {
            host.shadow.removed(group);
        }
        self.settle_down(id);
    }

    fn reports_of(&self, id: NodeId) -> Vec<Report> {
        let process = self.hosts.get(&id).and_then(|host| host.process.as_ref());
        process.map(|process| process.parts.reports()).unwrap_or_default()
    }

    /// One round of the metadata leader's loop. True if every replica is there and level.
    fn reconcile(&mut self, id: NodeId) -> bool {
        let topology = self.process(id).expect("it is awake").parts.topology();
        if !topology.is_founded() {
            return false;
        }
        let (up, reports) = self.observe(id, &topology);
        let now = self.hosts[&id].clock.monotonic_now();
        let memory = self.control.loops.entry(id).or_default();
        let (is_full, orders) = memory.decide(&topology, up, reports, now);
        for order in orders {
            match order {
                Order::Propose(command) => self.propose(id, &command),
                Order::Request(leader, step) if self.may_ask(id, leader) => {
                    self.trace.line(self.now_us, format_args!("{id} asks {leader} for {step}"));
                    self.process(leader).expect("it is awake").parts.change(step);
                    self.settle_down(leader);
                }
                Order::Request(..) => {}
            }
        }
        is_full
    }

    fn observe(
        &self,
        id: NodeId,
        topology: &Topology,
    ) -> (BTreeSet<NodeId>, Vec<(NodeId, Report)>) {
        let mut up = BTreeSet::from([id]);
        let mut reports: Vec<(NodeId, Report)> =
            self.reports_of(id).into_iter().map(|report| (id, report)).collect();
        for other in topology.nodes().values() {
            let is_asked = other.id != id
                && other.state != NodeState::Gone
                && !topology.is_displaced(other.id);
            if is_asked && self.may_ask(id, other.id) {
                up.insert(other.id);
                reports
                    .extend(self.reports_of(other.id).into_iter().map(|report| (other.id, report)));
            }
        }
        (up, reports)
    }
}
