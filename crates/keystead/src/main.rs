//! The program `keystead`: server, shell and tools in one binary.
//! Owns: nothing but the entry. Never: logic, which stands in `cli` and in the library.

mod cli;
mod shell;

use std::process::ExitCode;

/// Entries are small and of few sizes, made and freed by different threads: this allocator wastes less
/// of both memory and time on them than the system's (docs/adr/0008-allocator.md). A host that embeds a node
/// chooses its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run().into()
}
