//! Times every piece with criterion: `cargo xtask bench micro [NAME]`.
//! Owns: how long each is looked at. Never: what a piece does (see the library).

use std::time::Duration;

use criterion::{Criterion, Throughput};
use keystead_bench::PIECES;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args();
    for piece in PIECES {
        let mut group = criterion.benchmark_group("pieces");
        group.throughput(Throughput::Elements(piece.operations));
        group.bench_function(piece.name, |bencher| {
            let mut work = (piece.make)();
            bencher.iter(&mut *work);
        });
        group.finish();
    }
    criterion.final_summary();
}
