//! What goes wrong.
//! Owns: each fault, and that no more is broken at once than the product promises to bear. Never: checks anything.
//!
//! Faults overlap: each begins at its own moment and ends at its own. What is broken for good (a disk that is lost, a bit
//! that flipped) comes to one host at a time, and to the next only when every replica is level again: a majority of
//! each group keeps its disks, as the product demands.

use keystead_replication::Role;
use keystead_types::{LogIndex, NodeId, ShardId};

use crate::coverage::Event;
use crate::net::{FAIR, Weather};
use crate::scenario::{Fault, MS};
use crate::world::{DISK_BYTES, Happening, World};

impl World {
    pub(crate) fn nemesis(&mut self) {
        if !self.is_stormy {
            return;
        }
        let delay = self.soon(2 * self.scenario.fault_every_us);
        self.after(delay, Happening::Nemesis);
        let total: u64 = self.scenario.faults.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return;
        }
        let mut drawn = self.rng.below(total);
        let mut fault = None;
        for (candidate, weight) in &self.scenario.faults {
            if drawn < *weight {
                fault = Some(*candidate);
                break;
            }
            drawn -= weight;
        }
        let Some(fault) = fault else { return };
        self.count(Event::Fault);
        self.strike(fault);
    }

    fn any_host(&mut self) -> NodeId {
        let ids = self.ids();
        ids[self.rng.index(ids.len())]
    }

    fn any_group(&mut self) -> ShardId {
        ShardId(u32::try_from(self.rng.below(u64::from(self.scenario.shards) + 1)).expect("few"))
    }

    /// A time for which something lasts: often short, sometimes longer than an election.
    fn any_while(&mut self) -> u64 {
        let long = self.scenario.election_us() * 3;
        let short = self.scenario.election_us() / 2;
        if self.rng.below(3) == 0 { self.soon(long) } else { self.soon(short) }
    }

    fn strike(&mut self, fault: Fault) {
        let (host, other, group) = (self.any_host(), self.any_host(), self.any_group());
        self.trace.line(self.now_us, format_args!("fault: {fault:?} {host} {other} {group}"));
        match fault {
            Fault::Weather => self.change_weather(),
            Fault::Isolation => self.isolate(host),
            Fault::Bridge => self.cut_for_a_while(vec![(host, other), (other, host)]),
            Fault::OneWay => self.cut_for_a_while(vec![(host, other)]),
            Fault::Pause => {
                let pause = self.any_while();
                let until = self.now_us + pause;
                self.hosts.get_mut(&host).expect("it was drawn").paused_until = until;
            }
            Fault::Crash => self.end_for_a_while(host, true),
            Fault::PowerLoss => self.end_for_a_while(host, false),
            Fault::Blackout => {
                for id in self.ids() {
                    self.end_for_a_while(id, false);
                }
            }
            Fault::FsyncError => self.hosts[&host].disk.fail_sync_after(self.rng.below(3)),
            Fault::WriteError => self.hosts[&host].disk.fail_write_after(self.rng.below(3)),
            Fault::DiskFull => self.fill_disk(host),
            Fault::DiskSlow => {
                let slow = [0, 10 * MS, 150 * MS][self.rng.index(3)] * self.scenario.scale;
                self.hosts.get_mut(&host).expect("it was drawn").disk_slow_us = slow;
            }
            Fault::BitRot => self.rot(host),
            Fault::DiskLost => {
                if self.may_lose_a_disk() {
                    self.replace_disk(host);
                }
            }
            Fault::ClockJump => self.jump_clock(host),
            Fault::ReplicaPanic => self.tell(host, |parts| parts.fail(group)),
            Fault::SnapshotWriterFalls => {
                if let Some(process) = self.process(host) {
                    process.drop_snapshot_writer();
                    self.settle_down(host);
                }
            }
            Fault::GatewayFalls => self.fell_gateway(host),
            Fault::Transfer => self.transfer(group, other),
            Fault::SnapshotNow => self.tell(host, |parts| parts.snapshot_now(group)),
            Fault::TakeDigest => self.take_digest(group),
            Fault::Join => self.join_another(),
            Fault::Flapping => {
                self.net.weather = Weather { late_permille: 400, ..FAIR };
                let left = self.rng.between(2, 12);
                self.flap(host, left);
            }
            Fault::Ambush => self.ambush(group),
        }
    }

    pub(crate) fn flap(&mut self, host: NodeId, left: u64) {
        if !self.is_stormy || left == 0 || !self.hosts.contains_key(&host) {
            return;
        }
        self.end(host, true);
        let (down, up) = (self.soon(self.scenario.election_us() / 20), self.any_while() / 4);
        self.after(down, Happening::Start(host));
        self.after(down + up, Happening::Flap(host, left - 1));
    }

    /// The voters of a group, as its leader says.
    fn voters_of(&self, group: ShardId) -> Vec<NodeId> {
        let leader = self.leader(group).and_then(|leader| self.hosts[&leader].process.as_ref());
        let members =
            leader.and_then(|process| process.parts.cell(group)).map(|cell| cell.members());
        members.map(|members| members.voters.into_iter().collect()).unwrap_or_default()
    }

    fn ambush(&mut self, group: ShardId) {
        let Some(leader) = self.leader(group) else { return };
        let mut others = self.voters_of(group);
        others.retain(|id| *id != leader && self.hosts.contains_key(id));
        if others.len() < 2 {
            return;
        }
        let cut_off = others.swap_remove(self.rng.index(others.len()));
        let voter = others.swap_remove(self.rng.index(others.len()));
        let election = self.scenario.election_us();
        let wait = self.rng.between(election, election * 3);
        let pairs = vec![(leader, cut_off), (cut_off, leader)];
        self.cut(&pairs);
        self.after(wait + election * 2, Happening::Heal(pairs));
        self.after(wait, Happening::Spring { leader, voter });
        self.workload.reads_only_until_us = self.now_us + wait;
    }

    pub(crate) fn spring(&mut self, leader: NodeId, voter: NodeId) {
        if !self.is_stormy || !self.hosts.contains_key(&voter) {
            return;
        }
        let pairs = vec![(leader, voter), (voter, leader)];
        self.cut(&pairs);
        self.after(self.scenario.election_us() * 2, Happening::Heal(pairs));
        self.end(voter, true);
        let delay = self.soon(self.scenario.election_us() / 20);
        self.after(delay, Happening::Start(voter));
    }

    fn tell(&mut self, id: NodeId, what: impl FnOnce(&keystead_node::simulation::Parts)) {
        if let Some(process) = self.process(id) {
            what(&process.parts);
            self.settle_down(id);
        }
    }

    fn change_weather(&mut self) {
        let (lost_permille, doubled_permille) = (self.rng.below(150), self.rng.below(100));
        let late_permille = self.rng.below(60);
        self.net.weather = Weather { lost_permille, doubled_permille, late_permille };
    }

    fn isolate(&mut self, host: NodeId) {
        let process = self.hosts[&host].process.as_ref();
        let leads = process.is_some_and(|process| {
            process.parts.groups().any(|(_, cell)| cell.role() == Role::Leader)
        });
        if leads {
            self.count(Event::LeaderCutOff);
        }
        let others = self.ids().into_iter().filter(|other| *other != host);
        let pairs: Vec<_> = others.flat_map(|other| [(host, other), (other, host)]).collect();
        self.cut_for_a_while(pairs);
    }

    fn cut_for_a_while(&mut self, pairs: Vec<(NodeId, NodeId)>) {
        let pause = self.any_while();
        self.cut(&pairs);
        self.after(pause, Happening::Heal(pairs));
    }

    fn end_for_a_while(&mut self, host: NodeId, has_power: bool) {
        self.end(host, has_power);
        let delay = self.any_while();
        self.after(delay, Happening::Start(host));
    }

    fn fill_disk(&mut self, host: NodeId) {
        let disk = &self.hosts[&host].disk;
        let is_filled = self.rng.below(2) == 0;
        let used: usize =
            disk.paths().iter().filter_map(|path| disk.contents(path)).map(|c| c.len()).sum();
        let room = self.rng.below(16 * 1024);
        disk.set_capacity_bytes(if is_filled { used as u64 + room } else { DISK_BYTES });
    }

    /// True if every group can do without another disk.
    fn may_lose_a_disk(&self) -> bool {
        let is_sound = |host: &crate::world::Host| {
            host.process.is_some() && !host.is_rotten && host.paused_until <= self.now_us
        };
        self.control.is_full
            && self.hosts.values().all(is_sound)
            && self.hosts.len() >= 3
            && self.is_everybody_known()
            // A group of two, while a third is on its way in, can do without none.
            && self.groups().all(|group| self.voters_of(group).len() >= 3)
    }

    /// Flips a bit of something that is certainly durable: a segment behind the one that is written to, or a snapshot.
    ///
    /// Not of the newest segment: of its last block the log cannot know that it was synced (`wal::recovery`).
    fn rot(&mut self, id: NodeId) {
        if !self.may_lose_a_disk() {
            return;
        }
        let disk = self.hosts[&id].disk.clone();
        let paths = disk.paths();
        let is_segment = |path: &&std::path::PathBuf| {
            path.extension().is_some_and(|extension| extension == "seg")
        };
        let mut segments: Vec<_> = paths.iter().filter(is_segment).cloned().collect();
        segments.pop();
        let snapshots = paths.iter().filter(|p| p.extension().is_some_and(|e| e == "snap"));
        segments.extend(snapshots.cloned());
        let Some(path) = self.rng.pick(&segments).cloned() else { return };
        let length = disk.contents(&path).map_or(0, |bytes| bytes.len() as u64);
        if length == 0 {
            return;
        }
        let (offset, bit) = (self.rng.below(length), self.rng.below(8));
        disk.flip_bit(&path, offset, u8::try_from(bit).expect("below 8"));
        let host = self.hosts.get_mut(&id).expect("it was drawn");
        host.is_rotten = true;
        self.trace.line(self.now_us, format_args!("{id}: {} rots at {offset}", path.display()));
        // Nobody reads it again before the next start.
        self.end_for_a_while(id, true);
    }

    fn jump_clock(&mut self, host: NodeId) {
        let ms = i64::try_from(self.rng.below(16_000)).expect("small") - 8_000;
        self.hosts[&host].clock.set_wall_offset_ms(ms);
        self.count(Event::ClockJumped);
    }

    fn fell_gateway(&mut self, host: NodeId) {
        let seed = self.rng.next();
        if let Some(process) = self.process(host) {
            process.replace_desk(seed);
            self.node_gone(host);
            self.settle_down(host);
        }
    }

    fn transfer(&mut self, group: ShardId, to: NodeId) {
        if let Some(leader) = self.leader(group) {
            let action = keystead_topology::Action::TransferLeader { to };
            let step = keystead_topology::Step { shard: group, action };
            self.tell(leader, |parts| parts.change(step));
        }
    }

    fn take_digest(&mut self, group: ShardId) {
        let Some(leader) = self.leader(group) else { return };
        let taken = std::sync::Arc::clone(&self.digests_taken);
        let done = move |index: Option<LogIndex>| {
            taken.lock().extend(index.map(|index| (group, index)));
        };
        self.tell(leader, |parts| parts.take_digest(group, done));
    }

    fn join_another(&mut self) {
        if self.hosts.len() >= self.scenario.hosts_max || !self.control.is_full {
            return;
        }
        let place = (1..).find(|place| !self.places().contains(place)).expect("places abound");
        let id = self.add_host(place);
        self.after(0, Happening::Start(id));
    }

    /// Ends everything that goes wrong. What was broken for good stays broken.
    pub(crate) fn calm_down(&mut self) {
        self.is_stormy = false;
        self.net.weather = FAIR;
        let cut: Vec<_> = self.net.cut.iter().copied().collect();
        self.heal(&cut);
        for id in self.ids() {
            let host = self.hosts.get_mut(&id).expect("it is there");
            host.paused_until = 0;
            host.disk_slow_us = 0;
            host.disk.set_capacity_bytes(DISK_BYTES);
            self.after(0, Happening::Start(id));
            self.settle_down(id);
        }
    }
}
