//! Frames over one socket.
//!
//! Owns: [`FrameReader`] and [`write_all`]. Never: deadlines (the caller sets them), what a frame
//! means. Used by the dialing side, the accepting side and calls.

use std::io;

use bytes::Bytes;
use thiserror::Error;

use super::frame::{FrameDecoder, FrameError, FrameKind};
use super::net::Stream;
use super::peer::is_transient;

/// Why no further frame comes.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The other end closed the connection.
    #[error("the other end closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {source}")]
    Io {
        /// What the system says.
        source: io::Error,
    },
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Reads a socket and cuts frames out of what came.
#[derive(Debug)]
pub(super) struct FrameReader {
    decoder: FrameDecoder,
    buffer: Vec<u8>,
    /// `buffer[at..filled]` is read and not yet decoded.
    at: usize,
    filled: usize,
}

impl FrameReader {
    /// A reader that reads up to `read_bytes` at a time, and refuses frames beyond
    /// `frame_bytes_max`.
    pub(super) fn new(frame_bytes_max: usize, read_bytes: usize) -> Self {
        let decoder = FrameDecoder::new(frame_bytes_max);
        Self { decoder, buffer: vec![0; read_bytes], at: 0, filled: 0 }
    }

    /// The same reader with room for larger reads.
    pub(super) fn widened(mut self, read_bytes: usize) -> Self {
        self.buffer.resize(read_bytes.max(self.filled), 0);
        self
    }

    pub(super) fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.decoder.set_frame_bytes_max(frame_bytes_max);
    }

    /// The next frame among the bytes that are here already.
    pub(super) fn buffered(&mut self) -> Result<Option<(FrameKind, Bytes)>, FrameError> {
        let mut input = &self.buffer[self.at..self.filled];
        let frame = self.decoder.next(&mut input);
        self.at = self.filled - input.len();
        frame
    }

    /// Reads once; all that was here before must have been decoded. Returns how many bytes came,
    /// at least one. Cancel safe.
    pub(super) async fn read_more(&mut self, stream: &Stream) -> Result<usize, StreamError> {
        assert!(self.at == self.filled, "INV-NET3: bytes read and not decoded would be lost");
        match stream.read(&mut self.buffer).await {
            Ok(0) => Err(StreamError::Closed),
            Ok(bytes) => {
                (self.at, self.filled) = (0, bytes);
                Ok(bytes)
            }
            Err(source) => Err(StreamError::Io { source }),
        }
    }

    /// The next frame. Cancel safe.
    pub(super) async fn next(
        &mut self,
        stream: &Stream,
    ) -> Result<(FrameKind, Bytes), StreamError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            self.read_more(stream).await?;
        }
    }
}

/// Writes all of `bytes`; `written` is told of every piece. Not cancel safe: dropped, it may have
/// written a part.
pub(super) async fn write_all(
    stream: &Stream,
    mut bytes: &[u8],
    mut written: impl FnMut(usize),
) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(count) => {
                written(count);
                bytes = &bytes[count..];
            }
            Err(error) if is_transient(&error) => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
