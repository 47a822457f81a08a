//! The lives of nodes: starting, turns, the log, snapshots, ends.
//! Owns: when each step of a process is taken and what comes of it. Never: chooses faults.

use std::sync::Arc;

use keystead_node::simulation::Parts;
use keystead_replication::simulation::Asked;
use keystead_replication::transport::FrameKind;
use keystead_replication::{Event as NodeEvent, Role};
use keystead_types::{NodeId, ShardId};
use keystead_wal::{Batch, Kind, WalError};

use crate::coverage::Event;
use crate::process::{Birth, BirthError, Process, open_log};
use crate::scenario::MS;
use crate::world::{Happening, World};

impl World {
    fn birth(&mut self, id: NodeId) -> Birth {
        let (seed, settings, segment_bytes) =
            (self.rng.next(), self.parts_settings(), self.scenario.segment_bytes);
        let host = &self.hosts[&id];
        let (disk, clock) = (host.disk.clone(), Arc::clone(&host.clock));
        let life = host.life + 1;
        Birth { id, life, disk, clock, settings, segment_bytes, seed }
    }

    /// Writes what a founder writes before its first start.
    pub(crate) fn found(&mut self) {
        let id = NodeId(1);
        let birth = self.birth(id);
        let (mut log, _) = open_log(&birth).expect("an empty disk takes a log");
        let mut records = Batch::new();
        Parts::founding(id, self.scenario.shards, &mut records);
        log.append(&mut records).expect("the disk has room");
        log.close().expect("the disk works");
        birth.disk.process_exit();
    }

    pub(crate) fn start(&mut self, id: NodeId) {
        if !self.hosts.contains_key(&id) {
            return;
        }
        let birth = self.birth(id);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.process.is_some() {
            return;
        }
        host.life += 1;
        let life = host.life;
        keystead_types::mistakes::set_clock_ms(0);
        match Process::start(birth) {
            Ok((process, recovered)) => {
                self.count_recovery(id, &process, recovered.torn_tail.is_some());
                let host = self.hosts.get_mut(&id).expect("it was just here");
                host.shadow.restart(&process.recovered_last);
                host.is_rotten = false;
                host.process = Some(process);
                self.trace.line(self.now_us, format_args!("{id} starts life {life}"));
                self.trace.note(id.0 << 8 | 1);
                self.after(0, Happening::Pace(id, life));
                self.after(0, Happening::KeepLog(id, life));
                self.connect_all(id);
                self.settle_down(id);
            }
            Err(error) => self.stillborn(id, &error),
        }
    }

    fn count_recovery(&mut self, id: NodeId, process: &Process, is_torn: bool) {
        let host = &self.hosts[&id];
        let gauges_of = |group: ShardId| {
            process.here.contains(&group).then(|| process.recovered_last.get(&group).copied())
        };
        let checked: Vec<ShardId> = host.shadow.groups().collect();
        for group in checked {
            host.shadow.recovered(id, group, gauges_of(group).flatten());
        }
        let has_past = !process.here.is_empty() && host.life > 1;
        if is_torn {
            self.count(Event::TornTail);
        }
        if has_past {
            self.count(Event::ReplicaRecovered);
        }
    }

    /// A node does not start: because its disk is damaged, and then is replaced, as the error says; or because the disk
    /// failed a write or an fsync, and then the next start is another try.
    fn stillborn(&mut self, id: NodeId, error: &BirthError) {
        self.trace.line(self.now_us, format_args!("{id} refuses its disk: {error:?}"));
        let host = self.hosts.get_mut(&id).expect("it was just here");
        host.disk.process_exit();
        if host.is_rotten {
            self.count(Event::DamageRefused);
            return self.replace_disk(id);
        }
        let is_failure = matches!(error, BirthError::Log(error) if error.kind() != Kind::Corrupt);
        assert!(is_failure, "{id} does not start, and its disk is sound: {error:?}");
        self.count(Event::FatalDisk);
        let delay = self.soon(1_000 * MS) * self.scenario.scale;
        self.after(delay, Happening::Start(id));
    }

    /// The host comes back as a new node, with an empty disk.
    pub(crate) fn replace_disk(&mut self, id: NodeId) {
        self.end(id, true);
        let Some(host) = self.hosts.remove(&id) else { return };
        self.net.forget(id);
        let new = self.add_host(host.place);
        self.trace.line(self.now_us, format_args!("{id} lost its disk and comes back as {new}"));
        self.count(Event::DiskReplaced);
        let delay = self.soon(2_000 * MS) * self.scenario.scale;
        self.after(delay, Happening::Start(new));
    }

    /// Ends a node's life. Without power the disk loses what was not synced.
    pub(crate) fn end(&mut self, id: NodeId, has_power: bool) {
        let seed = self.rng.next();
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let Some(process) = host.process.take() else {
            // What a dead process left in the page cache is lost with the power, too.
            if !has_power {
                host.disk.power_loss(seed);
            }
            return;
        };
        let is_before_reply = process.is_syncing();
        drop(process);
        if has_power {
            host.disk.process_exit();
        } else {
            host.disk.power_loss(seed);
        }
        host.paused_until = 0;
        if is_before_reply {
            self.count(Event::CrashBeforeReply);
        }
        self.count(if has_power { Event::Crash } else { Event::PowerLoss });
        self.trace.line(self.now_us, format_args!("{id} ends, power {has_power}"));
        self.disconnect_all(id);
        self.node_gone(id);
    }

    /// The log failed: the process ends, as the product's does, and comes back.
    pub(crate) fn fatal(&mut self, id: NodeId, error: &WalError) {
        self.trace.line(self.now_us, format_args!("{id} ends: {error}"));
        self.count(Event::FatalDisk);
        self.end(id, true);
        let delay = self.soon(1_000 * MS) * self.scenario.scale;
        self.after(delay, Happening::Start(id));
    }

    /// Sees to whatever the last step left behind in a process. To be called after anything touched it.
    pub(crate) fn settle_down(&mut self, id: NodeId) {
        let delay = self.rng.below(60);
        let now_us = self.now_us;
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let (life, Some(process)) = (host.life, &mut host.process) else { return };
        let mut plans = Vec::new();
        if process.take_ring() && !process.is_pump_planned {
            process.is_pump_planned = true;
            plans.push((now_us + delay / 2, Happening::Pump(id, life)));
        }
        let tick_at = host.clock.world_us_of(process.parts.next_tick()).max(now_us);
        let wanted = if process.parts.has_inputs() { now_us + delay } else { tick_at };
        if process.turn_at.is_none_or(|at| at > wanted) {
            process.turn_at = Some(wanted);
            plans.push((wanted, Happening::Turn(id, life)));
        }
        if process.has_log_work() {
            process.is_log_busy = true;
            plans.push((now_us + 10 + delay, Happening::WriteLog(id, life)));
        }
        if process.has_snapshot_work() && !process.is_writing_snapshots {
            process.is_writing_snapshots = true;
            plans.push((now_us + 50 + delay * 4, Happening::WriteSnapshot(id, life)));
        }
        let posts = process.posts.take();
        for (at, plan) in plans {
            self.at(at, plan);
        }
        for (to, kind, payload) in posts {
            self.post(id, to, kind, payload);
        }
        self.send_replies(id);
    }

    pub(crate) fn turn(&mut self, id: NodeId, life: u64) {
        let now_us = self.now_us;
        let Some(process) = self.alive(id, life) else { return };
        if process.turn_at.is_none_or(|at| at > now_us) {
            return;
        }
        process.turn_at = None;
        keystead_types::mistakes::set_clock_ms(
            keystead_types::Clock::unix_now(&**process.parts.clock()).0,
        );
        let token_before = process.parts.token();
        let asked = process.turn();
        let token = process.parts.token();
        debug_assert!(token == token_before + 1, "one turn, one token");
        self.carry_out(id, life, asked);
        self.settle_down(id);
    }

    pub(crate) fn carry_out(&mut self, id: NodeId, life: u64, asked: Asked) {
        self.note_log(id);
        for applied in &asked.applied {
            let process = self.process(id).expect("it just took a turn");
            let role = process.parts.cell(applied.group).map_or(Role::Down, |cell| cell.role());
            self.trace.note(applied.index.0 ^ u64::from(applied.entry.unwrap_or(1)) << 32);
            self.checks.applied((id, life), applied, role, &mut self.coverage);
        }
        self.look_at_leaders(id, &asked);
        for frame in asked.frames {
            self.send(id, frame.to, FrameKind::RAFT, frame.payload);
        }
        for event in asked.events {
            self.node_event(id, life, event);
        }
    }

    /// What the log will have for certain once this turn's records are synced.
    fn note_log(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let Some(process) = &host.process else { return };
        if let Some(token) = process.newest_log_work() {
            let gauges = process.parts.gauges();
            let ends = gauges.iter().map(|(group, gauges)| (*group, gauges.last)).collect();
            host.shadow.submitted(token, ends);
        }
    }

    /// Who leads, and whether leases still stand for what others were told.
    fn look_at_leaders(&mut self, id: NodeId, asked: &Asked) {
        if asked.applied.is_empty() && asked.events.is_empty() {
            return;
        }
        let Some(process) = self.hosts.get(&id).and_then(|host| host.process.as_ref()) else {
            return;
        };
        for (group, cell) in process.parts.groups() {
            if cell.role() == Role::Leader {
                self.checks.leads(id, group, cell.term(), &mut self.coverage);
            }
        }
        for applied in &asked.applied {
            for (other, host) in &self.hosts {
                let Some(process) = &host.process else { continue };
                let now = keystead_types::Clock::monotonic_now(&*host.clock);
                if let Some(cell) = process.parts.cell(applied.group)
                    && cell.may_read(now)
                {
                    self.checks.leased(*other, applied.group, cell.applied());
                }
            }
        }
    }

    fn node_event(&mut self, id: NodeId, life: u64, event: NodeEvent) {
        self.trace.note_bytes(format!("{event:?}").as_bytes());
        self.trace.line(self.now_us, format_args!("{id} {event:?}"));
        match event {
            NodeEvent::LeaderChanged { .. } => {}
            NodeEvent::ReplicasChanged { .. } => self.count(Event::MembersChanged),
            NodeEvent::ReplicaFailed { group, reason, .. } => {
                assert!(reason.starts_with("injected"), "{group} on {id} panicked: {reason}");
                self.checks.gone(id, life, group);
                if let Some(process) = self.alive(id, life) {
                    process.parts.set_down(group, &reason);
                }
                let delay = self.soon(100 * MS);
                self.after(delay, Happening::Rebuild(id, life, group));
            }
            NodeEvent::UnknownGroup { group, .. } => self.guest(id, life, group),
            NodeEvent::SnapshotOffered { group, from, index, term } => {
                if let Some(process) = self.alive(id, life) {
                    process.offer(group, from, (index, term));
                    let step = process.fetch_next();
                    self.fetch(id, life, step);
                }
            }
        }
    }

    /// A peer speaks to a group without a replica here: brings one in, unless the topology says it is a mistake.
    fn guest(&mut self, id: NodeId, life: u64, group: ShardId) {
        let seed = self.rng.next();
        let is_registered = self.control.is_member(id);
        let Some(process) = self.alive(id, life) else { return };
        let topology = process.parts.topology();
        let may_host = !topology.is_founded() || topology.shards().contains_key(&group);
        if !may_host || !is_registered || process.here.contains(&group) {
            return;
        }
        match process.start_guest(group, seed) {
            Ok(()) => self.settle_down(id),
            Err(BirthError::Log(error)) => self.fatal(id, &error),
            Err(error) => panic!("a guest of {group} on {id} cannot begin: {error:?}"),
        }
    }

    pub(crate) fn rebuild(&mut self, id: NodeId, life: u64, group: ShardId) {
        let seed = self.rng.next();
        let is_rotten = self.hosts.get(&id).is_some_and(|host| host.is_rotten);
        let Some(process) = self.alive(id, life) else { return };
        if !process.here.contains(&group) {
            return;
        }
        match process.rebuild(group, seed) {
            Ok(true) => {
                self.count(Event::ReplicaRebuilt);
                self.settle_down(id);
            }
            Ok(false) => self.after(100 * MS, Happening::Rebuild(id, life, group)),
            Err(error) if is_rotten => {
                self.trace.line(self.now_us, format_args!("{group} on {id}: {error:?}"));
                self.count(Event::DamageRefused);
                self.replace_disk(id);
            }
            Err(BirthError::Log(error)) => self.fatal(id, &error),
            Err(error) => panic!("{group} on {id} cannot be rebuilt: {error:?}"),
        }
    }

    pub(crate) fn write_log(&mut self, id: NodeId, life: u64) {
        let slow = self.hosts.get(&id).map_or(0, |host| host.disk_slow_us);
        let delay = 80 + self.rng.below(120) + if slow == 0 { 0 } else { self.rng.below(slow) };
        let Some(process) = self.alive(id, life) else { return };
        let was_full = process.is_full;
        match process.write_log() {
            Ok(true) => self.after(delay, Happening::SyncLog(id, life)),
            Ok(false) => {
                process.is_log_busy = process.waits_for_room();
                if process.is_log_busy {
                    if !was_full {
                        self.count(Event::DiskWasFull);
                    }
                    self.after(20 * MS, Happening::WriteLog(id, life));
                }
            }
            Err(error) => return self.fatal(id, &error),
        }
        self.settle_down(id);
    }

    pub(crate) fn sync_log(&mut self, id: NodeId, life: u64) {
        let Some(process) = self.alive(id, life) else { return };
        let token = process.written_token();
        if let Err(error) = process.sync_log() {
            return self.fatal(id, &error);
        }
        if let (Some(token), Some(host)) = (token, self.hosts.get_mut(&id)) {
            host.shadow.synced(token);
        }
        self.settle_down(id);
    }

    /// Once in a while: what the log's writer does when nobody asks, and the bounds of memory.
    pub(crate) fn keep_log(&mut self, id: NodeId, life: u64) {
        let every = 200 * MS * self.scenario.scale;
        let bytes_max = self.scenario.replication.lagging_log_bytes_max * 8 + 512 * 1024;
        let queue_max = self.scenario.replication.queue_bytes_max;
        let Some(process) = self.alive(id, life) else { return };
        if !process.is_log_busy && process.has_unsynced() {
            process.is_log_busy = true;
            self.after(100, Happening::SyncLog(id, life));
        } else if let Err(error) = process.keep_log() {
            return self.fatal(id, &error);
        }
        let process = self.alive(id, life).expect("it was just here");
        for (group, gauges) in process.parts.gauges() {
            assert!(gauges.log_bytes <= bytes_max, "{group} on {id} holds {gauges:?}");
            assert!(gauges.queue_bytes <= queue_max, "{group} on {id} holds {gauges:?}");
        }
        self.after(every, Happening::KeepLog(id, life));
        self.settle_down(id);
    }

    pub(crate) fn write_snapshot(&mut self, id: NodeId, life: u64) {
        let delay = 100 + self.rng.below(2 * MS);
        let Some(process) = self.alive(id, life) else { return };
        let (has_more, is_complete) = process.write_snapshot();
        process.is_writing_snapshots = has_more;
        if has_more {
            self.after(delay, Happening::WriteSnapshot(id, life));
        }
        if is_complete {
            self.count(Event::SnapshotTaken);
        }
        self.settle_down(id);
    }

    pub(crate) fn pace(&mut self, id: NodeId, life: u64) {
        let is_busy = self.workload.is_busy();
        let every = if is_busy { 5 * MS } else { 100 * MS } * self.scenario.scale;
        let tells = self.rng.below(if is_busy { 4 } else { 1 }) == 0;
        let Some(process) = self.alive(id, life) else { return };
        process.parts.pace();
        let time = process.parts.time_to_tell();
        if tells {
            for other in self.running() {
                if other != id {
                    let payload = bytes::Bytes::copy_from_slice(&time);
                    self.send(id, other, FrameKind::CLOCK, payload);
                }
            }
        }
        self.after(every, Happening::Pace(id, life));
        self.settle_down(id);
    }

    pub(crate) fn pump(&mut self, id: NodeId, life: u64) {
        let Some(process) = self.alive(id, life) else { return };
        process.is_pump_planned = false;
        while process.desk.pump() {}
        self.settle_down(id);
    }
}
