//! One io thread: its connections, its door, and the pump that joins them.
//!
//! Owns: the thread's runtime, the connections dealt to it, one door. Never: a listener (see
//! `listener.rs`), state that outlives the thread.
//!
//! A turn of the runtime goes like this. All sockets that became ready wake their tasks; each task
//! reads, executes reads, and submits writes to the door; the first to submit wakes the pump, which
//! stands behind them in the runtime's queue (first in, first out) and flushes once for all of them,
//! and for those that come meanwhile ([`Gathering`]).
//! When the node has outcomes it wakes the pump, which writes each connection's replies at once,
//! without a detour over the connection's task.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use keystead_node::Door;
use keystead_node::pubsub::{Listener, Waiting};
use keystead_supervisor::{Nursery, Shutdown};
use slab::Slab;
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use crate::connection::{Connection, Stream};
use crate::local::{Local, Shared};
use crate::pipeline::{Pipeline, Turn};
use crate::registry::{Ends, Permit, flag};
use crate::session::Session;
use crate::wake::{PumpSignal, Wake};
use crate::window::{Address, NO_CONNECTION, THREAD_CONNECTIONS_MAX};

/// How often idle times are looked at and coarse time is renewed.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

/// What one io thread owns; shared by its tasks.
pub(crate) struct IoThread<S> {
    door: RefCell<Box<dyn Door>>,
    local: RefCell<Local>,
    connections: RefCell<Slab<Rc<Connection<S>>>>,
    pump: Pump,
    gathering: RefCell<Gathering>,
    /// Kept for its memory; empty between two turns of the pump.
    complete: RefCell<Vec<u32>>,
    /// As `complete`.
    waiting: RefCell<Waiting>,
}

/// Wakes the pump, from the thread itself or from elsewhere.
struct Pump {
    signal: Arc<PumpSignal>,
    /// Spares the atomic operations while the pump is already to run.
    is_woken: Cell<bool>,
}

impl<S: Stream> IoThread<S> {
    /// A thread without connections; `wake` is what `door` was made with.
    pub(crate) fn new(
        shared: Arc<Shared>,
        position: usize,
        door: Box<dyn Door>,
        wake: &Wake,
    ) -> Rc<Self> {
        Rc::new(Self {
            door: RefCell::new(door),
            local: RefCell::new(Local::new(shared, position, wake.clone())),
            connections: RefCell::default(),
            pump: Pump { signal: Arc::clone(&wake.signal), is_woken: Cell::new(false) },
            gathering: RefCell::default(),
            complete: RefCell::default(),
            waiting: RefCell::default(),
        })
    }

    /// Serves one more connection, as a task of `nursery`.
    pub(crate) fn adopt(self: &Rc<Self>, stream: S, ends: Ends, permit: Permit, nursery: &Nursery) {
        let mut connections = self.connections.borrow_mut();
        if connections.len() >= THREAD_CONNECTIONS_MAX {
            return;
        }
        let entry = connections.vacant_entry();
        let slot = u32::try_from(entry.key()).expect("a thread has at most 2^20 connections");
        let pipeline = {
            let local = &mut *self.local.borrow_mut();
            local.stats.connections.add(1);
            let (shared, place) = (&local.shared, (Arc::clone(&local.inbox), slot));
            let registration = shared.registry.register(ends, place, local.now_s);
            Pipeline::new(Session::new(registration, &shared.config), local)
        };
        let connection = Rc::new(Connection::new(stream, pipeline, slot, permit));
        entry.insert(Rc::clone(&connection));
        drop(connections);

        let place = Place { thread: Rc::clone(self), slot };
        // A task that is refused drops its place, and with it the connection.
        if let Err(refusal) = nursery.spawn_local(async move {
            let thread = &place.thread;
            poll_fn(|cx| connection.poll(cx, thread)).await;
        }) {
            tracing::warn!(%refusal, "connection closed");
        }
    }

    /// Runs one turn of a connection, and has the pump run if something was submitted.
    #[inline]
    pub(crate) fn turn<R>(&self, slot: u32, run: impl FnOnce(&mut Turn<'_>) -> R) -> R {
        let local = &mut *self.local.borrow_mut();
        let result = {
            let door = &mut **self.door.borrow_mut();
            run(&mut Turn { door, local, slot })
        };
        if local.unflushed > 0 && !self.pump.is_woken.replace(true) {
            self.pump.signal.set();
        }
        result
    }

    /// Runs something that needs only what the connections share.
    #[inline]
    pub(crate) fn with_local<R>(&self, run: impl FnOnce(&mut Local) -> R) -> R {
        run(&mut self.local.borrow_mut())
    }

    /// Passes outcomes to connections and submissions to the node; never returns.
    pub(crate) async fn pump(&self) {
        // Unconstrained: one turn may write to every connection of the thread, and every write counts
        // against the budget of the task that makes it.
        loop {
            unconstrained(poll_fn(|cx| {
                self.pump.signal.begin_look(cx.waker());
                self.pump.is_woken.set(true);
                self.collect();
                self.deliver();
                let unflushed = self.local.borrow().unflushed;
                if self.gathering.borrow_mut().waits_for_more(unflushed) {
                    return Poll::Ready(());
                }
                self.flush();
                self.pump.is_woken.set(false);
                Poll::Pending
            }))
            .await;
            // Behind the tasks of all sockets that have become ready meanwhile.
            tokio::task::yield_now().await;
        }
    }

    fn collect(&self) {
        let mut complete = self.complete.take();
        {
            let connections = self.connections.borrow();
            let local = &mut *self.local.borrow_mut();
            self.door.borrow_mut().completions(&mut |ticket, outcome| {
                let address = Address::of(ticket);
                if address.slot == NO_CONNECTION {
                    local.releases.end(address.serial, &outcome);
                    return;
                }
                let Some(connection) = connections.get(address.slot as usize) else { return };
                if connection.end_run(address, outcome, local) {
                    complete.push(address.slot);
                }
            });
        }
        if !complete.is_empty() {
            self.with_local(|local| local.moment = local.shared.clock.monotonic_now());
        }
        for slot in complete.drain(..) {
            let connection = self.connections.borrow().get(slot as usize).cloned();
            if let Some(connection) = connection {
                connection.finish_window(self);
            }
        }
        *self.complete.borrow_mut() = complete;
    }

    fn flush(&self) {
        let unflushed = std::mem::take(&mut self.local.borrow_mut().unflushed);
        if unflushed > 0 {
            self.door.borrow_mut().flush();
            self.with_local(|local| Arc::clone(&local.shared.config.bus)).flush();
        }
    }

    /// Passes messages to the connections that listen, and sends each what it got in one write.
    fn deliver(&self) {
        let mut waiting = self.waiting.take();
        self.local.borrow().inbox.take(&mut waiting);
        let mut touched = BTreeSet::new();
        for delivery in waiting.deliveries.drain(..) {
            let slot = delivery.to.slot;
            if let Some(connection) = self.listening(delivery.to) {
                self.with_local(|local| connection.push(&delivery, local));
                touched.insert(slot);
            }
        }
        for listener in waiting.overrun.drain(..) {
            if let Some(connection) = self.listening(listener) {
                tracing::warn!(
                    client = listener.client,
                    "client does not take its messages; connection closed"
                );
                connection.client().kill();
            }
        }
        let monitors = self.with_local(|local| local.monitors.clone());
        for slot in monitors {
            let connection = self.connections.borrow().get(slot as usize).cloned();
            if let Some(connection) = connection {
                self.with_local(|local| connection.push_feed(local));
                touched.insert(slot);
            }
        }
        for slot in touched {
            let connection = self.connections.borrow().get(slot as usize).cloned();
            if let Some(connection) = connection {
                connection.send_pushed(self);
            }
        }
        *self.waiting.borrow_mut() = waiting;
    }

    /// The connection of a listener, if it is still the same.
    fn listening(&self, listener: Listener) -> Option<Rc<Connection<S>>> {
        let connections = self.connections.borrow();
        let connection = connections.get(listener.slot as usize)?;
        (connection.client().id == listener.client).then(|| Rc::clone(connection))
    }

    /// Renews coarse time and closes connections that were idle for too long; never returns.
    pub(crate) async fn keep_house(&self) {
        let mut ticks = tokio::time::interval(HOUSEKEEPING_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (now_s, timeout_s) = self.with_local(|local| {
                local.now_s = local.shared.now_s();
                (local.now_s, local.shared.live.idle_timeout_s())
            });
            self.with_local(Local::renew_rates);
            self.turn(NO_CONNECTION, |turn| turn.local.release_again(turn.door));
            for (_, connection) in &*self.connections.borrow() {
                connection.publish();
                let active_at_s = connection.client().active_at_s.load(Ordering::Relaxed);
                let client = connection.client();
                let is_listening =
                    client.is_listening() || client.has_flag(flag::MONITOR) || client.is_waiting();
                let idle_s = u64::from(now_s.saturating_sub(active_at_s));
                if timeout_s > 0 && idle_s > timeout_s && !is_listening {
                    connection.client().kill();
                }
            }
        }
    }

    /// Lets connections go on whenever a pause (CLIENT PAUSE) is over; never returns.
    pub(crate) async fn end_pauses(&self) {
        let mut pauses = self.with_local(|local| local.shared.attention.pauses());
        loop {
            let left = self.with_local(|local| {
                let (attention, now) =
                    (&local.shared.attention, local.shared.clock.monotonic_now());
                attention.end_old_pause(now);
                pauses.borrow_and_update().map(|pause| pause.until.since(now))
            });
            // Commands that a milder pause lets through go on at once.
            self.for_each(|connection| connection.resume(self));
            let changed = match left {
                None => pauses.changed().await,
                Some(left) => tokio::select! {
                    changed = pauses.changed() => changed,
                    () = tokio::time::sleep(left) => Ok(()),
                },
            };
            if changed.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Lets every connection end: behind the reply to its next command, or after a short silence; those
    /// of clients that never pause in time to tell them so.
    pub(crate) async fn drain(&self, nursery: &Nursery) {
        let (timeout, silence, linger) = self.with_local(|local| {
            local.is_draining = true;
            let config = &local.shared.config;
            (config.drain_timeout, config.drain_silence, config.linger_timeout)
        });
        self.for_each(Connection::wake);
        let begun = Instant::now();
        let last_moment = timeout.saturating_sub(linger).max(timeout / 2);
        let closing = async {
            tokio::time::sleep_until(begun + silence.min(last_moment)).await;
            self.for_each(Connection::end_patience);
            tokio::time::sleep_until(begun + last_moment).await;
            self.for_each(Connection::begin_close);
            std::future::pending().await
        };
        let drained = tokio::select! {
            drained = nursery.drain(begun + timeout) => drained,
            never = closing => never,
        };
        if drained.aborted > 0 {
            tracing::warn!(
                aborted = drained.aborted,
                "connections closed with replies under way, since the time to drain was over"
            );
        }
    }

    fn for_each(&self, each: impl Fn(&Connection<S>)) {
        for (_, connection) in &*self.connections.borrow() {
            each(connection);
        }
    }
}

/// Whether a flush waits for runs that are about to come.
///
/// What a flush costs, here and on the nodes it goes to, hardly depends on how many runs are in it. Where many clients are at
/// work, more come while the first are looked at: so sockets are asked again, as long as that brings something. Nothing is
/// ever waited for: a run that comes alone leaves at once.
#[derive(Debug, Default)]
struct Gathering {
    looks: u8,
    /// Runs there were at the last look.
    seen: usize,
    /// Runs that left with the last flush.
    flushed: usize,
}

/// Times that the sockets are asked again before a flush. Further ones bring little and hold up the first run.
const LOOKS_MAX: u8 = 2;

impl Gathering {
    fn waits_for_more(&mut self, unflushed: usize) -> bool {
        let has_company = unflushed > 1 || self.flushed > 1;
        if unflushed > self.seen && has_company && self.looks < LOOKS_MAX {
            (self.looks, self.seen) = (self.looks + 1, unflushed);
            return true;
        }
        if unflushed > 0 {
            *self = Self { flushed: unflushed, ..Self::default() };
        }
        false
    }
}

/// A connection's place in its thread; given up when the task ends, however it ends.
struct Place<S: Stream> {
    thread: Rc<IoThread<S>>,
    slot: u32,
}

impl<S: Stream> Drop for Place<S> {
    fn drop(&mut self) {
        let removed = self.thread.connections.borrow_mut().try_remove(self.slot as usize);
        if let Some(connection) = removed {
            connection.depart(&self.thread);
        }
    }
}

/// Runs `body` until it ends or a stop is requested; true if the stop came first.
pub(crate) async fn unless_stopped(shutdown: &Shutdown, body: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = shutdown.requested() => true,
        () = body => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_comes_alone_leaves_at_once() {
        let mut gathering = Gathering::default();
        for _ in 0..3 {
            assert!(!gathering.waits_for_more(1));
            assert!(!gathering.waits_for_more(0), "nothing to flush");
        }
    }

    #[test]
    fn sockets_are_asked_again_as_long_as_that_brings_something() {
        let mut gathering = Gathering::default();
        assert!(gathering.waits_for_more(3));
        assert!(!gathering.waits_for_more(3), "nothing came");
        assert!(gathering.waits_for_more(1), "the last flush had company");
        assert!(gathering.waits_for_more(2));
        assert!(!gathering.waits_for_more(9), "the first has waited long enough");
        assert!(gathering.waits_for_more(1));
        assert!(!gathering.waits_for_more(1));
        assert!(!gathering.waits_for_more(1), "it came alone twice");
    }
}
