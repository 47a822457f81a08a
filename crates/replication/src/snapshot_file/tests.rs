//! Snapshot files: what is written is read, damage is named, fetching goes on where it ended.
//! On a disk in memory that loses what was not synced; one test uses real sockets.

use keystead_types::limits::SNAPSHOT_CHUNK_BYTES;
use keystead_wal::MemoryDisk;
use proptest::prelude::*;

use super::*;
use crate::transport::{CallError, StreamError};

const ID: SnapshotId = SnapshotId { shard: ShardId(3), index: LogIndex(1200), term: Term(7) };

fn dir() -> PathBuf {
    PathBuf::from("/node/snapshots")
}

fn disk() -> MemoryDisk {
    let disk = MemoryDisk::new(1 << 30);
    disk.create_dir(&dir()).unwrap();
    disk
}

fn write(disk: &MemoryDisk, id: SnapshotId, chunks: &[Vec<u8>]) -> SnapshotFile {
    let place = Bytes::from_static(b"place");
    let mut writer = SnapshotWriter::create(disk, &dir(), id, place).unwrap();
    for chunk in chunks {
        writer.chunk(chunk).unwrap();
    }
    writer.finish().unwrap()
}

fn read(disk: &MemoryDisk, path: &Path) -> Result<Vec<Bytes>, SnapshotError> {
    let mut reader = SnapshotReader::open(disk, path)?;
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        chunks.push(chunk);
    }
    Ok(chunks)
}

/// Chunks worth several pieces.
fn large() -> Vec<Vec<u8>> {
    (0..7_u8).map(|number| vec![number; 200_000]).collect()
}

proptest! {
    #[test]
    fn chunks_come_back_as_they_were(chunks in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 1..300), 0..6,
    )) {
        let disk = disk();
        let written = write(&disk, ID, &chunks);
        disk.power_loss(1);
        prop_assert_eq!(read(&disk, &written.path).unwrap(), chunks);
        let reader = SnapshotReader::open(&disk, &written.path).unwrap();
        prop_assert_eq!(reader.snapshot(), &written);
        prop_assert_eq!(disk.contents(&written.path).unwrap().len() as u64, written.bytes);
    }

    // INV-SNAP2
    #[test]
    fn a_flipped_bit_anywhere_is_noticed(at: prop::sample::Index, bit in 0..8_u8) {
        let disk = disk();
        let written = write(&disk, ID, &[b"one".to_vec(), b"two".to_vec()]);
        let offset = at.index(usize::try_from(written.bytes).unwrap()) as u64;
        assert!(disk.flip_bit(&written.path, offset, bit));
        let error = read(&disk, &written.path).unwrap_err();
        let is_named = match &error {
            SnapshotError::Damaged { path, .. } => *path == written.path,
            error => matches!(error, SnapshotError::Version { .. }),
        };
        prop_assert!(is_named, "{}", error);
    }

    #[test]
    fn a_file_cut_anywhere_is_noticed(at: prop::sample::Index) {
        let disk = disk();
        let written = write(&disk, ID, &[b"one".to_vec(), b"two".to_vec()]);
        let mut bytes = disk.contents(&written.path).unwrap();
        bytes.truncate(at.index(bytes.len()));
        disk.put(&written.path, bytes);
        prop_assert!(read(&disk, &written.path).unwrap_err().is_damage());
    }
}

/// Bytes as they stand in docs/formats.md. If this fails, the format has a new version.
#[test]
fn the_format_of_version_1_stays() {
    let disk = disk();
    let written = write(&disk, ID, &[b"chunk".to_vec()]);
    let bytes = disk.contents(&written.path).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let header = "4b535444534e41500100000003000000b0040000000000000700000000000000\
                  05000000706c6163651d75ebd8";
    let chunk = "05000000448e6b4a6368756e6b";
    let footer = "0000000001000000000000005a000000000000004195fa464b53544453454e44";
    assert_eq!(hex, [header, chunk, footer].concat());
}

#[test]
fn damage_is_told_with_file_place_and_remedy() {
    let disk = disk();
    let written = write(&disk, ID, &[vec![1; 100], vec![2; 100]]);
    // The header takes 45 bytes, the first chunk 108 more; this hits the second chunk's content.
    assert!(disk.flip_bit(&written.path, 200, 0));
    let error = read(&disk, &written.path).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the snapshot at /node/snapshots/3-1200-7.snap is damaged at byte 153: a chunk's checksum \
         does not match; remove the file, and this replica takes the state from another one"
    );
}

// INV-SNAP1
#[test]
fn a_snapshot_that_was_not_finished_leaves_nothing() {
    let disk = disk();
    let mut writer = SnapshotWriter::create(&disk, &dir(), ID, Bytes::new()).unwrap();
    writer.chunk(b"half").unwrap();
    drop(writer);
    assert_eq!(disk.list(&dir()).unwrap(), [""; 0]);
}

#[test]
fn empty_chunks_are_refused() {
    let mut writer = SnapshotWriter::create(&disk(), &dir(), ID, Bytes::new()).unwrap();
    assert!(matches!(writer.chunk(b""), Err(SnapshotError::Size { bytes: 0, .. })));
}

#[test]
fn the_newest_sound_snapshot_of_each_shard_is_listed() {
    let disk = disk();
    let other = SnapshotId { shard: ShardId(4), ..ID };
    let newer = SnapshotId { index: LogIndex(1300), ..ID };
    let newest = SnapshotId { index: LogIndex(1400), ..ID };
    for id in [ID, newer, newest, other] {
        write(&disk, id, &[b"state".to_vec()]);
    }
    // The newest lost its end; somebody left a file of his own, a crash one half written, and
    // fetches one behind and one before what is there.
    let bytes = disk.contents(&newest.path(&dir())).unwrap();
    disk.put(&newest.path(&dir()), bytes[..bytes.len() - 1].to_vec());
    for name in ["notes.txt", "3-1500-7.snap.tmp", "3-1250-7.snap.partial", "3-1600-7.snap.partial"]
    {
        disk.put(&dir().join(name), b"x".to_vec());
    }
    let listed = list(&disk, &dir()).unwrap();
    assert_eq!(listed.values().map(|file| file.id).collect::<Vec<_>>(), [newer, other]);
    assert_eq!(
        disk.list(&dir()).unwrap(),
        [
            "3-1200-7.snap",
            "3-1300-7.snap",
            "3-1400-7.snap",
            "3-1600-7.snap.partial",
            "4-1200-7.snap",
            "notes.txt"
        ]
    );
    remove_older(&disk, &dir(), ID.shard, newer.index).unwrap();
    assert!(!disk.list(&dir()).unwrap().contains(&"3-1200-7.snap".to_owned()));
    remove_all(&disk, &dir(), ID.shard).unwrap();
    assert_eq!(disk.list(&dir()).unwrap(), ["4-1200-7.snap", "notes.txt"]);
}

proptest! {
    #[test]
    fn any_bytes_at_all_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let tagged = [&[CHUNK_REQUEST_TAG], bytes.as_slice()].concat();
        if let Ok(request) = ChunkRequest::decode(&tagged) {
            let mut out = Vec::new();
            request.encode(&mut out);
            prop_assert_eq!(ChunkRequest::decode(&out), Ok(request));
        }
        drop(ChunkReply::decode(&bytes.clone().into()));
        let (disk, path) = (disk(), ID.path(&dir()));
        disk.put(&path, bytes);
        prop_assert!(read(&disk, &path).is_err());
    }
}

#[test]
fn requests_and_replies_come_back_as_they_were() {
    let request = ChunkRequest { id: ID, offset: 1 << 40, bytes_max: 5 };
    let mut out = Vec::new();
    request.encode(&mut out);
    assert_eq!(out[0], CHUNK_REQUEST_TAG);
    assert_eq!(ChunkRequest::decode(&out), Ok(request));
    for reply in [
        ChunkReply::Chunk { file_bytes: 77, content: Bytes::from_static(b"content") },
        ChunkReply::Gone { newest: Some(ID) },
        ChunkReply::Gone { newest: None },
    ] {
        let mut out = Vec::new();
        reply.encode(&mut out);
        assert_eq!(ChunkReply::decode(&out.into()), Ok(reply));
    }
}

/// A peer whose snapshots lie on `disk`; its connections break after `pieces` pieces.
struct Peer {
    disk: MemoryDisk,
    pieces: usize,
}

impl ChunkSource for Peer {
    fn ask(&mut self, request: &[u8]) -> Result<Bytes, CallError> {
        let Some(left) = self.pieces.checked_sub(1) else {
            return Err(broken());
        };
        self.pieces = left;
        let request = ChunkRequest::decode(request).unwrap();
        let mut out = Vec::new();
        serve_chunk(&self.disk, &dir(), &request).unwrap().encode(&mut out);
        Ok(out.into())
    }
}

fn broken() -> CallError {
    let (address, source) = ("peer:1".to_owned(), StreamError::Closed);
    CallError::Lost { address, source, was_sent: true }
}

fn order() -> FetchOrder {
    FetchOrder { id: ID, dir: dir(), bytes_per_second_max: None }
}

/// Fetches from `peer`, with `connections` that break after two pieces each.
fn fetch_with(
    disk: &MemoryDisk,
    peer: &MemoryDisk,
    mut connections: usize,
) -> Result<SnapshotFile, FetchError> {
    let connect = || {
        connections = connections.checked_sub(1).ok_or_else(broken)?;
        Ok(Peer { disk: peer.clone(), pieces: 2 })
    };
    fetch(disk, &order(), &Abort::new(), connect, |_| {})
}

// INV-SNAP3
#[test]
fn a_fetch_survives_cut_connections_and_goes_on_after_a_failed_try() {
    let (disk, peer) = (disk(), disk());
    let written = write(&peer, ID, &large());
    let error = fetch_with(&disk, &peer, 1).unwrap_err();
    assert!(matches!(error, FetchError::Call { .. }), "{error}");
    let partial = disk.contents(&dir().join("3-1200-7.snap.partial")).unwrap().len();
    assert_eq!(partial, 2 * SNAPSHOT_CHUNK_BYTES);
    let mut first = None;
    let connect = || Ok(Peer { disk: peer.clone(), pieces: 2 });
    let fetched = fetch(&disk, &order(), &Abort::new(), connect, |progress| {
        first.get_or_insert(progress.fetched_bytes);
        assert_eq!(progress.file_bytes, written.bytes);
    })
    .unwrap();
    assert!(first.unwrap() > partial as u64, "what was there was fetched again");
    assert_eq!(fetched, written);
    disk.power_loss(1);
    assert_eq!(read(&disk, &fetched.path).unwrap(), large());
    assert_eq!(disk.list(&dir()).unwrap(), ["3-1200-7.snap"]);
}

#[test]
fn what_was_fetched_and_damaged_since_is_fetched_again() {
    let (disk, peer) = (disk(), disk());
    write(&peer, ID, &large());
    fetch_with(&disk, &peer, 1).unwrap_err();
    // In the second chunk: the first is kept, the rest fetched once more.
    assert!(disk.flip_bit(&dir().join("3-1200-7.snap.partial"), 300_000, 3));
    let fetched = fetch_with(&disk, &peer, 10).unwrap();
    assert_eq!(read(&disk, &fetched.path).unwrap(), large());
}

#[test]
fn a_file_damaged_at_the_peer_is_noticed_and_not_kept() {
    let (disk, peer) = (disk(), disk());
    let written = write(&peer, ID, &large());
    assert!(peer.flip_bit(&written.path, 1_000_000, 3));
    let error = fetch_with(&disk, &peer, 10).unwrap_err();
    assert!(matches!(&error, FetchError::File(damage) if damage.is_damage()), "{error}");
    assert_eq!(disk.list(&dir()).unwrap(), [""; 0]);
}

#[test]
fn a_file_that_is_gone_at_the_peer_is_told_with_what_it_has_instead() {
    let (disk, peer) = (disk(), disk());
    let newer = SnapshotId { index: LogIndex(1300), ..ID };
    write(&peer, newer, &large());
    let error = fetch_with(&disk, &peer, 10).unwrap_err();
    assert!(
        matches!(error, FetchError::Gone { newest: Some(newest), .. } if newest == newer),
        "{error}"
    );
}

#[test]
fn a_fetch_can_be_called_off() {
    let (disk, peer) = (disk(), disk());
    write(&peer, ID, &large());
    let abort = Abort::new();
    let connect = || Ok(Peer { disk: peer.clone(), pieces: 100 });
    let mut pieces = 0;
    let outcome = fetch(&disk, &order(), &abort, connect, |_| {
        pieces += 1;
        abort.abort();
    });
    assert!(matches!(outcome, Err(FetchError::Aborted { .. })));
    assert_eq!(pieces, 1);
}

#[test]
fn a_full_disk_ends_the_fetch_with_an_error() {
    let (small, peer) = (MemoryDisk::new(100_000), disk());
    small.create_dir(&dir()).unwrap();
    write(&peer, ID, &large());
    let error = fetch_with(&small, &peer, 10).unwrap_err();
    assert!(matches!(error, FetchError::File(SnapshotError::Io { .. })), "{error}");
    assert_eq!(small.list(&dir()).unwrap(), [""; 0], "it must not keep the disk full");
}

#[test]
fn a_snapshot_is_fetched_over_sockets() {
    use crate::transport::tests::{Answering, hello_for_calls};

    let (disk, peer) = (disk(), disk());
    let written = write(&peer, ID, &large());
    let node = Answering::start(move |request| {
        let request = ChunkRequest::decode(&request).unwrap();
        let mut out = Vec::new();
        serve_chunk(&peer, &dir(), &request).unwrap().encode(&mut out);
        out.into()
    });
    let within = std::time::Duration::from_secs(20);
    let connect = || PeerSource::connect(&node.address(), &hello_for_calls(), within);
    let fetched = fetch(&disk, &order(), &Abort::new(), connect, |_| {}).unwrap();
    assert_eq!(fetched, written);
}
