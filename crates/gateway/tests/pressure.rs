//! Clients that read slowly, and clients that do nothing.

mod support;

use std::io::Write;

use keystead_gateway::GatewayConfig;
use support::{Server, command, wait_until};

#[test]
fn a_slow_reader_is_not_read_from_until_it_reads() {
    let config = GatewayConfig { output_bytes_soft: 64 * 1024, ..GatewayConfig::default() };
    let server = Server::start_with(1, config);
    let mut client = server.connect();
    let value = "v".repeat(10_000);
    assert_eq!(client.call(&format!("SET a {value}")), "+OK\r\n");
    // 200 MB of replies: far more than the soft limit and the kernel's buffers together.
    let (count, request) = (20_000, command(&["GET", "a"]));
    let mut writer = client.stream.try_clone().unwrap();
    let sending = {
        let requests = request.repeat(count);
        spawn(move || writer.write_all(&requests))
    };
    let before = resident_bytes();
    for _ in 0..count {
        assert_eq!(client.reply().len(), 10_000 + 10);
    }
    sending.join().unwrap().unwrap();
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more memory while replies waited");
}

#[test]
fn a_reader_beyond_the_limit_is_closed() {
    let config = GatewayConfig {
        output_bytes_soft: 64 * 1024,
        output_bytes_max: 1024 * 1024,
        ..GatewayConfig::default()
    };
    let server = Server::start_with(1, config);
    let mut client = server.connect();
    let value = vec![b'v'; 2_000_000];
    client.send(&command(&[b"SET".as_slice(), b"a", &value]));
    assert_eq!(client.reply(), b"+OK\r\n");
    client.send(&command(&["GET", "a"]));
    assert!(client.rest().len() < 2_000_000);
    wait_until("it is gone", || server.gateway.connection_count() == 0);
    assert!(server.connect().call("INFO stats").contains("slow_readers_closed:1"));
}

/// INV-G4.
#[test]
fn a_thousand_idle_connections_cost_little() {
    let server = Server::start(1);
    let mut clients = Vec::new();
    // The first connections make the thread's buffers, which all later ones share.
    for _ in 0..10 {
        clients.push(server.connect());
    }
    let large = vec![b'x'; 20_000];
    let exercise = |client: &mut support::Client| {
        client.send(&command(&[b"SET".as_slice(), b"a", &large]));
        assert_eq!(client.reply(), b"+OK\r\n");
        client.send(&command(&["GET", "a"]));
        assert_eq!(client.reply().len(), large.len() + 10);
    };
    clients.iter_mut().for_each(exercise);
    let before = resident_bytes();
    for _ in 0..1000 {
        let mut client = server.connect();
        exercise(&mut client);
        // The client's own buffer is not the server's.
        client.forget_buffer();
        clients.push(client);
    }
    let each = resident_bytes().saturating_sub(before) / 1000;
    assert!(each < 6 * 1024, "{each} bytes per idle connection, both ends together");
}

#[expect(clippy::disallowed_methods, reason = "a test starts a thread without a supervision tree")]
fn spawn<R: Send + 'static>(
    body: impl FnOnce() -> R + Send + 'static,
) -> std::thread::JoinHandle<R> {
    std::thread::spawn(body)
}

/// Memory of this process in use, bytes.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux shows it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kilobytes.map(|kilobytes: usize| kilobytes * 1024).expect("VmRSS is a number of kB")
}
