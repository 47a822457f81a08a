//! One peer as the sending side sees it: its connection, what waits for it, and its counters.
//!
//! Owns: [`Peer`], and the rule by which any thread writes to a peer's socket. Never: dials (see
//! `dial`), reads. Used by [`Outbox`](super::Outbox) and by the task that keeps the link up.
//!
//! A frame is written at once by the thread that sends it if nothing waits before it, because a
//! hand-over to another thread costs more than the write. What the socket does not take waits in
//! the queue, and from then on everything goes through the queue until it is empty:
//!
//! INV-NET7: whole frames only reach the socket, those of one lane (see `lanes`) in the order in which they were taken. One
//! lock orders the senders; while the queue or the writer holds bytes, nobody writes past them.
//! INV-NET8: a frame that was taken and is lost is followed by `peer_down`; one that was not taken has
//! not left this node.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keystead_types::limits::PEER_QUEUE_BYTES_MAX;
use keystead_types::{Monotonic, NodeId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::frame::{FRAME_HEADER_BYTES, frames};
use super::lanes::{Lane, Lanes};
use super::net::Stream;

/// A peer that this node sends to.
#[derive(Debug)]
pub(super) struct Peer {
    id: NodeId,
    state: Mutex<State>,
    /// Rung when the queue has something for the writer.
    filled: Notify,
    /// Rung when dialing is worth a try before the pause is over.
    redial: Notify,
    counters: Counters,
}

#[derive(Debug)]
struct State {
    address: String,
    /// There only while frames may be sent.
    stream: Option<Arc<Stream>>,
    queue: Lanes,
    /// Bytes the writer has taken out of the queue and not yet written.
    writing_bytes: usize,
    is_removed: bool,
    has_task: bool,
}

/// Grow only, except `heard_at` and `round_trip_nanos`.
#[derive(Debug, Default)]
struct Counters {
    frames_sent: AtomicU64,
    frames_dropped: AtomicU64,
    bytes_sent: AtomicU64,
    writes: AtomicU64,
    frames_received: AtomicU64,
    bytes_received: AtomicU64,
    connects: AtomicU64,
    /// Pongs and queue writes: what shows that the other end still takes what is sent.
    progress: AtomicU64,
    /// Monotonic nanoseconds; 0 is never.
    heard_at: AtomicU64,
    round_trip_nanos: AtomicU64,
}

/// A peer in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStats {
    /// Who.
    pub peer: NodeId,
    /// Where it is dialed.
    pub address: String,
    /// True if frames can be sent to it.
    pub is_connected: bool,
    /// Bytes that wait because its socket takes no more.
    pub queued_bytes: usize,
    /// Frames taken for it.
    pub frames_sent_total: u64,
    /// Frames not taken: not connected, or too many bytes waiting.
    pub frames_dropped_total: u64,
    /// Bytes handed to its socket.
    pub bytes_sent_total: u64,
    /// System calls that took.
    pub writes_total: u64,
    /// Frames that came from it.
    pub frames_received_total: u64,
    /// Bytes that came from it.
    pub bytes_received_total: u64,
    /// Connections made to it.
    pub connects_total: u64,
    /// When anything last came from it.
    pub heard_at: Option<Monotonic>,
    /// The last ping's time there and back.
    pub round_trip: Option<Duration>,
}

/// What the writer finds in the queue.
pub(super) enum Taken {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Nothing: wait for [`Peer::filled`].
    Nothing,
    /// The connection it writes to is no longer the peer's.
    Detached,
}

impl Peer {
    pub(super) fn new(id: NodeId, address: String) -> Self {
        Self {
            id,
            state: Mutex::new(State {
                address,
                stream: None,
                queue: Lanes::default(),
                writing_bytes: 0,
                is_removed: false,
                has_task: false,
            }),
            filled: Notify::new(),
            redial: Notify::new(),
            counters: Counters::default(),
        }
    }

    pub(super) const fn id(&self) -> NodeId {
        self.id
    }

    pub(super) fn address(&self) -> String {
        self.state.lock().address.clone()
    }

    /// True if that is a change. A connection that stands is kept: it leads to the right node.
    pub(super) fn set_address(&self, address: &str) -> bool {
        let mut state = self.state.lock();
        if state.address == address {
            return false;
        }
        address.clone_into(&mut state.address);
        drop(state);
        self.redial.notify_one();
        true
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state.lock().stream.is_some()
    }

    /// Bytes that wait; `None` without a connection.
    pub(super) fn backlog(&self) -> Option<usize> {
        let state = self.state.lock();
        state.stream.as_ref().map(|_| state.queue.bytes() + state.writing_bytes)
    }

    /// Sends whole frames. True if all were taken. Those of a lane that is full are not; a batch within one lane is taken
    /// whole or not at all.
    pub(super) fn send(&self, bytes: &[u8], frames: usize) -> bool {
        let dropped = self.write_or_queue(bytes, frames);
        self.counters.frames_sent.fetch_add((frames - dropped) as u64, Ordering::Relaxed);
        if dropped > 0 {
            self.counters.frames_dropped.fetch_add(dropped as u64, Ordering::Relaxed);
        }
        dropped == 0
    }

    /// How many of the `count` frames were not taken.
    fn write_or_queue(&self, bytes: &[u8], count: usize) -> usize {
        let mut state = self.state.lock();
        let Some(stream) = &state.stream else {
            return count;
        };
        if state.queue.bytes() + state.writing_bytes > 0 {
            let dropped = state.push(bytes);
            self.filled.notify_one();
            return dropped;
        }
        let written = match stream.try_write(bytes) {
            Ok(written) => written,
            Err(error) if is_transient(&error) => 0,
            Err(_) => {
                // The link's task finds the stream gone, and says peer_down.
                state.stream = None;
                self.filled.notify_one();
                return count;
            }
        };
        self.count_write(written);
        if written < bytes.len() {
            // An empty queue takes a frame of any size, or the largest would never leave.
            state.queue.push_rest(bytes, written);
            self.filled.notify_one();
        }
        0
    }

    /// Takes out of the queue what goes next; the piece before it is written.
    pub(super) fn take_queue(&self, stream: &Arc<Stream>) -> Taken {
        let mut state = self.state.lock();
        state.writing_bytes = 0;
        if !state.stream.as_ref().is_some_and(|attached| Arc::ptr_eq(attached, stream)) {
            return Taken::Detached;
        }
        let Some(piece) = state.queue.pop() else {
            return Taken::Nothing;
        };
        state.writing_bytes = piece.len();
        Taken::Bytes(piece)
    }

    /// Returns when the queue may have something, or the stream is gone. Cancel safe.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Returns when dialing is worth a try at once. Cancel safe.
    pub(super) async fn redial(&self) {
        self.redial.notified().await;
    }

    /// Cuts the pause before the next try short.
    pub(super) fn dial_now_if_down(&self) {
        if !self.is_connected() {
            self.redial.notify_one();
        }
    }

    /// Makes the peer's task look around, whatever it waits for.
    pub(super) fn wake(&self) {
        self.filled.notify_one();
        self.redial.notify_one();
    }

    /// From now on frames are taken. False if the peer was removed meanwhile.
    pub(super) fn attach(&self, stream: Arc<Stream>) -> bool {
        let mut state = self.state.lock();
        if state.is_removed {
            return false;
        }
        assert!(
            state.queue.bytes() == 0,
            "INV-NET7: bytes of an old connection wait for a new one"
        );
        state.stream = Some(stream);
        self.counters.connects.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// From now on nothing is taken; what waited is lost.
    pub(super) fn detach(&self) {
        let mut state = self.state.lock();
        state.stream = None;
        state.queue = Lanes::default();
        state.writing_bytes = 0;
    }

    /// Ends the link for good. What waited is lost.
    pub(super) fn remove(&self) {
        let mut state = self.state.lock();
        state.is_removed = true;
        state.stream = None;
        drop(state);
        self.wake();
    }

    pub(super) fn is_removed(&self) -> bool {
        self.state.lock().is_removed
    }

    /// True for the first who asks since the last [`task_ended`](Self::task_ended): one task per
    /// peer.
    pub(super) fn claim_task(&self) -> bool {
        let mut state = self.state.lock();
        !state.is_removed && !std::mem::replace(&mut state.has_task, true)
    }

    pub(super) fn task_ended(&self) {
        self.state.lock().has_task = false;
    }

    pub(super) fn count_write(&self, bytes: usize) {
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_received(&self, frames: usize, bytes: usize, now: Monotonic) {
        self.counters.frames_received.fetch_add(frames as u64, Ordering::Relaxed);
        self.counters.bytes_received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.hear(now);
    }

    /// The peer showed that it is alive.
    pub(super) fn hear(&self, now: Monotonic) {
        self.counters.heard_at.fetch_max(now.0, Ordering::Relaxed);
    }

    pub(super) fn note_progress(&self) {
        self.counters.progress.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_round_trip(&self, round_trip: Duration) {
        let nanos = u64::try_from(round_trip.as_nanos()).unwrap_or(u64::MAX);
        self.counters.round_trip_nanos.store(nanos, Ordering::Relaxed);
    }

    pub(super) fn progress(&self) -> u64 {
        self.counters.progress.load(Ordering::Relaxed)
    }

    pub(super) fn heard_at(&self) -> Option<Monotonic> {
        let at = self.counters.heard_at.load(Ordering::Relaxed);
        (at > 0).then_some(Monotonic(at))
    }

    pub(super) fn stats(&self) -> PeerStats {
        let state = self.state.lock();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let round_trip = read(&self.counters.round_trip_nanos);
        PeerStats {
            peer: self.id,
            address: state.address.clone(),
            is_connected: state.stream.is_some(),
            queued_bytes: state.queue.bytes() + state.writing_bytes,
            frames_sent_total: read(&self.counters.frames_sent),
            frames_dropped_total: read(&self.counters.frames_dropped),
            bytes_sent_total: read(&self.counters.bytes_sent),
            writes_total: read(&self.counters.writes),
            frames_received_total: read(&self.counters.frames_received),
            bytes_received_total: read(&self.counters.bytes_received),
            connects_total: read(&self.counters.connects),
            heard_at: self.heard_at(),
            round_trip: (round_trip > 0).then(|| Duration::from_nanos(round_trip)),
        }
    }
}

impl State {
    /// Queues frames behind others of their lanes. A lane without room takes none of them, so that a batch leaves no gap in
    /// it; an empty lane takes a frame of any size, or the largest would never leave. Returns how many were not taken.
    fn push(&mut self, bytes: &[u8]) -> usize {
        let lane_of = |kind, frame: &[u8]| Lane::of(kind, &frame[FRAME_HEADER_BYTES..]);
        let mut waiting = Lane::ALL.map(|lane| (self.queue.bytes_of(lane), 0));
        for (kind, frame) in frames(bytes) {
            waiting[lane_of(kind, frame) as usize].1 += frame.len();
        }
        let is_full =
            waiting.map(|(before, new)| before > 0 && before + new > PEER_QUEUE_BYTES_MAX);
        let mut dropped = 0;
        for (kind, frame) in frames(bytes) {
            let lane = lane_of(kind, frame);
            if is_full[lane as usize] {
                dropped += 1;
            } else {
                self.queue.push(lane, frame);
            }
        }
        dropped
    }
}

/// True for errors that say "not now" rather than "never again".
pub(super) fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
