//! The one door that all callers of a handle share.
//!
//! Owns: which call waits for which ticket, and who stands at the door. Never: parses a reply, retries,
//! knows a time: the door ends every run by its own deadline.
//!
//! Nobody waits for the door. A caller lays its run on the desk, lets those who are ready beside it do the same, and tries
//! the door; if another thread stands there, that thread takes the run along with its own. So callers who come together leave in
//! one flush, which is one write to the log. The node's threads do the same when they ring: the thread that decided a run puts its
//! reply down and wakes the caller itself, without a thread between.
//!
//! INV-EMB1: whoever lets go of the door looks for work again before leaving, so work that was laid down
//! by somebody who found the door taken is always seen (INV-N5).
//! INV-EMB2: every call that was taken ends exactly once, [`close`](Exchange::close) included.

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

use keystead_node::tracking::Origin;
use keystead_node::{Access, Attended, Door, Outcome, Run, Ticket, UnknownReason};
use keystead_resp::{Protocol, ReplyWriter};
use keystead_store::command::Query;
use keystead_types::{DatabaseId, ShardId, Slot};
use parking_lot::Mutex;
use slab::Slab;

use super::host::Host;
use super::slot::{Pending, Promise, promise};
use crate::error::Error;

/// Calls of one process under way at a time. Past it a call is refused: somebody starts more than the
/// node can take, and each holds its value in memory.
pub(crate) const CALLS_MAX: usize = 65_536;
/// How replies reach the handle: the protocol with more types.
pub(crate) const PROTOCOL: Protocol = Protocol::Resp3;

/// Where a run belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// To the shard that serves this slot.
    Slot(Slot),
    /// To this shard.
    Shard(ShardId),
}

/// A run's reply, or why there is none.
pub(crate) type Ending = Result<Vec<u8>, Error>;

/// See the module.
pub(crate) struct Exchange {
    /// What is announced: [`QUEUED`] and [`RUNG`].
    door: Attended<AnyDoor>,
    desk: Mutex<Desk>,
}

type AnyDoor = Box<dyn Door + Send>;

/// Runs were laid on the desk.
const QUEUED: u8 = 1;
/// The door has completions to tell.
const RUNG: u8 = 2;

#[derive(Default)]
struct Desk {
    calls: Slab<Call>,
    queue: Vec<Queued>,
    /// Grows with every call: tells a call from an earlier one at the same place in the slab.
    serial: u32,
    is_closed: bool,
}

struct Call {
    promise: Promise<Ending>,
    serial: u32,
    access: Access,
}

struct Queued {
    ticket: Ticket,
    database: DatabaseId,
    place: Place,
    access: Access,
    commands: Vec<u8>,
}

impl Exchange {
    /// Opens a door of `host`, which was just started.
    pub(crate) fn open(host: &dyn Host) -> Arc<Self> {
        let open = |bell| host.open_door(bell).expect("a host that was started has a node");
        Arc::new_cyclic(|this| Self {
            // Something may have rung while there was nobody to hear it.
            door: Attended::new(open(bell_of(this)), RUNG),
            desk: Mutex::default(),
        })
    }

    /// Takes another door of `host`, whose first one is void, and ends the calls under way.
    pub(crate) fn reopen(self: &Arc<Self>, host: &dyn Host) {
        match host.open_door(bell_of(&Arc::downgrade(self))) {
            Some(door) => self.door.with(|place| *place = door),
            None => self.refuse(),
        }
        self.end_all();
        self.look_for(RUNG);
    }

    /// Lays a run down; it leaves with the next flush, at latest by its own [`leave`](Laid::leave) or drop.
    ///
    /// # Errors
    /// [`Error::Closed`] and [`Error::TooManyCalls`]; all others come as the ending.
    pub(crate) fn submit(
        &self,
        (database, place): (DatabaseId, Place),
        access: Access,
        commands: Vec<u8>,
    ) -> Result<Laid<'_>, Error> {
        let (promise, pending) = promise();
        let mut desk = self.desk.lock();
        if desk.is_closed {
            return Err(Error::Closed);
        }
        if desk.calls.len() >= CALLS_MAX {
            return Err(Error::TooManyCalls { calls_max: CALLS_MAX });
        }
        let ticket = desk.enter(promise, access);
        desk.queue.push(Queued { ticket, database, place, access, commands });
        drop(desk);
        Ok(Laid { pending, departure: Departure(self) })
    }

    /// Answers a command that only reads, if this node may do so at once. `None`: it may not.
    pub(crate) fn try_read(&self, place: Place, query: &Query<'_>) -> Option<Vec<u8>> {
        self.with_door(|door| {
            let shard = shard_of(door, place)?;
            let mut reply = Vec::new();
            let writer = &mut ReplyWriter::new(&mut reply, PROTOCOL);
            door.try_read(shard, query, writer)?;
            Some(reply)
        })
    }

    /// Looks at the door's map of the cluster. `look` must neither block nor submit.
    pub(crate) fn with_door<T>(&self, look: impl FnOnce(&dyn Door) -> T) -> T {
        let seen = self.door.with(|door| look(&**door));
        self.look_for(0);
        seen
    }

    /// Refuses further calls; those under way go on.
    pub(crate) fn refuse(&self) {
        self.desk.lock().is_closed = true;
    }

    /// Refuses further calls and ends those under way: reads as closed, writes as unknown.
    pub(crate) fn close(&self) {
        self.refuse();
        self.end_all();
    }

    fn end_all(&self) {
        let mut desk = self.desk.lock();
        desk.queue.clear();
        let calls: Vec<Call> = desk.calls.drain().collect();
        drop(desk);
        let wakers = calls.into_iter().filter_map(|call| {
            let ending = match call.access {
                Access::Read => Error::Closed,
                Access::Write => Error::Unknown { reason: UnknownReason::Stopped },
            };
            call.promise.fill(Err(ending))
        });
        wakers.for_each(Waker::wake);
    }

    /// Adds to the work to be done and does all there is, unless another thread is at it.
    fn look_for(&self, new: u8) {
        let work = |door: &mut AnyDoor, work| {
            let mut wakers = Vec::new();
            self.work_at(door, work, &mut wakers);
            wakers
        };
        // A woken task may run at once on this thread and come back here: the door is free by then.
        self.door.attend(new, work, |wakers| wakers.into_iter().for_each(Waker::wake));
    }

    fn work_at(&self, door: &mut AnyDoor, work: u8, wakers: &mut Vec<Waker>) {
        if work & QUEUED != 0 {
            // Empty, if somebody's departure took it along: most often, when many leave together.
            let queue = std::mem::take(&mut self.desk.lock().queue);
            for queued in queue {
                self.pass(door, queued, wakers);
            }
            door.flush();
        }
        if work & RUNG != 0 {
            // Held throughout, so that one lock does for all that ended. The door does not call back
            // into the desk: ringing touches only `work` and `door`.
            let mut desk = self.desk.lock();
            door.completions(&mut |ticket, outcome| {
                let Some(call) = desk.leave(ticket) else { return };
                wakers.extend(call.promise.fill(ending_of(call.access, outcome)));
            });
        }
    }

    /// Hands one run to the door, or ends it if nobody knows where it belongs.
    fn pass(&self, door: &mut AnyDoor, queued: Queued, wakers: &mut Vec<Waker>) {
        let Queued { ticket, database, place, access, commands } = queued;
        let commands = commands.as_slice();
        match shard_of(&**door, place) {
            Some(shard) => {
                let (protocol, origin) = (PROTOCOL, Origin::NOBODY);
                door.submit(Run { ticket, shard, database, commands, protocol, access, origin });
            }
            None => {
                let call = self.desk.lock().leave(ticket);
                wakers.extend(call.and_then(|call| call.promise.fill(Err(Error::NoTopology))));
            }
        }
    }
}

/// A run that lies on the desk.
pub(crate) struct Laid<'a> {
    pending: Pending<Ending>,
    departure: Departure<'a>,
}

impl Laid<'_> {
    /// Sends it on its way, with whatever else lies there, and waits for its end.
    ///
    /// Yields once before: calls that are polled beside it (`join`, tasks that are ready) lay their runs down meanwhile, and
    /// all leave in one flush. A call that is alone pays a poll for it.
    pub(crate) async fn leave(self) -> Ending {
        let Self { pending, departure } = self;
        let mut has_yielded = false;
        poll_fn(|context| {
            if std::mem::replace(&mut has_yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        drop(departure);
        pending.await
    }
}

/// Flushes when it is dropped: a call that is cancelled before it left must not leave its run lying.
struct Departure<'a>(&'a Exchange);

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        self.0.look_for(QUEUED);
    }
}

/// What a door rings with.
fn bell_of(exchange: &Weak<Exchange>) -> Arc<dyn Fn() + Send + Sync> {
    let exchange = Weak::clone(exchange);
    Arc::new(move || {
        if let Some(exchange) = exchange.upgrade() {
            exchange.look_for(RUNG);
        }
    })
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("calls", &self.desk.lock().calls.len()).finish()
    }
}

impl Desk {
    fn enter(&mut self, promise: Promise<Ending>, access: Access) -> Ticket {
        self.serial = self.serial.wrapping_add(1);
        let at = self.calls.insert(Call { promise, serial: self.serial, access });
        Ticket(u64::from(self.serial) << 32 | at as u64)
    }

    /// Takes the call out that a ticket stands for; `None` if it ended otherwise meanwhile.
    fn leave(&mut self, ticket: Ticket) -> Option<Call> {
        let at = usize::try_from(ticket.0 & u64::from(u32::MAX)).ok()?;
        let is_same = self.calls.get(at)?.serial == (ticket.0 >> 32) as u32;
        is_same.then(|| self.calls.remove(at))
    }
}

fn shard_of(door: &dyn Door, place: Place) -> Option<ShardId> {
    match place {
        Place::Slot(slot) => door.shard_of(slot),
        Place::Shard(shard) => Some(shard),
    }
}

fn ending_of(access: Access, outcome: Outcome<'_>) -> Ending {
    match (outcome, access) {
        (Outcome::Done(reply), _) => Ok(reply.to_vec()),
        (Outcome::Refused(refusal), _) => Err(Error::from(refusal)),
        (Outcome::Unknown(reason), Access::Write) => Err(Error::Unknown { reason }),
        (Outcome::Unknown(UnknownReason::Stopped), Access::Read) => Err(Error::Closed),
        (Outcome::Unknown(reason), Access::Read) => Err(Error::ReadLost { reason }),
    }
}
