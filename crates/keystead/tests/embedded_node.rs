//! The embedded handle over real nodes: restarts, Redis clients beside it, clusters in one process.

use std::time::{Duration, Instant};

use keystead::blocking::Keystead;
use keystead::{Kind, Options, Value};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Small and quick: what the tests are about does not depend on sizes.
fn small(options: Options) -> Options {
    options.configure(|config| {
        config.shards = 4;
        config.segment_bytes = 1 << 20;
    })
}

#[test]
fn what_was_acknowledged_is_there_after_a_drop_and_after_a_shutdown() {
    let data = tempfile::tempdir().unwrap();
    let start = || Keystead::start(small(Options::new(data.path()))).unwrap();

    let store = start();
    store.put("n", &1).unwrap();
    drop(store);

    let store = start();
    assert_eq!(store.get::<u32>("n").unwrap(), Some(1));
    store.put("n", &2).unwrap();
    store.shutdown().unwrap();
    assert_eq!(store.put("n", &3).unwrap_err().kind(), Kind::Closed);
    assert_eq!(store.get::<u32>("n").unwrap_err().kind(), Kind::Closed);
    drop(store);

    assert_eq!(start().get::<u32>("n").unwrap(), Some(2));
}

#[test]
fn a_data_directory_belongs_to_one_node_at_a_time() {
    let data = tempfile::tempdir().unwrap();
    let first = Keystead::start(small(Options::new(data.path()))).unwrap();
    first.ready(PATIENCE).unwrap();
    first.put("n", &0).unwrap();
    let second = Keystead::start(small(Options::new(data.path()))).unwrap_err();
    // `Conflict`, but for a moment in which both write `identity.json`: a node writes it before it takes
    // the lock of its log.
    assert!(matches!(second.kind(), Kind::Conflict | Kind::Corrupt), "{second}");
    first.put("n", &1).unwrap();
    assert_eq!(first.get::<u32>("n").unwrap(), Some(1));
}

#[test]
fn redis_clients_and_the_handle_see_the_same_and_updates_of_both_all_count() {
    let data = tempfile::tempdir().unwrap();
    let any_port = "127.0.0.1:0".parse().unwrap();
    let store = Keystead::start(small(Options::new(data.path()).listen(any_port))).unwrap();
    let address = store.client_address().unwrap().to_string();
    let connect = || {
        let options = keystead_client::ConnectOptions::default();
        keystead_client::blocking::Client::connect(&address, options).unwrap()
    };

    let mut client = connect();
    store.put("user1", &serde_json::json!({"name": "Alice"})).unwrap();
    let text = client.command(&["GET", "user1"]).unwrap();
    assert_eq!(text, Value::Bulk(br#"{"name":"Alice"}"#.to_vec()));
    client.command(&["SET", "user1", "7"]).unwrap();
    assert_eq!(store.get::<u32>("user1").unwrap(), Some(7));

    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = connect();
                for _ in 0..100 {
                    client.command(&["INCR", "n"]).unwrap();
                }
            });
            scope.spawn(|| {
                for _ in 0..100 {
                    store.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
                }
            });
        }
    });
    assert_eq!(store.get::<u32>("n").unwrap(), Some(400));
}

#[test]
fn a_key_whose_time_is_up_is_gone() {
    let data = tempfile::tempdir().unwrap();
    let store = Keystead::start(small(Options::new(data.path()))).unwrap();
    store.put_with_ttl("short", &1, Duration::from_millis(30)).unwrap();
    store.put_with_ttl("long", &1, Duration::from_secs(3600)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while store.exists("short").unwrap() {
        assert!(Instant::now() < deadline, "the key is still there");
        std::thread::yield_now();
    }
    assert!(store.exists("long").unwrap());
}

#[test]
fn a_fresh_node_connects_and_one_with_keys_refuses() {
    let data = tempfile::tempdir().unwrap();
    let start = |name| Keystead::start(small(Options::new(data.path().join(name)))).unwrap();
    let (first, second, third) = (start("first"), start("second"), start("third"));
    first.put("n", &1).unwrap();
    third.put("own", &1).unwrap();

    second.connect(first.peer_address(), PATIENCE).unwrap();
    assert_eq!(second.get::<u32>("n").unwrap(), Some(1));
    second.put("n", &2).unwrap();
    assert_eq!(first.get::<u32>("n").unwrap(), Some(2));
    first.sync(PATIENCE).unwrap();

    // INV-EMB5: nothing of a node with keys is touched.
    let refused = third.connect(first.peer_address(), PATIENCE).unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
    assert_eq!(third.get::<u32>("own").unwrap(), Some(1));
    let refused = second.connect(first.peer_address(), PATIENCE).unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
    let refused = third.connect("nowhere", PATIENCE).unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid, "{refused}");
}
