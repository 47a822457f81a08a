//! Rows of the connection family.

use super::Command;

pub(crate) const ROWS: &[Command] = &[];
