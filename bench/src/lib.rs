//! Hot pieces of the product by themselves, with fixed input.
//!
//! Owns: [`PIECES`]; each is a closure that does the same work at every call. Never: part of the product; measures
//! nothing itself. Called by `benches/pieces.rs`, which times the pieces with criterion (`cargo xtask bench micro`), and
//! by `bin/instructions.rs`, whose instructions valgrind counts (`cargo xtask bench instructions`).
//!
//! A piece draws nothing from chance, the time of day or the order of a map: the same build executes the same
//! instructions every time. What it cannot do without (a log's directory, a clock) is made up in memory.

pub mod clock;
pub mod lone;
mod pieces;

pub use pieces::{PIECES, Piece, find};

/// The product's allocator; see ADR 8.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
