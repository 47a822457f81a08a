//! What a group keeps in the node's log: entries and their headers, hard states, places of snapshots, changes of
//! replicas.

/// Reads the bytes as each of them.
pub fn run(bytes: &[u8]) {
    keystead_replication::fuzzing::log_record(1 + bytes.len() as u64, bytes);
}

/// One of each length that is expected.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let header = [&[1, 1][..], &[7; 16], b"*1\r\n$4\r\nPING\r\n"].concat();
    let entry = [&[5, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0][..], b"ctx", &header].concat();
    let origin = [&[9; 16][..], &[1, 0, 0, 0], &[3; 8], &[0; 4]].concat();
    vec![header, entry, vec![4; 24], origin, [&[2][..], &[9; 8]].concat()]
}
