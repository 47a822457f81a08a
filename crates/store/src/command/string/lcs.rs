//! LCS: the longest common subsequence of two strings.
//! Source: the textbook table of lengths; where two ways are equally long, the choice is that of Redis.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::limits::BULK_BYTES_MAX;

use crate::command::Reader;
use crate::error::CommandError;
use crate::number::parse_integer;

#[derive(Default)]
struct Options {
    is_length: bool,
    is_ranges: bool,
    is_with_lengths: bool,
    length_min: usize,
}

/// A run of bytes that both strings share: where it starts in each, and its length.
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

pub(crate) fn lcs(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let of_key = |key: &[u8]| reader.string(key).map_err(|_| CommandError::LcsNotStrings);
    let a = of_key(&args[1])?.unwrap_or_default();
    let b = of_key(&args[2])?.unwrap_or_default();
    let options = parse(args.from(3))?;
    let table = Lengths::new(a, b)?;
    let total = table.at(a.len(), b.len()) as usize;
    if options.is_length {
        reply.integer(total as i64);
        return Ok(());
    }
    let (text, matches) = table.walk_back(a, b, total);
    if !options.is_ranges {
        reply.bulk(&text);
        return Ok(());
    }
    let shown = || matches.iter().filter(|found| found.len >= options.length_min);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(shown().count());
    for found in shown() {
        reply.array(2 + usize::from(options.is_with_lengths));
        for start in [found.a, found.b] {
            reply.array(2);
            reply.integer(start as i64);
            reply.integer((start + found.len - 1) as i64);
        }
        if options.is_with_lengths {
            reply.integer(found.len as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(total as i64);
    Ok(())
}

fn parse(options: Args<'_>) -> Result<Options, CommandError> {
    let mut parsed = Options::default();
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        if is(b"IDX") {
            parsed.is_ranges = true;
        } else if is(b"LEN") {
            parsed.is_length = true;
        } else if is(b"WITHMATCHLEN") {
            parsed.is_with_lengths = true;
        } else if is(b"MINMATCHLEN") {
            let text = rest.next().ok_or(CommandError::Syntax)?;
            let len = parse_integer(text).ok_or(CommandError::NotAnInteger)?;
            parsed.length_min = usize::try_from(len).unwrap_or(0);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if parsed.is_length && parsed.is_ranges {
        return Err(CommandError::LcsBoth);
    }
    Ok(parsed)
}

/// Lengths of the longest common subsequence of every pair of prefixes.
struct Lengths {
    cells: Vec<u32>,
    width: usize,
}

impl Lengths {
    /// Refuses what would take more memory than the longest string may.
    fn new(a: &[u8], b: &[u8]) -> Result<Self, CommandError> {
        let width = b.len() + 1;
        let cells = (a.len() + 1).checked_mul(width);
        let cells = cells.filter(|cells| cells.saturating_mul(4) <= BULK_BYTES_MAX);
        let mut table = Self { cells: vec![0; cells.ok_or(CommandError::LcsTooLong)?], width };
        for (i, byte_a) in a.iter().enumerate() {
            for (j, byte_b) in b.iter().enumerate() {
                table.cells[(i + 1) * width + j + 1] = if byte_a == byte_b {
                    table.at(i, j) + 1
                } else {
                    table.at(i, j + 1).max(table.at(i + 1, j))
                };
            }
        }
        Ok(table)
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }

    /// The subsequence itself, and its runs from the last to the first.
    fn walk_back(&self, a: &[u8], b: &[u8], total: usize) -> (Vec<u8>, Vec<Match>) {
        let mut text = vec![0; total];
        let mut matches: Vec<Match> = Vec::new();
        let (mut i, mut j, mut left) = (a.len(), b.len(), total);
        while i > 0 && j > 0 && left > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j, left) = (i - 1, j - 1, left - 1);
                text[left] = a[i];
                match matches.last_mut() {
                    Some(run) if run.a == i + 1 && run.b == j + 1 => {
                        *run = Match { a: i, b: j, len: run.len + 1 };
                    }
                    _ => matches.push(Match { a: i, b: j, len: 1 }),
                }
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        (text, matches)
    }
}
