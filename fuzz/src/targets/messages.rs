//! Raft messages from peers: what is accepted comes back as it was when it is written again (INV-NET1, INV-NET2).

use bytes::Bytes;
use keystead_replication::transport::message;

/// Reads the bytes as a message.
pub fn run(bytes: &[u8]) {
    let Ok((group, message)) = message::decode(&Bytes::copy_from_slice(bytes)) else { return };
    let mut again = Vec::new();
    message::encode(group, &message, &mut again);
    let read = message::decode(&again.into());
    assert_eq!(read, Ok((group, message)), "a message changed on its way");
}

/// Messages of several kinds, written by hand: this crate does not know raft.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    // group 1, type, flags, to 2, from 3, term 5, log term 4, index 9, commit 8
    let head = |kind: u8, flags: u8| vec![1, kind, flags, 2, 3, 5, 4, 9, 8];
    let with = |kind, flags, rest: &[u8]| [&head(kind, flags)[..], rest].concat();
    let kinds = (0..20).map(|kind| with(kind, 0, &[]));
    let rare = with(4, 1 | 2, &[1, 2, 3, 4, 5]);
    let context = with(15, 4, b"\x07context");
    let snapshot = with(7, 8, &[9, 5, 1, 3, 1, 2, 3, 1, 4, 0, 0]);
    let entries = with(3, 16, b"\x02\x00\x05\x0a\x03abc\x00\x81\x05\x0b\x00\x01x");
    kinds.chain([rare, context, snapshot, entries]).collect()
}
