//! SELECT as connections meet it: what follows a connection, what a transaction takes along, how many there are.

mod support;

use std::sync::atomic::Ordering;

use keystead_gateway::GatewayConfig;
use keystead_node::{Refusal, UnknownReason};
use support::local_door::Verdict;
use support::{Client, Server, command};

const OUT_OF_RANGE: &str = "-ERR DB index is out of range\r\n";

/// What CLIENT INFO says of the connection's database.
fn shown_database(client: &mut Client) -> String {
    let line = client.call("CLIENT INFO");
    line.split(' ').find(|word| word.starts_with("db=")).expect("a database is shown").to_owned()
}

#[test]
fn a_connection_works_on_the_database_that_it_selected() {
    let server = Server::start(3);
    let (mut one, mut two) = (server.connect(), server.connect());
    for refuses_reads in [false, true] {
        server.node.refuses_reads.store(refuses_reads, Ordering::Relaxed);
        assert_eq!(one.call("FLUSHALL"), "+OK\r\n");
        assert_eq!(one.call("SELECT 0"), "+OK\r\n");
        for key in 0..50 {
            assert_eq!(one.call(&format!("SET k{key} zero")), "+OK\r\n");
        }
        // One window of writes before SELECT, one behind it, and reads among them.
        let mut bytes = Vec::new();
        for words in
            [&["SET", "k1", "0"][..], &["SELECT", "3"], &["SET", "k1", "3"], &["GET", "k1"]]
        {
            bytes.extend(command(words));
        }
        one.send(&bytes);
        let replies: Vec<Vec<u8>> = (0..4).map(|_| one.reply()).collect();
        assert_eq!(replies[3], b"$1\r\n3\r\n", "{replies:?}");
        assert_eq!((one.call("DBSIZE"), two.call("DBSIZE")), (":1\r\n".into(), ":50\r\n".into()));
        assert_eq!(two.call("GET k1"), "$1\r\n0\r\n");
        assert_eq!(one.call("KEYS *"), "*1\r\n$2\r\nk1\r\n");
        assert_eq!(one.call("RANDOMKEY"), "$2\r\nk1\r\n");
        assert_eq!(one.call("GET k2"), "$-1\r\n");
        assert_eq!(shown_database(&mut one), "db=3");
        let keyspace = two.call("INFO keyspace");
        assert!(
            keyspace.contains("\r\ndb0:keys=50,expires=0,avg_ttl=0\r\ndb3:keys=1,expires=0"),
            "{keyspace}"
        );
        assert_eq!(one.call("FLUSHDB"), "+OK\r\n");
        assert_eq!(two.call("DBSIZE"), ":50\r\n");
    }
    assert_eq!(one.call("SELECT 99"), OUT_OF_RANGE);
    assert_eq!(shown_database(&mut one), "db=3", "what is refused changes nothing");
    assert_eq!(one.call("HELLO 2 SETNAME x").split(' ').count(), 1);
    assert_eq!(shown_database(&mut one), "db=3", "HELLO leaves it");
    assert_eq!(one.call("RESET"), "+RESET\r\n");
    assert_eq!(shown_database(&mut one), "db=0");
    assert_eq!(shown_database(&mut server.connect()), "db=0");
}

#[test]
fn swapdb_move_and_copy_reach_other_databases_on_every_shard() {
    let server = Server::start(4);
    let mut client = server.connect();
    for key in 0..40 {
        assert_eq!(client.call(&format!("SET k{key} v")), "+OK\r\n");
    }
    for key in 0..10 {
        assert_eq!(client.call(&format!("MOVE k{key} 1")), ":1\r\n");
        assert_eq!(client.call(&format!("COPY k2{key} k2{key} DB 2")), ":1\r\n");
    }
    assert_eq!(client.call("SWAPDB 0 1"), "+OK\r\n");
    assert_eq!(client.call("DBSIZE"), ":10\r\n");
    for (database, keys) in [(1, 30), (2, 10)] {
        assert_eq!(client.call(&format!("SELECT {database}")), "+OK\r\n");
        assert_eq!(client.call("DBSIZE"), format!(":{keys}\r\n"));
    }
    server.node.set_judge(|shard, _| match shard.0 {
        2 => Verdict::Refuse(Refusal::Overloaded),
        _ => Verdict::Execute,
    });
    let reply = client.call("SWAPDB 0 1");
    assert!(reply.starts_with("-UNCERTAIN ") && reply.contains("s2"), "{reply}");
}

#[test]
fn select_within_a_transaction_holds_behind_it_if_it_was_executed() {
    let server = Server::start(1);
    let (mut client, mut other) = (server.connect(), server.connect());
    let run = |client: &mut Client, lines: &[&str]| {
        assert_eq!(client.call("MULTI"), "+OK\r\n");
        for line in lines {
            client.call(line);
        }
        client.call("EXEC")
    };
    assert_eq!(
        run(&mut client, &["SET k 0", "SELECT 2", "SET k 2", "SELECT 99", "GET k", "SELECT x"]),
        "*6\r\n+OK\r\n+OK\r\n+OK\r\n-ERR DB index is out of range\r\n$1\r\n2\r\n-ERR value is not an integer or out of range\r\n"
    );
    assert_eq!(
        (client.call("GET k"), other.call("GET k")),
        ("$1\r\n2\r\n".into(), "$1\r\n0\r\n".into())
    );
    assert_eq!(shown_database(&mut client), "db=2");

    // Discarded, refused, aborted: nothing was selected.
    client.call("MULTI");
    client.call("SELECT 3");
    assert_eq!(client.call("DISCARD"), "+OK\r\n");
    assert!(run(&mut client, &["SELECT 3", "NOSUCH"]).starts_with("-EXECABORT "));
    assert_eq!(client.call("WATCH k"), "+OK\r\n");
    assert_eq!(other.call("SELECT 2"), "+OK\r\n");
    assert_eq!(other.call("SET k x"), "+OK\r\n");
    assert_eq!(run(&mut client, &["SELECT 3"]), "*-1\r\n");
    assert_eq!(shown_database(&mut client), "db=2");
    server.node.set_judge(|_, _| Verdict::Lose(UnknownReason::Deadline));
    assert!(run(&mut client, &["SELECT 3"]).starts_with("-UNCERTAIN "));
    assert_eq!(shown_database(&mut client), "db=2", "nobody knows, so it stays");
}

#[test]
fn a_watch_is_on_keys_of_the_databases_that_were_selected() {
    let server = Server::start(1);
    let (mut one, mut two) = (server.connect(), server.connect());
    for (meddling, reply) in [("0", "*-1\r\n"), ("1", "*-1\r\n"), ("2", "*1\r\n+PONG\r\n")] {
        for line in ["SELECT 0", "WATCH k", "SELECT 1", "WATCH k", "SELECT 5"] {
            assert_eq!(one.call(line), "+OK\r\n", "{line}");
        }
        assert_eq!(two.call(&format!("SELECT {meddling}")), "+OK\r\n");
        assert_eq!(two.call("SET k v"), "+OK\r\n");
        assert_eq!(one.call("MULTI"), "+OK\r\n");
        assert_eq!(one.call("PING"), "+QUEUED\r\n");
        assert_eq!(one.call("EXEC"), reply, "changed in {meddling}");
    }
}

#[test]
fn clients_may_name_as_many_databases_as_the_setting_says() {
    let config = GatewayConfig { databases: 4, ..GatewayConfig::default() };
    let server = Server::start_with(1, config);
    let mut client = server.connect();
    assert_eq!(client.call("CONFIG GET databases"), "*2\r\n$9\r\ndatabases\r\n$1\r\n4\r\n");
    assert_eq!(client.call("SET k v"), "+OK\r\n");
    let refused = [
        "SELECT 4",
        "SELECT 1023",
        "MOVE k 4",
        "COPY k l DB 4",
        "COPY k l REPLACE DB 1000",
        "SWAPDB 0 4",
        "SWAPDB 4 0",
    ];
    for line in refused {
        assert_eq!(client.call(line), OUT_OF_RANGE, "{line}");
    }
    // A name is no number, whatever it looks like.
    assert_eq!(client.call("SET DB v"), "+OK\r\n");
    assert_eq!(client.call("COPY DB 1000"), ":1\r\n");
    assert_eq!(client.call("COPY 1000 1001 DB 3"), ":1\r\n");
    assert_eq!(client.call("MULTI"), "+OK\r\n");
    for line in refused {
        assert_eq!(client.call(line), "+QUEUED\r\n", "{line}");
    }
    let all = format!("*{}\r\n{}", refused.len(), OUT_OF_RANGE.repeat(refused.len()));
    client.send(&command(&["EXEC"]));
    assert_eq!(String::from_utf8(client.reply()).unwrap(), all);
    assert_eq!(client.call("GET k"), "$1\r\nv\r\n");
}
