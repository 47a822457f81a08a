//! The task that keeps the connection to one peer up, and writes what its senders could not.
//!
//! Owns: dialing, the pause between tries, the greeting on our side, pings, the end of a link.
//! Never: looks into frames. Started by [`serve`](super::serve), one per peer.
//!
//! A connection counts as up when the peer has welcomed us. It is given up when nothing shows for
//! [`Timing::silence_max`] that the peer takes what is sent: no answered ping, and no progress of
//! bytes that wait. That is counted in pings rather than read off a clock, so that a node that was
//! itself suspended does not blame its peers. TCP alone would need minutes to notice a host that is
//! gone.

use std::future::Future;
use std::mem::Discriminant;
use std::sync::Arc;
use std::time::Duration;

use keystead_types::{Monotonic, NodeId};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::frame::{FrameBatch, FrameKind};
use super::hello::{HELLO_BYTES_MAX, Purpose, Refusal, Welcome};
use super::net::{Dialer, Stream};
use super::outbox::Outbox;
use super::peer::{Peer, Taken};
use super::stream::{FrameReader, StreamError, write_all};
use super::wire::DecodeError;
use super::{Receive, Timing};

/// Bytes read at a time from a peer that only answers pings.
const READ_BYTES: usize = 1024;

/// Why a link ended, or did not come up.
#[derive(Debug, Error)]
enum LinkEnd {
    #[error("no connection: {source}")]
    Connect { source: std::io::Error },
    #[error("no answer within {within:?}")]
    NoAnswer { within: Duration },
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    #[error("the answer is not that of a keystead node: {0}")]
    Garbled(#[from] DecodeError),
    #[error("node {actual} answers at this address")]
    Somebody { actual: NodeId },
    #[error("a frame of kind {kind} where none belongs; the peer runs another version")]
    Unexpected { kind: u8 },
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("silent for {0:?}, although it was asked for a sign of life")]
    Silent(Duration),
    #[error("a write failed")]
    Broken,
    #[error("the peer was removed")]
    Removed,
    #[error("this node is stopping")]
    Closing,
}

/// Keeps the link to `peer` up until it is removed or the outbox closes.
pub(super) async fn keep_linked(
    peer: Arc<Peer>,
    outbox: Outbox,
    dialer: Dialer,
    receive: Arc<dyn Receive>,
) {
    let mut pause = Pause::new(outbox.timing(), peer.id().0 ^ outbox.now().0);
    let mut reported: Option<Discriminant<LinkEnd>> = None;
    loop {
        let began = outbox.now();
        let end = link_once(&peer, &outbox, dialer, receive.as_ref()).await;
        if matches!(end, LinkEnd::Removed | LinkEnd::Closing) {
            return;
        }
        // Only a link that lasted was a success: one that breaks at once must not be dialed in a
        // tight circle.
        if outbox.now().since(began) > outbox.timing().backoff_max {
            pause.reset();
            reported = None;
        }
        let kind = std::mem::discriminant(&end);
        if reported.replace(kind) == Some(kind) {
            tracing::debug!(peer = %peer.id(), reason = %end, "peer still not connected");
        } else {
            tracing::warn!(peer = %peer.id(), address = peer.address(), reason = %end,
                "no connection to peer; trying again until there is one");
        }
        tokio::select! {
            () = sleep(pause.next()) => {}
            () = peer.redial() => {}
        }
        if peer.is_removed() || outbox.is_closing() {
            return;
        }
    }
}

/// Connects once and stays until the connection ends.
async fn link_once(
    peer: &Arc<Peer>,
    outbox: &Outbox,
    dialer: Dialer,
    receive: &dyn Receive,
) -> LinkEnd {
    let within = outbox.timing().handshake_max;
    let (stream, mut reader) = match timeout(within, connect(peer, outbox, dialer)).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(end)) => return end,
        Err(_) => return LinkEnd::NoAnswer { within },
    };
    let stream = Arc::new(stream);
    let Some(up) = Up::announce(peer, &stream, receive) else {
        return LinkEnd::Removed;
    };
    tracing::debug!(peer = %peer.id(), address = peer.address(), "welcomed by peer");
    let end = tokio::select! {
        end = write_queue(peer, outbox, &stream) => end,
        end = read_pongs(peer, outbox, &stream, &mut reader) => end,
        end = watch(peer, outbox) => end,
    };
    drop(up);
    if matches!(end, LinkEnd::Closing) {
        close(stream, within).await;
    }
    end
}

/// Dials, says hello, awaits the welcome.
async fn connect(
    peer: &Peer,
    outbox: &Outbox,
    dialer: Dialer,
) -> Result<(Stream, FrameReader), LinkEnd> {
    let connected = dialer.connect(&peer.address()).await;
    let stream = connected.map_err(|source| LinkEnd::Connect { source })?;
    let mut hello = FrameBatch::new();
    let is_fitting =
        hello.push_with(FrameKind::HELLO, |out| outbox.hello(Purpose::Link, peer.id()).encode(out));
    assert!(is_fitting, "a hello is bounded by the length of an address");
    write_all(&stream, hello.as_bytes(), |_| {})
        .await
        .map_err(|source| LinkEnd::Connect { source })?;
    let mut reader = FrameReader::new(HELLO_BYTES_MAX, READ_BYTES);
    match reader.next(&stream).await? {
        (FrameKind::WELCOME, payload) => {
            let actual = Welcome::decode(&payload)?.node;
            if actual != peer.id() {
                return Err(LinkEnd::Somebody { actual });
            }
            peer.hear(outbox.now());
            Ok((stream, reader))
        }
        (FrameKind::REFUSED, payload) => Err(Refusal::decode(&payload)?.into()),
        (FrameKind(kind), _) => Err(LinkEnd::Unexpected { kind }),
    }
}

/// Writes what senders had to queue.
async fn write_queue(peer: &Peer, outbox: &Outbox, stream: &Arc<Stream>) -> LinkEnd {
    loop {
        match peer.take_queue(stream) {
            Taken::Detached if peer.is_removed() => return LinkEnd::Removed,
            Taken::Detached => return LinkEnd::Broken,
            Taken::Nothing if outbox.is_closing() => return LinkEnd::Closing,
            Taken::Nothing => peer.filled().await,
            Taken::Bytes(bytes) => {
                let count = |written| {
                    peer.count_write(written);
                    peer.note_progress();
                };
                if write_all(stream, &bytes, count).await.is_err() {
                    return LinkEnd::Broken;
                }
            }
        }
    }
}

/// Reads what the peer answers to pings; it says nothing else on this connection.
async fn read_pongs(
    peer: &Peer,
    outbox: &Outbox,
    stream: &Stream,
    reader: &mut FrameReader,
) -> LinkEnd {
    loop {
        match reader.next(stream).await {
            Ok((FrameKind::PONG, payload)) => {
                let now = outbox.now();
                if let Ok(sent_at) = <[u8; 8]>::try_from(payload.as_ref()) {
                    peer.note_round_trip(now.since(Monotonic(u64::from_le_bytes(sent_at))));
                }
                peer.note_progress();
                peer.hear(now);
            }
            Ok((FrameKind(kind), _)) => return LinkEnd::Unexpected { kind },
            Err(error) => return error.into(),
        }
    }
}

/// Sends pings, and returns when the peer has not shown a sign of life for too many of them.
async fn watch(peer: &Peer, outbox: &Outbox) -> LinkEnd {
    let Timing { ping_every, silence_max, .. } = *outbox.timing();
    let mut ticks = interval(ping_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = peer.progress();
    let mut silent = Duration::ZERO;
    loop {
        ticks.tick().await;
        let progress = peer.progress();
        silent = if progress == seen { silent + ping_every } else { Duration::ZERO };
        seen = progress;
        if silent > silence_max {
            return LinkEnd::Silent(silent);
        }
        // Not taken if too much waits already: then the progress of that is the sign of life.
        outbox.send(peer.id(), FrameKind::PING, &outbox.now().0.to_le_bytes());
    }
}

/// Lets the peer read to the end. Closing with its pongs unread would reset the connection, and
/// a reset throws away what it has not read yet.
async fn close(stream: Arc<Stream>, within: Duration) {
    let Some(stream) = Arc::into_inner(stream) else {
        return;
    };
    let is_read_out = matches!(timeout(within, stream.close()).await, Ok(Ok(())));
    tracing::debug!(is_read_out, "connection to peer closed");
}

/// Exists while the link is up; whatever ends the task, the receiver is told (INV-NET8).
struct Up<'a> {
    peer: &'a Peer,
    receive: &'a dyn Receive,
}

impl<'a> Up<'a> {
    fn announce(peer: &'a Peer, stream: &Arc<Stream>, receive: &'a dyn Receive) -> Option<Self> {
        if !peer.attach(Arc::clone(stream)) {
            return None;
        }
        let up = Self { peer, receive };
        receive.peer_up(peer.id());
        Some(up)
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        // ORDER: nothing is taken any more before the receiver hears that all before may be lost.
        self.peer.detach();
        self.receive.peer_down(self.peer.id());
    }
}

/// How long to wait before dialing again: doubles up to a bound, half of it drawn, so that the
/// nodes of a cluster that restarts do not dial in step.
struct Pause {
    next: Duration,
    min: Duration,
    max: Duration,
    draw: u64,
}

impl Pause {
    fn new(timing: &Timing, seed: u64) -> Self {
        let Timing { backoff_min: min, backoff_max: max, .. } = *timing;
        Self { next: min, min, max, draw: seed }
    }

    fn reset(&mut self) {
        self.next = self.min;
    }

    fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        // A linear congruential step (Knuth's MMIX constants); its high bits are good enough here.
        self.draw = self
            .draw
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let share = u32::try_from(self.draw >> 48).expect("16 bits are left");
        pause / 2 + (pause / 2) * share / (1 << 16)
    }
}

/// Runs `link`, and rings the outbox's bell if it ends by a panic.
pub(super) async fn guarded(
    peer: Arc<Peer>,
    outbox: Outbox,
    fell: impl FnOnce(NodeId),
    link: impl Future<Output = ()>,
) {
    let mut guard = Guard { peer, outbox, fell: Some(fell) };
    link.await;
    guard.fell = None;
}

struct Guard<F: FnOnce(NodeId)> {
    peer: Arc<Peer>,
    outbox: Outbox,
    fell: Option<F>,
}

impl<F: FnOnce(NodeId)> Drop for Guard<F> {
    fn drop(&mut self) {
        self.peer.task_ended();
        if let Some(fell) = self.fell.take() {
            fell(self.peer.id());
            self.outbox.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_their_bounds_and_are_drawn() {
        let timing = Timing::default();
        let mut pause = Pause::new(&timing, 1);
        let mut base = timing.backoff_min;
        for _ in 0..20 {
            let drawn = pause.next();
            assert!(drawn >= base / 2 && drawn <= base, "{drawn:?} of {base:?}");
            base = (base * 2).min(timing.backoff_max);
        }
        let mut other = Pause::new(&timing, 2);
        assert_ne!(pause.next(), other.next());
        pause.reset();
        assert!(pause.next() <= timing.backoff_min);
    }
}
