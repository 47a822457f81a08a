//! The bytes of a snapshot: sections, checksums, records.
//! Owns: framing in both directions. Never: what the records mean to a store.

use keystead_types::UnixMillis;

use crate::wire::WireReader;

/// The first bytes of every snapshot.
pub(super) const MAGIC: &[u8; 8] = b"KEYSTEAD";
/// Version of the format that is written; a loader refuses others, but for the next two.
pub(super) const VERSION: u16 = 4;
/// The version before clients waited.
pub(super) const VERSION_WITHOUT_WAITERS: u16 = 3;
/// The version before there were databases: all keys are in the first.
pub(super) const VERSION_WITHOUT_DATABASES: u16 = 2;
/// Bytes of a section's kind and length.
pub(super) const SECTION_HEAD: usize = 5;
/// Bytes of a section's checksum.
pub(super) const SECTION_TAIL: usize = 4;
/// Longest section, bytes: one record of the greatest key and value (512 MiB each) and a little.
pub(super) const SECTION_BYTES_MAX: usize =
    2 * keystead_types::limits::BULK_BYTES_MAX + 1024 * 1024;
/// A section is closed once it is this long, bytes: large enough to make checksums cheap.
pub(super) const SECTION_BYTES_TARGET: usize = 64 * 1024;

pub(super) const SECTION_HEADER: u8 = b'H';
pub(super) const SECTION_WATCH: u8 = b'W';
pub(super) const SECTION_SCRIPT: u8 = b'S';
pub(super) const SECTION_FUNCTIONS: u8 = b'F';
pub(super) const SECTION_WAITER: u8 = b'Q';
pub(super) const SECTION_ANSWER: u8 = b'A';
pub(super) const SECTION_ARRIVAL: u8 = b'N';
pub(super) const SECTION_FUNCTIONS_VERSION: u8 = b'V';
pub(super) const SECTION_KEYS: u8 = b'K';
pub(super) const SECTION_END: u8 = b'E';

pub(super) const RECORD_STRING: u8 = 0;
/// A collection: its key, the code of its kind, its form, how many parts follow.
pub(super) const RECORD_COLLECTION: u8 = 1;
pub(super) const RECORD_PART: u8 = 2;
pub(super) const RECORD_TIMED: u8 = 0x80;

/// Begins a section at the end of `out`; returns where it starts.
pub(super) fn begin_section(out: &mut Vec<u8>, kind: u8) -> usize {
    let start = out.len();
    out.push(kind);
    out.extend_from_slice(&[0; 4]);
    start
}

/// Fills in the length of the section that starts at `start`, and appends the checksum.
pub(super) fn end_section(out: &mut Vec<u8>, start: usize) {
    let len = out.len() - start - SECTION_HEAD;
    assert!(len <= SECTION_BYTES_MAX, "INV-D2: section of {len} bytes; records are smaller");
    let len = u32::try_from(len).expect("SECTION_BYTES_MAX fits in 32 bits");
    out[start + 1..start + SECTION_HEAD].copy_from_slice(&len.to_le_bytes());
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

pub(super) fn put_kind(out: &mut Vec<u8>, kind: u8, expiry: Option<UnixMillis>) {
    match expiry {
        Some(at) => {
            out.push(kind | RECORD_TIMED);
            out.extend_from_slice(&at.0.to_le_bytes());
        }
        None => out.push(kind),
    }
}

/// Reads a record's kind without its flag, and its expiry.
pub(super) fn kind(payload: &mut WireReader<'_>) -> Option<(u8, Option<UnixMillis>)> {
    let kind = payload.byte()?;
    if kind & RECORD_TIMED == 0 {
        return Some((kind, None));
    }
    Some((kind & !RECORD_TIMED, Some(UnixMillis(payload.u64()?))))
}
