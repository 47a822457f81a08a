//! `sync()`: proof that every replica of every shard holds the same.
//!
//! Owns: asking each shard's leader for a digest at one log index, comparing what its replicas have there, also
//! for those who ask over the wire (CLUSTER SYNC). Never: repairs a difference; a replica that
//! differs is named, and a person must look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keystead_replication::{Doubt, Ending, Replies};
use keystead_resp::ReplyWriter;
use keystead_supervisor::{ChildContext, ChildError};
use keystead_types::{Clock, LogIndex, NodeId, ShardId};
use tokio::time::{Instant, sleep, timeout};

use crate::control::{self, Answer, Question};
use crate::membership::ask;
use crate::node::Node;
use crate::shard::protocol_of;

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(50);
/// How long one question may take: longer than a digest of a full shard.
const ASK_MAX: Duration = Duration::from_secs(30);

/// What is known of every shard's replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Each shard.
    pub shards: BTreeMap<ShardId, ShardSync>,
    /// How long it took.
    pub waited: Duration,
}

/// What is known of one shard's replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardSync {
    /// The index of its log at which digests were taken.
    pub index: LogIndex,
    /// How many replicas it should have.
    pub wanted: usize,
    /// The replicas that had applied everything up to there, and their digests.
    pub digests: Vec<(NodeId, u128)>,
    /// Why it is not proven that all replicas are level; nothing if it is.
    pub missing: Option<String>,
}

impl ShardSync {
    /// True if every replica that should exist has told its digest at one index.
    #[must_use]
    pub fn is_level(&self) -> bool {
        self.missing.is_none()
    }

    /// Two replicas that differ at the same index, if there are any.
    #[must_use]
    pub fn difference(&self) -> Option<[(NodeId, u128); 2]> {
        let first = *self.digests.first()?;
        let other = self.digests.iter().find(|(_, digest)| *digest != first.1)?;
        Some([first, *other])
    }
}

impl SyncReport {
    /// Whether this proves that every replica of every shard holds the same.
    ///
    /// # Errors
    /// [`SyncError::Differs`] if two replicas differ; [`SyncError::Deadline`] if a replica is away or behind.
    pub fn proven(self) -> Result<Self, SyncError> {
        for (shard, seen) in &self.shards {
            if let Some([(one, one_digest), (other, other_digest)]) = seen.difference() {
                let (shard, index) = (*shard, seen.index);
                return Err(SyncError::Differs {
                    shard,
                    index,
                    one,
                    one_digest,
                    other,
                    other_digest,
                });
            }
        }
        for (shard, seen) in &self.shards {
            if let Some(what) = &seen.missing {
                let (shard, what, waited_ms) = (*shard, what.clone(), self.waited.as_millis());
                return Err(SyncError::Deadline { waited_ms, shard, what });
            }
        }
        Ok(self)
    }

    /// Writes the reply of CLUSTER SYNC: a map per shard.
    fn write(&self, reply: &mut ReplyWriter<'_>) {
        reply.array(self.shards.len());
        for (shard, seen) in &self.shards {
            reply.map(6);
            reply.bulk(b"shard");
            reply.integer(i64::from(shard.0));
            reply.bulk(b"index");
            reply.integer(seen.index.0.cast_signed());
            reply.bulk(b"level");
            reply.integer(i64::try_from(seen.digests.len()).unwrap_or(i64::MAX));
            reply.bulk(b"wanted");
            reply.integer(i64::try_from(seen.wanted).unwrap_or(i64::MAX));
            reply.bulk(b"equal");
            reply.integer(i64::from(seen.difference().is_none()));
            reply.bulk(b"missing");
            reply.bulk(seen.missing.as_deref().unwrap_or_default().as_bytes());
        }
    }
}

/// Why not all replicas are known to be equal.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The deadline passed.
    #[error(
        "not all replicas are level after {waited_ms} ms: {shard} {what}; is a node down or still catching up?"
    )]
    Deadline {
        /// How long it took.
        waited_ms: u128,
        /// A shard that is not.
        shard: ShardId,
        /// What was missing last.
        what: String,
    },
    /// Two replicas differ at the same index: a bug, or memory that lies.
    #[error(
        "{shard} differs at log index {index}: {one} has {one_digest:032x}, {other} has {other_digest:032x}; stop the node that is \
         wrong, move its data directory away and let it join again, and report this"
    )]
    Differs {
        /// The shard.
        shard: ShardId,
        /// The index.
        index: LogIndex,
        /// One node.
        one: NodeId,
        /// Its digest.
        one_digest: u128,
        /// Another.
        other: NodeId,
        /// Its digest.
        other_digest: u128,
    },
}

impl Node {
    /// Waits until every replica of every shard has applied all that was acknowledged before the call, and
    /// compares their digests at one index of each shard's log.
    ///
    /// Costs each replica a walk over its keys. Cancel safe.
    ///
    /// # Errors
    /// As [`SyncReport::proven`].
    pub async fn sync(&self, within: Duration) -> Result<SyncReport, SyncError> {
        self.compare_all(within).await.proven()
    }

    /// As [`sync`](Self::sync), but tells what it found, also if not all are level `within` that time.
    pub async fn compare_all(&self, within: Duration) -> SyncReport {
        let began = Instant::now();
        let mut report = SyncReport::default();
        loop {
            let topology = Arc::clone(&self.core.routes().topology);
            if !topology.is_founded() {
                let missing = Some("is not known: this node is in no cluster yet".to_owned());
                report.shards.insert(ShardId::META, ShardSync { missing, ..ShardSync::default() });
            }
            for (id, shard) in topology.shards() {
                // What was proven stays so for what the call promises, and a difference does not heal.
                let seen = report.shards.get(id);
                if seen.is_some_and(|seen| seen.is_level() || seen.difference().is_some()) {
                    continue;
                }
                let seen = self.compare(shard, topology.replicas_wanted()).await;
                report.shards.insert(*id, seen);
            }
            let is_settled = |seen: &ShardSync| seen.is_level() || seen.difference().is_some();
            report.waited = began.elapsed();
            if report.shards.values().all(is_settled) || report.waited >= within {
                return report;
            }
            sleep(AGAIN).await;
        }
    }

    /// The replicas' digests at one index, and what is missing.
    async fn compare(&self, shard: &keystead_topology::Shard, wanted: usize) -> ShardSync {
        let replicas: Vec<NodeId> = shard.voters().collect();
        let mut seen = ShardSync { wanted, ..ShardSync::default() };
        if replicas.len() < wanted || shard.step.is_some() {
            seen.missing = Some(format!("has {} of {wanted} voting replicas", replicas.len()));
            return seen;
        }
        let Some(leader) = self.leader_now(shard.id) else {
            seen.missing = Some("has no leader".to_owned());
            return seen;
        };
        let taken = self.question(leader, &Question::TakeDigest { shard: shard.id.0 }).await;
        let Some(Answer::DigestWillBeAt { index: Some(index) }) = taken else {
            seen.missing = Some(format!("is not led by {leader} any more"));
            return seen;
        };
        seen.index = LogIndex(index);
        for replica in replicas {
            let question = Question::DigestAt { shard: shard.id.0, index };
            let digest = match self.question(replica, &question).await {
                Some(Answer::Digest { digest: Some(digest) }) => {
                    u128::from_str_radix(&digest, 16).ok()
                }
                _ => None,
            };
            match digest {
                Some(digest) => seen.digests.push((replica, digest)),
                None => seen.missing = Some(format!("is not level on {replica}")),
            }
        }
        seen
    }

    fn leader_now(&self, id: ShardId) -> Option<NodeId> {
        let routes = self.core.routes();
        self.core
            .leader_of(id, &routes)
            .or_else(|| self.view_of_cluster().leaders.get(&id).copied())
    }

    /// Asks a node, this one included, a question; `None` if it does not answer.
    async fn question(&self, node: NodeId, question: &Question) -> Option<Answer> {
        if node == self.core.me {
            let me = self.weak().upgrade()?;
            return Some(control::answer(me, Some(node), &question.to_bytes()).await);
        }
        let address = self.address_of(node)?;
        ask(self, &address, question, ASK_MAX).await.ok()
    }
}

/// The task that compares for those who ask over the wire.
pub(crate) async fn run(node: Arc<Node>, context: ChildContext) -> Result<(), ChildError> {
    tokio::select! {
        () = serve(&node) => Ok(()),
        () = context.shutdown() => Ok(()),
        fault = context.fault("sync") => Err(fault.into()),
    }
}

async fn serve(node: &Node) {
    loop {
        let held = node.questions.syncs.next().await;
        let Some(request) = held.question() else { continue };
        let within = request.deadline.since(node.core.clock.monotonic_now());
        let form = request.part.form;
        // A question to a node that has just gone may take longer than there is time.
        let report = timeout(within + ASK_MAX, node.compare_all(within)).await;
        let ending = match report {
            Ok(report) => {
                let mut replies = Replies::default();
                report.write(&mut ReplyWriter::new(&mut replies.bytes, protocol_of(form)));
                replies.ends.push(replies.bytes.len());
                Ending::Done(replies)
            }
            Err(_) => Ending::Unknown(Doubt::Deadline),
        };
        held.end(ending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(digests: &[(u64, u128)], missing: Option<&str>) -> ShardSync {
        ShardSync {
            index: LogIndex(7),
            wanted: 3,
            digests: digests.iter().map(|(node, digest)| (NodeId(*node), *digest)).collect(),
            missing: missing.map(str::to_owned),
        }
    }

    fn report(shards: Vec<ShardSync>) -> SyncReport {
        let shards = (0..).map(ShardId).zip(shards).collect();
        SyncReport { shards, waited: Duration::from_millis(5) }
    }

    #[test]
    fn only_equal_digests_of_all_replicas_are_a_proof() {
        let equal = seen(&[(1, 9), (2, 9), (3, 9)], None);
        let behind = seen(&[(1, 9), (3, 9)], Some("is not level on n2"));
        let differing = seen(&[(1, 9), (2, 9), (3, 8)], None);
        report(vec![equal.clone(), equal.clone()]).proven().unwrap();
        let error = report(vec![equal.clone(), behind.clone()]).proven().unwrap_err();
        assert!(matches!(error, SyncError::Deadline { shard: ShardId(1), waited_ms: 5, .. }));
        // A difference is worse than a replica that is behind.
        let error = report(vec![behind, differing]).proven().unwrap_err();
        let SyncError::Differs { shard, one, other, .. } = error else { panic!("{error}") };
        assert_eq!((shard, one, other), (ShardId(1), NodeId(1), NodeId(3)));
    }

    #[test]
    fn the_reply_names_what_is_missing() {
        let mut bytes = Vec::new();
        let behind = seen(&[(1, 9), (3, 8)], Some("is not level on n2"));
        report(vec![behind])
            .write(&mut ReplyWriter::new(&mut bytes, keystead_resp::Protocol::Resp3));
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "*1\r\n%6\r\n$5\r\nshard\r\n:0\r\n$5\r\nindex\r\n:7\r\n$5\r\nlevel\r\n:2\r\n$6\r\nwanted\r\n:3\r\n\
             $5\r\nequal\r\n:0\r\n$7\r\nmissing\r\n$18\r\nis not level on n2\r\n"
        );
    }
}
