//! CLUSTER SYNC: waiting for all replicas to be level, and comparing them.
//! Owns: its argument. Never: asks a replica; the node does, and its answer is the reply.

use keystead_node::{Access, internal};
use keystead_resp::{Args, encode};
use keystead_types::{ShardId, limits};

use crate::dispatch::{Dispatch, Verdict};
use crate::reply::Failure;
use crate::session::integer;

impl Dispatch<'_, '_> {
    /// CLUSTER SYNC [timeout-ms].
    pub(crate) fn compare_replicas(&mut self, args: Args<'_>) -> Verdict {
        let patience_ms = match args.get(2).map(integer) {
            None => limits::SYNC_MS_DEFAULT,
            Some(Some(..0)) => return self.fail(&Failure::NegativeTimeout),
            Some(Some(given)) if given.cast_unsigned() <= limits::SYNC_MS_MAX => {
                given.cast_unsigned()
            }
            Some(_) => return self.fail(&Failure::TimeoutNotAnInteger),
        };
        if args.len() > 3 {
            return self.fail(&Failure::Command(&keystead_store::CommandError::Syntax));
        }
        let (mut run, patience_ms) = (Vec::new(), patience_ms.to_string());
        encode::command(&mut run, [internal::SYNC, patience_ms.as_bytes()]);
        self.submit_single(ShardId::META, Access::Read, &run)
    }
}
