//! Connections between nodes: frames, messages, peers, calls.
//!
//! Owns: bytes between nodes. Never: what a message means to a group; never retries a frame.
//! Workers and the node above send through [`Outbox`] and are given what arrives through
//! [`Receive`]; [`serve`] runs on one supervised thread; [`call`](fn@call) asks one question.
//!
//! ```text
//!   worker ──┐                    node A │ node B
//!   worker ──┼─> Outbox ─> peer B ═══════╪═════> read_link ─> Receive::frames ─> workers
//!   forward ─┘   (direct write,   hello ─>       (one batch
//!                 else queue +   <─ welcome       per read)
//!                 writer task)    ping ─>
//!                                <─ pong
//!   call / Caller ───────────── request ─>       answer_calls ─> Receive::call
//!                                <─ reply
//! ```
//!
//! One connection per direction and peer: A dials B for what A sends, B dials A for what B sends.
//! All groups share it, so one slow group cannot open a hundred sockets, and one write carries the
//! messages of many groups. Frames that wait for a link that carries less than is sent go by lanes: acknowledgements and
//! heartbeats before entries (see `lanes`). A frame is sent once. When a connection breaks, whatever was under way
//! may be lost; Raft sends again, and whoever forwarded a command knows from
//! [`Receive::peer_down`] that its outcome is unknown.
//!
//! Invariants: INV-NET1, INV-NET2 in [`message`]; INV-NET3 to INV-NET5 in [`frame`]; INV-NET6 in [`hello`];
//! INV-NET7, INV-NET8 in `peer`; INV-NET9 in `server`; INV-NET10 in `lanes`.

mod call;
mod dial;
pub mod frame;
pub mod hello;
mod lanes;
pub mod message;
mod net;
mod outbox;
mod peer;
mod server;
mod stream;
pub mod wire;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use keystead_types::NodeId;

pub use call::{CallError, Caller, Garble, call};
pub use frame::{FrameBatch, FrameError, FrameKind};
pub use hello::{Hello, Purpose, Refusal, Welcome};
pub use outbox::{Identity, Outbox, PEERS_MAX};
pub use peer::PeerStats;
pub use server::{CALL_BYTES_MAX, INCOMING_MAX, ServeError, serve};
pub use stream::StreamError;

/// A future of a reply.
pub type Reply = Pin<Box<dyn Future<Output = Bytes> + Send>>;

/// Takes what arrives. Its methods run on the transport's thread: they hand over and return, and
/// never block.
pub trait Receive: Send + Sync {
    /// Frames from a peer, all of one read; those of one lane in the order in which they were sent. What is left in
    /// `frames` is dropped.
    ///
    /// If this panics, the connection is closed and the frames are lost.
    fn frames(&self, from: NodeId, frames: &mut Vec<(FrameKind, Bytes)>);

    /// Every connection that had something has been read: what the frames brought is to be seen to, all of it at once.
    fn settle(&self) {}

    /// Frames to this peer are taken from now on.
    fn peer_up(&self, peer: NodeId);

    /// The connection to this peer broke. Of everything taken before, an unknown part is lost.
    fn peer_down(&self, peer: NodeId);

    /// A request of the control plane; `from` is `None` for a tool. The future must not block; it
    /// is dropped if it takes longer than [`Timing::call_max`] or the transport stops.
    fn call(&self, from: Option<NodeId>, request: Bytes) -> Reply;
}

/// The transport's clockwork.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Time between pings.
    pub ping_every: Duration,
    /// A connection without a sign of life for this long is given up. Longer than an election, so
    /// that a short pause of a process costs no reconnect on top.
    pub silence_max: Duration,
    /// Time for connecting and greeting.
    pub handshake_max: Duration,
    /// First pause before dialing again; half of it is drawn.
    pub backoff_min: Duration,
    /// Longest pause before dialing again.
    pub backoff_max: Duration,
    /// How long a stopping node waits for its sockets to take what is queued.
    pub flush_max: Duration,
    /// How long a caller may keep its connection without a request.
    pub call_idle_max: Duration,
    /// How long answering one request may take.
    pub call_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping_every: Duration::from_millis(250),
            silence_max: Duration::from_secs(3),
            handshake_max: Duration::from_secs(2),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            flush_max: Duration::from_millis(500),
            call_idle_max: Duration::from_secs(30),
            call_max: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
