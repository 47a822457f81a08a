//! The simulator's command line; `cargo xtask sim` and `cargo xtask sim-meta` call it.
//!
//! Exit codes: 0 passed, 1 a promise was broken, 2 wrong usage, 3 unknown: nothing failed, but something that a run must have
//! seen did not happen.

use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use keystead_sim::meta;
use keystead_sim::runner::{self, Failure, Sum};
use keystead_sim::scenario::{Manner, SECOND, Scenario};

/// Time for fresh seeds unless said otherwise.
const BUDGET: Duration = Duration::from_secs(60);
/// Between two lines of a long run.
const SAY_EVERY: Duration = Duration::from_secs(60);
const USAGE: &str = "keystead-sim [--seed N | --seeds FIRST..LAST] [--minutes M] [--simulated 90s|2h|3d|1y] [--long]\n\
    keystead-sim --meta\n\
    Without a seed: fresh ones for a minute, or as long as said. --seed prints what happened last if it fails.";

struct Order {
    first: u64,
    count: u64,
    within: Option<Duration>,
    simulated_us: Option<u64>,
    manner: Manner,
    is_single: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--meta") {
        return find_mistakes();
    }
    match parse(&arguments) {
        Some(order) if order.is_single => play_one(&order),
        Some(order) => play_many(&order),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[String]) -> Option<Order> {
    let fresh = RandomState::new().hash_one(0u8) >> 24;
    let mut order = Order {
        first: fresh,
        count: u64::MAX,
        within: None,
        simulated_us: None,
        manner: Manner::Dense,
        is_single: false,
    };
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        match flag.as_str() {
            "--seed" => {
                (order.first, order.count) = (rest.next()?.parse().ok()?, 1);
                order.is_single = true;
            }
            "--seeds" => {
                let (first, last) = rest.next()?.split_once("..")?;
                order.first = first.parse().ok()?;
                order.count = last.parse::<u64>().ok()?.checked_sub(order.first)?;
            }
            "--minutes" => {
                order.within =
                    Some(Duration::from_secs_f64(rest.next()?.parse::<f64>().ok()? * 60.0));
            }
            "--simulated" => order.simulated_us = Some(simulated(rest.next()?)?),
            "--long" => order.manner = Manner::Long,
            _ => return None,
        }
    }
    if order.count == u64::MAX && order.within.is_none() && order.simulated_us.is_none() {
        order.within = Some(BUDGET);
    }
    Some(order)
}

/// A time such as `90s`, `2h`, `3d` or `1y`, in microseconds.
fn simulated(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.len().checked_sub(1)?);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "y" => 365 * 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds)?.checked_mul(SECOND)
}

fn play_one(order: &Order) -> ExitCode {
    match runner::run(Scenario::draw(order.first, order.manner), None, true) {
        Ok((coverage, simulated_us)) => {
            let mut sum = Sum::default();
            sum.add(&coverage, simulated_us, Duration::from_secs(1));
            println!("seed {} held for {} s", order.first, simulated_us / SECOND);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            failure.lines.iter().for_each(|line| println!("{line}"));
            tell(&failure, order.manner);
            ExitCode::FAILURE
        }
    }
}

fn tell(failure: &Failure, manner: Manner) {
    let long = if manner == Manner::Long { " --long" } else { "" };
    println!("seed {} broke a promise: {}", failure.seed, failure.reason);
    println!("see it again: cargo xtask sim --seed {}{long}", failure.seed);
}

fn play_many(order: &Order) -> ExitCode {
    let begun = Instant::now();
    let (mut sum, mut said) = (Sum::default(), Instant::now());
    println!("seeds from {} on", order.first);
    for seed in (0..order.count).map(|offset| order.first.wrapping_add(offset)) {
        let is_late = order.within.is_some_and(|within| begun.elapsed() >= within);
        let is_enough = order.simulated_us.is_some_and(|us| sum.simulated_us >= us);
        if is_late || is_enough {
            break;
        }
        if let Err(failure) = runner::run_into(&mut sum, seed, order.manner) {
            print!("{sum}");
            tell(&failure, order.manner);
            return ExitCode::FAILURE;
        }
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            println!("through seed {seed}\n{sum}");
        }
    }
    println!("seeds {}..{} held", order.first, order.first.wrapping_add(sum.seeds));
    print!("{sum}");
    let missing = sum.coverage.missing();
    if missing.is_empty() {
        println!("passed");
        return ExitCode::SUCCESS;
    }
    println!("unknown: a run that says something must have seen {missing:?}; play more seeds");
    ExitCode::from(3)
}

fn find_mistakes() -> ExitCode {
    let begun = Instant::now();
    let mut missed = 0;
    for row in meta::TABLE {
        let (finding, mistake, seeds_max) = (meta::find(row), row.mistake, row.seeds_max);
        let took = finding.took.as_secs_f64();
        match &finding.failure {
            Some(failure) => {
                let reason = failure.reason.lines().next().unwrap_or_default();
                let reason: String = reason.chars().take(110).collect();
                println!(
                    "{mistake:?}: found by seed {} of {seeds_max} in {took:.1} s: {reason}",
                    failure.seed
                );
            }
            None => {
                missed += 1;
                println!("{mistake:?}: NOT FOUND by {seeds_max} seeds in {took:.1} s");
            }
        }
    }
    println!(
        "{} mistakes, {missed} not found, {:.0} s",
        meta::TABLE.len(),
        begun.elapsed().as_secs_f64()
    );
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
