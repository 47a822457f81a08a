//! A node's snapshots: loading the newest, giving pieces to peers, fetching what a leader offers.
//! Owns: the way between snapshot files and machines. Never: the files' format (see
//! `replication::snapshot_file`), or when a snapshot is taken.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keystead_replication::snapshot_file::{
    self, Abort, ChunkRequest, FetchOrder, PeerSource, SnapshotError, SnapshotFile, SnapshotId,
    SnapshotReader, fetch,
};
use keystead_replication::transport::Purpose;
use keystead_replication::{EntryError, FetchedState, GroupInput, SnapshotPlace};
use keystead_store::Loader;
use keystead_supervisor::{ChildContext, ChildError};
use keystead_topology::{CodecError, Topology};
use keystead_types::{NodeId, ShardId};
use keystead_wal::{Disk, RealDisk};

use crate::machine::{Loaded, NodeMachine};
use crate::meta::{MetaMachine, OnTopology};
use crate::node::{Node, Offer};
use crate::shard::ShardMachine;

/// How long one piece may take to come.
const PIECE_MAX: Duration = Duration::from_secs(10);

/// A machine without a state.
pub(crate) fn empty_machine(node: &Node, id: ShardId) -> NodeMachine {
    if id.is_meta() {
        NodeMachine::Meta(MetaMachine::new(Topology::new(), on_topology(node)))
    } else {
        NodeMachine::Shard(ShardMachine::empty(node.shard(id)))
    }
}

fn on_topology(node: &Node) -> OnTopology {
    let node = node.weak();
    Arc::new(move |topology| {
        if let Some(node) = node.upgrade() {
            node.take_topology(topology);
        }
    })
}

/// A machine with the state of the newest complete snapshot, and the snapshot's place in the log.
pub(crate) fn newest(
    node: &Node,
    id: ShardId,
) -> Result<(NodeMachine, Option<SnapshotPlace>), ChildError> {
    let dir = node.snapshot_dir();
    let Some(newest) = snapshot_file::newest(&RealDisk, &dir, id)? else {
        return Ok((empty_machine(node, id), None));
    };
    let file = newest.path(&dir);
    let (loaded, place) = load(node, id, &file)?;
    let machine = match loaded {
        Loaded::Shard(store) => NodeMachine::Shard(ShardMachine::new(node.shard(id), *store)),
        Loaded::Meta(topology) => NodeMachine::Meta(MetaMachine::new(*topology, on_topology(node))),
    };
    Ok((machine, Some(place)))
}

/// Reads and verifies a snapshot file of a shard of this node.
fn load(node: &Node, id: ShardId, path: &Path) -> Result<(Loaded, SnapshotPlace), ChildError> {
    Ok(load_file(&RealDisk, || node.shard(id).loader(), id, path)?)
}

/// Why a snapshot cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The file.
    #[error(transparent)]
    File(#[from] SnapshotError),
    /// What it says of its place in the log.
    #[error(transparent)]
    Place(#[from] EntryError),
    /// The keys in it.
    #[error(transparent)]
    Store(#[from] keystead_store::LoadError),
    /// The metadata in it.
    #[error(transparent)]
    Topology(#[from] CodecError),
}

/// Reads and verifies a snapshot file, from any disk.
pub(crate) fn load_file<D: Disk>(
    disk: &D,
    loader: impl FnOnce() -> Loader,
    id: ShardId,
    path: &Path,
) -> Result<(Loaded, SnapshotPlace), LoadError> {
    let mut reader = SnapshotReader::open(disk, path)?;
    let SnapshotFile { id: snapshot, place, .. } = reader.snapshot().clone();
    let place = SnapshotPlace::read(snapshot.index, &place)?;
    let loaded = if id.is_meta() {
        let mut dump = Vec::new();
        while let Some(chunk) = reader.next_chunk()? {
            dump.extend_from_slice(&chunk);
        }
        Loaded::Meta(Box::new(Topology::load(&dump)?))
    } else {
        let mut loader = loader();
        while let Some(chunk) = reader.next_chunk()? {
            loader.feed(&chunk)?;
        }
        Loaded::Shard(Box::new(loader.finish()?))
    };
    Ok((loaded, place))
}

/// Forgets a shard's snapshots.
pub(crate) fn remove_all(dir: &Path, id: ShardId) {
    if let Err(error) = snapshot_file::remove_all(&RealDisk, dir, id) {
        tracing::warn!(shard = %id, %error, "snapshots of a shard that moved away stay on disk");
    }
}

/// The fetcher's thread: takes offers one at a time.
pub(crate) fn fetch_offers(node: &Arc<Node>, context: &ChildContext) -> Result<(), ChildError> {
    let offers = Arc::clone(&node.offers);
    let abort = Arc::new(Abort::new());
    offers.set_closed(false);
    let (to_close, to_abort) = (Arc::clone(&offers), Arc::clone(&abort));
    context.on_shutdown(move || {
        to_close.set_closed(true);
        to_abort.abort();
    });
    while let Some(offer) = offers.next() {
        context.fault_point("fetch")?;
        if let Err(error) = take(node, offer, &abort) {
            // The leader offers again; what was fetched stays.
            tracing::warn!(shard = %offer.shard, from = %offer.from, %error, "a snapshot could not be fetched yet");
        }
    }
    Ok(())
}

fn take(node: &Arc<Node>, offer: Offer, abort: &Abort) -> Result<(), ChildError> {
    let Offer { shard, from, index, term } = offer;
    if node.cell(shard).applied() >= index {
        return Ok(());
    }
    let dir = node.snapshot_dir();
    let id = SnapshotId { shard, index, term };
    let path = id.path(&dir);
    if !path.exists() {
        let address = node.address_of(from).ok_or("the leader's address is not known yet")?;
        let hello = node.outbox.hello(Purpose::Call, from);
        let order = FetchOrder { id, dir, bytes_per_second_max: None };
        let connect = || PeerSource::connect(&address, &hello, PIECE_MAX);
        fetch(&RealDisk, &order, abort, connect, |_| {})?;
    }
    let (loaded, place) = load(node, shard, &path)?;
    let fetched: FetchedState<NodeMachine> = place.with(loaded);
    node.core.worker_of(shard).push_for(shard, GroupInput::Fetched(fetched));
    Ok(())
}

impl Node {
    /// Answers a request for a piece of a snapshot; `None` if the request is something else.
    pub(crate) fn serve_chunk(&self, from: Option<NodeId>, request: &[u8]) -> Option<Bytes> {
        let request = ChunkRequest::decode(request).ok()?;
        let reply = match snapshot_file::serve_chunk(&RealDisk, &self.snapshot_dir(), &request) {
            Ok(reply) => reply,
            Err(error) => {
                tracing::error!(shard = %request.id.shard, %error, "a piece of a snapshot cannot be read");
                snapshot_file::ChunkReply::Gone { newest: None }
            }
        };
        if let Some(from) = from {
            let shard = request.id.shard;
            self.core.worker_of(shard).push_for(shard, GroupInput::FollowerFetches(from));
        }
        let mut out = Vec::new();
        reply.encode(&mut out);
        Some(out.into())
    }
}
