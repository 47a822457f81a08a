//! Snapshots: writing a store out while it goes on changing, and reading it back.
//! Owns: the format, the running [`Dump`], the [`Loader`]. Never: files, threads; bytes go out in steps
//! that the caller asks for, and come in as they arrive.
//!
//! The dump shows the store as it was when it began, without a second copy of it. The unit is the slot:
//!
//! ```text
//!   dump:    slot 0   slot 1   slot 2   slot 3 ...      each step writes whole slots, in order
//!                       ^ next
//!   write to slot 0: written already, nothing to do
//!   write to slot 3: slot 3 is first written to `pending` and marked, then changed
//!   FLUSHDB:         the tables move into the dump, which goes on reading them there
//! ```
//! Each database has its own part of the dump and takes it along when SWAPDB moves it: a part knows under which number
//! its keys stood when the dump began. A part is written after the other, and the first is begun behind the watches.
//!
//! INV-D1: a slot is changed only after the running dump has written it.
//! INV-D2: a slot is written exactly once.
//!
//! Format: magic, then sections `[kind:1][length:4][payload][crc32c of all three:4]`, integers little
//! endian, lengths and counts as LEB128 ("var" below):
//!
//! ```text
//!   'H' version:2                                                 first section, once
//!   'W' id:8 since:8 dirty:1 count:var (database:2 was:1 key)*    one per watch
//!   'S' loaded:1 text                                             one per script: 1 if SCRIPT LOAD brought it
//!   'V' version:8                                                 once, if functions were ever loaded: how often they changed
//!   'F' name code functions:var (name flags:1 described:1 text)*    one per library of functions
//!   'Q' waiter arrival:8 seen:8 database:2 suspended:1 resp:1 command   one per client that waits
//!   'A' waiter at:8 reply                                         one per answer kept, the oldest first
//!   'N' arrival:8                                                 the next waiter's, if somebody waits
//!   'K' database:2 slot:2 keys of the slot:var record*            records of one slot; a slot may take several
//!   'E' keys:8 watches:8 waiters:8                                 last section, once
//!   record: kind:1 [expiry:8 if kind has bit 7] then
//!     0 string         key value
//!     1 collection     key kind:1 form:1 parts:var; see `value::Kind` for what these are
//!     2 part           part; belongs to the collection before it, may stand in a later section
//!   waiter: home:8 life:8 number:8
//!   key, value, part, command, reply: length:var bytes
//! ```
//! Version 4. In version 3, which is read as well, nobody waits, and the last section does not count who does. In version 2, read
//! as well, no database stands before slots and watched keys either: all are in the first.

mod dump;
mod load;
mod wire;

pub use dump::DumpStep;
pub(crate) use dump::{Dump, RunningDump};
pub use load::{LoadError, Loader};
