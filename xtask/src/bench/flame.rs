//! Where the time of one load goes: CPU, context switches and system calls of each thread, and a flame graph.
//!
//! Owns: the load, what is read from /proc, the calls of perf and strace, the tables. Never: folds or draws stacks (see
//! `bench/src/bin/flame.rs`), explains what it shows.
//!
//! What looks also disturbs, so each look has its own time, with its own count of operations: first /proc alone, then
//! perf counting system calls, then perf recording stacks, then strace, which slows everything down and is good for
//! nothing but the shares of the calls.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Bench;
use super::apart;
use super::options::Options;
use super::peer::Peer;
use super::report::Table;
use super::row::{Operation, Row};
use crate::project::{Outcome, Project, find_program};
use crate::wait;
use crate::wire::Connection;

/// A load: its name, nodes, what is sent.
struct Load {
    name: &'static str,
    nodes: usize,
    operation: Operation,
}

const LOADS: &[Load] = &[
    Load { name: "get", nodes: 1, operation: Operation::Get },
    Load { name: "set-one", nodes: 1, operation: Operation::Set },
    Load { name: "set-three", nodes: 3, operation: Operation::Set },
    Load { name: "get-three", nodes: 3, operation: Operation::Get },
];

/// More requests than any look has time for: the generator is ended, it does not end.
const REQUESTS: u64 = 2_000_000_000;
/// The load runs for so long before anything is looked at.
const WARM_UP: Duration = Duration::from_secs(1);
/// Stacks a second and processor; no divisor of the kernel's own tick, so as not to run in step with it.
const STACKS_PER_SECOND: &str = "249";
/// Bytes of each stack that are kept and unwound afterwards: the product has no frame pointers.
const UNWIND: &str = "dwarf,16384";
/// strace slows a server down twentyfold: more of it shows nothing new.
const STRACE_SECONDS_MAX: u64 = 3;

/// What a thread has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Use {
    user_ticks: f64,
    system_ticks: f64,
    waits: f64,
    preemptions: f64,
    system_calls: f64,
}

/// The servers under load.
struct Looked<'a> {
    peer: &'a Peer,
    processes: String,
    seconds: Duration,
}

/// Runs a load, looks at it, draws.
pub(super) fn run(project: &Project, arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    let load = match options.words.as_slice() {
        [word] => LOADS.iter().find(|load| load.name == word),
        _ => None,
    };
    let names: Vec<&str> = LOADS.iter().map(|load| load.name).collect();
    let load = load.ok_or_else(|| format!("bench flame takes one of {}", names.join(", ")))?;
    if find_program("perf").is_none() {
        return Err(
            "perf is missing; install it (Debian: linux-perf; Ubuntu: linux-tools-generic)".into(),
        );
    }
    let bench = Bench::new(project, options)?;
    let machine = bench.head();
    let durability = bench.options.durability.as_str();
    let peer = Peer::keystead(&bench, "keystead", load.nodes, &["--durability", durability])?;
    let options = &bench.options;
    let title = format!(
        "{}, {} connections, pipeline {}, {}, {} keys",
        load.name, options.connections, options.pipeline, peer.settings, options.keys
    );
    println!("{title}");
    peer.fill(options.keys, 64)?;
    let row = Row::new(load.name, load.operation)
        .connections(options.connections)
        .pipeline(options.pipeline);
    let out = File::create(bench.scratch.folder("generator")?.join("out"))?;
    let mut generator = row.generator(&peer, REQUESTS, options.keys);
    let generator = Generator(generator.stdout(out.try_clone()?).stderr(out).spawn()?);
    let processes: Vec<String> = peer.servers.iter().map(|s| s.id().to_string()).collect();
    let seconds = Duration::from_secs(options.seconds);
    let looked = Looked { peer: &peer, processes: processes.join(","), seconds };
    pass(WARM_UP)?;
    let threads = looked.threads(&bench)?;
    looked.record(&bench, &title)?;
    let calls = looked.calls_by_name(&bench)?;
    drop(generator);
    bench.finish(
        &machine,
        "flame",
        vec![json!({ "load": title, "threads": threads, "calls": calls })],
    )
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

impl Looked<'_> {
    /// Operations done so far: each is counted by the node that its client is connected to.
    fn operations(&self) -> Outcome<f64> {
        let mut sum = 0.0;
        for server in &self.peer.servers {
            let text = Connection::open(server.address)?.ask(&["INFO", "stats"])?;
            let line = text.lines().find_map(|l| l.strip_prefix("total_commands_processed:"));
            sum += line.ok_or("INFO has no total_commands_processed")?.trim().parse::<f64>()?;
        }
        Ok(sum)
    }

    /// CPU, switches and system calls of each thread, for an operation.
    fn threads(&self, bench: &Bench<'_>) -> Outcome<Value> {
        let (before, done, began) = (self.uses()?, self.operations()?, Instant::now());
        pass(self.seconds)?;
        let (after, done) = (self.uses()?, self.operations()? - done);
        let rate = done / began.elapsed().as_secs_f64();
        let done_before = self.operations()?;
        let calls = self.system_calls()?;
        let done_meanwhile = self.operations()? - done_before;
        let mut used: BTreeMap<String, Use> = BTreeMap::new();
        for (thread, after) in &after {
            let before = before.get(thread).copied().unwrap_or_default();
            let sum = used.entry(name_of(thread).to_owned()).or_default();
            // Ticks are hundredths of a second, hence ten thousand microseconds.
            sum.user_ticks += (after.user_ticks - before.user_ticks) * 1e4 / done;
            sum.system_ticks += (after.system_ticks - before.system_ticks) * 1e4 / done;
            sum.waits += (after.waits - before.waits) / done;
            sum.preemptions += (after.preemptions - before.preemptions) / done;
        }
        for (thread, count) in &calls {
            used.entry(name_of(thread).to_owned()).or_default().system_calls +=
                count / done_meanwhile;
        }
        println!("{:.1} k operations a second; all figures are for one operation", rate / 1000.0);
        Ok(show_threads(bench, &used, rate))
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

    /// Records stacks and draws them.
    fn record(&self, bench: &Bench<'_>, title: &str) -> Outcome {
        let folder = bench.scratch.folder("perf")?;
        let (stacks, seconds) = (folder.join("stacks"), self.seconds.as_secs().to_string());
        let mut perf = Command::new("perf");
        // By time and not by cycles: there are machines that count none.
        perf.args([
            "record",
            "--quiet",
            "-e",
            "cpu-clock",
            "--call-graph",
            UNWIND,
            "-F",
            STACKS_PER_SECOND,
        ]);
        perf.args(["-p", &self.processes, "-o"]).arg(&stacks).args(["sleep", &seconds]);
        ended_well(&mut perf)?;
        let folder = bench.project.target()?;
        let name = title.split(',').next().unwrap_or("load");
        let picture = bench.options.output.clone();
        let picture = picture.unwrap_or_else(|| folder.join(format!("flame-{name}.svg")));
        let printed = stacks.with_extension("txt");
        let mut script = Command::new("perf");
        script.args(["script", "--no-inline", "-i"]).arg(&stacks);
        ended_well(script.stdout(File::create(&printed)?).stderr(Stdio::null()))?;
        draw(bench.project, &printed, &picture, title)?;
        println!("flame graph: {}\n", picture.display());
        Ok(())
    }

    /// System calls by name, for an operation, while strace looks.
    fn calls_by_name(&self, bench: &Bench<'_>) -> Outcome<Value> {
        if find_program("strace").is_none() {
            println!("system calls by name: strace is missing (Debian: strace)");
            return Ok(Value::Null);
        }
        let done = self.operations()?;
        let mut strace = Command::new("timeout");
        let seconds = self.seconds.as_secs().min(STRACE_SECONDS_MAX).to_string();
        strace.args(["--signal=INT", &seconds, "strace", "-c", "-f"]);
        self.processes.split(',').for_each(|process| {
            strace.args(["-p", process]);
        });
        let text = String::from_utf8_lossy(&strace.output()?.stderr).into_owned();
        let done = self.operations()? - done;
        let mut table = Table::new(vec!["system call", "", "calls/op", "errors/op"]);
        let mut calls = Vec::new();
        for (name, count, errors) in text.lines().filter_map(parse_strace) {
            let (count, errors) = (count / done, errors / done);
            if count >= 0.0005 {
                table.row(vec![
                    name.to_owned(),
                    String::new(),
                    format!("{count:.3}"),
                    format!("{errors:.3}"),
                ]);
            }
            calls.push(json!({ "call": name, "per_op": count, "errors_per_op": errors }));
        }
        bench.show(&table);
        Ok(json!(calls))
    }
}

fn show_threads(bench: &Bench<'_>, used: &BTreeMap<String, Use>, rate: f64) -> Value {
    let mut table = Table::new(vec![
        "threads",
        "",
        "user us",
        "system us",
        "waits",
        "preemptions",
        "system calls",
    ]);
    let mut all: Vec<(String, Use)> =
        used.iter().map(|(name, used)| (name.clone(), *used)).collect();
    all.sort_by(|a, b| b.1.cpu().total_cmp(&a.1.cpu()));
    let sum = all.iter().fold(Use::default(), |sum, (_, used)| sum.plus(used));
    all.push(("together".to_owned(), sum));
    for (name, used) in &all {
        let figures =
            [used.user_ticks, used.system_ticks, used.waits, used.preemptions, used.system_calls];
        let mut cells = vec![name.clone(), String::new()];
        cells.extend(figures.map(|figure| format!("{figure:.3}")));
        table.row(cells);
    }
    bench.show(&table);
    let threads = all.iter().map(|(name, used)| {
        json!({
            "threads": name,
            "user_us": used.user_ticks,
            "system_us": used.system_ticks,
            "waits": used.waits,
            "preemptions": used.preemptions,
            "system_calls": used.system_calls,
        })
    });
    json!({ "ops_per_second": rate, "per_op": threads.collect::<Vec<_>>() })
}

impl Use {
    fn cpu(&self) -> f64 {
        self.user_ticks + self.system_ticks
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            user_ticks: self.user_ticks + other.user_ticks,
            system_ticks: self.system_ticks + other.system_ticks,
            waits: self.waits + other.waits,
            preemptions: self.preemptions + other.preemptions,
            system_calls: self.system_calls + other.system_calls,
        }
    }
}

/// The thread's name and what it has used, from its `stat` and `status`.
fn parse(stat: &str, status: &str) -> Option<(String, Use)> {
    let (front, behind) = stat.rsplit_once(')')?;
    let name = front.split_once('(')?.1.replace(' ', "_");
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let tick = |at: usize| fields.get(at)?.parse::<f64>().ok();
    let count = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<f64>().ok()
    };
    let used = Use {
        user_ticks: tick(11)?,
        system_ticks: tick(12)?,
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

/// `52.05    1.634460       20178        81        77 futex`: a call, how often, how often in vain.
fn parse_strace(line: &str) -> Option<(&str, f64, f64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (count, errors) = match fields.as_slice() {
        [_, _, _, count, _] => (count.parse().ok()?, 0.0),
        [_, _, _, count, errors, _] => (count.parse().ok()?, errors.parse().ok()?),
        _ => return None,
    };
    let name = fields.last().filter(|name| **name != "total" && **name != "syscall")?;
    Some((name, count, errors))
}

/// A thread's name without its number, and without that of its kind: what does the same work is one line.
fn name_of(thread: &str) -> &str {
    let name = thread.rsplit_once('-').map_or(thread, |(name, _)| name);
    name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-')
}

fn draw(project: &Project, printed: &Path, picture: &Path, title: &str) -> Outcome {
    let mut flame = Command::new(apart::program(project, "flame")?);
    ended_well(flame.arg(picture).arg(title).stdin(File::open(printed)?))
}

fn ended_well(command: &mut Command) -> Outcome {
    let status = command.status()?;
    let program = command.get_program().to_string_lossy().into_owned();
    if status.success() { Ok(()) } else { Err(format!("{program} failed: {status}").into()) }
}

/// Lets the load run for a while.
fn pass(time: Duration) -> Outcome {
    let began = Instant::now();
    wait::until("time to pass", time * 2, || Ok((began.elapsed() >= time).then_some(())))
}

#[cfg(test)]
mod tests {
    use super::{name_of, parse, parse_count, parse_strace};

    #[test]
    fn a_threads_use_is_read() {
        let stat = "7 (io 0) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0";
        let status = "Name:\tio 0\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        let (name, used) = parse(stat, status).expect("as the kernel writes it");
        assert_eq!((name.as_str(), used.user_ticks, used.system_ticks), ("io_0", 120.0, 30.0));
        assert_eq!((used.waits, used.preemptions), (12.0, 3.0));
        assert_eq!(name_of("io-0-20595"), "io");
        assert_eq!(name_of("writer-77"), "writer");
    }

    #[test]
    fn counts_of_perf_and_strace_are_read() {
        let line = "io-0-20595,65107,,raw_syscalls:sys_enter,263110474,100.00,,";
        assert_eq!(parse_count(line), Some(("io-0-20595".to_owned(), 65_107.0)));
        assert_eq!(parse_count("writer-5,<not counted>,,raw_syscalls:sys_enter,0"), None);
        let line = " 52.05    1.634460       20178        81        77 futex";
        assert_eq!(parse_strace(line), Some(("futex", 81.0, 77.0)));
        let line = " 10.12    0.317656          25     12638           sendto";
        assert_eq!(parse_strace(line), Some(("sendto", 12_638.0, 0.0)));
        assert_eq!(parse_strace("100.00    3.140092         118     26550        78 total"), None);
    }
}
