//! Inline commands: a line of words, as a person types them into a plain TCP connection.
//! Owns: splitting the line with Redis's rules of quoting. Never: finds the line's end
//! (see `decode.rs`), puts the words into canonical form.
//!
//! The rules, as observed from redis-server 7.0: words are separated by white space; within `"..."`
//! the escapes `\n \r \t \b \a \xHH` are known and any other escaped byte stands for itself; within
//! `'...'` only `\'` is an escape; a closing quote must be followed by white space or the end; a
//! quote may open within a word. One difference: a NUL byte is a byte like any other here, whereas
//! Redis waits for the end of a line that holds one until the connection is closed.

/// The words of one line, unquoted.
#[derive(Debug, Default)]
pub(crate) struct Words {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// A quote was not closed, or not followed by white space.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unbalanced;

impl Words {
    /// Splits `line`, which holds no line break at its end.
    pub(crate) fn split(line: &[u8]) -> Result<Self, Unbalanced> {
        let mut words = Self::default();
        let mut rest = skip_space(line);
        while !rest.is_empty() {
            rest = skip_space(words.take_word(rest)?);
            words.ends.push(words.bytes.len());
        }
        Ok(words)
    }

    /// The words in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.ends.len()).map(|at| {
            let start = if at == 0 { 0 } else { self.ends[at - 1] };
            &self.bytes[start..self.ends[at]]
        })
    }

    /// Takes the word at the start of `line`; returns what follows it.
    fn take_word<'l>(&mut self, mut line: &'l [u8]) -> Result<&'l [u8], Unbalanced> {
        while let Some((&byte, rest)) = line.split_first() {
            match byte {
                b'"' => return self.take_double_quoted(rest),
                b'\'' => return self.take_single_quoted(rest),
                b' ' | b'\n' | b'\r' | b'\t' => return Ok(rest),
                _ => self.bytes.push(byte),
            }
            line = rest;
        }
        Ok(line)
    }

    fn take_double_quoted<'l>(&mut self, mut line: &'l [u8]) -> Result<&'l [u8], Unbalanced> {
        loop {
            line = match line {
                [b'\\', b'x', high, low, rest @ ..]
                    if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
                {
                    self.bytes.push(hex_digit(*high) << 4 | hex_digit(*low));
                    rest
                }
                [b'\\', escaped, rest @ ..] => {
                    self.bytes.push(unescape(*escaped));
                    rest
                }
                [b'"', rest @ ..] => return close_quote(rest),
                [byte, rest @ ..] => {
                    self.bytes.push(*byte);
                    rest
                }
                [] => return Err(Unbalanced),
            }
        }
    }

    fn take_single_quoted<'l>(&mut self, mut line: &'l [u8]) -> Result<&'l [u8], Unbalanced> {
        loop {
            line = match line {
                [b'\\', b'\'', rest @ ..] => {
                    self.bytes.push(b'\'');
                    rest
                }
                [b'\'', rest @ ..] => return close_quote(rest),
                [byte, rest @ ..] => {
                    self.bytes.push(*byte);
                    rest
                }
                [] => return Err(Unbalanced),
            }
        }
    }
}

fn close_quote(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest.first() {
        Some(&byte) if !is_space(byte) => Err(Unbalanced),
        _ => Ok(rest),
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    }
}

/// White space as C's `isspace` has it, vertical tab included.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

fn skip_space(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|&byte| !is_space(byte)).unwrap_or(line.len());
    &line[start..]
}
