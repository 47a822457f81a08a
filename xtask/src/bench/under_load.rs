//! Servers under a load that does not end, and what each of their threads uses meanwhile.
//!
//! Owns: the loads there are, the generator's life, what is read from /proc and counted by perf. Never: stacks, names of
//! system calls (see `flame`), tables.
//!
//! What looks also disturbs: /proc is read while nothing else looks, and system calls are counted after that, over
//! operations of their own.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::Bench;
use super::peer::Peer;
use super::row::{Operation, Row};
use crate::project::Outcome;
use crate::wait;
use crate::wire::Connection;

/// A load: its name, nodes, what is sent.
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) nodes: usize,
    operation: Operation,
}

pub(super) const LOADS: &[Load] = &[
    Load { name: "get", nodes: 1, operation: Operation::Get },
    Load { name: "set-one", nodes: 1, operation: Operation::Set },
    Load { name: "set-three", nodes: 3, operation: Operation::Set },
    Load { name: "get-three", nodes: 3, operation: Operation::Get },
];

/// More requests than any look has time for: the generator is ended, it does not end.
const REQUESTS: u64 = 2_000_000_000;
/// The load runs for so long before anything is looked at.
const WARM_UP: Duration = Duration::from_secs(1);

/// What a thread has used so far, or what an operation uses of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Use {
    pub(super) user_us: f64,
    pub(super) system_us: f64,
    pub(super) waits: f64,
    pub(super) preemptions: f64,
    pub(super) system_calls: f64,
}

/// What each kind of thread uses for an operation.
pub(super) struct Threads {
    /// Operations a second.
    pub(super) rate: f64,
    pub(super) by_name: BTreeMap<String, Use>,
}

/// See the module.
pub(super) struct UnderLoad<'a> {
    peer: &'a Peer,
    /// The servers, as perf wants them named.
    pub(super) processes: String,
    /// How long each look takes.
    pub(super) seconds: Duration,
    _generator: Generator,
}

impl Load {
    /// The nodes of this load, filled.
    pub(super) fn start(&self, bench: &Bench<'_>) -> Outcome<Peer> {
        let durability = bench.options.durability.as_str();
        let peer = Peer::keystead(bench, "keystead", self.nodes, &["--durability", durability])?;
        peer.fill(bench.options.keys, bench.options.value_bytes)?;
        Ok(peer)
    }
}

impl<'a> UnderLoad<'a> {
    /// Begins the load and lets it warm up.
    pub(super) fn begin(
        bench: &Bench<'_>,
        peer: &'a Peer,
        load: &Load,
        (connections, pipeline): (usize, usize),
    ) -> Outcome<Self> {
        let row = Row::new(load.name, load.operation)
            .connections(connections)
            .pipeline(pipeline)
            .value_bytes(bench.options.value_bytes);
        let out = File::create(bench.scratch.folder("generator")?.join("out"))?;
        let mut generator = row.generator(peer, REQUESTS, bench.options.keys);
        let child = generator.stdout(out.try_clone()?).stderr(out).spawn()?;
        let processes: Vec<String> = peer.servers.iter().map(|s| s.id().to_string()).collect();
        let seconds = Duration::from_secs(bench.options.seconds);
        let processes = processes.join(",");
        let under = Self { peer, processes, seconds, _generator: Generator(child) };
        pass(WARM_UP)?;
        Ok(under)
    }

    /// Operations done so far: each is counted by the node that its client is connected to.
    pub(super) fn operations(&self) -> Outcome<f64> {
        let mut sum = 0.0;
        for server in &self.peer.servers {
            let text = Connection::open(server.address)?.ask(&["INFO", "stats"])?;
            let line = text.lines().find_map(|l| l.strip_prefix("total_commands_processed:"));
            sum += line.ok_or("INFO has no total_commands_processed")?.trim().parse::<f64>()?;
        }
        Ok(sum)
    }

    /// CPU, switches and system calls of each kind of thread, for an operation.
    pub(super) fn threads(&self) -> Outcome<Threads> {
        let (before, done, began) = (self.uses()?, self.operations()?, Instant::now());
        pass(self.seconds)?;
        let (after, done) = (self.uses()?, self.operations()? - done);
        let rate = done / began.elapsed().as_secs_f64();
        let done_before = self.operations()?;
        let calls = self.system_calls()?;
        let done_meanwhile = self.operations()? - done_before;
        let mut by_name: BTreeMap<String, Use> = BTreeMap::new();
        for (thread, after) in &after {
            let before = before.get(thread).copied().unwrap_or_default();
            let sum = by_name.entry(name_of(thread).to_owned()).or_default();
            *sum = sum.plus(&after.since(&before).over(done));
        }
        for (thread, count) in &calls {
            let sum = by_name.entry(name_of(thread).to_owned()).or_default();
            sum.system_calls += count / done_meanwhile;
        }
        Ok(Threads { rate, by_name })
    }

    /// What each thread has used, by its name and number.
    fn uses(&self) -> Outcome<BTreeMap<String, Use>> {
        let mut uses = BTreeMap::new();
        for process in self.processes.split(',') {
            for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
                let folder = task?.path();
                let number = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                // A thread may end between the look at the list and the look at itself.
                let Ok(stat) = std::fs::read_to_string(folder.join("stat")) else { continue };
                let Ok(status) = std::fs::read_to_string(folder.join("status")) else { continue };
                let (name, thread) = parse(&stat, &status).ok_or("a thread cannot be read")?;
                uses.insert(format!("{name}-{number}"), thread);
            }
        }
        Ok(uses)
    }

    /// System calls of each thread while perf counts them.
    fn system_calls(&self) -> Outcome<BTreeMap<String, f64>> {
        let milliseconds = self.seconds.as_millis().to_string();
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x", ",", "--per-thread", "-e", "raw_syscalls:sys_enter"]);
        perf.args(["-p", &self.processes, "--timeout", &milliseconds]);
        let output = perf.output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            println!("system calls were not counted: {text}");
            return Ok(BTreeMap::new());
        }
        Ok(text.lines().filter_map(parse_count).collect())
    }
}

impl Threads {
    /// All threads together.
    pub(super) fn together(&self) -> Use {
        self.by_name.values().fold(Use::default(), |sum, used| sum.plus(used))
    }
}

impl Use {
    pub(super) fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }

    pub(super) fn plus(self, other: &Self) -> Self {
        self.with(other, |a, b| a + b)
    }

    fn since(self, before: &Self) -> Self {
        self.with(before, |a, b| a - b)
    }

    fn over(self, operations: f64) -> Self {
        self.with(&self, |a, _| a / operations)
    }

    fn with(self, other: &Self, of: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            user_us: of(self.user_us, other.user_us),
            system_us: of(self.system_us, other.system_us),
            waits: of(self.waits, other.waits),
            preemptions: of(self.preemptions, other.preemptions),
            system_calls: of(self.system_calls, other.system_calls),
        }
    }
}

/// The load generator; ended with us.
struct Generator(Child);

impl Drop for Generator {
    fn drop(&mut self) {
        // One that has ended by itself needs no end.
        if self.0.kill().is_ok()
            && let Err(error) = self.0.wait()
        {
            eprintln!("cannot wait for the load generator's end: {error}");
        }
    }
}

/// The thread's name and what it has used, from its `stat` and `status`.
fn parse(stat: &str, status: &str) -> Option<(String, Use)> {
    let (front, behind) = stat.rsplit_once(')')?;
    let name = front.split_once('(')?.1.replace(' ', "_");
    let fields: Vec<&str> = behind.split_whitespace().collect();
    // Ticks are hundredths of a second.
    let tick = |at: usize| Some(fields.get(at)?.parse::<f64>().ok()? * 1e4);
    let count = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<f64>().ok()
    };
    let used = Use {
        user_us: tick(11)?,
        system_us: tick(12)?,
        waits: count("voluntary_ctxt_switches:")?,
        preemptions: count("nonvoluntary_ctxt_switches:")?,
        system_calls: 0.0,
    };
    Some((name, used))
}

/// `io-0-20595,65107,,raw_syscalls:sys_enter,...`: a thread and its calls.
fn parse_count(line: &str) -> Option<(String, f64)> {
    let mut fields = line.split(',');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

/// A thread's name without its number, and without that of its kind: what does the same work is one line.
fn name_of(thread: &str) -> &str {
    let name = thread.rsplit_once('-').map_or(thread, |(name, _)| name);
    name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-')
}

/// Lets the load run for a while.
fn pass(time: Duration) -> Outcome {
    let began = Instant::now();
    wait::until("time to pass", time * 2, || Ok((began.elapsed() >= time).then_some(())))
}

#[cfg(test)]
mod tests {
    use super::{Use, name_of, parse, parse_count};

    #[test]
    fn a_threads_use_is_read() {
        let stat = "7 (io 0) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0";
        let status = "Name:\tio 0\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        let (name, used) = parse(stat, status).expect("as the kernel writes it");
        assert_eq!((name.as_str(), used.user_us, used.system_us), ("io_0", 1.2e6, 3e5));
        assert_eq!((used.waits, used.preemptions), (12.0, 3.0));
        assert_eq!(name_of("io-0-20595"), "io");
        assert_eq!(name_of("writer-77"), "writer");
    }

    #[test]
    fn counts_of_perf_are_read() {
        let line = "io-0-20595,65107,,raw_syscalls:sys_enter,263110474,100.00,,";
        assert_eq!(parse_count(line), Some(("io-0-20595".to_owned(), 65_107.0)));
        assert_eq!(parse_count("writer-5,<not counted>,,raw_syscalls:sys_enter,0"), None);
    }

    #[test]
    fn uses_are_divided_by_the_operations_between_two_looks() {
        let look = |us, waits| Use { user_us: us, system_us: us, waits, ..Use::default() };
        let one = look(300.0, 9.0).since(&look(100.0, 5.0)).over(2.0);
        assert_eq!((one.cpu_us(), one.waits), (200.0, 2.0));
    }
}
