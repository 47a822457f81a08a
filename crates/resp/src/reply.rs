//! Decoding replies, as clients do: RESP2 and RESP3, incremental, bounded.
//! Owns: [`Value`], the end of a reply. Never: knows a command, decides what an error means.
//!
//! Two passes. The first finds the end of the reply and needs no more state than a position and a
//! count of replies still missing, so it can stop and go on with the next bytes. Only when the end is
//! there does the second build the [`Value`], so that a reply that never ends costs its bytes alone.
//!
//! INV-P5: a byte of a bulk string is looked at once, however the reply is split over reads.
//! Called by: crate `client`; [`skip_reply`] by whoever forwards replies without reading them.
//! Left out: RESP3's streamed strings and aggregates (`$?`, `*?`), which no server is known to send.

use keystead_types::limits::{BULK_BYTES_MAX, INLINE_BYTES_MAX};
use memchr::memchr;
use thiserror::Error;

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+`: a short text such as `OK`. Bytes that are not UTF-8 are replaced.
    Simple(String),
    /// `-` or `!`: an error, its code first. Bytes that are not UTF-8 are replaced.
    Error(String),
    /// `:`.
    Integer(i64),
    /// `$`: bytes.
    Bulk(Vec<u8>),
    /// The absent value, in any of its three forms.
    Null,
    /// `*`.
    Array(Vec<Value>),
    /// `%`, in the order of the server.
    Map(Vec<(Value, Value)>),
    /// `~`, in the order of the server.
    Set(Vec<Value>),
    /// `,`.
    Double(f64),
    /// `#`.
    Boolean(bool),
    /// `(`: an integer of any size, as its digits.
    BigNumber(String),
    /// `=`: text with its format, such as `txt` or `mkd`.
    Verbatim {
        /// Three bytes that name the format.
        format: [u8; 3],
        /// The text.
        text: Vec<u8>,
    },
    /// `>`: a message that answers no command.
    Push(Vec<Value>),
    /// `|`: a reply with attributes.
    Attribute {
        /// What is said about the reply.
        attributes: Vec<(Value, Value)>,
        /// The reply itself.
        value: Box<Value>,
    },
}

impl Value {
    /// The bytes of a bulk string, a simple string or a verbatim text.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text) => Some(text.as_bytes()),
            Self::Bulk(bytes) | Self::Verbatim { text: bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    /// The same as text, if it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The integer.
    #[must_use]
    pub const fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of an array, a set or a push message.
    #[must_use]
    pub fn as_elements(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// The text of an error.
    #[must_use]
    pub fn as_error(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    /// True for the absent value.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// Bounds of one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Longest bulk string, bytes.
    pub bulk_bytes_max: usize,
    /// Longest reply, bytes.
    pub reply_bytes_max: usize,
    /// Most values in one reply, those in its aggregates counted. A value takes about 40 bytes in
    /// memory and as little as 3 on the wire.
    pub values_max: usize,
    /// Deepest nesting of aggregates; each level takes some stack.
    pub depth_max: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self {
            bulk_bytes_max: BULK_BYTES_MAX,
            reply_bytes_max: 2 * BULK_BYTES_MAX,
            values_max: 32 * 1024 * 1024,
            depth_max: 64,
        }
    }
}

/// Why bytes are not a reply. Offsets count from the reply's first byte. The connection is to be
/// closed, since nobody knows where the next reply begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// No reply begins with this byte.
    #[error(
        "malformed reply: byte 0x{found:02x} at {offset} begins no reply; is this a Redis port?"
    )]
    Kind {
        /// The byte.
        found: u8,
        /// Where it stands.
        offset: usize,
    },
    /// A line is not ended by CRLF within the limit.
    #[error(
        "malformed reply: the line at byte {offset} does not end in CRLF within {bytes_max} bytes"
    )]
    Line {
        /// Where the line begins.
        offset: usize,
        /// The limit, bytes.
        bytes_max: usize,
    },
    /// A number, a boolean or a length is not one.
    #[error("malformed reply: no valid number in the line at byte {offset}")]
    Number {
        /// Where the line begins.
        offset: usize,
    },
    /// A bulk string does not end where its length says, or a verbatim text has no format.
    #[error(
        "malformed reply: the string at byte {offset} does not have the form its length promises"
    )]
    Bulk {
        /// Where its length line begins.
        offset: usize,
    },
    /// The reply, or a string in it, is longer than allowed.
    #[error("reply too long: over {bytes_max} bytes; ask for less at a time or raise the limit")]
    TooLong {
        /// The limit, bytes.
        bytes_max: usize,
    },
    /// The reply holds more values than allowed.
    #[error("reply too long: over {values_max} values; ask for less at a time or raise the limit")]
    TooMany {
        /// The limit.
        values_max: usize,
    },
    /// Aggregates are nested deeper than allowed.
    #[error("reply nested deeper than {depth_max} levels")]
    TooDeep {
        /// The limit.
        depth_max: usize,
    },
}

/// Decodes the replies of one connection.
///
/// The buffer that it sees begins with the first byte of the pending reply and only grows until that
/// reply is complete; then the caller drops its bytes and goes on.
#[derive(Clone, Debug)]
pub struct ReplyDecoder {
    limits: ReplyLimits,
    scan: Scan,
}

impl ReplyDecoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new(limits: ReplyLimits) -> Self {
        Self { limits, scan: Scan::default() }
    }

    /// The reply at the start of `buffer` and its length in bytes, or `None` if more are needed.
    ///
    /// # Errors
    /// [`ReplyError`]: close the connection.
    pub fn decode(&mut self, buffer: &[u8]) -> Result<Option<(Value, usize)>, ReplyError> {
        let Some(length) = self.scan.advance(buffer, &self.limits)? else { return Ok(None) };
        self.scan = Scan::default();
        let mut builder = Builder { reply: &buffer[..length], position: 0, limits: &self.limits };
        Ok(Some((builder.value(0)?, length)))
    }
}

/// Length in bytes of the reply at the start of `bytes`, or `None` if it is not complete.
///
/// Allocates nothing. For replies of trusted origin: of the limits only those hold that keep the
/// arithmetic sound.
///
/// # Errors
/// [`ReplyError`] if the bytes cannot become a reply.
pub fn skip_reply(bytes: &[u8]) -> Result<Option<usize>, ReplyError> {
    const SOUND: ReplyLimits = ReplyLimits {
        bulk_bytes_max: usize::MAX / 4,
        reply_bytes_max: usize::MAX / 2,
        values_max: usize::MAX / 4,
        depth_max: usize::MAX,
    };
    Scan::default().advance(bytes, &SOUND)
}

/// The search for a reply's end.
#[derive(Clone, Debug)]
struct Scan {
    /// First byte of the first value whose end was not found yet.
    position: usize,
    /// The line at `position` does not end before this.
    scanned: usize,
    /// Values still missing, the one at `position` counted.
    missing: usize,
    /// Values seen or announced.
    values: usize,
}

impl Default for Scan {
    fn default() -> Self {
        Self { position: 0, scanned: 0, missing: 1, values: 1 }
    }
}

impl Scan {
    fn advance(
        &mut self,
        buffer: &[u8],
        limits: &ReplyLimits,
    ) -> Result<Option<usize>, ReplyError> {
        let too_long = ReplyError::TooLong { bytes_max: limits.reply_bytes_max };
        while self.missing > 0 {
            let Some(item) = Item::read(buffer, self.position, &mut self.scanned)? else {
                return if buffer.len() > limits.reply_bytes_max {
                    Err(too_long)
                } else {
                    Ok(None)
                };
            };
            if item.body_length() > limits.bulk_bytes_max {
                return Err(ReplyError::TooLong { bytes_max: limits.bulk_bytes_max });
            }
            if item.end > limits.reply_bytes_max {
                return Err(too_long);
            }
            if item.end > buffer.len() {
                return Ok(None);
            }
            self.values = self.values.saturating_add(item.children);
            if self.values > limits.values_max {
                return Err(ReplyError::TooMany { values_max: limits.values_max });
            }
            self.missing = self.missing - 1 + item.children;
            self.position = item.end;
        }
        Ok(Some(self.position))
    }
}

/// One value without what it contains.
#[derive(Debug)]
struct Item<'a> {
    kind: u8,
    /// What stands between the kind and the CRLF.
    line: &'a [u8],
    /// Where the line begins.
    start: usize,
    /// Where the bytes of a string begin: behind the line.
    body: usize,
    /// Position behind the value; for a string possibly beyond what has arrived.
    end: usize,
    /// Values that follow and belong to this one.
    children: usize,
    is_null: bool,
}

impl<'a> Item<'a> {
    /// Reads the item at `start`; `None` if its line has not arrived. `scanned` remembers how far.
    fn read(
        buffer: &'a [u8],
        start: usize,
        scanned: &mut usize,
    ) -> Result<Option<Self>, ReplyError> {
        let Some(&kind) = buffer.get(start) else { return Ok(None) };
        if !b"+-:$*_#,(!=%~>|".contains(&kind) {
            return Err(ReplyError::Kind { found: kind, offset: start });
        }
        let from = (*scanned).max(start + 1);
        let broken = ReplyError::Line { offset: start, bytes_max: INLINE_BYTES_MAX };
        let Some(offset) = buffer.get(from..).and_then(|rest| memchr(b'\r', rest)) else {
            *scanned = buffer.len();
            return if buffer.len() - start > INLINE_BYTES_MAX { Err(broken) } else { Ok(None) };
        };
        let line_end = from + offset;
        *scanned = line_end;
        if line_end - start > INLINE_BYTES_MAX {
            return Err(broken);
        }
        match buffer.get(line_end + 1) {
            None => return Ok(None),
            Some(b'\n') => {}
            Some(_) => return Err(broken),
        }
        let line = &buffer[start + 1..line_end];
        let body = line_end + 2;
        let item = Self { kind, line, start, body, end: body, children: 0, is_null: kind == b'_' };
        item.with_length().map(Some)
    }

    /// Adds what the line's number says about the bytes or values that follow.
    fn with_length(mut self) -> Result<Self, ReplyError> {
        let is_string = matches!(self.kind, b'$' | b'!' | b'=');
        if !is_string && !matches!(self.kind, b'*' | b'%' | b'~' | b'>' | b'|') {
            return Ok(self);
        }
        let malformed = ReplyError::Number { offset: self.start };
        if self.line == b"-1" && matches!(self.kind, b'$' | b'*') {
            self.is_null = true;
            return Ok(self);
        }
        if !self.line.iter().all(u8::is_ascii_digit) {
            return Err(malformed);
        }
        // 32 bits: no sum or product of such numbers overflows.
        let length: u32 = parse(self.line).ok_or(malformed)?;
        let length = length as usize;
        match self.kind {
            b'%' => self.children = 2 * length,
            b'|' => self.children = 2 * length + 1,
            b'*' | b'~' | b'>' => self.children = length,
            _ => self.end = self.body + length + 2,
        }
        Ok(self)
    }

    fn body_length(&self) -> usize {
        (self.end - self.body).saturating_sub(2)
    }
}

/// Builds the value of a reply whose end was found.
struct Builder<'a> {
    reply: &'a [u8],
    position: usize,
    limits: &'a ReplyLimits,
}

impl<'a> Builder<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, ReplyError> {
        if depth > self.limits.depth_max {
            return Err(ReplyError::TooDeep { depth_max: self.limits.depth_max });
        }
        let item = Item::read(self.reply, self.position, &mut 0)?
            .expect("the scan found the reply's end behind this value");
        self.position = item.end;
        if item.is_null {
            return Ok(Value::Null);
        }
        let malformed = ReplyError::Number { offset: item.start };
        Ok(match item.kind {
            b'+' => Value::Simple(text(item.line)),
            b'-' => Value::Error(text(item.line)),
            b':' => Value::Integer(parse(item.line).ok_or(malformed)?),
            b',' => Value::Double(parse(item.line).ok_or(malformed)?),
            b'(' => Value::BigNumber(big_number(item.line).ok_or(malformed)?),
            b'#' => match item.line {
                b"t" => Value::Boolean(true),
                b"f" => Value::Boolean(false),
                _ => return Err(malformed),
            },
            b'$' => Value::Bulk(self.body(&item)?.to_vec()),
            b'!' => Value::Error(text(self.body(&item)?)),
            b'=' => match self.body(&item)? {
                [a, b, c, b':', text @ ..] => {
                    Value::Verbatim { format: [*a, *b, *c], text: text.to_vec() }
                }
                _ => return Err(ReplyError::Bulk { offset: item.start }),
            },
            b'%' => Value::Map(self.pairs(item.children / 2, depth)?),
            b'~' => Value::Set(self.elements(item.children, depth)?),
            b'>' => Value::Push(self.elements(item.children, depth)?),
            b'|' => Value::Attribute {
                attributes: self.pairs(item.children / 2, depth)?,
                value: Box::new(self.value(depth + 1)?),
            },
            _ => Value::Array(self.elements(item.children, depth)?),
        })
    }

    fn body(&self, item: &Item<'_>) -> Result<&'a [u8], ReplyError> {
        let body = &self.reply[item.body..item.end];
        body.strip_suffix(b"\r\n").ok_or(ReplyError::Bulk { offset: item.start })
    }

    fn elements(&mut self, count: usize, depth: usize) -> Result<Vec<Value>, ReplyError> {
        // The scan has seen that many values, so the capacity is not a mere promise.
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(self.value(depth + 1)?);
        }
        Ok(elements)
    }

    fn pairs(&mut self, count: usize, depth: usize) -> Result<Vec<(Value, Value)>, ReplyError> {
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            let key = self.value(depth + 1)?;
            pairs.push((key, self.value(depth + 1)?));
        }
        Ok(pairs)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn parse<T: std::str::FromStr>(line: &[u8]) -> Option<T> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

fn big_number(line: &[u8]) -> Option<String> {
    let digits = line.strip_prefix(b"-").or(line.strip_prefix(b"+")).unwrap_or(line);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| text(line))
}

#[cfg(test)]
mod tests {
    use super::{ReplyLimits, Scan};

    /// INV-P5: the search stays at the string's line until the string is there.
    #[test]
    fn a_string_that_comes_in_pieces_is_not_searched_again() {
        let mut buffer = b"*1\r\n$1000\r\n".to_vec();
        let mut scan = Scan::default();
        for _ in 0..1001 {
            buffer.push(b'\r');
            assert_eq!(scan.advance(&buffer, &ReplyLimits::default()), Ok(None));
            assert_eq!((scan.position, scan.scanned), (4, 9));
        }
        buffer.push(b'\n');
        assert_eq!(scan.advance(&buffer, &ReplyLimits::default()), Ok(Some(1013)));
    }
}
