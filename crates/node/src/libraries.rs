//! Libraries of functions: one order of their changes for all shards.
//!
//! Owns: the way of FUNCTION LOAD, DELETE, FLUSH and RESTORE through a cluster of several shards. Never: what a library is,
//! or which change wins; that is the store's (INV-FN1).
//!
//! ```text
//! door -> this node:    the command, as a question to the node
//! node -> first shard:  the command, and a question for all libraries behind it; its log is the order
//! node -> other shards: KEYSTEAD.LIBRARIES with all of them and their version; older ones are passed over
//! node -> door:         the first shard's reply, once all have them
//! ```
//! What is spread may be spread again, so a shard that did not answer is asked until the deadline. Behind that the door reads
//! UNCERTAIN, and whoever leads the first shard goes on: once a second it looks whether what its replica holds has
//! reached every shard, as also behind a change of leader. So a node that dies half-way leaves nothing for good.

use std::sync::Arc;
use std::time::Duration;

use keystead_replication::{Doubt, Ending, Rejection, Replies, Role};
use keystead_resp::{encode, skip_reply};
use keystead_supervisor::{ChildContext, ChildError};
use keystead_types::{Clock, Monotonic, ShardId};
use tokio::time::sleep;

use crate::caller::CallOutcome;
use crate::door::{Access, Refusal, UnknownReason};
use crate::internal;
use crate::node::Node;

/// How often the leader of the first shard looks whether all have its libraries.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two tries to reach a shard.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a spread without anybody waiting for it may take.
const SPREAD_MAX: Duration = Duration::from_secs(10);

/// The task.
pub(crate) async fn run(node: Arc<Node>, context: ChildContext) -> Result<(), ChildError> {
    tokio::select! {
        () = serve(&node) => Ok(()),
        () = context.shutdown() => Ok(()),
        fault = context.fault("libraries") => Err(fault.into()),
    }
}

async fn serve(node: &Node) {
    // Nothing is known of what the other shards have: after a start it is spread once, if there are any libraries.
    let mut spread_version = 0;
    loop {
        tokio::select! {
            held = node.questions.libraries.next() => {
                let ending = match held.question() {
                    Some(question) => change(node, &question.commands, question.deadline).await,
                    None => continue,
                };
                held.end(ending);
            }
            () = sleep(LOOK_EVERY) => {
                if let Some((version, libraries)) = held_here(node, spread_version) {
                    let deadline = node.core.clock.monotonic_now().after(SPREAD_MAX);
                    if spread(node, &libraries, deadline).await {
                        spread_version = version;
                    }
                }
            }
        }
    }
}

/// The libraries of the first shard, if this node leads it and they are of another version than `known`.
fn held_here(node: &Node, known: u64) -> Option<(u64, Vec<u8>)> {
    let routes = node.core.routes();
    let first = routes.local(*routes.shards.first()?)?;
    if routes.shards.len() == 1 || first.cell.role() != Role::Leader {
        return None;
    }
    first.libraries_behind(known)
}

/// Has the first shard change its libraries, and all others take them over.
async fn change(node: &Node, command: &[u8], deadline: Monotonic) -> Ending {
    let Some(first) = node.core.routes().shards.first().copied() else {
        return Ending::Rejected { why: Rejection::Expired, commands: Vec::new() };
    };
    let mut run = command.to_vec();
    encode::command(&mut run, [internal::LIBRARIES]);
    let replies = match node.caller.call(first, &run, Access::Write).await {
        CallOutcome::Done(replies) => replies,
        CallOutcome::Refused(refusal) => {
            let why = match refusal {
                Refusal::Overloaded => Rejection::Overloaded,
                Refusal::DiskFull { .. } => Rejection::DiskFull,
                _ => Rejection::Expired,
            };
            return Ending::Rejected { why, commands: Vec::new() };
        }
        CallOutcome::Unknown(reason) => return Ending::Unknown(doubt_of(reason)),
    };
    let Some((reply, libraries)) = apart(&replies) else {
        return Ending::Unknown(Doubt::Deadline);
    };
    if !reply.starts_with(b"-") && !spread(node, libraries, deadline).await {
        return Ending::Unknown(Doubt::Deadline);
    }
    Ending::Done(Replies { bytes: reply.to_vec(), ends: vec![reply.len()] })
}

/// The reply to the command, and the libraries behind it.
fn apart(replies: &[u8]) -> Option<(&[u8], &[u8])> {
    let (reply, rest) = replies.split_at_checked(skip_reply(replies).ok()??)?;
    let head = rest.iter().position(|byte| *byte == b'\n')? + 1;
    let digits = rest.get(1..head.checked_sub(2)?)?;
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((reply, rest.get(head..head.checked_add(length)?)?))
}

/// Gives libraries to every shard but the first; true once all have them or later ones.
async fn spread(node: &Node, libraries: &[u8], deadline: Monotonic) -> bool {
    let mut run = Vec::new();
    encode::command(&mut run, [internal::LIBRARIES, libraries]);
    let mut left: Vec<ShardId> = node.core.routes().shards.iter().skip(1).copied().collect();
    loop {
        // All at once: a call is on its way before its end is awaited.
        let calls: Vec<_> = left
            .iter()
            .map(|shard| (*shard, node.caller.call(*shard, &run, Access::Write)))
            .collect();
        let mut missing = Vec::new();
        for (shard, call) in calls {
            if !matches!(call.await, CallOutcome::Done(_)) {
                missing.push(shard);
            }
        }
        if missing.is_empty() {
            return true;
        }
        if node.core.clock.monotonic_now() >= deadline {
            tracing::warn!(shards = ?missing, "libraries of functions did not reach every shard; tried again");
            return false;
        }
        left = missing;
        sleep(AGAIN).await;
    }
}

const fn doubt_of(reason: UnknownReason) -> Doubt {
    match reason {
        UnknownReason::SnapshotInstalled => Doubt::SnapshotInstalled,
        UnknownReason::ReplicaFailed => Doubt::ReplicaFailed,
        _ => Doubt::Deadline,
    }
}

#[cfg(test)]
mod tests {
    use super::apart;

    #[test]
    fn a_reply_and_libraries_are_told_apart() {
        assert_eq!(
            apart(b"$3\r\nlib\r\n$4\r\n\0\r\n1\r\n"),
            Some((&b"$3\r\nlib\r\n"[..], &b"\0\r\n1"[..]))
        );
        assert_eq!(apart(b"-ERR no\r\n$0\r\n\r\n"), Some((&b"-ERR no\r\n"[..], &b""[..])));
        for cut in [&b""[..], b"+OK\r\n", b"+OK\r\n$9\r\nshort\r\n", b"+OK\r\n:\n", b"+OK\r\n\n"] {
            assert_eq!(apart(cut), None);
        }
    }
}
