//! Calls in process, without a socket: an example of crate `keystead` measures itself.
//! Owns: calling it, its goals, reading what it prints. Never: a figure of its own.

use serde_json::{Value, json};

use super::Bench;
use super::goal::Limit;
use super::report::{Figure, Table};
use crate::project::Outcome;

const EXAMPLE: &str = "embedded_bench";
/// Seconds that each figure is looked at.
const SECONDS: &str = "2";

/// A figure with a goal: nodes, the figure's name as the example prints it, calls per second.
const GOALS: &[(usize, &str, Limit)] = &[
    (1, "get_with, one caller", Limit::AtLeast(10e6)),
    (1, "put_bytes, one caller", Limit::AtLeast(1e6)),
    (1, "update, one thread", Limit::AtLeast(700e3)),
    (3, "put_bytes, one caller", Limit::AtLeast(15e3)),
];

/// A line of the example.
#[derive(Debug, PartialEq)]
struct Printed {
    name: String,
    rate: f64,
    /// From the slowest to the fastest part, percent of the median.
    spread: f64,
}

/// Runs the example in its release build: one node, then three, in memory.
pub(super) fn run(bench: &Bench<'_>) -> Outcome<Value> {
    let (mut table, mut results) = (Table::of_figures("calls/s"), Vec::new());
    for nodes in [1, 3] {
        println!("   {nodes} in process, durability replicated, 64-byte values");
        for printed in play(bench, nodes)? {
            let goal = GOALS.iter().find(|(n, name, _)| (*n, *name) == (nodes, &*printed.name));
            let goal = goal.map(|(_, _, limit)| *limit);
            let server = format!("{nodes} in process");
            let (value, spread) = (printed.rate, printed.spread);
            table.figures(&printed.name, &[Figure { server, value, spread, goal }]);
            results.push(json!({
                "nodes": nodes,
                "call": printed.name,
                "calls_per_second": value,
                "spread_percent": spread,
                "goal": goal.map(|goal| goal.to_string()),
                "verdict": goal.map(|goal| goal.verdict(value)),
            }));
        }
    }
    bench.show(&table);
    Ok(json!({ "durability": "replicated", "value_bytes": 64, "calls": results }))
}

fn play(bench: &Bench<'_>, nodes: usize) -> Outcome<Vec<Printed>> {
    let mut call = bench.project.cargo(&["run", "--release", "--quiet", "--package", "keystead"]);
    call.args(["--example", EXAMPLE, "--", SECONDS, "replicated", &nodes.to_string()]);
    let output = call.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{EXAMPLE} failed: {said}{text}").into());
    }
    Ok(text.lines().filter_map(parse).collect())
}

/// `get_bytes, one caller      123456/s     8.10 us  (120000 to 130000)`
fn parse(line: &str) -> Option<Printed> {
    let (front, rest) = line.split_once("/s ")?;
    let (name, rate) = front.trim_end().rsplit_once(' ')?;
    let rate: f64 = rate.parse().ok()?;
    let (_, range) = rest.split_once('(')?;
    let (least, most) = range.trim_end().trim_end_matches(')').split_once(" to ")?;
    let (least, most): (f64, f64) = (least.parse().ok()?, most.parse().ok()?);
    Some(Printed { name: name.trim_end().to_owned(), rate, spread: (most - least) / rate * 100.0 })
}

#[cfg(test)]
mod tests {
    use super::{Printed, parse};

    #[test]
    fn the_examples_lines_are_read() {
        let line = "put_bytes, one caller             200000/s       5.00 us  (190000 to 210000)";
        let printed =
            Printed { name: "put_bytes, one caller".into(), rate: 200_000.0, spread: 10.0 };
        assert_eq!(parse(line), Some(printed));
        assert_eq!(parse("durability replicated, nodes 1, 64-byte values"), None);
    }
}
