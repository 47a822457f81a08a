//! The library `cjson`.
//! Owns: values of Lua as JSON and back, with the texts of the original. Never: what a script may tell it (`json/settings.rs`).

mod settings;

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, Table, Value};

use crate::function::{Arguments, Library, Raise, as_number, kind_of};
use crate::number::general;
use crate::work::Work;
use crate::{DEPTH_MAX, REPLY_BYTES_MAX};

use settings::{Invalid, Settings};

/// Adds all functions.
pub(crate) fn fill(library: &Library<'_>) -> mlua::Result<()> {
    library.table.raw_set("_NAME", "cjson")?;
    library.table.raw_set("_VERSION", "2.1.0")?;
    library.table.raw_set("null", Value::NULL)?;
    let settings = Rc::new(Cell::new(Settings::default()));
    settings::fill(library, &settings);
    let encoding = Rc::clone(&settings);
    library.add("encode", move |lua, arguments| {
        arguments.metered(|work| {
            one(arguments)?;
            let mut encoder = Encoder { out: Vec::new(), work, settings: encoding.get() };
            encoder.value(arguments.get(0).unwrap_or(&Value::Nil), 0)?;
            Ok(vec![Value::String(lua.create_string(&encoder.out)?)])
        })
    });
    library.add("decode", move |lua, arguments| {
        one(arguments)?;
        let text = arguments.bytes(0)?;
        arguments.metered(|work| {
            work.spend(text.len() / 8)?;
            let mut decoder = Decoder { lua, text: &text, at: 0, work, settings: settings.get() };
            let value = decoder.value(0)?;
            match decoder.token() {
                Token::End => Ok(vec![value]),
                found => Err(decoder.unexpected("the end", &found)),
            }
        })
    });
    let (install, dispatcher) = (library.install.clone(), library.dispatcher.clone());
    let functions = library.functions.downgrade();
    library.add("new", move |lua, _| {
        let functions = functions.upgrade();
        let fresh = Library::new((lua, &install, &dispatcher), &functions, lua.create_table()?);
        fill(&fresh)?;
        let table = fresh.table.clone();
        fresh.finish()?;
        Ok(vec![Value::Table(table)])
    });
    Ok(())
}

/// Both functions take one value.
fn one(arguments: &Arguments<'_>) -> Result<(), Raise> {
    if arguments.values.len() == 1 {
        return Ok(());
    }
    Err(arguments.unfit(0, "expected 1 argument"))
}

struct Encoder<'w> {
    out: Vec<u8>,
    work: &'w mut Work,
    settings: Settings,
}

/// The depth that a setting allows: never more than the stack is good for.
fn depth_max(setting: i32) -> usize {
    usize::try_from(setting).map_or(DEPTH_MAX, |depth| depth.min(DEPTH_MAX))
}

impl Encoder<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Raise> {
        if self.out.len() > REPLY_BYTES_MAX {
            return Err(Raise::Here("Cannot serialise, the text is too long".to_owned()));
        }
        self.work.value(0)?;
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => {
                self.out.extend_from_slice(b"null");
            }
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Integer(_) | Value::Number(_) => self.number(value)?,
            Value::String(text) => self.text(&text.as_bytes())?,
            Value::Table(table) => self.table(table, depth + 1)?,
            other => {
                let text = format!("Cannot serialise {}: type not supported", kind_of(other));
                return Err(Raise::Here(text));
            }
        }
        Ok(())
    }

    fn number(&mut self, value: &Value) -> Result<(), Raise> {
        let number = as_number(value).unwrap_or_default();
        if number.is_finite() {
            let digits = usize::try_from(self.settings.digits).unwrap_or(1);
            self.out.extend_from_slice(general(number, digits).as_bytes());
            return Ok(());
        }
        let written: &[u8] = match self.settings.invalid_written {
            Invalid::Refused => {
                let text = "Cannot serialise number: must not be NaN or Inf";
                return Err(Raise::Here(text.to_owned()));
            }
            Invalid::Null => b"null",
            Invalid::Written if number.is_nan() => b"nan",
            Invalid::Written if number > 0.0 => b"inf",
            Invalid::Written => b"-inf",
        };
        self.out.extend_from_slice(written);
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Raise> {
        self.work.spend(text.len() / 4)?;
        encode_text(&mut self.out, text);
        Ok(())
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<(), Raise> {
        if depth > depth_max(self.settings.encode_depth_max) {
            return Err(Raise::Here(format!("Cannot serialise, excessive nesting ({depth})")));
        }
        match self.array_length(table)? {
            Some(length) if length > 0 => {
                for at in 1..=length {
                    self.out.push(if at == 1 { b'[' } else { b',' });
                    self.value(&table.raw_get(at)?, depth)?;
                }
                self.out.push(b']');
            }
            _ => self.object(table, depth)?,
        }
        Ok(())
    }

    /// The greatest key if all keys are whole positive numbers.
    fn array_length(&mut self, table: &Table) -> Result<Option<usize>, Raise> {
        let (mut greatest, mut count) = (0usize, 0usize);
        for pair in table.pairs::<Value, Value>() {
            self.work.value(0)?;
            match pair?.0 {
                Value::Integer(at @ 1..) => {
                    greatest = greatest.max(usize::try_from(at).unwrap_or(0));
                    count += 1;
                }
                _ => return Ok(None),
            }
        }
        let Settings { sparse_ratio, sparse_safe, .. } = self.settings;
        let [ratio, safe] = [sparse_ratio, sparse_safe].map(|it| usize::try_from(it).unwrap_or(0));
        if ratio > 0 && greatest > safe && greatest > count.saturating_mul(ratio) {
            if self.settings.converts_sparse {
                return Ok(None);
            }
            let text = "Cannot serialise table: excessively sparse array";
            return Err(Raise::Here(text.to_owned()));
        }
        Ok(Some(greatest))
    }

    fn object(&mut self, table: &Table, depth: usize) -> Result<(), Raise> {
        self.out.push(b'{');
        for (at, pair) in table.pairs::<Value, Value>().enumerate() {
            let (key, value) = pair?;
            if at > 0 {
                self.out.push(b',');
            }
            match &key {
                Value::String(text) => self.text(&text.as_bytes())?,
                Value::Integer(_) | Value::Number(_) => {
                    self.out.push(b'"');
                    self.number(&key)?;
                    self.out.push(b'"');
                }
                _ => {
                    let kind = kind_of(&key);
                    let text =
                        format!("Cannot serialise {kind}: table key must be a number or string");
                    return Err(Raise::Here(text));
                }
            }
            self.out.push(b':');
            self.value(&value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }
}

fn encode_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' | b'/' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..0x20 | 0x7f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

enum Token {
    Open(u8),
    Close(u8),
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    /// What is wrong.
    Invalid(&'static str),
}

impl Token {
    const fn name(&self) -> &'static str {
        match self {
            Self::Open(b'{') => "T_OBJ_BEGIN",
            Self::Open(_) => "T_ARR_BEGIN",
            Self::Close(b'}') => "T_OBJ_END",
            Self::Close(_) => "T_ARR_END",
            Self::Text(_) => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Colon => "T_COLON",
            Self::Comma => "T_COMMA",
            Self::End => "T_END",
            Self::Invalid(what) => what,
        }
    }
}

struct Decoder<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    /// Behind the last token.
    at: usize,
    work: &'a mut Work,
    settings: Settings,
}

impl Decoder<'_> {
    /// The error for a token that does not belong where it stands.
    fn unexpected(&self, expected: &str, found: &Token) -> Raise {
        let length = match found {
            Token::End | Token::Invalid(_) => 0,
            _ => 1,
        };
        let place = self.at + 1 - length.min(self.at);
        Raise::Here(format!("Expected {expected} but found {} at character {place}", found.name()))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Raise> {
        let token = self.token();
        self.value_of(token, depth)
    }

    fn value_of(&mut self, token: Token, depth: usize) -> Result<Value, Raise> {
        if matches!(token, Token::Open(_)) && depth >= depth_max(self.settings.decode_depth_max) {
            let (nested, place) = (depth + 1, self.at);
            let text =
                format!("Found too many nested data structures ({nested}) at character {place}");
            return Err(Raise::Here(text));
        }
        self.work.value(0)?;
        Ok(match token {
            Token::Text(text) => {
                self.work.spend(text.len() / 4)?;
                Value::String(self.lua.create_string(text)?)
            }
            Token::Number(number) => Value::Number(number),
            Token::Boolean(value) => Value::Boolean(value),
            Token::Null => Value::NULL,
            Token::Open(b'{') => Value::Table(self.object(depth)?),
            Token::Open(_) => Value::Table(self.array(depth)?),
            other => return Err(self.unexpected("value", &other)),
        })
    }

    fn object(&mut self, depth: usize) -> Result<Table, Raise> {
        let table = self.lua.create_table()?;
        let mut token = self.token();
        if matches!(token, Token::Close(b'}')) {
            return Ok(table);
        }
        loop {
            let Token::Text(key) = token else {
                return Err(self.unexpected("object key string", &token));
            };
            match self.token() {
                Token::Colon => {}
                other => return Err(self.unexpected("colon", &other)),
            }
            let value = self.value(depth + 1)?;
            table.raw_set(self.lua.create_string(key)?, value)?;
            match self.token() {
                Token::Close(b'}') => return Ok(table),
                Token::Comma => token = self.token(),
                other => return Err(self.unexpected("comma or object end", &other)),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Table, Raise> {
        let table = self.lua.create_table()?;
        let mut token = self.token();
        if matches!(token, Token::Close(b']')) {
            return Ok(table);
        }
        for at in 1.. {
            let value = self.value_of(token, depth + 1)?;
            table.raw_set(at, value)?;
            match self.token() {
                Token::Close(b']') => break,
                Token::Comma => token = self.token(),
                other => return Err(self.unexpected("comma or array end", &other)),
            }
        }
        Ok(table)
    }

    fn token(&mut self) -> Token {
        let rest = &self.text[self.at..];
        let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += blanks;
        let rest = &self.text[self.at..];
        let Some(&first) = rest.first() else { return Token::End };
        let single = match first {
            b'{' | b'[' => Token::Open(first),
            b'}' | b']' => Token::Close(first),
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => return self.quoted(),
            b'-' | b'0'..=b'9' if !self.settings.reads_invalid && !is_plain_number(rest) => {
                return Token::Invalid("invalid number");
            }
            b'-' | b'0'..=b'9' => return self.number(),
            b'+' if self.settings.reads_invalid => return self.number(),
            _ => {
                let words = [
                    (&b"true"[..], Token::Boolean(true)),
                    (b"false", Token::Boolean(false)),
                    (b"null", Token::Null),
                ];
                let found = words.into_iter().find(|(word, _)| rest.starts_with(word));
                let Some((word, token)) = found else {
                    // Numbers that JSON does not have are read, as by the original: inf, nan.
                    let is_read = self.settings.reads_invalid && first != b'.' && first != b'+';
                    return match number_at(rest).filter(|_| is_read) {
                        Some(_) => self.number(),
                        None => Token::Invalid("invalid token"),
                    };
                };
                self.at += word.len();
                return token;
            }
        };
        self.at += 1;
        single
    }

    /// The longest number that stands here, as C reads one.
    fn number(&mut self) -> Token {
        match number_at(&self.text[self.at..]) {
            Some((number, length)) => {
                self.at += length;
                Token::Number(number)
            }
            None => Token::Invalid("invalid number"),
        }
    }

    fn quoted(&mut self) -> Token {
        let mut out = Vec::new();
        let mut at = self.at + 1;
        loop {
            match self.text.get(at) {
                None => return Token::Invalid("unexpected end of string"),
                Some(b'"') => break,
                Some(b'\\') => {
                    let Some((bytes, behind)) = self.escape(at + 1) else {
                        return Token::Invalid("invalid escape code");
                    };
                    out.extend_from_slice(&bytes);
                    at = behind;
                }
                Some(byte) => {
                    out.push(*byte);
                    at += 1;
                }
            }
        }
        self.at = at + 1;
        Token::Text(out)
    }

    /// The bytes that an escape at `at` stands for, and the place behind it.
    fn escape(&self, at: usize) -> Option<(Vec<u8>, usize)> {
        let plain = match self.text.get(at)? {
            byte @ (b'"' | b'\\' | b'/') => *byte,
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 0x0c,
            b'r' => b'\r',
            b'u' => return self.unicode(at + 1),
            _ => return None,
        };
        Some((vec![plain], at + 1))
    }

    fn unicode(&self, at: usize) -> Option<(Vec<u8>, usize)> {
        let unit = |at: usize| {
            let digits =
                self.text.get(at..at + 4).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
            u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let (mut code, mut behind) = (unit(at)?, at + 4);
        if (0xd800..0xdc00).contains(&code) {
            let is_pair = self.text.get(behind..behind + 2) == Some(&b"\\u"[..]);
            let low = unit(behind + 2).filter(|low| is_pair && (0xdc00..0xe000).contains(low))?;
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            behind += 6;
        }
        let mut buffer = [0; 4];
        Some((char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes().to_vec(), behind))
    }
}

/// True if a number of JSON begins there: no leading zeros, nothing hexadecimal, no words.
fn is_plain_number(text: &[u8]) -> bool {
    match text.strip_prefix(b"-").unwrap_or(text) {
        [b'0', b'x' | b'X' | b'0'..=b'9', ..] => false,
        [first, ..] => first.is_ascii_digit(),
        [] => false,
    }
}

/// The number that `text` begins with, and its length, as `strtod` reads it.
fn number_at(text: &[u8]) -> Option<(f64, usize)> {
    let digits_from = |at: usize| text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let has_sign = matches!(text.first(), Some(b'-' | b'+'));
    let start = usize::from(has_sign);
    let is_word = |word: &[u8]| {
        text.get(start..start + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word))
    };
    let signed = |number: f64| if text.first() == Some(&b'-') { -number } else { number };
    for (word, number) in
        [(&b"infinity"[..], f64::INFINITY), (b"inf", f64::INFINITY), (b"nan", f64::NAN)]
    {
        if is_word(word) {
            return Some((signed(number), start + word.len()));
        }
    }
    if is_word(b"0x") {
        let hex = text[start + 2..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
        if hex > 0 {
            let end = start + 2 + hex;
            return crate::number::parse(&text[..end]).map(|number| (number, end));
        }
    }
    let whole = digits_from(start);
    let mut end = start + whole;
    if text.get(end) == Some(&b'.') {
        let fraction = digits_from(end + 1);
        if whole + fraction > 0 {
            end += 1 + fraction;
        }
    }
    if end == start {
        return None;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'-' | b'+')));
        let power = if end + 1 + sign <= text.len() { digits_from(end + 1 + sign) } else { 0 };
        if power > 0 {
            end += 1 + sign + power;
        }
    }
    let number = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((number, end))
}
