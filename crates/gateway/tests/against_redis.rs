//! Session commands beside a real redis-server: the same lines to both, the same bytes from both.
//!
//! Needs redis-server 7 (Debian: `apt-get install redis-server`). Intended differences stand in the store's list, with
//! their reasons (`store/command/differences.txt`).

mod support;

use support::redis::{Redis, play_together, text};
use support::{Client, Server, command};

/// One connection's life a paragraph.
const SCRIPTS: &[&[&str]] = &[
    &[
        "PING",
        "PING hello",
        "PING a b",
        "ping",
        "ECHO x",
        "ECHO",
        "ECHO a b",
        "SELECT 0",
        "SELECT x",
    ],
    &["SELECT 16", "SELECT -1", "SELECT 99999999999", "SELECT"],
    &["AUTH x", "AUTH default x", "AUTH other x", "AUTH a b c", "AUTH"],
    &["HELLO 4", "HELLO 1", "HELLO x", "HELLO 2 FOO", "HELLO 2 AUTH x", "HELLO 2 SETNAME"],
    &["HELLO 2 AUTH other x", "GET a"],
    &[
        "CLIENT GETNAME",
        "CLIENT SETNAME me",
        "CLIENT GETNAME",
        "CLIENT SETNAME",
        "CLIENT GETNAME x",
    ],
    &["CLIENT REPLY MAYBE", "CLIENT REPLY ON", "CLIENT NO-EVICT ON", "CLIENT NO-EVICT MAYBE"],
    &["CLIENT KILL 1.2.3.4:5", "CLIENT KILL ID 0", "CLIENT KILL ID x", "CLIENT KILL TYPE foo"],
    &[
        "CLIENT KILL ID 99999",
        "CLIENT KILL SKIPME maybe",
        "CLIENT KILL USER nobody",
        "CLIENT KILL A B C",
    ],
    &["CLIENT LIST TYPE foo", "CLIENT LIST ID x", "CLIENT LIST FOO", "CLIENT LIST TYPE pubsub"],
    &[
        "CLIENT GETREDIR",
        "CLIENT UNBLOCK 99999",
        "CLIENT UNBLOCK x",
        "CLIENT FOO",
        "CLIENT",
        "CLIENT|ID",
    ],
    &["CLIENT TRACKINGINFO", "CLIENT NOSUCH a b c"],
    &["MULTI", "MULTI", "SET a 1", "GET a", "EXEC", "EXEC", "DISCARD"],
    &["MULTI", "SET a", "SET a 2", "EXEC", "GET a"],
    &["MULTI", "NOSUCH a b", "EXEC"],
    &["MULTI", "SET a 5", "DISCARD", "GET a"],
    &["MULTI", "WATCH a", "EXEC"],
    &["MULTI", "PING", "ECHO hi", "SELECT 0", "INCR notanumber", "DEL a", "EXEC"],
    &["SET s text", "MULTI", "INCR s", "SET t 1", "EXEC", "GET t"],
    &["WATCH", "WATCH a b c", "UNWATCH", "UNWATCH x", "EXEC"],
    &["WATCH a", "SET a 1", "MULTI", "GET a", "EXEC"],
    &["WATCH a", "MULTI", "GET a", "EXEC"],
    &["MULTI", "RESET", "EXEC"],
    &["RESET", "RESET x", "QUIT x"],
    &["COMMAND GETKEYS SET a b", "COMMAND GETKEYS MSET a 1 b 2", "COMMAND GETKEYS PING x"],
    &[
        "COMMAND GETKEYS SET",
        "COMMAND GETKEYS NOSUCH a",
        "COMMAND GETKEYS GET a b c",
        "COMMAND GETKEYS",
    ],
    &[
        "COMMAND GETKEYSANDFLAGS SET k v",
        "COMMAND INFO nosuch",
        "COMMAND INFO GET",
        "COMMAND DOCS nosuch",
    ],
    &["COMMAND LIST FILTERBY FOO x", "COMMAND LIST FILTERBY PATTERN xyz*", "COMMAND LIST FILTERBY"],
    &["COMMAND FOO", "COMMAND LIST FILTERBY MODULE none"],
    &["CONFIG GET nosuch", "CONFIG SET foo bar", "CONFIG SET maxclients", "CONFIG FOO", "CONFIG"],
    &[
        "CONFIG SET notify-keyspace-events AKEmn",
        "CONFIG GET notify-keyspace-events",
        "CONFIG SET notify-keyspace-events Q",
    ],
    &[
        "CONFIG SET notify-keyspace-events gnK",
        "CONFIG GET notify-*",
        "CONFIG SET notify-keyspace-events ",
        "CONFIG GET notify-*",
    ],
    &["CONFIG SET databases 3", "CONFIG SET timeout 7 timeout 8", "CONFIG GET timeout"],
    &["CONFIG GET databases", "CONFIG SET maxclients 100", "CONFIG RESETSTAT", "CONFIG GET"],
    &[
        "CONFIG SET slowlog-log-slower-than -1 slowlog-max-len 7",
        "CONFIG GET slowlog-max-len",
        "SLOWLOG RESET",
        "SLOWLOG LEN",
        "SLOWLOG GET",
        "SLOWLOG GET 0",
        "SLOWLOG GET -1",
        "SLOWLOG GET -2",
        "SLOWLOG GET x",
        "SLOWLOG GET 1 2",
        "SLOWLOG LEN x",
        "SLOWLOG RESET x",
        "SLOWLOG NOSUCH",
        "SLOWLOG",
    ],
    &[
        "CONFIG SET slowlog-log-slower-than -2",
        "CONFIG SET slowlog-log-slower-than x",
        "CONFIG SET slowlog-max-len x",
        "CONFIG SET latency-monitor-threshold -1",
        "CONFIG SET latency-monitor-threshold x",
        "CONFIG SET maxclients 0",
        "CONFIG SET timeout -1",
        "CONFIG SET timeout 2147483648",
        "CONFIG SET timeout x",
        "CONFIG SET slowlog-max-len 128 slowlog-log-slower-than 10000",
    ],
    &[
        "LATENCY RESET",
        "LATENCY LATEST",
        "LATENCY HISTORY command",
        "LATENCY HISTORY nosuch",
        "LATENCY HISTORY",
        "LATENCY GRAPH nosuch",
        "LATENCY GRAPH",
        "LATENCY RESET nosuch command",
        "LATENCY LATEST x",
        "LATENCY DOCTOR x",
        "LATENCY HISTOGRAM nosuch",
        "LATENCY NOSUCH",
        "LATENCY",
    ],
    &[
        "CLIENT PAUSE x",
        "CLIENT PAUSE -1",
        "CLIENT PAUSE 0 FOO",
        "CLIENT PAUSE x FOO",
        "CLIENT PAUSE 0 ALL x",
        "CLIENT PAUSE 0",
        "CLIENT PAUSE 0 WRITE",
        "CLIENT UNPAUSE",
        "CLIENT UNPAUSE x",
        "CLIENT PAUSE",
    ],
    &["MONITOR x", "MONITOR", "GET a", "SET a b", "DEL a", "RESET", "GET a"],
    &[
        "ACL CAT",
        "ACL CAT nosuch",
        "ACL CAT a b",
        "ACL GENPASS 0",
        "ACL GENPASS 4097",
        "ACL GENPASS x",
        "ACL GENPASS 1 2",
        "ACL GETUSER default",
        "ACL GETUSER nosuch",
        "ACL GETUSER",
        "ACL LOG RESET",
        "ACL LOG",
        "ACL LOG 0",
        "ACL LOG x",
        "ACL LOG 1 2",
        "ACL DRYRUN nosuch GET a",
        "ACL DRYRUN default GET a",
        "ACL DRYRUN default GET",
        "ACL DRYRUN default NOSUCH",
        "ACL DRYRUN default",
        "LOLWUT VERSION x",
    ],
    &[
        "DEBUG PROTOCOL string",
        "DEBUG PROTOCOL integer",
        "DEBUG PROTOCOL double",
        "DEBUG PROTOCOL bignum",
        "DEBUG PROTOCOL null",
        "DEBUG PROTOCOL array",
        "DEBUG PROTOCOL set",
        "DEBUG PROTOCOL map",
        "DEBUG PROTOCOL verbatim",
        "DEBUG PROTOCOL true",
        "DEBUG PROTOCOL false",
        "DEBUG PROTOCOL nosuch",
        "DEBUG ERROR CODE",
        "DEBUG SLEEP 0",
        "DEBUG SLEEP 0.01",
        "DEBUG SLEEP x",
        "DEBUG SLEEP",
        "DEBUG SLEEP 0 0",
        "DEBUG SET-ACTIVE-EXPIRE 1",
        "DEBUG SET-ACTIVE-EXPIRE",
        "DEBUG OBJECT nosuch",
        "DEBUG OBJECT",
    ],
    &["WAIT 0 0", "WAIT x 0", "WAIT 0 x", "WAIT 0 -1", "WAIT"],
    &[
        "DBSIZE",
        "DBSIZE x",
        "RANDOMKEY x",
        "FLUSHALL FOO",
        "FLUSHALL ASYNC",
        "FLUSHDB SYNC",
        "KEYS",
    ],
    &[
        "SCAN",
        "SCAN x",
        "SCAN 0",
        "SCAN 0 COUNT x",
        "SCAN 0 FOO",
        "SCAN 0 COUNT 0",
        "SCAN -1",
        "KEYS *",
    ],
    &[
        "SET k v",
        "SCAN 0",
        "SCAN 0 MATCH x*",
        "SCAN 0 TYPE hash",
        "KEYS k*",
        "RANDOMKEY",
        "FLUSHDB",
    ],
    &["ACL WHOAMI", "ACL USERS", "ACL LIST", "ACL NOSUCH", "MODULE LIST", "MODULE NOSUCH"],
    &["REPLICAOF x", "SAVE x", "MIGRATE a", "CLUSTER", "MODULE LOAD", "ACL SETUSER"],
    &["NOSUCH", "NOSUCH a b", "GET", "SET a", "", "OBJECT NOSUCH a"],
];

#[test]
fn replies_equal_those_of_redis() {
    let redis = Redis::start();
    let server = Server::start(1);
    let mut differences = Vec::new();
    for protocol in [2, 3] {
        for script in SCRIPTS {
            play(script, protocol, (&redis, &server), &mut differences);
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn play(
    script: &[&str],
    protocol: u8,
    (redis, server): (&Redis, &Server),
    differences: &mut Vec<String>,
) {
    let mut theirs = Client::connect(redis.address);
    let mut ours = server.connect();
    for client in [&mut theirs, &mut ours] {
        // What HELLO answers names the server, so it is not compared.
        client.call(&format!("HELLO {protocol}"));
        client.call("FLUSHALL");
    }
    for line in script {
        let words: Vec<&str> = line.split(' ').collect();
        theirs.send(&command(&words));
        ours.send(&command(&words));
        let (expected, got) = (text(&theirs.reply()), text(&ours.reply()));
        if got != expected && keystead_store::command::reason_to_differ(line).is_none() {
            differences.push(format!(
                "RESP{protocol} {line}
  ours   {got:?}
  redis  {expected:?}"
            ));
        }
    }
}

/// {a} is slot 15495, {b} slot 3300; several shards have to find the one that serves them.
const SLOT_SCRIPT: &[&str] = &[
    "CLUSTER COUNTKEYSINSLOT 15495",
    "CLUSTER GETKEYSINSLOT 15495 10",
    "SET {a}1 x",
    "HSET {a}2 f v",
    "SET {b}1 x",
    "CLUSTER COUNTKEYSINSLOT 15495",
    "CLUSTER GETKEYSINSLOT 15495 10",
    "CLUSTER GETKEYSINSLOT 15495 0",
    "CLUSTER GETKEYSINSLOT 15495 9223372036854775807",
    "CLUSTER COUNTKEYSINSLOT 3300",
    "CLUSTER GETKEYSINSLOT 3300 1",
    "CLUSTER COUNTKEYSINSLOT 0",
    "CLUSTER COUNTKEYSINSLOT 16383",
    "CLUSTER COUNTKEYSINSLOT 16384",
    "CLUSTER COUNTKEYSINSLOT -1",
    "CLUSTER COUNTKEYSINSLOT x",
    "CLUSTER COUNTKEYSINSLOT",
    "CLUSTER COUNTKEYSINSLOT 1 2",
    "CLUSTER GETKEYSINSLOT 16384 1",
    "CLUSTER GETKEYSINSLOT 1 -1",
    "CLUSTER GETKEYSINSLOT x 1",
    "CLUSTER GETKEYSINSLOT 1 x",
    "CLUSTER GETKEYSINSLOT 1",
    "MULTI",
    "CLUSTER COUNTKEYSINSLOT 15495",
    "CLUSTER GETKEYSINSLOT 3300 1",
    "DISCARD",
    "MULTI",
    "SET {a}3 x",
    "CLUSTER COUNTKEYSINSLOT 15495",
    "EXEC",
    "DEL {a}1 {a}2 {a}3",
    "CLUSTER COUNTKEYSINSLOT 15495",
];

#[test]
fn a_slot_is_looked_into_as_in_a_redis_cluster() {
    let dir = tempfile::tempdir().expect("a directory");
    let redis = Redis::start_cluster(dir.path());
    let server = Server::start(4);
    let (mut theirs, mut ours) = (Client::connect(redis.address), server.connect());
    for client in [&mut theirs, &mut ours] {
        client.call("FLUSHALL");
    }
    for line in SLOT_SCRIPT {
        let (expected, got) = (theirs.call(line), ours.call(line));
        if *line == "CLUSTER GETKEYSINSLOT 3300 1" && got.starts_with("-CROSSSLOT ") {
            // Behind a command on another shard: here a transaction runs in one.
            assert_eq!(expected, "+QUEUED\r\n");
            continue;
        }
        // Keys come in the order of the tables, which is another.
        let sorted = |reply: &str| {
            let mut lines: Vec<String> = reply.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&got), sorted(&expected), "{line}");
    }
}

/// All but where the value is, the clock, and what Redis adds for lists.
#[test]
fn debug_object_tells_of_a_value_what_redis_tells() {
    const SETUP: &[&str] = &[
        "SET text hello",
        "SET number 12345",
        // Redis packs what repeats itself.
        "SET long qT7xJ2mZ9cV4bN8aKdY5sLwE3rUfHpG6iOzXcQvB1nMtRyWjAe0kDlSoPuIgFhC",
        "RPUSH list a b c",
        "SADD numbers 1 2 3",
        "SADD words a",
        "HSET hash f v",
        "ZADD ranks 1.5 a",
    ];
    let redis = Redis::start();
    for shards in [1, 4] {
        let server = Server::start(shards);
        let (mut theirs, mut ours) = (Client::connect(redis.address), server.connect());
        theirs.call("FLUSHALL");
        for client in [&mut theirs, &mut ours] {
            SETUP.iter().for_each(|line| assert!(!client.call(line).starts_with('-'), "{line}"));
        }
        for key in ["text", "number", "long", "list", "numbers", "words", "hash", "ranks"] {
            let told = |client: &mut Client| {
                let reply = client.call(&format!("DEBUG OBJECT {key}"));
                let words = reply.trim_end().split(' ').filter(|word| {
                    !["at:", "lru:", "ql_"].iter().any(|prefix| word.starts_with(prefix))
                });
                words.map(str::to_owned).collect::<Vec<_>>()
            };
            let (mut expected, mut got) = (told(&mut theirs), told(&mut ours));
            for words in [&mut expected, &mut got] {
                let length = words.iter().position(|word| word.starts_with("serializedlength:"));
                let length = length.expect("the length is told");
                if !["text", "number", "long"].contains(&key) {
                    // DUMP packs in another way.
                    words.remove(length);
                }
            }
            assert_eq!(got, expected, "{key}");
        }
    }
}

#[test]
fn the_introduction_has_the_fields_of_redis() {
    let redis = Redis::start();
    let server = Server::start(1);
    for line in ["HELLO 3 SETNAME me", "HELLO 2", "HELLO", "CLIENT INFO"] {
        let fields = |client: &mut Client| {
            let reply = client.call(line);
            let words = reply.split([' ', '\n']).filter_map(|word| word.split_once('='));
            words.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        };
        let (theirs, mut ours) =
            (fields(&mut Client::connect(redis.address)), fields(&mut server.connect()));
        // Later versions of Redis have these two.
        ours.retain(|name| !name.starts_with("lib-"));
        assert_eq!(ours, theirs, "{line}");
    }
    let mut client = server.connect();
    let hello = client.call("HELLO 3 SETNAME me");
    let names: Vec<&str> = hello.split("\r\n").filter(|line| line.len() > 3).collect();
    for field in ["server", "version", "proto", "mode", "role", "modules"] {
        assert!(names.contains(&field), "{field}: {names:?}");
    }
    assert_eq!(client.call("CLIENT GETNAME"), "$2\r\nme\r\n");
}

/// What several connections (a, b, ...) send, one line at a time, and how many replies and messages each is to read then.
/// `HELLO` comes first, in both protocols.
const CHANNEL_SCRIPT: &[(&str, &str, usize)] = &[
    ("a", "SUBSCRIBE news sport news", 3),
    ("a", "PING", 1),
    ("a", "PING hello", 1),
    ("a", "PING a b", 1),
    ("a", "PUBLISH x y z", 1),
    ("a", "PSUBSCRIBE n* sp?rt", 2),
    ("b", "PUBLISH news one", 1),
    ("a", "", 2),
    ("b", "PUBLISH sport two", 1),
    ("a", "", 2),
    ("b", "PUBLISH nobody three", 1),
    ("a", "", 1),
    ("b", "PUBLISH silence four", 1),
    ("b", "PUBSUB NUMSUB news sport nothing", 1),
    ("b", "PUBSUB NUMSUB", 1),
    ("b", "PUBSUB NUMPAT", 1),
    ("b", "PUBSUB CHANNELS s*", 1),
    ("b", "PUBSUB CHANNELS a b", 1),
    ("b", "PUBSUB SHARDCHANNELS", 1),
    ("b", "PUBSUB NOSUCH", 1),
    ("b", "PUBSUB", 1),
    ("b", "PUBSUB NUMPAT x", 1),
    ("b", "PUBLISH news", 1),
    ("b", "SUBSCRIBE", 1),
    ("b", "UNSUBSCRIBE", 1),
    ("b", "PUNSUBSCRIBE", 1),
    ("b", "SUNSUBSCRIBE", 1),
    ("b", "UNSUBSCRIBE nothing", 1),
    ("b", "SUNSUBSCRIBE nothing", 1),
    ("a", "UNSUBSCRIBE news", 1),
    ("a", "PUNSUBSCRIBE n*", 1),
    ("b", "PUBLISH news five", 1),
    ("a", "PUNSUBSCRIBE", 1),
    ("a", "UNSUBSCRIBE", 1),
    ("a", "SET k v", 1),
    ("a", "SSUBSCRIBE shard", 1),
    ("a", "SUBSCRIBE news", 1),
    ("b", "SPUBLISH shard six", 1),
    ("a", "", 1),
    ("b", "PUBLISH shard seven", 1),
    ("b", "PUBSUB SHARDNUMSUB shard news", 1),
    ("b", "PUBSUB SHARDCHANNELS sh*", 1),
    ("b", "PUBSUB CHANNELS", 1),
    ("a", "SUNSUBSCRIBE", 1),
    ("a", "RESET", 1),
    ("b", "PUBLISH news eight", 1),
    ("b", "MULTI", 1),
    ("b", "DISCARD", 1),
    ("a", "SUBSCRIBE news", 1),
    ("a", "CLIENT REPLY OFF", 0),
    ("a", "QUIT", 0),
];

/// Only what RESP2 forbids while a connection listens, and what RESP3 allows.
const CONFINED: &[(&str, &str, usize)] = &[
    ("a", "SUBSCRIBE news", 1),
    ("a", "GET k", 1),
    ("a", "CLIENT LIST TYPE nosuch", 1),
    ("a", "CONFIG GET nosuch", 1),
    ("a", "MULTI", 1),
    ("a", "DISCARD", 1),
    ("a", "NOSUCH", 1),
    ("a", "UNSUBSCRIBE", 1),
    ("a", "GET k", 1),
];

#[test]
fn channels_are_those_of_redis() {
    let redis = Redis::start();
    let server = Server::start(1);
    for protocol in [2, 3] {
        for script in [CHANNEL_SCRIPT, CONFINED] {
            let expected = play_together(script, protocol, redis.address);
            let got = play_together(script, protocol, server.address);
            let differing: Vec<_> = expected.iter().zip(&got).filter(|(a, b)| a != b).collect();
            assert!(differing.is_empty(), "redis, then ours: {differing:#?}");
        }
    }
}

/// With RESP3 a client reads what it publishes to itself before the reply.
#[test]
fn a_client_hears_itself_as_from_redis() {
    let script = [
        ("a", "SUBSCRIBE me", 1),
        ("a", "PSUBSCRIBE m*", 1),
        ("a", "PUBLISH me one", 3),
        ("a", "SET k v", 1),
        ("a", "UNSUBSCRIBE me", 1),
    ];
    let redis = Redis::start();
    let server = Server::start(1);
    assert_eq!(play_together(&script, 3, server.address), play_together(&script, 3, redis.address));
}

/// The names of sharded channels are slots' business: one command, one shard.
#[test]
fn sharded_channels_of_one_command_lie_in_one_shard() {
    let server = Server::start(4);
    let mut client = server.connect();
    assert!(client.call("SSUBSCRIBE {a}1 {b}1").starts_with("-CROSSSLOT "));
    assert_eq!(
        client.call("SSUBSCRIBE {a}1 {a}2"),
        "*3\r\n$10\r\nssubscribe\r\n$4\r\n{a}1\r\n:1\r\n"
    );
}

/// Redis does them; here each is answered with one sentence that says why not and what to use.
#[test]
fn what_is_not_carried_over_says_why() {
    let server = Server::start(1);
    let mut client = server.connect();
    for line in [
        "SAVE",
        "BGSAVE",
        "REPLICAOF no one",
        "CLUSTER MEET a 1",
        "MODULE LOAD x",
        "ACL SAVE",
        "DEBUG SET-ACTIVE-EXPIRE 0",
        "DEBUG RELOAD",
        "DEBUG DIGEST",
        "DEBUG JMAP",
    ] {
        let reply = client.call(line);
        assert!(reply.starts_with("-ERR ") && reply.contains(" is refused: "), "{line}: {reply}");
    }
    assert_eq!(client.call("MULTI"), "+OK\r\n");
    assert!(client.call("SAVE").contains("SAVE is refused: "));
    assert!(client.call("EXEC").starts_with("-EXECABORT"));
}
