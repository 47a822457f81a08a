//! What the client says about a command whose connection breaks, against a peer that breaks it at a
//! chosen moment. Client and peer are two halves of one future: there is nothing to wait for but them.

use std::time::Duration;

use keystead_client::{Client, ConnectOptions, Error, Kind, Pipeline, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const HELLO_REPLY: &[u8] = b"%1\r\n+proto\r\n:3\r\n";

fn options() -> ConnectOptions {
    ConnectOptions { command_timeout: Duration::from_secs(10), ..ConnectOptions::default() }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, address)
}

/// Runs client and peer to their end.
async fn together<C, P>(client: impl Future<Output = C>, peer: impl Future<Output = P>) -> (C, P) {
    let both = async { tokio::join!(client, peer) };
    timeout(Duration::from_secs(20), both).await.expect("client and peer end in time")
}

/// Accepts a client and answers its HELLO.
async fn greet(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.expect("a client");
    expect(&mut stream, "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n").await;
    stream.write_all(HELLO_REPLY).await.expect("the client listens");
    stream
}

/// Reads exactly `text`.
async fn expect(stream: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).await.expect("the client sends");
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

async fn answer(stream: &mut TcpStream, request: &str, reply: &str) {
    expect(stream, request).await;
    stream.write_all(reply.as_bytes()).await.expect("the client listens");
}

const INCR: &str = "*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n";
const GET: &str = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";

/// INV-C1.
#[tokio::test]
async fn a_write_lost_after_sending_is_unknown_and_never_sent_again() {
    let (listener, address) = listen().await;
    let client = async {
        let mut client = Client::connect(&address, options()).await.expect("connected");
        let error = client.command(&["INCR", "k"]).await.expect_err("the peer hangs up");
        assert_eq!(error.kind(), Kind::Unknown, "{error}");
        // The next command finds a new connection.
        client.command(&["GET", "k"]).await.expect("answered")
    };
    let peer = async {
        let mut stream = greet(&listener).await;
        expect(&mut stream, INCR).await;
        drop(stream);
        // The first thing on the new connection is the read: the write was not repeated.
        let mut stream = greet(&listener).await;
        answer(&mut stream, GET, "$1\r\n7\r\n").await;
    };
    assert_eq!(together(client, peer).await.0, Value::Bulk(b"7".to_vec()));
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced_before_sending() {
    let (listener, address) = listen().await;
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    let client = async {
        let mut client = Client::connect(&address, options()).await.expect("connected");
        is_closed.await.expect("the peer closes");
        client.command(&["INCR", "k"]).await.expect("a write that was never sent into the void")
    };
    let peer = async {
        drop(greet(&listener).await);
        closed.send(()).expect("the client waits");
        let mut stream = greet(&listener).await;
        answer(&mut stream, INCR, ":1\r\n").await;
    };
    assert_eq!(together(client, peer).await.0, Value::Integer(1));
}

/// INV-C2.
#[tokio::test]
async fn a_late_reply_is_not_given_to_the_next_command() {
    let (listener, address) = listen().await;
    let (give_up, has_given_up) = tokio::sync::oneshot::channel();
    let client = async {
        let short = ConnectOptions { command_timeout: Duration::from_millis(50), ..options() };
        let mut client = Client::connect(&address, short).await.expect("connected");
        let error = client.command(&["INCR", "k"]).await.expect_err("no answer");
        assert_eq!(error.kind(), Kind::Unknown, "{error}");
        assert!(error.to_string().contains("within"), "{error}");
        give_up.send(()).expect("the peer waits");
        drop(client);
        // The same with a future that is dropped, and time for the command behind it.
        let mut client = Client::connect(&address, options()).await.expect("connected");
        let dropped = timeout(Duration::from_millis(50), client.command(&["INCR", "k"])).await;
        assert!(dropped.is_err(), "the peer does not answer");
        client.command(&["GET", "k"]).await.expect("answered")
    };
    let peer = async {
        let mut first = greet(&listener).await;
        expect(&mut first, INCR).await;
        has_given_up.await.expect("the client gives up");
        let mut second = greet(&listener).await;
        expect(&mut second, INCR).await;
        let mut third = greet(&listener).await;
        answer(&mut third, GET, "$1\r\n7\r\n").await;
        second
    };
    assert_eq!(together(client, peer).await.0, Value::Bulk(b"7".to_vec()));
}

#[tokio::test]
async fn a_pipeline_cut_short_keeps_the_replies_that_came() {
    let (listener, address) = listen().await;
    let client = async {
        let mut client = Client::connect(&address, options()).await.expect("connected");
        let mut pipeline = Pipeline::new();
        for _ in 0..3 {
            pipeline.push(&["INCR", "k"]).expect("a command");
        }
        client.pipeline(&pipeline).await
    };
    let peer = async {
        let mut stream = greet(&listener).await;
        answer(&mut stream, &INCR.repeat(3), ":1\r\n-OOM full\r\n:").await;
    };
    let outcomes = together(client, peer).await.0;
    assert!(matches!(outcomes[0], Ok(Value::Integer(1))));
    let kinds: Vec<_> = outcomes[1..].iter().map(|o| o.as_ref().map_err(Error::kind)).collect();
    assert_eq!(kinds, [Err(Kind::Overloaded), Err(Kind::Unknown)]);
}

#[tokio::test]
async fn a_broken_transaction_is_not_continued_elsewhere() {
    let (listener, address) = listen().await;
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    let client = async {
        let mut client = Client::connect(&address, options()).await.expect("connected");
        client.command(&["MULTI"]).await.expect("answered");
        is_closed.await.expect("the peer closes");
        let error = client.command(&["INCR", "k"]).await.expect_err("no transaction any more");
        assert!(matches!(error, Error::TransactionLost { .. }), "{error}");
        assert_eq!(error.kind(), Kind::Closed);
        client.command(&["GET", "k"]).await.expect("answered")
    };
    let peer = async {
        let mut stream = greet(&listener).await;
        answer(&mut stream, "*1\r\n$5\r\nMULTI\r\n", "+OK\r\n").await;
        drop(stream);
        closed.send(()).expect("the client waits");
        let mut stream = greet(&listener).await;
        answer(&mut stream, GET, "_\r\n").await;
    };
    assert_eq!(together(client, peer).await.0, Value::Null);
}

#[tokio::test]
async fn redirects_are_followed_learned_and_bounded() {
    let (here, home) = listen().await;
    let (there, other) = listen().await;
    let client = async {
        let mut client = Client::connect(&home, options()).await.expect("connected");
        let first = client.command(&["GET", "k"]).await.expect("moved, then answered");
        let second = client.command(&["GET", "k"]).await.expect("asked at once");
        let third = client.command(&["INCR", "k"]).await.expect_err("sent round in circles");
        (first, second, third)
    };
    let peer = async {
        let moved = format!("-MOVED 7629 {other}\r\n");
        let mut a = greet(&here).await;
        answer(&mut a, GET, &moved).await;
        let mut b = greet(&there).await;
        answer(&mut b, "*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n", "*0\r\n").await;
        answer(&mut b, GET, "$1\r\n1\r\n").await;
        answer(&mut b, GET, "$1\r\n2\r\n").await;
        answer(&mut a, INCR, &format!("-ASK 7629 {other}\r\n")).await;
        for _ in 0..5 {
            let asking = "*1\r\n$6\r\nASKING\r\n".to_owned() + INCR;
            answer(&mut b, &asking, &format!("+OK\r\n-ASK 7629 {other}\r\n")).await;
        }
    };
    let (first, second, third) = together(client, peer).await.0;
    assert_eq!((first, second), (Value::Bulk(b"1".to_vec()), Value::Bulk(b"2".to_vec())));
    assert!(matches!(third, Error::Redirects { redirects: 5, .. }), "{third}");
    assert_eq!(third.kind(), Kind::Moved);
}

#[tokio::test]
async fn a_server_without_hello_is_spoken_to_in_resp2() {
    let (listener, address) = listen().await;
    let client = async {
        let options = ConnectOptions {
            password: Some("p".into()),
            client_name: Some("n".into()),
            ..options()
        };
        let mut client = Client::connect(&address, options).await.expect("connected");
        client.command(&["GET", "k"]).await.expect("answered")
    };
    let peer = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let hello = "*7\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$1\r\np\r\n\
                     $7\r\nSETNAME\r\n$1\r\nn\r\n";
        answer(&mut stream, hello, "-ERR unknown command `HELLO`\r\n").await;
        answer(&mut stream, "*2\r\n$4\r\nAUTH\r\n$1\r\np\r\n", "+OK\r\n").await;
        answer(&mut stream, "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$1\r\nn\r\n", "+OK\r\n").await;
        answer(&mut stream, GET, "$-1\r\n").await;
    };
    assert_eq!(together(client, peer).await.0, Value::Null);
}

#[tokio::test]
async fn messages_are_passed_over_and_strangers_are_recognised() {
    let (listener, address) = listen().await;
    let client = async {
        let mut client = Client::connect(&address, options()).await.expect("connected");
        let first = client.command(&["GET", "k"]).await.expect("answered");
        let garbled = client.command(&["GET", "k"]).await.expect_err("not the protocol");
        let stranger = Client::connect(&address, options()).await.expect_err("not the protocol");
        (first, garbled.kind(), stranger.kind())
    };
    let peer = async {
        let mut stream = greet(&listener).await;
        answer(&mut stream, GET, ">1\r\n+hi\r\n$1\r\nv\r\n>1\r\n+ho\r\n").await;
        answer(&mut stream, GET, "what?\r\n").await;
        let (mut stream, _) = listener.accept().await.expect("a client");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n").await.expect("the client listens");
        stream
    };
    let (first, garbled, stranger) = together(client, peer).await.0;
    assert_eq!(first, Value::Bulk(b"v".to_vec()));
    assert_eq!((garbled, stranger), (Kind::Unknown, Kind::Corrupt));
}

#[tokio::test]
async fn addresses_are_tried_in_turn_and_checked() {
    let (listener, address) = listen().await;
    let (gone, nobody) = listen().await;
    drop(gone);
    let several = format!("{nobody}, {address}");
    let connect = Client::connect(&several, options());
    let (client, _stream) = together(connect, greet(&listener)).await;
    assert_eq!(client.expect("the second answers").home(), address);
    let refused = Client::connect(&nobody, options()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), Kind::Unavailable, "{refused}");
    for wrong in ["", "host", "host:", ":1", "host:99999", "a:1,"] {
        let error = Client::connect(wrong, options()).await.expect_err(wrong);
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
}
