//! Rows of the cluster family.

use super::Command;

pub(crate) const ROWS: &[Command] = &[];
