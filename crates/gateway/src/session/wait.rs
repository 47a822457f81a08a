//! WAIT: how many replicas hold what this connection wrote.
//! Owns: the answer, which needs no waiting. Never: blocks.

use crate::dispatch::Verdict;
use crate::reply::Failure;

use super::{Answer, SessionCall, integer};

impl<'a> SessionCall<'_, '_, 'a> {
    /// `WAIT numreplicas timeout`
    ///
    /// A write is acknowledged once a majority of its shard's replicas holds it, so every write of
    /// this connection is on that many nodes already: the leader and (majority - 1) others. More is
    /// not waited for, whatever number was asked: the other replicas follow within a round trip.
    pub(super) fn wait(&mut self) -> Answer<'a> {
        integer(self.arg(1)).ok_or(Failure::NotAnInteger)?;
        let timeout = integer(self.arg(2)).ok_or(Failure::TimeoutNotAnInteger)?;
        if timeout < 0 {
            return Err(Failure::NegativeTimeout);
        }
        let cluster = self.turn.door.cluster();
        let replicas = cluster.shards.iter().map(|shard| shard.replicas.len()).min().unwrap_or(1);
        let others = i64::try_from(replicas / 2).unwrap_or(i64::MAX);
        self.reply().integer(others);
        Ok(Verdict::Next)
    }
}
