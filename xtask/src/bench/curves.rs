//! How figures grow: with keys, connections, shards, the length of values.
//!
//! Owns: the points of each curve, what is loaded at each. Never: draws (see `bench/src/bin/plots.rs`, which reads the
//! file that this writes), explains a bend.

use std::process::Command;

use serde_json::{Value, json};

use super::goal::Limit;
use super::options::Options;
use super::peer::{IN_MEMORY, Peer};
use super::report::{Figure, Table};
use super::row::{Operation, Row, Volume};
use super::sample::{Sample, median, spread_percent};
use super::{Bench, memory};
use crate::project::{Outcome, Project};

/// A curve: what stands on its axis, and how each of its points is measured.
struct Curve {
    name: &'static str,
    unit: &'static str,
    /// True if CPU per operation should stay flat along it.
    is_flat: bool,
    points: fn(&Options) -> Vec<u64>,
    measure: fn(&Bench<'_>, u64) -> Outcome<Vec<Point>>,
}

/// What one server showed at one place of a curve.
struct Point {
    server: &'static str,
    load: &'static str,
    samples: Vec<Sample>,
    bytes_per_key: Option<f64>,
}

const CURVES: &[Curve] = &[
    Curve {
        name: "keys",
        unit: "keys",
        is_flat: true,
        points: |options| decades(10_000, options.keys),
        measure: at_keys,
    },
    Curve {
        name: "connections",
        unit: "connections",
        is_flat: true,
        points: |_| vec![1, 10, 50, 100, 512, 1000, 2000, 5000, 10_000],
        measure: at_connections,
    },
    Curve {
        name: "shards",
        unit: "shards",
        is_flat: false,
        points: |_| vec![1, 4, 16, 64, 256],
        measure: at_shards,
    },
    Curve {
        name: "values",
        unit: "bytes",
        is_flat: false,
        points: |_| (0..=10).map(|power| 4_u64.pow(power)).collect(),
        measure: at_values,
    },
];

/// How far CPU per operation may be apart along a curve that should be flat, percent of the least.
const FLAT: Limit = Limit::AtMost(20.0);
/// Keys where their number is not what grows.
const KEYS: u64 = 100_000;
/// Operations for each connection, at least: the first ones of a connection are dearer.
const REQUESTS_PER_CONNECTION: u64 = 20;
/// Bytes of values that a server holds, and that a load moves, at most, where their length grows.
const VALUES_BYTES: u64 = 256 << 20;
const MOVED_BYTES: u64 = 1 << 30;
/// Open files that each process must be allowed: one end of ten thousand connections, and some.
const FILES_MIN: u64 = 12_000;

/// Measures the curves named, or all of them.
pub(super) fn run(project: &Project, arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    if let Some(word) = options.words.iter().find(|w| !CURVES.iter().any(|c| c.name == *w)) {
        let names: Vec<&str> = CURVES.iter().map(|curve| curve.name).collect();
        return Err(format!("there is no curve `{word}`; there are {}", names.join(", ")).into());
    }
    raise_files()?;
    let bench = Bench::new(project, options)?;
    let machine = bench.head();
    println!("durability replicated unless said, {} rounds, medians", bench.options.rounds);
    let mut results = Vec::new();
    for curve in CURVES {
        let words = &bench.options.words;
        if words.is_empty() || words.iter().any(|word| word == curve.name) {
            results.push(draw(&bench, curve));
        }
    }
    bench.finish(&machine, "curves", results)
}

/// Measures every point, prints the table, returns its part of the file.
fn draw(bench: &Bench<'_>, curve: &Curve) -> Value {
    let mut table = Table::new(vec![
        curve.unit,
        "server",
        "load",
        "k op/s",
        "+-%",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "CPU us/op",
        "RSS MiB",
        "bytes a key",
    ]);
    let (mut points, mut all) = (Vec::new(), Vec::new());
    for x in (curve.points)(&bench.options) {
        eprintln!("   ... {x} {}", curve.unit);
        match (curve.measure)(bench, x) {
            Err(error) => bench.note_broken(format!("{x} {}: {error}", curve.unit)),
            Ok(measured) => {
                for point in measured {
                    table.row(point.cells(x));
                    points.push(point.to_json(x));
                    all.push(point);
                }
            }
        }
    }
    println!("\n## over {}", curve.name);
    bench.show(&table);
    if curve.is_flat {
        show_flatness(bench, &all);
    }
    json!({ "curve": curve.name, "x": curve.unit, "points": points })
}

/// How far CPU per operation lies apart along the curve, for each server and load.
fn show_flatness(bench: &Bench<'_>, points: &[Point]) {
    let mut table = Table::of_figures("%");
    let mut loads: Vec<&str> = points.iter().map(|point| point.load).collect();
    loads.dedup();
    loads.sort_unstable();
    loads.dedup();
    for load in loads {
        let mut servers: Vec<&str> = points.iter().map(|point| point.server).collect();
        servers.sort_unstable();
        servers.dedup();
        let figure = |server: &str| {
            let of = points.iter().filter(|point| point.load == load && point.server == server);
            let cpu: Vec<f64> = of.map(|point| median(&point.samples).cpu_us).collect();
            let goal = server.starts_with("keystead").then_some(FLAT);
            Figure { server: server.to_owned(), value: growth(&cpu), spread: 0.0, goal }
        };
        let figures: Vec<Figure> = servers.into_iter().map(figure).collect();
        table.figures(&format!("{load}: CPU per operation, dearest over cheapest"), &figures);
    }
    bench.show(&table);
}

/// By how many percent the greatest is above the least.
fn growth(values: &[f64]) -> f64 {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    if least > 0.0 && least.is_finite() { (most / least - 1.0) * 100.0 } else { 0.0 }
}

/// `from`, ten times that, and so on up to `to`, which is the last in any case.
fn decades(from: u64, to: u64) -> Vec<u64> {
    let mut points: Vec<u64> = std::iter::successors(Some(from), |at| at.checked_mul(10))
        .take_while(|at| *at < to)
        .collect();
    points.push(to);
    points
}

fn at_keys(bench: &Bench<'_>, keys: u64) -> Outcome<Vec<Point>> {
    let peers = both(bench)?;
    let mut bytes = Vec::new();
    for peer in &peers {
        bytes.push(memory::bytes_per_key(peer, keys)?);
    }
    let volume = Volume { requests: bench.options.requests, keys };
    let mut points = loads(bench, &peers, &get_and_set(50, 64), volume)?;
    for point in &mut points {
        let at = peers.iter().position(|peer| peer.name == point.server);
        point.bytes_per_key = at.map(|at| bytes[at]);
    }
    Ok(points)
}

fn at_connections(bench: &Bench<'_>, connections: u64) -> Outcome<Vec<Point>> {
    let peers = both(bench)?;
    for peer in &peers {
        peer.fill(KEYS, 64)?;
    }
    let least = connections * REQUESTS_PER_CONNECTION;
    // One connection waits for each of its replies: fewer operations take as long.
    let most = if connections < 10 { bench.options.requests / 4 } else { bench.options.requests };
    let volume = Volume { requests: most.max(least), keys: KEYS };
    loads(bench, &peers, &get_and_set(usize::try_from(connections)?, 64), volume)
}

fn at_shards(bench: &Bench<'_>, shards: u64) -> Outcome<Vec<Point>> {
    let shards = shards.to_string();
    let start = |name, durability| {
        Peer::keystead(bench, name, 1, &["--durability", durability, "--shards", &shards])
    };
    let peers = [start("keystead", "replicated")?, start("keystead fsync", "fsync")?];
    for peer in &peers {
        peer.fill(KEYS, 64)?;
    }
    let volume = Volume { requests: bench.options.requests, keys: KEYS };
    loads(bench, &peers, &get_and_set(50, 64), volume)
}

fn at_values(bench: &Bench<'_>, bytes: u64) -> Outcome<Vec<Point>> {
    let peers = both(bench)?;
    let keys = (VALUES_BYTES / bytes).clamp(16, KEYS);
    let length = usize::try_from(bytes)?;
    for peer in &peers {
        peer.fill(keys, length)?;
    }
    let requests = (MOVED_BYTES / bytes).clamp(2000, bench.options.requests);
    loads(bench, &peers, &get_and_set(50, length), Volume { requests, keys })
}

/// Keystead and redis, fresh, with nothing waiting for the disk.
fn both(bench: &Bench<'_>) -> Outcome<Vec<Peer>> {
    let many = [IN_MEMORY, &["--maxclients", "11000"]].concat();
    Ok(vec![
        Peer::keystead(bench, "keystead", 1, &["--durability", "replicated"])?,
        Peer::redis(bench, "redis", &many)?,
    ])
}

/// GET reads what the servers were filled with; only SET carries a value.
fn get_and_set(connections: usize, value_bytes: usize) -> [Row; 2] {
    [
        Row::new("GET", Operation::Get).connections(connections),
        Row::new("SET", Operation::Set).connections(connections).value_bytes(value_bytes),
    ]
}

/// Every load against every server, in turn, round after round.
fn loads(bench: &Bench<'_>, peers: &[Peer], rows: &[Row], volume: Volume) -> Outcome<Vec<Point>> {
    let mut points = Vec::new();
    for row in rows {
        let mut samples = vec![Vec::new(); peers.len()];
        for round in 0..bench.options.rounds {
            for turn in 0..peers.len() {
                let at = (round + turn) % peers.len();
                samples[at].push(row.run_over(&peers[at], volume)?);
            }
        }
        for (peer, samples) in peers.iter().zip(samples) {
            points.push(Point { server: peer.name, load: row.name, samples, bytes_per_key: None });
        }
    }
    Ok(points)
}

impl Point {
    fn cells(&self, x: u64) -> Vec<String> {
        let sample = median(&self.samples);
        let rates: Vec<f64> = self.samples.iter().map(|sample| sample.rate).collect();
        let mut cells = vec![x.to_string(), self.server.to_owned(), self.load.to_owned()];
        cells.extend(super::report::figures_of(&sample, spread_percent(&rates)));
        cells.push(self.bytes_per_key.map_or(String::new(), |bytes| format!("{bytes:.0}")));
        cells
    }

    fn to_json(&self, x: u64) -> Value {
        json!({
            "x": x,
            "server": self.server,
            "load": self.load,
            "median": median(&self.samples).to_json(),
            "rounds": self.samples.iter().map(|sample| sample.to_json()).collect::<Vec<_>>(),
            "bytes_per_key": self.bytes_per_key,
        })
    }
}

/// Lets this process, and so its children, open as many files as the longest curve needs.
fn raise_files() -> Outcome {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = soft.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse().ok());
    if soft.is_some_and(|soft: u64| soft >= FILES_MIN) {
        return Ok(());
    }
    let own = std::process::id().to_string();
    let limit = format!("--nofile={FILES_MIN}:{FILES_MIN}");
    let output = Command::new("prlimit").args(["--pid", &own, &limit]).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("curves need {FILES_MIN} open files: {said}; try as root").into())
}

#[cfg(test)]
mod tests {
    use super::{decades, growth};

    #[test]
    fn a_curve_of_keys_ends_where_it_is_told_to() {
        assert_eq!(decades(10, 1000), [10, 100, 1000]);
        assert_eq!(decades(10, 2500), [10, 100, 1000, 2500]);
        assert_eq!(decades(10, 5), [5]);
    }

    #[test]
    fn growth_is_the_distance_from_least_to_greatest() {
        assert!((growth(&[5.0, 6.0, 5.5]) - 20.0).abs() < 1e-9);
        assert_eq!(growth(&[]), 0.0);
    }
}
