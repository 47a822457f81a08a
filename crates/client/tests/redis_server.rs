//! The client against a real redis-server: handshakes, both protocols, pipelines, a cluster of two.
//! Needs `redis-server` (package `redis-server`, or `redis` where that is its name); without it these
//! tests fail and say so.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keystead_client::blocking;
use keystead_client::{Client, ConnectOptions, Connection, Kind, Pipeline, Protocol, Value};
use tokio::time::{Instant, interval, timeout};

/// A redis-server of this test's own, stopped with it.
struct Server {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start(extra: &[&str]) -> Self {
        // Another process may take the port between its choice and its use: choose anew.
        (0..10)
            .find_map(|_| Self::try_start(extra))
            .expect("redis-server found no free port ten times")
    }

    fn try_start(extra: &[&str]) -> Option<Self> {
        let [port, bus_port] = free_ports();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--cluster-port", &bus_port.to_string()])
            .args(["--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(directory.path())
            .args(extra)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cannot run redis-server: install it (apt-get install redis-server)");
        let log = BufReader::new(process.stdout.take().expect("piped above"));
        let is_ready = log
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("Ready to accept connections"));
        let server = Self { process, port, _directory: directory };
        is_ready.then_some(server)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().expect("the process is ours");
        self.process.wait().expect("the process is ours");
    }
}

fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.into())
}

fn options(protocol: Protocol) -> ConnectOptions {
    ConnectOptions { protocol, ..ConnectOptions::default() }
}

#[tokio::test]
async fn both_protocols_are_spoken() {
    let server = Server::start(&[]);
    for (protocol, hash) in [
        (Protocol::Resp2, Value::Array(vec![bulk("f"), bulk("v")])),
        (Protocol::Resp3, Value::Map(vec![(bulk("f"), bulk("v"))])),
    ] {
        let mut client =
            Client::connect(&server.address(), options(protocol)).await.expect("connected");
        client.command(&["HSET", "h", "f", "v"]).await.expect("set");
        assert_eq!(client.command(&["HGETALL", "h"]).await.expect("a hash"), hash);
        assert_eq!(client.command(&["GET", "nothing"]).await.expect("absent"), Value::Null);
        let binary = [0, 255, 13, 10];
        client.command(&[b"SET".as_slice(), b"b", &binary]).await.expect("set");
        assert_eq!(
            client.command(&["GET", "b"]).await.expect("bytes"),
            Value::Bulk(binary.to_vec())
        );
        let wrong = client.command(&["INCR", "h"]).await.expect_err("a hash is no number");
        assert_eq!((wrong.code(), wrong.kind()), (Some("WRONGTYPE"), Kind::Invalid));
        let refused = client.command(&["SUBSCRIBE", "c"]).await.expect_err("not here");
        assert_eq!(refused.kind(), Kind::Invalid, "{refused}");
    }
}

#[tokio::test]
async fn a_client_logs_in_and_gives_its_name() {
    let server =
        Server::start(&["--requirepass", "secret", "--user", "ann", "on", ">pw", "~*", "+@all"]);
    let login = |username: Option<&str>, password: Option<&str>| ConnectOptions {
        username: username.map(str::to_owned),
        password: password.map(str::to_owned),
        client_name: Some("tester".into()),
        ..ConnectOptions::default()
    };
    for (username, password) in [(None, "secret"), (Some("ann"), "pw")] {
        let connected = Client::connect(&server.address(), login(username, Some(password))).await;
        let mut client = connected.expect("logged in");
        assert_eq!(client.command(&["CLIENT", "GETNAME"]).await.expect("a name"), bulk("tester"));
    }
    for (password, code) in [(Some("wrong"), "WRONGPASS"), (None, "NOAUTH")] {
        let refused = Client::connect(&server.address(), login(None, password)).await;
        let error = refused.expect_err("not let in");
        assert_eq!((error.code(), error.kind()), (Some(code), Kind::Invalid), "{error}");
    }
    assert!(!format!("{:?}", login(None, Some("secret"))).contains("secret"));
}

#[tokio::test]
async fn a_long_pipeline_with_long_replies_neither_stalls_nor_mixes_up() {
    let server = Server::start(&[]);
    let mut client =
        Client::connect(&server.address(), options(Protocol::Resp3)).await.expect("connected");
    let long = "x".repeat(1_000_000);
    let mut pipeline = Pipeline::new();
    for number in 0..20 {
        pipeline.push(&["ECHO", &format!("{number}{long}")]).expect("a command");
        pipeline.push(&["NOSUCH"]).expect("a command");
    }
    let outcomes = client.pipeline(&pipeline).await;
    for (number, pair) in outcomes.chunks(2).enumerate() {
        assert_eq!(pair[0].as_ref().expect("echoed"), &bulk(&format!("{number}{long}")));
        assert_eq!(pair[1].as_ref().expect_err("no such command").kind(), Kind::Invalid);
    }
    assert_eq!(client.command(&["PING"]).await.expect("in step"), Value::Simple("PONG".into()));
}

#[tokio::test]
async fn a_connection_of_its_own_receives_messages() {
    let server = Server::start(&[]);
    let address = server.address();
    let mut listener =
        Connection::open(&address, &options(Protocol::Resp3)).await.expect("connected");
    listener.send(&Pipeline::of(&["SUBSCRIBE", "news"]).expect("a command")).await.expect("sent");
    let subscribed = Value::Push(vec![bulk("subscribe"), bulk("news"), Value::Integer(1)]);
    let deadline = Duration::from_secs(10);
    assert_eq!(
        timeout(deadline, listener.receive()).await.expect("in time").expect("a message"),
        subscribed
    );
    let mut client = Client::connect(&address, options(Protocol::Resp3)).await.expect("connected");
    client.command(&["PUBLISH", "news", "hello"]).await.expect("published");
    let message = Value::Push(vec![bulk("message"), bulk("news"), bulk("hello")]);
    assert_eq!(
        timeout(deadline, listener.receive()).await.expect("in time").expect("a message"),
        message
    );
}

#[test]
fn threads_have_a_client_that_blocks_and_reconnects() {
    let server = Server::start(&[]);
    let connect = || blocking::Client::connect(&server.address(), ConnectOptions::default());
    let (mut one, mut other) = (connect().expect("connected"), connect().expect("connected"));
    let id = one.command(&["CLIENT", "ID"]).expect("an id").as_integer().expect("a number");
    other.command(&["CLIENT", "KILL", "ID", &id.to_string()]).expect("killed");
    assert_eq!(one.command(&["INCR", "n"]).expect("reconnected before sending"), Value::Integer(1));
    let mut transaction = Pipeline::new();
    for command in [&["MULTI"][..], &["INCR", "n"], &["EXEC"]] {
        transaction.push(command).expect("a command");
    }
    let last = one.pipeline(&transaction).pop().expect("three outcomes").expect("executed");
    assert_eq!(last, Value::Array(vec![Value::Integer(2)]));
}

/// Waits until both nodes see the whole cluster.
async fn wait_until_ok(clients: &mut [Client]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut turns = interval(Duration::from_millis(20));
    for client in clients {
        loop {
            let state = client.command(&["CLUSTER", "INFO"]).await.expect("a state");
            let text = String::from_utf8_lossy(state.as_bytes().expect("text")).into_owned();
            if text.contains("cluster_state:ok") && text.contains("cluster_known_nodes:2") {
                break;
            }
            assert!(Instant::now() < deadline, "the cluster does not form: {text}");
            turns.tick().await;
        }
    }
}

#[tokio::test]
async fn a_cluster_is_one_server_to_its_client() {
    let servers = [(); 2].map(|()| Server::start(&["--cluster-enabled", "yes"]));
    let mut nodes = Vec::new();
    for (server, slots) in servers.iter().zip([["0", "8191"], ["8192", "16383"]]) {
        let mut node =
            Client::connect(&server.address(), options(Protocol::Resp3)).await.expect("connected");
        node.command(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]).await.expect("assigned");
        nodes.push(node);
    }
    let (port, bus_port) = (servers[1].port.to_string(), bus_port(&mut nodes[1]).await);
    nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port]).await.expect("met");
    wait_until_ok(&mut nodes).await;

    let mut client =
        Client::connect(&servers[0].address(), options(Protocol::Resp3)).await.expect("connected");
    for number in 0..200 {
        let (key, value) = (format!("k{number}"), number.to_string());
        client.command(&["SET", &key, &value]).await.expect("set on its node");
    }
    let mut pipeline = Pipeline::new();
    for number in 0..200 {
        pipeline.push(&["GET", &format!("k{number}")]).expect("a command");
    }
    for (number, outcome) in client.pipeline(&pipeline).await.into_iter().enumerate() {
        assert_eq!(outcome.expect("read from its node"), bulk(&number.to_string()));
    }

    // A key of a slot that is on its way from the second node (foo: slot 12182) to the first.
    let id = |value: Value| value.as_str().expect("an id").to_owned();
    let first = id(nodes[0].command(&["CLUSTER", "MYID"]).await.expect("an id"));
    let second = id(nodes[1].command(&["CLUSTER", "MYID"]).await.expect("an id"));
    nodes[0].command(&["CLUSTER", "SETSLOT", "12182", "IMPORTING", &second]).await.expect("set");
    nodes[1].command(&["CLUSTER", "SETSLOT", "12182", "MIGRATING", &first]).await.expect("set");
    client.command(&["SET", "foo", "new"]).await.expect("set where ASK pointed");
    assert_eq!(client.command(&["GET", "foo"]).await.expect("read there"), bulk("new"));
}

async fn bus_port(node: &mut Client) -> String {
    let reply = node.command(&["CONFIG", "GET", "cluster-port"]).await.expect("a setting");
    let Value::Map(pairs) = reply else { panic!("not a map: {reply:?}") };
    pairs[0].1.as_str().expect("a number").to_owned()
}
