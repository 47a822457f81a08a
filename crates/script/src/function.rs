//! Functions of the host as a script sees them.
//! Owns: how they take arguments, answer and raise. Never: what one does.
//!
//! A function answers `true, results...`, or `nil, message` (raised with the place of the call in front), or
//! `false, value` (raised as it is); `call_host` in `lua/keystead.c` makes of it what Lua expects.

use std::ops::Deref;
use std::rc::Rc;

use mlua::{BorrowedBytes, Function, IntoLua, Lua, MultiValue, Table, Value};

use crate::work::{Meter, Spent, Work};

/// What a function raises.
pub(crate) enum Raise {
    /// A message, with the place of the call in front.
    Here(String),
    /// A value, as it is.
    Value(Value),
    /// What Lua itself says: no memory.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Raise {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

impl From<Spent> for Raise {
    fn from(spent: Spent) -> Self {
        Self::Here(spent.to_string())
    }
}

pub(crate) type Answer = Result<Vec<Value>, Raise>;

/// Arguments of a call.
pub(crate) struct Arguments<'a> {
    pub(crate) function: &'static str,
    pub(crate) values: &'a MultiValue,
    meter: &'a Meter,
}

impl Arguments<'_> {
    pub(crate) fn get(&self, at: usize) -> Option<&Value> {
        self.values.get(at)
    }

    /// Runs what takes longer the longer its arguments are, and counts the work that it did.
    pub(crate) fn metered(&self, run: impl FnOnce(&mut Work) -> Answer) -> Answer {
        let mut work = self.meter.begin()?;
        let answer = run(&mut work);
        self.meter.end(&work)?;
        answer
    }

    /// The error for an argument of the right type that does not fit; `at` counts from 0.
    pub(crate) fn unfit(&self, at: usize, what: &str) -> Raise {
        Raise::Here(format!("bad argument #{} to '{}' ({what})", at + 1, self.function))
    }

    /// The error for an argument that is not what it should be; `at` counts from 0.
    pub(crate) fn mismatch(&self, at: usize, expected: &str) -> Raise {
        let found = self.get(at).map_or("no value", kind_of);
        self.unfit(at, &format!("{expected} expected, got {found}"))
    }

    /// The number at a place; text that is a number counts.
    pub(crate) fn number(&self, at: usize) -> Result<f64, Raise> {
        self.get(at).and_then(as_number).ok_or_else(|| self.mismatch(at, "number"))
    }

    /// The bytes at a place; numbers count.
    pub(crate) fn bytes(&self, at: usize) -> Result<Bytes, Raise> {
        self.get(at)
            .and_then(|value| as_bytes(value, DIGITS))
            .ok_or_else(|| self.mismatch(at, "string"))
    }
}

/// The name of a value's type.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        _ => "userdata",
    }
}

/// The number that a value is or spells.
pub(crate) fn as_number(value: &Value) -> Option<f64> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "it was a double of Lua before")]
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::String(text) => crate::number::parse(&text.as_bytes()),
        _ => None,
    }
}

/// Bytes of a value: a string of Lua is not copied, however long it is.
pub(crate) enum Bytes {
    /// Those of a string.
    Of(BorrowedBytes),
    /// Those that a number is written as.
    Written(String),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Of(bytes) => bytes,
            Self::Written(text) => text.as_bytes(),
        }
    }
}

/// The bytes that a value is, or is written as with so many digits.
pub(crate) fn as_bytes(value: &Value, digits: usize) -> Option<Bytes> {
    match value {
        Value::String(bytes) => Some(Bytes::Of(bytes.as_bytes())),
        Value::Integer(_) | Value::Number(_) => {
            as_number(value).map(|number| Bytes::Written(crate::number::general(number, digits)))
        }
        _ => None,
    }
}

/// Digits of a number where Lua makes text of it.
const DIGITS: usize = 14;

/// Makes of what a function answered what `call_host` expects.
pub(crate) fn finish(lua: &Lua, answer: Answer) -> mlua::Result<MultiValue> {
    let mut values = MultiValue::new();
    match answer {
        Ok(results) => {
            values.push_back(Value::Boolean(true));
            results.into_iter().for_each(|value| values.push_back(value));
        }
        Err(Raise::Here(message)) => {
            values.push_back(Value::Nil);
            values.push_back(message.into_lua(lua)?);
        }
        Err(Raise::Value(value)) => {
            values.push_back(Value::Boolean(false));
            values.push_back(value);
        }
        Err(Raise::Lua(error)) => return Err(error),
    }
    Ok(values)
}

/// Puts functions into a table.
pub(crate) struct Library<'a> {
    pub(crate) lua: &'a Lua,
    pub(crate) wrap: &'a Function,
    pub(crate) meter: &'a Rc<Meter>,
    pub(crate) table: Table,
}

impl Library<'_> {
    pub(crate) fn add(
        &self,
        name: &'static str,
        run: impl Fn(&Lua, &Arguments<'_>) -> Answer + 'static,
    ) -> mlua::Result<()> {
        let meter = Rc::clone(self.meter);
        let raw = self.lua.create_function(move |lua, values: MultiValue| {
            finish(lua, run(lua, &Arguments { function: name, values: &values, meter: &meter }))
        })?;
        self.table.raw_set(name, self.wrap.call::<Function>(raw)?)
    }
}
