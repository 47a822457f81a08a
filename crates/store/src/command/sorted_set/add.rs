//! ZADD, ZINCRBY: setting scores.

use keystead_resp::{Args, ReplyWriter};
use smallvec::SmallVec;

use super::put_score;
use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::number::float::parse_float;
use crate::table::Hasher;
use crate::value::sorted_set::{SortedSet, Updated};

/// Options of ZADD.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(in crate::command) struct Options {
    is_if_absent: bool,
    is_if_present: bool,
    is_if_greater: bool,
    is_if_less: bool,
    counts_changes: bool,
    is_increment: bool,
}

impl Options {
    /// Takes the option if it is one.
    fn accept(&mut self, word: &[u8]) -> bool {
        let options: [(&[u8], &mut bool); 6] = [
            (b"NX", &mut self.is_if_absent),
            (b"XX", &mut self.is_if_present),
            (b"GT", &mut self.is_if_greater),
            (b"LT", &mut self.is_if_less),
            (b"CH", &mut self.counts_changes),
            (b"INCR", &mut self.is_increment),
        ];
        let found = options.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
        found.map(|(_, is_set)| *is_set = true).is_some()
    }

    /// Takes the options that GEOADD has, too.
    pub(in crate::command) fn accept_for_places(&mut self, word: &[u8]) -> bool {
        let names: [&[u8]; 3] = [b"NX", b"XX", b"CH"];
        names.iter().any(|name| word.eq_ignore_ascii_case(name)) && self.accept(word)
    }

    /// True if no member could be set.
    pub(in crate::command) const fn is_contradictory(self) -> bool {
        self.is_if_absent && self.is_if_present
    }

    fn check(self, pairs: usize) -> Result<(), CommandError> {
        let orders = usize::from(self.is_if_greater)
            + usize::from(self.is_if_less)
            + usize::from(self.is_if_absent);
        if self.is_contradictory() {
            return Err(CommandError::ScoreNxAndXx);
        }
        if orders > 1 {
            return Err(CommandError::ScoreConditions);
        }
        if self.is_increment && pairs > 1 {
            return Err(CommandError::ScoreIncrementPairs);
        }
        Ok(())
    }

    /// The score that a member gets, `None` if it stays as it is.
    fn decide(self, old: Option<f64>, given: f64) -> Result<Option<f64>, CommandError> {
        let Some(old) = old else { return Ok((!self.is_if_present).then_some(given)) };
        if self.is_if_absent {
            return Ok(None);
        }
        let new = if self.is_increment { old + given } else { given };
        if new.is_nan() {
            return Err(CommandError::ScoreNotANumber);
        }
        let is_refused = (self.is_if_less && new >= old) || (self.is_if_greater && new <= old);
        Ok((!is_refused).then_some(new))
    }
}

pub(crate) fn zadd(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    add(writer, args, reply, Options::default())
}

pub(crate) fn zincrby(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    add(writer, args, reply, Options { is_increment: true, ..Options::default() })
}

fn add(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    mut options: Options,
) -> Result<(), CommandError> {
    let mut pairs = args.from(2);
    while pairs.get(0).is_some_and(|word| options.accept(word)) {
        pairs = pairs.from(1);
    }
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(CommandError::Syntax);
    }
    options.check(pairs.len() / 2)?;
    // All of them before the first is set: nothing is done if one is wrong.
    let scores: Result<SmallVec<[f64; 8]>, _> = pairs
        .iter()
        .step_by(2)
        .map(|text| parse_float(text).ok_or(CommandError::NotAFloat))
        .collect();
    let scores = scores?;
    if options.is_increment {
        let sum = writer.edit(&args[1], |set: &mut SortedSet, hasher| {
            match set_score(set, hasher, (&pairs[1], scores[0]), options) {
                Ok((updated, score)) => {
                    let is_changed = updated != Updated::Kept;
                    (Change::of(is_changed), Ok((is_changed, score)))
                }
                Err(error) => (Change::Unchanged, Err(error)),
            }
        })??;
        let (is_changed, score) = sum;
        if is_changed {
            writer.notify(EventClass::SortedSet, "zincr", &args[1]);
        }
        match score {
            Some(score) => put_score(reply, score),
            None => reply.null(),
        }
        return Ok(());
    }
    let names = pairs.iter().skip(1).step_by(2);
    set_scores(writer, &args[1], names.zip(scores), (options, reply))
}

/// Sets the scores of members and answers how many are new, or changed if the options say so.
pub(in crate::command) fn set_scores<'a>(
    writer: &mut Writer<'_>,
    key: &[u8],
    members: impl Iterator<Item = (&'a [u8], f64)>,
    (options, reply): (Options, &mut ReplyWriter<'_>),
) -> Result<(), CommandError> {
    let (added, moved) = writer.edit(key, |set: &mut SortedSet, hasher| {
        let (mut added, mut moved) = (0, 0);
        for member in members {
            match set_score(set, hasher, member, options) {
                Ok((Updated::Added, _)) => added += 1,
                Ok((Updated::Moved, _)) => moved += 1,
                Ok((Updated::Kept, _)) => {}
                Err(error) => return (Change::of(added + moved > 0), Err(error)),
            }
        }
        (Change::of(added + moved > 0), Ok((added, moved)))
    })??;
    if added + moved > 0 {
        writer.notify(EventClass::SortedSet, "zadd", key);
    }
    reply.integer(if options.counts_changes { added + moved } else { added });
    Ok(())
}

/// What became of the member, and the score that it was given, `None` if an option forbade it.
fn set_score(
    set: &mut SortedSet,
    hasher: &Hasher,
    (name, given): (&[u8], f64),
    options: Options,
) -> Result<(Updated, Option<f64>), CommandError> {
    let mut decided = Ok(None);
    let updated = set.update(hasher, name, |old| {
        decided = options.decide(old, given);
        decided.as_ref().ok().copied().flatten()
    });
    Ok((updated, decided?))
}
