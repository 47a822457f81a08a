//! Waiters as properties: nothing that was pushed is lost or handed out twice, who came first is served first, nobody
//! waits who could be served, and replicas and dumps agree.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use keystead_resp::{Protocol, ReplyDecoder, ReplyLimits, ReplyWriter, Value};
use keystead_store::{Effect, Fate, Store, Waited, WaiterId, Wanted};
use proptest::prelude::*;
use support::{CONFIG, apply, context, dump, load, with_args};

const KEYS: [&str; 3] = ["{a}1", "{a}2", "b"];

#[derive(Clone, Debug)]
enum Step {
    /// BLPOP of the keys among the bits.
    Wait(u8),
    /// BLMOVE from one key to another.
    Move(usize, usize),
    /// RPUSH of so many elements.
    Push(usize, usize),
    Pop(usize),
    Rename(usize, usize),
    Delete(usize),
    /// A string where a list might be.
    Set(usize),
    Withdraw(usize),
    Suspend(u64),
    Alive(usize),
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0usize..KEYS.len();
    prop_oneof![
        5 => (1u8..8).prop_map(Step::Wait),
        3 => (key.clone(), key.clone()).prop_map(|(a, b)| Step::Move(a, b)),
        6 => (key.clone(), 1usize..4).prop_map(|(k, n)| Step::Push(k, n)),
        1 => key.clone().prop_map(Step::Pop),
        1 => (key.clone(), key.clone()).prop_map(|(a, b)| Step::Rename(a, b)),
        1 => key.clone().prop_map(Step::Delete),
        1 => key.prop_map(Step::Set),
        2 => (0usize..20).prop_map(Step::Withdraw),
        1 => (1u64..3).prop_map(Step::Suspend),
        2 => (0usize..20).prop_map(Step::Alive),
        1 => Just(Step::Reload),
    ]
}

/// A waiter as the model knows it.
#[derive(Clone, Debug)]
struct Waiting {
    id: WaiterId,
    keys: Vec<String>,
    /// Where its element goes; `None`: to its client.
    destination: Option<String>,
    is_suspended: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    List(VecDeque<String>),
    Text,
}

/// What a naive server does: the waiters in one queue, all of it gone through for each key that became ready.
#[derive(Default)]
struct Model {
    keys: BTreeMap<String, Held>,
    waiting: Vec<Waiting>,
    ready: VecDeque<String>,
    told: Vec<(WaiterId, String)>,
}

const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

impl Model {
    fn signal(&mut self, key: &str) {
        let is_awaited = self.waiting.iter().any(|waiting| waiting.keys.iter().any(|k| k == key));
        if is_awaited && !self.ready.iter().any(|known| known == key) {
            self.ready.push_back(key.to_owned());
        }
    }

    fn list(&mut self, key: &str) -> Result<&mut VecDeque<String>, ()> {
        let empty = || Held::List(VecDeque::new());
        match self.keys.entry(key.to_owned()).or_insert_with(empty) {
            Held::List(list) => Ok(list),
            Held::Text => Err(()),
        }
    }

    fn push(&mut self, key: &str, element: &str) -> Result<(), ()> {
        self.list(key)?.push_back(element.to_owned());
        self.signal(key);
        Ok(())
    }

    fn pop(&mut self, key: &str) -> Option<String> {
        let list = self.list(key).ok()?;
        let element = list.pop_front();
        if list.is_empty() {
            self.keys.remove(key);
        } else {
            self.signal(key);
        }
        element
    }

    fn is_list(&self, key: &str) -> bool {
        matches!(self.keys.get(key), Some(Held::List(_)))
    }

    /// Serves one waiter from a key that holds a list.
    fn take(&mut self, waiting: &Waiting, key: &str) -> String {
        let Some(destination) = &waiting.destination else {
            return format!("{key} {}", self.pop(key).unwrap());
        };
        if self.keys.get(destination) == Some(&Held::Text) {
            return WRONG.to_owned();
        }
        if destination == key {
            let list = self.list(key).unwrap();
            list.rotate_left(1);
            let moved = list.back().unwrap().clone();
            self.signal(key);
            return moved;
        }
        let Held::List(list) = &self.keys[key] else { unreachable!() };
        let element = list[0].clone();
        self.push(destination, &element).unwrap();
        self.pop(key);
        element
    }

    fn serve(&mut self) {
        while let Some(key) = self.ready.pop_front() {
            let queue: Vec<Waiting> = self.waiting.clone();
            for waiting in queue.iter().filter(|it| !it.is_suspended && it.keys.contains(&key)) {
                if !self.is_list(&key) {
                    break;
                }
                self.waiting.retain(|other| other.id != waiting.id);
                let answer = self.take(waiting, &key);
                self.told.push((waiting.id, answer));
            }
        }
    }

    /// What a command that may wait is answered, if it is.
    fn wait(&mut self, waiting: Waiting) -> Option<String> {
        for key in &waiting.keys {
            match self.keys.get(key) {
                Some(Held::Text) => return Some(WRONG.to_owned()),
                Some(Held::List(_)) => return Some(self.take(&waiting, key)),
                None => {}
            }
        }
        self.waiting.push(waiting);
        None
    }
}

/// A reply as the model writes it.
fn words(reply: &[u8]) -> String {
    let mut decoder = ReplyDecoder::new(ReplyLimits::default());
    let (value, _) = decoder.decode(reply).unwrap().unwrap();
    match value {
        Value::Array(parts) => {
            parts.iter().map(|p| p.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        }
        Value::Error(text) => format!("-{text}"),
        other => other.as_str().unwrap().to_owned(),
    }
}

struct World {
    store: Store,
    /// The same without effects or replies, as on a replica that follows.
    follower: Store,
    model: Model,
    now: u64,
    asked: Vec<WaiterId>,
    pushed: BTreeSet<String>,
}

impl World {
    fn both<R>(&mut self, run: impl Fn(&mut Store) -> R) -> R {
        run(&mut self.follower);
        run(&mut self.store)
    }

    fn command(&mut self, line: &[&str]) -> Vec<u8> {
        let now = self.now;
        let line: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        self.both(|store| apply(store, now, &line))
    }

    fn wait(&mut self, line: &[&str], keys: Vec<String>, destination: Option<String>) {
        let number = self.asked.len() as u64;
        let id = WaiterId { home: 1 + number % 2, life: 1, number };
        self.asked.push(id);
        let (ctx, protocol) = (context(1, self.now), Protocol::Resp2);
        let mut reply = Vec::new();
        let waited = with_args(line, |args| {
            self.follower.wait(&ctx, (id, protocol), args, &mut ReplyWriter::discard());
            self.store.wait(&ctx, (id, protocol), args, &mut ReplyWriter::new(&mut reply, protocol))
        });
        let answer = self.model.wait(Waiting { id, keys, destination, is_suspended: false });
        assert_eq!(waited == Waited::Waits, answer.is_none());
        if let Some(answer) = answer {
            assert_eq!(words(&reply), answer);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Wait(bits) => {
                let keys = KEYS.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
                let keys: Vec<String> = keys.map(|(_, key)| (*key).to_owned()).collect();
                let mut line = vec!["BLPOP"];
                line.extend(keys.iter().map(String::as_str));
                line.push("0");
                self.wait(&line, keys.clone(), None);
            }
            Step::Move(from, to) => {
                let line = ["BLMOVE", KEYS[*from], KEYS[*to], "LEFT", "RIGHT", "0"];
                self.wait(&line, vec![KEYS[*from].to_owned()], Some(KEYS[*to].to_owned()));
            }
            Step::Push(key, count) => {
                let next = self.pushed.len();
                let elements: Vec<String> = (next..next + count).map(|n| n.to_string()).collect();
                let mut line = vec!["RPUSH", KEYS[*key]];
                line.extend(elements.iter().map(String::as_str));
                self.command(&line);
                if self.model.list(KEYS[*key]).is_ok() {
                    for element in elements {
                        self.model.push(KEYS[*key], &element).unwrap();
                        self.pushed.insert(element);
                    }
                }
            }
            Step::Pop(key) => {
                self.command(&["LPOP", KEYS[*key]]);
                if self.model.is_list(KEYS[*key])
                    && let Some(element) = self.model.pop(KEYS[*key])
                {
                    self.pushed.remove(&element);
                    self.pushed.insert(format!("gone {element}"));
                }
            }
            Step::Rename(from, to) => {
                self.command(&["RENAME", KEYS[*from], KEYS[*to]]);
                if let Some(held) = self.model.keys.remove(KEYS[*from]) {
                    let is_list = matches!(held, Held::List(_));
                    self.model.keys.insert(KEYS[*to].to_owned(), held);
                    if is_list && from != to {
                        self.model.signal(KEYS[*to]);
                    }
                }
            }
            Step::Delete(key) => {
                self.command(&["DEL", KEYS[*key]]);
                self.model.keys.remove(KEYS[*key]);
            }
            Step::Set(key) => {
                self.command(&["SET", KEYS[*key], "text"]);
                self.model.keys.insert(KEYS[*key].to_owned(), Held::Text);
            }
            _ => self.step_on_waiters(step),
        }
        self.model.serve();
    }

    fn step_on_waiters(&mut self, step: &Step) {
        let ctx = context(1, self.now);
        let asked = |at: usize| self.asked.len().checked_sub(at + 1).map(|at| self.asked[at]);
        match step {
            Step::Withdraw(at) => {
                let Some(id) = asked(*at) else { return };
                let fate = self.both(|store| store.withdraw(id));
                let known = self.model.waiting.iter().any(|waiting| waiting.id == id);
                assert_eq!(fate == Fate::Waits, known);
                self.model.waiting.retain(|waiting| waiting.id != id);
            }
            Step::Suspend(home) => {
                let home = *home;
                self.both(|store| store.suspend(&ctx, home, 2));
                let theirs = self.model.waiting.iter_mut().filter(|it| it.id.home == home);
                theirs.for_each(|waiting| waiting.is_suspended = true);
            }
            Step::Alive(at) => {
                let Some(id) = asked(*at) else { return };
                let mut awoken = Vec::new();
                for waiting in self.model.waiting.iter_mut().filter(|it| it.id == id) {
                    if std::mem::take(&mut waiting.is_suspended) {
                        awoken.clone_from(&waiting.keys);
                    }
                }
                awoken.sort();
                awoken.iter().for_each(|key| self.model.signal(key));
                self.both(|store| store.confirm(&ctx, id));
            }
            Step::Reload => {
                let bytes = dump(&mut self.store);
                let mut loaded = load(&bytes, 7).unwrap();
                assert_eq!(loaded.digest(), self.store.digest());
                assert_eq!(dump(&mut loaded), bytes);
                loaded.want(Wanted { has_served: true, ..Wanted::default() });
                self.store = loaded;
            }
            _ => unreachable!("the caller has the others"),
        }
    }

    fn check(&mut self) {
        let told: Vec<(WaiterId, String)> = self
            .store
            .take_effects()
            .into_iter()
            .map(|effect| match effect {
                Effect::Served { id, reply } => (id, words(&reply)),
                other => panic!("not asked for: {other:?}"),
            })
            .collect();
        assert_eq!(
            told,
            std::mem::take(&mut self.model.told),
            "INV-B3: who is told what, in order"
        );
        assert_eq!(self.store.digest(), self.follower.digest(), "replicas agree");
        assert_eq!(self.store.stats().waiters, self.model.waiting.len() as u64);
        for key in KEYS {
            let held = match self.model.keys.get(key) {
                Some(Held::List(list)) => list.iter().cloned().collect::<Vec<_>>().join(" "),
                Some(Held::Text) => WRONG.to_owned(),
                None => String::new(),
            };
            assert_eq!(words(&apply(&mut self.store, self.now, &["LRANGE", key, "0", "-1"])), held);
            let is_owed =
                |waiting: &Waiting| !waiting.is_suspended && waiting.keys.iter().any(|k| k == key);
            let is_served = !self.model.is_list(key) || !self.model.waiting.iter().any(is_owed);
            assert!(is_served, "INV-B2: somebody waits for {key}, which holds a list");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// INV-B1 (checked by the store itself in tests), INV-B2, INV-B3.
    #[test]
    fn waiters_are_served_as_a_naive_server_would(steps in proptest::collection::vec(step(), 1..80)) {
        let mut store = Store::new(CONFIG);
        store.want(Wanted { has_served: true, ..Wanted::default() });
        let mut world = World {
            store,
            follower: Store::new(CONFIG),
            model: Model::default(),
            now: 1_000,
            asked: Vec::new(),
            pushed: BTreeSet::new(),
        };
        for step in &steps {
            world.now += 1;
            world.step(step);
            world.check();
        }
    }
}
