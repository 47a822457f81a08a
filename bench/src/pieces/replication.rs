//! A group's worker around a machine that does nothing, and frames between nodes.
//! Owns: those pieces. Never: a command's meaning.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keystead_replication::simulation::InlineWorker;
use keystead_replication::transport::frame::FrameDecoder;
use keystead_replication::transport::{FrameBatch, FrameKind};
use keystead_replication::{
    Access, Completed, DumpStep, Durability, Ending, Found, GroupCell, Identity, Inbox, Input,
    Machine, Part, Replica, Replies, ReplyTo, Role, Settings, Submission, Worker,
};
use keystead_types::limits::FRAME_BYTES_MAX;
use keystead_types::{ApplyContext, Monotonic, NodeId, ShardId, UnixMillis};
use keystead_wal::{Batch, Log, LogOptions, MemoryDisk};

use super::{Jumps, sets};

const GROUP: ShardId = ShardId(1);
const ME: NodeId = NodeId(1);
const CALLERS: usize = 50;

/// A machine that only answers.
struct Nothing;

impl Machine for Nothing {
    type Loaded = ();

    fn apply(&mut self, _: &ApplyContext, _: &[u8], parts: &[Part], replies: &mut Replies) {
        for _ in parts {
            replies.bytes.extend_from_slice(b"+OK\r\n");
            replies.ends.push(replies.bytes.len());
        }
    }

    fn read(&mut self, _: UnixMillis, _: &[u8], _: &[Part], _: &mut Replies) {}

    fn begin_dump(&mut self) {}

    fn dump_step(&mut self, _: &mut Vec<u8>, _: usize) -> DumpStep {
        DumpStep::Done
    }

    fn abort_dump(&mut self) {}

    fn install(&mut self, (): ()) {}

    fn digest(&self) -> u128 {
        0
    }

    fn upkeep(&mut self, _: UnixMillis, _: &mut Vec<u8>) {}
}

/// Counts what was answered.
#[derive(Default)]
struct Answered(AtomicU64);

impl ReplyTo for Answered {
    fn deliver(&self, completed: Completed) {
        let is_done = matches!(completed.ending, Ending::Done(_));
        assert!(is_done, "a group of one refuses a write");
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn wake(&self) {}
}

/// A worker with one group of one replica, whose log is handed back at once.
struct Group {
    worker: InlineWorker<Nothing>,
    inbox: Inbox<Nothing>,
    now: Monotonic,
}

impl Group {
    fn leading() -> Self {
        let settings = Settings {
            durability: Durability::Replicated,
            // Snapshots have a machine of their own to be measured with.
            snapshot_log_bytes: usize::MAX,
            ..Settings::default()
        };
        let inbox = Inbox::default();
        let worker = InlineWorker::new(Worker::new(ME, settings), inbox.clone());
        let cell = Arc::new(GroupCell::default());
        let identity =
            Identity { id: GROUP, node: ME, cell: Arc::clone(&cell), seed: 1, snapshot: None };
        let replica = Replica::recover(identity, Nothing, founded(), &mut Batch::new());
        inbox.push(Input::Start(Box::new(replica.expect("what was founded can be recovered"))));
        let mut group = Self { worker, inbox, now: Monotonic(0) };
        for _ in 0..10_000 {
            if cell.role() == Role::Leader {
                return group;
            }
            group.now = Monotonic(group.now.0 + 1_000_000);
            group.settle(true);
        }
        panic!("a group of one has no leader after ten seconds");
    }

    /// Turns until nothing is left; records count as logged at once.
    fn settle(&mut self, mut is_due: bool) {
        while is_due || self.worker.has_inputs() {
            is_due = false;
            let unix = UnixMillis(1_700_000_000_000 + self.now.0 / 1_000_000);
            let asked = self.worker.turn(self.now, unix, false);
            if let Some(work) = asked.log {
                self.worker.persisted(work.token);
            }
        }
    }
}

/// What the log of a founder has of the group.
fn founded() -> Found {
    let disk = MemoryDisk::new(1 << 24);
    let open = || {
        let options =
            LogOptions { segment_bytes: 4096, reserve_bytes: 0, ..LogOptions::new(ME, 1) };
        Log::open(disk.clone(), "/node".as_ref(), options).expect("an empty disk takes a log")
    };
    let (mut log, mut records) = (open().0, Batch::new());
    Found::founding(ME).record(GROUP, &mut records);
    log.append(&mut records).expect("the disk has room");
    log.close().expect("the disk works");
    disk.process_exit();
    let mut groups = open().1.groups;
    let group = groups.remove(&GROUP).expect("it was just written");
    Found { state: group.state, origin: group.snapshot, entries: group.entries }
}

pub(super) fn pack_entry() -> Box<dyn FnMut()> {
    let mut group = Group::leading();
    let answered = Arc::new(Answered::default());
    let mut jumps = Jumps::new(20_000);
    let commands: Vec<Vec<u8>> = (0..CALLERS).map(|_| sets(&mut jumps, 1)).collect();
    let mut expected = 0;
    Box::new(move || {
        let deadline = Monotonic(group.now.0 + 5_000_000_000);
        let submission = |commands: &Vec<u8>| Submission {
            group: GROUP,
            access: Access::Write,
            commands: commands.clone(),
            parts: vec![Part {
                ticket: 0,
                bytes: u32::try_from(commands.len()).unwrap_or(0),
                form: 2,
            }],
            deadline,
            reply_to: Arc::clone(&answered) as Arc<dyn ReplyTo>,
        };
        group.inbox.push(Input::Submit(commands.iter().map(submission).collect()));
        group.now = Monotonic(group.now.0 + 10_000);
        group.settle(false);
        expected += CALLERS as u64;
        assert_eq!(answered.0.load(Ordering::Relaxed), expected, "somebody was not answered");
    })
}

pub(super) fn frame_batch() -> Box<dyn FnMut()> {
    let (mut batch, mut decoder) = (FrameBatch::new(), FrameDecoder::new(FRAME_BYTES_MAX));
    let payload = [b'f'; 128];
    Box::new(move || {
        for _ in 0..16 {
            assert!(batch.push(FrameKind::RAFT, black_box(&payload)), "a short frame fits");
        }
        let mut bytes = batch.as_bytes();
        while let Some(frame) = decoder.next(&mut bytes).expect("as it was written") {
            black_box(frame);
        }
        batch.clear(usize::MAX);
    })
}
