//! Rows of the server family.

use super::Command;

pub(crate) const ROWS: &[Command] = &[];
