//! Where the time of a load goes, in tables and as a flame graph: the verbs `bench flame` and `bench where`.
//!
//! Owns: the calls of `perf record` and strace, the tables. Never: reads /proc (see `under_load`), folds or draws stacks
//! (see `bench/src/bin/flame.rs`), explains what it shows.
//!
//! Each look has its own time, with its own count of operations: first the threads, then perf recording stacks, then
//! strace, which slows everything down and is good for nothing but the shares of the calls.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::Bench;
use super::apart;
use super::options::Options;
use super::report::Table;
use super::under_load::{LOADS, Load, Threads, UnderLoad, Use};
use crate::project::{Outcome, Project, find_program};

/// Connections and commands in a group, for each load of `bench where`.
const WAYS: &[(usize, usize)] = &[(1, 1), (50, 1), (512, 1), (50, 16)];
/// Kinds of threads that have a column of their own.
const COLUMNS: [&str; 4] = ["io", "worker", "transport", "writer"];
/// Stacks a second and processor; no divisor of the kernel's own tick, so as not to run in step with it.
const STACKS_PER_SECOND: &str = "249";
/// Bytes of each stack that are kept and unwound afterwards: the product has no frame pointers.
const UNWIND: &str = "dwarf,16384";
/// strace slows a server down twentyfold: more of it shows nothing new.
const STRACE_SECONDS_MAX: u64 = 3;

/// Runs a load, looks at it, draws.
pub(super) fn run(project: &Project, arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    let loads = chosen(&options.words)?;
    let [load] = loads.as_slice() else {
        return Err("bench flame takes one load; bench where takes several".into());
    };
    need_perf()?;
    let bench = Bench::new(project, options)?;
    let machine = bench.head();
    let peer = load.start(&bench)?;
    let options = &bench.options;
    let title = format!(
        "{}, {} connections, pipeline {}, {}, {} keys, values of {} bytes",
        load.name,
        options.connections,
        options.pipeline,
        peer.settings,
        options.keys,
        options.value_bytes
    );
    println!("{title}");
    let way = (options.connections, options.pipeline);
    let under = UnderLoad::begin(&bench, &peer, load, way)?;
    let threads = show_threads(&bench, &under.threads()?);
    record(&bench, &under, &title)?;
    let calls = calls_by_name(&bench, &under)?;
    drop(under);
    let result = json!({ "load": title, "threads": threads, "calls": calls });
    bench.finish(&machine, "flame", vec![result])
}

/// Runs the loads in every way, and prints what an operation uses of each kind of thread.
pub(super) fn run_where(project: &Project, arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    let loads = chosen(&options.words)?;
    need_perf()?;
    let bench = Bench::new(project, options)?;
    let machine = bench.head();
    let mut table = Table::new(vec![
        "load",
        "connections, pipeline",
        "k op/s",
        "CPU us",
        "io",
        "worker",
        "transport",
        "writer",
        "rest",
        "waits",
        "preemptions",
        "system calls",
    ]);
    let mut results = Vec::new();
    for load in loads {
        let peer = load.start(&bench)?;
        println!(
            "   {:<18}{}, {} keys, values of {} bytes",
            load.name, peer.settings, bench.options.keys, bench.options.value_bytes
        );
        for way in WAYS {
            let under = UnderLoad::begin(&bench, &peer, load, *way)?;
            let threads = under.threads()?;
            table.row(cells(load, *way, &threads));
            results.push(json!({
                "load": load.name,
                "connections": way.0,
                "pipeline": way.1,
                "settings": peer.settings,
                "threads": to_json(&threads),
            }));
        }
    }
    bench.show(&table);
    bench.finish(&machine, "where", results)
}

/// The loads named, or all of them.
fn chosen(words: &[String]) -> Outcome<Vec<&'static Load>> {
    if let Some(word) = words.iter().find(|word| !LOADS.iter().any(|load| load.name == *word)) {
        let names: Vec<&str> = LOADS.iter().map(|load| load.name).collect();
        return Err(format!("there is no load `{word}`; there are {}", names.join(", ")).into());
    }
    let is_chosen = |load: &&Load| words.is_empty() || words.iter().any(|word| word == load.name);
    Ok(LOADS.iter().filter(is_chosen).collect())
}

fn need_perf() -> Outcome {
    match find_program("perf") {
        Some(_) => Ok(()),
        None => Err("perf is missing; install it (Debian: linux-perf; Ubuntu: linux-tools)".into()),
    }
}

/// One row of `bench where`.
fn cells(load: &Load, (connections, pipeline): (usize, usize), threads: &Threads) -> Vec<String> {
    let sum = threads.together();
    let of = |name: &str| threads.by_name.get(name).map_or(0.0, Use::cpu_us);
    let named: f64 = COLUMNS.iter().map(|name| of(name)).sum();
    let mut cells = vec![load.name.to_owned(), format!("{connections}, {pipeline}")];
    cells.push(format!("{:.1}", threads.rate / 1000.0));
    cells.push(format!("{:.2}", sum.cpu_us()));
    cells.extend(COLUMNS.map(|name| format!("{:.2}", of(name))));
    cells.push(format!("{:.2}", sum.cpu_us() - named));
    cells.extend([sum.waits, sum.preemptions, sum.system_calls].map(|n| format!("{n:.3}")));
    cells
}

/// Records stacks and draws them.
fn record(bench: &Bench<'_>, under: &UnderLoad<'_>, title: &str) -> Outcome {
    let folder = bench.scratch.folder("perf")?;
    let (stacks, seconds) = (folder.join("stacks"), under.seconds.as_secs().to_string());
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
    perf.args(["-p", &under.processes, "-o"]).arg(&stacks).args(["sleep", &seconds]);
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
fn calls_by_name(bench: &Bench<'_>, under: &UnderLoad<'_>) -> Outcome<Value> {
    if find_program("strace").is_none() {
        println!("system calls by name: strace is missing (Debian: strace)");
        return Ok(Value::Null);
    }
    let done = under.operations()?;
    let mut strace = Command::new("timeout");
    let seconds = under.seconds.as_secs().min(STRACE_SECONDS_MAX).to_string();
    strace.args(["--signal=INT", &seconds, "strace", "-c", "-f"]);
    under.processes.split(',').for_each(|process| {
        strace.args(["-p", process]);
    });
    let text = String::from_utf8_lossy(&strace.output()?.stderr).into_owned();
    let done = under.operations()? - done;
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

fn show_threads(bench: &Bench<'_>, threads: &Threads) -> Value {
    let rate = threads.rate / 1000.0;
    println!("{rate:.1} k operations a second; all figures are for one operation");
    let mut table = Table::new(vec![
        "threads",
        "",
        "user us",
        "system us",
        "waits",
        "preemptions",
        "system calls",
    ]);
    let mut all: Vec<(&str, Use)> =
        threads.by_name.iter().map(|(name, used)| (name.as_str(), *used)).collect();
    all.sort_by(|a, b| b.1.cpu_us().total_cmp(&a.1.cpu_us()));
    all.push(("together", threads.together()));
    for (name, used) in all {
        let figures =
            [used.user_us, used.system_us, used.waits, used.preemptions, used.system_calls];
        let mut cells = vec![name.to_owned(), String::new()];
        cells.extend(figures.map(|figure| format!("{figure:.3}")));
        table.row(cells);
    }
    bench.show(&table);
    to_json(threads)
}

fn to_json(threads: &Threads) -> Value {
    let per_op = threads.by_name.iter().map(|(name, used)| {
        json!({
            "threads": name,
            "user_us": used.user_us,
            "system_us": used.system_us,
            "waits": used.waits,
            "preemptions": used.preemptions,
            "system_calls": used.system_calls,
        })
    });
    json!({ "ops_per_second": threads.rate, "per_op": per_op.collect::<Vec<_>>() })
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

fn draw(project: &Project, printed: &Path, picture: &Path, title: &str) -> Outcome {
    let mut flame = Command::new(apart::program(project, "flame")?);
    ended_well(flame.arg(picture).arg(title).stdin(File::open(printed)?))
}

fn ended_well(command: &mut Command) -> Outcome {
    let status = command.status()?;
    let program = command.get_program().to_string_lossy().into_owned();
    if status.success() { Ok(()) } else { Err(format!("{program} failed: {status}").into()) }
}

#[cfg(test)]
mod tests {
    use super::{chosen, parse_strace};

    #[test]
    fn counts_of_strace_are_read() {
        let line = " 52.05    1.634460       20178        81        77 futex";
        assert_eq!(parse_strace(line), Some(("futex", 81.0, 77.0)));
        let line = " 10.12    0.317656          25     12638           sendto";
        assert_eq!(parse_strace(line), Some(("sendto", 12_638.0, 0.0)));
        assert_eq!(parse_strace("100.00    3.140092         118     26550        78 total"), None);
    }

    #[test]
    fn loads_are_chosen_by_name() {
        let names = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            chosen(&words).map(|loads| loads.iter().map(|load| load.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["set-one"]).expect("it exists"), ["set-one"]);
        assert!(names(&[]).expect("all of them").len() > 2);
        assert!(names(&["what"]).is_err());
    }
}
