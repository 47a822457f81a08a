//! BITFIELD, BITFIELD_RO: integers of any width within a string.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::limits::BULK_BYTES_MAX;

use crate::command::string::append::change_string;
use crate::command::{Reader, Writer};
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::number::parse_integer;

/// One operation on one integer.
#[derive(Clone, Copy)]
struct Operation {
    action: Action,
    kind: Kind,
    offset: usize,
    overflow: Overflow,
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

/// `i8` or `u63`: a sign and a width in bits.
#[derive(Clone, Copy)]
struct Kind {
    is_signed: bool,
    bits: u32,
}

/// What happens to a number that does not fit.
#[derive(Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

pub(crate) fn bitfield(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let operations = parse(args.from(2))?;
    let ends = operations.iter().filter(|op| !matches!(op.action, Action::Get));
    let written = ends.map(|op| (op.offset + op.kind.bits as usize).div_ceil(8)).max();
    let current = writer.string(&args[1])?;
    reply.array(operations.len());
    let Some(len_min) = written else {
        let bytes = current.unwrap_or_default();
        for operation in operations {
            reply.integer(operation.kind.value_of(operation.read(bytes)));
        }
        return Ok(());
    };
    let grows = current.map_or(0, <[u8]>::len) < len_min;
    let is_told = change_string(writer, &args[1], len_min, |bytes| {
        let mut is_changed = false;
        for operation in &operations {
            let before = operation.read(bytes);
            match operation.run(bytes) {
                Some(number) => {
                    let is_write = !matches!(operation.action, Action::Get);
                    is_changed |= is_write && (grows || operation.read(bytes) != before);
                    reply.integer(number);
                }
                None => reply.null(),
            }
        }
        (Change::of(is_changed), is_changed)
    });
    if is_told {
        writer.notify(EventClass::String, "setbit", &args[1]);
    }
    Ok(())
}

pub(crate) fn bitfield_ro(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let operations = parse(args.from(2))?;
    if operations.iter().any(|operation| !matches!(operation.action, Action::Get)) {
        return Err(CommandError::BitfieldReadOnly);
    }
    let bytes = reader.string(&args[1])?.unwrap_or_default();
    reply.array(operations.len());
    for operation in operations {
        reply.integer(operation.kind.value_of(operation.read(bytes)));
    }
    Ok(())
}

impl Operation {
    /// The bits at the operation's place; beyond the string there are zeros.
    fn read(&self, bytes: &[u8]) -> u64 {
        (self.offset..self.offset + self.kind.bits as usize).fold(0, |number, at| {
            let byte = bytes.get(at / 8).copied().unwrap_or(0);
            number << 1 | u64::from(byte >> (7 - at % 8) & 1)
        })
    }

    fn write(&self, bytes: &mut [u8], number: u64) {
        for bit in 0..self.kind.bits {
            let at = self.offset + bit as usize;
            let mask = 0x80 >> (at % 8);
            if number >> (self.kind.bits - 1 - bit) & 1 == 1 {
                bytes[at / 8] |= mask;
            } else {
                bytes[at / 8] &= !mask;
            }
        }
    }

    /// The reply's number; `None` if it did not fit and nothing was written.
    fn run(&self, bytes: &mut [u8]) -> Option<i64> {
        let old = self.kind.value_of(self.read(bytes));
        let wanted = match self.action {
            Action::Get => return Some(old),
            // An unsigned field takes a negative number as the great one with the same bits.
            Action::Set(number) if !self.kind.is_signed => i128::from(number.cast_unsigned()),
            Action::Set(number) => i128::from(number),
            Action::Add(delta) => i128::from(old) + i128::from(delta),
        };
        let new = self.kind.fitted(wanted, self.overflow)?;
        self.write(bytes, new);
        Some(if matches!(self.action, Action::Set(_)) { old } else { self.kind.value_of(new) })
    }
}

impl Kind {
    fn parse(text: &[u8]) -> Result<Self, CommandError> {
        let (is_signed, digits) = match text {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return Err(CommandError::BitfieldType),
        };
        let bits = parse_integer(digits).and_then(|bits| u32::try_from(bits).ok());
        let bits_max = if is_signed { 64 } else { 63 };
        let bits = bits.filter(|bits| (1..=bits_max).contains(bits));
        Ok(Self { is_signed, bits: bits.ok_or(CommandError::BitfieldType)? })
    }

    /// The number that these bits stand for.
    const fn value_of(self, bits: u64) -> i64 {
        let unused = 64 - self.bits;
        if self.is_signed { (bits << unused).cast_signed() >> unused } else { bits.cast_signed() }
    }

    /// The bits of `number` once it fits.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "wrapping is meant"
    )]
    const fn fitted(self, number: i128, overflow: Overflow) -> Option<u64> {
        let (min, max) = if self.is_signed {
            (-(1i128 << (self.bits - 1)), (1i128 << (self.bits - 1)) - 1)
        } else {
            (0, (1i128 << self.bits) - 1)
        };
        let fitted = match overflow {
            _ if min <= number && number <= max => number,
            Overflow::Fail => return None,
            Overflow::Wrap => number,
            Overflow::Saturate if number > max => max,
            Overflow::Saturate => min,
        };
        Some((fitted as u64) & (u64::MAX >> (64 - self.bits)))
    }
}

fn parse(args: Args<'_>) -> Result<Vec<Operation>, CommandError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = args;
    while let Some(word) = rest.get(0) {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"OVERFLOW") && rest.len() > 1 {
            overflow = parse_overflow(&rest[1])?;
            rest = rest.from(2);
            continue;
        }
        let width = if is(b"GET") {
            3
        } else if is(b"SET") || is(b"INCRBY") {
            4
        } else {
            return Err(CommandError::Syntax);
        };
        if rest.len() < width {
            return Err(CommandError::Syntax);
        }
        let kind = Kind::parse(&rest[1])?;
        let offset = parse_field_offset(&rest[2], kind)?;
        let number = || parse_integer(&rest[3]).ok_or(CommandError::NotAnInteger);
        let action = match width {
            3 => Action::Get,
            _ if is(b"SET") => Action::Set(number()?),
            _ => Action::Add(number()?),
        };
        operations.push(Operation { action, kind, offset, overflow });
        rest = rest.from(width);
    }
    Ok(operations)
}

fn parse_overflow(word: &[u8]) -> Result<Overflow, CommandError> {
    if word.eq_ignore_ascii_case(b"WRAP") {
        Ok(Overflow::Wrap)
    } else if word.eq_ignore_ascii_case(b"SAT") {
        Ok(Overflow::Saturate)
    } else if word.eq_ignore_ascii_case(b"FAIL") {
        Ok(Overflow::Fail)
    } else {
        Err(CommandError::BitfieldOverflow)
    }
}

/// The first bit of a field: a number of bits, or `#` and a number of fields of this width.
fn parse_field_offset(text: &[u8], kind: Kind) -> Result<usize, CommandError> {
    let (digits, unit) = match text {
        [b'#', digits @ ..] => (digits, kind.bits as usize),
        digits => (digits, 1),
    };
    let number = parse_integer(digits).and_then(|number| usize::try_from(number).ok());
    let offset = number.and_then(|number| number.checked_mul(unit));
    // As in Redis only the first bit is checked: the last byte may lie a little past the bound.
    let fits = |offset: &usize| offset / 8 < BULK_BYTES_MAX;
    offset.filter(fits).ok_or(CommandError::BitOffset)
}
