//! What goes wrong, who belongs to which group, and when all is well again.
//! Owns: the nemesis, the reconciler that moves replicas to where they are wanted, the state of rest.
//! Never: checks a promise (see `oracle`).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use keystead_types::{NodeId, ShardId};

use super::world::{FAIR, Happening, MS, Weather, World};
use crate::cell::{GroupCell, Members, Role};
use crate::entry::ReplicaChange;
use crate::outcome::Access;
use crate::settings::Durability;
use crate::worker::{GroupInput, Input};

impl World {
    /// Lets things go wrong for so long.
    pub(super) fn torment_ms(&mut self, ms: u64) {
        self.has_clients = true;
        self.has_nemesis = true;
        self.after(0, Happening::Client);
        self.after(0, Happening::Nemesis);
        self.run_ms(ms);
        self.has_nemesis = false;
    }

    pub(super) fn nemesis(&mut self) {
        if !self.has_nemesis {
            return;
        }
        let (node, other, group) = (self.any_node(), self.any_node(), self.any_group());
        match self.rng.below(24) {
            0 | 1 => self.isolate(node),
            2 => drop(self.cut.insert((node, other))),
            3 => self.cut.extend([(node, other), (other, node)]),
            4..=7 => self.cut.clear(),
            8 | 9 => self.crash_for_a_while(node, true),
            10 | 11 => {
                self.crash_for_a_while(node, self.settings.durability == Durability::Replicated)
            }
            12 => {
                let pause = 20 * MS + self.rng.below(900 * MS);
                self.paused_until.insert(node, self.now_us + pause);
            }
            13 => {
                let jump = self.rng.below(10_000);
                self.node(node).wall_ms = 995_000 + jump;
            }
            14 => self.doom(node, group),
            15 => self.tell(node, group, GroupInput::Fail("injected: as asked".to_owned())),
            16 | 17 => self.tell_leader(group, GroupInput::Transfer(other)),
            18 => self.swap(group),
            19 => self.tell(node, group, GroupInput::SnapshotNow),
            20 => {
                let slow = [0, 10 * MS, 150 * MS][usize::try_from(self.rng.below(3)).expect("few")];
                self.disk_delay_us.insert(node, slow);
            }
            21 => {
                let (lost_permille, doubled_permille) = (self.rng.below(150), self.rng.below(100));
                self.weather =
                    Weather { lost_permille, doubled_permille, late_permille: self.rng.below(60) };
            }
            22 if self.is_full.remove(&node) => {}
            22 => drop(self.is_full.insert(node)),
            _ => {
                if let Some(running) = &mut self.node(node).running {
                    running.inputs.push(Input::ResignAll);
                    self.wake_soon(node);
                }
            }
        }
        let delay = 20 * MS + self.rng.below(250 * MS);
        self.after(delay, Happening::Nemesis);
    }

    pub(super) fn isolate(&mut self, node: NodeId) {
        for other in self.nodes.keys().copied() {
            self.cut.extend([(node, other), (other, node)]);
        }
    }

    fn crash_for_a_while(&mut self, node: NodeId, has_power: bool) {
        self.crash(node, has_power);
        let delay = 20 * MS + self.rng.below(1_200 * MS);
        self.after(delay, Happening::Restart(node));
    }

    pub(super) fn doom(&mut self, node: NodeId, group: ShardId) {
        if let Some(window) =
            self.node(node).running.as_ref().and_then(|running| running.windows.get(&group))
        {
            window.lock().is_doomed = true;
        }
    }

    pub(super) fn tell(
        &mut self,
        node: NodeId,
        group: ShardId,
        input: GroupInput<super::machine::Ledger>,
    ) {
        if let Some(running) = &mut self.node(node).running {
            running.inputs.push(Input::Group(group, input));
            self.wake_soon(node);
        }
    }

    pub(super) fn tell_leader(
        &mut self,
        group: ShardId,
        input: GroupInput<super::machine::Ledger>,
    ) {
        if let Some(leader) = self.leader(group) {
            self.tell(leader, group, input);
        }
    }

    /// One replica of the group is to move to a node that has none.
    fn swap(&mut self, group: ShardId) {
        let spare: Vec<NodeId> =
            self.nodes.keys().copied().filter(|id| !self.wanted[&group].contains(id)).collect();
        let Some(spare) = spare.first().copied() else { return };
        let is_settled = self.leader(group).is_some_and(|leader| {
            let members = self.members(leader, group);
            members.learners.is_empty() && members.voters.len() == self.wanted[&group].len()
        });
        if is_settled {
            let leaving = self.any_node();
            let wanted = self.wanted.get_mut(&group).expect("every group is wanted somewhere");
            if wanted.remove(&leaving) {
                wanted.insert(spare);
            }
        }
    }

    /// The replica that leads in the highest term, as far as the replicas say.
    pub(super) fn leader(&self, group: ShardId) -> Option<NodeId> {
        let leaders = self.nodes.keys().copied().filter(|id| self.role(*id, group) == Role::Leader);
        leaders.max_by_key(|id| self.cell(*id, group).map(|cell| cell.term()))
    }

    pub(super) fn cell(&self, id: NodeId, group: ShardId) -> Option<&Arc<GroupCell>> {
        self.nodes[&id].running.as_ref()?.cells.get(&group)
    }

    pub(super) fn members(&self, id: NodeId, group: ShardId) -> Members {
        self.cell(id, group).map(|cell| cell.members()).unwrap_or_default()
    }

    /// One step of each group towards where it is wanted.
    pub(super) fn reconcile(&mut self) {
        for group in self.groups.clone() {
            if let Some(leader) = self.leader(group) {
                self.change_one(group, leader);
                self.let_go_of_removed(group, leader);
            }
        }
        self.after(40 * MS, Happening::Reconcile);
    }

    fn change_one(&mut self, group: ShardId, leader: NodeId) {
        let (members, wanted) = (self.members(leader, group), self.wanted[&group].clone());
        let Some(cell) = self.cell(leader, group) else { return };
        let (progress, applied) = (cell.progress(), cell.applied());
        let is_member = |id: &NodeId| members.voters.contains(id) || members.learners.contains(id);
        // A learner without a state cannot vote: it must never be counted on before it has taken its snapshot.
        let is_level = |id: &NodeId| {
            let mut all = progress.iter();
            all.any(|p| {
                p.node == *id && p.is_active && p.matched.0 > 0 && p.matched.0 + 20 >= applied.0
            })
        };
        let change = if let Some(learner) = members.learners.iter().find(|id| wanted.contains(id)) {
            is_level(learner).then_some(ReplicaChange::Promote(*learner))
        } else if let Some(missing) = wanted.iter().find(|id| !is_member(id)) {
            Some(ReplicaChange::AddLearner(*missing))
        } else {
            let mut extra =
                members.voters.iter().chain(&members.learners).filter(|id| !wanted.contains(id));
            extra.next().map(|id| ReplicaChange::Remove(*id))
        };
        match change {
            Some(ReplicaChange::Remove(id)) if id == leader => {
                let heir = members.voters.iter().copied().find(|id| wanted.contains(id));
                if let Some(heir) = heir {
                    self.tell(leader, group, GroupInput::Transfer(heir));
                }
            }
            Some(change) => self.tell(leader, group, GroupInput::Change(change, Box::new(|_| {}))),
            None => {}
        }
    }

    fn let_go_of_removed(&mut self, group: ShardId, leader: NodeId) {
        let (members, now_us) = (self.members(leader, group), self.now_us);
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            let is_gone = !self.wanted[&group].contains(&id)
                && !members.voters.contains(&id)
                && !members.learners.contains(&id)
                && members.index > self.members(id, group).index
                && self.cell(id, group).is_some();
            if is_gone {
                let life = self.node(id).life;
                self.oracle.failed.insert((id, life, group));
                self.node(id).let_go(group, now_us);
                self.wake_soon(id);
            }
        }
    }

    /// Ends everything that goes wrong and waits until all is well: every replica where it is wanted, level,
    /// everything answered, and a write accepted.
    pub(super) fn settle(&mut self) {
        assert!(self.outlived.is_empty(), "{:?}", self.outlived);
        self.has_nemesis = false;
        self.has_clients = false;
        self.calm();
        self.run_until("rest", 30_000, Self::is_at_rest);
        for group in self.groups.clone() {
            self.write_once(group);
        }
        self.run_until("rest", 5_000, Self::is_at_rest);
        self.check_bounds();
        for group in self.groups.clone() {
            for node in self.wanted[&group].clone() {
                let ids = self.history(node, group);
                self.oracle.finish(group, &ids);
            }
        }
    }

    /// A write is accepted; if a transfer was still under way, at the second or third try.
    fn write_once(&mut self, group: ShardId) {
        for _ in 0..3 {
            self.run_until("a leader", 5_000, |world| world.leader(group).is_some());
            let leader = self.leader(group).expect("there is one");
            let id = self.submit(leader, group, Access::Write, 1_000).expect("the leader runs");
            self.run_until("an answer", 1_100, |world| world.oracle.is_all_answered());
            if self.oracle.is_acknowledged(id) {
                return;
            }
        }
        panic!("no write is accepted by {group}:\n{}", self.describe());
    }

    fn calm(&mut self) {
        self.weather = FAIR;
        self.cut.clear();
        self.paused_until.clear();
        self.disk_delay_us.clear();
        self.is_full.clear();
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.after(0, Happening::Restart(id));
            if let Some(running) = &self.nodes[&id].running {
                running.windows.values().for_each(|window| window.lock().is_doomed = false);
            }
            self.wake_soon(id);
        }
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.oracle.is_all_answered()
            && self.groups.iter().all(|group| self.is_group_at_rest(*group))
    }

    fn is_group_at_rest(&self, group: ShardId) -> bool {
        let Some(leader) = self.leader(group) else { return false };
        let Some(level) = self.cell(leader, group).map(|cell| cell.log_bounds().1) else {
            return false;
        };
        let members = self.members(leader, group);
        members.learners.is_empty()
            && self.wanted[&group].contains(&leader)
            && members.voters.iter().copied().collect::<BTreeSet<_>>() == self.wanted[&group]
            && self.wanted[&group].iter().all(|id| {
                self.cell(*id, group)
                    .is_some_and(|cell| cell.applied() == level && cell.leader() == Some(leader))
            })
    }

    /// What waits for the log is soon reported: nothing gathers while nothing happens.
    fn check_bounds(&mut self) {
        self.run_ms(20);
        for (id, node) in &self.nodes {
            let running = node.running.as_ref().expect("every node runs at rest");
            for (group, member) in &running.worker.members {
                assert!(!member.group.awaits_log(), "{group} on {id} still waits for the log");
            }
        }
    }

    fn history(&mut self, node: NodeId, group: ShardId) -> Vec<u64> {
        let ids = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let copy = Arc::clone(&ids);
        let inspect = move |machine: &mut super::machine::Ledger| {
            copy.lock().clone_from(&machine.state().ids)
        };
        self.tell(node, group, GroupInput::Inspect(Box::new(inspect)));
        self.run_ms(1);
        let ids = ids.lock().clone();
        assert!(!ids.is_empty(), "{node} has no history of {group}");
        ids
    }

    pub(super) fn describe(&self) -> String {
        let mut text = format!("at {} ms, wanted {:?}\n", self.now_us / MS, self.wanted);
        for (id, node) in &self.nodes {
            let Some(running) = &node.running else {
                writeln!(text, "  {id} down").expect("a string takes all");
                continue;
            };
            for (group, cell) in &running.cells {
                let (role, term, (commit, applied)) =
                    (cell.role(), cell.term(), (cell.commit(), cell.applied()));
                let (leader, bounds, snapshot) =
                    (cell.leader(), cell.log_bounds(), cell.snapshot());
                let (members, progress) = (cell.members(), cell.progress());
                writeln!(
                    text,
                    "  {id} {group} {role:?} of {leader:?} {term} commit={commit} applied={applied} log={bounds:?} \
                     snapshot={snapshot} {members:?} {progress:?}"
                )
                .expect("a string takes all");
            }
        }
        text
    }
}
