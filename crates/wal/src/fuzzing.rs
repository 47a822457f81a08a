//! A door for the fuzz targets of `fuzz/`: checksums for bytes that nobody wrote.
//!
//! Owns: [`reseal`], [`IDENTITY`]. Never: part of the product; compiled only with the feature `fuzzing`.
//!
//! A mutated segment does not get past its first checksum, and what lies behind the checksums is what matters:
//! a disk that lies does so with any bytes, and a bug of an earlier version writes them with a sound checksum.

use keystead_types::NodeId;

use crate::batch::{BLOCK_HEADER_BYTES, BlockHeader, block_ends};
use crate::record::{RECORD_HEADER_BYTES, u32_at};
use crate::segment::{FIRST_BLOCK_OFFSET, Identity, Remains, SEGMENT_HEADER_BYTES, SegmentHeader};

/// Whose log the resealed segments are.
pub const IDENTITY: Identity = Identity { node: NodeId(7), log_id: 42 };

/// Makes `bytes` a sound segment with the given number: header, lengths and checksums become right, what the records
/// say stays. Blocks count up from `first_block`; returns the number after the last.
///
/// Shorter than a header, it is left alone.
pub fn reseal(bytes: &mut [u8], sequence: u64, first_block: u64) -> u64 {
    let Some(head) = bytes.get_mut(..SEGMENT_HEADER_BYTES) else { return first_block };
    // Both kinds of segments, whatever the bytes said.
    let remains = if sequence.is_multiple_of(2) { Remains::OlderBlocks } else { Remains::Zeros };
    let header = SegmentHeader { sequence, identity: IDENTITY, remains };
    head.copy_from_slice(&header.encode());
    let (mut at, mut number) = (SEGMENT_HEADER_BYTES, first_block);
    while bytes.len() - at >= BLOCK_HEADER_BYTES {
        let offset = FIRST_BLOCK_OFFSET + (at - SEGMENT_HEADER_BYTES) as u64;
        let place = crate::batch::Place { segment_seed: header.seed(), offset };
        at += reseal_block(&mut bytes[at..], place, number);
        number += 1;
    }
    number
}

/// Makes the front of `bytes` a sound block; returns its length.
fn reseal_block(bytes: &mut [u8], place: crate::batch::Place, number: u64) -> usize {
    let mut header = BlockHeader::read(bytes);
    let room = bytes.len() - BLOCK_HEADER_BYTES;
    // Most blocks are short, so that there are several.
    header.body_bytes = (header.body_bytes & 0xff).min(room as u64);
    if header.body_bytes < RECORD_HEADER_BYTES as u64 {
        header.body_bytes = 0;
    }
    header.number = number;
    let (body_end, block_end) = block_ends(header.body_bytes).expect("shorter than the buffer");
    let body = &mut bytes[BLOCK_HEADER_BYTES..body_end];
    (header.records, header.digest) = reseal_records(body);
    header.encode(place, &mut bytes[..BLOCK_HEADER_BYTES]);
    let end = block_end.min(bytes.len());
    bytes[body_end..end].fill(0);
    end
}

fn reseal_records(body: &mut [u8]) -> (u32, u32) {
    let (mut records, mut digest, mut at) = (0, 0, 0);
    while body.len() - at >= RECORD_HEADER_BYTES {
        let record = &mut body[at..];
        let room = record.len() - RECORD_HEADER_BYTES;
        let announced = u32_at(record, 4) as usize & 0x3f;
        // A rest too short for another record belongs to this one, or the body would not end with a record.
        let is_last = announced + RECORD_HEADER_BYTES > room;
        let length = if is_last { room } else { announced };
        let word = u32::try_from(length).expect("a body has at most 255 bytes");
        record[4..8].copy_from_slice(&word.to_le_bytes());
        record[12] = 1 + record[12] % 5;
        record[13..16].fill(0);
        let end = RECORD_HEADER_BYTES + length;
        let crc = crc32c::crc32c(&record[4..end]);
        record[..4].copy_from_slice(&crc.to_le_bytes());
        digest = crc32c::crc32c_append(digest, &crc.to_le_bytes());
        records += 1;
        at += end;
    }
    (records, digest)
}
