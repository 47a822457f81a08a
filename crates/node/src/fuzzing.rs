//! Doors for the fuzz targets of `fuzz/`: what other nodes send, and what a log holds, from any bytes.
//!
//! Owns: one function for each. Never: part of the product; compiled only with the feature `fuzzing`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keystead_replication::{DumpStep, Machine, Part, Replies};
use keystead_resp::skip_reply;
use keystead_store::{Loader, StoreConfig};
use keystead_topology::Topology;
use keystead_types::{ApplyContext, LogIndex, ShardId, UnixMillis};

use crate::control::{Answer, Question};
use crate::forward::{Answer as ForwardedAnswer, AnswerEnding, Call};
use crate::identity::Identity;
use crate::meta::MetaMachine;
use crate::shard::{Shard, ShardMachine, protocol_of};

const CONFIG: StoreConfig = StoreConfig { hash_seed: 42, has_every_slot: true };

/// Reads `bytes` as a forwarded call. One that is taken comes back as it was, and a replica can apply what it asks
/// for (INV-N3): two replicas, of which only one writes replies, come to the same state, and every part gets whole
/// replies, as many as it has commands.
///
/// # Panics
/// If any of that is not so.
pub fn forwarded_call(bytes: &[u8], context: ApplyContext) {
    let Ok(call) = Call::read(Bytes::copy_from_slice(bytes)) else { return };
    let mut again = Vec::new();
    let run = (call.shard, call.access, call.parts.as_slice(), &call.commands[..]);
    Call::write(&mut again, call.id, run, call.patience);
    let read_again = Call::read(Bytes::from(again)).expect("what was read can be written");
    assert_eq!(read_again.parts, call.parts, "the parts of a call");
    assert_eq!(read_again.commands, call.commands, "the commands of a call");
    assert_eq!((read_again.id, read_again.patience), (call.id, call.patience));
    assert!(call.patience <= Duration::from_secs(600), "patience is bounded: {:?}", call.patience);
    apply_everywhere(context, &call.commands, &call.parts);
}

/// Applies a run on a leader, which answers, and on a follower, which does not.
fn apply_everywhere(context: ApplyContext, commands: &[u8], parts: &[Part]) {
    let shard = || Shard::new(ShardId(1), CONFIG);
    let (mut leader, mut follower) = (ShardMachine::empty(shard()), ShardMachine::empty(shard()));
    let mut replies = Replies::default();
    leader.apply(&context, commands, parts, &mut replies);
    assert_eq!(replies.ends.len(), parts.len(), "one end for each part");
    let mut begin = 0;
    for (part, end) in parts.iter().zip(&replies.ends) {
        are_whole_replies(&replies.bytes[begin..*end], part);
        begin = *end;
    }
    assert_eq!(begin, replies.bytes.len(), "nothing behind the last part's replies");
    follower.apply(&context, commands, &[], &mut Replies::default());
    assert_eq!(leader.digest(), follower.digest(), "INV-R1: leader and follower differ");
    let mut unread = Replies::default();
    leader.read(context.now, commands, parts, &mut unread);
    assert_eq!(leader.digest(), follower.digest(), "a read changes nothing");
    assert_eq!(dumped(&mut leader).digest(), follower.digest(), "a snapshot holds another state");
}

fn are_whole_replies(mut replies: &[u8], part: &Part) {
    while !replies.is_empty() {
        let skipped = skip_reply(replies);
        let Ok(Some(length)) = skipped else {
            panic!(
                "{skipped:?} in a reply in {:?}: {}",
                protocol_of(part.form),
                replies.escape_ascii()
            );
        };
        replies = &replies[length..];
    }
}

/// Another machine, loaded from a dump of this one.
fn dumped(machine: &mut ShardMachine) -> ShardMachine {
    let mut bytes = Vec::new();
    machine.begin_dump();
    while machine.dump_step(&mut bytes, 1000) == DumpStep::More {}
    let mut loader = Loader::new(CONFIG);
    let loaded = loader.feed(&bytes).and_then(|()| loader.finish());
    let store = loaded.expect("what was dumped can be loaded");
    ShardMachine::new(Shard::new(ShardId(1), CONFIG), store)
}

/// Reads `bytes` as the answer to a forwarded call; ends that are taken lie within the replies.
///
/// # Panics
/// If they do not.
pub fn forwarded_answer(bytes: &[u8]) {
    let Ok(answer) = ForwardedAnswer::read(Bytes::copy_from_slice(bytes)) else { return };
    if let AnswerEnding::Done { ends, replies } = answer.ending {
        let mut begin = 0;
        for end in ends {
            assert!(begin <= end && end <= replies.len(), "ends rise within the replies");
            begin = end;
        }
        assert_eq!(begin, replies.len(), "every byte belongs to a part");
    }
}

/// Reads `bytes` as a question and as an answer of the control plane, and as a node's identity; what is understood
/// comes back as it was.
///
/// # Panics
/// If it does not.
pub fn control(bytes: &[u8]) {
    if let Ok(question) = serde_json::from_slice::<Question>(bytes) {
        let again: Question =
            serde_json::from_slice(&question.to_bytes()).expect("was written here");
        assert_eq!(again, question);
    }
    if let Ok(answer) = serde_json::from_slice::<Answer>(bytes) {
        let written = answer.to_bytes();
        let again: Answer = serde_json::from_slice(&written).expect("was written here");
        assert_eq!(again.to_bytes(), written);
    }
    let _is_understood = Identity::parse("node.json".as_ref(), bytes).is_ok();
}

/// Applies `commands`, each the line of JSON of a metadata command or anything else, to two metadata machines. They
/// come to the same state, and a snapshot of it is read back as it was.
///
/// # Panics
/// If any of that is not so.
pub fn metadata(commands: &[&[u8]]) {
    let machine = || MetaMachine::new(Topology::new(), Arc::new(|_| {}));
    let (mut leader, mut follower) = (machine(), machine());
    for (position, command) in commands.iter().enumerate() {
        let mut entry = Vec::new();
        keystead_resp::encode::command(&mut entry, [b"META", *command]);
        let part = Part { ticket: 0, bytes: u32::try_from(entry.len()).unwrap_or(0), form: 2 };
        let context =
            ApplyContext { index: LogIndex(position as u64 + 1), now: UnixMillis(1), seed: 0 };
        let mut replies = Replies::default();
        leader.apply(&context, &entry, &[part], &mut replies);
        are_whole_replies(&replies.bytes, &part);
        follower.apply(&context, &entry, &[], &mut Replies::default());
    }
    assert_eq!(leader.digest(), follower.digest(), "INV-R1: leader and follower differ");
    let mut dump = Vec::new();
    leader.begin_dump();
    while leader.dump_step(&mut dump, 1000) == DumpStep::More {}
    let loaded = Topology::load(&dump).expect("what was dumped can be loaded");
    let again = MetaMachine::new(loaded, Arc::new(|_| {}));
    assert_eq!(again.digest(), leader.digest(), "a snapshot holds another topology");
}
