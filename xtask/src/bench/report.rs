//! Tables for people.
//! Owns: how figures are printed and which ratio is shown. Never: measures.

use super::peer::Peer;
use super::sample::Sample;

/// The line above a table.
pub(super) fn head() {
    println!(
        "\n{:<20}{:<18}{:>10}{:>10}{:>10}{:>12}{:>9}{:>9}",
        "load", "server", "k op/s", "p50 ms", "p99 ms", "cpu us/op", "x rate", "x cpu"
    );
}

/// One line per contender; ratios are those of the first to each other one.
pub(super) fn row(name: &str, peers: &[Peer], medians: &[Option<Sample>]) {
    let first = medians.first().copied().flatten();
    for (at, (peer, median)) in peers.iter().zip(medians).enumerate() {
        let shown = if at == 0 { name } else { "" };
        let Some(sample) = median else {
            println!("{shown:<20}{:<18}{:>10}", peer.name, "-");
            continue;
        };
        let ratios = match first {
            Some(first) if at > 0 => {
                let (rate, cpu) = (first.rate / sample.rate, first.cpu_us / sample.cpu_us);
                format!("{rate:>9.2}{cpu:>9.2}")
            }
            _ => String::new(),
        };
        println!(
            "{shown:<20}{:<18}{:>10.1}{:>10.3}{:>10.3}{:>12.2}{ratios}",
            peer.name,
            sample.rate / 1000.0,
            sample.p50_ms,
            sample.p99_ms,
            sample.cpu_us
        );
    }
}

/// One figure of several contenders, with the ratio of the first to each other one.
pub(super) fn figures(unit: &str, figures: &[(&str, f64)]) {
    let first = figures.first().map_or(0.0, |(_, figure)| *figure);
    for (at, (name, figure)) in figures.iter().enumerate() {
        let ratio = if at == 0 { String::new() } else { format!("   x {:.2}", first / figure) };
        println!("{name:<18}{figure:>12.3} {unit}{ratio}");
    }
}
