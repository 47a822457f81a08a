//! Rows of the string family.

use super::{Command, Group, KeySpec};
use crate::command::string;

pub(crate) const ROWS: &[Command] = &[
    Command::read("get", 2, Group::String, string::get::get)
        .fast()
        .doc("key", "Returns the string under a key."),
    Command::write("set", -3, Group::String, string::set::set)
        .deny_oom()
        .keys_at(&[KeySpec::one(1, "RW access update variable_flags")
            .noted("RW and ACCESS due to the optional `GET` argument")])
        .doc(
            "key value [NX | XX | IFEQ comparison-value] [GET] [EX seconds | PX milliseconds | \
             EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
            "Sets the string under a key, whatever was there before.",
        ),
];
