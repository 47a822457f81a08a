//! What the tests of the store share: command lines to a store and back.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use keystead_resp::{Args, Protocol, ReplyWriter, Span};
use keystead_store::{DumpStep, LoadError, Loader, Outcome, Store, StoreConfig, WatchId};
use keystead_types::{ApplyContext, LogIndex, UnixMillis};

pub(crate) const CONFIG: StoreConfig = StoreConfig { hash_seed: 42, has_every_slot: true };

/// Calls `run` with the command line as the decoder would give it.
pub(crate) fn with_args<R>(command: &[impl AsRef<[u8]>], run: impl FnOnce(Args<'_>) -> R) -> R {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for arg in command {
        let start = u32::try_from(bytes.len()).unwrap();
        spans.push(Span { start, len: u32::try_from(arg.as_ref().len()).unwrap() });
        bytes.extend_from_slice(arg.as_ref());
    }
    run(Args::new(&bytes, &spans))
}

pub(crate) fn context(index: u64, now: u64) -> ApplyContext {
    ApplyContext { index: LogIndex(index), now: UnixMillis(now), seed: index }
}

/// Applies one command at `now`; the reply in RESP2.
pub(crate) fn apply(store: &mut Store, now: u64, command: &[impl AsRef<[u8]>]) -> Vec<u8> {
    apply_with_outcome(store, now, command).1
}

/// As [`apply`], with what the store says of it.
pub(crate) fn apply_with_outcome(
    store: &mut Store,
    now: u64,
    command: &[impl AsRef<[u8]>],
) -> (Outcome, Vec<u8>) {
    let mut reply = Vec::new();
    let outcome = with_args(command, |args| {
        store.apply(&context(1, now), args, &mut ReplyWriter::new(&mut reply, Protocol::Resp2))
    });
    (outcome, reply)
}

/// Runs the commands of a MULTI.
pub(crate) fn transact(
    store: &mut Store,
    now: u64,
    commands: &[&[&str]],
    watches: &[u64],
) -> Vec<u8> {
    let mut reply = Vec::new();
    let lines: Vec<(Vec<u8>, Vec<Span>)> = commands
        .iter()
        .map(|command| {
            let (mut bytes, mut spans) = (Vec::new(), Vec::new());
            for arg in *command {
                let start = u32::try_from(bytes.len()).unwrap();
                spans.push(Span { start, len: u32::try_from(arg.len()).unwrap() });
                bytes.extend_from_slice(arg.as_bytes());
            }
            (bytes, spans)
        })
        .collect();
    let args: Vec<_> = lines.iter().map(|(bytes, spans)| Args::new(bytes, spans)).collect();
    let ids: Vec<_> = watches.iter().map(|id| WatchId(*id)).collect();
    let mut writer = ReplyWriter::new(&mut reply, Protocol::Resp2);
    let outcome = store.apply_transaction(&context(1, now), &args, &ids, &mut writer);
    assert_eq!(outcome.is_aborted, reply == b"*-1\r\n");
    reply
}

/// All bytes of a dump of the store as it is.
pub(crate) fn dump(store: &mut Store) -> Vec<u8> {
    store.begin_dump();
    let mut bytes = Vec::new();
    while store.dump_step(&mut bytes, 1000) == DumpStep::More {}
    bytes
}

pub(crate) fn load(bytes: &[u8], piece: usize) -> Result<Store, LoadError> {
    let mut loader = Loader::new(CONFIG);
    for piece in bytes.chunks(piece) {
        loader.feed(piece)?;
    }
    loader.finish()
}
