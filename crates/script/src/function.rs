//! Functions of the host as a script sees them.
//! Owns: how they take arguments, answer and raise. Never: what one does.
//!
//! All of them are one function for Lua, which is told the number of the one that is meant: to make a function of the host
//! takes as long as to run a short script. `call_host` in `lua/keystead.c` says what passes between the two.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::{Rc, Weak};

use mlua::{BorrowedBytes, Function, IntoLua, IntoLuaMulti, Lua, MultiValue, Table, Value};

use crate::work::{Spent, Work};

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
    /// What the script may still do.
    fuel: f64,
    /// What this call did.
    work: Cell<usize>,
}

impl Arguments<'_> {
    pub(crate) fn get(&self, at: usize) -> Option<&Value> {
        self.values.get(at)
    }

    /// Counts work. If that was too much, the next instruction of the script ends it.
    pub(crate) fn charge(&self, work: usize) {
        self.work.set(self.work.get().saturating_add(work));
    }

    /// Runs what takes longer the longer its arguments are, and counts the work that it did.
    pub(crate) fn metered(&self, run: impl FnOnce(&mut Work) -> Answer) -> Answer {
        let mut work = Work::allowed(self.fuel);
        let answer = run(&mut work);
        self.charge(work.done());
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

/// A function of the host.
pub(crate) type HostFunction = dyn Fn(&Lua, &Arguments<'_>) -> Answer;

/// The functions of the host with their names.
type Numbered = RefCell<Vec<(&'static str, Rc<HostFunction>)>>;

/// The functions of the host, by number.
#[derive(Clone, Default)]
pub(crate) struct Functions(Rc<Numbered>);

impl Functions {
    /// The same without keeping them: for a function among them that adds others.
    pub(crate) fn downgrade(&self) -> WeakFunctions {
        WeakFunctions(Rc::downgrade(&self.0))
    }

    /// What Lua calls in place of all of them.
    pub(crate) fn dispatcher(&self, lua: &Lua) -> mlua::Result<Function> {
        let functions = self.clone();
        lua.create_function(move |lua, values: MultiValue| {
            dispatch(lua, values, |number| functions.0.borrow().get(number).cloned())
        })
    }
}

/// See [`Functions::downgrade`].
pub(crate) struct WeakFunctions(Weak<Numbered>);

impl WeakFunctions {
    /// The functions; none if their Lua is gone.
    pub(crate) fn upgrade(&self) -> Functions {
        self.0.upgrade().map_or_else(Functions::default, Functions)
    }
}

/// Calls the function that is meant, and makes of its answer what `call_host` expects.
pub(crate) fn dispatch<F: Deref<Target: Fn(&Lua, &Arguments<'_>) -> Answer>>(
    lua: &Lua,
    mut values: MultiValue,
    find: impl FnOnce(usize) -> Option<(&'static str, F)>,
) -> mlua::Result<MultiValue> {
    let [number, fuel] =
        [values.pop_front(), values.pop_front()].map(|it| it.as_ref().and_then(as_number));
    #[expect(clippy::cast_possible_truncation, reason = "`install` counted it")]
    #[expect(clippy::cast_sign_loss, reason = "`install` counted it")]
    let found = find(number.unwrap_or(0.0) as usize);
    let (function, run) =
        found.ok_or_else(|| mlua::Error::runtime("the host has no such function"))?;
    let fuel = fuel.unwrap_or(0.0);
    let arguments = Arguments { function, values: &values, fuel, work: Cell::new(0) };
    let answer = run(lua, &arguments);
    #[expect(clippy::cast_precision_loss, reason = "far beyond what a script may do")]
    let work = Value::Number(arguments.work.get() as f64);
    match answer {
        Ok(results) => Ok([Value::Boolean(true), work].into_iter().chain(results).collect()),
        Err(Raise::Here(message)) => (Value::Nil, work, message.into_lua(lua)?).into_lua_multi(lua),
        Err(Raise::Value(value)) => (Value::Boolean(false), work, value).into_lua_multi(lua),
        Err(Raise::Lua(error)) => Err(error),
    }
}

/// Puts functions into a table.
pub(crate) struct Library<'a> {
    pub(crate) lua: &'a Lua,
    pub(crate) install: &'a Function,
    pub(crate) dispatcher: &'a Function,
    pub(crate) functions: &'a Functions,
    pub(crate) table: Table,
    /// Number of the first that is not in the table yet.
    first: usize,
}

impl<'a> Library<'a> {
    pub(crate) fn new(
        (lua, install, dispatcher): (&'a Lua, &'a Function, &'a Function),
        functions: &'a Functions,
        table: Table,
    ) -> Self {
        let first = functions.0.borrow().len();
        Self { lua, install, dispatcher, functions, table, first }
    }

    /// Adds a function, to be put into the table with all others by [`finish`](Self::finish).
    pub(crate) fn add(
        &self,
        name: &'static str,
        run: impl Fn(&Lua, &Arguments<'_>) -> Answer + 'static,
    ) {
        self.functions.0.borrow_mut().push((name, Rc::new(run)));
    }

    /// Puts into the table what was added.
    pub(crate) fn finish(self) -> mlua::Result<()> {
        let functions = self.functions.0.borrow();
        let added = &functions[self.first..];
        let mut call = MultiValue::with_capacity(3 + added.len());
        call.push_back(Value::Table(self.table));
        call.push_back(Value::Function(self.dispatcher.clone()));
        call.push_back(Value::Integer(i64::try_from(self.first).unwrap_or(i64::MAX)));
        for (name, _) in added {
            call.push_back(Value::String(self.lua.create_string(name)?));
        }
        self.install.call(call)
    }
}
