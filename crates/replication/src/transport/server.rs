//! The transport's thread: accepts connections, reads them, keeps the links to peers up.
//!
//! Owns: [`serve`] and every task under it. Never: decides what a frame means; that is the
//! [`Receive`] it is given. Run by a supervised thread, in a current-thread runtime.
//!
//! INV-NET9: of one peer at most one incoming link delivers. A newer one silences the older before
//! it delivers its first frame, so frames of a peer are never reordered across a reconnect.
//! A connection that sends anything wrong is closed, and only it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keystead_supervisor::{Nursery, Shutdown};
use keystead_types::NodeId;
use keystead_types::limits::FRAME_BYTES_MAX;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

use super::Receive;
use super::dial::{guarded, keep_linked};
use super::frame::{FrameBatch, FrameKind};
use super::hello::{HELLO_BYTES_MAX, Hello, Purpose, Refusal};
use super::net::{Dialer, Listener, Stream};
use super::outbox::{Outbox, PEERS_MAX};
use super::stream::{FrameReader, StreamError, write_all};
use super::wire::DecodeError;

/// Most connections from others at a time; further ones are closed at once.
pub const INCOMING_MAX: usize = 1024;
/// Longest request or reply of the control plane, bytes.
pub const CALL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes read at a time from a link. Larger reads make fewer, larger batches for the workers.
const LINK_READ_BYTES: usize = 128 * 1024;
/// Bytes read at a time from a caller.
const CALL_READ_BYTES: usize = 8 * 1024;
/// How long accepting rests after it failed, so that a lack of file handles is not met by a spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Callers whose refusal is remembered, to log it once.
const REFUSED_MAX: usize = 256;

/// Why the transport ended although nobody asked it to.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The task of a link panicked; the panic is in the log.
    #[error("the link to {peer} fell; the transport is started anew")]
    LinkFell {
        /// The peer.
        peer: NodeId,
    },
}

/// What every task shares.
#[derive(Clone)]
struct Shared {
    dialer: Dialer,
    outbox: Outbox,
    receive: Arc<dyn Receive>,
    /// The link that delivers, of each peer.
    incoming: Rc<RefCell<BTreeMap<NodeId, Rc<Silencer>>>>,
    /// Last refusal of each caller.
    refused: Rc<RefCell<BTreeMap<(NodeId, std::net::IpAddr), Refusal>>>,
    fallen: Rc<Cell<Option<NodeId>>>,
    /// Rung when frames were delivered.
    unsettled: Rc<Notify>,
}

/// Ends an older link of a peer.
#[derive(Default)]
struct Silencer {
    is_silenced: Cell<bool>,
    bell: Notify,
}

/// Why an incoming connection ended.
#[derive(Debug, Error)]
enum IncomingEnd {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("{0}")]
    Garbled(#[from] DecodeError),
    #[error("a frame of kind {kind} where none belongs")]
    Unexpected { kind: u8 },
    #[error("said nothing for {0:?}")]
    Silent(Duration),
    #[error("takes no answer: {source}")]
    Write { source: io::Error },
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    #[error("a newer connection of the same peer took over")]
    Silenced,
    #[error("a call took longer than {0:?}")]
    CallTooLong(Duration),
    #[error("the reply of a call is longer than a frame may be")]
    ReplyTooLong,
}

/// Serves until `shutdown` is requested: then hands what waits to the sockets, within
/// [`Timing::flush_max`](super::Timing::flush_max), and returns.
///
/// Whether it returns or is dropped, all links are down afterwards and the receiver knows. May be
/// run again with the same outbox.
///
/// # Errors
/// [`ServeError`] if it cannot go on; run it anew.
pub async fn serve(
    listener: TcpListener,
    outbox: Outbox,
    receive: Arc<dyn Receive>,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    serve_on(Listener::Tcp(listener), outbox, receive, shutdown).await
}

/// As [`serve`], on a listener of either kind.
pub(super) async fn serve_on(
    listener: Listener,
    outbox: Outbox,
    receive: Arc<dyn Receive>,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let shared = Shared {
        dialer: listener.dialer(),
        outbox,
        receive,
        incoming: Rc::default(),
        refused: Rc::default(),
        fallen: Rc::default(),
        unsettled: Rc::default(),
    };
    LocalSet::new().run_until(run(listener, shared, shutdown)).await
}

async fn run(listener: Listener, shared: Shared, shutdown: Shutdown) -> Result<(), ServeError> {
    let links = Nursery::new("links", PEERS_MAX * 2);
    let incoming = Nursery::new("peer connections", INCOMING_MAX);
    let settling = Nursery::new("settling", 1);
    if let Err(error) = settling.spawn_local(settle(shared.clone())) {
        tracing::error!(%error, "what peers send is not seen to");
    }
    shared.outbox.set_closing(false);
    loop {
        if let Some(peer) = shared.fallen.take() {
            return Err(ServeError::LinkFell { peer });
        }
        start_links(&links, &shared);
        tokio::select! {
            () = shutdown.requested() => break,
            () = shared.outbox.changed() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let task = incoming_connection(shared.clone(), stream, from);
                    if let Err(error) = incoming.spawn_local(task) {
                        tracing::warn!(%from, %error, "connection from a node closed");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection from a node");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    shared.outbox.set_closing(true);
    let drained = links.drain(Instant::now() + shared.outbox.timing().flush_max).await;
    tracing::debug!(?drained, "links to peers closed");
    Ok(())
}

/// Has what was delivered seen to. Stands behind the links in the runtime's queue (first in, first out): those that became
/// ready together have all been read by then.
async fn settle(shared: Shared) {
    loop {
        shared.unsettled.notified().await;
        shared.receive.settle();
    }
}

/// Starts the task of every peer that has none.
fn start_links(links: &Nursery, shared: &Shared) {
    for peer in shared.outbox.peers() {
        if !peer.claim_task() {
            continue;
        }
        let (outbox, fallen) = (shared.outbox.clone(), shared.fallen.clone());
        let link = keep_linked(peer.clone(), outbox.clone(), shared.dialer, shared.receive.clone());
        let task = guarded(peer.clone(), outbox, move |peer| fallen.set(Some(peer)), link);
        if let Err(error) = links.spawn_local(task) {
            peer.task_ended();
            tracing::warn!(%error, "no link to a peer");
        }
    }
}

/// Greets a caller and serves it to its end.
async fn incoming_connection(shared: Shared, stream: Stream, from: SocketAddr) {
    let mut caller = NodeId::NONE;
    let end = greet_and_serve(&shared, &stream, from, &mut caller).await;
    match end {
        Ok(()) | Err(IncomingEnd::Stream(StreamError::Closed) | IncomingEnd::Silenced) => {
            tracing::debug!(%from, %caller, "connection from a node ended");
        }
        // Logged where it was decided, once per caller.
        Err(IncomingEnd::Refused(_)) => {}
        Err(IncomingEnd::Stream(StreamError::Io { .. }) | IncomingEnd::Silent(_)) => {
            tracing::info!(%from, %caller, "connection from a node lost");
        }
        Err(error) => tracing::warn!(%from, %caller, %error, "connection from a node closed"),
    }
}

async fn greet_and_serve(
    shared: &Shared,
    stream: &Stream,
    from: SocketAddr,
    caller: &mut NodeId,
) -> Result<(), IncomingEnd> {
    let within = shared.outbox.timing().handshake_max;
    stream.set_nodelay().map_err(|source| IncomingEnd::Write { source })?;
    let mut reader = FrameReader::new(HELLO_BYTES_MAX, CALL_READ_BYTES);
    let (kind, payload) = match timeout(within, reader.next(stream)).await {
        Ok(frame) => frame?,
        Err(_) => return Err(IncomingEnd::Silent(within)),
    };
    if kind != FrameKind::HELLO {
        return Err(IncomingEnd::Unexpected { kind: kind.0 });
    }
    let ours = shared.outbox.welcome();
    let hello = Hello::decode(&payload)?;
    let sender = hello.as_ref().map_or(NodeId::NONE, |hello| hello.sender);
    let checked = hello.and_then(|hello| hello.check(&ours).map(|()| hello));
    let hello = match checked {
        Ok(hello) => hello,
        Err(refusal) => {
            report_refusal(shared, (sender, from.ip()), refusal);
            answer(stream, within, FrameKind::REFUSED, |out| refusal.encode(out)).await?;
            return Err(refusal.into());
        }
    };
    *caller = hello.sender;
    shared.refused.borrow_mut().remove(&(hello.sender, from.ip()));
    answer(stream, within, FrameKind::WELCOME, |out| ours.encode(out)).await?;
    match hello.purpose {
        Purpose::Link => {
            shared.outbox.learn(&hello, from.ip());
            reader.set_frame_bytes_max(FRAME_BYTES_MAX);
            read_link(shared, stream, &hello, reader.widened(LINK_READ_BYTES)).await
        }
        Purpose::Call => {
            reader.set_frame_bytes_max(CALL_BYTES_MAX);
            answer_calls(shared, stream, &hello, reader).await
        }
    }
}

/// Once per caller and reason: it dials again and again.
fn report_refusal(shared: &Shared, caller: (NodeId, std::net::IpAddr), refusal: Refusal) {
    let mut refused = shared.refused.borrow_mut();
    if refused.len() >= REFUSED_MAX {
        refused.clear();
    }
    if refused.insert(caller, refusal) != Some(refusal) {
        let (node, address) = caller;
        tracing::warn!(%node, %address, reason = %refusal, "connection from a node refused");
    }
}

async fn answer(
    stream: &Stream,
    within: Duration,
    kind: FrameKind,
    fill: impl FnOnce(&mut Vec<u8>),
) -> Result<(), IncomingEnd> {
    let mut batch = FrameBatch::new();
    if !batch.push_with(kind, fill) {
        return Err(IncomingEnd::ReplyTooLong);
    }
    match timeout(within, write_all(stream, batch.as_bytes(), |_| {})).await {
        Ok(written) => written.map_err(|source| IncomingEnd::Write { source }),
        Err(_) => Err(IncomingEnd::Silent(within)),
    }
}

/// Delivers a peer's frames, all of one read at once, and answers its pings.
async fn read_link(
    shared: &Shared,
    stream: &Stream,
    hello: &Hello,
    mut reader: FrameReader,
) -> Result<(), IncomingEnd> {
    let from = hello.sender;
    let silencer = take_over(shared, from);
    let silence_max = shared.outbox.timing().silence_max;
    let peer = shared.outbox.peer(from);
    let mut frames = Vec::new();
    let mut bytes = 0;
    loop {
        while let Some((kind, payload)) = reader.buffered().map_err(StreamError::from)? {
            match kind {
                FrameKind::PING => pong(stream, &payload)?,
                kind if kind.is_internal() => {
                    return Err(IncomingEnd::Unexpected { kind: kind.0 });
                }
                kind => frames.push((kind, payload)),
            }
        }
        // INV-NET9: looked at after the last await and before the delivery.
        if silencer.is_silenced.get() {
            return Err(IncomingEnd::Silenced);
        }
        if let Some(peer) = &peer {
            peer.count_received(frames.len(), bytes, shared.outbox.now());
        }
        if !frames.is_empty() {
            shared.receive.frames(from, &mut frames);
            frames.clear();
            shared.unsettled.notify_one();
        }
        // A peer that sends without end must not starve the other tasks of this thread.
        tokio::task::consume_budget().await;
        bytes = tokio::select! {
            read = timeout(silence_max, reader.read_more(stream)) => match read {
                Ok(bytes) => bytes?,
                Err(_) => return Err(IncomingEnd::Silent(silence_max)),
            },
            () = silencer.bell.notified() => return Err(IncomingEnd::Silenced),
        };
    }
}

/// Makes this the peer's one link that delivers.
fn take_over(shared: &Shared, from: NodeId) -> Rc<Silencer> {
    let silencer = Rc::new(Silencer::default());
    let mut incoming = shared.incoming.borrow_mut();
    // Links that ended leave their silencers here, held by nobody else.
    incoming.retain(|_, silencer| Rc::strong_count(silencer) > 1);
    if let Some(older) = incoming.insert(from, silencer.clone()) {
        older.is_silenced.set(true);
        older.bell.notify_one();
    }
    silencer
}

/// Echoes a ping. A peer that reads no answers must not make this node wait: a pong that does not
/// fit is left out, one that fits in part leaves nothing but to close.
fn pong(stream: &Stream, payload: &[u8]) -> Result<(), IncomingEnd> {
    if payload.len() > 8 {
        return Err(IncomingEnd::Unexpected { kind: FrameKind::PING.0 });
    }
    let mut batch = FrameBatch::new();
    assert!(batch.push(FrameKind::PONG, payload), "eight bytes fit a frame");
    match stream.try_write(batch.as_bytes()) {
        Ok(written) if written == batch.as_bytes().len() => Ok(()),
        Ok(_) => Err(IncomingEnd::Write { source: io::ErrorKind::WriteZero.into() }),
        Err(error) if super::peer::is_transient(&error) => Ok(()),
        Err(source) => Err(IncomingEnd::Write { source }),
    }
}

/// Answers requests one after the other until the caller goes or says nothing for long.
async fn answer_calls(
    shared: &Shared,
    stream: &Stream,
    hello: &Hello,
    mut reader: FrameReader,
) -> Result<(), IncomingEnd> {
    let from = (hello.sender != NodeId::NONE).then_some(hello.sender);
    let timing = shared.outbox.timing();
    loop {
        let (kind, request) = match timeout(timing.call_idle_max, reader.next(stream)).await {
            Ok(frame) => frame?,
            Err(_) => return Err(IncomingEnd::Silent(timing.call_idle_max)),
        };
        if kind != FrameKind::CALL {
            return Err(IncomingEnd::Unexpected { kind: kind.0 });
        }
        let reply: Bytes = timeout(timing.call_max, shared.receive.call(from, request))
            .await
            .map_err(|_| IncomingEnd::CallTooLong(timing.call_max))?;
        if reply.len() >= CALL_BYTES_MAX {
            return Err(IncomingEnd::ReplyTooLong);
        }
        answer(stream, timing.call_idle_max, FrameKind::CALLED, |out| out.extend(&reply)).await?;
    }
}
