//! What clients read when a shard refuses, when an outcome is lost, and when only some shards answer.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keystead_node::{Refusal, UnknownReason};
use keystead_types::{NodeId, ShardId, Slot};
use support::local_door::Verdict;
use support::{Client, Server, command, wait_until};

#[test]
fn every_command_of_a_refused_run_gets_the_refusal() {
    let server = Server::start(2);
    server.node.set_judge(|shard, _| match shard {
        ShardId(1) => Verdict::Refuse(Refusal::NoLeader { shard }),
        _ => Verdict::Execute,
    });
    let mut client = server.connect();
    let mut bytes = Vec::new();
    // bar lies in slot 5061 (shard 1), foo in 12182 (shard 2).
    for key in ["bar", "foo", "bar"] {
        bytes.extend(command(&["SET", key, "1"]));
    }
    client.send(&bytes);
    let replies: Vec<String> = (0..3).map(|_| String::from_utf8(client.reply()).unwrap()).collect();
    assert!(replies[0].starts_with("-CLUSTERDOWN shard s1 has no leader"), "{replies:?}");
    assert_eq!(replies[1], "+OK\r\n");
    assert_eq!(replies[2], replies[0]);
}

#[test]
fn each_refusal_and_each_loss_has_its_code() {
    let server = Server::start(1);
    let mut client = server.connect();
    let slot = Slot::of_key(b"a");
    let codes = [
        (Verdict::Refuse(Refusal::Overloaded), "-OVERLOADED "),
        (Verdict::Refuse(Refusal::DiskFull { node: NodeId(3) }), "-OOM "),
        (Verdict::Refuse(Refusal::ShuttingDown), "-TRYAGAIN "),
        (Verdict::Refuse(Refusal::TooLarge { bytes: 2, bytes_max: 1 }), "-ERR "),
        (
            Verdict::Refuse(Refusal::ShardDown { shard: ShardId(1), reason: "x".to_owned() }),
            "-CLUSTERDOWN ",
        ),
        (
            Verdict::Refuse(Refusal::Moved { slot, address: "10.0.0.1:7379".to_owned() }),
            "-MOVED 15495 10.0.0.1:7379\r\n",
        ),
        (Verdict::Lose(UnknownReason::Deadline), "-UNCERTAIN "),
        (Verdict::Lose(UnknownReason::ConnectionLost), "-UNCERTAIN "),
        (
            Verdict::Lose(UnknownReason::LeaderReplaced),
            "-UNCERTAIN the write may or may not have happened, or may yet happen: the shard's leader was \
             replaced and has not answered; read before you repeat it\r\n",
        ),
    ];
    for (verdict, code) in codes {
        server.node.set_judge(move |_, _| verdict.clone());
        let reply = client.call("SET a 1");
        assert!(reply.starts_with(code), "{code}: {reply}");
    }
}

#[test]
fn a_lost_read_promises_that_nothing_happened() {
    let server = Server::start(1);
    server.node.refuses_reads.store(true, Ordering::Relaxed);
    server.node.set_judge(|_, _| Verdict::Lose(UnknownReason::ConnectionLost));
    let reply = server.connect().call("GET a");
    assert!(reply.starts_with("-TRYAGAIN "), "{reply}");
}

#[test]
fn a_read_waits_for_the_unfinished_write_before_it() {
    let server = Server::start(4);
    server.node.holds_outcomes.store(true, Ordering::SeqCst);
    let mut client = server.connect();
    let mut bytes = command(&["SET", "a", "1"]);
    bytes.extend(command(&["GET", "b"]));
    client.send(&bytes);
    wait_until("the write was submitted", || server.node.runs.load(Ordering::Relaxed) == 1);
    // Another client writes what the read will see, though the read was sent before.
    server.node.release();
    assert_eq!(client.reply(), b"+OK\r\n");
    assert_eq!(client.reply(), b"$-1\r\n");
}

#[test]
fn writes_of_many_connections_are_flushed_together() {
    let server = Server::start(1);
    server.node.holds_outcomes.store(true, Ordering::SeqCst);
    let mut clients: Vec<Client> = (0..50).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.call("PING"), "+PONG\r\n");
    }
    for client in &mut clients {
        client.send(&command(&["SET", "a", "1"]));
    }
    wait_until("all were submitted", || server.node.runs.load(Ordering::Relaxed) == 50);
    wait_until("they were flushed", || server.node.flushes.load(Ordering::Relaxed) >= 1);
    server.node.release();
    for client in &mut clients {
        assert_eq!(client.reply(), b"+OK\r\n");
    }
}

#[test]
fn commands_on_all_shards_gather() {
    let server = Server::start(5);
    let mut client = server.connect();
    for key in 0..100 {
        assert_eq!(client.call(&format!("SET k{key} {key}")), "+OK\r\n");
    }
    for refuses_reads in [false, true] {
        server.node.refuses_reads.store(refuses_reads, Ordering::Relaxed);
        assert_eq!(client.call("DBSIZE"), ":100\r\n");
        assert!(client.call("KEYS k1*").starts_with("*11\r\n"));
        assert!(client.call("RANDOMKEY").contains("\r\nk"));
        assert_eq!(scan_all(&mut client), 100);
    }
    assert_eq!(client.call("SCAN x"), "-ERR invalid cursor\r\n");
    assert_eq!(client.call("FLUSHALL"), "+OK\r\n");
    assert_eq!(client.call("DBSIZE"), ":0\r\n");
    assert_eq!(client.call("RANDOMKEY"), "$-1\r\n");
}

/// Number of different keys that a walk with SCAN finds.
fn scan_all(client: &mut Client) -> usize {
    let mut found = std::collections::BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let page = client.call(&format!("SCAN {cursor} COUNT 7"));
        let mut lines = page.split("\r\n").filter(|line| !line.starts_with(['*', '$']));
        cursor = lines.next().expect("a page begins with a cursor").to_owned();
        found.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
        if cursor == "0" {
            return found.len();
        }
    }
}

#[test]
fn a_flush_of_some_shards_only_is_uncertain() {
    let server = Server::start(3);
    let mut client = server.connect();
    server.node.set_judge(|shard, _| match shard {
        ShardId(2) => Verdict::Refuse(Refusal::Overloaded),
        _ => Verdict::Execute,
    });
    let reply = client.call("FLUSHALL");
    assert!(reply.starts_with("-UNCERTAIN ") && reply.contains("s2"), "{reply}");
    server.node.set_judge(|_, _| Verdict::Refuse(Refusal::Overloaded));
    let reply = client.call("FLUSHALL");
    assert!(reply.starts_with("-OVERLOADED "), "{reply}");
}

/// bar lies in shard 1, foo in shard 2: what is written must have been looked for where the command takes it from.
#[test]
fn keys_behind_options_and_patterns_are_kept_to_their_shard() {
    let server = Server::start(2);
    let mut client = server.connect();
    assert_eq!(client.call("RPUSH {bar}l 2 1"), ":2\r\n");
    assert_eq!(client.call("MSET {bar}w1 2 {bar}w2 1"), "+OK\r\n");
    assert_eq!(client.call("GEOADD {bar}g 13 38 m"), ":1\r\n");
    assert_eq!(client.call("SORT {bar}l BY {bar}w* STORE {bar}s"), ":2\r\n");
    assert_eq!(client.call("SORT_RO {bar}l BY {bar}w*"), "*2\r\n$1\r\n2\r\n$1\r\n1\r\n");
    for denied in ["SORT {bar}l BY w*", "SORT {bar}l GET {foo}w*", "SORT_RO {bar}l GET *"] {
        let reply = client.call(denied);
        assert!(reply.contains("option of SORT denied"), "{denied}: {reply}");
    }
    for crossing in [
        "SORT {bar}l STORE {foo}s",
        "SORT {bar}l STORE {bar}s STORE {foo}s",
        "SORT {bar}l STORE {foo}s BY store",
        "GEORADIUS {bar}g 13 38 9 km STORE {bar}s STORE {foo}s",
        "MSETEX 2 {bar}a 1 {foo}a 2",
    ] {
        assert!(client.call(crossing).starts_with("-CROSSSLOT "), "{crossing}");
    }
    assert_eq!(client.call("SORT {bar}l STORE {bar}s BY store"), ":2\r\n");
    assert_eq!(client.call("EXISTS {foo}s"), ":0\r\n");
}

#[test]
fn transactions_run_in_one_shard_or_not_at_all() {
    let server = Server::start(4);
    let mut client = server.connect();
    let crossslot = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    assert_eq!(client.call("MULTI"), "+OK\r\n");
    assert_eq!(client.call("SET foo 1"), "+QUEUED\r\n");
    assert_eq!(client.call("SET bar 1"), crossslot);
    assert_eq!(client.call("EXEC"), aborted);
    assert_eq!(client.call("GET foo"), "$-1\r\n");

    assert_eq!(client.call("MULTI"), "+OK\r\n");
    assert_eq!(client.call("MULTI"), "-ERR MULTI calls can not be nested\r\n");
    assert_eq!(client.call("SET foo"), "-ERR wrong number of arguments for 'set' command\r\n");
    assert_eq!(client.call("EXEC"), aborted);

    assert_eq!(client.call("MULTI"), "+OK\r\n");
    assert_eq!(client.call("EXEC"), "*0\r\n");
    assert_eq!(client.call("EXEC"), "-ERR EXEC without MULTI\r\n");
    assert_eq!(client.call("DISCARD"), "-ERR DISCARD without MULTI\r\n");

    assert_eq!(client.call("MULTI"), "+OK\r\n");
    assert!(client.call("CLIENT ID").starts_with("-ERR Command not allowed inside a transaction"));
    assert!(client.call("DBSIZE").starts_with("-CROSSSLOT "));
    assert_eq!(client.call("DISCARD"), "+OK\r\n");

    assert_eq!(client.call("MULTI"), "+OK\r\n");
    assert_eq!(client.call("UNWATCH"), "+QUEUED\r\n");
    assert_eq!(client.call("OBJECT HELP"), "+QUEUED\r\n");
    client.send(&command(&["EXEC"]));
    let reply = String::from_utf8(client.reply()).unwrap();
    assert!(reply.starts_with("*2\r\n+OK\r\n*") && reply.contains("ENCODING"), "{reply}");
}

/// INV-G5: the second watch of another shard is refused.
#[test]
fn a_transaction_aborts_if_a_watched_key_was_changed() {
    let server = Server::start(4);
    let (mut one, mut two) = (server.connect(), server.connect());
    for (meddling, reply) in [(false, "*1\r\n+OK\r\n"), (true, "*-1\r\n")] {
        assert_eq!(one.call("WATCH foo"), "+OK\r\n");
        assert_eq!(one.call("WATCH foo{foo}"), "+OK\r\n");
        if meddling {
            assert_eq!(two.call("SET foo 2"), "+OK\r\n");
        }
        assert_eq!(one.call("MULTI"), "+OK\r\n");
        assert_eq!(one.call("WATCH foo"), "-ERR WATCH inside MULTI is not allowed\r\n");
        assert_eq!(one.call("SET foo 3"), "+QUEUED\r\n");
        assert_eq!(one.call("EXEC"), reply);
    }
    assert_eq!(one.call("WATCH foo"), "+OK\r\n");
    assert!(one.call("WATCH bar").starts_with("-CROSSSLOT "));
    assert_eq!(two.call("SET foo 4"), "+OK\r\n");
    assert_eq!(one.call("UNWATCH"), "+OK\r\n");
    assert_eq!(one.call("MULTI"), "+OK\r\n");
    assert_eq!(one.call("GET foo"), "+QUEUED\r\n");
    assert_eq!(one.call("EXEC"), "*1\r\n$1\r\n4\r\n");
}

/// INV-G5: what a refused EXEC leaves in its shard is taken back, however often that is refused as well.
#[test]
fn a_watch_is_released_although_its_exec_was_refused() {
    let server = Server::start(1);
    for end in [Refused::Answered, Refused::Vanished] {
        let (released, refusals) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (seen, refused) = (Arc::clone(&released), Arc::clone(&refusals));
        server.node.set_judge(move |_, commands| {
            let is_release = commands.starts_with(b"*2\r\n$16\r\nKEYSTEAD.UNWATCH");
            let is_exec = commands.starts_with(b"*1\r\n$5\r\nMULTI");
            // The shard comes back after two attempts.
            if (is_exec || is_release) && refused.fetch_add(1, Ordering::SeqCst) < 2 {
                return Verdict::Refuse(Refusal::Overloaded);
            }
            seen.fetch_add(u64::from(is_release), Ordering::SeqCst);
            Verdict::Execute
        });
        let mut client = server.connect();
        let id = client.call("CLIENT ID").trim_matches([':', '\r', '\n']).to_owned();
        assert_eq!(client.call("WATCH foo"), "+OK\r\n");
        assert_eq!(client.call("MULTI"), "+OK\r\n");
        if end == Refused::Vanished {
            server.node.holds_outcomes.store(true, Ordering::SeqCst);
            client.send(b"EXEC\r\n");
            wait_until("EXEC was refused", || refusals.load(Ordering::SeqCst) == 1);
            assert_eq!(server.connect().call(&format!("CLIENT KILL ID {id}")), ":1\r\n");
            wait_until("both are gone", || server.gateway.connection_count() == 0);
            server.node.release();
        } else {
            assert!(client.call("EXEC").starts_with("-OVERLOADED "));
        }
        wait_until("the shard was told", || released.load(Ordering::SeqCst) == 1);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    Answered,
    Vanished,
}

#[test]
fn a_transaction_that_grows_too_large_is_refused() {
    let config = keystead_gateway::GatewayConfig {
        transaction_bytes_max: 200,
        ..keystead_gateway::GatewayConfig::default()
    };
    let server = Server::start_with(1, config);
    let mut client = server.connect();
    assert_eq!(client.call("MULTI"), "+OK\r\n");
    let long = "x".repeat(300);
    let refusal = client.call(&format!("SET a {long}"));
    assert_eq!(refusal, "-ERR transaction exceeds 200 bytes; split it\r\n");
    assert!(client.call("EXEC").starts_with("-EXECABORT "));
}

#[test]
fn the_node_is_asked_to_compare_replicas() {
    let server = Server::start(2);
    let mut client = server.connect();
    let question = |ms: &str| {
        let run = command(&["KEYSTEAD.SYNC", ms]);
        format!("${}\r\n{}\r\n", run.len(), String::from_utf8(run).unwrap())
    };
    assert_eq!(client.call("CLUSTER SYNC"), question("30000"));
    assert_eq!(client.call("cluster sync 0"), question("0"));
    assert_eq!(client.call("CLUSTER SYNC 600000"), question("600000"));
    assert_eq!(client.call("CLUSTER SYNC -1"), "-ERR timeout is negative\r\n");
    let refusal = "-ERR timeout is not an integer or out of range\r\n";
    assert_eq!(client.call("CLUSTER SYNC 600001"), refusal);
    assert_eq!(client.call("CLUSTER SYNC soon"), refusal);
    assert_eq!(client.call("CLUSTER SYNC 1 2"), "-ERR syntax error\r\n");
    assert_eq!(client.call("PING"), "+PONG\r\n");
}
