//! What the handle promises, over a stand-in for the node. The real node's part stands in `tests/`.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use keystead_node::{Refusal, UnknownReason};
use keystead_types::ShardId;
use serde::{Deserialize, Serialize};

use super::park::block_on;
use super::stand_in::{Fault, StandIn};
use super::{Keystead, blocking};
use crate::error::{Error, Kind};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    age: u32,
}

fn alice() -> User {
    User { name: "Alice".into(), age: 30 }
}

fn store(shards: usize) -> (StandIn, blocking::Keystead) {
    let host = StandIn::new(shards);
    (host.clone(), Keystead::over(Box::new(host)).into())
}

/// Runs `check` on a leader, whose reads come from memory, and on a node that has to ask.
fn on_leader_and_follower(check: impl Fn(&StandIn, &blocking::Keystead)) {
    for is_leader in [true, false] {
        let (host, store) = store(4);
        host.set_leader(is_leader);
        check(&host, &store);
    }
}

#[test]
fn values_are_json_that_redis_clients_read() {
    on_leader_and_follower(|_, store| {
        store.put("user1", &alice()).unwrap();
        assert_eq!(store.get::<User>("user1").unwrap(), Some(alice()));
        assert_eq!(
            store.get_bytes("user1").unwrap().as_deref(),
            Some(&br#"{"name":"Alice","age":30}"#[..])
        );
        assert_eq!(store.get_with("user1", |text| text.map(<[u8]>::len)).unwrap(), Some(25));
        assert_eq!(store.get::<User>("nobody").unwrap(), None);
        assert!(store.exists("user1").unwrap());
        assert!(store.delete("user1").unwrap());
        assert!(!store.delete("user1").unwrap());
        assert!(!store.exists("user1").unwrap());
    });
}

#[test]
fn update_sets_changes_and_removes() {
    on_leader_and_follower(|_, store| {
        let older =
            |user: Option<User>| User { age: user.map_or(30, |user| user.age + 1), ..alice() };
        assert_eq!(store.update("user1", older).unwrap(), Some(alice()));
        assert_eq!(store.update("user1", older).unwrap(), Some(User { age: 31, ..alice() }));
        assert_eq!(store.update("user1", |_: Option<User>| None).unwrap(), None);
        assert!(!store.exists("user1").unwrap());
        assert_eq!(store.update("user1", |none: Option<User>| none).unwrap(), None);
    });
}

#[test]
fn update_runs_again_when_another_client_was_faster() {
    on_leader_and_follower(|_, store| {
        store.put("n", &1).unwrap();
        let mut seen = Vec::new();
        let result = store.update("n", |n: Option<u32>| {
            if seen.len() < 2 {
                store.update("n", |n: Option<u32>| n.unwrap_or(0) + 10).unwrap();
            }
            seen.push(n);
            n.unwrap_or(0) + 1
        });
        assert_eq!(result.unwrap(), Some(22));
        assert_eq!(seen, [Some(1), Some(11), Some(21)]);

        let removed = store.update("n", |n: Option<u32>| {
            if n == Some(22) {
                store.put("n", &23).unwrap();
            }
            None
        });
        assert_eq!(removed.unwrap(), None);
        assert!(!store.exists("n").unwrap());
    });
}

#[test]
fn an_update_that_never_wins_leaves_no_trace() {
    let (_, store) = store(1);
    let error = store.update("n", |n: Option<u64>| {
        store.put("n", &(n.unwrap_or(0) + 2)).unwrap();
        n.unwrap_or(0) + 1
    });
    assert_eq!(error.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(store.get::<u64>("n").unwrap(), Some(2 * u64::from(super::update::ATTEMPTS_MAX)));
}

#[test]
fn concurrent_updates_of_one_key_all_count() {
    let (_, store) = store(2);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    store.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
                }
            });
        }
    });
    assert_eq!(store.get::<u32>("n").unwrap(), Some(800));
}

#[test]
fn a_time_to_live_ends_the_key_and_survives_an_update() {
    on_leader_and_follower(|host, store| {
        store.put_with_ttl("session", &1, Duration::from_millis(500)).unwrap();
        store.update("session", |n: Option<u32>| n.map(|n| n + 1)).unwrap();
        host.pass_time(499);
        assert_eq!(store.get::<u32>("session").unwrap(), Some(2));
        host.pass_time(1);
        assert_eq!(store.get::<u32>("session").unwrap(), None);
        for ttl in [Duration::ZERO, Duration::from_micros(999), Duration::MAX] {
            let error = store.put_with_ttl("session", &1, ttl).unwrap_err();
            assert!(matches!(error, Error::TimeToLive { .. }), "{error}");
        }
    });
}

#[test]
fn scan_finds_every_key_of_a_prefix_in_all_shards() {
    on_leader_and_follower(|_, store| {
        for n in 0..1500 {
            store.put_bytes(format!("user:{n}"), "x").unwrap();
            store.put_bytes(format!("other:{n}"), "x").unwrap();
        }
        store.put_bytes("a*b", "x").unwrap();
        let mut found: Vec<Vec<u8>> = store.scan("user:").map(Result::unwrap).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 1500);
        assert!(found.iter().all(|key| key.starts_with(b"user:")));
        assert_eq!(store.scan("").map(Result::unwrap).count(), 3001);
        assert_eq!(store.scan("a*").map(Result::unwrap).count(), 1);
        assert_eq!(store.scan_matching("*:1499").map(Result::unwrap).count(), 2);
    });
}

#[test]
fn commands_go_where_their_keys_are() {
    use keystead_resp::Value;
    on_leader_and_follower(|_, store| {
        let run = |line: &str| store.command(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(run("SET {a}1 x").unwrap(), Value::Simple("OK".into()));
        assert_eq!(run("SET {a}2 x").unwrap(), Value::Simple("OK".into()));
        assert_eq!(run("EXISTS {a}1 {a}2 {a}3").unwrap(), Value::Integer(2));
        assert_eq!(run("DBSIZE").unwrap(), Value::Integer(2));
        assert!(run("RANDOMKEY").unwrap().as_str().is_some_and(|key| key.starts_with("{a}")));
        assert_eq!(run("KEYS *").unwrap().as_elements().map(<[Value]>::len), Some(2));
        assert_eq!(run("FLUSHALL").unwrap(), Value::Simple("OK".into()));
        assert_eq!(run("RANDOMKEY").unwrap(), Value::Null);
        for (line, expected) in [
            ("GET", "ERR wrong number of arguments for 'get' command"),
            ("NOSUCH x", "ERR unknown command 'NOSUCH', with args beginning with: 'x' "),
            (
                "KEYSTEAD.WATCH 1 a",
                "ERR unknown command 'KEYSTEAD.WATCH', with args beginning with: '1' 'a' ",
            ),
        ] {
            assert_eq!(run(line).unwrap_err().to_string(), expected);
        }
        assert!(matches!(run("MULTI"), Err(Error::NeedsConnection { command: "multi" })));
        assert!(matches!(run("DEL a b c d e f"), Err(Error::CrossShard { command: "del" })));
        assert!(matches!(store.command(&[""; 0]), Err(Error::EmptyCommand)));
    });
}

#[test]
fn scan_by_command_walks_through_all_shards() {
    use keystead_resp::Value;
    on_leader_and_follower(|_, store| {
        for n in 0..100 {
            store.put_bytes(format!("k{n}"), "x").unwrap();
        }
        let (mut cursor, mut found) = (b"0".to_vec(), 0);
        loop {
            let page = store.command(&[b"SCAN".as_slice(), &cursor]).unwrap();
            let [next, Value::Array(keys)] = page.as_elements().unwrap() else {
                panic!("{page:?}")
            };
            found += keys.len();
            cursor = next.as_bytes().unwrap().to_vec();
            if cursor == b"0" {
                break;
            }
        }
        assert_eq!(found, 100);
    });
}

// INV-EMB4: no write is handed to the node twice.
#[test]
fn unknown_stays_unknown_and_is_not_tried_again() {
    let (host, store) = store(1);
    host.fail_next(Fault::Unknown(UnknownReason::Deadline));
    assert_eq!(store.put("n", &1).unwrap_err().kind(), Kind::Unknown);
    assert_eq!(store.get::<u32>("n").unwrap(), None, "the write was tried again");

    store.put("n", &1).unwrap();
    let mut runs = 0;
    host.fail_next(Fault::Unknown(UnknownReason::ConnectionLost));
    let error = store.update("n", |n: Option<u32>| {
        runs += 1;
        n.unwrap_or(0) + 1
    });
    assert_eq!((error.unwrap_err().kind(), runs), (Kind::Unknown, 1));

    host.set_leader(false);
    host.fail_next(Fault::Unknown(UnknownReason::ConnectionLost));
    assert_eq!(store.get::<u32>("n").unwrap_err().kind(), Kind::Unavailable);
    host.fail_next(Fault::Refused(Refusal::NoLeader { shard: ShardId(1) }));
    assert_eq!(store.put("n", &2).unwrap_err().kind(), Kind::Unavailable);
}

#[test]
fn a_flush_that_reached_only_some_shards_is_unknown() {
    let (host, store) = store(3);
    host.fail_next(Fault::Refused(Refusal::Overloaded));
    let error = store.command(&["FLUSHALL"]).unwrap_err();
    assert_eq!(error.kind(), Kind::Unknown);
    assert!(matches!(error, Error::Partly { source, .. } if source.kind() == Kind::Overloaded));
}

#[test]
fn other_types_and_foreign_values_are_errors_with_their_reason() {
    on_leader_and_follower(|_, store| {
        store.put_bytes("text", "not json").unwrap();
        let error = store.get::<User>("text").unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("User"), "{error}");
        let error = store.update("text", |user: Option<User>| user).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        let map = std::collections::BTreeMap::from([(vec![1], 2)]);
        assert_eq!(store.put("map", &map).unwrap_err().kind(), Kind::Invalid);
    });
}

// INV-EMB2: every call that was taken ends exactly once, here by the shutdown.
#[test]
fn callers_under_way_at_shutdown_are_told_and_later_ones_refused() {
    let (host, store) = store(1);
    host.hold();
    let writer = std::thread::Builder::new().spawn({
        let store = store.clone();
        move || store.put("n", &1)
    });
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while host.held() == 0 {
        assert!(std::time::Instant::now() < deadline, "the write never arrived");
        std::thread::yield_now();
    }
    store.shutdown().unwrap();
    let told = writer.unwrap().join().unwrap();
    assert_eq!(told.unwrap_err().kind(), Kind::Unknown);
    host.release();
    assert_eq!(store.put("n", &2).unwrap_err().kind(), Kind::Closed);
    assert_eq!(store.get::<u32>("n").unwrap_err().kind(), Kind::Closed);
    store.shutdown().unwrap();
}

// INV-EMB1: work laid down by whoever finds the door taken is seen.
#[test]
fn runs_laid_down_while_another_thread_stands_at_the_door_leave_in_time() {
    let (host, store) = store(4);
    host.set_leader(false);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..500 {
                    let key = format!("{thread}:{n}");
                    store.put(&key, &n).unwrap();
                    assert_eq!(store.get::<u32>(&key).unwrap(), Some(n));
                }
            });
        }
    });
    assert_eq!(store.scan("").count(), 4000);
}

#[test]
fn a_dropped_future_withdraws_nothing() {
    let (host, blocking) = store(1);
    let store = Keystead::from(blocking.clone());
    host.hold();
    block_on(async {
        let mut put = std::pin::pin!(store.put("n", &1));
        let polled = poll_fn(|context| Poll::Ready(put.as_mut().poll(context).is_pending()));
        assert!(polled.await);
    });
    host.release();
    assert_eq!(blocking.get::<u32>("n").unwrap(), Some(1));
}

#[test]
fn calls_that_are_polled_together_leave_in_one_flush() {
    let host = StandIn::new(1);
    let store = Keystead::over(Box::new(host.clone()));
    let puts = (0..10).map(|number| Box::pin(store.put_bytes(format!("key{number}"), b"value")));
    let mut puts: Vec<_> = puts.collect();
    block_on(poll_fn(|context| {
        puts.retain_mut(|put| match put.as_mut().poll(context) {
            Poll::Ready(outcome) => {
                outcome.unwrap();
                false
            }
            Poll::Pending => true,
        });
        if puts.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }));
    assert_eq!(host.flushes(), 1);
    block_on(store.put_bytes("alone", b"value")).unwrap();
    assert_eq!(host.flushes(), 2);
}

#[test]
fn a_call_that_is_cancelled_before_it_left_leaves_nothing_lying() {
    let host = StandIn::new(1);
    let store = Keystead::over(Box::new(host.clone()));
    {
        let mut put = pin!(store.put_bytes("key", b"value"));
        assert!(put.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(host.flushes(), 0);
    }
    assert_eq!(host.flushes(), 1, "what was taken goes its way, as a call that is cancelled later");
    assert_eq!(block_on(store.get_bytes("key")).unwrap().as_deref(), Some(&b"value"[..]));
}
