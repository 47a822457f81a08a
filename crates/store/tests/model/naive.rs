//! The naive model of the store: steps that commands take, and what a client sees after each.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::{BTreeMap, BTreeSet};

use keystead_store::Store;
use keystead_types::UnixMillis;
use proptest::prelude::*;

use super::support::apply;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Set(u8, usize, Option<u64>),
    Append(u8, usize),
    Delete(u8),
    Expire(u8, u64),
    Persist(u8),
    SetField(u8, u8, usize),
    DeleteField(u8, u8),
    ExpireField(u8, u8, u64),
    Push(u8, usize, usize),
    Pop(u8, usize),
    Add(u8, Names),
    Remove(u8, Names),
    Rank(u8, Names, i32),
    Unrank(u8, Names),
    AddEntry(u8, usize),
    TrimEntries(u8, usize),
    Rename(u8, u8),
    Copy(u8, u8),
    Select(u8),
    Move(u8, u8),
    CopyTo(u8, u8, u8),
    Swap(u8, u8),
    Flush,
    FlushSelected,
    Wait(u64),
    RemoveDue(usize),
    Watch(u64, u8),
    Unwatch(u64),
    BeginDump,
    DumpSome(usize),
    AbortDump,
}

/// Names of members: so many from a number on, digits or words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    first: u16,
    count: u16,
    is_number: bool,
}

impl Names {
    fn texts(self) -> Vec<String> {
        let text = |number: u16| match self.is_number {
            true => number.to_string(),
            false => format!("name {number}"),
        };
        (self.first..self.first + self.count).map(text).collect()
    }
}

/// Few at a time, and sometimes more than any packed form holds.
fn names() -> impl Strategy<Value = Names> {
    let count = prop_oneof![8 => 1u16..4, 1 => 100u16..140, 1 => 500u16..530];
    let parts = (0u16..40, count, any::<bool>());
    parts.prop_map(|(first, count, is_number)| Names { first, count, is_number })
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let key = 0u8..12;
    let field = 0u8..20;
    let len = prop_oneof![4 => 0usize..40, 1 => 60usize..70, 1 => 900usize..1200];
    let span = 1u64..60;
    let database = 0u8..3;
    let of_databases = prop_oneof![
        3 => database.clone().prop_map(Step::Select),
        3 => (key.clone(), database.clone()).prop_map(|(k, d)| Step::Move(k, d)),
        2 => (key.clone(), key.clone(), database.clone()).prop_map(|(a, b, d)| Step::CopyTo(a, b, d)),
        1 => (database.clone(), database).prop_map(|(a, b)| Step::Swap(a, b)),
        1 => Just(Step::FlushSelected),
    ];
    let of_kinds = prop_oneof![
        4 => (key.clone(), len.clone(), 1usize..30).prop_map(|(k, n, c)| Step::Push(k, n, c)),
        2 => (key.clone(), 1usize..40).prop_map(|(k, c)| Step::Pop(k, c)),
        4 => (key.clone(), names()).prop_map(|(k, n)| Step::Add(k, n)),
        2 => (key.clone(), names()).prop_map(|(k, n)| Step::Remove(k, n)),
        4 => (key.clone(), names(), -5i32..5).prop_map(|(k, n, s)| Step::Rank(k, n, s)),
        2 => (key.clone(), names()).prop_map(|(k, n)| Step::Unrank(k, n)),
        4 => (key.clone(), len.clone()).prop_map(|(k, n)| Step::AddEntry(k, n)),
        1 => (key.clone(), 0usize..3).prop_map(|(k, n)| Step::TrimEntries(k, n)),
    ];
    prop_oneof![
        24 => of_kinds,
        10 => of_databases,
        6 => (key.clone(), len.clone(), proptest::option::of(span.clone())).prop_map(|(k, n, t)| Step::Set(k, n, t)),
        3 => (key.clone(), len.clone()).prop_map(|(k, n)| Step::Append(k, n)),
        3 => key.clone().prop_map(Step::Delete),
        3 => (key.clone(), span.clone()).prop_map(|(k, t)| Step::Expire(k, t)),
        1 => key.clone().prop_map(Step::Persist),
        8 => (key.clone(), field.clone(), len).prop_map(|(k, f, n)| Step::SetField(k, f, n)),
        3 => (key.clone(), field.clone()).prop_map(|(k, f)| Step::DeleteField(k, f)),
        4 => (key.clone(), field, span.clone()).prop_map(|(k, f, t)| Step::ExpireField(k, f, t)),
        2 => (key.clone(), key.clone()).prop_map(|(a, b)| Step::Rename(a, b)),
        2 => (key.clone(), key.clone()).prop_map(|(a, b)| Step::Copy(a, b)),
        1 => Just(Step::Flush),
        4 => span.prop_map(Step::Wait),
        2 => (0usize..4).prop_map(Step::RemoveDue),
        2 => (0u64..4, key).prop_map(|(id, k)| Step::Watch(id, k)),
        1 => (0u64..4).prop_map(Step::Unwatch),
        2 => Just(Step::BeginDump),
        4 => (1usize..400).prop_map(Step::DumpSome),
        1 => Just(Step::AbortDump),
    ]
}

/// Some keys share a slot, so that copying a slot out is not copying a key out.
pub(crate) fn key(number: u8) -> String {
    format!("{{{}}}{number}", number % 5)
}

fn value(round: usize, len: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(round % 26).unwrap());
    letter.to_string().repeat(len)
}

fn line(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

fn words(name: &str, key: &str, rest: Vec<String>) -> Option<Vec<String>> {
    Some([name, key].map(str::to_owned).into_iter().chain(rest).collect())
}

/// A value as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Text(String),
    Fields(BTreeMap<String, (String, Option<u64>)>),
    Elements(Vec<String>),
    Members(BTreeSet<String>),
    Ranks(BTreeMap<String, i32>),
    Entries(Vec<(String, String)>),
}

impl Held {
    /// True if its key goes. A stream without entries stays.
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(_) | Self::Entries(_) => false,
            Self::Fields(fields) => fields.is_empty(),
            Self::Elements(elements) => elements.is_empty(),
            Self::Members(members) => members.is_empty(),
            Self::Ranks(ranks) => ranks.is_empty(),
        }
    }
}

/// What a client sees of a database.
pub(crate) type Keys = BTreeMap<String, (Held, Option<u64>)>;

/// Keys as a client sees them, in three databases; what has expired is taken out before every step.
#[derive(Default)]
pub(crate) struct Model {
    databases: [Keys; 3],
    selected: usize,
}

impl Model {
    pub(crate) fn expire(&mut self, now: u64) {
        let is_live = |at: &Option<u64>| at.is_none_or(|at| at > now);
        for keys in &mut self.databases {
            for (held, _) in keys.values_mut() {
                if let Held::Fields(fields) = held {
                    fields.retain(|_, (_, at)| is_live(at));
                }
            }
            keys.retain(|_, (held, at)| is_live(at) && !held.is_empty());
        }
    }

    /// What a client sees, database by database.
    pub(crate) fn databases(self) -> [Keys; 3] {
        self.databases
    }

    /// The keys of the selected database.
    fn keys(&mut self) -> &mut Keys {
        &mut self.databases[self.selected]
    }

    /// What is under the key, which holds `new` if it held nothing.
    fn held(&mut self, key: &str, new: Held) -> &mut Held {
        &mut self.keys().entry(key.to_owned()).or_insert((new, None)).0
    }

    fn fields(&mut self, key: &str) -> Option<&mut BTreeMap<String, (String, Option<u64>)>> {
        match self.keys().get_mut(key) {
            Some((Held::Fields(fields), _)) => Some(fields),
            _ => None,
        }
    }

    /// Does what the command of this step does; returns the command.
    pub(crate) fn step(&mut self, step: &Step, round: usize, now: u64) -> Option<Vec<String>> {
        let command = self
            .step_on_string(step, round, now)
            .or_else(|| self.step_on_fields_or_keys(step, round, now))
            .or_else(|| self.step_on_list_or_stream(step, round))
            .or_else(|| self.step_on_members(step))
            .or_else(|| self.step_on_databases(step));
        self.keys().retain(|_, (held, _)| !held.is_empty());
        command
    }

    fn step_on_list_or_stream(&mut self, step: &Step, round: usize) -> Option<Vec<String>> {
        match *step {
            Step::Push(k, len, count) => {
                let (key, value) = (key(k), value(round, len));
                if let Held::Elements(elements) = self.held(&key, Held::Elements(Vec::new())) {
                    elements.extend(std::iter::repeat_n(value.clone(), count));
                }
                words("RPUSH", &key, vec![value; count])
            }
            Step::Pop(k, count) => {
                if let Some((Held::Elements(elements), _)) = self.keys().get_mut(&key(k)) {
                    elements.drain(..count.min(elements.len()));
                }
                line(&["LPOP", &key(k), &count.to_string()])
            }
            Step::AddEntry(k, len) => {
                let (key, value, id) = (key(k), value(round, len), format!("{}-1", round + 1));
                if let Held::Entries(entries) = self.held(&key, Held::Entries(Vec::new())) {
                    entries.push((id.clone(), value.clone()));
                }
                line(&["XADD", &key, &id, "f", &value])
            }
            Step::TrimEntries(k, count) => {
                if let Some((Held::Entries(entries), _)) = self.keys().get_mut(&key(k)) {
                    entries.drain(..entries.len().saturating_sub(count));
                }
                line(&["XTRIM", &key(k), "MAXLEN", &count.to_string()])
            }
            _ => None,
        }
    }

    fn step_on_databases(&mut self, step: &Step) -> Option<Vec<String>> {
        let at = usize::from;
        match *step {
            Step::Select(database) => {
                self.selected = at(database);
                line(&["SELECT", &database.to_string()])
            }
            Step::Move(k, to) => {
                let (key, from) = (key(k), self.selected);
                if from != at(to) && !self.databases[at(to)].contains_key(&key) {
                    let entry = self.databases[from].remove(&key);
                    self.databases[at(to)].extend(entry.map(|entry| (key.clone(), entry)));
                }
                line(&["MOVE", &key, &to.to_string()])
            }
            Step::CopyTo(a, b, to) => {
                if let Some(entry) = self.keys().get(&key(a)).cloned() {
                    self.databases[at(to)].insert(key(b), entry);
                }
                line(&["COPY", &key(a), &key(b), "DB", &to.to_string(), "REPLACE"])
            }
            Step::Swap(one, other) => {
                self.databases.swap(at(one), at(other));
                line(&["SWAPDB", &one.to_string(), &other.to_string()])
            }
            Step::Flush => {
                self.databases = Default::default();
                line(&["FLUSHALL"])
            }
            Step::FlushSelected => {
                self.keys().clear();
                line(&["FLUSHDB"])
            }
            _ => None,
        }
    }

    fn step_on_members(&mut self, step: &Step) -> Option<Vec<String>> {
        match *step {
            Step::Add(k, names) => {
                if let Held::Members(held) = self.held(&key(k), Held::Members(BTreeSet::new())) {
                    held.extend(names.texts());
                }
                words("SADD", &key(k), names.texts())
            }
            Step::Remove(k, names) => {
                if let Some((Held::Members(held), _)) = self.keys().get_mut(&key(k)) {
                    names.texts().iter().for_each(|name| {
                        held.remove(name);
                    });
                }
                words("SREM", &key(k), names.texts())
            }
            Step::Rank(k, names, score) => {
                if let Held::Ranks(held) = self.held(&key(k), Held::Ranks(BTreeMap::new())) {
                    held.extend(names.texts().into_iter().map(|name| (name, score)));
                }
                let pairs = names.texts().into_iter().flat_map(|name| [score.to_string(), name]);
                words("ZADD", &key(k), pairs.collect())
            }
            Step::Unrank(k, names) => {
                if let Some((Held::Ranks(held), _)) = self.keys().get_mut(&key(k)) {
                    names.texts().iter().for_each(|name| {
                        held.remove(name);
                    });
                }
                words("ZREM", &key(k), names.texts())
            }
            _ => None,
        }
    }

    fn step_on_string(&mut self, step: &Step, round: usize, now: u64) -> Option<Vec<String>> {
        match *step {
            Step::Set(k, len, ttl) => {
                let (key, value) = (key(k), value(round, len));
                self.keys().insert(key.clone(), (Held::Text(value.clone()), ttl.map(|t| now + t)));
                match ttl {
                    Some(ttl) => line(&["SET", &key, &value, "PX", &ttl.to_string()]),
                    None => line(&["SET", &key, &value]),
                }
            }
            Step::Append(k, len) => {
                let (key, value) = (key(k), value(round, len));
                let entry = self.keys().entry(key.clone());
                let (held, _) = entry.or_insert((Held::Text(String::new()), None));
                if let Held::Text(text) = held {
                    text.push_str(&value);
                }
                line(&["APPEND", &key, &value])
            }
            Step::Delete(k) => {
                self.keys().remove(&key(k));
                line(&["DEL", &key(k)])
            }
            Step::Expire(k, ttl) => {
                if let Some((_, at)) = self.keys().get_mut(&key(k)) {
                    *at = Some(now + ttl);
                }
                line(&["PEXPIRE", &key(k), &ttl.to_string()])
            }
            Step::Persist(k) => {
                if let Some((_, at)) = self.keys().get_mut(&key(k)) {
                    *at = None;
                }
                line(&["PERSIST", &key(k)])
            }
            _ => None,
        }
    }

    fn step_on_fields_or_keys(
        &mut self,
        step: &Step,
        round: usize,
        now: u64,
    ) -> Option<Vec<String>> {
        match *step {
            Step::SetField(k, f, len) => {
                let (key, value) = (key(k), value(round, len));
                let entry = self.keys().entry(key.clone());
                entry.or_insert((Held::Fields(BTreeMap::new()), None));
                if let Some(fields) = self.fields(&key) {
                    fields.insert(f.to_string(), (value.clone(), None));
                }
                line(&["HSET", &key, &f.to_string(), &value])
            }
            Step::DeleteField(k, f) => {
                let field = f.to_string();
                if let Some(fields) = self.fields(&key(k)) {
                    fields.remove(&field);
                }
                line(&["HDEL", &key(k), &field])
            }
            Step::ExpireField(k, f, ttl) => {
                let field = f.to_string();
                if let Some((_, at)) = self.fields(&key(k)).and_then(|fs| fs.get_mut(&field)) {
                    *at = Some(now + ttl);
                }
                line(&["HPEXPIRE", &key(k), &ttl.to_string(), "FIELDS", "1", &field])
            }
            Step::Rename(a, b) => {
                if let Some(entry) = self.keys().remove(&key(a)) {
                    self.keys().insert(key(b), entry);
                }
                line(&["RENAME", &key(a), &key(b)])
            }
            Step::Copy(a, b) => {
                if let Some(entry) = self.keys().get(&key(a)).cloned() {
                    self.keys().insert(key(b), entry);
                }
                line(&["COPY", &key(a), &key(b), "REPLACE"])
            }
            _ => None,
        }
    }
}

/// What a client sees in the store, read back key by key.
pub(crate) fn visible(store: &mut Store, now: u64) -> Keys {
    let mut keys = Vec::new();
    store.keys(store.selected(), UnixMillis(now), b"*", |key| {
        keys.push(String::from_utf8(key.to_vec()).unwrap());
    });
    let words = |reply: Vec<u8>| {
        let text = String::from_utf8(reply).unwrap();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.into_iter().filter(|line| !line.starts_with(['$', '*'])).collect::<Vec<_>>()
    };
    let mut seen = BTreeMap::new();
    for key in keys {
        let at = apply(store, now, &["PEXPIRETIME", &key]);
        let at: i64 = std::str::from_utf8(&at[1..at.len() - 2]).unwrap().parse().unwrap();
        let kind = apply(store, now, &["TYPE", &key]);
        let mut ask = |line: &[&str]| words(apply(store, now, line));
        let held = if kind == b"+string\r\n" {
            Held::Text(ask(&["GET", &key]).concat())
        } else if kind == b"+list\r\n" {
            Held::Elements(ask(&["LRANGE", &key, "0", "-1"]))
        } else if kind == b"+set\r\n" {
            Held::Members(ask(&["SMEMBERS", &key]).into_iter().collect())
        } else if kind == b"+zset\r\n" {
            let pairs = ask(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]);
            let pairs = pairs.chunks(2).map(|pair| (pair[0].clone(), pair[1].parse().unwrap()));
            Held::Ranks(pairs.collect())
        } else if kind == b"+stream\r\n" {
            let parts = ask(&["XRANGE", &key, "-", "+"]);
            Held::Entries(parts.chunks(3).map(|e| (e[0].clone(), e[2].clone())).collect())
        } else {
            let names = words(apply(store, now, &["HKEYS", &key]));
            let fields = names.into_iter().map(|name| {
                let value = words(apply(store, now, &["HGET", &key, &name])).concat();
                let at = apply(store, now, &["HPEXPIRETIME", &key, "FIELDS", "1", &name]);
                let at = String::from_utf8(at).unwrap();
                let at = at.lines().nth(1).and_then(|line| line[1..].parse().ok());
                (name, (value, at))
            });
            Held::Fields(fields.collect())
        };
        seen.insert(key, (held, u64::try_from(at).ok()));
    }
    seen
}
