//! Golden scripts: what the store holds after each step, to be read as prose.
//!
//! A line of `tests/golden/*.txt` that begins with `>` is a step; what follows it up to the next step is
//! the reply and, behind `=`, everything a client can see, that of other databases than the first behind `dbN:`. Steps: `at MS` (the time from here on), `due N`
//! (remove at most N of what is due), `watch ID KEY`, `wait ID CMD` (a command that may wait; ID is `home.life.number`),
//! `withdraw ID`, `alive ID`, `evict KEY`, `suspend HOME LIFE`, `multi CMD ; CMD`, `exec ID CMD ; CMD`, `dump` (begin), `dump N` (N
//! bytes more), `load` (finish the dump and show what it holds), `slots some` (an empty store from here on, one that
//! has not every slot), anything else is a command.
//! With KEYSTEAD_GOLDEN=update the files are rewritten, for review.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::fmt::Write as _;
use std::path::Path;

use keystead_resp::{Protocol, ReplyWriter};
use keystead_store::{
    DumpStep, Effect, Fate, Store, StoreConfig, Waited, WaiterId, Wanted, WatchId,
};
use keystead_types::{DatabaseId, UnixMillis};
use support::{CONFIG, apply, context, load, transact, with_args};

struct World {
    store: Store,
    now: u64,
    dumped: Vec<u8>,
}

impl World {
    fn step(&mut self, step: &str) -> String {
        let words: Vec<&str> = step.split(' ').collect();
        let mut said = String::new();
        match words[..] {
            ["at", ms] => self.now = ms.parse().unwrap(),
            ["due", limit] => {
                let ctx = context(1, self.now);
                let removed = self.store.expire_due(&ctx, limit.parse().unwrap());
                let next = self.store.next_expiry();
                let next = next.map_or_else(|| "nothing".to_owned(), |at| at.0.to_string());
                writeln!(said, "removed {removed}, next {next}").unwrap();
            }
            ["watch", id, key] => {
                let id = WatchId(id.parse().unwrap());
                self.store.watch(&context(1, self.now), id, [key.as_bytes()]);
            }
            ["exec", id, ..] => {
                let commands: Vec<Vec<&str>> =
                    words[2..].split(|word| *word == ";").map(<[&str]>::to_vec).collect();
                let commands: Vec<&[&str]> = commands.iter().map(Vec::as_slice).collect();
                let id = id.parse().unwrap();
                let reply = transact(&mut self.store, self.now, &commands, &[id]);
                said.push_str(&shown(&reply));
            }
            ["slots", "some"] => {
                self.store = Store::new(StoreConfig { has_every_slot: false, ..CONFIG });
            }
            ["wait", id, ..] => said.push_str(&self.wait(waiter(id), &words[2..])),
            ["withdraw", id] => {
                writeln!(said, "{}", fate(self.store.withdraw(waiter(id)))).unwrap();
            }
            ["alive", id] => {
                let ctx = context(1, self.now);
                writeln!(said, "{}", fate(self.store.confirm(&ctx, waiter(id)))).unwrap();
            }
            ["evict", key] => {
                let (ctx, database) = (context(1, self.now), self.store.selected());
                self.store.evict(&ctx, database, [key.as_bytes()]);
            }
            ["suspend", home, life] => {
                let (home, life) = (home.parse().unwrap(), life.parse().unwrap());
                self.store.suspend(&context(1, self.now), home, life);
            }
            ["multi", ..] => {
                let commands: Vec<Vec<&str>> =
                    words[1..].split(|word| *word == ";").map(<[&str]>::to_vec).collect();
                let commands: Vec<&[&str]> = commands.iter().map(Vec::as_slice).collect();
                said.push_str(&shown(&transact(&mut self.store, self.now, &commands, &[])));
            }
            ["dump"] => {
                self.dumped.clear();
                self.store.begin_dump();
            }
            ["dump", bytes] => {
                let step = self.store.dump_step(&mut self.dumped, bytes.parse().unwrap());
                writeln!(said, "{step:?}, {} bytes wait", self.store.stats().dump_pending_bytes)
                    .unwrap();
            }
            ["load"] => {
                while self.store.dump_step(&mut self.dumped, 100) == DumpStep::More {}
                let mut loaded = load(&self.dumped, 10).unwrap();
                writeln!(said, "the dump holds {}", state(&mut loaded, self.now)).unwrap();
            }
            _ => said.push_str(&shown(&apply(&mut self.store, self.now, &words))),
        }
        for effect in self.store.take_effects() {
            let Effect::Served { id, reply } = effect else { continue };
            write!(said, "-> {}.{}.{} {}", id.home, id.life, id.number, shown(&reply)).unwrap();
        }
        writeln!(said, "= {}", state(&mut self.store, self.now)).unwrap();
        said
    }

    fn wait(&mut self, id: WaiterId, command: &[&str]) -> String {
        let (ctx, mut reply) = (context(1, self.now), Vec::new());
        let waited = with_args(command, |args| {
            let writer = &mut ReplyWriter::new(&mut reply, Protocol::Resp2);
            self.store.wait(&ctx, (id, Protocol::Resp2), args, writer)
        });
        match waited {
            Waited::Waits => "waits\n".to_owned(),
            Waited::Answered => shown(&reply),
        }
    }
}

fn waiter(text: &str) -> WaiterId {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap());
    let mut next = || numbers.next().unwrap();
    WaiterId { home: next(), life: next(), number: next() }
}

fn fate(fate: Fate) -> String {
    match fate {
        Fate::Waits => "waits".to_owned(),
        Fate::Served(reply) => format!("served {}", shown(&reply).trim()),
        Fate::Unknown => "unknown".to_owned(),
    }
}

/// A reply in RESP2, its lines joined.
fn shown(reply: &[u8]) -> String {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.starts_with('$') || *line == "$-1").collect();
    format!("{}\n", lines.join(" "))
}

/// All that a client can see, database by database, then what is held in memory.
fn state(store: &mut Store, now: u64) -> String {
    let selected = store.selected();
    let (mut parts, mut seen) = (Vec::new(), 0);
    for stats in store.database_stats().collect::<Vec<_>>() {
        store.select(stats.database);
        if stats.database != DatabaseId::FIRST {
            parts.push(format!("{}:", stats.database));
        }
        let before = parts.len();
        keys(store, now, &mut parts);
        seen += parts.len() - before;
    }
    store.select(selected);
    let hidden = store.key_count() - seen as u64;
    if store.stats().waiters > 0 {
        parts.push(format!("({} wait)", store.stats().waiters));
    }
    if hidden > 0 {
        parts.push(format!("({hidden} expired)"));
    }
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(" ") }
}

/// The keys of the selected database, in their order.
fn keys(store: &mut Store, now: u64, parts: &mut Vec<String>) {
    let mut keys = Vec::new();
    store.keys(store.selected(), UnixMillis(now), b"*", |key| {
        keys.push(String::from_utf8(key.to_vec()).unwrap());
    });
    keys.sort();
    for key in &keys {
        let mut ask = |words: &[&str]| shown(&apply(store, now, words)).trim().to_owned();
        let kind = ask(&["TYPE", key]);
        let value = if kind == "+stream" {
            stream(&mut ask, key)
        } else if kind == "+hash" {
            let pairs = ask(&["HGETALL", key]);
            let pairs: Vec<&str> = pairs.split(' ').skip(1).collect();
            let fields = pairs.chunks(2).map(|pair| {
                let at = ask(&["HPEXPIRETIME", key, "FIELDS", "1", pair[0]]);
                format!("{}:{}{}", pair[0], pair[1], until(at.trim_start_matches("*1 :")))
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(" "))
        } else if kind == "+ReJSON-RL" {
            ask(&["JSON.GET", key])
        } else if kind == "+zset" {
            let pairs = ask(&["ZRANGE", key, "0", "-1", "WITHSCORES"]);
            let pairs: Vec<&str> = pairs.split(' ').skip(1).collect();
            let members = pairs.chunks(2).map(|pair| format!("{}:{}", pair[1], pair[0]));
            format!("<{}>", members.collect::<Vec<_>>().join(" "))
        } else if kind == "+list" {
            let elements = ask(&["LRANGE", key, "0", "-1"]);
            format!("({})", elements.split(' ').skip(1).collect::<Vec<_>>().join(" "))
        } else if kind == "+set" {
            let members = ask(&["SMEMBERS", key]);
            let mut members: Vec<&str> = members.split(' ').skip(1).collect();
            members.sort_unstable();
            format!("{{{}}}", members.join(" "))
        } else {
            ask(&["GET", key]).escape_debug().to_string()
        };
        let at = ask(&["PEXPIRETIME", key]);
        parts.push(format!("{key}={value}{}", until(at.trim_start_matches(':'))));
    }
}

/// The entries of a stream and, behind a bar, what is pending for each group.
fn stream(ask: &mut impl FnMut(&[&str]) -> String, key: &str) -> String {
    let plain = |reply: String| {
        let words = reply.split(' ').filter(|word| !word.starts_with(['*', ':']));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let entries = plain(ask(&["XRANGE", key, "-", "+"])).join(" ");
    let groups = plain(ask(&["XINFO", "GROUPS", key]));
    let named = groups.windows(2).filter(|pair| pair[0] == "name").map(|pair| pair[1].clone());
    let groups: Vec<String> = named
        .map(|name| {
            let pending = plain(ask(&["XPENDING", key, &name, "-", "+", "100"]));
            let pending = pending.chunks(2).map(|pair| pair.join(":")).collect::<Vec<_>>();
            format!(" | {name} {}", pending.join(" ")).trim_end().to_owned()
        })
        .collect();
    format!("[{entries}{}]", groups.concat())
}

fn until(at: &str) -> String {
    if at == "-1" { String::new() } else { format!("@{at}") }
}

fn replay(script: &str) -> String {
    let mut world = World { store: Store::new(CONFIG), now: 0, dumped: Vec::new() };
    world.store.want(Wanted { has_served: true, ..Wanted::default() });
    let mut out = String::new();
    for line in script.lines() {
        if line.is_empty() || line.starts_with('#') {
            writeln!(out, "{line}").unwrap();
        } else if let Some(step) = line.strip_prefix("> ") {
            writeln!(out, "{line}").unwrap();
            out.push_str(&world.step(step));
        }
    }
    out
}

#[test]
fn golden_scripts_read_as_written() {
    #[expect(
        clippy::disallowed_methods,
        reason = "how a person asks for the files to be rewritten"
    )]
    let is_update = std::env::var("KEYSTEAD_GOLDEN").is_ok_and(|mode| mode == "update");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let written = std::fs::read_to_string(&file).unwrap();
        let replayed = replay(&written);
        if is_update {
            std::fs::write(&file, replayed).unwrap();
        } else {
            assert_eq!(replayed, written, "{}", file.display());
        }
    }
}
