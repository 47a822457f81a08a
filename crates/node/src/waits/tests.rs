//! Waits of one door: what is asked of the shard, and what the caller is told, whatever comes back.

use std::time::Duration;

use keystead_types::{DatabaseId, Monotonic, NodeId, ShardId};

use super::*;
use crate::door::Access;

const SHARD: ShardId = ShardId(3);

/// A door's waits, and what the caller was told.
struct World {
    waits: Waits,
    now: Monotonic,
    told: Vec<(u64, String)>,
}

impl World {
    fn new() -> Self {
        let name = WaiterId { home: 1, life: 2, number: 7 << 32 };
        Self { waits: Waits::new(name), now: Monotonic(1), told: Vec::new() }
    }

    fn begin(&mut self, ticket: u64) {
        let mut commands = Vec::new();
        encode::command(&mut commands, [b"BLPOP".as_slice(), b"k", b"0"]);
        let (ticket, protocol, access) = (Ticket(ticket), Protocol::Resp2, Access::Write);
        let (shard, database, commands) = (SHARD, DatabaseId::FIRST, commands.as_slice());
        let origin = Origin::NOBODY;
        self.waits.begin(&Run { ticket, shard, database, commands, protocol, access, origin });
    }

    /// The next question, as words, and its ticket.
    fn question(&mut self) -> Option<(String, u64)> {
        if self.waits.outgoing.is_empty() {
            return None;
        }
        let Outgoing { shard, command, ticket, .. } = self.waits.outgoing.remove(0);
        assert_eq!(shard, SHARD);
        let mut spans = Vec::new();
        let args = RunDecoder::new(&command).next(&mut spans).unwrap().unwrap();
        let words: Vec<_> = args.iter().map(String::from_utf8_lossy).collect();
        Some((words.join(" "), ticket))
    }

    fn asked(&mut self, expected: &str) -> u64 {
        let (words, ticket) = self.question().expect("something is asked");
        assert_eq!(words, expected);
        ticket
    }

    fn ended(&mut self, ticket: u64, outcome: Outcome<'_>) {
        let Self { waits, now, told } = self;
        waits.ended(ticket, outcome, *now, &mut |ticket, outcome| tell(told, ticket, &outcome));
    }

    fn served(&mut self, number: u32, reply: &[u8]) {
        let Self { waits, told, .. } = self;
        waits.served(number, reply, &mut |ticket, outcome| tell(told, ticket, &outcome));
    }

    fn look(&mut self, later: Duration, leader: Option<u64>) {
        self.now = self.now.after(later);
        self.waits.look(self.now, |_| leader.map(NodeId));
    }

    fn told(&mut self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.told)
    }

    /// One that waits.
    fn parked(ticket: u64) -> Self {
        let mut world = Self::new();
        world.begin(ticket);
        let asked = world.asked("KEYSTEAD.AWAIT 1 2 30064771073 2 BLPOP k 0");
        world.ended(asked, Outcome::Done(internal::WAITS));
        world.look(Duration::ZERO, Some(1));
        assert!(world.told().is_empty() && world.question().is_none());
        world
    }
}

fn tell(told: &mut Vec<(u64, String)>, ticket: Ticket, outcome: &Outcome<'_>) {
    let what = match outcome {
        Outcome::Done(reply) => String::from_utf8_lossy(reply).into_owned(),
        Outcome::Refused(Refusal::Withdrawn) => "withdrawn".to_owned(),
        Outcome::Refused(refusal) => format!("{refusal:?}"),
        Outcome::Unknown(reason) => format!("{reason:?}"),
    };
    told.push((ticket.0, what));
}

fn one(ticket: u64, what: &str) -> Vec<(u64, String)> {
    vec![(ticket, what.to_owned())]
}

#[test]
fn what_finds_something_is_answered_and_forgotten() {
    let mut world = World::new();
    world.begin(9);
    let asked = world.asked("KEYSTEAD.AWAIT 1 2 30064771073 2 BLPOP k 0");
    world.ended(asked, Outcome::Done(b":1\r\n"));
    assert_eq!(world.told(), one(9, ":1\r\n"));
    assert!(world.waits.is_empty());
}

/// A second wait under the number of one that still waits would take its place, and that one would never end.
#[test]
fn numbers_that_come_round_again_are_not_those_of_who_still_waits() {
    let mut world = World::parked(9);
    world.waits.next = u32::MAX - 1;
    world.begin(10);
    let last = world.asked("KEYSTEAD.AWAIT 1 2 34359738367 2 BLPOP k 0");
    world.ended(last, Outcome::Done(internal::WAITS));
    world.look(Duration::from_secs(20), Some(1));
    let confirmed = world.asked("KEYSTEAD.ALIVE 1 2 30064771073 34359738367");
    world.ended(confirmed, Outcome::Done(b"*2\r\n:1\r\n:1\r\n"));
    world.begin(11);
    world.asked("KEYSTEAD.AWAIT 1 2 30064771074 2 BLPOP k 0");
    world.served(1, b":1\r\n");
    assert_eq!(world.told(), one(9, ":1\r\n"));
}

/// INV-B4.
#[test]
fn a_wait_ends_once() {
    let mut world = World::parked(9);
    world.served(1, b"x");
    world.served(1, b"y");
    world.waits.withdraw(Ticket(9));
    assert_eq!(world.told(), one(9, "x"));
    assert!(world.waits.is_empty() && world.question().is_none());
}

/// What was served in the entry that began the wait, or just behind it, is told before the shard's word that it waits.
#[test]
fn an_answer_may_overtake_the_word_that_it_waits() {
    let mut world = World::new();
    world.begin(9);
    let asked = world.asked("KEYSTEAD.AWAIT 1 2 30064771073 2 BLPOP k 0");
    world.served(1, b"x");
    world.ended(asked, Outcome::Done(internal::WAITS));
    assert_eq!(world.told(), one(9, "x"));
    assert!(world.waits.is_empty());
}

#[test]
fn whoever_withdraws_hears_what_the_shard_says() {
    let unawait = "KEYSTEAD.UNAWAIT 1 2 30064771073";
    for (reply, told) in
        [(&b":1\r\n"[..], "withdrawn"), (b"$1\r\nx\r\n", "x"), (b":0\r\n", "LeaderReplaced")]
    {
        let mut world = World::parked(9);
        world.waits.withdraw(Ticket(9));
        world.waits.withdraw(Ticket(9));
        let asked = world.asked(unawait);
        assert!(world.question().is_none(), "asked once");
        world.ended(asked, Outcome::Done(reply));
        assert_eq!(world.told(), one(9, told));
        assert!(world.waits.is_empty());
    }
    // Before the shard has said anything.
    let mut world = World::new();
    world.begin(9);
    let asked = world.asked("KEYSTEAD.AWAIT 1 2 30064771073 2 BLPOP k 0");
    world.waits.withdraw(Ticket(9));
    assert!(world.question().is_none(), "the answer decides");
    world.ended(asked, Outcome::Done(internal::WAITS));
    let asked = world.asked(unawait);
    world.ended(asked, Outcome::Done(b":1\r\n"));
    assert_eq!(world.told(), one(9, "withdrawn"));
}

/// Nobody is behind a wait of which nobody knows: its shard is asked to forget it, until it has.
#[test]
fn what_is_in_doubt_is_told_once_and_forgotten_by_the_shard() {
    let mut world = World::new();
    world.begin(9);
    let asked = world.asked("KEYSTEAD.AWAIT 1 2 30064771073 2 BLPOP k 0");
    world.ended(asked, Outcome::Unknown(UnknownReason::ConnectionLost));
    assert_eq!(world.told(), one(9, "ConnectionLost"));
    world.look(Duration::from_millis(100), Some(1));
    assert!(world.question().is_none(), "not at once");
    for _ in 0..2 {
        world.look(ASK_AGAIN_AFTER, Some(1));
        let asked = world.asked("KEYSTEAD.UNAWAIT 1 2 30064771073");
        world.ended(asked, Outcome::Refused(Refusal::NoLeader { shard: SHARD }));
    }
    world.look(ASK_AGAIN_AFTER, Some(1));
    let asked = world.asked("KEYSTEAD.UNAWAIT 1 2 30064771073");
    world.ended(asked, Outcome::Done(b":1\r\n"));
    assert!(world.told().is_empty() && world.waits.is_empty());
}

#[test]
fn a_new_leader_is_asked_whether_it_knows_who_waits() {
    let mut world = World::parked(9);
    for number in 2..=4 {
        world.begin(9 + number);
        let (_, asked) = world.question().unwrap();
        world.ended(asked, Outcome::Done(internal::WAITS));
    }
    world.look(Duration::from_millis(1), None);
    assert!(world.question().is_none(), "nobody leads");
    world.look(Duration::from_millis(1), Some(2));
    let alive = "KEYSTEAD.ALIVE 1 2 30064771073 30064771074 30064771075 30064771076";
    let asked = world.asked(alive);
    world.ended(asked, Outcome::Refused(Refusal::NoLeader { shard: SHARD }));
    world.look(ASK_AGAIN_AFTER, Some(2));
    let asked = world.asked(alive);
    // Meanwhile one is served, which the question did not know.
    world.served(4, b"z");
    world.ended(asked, Outcome::Done(b"*4\r\n:1\r\n:0\r\n$1\r\nx\r\n:0\r\n"));
    let told = [(13, "z"), (11, "LeaderReplaced"), (12, "x")].map(|(t, what)| (t, what.to_owned()));
    assert_eq!(world.told(), told);
    // And now and then.
    world.look(Duration::from_millis(1), Some(2));
    assert!(world.question().is_none());
    world.look(CONFIRM_EVERY, Some(2));
    world.asked("KEYSTEAD.ALIVE 1 2 30064771073");
}

#[test]
fn many_are_asked_about_in_turns() {
    let mut world = World::new();
    let count = CONFIRMED_AT_ONCE_MAX + 5;
    for number in 0..count as u64 {
        world.begin(number);
        let (_, asked) = world.question().unwrap();
        world.ended(asked, Outcome::Done(internal::WAITS));
    }
    world.waits.doubt_connections();
    let mut asked_about = 0;
    for _ in 0..2 {
        world.look(Duration::ZERO, Some(1));
        let (words, asked) = world.question().unwrap();
        let names = words.split(' ').count() - 3;
        asked_about += names;
        let reply = format!("*{names}\r\n{}", ":1\r\n".repeat(names));
        world.ended(asked, Outcome::Done(reply.as_bytes()));
    }
    world.look(Duration::ZERO, Some(1));
    assert!(world.question().is_none() && world.told().is_empty());
    assert_eq!(asked_about, count);
}
