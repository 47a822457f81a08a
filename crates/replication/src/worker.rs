//! The worker: one plain loop body that drives many groups. No thread, clock, socket or file of its own.
//!
//! Owns: its groups, the tick, the guard that keeps one group's panic from the others.
//! Never: blocks, sleeps, does I/O: what it wants done stands in [`Outputs`] after each
//! [`turn`](Worker::turn). The driver (`driver`) does it with threads, the simulator without.
//!
//! INV-WK1: a group that panicked is taken out at once, its lease first; only its supervisor brings it back.
//! INV-R10: the log's length is bounded, whichever group writes how much.
//! Records of one turn reach the log before those of the next (INV-WAL10).

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use keystead_types::{LogIndex, Monotonic, NodeId, ShardId, UnixMillis};
use keystead_wal::LogStats;

use crate::entry::ReplicaChange;
use crate::group::{Group, Turn};
use crate::machine::Machine;
use crate::mail::PeerMessage;
use crate::outcome::{Doubt, Rejection, Submission};
use crate::outputs::{Event, Outputs};
use crate::recovery::{FetchedState, Replica};
use crate::settings::Settings;

/// The log of a node may be as long as so many times the log after which a group takes a snapshot, or twice the last
/// snapshots of all groups, so that the snapshots that keep it short cost no more writing than the log itself.
const LOG_SNAPSHOTS_MAX: u64 = 8;

/// What a worker is told.
pub enum Input<M: Machine> {
    /// Runs of commands, in order.
    Submit(Vec<Submission>),
    /// A peer's messages.
    Messages(Vec<PeerMessage>),
    /// The log has every record up to this token.
    Persisted(u64),
    /// Begin to drive a replica.
    Start(Box<Replica<M>>),
    /// Stop driving a replica and let go of it; the call is made when it is gone.
    Stop(ShardId, Box<dyn FnOnce() + Send>),
    /// Something for one group.
    Group(ShardId, GroupInput<M>),
    /// Hand every leadership to another replica that is up: the node is about to stop.
    ResignAll,
}

/// What one group is told.
pub enum GroupInput<M: Machine> {
    /// The snapshot writer took a chunk.
    ChunkWritten,
    /// The snapshot's file at this index is durable.
    SnapshotWritten(LogIndex),
    /// The snapshot's file could not be written.
    SnapshotFailed,
    /// A snapshot was fetched from the leader and loaded.
    Fetched(FetchedState<M>),
    /// A follower asked for a piece of a snapshot file.
    FollowerFetches(NodeId),
    /// Take a snapshot now.
    SnapshotNow,
    /// Hand leadership to a node.
    Transfer(NodeId),
    /// Change the replicas; the call says whether the change was proposed.
    Change(ReplicaChange, Box<dyn FnOnce(bool) + Send>),
    /// Have every replica take a digest; the call says at which index, or `None` if this replica does not lead.
    TakeDigest(Box<dyn FnOnce(Option<LogIndex>) + Send>),
    /// Tell the digest taken at an index, `None` if it was not (yet) taken or is forgotten.
    DigestAt(LogIndex, Box<dyn FnOnce(Option<u128>) + Send>),
    /// Run this on the group's machine; for status that only the worker's thread may gather.
    Inspect(Box<dyn FnOnce(&mut M) + Send>),
    /// Panic, as a test asks.
    Fail(String),
}

struct Member<M: Machine> {
    group: Group<M>,
    is_dirty: bool,
}

/// See the module.
pub struct Worker<M: Machine> {
    node: NodeId,
    settings: Settings,
    members: BTreeMap<ShardId, Member<M>>,
    next_tick: Monotonic,
    token: u64,
    is_disk_full: bool,
}

impl<M: Machine> Worker<M> {
    /// A worker of `node` without groups.
    #[must_use]
    pub fn new(node: NodeId, settings: Settings) -> Self {
        Self {
            node,
            settings,
            members: BTreeMap::new(),
            next_tick: Monotonic(0),
            token: 0,
            is_disk_full: false,
        }
    }

    /// When [`turn`](Self::turn) must be called again, if nothing comes in before.
    #[must_use]
    pub const fn next_tick(&self) -> Monotonic {
        self.next_tick
    }

    /// Under which token the log must report the records of the last turn.
    #[must_use]
    pub const fn token(&self) -> u64 {
        self.token
    }

    /// Says whether the disk of the log has room.
    pub const fn set_disk_full(&mut self, is_full: bool) {
        self.is_disk_full = is_full;
    }

    /// Takes in everything in `inputs` and does all that follows from it. `now` must have been read
    /// after the last input came.
    pub fn turn(
        &mut self,
        inputs: &mut Vec<Input<M>>,
        now: Monotonic,
        unix: UnixMillis,
        out: &mut Outputs,
    ) {
        self.token += 1;
        let turn = Turn { now, unix, token: self.token, is_disk_full: self.is_disk_full };
        for input in inputs.drain(..) {
            self.take(input, &turn, out);
        }
        if now >= self.next_tick {
            // Missed ticks are not made up: a node that was paused must not see a burst of them and
            // believe that its leader was silent for so long.
            self.next_tick = now.after(self.settings.tick);
            self.each(out, |_| true, |group, out| group.tick(&turn, out));
        }
        self.each(out, |is_dirty| is_dirty, |group, out| group.advance(&turn, out));
        for member in self.members.values_mut() {
            member.is_dirty = false;
        }
    }

    fn take(&mut self, input: Input<M>, turn: &Turn, out: &mut Outputs) {
        match input {
            Input::Submit(runs) => {
                for run in runs {
                    self.submit(run, turn, out);
                }
            }
            Input::Messages(messages) => {
                for PeerMessage { group: id, message } in messages {
                    let from = NodeId(message.from);
                    if message.to != self.node.0 {
                        // Meant for a node that had this address before.
                    } else if self.members.contains_key(&id) {
                        self.with(id, out, |group, out| group.step(message, turn, out));
                    } else {
                        out.events.push(Event::UnknownGroup { group: id, from });
                    }
                }
            }
            Input::Persisted(token) => {
                self.persisted(token, out);
            }
            Input::Start(replica) => self.start(*replica, turn, out),
            Input::Stop(id, done) => {
                self.remove(id, Rejection::NoReplica, Doubt::ReplicaFailed, out);
                done();
            }
            Input::Group(id, input) => self.take_for_group(id, input, turn, out),
            Input::ResignAll => self.each(out, |_| true, |group, _| group.resign(turn)),
        }
    }

    /// Only groups that waited for the log have something to do now: most often a few of many.
    fn persisted(&mut self, token: u64, out: &mut Outputs) {
        let mut failed = Vec::new();
        for (id, member) in self.members.iter_mut().filter(|(_, member)| member.group.awaits_log())
        {
            member.is_dirty = true;
            if let Err(reason) =
                guarded(&mut member.group, out, |group, out| group.persisted(token, out))
            {
                failed.push((*id, reason));
            }
        }
        for (id, reason) in failed {
            self.failed(id, reason, out);
        }
    }

    fn submit(&mut self, run: Submission, turn: &Turn, out: &mut Outputs) {
        if self.members.contains_key(&run.group) {
            self.with(run.group, out, |group, out| group.submit(run, turn, out));
        } else {
            out.finish(run.reject(Rejection::NoReplica));
        }
    }

    fn take_for_group(
        &mut self,
        id: ShardId,
        input: GroupInput<M>,
        turn: &Turn,
        out: &mut Outputs,
    ) {
        self.with(id, out, |group, out| match input {
            GroupInput::ChunkWritten => group.chunk_written(),
            GroupInput::SnapshotWritten(index) => group.snapshot_written(index, out),
            GroupInput::SnapshotFailed => group.snapshot_failed(),
            GroupInput::Fetched(FetchedState { origin, loaded }) => {
                group.snapshot_fetched(origin, loaded)
            }
            GroupInput::FollowerFetches(node) => group.follower_fetches(node, turn),
            GroupInput::SnapshotNow => group.snapshot_now(out),
            GroupInput::Transfer(to) => group.transfer(to),
            GroupInput::Change(change, done) => done(group.propose_change(change)),
            GroupInput::TakeDigest(done) => done(group.propose_digest(turn)),
            GroupInput::DigestAt(index, done) => done(group.digest_at(index)),
            GroupInput::Inspect(inspect) => inspect(group.machine_mut()),
            GroupInput::Fail(reason) => panic!("{reason}"),
        });
    }

    fn start(&mut self, replica: Replica<M>, turn: &Turn, out: &mut Outputs) {
        let id = replica.id();
        assert!(!self.members.contains_key(&id), "INV-WK1: {id} is started while it runs");
        #[cfg(feature = "simulation")]
        let replica = replica.hand_out_applied(out);
        match Group::new(replica.into_start(), self.settings, turn.now) {
            Ok(group) => {
                self.members.insert(id, Member { group, is_dirty: true });
            }
            Err(error) => out.events.push(Event::ReplicaFailed {
                group: id,
                reason: format!("raft refuses the replica's state: {error}"),
                applying: None,
            }),
        }
    }

    /// The first index that each group's log on disk must keep.
    pub fn first_needed(&self) -> BTreeMap<ShardId, LogIndex> {
        self.members.iter().map(|(id, member)| (*id, member.group.first_needed())).collect()
    }

    /// What each group holds in memory.
    #[cfg(feature = "simulation")]
    pub(crate) fn gauges(&self) -> BTreeMap<ShardId, crate::simulation::Gauges> {
        self.members.iter().map(|(id, member)| (*id, member.group.gauges())).collect()
    }

    /// Has the group that keeps the log's oldest segment take a snapshot if the log has grown too long. Segments go in
    /// order: one that was written to by a group with little to say would keep all that others wrote after it, and that
    /// group's own log is much too short for a snapshot (INV-R10).
    pub fn relieve_log(&mut self, log: &LogStats, out: &mut Outputs) {
        if let Some(pin) = log.oldest_pin
            && log.segment_bytes > self.log_bytes_max()
        {
            self.with(pin.group, out, |group, out| group.snapshot_now(out));
        }
    }

    /// How long the log may be, bytes, before whoever keeps its oldest segment must take a snapshot.
    #[must_use]
    pub fn log_bytes_max(&self) -> u64 {
        let dumps: u64 = self.members.values().map(|member| member.group.last_dump_bytes()).sum();
        (self.settings.snapshot_log_bytes as u64 * LOG_SNAPSHOTS_MAX).max(dumps * 2)
    }

    /// Ends everything that waits in any group: the worker is about to stop.
    pub fn abandon_all(&mut self, out: &mut Outputs) {
        let ids: Vec<ShardId> = self.members.keys().copied().collect();
        for id in ids {
            self.remove(id, Rejection::NoReplica, Doubt::ReplicaFailed, out);
        }
    }

    fn remove(&mut self, id: ShardId, why: Rejection, doubt: Doubt, out: &mut Outputs) {
        if let Some(mut member) = self.members.remove(&id) {
            member.group.abandon(why, doubt, out);
        }
    }

    /// Calls `work` on a group if it is here, marks it dirty, and takes it out if it panics.
    fn with(
        &mut self,
        id: ShardId,
        out: &mut Outputs,
        work: impl FnOnce(&mut Group<M>, &mut Outputs),
    ) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.is_dirty = true;
        if let Err(reason) = guarded(&mut member.group, out, work) {
            self.failed(id, reason, out);
        }
    }

    fn each(
        &mut self,
        out: &mut Outputs,
        which: impl Fn(bool) -> bool,
        mut work: impl FnMut(&mut Group<M>, &mut Outputs),
    ) {
        let mut failed = Vec::new();
        for (id, member) in &mut self.members {
            if which(member.is_dirty) {
                member.is_dirty = true;
                if let Err(reason) = guarded(&mut member.group, out, &mut work) {
                    failed.push((*id, reason));
                }
            }
        }
        for (id, reason) in failed {
            self.failed(id, reason, out);
        }
    }

    fn failed(&mut self, id: ShardId, reason: String, out: &mut Outputs) {
        let Some(mut member) = self.members.remove(&id) else { return };
        // The group's own bookkeeping may be broken in any way; what waits there is answered if it can be.
        let applying = member.group.applying();
        let abandon = AssertUnwindSafe(|| {
            member.group.abandon(Rejection::NoReplica, Doubt::ReplicaFailed, out)
        });
        if catch_unwind(abandon).is_err() {
            tracing::error!(shard = %id, "what waited for a failed replica could not be answered");
        }
        out.events.push(Event::ReplicaFailed { group: id, reason, applying });
    }
}

/// Runs `work` and turns a panic into its message.
fn guarded<M: Machine>(
    group: &mut Group<M>,
    out: &mut Outputs,
    work: impl FnOnce(&mut Group<M>, &mut Outputs),
) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| work(group, out))).map_err(|panic| panic_text(&*panic))
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod cluster_tests;
