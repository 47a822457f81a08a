//! A segment in memory, in a buffer that is used for one segment after the other.
//! Owns: [`SegmentBuffer`], how a file is read into it. Never: what the bytes mean (see `recovery`).
//!
//! A node that returns reads its whole log. Were each segment kept in a buffer of its own until the last group has
//! applied its entries, a restart would need the log's length in memory beside the keys.

use crate::disk::DiskFile;

/// Read and compared at once.
pub(crate) const CHUNK_BYTES: usize = 1024 * 1024;
pub(crate) static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

/// A file's bytes.
#[derive(Debug, Default)]
pub(crate) struct SegmentBuffer {
    bytes: Vec<u8>,
    nonzero_end: usize,
}

impl SegmentBuffer {
    /// Reads a whole file of `size_bytes`; what stood here before is gone.
    ///
    /// Once the zeros at its end have begun, the rest is looked at through one small buffer: the pages of the large one
    /// are then never touched, which saves both time and memory.
    pub(crate) fn read<F: DiskFile>(mut self, file: &F, size_bytes: u64) -> std::io::Result<Self> {
        let size = usize::try_from(size_bytes).map_err(std::io::Error::other)?;
        if self.bytes.len() < size {
            // ORDER: the old buffer goes before the new one comes.
            drop(std::mem::take(&mut self));
            self.bytes = vec![0; size];
        }
        self.bytes.truncate(size);
        // Behind this the buffer is zero, whatever was read into it before.
        let dirty_end = self.nonzero_end.min(size);
        self.nonzero_end = 0;
        let mut probe = Vec::new();
        let mut at = 0;
        while at < size {
            let length = (size - at).min(CHUNK_BYTES);
            let is_probing = at >= dirty_end && at > 0 && self.nonzero_end + CHUNK_BYTES <= at;
            let target = if is_probing {
                probe.resize(length, 0);
                &mut probe[..length]
            } else {
                &mut self.bytes[at..at + length]
            };
            fill(file, target, at as u64)?;
            if *target != ZEROS[..length] {
                let end = target.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                self.nonzero_end = at + end;
                if is_probing {
                    self.bytes[at..at + length].copy_from_slice(&probe);
                }
            }
            at += length;
        }
        Ok(self)
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Behind this, all bytes of the file are zero.
    pub(crate) const fn nonzero_end(&self) -> usize {
        self.nonzero_end
    }
}

fn fill<F: DiskFile>(file: &F, target: &mut [u8], at: u64) -> std::io::Result<()> {
    let mut filled = 0;
    while filled < target.len() {
        let read = file.read_at(&mut target[filled..], at + filled as u64)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::{Disk, MemoryDisk};

    #[test]
    fn nothing_of_an_older_file_shows_in_a_newer_one() {
        let disk = MemoryDisk::new(64 << 20);
        let file_of = |name: &str, parts: &[(usize, usize)], size: usize| {
            let file = disk.create(Path::new(name)).unwrap();
            file.write_at(&vec![0; size], 0).unwrap();
            for (at, length) in parts {
                file.write_at(&vec![7; *length], *at as u64).unwrap();
            }
            file
        };
        let mib = CHUNK_BYTES;
        let cases: [(&[(usize, usize)], usize); 5] = [
            (&[(0, 3 * mib)], 4 * mib),
            (&[(0, 10), (3 * mib + 5, 1)], 4 * mib),
            (&[(2 * mib - 1, 2)], 6 * mib),
            (&[(0, 1)], 3 * mib + 17),
            (&[], 6 * mib),
        ];
        let mut buffer = SegmentBuffer::default();
        for (round, (parts, size)) in cases.into_iter().enumerate() {
            let file = file_of(&format!("{round}"), parts, size);
            buffer = buffer.read(&file, size as u64).unwrap();
            let mut expected = vec![0; size];
            parts.iter().for_each(|(at, length)| expected[*at..at + length].fill(7));
            assert!(buffer.bytes() == expected, "round {round}");
            let end = parts.last().map_or(0, |(at, length)| at + length);
            assert_eq!(buffer.nonzero_end(), end, "round {round}");
        }
    }
}
