//! A peer that reads slower than it is sent to: what it is owed first comes first.

use raft::eraftpb::{Message, MessageType};

use super::*;

const APPEND_BYTES: usize = 60_000;
const APPENDS: u64 = 300;

fn send(node: &Node, kind: MessageType, index: u64, context: usize) -> bool {
    let mut raft = Message::new();
    (raft.msg_type, raft.index, raft.to, raft.from) = (kind, index, B.0, A.0);
    raft.context = vec![0; context].into();
    node.outbox.send_with(B, FrameKind::RAFT, |out| message::encode(ShardId(7), &raft, out))
}

// INV-NET10
#[test]
fn an_acknowledgement_does_not_wait_for_the_entries_before_it() {
    let listener = BlockingListener::bind("127.0.0.1:0").unwrap();
    let a = Node::start(A);
    a.outbox.set_peer(B, &listener.local_addr().unwrap().to_string());
    let mut actor = Actor::accept(&listener, B);
    a.recorder.wait("the peer is up", |seen| seen.ups == 1);
    // The actor reads nothing meanwhile: its system takes a few megabytes, the others wait.
    for index in 0..APPENDS {
        assert!(send(&a, MessageType::MsgAppend, index, APPEND_BYTES));
    }
    let waiting = a.outbox.backlog(B).unwrap();
    assert!(waiting > 4 * APPEND_BYTES, "only {waiting} bytes wait");
    assert!(send(&a, MessageType::MsgAppendResponse, 1, 0));
    let (mut appends, mut overtaken) = (Vec::new(), None);
    while appends.len() < usize::try_from(APPENDS).unwrap() {
        let (kind, payload) = actor.hear().expect("the link stays up");
        if kind == FrameKind::RAFT {
            let (_, raft) = message::decode(&payload).unwrap();
            match raft.msg_type {
                MessageType::MsgAppend => appends.push(raft.index),
                _ => overtaken = Some(usize::try_from(APPENDS).unwrap() - appends.len()),
            }
        }
    }
    assert_eq!(appends, (0..APPENDS).collect::<Vec<_>>());
    // What had left the queue, a piece of it included, was not to be overtaken any more.
    let overtaken = overtaken.expect("the acknowledgement came before the last append");
    assert!((overtaken + 2) * APPEND_BYTES >= waiting, "{overtaken} of {waiting} bytes");
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn the_system_holds_little_that_it_has_not_begun_to_send() {
    let listener = BlockingListener::bind("127.0.0.1:0").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stream = runtime.block_on(net::Dialer::Tcp.connect(&address)).unwrap();
    let net::Stream::Tcp(stream) = &stream else { panic!("a real socket") };
    let lowat = socket2::SockRef::from(stream).tcp_notsent_lowat().unwrap();
    assert!(lowat <= 64 * 1024, "{lowat}");
}
