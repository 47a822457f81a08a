//! When all is well again, and what must be true then.
//! Owns: the state of rest, the deadline by which it must come, the comparison of replicas and of what clients were told
//! with what is there. Never: faults.

use std::fmt::Write as _;
use std::sync::Arc;

use keystead_replication::Role;
use keystead_types::ShardId;
use parking_lot::Mutex;

use crate::coverage::Event;
use crate::process::Process;
use crate::scenario::{MS, SECOND};
use crate::world::{Happening, Host, World};

/// Digests that were taken, and where.
pub type DigestsTaken = Arc<Mutex<Vec<(ShardId, keystead_types::LogIndex)>>>;

impl World {
    /// How long it may take until all is well: steps of a move take seconds each, and some wait for timeouts.
    fn rest_us(&self) -> u64 {
        (60 + 20 * u64::from(self.scenario.shards + 1)) * SECOND * self.scenario.scale
    }

    /// Waits until all is well, then compares.
    pub fn rest(&mut self) {
        self.calm_down();
        self.workload.is_open = false;
        let within = self.rest_us();
        self.run_until("rest", within, |world| world.is_at_rest());
        self.compare_replicas();
        self.workload.leave_all(&mut self.coverage);
        self.compare_with_what_is_there();
    }

    /// True if every host's node is known by its present life, and no other node is counted on.
    pub(crate) fn is_everybody_known(&self) -> bool {
        let topology = self
            .leader(ShardId::META)
            .and_then(|leader| Some(self.hosts.get(&leader)?.process.as_ref()?.parts.topology()));
        let Some(topology) = topology else { return false };
        self.hosts.iter().all(|(id, host)| {
            topology.nodes().get(id).is_some_and(|known| known.incarnation == host.life)
        })
    }

    fn is_at_rest(&mut self) -> bool {
        let has_started = |host: &Host| host.process.as_ref().is_some_and(Process::is_log_short);
        self.hosts.values().all(has_started)
            && !self.workload.is_busy()
            && self.control.is_full
            && self.is_everybody_known()
            && self.groups().all(|group| self.is_group_at_rest(group))
    }

    /// True if the group has its replicas where the topology wants them, all of them level.
    fn is_group_at_rest(&self, group: ShardId) -> bool {
        let Some(leader) = self.leader(group) else { return false };
        let Some(process) = &self.hosts[&leader].process else { return false };
        let Some(cell) = process.parts.cell(group) else { return false };
        let (members, level) = (cell.members(), cell.log_bounds().1);
        let wanted = self.hosts.len().min(keystead_types::limits::REPLICAS_DEFAULT);
        let is_level = |id: &keystead_types::NodeId| {
            let process = self.hosts.get(id).and_then(|host| host.process.as_ref());
            process.and_then(|process| process.parts.cell(group)).is_some_and(|cell| {
                cell.applied() == level
                    && cell.role() != Role::Down
                    && cell.leader() == Some(leader)
            })
        };
        members.learners.is_empty()
            && members.voters.len() == wanted
            && members.voters.iter().all(is_level)
    }

    /// Replicas at one index hold one state (INV-R1).
    fn compare_replicas(&mut self) {
        for group in self.groups().collect::<Vec<_>>() {
            let Some(leader) = self.leader(group) else { continue };
            let taken = Arc::clone(&self.digests_taken);
            let done = move |index: Option<keystead_types::LogIndex>| {
                taken.lock().extend(index.map(|index| (group, index)));
            };
            if let Some(process) = self.process(leader) {
                process.parts.take_digest(group, done);
                self.settle_down(leader);
            }
        }
        self.run_for(2 * self.scenario.election_us());
        let taken = std::mem::take(&mut *self.digests_taken.lock());
        for (group, index) in taken {
            for id in self.ids() {
                let found = Arc::new(Mutex::new(None));
                let copy = Arc::clone(&found);
                let Some(process) = self.process(id) else { continue };
                process.parts.digest_at(group, index, move |digest| *copy.lock() = digest);
                self.settle_down(id);
                self.run_for(MS);
                let digest = found.lock().take();
                if let Some(digest) = digest
                    && self.checks.digest(id, group, index, digest)
                {
                    self.count(Event::DigestCompared);
                }
            }
        }
    }

    /// What objects hold must be what their histories allow: nothing lost, nothing twice.
    fn compare_with_what_is_there(&mut self) {
        self.finals = self.workload.judged().into_iter().collect();
        let judge = self.scenario.clients;
        let within = 30 * SECOND * self.scenario.scale;
        let mut asked = false;
        self.run_until("a look at every object", within, |world| {
            if world.finals.is_empty() && !world.workload.is_busy() {
                return true;
            }
            if !asked || !world.workload.is_busy() {
                asked = true;
                let epoch = world.workload.clients[judge].epoch;
                world.after(0, Happening::Client(judge, epoch));
            }
            false
        });
        self.workload.forget_judged();
    }

    /// The cluster as it is, for whoever looks at a failure.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!(
            "at {:.3} s; full {}, stormy {}, clients busy {}, cut {:?}\n",
            self.now_us as f64 / 1e6,
            self.control.is_full,
            self.is_stormy,
            self.workload.is_busy(),
            self.net.cut
        );
        for (id, host) in &self.hosts {
            let Some(process) = &host.process else {
                writeln!(text, "  {id} down").expect("a string takes all");
                continue;
            };
            let topology = process.parts.topology();
            writeln!(text, "  {id} life {} topology as of {}", host.life, topology.applied())
                .expect("a string takes all");
            for (group, cell) in process.parts.groups() {
                writeln!(
                    text,
                    "    {group} {:?} of {:?} {:?} commit={} applied={} log={:?} snapshot={} {:?} {:?}",
                    cell.role(),
                    cell.leader(),
                    cell.term(),
                    cell.commit(),
                    cell.applied(),
                    cell.log_bounds(),
                    cell.snapshot(),
                    cell.members(),
                    cell.progress()
                )
                .expect("a string takes all");
            }
        }
        if let Some(leader) = self.leader(ShardId::META)
            && let Some(process) = &self.hosts[&leader].process
        {
            let topology = process.parts.topology();
            writeln!(text, "  nodes {:?}\n  shards {:?}", topology.nodes(), topology.shards())
                .expect("a string takes all");
        }
        text
    }
}
