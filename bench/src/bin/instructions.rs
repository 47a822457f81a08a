//! Runs one piece a fixed number of times, for valgrind to count its instructions.
//!
//! Owns: the function at whose entry counting begins and at whose end it stops. Never: counts; `cargo xtask bench
//! instructions` runs this under `valgrind --tool=callgrind` and reads what that found.
//!
//! ```sh
//! instructions              # the pieces: name, calls, operations per call
//! instructions store_get    # runs that piece
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people and for xtask"
)]

use std::process::ExitCode;

use keystead_bench::{PIECES, find};

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        for piece in PIECES {
            println!(
                "{}\t{}\t{}\t{}",
                piece.name, piece.calls_counted, piece.operations, piece.about
            );
        }
        return ExitCode::SUCCESS;
    };
    let Some(piece) = find(&name) else {
        eprintln!("there is no piece `{name}`");
        return ExitCode::FAILURE;
    };
    let mut work = (piece.make)();
    // What is done once only (a buffer grows to its size) is not counted.
    work();
    counted_calls(&mut *work, piece.calls_counted);
    ExitCode::SUCCESS
}

/// Counting is on while this runs; valgrind finds it by its name.
#[inline(never)]
fn counted_calls(work: &mut dyn FnMut(), calls: u64) {
    for _ in 0..calls {
        work();
    }
}
