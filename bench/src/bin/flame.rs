//! Draws a flame graph: `flame OUT.svg TITLE < stacks`, where stacks are what `perf script` prints.
//!
//! Owns: folding stacks, the picture. Never: records; `cargo xtask bench flame` does, with perf.

#![expect(clippy::print_stderr, reason = "a program for people and for xtask")]

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::process::ExitCode;

use inferno::collapse::Collapse as _;
use inferno::collapse::perf::Folder;
use inferno::flamegraph::{self, Options};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, title] = arguments.as_slice() else {
        eprintln!("flame OUT.svg TITLE < stacks");
        return ExitCode::FAILURE;
    };
    match draw(out, title) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{out}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw(out: &str, title: &str) -> Result<(), Box<dyn Error>> {
    let mut folded = Vec::new();
    Folder::default().collapse(std::io::stdin().lock(), &mut folded)?;
    if folded.is_empty() {
        return Err("there are no stacks".into());
    }
    let mut options = Options::default();
    options.title = title.to_owned();
    options.count_name = "ns".to_owned();
    let mut file = BufWriter::new(File::create(out)?);
    flamegraph::from_reader(&mut options, folded.as_slice(), &mut file)?;
    file.flush()?;
    Ok(())
}
