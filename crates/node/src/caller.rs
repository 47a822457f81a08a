//! A door for many callers at once: each call is a future.
//!
//! Owns: tickets and who waits for them. Never: a thread; endings are handed out on whichever thread
//! brings them. Used by control tasks and by the embedded API; a gateway thread has a door of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use keystead_resp::Protocol;
use keystead_types::ShardId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::door::{Access, Door, Outcome, Refusal, Run, Ticket, UnknownReason};
use crate::execute::NodeDoor;

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
    state: Mutex<State>,
    /// Set by the waker while somebody else has the door.
    is_rung: AtomicBool,
}

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
                    caller.rung();
                }
            }));
            let state = State { door, waiting: BTreeMap::new(), next_ticket: 0 };
            Self { state: Mutex::new(state), is_rung: AtomicBool::new(false) }
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
        {
            let mut state = self.state.lock();
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.waiting.insert(ticket, sender);
            state.door.submit(Run {
                ticket: Ticket(ticket),
                shard,
                commands,
                protocol: Protocol::Resp3,
                access,
            });
            state.door.flush();
        }
        self.drain_if_rung();
        async { receiver.await.unwrap_or(CallOutcome::Unknown(UnknownReason::Stopped)) }
    }

    /// Looks at the door, for what needs no run.
    pub fn with_door<T>(&self, look: impl FnOnce(&NodeDoor) -> T) -> T {
        look(&self.state.lock().door)
    }

    /// The door has something. Whoever holds it at the moment sees to it; else this thread does.
    fn rung(&self) {
        self.is_rung.store(true, Ordering::SeqCst);
        self.drain_if_rung();
    }

    fn drain_if_rung(&self) {
        // ORDER: the flag is looked at again after the lock was let go: a ring in between found the lock
        // taken and left the work to this thread.
        while self.is_rung.load(Ordering::SeqCst) {
            let Some(mut state) = self.state.try_lock() else { return };
            self.is_rung.store(false, Ordering::SeqCst);
            let State { door, waiting, .. } = &mut *state;
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
}
