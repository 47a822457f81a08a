//! Rows of the hash family.

use super::Command;

pub(crate) const ROWS: &[Command] = &[];
