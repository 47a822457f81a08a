//! Rows as COMMAND INFO, COMMAND DOCS and COMMAND GETKEYS show them.
//! Owns: the form of these replies, RESP2 and RESP3. Never: which rows a client asked for (`gateway`).

use keystead_resp::{Args, ReplyWriter};

use super::{Begin, Command, Find, KeySpec, OptionKey, flags};

/// Writes the row as an element of COMMAND INFO.
pub fn info(row: &Command, reply: &mut ReplyWriter<'_>) {
    reply.array(10);
    reply.bulk(row.name.as_bytes());
    reply.integer(i64::from(row.arity));
    let named = |names: &'static [(u32, &'static str)], bits: u32| {
        names.iter().filter(move |(bit, _)| bits & bit != 0).map(|(_, name)| *name)
    };
    let flags = named(flags::FLAG_NAMES, row.flags);
    reply.set(flags.clone().count());
    flags.for_each(|name| reply.simple(name));
    let (first, last, step) = row.key_range();
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    let categories = named(flags::CATEGORY_NAMES, row.categories());
    reply.set(categories.clone().count());
    categories.for_each(|name| reply.simple(&format!("@{name}")));
    reply.set(row.tips.len());
    row.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(row.keys.len());
    row.keys.iter().for_each(|spec| key_spec(spec, reply));
    // Redis 7.0 answers a set where there are none, an array where there are.
    match row.subcommands.len() {
        0 => reply.set(0),
        count => reply.array(count),
    }
    row.subcommands.iter().for_each(|sub| info(sub, reply));
}

/// Writes the row as a key and its value of the map that COMMAND DOCS answers.
pub fn docs(row: &Command, reply: &mut ReplyWriter<'_>) {
    let has_subcommands = !row.subcommands.is_empty();
    reply.bulk(row.name.as_bytes());
    reply.map(4 + usize::from(!row.syntax.is_empty()) + usize::from(has_subcommands));
    for (name, value) in [
        ("summary", row.summary),
        ("since", row.since),
        ("group", row.group.name()),
        ("complexity", row.complexity),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    if !row.syntax.is_empty() {
        reply.bulk(b"syntax");
        reply.bulk(row.syntax.as_bytes());
    }
    if has_subcommands {
        reply.bulk(b"subcommands");
        reply.map(row.subcommands.len());
        row.subcommands.iter().for_each(|sub| docs(sub, reply));
    }
}

/// Writes the keys of the command line `args` with how they are used: COMMAND GETKEYSANDFLAGS.
pub fn keys_and_flags(row: &Command, args: Args<'_>, reply: &mut ReplyWriter<'_>) {
    let keys = row.keys(args);
    reply.array(keys.clone().count());
    let mut keys = keys;
    while let Some((at, spec)) = keys.next_position() {
        reply.array(2);
        reply.bulk(&args[at]);
        key_flags(spec, reply);
    }
}

/// Writes what `container` HELP answers, from the rows of the container's subcommands.
pub fn help(container: &Command, reply: &mut ReplyWriter<'_>) {
    let name = container.name.to_ascii_uppercase();
    reply.array(1 + 2 * container.subcommands.len());
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for sub in container.subcommands {
        let verb = sub.name.split_once('|').map_or(sub.name, |(_, verb)| verb);
        reply.simple(format!("{} {}", verb.to_ascii_uppercase(), sub.syntax).trim_end());
        reply.simple(&format!("    {}", sub.summary));
    }
}

impl Command {
    /// Bits of the ACL categories that the command is in; see [`flags::CATEGORY_NAMES`].
    #[must_use]
    pub const fn categories(&self) -> u32 {
        flags::categories(self.flags, self.extra_categories)
    }

    /// First key, last key and step as clients of the old form of COMMAND read them.
    #[must_use]
    pub fn key_range(&self) -> (i64, i64, i64) {
        // Keys that are found otherwise are no part of the old form.
        let ranges = || {
            self.keys.iter().filter_map(|spec| match (spec.begin, spec.find) {
                (Begin::Index(first), Find::Range { last, step, .. }) => Some((first, last, step)),
                _ => None,
            })
        };
        let Some(first) = ranges().map(|(first, ..)| first).min() else { return (0, 0, 0) };
        let last_of = |(first, last, _): (usize, i32, usize)| {
            if last < 0 { i64::from(last) } else { first as i64 + i64::from(last) }
        };
        let last = ranges().map(last_of).max_by_key(|last| (*last < 0, *last));
        let step = ranges().next().map_or(1, |(.., step)| step);
        (first as i64, last.unwrap_or(0), step as i64)
    }
}

fn key_spec(spec: &KeySpec, reply: &mut ReplyWriter<'_>) {
    reply.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(spec.notes.as_bytes());
    }
    reply.bulk(b"flags");
    key_flags(spec, reply);
    reply.bulk(b"begin_search");
    match spec.begin {
        Begin::Index(index) => typed(reply, "index", &[("index", Fact::Number(index as i64))]),
        Begin::Keyword { word, from } => {
            let facts = [("keyword", Fact::Word(word)), ("startfrom", Fact::Number(from.into()))];
            typed(reply, "keyword", &facts);
        }
        Begin::Option(option) if option.is_shown => {
            let from = Fact::Number(option.from as i64);
            typed(reply, "keyword", &[("keyword", Fact::Word(option.word)), ("startfrom", from)]);
        }
        Begin::Option(_) | Begin::Nowhere => typed(reply, "unknown", &[]),
    }
    reply.bulk(b"find_keys");
    match (spec.begin, spec.find) {
        (Begin::Option(OptionKey { is_shown: false, .. }) | Begin::Nowhere, _) => {
            typed(reply, "unknown", &[]);
        }
        (_, Find::Range { last, step, limit }) => {
            let facts =
                [("lastkey", last.into()), ("keystep", step as i64), ("limit", limit as i64)];
            typed(reply, "range", &facts.map(|(name, number)| (name, Fact::Number(number))));
        }
        (_, Find::Count { at, first, step }) => {
            let facts = [("keynumidx", at), ("firstkey", first), ("keystep", step)];
            typed(
                reply,
                "keynum",
                &facts.map(|(name, number)| (name, Fact::Number(number as i64))),
            );
        }
    }
}

/// One fact of a step.
#[derive(Clone, Copy)]
enum Fact {
    Number(i64),
    Word(&'static str),
}

/// Writes a step of a specification: its type and the facts that go with it.
fn typed(reply: &mut ReplyWriter<'_>, kind: &str, facts: &[(&str, Fact)]) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(facts.len());
    for (name, fact) in facts {
        reply.bulk(name.as_bytes());
        match fact {
            Fact::Number(number) => reply.integer(*number),
            Fact::Word(word) => reply.bulk(word.as_bytes()),
        }
    }
}

fn key_flags(spec: &KeySpec, reply: &mut ReplyWriter<'_>) {
    reply.set(spec.flags.split(' ').count());
    spec.flags.split(' ').for_each(|flag| reply.simple(flag));
}
