//! Checksums for mutated snapshots, so that what lies behind them is reached.
//!
//! Owns: the two layouts as far as their checksums go (`docs/formats.md` describes them). Never: what is in them.

/// Makes the lengths and checksums of a dump of a store right: sections, each `kind len u32 payload crc32c u32`, behind
/// eight bytes.
pub(crate) fn store_dump(bytes: &mut Vec<u8>) {
    const MAGIC: &[u8] = b"KEYSTEAD";
    const HEAD: usize = 5;
    const TAIL: usize = 4;
    if bytes.len() < MAGIC.len() {
        return;
    }
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    let mut at = MAGIC.len();
    while bytes.len() - at >= HEAD + TAIL {
        let section = &mut bytes[at..];
        let room = section.len() - HEAD - TAIL;
        let announced = usize::from(u16::from_le_bytes([section[1], section[2]]) & 0x3ff);
        let length = if announced > room { room } else { announced };
        let word = u32::try_from(length).unwrap_or(0);
        section[1..HEAD].copy_from_slice(&word.to_le_bytes());
        let crc = crc32c::crc32c(&section[..HEAD + length]);
        section[HEAD + length..HEAD + length + TAIL].copy_from_slice(&crc.to_le_bytes());
        at += HEAD + length + TAIL;
    }
    // What is too short for a section would only be waited for.
    bytes.truncate(at);
}

/// Makes a snapshot file's checksums and footer right.
pub(crate) fn snapshot_file(bytes: &mut Vec<u8>) {
    const HEAD: usize = 36;
    if bytes.len() < HEAD + 4 {
        return;
    }
    bytes[..8].copy_from_slice(b"KSTDSNAP");
    bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
    let place = usize::from(bytes[32]).min(bytes.len() - HEAD - 4);
    let word = u32::try_from(place).unwrap_or(0);
    bytes[32..36].copy_from_slice(&word.to_le_bytes());
    seal(bytes, HEAD + place, 0);
    let (mut at, mut chunks) = (HEAD + place + 4, 0_u64);
    while bytes.len() - at > 8 {
        let room = bytes.len() - at - 8;
        let length = (1 + usize::from(bytes[at] & 0x3f)).min(room);
        let word = u32::try_from(length).unwrap_or(0);
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[at + 8..at + 8 + length]);
        bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
        at += 8 + length;
        chunks += 1;
    }
    bytes.truncate(at);
    let file_bytes = (at + 32) as u64;
    bytes.extend_from_slice(&0_u32.to_le_bytes());
    bytes.extend_from_slice(&chunks.to_le_bytes());
    bytes.extend_from_slice(&file_bytes.to_le_bytes());
    let crc = crc32c::crc32c(bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(b"KSTDSEND");
}

/// Puts the checksum of `bytes[from..at]` at `at`.
fn seal(bytes: &mut [u8], at: usize, from: usize) {
    let crc = crc32c::crc32c(&bytes[from..at]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}
