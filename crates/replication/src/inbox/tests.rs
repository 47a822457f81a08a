//! A worker on real threads, driven by whoever brings something.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use keystead_types::time::SystemClock;
use keystead_types::{ApplyContext, Clock, Monotonic, NodeId, ShardId, UnixMillis};
use keystead_wal::{Handle, Log, LogOptions, MemoryDisk, Preparer, Writer, WriterOptions};
use parking_lot::{Condvar, Mutex};
use raft::eraftpb::Message;

use super::*;
use crate::driver::{Messenger, Surroundings};
use crate::machine::{DumpStep, Part, Replies};
use crate::outcome::{Access, Completed, Doubt, Ending, ReplyTo, Submission};
use crate::recovery::{Found, Identity, Replica};
use crate::settings::{Durability, Settings};
use crate::snapshot_writer::{SnapshotQueue, write_snapshots};
use crate::worker::Worker;

const S1: ShardId = ShardId(1);
const S2: ShardId = ShardId(2);
const PATIENCE: Duration = Duration::from_secs(20);

/// Counts what it applies, and replies with the count.
#[derive(Default)]
struct Counting(u64);

impl Machine for Counting {
    type Loaded = u64;

    fn apply(&mut self, _: &ApplyContext, _: &[u8], parts: &[Part], replies: &mut Replies) {
        self.0 += 1;
        for _ in parts {
            replies.bytes.extend_from_slice(&self.0.to_le_bytes());
            replies.ends.push(replies.bytes.len());
        }
    }

    fn read(&mut self, _: UnixMillis, _: &[u8], _: &[Part], _: &mut Replies) {}

    fn begin_dump(&mut self) {}

    fn dump_step(&mut self, out: &mut Vec<u8>, _: usize) -> DumpStep {
        out.extend_from_slice(&self.0.to_le_bytes());
        DumpStep::Done
    }

    fn abort_dump(&mut self) {}

    fn install(&mut self, state: u64) {
        self.0 = state;
    }

    fn digest(&self) -> u128 {
        u128::from(self.0)
    }

    fn upkeep(&mut self, _: UnixMillis, _: &mut Vec<u8>) {}
}

struct NoPeers;

impl Messenger for NoPeers {
    fn send(&mut self, messages: &mut Vec<(ShardId, Message)>) {
        messages.clear();
    }
}

/// Counts endings by kind.
#[derive(Default)]
struct Endings {
    counts: Mutex<[usize; 3]>,
    bell: Condvar,
}

impl ReplyTo for Endings {
    fn deliver(&self, completed: Completed) {
        let kind = match completed.ending {
            Ending::Done(_) => 0,
            Ending::Rejected { .. } => 1,
            Ending::Unknown(Doubt::ReplicaFailed) => 2,
            Ending::Unknown(doubt) => panic!("in doubt: {doubt:?}"),
        };
        self.counts.lock()[kind] += 1;
    }

    fn wake(&self) {
        self.bell.notify_all();
    }
}

impl Endings {
    fn wait_for(&self, what: &str, is_so: impl Fn(&[usize; 3]) -> bool) -> [usize; 3] {
        let mut counts = self.counts.lock();
        self.bell.wait_while_for(&mut counts, |counts| !is_so(counts), PATIENCE);
        assert!(is_so(&counts), "{what}: {counts:?}");
        *counts
    }
}

/// A worker with one group of one replica, and the threads around it.
struct Bench {
    inbox: Inbox<Counting>,
    log: Handle,
    snapshots: SnapshotQueue,
    is_doomed: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
    log_threads: Vec<JoinHandle<()>>,
}

fn spawn(body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().spawn(body).unwrap()
}

impl Bench {
    fn new(durability: Durability) -> Self {
        let options = LogOptions {
            segment_bytes: 64 * 1024,
            reserve_bytes: 0,
            ..LogOptions::new(NodeId(1), 1)
        };
        let disk = MemoryDisk::new(1 << 26);
        let (log, _) = Log::open(disk.clone(), Path::new("/node"), options).unwrap();
        let (writer, preparer, handle) = Writer::new(log, WriterOptions::default());
        let (inbox, is_doomed) = (Inbox::default(), Arc::new(AtomicBool::new(false)));
        let snapshots = SnapshotQueue::default();
        let (queue, inbox_of) = (snapshots.clone(), inbox.clone());
        let log_threads = vec![
            spawn(move || writer.run(|_| {}).unwrap()),
            spawn(move || Preparer::run(&preparer)),
            spawn(move || {
                let dir = Path::new("/node/snapshots");
                keystead_wal::Disk::create_dir(&disk, dir).unwrap();
                write_snapshots(&disk, dir, &queue, |_| inbox_of.clone(), || {});
            }),
        ];
        let surroundings = (inbox.clone(), handle.clone(), snapshots.clone());
        let worker = spawn_worker(surroundings, durability, is_doomed.clone());
        let bench =
            Self { inbox, log: handle, snapshots, is_doomed, worker: Some(worker), log_threads };
        bench.start_replica(S1);
        bench
    }

    fn start_replica(&self, id: ShardId) {
        let (identity, mut records) = (
            Identity { id, node: NodeId(1), cell: Arc::default(), seed: 7, snapshot: None },
            Batch::new(),
        );
        let found = Found::founding(NodeId(1));
        found.record(id, &mut records);
        let replica = Replica::recover(identity, Counting(0), found, &mut records).unwrap();
        let done = Arc::new(|_| {});
        self.log
            .submit(keystead_wal::Submission { batch: records, must_sync: true, token: 0, done })
            .unwrap();
        self.inbox.push(Input::Start(Box::new(replica)));
    }

    fn submit(&self, ticket: u64, reply_to: &Arc<Endings>) {
        self.submit_to(S1, ticket, reply_to);
    }

    fn submit_to(&self, group: ShardId, ticket: u64, reply_to: &Arc<Endings>) {
        let run = Submission {
            group,
            access: Access::Write,
            commands: b"command".to_vec(),
            parts: vec![Part { ticket, bytes: 7, form: 0 }],
            deadline: Monotonic(u64::MAX),
            reply_to: Arc::clone(reply_to) as Arc<dyn ReplyTo>,
        };
        self.inbox.leave(Input::Submit(vec![run]));
        self.inbox.drive();
    }

    /// Waits until the replica leads: what comes before is rejected.
    fn wait_for_leader(&self) {
        self.wait_for_leader_of(S1);
    }

    fn wait_for_leader_of(&self, group: ShardId) {
        let asked = AtomicU64::new(0);
        loop {
            let endings = Arc::new(Endings::default());
            self.submit_to(group, 0, &endings);
            if endings.wait_for("an ending", |counts| counts.iter().sum::<usize>() == 1)[0] == 1 {
                return;
            }
            assert!(asked.fetch_add(1, Ordering::Relaxed) < 100_000, "nobody leads");
            std::thread::yield_now();
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(worker) = self.worker.take() {
            worker.join().ok();
        }
        self.log.shutdown();
        self.snapshots.close();
        for thread in self.log_threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn spawn_worker(
    (inbox, log, snapshots): (Inbox<Counting>, Handle, SnapshotQueue),
    durability: Durability,
    is_doomed: Arc<AtomicBool>,
) -> JoinHandle<()> {
    let around = Surroundings {
        inbox,
        log,
        messenger: Box::new(NoPeers),
        on_event: Box::new(|_| {}),
        clock: Arc::new(SystemClock::new()) as Arc<dyn Clock>,
        before_turn: Box::new(move || assert!(!is_doomed.load(Ordering::SeqCst), "doomed")),
    };
    let settings = Settings { durability, snapshot_log_bytes: 4096, ..Settings::default() };
    let driver = Driver::new(Worker::new(NodeId(1), settings), around, snapshots);
    spawn(move || driver.run())
}

/// INV-WK2: what is left while somebody else drives is seen, with nobody to wake the worker's own thread.
#[test]
fn whatever_many_threads_leave_is_answered_once() {
    const THREADS: u64 = 4;
    const RUNS: u64 = 2_000;
    for durability in [Durability::Replicated, Durability::Fsync] {
        let bench = Bench::new(durability);
        bench.wait_for_leader();
        let endings = Arc::new(Endings::default());
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (bench, endings) = (&bench, &endings);
                scope.spawn(move || {
                    (0..RUNS).for_each(|run| bench.submit(thread * RUNS + run, endings))
                });
            }
        });
        let all = usize::try_from(THREADS * RUNS).unwrap();
        endings.wait_for("every ending", |counts| counts[0] == all);
    }
}

#[test]
fn a_lone_caller_has_its_reply_when_drive_returns() {
    let bench = Bench::new(Durability::Replicated);
    bench.wait_for_leader();
    let endings = Arc::new(Endings::default());
    // On a busy machine the worker's own thread is there first now and then, for many runs in a row.
    let (mut at_once, mut runs) = (0, 0);
    while at_once < 50 && runs < 5_000 {
        bench.submit(u64::try_from(runs).unwrap(), &endings);
        at_once += usize::from(endings.counts.lock()[0] == runs + 1);
        endings.wait_for("its ending", |counts| counts[0] == runs + 1);
        runs += 1;
    }
    assert_eq!(at_once, 50, "so many of {runs} were answered on the caller's own thread");
}

/// A turn that panics on a caller's thread ends the worker's thread, not the caller's, and everybody is answered.
#[test]
fn a_panic_of_a_turn_falls_on_the_workers_own_thread() {
    let mut bench = Bench::new(Durability::Replicated);
    bench.wait_for_leader();
    let endings = Arc::new(Endings::default());
    bench.is_doomed.store(true, Ordering::SeqCst);
    for run in 0..8 {
        bench.submit(run, &endings);
    }
    endings.wait_for("every ending", |counts| counts.iter().sum::<usize>() == 8);
    let panic = bench.worker.take().unwrap().join().unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"doomed"));
    assert!(!bench.inbox.is_open());
    // The next worker takes the same inbox.
    bench.is_doomed.store(false, Ordering::SeqCst);
    bench.worker = Some(spawn_worker(
        (bench.inbox.clone(), bench.log.clone(), bench.snapshots.clone()),
        Durability::Replicated,
        Arc::clone(&bench.is_doomed),
    ));
    let endings = Arc::new(Endings::default());
    let opened = std::time::Instant::now();
    while !bench.inbox.is_open() {
        assert!(opened.elapsed() < PATIENCE, "the next worker does not begin");
        std::thread::yield_now();
    }
    bench.submit(9, &endings);
    endings.wait_for("its ending", |counts| counts[1] == 1);
}

/// INV-R10: the metadata group, or any that is seldom written to, kept every segment since its own last entry.
#[test]
fn a_group_with_little_to_say_does_not_keep_the_log_of_the_others() {
    let bench = Bench::new(Durability::Replicated);
    bench.start_replica(S2);
    bench.wait_for_leader();
    bench.wait_for_leader_of(S2);
    let endings = Arc::new(Endings::default());
    let begun = std::time::Instant::now();
    let (mut longest, mut is_short) = (0, false);
    for run in 0.. {
        bench.submit(run, &endings);
        let segments = bench.log.stats().segments;
        longest = longest.max(segments);
        is_short = longest > 8 && segments <= 3;
        if is_short || begun.elapsed() > PATIENCE {
            break;
        }
    }
    assert!(is_short, "{} segments, {longest} at most", bench.log.stats().segments);
}
