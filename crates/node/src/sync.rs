//! `sync()`: proof that every replica of every shard holds the same.
//!
//! Owns: asking each shard's leader for a digest at one log index, and comparing what its replicas have
//! there. Never: repairs a difference; a replica that differs is named, and a person must look.

use std::collections::BTreeMap;
use std::time::Duration;

use keystead_types::{LogIndex, NodeId, ShardId};
use tokio::time::{Instant, sleep};

use crate::control::{self, Answer, Question};
use crate::membership::ask;
use crate::node::Node;

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(50);
/// How long one question may take: longer than a digest of a full shard.
const ASK_MAX: Duration = Duration::from_secs(30);

/// Every replica of every shard held the same at these indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Each shard's index, digest, and how many replicas agree.
    pub shards: BTreeMap<ShardId, (LogIndex, u128, usize)>,
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
    /// [`SyncError::Deadline`] if a replica is away or behind; [`SyncError::Differs`] if two differ.
    pub async fn sync(&self, within: Duration) -> Result<SyncReport, SyncError> {
        let began = Instant::now();
        let mut report = SyncReport::default();
        loop {
            let topology = std::sync::Arc::clone(&self.core.routes().topology);
            let mut missing =
                (ShardId::META, "is not known: this node is in no cluster yet".to_owned());
            let mut is_complete = topology.is_founded();
            for (id, shard) in topology.shards() {
                if report.shards.contains_key(id) {
                    continue;
                }
                let replicas: Vec<NodeId> = shard.voters().collect();
                let wanted = topology.replicas_wanted();
                if replicas.len() < wanted || shard.step.is_some() {
                    missing = (*id, format!("has {} of {wanted} voting replicas", replicas.len()));
                    is_complete = false;
                    continue;
                }
                match self.compare(*id, &replicas).await? {
                    Ok((index, digest)) => {
                        report.shards.insert(*id, (index, digest, replicas.len()));
                    }
                    Err(what) => {
                        missing = (*id, what);
                        is_complete = false;
                    }
                }
            }
            if is_complete {
                return Ok(report);
            }
            if began.elapsed() >= within {
                let (shard, what) = missing;
                return Err(SyncError::Deadline {
                    waited_ms: began.elapsed().as_millis(),
                    shard,
                    what,
                });
            }
            sleep(AGAIN).await;
        }
    }

    /// The replicas' digest at one index, or what is missing.
    async fn compare(
        &self,
        id: ShardId,
        replicas: &[NodeId],
    ) -> Result<Result<(LogIndex, u128), String>, SyncError> {
        let Some(leader) = self.leader_now(id) else { return Ok(Err("has no leader".to_owned())) };
        let taken = match self.question(leader, &Question::TakeDigest { shard: id.0 }).await {
            Some(Answer::DigestWillBeAt { index }) => index,
            _ => None,
        };
        let Some(index) = taken.map(LogIndex) else {
            return Ok(Err(format!("is not led by {leader} any more")));
        };
        let mut first: Option<(NodeId, u128)> = None;
        for replica in replicas {
            let answer =
                self.question(*replica, &Question::DigestAt { shard: id.0, index: index.0 }).await;
            let digest = match answer {
                Some(Answer::Digest { digest: Some(digest) }) => {
                    u128::from_str_radix(&digest, 16).ok()
                }
                _ => None,
            };
            let Some(digest) = digest else { return Ok(Err(format!("is not level on {replica}"))) };
            match first {
                Some((one, one_digest)) if one_digest != digest => {
                    let (other, other_digest) = (*replica, digest);
                    return Err(SyncError::Differs {
                        shard: id,
                        index,
                        one,
                        one_digest,
                        other,
                        other_digest,
                    });
                }
                Some(_) => {}
                None => first = Some((*replica, digest)),
            }
        }
        Ok(first.map(|(_, digest)| (index, digest)).ok_or_else(|| "has no replica".to_owned()))
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
