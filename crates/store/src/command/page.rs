//! The reference page of all commands, as Markdown: docs/commands.md.
//! Owns: its layout and what a status is called. Never: a fact of its own; all come from the table and from the list of
//! differences. `cargo xtask pages` compares the page in the tree with this.

use std::fmt::Write as _;

use super::differences::{Difference, differences};
use super::{Command, Group, Handler, TABLE};

const INTRODUCTION: &str = "\
# Commands

<!-- Generated from the tables in crates/store/src/command: rows/*.rs and differences.txt. Change it there. -->

What has no remark answers as redis-server 7.0.15 does, byte for byte, in RESP2 and RESP3: `cargo xtask compat` and the tests beside
redis-server play every command to both and fail on a difference that is not listed here. What Redis 7.0 does not have says which
version of Redis (or of Valkey) it is of, and follows its documentation. A command that is *refused* answers with the sentence that stands here.

Keys of one command must lie in one shard, or it answers `CROSSSLOT`: give them one `{hash tag}`. A cluster that was founded
with `shards = 1` behaves like one Redis. What is promised of reads, writes and transactions is in [guarantees.md](guarantees.md).

";

/// Every group in the order of the page.
const GROUPS: &[Group] = &[
    Group::Generic,
    Group::String,
    Group::Bitmap,
    Group::HyperLogLog,
    Group::Hash,
    Group::List,
    Group::Set,
    Group::SortedSet,
    Group::Geo,
    Group::Stream,
    Group::Json,
    Group::PubSub,
    Group::Transactions,
    Group::Scripting,
    Group::Connection,
    Group::Server,
    Group::Cluster,
];

/// What no other server has.
const OWN: &[&str] = &["cluster|sync"];

/// How a command is to Redis 7.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    AsRedis,
    Differs,
    Newer,
    Own,
    Refused,
}

impl Status {
    const ALL: [(Self, &str); 5] = [
        (Self::AsRedis, "as Redis 7.0"),
        (Self::Differs, "as Redis 7.0, but for what is said below them"),
        (Self::Newer, "of a newer Redis or Valkey"),
        (Self::Own, "Keystead's own"),
        (Self::Refused, "refused, with the reason"),
    ];

    fn of(row: &Command) -> Self {
        if matches!(row.handler, Handler::Refused(_)) {
            Self::Refused
        } else if OWN.contains(&row.name) {
            Self::Own
        } else if version(row.since) > (7, 0) {
            Self::Newer
        } else if remarks(row).next().is_some() {
            Self::Differs
        } else {
            Self::AsRedis
        }
    }
}

impl Command {
    /// The last word of its name: a subcommand's without its container.
    pub(super) fn verb(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, verb)| verb)
    }

    /// True if it runs by itself: containers do not, but for COMMAND.
    fn is_run(&self) -> bool {
        self.subcommands.is_empty() || self.accepts(1)
    }
}

/// The first two numbers of a version.
fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The reference page of all commands, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    push_counts(&mut page);
    for group in GROUPS {
        let mut rows: Vec<&Command> = all_rows().filter(|row| row.group == *group).collect();
        rows.retain(|row| row.is_run());
        if rows.is_empty() {
            continue;
        }
        rows.sort_by_key(|row| row.name);
        put(&mut page, format_args!("\n## {}\n\n", title(*group)));
        for row in rows {
            push_row(&mut page, row);
        }
    }
    page
}

/// The table's rows, each followed by those of its subcommands.
fn all_rows() -> impl Iterator<Item = &'static Command> {
    TABLE.iter().flat_map(|row| std::iter::once(row).chain(row.subcommands))
}

fn push_counts(page: &mut String) {
    page.push_str("| | commands | subcommands |\n|---|---:|---:|\n");
    for (status, name) in Status::ALL {
        let of_status = |row: &&Command| Status::of(row) == status;
        let commands = TABLE.iter().filter(of_status).count();
        let subcommands = TABLE.iter().flat_map(|row| row.subcommands).filter(of_status).count();
        put(page, format_args!("| {name} | {commands} | {subcommands} |\n"));
    }
}

fn push_row(page: &mut String, row: &Command) {
    let call = format!("{} {}", row.name.to_ascii_uppercase().replace('|', " "), row.syntax);
    let (call, summary, since) = (call.trim_end(), row.summary, row.since);
    let status = match Status::of(row) {
        Status::AsRedis | Status::Differs => format!("Since {since}."),
        // Versions of Redis end at 8 as yet.
        Status::Newer if version(since) >= (9, 0) => format!("Of Valkey {since}."),
        Status::Newer => format!("Of Redis {since}."),
        Status::Own => "Keystead's own.".to_owned(),
        Status::Refused => "*Refused.*".to_owned(),
    };
    put(page, format_args!("- `{call}`  \n  {summary} {status}\n"));
    if let Handler::Refused(why) = row.handler {
        put(page, format_args!("  - {why}\n"));
    }
    for Difference { line, is_remark, reason } in remarks(row) {
        if is_remark {
            put(page, format_args!("  - {reason}\n"));
        } else {
            put(page, format_args!("  - `{line}`: {reason}\n"));
        }
    }
}

fn remarks(row: &Command) -> impl Iterator<Item = Difference> {
    let name = row.name;
    differences().filter(move |known| known.row().is_some_and(|about| about.name == name))
}

const fn title(group: Group) -> &'static str {
    match group {
        Group::Bitmap => "Bitmaps",
        Group::Cluster => "Cluster",
        Group::Connection => "Connections",
        Group::Generic => "Keys",
        Group::Geo => "Places",
        Group::Hash => "Hashes",
        Group::HyperLogLog => "HyperLogLogs",
        Group::Json => "JSON documents",
        Group::List => "Lists",
        Group::PubSub => "Channels",
        Group::Scripting => "Scripts",
        Group::Server => "Server",
        Group::Set => "Sets",
        Group::SortedSet => "Sorted sets",
        Group::Stream => "Streams",
        Group::String => "Strings",
        Group::Transactions => "Transactions",
    }
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_every_difference_stands_on_the_page() {
        let page = reference();
        for row in all_rows().filter(|row| row.is_run()) {
            let name = row.name.to_ascii_uppercase().replace('|', " ");
            let is_there =
                page.contains(&format!("- `{name} ")) || page.contains(&format!("- `{name}`"));
            assert!(is_there, "{name}: is its group missing in GROUPS?");
        }
        for known in differences() {
            assert!(page.contains(known.reason), "{known:?}");
        }
    }
}
