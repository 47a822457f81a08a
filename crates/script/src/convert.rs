//! Values of Redis as values of Lua, and back.
//! Owns: both conversions, as Redis 7 does them. Never: runs anything.

use keystead_resp::{Protocol, ReplyWriter, Value as Reply};
use mlua::{Lua, Table, Value};

use crate::function::as_number;
use crate::work::{Spent, VALUE_WORK, Work};
use crate::{DEPTH_MAX, REPLY_BYTES_MAX};

/// A reply of a command as the script sees it.
pub(crate) fn to_lua(lua: &Lua, reply: &Reply, protocol: Protocol) -> mlua::Result<Value> {
    let field = |name: &str, value: Value| {
        let table = lua.create_table()?;
        table.raw_set(name, value)?;
        Ok(Value::Table(table))
    };
    let text = |bytes: &[u8]| lua.create_string(bytes).map(Value::String);
    match reply {
        Reply::Simple(status) => field("ok", text(status.as_bytes())?),
        Reply::Error(error) => field("err", text(error.as_bytes())?),
        #[expect(clippy::cast_precision_loss, reason = "Lua 5.1 has no other numbers")]
        Reply::Integer(number) => Ok(Value::Number(*number as f64)),
        Reply::Bulk(bytes) => text(bytes),
        Reply::Null if protocol == Protocol::Resp2 => Ok(Value::Boolean(false)),
        Reply::Null => Ok(Value::Nil),
        Reply::Double(number) => field("double", Value::Number(*number)),
        Reply::Boolean(value) => Ok(Value::Boolean(*value)),
        Reply::BigNumber(digits) => field("big_number", text(digits.as_bytes())?),
        Reply::Verbatim { format, text: content } => {
            let table = lua.create_table()?;
            table.raw_set("format", text(format)?)?;
            table.raw_set("string", text(content)?)?;
            field("verbatim_string", Value::Table(table))
        }
        Reply::Array(elements) | Reply::Push(elements) => {
            let table = lua.create_table_with_capacity(elements.len(), 0)?;
            for (at, element) in elements.iter().enumerate() {
                table.raw_set(at + 1, to_lua(lua, element, protocol)?)?;
            }
            Ok(Value::Table(table))
        }
        Reply::Set(elements) => {
            let table = lua.create_table()?;
            for element in elements {
                table.raw_set(to_lua(lua, element, protocol)?, true)?;
            }
            field("set", Value::Table(table))
        }
        Reply::Map(pairs) => {
            let table = lua.create_table()?;
            for (key, value) in pairs {
                let key = to_lua(lua, key, protocol)?;
                table.raw_set(key, to_lua(lua, value, protocol)?)?;
            }
            field("map", Value::Table(table))
        }
        Reply::Attribute { value, .. } => to_lua(lua, value, protocol),
    }
}

/// How many values a reply consists of.
pub(crate) fn count(reply: &Reply) -> usize {
    match reply {
        Reply::Array(elements) | Reply::Push(elements) | Reply::Set(elements) => {
            1 + elements.iter().map(count).sum::<usize>()
        }
        Reply::Map(pairs) => {
            1 + pairs.iter().map(|(key, value)| count(key) + count(value)).sum::<usize>()
        }
        Reply::Attribute { value, .. } => count(value),
        _ => 1,
    }
}

/// Why a value of a script is no reply.
pub(crate) enum Unfit {
    /// It is nested too deeply.
    Depth,
    /// It is too long.
    Length,
    /// Writing it is more work than the script has left.
    Work,
    /// What Lua itself says: no memory.
    Lua(mlua::Error),
}

impl From<Spent> for Unfit {
    fn from(_: Spent) -> Self {
        Self::Work
    }
}

impl From<mlua::Error> for Unfit {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

/// Work of finding out what a table stands for.
const TABLE_WORK: usize = 5 * VALUE_WORK;

/// Writes a value of a script as its reply.
pub(crate) struct Replying<'a, 'w> {
    pub(crate) reply: &'a mut ReplyWriter<'w>,
    /// What the script asked for with `redis.setresp`.
    pub(crate) protocol: Protocol,
    /// What it may still do: a table that holds another one twice is short, and its reply is not.
    pub(crate) work: &'a mut Work,
}

impl Replying<'_, '_> {
    /// Writes `value`.
    pub(crate) fn write(&mut self, value: &Value, depth: usize) -> Result<(), Unfit> {
        if depth > DEPTH_MAX {
            return Err(Unfit::Depth);
        }
        if self.reply.position() > REPLY_BYTES_MAX {
            return Err(Unfit::Length);
        }
        self.work.value(0)?;
        match value {
            Value::String(bytes) => self.reply.bulk(&bytes.as_bytes()),
            Value::Boolean(value) if self.protocol == Protocol::Resp3 => self.reply.boolean(*value),
            Value::Boolean(true) => self.reply.integer(1),
            Value::Integer(_) | Value::Number(_) => {
                #[expect(clippy::cast_possible_truncation, reason = "Redis cuts the fraction too")]
                self.reply.integer(as_number(value).unwrap_or(0.0) as i64);
            }
            Value::Table(table) => self.table(table, depth)?,
            _ => self.reply.null(),
        }
        Ok(())
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<(), Unfit> {
        // Each of the fields that may say what it stands for is looked for.
        self.work.spend(TABLE_WORK)?;
        if let Value::String(error) = table.raw_get("err")? {
            self.reply.error(error_text(&error.as_bytes()));
        } else if let Value::String(status) = table.raw_get("ok")? {
            let text = String::from_utf8_lossy(&status.as_bytes()).replace(['\r', '\n'], " ");
            self.reply.simple(&text);
        } else if let Some(number) = as_double(&table.raw_get("double")?) {
            self.reply.double_text(&crate::number::general(number, 17));
        } else if let Value::Table(map) = table.raw_get("map")? {
            let count = self.pairs(&map)?;
            self.reply.map(count);
            for pair in map.pairs::<Value, Value>() {
                let (key, value) = pair?;
                self.write(&key, depth + 1)?;
                self.write(&value, depth + 1)?;
            }
        } else if let Value::Table(set) = table.raw_get("set")? {
            let count = self.pairs(&set)?;
            self.reply.set(count);
            for pair in set.pairs::<Value, Value>() {
                self.write(&pair?.0, depth + 1)?;
            }
        } else {
            self.array(table, depth)?;
        }
        Ok(())
    }

    /// How many pairs a table has.
    fn pairs(&mut self, table: &Table) -> Result<usize, Unfit> {
        let mut count = 0;
        for pair in table.pairs::<Value, Value>() {
            pair?;
            self.work.value(0)?;
            count += 1;
        }
        Ok(count)
    }

    /// The elements up to the first that is nil.
    fn array(&mut self, table: &Table, depth: usize) -> Result<(), Unfit> {
        // Counted first: to hold them all would take a reference of Lua each, and those are few.
        let mut count = 0;
        while !table.raw_get::<Value>(count + 1)?.is_nil() {
            self.work.value(0)?;
            count += 1;
        }
        self.reply.array(count);
        (1..=count).try_for_each(|at| self.write(&table.raw_get(at)?, depth + 1))
    }
}

fn as_double(value: &Value) -> Option<f64> {
    if matches!(value, Value::Integer(_) | Value::Number(_)) { as_number(value) } else { None }
}

/// The text of an error in a table, trimmed as Redis does.
pub(crate) fn error_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_matches(['\r', '\n']).to_owned()
}
