//! A node with one client in one thread: the whole road from a client's bytes to its reply, without a system call.
//!
//! Owns: [`Lone`], which does in steps what the product does with threads: io thread, worker, log. Never: a rule of its
//! own; the parts are the product's, opened by the feature `simulation`. The disk is in memory and nothing waits for it
//! (`durability = "replicated"`).

use std::path::Path;
use std::sync::Arc;

use keystead_gateway::simulation::Desk;
use keystead_node::Post;
use keystead_node::simulation::{Parts, PartsSettings, ReplicaStart};
use keystead_replication::transport::FrameBatch;
use keystead_replication::{Durability, Role, Settings};
use keystead_topology::{Command, NodeRecord};
use keystead_types::{Clock, NodeId, ShardId};
use keystead_wal::{Batch, Log, LogOptions, MemoryDisk};

use crate::clock::HandClock;

const DIR: &str = "/node";
const SNAPSHOTS: &str = "/node/snapshots";
const ME: NodeId = NodeId(1);
/// One shard: where a key lies is not what is measured here.
const SHARDS: u32 = 1;
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
const DISK_BYTES: u64 = 1 << 30;
/// How much time passes with each exchange, microseconds: ticks and heartbeats cost their share, as they do under load.
const EXCHANGE_US: u64 = 10;
/// Exchanges after which the log lets go of what is superfluous.
const LOG_KEPT_EVERY: u64 = 1000;
/// Turns, a millisecond each, within which a founder leads its groups; it waits for an election timeout first.
const TURNS_MAX: u32 = 10_000;

/// There are no other nodes.
struct Nobody;

impl Post for Nobody {
    fn post(&self, _to: NodeId, _frames: &FrameBatch) -> bool {
        false
    }
}

/// See the module.
pub struct Lone {
    parts: Parts,
    desk: Desk,
    log: Log<MemoryDisk>,
    clock: Arc<HandClock>,
    client: u32,
    exchanges: u64,
}

impl Lone {
    /// A node that leads all its shards, and its client.
    ///
    /// # Panics
    /// If the node does not come up: then the product has changed in a way that this must follow.
    #[must_use]
    pub fn new() -> Self {
        let (disk, clock) = (MemoryDisk::new(DISK_BYTES), HandClock::new());
        found(&disk);
        let (log, recovered) = open(&disk);
        let settings = PartsSettings {
            replication: Settings { durability: Durability::Replicated, ..Settings::default() },
            core: keystead_node::CoreSettings::default(),
            hash_seed: 42,
        };
        let machine = Arc::clone(&clock) as Arc<dyn Clock>;
        let parts = Parts::new((ME, 1), settings, machine, Arc::new(Nobody));
        let door = parts.door(Arc::new(|| {}));
        let mut desk = Desk::new(Arc::clone(parts.clock()) as Arc<dyn Clock>, 1, Box::new(door));
        let client = desk.connect();
        let mut lone = Self { parts, desk, log, clock, client, exchanges: 0 };
        for (id, group) in recovered.groups {
            let start = ReplicaStart { id, group: Some(group), seed: u64::from(id.0) };
            let mut records = Batch::new();
            let place = (&disk, Path::new(SNAPSHOTS));
            lone.parts.start(start, place, &mut records).expect("a founded group starts");
            if !records.is_empty() {
                lone.log.append(&mut records).expect("the disk has room");
            }
        }
        lone.lead();
        lone
    }

    /// Leads every group, then founds the cluster.
    fn lead(&mut self) {
        self.turn_until(|parts| {
            (0..=SHARDS).all(|id| parts.cell(ShardId(id)).is_some_and(|c| c.role() == Role::Leader))
        });
        let node = NodeRecord {
            id: ME,
            client_addr: "lone:7379".to_owned(),
            peer_addr: "lone:17379".to_owned(),
            zone: String::new(),
            incarnation: 1,
        };
        self.parts.propose(&Command::Found { cluster_id: 1, hash_seed: 42, shards: SHARDS, node });
        self.turn_until(|parts| parts.topology().is_founded());
        // The door sees the new topology when it looks for outcomes.
        while self.desk.pump() {}
    }

    fn turn_until(&mut self, is_there: impl Fn(&Parts) -> bool) {
        for _ in 0..TURNS_MAX {
            if is_there(&self.parts) {
                return;
            }
            self.clock.pass(1000);
            self.run_worker();
        }
        panic!("{TURNS_MAX} ms went by, and the node does not serve");
    }

    /// Sends a client's bytes and appends what comes back to `replies`.
    pub fn exchange(&mut self, requests: &[u8], replies: &mut Vec<u8>) {
        self.clock.pass(EXCHANGE_US);
        self.exchanges += 1;
        self.desk.take(self.client, requests);
        while self.desk.pump() {}
        self.run_worker();
        while self.desk.pump() {}
        self.desk.outputs(|_, bytes| replies.extend_from_slice(bytes));
        if self.exchanges.is_multiple_of(LOG_KEPT_EVERY) {
            self.keep_log();
        }
    }

    /// Turns, with what each gives the log, until nothing is left to do.
    fn run_worker(&mut self) {
        let is_tick = self.clock.monotonic_now() >= self.parts.next_tick();
        if is_tick {
            self.parts.pace();
        }
        let mut is_due = is_tick;
        while is_due || self.parts.has_inputs() {
            is_due = false;
            let asked = self.parts.turn(false);
            if let Some(mut work) = asked.log {
                self.log.append(&mut work.batch).expect("the disk has room");
                self.parts.persisted(work.token);
            }
        }
    }

    fn keep_log(&mut self) {
        self.log.sync().expect("the disk works");
        self.log.purge(&self.parts.first_needed()).expect("the disk works");
        self.log.prepare_segment().expect("the disk has room");
    }
}

impl Default for Lone {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes what a founder writes before its first start.
fn found(disk: &MemoryDisk) {
    let (mut log, _) = open(disk);
    let mut records = Batch::new();
    Parts::founding(ME, SHARDS, &mut records);
    log.append(&mut records).expect("the disk has room");
    log.close().expect("the disk works");
    disk.process_exit();
}

fn open(disk: &MemoryDisk) -> (Log<MemoryDisk>, keystead_wal::Recovered) {
    let options =
        LogOptions { segment_bytes: SEGMENT_BYTES, reserve_bytes: 0, ..LogOptions::new(ME, 1) };
    Log::open(disk.clone(), Path::new(DIR), options).expect("an empty disk takes a log")
}

#[cfg(test)]
mod tests {
    use super::Lone;

    #[test]
    fn a_lone_node_serves_what_its_client_wrote() {
        let mut lone = Lone::new();
        let mut replies = Vec::new();
        lone.exchange(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", &mut replies);
        lone.exchange(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", &mut replies);
        assert_eq!(replies.escape_ascii().to_string(), "+OK\\r\\n$1\\r\\nv\\r\\n");
    }
}
