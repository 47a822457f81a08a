//! Frames between nodes: any bytes, and frames that were damaged on their way.
//!
//! A decoder gives the same frames however the stream was cut (INV-NET3), exactly those that were sent, and of a
//! stream with a damaged byte only frames that were sent.

use bytes::Bytes;
use keystead_replication::transport::FrameKind;
use keystead_replication::transport::frame::{FrameBatch, FrameDecoder, FrameError};

use crate::input::{Input, Splits};

type Decoded = (Vec<(FrameKind, Bytes)>, Option<FrameError>);

/// See the module. The first byte decides between the two.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (choice, seed) = (input.u8(), input.u64());
    let bytes_max = if choice & 2 == 0 { 1024 } else { 1 << 20 };
    if choice & 1 == 0 {
        let stream = input.rest();
        let whole = decode(stream, bytes_max, || stream.len().max(1));
        let mut splits = Splits::new(seed);
        let pieces = decode(stream, bytes_max, || splits.next());
        assert_eq!(whole, pieces, "INV-NET3: frames depend on how they are split");
    } else {
        sent(&mut input, seed);
    }
}

fn decode(stream: &[u8], bytes_max: usize, mut next_read: impl FnMut() -> usize) -> Decoded {
    let (mut decoder, mut frames, mut at) = (FrameDecoder::new(bytes_max), Vec::new(), 0);
    while at < stream.len() {
        let end = (at + next_read()).min(stream.len());
        let mut read = &stream[at..end];
        loop {
            match decoder.next(&mut read) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(read.is_empty(), "INV-NET3: a decoder that wants more left bytes behind");
        at = end;
    }
    (frames, None)
}

fn sent(input: &mut Input<'_>, seed: u64) {
    let (mut batch, mut frames) = (FrameBatch::new(), Vec::new());
    let damage = (input.u16(), input.u8());
    while !input.is_empty() && frames.len() < 64 {
        let (kind, payload) = (FrameKind(input.u8()), input.piece(300));
        assert!(batch.push(kind, payload), "a short payload fits");
        frames.push((kind, Bytes::copy_from_slice(payload)));
    }
    let mut splits = Splits::new(seed);
    let (read, error) = decode(batch.as_bytes(), 1 << 20, || splits.next());
    assert_eq!((&read, error), (&frames, None), "what was sent is not what arrives");
    let mut stream = batch.as_bytes().to_vec();
    let (place, bits) = (usize::from(damage.0), damage.1);
    if bits == 0 || place >= stream.len() {
        return;
    }
    stream[place] ^= bits;
    let (read, error) = decode(&stream, 1 << 20, || splits.next());
    assert!(error.is_some() || read.len() < frames.len(), "damage at {place} was not noticed");
    assert_eq!(read, frames[..read.len()], "a damaged frame was handed out");
}

/// Frames, whole and broken.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mut batch = FrameBatch::new();
    for kind in [FrameKind::RAFT, FrameKind::PING, FrameKind::CALL] {
        assert!(batch.push(kind, b"payload"), "a short payload fits");
    }
    let stream = batch.as_bytes();
    vec![
        [&[0; 9][..], stream].concat(),
        [&[0; 9][..], &stream[..stream.len() - 3]].concat(),
        [&[0; 9][..], &[0xff; 16]].concat(),
        [&[1; 9][..], &[5, 0, 1], b"\x01\x07\0payload\xf3\x08\08 bytes."].concat(),
    ]
}
