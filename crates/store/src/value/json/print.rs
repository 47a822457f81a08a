//! Values as JSON text.
//! Owns: escapes, the form of doubles, layout. Never: a locale.
//!
//! Doubles have the fewest digits that read back as the same number, always with a point or an exponent, in the layout
//! that RedisJSON's printer gives them: plain up to 16 digits before the point and 5 zeros behind it.

use std::io::Write as _;

use super::node::Node;

/// What stands between the parts of a text, and how long the text may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout<'a> {
    /// In front of a line, once for each level.
    pub(crate) indent: &'a [u8],
    /// In front of each element, member and closing bracket.
    pub(crate) newline: &'a [u8],
    /// Between a member's colon and its value.
    pub(crate) space: &'a [u8],
    /// Most bytes of text. A path may name a value again and again, and blanks may be of any length.
    bytes_max: usize,
}

/// A text would be longer than its layout allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Layout<'_> {
    /// No blanks, and no more than `bytes_max` bytes but for the last part.
    pub(crate) const fn plain(bytes_max: usize) -> Self {
        Self { indent: b"", newline: b"", space: b"", bytes_max }
    }

    /// Appends the value as it stands `level` containers deep.
    pub(crate) fn print(
        &self,
        value: &Node,
        level: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        match value {
            Node::Null => out.extend_from_slice(b"null"),
            Node::Bool(true) => out.extend_from_slice(b"true"),
            Node::Bool(false) => out.extend_from_slice(b"false"),
            Node::Integer(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
            }
            Node::Unsigned(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
            }
            Node::Double(number) => print_double(*number, out),
            Node::Text(text) => print_text(text.as_bytes(), out),
            Node::Array(elements) => self.print_all(elements.iter(), level, out)?,
            Node::Object(members) => {
                out.push(b'{');
                for (nth, (_, name, value)) in members.iter().enumerate() {
                    self.begin_item(nth, level + 1, out)?;
                    self.name(name, out);
                    self.print(value, level + 1, out)?;
                }
                self.close(members.len(), b'}', level, out)?;
            }
        }
        Ok(())
    }

    /// Appends an array of values that stands `level` containers deep.
    pub(crate) fn print_all<'n>(
        &self,
        values: impl Iterator<Item = &'n Node>,
        level: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        out.push(b'[');
        let mut count = 0;
        for value in values {
            self.begin_item(count, level + 1, out)?;
            self.print(value, level + 1, out)?;
            count += 1;
        }
        self.close(count, b']', level, out)
    }

    /// Ends the item before and begins the `nth` one at this level.
    pub(crate) fn begin_item(
        &self,
        nth: usize,
        level: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        if nth > 0 {
            out.push(b',');
        }
        self.line(level, out)
    }

    /// Appends a member's name and what follows it.
    pub(crate) fn name(&self, name: &[u8], out: &mut Vec<u8>) {
        print_text(name, out);
        out.push(b':');
        out.extend_from_slice(self.space);
    }

    /// Closes a container of `count` items.
    pub(crate) fn close(
        &self,
        count: usize,
        bracket: u8,
        level: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        if count > 0 {
            self.line(level, out)?;
        }
        out.push(bracket);
        Ok(())
    }

    fn line(&self, level: usize, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let blanks = self.newline.len().saturating_add(self.indent.len().saturating_mul(level));
        if blanks.saturating_add(out.len()) > self.bytes_max {
            return Err(TooLong);
        }
        out.extend_from_slice(self.newline);
        for _ in 0..level {
            out.extend_from_slice(self.indent);
        }
        Ok(())
    }
}

/// The value as text without blanks, of any length.
pub(crate) fn printed(value: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    Layout::plain(usize::MAX).print(value, 0, &mut out).expect("a text of any length is allowed");
    out
}

/// Appends text in quotes.
pub(crate) fn print_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut written = 0;
    for (at, byte) in text.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..=0x1f => 0,
            _ => continue,
        };
        out.extend_from_slice(&text[written..at]);
        written = at + 1;
        if short == 0 {
            write!(out, "\\u{byte:04x}").expect("writing to a Vec cannot fail");
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(&text[written..]);
    out.push(b'"');
}

/// Most digits before the point that are written without an exponent.
const DIGITS_BEFORE_POINT_MAX: i32 = 16;
/// Most zeros behind the point, in front of the first digit, that are written without an exponent.
const ZEROS_BEHIND_POINT_MAX: i32 = 4;

fn print_double(number: f64, out: &mut Vec<u8>) {
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    out.extend_from_slice(sign.as_bytes());
    // Where the point stands, counted in digits from the first.
    let point = exponent + 1;
    match usize::try_from(point) {
        Ok(point @ 1..) if exponent < DIGITS_BEFORE_POINT_MAX => {
            let integer = digits.len().min(point);
            out.extend_from_slice(&digits[..integer]);
            out.resize(out.len() + point - integer, b'0');
            out.push(b'.');
            let fraction = &digits[integer..];
            out.extend_from_slice(if fraction.is_empty() { b"0" } else { fraction });
        }
        _ if (-ZEROS_BEHIND_POINT_MAX..=0).contains(&point) => {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + point.unsigned_abs() as usize, b'0');
            out.extend_from_slice(&digits);
        }
        _ => {
            out.push(digits[0]);
            if digits.len() > 1 {
                out.push(b'.');
                out.extend_from_slice(&digits[1..]);
            }
            write!(out, "e{exponent}").expect("writing to a Vec cannot fail");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_laid_out_as_by_redisjson() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (3.0, "3.0"),
            (-1.5, "-1.5"),
            (64.99, "64.99"),
            (4e3, "4000.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e16"),
            (1.2345e20, "1.2345e20"),
            (0.001, "0.001"),
            (0.00001, "0.00001"),
            (0.000012, "0.000012"),
            (1e-6, "1e-6"),
            (f64::MAX, "1.7976931348623157e308"),
            (5e-324, "5e-324"),
        ] {
            let mut out = Vec::new();
            print_double(number, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }

    #[test]
    fn a_text_ends_where_it_would_be_too_long() {
        let value = Node::array((0..100).map(Node::Integer).collect());
        let mut out = Vec::new();
        assert_eq!(Layout::plain(50).print(&value, 0, &mut out), Err(TooLong));
        assert!(out.len() <= 55, "{} bytes", out.len());
        let wide = Layout { indent: &[b' '; 1000], ..Layout::plain(50) };
        assert_eq!(wide.print(&value, 0, &mut Vec::new()), Err(TooLong));
        assert_eq!(Layout::plain(500).print(&value, 0, &mut Vec::new()), Ok(()));
    }

    #[test]
    fn text_is_escaped_where_json_asks_for_it() {
        let mut out = Vec::new();
        print_text("a\"\\/\u{8}\u{c}\n\r\t\u{1}\u{7f}é".as_bytes(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\u{7f}é\"");
    }
}
