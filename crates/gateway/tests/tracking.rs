//! Client-side caching beside a real redis-server, and what no single server can show: reads that are under way while a
//! key changes, and a node that does not hear of changes.

mod support;

use std::sync::atomic::Ordering;

use keystead_node::Standing;
use support::redis::{Redis, play_together};
use support::{Client, Server, command, wait_until};

/// A connection, what it sends, and how many replies and pushes it reads then. PING shows that there was no more.
type Script = &'static [(&'static str, &'static str, usize)];

/// What is refused, and what is answered, in both protocols.
const OPTIONS: Script = &[
    ("a", "CLIENT TRACKING", 1),
    ("a", "CLIENT TRACKING maybe", 1),
    ("a", "CLIENT TRACKING on bogus", 1),
    ("a", "CLIENT TRACKING on REDIRECT", 1),
    ("a", "CLIENT TRACKING on PREFIX", 1),
    ("a", "CLIENT TRACKING on REDIRECT x", 1),
    ("a", "CLIENT TRACKING on REDIRECT 0", 1),
    ("a", "CLIENT TRACKING on REDIRECT -1", 1),
    ("a", "CLIENT TRACKING on REDIRECT 99999", 1),
    ("a", "CLIENT TRACKING on REDIRECT {b} REDIRECT {b}", 1),
    ("b", "PING", 1),
    ("a", "CLIENT TRACKING on PREFIX a", 1),
    ("a", "CLIENT TRACKING on BCAST OPTIN", 1),
    ("a", "CLIENT TRACKING on OPTIN OPTOUT", 1),
    ("a", "CLIENT TRACKING on BCAST PREFIX ab PREFIX a", 1),
    ("a", "CLIENT CACHING yes", 1),
    ("a", "CLIENT CACHING maybe", 1),
    ("a", "CLIENT GETREDIR", 1),
    ("a", "CLIENT TRACKINGINFO", 1),
    ("a", "CLIENT TRACKING on BCAST PREFIX foo PREFIX bar", 1),
    ("a", "CLIENT TRACKING on BCAST PREFIX fo", 1),
    ("a", "CLIENT TRACKING on BCAST PREFIX zoo NOLOOP", 1),
    ("a", "CLIENT TRACKING on", 1),
    ("a", "CLIENT TRACKINGINFO", 1),
    ("a", "CLIENT GETREDIR", 1),
    ("a", "CLIENT CACHING yes", 1),
    ("a", "CLIENT TRACKING off BCAST OPTIN PREFIX q", 1),
    ("a", "CLIENT TRACKINGINFO", 1),
    ("a", "CLIENT TRACKING on OPTIN", 1),
    ("a", "CLIENT TRACKING on OPTOUT", 1),
    ("a", "CLIENT TRACKING on BCAST", 1),
    ("a", "CLIENT CACHING no", 1),
    ("a", "CLIENT CACHING yes", 1),
    ("a", "CLIENT TRACKINGINFO", 1),
    ("a", "PING", 1),
    ("a", "CLIENT TRACKINGINFO", 1),
    ("a", "CLIENT CACHING maybe", 1),
    ("a", "CLIENT CACHING", 1),
    ("a", "CLIENT TRACKING off", 1),
    ("a", "CLIENT TRACKING on OPTOUT NOLOOP REDIRECT {b}", 1),
    ("a", "CLIENT CACHING yes", 1),
    ("a", "CLIENT CACHING no", 1),
    ("a", "CLIENT TRACKINGINFO", 1),
    ("a", "CLIENT GETREDIR", 1),
    ("a", "RESET", 1),
    ("a", "CLIENT TRACKINGINFO", 1),
    ("a", "MULTI", 1),
    ("a", "DISCARD", 1),
    ("a", "CONFIG SET tracking-table-max-keys 100", 1),
    ("a", "CONFIG GET tracking-table-max-keys", 1),
    ("a", "CONFIG SET tracking-table-max-keys 0", 1),
    ("a", "CONFIG GET tracking-table-max-keys", 1),
];

/// Keys that were read, told to the connection itself.
const PUSHES: Script = &[
    ("a", "CLIENT TRACKING on", 1),
    ("a", "GET k", 1),
    ("b", "SET k 1", 1),
    ("a", "", 1),
    ("b", "SET k 2", 1),
    ("a", "PING", 1),
    ("a", "GET k", 1),
    ("a", "GET k", 1),
    ("a", "SET k 3", 2),
    ("a", "PING", 1),
    ("a", "MGET a b c", 1),
    ("b", "MSET a 1 b 2 c 3", 1),
    ("a", "", 3),
    ("a", "HGETALL h", 1),
    ("a", "EXISTS h l", 1),
    ("b", "HSET h f v", 1),
    ("a", "", 1),
    ("b", "RPUSH l x", 1),
    ("a", "", 1),
    ("a", "LRANGE l 0 -1", 1),
    ("b", "LPOP l", 1),
    ("a", "", 1),
    ("a", "STRLEN k", 1),
    ("b", "APPEND k x", 1),
    ("a", "", 1),
    ("a", "TTL k", 1),
    ("b", "EXPIRE k 1000", 1),
    ("a", "", 1),
    ("a", "TYPE k", 1),
    ("b", "RENAME k k2", 1),
    ("a", "", 1),
    ("a", "GET k2", 1),
    ("b", "DEL k2", 1),
    ("a", "", 1),
    ("a", "GET e", 1),
    ("b", "SET e 1 PX 20", 1),
    ("a", "", 1),
    ("a", "GET n", 1),
    ("b", "SET n 1 XX", 1),
    ("b", "SETNX n 1", 1),
    ("a", "", 1),
    ("b", "FLUSHALL", 1),
    ("a", "", 1),
    ("b", "FLUSHDB", 1),
    ("a", "", 1),
    ("a", "FLUSHALL", 2),
    ("a", "GET k", 1),
    ("a", "CLIENT TRACKING off", 1),
    ("b", "SET k 1", 1),
    ("a", "PING", 1),
];

/// Reads of a transaction are tracked, and what it changes is told behind its replies.
const TRANSACTIONS: Script = &[
    ("a", "CLIENT TRACKING on", 1),
    ("a", "MULTI", 1),
    ("a", "GET k", 1),
    ("a", "GET j", 1),
    ("a", "EXEC", 1),
    ("b", "SET j 1", 1),
    ("a", "", 1),
    ("a", "SET k 1", 2),
    ("a", "MULTI", 1),
    ("a", "GET k", 1),
    ("a", "SET k 2", 1),
    ("a", "EXEC", 2),
    ("a", "MULTI", 1),
    ("a", "GET k", 1),
    ("a", "DISCARD", 1),
    ("b", "SET k 3", 1),
    ("a", "PING", 1),
    ("a", "CLIENT TRACKING off", 1),
    ("a", "CLIENT TRACKING on OPTIN", 1),
    ("a", "MULTI", 1),
    ("a", "GET k", 1),
    ("a", "EXEC", 1),
    ("b", "SET k 4", 1),
    ("a", "CLIENT CACHING yes", 1),
    ("a", "MULTI", 1),
    ("a", "GET k", 1),
    ("a", "GET j", 1),
    ("a", "EXEC", 1),
    ("a", "GET i", 1),
    ("b", "MSET k 5 j 5 i 5", 1),
    ("a", "", 2),
    ("a", "PING", 1),
];

/// Which reads are tracked, if not all.
const CHOICE: Script = &[
    ("a", "CLIENT TRACKING on OPTIN", 1),
    ("a", "GET k", 1),
    ("a", "CLIENT CACHING yes", 1),
    ("a", "CLIENT ID", 1),
    ("a", "GET j", 1),
    ("a", "GET i", 1),
    ("b", "MSET k 1 j 1 i 1", 1),
    ("a", "", 1),
    ("a", "CLIENT CACHING yes", 1),
    ("a", "PING", 1),
    ("a", "GET k", 1),
    ("b", "SET k 2", 1),
    ("a", "CLIENT TRACKING off", 1),
    ("a", "CLIENT TRACKING on OPTOUT", 1),
    ("a", "GET k", 1),
    ("a", "CLIENT CACHING no", 1),
    ("a", "GET j", 1),
    ("a", "GET i", 1),
    ("b", "MSET k 3 j 3 i 3", 1),
    ("a", "", 2),
    ("a", "CLIENT TRACKING on OPTOUT NOLOOP", 1),
    ("a", "MGET k j", 1),
    ("a", "SET k 4", 1),
    ("b", "MSET k 4 j 4", 1),
    ("a", "", 1),
    ("a", "PING", 1),
];

/// Prefixes, read or not.
const BROADCAST: Script = &[
    ("a", "CLIENT TRACKING on BCAST PREFIX b PREFIX a", 1),
    ("b", "CLIENT TRACKING on BCAST NOLOOP", 1),
    ("b", "MSET b 1 ab 2 aa 2 c 3 bc 3 aa 3", 1),
    ("a", "", 2),
    ("a", "SET x 1", 1),
    ("b", "", 1),
    ("a", "SET a 1", 2),
    ("b", "", 1),
    ("a", "GET nothing", 1),
    ("b", "DEL nothing", 1),
    ("b", "FLUSHALL", 2),
    ("a", "", 1),
    ("a", "PING", 1),
    ("b", "PING", 1),
];

/// Told to another connection.
const REDIRECTED: Script = &[
    ("a", "CLIENT TRACKING on REDIRECT {b}", 1),
    ("a", "GET k", 1),
    ("c", "SET k 1", 1),
    ("b", "SUBSCRIBE other", 1),
    ("a", "GET k", 1),
    ("c", "SET k 1", 1),
    ("a", "MGET k j", 1),
    ("c", "MSET k 1 j 1", 1),
    ("a", "PING", 1),
    ("a", "CLIENT TRACKINGINFO", 1),
];

/// Keys that a script names and reads.
const SCRIPTS: Script = &[
    ("a", "CLIENT TRACKING on", 1),
    ("a", "EVAL return(redis.call('get',KEYS[1])) 1 k", 1),
    ("b", "SET k 1", 1),
    ("a", "", 1),
    ("b", "SET k 2", 1),
    ("a", "EVAL_RO return(redis.call('get',KEYS[1])) 1 k", 1),
    ("b", "SET k 3", 1),
    ("a", "", 1),
    ("a", "MULTI", 1),
    ("a", "EVAL return(redis.call('get',KEYS[1])) 1 k", 1),
    ("a", "EXEC", 1),
    ("b", "DEL k", 1),
    ("a", "", 1),
    ("a", "PING", 1),
    ("a", "CLIENT TRACKING off", 1),
    ("a", "CLIENT TRACKING on OPTIN", 1),
    ("a", "EVAL return(redis.call('get',KEYS[1])) 1 k", 1),
    ("b", "SET k 4", 1),
    ("a", "CLIENT CACHING yes", 1),
    ("a", "EVAL return(redis.call('get',KEYS[1])) 1 k", 1),
    ("b", "SET k 5", 1),
    ("a", "", 1),
];

fn compare(script: Script, protocols: &[u8]) {
    let redis = Redis::start();
    for protocol in protocols {
        let server = Server::start(1);
        Client::connect(redis.address).call("FLUSHALL");
        let theirs = play_together(script, *protocol, redis.address);
        let ours = play_together(script, *protocol, server.address);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs);
        }
    }
}

#[test]
fn options_are_those_of_redis() {
    compare(OPTIONS, &[2, 3]);
}

#[test]
fn keys_that_were_read_are_told_as_in_redis() {
    compare(PUSHES, &[3]);
}

#[test]
fn transactions_track_as_in_redis() {
    compare(TRANSACTIONS, &[3]);
}

#[test]
fn keys_that_scripts_read_are_told_as_in_redis() {
    compare(SCRIPTS, &[3]);
}

#[test]
fn clients_choose_as_in_redis() {
    compare(CHOICE, &[3]);
}

#[test]
fn prefixes_are_told_as_in_redis() {
    compare(BROADCAST, &[3]);
}

#[test]
fn another_connection_is_told_as_in_redis() {
    compare(REDIRECTED, &[2]);
    let told = |address| {
        let (mut one, mut other, mut third) =
            (Client::connect(address), Client::connect(address), Client::connect(address));
        let id = other.call("CLIENT ID").trim_matches([':', '\r', '\n']).to_owned();
        let named = format!(":{id}");
        other.call("SUBSCRIBE other");
        one.call(&format!("CLIENT TRACKING on REDIRECT {id}"));
        let mut heard = Vec::new();
        for change in ["SET k 1", "FLUSHALL"] {
            one.call("GET k");
            third.call(change);
            heard.push(String::from_utf8(other.reply()).expect("text"));
        }
        // One that speaks RESP3 gets a push, and one that is gone is told of.
        other.call("UNSUBSCRIBE other");
        other.call("HELLO 3");
        one.call("GET k");
        third.call("SET k 2");
        heard.push(String::from_utf8(other.reply()).expect("text"));
        one.call("HELLO 3");
        drop(other);
        let entry = format!("id={id} ");
        wait_until("the connection is gone", || !third.call("CLIENT LIST").contains(&entry));
        one.call("GET k");
        third.call("SET k 3");
        heard.push(String::from_utf8(one.reply()).expect("text").replace(&named, ":ID"));
        heard.push(one.call("CLIENT TRACKINGINFO").replace(&named, ":ID"));
        heard.push(
            if third.call("CLIENT LIST").contains("flags=tR") { "tR" } else { "" }.to_owned(),
        );
        heard
    };
    let (redis, server) = (Redis::start(), Server::start(1));
    assert_eq!(told(server.address), told(redis.address));
}

#[test]
fn the_table_is_bounded_and_what_leaves_it_is_told() {
    let server = Server::start(4);
    let mut client = server.connect();
    client.call("HELLO 3");
    client.call("CONFIG SET tracking-table-max-keys 10");
    client.call("CLIENT TRACKING on");
    let mut told = 0;
    for number in 0..100 {
        client.send(&command(&["GET", &format!("key{number}")]));
        while !client.reply().starts_with(b"_") {
            told += 1;
        }
    }
    client.send(&command(&["PING"]));
    while client.reply() != b"+PONG\r\n" {
        told += 1;
    }
    assert_eq!(told, 90);
    assert_eq!(field(&mut client, "stats", "tracking_total_keys"), 10);
    assert_eq!(field(&mut client, "stats", "tracking_total_items"), 10);
    assert_eq!(field(&mut client, "clients", "tracking_clients"), 1);
    client.call("CLIENT TRACKING off");
    assert_eq!(field(&mut client, "stats", "tracking_total_keys"), 0);
}

fn field(client: &mut Client, section: &str, name: &str) -> u64 {
    let text = client.call(&format!("INFO {section}"));
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.trim().parse().ok()).expect("INFO has the field")
}

/// A read whose answer is on its way when the key changes: the change is told behind the answer, or the copy stays
/// for ever.
#[test]
fn a_change_during_a_read_is_told_behind_the_reply() {
    let server = Server::start(1);
    let (mut reader, mut writer) = (server.connect(), server.connect());
    reader.call("HELLO 3");
    reader.call("CLIENT TRACKING on");
    writer.call("SET k old");
    server.node.refuses_reads.store(true, Ordering::SeqCst);
    server.node.holds_outcomes.store(true, Ordering::SeqCst);
    let runs = server.node.runs.load(Ordering::SeqCst);
    reader.send(&command(&["GET", "k"]));
    wait_until("the read was executed", || server.node.runs.load(Ordering::SeqCst) > runs);
    writer.send(&command(&["SET", "k", "new"]));
    wait_until("the write was executed", || server.node.runs.load(Ordering::SeqCst) > runs + 1);
    server.node.release();
    assert_eq!(reader.reply(), b"$3\r\nold\r\n");
    assert_eq!(reader.reply(), b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    assert_eq!(writer.reply(), b"+OK\r\n");
}

#[test]
fn a_node_that_does_not_hear_of_a_shard_lets_nothing_be_kept() {
    let server = Server::start(1);
    let mut client = server.connect();
    client.call("HELLO 3");
    client.call("CLIENT TRACKING on");
    server.node.refuses_reads.store(true, Ordering::SeqCst);
    *server.node.standing.lock() = Standing::Apart;
    assert_eq!(client.call("GET k"), "_\r\n");
    assert_eq!(client.reply(), b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    assert_eq!(field(&mut client, "stats", "tracking_total_keys"), 0);
    *server.node.standing.lock() = Standing::Follows;
    assert_eq!(client.call("GET k"), "_\r\n");
    assert_eq!(client.call("PING"), "+PONG\r\n");
    assert_eq!(field(&mut client, "stats", "tracking_total_keys"), 1);
}

/// A connection that is not told of its own changes cannot keep what a script of its own changed and then read.
#[test]
fn what_a_script_read_behind_its_own_change_is_not_kept_unheard() {
    let server = Server::start(1);
    let mut client = server.connect();
    client.call("HELLO 3");
    client.call("CLIENT TRACKING on NOLOOP");
    let script = "redis.call('set',KEYS[1],1) return redis.call('get',KEYS[1])";
    client.send(&command(&["EVAL", script, "1", "k"]));
    assert_eq!(client.reply(), b"$1\r\n1\r\n");
    assert_eq!(client.reply(), b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    client.send(&command(&["EVAL_RO", "return redis.call('get',KEYS[1])", "1", "k"]));
    assert_eq!(client.reply(), b"$1\r\n1\r\n");
    server.connect().call("SET k 2");
    assert_eq!(client.reply(), b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
}
