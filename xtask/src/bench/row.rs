//! A row of a table: one load, run against every contender in turn.
//! Owns: the loads there are and the generator each dialect is loaded with. Never: prints.

use std::process::Command;

use super::dialogue::{EtcdDialogue, WaitDialogue};
use super::peer::{Dialect, Peer};
use super::sample::Sample;
use super::{Options, swarm};
use crate::project::Outcome;

/// What each operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Get,
    Set,
    Incr,
    Hset,
    /// MSET of ten keys of one slot.
    Mset,
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
}

impl Row {
    /// A row of `operation` with 50 connections, 64-byte values and no pipeline.
    pub(super) const fn new(name: &'static str, operation: Operation) -> Self {
        Self { name, operation, connections: 50, pipeline: 1, value_bytes: 64, percent: 100 }
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

    /// Makes values of the row's length where the row reads longer ones than the suite was filled with.
    pub(super) fn prepare(&self, peer: &Peer, options: &Options) -> Outcome {
        let is_reading_long = self.operation == Operation::Get && self.value_bytes > 64;
        if is_reading_long { peer.fill(self.keys(options), self.value_bytes) } else { Ok(()) }
    }

    /// Long values are spread over fewer keys, so that memory holds them.
    fn keys(&self, options: &Options) -> u64 {
        if self.value_bytes > 1024 { (options.keys / 20).max(1) } else { options.keys }
    }

    /// Runs the load once; `None` if the contender has no such operation here.
    pub(super) fn run(&self, peer: &Peer, options: &Options) -> Outcome<Option<Sample>> {
        // etcd is slower by an order of magnitude: a tenth shows as much.
        let share = if peer.dialect == Dialect::Etcd { 10 } else { 1 };
        let requests = (options.requests * self.percent / 100 / share).max(1000);
        let before = peer.cpu_seconds()?;
        let is_set = self.operation == Operation::Set;
        let mut sample = match (peer.dialect, self.operation) {
            (Dialect::RedisWait, Operation::Set) => {
                let mut dialogue = WaitDialogue::new(self.keys(options), self.value_bytes);
                swarm::run(peer.address(), self.connections, requests, &mut dialogue)?
            }
            (Dialect::Etcd, Operation::Set | Operation::Get) => {
                let mut dialogue = EtcdDialogue::new(self.keys(options), self.value_bytes, is_set);
                swarm::run(peer.address(), self.connections, requests, &mut dialogue)?
            }
            (Dialect::Etcd, _) => return Ok(None),
            (Dialect::Redis | Dialect::RedisWait, _) => {
                self.redis_benchmark(peer, requests, self.keys(options))?
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "requests are far below 2^52")]
        let operations = requests as f64;
        sample.cpu_us = (peer.cpu_seconds()? - before) * 1e6 / operations;
        Ok(Some(sample))
    }

    fn redis_benchmark(&self, peer: &Peer, requests: u64, keys: u64) -> Outcome<Sample> {
        let mut command = Command::new("redis-benchmark");
        command.args(["-h", "127.0.0.1", "-p", &peer.address().port().to_string(), "--csv"]);
        command.args(["-n", &requests.to_string(), "-c", &self.connections.to_string()]);
        command.args(["-P", &self.pipeline.to_string(), "-r", &keys.to_string()]);
        command.args(self.words());
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(format!("redis-benchmark against {}: {said}{text}", peer.name).into());
        }
        parse_csv(&text)
            .ok_or_else(|| format!("redis-benchmark against {}: {said}{text}", peer.name).into())
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
            Operation::Mset => {
                let pair = ["{mset}:__rand_int__".to_owned(), value];
                let pairs = std::iter::repeat_n(pair, 10).flatten();
                std::iter::once("MSET".to_owned()).chain(pairs).collect()
            }
        }
    }
}

/// The last line of redis-benchmark's CSV: name, rate, and latencies avg, min, p50, p95, p99, max.
fn parse_csv(text: &str) -> Option<Sample> {
    let line = text.lines().rev().find(|line| line.starts_with('"'))?;
    // The name may hold commas; the figures are counted from the end.
    let figures: Vec<f64> =
        line.rsplit(',').take(7).map_while(|field| field.trim_matches('"').parse().ok()).collect();
    let [_max, p99_ms, _p95, p50_ms, _min, _average, rate] = figures.as_slice() else {
        return None;
    };
    Some(Sample { rate: *rate, p50_ms: *p50_ms, p99_ms: *p99_ms, cpu_us: 0.0 })
}

#[cfg(test)]
mod tests {
    use super::parse_csv;

    #[test]
    fn reads_the_load_generators_figures() {
        let text = "\"test\",\"rps\",\"avg\"\n\"MSET a,b\",\"123.5\",\"0.1\",\"0.2\",\"0.3\",\"0.4\",\"0.5\",\"0.6\"\n";
        let sample = parse_csv(text).expect("a line of figures");
        assert_eq!((sample.rate, sample.p50_ms, sample.p99_ms), (123.5, 0.3, 0.5));
        assert!(parse_csv("\"test\",\"rps\"\n").is_none());
    }
}
