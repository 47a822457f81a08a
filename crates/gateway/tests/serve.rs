//! What a client sees of its connection: requests in every form, protocol errors, ends of all kinds.

mod support;

use std::net::Shutdown;
use std::time::Duration;

use keystead_gateway::GatewayConfig;
use support::{Server, command, wait_until};

#[test]
fn requests_may_come_in_any_form_and_in_pieces() {
    let server = Server::start(1);
    let mut client = server.connect();
    assert_eq!(client.call("SET key value"), "+OK\r\n");
    assert_eq!(client.call("GET key"), "$5\r\nvalue\r\n");
    assert_eq!(client.call("get missing"), "$-1\r\n");
    client.send(b"PING\r\nSET k \"a b\"\r\n\r\nGET k\n");
    assert_eq!(client.reply(), b"+PONG\r\n");
    assert_eq!(client.reply(), b"+OK\r\n");
    assert_eq!(client.reply(), b"$3\r\na b\r\n");
    for byte in command(&["SET", "slow", "bytes"]) {
        client.send(&[byte]);
    }
    assert_eq!(client.reply(), b"+OK\r\n");
}

#[test]
fn values_larger_than_any_buffer_pass() {
    let server = Server::start(4);
    let mut client = server.connect();
    let value = vec![b'x'; 3_000_000];
    client.send(&command(&[b"SET".as_slice(), b"large", &value]));
    assert_eq!(client.reply(), b"+OK\r\n");
    client.send(&command(&["GET", "large"]));
    let reply = client.reply();
    assert!(reply.starts_with(b"$3000000\r\nxxx") && reply.len() == value.len() + 12);
}

#[test]
fn protocol_errors_are_answered_behind_what_came_before_and_end_the_connection() {
    let server = Server::start(2);
    for (bad, error) in [
        (b"*1\r\n!4\r\n".as_slice(), "Protocol error: expected '$', got '!'"),
        (b"*x\r\n", "Protocol error: invalid multibulk length"),
        (b"*2\r\n$3\r\nGET\r\n$-5\r\n", "Protocol error: invalid bulk length"),
        (b"SET \"a\r\n", "Protocol error: unbalanced quotes in request"),
    ] {
        let mut client = server.connect();
        let mut bytes = command(&["SET", "a", "1"]);
        bytes.extend(command(&["SET", "b", "1"]));
        bytes.extend_from_slice(bad);
        client.send(&bytes);
        let expected = format!("+OK\r\n+OK\r\n-ERR {error}\r\n");
        assert_eq!(String::from_utf8(client.rest()).unwrap(), expected);
    }
}

#[test]
fn headers_without_an_end_are_refused() {
    let server = Server::start(1);
    let mut client = server.connect();
    let mut endless = vec![b'*'];
    endless.extend(vec![b'1'; 70 * 1024]);
    client.send(&endless);
    let expected = b"-ERR Protocol error: too big mbulk count string\r\n";
    assert_eq!(client.rest_in_order(), expected);
}

#[test]
fn browsers_are_not_answered() {
    let server = Server::start(1);
    let mut client = server.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nFLUSHALL\r\n");
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_client_that_stops_sending_still_gets_its_replies() {
    let server = Server::start(4);
    let mut client = server.connect();
    let mut bytes = Vec::new();
    for key in 0..100 {
        bytes.extend(command(&["SET", &format!("k{key}"), "1"]));
    }
    client.send(&bytes);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"+OK\r\n".repeat(100));
}

#[test]
fn a_client_that_vanishes_within_a_command_leaves_nothing_behind() {
    let server = Server::start(1);
    for cut in [1, 10, 25] {
        let mut client = server.connect();
        client.send(&command(&["SET", "half", "value"])[..cut]);
    }
    wait_until("all connections are gone", || server.gateway.connection_count() == 0);
    let mut client = server.connect();
    assert_eq!(client.call("GET half"), "$-1\r\n");
}

#[test]
fn a_client_that_vanishes_with_writes_under_way_harms_nobody() {
    let server = Server::start(2);
    server.node.holds_outcomes.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut gone = server.connect();
    gone.send(&command(&["SET", "a", "1"]));
    wait_until("the write was submitted", || {
        server.node.runs.load(std::sync::atomic::Ordering::Relaxed) == 1
    });
    gone.stream.shutdown(Shutdown::Both).unwrap();
    server.node.release();
    wait_until("the connection is gone", || server.gateway.connection_count() == 0);
    // The next connection takes the same place; outcomes meant for the last one must not reach it.
    let mut client = server.connect();
    assert_eq!(client.call("GET a"), "$1\r\n1\r\n");
    assert_eq!(client.call("PING"), "+PONG\r\n");
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    let config = GatewayConfig { connections_max: 2, ..GatewayConfig::default() };
    let server = Server::start_with(1, config);
    let (mut one, mut two) = (server.connect(), server.connect());
    assert_eq!(one.call("PING"), "+PONG\r\n");
    assert_eq!(two.call("PING"), "+PONG\r\n");
    let mut three = server.connect();
    assert_eq!(three.rest(), b"-ERR max number of clients reached\r\n");
    drop(two);
    wait_until("a place is free", || server.gateway.connection_count() == 1);
    wait_until("the next client is served", || {
        let mut next = server.connect();
        next.send(b"PING\r\n");
        next.reply() == b"+PONG\r\n"
    });
}

#[test]
fn a_password_is_asked_for_and_strangers_are_held_short() {
    let config = GatewayConfig { password: Some("sesame".to_owned()), ..GatewayConfig::default() };
    let server = Server::start_with(1, config);
    let mut client = server.connect();
    assert_eq!(client.call("GET a"), "-NOAUTH Authentication required.\r\n");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    assert_eq!(client.call("AUTH wrong"), wrong);
    assert_eq!(client.call("AUTH default wrong"), wrong);
    assert_eq!(client.call("AUTH other sesame"), wrong);
    assert_eq!(client.call("AUTH sesame"), "+OK\r\n");
    assert_eq!(client.call("GET a"), "$-1\r\n");
    assert_eq!(client.call("RESET"), "+RESET\r\n");
    assert_eq!(client.call("GET a"), "-NOAUTH Authentication required.\r\n");
    assert!(client.call("HELLO 3 AUTH default sesame").starts_with("%7\r\n"));
    assert_eq!(client.call("GET a"), "_\r\n");

    let mut stranger = server.connect();
    stranger.send(b"*11\r\n");
    let refusal = b"-ERR Protocol error: unauthenticated multibulk length\r\n";
    assert_eq!(stranger.rest(), refusal);
}

#[test]
fn clients_see_and_end_each_other_across_threads() {
    let config = GatewayConfig { io_threads: 2, ..GatewayConfig::default() };
    let server = Server::start_with(1, config);
    let (mut one, mut two) = (server.connect(), server.connect());
    assert_eq!(one.call("CLIENT SETNAME first"), "+OK\r\n");
    assert_eq!(two.call("CLIENT SETNAME second"), "+OK\r\n");
    let id = two.call("CLIENT ID").trim_start_matches(':').trim().to_owned();
    let list = one.call("CLIENT LIST");
    assert!(list.contains("name=first") && list.contains("name=second"), "{list}");
    assert!(list.contains("cmd=client|list") && list.contains("cmd=client|id"), "{list}");
    assert_eq!(one.call(&format!("CLIENT KILL ID {id}")), ":1\r\n");
    assert_eq!(two.rest(), b"");
    wait_until("it is gone", || !one.call("CLIENT LIST").contains("name=second"));
}

#[test]
fn replies_can_be_switched_off() {
    let server = Server::start(2);
    let mut client = server.connect();
    let mut bytes = Vec::new();
    for line in [
        "CLIENT REPLY OFF",
        "SET a 1",
        "GET a",
        "PING",
        "NOPE",
        "CLIENT REPLY ON",
        "GET a",
        "CLIENT REPLY SKIP",
        "SET b 2",
        "GET b",
    ] {
        bytes.extend(command(&line.split(' ').collect::<Vec<_>>()));
    }
    client.send(&bytes);
    for expected in ["+OK\r\n", "$1\r\n1\r\n", "$1\r\n2\r\n"] {
        assert_eq!(String::from_utf8(client.reply()).unwrap(), expected);
    }
}

#[test]
fn idle_connections_are_closed_if_so_configured() {
    let config = GatewayConfig { idle_timeout: Duration::from_secs(1), ..GatewayConfig::default() };
    let server = Server::start_with(1, config);
    let mut client = server.connect();
    assert_eq!(client.call("PING"), "+PONG\r\n");
    assert_eq!(client.rest(), b"");
}
