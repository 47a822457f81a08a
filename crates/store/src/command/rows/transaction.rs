//! Rows of the transaction family.

use super::Command;

pub(crate) const ROWS: &[Command] = &[];
