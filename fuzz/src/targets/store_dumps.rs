//! Dumps of a store, as they come out of a snapshot file: any bytes, in any split.
//!
//! A dump is refused or read, alike however it is cut; what was read can be dumped again and is the same state.

use keystead_resp::{Args, ReplyWriter, Span};
use keystead_store::{DumpStep, LoadError, Loader, Store, StoreConfig};
use keystead_types::{ApplyContext, DatabaseId, LogIndex, UnixMillis};

use crate::input::{Input, Splits};
use crate::seal;

const CONFIG: StoreConfig = StoreConfig { hash_seed: 42, has_every_slot: true };

/// See the module. The first byte decides whether checksums are made right.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (choice, seed) = (input.u8(), input.u64());
    let mut dump = input.rest().to_vec();
    if choice & 1 == 1 {
        seal::store_dump(&mut dump);
    }
    let whole = load(&dump, || dump.len().max(1));
    let mut splits = Splits::new(seed);
    let pieces = load(&dump, || splits.next());
    match (whole, pieces) {
        (Ok(mut store), Ok(other)) => {
            assert_eq!(store.digest(), other.digest(), "a split changes what is read");
            let again =
                load(&dumped(&mut store), || 64 * 1024).expect("what was dumped can be read");
            assert_eq!(again.digest(), store.digest(), "dumped and loaded, the state is another");
            live_on(store, again);
        }
        (Err(_), Err(_)) => {}
        (whole, pieces) => panic!("a split decides: {:?} {:?}", whole.err(), pieces.err()),
    }
}

fn load(dump: &[u8], mut next_read: impl FnMut() -> usize) -> Result<Store, LoadError> {
    let (mut loader, mut at) = (Loader::new(CONFIG), 0);
    while at < dump.len() {
        let end = (at + next_read()).min(dump.len());
        loader.feed(&dump[at..end])?;
        at = end;
    }
    loader.finish()
}

pub(crate) fn dumped(store: &mut Store) -> Vec<u8> {
    store.begin_dump();
    let mut bytes = Vec::new();
    while store.dump_step(&mut bytes, 500) == DumpStep::More {}
    bytes
}

/// A state that was read is one that commands can go on with: expiry, removal, growth.
fn live_on(mut store: Store, mut other: Store) {
    let ctx = ApplyContext { index: LogIndex(9), now: UnixMillis(1 << 41), seed: 3 };
    for state in [&mut store, &mut other] {
        state.expire_due(&ctx, 1000);
        let mut keys = Vec::new();
        state.keys(DatabaseId(0), UnixMillis(0), b"*", |key| keys.push(key.to_vec()));
        keys.sort();
        for key in keys {
            for name in [&b"APPEND"[..], b"HSET", b"DEL"] {
                let line = [name, &key, b"f", b"v"].concat();
                let ends = [name.len(), name.len() + key.len(), line.len() - 1, line.len()];
                let count = match name {
                    b"APPEND" => 3,
                    b"HSET" => 4,
                    _ => 2,
                };
                let mut start = 0;
                let spans = ends[..count].iter().map(|end| {
                    let len = u32::try_from(end - start).unwrap_or(0);
                    let span = Span { start: u32::try_from(start).unwrap_or(0), len };
                    start = *end;
                    span
                });
                let spans: Vec<Span> = spans.collect();
                let _outcome =
                    state.apply(&ctx, Args::new(&line, &spans), &mut ReplyWriter::discard());
            }
        }
    }
    assert_eq!(store.digest(), other.digest(), "two loads of one dump part ways");
}

/// Dumps of stores with every kind of value.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let runs: [&[&[&[u8]]]; 4] = [
        &[],
        &[&[b"SET", b"k", b"v"], &[b"SET", b"t", b"12", b"PX", b"5000"]],
        &[
            &[b"HSET", b"h", b"f", b"v", b"g", b"w"],
            &[b"HPEXPIRE", b"h", b"90", b"FIELDS", b"1", b"f"],
            &[b"SET", b"{h}s", b"1"],
            &[b"RPUSH", b"l", b"one", b"2"],
            &[b"SADD", b"i", b"1", b"-70000"],
            &[b"SADD", b"m", b"one", b"2"],
            &[b"ZADD", b"z", b"1", b"one", b"-inf", b"two"],
        ],
        &[
            &[b"XADD", b"e", b"1-1", b"name", b"value"],
            &[b"XADD", b"e", b"1-2", b"name", b"12"],
            &[b"XGROUP", b"CREATE", b"e", b"g", b"0"],
            &[b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", b"e", b">"],
            &[b"XDEL", b"e", b"1-1"],
        ],
    ];
    let mut seeds = Vec::new();
    for commands in runs {
        let mut store = Store::new(CONFIG);
        let ctx = ApplyContext { index: LogIndex(1), now: UnixMillis(1000), seed: 1 };
        store.watch(&ctx, keystead_store::WatchId(3), [&b"k"[..]]);
        for command in commands {
            let _outcome = super::commands::apply(&mut store, &ctx, command, &mut Vec::new());
        }
        let mut large: Vec<Vec<u8>> = vec![b"HSET".to_vec(), b"big".to_vec()];
        for field in 0..commands.len() * 300 {
            large.extend([format!("field{field}").into_bytes(), vec![b'x'; 10]]);
        }
        let large: Vec<&[u8]> = large.iter().map(Vec::as_slice).collect();
        let _outcome = super::commands::apply(&mut store, &ctx, &large, &mut Vec::new());
        let dump = dumped(&mut store);
        if dump.len() < 4000 {
            seeds.push([&[0; 9][..], &dump].concat());
            seeds.push([&[1; 9][..], &dump].concat());
        }
    }
    seeds
}
