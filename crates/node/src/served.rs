//! Telling clients that waited what they were served: from the leader that applied it to the node that speaks for them.
//!
//! Owns: the frame for it, and whose waiters nobody speaks for any more. Never: keeps anything: what is lost on the way
//! is asked for again (`waits.rs`), and the shard's state remembers the latest answers.
//! Called by `shard.rs` at the end of an entry, on the replica that leads, and by `receiver.rs`.
//!
//! ```text
//! served:  | life u64 | number u64 | reply |        of the waiters of that life of the receiving node, which; little endian
//! ```

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes};
use keystead_replication::transport::{FrameBatch, FrameKind};
use keystead_store::{Effect, WaiterId};
use keystead_types::NodeId;

use crate::core::Core;
use crate::mailbox::Letter;

/// Tells every client among `effects` that was served.
pub(crate) fn tell(core: &Core, effects: &[Effect]) {
    let mut away: BTreeMap<u64, FrameBatch> = BTreeMap::new();
    for effect in effects {
        let Effect::Served { id, reply } = effect else { continue };
        if id.home == core.me.0 {
            hand_over(core, id.life, id.number, Bytes::copy_from_slice(reply));
            continue;
        }
        let is_taken = away.entry(id.home).or_default().push_with(FrameKind::SERVED, |out| {
            out.put_u64_le(id.life);
            out.put_u64_le(id.number);
            out.extend_from_slice(reply);
        });
        if !is_taken {
            tracing::error!(
                home = id.home,
                "an answer to a client that waited is longer than a frame may be; the client is left in doubt"
            );
        }
    }
    for (home, frames) in away {
        // What is not taken is asked for: its node finds that the shard does not know the waiter any more.
        let _is_taken = core.post.post(NodeId(home), &frames);
    }
}

/// Takes in what another node served to a client of this one.
pub(crate) fn take(core: &Core, mut frame: Bytes) {
    if frame.len() < 16 {
        return tracing::error!("a peer sent an answer to a client that is none");
    }
    let (life, number) = (frame.get_u64_le(), frame.get_u64_le());
    hand_over(core, life, number, frame);
}

fn hand_over(core: &Core, life: u64, number: u64, reply: Bytes) {
    let (door, number) = door_and_number(number);
    if life != core.life {
        return;
    }
    if let Some(mailbox) = core.mailbox(door) {
        mailbox.put(Letter::Served { number, reply });
        mailbox.ring();
    }
}

/// The name of a waiter of this node's present life.
pub(crate) fn waiter_id(core: &Core, door: u32, number: u32) -> WaiterId {
    let number = u64::from(door) << 32 | u64::from(number);
    WaiterId { home: core.me.0, life: core.life, number }
}

#[expect(clippy::cast_possible_truncation, reason = "taken apart as `waiter_id` composed it")]
const fn door_and_number(number: u64) -> (u32, u32) {
    ((number >> 32) as u32, number as u32)
}

/// Of those who wait, by node and life, the lives before which nobody speaks for them: those of nodes that cannot be
/// reached, and this node's own earlier ones.
pub(crate) fn gone<'a>(
    core: &'a Core,
    homes: impl Iterator<Item = (u64, u64)> + 'a,
) -> impl Iterator<Item = (u64, u64)> + 'a {
    homes.filter_map(|(home, life)| {
        if home == core.me.0 {
            return (life < core.life).then_some((home, core.life));
        }
        let is_gone = core.post.backlog(NodeId(home)).is_none();
        is_gone.then_some((home, life.saturating_add(1)))
    })
}
