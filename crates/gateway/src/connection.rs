//! A connection's socket: when it is read, when it is written, when it is closed.
//!
//! Owns: the stream and its readiness. Never: a command (see `pipeline.rs`). Generic over the stream,
//! so that TLS and simulated networks fit. Driven by two: the connection's own task, woken by its
//! socket, and the thread's pump, which writes replies of finished windows at once. Both run on the
//! connection's thread, one at a time.
//!
//! A socket that is closed with bytes unread, or that receives some after it was closed, answers with a
//! reset, and a reset destroys replies that the client has not read yet. So the sending side ends first,
//! and what still comes is read and dropped until the client closes its side, too (RFC 9293, 3.10.4).
//!
//! INV-G6: a command that crosses the end of its connection is not executed, and its client reads the
//! replies to all earlier ones and then the end, never a reset, if it notices within `linger_timeout`.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use keystead_node::Outcome;
use keystead_node::pubsub::Delivery;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::task::coop;
use tokio::time::Sleep;

use crate::io_thread::IoThread;
use crate::local::Local;
use crate::pipeline::Pipeline;
use crate::registry::{Client, Permit};
use crate::waiting::Withdrawal;
use crate::window::Address;

/// What a connection can be made of: a TCP socket, or anything that behaves like one.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Stream for S {}

/// One client's connection.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    io: RefCell<Io<S>>,
    slot: u32,
    client: Arc<Client>,
    /// True while the task waits for the pump and not for the socket.
    is_paused: Cell<bool>,
    _permit: Permit,
}

#[derive(Debug)]
struct Io<S> {
    stream: S,
    pipeline: Pipeline,
    /// Wakes the connection's task.
    waker: Waker,
    farewell: Option<Farewell>,
    /// When the time of a command that waits is over; kept from one to the next.
    patience: Option<Pin<Box<Sleep>>>,
}

/// A connection of which the end is being told to the client.
#[derive(Debug)]
struct Farewell {
    until: Pin<Box<Sleep>>,
    is_told: bool,
}

impl<S: Stream> Connection<S> {
    /// A connection that nothing was read from yet; `slot` is where its thread keeps it.
    pub(crate) fn new(stream: S, pipeline: Pipeline, slot: u32, permit: Permit) -> Self {
        let client = Arc::clone(pipeline.session.client());
        let io =
            Io { stream, pipeline, waker: Waker::noop().clone(), farewell: None, patience: None };
        Self { io: RefCell::new(io), slot, client, is_paused: Cell::new(false), _permit: permit }
    }

    /// What others know of the connection.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Reads, executes and writes as far as the socket allows; ready once the connection is over.
    pub(crate) fn poll(&self, cx: &mut Context<'_>, thread: &IoThread<S>) -> Poll<()> {
        let io = &mut *self.io.borrow_mut();
        if !io.waker.will_wake(cx.waker()) {
            io.waker = cx.waker().clone();
            self.client.set_waker(io.waker.clone());
        }
        self.is_paused.set(false);
        if self.client.is_killed() {
            return Poll::Ready(());
        }
        loop {
            if io.send(cx, thread).is_err() {
                return Poll::Ready(());
            }
            if io.pipeline.is_finished() {
                return io.part(cx, thread);
            }
            if io.pipeline.is_throttled() && io.pipeline.unsent().is_empty() {
                thread.turn(self.slot, |turn| io.pipeline.advance(turn));
                continue;
            }
            self.attend_wait(io, cx, thread);
            if !io.pipeline.wants_input() {
                self.is_paused.set(true);
                return Poll::Pending;
            }
            match self.take_in(io, cx, thread) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {}
            }
        }
    }

    /// Ends the wait that is in flight if its time is over, or if somebody wants it to end.
    fn attend_wait(&self, io: &mut Io<S>, cx: &mut Context<'_>, thread: &IoThread<S>) {
        if !io.pipeline.is_waiting() {
            io.patience = None;
            return;
        }
        let is_over = io.pipeline.waits_until().is_some_and(|until| {
            let patience =
                io.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            if patience.deadline() != until {
                patience.as_mut().reset(until);
            }
            patience.as_mut().poll(cx).is_ready()
        });
        let why = match self.client.asked_to_unblock() {
            Some(how) => Withdrawal::Unblocked(how),
            None if thread.with_local(|local| local.is_draining) => Withdrawal::Stop,
            None if io.pipeline.has_input_ended() => Withdrawal::Gone,
            None if is_over => Withdrawal::Timeout,
            None => return,
        };
        thread.turn(self.slot, |turn| io.pipeline.withdraw_wait(why, turn));
    }

    /// Reads once and executes what came; pending if nothing did and the connection goes on.
    fn take_in(
        &self,
        io: &mut Io<S>,
        cx: &mut Context<'_>,
        thread: &IoThread<S>,
    ) -> Poll<io::Result<()>> {
        match io.receive(cx, thread) {
            // Without budget, the runtime lets a task wait although bytes are there.
            Poll::Pending if io.pipeline.may_part() && coop::has_budget_remaining() => {
                io.pipeline.begin_close();
            }
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(0)) => thread.turn(self.slot, |turn| io.pipeline.end_input(turn)),
            Poll::Ready(Ok(_)) => thread.turn(self.slot, |turn| io.pipeline.advance(turn)),
        }
        Poll::Ready(Ok(()))
    }

    /// Notes how a run ended; true if its window is complete now.
    pub(crate) fn end_run(
        &self,
        address: Address,
        outcome: Outcome<'_>,
        local: &mut Local,
    ) -> bool {
        let pipeline = &mut self.io.borrow_mut().pipeline;
        pipeline.end_run(address.serial, address.run, outcome, local)
    }

    /// Writes the replies of a complete window, and goes on with what was read meanwhile.
    pub(crate) fn finish_window(&self, thread: &IoThread<S>) {
        let io = &mut *self.io.borrow_mut();
        thread.turn(self.slot, |turn| io.pipeline.finish_window(turn));
        let waker = io.waker.clone();
        let mut cx = Context::from_waker(&waker);
        let is_broken = io.send(&mut cx, thread).is_err();
        let parts = !is_broken && io.pipeline.may_part();
        if parts {
            // Right behind the reply, not when the task has its turn: a client that has its reply sends the
            // next command, and should have seen the end by then.
            let is_over = self.take_in(io, &mut cx, thread).is_ready() && io.pipeline.is_finished();
            let _ = is_over && io.part(&mut cx, thread).is_ready();
        }
        // The task closes the connection, reads on where it had paused, and executes what replies
        // waiting to be read had held up.
        // What waits needs its time looked after, which is the task's.
        let has_more = parts
            || io.pipeline.is_finished()
            || io.pipeline.is_throttled()
            || io.pipeline.is_waiting();
        if is_broken || has_more || self.is_paused.get() {
            waker.wake();
        }
    }

    /// Adds a message to what is to be sent.
    pub(crate) fn push(&self, delivery: &Delivery, local: &mut Local) {
        self.io.borrow_mut().pipeline.push(delivery, local);
    }

    /// Adds the commands that this connection is to be shown.
    pub(crate) fn push_feed(&self, local: &mut Local) {
        self.io.borrow_mut().pipeline.push_feed(local);
    }

    /// Goes on with what CLIENT PAUSE had held back.
    pub(crate) fn resume(&self, thread: &IoThread<S>) {
        let io = &mut *self.io.borrow_mut();
        if io.pipeline.is_held_back() {
            thread.turn(self.slot, |turn| io.pipeline.advance(turn));
            // The task sends what there is, and reads on.
            io.waker.wake_by_ref();
        }
    }

    /// Sends the messages that were added.
    pub(crate) fn send_pushed(&self, thread: &IoThread<S>) {
        let io = &mut *self.io.borrow_mut();
        let waker = io.waker.clone();
        let is_broken = io.send(&mut Context::from_waker(&waker), thread).is_err();
        if is_broken || io.pipeline.is_finished() {
            waker.wake();
        }
    }

    /// Has the connection's task look at everything again.
    pub(crate) fn wake(&self) {
        self.io.borrow().waker.wake_by_ref();
    }

    /// Lets the connection end once nothing of the client waits to be read.
    pub(crate) fn end_patience(&self) {
        let io = &mut *self.io.borrow_mut();
        io.pipeline.end_patience();
        io.waker.wake_by_ref();
    }

    /// Lets the connection end once the replies under way are sent.
    pub(crate) fn begin_close(&self) {
        let io = &mut *self.io.borrow_mut();
        io.pipeline.begin_close();
        io.waker.wake_by_ref();
    }

    /// Renews what CLIENT LIST shows.
    pub(crate) fn publish(&self) {
        self.io.borrow().pipeline.publish();
    }

    /// Takes leave of the node: what the connection left behind there is taken back.
    pub(crate) fn depart(&self, thread: &IoThread<S>) {
        let io = &mut *self.io.borrow_mut();
        thread.turn(self.slot, |turn| io.pipeline.depart(turn));
    }
}

impl<S: Stream> Io<S> {
    /// Sends what may be sent. An error means that the connection is of no more use.
    fn send(&mut self, cx: &mut Context<'_>, thread: &IoThread<S>) -> io::Result<()> {
        let mut has_sent = false;
        while !self.pipeline.unsent().is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, self.pipeline.unsent()) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(bytes)) => {
                    thread.with_local(|local| self.pipeline.mark_sent(bytes, local));
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
            has_sent = true;
        }
        if has_sent && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx) {
            return flushed;
        }
        Ok(())
    }

    /// Tells the client that nothing more will come, and waits until it has closed its side or had time
    /// enough to (INV-G6). Ready once the socket may be closed.
    fn part(&mut self, cx: &mut Context<'_>, thread: &IoThread<S>) -> Poll<()> {
        if !self.pipeline.lingers() {
            return Poll::Ready(());
        }
        let farewell = self.farewell.get_or_insert_with(|| {
            let patience = thread.with_local(|local| local.shared.config.linger_timeout);
            Farewell { until: Box::pin(tokio::time::sleep(patience)), is_told: false }
        });
        if farewell.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !farewell.is_told {
            match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => farewell.is_told = true,
            }
        }
        loop {
            match self.receive(cx, thread) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => thread.with_local(|local| self.pipeline.discard_input(local)),
            }
        }
    }

    /// Reads once; the number of bytes, 0 at the end.
    fn receive(&mut self, cx: &mut Context<'_>, thread: &IoThread<S>) -> Poll<io::Result<usize>> {
        let input = thread.with_local(|local| self.pipeline.input_space(local));
        let read = pin!(self.stream.read_buf(input)).poll(cx);
        match &read {
            Poll::Ready(Ok(bytes)) => {
                thread.with_local(|local| local.stats.input_bytes.add(*bytes as u64));
            }
            _ => thread.with_local(|local| self.pipeline.retire_input(local)),
        }
        read
    }
}
