//! Whatever bytes a client sends, and however it leaves, its thread goes on and nothing panics.

mod support;

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use support::{Server, command};

static PANICS: AtomicUsize = AtomicUsize::new(0);
static COUNTING: Once = Once::new();

/// Counts panics of every thread: those of single connections are caught and only logged.
fn count_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        report(panic);
    }));
}

/// Bytes that come close to commands: names of all sorts, odd arguments, broken frames.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let rows = keystead_store::command::TABLE;
    let names: Vec<&'static str> = rows
        .iter()
        .flat_map(|row| std::iter::once(row).chain(row.subcommands))
        .map(|row| row.name)
        // A pause may last longer than anybody waits.
        .filter(|name| *name != "client|pause")
        .collect();
    let arg = prop_oneof![
        4 => "[a-c]",
        2 => "-?[0-9]{1,20}",
        1 => prop::sample::select(vec!["ON", "OFF", "ID", "COUNT", "MATCH", "*", "SKIPME", "no", ""]).prop_map(str::to_owned),
        1 => "[ -~]{0,40}",
    ];
    let known =
        (prop::sample::select(names), prop::collection::vec(arg, 0..6)).prop_map(|(name, args)| {
            let words: Vec<String> = name.split('|').map(str::to_owned).chain(args).collect();
            command(&words)
        });
    prop_oneof![
        12 => known,
        1 => prop::collection::vec(any::<u8>(), 0..50),
        1 => Just(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$9999\r\nxx".to_vec()),
        1 => "[ -~]{0,30}\r\n".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_input_stops_the_server(
        pieces in prop::collection::vec(bytes(), 1..40),
        shuffle in any::<u64>(),
        refuses_reads in any::<bool>(),
        shards in 1u32..5,
    ) {
        COUNTING.call_once(count_panics);
        let server = Server::start(shards);
        server.node.shuffle.store(shuffle, Ordering::Relaxed);
        server.node.refuses_reads.store(refuses_reads, Ordering::Relaxed);
        let mut other = server.connect();
        let mut client = server.connect();
        for piece in &pieces {
            // The server may have closed the connection by now.
            client.stream.write_all(piece).ok();
        }
        client.stream.shutdown(std::net::Shutdown::Write).ok();
        client.rest();
        // The client may have killed all others, FLUSHALL included.
        other.stream.write_all(b"PING\r\n").ok();
        let pong = other.rest_or_reply();
        prop_assert!(pong == b"+PONG\r\n" || pong.is_empty(), "{:?}", pong);
        prop_assert_eq!(server.connect().call("PING"), "+PONG\r\n");
        let panics = PANICS.load(Ordering::SeqCst);
        prop_assert_eq!(panics, 0);
    }
}
