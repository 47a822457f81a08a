//! Commands that another node forwards, and its answers: nothing enters a log that a replica cannot apply (INV-N3).

use keystead_resp::encode;
use keystead_types::{ApplyContext, LogIndex, UnixMillis};

use crate::input::Input;

/// Words with a meaning of their own in a log.
const INTERNAL: [&[u8]; 11] = [
    b"MULTI",
    b"EXEC",
    b"KEYSTEAD.WATCH",
    b"KEYSTEAD.UNWATCH",
    b"KEYSTEAD.EXPIRE",
    b"KEYSTEAD.AWAIT",
    b"KEYSTEAD.UNAWAIT",
    b"KEYSTEAD.ALIVE",
    b"KEYSTEAD.SUSPEND",
    b"KEYSTEAD.",
    b"EXEC",
];

/// The first byte decides: the bytes as they are, a call around the run that they are, or one around commands of the
/// table and of the log's own.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.u8();
    let context = ApplyContext { index: LogIndex(9), now: UnixMillis(1_000_000), seed: 7 };
    match choice & 3 {
        0 => {
            let rest = input.rest();
            keystead_node::fuzzing::forwarded_call(rest, context);
            keystead_node::fuzzing::forwarded_answer(rest);
        }
        1 => keystead_node::fuzzing::forwarded_call(&call(input.rest(), choice), context),
        _ => keystead_node::fuzzing::forwarded_call(&call(&commands(input), choice), context),
    }
}

/// A run of commands, a third of them of the log's own.
fn commands(mut input: Input<'_>) -> Vec<u8> {
    let mut run = Vec::new();
    for _ in 0..40 {
        if input.is_empty() {
            break;
        }
        let mut words = super::commands::command(&mut input);
        if input.u8().is_multiple_of(3) {
            words[0] = input.one_of(&INTERNAL);
            let least = if input.u8() & 1 == 0 { 1 } else { words.len() };
            words.truncate(least);
        }
        encode::command(&mut run, words);
    }
    run
}

/// A call of one part that holds `commands`.
fn call(commands: &[u8], choice: u8) -> Vec<u8> {
    let length = u32::try_from(commands.len()).unwrap_or(0);
    let form = 2 + (choice >> 1 & 1);
    [
        &[7; 8][..],
        &[1, 0, 0, 0, choice >> 2 & 1, 0, 1, 0],
        &5000_u32.to_le_bytes(),
        &length.to_le_bytes(),
        &[form],
        commands,
    ]
    .concat()
}

/// Runs of commands, alone and in calls, and an answer.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let runs: [&[&[&[u8]]]; 6] = [
        &[&[b"SET", b"k", b"v"], &[b"GET", b"k"]],
        &[&[b"MULTI"], &[b"INCR", b"n"], &[b"HSET", b"h", b"f", b"v"], &[b"EXEC"]],
        &[&[b"KEYSTEAD.WATCH", b"5", b"k"], &[b"MULTI"], &[b"SET", b"k", b"w"], &[b"EXEC", b"5"]],
        &[
            &[b"SET", b"k", b"v", b"PX", b"1"],
            &[b"KEYSTEAD.EXPIRE", b"10"],
            &[b"KEYSTEAD.UNWATCH", b"5"],
        ],
        &[&[b"HSET", b"h", b"f", b"v"], &[b"HPEXPIRE", b"h", b"10", b"FIELDS", b"1", b"f"]],
        &[&[b"NO-SUCH"], &[b"SET", b"k"], &[b"PING"], &[b"EVAL", b"x", b"0"]],
    ];
    let mut seeds = Vec::new();
    for commands in runs {
        let mut run = Vec::new();
        for command in commands {
            encode::command(&mut run, command.iter().copied());
        }
        seeds.push([&[0][..], &call(&run, 0)].concat());
        seeds.push([&[5][..], &run].concat());
    }
    seeds.extend([2_u8, 3, 6].map(|choice| (choice..=250).step_by(3).collect()));
    seeds.push([&[0; 18][..], &[1, 0, 5, 0, 0, 0], b"+OK\r\n"].concat());
    seeds
}
