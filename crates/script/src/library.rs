//! Libraries of functions: what FUNCTION LOAD runs.
//! Owns: what a library sees while it loads, `redis.register_function`. Never: keeps a library (see `store`).
//!
//! Every call of a function loads its library anew, into a Lua of its own: so nothing that a function leaves in a variable
//! is there for the next call, and replicas that loaded the library at different times cannot differ.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Function, Table, Value};

use crate::function::{Answer, Arguments, Raise, as_bytes};
use crate::redis::error_table;
use crate::sandbox::Sandbox;
use crate::shebang::{Flags, LibraryError, is_name, library_name};
use crate::work::Work;
use crate::{TEXT_BYTES_MAX, WORK_MAX, call};

/// A library as it says what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its name.
    pub name: String,
    /// Its functions, in the order in which they were registered.
    pub functions: Vec<FunctionRow>,
}

/// What a library says of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRow {
    /// Its name.
    pub name: String,
    /// What it does, if the library says so.
    pub description: Option<Vec<u8>>,
    /// How it may be run.
    pub flags: Flags,
}

/// Loads a library to see what is in it.
///
/// # Errors
/// The reply to give, in the words of Redis.
pub fn load(code: &[u8]) -> Result<Loaded, LibraryError> {
    let name = library_name(code)?;
    if code.len() > TEXT_BYTES_MAX {
        return Err(LibraryError::Length { bytes_max: TEXT_BYTES_MAX });
    }
    let failed = |error: mlua::Error| LibraryError::Run { message: error.to_string() };
    let sandbox = Sandbox::new(code, 0, 0).map_err(failed)?;
    let chunk = call::compile_in(&sandbox, code, call::LIBRARY_CHUNK)
        .map_err(|message| LibraryError::Syntax { message })?;
    let registry = Registry::default();
    let ended = load_in(&sandbox, &chunk, &registry, WORK_MAX).map_err(failed)?;
    if let Some(message) = ended {
        return Err(LibraryError::Run { message });
    }
    let functions = registry.functions.take();
    if functions.is_empty() { Err(LibraryError::Empty) } else { Ok(Loaded { name, functions }) }
}

/// Functions of one library. Each is a reference that Lua holds for the host, and those are few.
const FUNCTIONS_MAX: usize = 1000;
/// Bytes of the names and descriptions of one library.
const ROWS_BYTES_MAX: usize = TEXT_BYTES_MAX;

/// What a library registered so far.
#[derive(Clone, Default)]
pub(crate) struct Registry {
    functions: Rc<RefCell<Vec<FunctionRow>>>,
    callbacks: Rc<RefCell<Vec<Function>>>,
}

impl Registry {
    /// The function with this name.
    pub(crate) fn callback(&self, name: &str) -> Option<Function> {
        let at = self.functions.borrow().iter().position(|row| row.name == name)?;
        self.callbacks.borrow().get(at).cloned()
    }

    /// `redis.register_function`.
    fn register(&self, arguments: &Arguments<'_>, work: &mut Work) -> Result<(), &'static str> {
        let mut row =
            FunctionRow { name: String::new(), description: None, flags: Flags::default() };
        let callback = match arguments.values.iter().collect::<Vec<_>>()[..] {
            [Value::Table(named)] => row.fill(named)?,
            [_] => {
                return Err(
                    "calling redis.register_function with a single argument is only applicable to Lua table \
                     (representing named arguments).",
                );
            }
            [name, callback] => {
                row.name = text(name)
                    .ok_or("first argument to redis.register_function must be a string")?;
                let Value::Function(callback) = callback else {
                    return Err("second argument to redis.register_function must be a function");
                };
                callback.clone()
            }
            _ => return Err("wrong number of arguments to redis.register_function"),
        };
        if !is_name(&row.name) {
            return Err(
                "Library names can only contain letters, numbers, or underscores(_) and must be at least \
                 one character long",
            );
        }
        work.spend(row.bytes()).map_err(|_| "script did more work than a script may do")?;
        let known = self.functions.borrow();
        if known.iter().any(|known| known.name == row.name) {
            return Err("Function already exists in the library");
        }
        let bytes: usize = known.iter().chain([&row]).map(FunctionRow::bytes).sum();
        if known.len() >= FUNCTIONS_MAX || bytes > ROWS_BYTES_MAX {
            return Err(
                "the library registers too many functions, or says too much of them; split it",
            );
        }
        drop(known);
        self.functions.borrow_mut().push(row);
        self.callbacks.borrow_mut().push(callback);
        Ok(())
    }
}

impl FunctionRow {
    fn bytes(&self) -> usize {
        self.name.len() + self.description.as_ref().map_or(0, Vec::len)
    }

    /// Takes what stands in a table of named arguments; returns the function itself.
    fn fill(&mut self, named: &Table) -> Result<Function, &'static str> {
        let (mut name, mut callback) = (None, None);
        for pair in named.pairs::<Value, Value>() {
            let (key, value) = pair.map_err(|_| "the arguments cannot be read")?;
            let key = text(&key)
                .ok_or("named argument key given to redis.register_function is not a string")?;
            match key.to_ascii_lowercase().as_str() {
                "function_name" => {
                    let given = text(&value).ok_or(
                        "function_name argument given to redis.register_function must be a string",
                    )?;
                    name = Some(given);
                }
                "description" => {
                    let given = as_bytes(&value, DIGITS).ok_or(
                        "description argument given to redis.register_function must be a string",
                    )?;
                    self.description = Some(given.to_vec());
                }
                "callback" => {
                    let Value::Function(given) = value else {
                        return Err(
                            "callback argument given to redis.register_function must be a function",
                        );
                    };
                    callback = Some(given);
                }
                "flags" => {
                    let Value::Table(given) = value else {
                        return Err(
                            "flags argument to redis.register_function must be a table representing \
                             function flags",
                        );
                    };
                    self.flags = flags(&given)?;
                }
                _ => return Err("unknown argument given to redis.register_function"),
            }
        }
        self.name = name.ok_or("redis.register_function must get a function name argument")?;
        callback.ok_or("redis.register_function must get a callback argument")
    }
}

/// Digits of a number that stands where text belongs.
const DIGITS: usize = 14;

fn text(value: &Value) -> Option<String> {
    as_bytes(value, DIGITS).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn flags(table: &Table) -> Result<Flags, &'static str> {
    const UNKNOWN: &str = "unknown flag given";
    let mut flags = Flags::default();
    for at in 1.. {
        let value: Value = table.raw_get(at).map_err(|_| UNKNOWN)?;
        if value.is_nil() {
            break;
        }
        flags = flags.with(text(&value).and_then(|name| Flags::named(&name)).ok_or(UNKNOWN)?);
    }
    Ok(flags)
}

/// Runs the chunk of a library, which sees nothing but a `redis` with which it registers its functions. The error that
/// ended it, if one did; then globals and libraries are as for a script, and sealed.
pub(crate) fn load_in(
    sandbox: &Sandbox,
    chunk: &Function,
    registry: &Registry,
    work_max: u32,
) -> mlua::Result<Option<String>> {
    let api = loading_api(sandbox, registry)?;
    let globals = sandbox.lua.globals();
    let hidden: Vec<(Value, Value)> = globals.pairs().collect::<mlua::Result<_>>()?;
    for (name, _) in &hidden {
        globals.raw_set(name, Value::Nil)?;
    }
    let guard = sandbox.guard(move |name| (name == b"redis").then(|| Value::Table(api.clone())))?;
    let library = sandbox.library(guard.clone());
    library.add("__newindex", |_, _| {
        Err(Raise::Here("Attempt to modify a readonly table".to_owned()))
    });
    library.finish()?;
    globals.set_metatable(Some(guard))?;
    sandbox.fuel.call::<()>(work_max)?;
    let (is_loaded, value): (bool, Value) = sandbox.run.call(chunk)?;
    let left: f64 = sandbox.fuel.call(Value::Nil)?;
    sandbox.fuel.call::<()>(call::WITHOUT_LIMIT)?;
    globals.set_metatable(None)?;
    for (name, value) in &hidden {
        globals.raw_set(name, value)?;
    }
    sandbox.seal()?;
    sandbox.fuel.call::<()>(left)?;
    if left < 0.0 {
        return Ok(Some("it did more work than a script may do".to_owned()));
    }
    Ok((!is_loaded).then(|| call::plain_error(&value)))
}

/// The `redis` that a library sees while it loads.
fn loading_api(sandbox: &Sandbox, registry: &Registry) -> mlua::Result<Table> {
    let table = sandbox.lua.create_table()?;
    for pair in sandbox.redis.pairs::<String, Value>() {
        let (name, value) = pair?;
        if name == "log" || !value.is_function() {
            table.raw_set(name, value)?;
        }
    }
    let registry = registry.clone();
    let library = sandbox.library(table.clone());
    library.add("register_function", move |lua, arguments| -> Answer {
        arguments.metered(|work| {
            // The name is compared with all others, the description copied.
            work.spend(FUNCTIONS_MAX)?;
            match registry.register(arguments, work) {
                Ok(()) => Ok(Vec::new()),
                Err(text) => Err(Raise::Value(error_table(lua, format!("ERR {text}"))?)),
            }
        })
    });
    library.finish()?;
    table.set_metatable(Some(sandbox.guard(|_| None)?))?;
    sandbox.seal_table(&table)?;
    Ok(table)
}
