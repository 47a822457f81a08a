//! LPOS: where an element stands.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::error::CommandError;
use crate::number::parse_integer;
use crate::value::list::{List, Side};

struct Options {
    /// From where indexes are looked through.
    side: Side,
    /// So many matches are passed over.
    skipped: usize,
    /// Most matches that are answered; `None`: one, and not as an array.
    count: Option<usize>,
    /// Most elements that are compared.
    compared_max: usize,
}

pub(crate) fn lpos(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let options = parse(args.from(3))?;
    let list = reader.kind::<List>(&args[1])?;
    let found = list.into_iter().flat_map(|list| {
        let last = list.len() - 1;
        let elements = list.iter(options.side).take(options.compared_max).enumerate();
        elements
            .filter(|(_, element)| *element == &args[2])
            .map(move |(at, _)| if options.side == Side::Left { at } else { last - at })
    });
    let found: Vec<usize> = found.skip(options.skipped).take(options.count.unwrap_or(1)).collect();
    match (options.count, found.first()) {
        (None, None) => reply.null(),
        (None, Some(at)) => reply.integer(*at as i64),
        (Some(_), _) => {
            reply.array(found.len());
            found.iter().for_each(|at| reply.integer(*at as i64));
        }
    }
    Ok(())
}

fn parse(mut args: Args<'_>) -> Result<Options, CommandError> {
    const RANK_ZERO: &str = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
                             or use negative to start from the end of the list";
    let mut options =
        Options { side: Side::Left, skipped: 0, count: None, compared_max: usize::MAX };
    while let Some(option) = args.get(0) {
        let number = args.get(1).ok_or(CommandError::Syntax)?;
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        if is(b"RANK") {
            let rank = parse_integer(number).ok_or(CommandError::NotAnInteger)?;
            options.side = if rank < 0 { Side::Right } else { Side::Left };
            options.skipped = match rank {
                0 => return Err(CommandError::Text { text: RANK_ZERO }),
                // Redis 7.0 cannot turn its sign, and takes the first match from the tail.
                i64::MIN => 0,
                rank => limit(rank.unsigned_abs() - 1),
            };
        } else if is(b"COUNT") {
            let count = not_negative(number, "ERR COUNT can't be negative")?;
            options.count = Some(if count == 0 { usize::MAX } else { count });
        } else if is(b"MAXLEN") {
            let compared = not_negative(number, "ERR MAXLEN can't be negative")?;
            options.compared_max = if compared == 0 { usize::MAX } else { compared };
        } else {
            return Err(CommandError::Syntax);
        }
        args = args.from(2);
    }
    Ok(options)
}

fn not_negative(number: &[u8], text: &'static str) -> Result<usize, CommandError> {
    let number = parse_integer(number).and_then(|number| u64::try_from(number).ok());
    number.map(limit).ok_or(CommandError::Text { text })
}

/// A bound: past what can be counted there is none.
fn limit(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
