//! The transport over real loopback sockets: what it promises to those who send and receive.
//! Every node here is a thread with its own runtime, as in the product. Nothing sleeps: whoever
//! waits, waits for an event with a deadline.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener as BlockingListener, TcpStream as BlockingStream};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use keystead_supervisor::Shutdown;
use keystead_types::limits::PEER_QUEUE_BYTES_MAX;
use keystead_types::time::SystemClock;
use keystead_types::{NodeId, ShardId};
use parking_lot::{Condvar, Mutex};

use super::frame::FrameDecoder;
use super::hello::HELLO_BYTES_MAX;
use super::*;

mod calls;
pub(super) mod simulated;
mod slow;

const DEADLINE: Duration = Duration::from_secs(20);
const KIND: FrameKind = FrameKind(9);
const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

/// Quick to dial, slow to take silence for death: the machine that runs the tests may be busy.
fn timing() -> Timing {
    Timing {
        ping_every: Duration::from_millis(20),
        silence_max: DEADLINE,
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        flush_max: DEADLINE,
        call_idle_max: Duration::from_secs(5),
        ..Timing::default()
    }
}

/// For the tests of silence itself.
fn impatient() -> Timing {
    Timing { silence_max: Duration::from_millis(200), ..timing() }
}

#[derive(Default)]
struct Seen {
    frames: Vec<(NodeId, FrameKind, Bytes)>,
    deliveries: usize,
    ups: usize,
    downs: usize,
}

/// Records what arrives, and lets a test wait for it.
#[derive(Default)]
struct Recorder {
    seen: Mutex<Seen>,
    changed: Condvar,
    answer: Option<Answer>,
}

type Answer = Box<dyn Fn(Bytes) -> Bytes + Send + Sync>;

impl Recorder {
    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock());
        self.changed.notify_all();
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        let mut seen = self.seen.lock();
        while !is_so(&seen) {
            let is_late = self.changed.wait_until(&mut seen, deadline).timed_out();
            assert!(!is_late, "waited in vain until {what}");
        }
    }
}

impl Receive for Recorder {
    fn frames(&self, from: NodeId, frames: &mut Vec<(FrameKind, Bytes)>) {
        assert!(frames.iter().all(|(_, payload)| payload.as_ref() != b"panic"), "as asked");
        self.note(|seen| {
            seen.deliveries += 1;
            seen.frames.extend(frames.drain(..).map(|(kind, payload)| (from, kind, payload)));
        });
    }

    fn peer_up(&self, _: NodeId) {
        self.note(|seen| seen.ups += 1);
    }

    fn peer_down(&self, _: NodeId) {
        self.note(|seen| seen.downs += 1);
    }

    fn call(&self, from: Option<NodeId>, request: Bytes) -> Reply {
        if let Some(answer) = &self.answer {
            let reply = answer(request);
            return Box::pin(async move { reply });
        }
        Box::pin(async move {
            if request.as_ref() == b"never" {
                std::future::pending::<()>().await;
            }
            Bytes::from(format!("{from:?} said {}", String::from_utf8_lossy(&request)))
        })
    }
}

struct Node {
    outbox: Outbox,
    recorder: Arc<Recorder>,
    address: SocketAddr,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    fn start(node: NodeId) -> Self {
        Self::start_at(node, BlockingListener::bind("127.0.0.1:0").unwrap())
    }

    fn start_at(node: NodeId, listener: BlockingListener) -> Self {
        Self::start_with(node, listener, timing())
    }

    fn start_impatient(node: NodeId) -> Self {
        Self::start_with(node, BlockingListener::bind("127.0.0.1:0").unwrap(), impatient())
    }

    fn start_with(node: NodeId, listener: BlockingListener, timing: Timing) -> Self {
        let address = listener.local_addr().unwrap();
        let identity = Identity { node, cluster: 7, address: address.to_string() };
        let outbox = Outbox::new(identity, Arc::new(SystemClock::new()), timing);
        Self::serve(outbox, listener, Recorder::default())
    }

    fn serve(outbox: Outbox, listener: BlockingListener, recorder: Recorder) -> Self {
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (recorder, shutdown) = (Arc::new(recorder), Shutdown::new());
        let (serving, receive, stop) = (outbox.clone(), recorder.clone(), shutdown.clone());
        let body = move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                serve(listener, serving, receive, stop).await.unwrap();
            });
        };
        let thread = Some(Builder::new().spawn(body).unwrap());
        Self { outbox, recorder, address, shutdown, thread }
    }

    fn stop(&mut self) {
        self.shutdown.request();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    fn knows(&self, peer: NodeId, address: SocketAddr) {
        self.outbox.set_peer(peer, &address.to_string());
        self.recorder.wait("a peer is up", |seen| seen.ups == seen.downs + 1);
    }

    fn payloads(&self) -> Vec<Bytes> {
        self.recorder.seen.lock().frames.iter().map(|(_, _, payload)| payload.clone()).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A node that answers calls, for tests of what is built on them.
pub(crate) struct Answering(Node);

impl Answering {
    pub(crate) fn start(answer: impl Fn(Bytes) -> Bytes + Send + Sync + 'static) -> Self {
        let listener = BlockingListener::bind("127.0.0.1:0").unwrap();
        let identity = Identity { node: B, cluster: 7, address: String::new() };
        let outbox = Outbox::new(identity, Arc::new(SystemClock::new()), timing());
        let recorder = Recorder { answer: Some(Box::new(answer)), ..Recorder::default() };
        Self(Node::serve(outbox, listener, recorder))
    }

    pub(crate) fn address(&self) -> String {
        self.0.address.to_string()
    }
}

pub(crate) fn hello_for_calls() -> Hello {
    hello_from(A, Purpose::Call)
}

fn hello_from(sender: NodeId, purpose: Purpose) -> Hello {
    Hello { purpose, cluster: 7, sender, receiver: NodeId::NONE, address: String::new() }
}

/// A peer played by the test itself, over a plain socket.
struct Actor {
    stream: BlockingStream,
    decoder: FrameDecoder,
    unread: Vec<u8>,
}

impl Actor {
    fn new(stream: BlockingStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream, decoder: FrameDecoder::new(1 << 20), unread: Vec::new() }
    }

    fn dial(node: &Node, hello: &Hello) -> Self {
        let mut actor = Self::new(BlockingStream::connect(node.address).unwrap());
        actor.say(FrameKind::HELLO, |out| hello.encode(out));
        assert_eq!(actor.hear().unwrap().0, FrameKind::WELCOME);
        actor
    }

    fn accept(listener: &BlockingListener, node: NodeId) -> Self {
        let mut actor = Self::new(listener.accept().unwrap().0);
        assert_eq!(actor.hear().unwrap().0, FrameKind::HELLO);
        actor.say(FrameKind::WELCOME, |out| Welcome { cluster: 7, node }.encode(out));
        actor
    }

    fn say(&mut self, kind: FrameKind, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut batch = FrameBatch::new();
        assert!(batch.push_with(kind, fill));
        self.stream.write_all(batch.as_bytes()).unwrap();
    }

    /// The next frame, or `None` when the other end closed.
    fn hear(&mut self) -> Option<(FrameKind, Bytes)> {
        loop {
            let mut input = self.unread.as_slice();
            let frame = self.decoder.next(&mut input).unwrap();
            self.unread = input.to_vec();
            if frame.is_some() {
                return frame;
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(bytes) => self.unread = buffer[..bytes].to_vec(),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("waited in vain for a frame or the end: {error}"),
            }
        }
    }

    fn wait_for_the_end(mut self) {
        while self.hear().is_some() {}
    }
}

// INV-NET7
#[test]
fn frames_arrive_once_and_in_order() {
    let (a, b) = (Node::start(A), Node::start(B));
    a.knows(B, b.address);
    // Large enough to fill the socket now and then, so that both ways to it are taken.
    let filler = vec![0; 20_000];
    for number in 0..2_000_u32 {
        let fill = |out: &mut Vec<u8>| {
            out.extend(number.to_le_bytes());
            out.extend(&filler[..number as usize * 10]);
        };
        assert!(a.outbox.send_with(B, KIND, fill), "frame {number} was not taken");
    }
    b.recorder.wait("2000 frames came", |seen| seen.frames.len() >= 2_000);
    let numbers: Vec<u32> =
        b.payloads().iter().map(|p| u32::from_le_bytes(p[..4].try_into().unwrap())).collect();
    assert_eq!(numbers, (0..2_000).collect::<Vec<_>>());
    assert!(
        b.recorder.seen.lock().frames.iter().all(|(from, kind, _)| (*from, *kind) == (A, KIND))
    );
}

#[test]
fn a_batch_leaves_in_one_write_and_arrives_in_few_deliveries() {
    let (a, b) = (Node::start(A), Node::start(B));
    a.knows(B, b.address);
    let mut batch = FrameBatch::new();
    for number in 0..1_000_u32 {
        assert!(batch.push(KIND, &number.to_le_bytes()));
    }
    assert!(a.outbox.send_all(B, &batch));
    b.recorder.wait("1000 frames came", |seen| seen.frames.len() == 1_000);
    let stats = &a.outbox.stats()[0];
    // Pings are written too; a batch of this size fits any socket's buffer.
    assert!(stats.writes_total < 100, "{} writes", stats.writes_total);
    assert!(stats.frames_sent_total >= 1_000);
    assert!(b.recorder.seen.lock().deliveries < 100);
}

#[test]
fn a_node_that_is_called_learns_its_caller_and_calls_back() {
    let (a, b) = (Node::start(A), Node::start(B));
    a.knows(B, b.address);
    b.recorder.wait("the caller is up", |seen| seen.ups == 1);
    assert!(b.outbox.send(A, KIND, b"answer"));
    a.recorder.wait("the answer came", |seen| !seen.frames.is_empty());
    assert!(a.outbox.last_heard(B).is_some());
}

// INV-NET8
#[test]
fn a_peer_that_goes_and_returns_is_connected_again_and_nothing_is_taken_between() {
    let a = Node::start(A);
    let mut b = Node::start(B);
    a.knows(B, b.address);
    b.stop();
    a.recorder.wait("the peer is down", |seen| seen.downs == 1);
    assert!(!a.outbox.is_connected(B));
    assert!(!a.outbox.send(B, KIND, b"lost"));
    let b = Node::start_at(B, BlockingListener::bind(b.address).unwrap());
    a.recorder.wait("the peer is up again", |seen| seen.ups == 2);
    assert!(a.outbox.send(B, KIND, b"kept"));
    b.recorder.wait("a frame came", |seen| !seen.frames.is_empty());
    assert_eq!(b.payloads(), [Bytes::from_static(b"kept")]);
}

/// Bytes as they stand in docs/formats.md. If this fails, the protocol has a new version.
#[test]
fn the_format_of_version_3_stays() {
    let mut batch = FrameBatch::new();
    let hello = Hello { receiver: B, address: "a:1".to_owned(), ..hello_from(A, Purpose::Link) };
    assert!(batch.push_with(FrameKind::HELLO, |out| hello.encode(out)));
    assert_eq!(hex(batch.as_bytes()), "0e00000070367bcaf04b535444030107010203613a31");
    let mut entry = raft::eraftpb::Entry::new();
    (entry.term, entry.index, entry.data) = (5, 301, Bytes::from_static(b"SET"));
    let mut message = raft::eraftpb::Message::new();
    message.msg_type = raft::eraftpb::MessageType::MsgAppend;
    (message.to, message.from, message.term) = (2, 1, 5);
    (message.log_term, message.index, message.commit) = (4, 300, 299);
    message.priority = -1;
    message.entries = vec![entry].into();
    let mut payload = Vec::new();
    message::encode(ShardId(9), &message, &mut payload);
    assert_eq!(hex(&payload), "09031202010504ac02ab020000000001010005ad020353455400");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_peer_that_calls_is_dialed_at_once_however_long_the_pause() {
    let listener = BlockingListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let pause = Duration::from_secs(60);
    let patient = Timing { backoff_min: pause, backoff_max: pause, ..timing() };
    let a = Node::start_with(A, BlockingListener::bind("127.0.0.1:0").unwrap(), patient);
    a.outbox.set_peer(B, &address.to_string());
    // The first try fails, and the pause of at least half a minute begins.
    drop(listener.accept().unwrap());
    drop(listener);
    let b = Node::start_at(B, BlockingListener::bind(address).unwrap());
    b.knows(A, a.address);
    a.recorder.wait("the peer is up", |seen| seen.ups == 1);
}

/// Panics when a link comes up.
struct Fragile;

impl Receive for Fragile {
    fn frames(&self, _: NodeId, _: &mut Vec<(FrameKind, Bytes)>) {}

    fn peer_up(&self, _: NodeId) {
        panic!("as asked");
    }

    fn peer_down(&self, _: NodeId) {}

    fn call(&self, _: Option<NodeId>, request: Bytes) -> Reply {
        Box::pin(async move { request })
    }
}

#[test]
fn a_link_that_panics_ends_the_transport_for_its_supervisor_to_restart() {
    let b = Node::start(B);
    let identity = Identity { node: A, cluster: 7, address: String::new() };
    let outbox = Outbox::new(identity, Arc::new(SystemClock::new()), timing());
    outbox.set_peer(B, &b.address.to_string());
    let ended = block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serving = serve(listener, outbox.clone(), Arc::new(Fragile), Shutdown::new());
        tokio::time::timeout(DEADLINE, serving).await.unwrap()
    });
    assert!(matches!(ended, Err(ServeError::LinkFell { peer: B })), "{ended:?}");
    assert!(!outbox.is_connected(B));
}

#[test]
fn a_transport_that_is_restarted_goes_on_with_the_peers_it_knew() {
    let (mut a, b) = (Node::start(A), Node::start(B));
    a.knows(B, b.address);
    a.stop();
    assert!(!a.outbox.send(B, KIND, b"lost"));
    let listener = BlockingListener::bind("127.0.0.1:0").unwrap();
    let a = Node::serve(a.outbox.clone(), listener, Recorder::default());
    a.recorder.wait("the peer is up again", |seen| seen.ups == 1);
    assert!(a.outbox.send(B, KIND, b"kept"));
    b.recorder.wait("a frame came", |seen| !seen.frames.is_empty());
}

#[test]
fn a_removed_peer_is_told_down_and_takes_nothing() {
    let (a, b) = (Node::start(A), Node::start(B));
    a.knows(B, b.address);
    a.outbox.remove_peer(B);
    a.recorder.wait("the peer is down", |seen| seen.downs == 1);
    assert!(!a.outbox.send(B, KIND, b"late"));
}

#[test]
fn a_peer_that_does_not_read_holds_no_more_than_the_queue() {
    let listener = BlockingListener::bind("127.0.0.1:0").unwrap();
    let a = Node::start_impatient(A);
    a.outbox.set_peer(B, &listener.local_addr().unwrap().to_string());
    let actor = Actor::accept(&listener, B);
    a.recorder.wait("the peer is up", |seen| seen.ups == 1);
    let payload = vec![0; 1 << 20];
    let mut taken = 0;
    while a.outbox.send(B, KIND, &payload) {
        taken += 1;
        assert!(taken < 200, "the queue has no bound");
        assert!(a.outbox.stats()[0].queued_bytes <= PEER_QUEUE_BYTES_MAX);
    }
    assert!(a.outbox.stats()[0].frames_dropped_total >= 1);
    // No progress and no pong: given up in the end, and the queue with it.
    a.recorder.wait("the peer is down", |seen| seen.downs == 1);
    assert_eq!(a.outbox.stats()[0].queued_bytes, 0);
    drop(actor);
}

#[test]
fn a_frame_larger_than_the_queue_still_gets_through() {
    let (a, b) = (Node::start(A), Node::start(B));
    a.knows(B, b.address);
    let payload = vec![5; PEER_QUEUE_BYTES_MAX + 1];
    assert!(a.outbox.send(B, KIND, &payload));
    b.recorder.wait("the frame came", |seen| !seen.frames.is_empty());
    assert_eq!(b.payloads()[0], payload);
}

#[test]
fn a_peer_that_answers_no_ping_is_given_up() {
    let listener = BlockingListener::bind("127.0.0.1:0").unwrap();
    let a = Node::start_impatient(A);
    a.outbox.set_peer(B, &listener.local_addr().unwrap().to_string());
    let _silent = Actor::accept(&listener, B);
    a.recorder.wait("the peer is down", |seen| seen.ups == 1 && seen.downs == 1);
}

#[test]
fn a_caller_that_says_nothing_is_let_go() {
    let b = Node::start_impatient(B);
    Actor::dial(&b, &hello_from(A, Purpose::Link)).wait_for_the_end();
}

#[test]
fn what_is_not_a_frame_ends_that_connection_and_no_other() {
    let (a, b) = (Node::start(A), Node::start(B));
    a.knows(B, b.address);
    for nonsense in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        // A length within the bound, then a checksum that does not match.
        [&5_u32.to_le_bytes()[..], &[0; 20]].concat(),
        (u32::MAX).to_le_bytes().to_vec(),
    ] {
        let mut stranger = Actor::new(BlockingStream::connect(b.address).unwrap());
        stranger.stream.write_all(&nonsense).unwrap();
        stranger.wait_for_the_end();
        let mut peer = Actor::dial(&b, &hello_from(NodeId(3), Purpose::Link));
        peer.stream.write_all(&nonsense).unwrap();
        peer.wait_for_the_end();
    }
    assert!(a.outbox.send(B, KIND, b"still here"));
    b.recorder.wait("a frame came", |seen| !seen.frames.is_empty());
    assert_eq!(a.recorder.seen.lock().downs, 0);
}

#[test]
fn a_stranger_is_read_no_more_than_a_hello() {
    let b = Node::start(B);
    let mut stranger = Actor::new(BlockingStream::connect(b.address).unwrap());
    let length = u32::try_from(HELLO_BYTES_MAX + 1).unwrap();
    stranger.stream.write_all(&length.to_le_bytes()).unwrap();
    stranger.wait_for_the_end();
}

// INV-NET9
#[test]
fn a_newer_link_of_a_peer_silences_the_older() {
    let b = Node::start(B);
    let mut older = Actor::dial(&b, &hello_from(A, Purpose::Link));
    older.say(KIND, |out| out.extend(b"1"));
    b.recorder.wait("the first frame came", |seen| seen.frames.len() == 1);
    let mut newer = Actor::dial(&b, &hello_from(A, Purpose::Link));
    newer.say(KIND, |out| out.extend(b"2"));
    b.recorder.wait("the second frame came", |seen| seen.frames.len() == 2);
    older.wait_for_the_end();
    assert_eq!(b.payloads(), [Bytes::from_static(b"1"), Bytes::from_static(b"2")]);
}

#[test]
fn a_receiver_that_panics_costs_its_connection_only() {
    let (a, b) = (Node::start(A), Node::start(B));
    a.knows(B, b.address);
    assert!(a.outbox.send(B, KIND, b"panic"));
    a.recorder.wait("the peer is up again", |seen| seen.ups == 2 && seen.downs == 1);
    assert!(a.outbox.send(B, KIND, b"fine"));
    b.recorder.wait("a frame came", |seen| !seen.frames.is_empty());
    assert_eq!(b.payloads(), [Bytes::from_static(b"fine")]);
}

#[test]
fn a_node_that_stops_lets_out_what_it_took() {
    let (mut a, b) = (Node::start(A), Node::start(B));
    a.knows(B, b.address);
    let payload = vec![3; 1 << 20];
    let taken = (0..50).filter(|_| a.outbox.send(B, KIND, &payload)).count();
    a.stop();
    b.recorder.wait("all that was taken came", |seen| seen.frames.len() == taken);
    assert_eq!(taken, 50);
}

#[test]
fn the_wrong_node_at_an_address_is_not_taken_for_the_peer() {
    let (a, b) = (Node::start(A), Node::start(B));
    a.outbox.set_peer(NodeId(3), &b.address.to_string());
    // A link to the right one shows that time has passed for the wrong one too.
    a.knows(B, b.address);
    assert!(!a.outbox.is_connected(NodeId(3)));
    let error = block_on(call(
        &b.address.to_string(),
        &a.outbox.hello(Purpose::Call, NodeId(3)),
        b"x",
        DEADLINE,
    ))
    .unwrap_err();
    let refusal = Refusal::Receiver { wanted: NodeId(3), actual: B };
    assert!(matches!(error, CallError::Refused { source, .. } if source == refusal), "{error}");
    assert!(!error.may_have_happened());
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
