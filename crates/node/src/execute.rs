//! The door of a node: finds each run's leader, here or elsewhere, and sees it to its end.
//!
//! Owns: batching of runs per shard, forwarding, trying again where nothing happened, deadlines.
//! Never: tries a write again that may have happened (STYLE: unknown is not failed); never blocks.
//!
//! A run travels with others of the same shard as one submission. What comes back rejected did not
//! happen: it is tried again, here or at the leader named, until its deadline. What was sent to a
//! peer whose connection broke may have happened: a write is then in doubt, a read is asked again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keystead_replication::transport::{FrameBatch, FrameKind};
use keystead_replication::{
    Access as LogAccess, Completed, Doubt, Ending, Part, Rejection, Role, Submission,
};
use keystead_resp::{ReplyWriter, RunDecoder};
use keystead_store::command::Query;
use keystead_types::mistakes::{Mistake, is_made};
use keystead_types::{Clock, DatabaseId, Monotonic, NodeId, ShardId, Slot, limits};

use crate::core::{Core, Routes, Routing};
use crate::door::{Access, Door, Outcome, Refusal, Run, Standing, Ticket, UnknownReason};
use crate::forward::{Answer, AnswerEnding, Call, CallId, FRAMES_ROOM_BYTES, PARTS_MAX};
use crate::internal;
use crate::mailbox::{Letter, Mailbox};
use crate::questions::{Question, Questions};
use crate::served;
use crate::shard::{FORM_OWN, form_of};
use crate::status::{ClusterView, Status};
use crate::waits::{Outgoing, Waits};

/// How long a run waits before it is tried again when nobody is known to lead its shard.
const RETRY_AFTER: Duration = Duration::from_millis(5);
/// How long a node that no longer leads the shard may take to answer: long enough for what it had proposed
/// before it handed over. A node that was paused answers nothing, and its connection breaks much later.
const SUPERSEDED_AFTER: Duration = Duration::from_secs(1);
/// How much longer than a run's deadline its forwarder waits for the leader's word on it.
const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// See the module.
pub struct NodeDoor {
    core: Arc<Core>,
    questions: Arc<Questions>,
    mailbox: Arc<Mailbox>,
    routes: Arc<Routes>,
    routes_version: u64,
    /// Runs taken since the last flush, by shard and access.
    taken: BTreeMap<(ShardId, bool), Batch>,
    /// Runs sent to other nodes, by the number of their call.
    away: BTreeMap<u32, Away>,
    next_call: u32,
    /// Runs that wait to be tried again.
    waiting: Vec<Waiting>,
    letters: Vec<Letter>,
    /// Refusals of the door itself, told at the next `completions`.
    refused: Vec<(Vec<Part>, Refusal)>,
    waits: Waits,
    /// How often connections had changed when waits were last looked at.
    connection_changes: u32,
    status: Arc<dyn Fn() -> Status + Send + Sync>,
    view: Arc<dyn Fn() -> Arc<ClusterView> + Send + Sync>,
    /// Calls that leave with the end of this flush, by node.
    calls: BTreeMap<NodeId, Calls>,
}

/// Calls to one node, encoded, and the runs in them by the number of the call.
#[derive(Default)]
struct Calls {
    frames: FrameBatch,
    runs: Vec<(u32, Waiting)>,
}

/// Runs of one shard with the same access, on their way together.
#[derive(Default)]
struct Batch {
    commands: Vec<u8>,
    parts: Vec<Part>,
}

struct Away {
    node: NodeId,
    shard: ShardId,
    access: LogAccess,
    batch: Batch,
    sent_at: Monotonic,
    deadline: Monotonic,
}

struct Waiting {
    shard: ShardId,
    access: LogAccess,
    batch: Batch,
    deadline: Monotonic,
    not_before: Monotonic,
    /// Who was said to lead.
    hint: Option<NodeId>,
}

/// Where a run is to be tried.
enum Target {
    Here,
    There(NodeId),
    Nowhere,
}

impl NodeDoor {
    /// A door of `core`; `wake` is called when [`completions`](Door::completions) has something.
    pub(crate) fn new(
        core: Arc<Core>,
        questions: Arc<Questions>,
        wake: Arc<dyn Fn() + Send + Sync>,
        status: Arc<dyn Fn() -> Status + Send + Sync>,
        view: Arc<dyn Fn() -> Arc<ClusterView> + Send + Sync>,
    ) -> Self {
        let mailbox = core.open_mailbox(wake);
        let (routes_version, routes) = (core.routes_version(), core.routes());
        let waits = Waits::new(served::waiter_id(&core, mailbox.door, 0));
        let connection_changes = core.connection_changes();
        Self {
            core,
            questions,
            mailbox,
            routes,
            routes_version,
            taken: BTreeMap::new(),
            away: BTreeMap::new(),
            next_call: 0,
            waiting: Vec::new(),
            letters: Vec::new(),
            refused: Vec::new(),
            waits,
            connection_changes,
            status,
            view,
            calls: BTreeMap::new(),
        }
    }

    fn refresh(&mut self) {
        let version = self.core.routes_version();
        if version != self.routes_version {
            self.routes = self.core.routes();
            self.routes_version = version;
        }
    }

    fn target(&self, shard: ShardId, hint: Option<NodeId>) -> Target {
        let local = self.core.cell_of(shard, &self.routes);
        if local.is_some_and(|cell| cell.role() == Role::Leader) {
            return Target::Here;
        }
        let leader =
            self.core.leader_of(shard, &self.routes).filter(|leader| *leader != self.core.me);
        match leader.or(hint.filter(|hint| *hint != self.core.me)) {
            Some(leader) => Target::There(leader),
            // Its replicas know, if there is none here, or only one that was never brought in.
            None if local.is_none_or(|cell| cell.members().voters.is_empty()) => {
                self.any_replica(shard).map_or(Target::Nowhere, Target::There)
            }
            None => Target::Nowhere,
        }
    }

    fn any_replica(&self, shard: ShardId) -> Option<NodeId> {
        let replicas = &self.routes.topology.shards().get(&shard)?.replicas;
        let others: Vec<NodeId> =
            replicas.keys().copied().filter(|node| *node != self.core.me).collect();
        // Another one each time, so that one that is down does not hold up every try.
        others.get(self.next_call as usize % others.len().max(1)).copied()
    }

    /// Sends a batch on its way. Here: into `here`, to be pushed together with others.
    fn dispatch(&mut self, run: Waiting, now: Monotonic, here: &mut Vec<Submission>) {
        if run.deadline <= now {
            return self.give_up(run);
        }
        let is_astray = run.access == LogAccess::Read && is_made(Mistake::StaleForward);
        let anybody = if is_astray { self.any_replica(run.shard) } else { None };
        match anybody.map_or_else(|| self.target(run.shard, run.hint), Target::There) {
            Target::Here => {
                let Waiting { shard, access, batch, deadline, .. } = run;
                let reply_to = Arc::clone(&self.mailbox) as Arc<dyn keystead_replication::ReplyTo>;
                let Batch { commands, parts } = batch;
                here.push(Submission { group: shard, access, commands, parts, deadline, reply_to });
            }
            Target::There(leader) => self.forward(leader, run, now),
            Target::Nowhere => self.wait(run, now),
        }
    }

    fn forward(&mut self, leader: NodeId, run: Waiting, now: Monotonic) {
        if self.core.settings.routing == Routing::Redirect
            && let Some(refusal) = self.moved(leader, &run.batch)
        {
            return self.refused.push((run.batch.parts, refusal));
        }
        self.next_call = self.next_call.wrapping_add(1);
        let id = CallId { life: self.core.life, door: self.mailbox.door, call: self.next_call };
        let batch = &run.batch;
        let contents = (run.shard, run.access, batch.parts.as_slice(), batch.commands.as_slice());
        let calls = self.calls.entry(leader).or_default();
        let is_taken = calls.frames.push_with(FrameKind::FORWARD, |out| {
            Call::write(out, id, contents, run.deadline.since(now));
        });
        if !is_taken {
            return self.wait(run, now);
        }
        calls.runs.push((self.next_call, run));
        if calls.frames.as_bytes().len() >= FRAMES_ROOM_BYTES {
            self.send_calls(leader, now);
        }
    }

    /// Sends what was gathered for other nodes, one write each.
    fn send_all_calls(&mut self, now: Monotonic) {
        let leaders: Vec<NodeId> = self.calls.keys().copied().collect();
        for leader in leaders {
            self.send_calls(leader, now);
        }
    }

    fn send_calls(&mut self, leader: NodeId, now: Monotonic) {
        let Some(mut calls) = self.calls.remove(&leader) else { return };
        let is_sent = calls.runs.is_empty() || self.core.post.post(leader, &calls.frames);
        for (number, run) in calls.runs.drain(..) {
            if is_sent {
                let Waiting { shard, access, batch, deadline, .. } = run;
                let away = Away { node: leader, shard, access, batch, sent_at: now, deadline };
                self.away.insert(number, away);
            } else {
                // Certainly not sent: nothing happened. The leader may be gone; forget it as a hint.
                self.core.heard_leader(run.shard, None);
                self.wait(Waiting { hint: None, ..run }, now);
            }
        }
        calls.frames.clear(FRAMES_ROOM_BYTES);
        if is_sent {
            self.calls.insert(leader, calls);
        }
    }

    /// The redirection for a batch's first command, if its leader's address is known.
    fn moved(&self, leader: NodeId, batch: &Batch) -> Option<Refusal> {
        let address = self.routes.topology.nodes().get(&leader)?.client_addr.clone();
        let mut spans = Vec::new();
        let mut run = RunDecoder::new(&batch.commands);
        let slot = loop {
            let mut args = run.next(&mut spans).ok()??;
            if &args[0] == internal::AWAIT {
                args = args.from(internal::AWAIT_WORDS);
            }
            if internal::selected(args).is_none() {
                let row = keystead_store::command::find(args.get(0)?)?;
                break Slot::of_key(row.keys(args).next()?);
            }
        };
        Some(Refusal::Moved { slot, address })
    }

    fn wait(&mut self, run: Waiting, now: Monotonic) {
        self.waiting.push(Waiting { not_before: now.after(RETRY_AFTER), ..run });
        self.mailbox.want_tick(true);
    }

    /// The deadline passed and nothing happened.
    fn give_up(&mut self, run: Waiting) {
        let refusal = match self.core.why_down(run.shard) {
            Some(reason) => Refusal::ShardDown { shard: run.shard, reason },
            None => Refusal::NoLeader { shard: run.shard },
        };
        self.refused.push((run.batch.parts, refusal));
    }

    /// Tries again what waited long enough.
    fn retry(&mut self, now: Monotonic) {
        let mut here = Vec::new();
        for run in std::mem::take(&mut self.waiting) {
            if run.not_before <= now || run.deadline <= now {
                self.dispatch(run, now, &mut here);
            } else {
                self.waiting.push(run);
            }
        }
        self.send_all_calls(now);
        if !here.is_empty() {
            self.core.leave_here(here);
            self.core.drive();
        }
    }

    /// A run was rejected: nothing happened.
    fn rejected(&mut self, why: Rejection, mut run: Waiting, by: NodeId, now: Monotonic) {
        let refusal = match why {
            Rejection::Overloaded => Refusal::Overloaded,
            Rejection::DiskFull => Refusal::DiskFull { node: by },
            Rejection::Expired => return self.give_up(run),
            Rejection::NotLeader { leader } => {
                if by != self.core.me {
                    self.core.heard_leader(run.shard, leader);
                }
                run.hint = leader;
                return self.wait(run, now);
            }
            Rejection::NoReplica => {
                self.core.heard_leader(run.shard, None);
                return self.wait(Waiting { hint: None, ..run }, now);
            }
        };
        self.refused.push((run.batch.parts, refusal));
    }

    fn completed(
        &mut self,
        completed: Completed,
        now: Monotonic,
        each: &mut dyn FnMut(Ticket, Outcome<'_>),
    ) {
        let Completed { group, access, parts, deadline, ending } = completed;
        match ending {
            Ending::Done(replies) => self.done(&parts, &replies.ends, &replies.bytes, each),
            Ending::Unknown(doubt) => self.unknown(&parts, reason_of(doubt), each),
            Ending::Rejected { why, commands } => {
                let batch = Batch { commands, parts };
                let run =
                    Waiting { shard: group, access, batch, deadline, not_before: now, hint: None };
                self.rejected(why, run, self.core.me, now);
            }
        }
    }

    fn answered(
        &mut self,
        number: u32,
        reply: bytes::Bytes,
        now: Monotonic,
        each: &mut dyn FnMut(Ticket, Outcome<'_>),
    ) {
        let Some(away) = self.away.remove(&number) else { return };
        let Away { node, shard, access, batch, deadline, .. } = away;
        match Answer::read(reply).map(|answer| answer.ending) {
            Ok(AnswerEnding::Done { ends, replies }) if ends.len() == batch.parts.len() => {
                self.core.heard_leader(shard, Some(node));
                self.done(&batch.parts, &ends, &replies, each);
            }
            Ok(AnswerEnding::Rejected(why)) => {
                let run = Waiting { shard, access, batch, deadline, not_before: now, hint: None };
                self.rejected(why, run, node, now);
            }
            Ok(AnswerEnding::Unknown(doubt)) => self.unknown(&batch.parts, reason_of(doubt), each),
            Ok(AnswerEnding::Done { .. }) | Err(_) => {
                tracing::error!(%node, %shard, "a node answered a forwarded run with something that is not an answer");
                self.unknown(&batch.parts, UnknownReason::ConnectionLost, each);
            }
        }
    }

    /// Settles what was sent to a node and will not be answered: `which` says what.
    fn lost(
        &mut self,
        which: impl Fn(&Away) -> bool,
        reason: UnknownReason,
        now: Monotonic,
        each: &mut dyn FnMut(Ticket, Outcome<'_>),
    ) {
        let numbers: Vec<u32> =
            self.away.iter().filter(|(_, away)| which(away)).map(|(number, _)| *number).collect();
        for number in numbers {
            let Some(away) = self.away.remove(&number) else { continue };
            let Away { shard, access, batch, deadline, .. } = away;
            self.core.heard_leader(shard, None);
            if access == LogAccess::Read || is_made(Mistake::DoubleApplyOnRetry) {
                self.wait(
                    Waiting { shard, access, batch, deadline, not_before: now, hint: None },
                    now,
                );
            } else {
                self.unknown(&batch.parts, reason, each);
            }
        }
    }

    fn done(
        &mut self,
        parts: &[Part],
        ends: &[usize],
        replies: &[u8],
        each: &mut dyn FnMut(Ticket, Outcome<'_>),
    ) {
        let mut start = 0;
        for (part, end) in parts.iter().zip(ends) {
            self.tell(part, Outcome::Done(&replies[start..*end]), each);
            start = *end;
        }
    }

    fn unknown(
        &mut self,
        parts: &[Part],
        reason: UnknownReason,
        each: &mut dyn FnMut(Ticket, Outcome<'_>),
    ) {
        for part in parts {
            self.tell(part, Outcome::Unknown(reason), each);
        }
    }

    /// Tells how a part ended: its caller, or what waits here.
    fn tell(
        &mut self,
        part: &Part,
        outcome: Outcome<'_>,
        each: &mut dyn FnMut(Ticket, Outcome<'_>),
    ) {
        if part.form & FORM_OWN == 0 {
            return each(Ticket(part.ticket), outcome);
        }
        let now = self.core.clock.monotonic_now();
        self.waits.ended(part.ticket, outcome, now, each);
    }

    /// Adds commands of one part to what leaves with the next flush.
    fn take(
        &mut self,
        key: (ShardId, bool),
        (database, commands): (DatabaseId, &[u8]),
        (ticket, form): (u64, u32),
    ) {
        if self.taken.get(&key).is_some_and(|batch| batch.parts.len() == PARTS_MAX) {
            self.flush();
        }
        let batch = self.taken.entry(key).or_default();
        let start = batch.commands.len();
        internal::write_run(&mut batch.commands, database, commands);
        let bytes =
            u32::try_from(batch.commands.len() - start).expect("its length was bounded before");
        batch.parts.push(Part { ticket, bytes, form });
    }

    /// Adds what waits here ask their shards to what leaves with the next flush.
    fn take_questions(&mut self) {
        for question in std::mem::take(&mut self.waits.outgoing) {
            let Outgoing { shard, database, command, ticket, form } = question;
            self.take((shard, true), (database, &command), (ticket, form | FORM_OWN));
        }
    }

    /// Sees what those who wait need now.
    fn look_after_waits(&mut self, now: Monotonic) {
        let changes = self.core.connection_changes();
        if changes != self.connection_changes {
            self.connection_changes = changes;
            self.waits.doubt_connections();
        }
        let (core, routes) = (&self.core, &self.routes);
        self.waits.look(now, |shard| core.leader_of(shard, routes));
        self.take_questions();
        if !self.taken.is_empty() {
            self.flush();
        }
    }
}

impl NodeDoor {
    /// A question to the node itself: no log takes part.
    fn ask(&self, run: &Run<'_>, asked: Asked<'_>) {
        let form = form_of(run.protocol, run.origin);
        let (queue, patience, commands) = match asked {
            Asked::Sync(patience) => (&self.questions.syncs, patience, &[][..]),
            Asked::Libraries(command) => {
                (&self.questions.libraries, self.core.settings.patience, command)
            }
        };
        let access = match run.access {
            Access::Read => LogAccess::Read,
            Access::Write => LogAccess::Write,
        };
        queue.put(Question {
            part: Part { ticket: run.ticket.0, bytes: 0, form },
            commands: commands.to_vec(),
            access,
            deadline: self.core.clock.monotonic_now().after(patience),
            reply_to: Arc::clone(&self.mailbox) as Arc<dyn keystead_replication::ReplyTo>,
        });
    }
}

impl Door for NodeDoor {
    fn shard_of(&self, slot: Slot) -> Option<ShardId> {
        self.routes.shard_of(slot)
    }

    fn shards(&self) -> Arc<[ShardId]> {
        Arc::clone(&self.routes.shards)
    }

    fn try_read(
        &self,
        shard: ShardId,
        query: &Query<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Option<Monotonic> {
        let local = self.routes.local(shard)?;
        let (now, unix) = self.core.clock.now();
        local.try_read(now, unix, query, reply).then_some(now)
    }

    fn standing(&self, shard: ShardId) -> Standing {
        self.core.standing(shard, &self.routes)
    }

    fn submit(&mut self, run: Run<'_>) {
        if run.shard.is_meta()
            && let Some(asked) = asked_of_node(run.commands)
        {
            return self.ask(&run, asked);
        }
        let Run { ticket, shard, database, commands, protocol, access, origin } = run;
        let form = form_of(protocol, origin);
        let bytes = internal::run_bytes_max(commands, database);
        if bytes > limits::ENTRY_BYTES_MAX {
            let part = Part { ticket: ticket.0, bytes: 0, form };
            let refusal = Refusal::TooLarge { bytes, bytes_max: limits::ENTRY_BYTES_MAX };
            self.refused.push((vec![part], refusal));
            return self.mailbox.ring();
        }
        let key = (shard, access == Access::Write);
        self.take(key, (database, commands), (ticket.0, form));
    }

    fn wait(&mut self, run: Run<'_>) {
        if run.commands.len() > limits::ENTRY_BYTES_MAX - internal::AWAIT_BYTES_MAX {
            // It is told so as others are, though a few bytes earlier.
            return self.submit(run);
        }
        self.waits.begin(&run);
        self.take_questions();
    }

    fn withdraw(&mut self, ticket: Ticket) {
        self.waits.withdraw(ticket);
        self.take_questions();
    }

    fn flush(&mut self) {
        if self.taken.is_empty() {
            return;
        }
        self.refresh();
        let now = self.core.clock.monotonic_now();
        let deadline = now.after(self.core.settings.patience);
        let mut here = Vec::new();
        for ((shard, is_write), batch) in std::mem::take(&mut self.taken) {
            let access = if is_write { LogAccess::Write } else { LogAccess::Read };
            self.dispatch(
                Waiting { shard, access, batch, deadline, not_before: now, hint: None },
                now,
                &mut here,
            );
        }
        self.send_all_calls(now);
        if !here.is_empty() {
            self.core.leave_here(here);
            self.core.drive();
        }
        if !self.refused.is_empty() {
            self.mailbox.ring();
        }
        if !self.away.is_empty() {
            self.mailbox.want_tick(true);
        }
    }

    fn completions(&mut self, each: &mut dyn FnMut(Ticket, Outcome<'_>)) {
        self.refresh();
        let now = self.core.clock.monotonic_now();
        let mut letters = std::mem::take(&mut self.letters);
        self.mailbox.take(&mut letters);
        for letter in letters.drain(..) {
            match letter {
                Letter::Completed(completed) => self.completed(completed, now, each),
                Letter::Forwarded { number, reply } => self.answered(number, reply, now, each),
                Letter::Served { number, reply } => self.waits.served(number, &reply, each),
                Letter::PeerDown(peer) => {
                    self.lost(|away| away.node == peer, UnknownReason::ConnectionLost, now, each);
                }
            }
        }
        self.letters = letters;
        let (core, routes) = (Arc::clone(&self.core), Arc::clone(&self.routes));
        let is_superseded = |away: &Away| {
            let leader = core.leader_of(away.shard, &routes);
            now.since(away.sent_at) >= SUPERSEDED_AFTER && leader.is_some_and(|it| it != away.node)
        };
        self.lost(is_superseded, UnknownReason::LeaderReplaced, now, each);
        self.lost(
            |away| away.deadline.after(ANSWER_GRACE) <= now,
            UnknownReason::Deadline,
            now,
            each,
        );
        self.retry(now);
        for (parts, refusal) in std::mem::take(&mut self.refused) {
            for part in parts {
                self.tell(&part, Outcome::Refused(refusal.clone()), each);
            }
        }
        if !self.waits.is_empty() {
            self.look_after_waits(now);
        }
        self.mailbox.want_tick(!self.waiting.is_empty() || !self.away.is_empty());
        self.mailbox.want_slow_tick(!self.waits.is_empty());
    }

    fn status(&self) -> Status {
        (self.status)()
    }

    fn cluster(&self) -> Arc<ClusterView> {
        (self.view)()
    }
}

/// What is asked of the node itself.
enum Asked<'r> {
    /// A comparison of all replicas, and how long it may take.
    Sync(Duration),
    /// A change of the libraries of functions.
    Libraries(&'r [u8]),
}

/// What a run of the metadata group asks of the node itself; nothing if it is for the group's log.
fn asked_of_node(commands: &[u8]) -> Option<Asked<'_>> {
    let (mut spans, mut run) = (Vec::new(), RunDecoder::new(commands));
    let args = run.next(&mut spans).ok()??;
    match &args[0] {
        internal::SYNC => {
            let patience_ms =
                args.get(1).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            Some(Asked::Sync(patience_ms.map_or(Duration::ZERO, Duration::from_millis)))
        }
        internal::LIBRARIES => Some(Asked::Libraries(&commands[run.offset()..])),
        _ => None,
    }
}

const fn reason_of(doubt: Doubt) -> UnknownReason {
    match doubt {
        Doubt::Deadline => UnknownReason::Deadline,
        Doubt::SnapshotInstalled => UnknownReason::SnapshotInstalled,
        Doubt::ReplicaFailed => UnknownReason::ReplicaFailed,
    }
}
