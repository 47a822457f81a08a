//! Handing a snapshot file out piece by piece.
//!
//! Owns: [`ChunkRequest`], [`ChunkReply`], their bytes, and [`serve_chunk`]. Never: keeps a file
//! open or a fetch in mind between requests; whoever fetches says each time where it is. Called
//! by the control plane for calls that begin with [`CHUNK_REQUEST_TAG`].

use std::io;
use std::path::Path;

use bytes::Bytes;
use keystead_types::limits::SNAPSHOT_CHUNK_BYTES;
use keystead_types::{LogIndex, ShardId, Term};
use keystead_wal::{Disk, DiskFile};

use super::{SnapshotError, SnapshotId, directory, io_error};
use crate::transport::wire::{DecodeError, Reader, put_varint};

/// First byte of a call that asks for a piece of a snapshot.
pub const CHUNK_REQUEST_TAG: u8 = b'S';

const CHUNK: u8 = 1;
const GONE: u8 = 2;

/// Asks for a piece of a snapshot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRequest {
    /// Which snapshot.
    pub id: SnapshotId,
    /// From which byte of the file on.
    pub offset: u64,
    /// Most bytes wanted.
    pub bytes_max: u64,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkReply {
    /// A piece of the file, at the offset asked for; empty only at its end.
    Chunk {
        /// The whole file's size.
        file_bytes: u64,
        /// The piece.
        content: Bytes,
    },
    /// The file is not there (any more).
    Gone {
        /// The newest snapshot of the shard that is.
        newest: Option<SnapshotId>,
    },
}

impl ChunkRequest {
    /// Appends the request, tag first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(CHUNK_REQUEST_TAG);
        put_id(out, self.id);
        put_varint(out, self.offset);
        put_varint(out, self.bytes_max);
    }

    /// Reads a request, tag included.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none.
    pub fn decode(request: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(request);
        let tag = reader.u8("request tag")?;
        if tag != CHUNK_REQUEST_TAG {
            let (field, value) = ("request tag", u64::from(tag));
            return Err(DecodeError::Refused { field, value, offset: 0 });
        }
        let id = read_id(&mut reader)?;
        let offset = reader.varint("offset")?;
        let bytes_max = reader.varint("most bytes")?;
        reader.finish()?;
        Ok(Self { id, offset, bytes_max })
    }
}

impl ChunkReply {
    /// Appends the reply.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Chunk { file_bytes, content } => {
                out.push(CHUNK);
                put_varint(out, *file_bytes);
                out.extend_from_slice(content);
            }
            Self::Gone { newest } => {
                out.push(GONE);
                out.push(u8::from(newest.is_some()));
                if let Some(id) = newest {
                    put_id(out, *id);
                }
            }
        }
    }

    /// Reads a reply; the content is a slice of it.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none.
    pub fn decode(reply: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(reply);
        match reader.u8("reply kind")? {
            CHUNK => {
                let file_bytes = reader.varint("file size")?;
                Ok(Self::Chunk { file_bytes, content: reply.slice(reader.rest()) })
            }
            GONE => {
                let newest = match reader.u8("newest")? {
                    0 => None,
                    _ => Some(read_id(&mut reader)?),
                };
                reader.finish()?;
                Ok(Self::Gone { newest })
            }
            kind => {
                let (field, value) = ("reply kind", u64::from(kind));
                Err(DecodeError::Refused { field, value, offset: 0 })
            }
        }
    }
}

fn put_id(out: &mut Vec<u8>, id: SnapshotId) {
    put_varint(out, u64::from(id.shard.0));
    put_varint(out, id.index.0);
    put_varint(out, id.term.0);
}

fn read_id(reader: &mut Reader<'_>) -> Result<SnapshotId, DecodeError> {
    Ok(SnapshotId {
        shard: ShardId(reader.varint_u32("shard")?),
        index: LogIndex(reader.varint("index")?),
        term: Term(reader.varint("term")?),
    })
}

/// Reads the piece that is asked for out of `dir`. Blocks for one read of at most
/// [`SNAPSHOT_CHUNK_BYTES`], well under a millisecond if the file is in memory.
///
/// # Errors
/// [`SnapshotError::Io`] if the file is there and cannot be read.
pub fn serve_chunk<D: Disk>(
    disk: &D,
    dir: &Path,
    request: &ChunkRequest,
) -> Result<ChunkReply, SnapshotError> {
    let path = request.id.path(dir);
    let file = match disk.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let newest = directory::newest(disk, dir, request.id.shard)?;
            return Ok(ChunkReply::Gone { newest });
        }
        Err(source) => return Err(io_error("open", &path)(source)),
    };
    let file_bytes = file.size_bytes().map_err(io_error("measure", &path))?;
    let left = file_bytes.saturating_sub(request.offset);
    let wanted = left.min(request.bytes_max);
    let bytes = usize::try_from(wanted).unwrap_or(usize::MAX).min(SNAPSHOT_CHUNK_BYTES);
    let mut content = vec![0; bytes];
    let read = file.read_at(&mut content, request.offset).map_err(io_error("read", &path))?;
    content.truncate(read);
    Ok(ChunkReply::Chunk { file_bytes, content: content.into() })
}
