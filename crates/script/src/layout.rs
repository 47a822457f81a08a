//! The library `struct`: numbers and strings as bytes in the layout that a format describes.
//! Owns: `pack`, `unpack`, `size`. Never: the byte order of the machine; without `<` or `>` it is little endian everywhere.

use mlua::{Lua, Value};

use crate::REPLY_BYTES_MAX;
use crate::function::{Answer, Arguments, Library, Raise};
use crate::number::plain;
use crate::work::Work;

/// Widest integer, bytes.
const INTEGER_BYTES_MAX: usize = 32;
/// Alignment of `!` without a number.
const ALIGNMENT_USUAL: usize = 8;
/// Work of one option of a format.
const OPTION_WORK: usize = 10;
/// Results of one call at most: the stack of a function ends soon after.
const RESULTS_MAX: usize = 7_900;

/// Adds all functions.
pub(crate) fn fill(library: &Library<'_>) -> mlua::Result<()> {
    library.add("pack", |lua, arguments| {
        arguments.metered(|work| {
            work.spend(arguments.bytes(0)?.len() * OPTION_WORK)?;
            let packed = pack(arguments)?;
            Ok(vec![Value::String(lua.create_string(packed)?)])
        })
    });
    library.add("unpack", |lua, arguments| {
        arguments.metered(|work| {
            work.spend(arguments.bytes(0)?.len() * OPTION_WORK)?;
            unpack(lua, arguments, work)
        })
    });
    library.add("size", |_, arguments| {
        arguments.metered(|work| {
            work.spend(arguments.bytes(0)?.len() * OPTION_WORK)?;
            size(arguments)
        })
    });
    Ok(())
}

fn size(arguments: &Arguments<'_>) -> Answer {
    let format = arguments.bytes(0)?;
    let (mut layout, mut total) = (Layout::new(&format), 0usize);
    layout.is_lenient = true;
    while let Some((option, size)) = layout.next(arguments)? {
        total = total.saturating_add(layout.padding(total, option, size));
        if option == b's' {
            return Err(arguments.unfit(0, "option 's' has no fixed size"));
        }
        if option == b'c' && size == 0 {
            return Err(arguments.unfit(0, "option 'c0' has no fixed size"));
        }
        total = total.saturating_add(size);
    }
    #[expect(clippy::cast_precision_loss, reason = "Lua has no other numbers")]
    Ok(vec![Value::Number(total as f64)])
}

/// A format on its way.
struct Layout<'a> {
    format: &'a [u8],
    is_big_endian: bool,
    alignment: usize,
    /// True if letters that mean nothing are passed over: `size` does so.
    is_lenient: bool,
}

impl<'a> Layout<'a> {
    const fn new(format: &'a [u8]) -> Self {
        Self { format, is_big_endian: false, alignment: 1, is_lenient: false }
    }

    /// The next option and its size. Options that only say how the others are to be read are done here.
    fn next(&mut self, arguments: &Arguments<'_>) -> Result<Option<(u8, usize)>, Raise> {
        while let Some((&option, rest)) = self.format.split_first() {
            // The original reads its format as a C string.
            if option == 0 {
                return Ok(None);
            }
            self.format = rest;
            match option {
                b'b' | b'B' | b'x' => return Ok(Some((option, 1))),
                b'h' | b'H' => return Ok(Some((option, 2))),
                b'f' => return Ok(Some((option, 4))),
                b'l' | b'L' | b'T' | b'd' => return Ok(Some((option, 8))),
                b's' => return Ok(Some((option, 0))),
                b'c' => return Ok(Some((option, self.number(1)?))),
                b'i' | b'I' => return Ok(Some((option, self.integer_size()?))),
                b' ' => {}
                b'>' => self.is_big_endian = true,
                b'<' => self.is_big_endian = false,
                b'!' => {
                    let alignment = self.number(ALIGNMENT_USUAL)?;
                    if !alignment.is_power_of_two() {
                        let text = format!("alignment {alignment} is not a power of 2");
                        return Err(Raise::Here(text));
                    }
                    self.alignment = alignment;
                }
                _ if self.is_lenient && option.is_ascii_alphanumeric() => {}
                _ => {
                    let shown = String::from_utf8_lossy(&[option]).into_owned();
                    return Err(arguments.unfit(0, &format!("invalid format option '{shown}'")));
                }
            }
        }
        Ok(None)
    }

    fn integer_size(&mut self) -> Result<usize, Raise> {
        let size = self.number(4)?;
        if size > INTEGER_BYTES_MAX {
            let text = format!("integral size {size} is larger than limit of {INTEGER_BYTES_MAX}");
            return Err(Raise::Here(text));
        }
        Ok(size)
    }

    /// The number that stands next, if one does.
    fn number(&mut self, absent: usize) -> Result<usize, Raise> {
        let length = self.format.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.format.split_at(length);
        self.format = rest;
        if digits.is_empty() {
            return Ok(absent);
        }
        let text = std::str::from_utf8(digits).unwrap_or_default();
        let number: Option<i32> = text.parse().ok();
        let number = number.and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| Raise::Here("integral size overflow".to_owned()))
    }

    /// Bytes to leave out before an option, so that it is aligned.
    fn padding(&self, position: usize, option: u8, size: usize) -> usize {
        if size == 0 || option == b'c' {
            return 0;
        }
        let mask = size.min(self.alignment) - 1;
        (mask + 1).wrapping_sub(position & mask) & mask
    }

    /// Puts bytes that begin with the lowest into the order of the format.
    fn ordered<const N: usize>(&self, mut bytes: [u8; N]) -> [u8; N] {
        if self.is_big_endian {
            bytes.reverse();
        }
        bytes
    }
}

/// A value to be packed is missing; the original has a nil behind the last one.
fn missing(arguments: &Arguments<'_>, at: usize, expected: &str) -> Result<(), Raise> {
    match arguments.get(at) {
        None => Err(arguments.unfit(at, &format!("{expected} expected, got nil"))),
        Some(_) => Ok(()),
    }
}

fn pack(arguments: &Arguments<'_>) -> Result<Vec<u8>, Raise> {
    let format = arguments.bytes(0)?;
    let (mut layout, mut out, mut at) = (Layout::new(&format), Vec::new(), 1);
    while let Some((option, size)) = layout.next(arguments)? {
        if out.len().saturating_add(size) > REPLY_BYTES_MAX {
            return Err(Raise::Here("the packed values are too long".to_owned()));
        }
        out.resize(out.len() + layout.padding(out.len(), option, size), 0);
        match option {
            b'x' => {}
            b'c' | b's' => missing(arguments, at, "string")?,
            _ => missing(arguments, at, "number")?,
        }
        match option {
            b'x' => out.push(0),
            b'c' | b's' => {
                let text = arguments.bytes(at)?;
                let size = if size == 0 { text.len() } else { size };
                let part = text.get(..size);
                out.extend_from_slice(
                    part.ok_or_else(|| arguments.unfit(at + 1, "string too short"))?,
                );
                if option == b's' {
                    out.push(0);
                }
                at += 1;
            }
            b'f' => {
                #[expect(clippy::cast_possible_truncation, reason = "the format asks for it")]
                let number = plain(arguments.number(at)?) as f32;
                out.extend_from_slice(&layout.ordered(number.to_le_bytes()));
                at += 1;
            }
            b'd' => {
                out.extend_from_slice(&layout.ordered(plain(arguments.number(at)?).to_le_bytes()));
                at += 1;
            }
            _ => {
                let mut bytes = [0; INTEGER_BYTES_MAX];
                bytes[..8].copy_from_slice(&as_integer(arguments.number(at)?).to_le_bytes());
                let start = out.len();
                out.extend_from_slice(&bytes[..size]);
                if layout.is_big_endian {
                    out[start..].reverse();
                }
                at += 1;
            }
        }
    }
    Ok(out)
}

/// The low 64 bits of a number.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
#[expect(clippy::cast_sign_loss, reason = "the low bits are what is wanted")]
const fn as_integer(number: f64) -> u64 {
    if number < 0.0 { (number as i64).cast_unsigned() } else { number as u64 }
}

fn unpack(lua: &Lua, arguments: &Arguments<'_>, work: &mut Work) -> Answer {
    let (format, bytes) = (arguments.bytes(0)?, arguments.bytes(1)?);
    let position = arguments.get(2).map_or(Ok(1.0), |_| arguments.number(2))?;
    if position < 1.0 {
        return Err(arguments.unfit(2, "offset must be 1 or greater"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "a position behind the end is refused")]
    #[expect(clippy::cast_sign_loss, reason = "it is not below one")]
    let mut position = position as usize - 1;
    let (mut layout, mut values) = (Layout::new(&format), Vec::new());
    let short = || arguments.unfit(1, "data string too short");
    while let Some((option, mut size)) = layout.next(arguments)? {
        if values.len() >= RESULTS_MAX {
            return Err(Raise::Here("stack overflow (too many results)".to_owned()));
        }
        position = position.saturating_add(layout.padding(position, option, size));
        let rest = bytes.get(position..).ok_or_else(short)?;
        let part = rest.get(..size).ok_or_else(short)?;
        match option {
            b'x' => {}
            b'c' => {
                if size == 0 {
                    size = previous_size(values.pop())?;
                }
                let text = rest.get(..size).ok_or_else(short)?;
                values.push(Value::String(lua.create_string(text)?));
            }
            b's' => {
                let length = rest.iter().position(|byte| *byte == 0);
                work.spend(length.unwrap_or(rest.len()) / 4)?;
                let length =
                    length.ok_or_else(|| Raise::Here("unfinished string in data".to_owned()))?;
                values.push(Value::String(lua.create_string(&rest[..length])?));
                size = length + 1;
            }
            b'f' => {
                let number: [u8; 4] = part.try_into().expect("as many bytes were taken");
                let number = f32::from_le_bytes(layout.ordered(number));
                values.push(Value::Number(f64::from(number)));
            }
            b'd' => {
                let number: [u8; 8] = part.try_into().expect("as many bytes were taken");
                values.push(Value::Number(f64::from_le_bytes(layout.ordered(number))));
            }
            _ => values.push(Value::Number(integer(&layout, part, option.is_ascii_lowercase()))),
        }
        position += size;
    }
    #[expect(clippy::cast_precision_loss, reason = "Lua has no other numbers")]
    values.push(Value::Number((position + 1) as f64));
    Ok(values)
}

/// What stands before `c0` says how long it is.
#[expect(clippy::cast_possible_truncation, reason = "a size beyond the end is refused")]
#[expect(clippy::cast_sign_loss, reason = "a size below zero becomes one beyond the end")]
fn previous_size(value: Option<Value>) -> Result<usize, Raise> {
    let number = value.as_ref().and_then(crate::function::as_number);
    let number =
        number.ok_or_else(|| Raise::Here("format 'c0' needs a previous size".to_owned()))?;
    Ok(if number < 0.0 { usize::MAX } else { number as usize })
}

#[expect(clippy::cast_precision_loss, reason = "Lua has no other numbers")]
fn integer(layout: &Layout<'_>, bytes: &[u8], is_signed: bool) -> f64 {
    let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    let value = if layout.is_big_endian {
        bytes.iter().fold(0, add)
    } else {
        bytes.iter().rev().fold(0, add)
    };
    if !is_signed {
        return value as f64;
    }
    let unused = 64 - 8 * bytes.len().clamp(1, 8);
    ((value << unused).cast_signed() >> unused) as f64
}
