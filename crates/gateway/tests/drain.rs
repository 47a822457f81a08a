//! What clients see of a stop: every reply under way, then the end of the connection, never a reset.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keystead_gateway::GatewayConfig;
use support::{Client, DEADLINE, Server, command, wait_until};

/// So long that a test which depends on its end fails.
const NEVER: Duration = Duration::from_secs(60);

fn server(drain_silence: Duration) -> Server {
    let config = GatewayConfig {
        drain_timeout: NEVER,
        drain_silence,
        linger_timeout: NEVER,
        ..GatewayConfig::default()
    };
    Server::start_with(2, config)
}

/// Asks for a stop and returns once the thread drains: a client in the middle of its work got its last reply.
fn begin_drain(server: &mut Server) {
    let mut canary = server.connect();
    assert_eq!(canary.call("PING"), "+PONG\r\n");
    server.request_stop();
    wait_until("the thread drains", || {
        canary.stream.write_all(b"PING\r\n").expect("the server reads on");
        canary.rest_or_reply().is_empty()
    });
}

fn runs(server: &Server) -> u64 {
    server.node.runs.load(Ordering::SeqCst)
}

#[test]
fn replies_under_way_come_out_and_then_the_end() {
    let mut server = server(Duration::ZERO);
    let mut client = server.connect();
    server.node.holds_outcomes.store(true, Ordering::SeqCst);
    client.send(&command(&["SET", "a", "1"]));
    wait_until("the write was submitted", || runs(&server) == 1);
    server.request_stop();
    server.node.release();
    assert_eq!(client.rest_in_order(), b"+OK\r\n");
    drop(client);
    server.join();
}

/// INV-G6.
#[test]
fn a_client_in_the_middle_of_its_work_gets_one_more_reply_and_then_the_end() {
    let mut server = server(NEVER);
    let (mut writer, mut reader) = (server.connect(), server.connect());
    assert_eq!(writer.call("SET a 1"), "+OK\r\n");
    assert_eq!(reader.call("GET a"), "$1\r\n1\r\n");
    begin_drain(&mut server);
    writer.send(&command(&["SET", "a", "2"]));
    assert_eq!(writer.rest_in_order(), b"+OK\r\n");
    let mut gets = command(&["GET", "a"]);
    gets.extend(command(&["GET", "a"]));
    reader.send(&gets);
    assert_eq!(reader.rest_in_order(), b"$1\r\n2\r\n$1\r\n2\r\n");
    drop((writer, reader));
    server.join();
}

#[test]
fn a_transaction_goes_on_up_to_its_exec() {
    let mut server = server(NEVER);
    let mut client = server.connect();
    assert_eq!(client.call("MULTI"), "+OK\r\n");
    begin_drain(&mut server);
    assert_eq!(client.call("SET a 1"), "+QUEUED\r\n");
    assert_eq!(client.call("GET a"), "+QUEUED\r\n");
    client.send(&command(&["EXEC"]));
    assert_eq!(client.rest_in_order(), b"*2\r\n+OK\r\n$1\r\n1\r\n");
    drop(client);
    server.join();
}

/// INV-G6.
#[test]
fn a_command_that_crosses_the_end_is_not_executed_and_its_client_reads_the_end() {
    let mut server = server(Duration::ZERO);
    let mut client = server.connect();
    assert_eq!(client.call("SET a 1"), "+OK\r\n");
    let before = runs(&server);
    server.request_stop();
    wait_until("the end was told", || client.stream.peek(&mut [0]).is_ok_and(|bytes| bytes == 0));
    // A client that does not look sends on, more than a socket's buffer holds.
    let value = vec![b'v'; 100_000];
    for _ in 0..100 {
        client.send(&command(&[b"SET".as_slice(), b"a", &value]));
    }
    assert_eq!(client.rest_in_order(), b"");
    assert_eq!(runs(&server), before, "what came behind the end was executed");
    drop(client);
    server.join();
}

#[test]
fn a_client_that_never_pauses_is_closed_in_order_too() {
    let config = GatewayConfig {
        drain_timeout: Duration::from_secs(2),
        drain_silence: Duration::from_millis(10),
        linger_timeout: Duration::from_secs(2),
        ..GatewayConfig::default()
    };
    let mut server = Server::start_with(1, config);
    let mut client = server.connect();
    assert_eq!(client.call("PING"), "+PONG\r\n");
    let mut flood = client.stream.try_clone().expect("a socket");
    let is_over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&is_over);
    let flooding = spawn(move || {
        let pings = b"PING\r\n".repeat(1000);
        while !ended.load(Ordering::SeqCst) {
            flood.write_all(&pings).expect("the server reads on until the client has read the end");
        }
    });
    assert_eq!(client.reply(), b"+PONG\r\n");
    server.request_stop();
    let replies = client.rest_in_order();
    is_over.store(true, Ordering::SeqCst);
    flooding.join().expect("no write failed");
    assert!(replies.starts_with(b"+PONG\r\n"), "what was read is answered");
    assert_eq!(replies.len() % b"+PONG\r\n".len(), 0, "a reply was cut short");
    drop(client);
    server.join();
}

#[test]
fn half_a_command_does_not_hold_the_stop_up() {
    let mut server = server(Duration::ZERO);
    let mut client = server.connect();
    assert_eq!(client.call("PING"), "+PONG\r\n");
    client.send(&command(&["SET", "a", "1"])[..9]);
    server.request_stop();
    assert_eq!(client.rest_in_order(), b"");
    drop(client);
    server.join();
}

#[test]
fn a_client_that_takes_no_notice_is_left_after_a_while() {
    let config = GatewayConfig {
        drain_timeout: NEVER,
        drain_silence: Duration::ZERO,
        linger_timeout: Duration::from_millis(20),
        ..GatewayConfig::default()
    };
    let mut server = Server::start_with(1, config);
    let mut client = server.connect();
    assert_eq!(client.call("PING"), "+PONG\r\n");
    server.request_stop();
    server.join();
    assert_eq!(server.gateway.connection_count(), 0);
}

#[test]
fn clients_that_connect_while_the_listener_closes_are_served_or_refused() {
    let mut server = server(Duration::from_millis(50));
    let address = server.address;
    // Connected, as far as they know; the listener may not have looked at them yet.
    let mut clients: Vec<Client> = (0..200).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.send(b"PING\r\n");
    }
    server.request_stop();
    for client in &mut clients {
        assert_eq!(client.rest_in_order(), b"+PONG\r\n");
    }
    let refused = TcpStream::connect(address).expect_err("nobody listens any more");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    drop(clients);
    server.join();
}

#[test]
fn several_threads_drain_at_the_same_time() {
    let config = GatewayConfig {
        io_threads: 2,
        drain_timeout: NEVER,
        drain_silence: Duration::ZERO,
        linger_timeout: NEVER,
        ..GatewayConfig::default()
    };
    let mut server = Server::start_with(2, config);
    let (mut one, mut two) = (server.connect(), server.connect());
    assert_eq!(one.call("PING"), "+PONG\r\n");
    assert_eq!(two.call("PING"), "+PONG\r\n");
    server.close_listener();
    // Nobody has asked the threads themselves to stop.
    let began = Instant::now();
    assert_eq!(one.rest_in_order(), b"");
    assert_eq!(two.rest_in_order(), b"");
    assert!(began.elapsed() < DEADLINE);
    drop((one, two));
    server.request_stop();
    server.join();
}

#[expect(clippy::disallowed_methods, reason = "a test starts a thread without a supervision tree")]
fn spawn<R: Send + 'static>(
    body: impl FnOnce() -> R + Send + 'static,
) -> std::thread::JoinHandle<R> {
    std::thread::spawn(body)
}
