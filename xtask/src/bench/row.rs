//! A row of a table: one load, run against every contender in turn.
//! Owns: the loads there are and the generator each dialect is loaded with. Never: prints.

use std::process::{Command, Stdio};

use super::dialogue::{EtcdDialogue, WaitDialogue};
use super::goal::Goal;
use super::peer::{Dialect, Peer};
use super::sample::Sample;
use super::swarm;
use crate::project::Outcome;
use crate::wire::Connection;

/// A longer value does not fit into the arguments of a program: redis-benchmark makes one itself.
const ARGUMENT_BYTES_MAX: usize = 64 * 1024;

/// What each operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Get,
    Set,
    Incr,
    Hset,
    Zadd,
    /// MSET of ten keys of one slot.
    Mset,
}

/// How much of a load there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Volume {
    pub(super) requests: u64,
    /// Keys that the load is spread over.
    pub(super) keys: u64,
}

/// One load.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) operation: Operation,
    pub(super) connections: usize,
    pub(super) pipeline: usize,
    pub(super) value_bytes: usize,
    /// Operations as a percentage of `--requests`: slow loads get fewer.
    pub(super) percent: u64,
    /// What Keystead should reach: the first contender, and the second if it is Keystead too.
    pub(super) goals: [Goal; 2],
}

impl Row {
    /// A row of `operation` with 50 connections, 64-byte values and no pipeline.
    pub(super) const fn new(name: &'static str, operation: Operation) -> Self {
        Self {
            name,
            operation,
            connections: 50,
            pipeline: 1,
            value_bytes: 64,
            percent: 100,
            goals: [Goal::NONE; 2],
        }
    }

    /// The same with a goal.
    pub(super) const fn goal(self, goal: Goal) -> Self {
        self.goals([goal, Goal::NONE])
    }

    /// The same with a goal for each of two Keysteads.
    pub(super) const fn goals(mut self, goals: [Goal; 2]) -> Self {
        self.goals = goals;
        self
    }

    /// The same with another number of connections.
    pub(super) const fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// The same with commands sent in groups.
    pub(super) const fn pipeline(mut self, pipeline: usize) -> Self {
        self.pipeline = pipeline;
        self
    }

    /// The same with values of another length.
    pub(super) const fn value_bytes(mut self, bytes: usize) -> Self {
        self.value_bytes = bytes;
        self
    }

    /// The same with a share of the operations.
    pub(super) const fn percent(mut self, percent: u64) -> Self {
        self.percent = percent;
        self
    }

    /// Makes values of the row's length where the row reads longer ones than the suite was filled with. Why the
    /// contender cannot play this row, if it cannot.
    pub(super) fn prepare(&self, peer: &Peer, volume: Volume) -> Outcome<Option<String>> {
        if peer.dialect == Dialect::Etcd {
            let is_known = matches!(self.operation, Operation::Get | Operation::Set);
            return Ok((!is_known).then(|| "has no such command".to_owned()));
        }
        let words =
            self.words().into_iter().map(|word| word.replace("__rand_int__", "000000000000"));
        let words: Vec<String> = words.collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let reply = Connection::open(peer.address())?.ask(&words)?;
        if let Some(refusal) = reply.strip_prefix('-') {
            // What follows the first comma quotes the arguments.
            return Ok(Some(refusal.split([',', '\r']).next().unwrap_or_default().to_owned()));
        }
        if self.operation == Operation::Get && self.value_bytes > 64 {
            peer.fill(self.keys(volume), self.value_bytes)?;
        }
        Ok(None)
    }

    /// Long values are spread over fewer keys, so that memory holds them.
    fn keys(&self, volume: Volume) -> u64 {
        if self.value_bytes > 1024 { (volume.keys / 20).max(1) } else { volume.keys }
    }

    /// Runs the load once, as much of the volume as the row and the contender are meant to get.
    pub(super) fn run(&self, peer: &Peer, volume: Volume) -> Outcome<Sample> {
        // etcd is slower by an order of magnitude: a tenth shows as much.
        let share = if peer.dialect == Dialect::Etcd { 10 } else { 1 };
        let requests = (volume.requests * self.percent / 100 / share).max(1000);
        self.run_over(peer, Volume { requests, keys: self.keys(volume) })
    }

    /// Runs the load once, exactly that much of it.
    pub(super) fn run_over(&self, peer: &Peer, volume: Volume) -> Outcome<Sample> {
        let Volume { requests, keys } = volume;
        let before = peer.cpu_seconds()?;
        let is_set = self.operation == Operation::Set;
        let mut sample = match (peer.dialect, self.operation) {
            (Dialect::RedisWait, Operation::Set) => {
                let mut dialogue = WaitDialogue::new(keys, self.value_bytes);
                swarm::run(peer.address(), self.connections, requests, &mut dialogue)?
            }
            (Dialect::Etcd, _) => {
                let mut dialogue = EtcdDialogue::new(keys, self.value_bytes, is_set);
                swarm::run(peer.address(), self.connections, requests, &mut dialogue)?
            }
            (Dialect::Redis | Dialect::RedisWait, _) => {
                self.redis_benchmark(peer, requests, keys)?
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "a benchmark's counts are far below 2^52")]
        let (operations, resident) = (requests as f64, peer.resident_bytes()? as f64);
        sample.cpu_us = (peer.cpu_seconds()? - before) * 1e6 / operations;
        sample.resident_bytes = resident;
        Ok(sample)
    }

    fn redis_benchmark(&self, peer: &Peer, requests: u64, keys: u64) -> Outcome<Sample> {
        let output = self.generator(peer, requests, keys).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let broken = || format!("redis-benchmark against {}: {said}{text}", peer.name);
        if !output.status.success() {
            return Err(broken().into());
        }
        parse(&text).ok_or_else(|| broken().into())
    }

    /// redis-benchmark with this load, ready to be started.
    pub(super) fn generator(&self, peer: &Peer, requests: u64, keys: u64) -> Command {
        let mut command = Command::new("redis-benchmark");
        command.args(["-h", "127.0.0.1", "-p", &peer.address().port().to_string()]);
        command.args(["-n", &requests.to_string(), "-c", &self.connections.to_string()]);
        command.args(["-P", &self.pipeline.to_string(), "-r", &keys.to_string()]);
        // Microseconds, and all percentiles: its CSV leaves out what lies behind the 99th.
        command.args(["--precision", "3"]);
        if self.operation == Operation::Set && self.value_bytes > ARGUMENT_BYTES_MAX {
            command.args(["-t", "set", "-d", &self.value_bytes.to_string()]);
        } else {
            command.args(self.words());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The command that redis-benchmark sends; `__rand_int__` becomes a number of twelve digits.
    fn words(&self) -> Vec<String> {
        let value = "x".repeat(self.value_bytes);
        let key = "key:__rand_int__".to_owned();
        match self.operation {
            Operation::Get => vec!["GET".to_owned(), key],
            Operation::Set => vec!["SET".to_owned(), key, value],
            Operation::Incr => vec!["INCR".to_owned(), "counter:__rand_int__".to_owned()],
            Operation::Hset => {
                vec!["HSET".to_owned(), "hash".to_owned(), "field:__rand_int__".to_owned(), value]
            }
            Operation::Zadd => ["ZADD", "scores", "__rand_int__", "member:__rand_int__"]
                .map(str::to_owned)
                .to_vec(),
            Operation::Mset => {
                let pair = ["{mset}:__rand_int__".to_owned(), value];
                let pairs = std::iter::repeat_n(pair, 10).flatten();
                std::iter::once("MSET".to_owned()).chain(pairs).collect()
            }
        }
    }
}

/// What redis-benchmark says at its end, and the first percentile it shows at or behind 99.9.
pub(super) fn parse(text: &str) -> Option<Sample> {
    let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
    let first = |rest: &str| rest.split_whitespace().next()?.parse::<f64>().ok();
    let rate = first(after("throughput summary:")?)?;
    let summary = after("latency summary (msec):")?;
    // A line of names, then one of figures: avg min p50 p95 p99 max.
    let figures: Vec<f64> =
        summary.split_whitespace().filter_map(|word| word.parse().ok()).take(6).collect();
    let [_average, _min, p50_ms, _p95, p99_ms, _max] = figures.as_slice() else { return None };
    let percentiles = after("Latency by percentile distribution:")?;
    let p999_ms = percentiles.lines().find_map(|line| {
        let (percent, rest) = line.trim().split_once("% <= ")?;
        (percent.parse::<f64>().ok()? >= 99.9).then(|| first(rest))?
    })?;
    Some(Sample { rate, p50_ms: *p50_ms, p99_ms: *p99_ms, p999_ms, ..Sample::default() })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_the_load_generators_figures() {
        let text = "\rSET key:1: rps=1.0\rLatency by percentile distribution:\n\
            0.000% <= 0.159 milliseconds (cumulative count 2)\n\
            99.805% <= 13.535 milliseconds (cumulative count 19961)\n\
            99.902% <= 13.879 milliseconds (cumulative count 19981)\n\
            100.000% <= 14.223 milliseconds (cumulative count 20000)\n\n\
            Summary:\n  throughput summary: 30721.96 requests per second\n\
            \x20 latency summary (msec):\n\
            \x20         avg       min       p50       p95       p99       max\n\
            \x20       1.179     0.152     0.799     4.415     9.399    14.223\n";
        let sample = parse(text).expect("figures");
        assert_eq!((sample.rate, sample.p50_ms), (30_721.96, 0.799));
        assert_eq!((sample.p99_ms, sample.p999_ms), (9.399, 13.879));
        assert!(parse("Summary:\n").is_none());
    }
}
