//! EVAL, EVALSHA, FCALL and their forms that only read.
//! Owns: their arguments, and what becomes of a script that was stopped. Never: what a script may do.

use std::sync::Arc;

use keystead_resp::{Args, ReplyWriter};
use keystead_script::{Call, Ending, Flags, Program, header, run, sha1_hex};

use crate::command::{Reader, Writer};
use crate::error::{CommandError, ScriptStopped};
use crate::functions::Functions;
use crate::number::parse_integer;

use super::host::{Access, StoreHost};

/// EVAL text numkeys [key ...] [arg ...].
pub(in crate::command) fn eval(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let words = Words::of_script(args)?;
    let text = &args[1];
    let ending = apply(writer, &script(text), &words, reply);
    if !matches!(ending, Err(CommandError::NotAScript { .. })) {
        writer.keyspace.scripts.evaluated(&sha1_hex(text), text);
    }
    ending
}

/// EVALSHA name numkeys [key ...] [arg ...].
pub(in crate::command) fn evalsha(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let words = Words::of_script(args)?;
    let text = writer.keyspace.scripts.get(&args[1]).ok_or(CommandError::NoScript)?;
    apply(writer, &script(&text), &words, reply)
}

/// `EVAL_RO` text numkeys [key ...] [arg ...].
pub(in crate::command) fn eval_ro(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    look(reader, &script(&args[1]), &Words::of_script(args)?, reply)
}

/// `EVALSHA_RO` name numkeys [key ...] [arg ...].
pub(in crate::command) fn evalsha_ro(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let words = Words::of_script(args)?;
    let text = reader.keyspace.scripts.get(&args[1]).ok_or(CommandError::NoScript)?;
    look(reader, &script(&text), &words, reply)
}

/// FCALL function numkeys [key ...] [arg ...].
pub(in crate::command) fn fcall(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let found = Found::look(&writer.keyspace.functions, &args[1])?;
    let words = Words::of_function(args)?;
    apply(writer, &found.runnable(), &words, reply)
}

/// `FCALL_RO` function numkeys [key ...] [arg ...].
pub(in crate::command) fn fcall_ro(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let found = Found::look(&reader.keyspace.functions, &args[1])?;
    let words = Words::of_function(args)?;
    look(reader, &found.runnable(), &words, reply)
}

/// Keys and arguments of a script.
struct Words<'a> {
    keys: Vec<&'a [u8]>,
    args: Vec<&'a [u8]>,
}

impl<'a> Words<'a> {
    fn of_script(args: Args<'a>) -> Result<Self, CommandError> {
        let count = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
        Self::read(args, count)
    }

    fn of_function(args: Args<'a>) -> Result<Self, CommandError> {
        let count = parse_integer(&args[2]).ok_or(CommandError::BadKeyCount)?;
        Self::read(args, count)
    }

    fn read(args: Args<'a>, count: i64) -> Result<Self, CommandError> {
        let count = usize::try_from(count).map_err(|_| CommandError::NegativeKeys)?;
        if count > args.len() - 3 {
            return Err(CommandError::TooManyKeys);
        }
        let keys = args.from(3).iter().take(count).collect();
        Ok(Self { keys, args: args.from(3 + count).iter().collect() })
    }
}

/// What is to be run, and what it says of itself, if it does.
struct Runnable<'a> {
    program: Program<'a>,
    flags: Option<Flags>,
}

/// A text that is no script says nothing of itself; running it tells why.
fn script(text: &[u8]) -> Runnable<'_> {
    Runnable { program: Program::Script { text }, flags: header(text).ok().flatten() }
}

/// A function and its library, held apart from the store that it will change.
struct Found {
    code: Arc<[u8]>,
    name: String,
    flags: Flags,
}

impl Found {
    fn look(functions: &Functions, name: &[u8]) -> Result<Self, CommandError> {
        let (code, row) = functions.find(name).ok_or(CommandError::NoFunction)?;
        Ok(Self { code, name: row.name.clone(), flags: row.flags })
    }

    fn runnable(&self) -> Runnable<'_> {
        let program = Program::Function { code: &self.code, name: &self.name };
        Runnable { program, flags: Some(self.flags) }
    }
}

fn apply(
    writer: &mut Writer<'_>,
    runnable: &Runnable<'_>,
    words: &Words<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let is_read_only = runnable.flags.is_some_and(Flags::is_read_only);
    let may_grow = runnable.flags.is_some_and(|flags| flags.is_read_only() || flags.allows_oom());
    let is_full = writer.keyspace.is_full && !may_grow;
    if is_full && runnable.flags.is_some() {
        // Who says how it is to be run says that it is not to be run so.
        return Err(CommandError::OutOfMemory);
    }
    let (ctx, program) = (writer.ctx, runnable.program);
    let call =
        Call { program, keys: &words.keys, args: &words.args, now_ms: ctx.now.0, seed: ctx.seed };
    writer.keyspace.begin_undo();
    let access = Access::Write { keyspace: &mut *writer.keyspace, ctx, is_read_only, is_full };
    let ending = run(&call, &mut StoreHost::new(access), reply);
    let outcome = match ending {
        Ending::Stopped(_) => writer.keyspace.roll_back(ctx.now),
        _ => {
            writer.keyspace.end_undo();
            true
        }
    };
    settle(ending, if outcome { UNDONE } else { KEPT }, program)
}

const UNDONE: &str = "undone";
const KEPT: &str = "kept, because values too large to be copied beforehand were among it";

fn look(
    reader: &Reader<'_>,
    runnable: &Runnable<'_>,
    words: &Words<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if runnable.flags.is_some_and(|flags| !flags.is_read_only()) {
        return Err(CommandError::ScriptWrites);
    }
    let program = runnable.program;
    let (now_ms, seed) = (reader.now.0, reader.random());
    let call = Call { program, keys: &words.keys, args: &words.args, now_ms, seed };
    let ending = run(&call, &mut StoreHost::new(Access::Read { reader }), reply);
    settle(ending, UNDONE, program)
}

fn settle(ending: Ending, outcome: &'static str, program: Program<'_>) -> Result<(), CommandError> {
    match ending {
        Ending::Returned => Ok(()),
        Ending::Refused(text) => Err(CommandError::NotAScript { text: text.into() }),
        Ending::Failed(text) => Err(CommandError::Script { text: text.into() }),
        Ending::Stopped(limit) => {
            let name = match program {
                Program::Script { text } => sha1_hex(text),
                Program::Function { name, .. } => name.to_owned(),
            };
            let stopped = ScriptStopped { limit, outcome, name: name.into() };
            Err(CommandError::ScriptStopped(Box::new(stopped)))
        }
    }
}
