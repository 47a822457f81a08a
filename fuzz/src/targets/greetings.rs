//! The first words on a connection between nodes, and requests for pieces of snapshots.
//!
//! What can be read comes back as it was when it is written again, and every refusal can be shown to a person.

use bytes::Bytes;
use keystead_replication::snapshot_file::{ChunkReply, ChunkRequest, serve_chunk};
use keystead_replication::transport::{Hello, Purpose, Refusal, Welcome};
use keystead_types::{LogIndex, NodeId, ShardId, Term};
use keystead_wal::MemoryDisk;

/// Reads the bytes as each of them.
pub fn run(bytes: &[u8]) {
    if let Ok(Ok(hello)) = Hello::decode(bytes) {
        let again = Hello::decode(&written(|out| hello.encode(out)));
        assert_eq!(again, Ok(Ok(hello.clone())), "a hello");
        assert!(hello.address.len() <= 260, "an address of {} bytes", hello.address.len());
        let ours = Welcome { cluster: 7, node: NodeId(2) };
        if hello.check(&ours).is_ok() {
            assert!(
                hello.cluster == 0 || hello.cluster == 7,
                "INV-NET6: cluster {}",
                hello.cluster
            );
            assert!(matches!(hello.receiver.0, 0 | 2), "INV-NET6: for {}", hello.receiver);
        }
    }
    if let Ok(welcome) = Welcome::decode(bytes) {
        let again = Welcome::decode(&written(|out| welcome.encode(out)));
        assert_eq!(again, Ok(welcome), "a welcome");
    }
    if let Ok(refusal) = Refusal::decode(bytes) {
        let again = Refusal::decode(&written(|out| refusal.encode(out)));
        assert_eq!(again, Ok(refusal), "a refusal");
        assert!(!refusal.to_string().is_empty(), "a refusal without words");
    }
    chunks(bytes);
}

fn chunks(bytes: &[u8]) {
    if let Ok(request) = ChunkRequest::decode(bytes) {
        let again = ChunkRequest::decode(&written(|out| request.encode(out)));
        assert_eq!(again, Ok(request), "a request for a piece");
        let disk = MemoryDisk::new(1 << 20);
        disk.put(&request.id.path("/snapshots".as_ref()), vec![7; 1000]);
        let reply = serve_chunk(&disk, "/snapshots".as_ref(), &request);
        let ChunkReply::Chunk { file_bytes, content } = reply.expect("the file is there") else {
            panic!("the file is there: {request:?}");
        };
        let left = 1000_u64.saturating_sub(request.offset);
        assert_eq!((file_bytes, content.len() as u64), (1000, left.min(request.bytes_max)));
    }
    if let Ok(reply) = ChunkReply::decode(&Bytes::copy_from_slice(bytes)) {
        let again = ChunkReply::decode(&written(|out| reply.encode(out)).into());
        assert_eq!(again, Ok(reply), "a piece");
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// One of each.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let hello = Hello {
        purpose: Purpose::Link,
        cluster: 7,
        sender: NodeId(1),
        receiver: NodeId(2),
        address: "db-1.example:17379".to_owned(),
    };
    let id = keystead_replication::snapshot_file::SnapshotId {
        shard: ShardId(3),
        index: LogIndex(900),
        term: Term(8),
    };
    vec![
        written(|out| hello.encode(out)),
        written(|out| Hello { purpose: Purpose::Call, ..hello }.encode(out)),
        written(|out| Welcome { cluster: u64::MAX, node: NodeId(2) }.encode(out)),
        written(|out| Refusal::Version { theirs: 2, ours: 1 }.encode(out)),
        written(|out| ChunkRequest { id, offset: 500, bytes_max: 100 }.encode(out)),
        written(|out| ChunkReply::Chunk { file_bytes: 9, content: "piece".into() }.encode(out)),
        written(|out| ChunkReply::Gone { newest: Some(id) }.encode(out)),
    ]
}
