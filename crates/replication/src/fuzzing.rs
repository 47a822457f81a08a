//! A door for the fuzz targets of `fuzz/`: what stands in the log of a group, from any bytes.
//!
//! Owns: [`log_record`]. Never: part of the product; compiled only with the feature `fuzzing`.

use bytes::Bytes;

use crate::entry::{
    Header, Origin, ReplicaChange, put_entry_head, read_entry, read_hard_state, stamp,
    write_hard_state,
};

/// Reads `bytes` as everything that a group keeps in the log; what can be read must come back as it was when it is
/// written again.
///
/// # Panics
/// If it does not.
pub fn log_record(index: u64, bytes: &[u8]) {
    if let Ok((header, commands)) = Header::split(bytes) {
        let mut again = Vec::new();
        header.put(&mut again);
        again.extend_from_slice(commands);
        assert_eq!(again, bytes, "the header of an entry");
    }
    if let Ok(entry) = read_entry(index, Bytes::copy_from_slice(bytes)) {
        let mut again = Vec::new();
        put_entry_head(&entry, &mut again);
        again.extend_from_slice(&entry.data);
        assert_eq!(again, bytes, "an entry");
        assert_eq!(entry.index, index, "the index of an entry");
        // The latest time stamped on the log is taken from whatever entry is there.
        let _time = stamp(&entry);
    }
    if let Ok(state) = read_hard_state(bytes) {
        assert_eq!(write_hard_state(&state), bytes, "a hard state");
    }
    if let Ok(origin) = Origin::read(index, bytes) {
        let again = Origin::read(index, &origin.write());
        assert_eq!(again.as_ref(), Ok(&origin), "the place of a snapshot");
    }
    if let Ok(change) = ReplicaChange::read(bytes) {
        assert_eq!(change.write(), bytes, "a change of replicas");
    }
}
