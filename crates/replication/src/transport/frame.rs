//! Frames: how a stream of bytes between nodes falls into pieces.
//!
//! Owns: the frame's layout, [`FrameBatch`] (frames on their way out), [`FrameDecoder`] (frames on
//! their way in). Never: does I/O, knows what a payload means. Used by both ends of a connection.
//!
//! ```text
//! length: u32 LE   bytes that follow the checksum (kind and payload)
//! crc32c: u32 LE   of those bytes
//! kind:   u8
//! payload
//! ```
//!
//! INV-NET3: a decoder gives the same frames however the stream was cut into reads.
//! INV-NET4: a payload owns exactly its own bytes: keeping one small entry keeps no read buffer alive.
//! INV-NET5: a header alone makes nobody allocate; room grows with the bytes that really came.

use bytes::Bytes;
use keystead_types::limits::FRAME_BYTES_MAX;
use thiserror::Error;

/// Bytes before the payload.
pub const FRAME_HEADER_BYTES: usize = 9;
/// Bytes before what `length` counts.
const PREFIX_BYTES: usize = 8;
/// Room made at once for an announced payload; beyond it room doubles as bytes arrive.
const PAYLOAD_ROOM: usize = 1024 * 1024;

/// What a frame carries. Kinds from 0xf0 on belong to the transport itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameKind(pub u8);

impl FrameKind {
    /// A Raft message of one group (see [`message`](super::message)).
    pub const RAFT: Self = Self(1);
    /// A command on its way to the leader.
    pub const FORWARD: Self = Self(2);
    /// The answer to one.
    pub const FORWARDED: Self = Self(3);
    /// The sender's clock.
    pub const CLOCK: Self = Self(4);
    /// A message for subscribers on the receiving node.
    pub const PUBLISHED: Self = Self(5);
    /// What a client of the receiving node, which waited, was served.
    pub const SERVED: Self = Self(6);

    /// First frame of every connection: who calls.
    pub const HELLO: Self = Self(0xf0);
    /// The answer to it: who answers.
    pub const WELCOME: Self = Self(0xf1);
    /// The other answer: why not. The connection is closed behind it.
    pub const REFUSED: Self = Self(0xf2);
    /// Asks for a [`PONG`](Self::PONG).
    pub const PING: Self = Self(0xf3);
    /// Echoes the payload of a [`PING`](Self::PING).
    pub const PONG: Self = Self(0xf4);
    /// A request of the control plane.
    pub const CALL: Self = Self(0xf5);
    /// The reply to one.
    pub const CALLED: Self = Self(0xf6);

    /// True for the kinds that never leave the transport.
    #[must_use]
    pub const fn is_internal(self) -> bool {
        self.0 >= 0xf0
    }
}

/// Why a stream cannot be read on. The connection it came from is closed; others live on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Announced longer than may be.
    #[error(
        "a frame of {bytes} bytes is announced where {max} are the most; this is not a keystead node, or it is broken"
    )]
    TooLong {
        /// The length announced.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Without even a kind.
    #[error("a frame without content; this is not a keystead node, or it is broken")]
    Empty,
    /// Arrived damaged.
    #[error(
        "a frame of {bytes} bytes arrived damaged: its checksum is {computed:08x} and should be {announced:08x}"
    )]
    Checksum {
        /// Its length.
        bytes: usize,
        /// What the header says.
        announced: u32,
        /// What the bytes say.
        computed: u32,
    },
}

/// Frames encoded one behind the other, to be sent in one write. Reusable: [`clear`](Self::clear)
/// keeps the room.
#[derive(Debug, Default)]
pub struct FrameBatch {
    bytes: Vec<u8>,
    frames: usize,
}

impl FrameBatch {
    /// An empty batch.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), frames: 0 }
    }

    /// Appends a frame with this payload. False, and nothing appended, if it is too long.
    #[must_use]
    pub fn push(&mut self, kind: FrameKind, payload: &[u8]) -> bool {
        self.push_with(kind, |out| out.extend_from_slice(payload))
    }

    /// Appends a frame whose payload `fill` appends. False, and nothing appended, if it came out
    /// longer than [`FRAME_BYTES_MAX`]. `fill` must only append.
    #[must_use]
    pub fn push_with(&mut self, kind: FrameKind, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; PREFIX_BYTES]);
        self.bytes.push(kind.0);
        fill(&mut self.bytes);
        let body = start + PREFIX_BYTES;
        let length = self.bytes.len() - body;
        let announced = match u32::try_from(length) {
            Ok(announced) if length <= FRAME_BYTES_MAX => announced,
            _ => {
                self.bytes.truncate(start);
                return false;
            }
        };
        let checksum = crc32c::crc32c(&self.bytes[body..]);
        self.bytes[start..start + 4].copy_from_slice(&announced.to_le_bytes());
        self.bytes[start + 4..body].copy_from_slice(&checksum.to_le_bytes());
        self.frames += 1;
        true
    }

    /// Frames in it.
    #[must_use]
    pub const fn frames(&self) -> usize {
        self.frames
    }

    /// True if there is nothing to send.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// The frames as they go over the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Empties it and keeps its room, unless that has grown beyond `room_max` bytes.
    pub fn clear(&mut self, room_max: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(room_max);
        self.frames = 0;
    }
}

/// The frames of what a [`FrameBatch`] holds, each with its kind, header included.
///
/// # Panics
/// If the bytes are not whole frames.
pub(super) fn frames(mut bytes: &[u8]) -> impl Iterator<Item = (FrameKind, &[u8])> {
    std::iter::from_fn(move || {
        let (announced, _) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*announced)).expect("a frame fits memory");
        let (frame, rest) = bytes.split_at(PREFIX_BYTES + length);
        bytes = rest;
        Some((FrameKind(frame[PREFIX_BYTES]), frame))
    })
}

/// Turns reads into frames.
#[derive(Debug)]
pub struct FrameDecoder {
    frame_bytes_max: usize,
    header: [u8; FRAME_HEADER_BYTES],
    header_filled: usize,
    payload: Vec<u8>,
    payload_bytes: usize,
}

impl FrameDecoder {
    /// A decoder that refuses frames whose kind and payload are longer than `frame_bytes_max`.
    #[must_use]
    pub fn new(frame_bytes_max: usize) -> Self {
        Self {
            frame_bytes_max: frame_bytes_max.min(FRAME_BYTES_MAX),
            header: [0; FRAME_HEADER_BYTES],
            header_filled: 0,
            payload: Vec::new(),
            payload_bytes: 0,
        }
    }

    /// Changes the bound for the frames that follow; a stranger is allowed less than a peer.
    pub fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max.min(FRAME_BYTES_MAX);
    }

    /// Takes bytes off the front of `input` until a frame is complete or `input` is empty.
    ///
    /// # Errors
    /// [`FrameError`]; the stream cannot be read any further.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<(FrameKind, Bytes)>, FrameError> {
        if self.header_filled < FRAME_HEADER_BYTES {
            let taken = take(input, FRAME_HEADER_BYTES - self.header_filled);
            self.header[self.header_filled..][..taken.len()].copy_from_slice(taken);
            self.header_filled += taken.len();
            self.check_length()?;
            if self.header_filled < FRAME_HEADER_BYTES {
                return Ok(None);
            }
        }
        let taken = take(input, self.payload_bytes - self.payload.len());
        self.make_room(taken.len());
        self.payload.extend_from_slice(taken);
        if self.payload.len() < self.payload_bytes {
            return Ok(None);
        }
        self.finish().map(Some)
    }

    /// Refuses a bad length as soon as it is known, before anything behind it is awaited.
    fn check_length(&mut self) -> Result<(), FrameError> {
        if self.header_filled < 4 {
            return Ok(());
        }
        let [a, b, c, d, ..] = self.header;
        let bytes = u32::from_le_bytes([a, b, c, d]) as usize;
        if bytes > self.frame_bytes_max {
            return Err(FrameError::TooLong { bytes, max: self.frame_bytes_max });
        }
        self.payload_bytes = bytes.checked_sub(1).ok_or(FrameError::Empty)?;
        Ok(())
    }

    /// INV-NET5, and exactly the payload's length in the end (INV-NET4).
    fn make_room(&mut self, more: usize) {
        let filled = self.payload.len();
        if self.payload.capacity() - filled < more {
            let room = (filled * 2).max(PAYLOAD_ROOM).max(filled + more).min(self.payload_bytes);
            self.payload.reserve_exact(room - filled);
        }
    }

    fn finish(&mut self) -> Result<(FrameKind, Bytes), FrameError> {
        let [_, _, _, _, a, b, c, d, kind] = self.header;
        let announced = u32::from_le_bytes([a, b, c, d]);
        let computed = crc32c::crc32c_append(crc32c::crc32c(&[kind]), &self.payload);
        if announced != computed {
            let bytes = self.payload_bytes + 1;
            return Err(FrameError::Checksum { bytes, announced, computed });
        }
        self.header_filled = 0;
        Ok((FrameKind(kind), Bytes::from(std::mem::take(&mut self.payload))))
    }
}

fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    taken
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn decode_all(
        decoder: &mut FrameDecoder,
        mut input: &[u8],
    ) -> Result<Vec<(FrameKind, Bytes)>, FrameError> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next(&mut input)? {
            frames.push(frame);
        }
        assert!(input.is_empty(), "a decoder that wants more has taken all there was");
        Ok(frames)
    }

    fn batch_of(frames: &[(u8, Vec<u8>)]) -> FrameBatch {
        let mut batch = FrameBatch::new();
        for (kind, payload) in frames {
            assert!(batch.push(FrameKind(*kind), payload));
        }
        batch
    }

    proptest! {
        // INV-NET3
        #[test]
        fn frames_come_back_however_the_stream_is_cut(
            frames in vec((any::<u8>(), vec(any::<u8>(), 0..200)), 0..8),
            cuts in vec(1..50_usize, 1..20),
        ) {
            let batch = batch_of(&frames);
            let mut decoder = FrameDecoder::new(4096);
            let mut decoded = Vec::new();
            let mut rest = batch.as_bytes();
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                decoded.extend(decode_all(&mut decoder, take(&mut rest, cut)).unwrap());
            }
            let decoded: Vec<_> = decoded.into_iter().map(|(k, p)| (k.0, p.to_vec())).collect();
            prop_assert_eq!(decoded, frames);
        }

        #[test]
        fn any_bytes_at_all_are_decoded_or_refused(bytes in vec(any::<u8>(), 0..300)) {
            drop(decode_all(&mut FrameDecoder::new(4096), &bytes));
        }

        #[test]
        fn a_flipped_bit_is_noticed(
            payload in vec(any::<u8>(), 0..100),
            at: prop::sample::Index,
            bit in 0..8_u8,
        ) {
            let batch = batch_of(&[(1, payload)]);
            let mut bytes = batch.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            // A damaged length may also leave the decoder waiting; a frame it never gives.
            let decoded = decode_all(&mut FrameDecoder::new(4096), &bytes);
            prop_assert!(decoded.is_err() || decoded == Ok(Vec::new()));
        }
    }

    #[test]
    fn an_oversized_length_is_refused_before_its_bytes_arrive() {
        let mut decoder = FrameDecoder::new(1000);
        let mut header: &[u8] = &1001_u32.to_le_bytes();
        let refusal = decoder.next(&mut header);
        assert_eq!(refusal, Err(FrameError::TooLong { bytes: 1001, max: 1000 }));
    }

    #[test]
    fn zeros_are_not_a_frame() {
        let mut decoder = FrameDecoder::new(1000);
        assert_eq!(decoder.next(&mut [0_u8; 64].as_slice()), Err(FrameError::Empty));
    }

    // INV-NET5
    #[test]
    fn a_header_alone_allocates_no_more_than_the_first_room() {
        let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
        let mut header = u32::try_from(FRAME_BYTES_MAX).unwrap().to_le_bytes().to_vec();
        header.extend([0; 10]);
        assert_eq!(decoder.next(&mut header.as_slice()), Ok(None));
        assert!(decoder.payload.capacity() <= PAYLOAD_ROOM);
    }

    // INV-NET4
    #[test]
    fn a_long_payload_owns_exactly_its_bytes() {
        let payload = vec![7; 3 * PAYLOAD_ROOM + 5];
        let batch = batch_of(&[(1, payload.clone())]);
        let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
        let mut input = batch.as_bytes();
        let mut room = 0;
        let decoded = loop {
            if let Some(frame) = decoder.next(&mut take(&mut input, 60_000)).unwrap() {
                break frame;
            }
            room = decoder.payload.capacity();
        };
        assert_eq!(decoded.1, payload);
        assert_eq!(room, payload.len());
    }
}
