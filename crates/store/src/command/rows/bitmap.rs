//! Rows of the bitmap family.

use super::Command;

pub(crate) const ROWS: &[Command] = &[];
