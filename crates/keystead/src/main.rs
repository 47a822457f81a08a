//! The program `keystead`: server, shell and tools in one binary.
//! Owns: nothing but the entry. Never: logic, which stands in `cli` and in the library.

mod cli;
mod shell;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run().into()
}
