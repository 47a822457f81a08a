//! The library `cmsgpack`: values of Lua as MessagePack and back.
//! Owns: both conversions, the choices of the original where the format leaves one. Never: binary and extension types,
//! which the original does not know either.

use mlua::{Lua, Table, Value};

use crate::function::{Answer, Arguments, Library, Raise};
use crate::number::plain;
use crate::work::Work;
use crate::{DEPTH_MAX, REPLY_BYTES_MAX};

/// Tables nested more deeply than this are packed as nil, as by the original.
const NESTING_MAX: usize = 16;

/// Adds all functions.
pub(crate) fn fill(library: &Library<'_>) -> mlua::Result<()> {
    library.table.raw_set("_NAME", "cmsgpack")?;
    library.table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    library.add("pack", |lua, arguments| {
        if arguments.values.is_empty() {
            let text = "bad argument #0 to 'pack' (MessagePack pack needs input.)";
            return Err(Raise::Here(text.to_owned()));
        }
        arguments.metered(|work| {
            let mut packer = Packer { out: Vec::new(), work };
            arguments.values.iter().try_for_each(|value| packer.value(value, 0))?;
            Ok(vec![Value::String(lua.create_string(&packer.out)?)])
        })
    });
    library.add("unpack", |lua, arguments| unpack(lua, arguments, usize::MAX, None));
    library.add("unpack_one", |lua, arguments| {
        let offset = whole(arguments, 1, 0.0)?;
        unpack(lua, arguments, 1, Some((1.0, offset)))
    });
    library.add("unpack_limit", |lua, arguments| {
        let (limit, offset) = (arguments.number(1)?.trunc(), whole(arguments, 2, 0.0)?);
        // Neither a limit nor an offset: everything, as without them.
        if limit == 0.0 && offset == 0.0 {
            return unpack(lua, arguments, usize::MAX, None);
        }
        #[expect(clippy::cast_possible_truncation, reason = "a limit beyond every count is none")]
        #[expect(clippy::cast_sign_loss, reason = "below zero is refused")]
        unpack(lua, arguments, limit as usize, Some((limit, offset)))
    });
    Ok(())
}

/// The integer at a place, or what it is if nothing stands there.
fn whole(arguments: &Arguments<'_>, at: usize, absent: f64) -> Result<f64, Raise> {
    match arguments.get(at) {
        None | Some(Value::Nil) => Ok(absent),
        Some(_) => arguments.number(at).map(f64::trunc),
    }
}

/// Values from the first argument: `count` at most, and where the next one begins if `asked` (limit and offset) says so.
fn unpack(lua: &Lua, arguments: &Arguments<'_>, count: usize, asked: Option<(f64, f64)>) -> Answer {
    let bytes = arguments.bytes(0)?;
    let mut start = 0;
    if let Some((limit, offset)) = asked {
        if offset < 0.0 || limit < 0.0 {
            let text = format!(
                "Invalid request to unpack with offset of {offset} and limit of {}.",
                bytes.len()
            );
            return Err(Raise::Here(text));
        }
        #[expect(clippy::cast_possible_truncation, reason = "an offset beyond the end is refused")]
        #[expect(clippy::cast_sign_loss, reason = "below zero is refused")]
        let offset = offset as usize;
        if offset > bytes.len() {
            let length = bytes.len();
            let text = format!("Start offset {offset} greater than input length {length}.");
            return Err(Raise::Here(text));
        }
        start = offset;
    }
    arguments.metered(|work| {
        let mut unpacker = Unpacker { lua, rest: &bytes[start..], work };
        let mut values = Vec::new();
        while !unpacker.rest.is_empty() && values.len() < count {
            if values.len() >= RESULTS_MAX {
                let text =
                    "too many return values at once; use unpack_one or unpack_limit instead.";
                return Err(Raise::Here(format!("stack overflow ({text})")));
            }
            values.push(unpacker.value(0)?);
        }
        if asked.is_some() {
            let left = unpacker.rest.len();
            let next = if left == 0 { None } else { i64::try_from(bytes.len() - left).ok() };
            values.insert(0, Value::Integer(next.unwrap_or(-1)));
        }
        Ok(values)
    })
}

/// Results of one call at most: the stack of a function ends soon after.
const RESULTS_MAX: usize = 7_900;

struct Packer<'w> {
    out: Vec<u8>,
    work: &'w mut Work,
}

impl Packer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Raise> {
        if self.out.len() > REPLY_BYTES_MAX {
            return Err(Raise::Here("the packed values are too long".to_owned()));
        }
        self.work.value(0)?;
        match value {
            Value::Boolean(value) => self.out.push(if *value { 0xc3 } else { 0xc2 }),
            Value::Integer(number) => self.integer(*number),
            Value::Number(number) => self.number(*number),
            Value::String(text) => {
                let bytes = text.as_bytes();
                self.work.spend(bytes.len() / 16)?;
                self.text(&bytes);
            }
            Value::Table(table) if depth < NESTING_MAX => self.table(table, depth)?,
            _ => self.out.push(0xc0),
        }
        Ok(())
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.out.push(tag);
        self.out.extend_from_slice(bytes);
    }

    /// The shortest form.
    fn integer(&mut self, number: i64) {
        match number {
            -32..=0x7f => self.out.push(number.to_be_bytes()[7]),
            0x80..=0xff => self.tagged(0xcc, &number.to_be_bytes()[7..]),
            0x100..=0xffff => self.tagged(0xcd, &number.to_be_bytes()[6..]),
            0x1_0000..=0xffff_ffff => self.tagged(0xce, &number.to_be_bytes()[4..]),
            0x1_0000_0000.. => self.tagged(0xcf, &number.to_be_bytes()),
            -0x80..=-33 => self.tagged(0xd0, &number.to_be_bytes()[7..]),
            -0x8000..=-0x81 => self.tagged(0xd1, &number.to_be_bytes()[6..]),
            -0x8000_0000..=-0x8001 => self.tagged(0xd2, &number.to_be_bytes()[4..]),
            _ => self.tagged(0xd3, &number.to_be_bytes()),
        }
    }

    /// An integer if it is one, else the shorter of the forms that lose nothing.
    #[expect(clippy::cast_possible_truncation, reason = "what a cast loses is compared")]
    #[expect(clippy::cast_precision_loss, reason = "what a cast loses is compared")]
    #[expect(clippy::float_cmp, reason = "the same number is meant")]
    fn number(&mut self, number: f64) {
        let number = plain(number);
        let whole = number as i64;
        if number.is_finite() && whole as f64 == number && whole != i64::MAX {
            self.integer(whole);
        } else if f64::from(number as f32) == number {
            self.tagged(0xca, &(number as f32).to_be_bytes());
        } else {
            self.tagged(0xcb, &number.to_be_bytes());
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        let length = bytes.len();
        match length {
            0..32 => self.out.push(0xa0 | length.to_be_bytes()[7]),
            32..=0xff => self.tagged(0xd9, &length.to_be_bytes()[7..]),
            0x100..=0xffff => self.tagged(0xda, &length.to_be_bytes()[6..]),
            _ => self.tagged(0xdb, &length.to_be_bytes()[4..]),
        }
        self.out.extend_from_slice(bytes);
    }

    /// The head of an array (`0x90`, `0xdc`) or a map (`0x80`, `0xde`).
    fn head(&mut self, length: usize, short: u8, long: u8) {
        match length {
            0..16 => self.out.push(short | length.to_be_bytes()[7]),
            16..=0xffff => self.tagged(long, &length.to_be_bytes()[6..]),
            _ => self.tagged(long + 1, &length.to_be_bytes()[4..]),
        }
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<(), Raise> {
        let (count, is_array) = self.look(table)?;
        if is_array {
            let length = table.raw_len();
            self.head(length, 0x90, 0xdc);
            for at in 1..=length {
                self.value(&table.raw_get(at)?, depth + 1)?;
            }
            return Ok(());
        }
        self.head(count, 0x80, 0xde);
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            self.value(&key, depth + 1)?;
            self.value(&value, depth + 1)?;
        }
        Ok(())
    }

    /// How many keys there are, and whether they are 1 up to that.
    fn look(&mut self, table: &Table) -> Result<(usize, bool), Raise> {
        let (mut count, mut greatest, mut is_array) = (0usize, 0i64, true);
        for pair in table.pairs::<Value, Value>() {
            self.work.value(0)?;
            count += 1;
            match pair?.0 {
                Value::Integer(at @ 1..) => greatest = greatest.max(at),
                _ => is_array = false,
            }
        }
        Ok((count, is_array && usize::try_from(greatest) == Ok(count)))
    }
}

struct Unpacker<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
    work: &'a mut Work,
}

impl<'a> Unpacker<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Raise> {
        let missing = || Raise::Here("Missing bytes in input.".to_owned());
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(missing)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Raise> {
        Ok(self.take(N)?.try_into().expect("as many bytes were taken"))
    }

    /// A number of so many bytes.
    fn length(&mut self, bytes: usize) -> Result<usize, Raise> {
        Ok(self.take(bytes)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    #[expect(clippy::cast_precision_loss, reason = "Lua has no other numbers")]
    fn value(&mut self, depth: usize) -> Result<Value, Raise> {
        if depth > DEPTH_MAX {
            return Err(Raise::Here("the packed values are nested too deeply".to_owned()));
        }
        self.work.value(0)?;
        let tag = self.take(1)?[0];
        let number = match tag {
            0x00..=0x7f => f64::from(tag),
            0xe0..=0xff => f64::from(tag.cast_signed()),
            0xca => f64::from(f32::from_be_bytes(self.array()?)),
            0xcb => f64::from_be_bytes(self.array()?),
            0xcc => f64::from(u8::from_be_bytes(self.array()?)),
            0xcd => f64::from(u16::from_be_bytes(self.array()?)),
            0xce => f64::from(u32::from_be_bytes(self.array()?)),
            0xcf => u64::from_be_bytes(self.array()?) as f64,
            0xd0 => f64::from(i8::from_be_bytes(self.array()?)),
            0xd1 => f64::from(i16::from_be_bytes(self.array()?)),
            0xd2 => f64::from(i32::from_be_bytes(self.array()?)),
            0xd3 => i64::from_be_bytes(self.array()?) as f64,
            _ => return self.other(tag, depth),
        };
        Ok(Value::Number(number))
    }

    fn other(&mut self, tag: u8, depth: usize) -> Result<Value, Raise> {
        match tag {
            0xc0 => Ok(Value::Nil),
            0xc2 => Ok(Value::Boolean(false)),
            0xc3 => Ok(Value::Boolean(true)),
            0xa0..=0xbf => self.text(usize::from(tag & 0x1f)),
            0xd9 => self.text_behind(1),
            0xda => self.text_behind(2),
            0xdb => self.text_behind(4),
            0x90..=0x9f => self.list(usize::from(tag & 0x0f), depth),
            0xdc => self.length(2).and_then(|length| self.list(length, depth)),
            0xdd => self.length(4).and_then(|length| self.list(length, depth)),
            0x80..=0x8f => self.map(usize::from(tag & 0x0f), depth),
            0xde => self.length(2).and_then(|length| self.map(length, depth)),
            0xdf => self.length(4).and_then(|length| self.map(length, depth)),
            _ => Err(Raise::Here("Bad data format in input.".to_owned())),
        }
    }

    fn text_behind(&mut self, bytes: usize) -> Result<Value, Raise> {
        let length = self.length(bytes)?;
        self.text(length)
    }

    fn text(&mut self, length: usize) -> Result<Value, Raise> {
        let bytes = self.take(length)?;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn list(&mut self, length: usize, depth: usize) -> Result<Value, Raise> {
        // No room is made ahead: the length may be a lie.
        let table = self.lua.create_table()?;
        for at in 1..=length {
            table.raw_set(at, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<Value, Raise> {
        let table = self.lua.create_table()?;
        for _ in 0..length {
            let key = self.value(depth + 1)?;
            let unusable = match &key {
                Value::Nil => Some("nil"),
                Value::Number(number) if number.is_nan() => Some("NaN"),
                _ => None,
            };
            if let Some(what) = unusable {
                let text = format!("table index is {what}");
                return Err(Raise::Value(Value::String(self.lua.create_string(text)?)));
            }
            table.raw_set(key, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }
}
