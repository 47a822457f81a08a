//! SCRIPT DEBUG: what is left of it.
//! Owns: its answer. Never: runs or holds a script; see `store`.

use crate::dispatch::Verdict;
use crate::reply::Failure;

use super::{Answer, SessionCall};

impl<'a> SessionCall<'_, '_, 'a> {
    /// A debugger would hold up every replica of a shard: NO is the only mode there is.
    pub(super) fn script_debug(&mut self) -> Answer<'a> {
        let mode = self.arg(2);
        if mode.eq_ignore_ascii_case(b"NO") {
            self.reply().ok();
            return Ok(Verdict::Next);
        }
        Err(Failure::Unsupported { what: "SCRIPT DEBUG" })
    }
}
