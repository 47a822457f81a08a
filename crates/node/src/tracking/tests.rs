//! The table alone: who is told what. INV-TRK1 over all interleavings that a lock leaves.

use std::sync::Arc;

use keystead_store::Effect;

use super::*;
use crate::pubsub::{Bus, Waiting};

struct Client {
    inbox: Arc<Inbox>,
    listener: Listener,
}

impl Client {
    fn new(bus: &Bus, id: u64) -> Self {
        Self { inbox: bus.open_inbox(|| {}), listener: Listener { slot: 0, client: id } }
    }

    fn enroll(&self, tracking: &Tracking, prefixes: Option<&[&str]>, is_noloop: bool) -> Origin {
        let prefixes = prefixes.map(|all| all.iter().map(|it| Box::from(it.as_bytes())).collect());
        let inbox = Arc::clone(&self.inbox);
        tracking.enroll(Tracker { inbox, listener: self.listener, prefixes, is_noloop })
    }

    /// What it was told since the last time: keys of one word separated by commas, `*` for all.
    fn told(&self) -> Vec<String> {
        let mut waiting = Waiting::default();
        self.inbox.take(&mut waiting);
        let words = waiting.deliveries.iter().map(|it| match &it.content {
            Content::Stale(None) => "*".to_owned(),
            Content::Stale(Some(keys)) => {
                let keys: Vec<_> = keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
                keys.join(",")
            }
            other => panic!("{other:?}"),
        });
        words.collect()
    }
}

const ONE: ShardId = ShardId(1);

fn touched(key: &str) -> Effect {
    Effect::Touched(key.as_bytes().into())
}

fn read(tracking: &Tracking, client: &Client, key: &str) {
    tracking.register(ONE, client.listener.client, [key.as_bytes()]);
}

#[test]
fn a_key_is_told_once_to_everybody_who_registered_it() {
    let bus = Bus::default();
    let tracking = bus.tracking();
    assert!(!tracking.is_active());
    let (a, b) = (Client::new(&bus, 1), Client::new(&bus, 2));
    a.enroll(tracking, None, false);
    b.enroll(tracking, None, false);
    for client in [&a, &b, &a] {
        read(tracking, client, "k");
    }
    read(tracking, &a, "j");
    assert_eq!(tracking.stats(), TrackingStats { clients: 2, keys: 2, items: 3, prefixes: 0 });
    tracking.tell(ONE, &[touched("k"), touched("k"), touched("i")], &[]);
    assert_eq!((a.told(), b.told()), (vec!["k".to_owned()], vec!["k".to_owned()]));
    tracking.withdraw(ONE, 1, b"j");
    tracking.tell(ONE, &[touched("j")], &[]);
    assert_eq!(a.told(), Vec::<String>::new());
    assert_eq!(tracking.stats(), TrackingStats { clients: 2, ..TrackingStats::default() });
    read(tracking, &a, "k");
    tracking.tell(ONE, &[Effect::Cleared, Effect::Cleared], &[]);
    assert_eq!((a.told(), b.told()), (vec!["*".to_owned()], vec!["*".to_owned()]));
    a.told();
    tracking.dismiss(1);
    tracking.dismiss(2);
    assert!(!tracking.is_active());
}

#[test]
fn only_what_a_client_is_known_to_have_changed_itself_is_spared_it() {
    let bus = Bus::default();
    let tracking = bus.tracking();
    let (a, b, twin) =
        (Client::new(&bus, 1), Client::new(&bus, 2), Client::new(&bus, 1 + (1 << Origin::BITS)));
    let own = a.enroll(tracking, None, true);
    let other = b.enroll(tracking, Some(&["k", "x"]), true);
    assert_eq!(
        twin.enroll(tracking, None, true),
        Origin::NOBODY,
        "it would be taken for the other"
    );
    for by in [own, other, Origin::NOBODY] {
        read(tracking, &a, "k");
        tracking.tell(ONE, &[touched("j"), touched("k1"), touched("k")], &[(1, own), (3, by)]);
    }
    assert_eq!(a.told(), ["k", "k"]);
    assert_eq!(b.told(), ["k,k1", "k,k1"]);
    // Two behind one key: whoever made only one of the changes is told.
    tracking.tell(ONE, &[touched("x"), touched("x")], &[(1, other), (2, own)]);
    assert_eq!(b.told(), ["x"]);
    assert_eq!(tracking.stats().prefixes, 2);
}

#[test]
fn connections_that_are_gone_do_not_gather_behind_a_key() {
    let bus = Bus::default();
    let tracking = bus.tracking();
    Client::new(&bus, 1).enroll(tracking, None, false);
    for id in 2..1000 {
        let client = Client::new(&bus, id);
        client.enroll(tracking, None, false);
        read(tracking, &client, "k");
        tracking.dismiss(id);
    }
    assert!(tracking.stats().items <= 2 * 2 + GONE_SLACK, "{:?}", tracking.stats());
}

#[test]
fn what_is_not_heard_of_any_more_is_dropped() {
    let bus = Bus::default();
    let tracking = bus.tracking();
    let (a, b) = (Client::new(&bus, 1), Client::new(&bus, 2));
    a.enroll(tracking, None, false);
    b.enroll(tracking, Some(&[""]), false);
    let look = |at_ms: u64, lost: &[ShardId]| {
        tracking.look(Monotonic(at_ms * 1_000_000), lost.iter().copied().collect());
        (a.told().len(), b.told().len())
    };
    read(tracking, &a, "k");
    assert_eq!(look(10_000, &[]), (0, 0));
    assert_eq!(look(10_010, &[ONE]), (1, 1), "lost");
    assert_eq!(look(10_020, &[ONE]), (0, 0), "still");
    read(tracking, &a, "k");
    assert_eq!(look(10_030, &[ONE]), (1, 1), "it was back, and is lost again");
    assert_eq!(look(11_040, &[ONE]), (0, 1), "who tracks by prefix is told from time to time");
    assert_eq!(look(11_050, &[]), (0, 0));
    assert_eq!(look(11_060, &[ShardId(2)]), (1, 1));
}

/// A reader that registers before it reads is told of whatever it does not see.
#[test]
fn no_change_falls_between_a_registration_and_its_read() {
    const ROUNDS: u64 = 20_000;
    let bus = Bus::default();
    let tracking = bus.tracking();
    let client = Client::new(&bus, 1);
    client.enroll(tracking, None, false);
    let state = RwLock::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                *state.write() = round;
                tracking.tell(ONE, &[touched("k")], &[]);
            }
        });
        let mut copy = None;
        while copy != Some(ROUNDS) {
            if copy.is_none() {
                read(tracking, &client, "k");
                copy = Some(*state.read());
            }
            if !client.told().is_empty() {
                copy = None;
            }
            // A copy that is stale and not told of would be kept for ever, and so would this loop go on.
        }
    });
}
