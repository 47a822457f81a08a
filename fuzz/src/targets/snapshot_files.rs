//! Snapshot files: any bytes, and files that were written and damaged (INV-SNAP2).

use bytes::Bytes;
use keystead_replication::SnapshotPlace;
use keystead_replication::snapshot_file::{
    SnapshotError, SnapshotFile, SnapshotId, SnapshotReader, SnapshotWriter,
};
use keystead_types::{LogIndex, ShardId, Term};
use keystead_wal::MemoryDisk;

use crate::input::Input;
use crate::seal;

const DIR: &str = "/snapshots";

/// See the module. The first byte decides between the two, and whether checksums are made right.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.u8();
    if choice % 3 == 2 {
        return written(&mut input);
    }
    let mut file = input.rest().to_vec();
    if choice % 3 == 1 {
        seal::snapshot_file(&mut file);
    }
    let disk = MemoryDisk::new(1 << 24);
    let path = std::path::Path::new(DIR).join("file.snap");
    disk.put(&path, file);
    if let Ok((snapshot, content)) = read(&disk, &path) {
        let length: usize = content.iter().map(Bytes::len).sum();
        assert!((length as u64) < snapshot.bytes, "more content than the file has bytes");
        // What stands in the place is read by whoever recovers.
        let _is_place = SnapshotPlace::read(snapshot.id.index, &snapshot.place).is_ok();
    }
}

fn read(
    disk: &MemoryDisk,
    path: &std::path::Path,
) -> Result<(SnapshotFile, Vec<Bytes>), SnapshotError> {
    let mut reader = SnapshotReader::open(disk, path)?;
    let mut content = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        assert!(!chunk.is_empty(), "an empty chunk");
        content.push(chunk);
    }
    assert_eq!(reader.offset(), reader.snapshot().bytes, "INV-SNAP2: a byte under no checksum");
    Ok((reader.snapshot().clone(), content))
}

fn written(input: &mut Input<'_>) {
    let disk = MemoryDisk::new(1 << 24);
    keystead_wal::Disk::create_dir(&disk, DIR.as_ref()).expect("an empty disk");
    let id = SnapshotId {
        shard: ShardId(u32::from(input.u8())),
        index: LogIndex(input.u64()),
        term: Term(input.u64()),
    };
    let (place, bit) = (Bytes::copy_from_slice(input.piece(40)), input.u8());
    let damage = u64::from(input.u16());
    let writer = SnapshotWriter::create(&disk, DIR.as_ref(), id, place.clone());
    let mut writer = writer.expect("there is room");
    let mut chunks = Vec::new();
    while !input.is_empty() && chunks.len() < 32 {
        let chunk = input.piece(200);
        match writer.chunk(chunk) {
            Ok(()) => chunks.push(Bytes::copy_from_slice(chunk)),
            Err(error) => {
                assert!(chunk.is_empty(), "a chunk was refused: {error}");
                return;
            }
        }
    }
    let file = writer.finish().expect("there is room");
    let (snapshot, content) = read(&disk, &file.path).expect("what was written can be read");
    assert_eq!((snapshot.id, &snapshot.place, &content), (id, &place, &chunks));
    if disk.flip_bit(&file.path, damage % file.bytes, bit) {
        assert!(read(&disk, &file.path).is_err(), "INV-SNAP2: damage was not noticed");
    }
}

/// A file of each way.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let ascending: Vec<u8> = (0..=255).collect();
    vec![
        [&[0][..], b"KSTDSNAP\x01\0\0\0", &[0; 80]].concat(),
        [&[1][..], &ascending].concat(),
        [&[1][..], &[0; 120]].concat(),
        [&[2][..], &ascending, &ascending].concat(),
    ]
}
