//! Many clients at once: what they write and read, what of it cannot be true, and how long each shard went without a
//! write that succeeded.
//!
//! Owns: the clients' threads (a supervision tree of their own), the keys they use, the judge. Never: breaks anything.
//! Clients are spread evenly over shards and nodes. Those of one shard share its keys, of four kinds: cells, counters,
//! ledgers and baskets (see `story`), the latter two of every type that holds entries (see `form`). Histories are judged while the load goes on, and every key is asked for at the end, of every node.

mod client;
mod form;
mod machine;
mod pulse;
mod story;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keystead_supervisor::{
    ChildSpec, Restart, Strategy, Supervisor, SupervisorHandle, SupervisorSpec,
};
use keystead_types::{SLOT_COUNT, Slot};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Runtime;

use self::client::Client;
use self::form::Form;
use self::machine::Machine;
pub use self::machine::Worst;
use self::pulse::Pulse;
pub use self::pulse::{Counts, Gap};
pub use self::story::Fate;
use self::story::{Flaw, Kind, Remains, Seen, Story};
use super::error::TortureError;
use super::wait::{Stop, try_for};
use super::wire::{Login, Wire};

/// Violations that are told; the first ones tell.
const VIOLATIONS_KEPT: usize = 20;
/// Stories that wait to be judged. Clients who find it full wait: the judge must keep up.
const UNJUDGED_MAX: usize = 256;
/// Longest wait for one final value of one node.
const FINAL_MAX: Duration = Duration::from_secs(20);
/// Time a client has to end: longer than it waits for a reply.
const CLIENT_GRACE: Duration = Duration::from_secs(20);
/// Clients of one cell. While a leader is replaced all of them wait, and each subset of their writes may have come
/// first: with 16 of them the judge would need minutes for a key.
const CELL_CLIENTS_MAX: usize = 4;

/// What a load is to be.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where clients connect, node by node.
    pub addresses: Vec<SocketAddr>,
    /// As whom.
    pub login: Login,
    /// Shards of the cluster.
    pub shards: u32,
    /// Clients; each writes to one shard, so at least as many as there are shards.
    pub clients: usize,
    /// A pause between two commands of one client: the load must leave the machine time to elect leaders.
    pub pace: Duration,
    /// Values are filled up to so many bytes.
    pub value_bytes: usize,
    /// Clients leave in the middle of a command now and then.
    pub hangs_up: bool,
    /// Begins every key, so that two loads on one cluster do not meet.
    pub prefix: String,
    /// Decides what clients choose.
    pub seed: u64,
    /// Where histories that cannot be true are written.
    pub histories: Option<PathBuf>,
    /// A directory on the nodes' disk, where the disk is probed.
    pub probe: Option<PathBuf>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            login: Login::default(),
            shards: 16,
            clients: 64,
            pace: Duration::from_millis(4),
            value_bytes: 0,
            hangs_up: false,
            prefix: "torture".to_owned(),
            seed: 1,
            histories: None,
            probe: None,
        }
    }
}

/// What cannot be true.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Violation {
    /// The shard.
    pub shard: u32,
    /// What was found.
    pub what: String,
    /// The file with the history of the key.
    pub history: Option<PathBuf>,
}

/// What a load came to.
#[derive(Debug, Default, serde::Serialize)]
pub struct Figures {
    /// Operations of all shards.
    pub total: Counts,
    /// Keys whose histories were judged.
    pub keys: usize,
    /// Commands left without waiting for the reply.
    pub hang_ups: u64,
    /// Why writes were in doubt, and how many for each reason.
    pub doubts: BTreeMap<String, u64>,
    /// How many things were found that cannot be true.
    pub violations: u64,
    /// The first of them.
    pub violations_kept: Vec<Violation>,
    /// Histories too tangled to be judged, and why the first one was.
    pub undecided: u64,
    /// Why.
    pub undecided_why: Option<String>,
    /// Clients that fell: a mistake in this program.
    pub clients_fallen: usize,
    /// How the machine did.
    pub machine: Worst,
}

/// What all clients share.
struct Shared {
    start: Instant,
    stop: Stop,
    addresses: RwLock<Vec<SocketAddr>>,
    login: Login,
    shards: u32,
    pace: Duration,
    value_bytes: usize,
    hangs_up: bool,
    seed: u64,
    prefix: String,
    histories: Option<PathBuf>,
    probe: Option<PathBuf>,
    machine: Machine,
    pulses: Vec<Pulse>,
    /// Per shard, kind and group of clients, the story that goes on.
    stories: BTreeMap<(u32, Kind, usize), RwLock<Arc<Story>>>,
    /// Distinguishes the keys of one shard.
    generation: AtomicU64,
    inbox: Mutex<Vec<Arc<Story>>>,
    remains: Mutex<Vec<(String, u32, Form, Remains)>>,
    findings: Mutex<Findings>,
    clients_alive: AtomicU64,
    /// True while nodes end only in order.
    ends_in_order: AtomicBool,
}

#[derive(Default)]
struct Findings {
    violations: u64,
    kept: Vec<Violation>,
    undecided: u64,
    undecided_why: Option<String>,
    doubts: BTreeMap<String, u64>,
    hang_ups: u64,
}

/// A load that runs. Dropped, it ends without a judgement.
pub struct Load {
    shared: Arc<Shared>,
    tree: SupervisorHandle,
    runtime: Runtime,
    clients: usize,
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load").field("clients", &self.clients).finish_non_exhaustive()
    }
}

impl Load {
    /// Starts the clients.
    ///
    /// # Errors
    /// [`TortureError::Clients`], [`TortureError::Spec`].
    pub fn start(options: LoadOptions) -> Result<Self, TortureError> {
        let clients = options.clients.max(options.shards as usize);
        let shared = Arc::new(Shared::new(options));
        let mut spec = SupervisorSpec::new("load", Strategy::OneForOne)
            .child(judge(&shared))
            .child(watch(&shared));
        for number in 0..clients {
            let shared = Arc::clone(&shared);
            let body = move |_| {
                shared.clients_alive.fetch_add(1, Ordering::SeqCst);
                Client::new(Arc::clone(&shared), number).run();
                shared.clients_alive.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            };
            let child = ChildSpec::thread(format!("client-{number}"), body);
            spec = spec.child(child.restart(Restart::Temporary).shutdown_grace(CLIENT_GRACE));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(TortureError::Clients)?;
        let tree = Supervisor::start(spec, runtime.handle())?;
        Ok(Self { shared, tree, runtime, clients })
    }

    /// Microseconds since the load began: the clock of all its histories.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.shared.now()
    }

    /// When the load began.
    #[must_use]
    pub fn start_time(&self) -> Instant {
        self.shared.start
    }

    /// Has clients that dial from now on find these nodes.
    pub fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        *self.shared.addresses.write() = addresses;
    }

    /// Forgets earlier writes: from now on the first success of each shard is waited for.
    pub fn arm(&self) {
        let now = self.shared.now();
        self.shared.pulses.iter().for_each(|pulse| pulse.arm(now));
    }

    /// As [`arm`](Self::arm), for one shard.
    pub fn arm_shard(&self, shard: u32) {
        self.shared.pulse(shard).arm(self.shared.now());
    }

    /// Microseconds of the run at which a write to the shard had succeeded that began after it was armed.
    #[must_use]
    pub fn first_success_us(&self, shard: u32) -> Option<u64> {
        self.shared.pulse(shard).first_after()
    }

    /// Waits until a write to each of these shards has succeeded since it was armed, and returns when; `None` if
    /// that took longer than `within`.
    #[must_use]
    pub fn first_successes_us(&self, shards: &[u32], within: Duration) -> Option<Vec<u64>> {
        try_for(within, || shards.iter().map(|shard| self.first_success_us(*shard)).collect())
    }

    /// Says whether it is the cluster's fault from now on if no write to the shard succeeds.
    pub fn set_excused(&self, shard: u32, is_excused: bool) {
        self.shared.pulse(shard).set_excused(self.shared.now(), is_excused);
    }

    /// The longest time since the last call without a success, shard by shard.
    #[must_use]
    pub fn take_longest_gaps(&self) -> Vec<Gap> {
        let now = self.shared.now();
        self.shared.pulses.iter().map(|pulse| pulse.take_longest(now)).collect()
    }

    /// What became of the operations, shard by shard.
    #[must_use]
    pub fn counts(&self) -> Vec<Counts> {
        self.shared.pulses.iter().map(Pulse::counts).collect()
    }

    /// Why writes were in doubt since the last call, and how many for each reason.
    #[must_use]
    pub fn take_doubts(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.shared.findings.lock().doubts)
    }

    /// From now on nodes end only in order: a write whose connection ended without a reply must not happen.
    pub fn expect_ends_in_order(&self) {
        self.shared.ends_in_order.store(true, Ordering::SeqCst);
    }

    /// Violations found so far.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.shared.findings.lock().violations
    }

    /// Ends the load and judges it all: every history, and what every one of `nodes` says at the end.
    #[must_use]
    pub fn finish(mut self, nodes: &[SocketAddr]) -> Figures {
        self.end_clients();
        let shared = &self.shared;
        for story in shared.stories.values() {
            let story = Arc::clone(&story.read());
            if story.leave() {
                shared.judge(&story);
            }
        }
        for story in shared.take_inbox() {
            shared.judge(&story);
        }
        let mut remains = std::mem::take(&mut *shared.remains.lock());
        for node in nodes {
            shared.audit(*node, &mut remains);
        }
        let mut total = Counts::default();
        for counts in self.counts() {
            total.acked += counts.acked;
            total.refused += counts.refused;
            total.cut_off += counts.cut_off;
            total.uncertain += counts.uncertain;
            total.reads += counts.reads;
        }
        let findings = std::mem::take(&mut *shared.findings.lock());
        Figures {
            total,
            keys: remains.len(),
            hang_ups: findings.hang_ups,
            doubts: findings.doubts,
            violations: findings.violations,
            violations_kept: findings.kept,
            undecided: findings.undecided,
            undecided_why: findings.undecided_why,
            machine: shared.machine.worst(),
            clients_fallen: usize::try_from(shared.clients_alive.load(Ordering::SeqCst))
                .unwrap_or(usize::MAX),
        }
    }

    fn end_clients(&mut self) {
        self.shared.stop.request();
        self.runtime.block_on(self.tree.stop());
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end_clients();
    }
}

/// The thread that judges stories while the load goes on.
fn judge(shared: &Arc<Shared>) -> ChildSpec {
    let shared = Arc::clone(shared);
    ChildSpec::thread("judge", move |context| {
        while !context.shutdown_requested() {
            let stories = shared.take_inbox();
            if stories.is_empty() {
                super::wait::pause(Duration::from_millis(20));
            }
            stories.iter().for_each(|story| shared.judge(story));
        }
        Ok(())
    })
    .shutdown_grace(CLIENT_GRACE)
}

/// The thread that looks at the machine.
fn watch(shared: &Arc<Shared>) -> ChildSpec {
    let shared = Arc::clone(shared);
    let body = move |_| {
        shared.machine.watch(shared.probe.as_deref(), shared.start, || shared.is_over());
        Ok(())
    };
    ChildSpec::thread("machine", body).restart(Restart::Temporary).shutdown_grace(CLIENT_GRACE)
}

impl Shared {
    fn new(options: LoadOptions) -> Self {
        let shards = options.shards;
        let pulses = (0..shards).map(|_| Pulse::default()).collect();
        let generation = AtomicU64::new(0);
        let prefix = options.prefix;
        let clients_per_shard = options.clients.div_ceil(shards as usize).max(1);
        let mut stories = BTreeMap::new();
        for shard in 1..=shards {
            let cells =
                (0..clients_per_shard.div_ceil(CELL_CLIENTS_MAX)).map(|group| (Kind::Cell, group));
            for (kind, group) in
                cells.chain([Kind::Counter, Kind::Ledger, Kind::Basket].map(|kind| (kind, 0)))
            {
                let story = new_story(&prefix, (shard, shards), kind, &generation);
                stories.insert((shard, kind, group), RwLock::new(story));
            }
        }
        Self {
            start: Instant::now(),
            stop: Stop::default(),
            addresses: RwLock::new(options.addresses),
            login: options.login,
            shards,
            pace: options.pace,
            value_bytes: options.value_bytes,
            hangs_up: options.hangs_up,
            seed: options.seed,
            prefix,
            histories: options.histories,
            probe: options.probe,
            machine: Machine::default(),
            pulses,
            stories,
            generation,
            inbox: Mutex::default(),
            remains: Mutex::default(),
            findings: Mutex::default(),
            clients_alive: AtomicU64::new(0),
            ends_in_order: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn ends_in_order(&self) -> bool {
        self.ends_in_order.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.stop.is_requested()
    }

    fn pulse(&self, shard: u32) -> &Pulse {
        &self.pulses[shard as usize - 1]
    }

    fn address(&self, at: usize) -> SocketAddr {
        let addresses = self.addresses.read();
        addresses[at % addresses.len()]
    }

    /// The story that goes on for a client of a shard; a new one if the last was left.
    fn story(&self, shard: u32, kind: Kind, client: usize) -> Arc<Story> {
        let group = match kind {
            Kind::Cell => client / self.shards as usize / CELL_CLIENTS_MAX,
            Kind::Counter | Kind::Ledger | Kind::Basket => 0,
        };
        let place = &self.stories[&(shard, kind, group)];
        let story = Arc::clone(&place.read());
        if !story.is_left() {
            return story;
        }
        let mut current = place.write();
        if current.is_left() {
            *current = new_story(&self.prefix, (shard, self.shards), kind, &self.generation);
        }
        Arc::clone(&current)
    }

    /// Lays a story down that everybody has left, for the judge. Waits while too many lie there.
    fn hand_in(&self, story: Arc<Story>) {
        while self.inbox.lock().len() >= UNJUDGED_MAX && !self.is_over() {
            super::wait::pause(Duration::from_millis(5));
        }
        self.inbox.lock().push(story);
    }

    fn take_inbox(&self) -> Vec<Arc<Story>> {
        std::mem::take(&mut *self.inbox.lock())
    }

    fn judge(&self, story: &Story) {
        let remains = match story.judge() {
            Ok(remains) => remains,
            Err(Flaw::Violation(what)) => {
                self.note_violation(story.shard, &format!("{}: {what}", story.key), Some(story));
                Remains::Undecided
            }
            Err(Flaw::Undecided(why)) => {
                let mut findings = self.findings.lock();
                findings.undecided += 1;
                findings.undecided_why.get_or_insert(why);
                Remains::Undecided
            }
        };
        self.remains.lock().push((story.key.clone(), story.shard, story.form, remains));
    }

    fn doubt(&self, why: String) {
        *self.findings.lock().doubts.entry(why).or_default() += 1;
    }

    fn note_hang_up(&self) {
        self.findings.lock().hang_ups += 1;
    }

    fn note_violation(&self, shard: u32, what: &str, story: Option<&Story>) {
        let mut findings = self.findings.lock();
        findings.violations += 1;
        if findings.kept.len() < VIOLATIONS_KEPT {
            let number = findings.violations;
            let history = story.and_then(|story| {
                let dir = self.histories.as_ref()?;
                let path = dir.join(format!("violation-{number}.txt"));
                let is_written =
                    fs::create_dir_all(dir).and_then(|()| fs::write(&path, story.tell()));
                is_written.ok().map(|()| path)
            });
            findings.kept.push(Violation { shard, what: what.to_owned(), history });
        }
    }

    /// Asks a node for every key there was.
    fn audit(&self, node: SocketAddr, remains: &mut [(String, u32, Form, Remains)]) {
        let mut wire = Wire::connect_as(node, &self.login).ok();
        for (key, shard, form, remains) in remains {
            let mut last = None;
            let seen = try_for(FINAL_MAX, || {
                if wire.is_none() {
                    wire = Wire::connect_as(node, &self.login).ok();
                }
                let reply = wire.as_mut()?.call_all(&form.read(key));
                let seen = match &reply {
                    Ok(value) => Seen::of(*form, value),
                    Err(_) => {
                        wire = None;
                        None
                    }
                };
                last = Some(reply);
                seen
            });
            let Some(seen) = seen else {
                let what = format!(
                    "{node} does not tell {key} at the end, and is not asked further: {last:?}"
                );
                return self.note_violation(*shard, &what, None);
            };
            let outcome = remains.judge(self.now(), &seen);
            if let Err(what) = outcome {
                self.note_violation(*shard, &format!("{key}, asked of {node}: {what}"), None);
            }
        }
    }
}

fn new_story(
    prefix: &str,
    (shard, shards): (u32, u32),
    kind: Kind,
    generation: &AtomicU64,
) -> Arc<Story> {
    let number = generation.fetch_add(1, Ordering::SeqCst);
    let letter = match kind {
        Kind::Cell => 'r',
        Kind::Counter => 'c',
        Kind::Ledger => 'l',
        Kind::Basket => 'b',
    };
    let tag = tag_in(shard, shards, usize::try_from(number % 64).unwrap_or_default());
    let key = format!("{prefix}:{letter}:{{{tag}}}:{number}");
    // The shards' numbers rise in step: with the shard they give each its own turn.
    Arc::new(Story::new(key, shard, kind, Form::of(kind, number + u64::from(shard))))
}

/// A hash tag whose slot belongs to `shard`; another one for each `number`.
///
/// # Panics
/// Never: every shard has slots.
#[must_use]
pub fn tag_in(shard: u32, shards: u32, number: usize) -> String {
    let tags = (0u32..).map(|at| format!("t{number}-{at}"));
    let mut fitting = tags.filter(|tag| shard_of(tag, shards) == shard);
    fitting.next().expect("every shard has slots")
}

/// The shard of a key: consecutive slots in equal runs, the first shard being 1.
#[must_use]
pub fn shard_of(key: &str, shards: u32) -> u32 {
    let slot = u32::from(Slot::of_key(key.as_bytes()).number());
    1 + slot * shards / u32::from(SLOT_COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_lie_where_they_should() {
        for shard in 1..=16 {
            assert_eq!(shard_of(&tag_in(shard, 16, 3), 16), shard);
            assert_ne!(tag_in(shard, 16, 3), tag_in(shard, 16, 4));
        }
    }
}
