//! Rows of the family that concerns keys whatever they hold.

use super::{Command, Group, KeySpec};
use crate::command::key;

pub(crate) const ROWS: &[Command] = &[Command::write("del", -2, Group::Generic, key::del::del)
    .keys_at(&[KeySpec::all_from(1, "RM delete")])
    .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
    .cost("O(N) where N is the number of keys, and the number of fields for a hash")
    .doc("key [key ...]", "Removes keys.")];
