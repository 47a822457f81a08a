//! LATENCY: what was too slow on this node, and how long every command takes.
//! Owns: the replies, DOCTOR's advice, GRAPH's drawing. Never: a sample (see `latency.rs`), a time (see `meter.rs`).

use std::fmt::Write as _;

use keystead_store::command::{self, Command, SessionCommand};

use crate::dispatch::{Verdict, command_at};
use crate::latency::{Event, History};
use crate::reply::Failure;
use crate::stats::RowTotals;

use super::{Answer, SessionCall};

/// Rows of a graph, as in Redis.
const GRAPH_ROWS: u64 = 4;
/// Latest samples that a graph shows: a terminal's width.
const GRAPH_COLUMNS: usize = 80;

const WRITING: &str = "writing to a String cannot fail";

impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn latency(&mut self, kind: SessionCommand) -> Answer<'a> {
        match kind {
            SessionCommand::LatencyDoctor => {
                let advice = self.advice();
                self.reply().verbatim(&advice);
                Ok(Verdict::Next)
            }
            SessionCommand::LatencyGraph => self.latency_graph(),
            SessionCommand::LatencyHistogram => self.latency_histogram(),
            SessionCommand::LatencyHistory => self.latency_history(),
            SessionCommand::LatencyLatest => self.latency_latest(),
            SessionCommand::LatencyReset => self.latency_reset(),
            _ => self.help("latency"),
        }
    }

    fn latency_latest(&mut self) -> Answer<'a> {
        let all = self.turn.local.shared.alarms.latency.all();
        let mut reply = self.reply();
        reply.array(all.len());
        for (event, history) in &all {
            let latest = history.samples.back();
            reply.array(4);
            reply.bulk(event.name().as_bytes());
            reply.integer(number(latest.map_or(0, |sample| sample.unix_s)));
            reply.integer(number(latest.map_or(0, |sample| sample.ms)));
            reply.integer(number(history.ms_max));
        }
        Ok(Verdict::Next)
    }

    fn history_of(&self, event: &[u8]) -> Option<History> {
        self.turn.local.shared.alarms.latency.of(Event::find(event)?)
    }

    fn latency_history(&mut self) -> Answer<'a> {
        let samples = self.history_of(self.arg(2)).unwrap_or_default().samples;
        let mut reply = self.reply();
        reply.array(samples.len());
        for sample in &samples {
            reply.array(2);
            reply.integer(number(sample.unix_s));
            reply.integer(number(sample.ms));
        }
        Ok(Verdict::Next)
    }

    /// `LATENCY RESET [event ...]`: how many events there were.
    fn latency_reset(&mut self) -> Answer<'a> {
        let (latency, names) = (&self.turn.local.shared.alarms.latency, self.args.from(2));
        let count = if names.is_empty() {
            latency.forget_all()
        } else {
            let events = names.iter().filter_map(Event::find);
            events.filter(|event| latency.forget(*event)).count()
        };
        self.reply().integer(i64::try_from(count).unwrap_or(i64::MAX));
        Ok(Verdict::Next)
    }

    fn latency_graph(&mut self) -> Answer<'a> {
        let event = self.arg(2);
        let history = self.history_of(event).ok_or(Failure::NoSamples { event })?;
        let now_s = self.turn.local.shared.clock.unix_now().0 / 1000;
        let name = String::from_utf8_lossy(event).to_ascii_lowercase();
        self.reply().verbatim(&graph(&name, &history, now_s));
        Ok(Verdict::Next)
    }

    /// `LATENCY HISTOGRAM [command ...]`: a container stands for its subcommands.
    fn latency_histogram(&mut self) -> Answer<'a> {
        let totals = self.turn.local.shared.stats.totals();
        let names = self.args.from(2);
        let is_asked = |row: &Command| names.is_empty() || names.iter().any(|it| means(it, row));
        let told: Vec<(&Command, &RowTotals)> = (0u16..)
            .zip(&totals.rows)
            .filter_map(|(at, totals)| Some((command_at(at)?, totals)))
            .filter(|(row, totals)| totals.times.count() > 0 && is_asked(row))
            .collect();
        let mut reply = self.reply();
        reply.map(told.len());
        for (row, totals) in told {
            let doublings = totals.times.doublings();
            reply.bulk(row.name.as_bytes());
            reply.map(2);
            reply.bulk(b"calls");
            reply.integer(number(totals.times.count()));
            reply.bulk(b"histogram_usec");
            reply.map(doublings.len());
            for (end_ns, count) in doublings {
                reply.integer(number(end_ns / 1000));
                reply.integer(number(count));
            }
        }
        Ok(Verdict::Next)
    }

    fn advice(&self) -> String {
        let alarms = &self.turn.local.shared.alarms;
        let all = alarms.latency.all();
        if alarms.latency_ms() == 0 && all.is_empty() {
            return "Nothing is watched: CONFIG SET latency-monitor-threshold <milliseconds> takes note of every command \
                 that takes at least that long on this node.\n"
                .to_owned();
        }
        if all.is_empty() {
            return "Nothing was slower than latency-monitor-threshold since the last reset.\n"
                .to_owned();
        }
        let mut text = String::new();
        for (event, history) in &all {
            let count = history.samples.len() as u64;
            let sum: u64 = history.samples.iter().map(|sample| sample.ms).sum();
            writeln!(
                text,
                "{}: {count} slow seconds, {} ms on average, {} ms at worst.",
                event.name(),
                sum / count.max(1),
                history.ms_max,
            )
            .expect(WRITING);
        }
        text.push_str(
            "- SLOWLOG GET shows which commands were slow, LATENCY HISTOGRAM how they are spread.\n\
             - A slow read works on much: KEYS, SMEMBERS and LRANGE of everything; SCAN and its kin take it in steps.\n\
             - A slow write may wait for the disks of a majority: INFO durability counts syncs; `keystead torture` and a \
             look at the disks of the nodes (iostat) say whether they are busy.\n\
             - A shard without a leader holds writes up: INFO raft and CLUSTER INFO show it.\n",
        );
        text
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// True if the name is that of the row, or of the container that it belongs to.
fn means(name: &[u8], row: &Command) -> bool {
    let own = row.name.as_bytes();
    let container = row.name.split_once('|').map(|(container, _)| container.as_bytes());
    name.eq_ignore_ascii_case(own)
        || container.is_some_and(|container| name.eq_ignore_ascii_case(container))
            && command::find(name).is_some()
}

/// The latest samples as columns, how long ago they were beneath.
fn graph(name: &str, history: &History, now_s: u64) -> String {
    let skipped = history.samples.len().saturating_sub(GRAPH_COLUMNS);
    let samples: Vec<_> = history.samples.iter().skip(skipped).collect();
    let high = samples.iter().map(|sample| sample.ms).max().unwrap_or(0);
    let low = samples.iter().map(|sample| sample.ms).min().unwrap_or(0);
    let mut text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        history.ms_max,
        "-".repeat(GRAPH_COLUMNS)
    );
    for row in (0..GRAPH_ROWS).rev() {
        for sample in &samples {
            // Every sample stands on the ground; the highest fills the column.
            let height = 1 + (sample.ms - low) * (GRAPH_ROWS - 1) / (high - low).max(1);
            text.push(if height > row { '#' } else { ' ' });
        }
        text.push('\n');
    }
    let ages: Vec<String> =
        samples.iter().map(|sample| age(now_s.saturating_sub(sample.unix_s))).collect();
    text.push('\n');
    for at in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        text.extend(ages.iter().map(|age| age.chars().nth(at).unwrap_or(' ')));
        text.push('\n');
    }
    text
}

/// A span of time in a few letters, the greatest unit alone.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Sample;

    #[test]
    fn a_graph_shows_heights_and_ages() {
        let samples = [(5, 10), (65, 40), (66, 25)].map(|(unix_s, ms)| Sample { unix_s, ms });
        let history = History { samples: samples.into(), ms_max: 90 };
        let drawn = graph("command", &history, 70);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[0], "command - high 40 ms, low 10 ms (all time high 90 ms)");
        assert_eq!(lines[2..], [" # ", " # ", " ##", "###", "", "154", "mss"]);
    }

    #[test]
    fn a_container_stands_for_its_subcommands() {
        let row = command::find(b"config").unwrap().subcommands.first().unwrap();
        assert!(means(b"CONFIG", row) && means(row.name.as_bytes(), row));
        assert!(!means(b"get", row) && !means(b"conf", row));
    }
}
