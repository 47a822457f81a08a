//! Replies as a person or a program reads them.
//!
//! Owns: the three formats. *Pretty* names the type of everything, as redis-cli does on a terminal, except
//! that text in UTF-8 is shown as it is rather than as bytes. *Raw* is the bytes alone, a line for each.
//! *JSON* is one document on one line. Never: writes to a stream, decides what a reply means.

use std::fmt::Write as _;

use jaq_json::{read, write};
use keystead_client::Value;
use serde_json::Value as Json;

/// How replies are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// With types and indexes, for people.
    Pretty,
    /// The bytes alone, a line for each value.
    Raw,
    /// A JSON document a line.
    Json,
}

/// Whether a terminal shows colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Escape sequences around values.
    Ansi,
    /// Plain text.
    None,
}

/// A format and its colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) format: Format,
    pub(crate) colour: Colour,
}

impl Style {
    /// A reply, ended by a line break.
    pub(crate) fn reply(self, value: &Value) -> Vec<u8> {
        let mut text = match self.format {
            Format::Pretty => self.pretty(value, 0).into_bytes(),
            Format::Raw => raw(value),
            Format::Json => json(value).to_string().into_bytes(),
        };
        text.push(b'\n');
        text
    }

    /// The value of a key: JSON is laid out, anything else is shown as any reply.
    pub(crate) fn stored(self, value: &Value) -> Vec<u8> {
        let Value::Bulk(bytes) = value else { return self.reply(value) };
        // Checked here for form and depth, because jq's reader is laxer in both.
        if serde_json::from_slice::<Json>(bytes).is_err() {
            return self.reply(value);
        }
        match self.format {
            Format::Raw => self.reply(value),
            Format::Json => {
                let compact = self.laid_out(bytes, &write::Pp::default());
                compact.unwrap_or_else(|| self.reply(value))
            }
            Format::Pretty => {
                let styles = match self.colour {
                    Colour::Ansi => write::Styles::ansi(),
                    Colour::None => write::Styles::default(),
                };
                let layout = write::Pp {
                    indent: Some("  ".to_owned()),
                    styles,
                    sep_space: true,
                    ..write::Pp::default()
                };
                self.laid_out(bytes, &layout).unwrap_or_else(|| self.reply(value))
            }
        }
    }

    /// An error reply.
    pub(crate) fn error(self, text: &str) -> Vec<u8> {
        self.reply(&Value::Error(text.to_owned()))
    }

    fn laid_out(self, json: &[u8], layout: &write::Pp) -> Option<Vec<u8>> {
        let value = read::parse_single(json).ok()?;
        let mut text = Vec::new();
        write::write(&mut text, layout, 0, &value).ok()?;
        text.push(b'\n');
        Some(text)
    }

    fn pretty(self, value: &Value, indent: usize) -> String {
        match value {
            Value::Simple(text) => text.clone(),
            Value::Error(text) => self.paint(RED, &format!("(error) {text}")),
            Value::Integer(number) => self.paint(CYAN, &format!("(integer) {number}")),
            Value::Double(number) => self.paint(CYAN, &format!("(double) {number}")),
            Value::Boolean(true) => self.paint(CYAN, "(true)"),
            Value::Boolean(false) => self.paint(CYAN, "(false)"),
            Value::BigNumber(digits) => self.paint(CYAN, &format!("(big number) {digits}")),
            Value::Bulk(bytes) => self.paint(GREEN, &quoted(bytes)),
            Value::Verbatim { text, .. } => String::from_utf8_lossy(text).into_owned(),
            Value::Null => self.paint(DIM, "(nil)"),
            Value::Array(items) => self.pretty_items(items, ')', "(empty array)", indent),
            Value::Set(items) => self.pretty_items(items, '~', "(empty set)", indent),
            Value::Push(items) => self.pretty_items(items, ')', "(empty push)", indent),
            Value::Map(pairs) => self.pretty_pairs(pairs, indent),
            Value::Attribute { value, .. } => self.pretty(value, indent),
        }
    }

    fn pretty_items(self, items: &[Value], mark: char, empty: &str, indent: usize) -> String {
        if items.is_empty() {
            return self.paint(DIM, empty);
        }
        let width = items.len().to_string().len();
        let mut text = String::new();
        for (position, item) in items.iter().enumerate() {
            start_line(&mut text, indent);
            let index = format!("{:>width$}{mark} ", position + 1);
            text.push_str(&self.paint(DIM, &index));
            text.push_str(&self.pretty(item, indent + width + 2));
        }
        text
    }

    fn pretty_pairs(self, pairs: &[(Value, Value)], indent: usize) -> String {
        if pairs.is_empty() {
            return self.paint(DIM, "(empty hash)");
        }
        let width = pairs.len().to_string().len();
        let inner = indent + width + 2;
        let mut text = String::new();
        for (position, (key, value)) in pairs.iter().enumerate() {
            start_line(&mut text, indent);
            let index = format!("{:>width$}# ", position + 1);
            text.push_str(&self.paint(DIM, &index));
            text.push_str(&self.pretty(key, inner));
            text.push_str(" => ");
            if has_lines(value) {
                start_line(&mut text, inner);
            }
            text.push_str(&self.pretty(value, inner));
        }
        text
    }

    fn paint(self, colour: &str, text: &str) -> String {
        match self.colour {
            Colour::Ansi => format!("\x1b[{colour}m{text}\x1b[0m"),
            Colour::None => text.to_owned(),
        }
    }
}

const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";
const DIM: &str = "2";

/// Begins a line within what is already there; the first line stands where the caller is.
fn start_line(text: &mut String, indent: usize) {
    if !text.is_empty() {
        write!(text, "\n{:indent$}", "").expect("writing to a String cannot fail");
    }
}

const fn has_lines(value: &Value) -> bool {
    match value {
        Value::Array(items) | Value::Set(items) | Value::Push(items) => !items.is_empty(),
        Value::Map(pairs) => !pairs.is_empty(),
        _ => false,
    }
}

/// Bytes between double quotes; what is not printable UTF-8 as an escape that the shell reads back.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            push_letter(&mut text, letter);
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("writing to a String cannot fail");
        }
    }
    text.push('"');
    text
}

fn push_letter(text: &mut String, letter: char) {
    match letter {
        '"' => text.push_str("\\\""),
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\x07' => text.push_str("\\a"),
        '\x08' => text.push_str("\\b"),
        other if other.is_control() => {
            for byte in other.to_string().bytes() {
                write!(text, "\\x{byte:02x}").expect("writing to a String cannot fail");
            }
        }
        other => text.push(other),
    }
}

fn raw(value: &Value) -> Vec<u8> {
    match value {
        Value::Simple(text) | Value::Error(text) | Value::BigNumber(text) => {
            text.clone().into_bytes()
        }
        Value::Integer(number) => number.to_string().into_bytes(),
        Value::Double(number) => number.to_string().into_bytes(),
        Value::Boolean(value) => value.to_string().into_bytes(),
        Value::Bulk(bytes) | Value::Verbatim { text: bytes, .. } => bytes.clone(),
        Value::Null => Vec::new(),
        Value::Array(items) | Value::Set(items) | Value::Push(items) => {
            items.iter().map(raw).collect::<Vec<_>>().join(&b'\n')
        }
        Value::Map(pairs) => {
            let pair = |(key, value)| [raw(key), raw(value)].join(&b' ');
            pairs.iter().map(|(key, value)| pair((key, value))).collect::<Vec<_>>().join(&b'\n')
        }
        Value::Attribute { value, .. } => raw(value),
    }
}

/// A reply as JSON. Bytes that are not UTF-8 are replaced; an error becomes `{"error": ...}`.
fn json(value: &Value) -> Json {
    let text = |bytes: &[u8]| Json::from(String::from_utf8_lossy(bytes));
    let list = |items: &[Value]| Json::Array(items.iter().map(json).collect());
    match value {
        Value::Simple(text) | Value::BigNumber(text) => Json::from(text.as_str()),
        Value::Error(reason) => serde_json::json!({ "error": reason }),
        Value::Integer(number) => Json::from(*number),
        // Infinities and "not a number" have no JSON number.
        Value::Double(number) if !number.is_finite() => Json::from(number.to_string()),
        Value::Double(number) => Json::from(*number),
        Value::Boolean(value) => Json::from(*value),
        Value::Bulk(bytes) | Value::Verbatim { text: bytes, .. } => text(bytes),
        Value::Null => Json::Null,
        Value::Array(items) | Value::Set(items) => list(items),
        Value::Push(items) => serde_json::json!({ "push": list(items) }),
        Value::Map(pairs) => {
            let pair = |(key, value): &(Value, Value)| {
                (String::from_utf8_lossy(&raw(key)).into_owned(), json(value))
            };
            Json::Object(pairs.iter().map(pair).collect())
        }
        Value::Attribute { value, .. } => json(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: Format, value: &Value) -> String {
        let style = Style { format, colour: Colour::None };
        String::from_utf8(style.reply(value)).expect("UTF-8")
    }

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn nested() -> Value {
        let inner = Value::Map(vec![(bulk("c"), bulk("d"))]);
        let list =
            Value::Array(vec![Value::Integer(1), Value::Array(vec![bulk("x"), Value::Null])]);
        Value::Array(vec![
            Value::Map(vec![(bulk("a"), list), (bulk("b"), inner)]),
            Value::Array(Vec::new()),
            Value::Set(vec![bulk("s")]),
            Value::Error("ERR no".into()),
            Value::Double(3.25),
            Value::Boolean(true),
        ])
    }

    #[test]
    fn pretty_names_types_and_indents_what_is_nested() {
        let expected = r#"1) 1# "a" => 
      1) (integer) 1
      2) 1) "x"
         2) (nil)
   2# "b" => 
      1# "c" => "d"
2) (empty array)
3) 1~ "s"
4) (error) ERR no
5) (double) 3.25
6) (true)
"#;
        assert_eq!(shown(Format::Pretty, &nested()), expected);
        let eleven = Value::Array((0..11).map(Value::Integer).collect());
        let lines = shown(Format::Pretty, &eleven);
        assert!(lines.starts_with(" 1) (integer) 0\n 2) "), "{lines}");
        assert!(lines.ends_with("11) (integer) 10\n"), "{lines}");
    }

    #[test]
    fn raw_is_bytes_and_json_is_one_document() {
        assert_eq!(shown(Format::Raw, &nested()), "a 1\nx\n\nb c d\n\ns\nERR no\n3.25\ntrue\n");
        assert_eq!(
            shown(Format::Json, &nested()),
            "[{\"a\":[1,[\"x\",null]],\"b\":{\"c\":\"d\"}},[],[\"s\"],{\"error\":\"ERR no\"},3.25,true]\n"
        );
    }

    #[test]
    fn text_is_shown_as_text_and_bytes_as_escapes() {
        assert_eq!(quoted("a\"\\\n\x01é한".as_bytes()), r#""a\"\\\n\x01é한""#);
        assert_eq!(quoted(b"\xff\x00"), r#""\xff\x00""#);
    }

    #[test]
    fn stored_json_is_laid_out_and_anything_else_is_a_reply() {
        let style = Style { format: Format::Pretty, colour: Colour::None };
        let stored = |text: &str| String::from_utf8(style.stored(&bulk(text))).expect("UTF-8");
        assert_eq!(
            stored(r#"{"name":"Alice","age":30,"tags":[]}"#),
            "{\n  \"name\": \"Alice\",\n  \"age\": 30,\n  \"tags\": []\n}\n"
        );
        assert_eq!(stored("31"), "31\n");
        assert_eq!(stored("plain"), "\"plain\"\n");
        let json = Style { format: Format::Json, ..style };
        assert_eq!(json.stored(&bulk("{\"b\": 1, \"a\": 2}")), b"{\"b\":1,\"a\":2}\n");
        assert_eq!(json.stored(&bulk("plain")), b"\"plain\"\n");
        assert_eq!(json.stored(&Value::Null), b"null\n");
    }

    #[test]
    fn colours_surround_values_only() {
        let style = Style { format: Format::Pretty, colour: Colour::Ansi };
        assert_eq!(style.reply(&bulk("a")), b"\x1b[32m\"a\"\x1b[0m\n");
        assert_eq!(style.reply(&Value::Simple("OK".into())), b"OK\n");
    }
}
