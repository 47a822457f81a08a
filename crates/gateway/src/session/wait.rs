//! WAIT, WAITAOF: how many replicas, and how many disks, hold what this connection wrote.
//! Owns: the answers, which need no waiting. Never: blocks.

use keystead_store::CommandError;

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
        self.check_timeout(2)?;
        let others = self.replicas_beside_leader();
        self.reply().integer(others);
        Ok(Verdict::Next)
    }

    /// `WAITAOF numlocal numreplicas timeout`
    ///
    /// With `durability = "fsync"` the same nodes have it on disk. With `"replicated"` disks follow at an interval, and nobody
    /// counts which: then it is none, and an error if the leader's was asked for.
    pub(super) fn wait_aof(&mut self) -> Answer<'a> {
        let local = integer(self.arg(1)).ok_or(Failure::NotAnInteger)?;
        if !(0..=1).contains(&local) {
            return Err(Failure::Command(&CommandError::OutOfRangeBetween { min: 0, max: 1 }));
        }
        if integer(self.arg(2)).is_none_or(|replicas| replicas < 0) {
            return Err(Failure::Command(&CommandError::NotPositive));
        }
        self.check_timeout(3)?;
        let is_on_disk = self.turn.door.status().durability == "fsync";
        if !is_on_disk && local > 0 {
            return Err(Failure::DisksFollow);
        }
        let others = if is_on_disk { self.replicas_beside_leader() } else { 0 };
        let mut reply = self.reply();
        reply.array(2);
        reply.integer(i64::from(is_on_disk));
        reply.integer(others);
        Ok(Verdict::Next)
    }

    fn check_timeout(&self, at: usize) -> Result<(), Failure<'a>> {
        match integer(self.arg(at)).ok_or(Failure::TimeoutNotAnInteger)? {
            ..0 => Err(Failure::NegativeTimeout),
            0.. => Ok(()),
        }
    }

    /// How many replicas beside the leader hold every write that was acknowledged, whichever shard it went to.
    fn replicas_beside_leader(&self) -> i64 {
        let cluster = self.turn.door.cluster();
        let replicas = cluster.shards.iter().map(|shard| shard.replicas.len()).min().unwrap_or(1);
        i64::try_from(replicas / 2).unwrap_or(i64::MAX)
    }
}
