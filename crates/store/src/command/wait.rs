//! Commands that wait when they find nothing: trying them, and serving who waits once a key is ready.
//! Owns: which these commands are, how long each waits, what it answers where nothing may wait (MULTI, scripts).
//! Never: who waits (see `waiters.rs`), what popping means (see the families), a clock: when the time is over is the
//! gateway's to say, which withdraws the waiter then.

use keystead_resp::{Args, ReplyWriter, RunDecoder, encode};
use keystead_types::ApplyContext;

use super::{Command, Reader, Writer, list, sorted_set, stream};
use crate::entry::Entry;
use crate::error::CommandError;
use crate::keyspace::Keyspace;
use crate::number::extended::{Extended, Parsed};
use crate::number::parse_integer;
use crate::value::list::List;
use crate::value::sorted_set::SortedSet;
use crate::value::stream::Stream;
use crate::waiters::{Answer, WaiterId};

/// Commands that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the command of that name")]
pub enum WaitCommand {
    BLMove,
    BLMPop,
    BLPop,
    BRPop,
    BRPopLPush,
    BZMPop,
    BZPopMax,
    BZPopMin,
    XRead,
    XReadGroup,
}

/// How long a client that finds nothing wants to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: XREAD without BLOCK.
    None,
    /// So many milliseconds, at least one.
    Millis(u64),
    /// Until there is something.
    Endless,
}

/// Which of a command's keys are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope<'a> {
    /// All.
    Whole,
    /// The one that has become ready.
    Only(&'a [u8]),
}

impl Scope<'_> {
    /// Of a command's keys those that are looked at.
    pub(crate) fn of<'k>(self, keys: Args<'k>) -> Args<'k> {
        match self {
            Self::Whole => keys,
            Self::Only(key) => {
                let place = keys.iter().position(|candidate| candidate == key);
                place.map_or(keys.up_to(0), |place| keys.from(place).up_to(1))
            }
        }
    }

    /// True if this key is looked at.
    pub(crate) fn has(self, key: &[u8]) -> bool {
        match self {
            Self::Whole => true,
            Self::Only(only) => only == key,
        }
    }
}

impl WaitCommand {
    /// How long the command asks to wait, provided that it is one which the store would take.
    ///
    /// # Errors
    /// If its time to wait, or for XREAD and XREADGROUP any argument, is malformed.
    pub fn patience(self, args: Args<'_>) -> Result<Patience, CommandError> {
        let last = args.len() - 1;
        match self {
            Self::BLMove => seconds(&args[5]),
            Self::BLMPop | Self::BZMPop => seconds(&args[1]),
            Self::BLPop | Self::BRPop | Self::BRPopLPush | Self::BZPopMax | Self::BZPopMin => {
                seconds(&args[last])
            }
            Self::XRead | Self::XReadGroup => stream::read::patience(self, args),
        }
    }

    /// True if it waits because an option says so.
    pub(crate) fn has_block(self, args: Args<'_>) -> bool {
        matches!(self, Self::XRead | Self::XReadGroup)
            && self.patience(args).is_ok_and(|patience| patience != Patience::None)
    }

    /// Does what the command asks for if there is something to do it with; false, and no answer, if not.
    pub(crate) fn attempt(
        self,
        writer: &mut Writer<'_>,
        args: Args<'_>,
        scope: Scope<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<bool, CommandError> {
        match self {
            Self::BLMove => list::wait::blmove(writer, args, reply),
            Self::BLMPop => list::wait::blmpop(writer, args, scope, reply),
            Self::BLPop => list::wait::blpop(writer, args, scope, reply),
            Self::BRPop => list::wait::brpop(writer, args, scope, reply),
            Self::BRPopLPush => list::wait::brpoplpush(writer, args, reply),
            Self::BZMPop => sorted_set::wait::bzmpop(writer, args, scope, reply),
            Self::BZPopMax => sorted_set::wait::bzpopmax(writer, args, scope, reply),
            Self::BZPopMin => sorted_set::wait::bzpopmin(writer, args, scope, reply),
            Self::XRead => writer.reading(|reader| stream::read::xread(reader, args, scope, reply)),
            Self::XReadGroup => stream::read::xreadgroup(writer, args, scope, reply),
        }
    }

    /// Runs the command where nothing may wait: who finds nothing is told so at once.
    pub(crate) fn run(
        self,
        writer: &mut Writer<'_>,
        args: Args<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<(), CommandError> {
        if !self.attempt(writer, args, Scope::Whole, reply)? {
            self.reply_nothing(reply);
        }
        Ok(())
    }

    /// Runs the command if it only reads.
    pub(crate) fn read(
        self,
        reader: &Reader<'_>,
        args: Args<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<(), CommandError> {
        if self != Self::XRead {
            return Err(CommandError::NotInTransaction);
        }
        if !stream::read::xread(reader, args, Scope::Whole, reply)? {
            self.reply_nothing(reply);
        }
        Ok(())
    }

    fn reply_nothing(self, reply: &mut ReplyWriter<'_>) {
        match self {
            Self::BLMove | Self::BRPopLPush => reply.null(),
            _ => reply.null_array(),
        }
    }

    /// The command as it is kept for whoever waits: what depends on the moment at which it came is filled in.
    pub(crate) fn kept(self, reader: &Reader<'_>, args: Args<'_>) -> Vec<u8> {
        let mut kept = Vec::new();
        match self {
            Self::XRead => stream::read::put_resolved(reader, args, &mut kept),
            _ => encode::command(&mut kept, args.iter()),
        }
        kept
    }

    /// The keys that it waits for.
    pub(crate) fn keys_awaited<'a>(
        self,
        row: &'static Command,
        args: Args<'a>,
    ) -> impl Iterator<Item = &'a [u8]> {
        let most = match self {
            // Where an element goes to is not waited for.
            Self::BLMove | Self::BRPopLPush => 1,
            _ => usize::MAX,
        };
        row.keys(args).take(most)
    }

    /// True if this is what the command takes from.
    fn takes(self, entry: &Entry) -> bool {
        match self {
            Self::BLMove | Self::BLMPop | Self::BLPop | Self::BRPop | Self::BRPopLPush => {
                entry.as_kind::<List>().is_some()
            }
            Self::BZMPop | Self::BZPopMax | Self::BZPopMin => {
                entry.as_kind::<SortedSet>().is_some()
            }
            Self::XRead | Self::XReadGroup => entry.as_kind::<Stream>().is_some(),
        }
    }
}

/// Serves who waits for keys that are ready, until no key is (INV-B2). What serving one makes ready, as BLMOVE does, comes
/// behind what was ready before; it ends, since whoever is served waits no more (INV-B3).
#[cold]
pub(crate) fn serve(keyspace: &mut Keyspace, ctx: &ApplyContext) {
    let before = keyspace.selected();
    while let Some(key) = keyspace.waiters.take_ready() {
        keyspace.select(key.0);
        let was_there = keyspace.get(ctx.now, &key.1).is_some();
        let mut place = 0;
        while let Some((arrival, id)) = keyspace.waiters.first_from(&key, place) {
            place = arrival + 1;
            serve_one(keyspace, ctx, id, &key.1);
            // The others find nothing.
            if was_there && keyspace.get(ctx.now, &key.1).is_none() {
                break;
            }
        }
    }
    keyspace.select(before);
}

fn serve_one(keyspace: &mut Keyspace, ctx: &ApplyContext, id: WaiterId, key: &[u8]) {
    let Some(waiter) = keyspace.waiters.awake(id) else { return };
    let (kind, protocol) = (waiter.kind, waiter.protocol);
    let is_there = match keyspace.get(ctx.now, key) {
        Some(entry) if kind.takes(entry) => true,
        // A group goes with its stream, and nobody can wait for what a group has not read any more.
        _ if kind == WaitCommand::XReadGroup => false,
        _ => return,
    };
    let command = waiter.command.clone();
    let mut spans = Vec::new();
    let args = RunDecoder::new(&command).next(&mut spans);
    let args = args.ok().flatten().expect("INV-B1: a waiter's command was decoded before");
    let mut bytes = Vec::new();
    let mut reply = ReplyWriter::new(&mut bytes, protocol);
    let result = if is_there {
        kind.attempt(&mut Writer { keyspace, ctx }, args, Scope::Only(key), &mut reply)
    } else {
        Err(CommandError::StreamGone)
    };
    match result {
        Ok(false) => return,
        Ok(true) => {}
        Err(error) => {
            reply.truncate(0);
            reply.error(&error);
        }
    }
    keyspace.waiters.remove(id);
    tell(keyspace, ctx, id, bytes);
}

fn tell(keyspace: &mut Keyspace, ctx: &ApplyContext, id: WaiterId, reply: Vec<u8>) {
    keyspace.effects.served(id, &reply);
    keyspace.waiters.keep_answer(Answer { id, at: ctx.now, reply: reply.into() });
}

/// A time to wait in seconds, as commands on lists and sorted sets take it. As Redis: computed in floats of 80 bits,
/// rounded up to milliseconds; 0 is endless, and Redis 7.0 takes what 63 bits do not hold for negative.
pub(crate) fn seconds(text: &[u8]) -> Result<Patience, CommandError> {
    let millis = match Extended::parse(text).ok_or(CommandError::TimeoutNotAFloat)? {
        Parsed::Finite(seconds) => seconds.thousandfold_ceiling().unwrap_or(i64::MIN),
        Parsed::Infinite => i64::MIN,
    };
    of_millis(millis)
}

/// A time to wait in milliseconds, as commands on streams take it.
pub(crate) fn millis(text: &[u8]) -> Result<Patience, CommandError> {
    of_millis(parse_integer(text).ok_or(CommandError::TimeoutNotAnInteger)?)
}

fn of_millis(millis: i64) -> Result<Patience, CommandError> {
    match u64::try_from(millis) {
        Err(_) => Err(CommandError::TimeoutNegative),
        Ok(0) => Ok(Patience::Endless),
        Ok(millis) => Ok(Patience::Millis(millis)),
    }
}
