//! A door for many callers at once: each call is a future.
//!
//! Owns: tickets and who waits for them. Never: a thread; endings are handed out on whichever thread
//! brings them. Used by control tasks and by the embedded API; a gateway thread has a door of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use keystead_resp::Protocol;
use keystead_types::{DatabaseId, ShardId};
use tokio::sync::oneshot;

use crate::attended::Attended;
use crate::door::{Access, Door, Outcome, Refusal, Run, Ticket, UnknownReason};
use crate::execute::NodeDoor;
use crate::tracking::Origin;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// Executed; the replies as RESP.
    Done(Vec<u8>),
    /// Nothing happened.
    Refused(Refusal),
    /// It may or may not have happened.
    Unknown(UnknownReason),
}

/// See the module.
pub struct Caller {
    state: Attended<State>,
}

/// The door has endings to tell.
const RUNG: u8 = 1;

struct State {
    door: NodeDoor,
    waiting: BTreeMap<u64, oneshot::Sender<CallOutcome>>,
    next_ticket: u64,
}

impl Caller {
    /// A caller with a door that `open` makes for the given waker.
    pub(crate) fn new(open: impl FnOnce(Arc<dyn Fn() + Send + Sync>) -> NodeDoor) -> Arc<Self> {
        Arc::new_cyclic(|weak: &Weak<Self>| {
            let weak = weak.clone();
            let door = open(Arc::new(move || {
                if let Some(caller) = weak.upgrade() {
                    caller.hand_out(RUNG);
                }
            }));
            let state = State { door, waiting: BTreeMap::new(), next_ticket: 0 };
            Self { state: Attended::new(state, 0) }
        })
    }

    /// Executes a run of commands of one shard.
    ///
    /// Dropping the future does not withdraw it.
    pub fn call(
        &self,
        shard: ShardId,
        commands: &[u8],
        access: Access,
    ) -> impl Future<Output = CallOutcome> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        self.state.with(|state| {
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.waiting.insert(ticket, sender);
            state.door.submit(Run {
                ticket: Ticket(ticket),
                shard,
                database: DatabaseId::FIRST,
                commands,
                protocol: Protocol::Resp3,
                access,
                origin: Origin::NOBODY,
            });
            state.door.flush();
        });
        self.hand_out(0);
        async { receiver.await.unwrap_or(CallOutcome::Unknown(UnknownReason::Stopped)) }
    }

    /// Hands out what has ended, unless another thread is at it.
    fn hand_out(&self, new: u8) {
        self.state.attend(new, |state, _rung| state.hand_out(), drop);
    }
}

impl State {
    fn hand_out(&mut self) {
        let Self { door, waiting, .. } = self;
        door.completions(&mut |ticket, outcome| {
            let Some(sender) = waiting.remove(&ticket.0) else { return };
            let outcome = match outcome {
                Outcome::Done(replies) => CallOutcome::Done(replies.to_vec()),
                Outcome::Refused(refusal) => CallOutcome::Refused(refusal),
                Outcome::Unknown(reason) => CallOutcome::Unknown(reason),
            };
            // Nobody listens any more: the caller gave up waiting.
            drop(sender.send(outcome));
        });
    }
}
