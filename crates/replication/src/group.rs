//! One replica of one Raft group: from a queued run of commands to its reply.
//!
//! Owns: the `raft` node, its log in memory, what waits for its entries, its lease, its snapshots.
//! Never: I/O, a clock, a thread. The worker calls it; what it wants done it puts into [`Outputs`].
//!
//! The order of one turn (Ongaro's thesis, section 10.2.1, and `raft`'s documentation of `Ready`):
//! queued runs are packed into an entry; then as long as raft has something ready: its messages go out
//! (a leader sends before its own disk is done), its entries are put where raft can read them and into
//! the log's batch, what must not leave before they are on disk is kept under the turn's token, and
//! what is committed is applied. When the log reports the token, the kept messages leave.
//!
//! INV-R4: a message that promises something (a vote, an acknowledgement) leaves only after the log
//! has reported the records it promises.
//! INV-R5: entries are applied one after the other, without a gap, on every replica.
//! INV-R6: a reply is made by applying the entry; nobody is told "done" for an entry that was not applied.

mod admission;
mod apply;
mod propose;
mod reads;
mod ready;
#[cfg(feature = "simulation")]
mod simulation;
mod snapshot;
mod step;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use keystead_types::mistakes::{Mistake, is_made};
use keystead_types::{LogIndex, Monotonic, NodeId, ShardId, UnixMillis};
use raft::eraftpb::{Entry, Message};
use raft::{Config, ProgressState, RawNode, StateRole};

use crate::cell::{GroupCell, Members, Progress, Published, Role};
use crate::entry::Origin;
use crate::lease::Lease;
use crate::log::GroupLog;
use crate::machine::Machine;
use crate::outcome::{Doubt, Rejection};
use crate::outputs::{Event, Outputs};
use crate::replay::Replayed;
use crate::rng::Rng;
use crate::settings::Settings;

/// Digests remembered, newest last.
const DIGESTS_KEPT: usize = 16;
/// Election timeouts between two attempts of a leader without room to hand over: time for one attempt to be given up.
const MAKES_ROOM_EVERY: u32 = 4;

/// Bytes of entries in one append; one entry may be larger. What it owes a follower first waits for one append at most to
/// leave (see `transport::lanes`): on a link of 3 Mbit/s this takes a sixth of a second.
const APPEND_BYTES: u64 = 64 * 1024;
/// Appends to one follower that may be unanswered. Past it entries wait in the log and leave together, so that a follower
/// that cannot keep up has a bounded backlog on its link, of large messages instead of many.
const APPENDS_IN_FLIGHT: usize = 32;

/// Digests by the index of the state, newest last.
pub(crate) type Digests = VecDeque<(LogIndex, u128)>;

/// What a turn knows of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) now: Monotonic,
    pub(crate) unix: UnixMillis,
    /// Under which the log will report this turn's records.
    pub(crate) token: u64,
    /// True while the disk of the log has no room.
    pub(crate) is_disk_full: bool,
}

/// One replica. See the module.
pub(crate) struct Group<M: Machine> {
    pub(crate) id: ShardId,
    node: NodeId,
    raw: RawNode<GroupLog>,
    machine: M,
    cell: Arc<GroupCell>,
    settings: Settings,
    rng: Rng,
    /// The last term of which the campaign was varied.
    varied_in: u64,
    applied: u64,
    /// The index that is being applied, to be named if applying it panics.
    applying: Option<LogIndex>,
    /// The latest time stamped on an entry in the log, applied or not: what this replica stamps as a
    /// leader is not before it (INV-A1).
    stamped: UnixMillis,
    /// The time stamped on the last entry applied.
    applied_now: UnixMillis,
    queue: propose::Queue,
    /// What waits for its entry, by the entry's index and term.
    waiting: BTreeMap<(u64, u64), propose::Waiting>,
    reads: reads::Reads,
    lease: Lease,
    /// Readies whose records the log has not reported yet, with the messages that wait for them.
    unpersisted: VecDeque<Unpersisted>,
    snapshot: snapshot::Snapshots<M>,
    /// Until when this replica neither votes nor campaigns: it has forgotten whom it promised a lease.
    fenced_until: Option<Monotonic>,
    known_leader: u64,
    known_term: u64,
    /// When each peer was last heard while this replica leads. Raft's own note of it is wiped at every check of
    /// the quorum: for a moment all would look away.
    heard: BTreeMap<u64, Monotonic>,
    /// When a leader whose disk is full may next try to hand over.
    makes_room_at: Monotonic,
    digests: Digests,
    admissions: admission::Admissions,
    scratch: Vec<u8>,
}

struct Unpersisted {
    token: u64,
    number: u64,
    messages: Vec<Message>,
}

/// What a replica is built from: everything a restart finds on disk.
pub(crate) struct Start<M: Machine> {
    pub(crate) id: ShardId,
    pub(crate) node: NodeId,
    pub(crate) machine: M,
    pub(crate) cell: Arc<GroupCell>,
    pub(crate) log: GroupLog,
    pub(crate) origin: Origin,
    /// What was applied already, behind the origin.
    pub(crate) replayed: Replayed,
    pub(crate) seed: u64,
    /// True if the replica has run before: then it is fenced.
    pub(crate) has_past: bool,
}

impl<M: Machine> Group<M> {
    /// A replica as of `start`, applying nothing yet.
    pub(crate) fn new(start: Start<M>, settings: Settings, now: Monotonic) -> raft::Result<Self> {
        let Start { id, node, machine, cell, mut log, origin, replayed, seed, has_past } = start;
        log.detach_newest(settings.memory_log_bytes);
        let mut rng = Rng::new(seed);
        // The metadata machine numbers its steps by log index: one command an entry.
        let settings =
            if id.is_meta() { Settings { entry_bytes_target: 1, ..settings } } else { settings };
        let config = raft_config(node, replayed.index, &settings, &mut rng);
        let is_alone = log.conf().voters == [node.0] && !log.has_changes();
        let stamped = log.stamped().max(replayed.now);
        let is_unfenced = is_made(Mistake::NoRestartFence) || is_made(Mistake::VoteForgotten);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, log, &logger)?;
        let group = Self {
            id,
            node,
            raw,
            machine,
            cell,
            settings,
            rng,
            varied_in: 0,
            applied: replayed.index,
            applying: None,
            stamped,
            applied_now: replayed.now,
            queue: propose::Queue::default(),
            waiting: BTreeMap::new(),
            reads: reads::Reads::default(),
            lease: Lease::new(settings.promise()),
            unpersisted: VecDeque::new(),
            snapshot: snapshot::Snapshots::default(),
            // A group of one has promised nothing to anybody else.
            fenced_until: (has_past && !is_alone && !is_unfenced)
                .then(|| now.after(settings.restart_fence())),
            known_leader: 0,
            known_term: 0,
            heard: BTreeMap::new(),
            makes_room_at: now,
            digests: replayed.digests,
            admissions: admission::Admissions::default(),
            scratch: Vec::new(),
        };
        group.publish_members(LogIndex(origin.index));
        group.publish();
        Ok(group)
    }

    /// True once the replica knows a configuration: it founded the group or took a snapshot.
    fn is_initialized(&self) -> bool {
        !self.raw.store().conf().voters.is_empty()
    }

    fn is_alone(&self) -> bool {
        self.raw.store().conf().voters == [self.node.0]
    }

    fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    fn leader(&self) -> Option<NodeId> {
        Some(NodeId(self.raw.raft.leader_id)).filter(|leader| *leader != NodeId::NONE)
    }

    pub(crate) fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// The index that is being applied, while one is.
    pub(crate) fn applying(&self) -> Option<LogIndex> {
        self.applying
    }

    /// Two that campaigned at the same moment must not go on doing so: the next time comes a few ticks earlier
    /// for each, at random. A candidate has promised nothing to a leader, so its clock may be set on. Who asks for votes in advance
    /// begins to count when he does, in a tick; who asks for votes, when he was promised them, between two.
    fn vary_campaign(&mut self) {
        let raft = &mut self.raw.raft;
        let has_campaigned = match raft.state {
            StateRole::PreCandidate => raft.election_elapsed == 0,
            StateRole::Candidate => std::mem::replace(&mut self.varied_in, raft.term) != raft.term,
            StateRole::Follower | StateRole::Leader => false,
        };
        if has_campaigned {
            let ticks = self.rng.below(u64::from(self.settings.election_ticks) / 3 + 1);
            raft.election_elapsed += usize::try_from(ticks).unwrap_or(0);
        }
    }

    /// One tick of raft's clock.
    pub(crate) fn tick(&mut self, turn: &Turn, out: &mut Outputs) {
        if !self.is_fenced(turn.now) && !self.is_snapshot_unstored() {
            self.raw.tick();
            self.vary_campaign();
            if self.is_alone() && !self.is_leader() {
                // Nobody else can campaign: no need to wait for a timeout. Raft refuses if it must.
                drop(self.raw.campaign());
            }
        }
        self.drop_overdue(turn, out);
        self.bound_log(turn, out);
        if self.is_leader() {
            self.watch_followers(turn);
            if !self.raw.raft.promotable() {
                // Taken out by a change that an earlier leader proposed. Raft 0.7 would go on leading, and accept
                // nothing.
                self.resign(turn);
            } else if turn.is_disk_full {
                self.make_room(turn);
            }
            self.propose_upkeep(turn);
        }
    }

    /// Does everything there is to do: proposes, persists, sends, applies, answers.
    pub(crate) fn advance(&mut self, turn: &Turn, out: &mut Outputs) {
        loop {
            self.propose_queued(turn, out);
            self.renew_lease(turn);
            if !self.raw.has_ready() {
                break;
            }
            self.handle_ready(turn, out);
        }
        self.serve_reads(turn, out);
        self.advance_snapshot(out);
        self.publish();
    }

    /// Sees whether the leader or the term changed, and lets go of what depended on them.
    fn notice_role(&mut self, turn: &Turn, out: &mut Outputs) {
        let (leader, term) = (self.raw.raft.leader_id, self.raw.raft.term);
        if term != self.known_term {
            self.known_term = term;
            self.lease.new_term();
            self.admissions.clear();
            self.cell.set_lease(None);
        }
        if leader == self.known_leader {
            return;
        }
        if self.known_leader == self.node.0 {
            self.lease.revoke();
            self.cell.set_lease(None);
            self.cell.set_progress(Vec::new());
            if is_made(Mistake::RejectedWhenDeposed) {
                for (_, waiting) in std::mem::take(&mut self.waiting) {
                    waiting.reject(Rejection::NotLeader { leader: None }, out);
                }
            }
        }
        self.known_leader = leader;
        self.heard.clear();
        if leader == self.node.0 {
            // All have the benefit of the doubt until they have had time to answer.
            self.heard = self.raw.raft.prs().iter().map(|(&node, _)| (node, turn.now)).collect();
            self.cell.count_election();
        }
        out.events.push(Event::LeaderChanged { group: self.id, leader: self.leader() });
    }

    /// Gives up what nobody will answer any more.
    fn drop_overdue(&mut self, turn: &Turn, out: &mut Outputs) {
        self.queue.reject_overdue(turn.now, out);
        self.reads.reject_overdue(turn.now, out);
        for waiting in self.waiting.values_mut() {
            waiting.doubt_overdue(turn.now, out);
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
    }

    /// Ends everything that waits: the replica goes away.
    pub(crate) fn abandon(&mut self, why: Rejection, doubt: Doubt, out: &mut Outputs) {
        self.cell.set_lease(None);
        self.queue.reject_all(why, out);
        self.reads.reject_all(why, out);
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            waiting.doubt(doubt, out);
        }
        self.cell.set_progress(Vec::new());
        self.cell.publish(Published::default());
    }

    fn publish(&self) {
        let raft = &self.raw.raft;
        let role = match raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Follower if raft.promotable() || !self.is_initialized() => Role::Follower,
            StateRole::Follower => Role::Learner,
        };
        let log = self.raw.store();
        self.cell.publish(Published {
            role,
            leader: raft.leader_id,
            term: raft.term,
            commit: raft.raft_log.committed,
            applied: self.applied,
            applied_now: self.applied_now,
            log_first: log.first(),
            log_last: log.last(),
            snapshot: log.snapshot_origin().map_or(0, |origin| origin.index),
            log_bytes: log.bytes() as u64,
        });
        let lease = if self.is_leader() { self.lease.until(self.applied) } else { None };
        self.cell.set_lease(lease);
    }

    /// Shows who is in the group as of `index`.
    fn publish_members(&self, index: LogIndex) {
        let conf = self.raw.store().conf();
        let nodes = |ids: &[u64]| ids.iter().map(|id| NodeId(*id)).collect();
        let members =
            Members { index, voters: nodes(&conf.voters), learners: nodes(&conf.learners) };
        self.cell.set_members(members);
    }

    /// True if `node` answered within an election timeout.
    fn is_active(&self, node: u64, now: Monotonic) -> bool {
        let timeout = self.settings.election_timeout();
        node == self.node.0 || self.heard.get(&node).is_some_and(|at| now.since(*at) < timeout)
    }

    fn publish_progress(&self, now: Monotonic) {
        let raft = &self.raw.raft;
        let learners = &self.raw.store().conf().learners;
        let progress = raft.prs().iter().map(|(&node, progress)| Progress {
            node: NodeId(node),
            matched: LogIndex(if node == self.node.0 {
                self.raw.store().last()
            } else {
                progress.matched
            }),
            is_learner: learners.contains(&node),
            is_active: self.is_active(node, now),
        });
        let mut progress: Vec<_> = progress.collect();
        progress.sort_by_key(|p| p.node);
        self.cell.set_progress(progress);
    }

    /// Looks after followers that cannot follow by the log alone.
    fn watch_followers(&mut self, turn: &Turn) {
        self.publish_progress(turn.now);
        let in_snapshot: Vec<u64> = self
            .raw
            .raft
            .prs()
            .iter()
            .filter(|(_, progress)| progress.state == ProgressState::Snapshot)
            .map(|(&node, _)| node)
            .collect();
        let mut stalled =
            self.snapshot.stalled(&in_snapshot, turn.now, self.settings.snapshot_stall);
        // One that took an older snapshot than the last offered goes on by the log if the log reaches back to it.
        let prs = self.raw.raft.prs();
        let reaches = |node: &&u64| {
            prs.get(**node).is_some_and(|p| p.matched + 1 >= self.raw.store().first())
        };
        stalled.extend(in_snapshot.iter().filter(reaches));
        for node in stalled {
            // Raft then probes the follower and offers the newest snapshot again if it must.
            self.raw.report_snapshot(node, raft::SnapshotStatus::Failure);
        }
    }

    /// Hands leadership to `to` if this replica has it. No lease from here until the next term (INV-L2).
    pub(crate) fn transfer(&mut self, to: NodeId) {
        // Raft hands over to voters only: for anybody else the lease would end for nothing.
        let is_voter = self.raw.store().conf().voters.contains(&to.0);
        if self.is_leader() && is_voter && to != self.node {
            if is_made(Mistake::LeaseKeptOnTransfer) {
                return self.raw.transfer_leader(to.0);
            }
            // ORDER: the lease ends before the request to campaign can leave.
            self.lease.bar();
            self.cell.set_lease(None);
            self.raw.transfer_leader(to.0);
        }
    }

    /// Hands leadership to the voter whose log is longest, if another one is up.
    pub(crate) fn resign(&mut self, turn: &Turn) {
        if let Some((node, _)) = self.successor(turn) {
            self.transfer(node);
        }
    }

    /// A leader whose disk is full refuses every write. It hands over to a voter that has everything it has itself; one
    /// whose disk is full, too, soon has not, since it takes no entries.
    fn make_room(&mut self, turn: &Turn) {
        let last = self.raw.raft.raft_log.last_index();
        let successor = self.successor(turn).filter(|(_, matched)| *matched == last);
        if let Some((node, _)) = successor
            && turn.now >= self.makes_room_at
        {
            self.makes_room_at =
                turn.now.after(self.settings.election_timeout() * MAKES_ROOM_EVERY);
            self.transfer(node);
        }
    }

    /// The voter with the longest log of those others that are up, and how far that reaches.
    fn successor(&self, turn: &Turn) -> Option<(NodeId, u64)> {
        let raft = &self.raw.raft;
        let voters = &self.raw.store().conf().voters;
        let others = raft.prs().iter().filter(|(node, p)| {
            **node != self.node.0
                && self.is_active(**node, turn.now)
                && p.state != ProgressState::Snapshot
                && voters.contains(node)
        });
        let longest = others.max_by_key(|(node, progress)| (progress.matched, **node));
        longest.map(|(node, progress)| (NodeId(*node), progress.matched))
    }

    /// The digest taken at `index`, if it is remembered.
    pub(crate) fn digest_at(&self, index: LogIndex) -> Option<u128> {
        self.digests.iter().rev().find(|(at, _)| *at == index).map(|(_, digest)| *digest)
    }

    fn remember_digest(&mut self, index: LogIndex) {
        remember_digest(&mut self.digests, index, self.machine.digest());
    }

    /// The first index that this replica's log must keep on disk.
    pub(crate) fn first_needed(&self) -> LogIndex {
        LogIndex(self.raw.store().first_needed())
    }
}

fn raft_config(node: NodeId, applied: u64, settings: &Settings, rng: &mut Rng) -> Config {
    let election = settings.election_ticks as usize;
    // Raft draws each timeout from [min, max) with a random source of its own, which would make a
    // simulation irreproducible; a range of one leaves it nothing to draw. Every replica has another
    // value, so that two seldom campaign at once.
    let own = election
        + usize::try_from(rng.below(u64::from(settings.election_ticks) / 4 + 1)).unwrap_or(0);
    Config {
        id: node.0,
        election_tick: election,
        heartbeat_tick: settings.heartbeat_ticks as usize,
        min_election_tick: own,
        max_election_tick: own + 1,
        applied,
        max_size_per_msg: APPEND_BYTES,
        max_inflight_msgs: APPENDS_IN_FLIGHT,
        check_quorum: true,
        pre_vote: true,
        // Never true: raft 0.7 then adds entries also to an empty append that stands at another index (its
        // `try_batching` compares nothing if there are none). The follower acknowledges the index plus their
        // number, entries that it never saw, and the leader commits on its word. Runs are packed here anyway.
        batch_append: is_made(Mistake::BatchAppend),
        // A follower hears of a commit with the next entries or heartbeat: an append for that alone would double the messages of
        // a write, and nobody is served by a follower.
        skip_bcast_commit: true,
        read_only_option: raft::ReadOnlyOption::Safe,
        max_uncommitted_size: raft::NO_LIMIT,
        max_committed_size_per_ready: 16 * 1024 * 1024,
        ..Config::default()
    }
}

/// Remembers the digest of the state at `index`.
pub(crate) fn remember_digest(digests: &mut Digests, index: LogIndex, digest: u128) {
    if digests.len() == DIGESTS_KEPT {
        digests.pop_front();
    }
    digests.push_back((index, digest));
}

/// True for entries that only mark the beginning of a term.
pub(crate) fn is_blank(entry: &Entry) -> bool {
    entry.data.is_empty() && entry.context.is_empty()
}
