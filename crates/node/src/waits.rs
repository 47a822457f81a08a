//! Clients of one door that wait: from their commands to the answer, or to the end of their patience.
//!
//! Owns: what each wait has come to, and what is to be asked of its shard next. Never: who comes first (the shard's
//! state says that, see `store/waiters.rs`), a clock, a run on its way: the door (`execute.rs`) sends what stands in
//! `outgoing` like any other write.
//!
//! ```text
//!   wait      --AWAIT-->    answered: that was it        "it waits": parked
//!   parked    --(SERVED)-->  the answer; nothing is asked
//!   withdrawn --UNAWAIT-->  it had waited: nothing happened      it had been served: the answer
//!   now and then, and when the leader may be another one: --ALIVE-->  whom the shard does not know is in doubt
//! ```
//! A parked wait holds no run, no forwarding slot and no deadline: it costs an entry here and one in the shard's state.
//!
//! INV-B4: a wait ends once, with one answer; what comes for it after that is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use keystead_resp::{Protocol, ReplyDecoder, ReplyLimits, RunDecoder, Value, encode};
use keystead_store::WaiterId;
use keystead_types::{DatabaseId, Monotonic, NodeId, ShardId};

use crate::door::{Outcome, Refusal, Run, Ticket, UnknownReason};
use crate::internal;
use crate::shard::form_of;
use crate::tracking::Origin;

/// How often a shard is told that its waiters are still there; well below `SILENCE_MS_MAX` of the store.
const CONFIRM_EVERY: Duration = Duration::from_secs(10);
/// How long a question that could not be answered is left alone.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How long a shard is asked to forget a waiter that nobody speaks for any more; by then it has forgotten by itself.
const FORGET_FOR: Duration = Duration::from_secs(120);
/// Waiters in one question: bounds how long other commands wait behind it.
const CONFIRMED_AT_ONCE_MAX: usize = 1000;

/// What a run of the door's own is about; stands in the ticket of its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Await(u32),
    Unawait(u32),
    Alive(ShardId),
}

/// A run that the door is to send.
pub(crate) struct Outgoing {
    pub(crate) shard: ShardId,
    /// On which the command works; a question about waiters has none of its own.
    pub(crate) database: DatabaseId,
    pub(crate) command: Vec<u8>,
    pub(crate) ticket: u64,
    pub(crate) form: u32,
}

/// See the module.
pub(crate) struct Waits {
    /// The door's own: home and life, and its number above the waiters'.
    name: WaiterId,
    next: u32,
    waits: BTreeMap<u32, Wait>,
    by_ticket: BTreeMap<Ticket, u32>,
    shards: BTreeMap<ShardId, Parked>,
    pub(crate) outgoing: Vec<Outgoing>,
}

struct Wait {
    ticket: Ticket,
    shard: ShardId,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The shard was asked; `is_withdrawn`: and is to be asked to forget it as soon as it has answered.
    Asked { is_withdrawn: bool },
    /// It waits.
    Parked,
    /// The shard was asked to forget it.
    Leaving,
    /// The caller was told that nobody knows; the shard is asked to forget it until it has.
    Forgotten { until: Monotonic, again_at: Option<Monotonic> },
}

/// The parked waits of one shard.
struct Parked {
    numbers: BTreeSet<u32>,
    confirm_at: Monotonic,
    /// Who led when they were last confirmed or parked.
    leader: Option<NodeId>,
    /// The waits in a question under way.
    asked: Vec<u32>,
    /// Up to which number the present round of questions has come; 0 between two rounds.
    asked_up_to: u32,
}

impl Question {
    const fn ticket(self) -> u64 {
        let (kind, number) = match self {
            Self::Await(number) => (0, number),
            Self::Unawait(number) => (1, number),
            Self::Alive(shard) => (2, shard.0),
        };
        (kind << 32) | number as u64
    }

    #[expect(clippy::cast_possible_truncation, reason = "taken apart as it was composed")]
    const fn of(ticket: u64) -> Self {
        let number = ticket as u32;
        match ticket >> 32 {
            0 => Self::Await(number),
            1 => Self::Unawait(number),
            _ => Self::Alive(ShardId(number)),
        }
    }
}

impl Waits {
    /// No waits yet; `name` is that of the waiter with the number 0.
    pub(crate) const fn new(name: WaiterId) -> Self {
        Self {
            name,
            next: 0,
            waits: BTreeMap::new(),
            by_ticket: BTreeMap::new(),
            shards: BTreeMap::new(),
            outgoing: Vec::new(),
        }
    }

    /// True if nothing waits and nothing is to be forgotten.
    pub(crate) fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// Asks the shard for what the run's command wants, or to wait for it.
    pub(crate) fn begin(&mut self, run: &Run<'_>) {
        let number = self.free_number();
        let mut spans = Vec::new();
        let args = RunDecoder::new(run.commands).next(&mut spans).ok().flatten();
        let args = args.expect("INV-P2: whoever submits a run holds canonical requests");
        let WaiterId { home, life, number: door } = self.name;
        let resp = if run.protocol == Protocol::Resp3 { 3 } else { 2 };
        let head = [home, life, door | u64::from(number), resp].map(|n| n.to_string());
        let head = std::iter::once(internal::AWAIT).chain(head.iter().map(String::as_bytes));
        let words: Vec<&[u8]> = head.chain(args.iter()).collect();
        let mut command = Vec::with_capacity(run.commands.len() + 64);
        encode::command(&mut command, words);
        let stage = Stage::Asked { is_withdrawn: false };
        self.waits.insert(number, Wait { ticket: run.ticket, shard: run.shard, stage });
        self.by_ticket.insert(run.ticket, number);
        let ticket = Question::Await(number).ticket();
        self.outgoing.push(Outgoing {
            shard: run.shard,
            database: run.database,
            command,
            ticket,
            form: form_of(run.protocol, run.origin),
        });
    }

    /// A number that no wait has. A busy door comes round to the first ones within days, and somebody may have waited since.
    fn free_number(&mut self) -> u32 {
        loop {
            self.next = self.next.wrapping_add(1);
            if self.next != 0 && !self.waits.contains_key(&self.next) {
                return self.next;
            }
        }
    }

    /// The caller waits no more. Its wait ends with [`Refusal::Withdrawn`] unless it was served before.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) {
        let Some(&number) = self.by_ticket.get(&ticket) else { return };
        let Some(wait) = self.waits.get_mut(&number) else { return };
        match wait.stage {
            Stage::Asked { .. } => wait.stage = Stage::Asked { is_withdrawn: true },
            Stage::Parked => self.ask_to_forget(number),
            Stage::Leaving | Stage::Forgotten { .. } => {}
        }
    }

    /// A leader told what a client was served.
    pub(crate) fn served(
        &mut self,
        number: u32,
        reply: &[u8],
        each: &mut dyn FnMut(Ticket, Outcome<'_>),
    ) {
        self.end(number, Outcome::Done(reply), each);
    }

    /// A run of the door's own ended.
    pub(crate) fn ended(
        &mut self,
        ticket: u64,
        outcome: Outcome<'_>,
        now: Monotonic,
        each: &mut dyn FnMut(Ticket, Outcome<'_>),
    ) {
        match Question::of(ticket) {
            Question::Await(number) => self.asked(number, outcome, now, each),
            Question::Unawait(number) => self.asked_to_forget(number, &outcome, now, each),
            Question::Alive(shard) => self.confirmed(shard, &outcome, now, each),
        }
    }

    fn asked(
        &mut self,
        number: u32,
        outcome: Outcome<'_>,
        now: Monotonic,
        each: &mut dyn FnMut(Ticket, Outcome<'_>),
    ) {
        let Some(wait) = self.waits.get_mut(&number) else { return };
        match outcome {
            Outcome::Done(internal::WAITS) => {
                let is_withdrawn = wait.stage == Stage::Asked { is_withdrawn: true };
                wait.stage = Stage::Parked;
                let shard = self.shards.entry(wait.shard).or_insert_with(|| Parked {
                    numbers: BTreeSet::new(),
                    confirm_at: now.after(CONFIRM_EVERY),
                    leader: None,
                    asked: Vec::new(),
                    asked_up_to: 0,
                });
                shard.numbers.insert(number);
                if is_withdrawn {
                    self.ask_to_forget(number);
                }
            }
            // It may have been taken, or may yet be: then it would wait with nobody behind it.
            Outcome::Unknown(reason) => self.doubt(number, reason, now, each),
            outcome => self.end(number, outcome, each),
        }
    }

    fn asked_to_forget(
        &mut self,
        number: u32,
        outcome: &Outcome<'_>,
        now: Monotonic,
        each: &mut dyn FnMut(Ticket, Outcome<'_>),
    ) {
        let is_forgotten =
            matches!(self.waits.get(&number), Some(Wait { stage: Stage::Forgotten { .. }, .. }));
        match outcome {
            Outcome::Done(_) if is_forgotten => drop(self.waits.remove(&number)),
            Outcome::Done(reply) => match Fate::read(reply).first() {
                Some(Fate::Waits) => self.end(number, Outcome::Refused(Refusal::Withdrawn), each),
                Some(Fate::Served(reply)) => self.end(number, Outcome::Done(reply), each),
                _ => self.end(number, Outcome::Unknown(UnknownReason::LeaderReplaced), each),
            },
            Outcome::Refused(_) => self.doubt(number, UnknownReason::Deadline, now, each),
            Outcome::Unknown(reason) => self.doubt(number, *reason, now, each),
        }
    }

    fn confirmed(
        &mut self,
        shard: ShardId,
        outcome: &Outcome<'_>,
        now: Monotonic,
        each: &mut dyn FnMut(Ticket, Outcome<'_>),
    ) {
        let Some(parked) = self.shards.get_mut(&shard) else { return };
        let asked = std::mem::take(&mut parked.asked);
        let Outcome::Done(reply) = outcome else {
            parked.confirm_at = now.after(ASK_AGAIN_AFTER);
            return;
        };
        for (number, fate) in asked.into_iter().zip(Fate::read(reply)) {
            // Who was withdrawn meanwhile hears it from there.
            if !self.waits.get(&number).is_some_and(|wait| wait.stage == Stage::Parked) {
                continue;
            }
            match fate {
                Fate::Waits => {}
                Fate::Served(reply) => self.end(number, Outcome::Done(&reply), each),
                Fate::Unknown => {
                    self.end(number, Outcome::Unknown(UnknownReason::LeaderReplaced), each);
                }
            }
        }
    }

    /// Sees what is due: to be called now and then, and when leaders or connections have changed.
    pub(crate) fn look(&mut self, now: Monotonic, leader_of: impl Fn(ShardId) -> Option<NodeId>) {
        let mut due = Vec::new();
        for (shard, parked) in &mut self.shards {
            let leader = leader_of(*shard);
            if leader.is_some() && leader != parked.leader {
                // The one before may have served somebody and not told: the first one known is no change.
                if parked.leader.is_some() {
                    parked.confirm_at = now;
                }
                parked.leader = leader;
            }
            if parked.confirm_at <= now && parked.asked.is_empty() {
                due.push(*shard);
            }
        }
        for shard in due {
            self.ask_whether_known(shard, now);
        }
        self.forget_again(now);
    }

    /// Has everybody confirmed at the next look: an answer may have been lost.
    pub(crate) fn doubt_connections(&mut self) {
        self.shards.values_mut().for_each(|parked| parked.confirm_at = Monotonic(0));
    }

    /// Asks about the next of those who are parked, in the order of their numbers.
    fn ask_whether_known(&mut self, shard: ShardId, now: Monotonic) {
        let Some(parked) = self.shards.get_mut(&shard) else { return };
        let rest = parked.numbers.range((Excluded(parked.asked_up_to), Unbounded)).copied();
        parked.asked = rest.take(CONFIRMED_AT_ONCE_MAX).collect();
        let is_whole = parked.asked.len() < CONFIRMED_AT_ONCE_MAX;
        parked.asked_up_to = parked.asked.last().copied().filter(|_| !is_whole).unwrap_or(0);
        parked.confirm_at = if is_whole { now.after(CONFIRM_EVERY) } else { now };
        if parked.asked.is_empty() {
            return;
        }
        let name = self.name;
        let numbers = parked.asked.iter().map(|number| name.number | u64::from(*number));
        let words: Vec<String> =
            [name.home, name.life].into_iter().chain(numbers).map(|n| n.to_string()).collect();
        self.ask(shard, internal::ALIVE, &words, Question::Alive(shard));
    }

    fn ask_to_forget(&mut self, number: u32) {
        let Some(wait) = self.waits.get_mut(&number) else { return };
        let shard = wait.shard;
        if !matches!(wait.stage, Stage::Forgotten { .. }) {
            wait.stage = Stage::Leaving;
        }
        let WaiterId { home, life, number: door } = self.name;
        let words = [home, life, door | u64::from(number)].map(|n| n.to_string());
        self.ask(shard, internal::UNAWAIT, &words, Question::Unawait(number));
    }

    fn ask(&mut self, shard: ShardId, name: &[u8], words: &[String], question: Question) {
        let mut command = Vec::new();
        let words: Vec<&[u8]> =
            std::iter::once(name).chain(words.iter().map(String::as_bytes)).collect();
        encode::command(&mut command, words);
        let form = form_of(Protocol::Resp2, Origin::NOBODY);
        let (ticket, database) = (question.ticket(), DatabaseId::FIRST);
        self.outgoing.push(Outgoing { shard, database, command, ticket, form });
    }

    /// Asks again to forget those whom nobody speaks for.
    fn forget_again(&mut self, now: Monotonic) {
        let mut due = Vec::new();
        self.waits.retain(|number, wait| {
            let Stage::Forgotten { until, again_at } = &mut wait.stage else { return true };
            if again_at.is_some_and(|at| at <= now) {
                *again_at = None;
                due.push(*number);
            }
            now < *until
        });
        due.into_iter().for_each(|number| self.ask_to_forget(number));
    }

    /// Tells the caller that nobody knows, and goes on asking the shard to forget the waiter.
    fn doubt(
        &mut self,
        number: u32,
        reason: UnknownReason,
        now: Monotonic,
        each: &mut dyn FnMut(Ticket, Outcome<'_>),
    ) {
        let Some(mut wait) = self.take(number) else { return };
        let until = match wait.stage {
            Stage::Forgotten { until, .. } => until,
            _ => {
                each(wait.ticket, Outcome::Unknown(reason));
                now.after(FORGET_FOR)
            }
        };
        let again_at = Some(now.after(ASK_AGAIN_AFTER));
        wait.stage = Stage::Forgotten { until, again_at };
        self.waits.insert(number, wait);
    }

    /// Ends a wait (INV-B4).
    fn end(
        &mut self,
        number: u32,
        outcome: Outcome<'_>,
        each: &mut dyn FnMut(Ticket, Outcome<'_>),
    ) {
        let Some(wait) = self.take(number) else { return };
        if !matches!(wait.stage, Stage::Forgotten { .. }) {
            each(wait.ticket, outcome);
        }
    }

    fn take(&mut self, number: u32) -> Option<Wait> {
        let wait = self.waits.remove(&number)?;
        if self.by_ticket.get(&wait.ticket) == Some(&number) {
            self.by_ticket.remove(&wait.ticket);
        }
        if let Some(parked) = self.shards.get_mut(&wait.shard) {
            parked.numbers.remove(&number);
            if parked.numbers.is_empty() && parked.asked.is_empty() {
                self.shards.remove(&wait.shard);
            }
        }
        Some(wait)
    }
}

/// What a shard says of a waiter.
enum Fate {
    Waits,
    Served(Vec<u8>),
    Unknown,
}

impl Fate {
    /// The fates in an answer to UNAWAIT, one, or to ALIVE, as many as were asked about.
    fn read(reply: &[u8]) -> Vec<Self> {
        let decoded = ReplyDecoder::new(ReplyLimits::default()).decode(reply);
        let Ok(Some((value, _))) = decoded else { return Vec::new() };
        let of = |value: &Value| match (value.as_integer(), value.as_bytes()) {
            (Some(1), _) => Self::Waits,
            (None, Some(reply)) => Self::Served(reply.to_vec()),
            _ => Self::Unknown,
        };
        value.as_elements().map_or_else(|| vec![of(&value)], |fates| fates.iter().map(of).collect())
    }
}

#[cfg(test)]
mod tests;
