//! Commands: rows of the table with arguments of every sort, applied to two stores.
//!
//! Both come to the same state and give the same replies (INV-R1), replies that a client can read; a dump taken while
//! commands go on is the state at its beginning (INV-D1).

use keystead_resp::{Args, Protocol, ReplyWriter, Span, skip_reply};
use keystead_store::{Digest, DumpStep, Loader, Store, StoreConfig, WatchId, command};
use keystead_types::{ApplyContext, LogIndex, UnixMillis};

use crate::input::Input;

const CONFIG: StoreConfig = StoreConfig { hash_seed: 42, has_every_slot: true };
/// Commands of one run.
const COMMANDS_MAX: usize = 60;
const KEYS: [&[u8]; 6] =
    [b"a", b"b", b"{a}1", b"{a}2", b"", b"a key that is longer than fits beside others"];
const WORDS: [&[u8]; 54] = [
    b"EX",
    b"PX",
    b"EXAT",
    b"PXAT",
    b"KEEPTTL",
    b"NX",
    b"XX",
    b"GT",
    b"LT",
    b"GET",
    b"IFEQ",
    b"PERSIST",
    b"FIELDS",
    b"FNX",
    b"FXX",
    b"REPLACE",
    b"ABSTTL",
    b"WITHVALUES",
    b"MATCH",
    b"COUNT",
    b"NOVALUES",
    b"BIT",
    b"BYTE",
    b"AND",
    b"XOR",
    b"NOT",
    b"OVERFLOW",
    b"SAT",
    b"FAIL",
    b"u8",
    b"i64",
    b"#3",
    b"LEN",
    b"IDX",
    b"MINMATCHLEN",
    b"*",
    b"STREAMS",
    b">",
    b"$",
    b"+",
    b"-",
    b"MAXLEN",
    b"~",
    b"GROUP",
    b"g",
    b"c",
    b"MKSTREAM",
    b"FORCE",
    b"JUSTID",
    b"IDS",
    b"DELREF",
    b"ACKED",
    b"FULL",
    b"(2",
];
/// Numbers at which something changes. None that makes a value of hundreds of megabytes, which is allowed and slow.
const NUMBERS: [&[u8]; 20] = [
    b"0",
    b"1",
    b"-1",
    b"2",
    b"7",
    b"8",
    b"63",
    b"64",
    b"1000",
    b"1000100",
    b"-1000",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"9223372036854775",
    b"1e10",
    b"0x10",
    b"1.5",
    b"-0",
    b"nan",
];

/// Applies what the bytes say.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut one = Store::new(CONFIG);
    let mut other = Store::new(CONFIG);
    let mut dump: Option<(Digest, Vec<u8>)> = None;
    let mut now = 1_000_000;
    for index in 1..=COMMANDS_MAX as u64 {
        if input.is_empty() {
            break;
        }
        let ctx = ApplyContext { index: LogIndex(index), now: UnixMillis(now), seed: index };
        match input.u8() {
            0..=7 => now += u64::from(input.u16()),
            8..=11 => {
                let limit = input.below(5);
                assert_eq!(one.expire_due(&ctx, limit), other.expire_due(&ctx, limit));
            }
            12..=15 => {
                let (id, key) = (WatchId(u64::from(input.u8() & 3)), input.one_of(&KEYS));
                one.watch(&ctx, id, [key]);
                other.watch(&ctx, id, [key]);
            }
            16..=19 if dump.is_none() => {
                dump = Some((one.digest(), Vec::new()));
                one.begin_dump();
            }
            20..=29 => transaction(&mut input, &ctx, &mut one, &mut other),
            _ => {
                let command = command(&mut input);
                both(&ctx, &mut one, &mut other, &command);
            }
        }
        let target = usize::from(input.u8());
        step_dump(&mut one, &mut dump, target);
    }
    assert_eq!(one.digest(), other.digest(), "INV-R1: two stores part ways");
    while dump.is_some() {
        step_dump(&mut one, &mut dump, 4096);
    }
}

fn step_dump(store: &mut Store, dump: &mut Option<(Digest, Vec<u8>)>, target: usize) {
    let Some((_, bytes)) = dump else { return };
    if store.dump_step(bytes, target) == DumpStep::More {
        return;
    }
    let Some((digest, bytes)) = dump.take() else { return };
    let mut loader = Loader::new(CONFIG);
    let loaded = loader.feed(&bytes).and_then(|()| loader.finish());
    let loaded = loaded.expect("what was dumped can be read");
    assert_eq!(
        loaded.digest(),
        digest,
        "INV-D1: the dump holds another state than that of its beginning"
    );
}

fn both(ctx: &ApplyContext, one: &mut Store, other: &mut Store, command: &[&[u8]]) {
    let (mut reply, mut second) = (Vec::new(), Vec::new());
    let outcome = apply(one, ctx, command, &mut reply);
    assert_eq!(apply(other, ctx, command, &mut second), outcome, "outcomes of {}", shown(command));
    assert_eq!(reply, second, "INV-R1: replies to {}", shown(command));
    let skipped = skip_reply(&reply);
    assert_eq!(skipped, Ok(Some(reply.len())), "{} to {}", reply.escape_ascii(), shown(command));
}

fn transaction(input: &mut Input<'_>, ctx: &ApplyContext, one: &mut Store, other: &mut Store) {
    let commands: Vec<Vec<&[u8]>> = (0..input.below(4)).map(|_| command(input)).collect();
    let watches = [WatchId(u64::from(input.u8() & 3))];
    let lines: Vec<(Vec<u8>, Vec<Span>)> = commands.iter().map(|command| line(command)).collect();
    let args: Vec<Args<'_>> = lines.iter().map(|(bytes, spans)| Args::new(bytes, spans)).collect();
    let (mut reply, mut second) = (Vec::new(), Vec::new());
    let mut writer = ReplyWriter::new(&mut reply, Protocol::Resp2);
    let outcome = one.apply_transaction(ctx, &args, &watches, &mut writer);
    let mut writer = ReplyWriter::new(&mut second, Protocol::Resp2);
    assert_eq!(other.apply_transaction(ctx, &args, &watches, &mut writer), outcome);
    assert_eq!(reply, second, "INV-R1: replies to a transaction");
    assert_eq!(skip_reply(&reply), Ok(Some(reply.len())), "{}", reply.escape_ascii());
}

/// A row of the table with as many arguments as it takes, or nearly; keys where keys belong, mostly.
pub(crate) fn command<'a>(input: &mut Input<'a>) -> Vec<&'a [u8]> {
    let row = &command::TABLE[input.below(command::TABLE.len())];
    let mut words: Vec<&[u8]> = vec![row.name.as_bytes()];
    let mut arity = row.arity;
    if !row.subcommands.is_empty() {
        let row = &row.subcommands[input.below(row.subcommands.len())];
        words.extend(row.name.split_once('|').map(|(_, name)| name.as_bytes()));
        arity = row.arity;
    }
    let least = usize::try_from(arity.unsigned_abs()).unwrap_or(1);
    let more = if arity < 0 { input.below(7) } else { input.below(8) / 7 };
    while words.len() < least + more {
        let is_first = words.len() == 1;
        words.push(argument(input, is_first));
    }
    words
}

fn argument<'a>(input: &mut Input<'a>, is_first: bool) -> &'a [u8] {
    match input.u8() % 8 {
        0..=1 => input.one_of(&KEYS),
        2..=5 if is_first => input.one_of(&KEYS),
        2..=3 => input.one_of(&NUMBERS),
        4 => input.one_of(&WORDS),
        5 => [&b"a"[..], b"b", b"c"][input.below(3)],
        _ => input.piece(80),
    }
}

pub(crate) fn apply(
    store: &mut Store,
    ctx: &ApplyContext,
    command: &[&[u8]],
    reply: &mut Vec<u8>,
) -> keystead_store::Outcome {
    let (bytes, spans) = line(command);
    store.apply(ctx, Args::new(&bytes, &spans), &mut ReplyWriter::new(reply, Protocol::Resp3))
}

fn line(command: &[&[u8]]) -> (Vec<u8>, Vec<Span>) {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for word in command {
        let start = u32::try_from(bytes.len()).unwrap_or(0);
        spans.push(Span { start, len: u32::try_from(word.len()).unwrap_or(0) });
        bytes.extend_from_slice(word);
    }
    (bytes, spans)
}

fn shown(command: &[&[u8]]) -> String {
    let words = command.iter().map(|word| word.escape_ascii().to_string());
    words.collect::<Vec<_>>().join(" ")
}

/// Walks through the table.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let walk = |step: u8| (0..300_u16).map(|n| n.to_le_bytes()[0].wrapping_mul(step)).collect();
    [1, 3, 37, 101, 201].map(walk).to_vec()
}
