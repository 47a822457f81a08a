//! Rows of the field expiry family.

use super::Command;

pub(crate) const ROWS: &[Command] = &[];
