//! The world around the workers: one queue of happenings, a network that loses, delays, doubles and cuts.
//! Owns: time, chance, the network, carrying out what workers ask for. Never: decides what goes wrong (see `faults`).
//!
//! Everything follows from the seed: the queue is ordered by time and then by arrival, and chance is drawn from one
//! source in the order of the queue.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keystead_types::{LogIndex, NodeId, ShardId};

use super::machine;
use super::node::{File, Node};
use super::oracle::{Nobody, Oracle, Question};
use crate::cell::Role;
use crate::machine::Part;
use crate::mail::PeerMessage;
use crate::outcome::{Access, Submission};
use crate::outputs::Event;
use crate::rng::Rng;
use crate::settings::{Durability, Settings};
use crate::transport::message;
use crate::worker::{GroupInput, Input};

pub(super) const MS: u64 = 1_000;

/// Something that happens at a moment.
pub(super) enum Happening {
    Turn(NodeId, u64),
    Message(NodeId, Bytes),
    Write(NodeId, u64),
    Sync(NodeId, u64),
    FileDurable(NodeId, u64, ShardId, File),
    Fetch { node: NodeId, life: u64, group: ShardId, from: NodeId, index: LogIndex },
    Restart(NodeId),
    Rebuild(NodeId, u64, ShardId),
    Client,
    Nemesis,
    Reconcile,
}

/// How the network treats messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) lost_permille: u64,
    pub(super) doubled_permille: u64,
    pub(super) late_permille: u64,
}

pub(super) const FAIR: Weather =
    Weather { lost_permille: 0, doubled_permille: 0, late_permille: 0 };

/// See the module.
pub(super) struct World {
    pub(super) now_us: u64,
    pub(super) rng: Rng,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) groups: Vec<ShardId>,
    /// Where each group's replicas should be.
    pub(super) wanted: BTreeMap<ShardId, BTreeSet<NodeId>>,
    pub(super) oracle: Oracle,
    pub(super) weather: Weather,
    /// Directions in which nothing gets through.
    pub(super) cut: BTreeSet<(NodeId, NodeId)>,
    pub(super) paused_until: BTreeMap<NodeId, u64>,
    pub(super) disk_delay_us: BTreeMap<NodeId, u64>,
    pub(super) is_full: BTreeSet<NodeId>,
    pub(super) has_clients: bool,
    pub(super) has_nemesis: bool,
    /// Replicas that fell because a majority lost what they have: never, unless a script asks for it.
    pub(super) outlived: Vec<String>,
    pub(super) settings: Settings,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    next_happening: u64,
    turns: BTreeMap<NodeId, u64>,
    writes: BTreeSet<(NodeId, u64)>,
    fetching: BTreeSet<(NodeId, u64, ShardId)>,
    next_id: u64,
}

/// Settings under which much happens in little time.
pub(super) fn settings() -> Settings {
    Settings {
        durability: Durability::Fsync,
        entry_bytes_target: 64,
        snapshot_log_bytes: 12 * 1024,
        memory_log_bytes: 6 * 1024,
        lagging_log_bytes_max: 24 * 1024,
        snapshot_chunk_bytes: 256,
        snapshot_chunks_in_flight_max: 2,
        snapshot_stall: Duration::from_millis(1_500),
        ..Settings::default()
    }
}

impl World {
    /// A world of `nodes` nodes, of which the first has founded every group.
    pub(super) fn new(seed: u64, nodes: u64, groups: u32, settings: Settings) -> Self {
        let mut rng = Rng::new(seed);
        let groups: Vec<ShardId> = (1..=groups).map(ShardId).collect();
        let nodes: BTreeMap<NodeId, Node> = (1..=nodes)
            // Clocks that differ by up to 6 %, far more than real ones.
            .map(|id| (NodeId(id), Node::new(NodeId(id), settings, 970 + rng.below(61))))
            .collect();
        nodes[&NodeId(1)].found(&groups);
        let wanted = groups.iter().map(|group| (*group, (1..=3).map(NodeId).collect())).collect();
        let mut world = Self {
            now_us: 0,
            rng,
            nodes,
            groups,
            wanted,
            oracle: Oracle::default(),
            weather: FAIR,
            cut: BTreeSet::new(),
            paused_until: BTreeMap::new(),
            disk_delay_us: BTreeMap::new(),
            is_full: BTreeSet::new(),
            has_clients: false,
            has_nemesis: false,
            outlived: Vec::new(),
            settings,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            next_happening: 0,
            turns: BTreeMap::new(),
            writes: BTreeSet::new(),
            fetching: BTreeSet::new(),
            next_id: 0,
        };
        for id in world.nodes.keys().copied().collect::<Vec<_>>() {
            world.start(id);
        }
        world.after(0, Happening::Reconcile);
        world
    }

    pub(super) fn after(&mut self, delay_us: u64, happening: Happening) {
        self.queue.push(Reverse((self.now_us + delay_us, self.next_happening)));
        self.happenings.insert(self.next_happening, happening);
        self.next_happening += 1;
    }

    /// Runs for so long.
    pub(super) fn run_ms(&mut self, ms: u64) {
        let until = self.now_us + ms * MS;
        while self.step(until) {}
        self.now_us = until;
    }

    /// Runs until `is_done`; panics if that takes longer than `ms`.
    pub(super) fn run_until(&mut self, what: &str, ms: u64, is_done: impl Fn(&Self) -> bool) {
        let until = self.now_us + ms * MS;
        while !is_done(self) {
            assert!(
                self.step(until),
                "{what} did not come about within {ms} ms:\n{}",
                self.describe()
            );
        }
    }

    fn step(&mut self, until: u64) -> bool {
        let Some(Reverse((at, number))) = self.queue.peek().copied() else { return false };
        if at > until {
            return false;
        }
        self.queue.pop();
        self.now_us = at;
        let happening = self.happenings.remove(&number).expect("each is queued once");
        self.happens(happening);
        self.check_leases();
        true
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Turn(node, life) => self.turn(node, life),
            Happening::Message(to, frame) => {
                if let Some(running) = &mut self.node(to).running {
                    let (group, message) =
                        message::decode(&frame).expect("what was encoded is decoded");
                    running.inputs.push(Input::Messages(vec![PeerMessage { group, message }]));
                    self.wake_soon(to);
                }
            }
            Happening::Write(node, life) => self.write_log(node, life),
            Happening::Sync(node, life) => {
                if let Some(running) = self.running(node, life) {
                    running.sync_log();
                    self.order_write(node);
                    self.wake_soon(node);
                }
            }
            Happening::FileDurable(node, life, group, file) => {
                let index = file.place.index();
                if self.running(node, life).is_some_and(|running| running.groups().contains(&group))
                {
                    self.node(node).keep_file(group, file);
                    self.running(node, life)
                        .expect("it just was")
                        .snapshot_is_durable(group, index);
                    self.wake_soon(node);
                }
            }
            Happening::Fetch { node, life, group, from, index } => {
                self.fetch(node, life, group, (from, index))
            }
            Happening::Restart(node) => {
                if self.node(node).running.is_none() {
                    self.start(node);
                }
            }
            Happening::Rebuild(node, life, group) => {
                let seed = self.rng.next();
                // It may have been let go, and admitted again, since it fell.
                if self.running(node, life).is_some_and(|running| running.fallen.remove(&group)) {
                    self.node(node).rebuild(group, seed);
                    self.wake_soon(node);
                }
            }
            Happening::Client => self.client(),
            Happening::Nemesis => self.nemesis(),
            Happening::Reconcile => self.reconcile(),
        }
    }

    pub(super) fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("the node is there from the beginning")
    }

    /// The node's memory, if it is still in the life that something was meant for.
    fn running(&mut self, id: NodeId, life: u64) -> Option<&mut super::node::Running> {
        let node = self.node(id);
        if node.life == life { node.running.as_mut() } else { None }
    }

    fn start(&mut self, id: NodeId) {
        let seed = self.rng.next();
        self.node(id).start(seed);
        self.turns.remove(&id);
        self.wake_soon(id);
    }

    /// Ends a node's life. With a power failure the disk loses what was not synced.
    pub(super) fn crash(&mut self, id: NodeId, has_power: bool) {
        let seed = self.rng.next();
        let node = self.node(id);
        if node.running.take().is_none() {
            return;
        }
        if has_power {
            node.disk.process_exit()
        } else {
            node.disk.power_loss(seed)
        }
        self.oracle.crashed(id);
        self.turns.remove(&id);
        self.paused_until.remove(&id);
    }

    pub(super) fn wake_soon(&mut self, id: NodeId) {
        let delay = self.rng.below(60);
        self.wake_at(id, self.now_us + delay);
    }

    fn wake_at(&mut self, id: NodeId, at: u64) {
        let at = at.max(self.paused_until.get(&id).copied().unwrap_or_default());
        if self.turns.get(&id).is_none_or(|next| *next > at) {
            self.turns.insert(id, at);
            let life = self.node(id).life;
            self.after(at - self.now_us, Happening::Turn(id, life));
        }
    }

    fn turn(&mut self, id: NodeId, life: u64) {
        if self.node(id).life != life || self.turns.get(&id) != Some(&self.now_us) {
            return;
        }
        self.turns.remove(&id);
        if self.paused_until.get(&id).is_some_and(|until| *until > self.now_us) {
            return self.wake_at(id, self.now_us);
        }
        let (now_us, is_full) = (self.now_us, self.is_full.contains(&id));
        let node = self.node(id);
        let (now, unix) = (node.monotonic(now_us), node.unix(now_us));
        let Some(running) = &mut node.running else { return };
        running.worker.set_disk_full(is_full);
        running.turn(now, unix);
        let next = running.worker.next_tick();
        let next = node.world_us(next);
        self.carry_out(id);
        self.wake_at(id, next.max(self.now_us));
    }

    fn carry_out(&mut self, id: NodeId) {
        let (now_us, life) = (self.now_us, self.node(id).life);
        let now = self.node(id).monotonic(now_us);
        let Some(running) = &mut self.node(id).running else { return };
        let messages = std::mem::take(&mut running.out.messages);
        let events = std::mem::take(&mut running.out.events);
        let completed = std::mem::take(&mut running.out.completed);
        let files = running.write_snapshots();
        let has_inputs = !running.inputs.is_empty();
        for (group, message) in messages {
            self.send(id, group, &message);
        }
        self.look_at(id);
        for event in events {
            self.take_event(id, life, event);
        }
        for (_, completed) in completed {
            self.oracle.ended(completed, now);
        }
        for (group, file) in files {
            let delay = self.rng.below(20 * MS);
            self.after(delay, Happening::FileDurable(id, life, group, file));
        }
        self.order_write(id);
        if has_inputs {
            self.wake_soon(id);
        }
    }

    fn send(&mut self, from: NodeId, group: ShardId, message: &raft::eraftpb::Message) {
        let to = NodeId(message.to);
        let mut frame = Vec::new();
        message::encode(group, message, &mut frame);
        let frame = Bytes::from(frame);
        self.oracle.note(from.0 ^ (to.0 << 8) ^ ((frame.len() as u64) << 16));
        let copies = 1 + u64::from(self.rng.below(1000) < self.weather.doubled_permille);
        for _ in 0..copies {
            let mut delay = 50 + self.rng.below(250);
            if self.rng.below(1000) < self.weather.late_permille {
                delay += self.rng.below(1_500 * MS);
            }
            let is_lost = self.rng.below(1000) < self.weather.lost_permille;
            if !is_lost && !self.cut.contains(&(from, to)) && self.nodes.contains_key(&to) {
                self.after(delay, Happening::Message(to, frame.clone()));
            }
        }
    }

    /// Shows the oracle what the node's replicas applied and whom they lead.
    fn look_at(&mut self, id: NodeId) {
        let Self { nodes, oracle, .. } = self;
        let Some(running) = &nodes[&id].running else { return };
        for (group, window) in &running.windows {
            let mut window = window.lock();
            for applied in window.applied.drain(..) {
                oracle.applied(id, *group, applied);
            }
            for written in window.ids.drain(..) {
                oracle.applied_id(written);
            }
            let cell = &running.cells[group];
            if cell.role() == Role::Leader {
                oracle.leads(id, *group, cell.term().0);
            }
        }
    }

    /// A client may read from memory at any moment that a lease covers.
    fn check_leases(&self) {
        for (id, node) in &self.nodes {
            let Some(running) = &node.running else { continue };
            for (group, cell) in &running.cells {
                if cell.may_read(node.monotonic(self.now_us)) {
                    self.oracle.leased_read(*id, *group, running.windows[group].lock().position);
                }
            }
        }
    }

    fn take_event(&mut self, id: NodeId, life: u64, event: Event) {
        match event {
            // Not rebuilt: what its disk has stays as it is.
            Event::ReplicaFailed { reason, .. } if reason.starts_with("INV-R9") => {
                self.outlived.push(reason);
            }
            Event::ReplicaFailed { group, reason, .. } => {
                assert!(
                    reason.starts_with("injected"),
                    "{group} on {id} failed: {reason}\n{}",
                    self.describe()
                );
                self.oracle.failed.insert((id, life, group));
                if let Some(running) = self.running(id, life) {
                    running.fallen.insert(group);
                }
                let delay = 10 * MS + self.rng.below(300 * MS);
                self.after(delay, Happening::Rebuild(id, life, group));
            }
            Event::UnknownGroup { group, .. } => {
                let seed = self.rng.next();
                let is_wanted = self.wanted[&group].contains(&id);
                let Some(running) = self.running(id, life) else { return };
                // A replica that fell is known, and comes back by itself.
                if is_wanted && !running.groups().contains(&group) {
                    running.start_guest(id, group, seed);
                    self.wake_soon(id);
                }
            }
            Event::SnapshotOffered { group, from, index, .. } => {
                if self.fetching.insert((id, life, group)) {
                    let delay = MS + self.rng.below(200 * MS);
                    self.after(delay, Happening::Fetch { node: id, life, group, from, index });
                }
            }
            Event::LeaderChanged { .. } | Event::ReplicasChanged { .. } => {}
        }
    }

    fn fetch(&mut self, id: NodeId, life: u64, group: ShardId, (from, index): (NodeId, LogIndex)) {
        self.fetching.remove(&(id, life, group));
        let is_cut = self.cut.contains(&(id, from)) || self.cut.contains(&(from, id));
        let is_here =
            self.running(id, life).is_some_and(|running| running.groups().contains(&group));
        if is_cut || !is_here {
            return;
        }
        let Some(running) = &mut self.node(from).running else { return };
        running.inputs.push(Input::Group(group, GroupInput::FollowerFetches(id)));
        self.wake_soon(from);
        let files = self.node(from).files.get(&group);
        let Some(file) = files
            .and_then(|files| files.range(index.0..).next_back())
            .map(|(_, file)| file.clone())
        else {
            return;
        };
        self.node(id).keep_file(group, file.clone());
        let loaded = machine::History::load(&file.bytes);
        let fetched = GroupInput::Fetched(file.place.with(loaded));
        self.running(id, life).expect("it just was").inputs.push(Input::Group(group, fetched));
        self.wake_soon(id);
    }

    fn order_write(&mut self, id: NodeId) {
        let life = self.node(id).life;
        let Some(running) = self.running(id, life) else { return };
        if running.has_log_work() && self.writes.insert((id, life)) {
            let delay = 20 + self.rng.below(80);
            self.after(delay, Happening::Write(id, life));
        }
    }

    fn write_log(&mut self, id: NodeId, life: u64) {
        self.writes.remove(&(id, life));
        let slow = self.disk_delay_us.get(&id).copied().unwrap_or_default();
        let delay = 80 + self.rng.below(120) + if slow == 0 { 0 } else { self.rng.below(slow) };
        let Some(running) = self.running(id, life) else { return };
        if !running.has_log_work() {
            return;
        }
        if running.write_log() {
            self.after(delay, Happening::Sync(id, life));
        } else {
            self.wake_soon(id);
        }
    }

    /// Submits a command to a replica; its number.
    pub(super) fn submit(
        &mut self,
        node: NodeId,
        group: ShardId,
        access: Access,
        within_ms: u64,
    ) -> Option<u64> {
        let now_us = self.now_us;
        let id = self.next_id + 1;
        let (life, now) = (self.node(node).life, self.node(node).monotonic(now_us));
        let running = self.node(node).running.as_mut()?;
        let commands = if access == Access::Write { machine::write(id) } else { machine::read() };
        let bytes = u32::try_from(commands.len()).expect("a command is short");
        let parts = vec![Part { ticket: id, bytes, form: 0 }];
        let deadline = now.after(Duration::from_millis(within_ms));
        let run =
            Submission { group, access, commands, parts, deadline, reply_to: Arc::new(Nobody) };
        running.inputs.push(Input::Submit(vec![run]));
        self.next_id = id;
        self.oracle.ask(Question { id, node, life, group, access, deadline });
        self.wake_soon(node);
        Some(id)
    }

    fn client(&mut self) {
        if !self.has_clients {
            return;
        }
        let group = self.any_group();
        // Mostly whoever leads, sometimes anybody; old leaders are asked as long as they think they lead.
        let leaders: Vec<NodeId> =
            self.nodes.keys().copied().filter(|id| self.role(*id, group) == Role::Leader).collect();
        let node = match leaders.len() {
            0 => self.any_node(),
            count if self.rng.below(10) > 0 => {
                leaders[usize::try_from(self.rng.below(count as u64)).expect("few")]
            }
            _ => self.any_node(),
        };
        let access = if self.rng.below(3) == 0 { Access::Read } else { Access::Write };
        let within_ms = 50 + self.rng.below(1_500);
        for _ in 0..=self.rng.below(4) {
            self.submit(node, group, access, within_ms);
        }
        let delay = MS + self.rng.below(40 * MS);
        self.after(delay, Happening::Client);
    }

    pub(super) fn any_group(&mut self) -> ShardId {
        let which = self.rng.below(self.groups.len() as u64);
        self.groups[usize::try_from(which).expect("few")]
    }

    pub(super) fn any_node(&mut self) -> NodeId {
        NodeId(1 + self.rng.below(self.nodes.len() as u64))
    }

    pub(super) fn role(&self, id: NodeId, group: ShardId) -> Role {
        let running = self.nodes[&id].running.as_ref();
        running.and_then(|running| running.cells.get(&group)).map_or(Role::Down, |cell| cell.role())
    }
}
