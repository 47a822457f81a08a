//! Many clients at once, and how long each shard went without a write that succeeded.
//!
//! Owns: the threads that write, increment and read; they end with the value. Never: breaks anything.
//! 64 writers, each with a register of its own and a counter shared per shard, spread evenly over shards
//! and nodes; readers that ask any node for any register. Every reply is judged (see `history`).

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use keystead_resp::Value;
use keystead_types::{SLOT_COUNT, Slot};

use crate::cluster::Cluster;
use crate::history::{Counter, Fate, Register, Verdict};
use crate::node::Node;
use crate::wait::{pause, try_for, wait_for};
use crate::wire::{Wire, ask};

/// Clients that write.
const WRITERS: usize = 64;
/// Clients that read, each any register from any node.
const READERS: usize = 6;
/// A pause between two commands of one client: the load must leave two cores time to elect leaders.
const PACE: Duration = Duration::from_millis(4);
/// Before a client dials again.
const DIAL_PAUSE: Duration = Duration::from_millis(10);
/// One in this many commands of a writer is an increment.
const INCREMENT_EVERY: u64 = 4;
/// Longest wait for one final value.
const FINAL_MAX: Duration = Duration::from_secs(20);

/// How often a shard's writes succeed.
#[derive(Debug, Default)]
struct Pulse {
    /// Microseconds of the run: writes that began before it do not count.
    armed_at: AtomicU64,
    /// When the first write that counts had succeeded; 0 if none has.
    first_after: AtomicU64,
    last: AtomicU64,
    longest_gap: AtomicU64,
}

impl Pulse {
    fn beat(&self, began: u64, ended: u64) {
        let gap = ended.saturating_sub(self.last.swap(ended, Ordering::SeqCst));
        self.longest_gap.fetch_max(gap, Ordering::SeqCst);
        if began >= self.armed_at.load(Ordering::SeqCst) {
            // Only the first one counts; the others find it taken.
            self.first_after.compare_exchange(0, ended, Ordering::SeqCst, Ordering::SeqCst).ok();
        }
    }
}

struct Shared {
    start: Instant,
    ports: RwLock<Vec<u16>>,
    shards: u32,
    pulses: Vec<Pulse>,
    registers: RwLock<Vec<Arc<Register>>>,
    counters: Vec<Counter>,
    verdict: Verdict,
    is_over: AtomicBool,
    /// True while nodes end only in order.
    ends_in_order: AtomicBool,
    value_bytes: usize,
}

/// A load that runs.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What a load came to.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    pub(crate) uncertain: u64,
    pub(crate) reads: u64,
}

impl Load {
    /// Starts the clients.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        Self::start_with_values(cluster, 0)
    }

    /// As [`start`](Self::start), each written value filled up to `value_bytes`.
    pub(crate) fn start_with_values(cluster: &Cluster, value_bytes: usize) -> Self {
        let shards = cluster.shards;
        let counters = (1..=shards)
            .map(|shard| Counter::new(format!("c:{{{}}}", tag_in(shard, shards, 0))))
            .collect();
        let shared = Arc::new(Shared {
            start: Instant::now(),
            ports: RwLock::new(cluster.ports()),
            shards,
            pulses: (0..shards).map(|_| Pulse::default()).collect(),
            registers: RwLock::default(),
            counters,
            verdict: Verdict::default(),
            is_over: AtomicBool::new(false),
            ends_in_order: AtomicBool::new(false),
            value_bytes,
        });
        let mut threads = Vec::new();
        for number in 0..WRITERS {
            let shared = Arc::clone(&shared);
            threads.push(thread(format!("writer-{number}"), move || {
                Writer::new(shared, number).run()
            }));
        }
        for number in 0..READERS {
            let shared = Arc::clone(&shared);
            threads.push(thread(format!("reader-{number}"), move || read(&shared, number)));
        }
        let load = Self { shared, threads };
        load.wait_for_writes("before the first fault", Duration::from_secs(20));
        load
    }

    /// Forgets earlier writes: from now on the first success of each shard is waited for.
    pub(crate) fn arm(&self) {
        let now = self.shared.now();
        for pulse in &self.shared.pulses {
            pulse.armed_at.store(now, Ordering::SeqCst);
            pulse.first_after.store(0, Ordering::SeqCst);
        }
    }

    /// Waits until a write to every shard has succeeded since [`arm`](Self::arm).
    pub(crate) fn wait_for_writes(&self, when: &str, within: Duration) {
        let all: Vec<u32> = (1..=self.shared.shards).collect();
        self.first_writes(when, &all, Instant::now(), within);
    }

    /// How long after `fault` a write to each of these shards had succeeded that began after [`arm`](Self::arm).
    pub(crate) fn first_writes(
        &self,
        when: &str,
        shards: &[u32],
        fault: Instant,
        within: Duration,
    ) -> Vec<Duration> {
        let fault_us = micros(fault.saturating_duration_since(self.shared.start));
        wait_for(&format!("a write to each of the shards {shards:?} {when}"), within, || {
            let firsts =
                shards.iter().map(|shard| self.pulse(*shard).first_after.load(Ordering::SeqCst));
            firsts
                .map(|first| {
                    (first > 0).then(|| Duration::from_micros(first.saturating_sub(fault_us)))
                })
                .collect()
        })
    }

    fn pulse(&self, shard: u32) -> &Pulse {
        &self.shared.pulses[shard as usize - 1]
    }

    /// The longest time that any shard was without a success since the last call.
    pub(crate) fn take_longest_gap(&self) -> Duration {
        let gaps =
            self.shared.pulses.iter().map(|pulse| pulse.longest_gap.swap(0, Ordering::SeqCst));
        Duration::from_micros(gaps.max().unwrap_or(0))
    }

    /// Writes acknowledged so far.
    pub(crate) fn acked(&self) -> u64 {
        self.shared.verdict.acked.load(Ordering::SeqCst)
    }

    /// Why writes were in doubt since the last call, and how many for each reason.
    pub(crate) fn take_doubts(&self) -> BTreeMap<String, u64> {
        self.shared.verdict.take_doubts()
    }

    /// From now on nodes end only in order: a write whose connection ended without a reply must not happen.
    pub(crate) fn expect_ends_in_order(&self) {
        self.shared.ends_in_order.store(true, Ordering::SeqCst);
    }

    /// Writes so far whose connection had ended in order before they were read.
    pub(crate) fn cut_off(&self) -> u64 {
        self.shared.verdict.cut_off.load(Ordering::SeqCst)
    }

    /// Writes refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.shared.verdict.refused.load(Ordering::SeqCst)
    }

    /// Ends the load, reads everything back from every node that runs, and judges it all.
    ///
    /// # Panics
    /// If anything was lost, went back, or was refused and yet happened.
    pub(crate) fn finish(mut self, cluster: &Cluster) -> Figures {
        self.end_threads();
        let verdict = &self.shared.verdict;
        for node in cluster.nodes.iter().filter(|node| node.is_running()) {
            let mut wire = Wire::connect(node.port).expect("a node that runs takes connections");
            for register in self.shared.registers.read().expect("no panic while held").iter() {
                let least = register.begin_read();
                verdict.note(register.end_read(least, final_value(node, &mut wire, &register.key)));
            }
            for counter in &self.shared.counters {
                verdict.note(counter.judge(final_value(node, &mut wire, &counter.key)));
            }
        }
        for register in self.shared.registers.read().expect("no panic while held").iter() {
            verdict.note_register(register);
        }
        verdict.assert_clean();
        let total = |total: &AtomicU64| total.load(Ordering::SeqCst);
        Figures {
            acked: total(&verdict.acked),
            refused: total(&verdict.refused),
            uncertain: total(&verdict.uncertain),
            reads: total(&verdict.reads),
        }
    }

    fn end_threads(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() && !std::thread::panicking() {
                panic!("a client of the load panicked; see above");
            }
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end_threads();
    }
}

impl Shared {
    fn now(&self) -> u64 {
        micros(self.start.elapsed())
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn port(&self, at: usize) -> u16 {
        let ports = self.ports.read().expect("no panic while held");
        ports[at % ports.len()]
    }
}

struct Writer {
    shared: Arc<Shared>,
    number: usize,
    shard: u32,
    tag: String,
    register: Arc<Register>,
    generation: u32,
    wire: Option<Wire>,
    dials: usize,
}

impl Writer {
    fn new(shared: Arc<Shared>, number: usize) -> Self {
        let shard = 1 + u32::try_from(number).expect("few writers") % shared.shards;
        let tag = tag_in(shard, shared.shards, number);
        let mut writer = Self {
            shared,
            number,
            shard,
            tag,
            register: Arc::default(),
            generation: 0,
            wire: None,
            dials: 0,
        };
        writer.next_register();
        writer
    }

    /// A write in doubt may take effect at any time; the writer goes on with a key of the same slot.
    fn next_register(&mut self) {
        self.generation += 1;
        self.register = Arc::new(Register::new(format!("r:{{{}}}:{}", self.tag, self.generation)));
        self.shared
            .registers
            .write()
            .expect("no panic while held")
            .push(Arc::clone(&self.register));
    }

    fn run(&mut self) {
        let mut commands = 0;
        while !self.shared.is_over() {
            let open = self.wire.take().filter(|wire| !wire.is_closed());
            let Some(mut wire) = open.or_else(|| self.dial()) else { continue };
            commands += 1;
            let began = self.shared.now();
            let (fate, is_usable) = if commands % INCREMENT_EVERY == 0 {
                self.increment(&mut wire)
            } else {
                self.write(&mut wire)
            };
            if fate == Fate::Acked {
                self.shared.pulses[self.shard as usize - 1].beat(began, self.shared.now());
            }
            self.shared.verdict.count(fate);
            if is_usable {
                self.wire = Some(wire);
            }
            pause(PACE);
        }
    }

    fn dial(&mut self) -> Option<Wire> {
        self.dials += 1;
        let wire = Wire::connect(self.shared.port(self.number + self.dials)).ok();
        if wire.is_none() {
            pause(DIAL_PAUSE);
        }
        wire
    }

    fn write(&mut self, wire: &mut Wire) -> (Fate, bool) {
        let register = Arc::clone(&self.register);
        let value = register.begin_write();
        let text = format!("{value:0>width$}", width = self.shared.value_bytes);
        let reply = wire.call(["SET", &register.key, &text]);
        let is_usable = reply.is_ok();
        let fate = match reply {
            Ok(Value::Simple(text)) if text == "OK" => Fate::Acked,
            other => self.fate_of(other),
        };
        register.end_write(value, fate);
        if fate == Fate::Uncertain {
            self.next_register();
        }
        (fate, is_usable)
    }

    fn increment(&mut self, wire: &mut Wire) -> (Fate, bool) {
        let shared = Arc::clone(&self.shared);
        let counter = &shared.counters[self.shard as usize - 1];
        let reply = wire.call(["INCR", &counter.key]);
        let is_usable = reply.is_ok();
        match reply {
            Ok(Value::Integer(answer)) => {
                counter.end_increment(Fate::Acked, u64::try_from(answer).unwrap_or(0))
            }
            other => {
                let fate = self.fate_of(other);
                counter.end_increment(fate, 0);
                return (fate, is_usable);
            }
        }
        (Fate::Acked, is_usable)
    }

    /// The fate of a write that was not answered with success.
    fn fate_of(&self, reply: std::io::Result<Value>) -> Fate {
        // The command had left, whole or in part, when the connection broke.
        let reply = match reply {
            Ok(reply) => reply,
            Err(error)
                if error.kind() == ErrorKind::UnexpectedEof
                    && self.shared.ends_in_order.load(Ordering::SeqCst) =>
            {
                return Fate::CutOff;
            }
            Err(error) => {
                self.shared.verdict.doubt(format!("connection: {}", error.kind()));
                return Fate::Uncertain;
            }
        };
        let text = reply.as_error().unwrap_or_default();
        match text.split_whitespace().next().unwrap_or_default() {
            "UNCERTAIN" => {
                self.shared.verdict.doubt(text.to_owned());
                Fate::Uncertain
            }
            "CLUSTERDOWN" | "TRYAGAIN" | "OVERLOADED" | "OOM" => Fate::Refused,
            _ => {
                self.shared.verdict.note(Err(format!("a write was answered with {reply:?}")));
                Fate::Uncertain
            }
        }
    }
}

/// A reader: any register from any node, again and again.
fn read(shared: &Shared, number: usize) {
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1));
    let mut wire = None;
    let mut dials = number;
    while !shared.is_over() {
        let Some(mut open) = wire.take().or_else(|| Wire::connect(shared.port(dials)).ok()) else {
            dials += 1;
            pause(DIAL_PAUSE);
            continue;
        };
        let registers = shared.registers.read().expect("no panic while held");
        let register = Arc::clone(&registers[draw.below(registers.len())]);
        drop(registers);
        let least = register.begin_read();
        if let Ok(reply) = open.call(["GET", &register.key]) {
            if let Some(value) = value_of(&reply) {
                shared.verdict.reads.fetch_add(1, Ordering::Relaxed);
                shared.verdict.note(register.end_read(least, value));
            }
            wire = Some(open);
        }
        dials += 1;
        pause(PACE);
    }
}

/// The number that a GET returned; nothing if it was refused.
fn value_of(reply: &Value) -> Option<u64> {
    if reply.is_null() {
        return Some(0);
    }
    reply.as_str().and_then(|text| text.parse().ok())
}

fn final_value(node: &Node, wire: &mut Wire, key: &str) -> u64 {
    let mut last = None;
    let found = try_for(FINAL_MAX, || {
        last = Some(wire.call(["GET", key]));
        value_of(last.as_ref()?.as_ref().ok()?)
    });
    found
        .unwrap_or_else(|| panic!("{} does not tell the final value of {key}: {last:?}", node.name))
}

/// A hash tag whose slot belongs to `shard`; another one for each `number`.
pub(crate) fn tag_in(shard: u32, shards: u32, number: usize) -> String {
    let tags = (0u32..).map(|at| format!("t{number}-{at}"));
    let mut fitting = tags.filter(|tag| shard_of(tag, shards) == shard);
    fitting.next().expect("every shard has slots")
}

/// The shard of a key: consecutive slots in equal runs, the first shard being 1.
pub(crate) fn shard_of(key: &str, shards: u32) -> u32 {
    let slot = u32::from(Slot::of_key(key.as_bytes()).number());
    1 + slot * shards / u32::from(SLOT_COUNT)
}

/// Waits out a fault under load, telling whether anybody got through meanwhile.
pub(crate) fn writes_during(load: &Load, time: Duration) -> u64 {
    let before = load.acked();
    pause(time);
    load.acked() - before
}

/// A write on a connection of its own.
pub(crate) fn set(port: u16, key: &str, value: &str) -> Option<String> {
    let reply = ask(port, &["SET", key, value]).ok()?;
    Some(reply.as_str().or(reply.as_error()).unwrap_or_default().to_owned())
}

fn thread(name: String, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    Builder::new().name(name).spawn(body).expect("a thread of the test")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Numbers that need not be good, only many.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}
