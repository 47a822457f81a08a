//! The store: names, slots, tables, and runs of commands out of an entry.
//! Owns: those pieces. Never: a log.

use std::hint::black_box;

use keystead_replication::{Machine, Part, Replies};
use keystead_resp::{Args, Protocol, ReplyWriter, RunDecoder, Span};
use keystead_store::{Store, StoreConfig, command};
use keystead_types::{ApplyContext, DatabaseId, LogIndex, ShardId, Slot, UnixMillis};

use super::{Jumps, gets, key, requests, sets};

const CONFIG: StoreConfig = StoreConfig { hash_seed: 42, has_every_slot: true };
const KEYS: u64 = 20_000;
const COUNTERS: u64 = 1000;
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
/// Runs prepared in advance, so that keys differ from call to call.
const RUNS: usize = 64;

pub(super) fn find_command() -> Box<dyn FnMut()> {
    let names: [&[u8]; 8] =
        [b"get", b"SET", b"incr", b"HSET", b"mset", b"EXPIRE", b"del", b"HGETALL"];
    Box::new(move || {
        for name in names {
            black_box(command::find(black_box(name)));
        }
    })
}

pub(super) fn slot_hash() -> Box<dyn FnMut()> {
    let keys: Vec<String> = (0..16).map(key).collect();
    Box::new(move || {
        for key in &keys {
            black_box(Slot::of_key(black_box(key.as_bytes())));
        }
    })
}

/// A command with its arguments found.
struct Line {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Line {
    fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans)
    }
}

/// The commands of a run, decoded.
fn lines(run: &[u8]) -> Vec<Line> {
    let (mut decoder, mut found) = (RunDecoder::new(run), Vec::new());
    loop {
        let (begin, mut spans) = (decoder.offset(), Vec::new());
        if decoder.next(&mut spans).expect("a run as it was encoded").is_none() {
            return found;
        }
        found.push(Line { bytes: run[begin..decoder.offset()].to_vec(), spans });
    }
}

const fn context(index: u64) -> ApplyContext {
    ApplyContext { index: LogIndex(index), now: NOW, seed: index }
}

fn filled() -> Store {
    let mut store = Store::new(CONFIG);
    for number in 0..KEYS {
        let run = requests([&[b"SET", key(number).as_bytes(), &super::VALUE][..]]);
        for line in lines(&run) {
            let _outcome = store.apply(&context(number), line.args(), &mut ReplyWriter::discard());
        }
    }
    store
}

pub(super) fn get() -> Box<dyn FnMut()> {
    let (store, mut jumps) = (filled(), Jumps::new(KEYS));
    let runs: Vec<Vec<Line>> = (0..RUNS).map(|_| lines(&gets(&mut jumps, 16))).collect();
    let (mut turn, mut out) = (0, Vec::new());
    Box::new(move || {
        out.clear();
        for line in &runs[turn % RUNS] {
            let mut reply = ReplyWriter::new(&mut out, Protocol::Resp2);
            store.read(DatabaseId::FIRST, NOW, line.args(), &mut reply);
        }
        turn += 1;
        black_box(&out);
    })
}

pub(super) fn set() -> Box<dyn FnMut()> {
    let mut jumps = Jumps::new(KEYS);
    let runs = (0..RUNS).map(|_| lines(&sets(&mut jumps, 16))).collect();
    apply_in_turn(filled(), runs)
}

pub(super) fn incr() -> Box<dyn FnMut()> {
    let mut jumps = Jumps::new(COUNTERS);
    let mut run = || {
        let keys: Vec<String> = (0..16).map(|_| key(jumps.next())).collect();
        keys.iter().flat_map(|key| lines(&requests([&[b"INCR", key.as_bytes()][..]]))).collect()
    };
    let runs = (0..RUNS).map(|_| run()).collect();
    apply_in_turn(Store::new(CONFIG), runs)
}

fn apply_in_turn(mut store: Store, runs: Vec<Vec<Line>>) -> Box<dyn FnMut()> {
    let (mut turn, mut out) = (0, Vec::new());
    Box::new(move || {
        out.clear();
        for line in &runs[turn % runs.len()] {
            let mut reply = ReplyWriter::new(&mut out, Protocol::Resp2);
            let _outcome = store.apply(&context(turn as u64), line.args(), &mut reply);
        }
        turn += 1;
        black_box(&out);
    })
}

pub(super) fn insert() -> Box<dyn FnMut()> {
    let mut all = Vec::new();
    for number in 0..20_000 {
        let key = key(number);
        all.extend(lines(&requests([&[b"SET", key.as_bytes(), &super::VALUE][..]])));
    }
    let mut store = Store::new(CONFIG);
    Box::new(move || {
        for line in &all {
            let _outcome = store.apply(&context(1), line.args(), &mut ReplyWriter::discard());
        }
        store.flush();
    })
}

/// What a leader does with a committed entry of 50 callers.
pub(super) fn apply_run() -> Box<dyn FnMut()> {
    let mut machine = keystead_node::simulation::shard_machine(ShardId(1), CONFIG);
    let mut jumps = Jumps::new(KEYS);
    let one =
        |run: &[u8]| Part { ticket: 0, bytes: u32::try_from(run.len()).unwrap_or(0), form: 2 };
    let mut run = || {
        let sets: Vec<Vec<u8>> = (0..50).map(|_| sets(&mut jumps, 1)).collect();
        let parts: Vec<Part> = sets.iter().map(|set| one(set)).collect();
        (sets.concat(), parts)
    };
    let runs: Vec<(Vec<u8>, Vec<Part>)> = (0..RUNS).map(|_| run()).collect();
    let mut turn = 0;
    Box::new(move || {
        let (commands, parts) = &runs[turn % RUNS];
        let mut replies = Replies::default();
        machine.apply(&context(turn as u64), commands, parts, &mut replies);
        turn += 1;
        black_box(&replies);
    })
}
