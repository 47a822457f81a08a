//! `keystead torture`: real nodes under load, broken on purpose, and a verdict on what their clients were told.
//!
//! Owns: the run from founding to verdict. Never: the command line (see `cli/torture.rs`), a node within this process: each
//! is a process of the built program, killed as any process is. Not part of the library's interface: the program's
//! verb and its tests use it.
//!
//! ```text
//!   plan (seed) --> conduct: inject, hold, heal --> nodes <-- load: clients, histories --> judge --> report
//!                          \-- reach: which shards ought to take writes --/
//! ```
//! Where root may, each node has a network namespace (`network`) and a disk (`image`) of its own; otherwise
//! nodes are plain processes on loopback addresses, and faults that need more are reported as not having happened.

mod attach;
mod cluster;
mod conduct;
mod draw;
mod error;
mod image;
mod load;
mod network;
mod node;
mod plan;
mod reach;
mod report;
mod tool;
mod wait;
pub mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::attach::Attached;
pub use self::cluster::{Cluster, Digests, Placement, Shape, free_port};
use self::cluster::{compare_digests, wait_until_level};
use self::conduct::{Conductor, LEVEL_MAX, Record};
pub use self::error::TortureError;
pub use self::load::{
    Counts, Fate, Figures, Gap, Load, LoadOptions, Violation, Worst, shard_of, tag_in,
};
use self::network::Network;
pub use self::node::{Launch, Node};
pub use self::plan::Fault;
use self::plan::Plan;
use self::report::{DigestCount, Failovers, FaultCount, ShardFigures};
pub use self::report::{GAP_MS_MAX, Report, Verdict};
pub use self::wait::{Stop, pause, try_for};
use self::wire::Login;

/// Longest wait for a cluster to be founded.
const FOUNDING_MAX: Duration = Duration::from_secs(60);
/// Longest wait for the digests of one shard.
const DIGEST_MAX: Duration = Duration::from_secs(20);
/// Between two looks at who leads in a cluster that somebody else runs.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Small segments and frequent snapshots, so that a run of minutes sees what weeks would: purged logs, segments that
/// are made and reused, replicas that return by snapshot, a disk that is full soon.
const NODE_FLAGS: [&str; 2] = ["--segment-bytes=1mb", "--snapshot-log-bytes=1mb"];
/// Clients that change nodes when a connection breaks, beside those that stay.
const CLIENTS_MOVING: usize = 16;
/// Bytes of a value.
const VALUE_BYTES: usize = 200;

/// What is to be tortured.
#[derive(Clone, Debug)]
pub enum Ground {
    /// Nodes that are started for it.
    Own {
        /// How many.
        nodes: usize,
        /// Shards.
        shards: u32,
        /// Their setting.
        durability: String,
        /// The program.
        program: PathBuf,
        /// Where their data goes, in a directory of the run's own.
        dir: PathBuf,
    },
    /// A cluster that runs.
    Running {
        /// HOST:PORT of some of its nodes.
        addresses: Vec<String>,
        /// As whom to talk to it.
        login: Login,
    },
}

/// What a torture is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is tortured.
    pub ground: Ground,
    /// How long faults come.
    pub time: Duration,
    /// Which.
    pub faults: Vec<Fault>,
    /// The order of faults, and what clients choose, follow from it.
    pub seed: u64,
    /// Clients; a client for each shard and node, and some that change nodes, if nothing is said.
    pub clients: Option<usize>,
    /// Data and logs are kept whatever the verdict.
    pub keeps: bool,
}

impl Options {
    fn clients_for(&self, nodes: usize, shards: u32) -> usize {
        self.clients.unwrap_or(nodes * shards as usize + CLIENTS_MOVING)
    }
}

/// Carries a torture out. Blocks until it is over, or until shortly after `stop` was requested.
///
/// `tell` is given a line for a person at each fault.
///
/// # Errors
/// [`TortureError`]: there was nothing to judge.
pub fn run(options: &Options, stop: &Stop, tell: &dyn Fn(&str)) -> Result<Report, TortureError> {
    let mut report = match &options.ground {
        Ground::Own { .. } => torture_own(options, stop, tell)?,
        Ground::Running { addresses, login } => {
            torture_running(options, Attached::find(addresses, login.clone())?, stop)?
        }
    };
    report.decide();
    if let Some(kept) = report.kept.take() {
        if report.verdict == Verdict::Fail || options.keeps {
            report.kept = Some(kept);
        } else {
            fs::remove_dir_all(&kept).map_err(TortureError::file("remove", kept))?;
        }
    }
    Ok(report)
}

fn torture_own(
    options: &Options,
    stop: &Stop,
    tell: &dyn Fn(&str),
) -> Result<Report, TortureError> {
    let Ground::Own { nodes, shards, durability, program, dir } = &options.ground else {
        unreachable!("called for nodes of its own");
    };
    let dir = run_dir(dir)?;
    let mut flags = NODE_FLAGS.map(str::to_owned).to_vec();
    flags.push(format!("--durability={durability}"));
    let shape = Shape {
        nodes: *nodes,
        shards: *shards,
        flags,
        program: program.clone(),
        prefix: Vec::new(),
        takes_faults: false,
    };
    let (mut cluster, ground, faults) = found(&dir, shape, options, stop)?;
    ground.iter().for_each(|line| tell(line));
    let load = Load::start(LoadOptions {
        addresses: cluster.addresses(),
        shards: *shards,
        clients: options.clients_for(*nodes, *shards),
        value_bytes: VALUE_BYTES,
        hangs_up: options.faults.contains(&Fault::HangUp),
        seed: options.seed,
        histories: Some(dir.join("histories")),
        probe: Some(dir.clone()),
        ..LoadOptions::default()
    })?;
    let all: Vec<u32> = (1..=*shards).collect();
    let began = load.first_successes_us(&all, FOUNDING_MAX);
    if began.is_none() {
        let what = "a write to every shard before the first fault";
        return Err(TortureError::Late { what, within: FOUNDING_MAX, kept: dir });
    }
    // What it took to found and to dial is no gap.
    drop(load.take_longest_gaps());
    let start = Instant::now();
    let mut plan = Plan::new(options.seed, &faults, *nodes, *shards);
    if durability != "fsync" {
        plan.spare_memory();
    }
    let mut record =
        Conductor::new(&mut cluster, &load, stop, tell).run(&mut plan, options.time)?;
    let seconds = start.elapsed().as_secs();
    let counts = load.counts();
    let figures = load.finish(&cluster.addresses());
    let digests = compare_replicas(&cluster, &mut record);
    drop(cluster);
    Ok(Report {
        durability: Some(durability.clone()),
        seconds,
        ground,
        kept: Some(dir),
        digests,
        is_interrupted: stop.is_requested(),
        ..report_of(options, *nodes, record, &counts, figures)
    })
}

/// Waits until the replicas are level without a load, and compares them. After a failure there is nothing to compare.
fn compare_replicas(cluster: &Cluster, record: &mut Record) -> DigestCount {
    if record.failures.is_empty() && !wait_until_level(cluster, LEVEL_MAX) {
        let what = format!("replicas were not level within {LEVEL_MAX:?} after the load");
        record.failures.push(what);
    }
    if !record.failures.is_empty() {
        return DigestCount::default();
    }
    let peers = cluster.running().map(|node| (node.name.clone(), node.peer_address));
    count_digests(&peers.collect::<Vec<_>>(), cluster.shards())
}

/// Starts the nodes on the best ground there is for the faults that are asked for. Returns the cluster, what is to be
/// said about the ground, and the faults that are possible on it.
fn found(
    dir: &Path,
    shape: Shape,
    options: &Options,
    stop: &Stop,
) -> Result<(Cluster, Vec<String>, Vec<Fault>), TortureError> {
    let asks = |faults: &[Fault]| faults.iter().any(|fault| options.faults.contains(fault));
    let mut ground = Vec::new();
    let mut faults = options.faults.clone();
    let network = if asks(&[Fault::Cut, Fault::SlowLink]) {
        Network::raise(shape.nodes)
            .map_err(|error| {
                ground.push(format!(
                    "no network namespaces, so no partition and no slow-link: {error}"
                ));
                faults.retain(|fault| !matches!(fault, Fault::Cut | Fault::SlowLink));
            })
            .ok()
    } else {
        None
    };
    match &network {
        Some(network) => ground.push(format!(
            "each node in a network namespace; partitions by nft; slow links by {}",
            network.slowness()
        )),
        None => ground.push("nodes are processes on loopback addresses".to_owned()),
    }
    let mut cluster = Cluster::prepare(dir, shape, network)?;
    if asks(&[Fault::DiskFull, Fault::PowerLoss]) {
        match cluster.give_disks() {
            Ok(()) => ground.push(
                "each node on a disk of its own: ext4 on a loop device, which loses power with all that was not synced"
                    .to_owned(),
            ),
            Err(error) => {
                ground.push(format!("no disks of their own, so no disk-full and no power-loss: {error}"));
                faults.retain(|fault| !matches!(fault, Fault::DiskFull | Fault::PowerLoss));
            }
        }
    }
    cluster.nodes.iter_mut().try_for_each(Node::start)?;
    let is_up = try_for(FOUNDING_MAX, || (cluster.is_level() || stop.is_requested()).then_some(()));
    if stop.is_requested() {
        return Err(TortureError::Stopped);
    }
    if is_up.is_none() {
        let what = "all slots are served and all replicas are level";
        return Err(TortureError::Late { what, within: FOUNDING_MAX, kept: dir.to_owned() });
    }
    Ok((cluster, ground, faults))
}

fn torture_running(
    options: &Options,
    mut attached: Attached,
    stop: &Stop,
) -> Result<Report, TortureError> {
    let prefix = format!("keystead-torture:{}", options.seed);
    let load = Load::start(LoadOptions {
        addresses: attached.client_addresses(),
        login: attached.login.clone(),
        shards: attached.shards,
        clients: options.clients_for(attached.nodes.len(), attached.shards),
        value_bytes: VALUE_BYTES,
        hangs_up: options.faults.contains(&Fault::HangUp),
        prefix: prefix.clone(),
        seed: options.seed,
        ..LoadOptions::default()
    })?;
    let start = Instant::now();
    while start.elapsed() < options.time && load.violations() == 0 && !stop.is_requested() {
        stop.pause(WATCH_EVERY);
        attached.look();
    }
    let (counts, gaps) = (load.counts(), load.take_longest_gaps());
    let figures = load.finish(&attached.client_addresses());
    let mut record = Record {
        gaps: gaps.into_iter().map(|gap| (gap, "whatever happened to it".to_owned())).collect(),
        ..Record::default()
    };
    if try_for(LEVEL_MAX, || attached.is_level().then_some(())).is_none() {
        record
            .failures
            .push(format!("replicas were not level within {LEVEL_MAX:?} after the load"));
    }
    let named = attached.nodes.iter().map(|(client, peer)| (client.to_string(), *peer));
    let digests = count_digests(&named.collect::<Vec<_>>(), attached.shards);
    if figures.violations == 0 && !options.keeps {
        attached.remove_keys(&prefix);
    }
    Ok(Report {
        seconds: start.elapsed().as_secs(),
        ground: vec!["a running cluster: loaded and judged, not broken".to_owned()],
        failovers: Failovers { count: attached.failovers, ..Failovers::default() },
        digests,
        is_interrupted: stop.is_requested(),
        ..report_of(options, attached.nodes.len(), record, &counts, figures)
    })
}

/// What a report says of any run.
fn report_of(
    options: &Options,
    nodes: usize,
    record: Record,
    counts: &[Counts],
    history: Figures,
) -> Report {
    let forms =
        record.struck.keys().chain(record.missed.keys()).collect::<std::collections::BTreeSet<_>>();
    let faults = forms.into_iter().map(|form| FaultCount {
        fault: form.fault().name(),
        form: form.to_string(),
        struck: record.struck.get(form).copied().unwrap_or(0),
        missed: record.missed.get(form).copied().unwrap_or(0),
    });
    let shards = (1..).zip(counts).zip(record.gaps.iter().cloned());
    let shards = shards.map(|((shard, counts), (gap, during))| ShardFigures {
        shard,
        operations: *counts,
        longest_gap_ms: gap.length_us / 1000,
        longest_gap_from_ms: gap.from_us / 1000,
        longest_gap_during: during,
    });
    Report {
        verdict: Verdict::Unknown,
        reasons: Vec::new(),
        seed: options.seed,
        nodes,
        durability: None,
        clients: options.clients_for(nodes, u32::try_from(counts.len()).unwrap_or(u32::MAX)),
        seconds: 0,
        ground: Vec::new(),
        asked: options.faults.iter().map(|fault| fault.name()).collect(),
        faults: faults.collect(),
        shards: shards.collect(),
        failovers: Failovers::of(record.failovers_ms),
        recoveries: record.recoveries,
        history,
        digests: DigestCount::default(),
        failures: record.failures,
        is_interrupted: false,
        kept: None,
    }
}

fn count_digests(peers: &[(String, std::net::SocketAddr)], shards: u32) -> DigestCount {
    let mut count = DigestCount::default();
    for shard in 0..=shards {
        // A shard whose leadership is being handed over takes no proposal for a moment.
        match try_for(DIGEST_MAX, || compare_digests(peers, shard)) {
            Some(digests) if digests.are_equal() => count.equal += 1,
            Some(_) => count.different += 1,
            None => count.missing += 1,
        }
    }
    count
}

/// A directory below `dir` that is not there yet.
fn run_dir(dir: &Path) -> Result<PathBuf, TortureError> {
    fs::create_dir_all(dir).map_err(TortureError::file("create", dir))?;
    let dir = fs::canonicalize(dir).map_err(TortureError::file("find", dir))?;
    let pid = std::process::id();
    let names = (0u32..).map(|at| dir.join(format!("run-{pid}-{at}")));
    let fresh = names.into_iter().find(|path| !path.exists());
    let fresh = fresh.unwrap_or_else(|| unreachable!("there are names without end"));
    fs::create_dir(&fresh).map_err(TortureError::file("create", &fresh))?;
    Ok(fresh)
}
