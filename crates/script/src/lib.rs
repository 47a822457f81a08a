//! Lua 5.1 that comes to the same end on every replica, and the libraries of Redis for it.
//!
//! Owns: the sandbox, its libraries, the conversion of values both ways, the limits. Never: keys, a clock, a random
//! source, I/O; what a script asks of the store goes through [`Host`], time and chance come with [`Call`].
//! Called by: `store`, when EVAL and its kin are applied or read.
//!
//! Every run has a Lua of its own, made for it and dropped behind it, so nothing passes from one script to the next,
//! and what a run counts (work, memory) depends on nothing but the script and what it was answered.
//!
//! INV-LUA1: the same call with the same answers of its host ends alike, on every machine.
//! INV-LUA2: no script ends the process: its work, its memory, its reply and the stack that it takes are bounded.
//! INV-LUA3: nothing that a script sees, counts for or leaves depends on how a replica came to its state.

mod bit;
mod call;
mod convert;
mod function;
mod json;
mod layout;
mod library;
mod mathematics;
mod msgpack;
mod number;
mod redis;
mod sandbox;
mod shebang;
mod work;

pub use call::{Call, Ending, Program, compile, run};
pub use library::{FunctionRow, Loaded, load as load_library};
pub use redis::Host;
pub use shebang::{Flags, HeaderError, LibraryError, header, library_name};

/// Work that one script may do: an instruction of Lua is one, memory of 32 bytes is one, a command is 500, its words
/// and its reply. About a tenth of a second: all other commands of the shard wait behind a script.
pub const WORK_MAX: u32 = 20_000_000;
/// Longest text of a script or library, bytes: reading it is work that no limit of a run covers.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Memory of one script, bytes, its text and its libraries included.
pub const MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest reply of a script, bytes: a table that holds another one twice can be short and its reply without end.
pub const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest command of a script, bytes, all its words together.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Deepest nesting of tables in replies and JSON: each level takes some stack.
pub const DEPTH_MAX: usize = 128;

/// The name of a script: SHA-1 of its text, in lower-case hexadecimal digits.
#[must_use]
pub fn sha1_hex(text: &[u8]) -> String {
    sha1_smol::Sha1::from(text).digest().to_string()
}
