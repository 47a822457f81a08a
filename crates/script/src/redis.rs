//! The table `redis`: commands, replies, and what a script may ask about itself.
//! Owns: its functions. Never: what a command means; that is the host's.

use std::cell::{Cell, RefCell};

use keystead_resp::{Protocol, ReplyDecoder, ReplyLimits};
use mlua::{Lua, MultiValue, Value};

use crate::COMMAND_BYTES_MAX;
use crate::convert::{count, to_lua};
use crate::function::{Answer, Arguments, Library, Raise, as_bytes, as_number, dispatch};
use crate::work::VALUE_WORK;

/// What a script calls.
pub trait Host {
    /// Runs a command and writes its reply, an error included, in `protocol`. Returns the work that it was beyond that of a
    /// command that looks at one thing, an instruction of Lua being one.
    fn call(&mut self, command: &[Vec<u8>], protocol: Protocol, reply: &mut Vec<u8>) -> usize;

    /// Says whether this script's client may run the command.
    ///
    /// # Errors
    /// There is no such command; the text of the reply, code first.
    fn check(&mut self, command: &[Vec<u8>]) -> Result<bool, String>;
}

/// Work that a command counts for, beside its reply: about what its way through Lua and back takes.
const COMMAND_WORK: usize = 500;
/// Digits of a number among the arguments of a command.
const DIGITS: usize = 17;

/// Functions of the table `redis` that need the host, by number.
pub(crate) const SESSION_FUNCTIONS: [&str; 4] = ["call", "pcall", "setresp", "acl_check_cmd"];

/// What one run holds beside its Lua.
pub(crate) struct Session<'h> {
    host: RefCell<&'h mut dyn Host>,
    pub(crate) protocol: Cell<Protocol>,
    /// True while the host runs a command: still so behind the run if the host panicked.
    pub(crate) is_in_host: Cell<bool>,
}

/// How a failed command reaches the script.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnError {
    /// `redis.call`: it is raised.
    Raise,
    /// `redis.pcall`: it is the result.
    Return,
}

impl<'h> Session<'h> {
    pub(crate) fn new(host: &'h mut dyn Host) -> Self {
        Self {
            host: RefCell::new(host),
            protocol: Cell::new(Protocol::Resp2),
            is_in_host: Cell::new(false),
        }
    }

    /// The function of [`SESSION_FUNCTIONS`] that a script called.
    pub(crate) fn dispatch(&self, lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
        dispatch(lua, values, |number| {
            let name = *SESSION_FUNCTIONS.get(number)?;
            let run = move |lua: &Lua, arguments: &Arguments<'_>| match name {
                "call" => self.call(lua, OnError::Raise, arguments),
                "pcall" => self.call(lua, OnError::Return, arguments),
                "setresp" => self.set_protocol(lua, arguments),
                _ => self.check(lua, arguments),
            };
            Some((name, Box::new(run)))
        })
    }

    /// `redis.call` and `redis.pcall`.
    fn call(&self, lua: &Lua, on_error: OnError, arguments: &Arguments<'_>) -> Answer {
        let value = self.command(lua, arguments)?;
        let is_error = matches!(&value, Value::Table(table)
            if table.raw_get::<Value>("err").is_ok_and(|err| !err.is_nil()));
        if is_error && on_error == OnError::Raise {
            Err(Raise::Value(value))
        } else {
            Ok(vec![value])
        }
    }

    fn command(&self, lua: &Lua, arguments: &Arguments<'_>) -> mlua::Result<Value> {
        arguments.charge(COMMAND_WORK + arguments.values.len() * VALUE_WORK);
        let words = match words(arguments.values) {
            Ok(words) => words,
            Err(text) => return error_table(lua, text),
        };
        let mut reply = Vec::new();
        self.is_in_host.set(true);
        let work = self.host.borrow_mut().call(&words, self.protocol.get(), &mut reply);
        self.is_in_host.set(false);
        let bytes: usize = words.iter().map(Vec::len).sum::<usize>() + reply.len();
        arguments.charge(work.saturating_add(bytes / 32));
        match ReplyDecoder::new(ReplyLimits::default()).decode(&reply) {
            Ok(Some((value, _))) => {
                arguments.charge(count(&value) * VALUE_WORK);
                to_lua(lua, &value, self.protocol.get())
            }
            _ => error_table(lua, "ERR the reply is too long or too deep for a script"),
        }
    }

    /// `redis.acl_check_cmd`.
    fn check(&self, lua: &Lua, arguments: &Arguments<'_>) -> Answer {
        let strings = arguments.values.iter().filter_map(Value::as_string);
        let bytes: usize = strings.map(|text| text.as_bytes().len()).sum();
        arguments.charge(COMMAND_WORK + arguments.values.len() * VALUE_WORK + bytes / 32);
        let checked = words(arguments.values).map_err(str::to_owned);
        match checked.and_then(|words| self.host.borrow_mut().check(&words)) {
            Ok(is_allowed) => Ok(vec![Value::Boolean(is_allowed)]),
            Err(text) => raise(lua, &text)?,
        }
    }

    /// `redis.setresp`.
    fn set_protocol(&self, lua: &Lua, arguments: &Arguments<'_>) -> Answer {
        match (arguments.values.len(), arguments.get(0).and_then(as_number)) {
            (1, Some(version)) if version == 2.0 || version == 3.0 => {
                let is_two = version == 2.0;
                self.protocol.set(if is_two { Protocol::Resp2 } else { Protocol::Resp3 });
                Ok(Vec::new())
            }
            (1, _) => raise(lua, "ERR RESP version must be 2 or 3.")?,
            _ => raise(lua, "ERR redis.setresp() requires one argument.")?,
        }
    }
}

fn raise(lua: &Lua, text: &str) -> mlua::Result<Answer> {
    Ok(Err(Raise::Value(error_table(lua, text)?)))
}

/// A table that says what went wrong, as commands give it.
pub(crate) fn error_table(lua: &Lua, text: impl AsRef<[u8]>) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    table.raw_set("err", lua.create_string(text)?)?;
    Ok(Value::Table(table))
}

/// The words of a command.
fn words(values: &MultiValue) -> Result<Vec<Vec<u8>>, &'static str> {
    if values.is_empty() {
        return Err("ERR Please specify at least one argument for this redis lib call");
    }
    // A script can name one long string many times; none is copied until all are known to fit.
    let strings = values.iter().filter_map(Value::as_string);
    if strings.map(|text| text.as_bytes().len()).sum::<usize>() > COMMAND_BYTES_MAX {
        return Err("ERR the command is longer than a command of a script may be");
    }
    let words = values.iter().map(|value| as_bytes(value, DIGITS).map(|word| word.to_vec()));
    words
        .collect::<Option<_>>()
        .ok_or("ERR Lua redis lib command arguments must be strings or integers")
}

/// Adds what needs no session.
pub(crate) fn fill(library: &Library<'_>) -> mlua::Result<()> {
    let table = &library.table;
    let constants = [("LOG_DEBUG", 0), ("LOG_VERBOSE", 1), ("LOG_NOTICE", 2), ("LOG_WARNING", 3)];
    let kinds = [("REPL_NONE", 0), ("REPL_AOF", 1), ("REPL_SLAVE", 2), ("REPL_REPLICA", 2)];
    for (name, value) in constants.into_iter().chain(kinds) {
        table.raw_set(name, value)?;
    }
    table.raw_set("REPL_ALL", 3)?;
    table.raw_set("REDIS_VERSION", "7.4.0")?;
    table.raw_set("REDIS_VERSION_NUM", 0x0007_0400)?;
    library.add("sha1hex", |lua, arguments| {
        let [value] = arguments.values.iter().collect::<Vec<_>>()[..] else {
            return raise(lua, "ERR wrong number of arguments")?;
        };
        arguments.metered(|work| {
            let text = as_bytes(value, DIGITS);
            let text = text.as_deref().unwrap_or_default();
            work.spend(text.len())?;
            Ok(vec![Value::String(lua.create_string(crate::sha1_hex(text))?)])
        })
    });
    for (name, field) in [("error_reply", "err"), ("status_reply", "ok")] {
        library.add(name, move |lua, arguments| {
            let Some(Value::String(text)) = arguments.get(0) else {
                return Ok(vec![error_table(lua, "ERR wrong number or type of arguments")?]);
            };
            let text = text.as_bytes().to_vec();
            let text = if field == "err" { with_code(&text) } else { text };
            let table = lua.create_table()?;
            table.raw_set(field, lua.create_string(text)?)?;
            Ok(vec![Value::Table(table)])
        });
    }
    // A log is of one node, and what scripts say is not an event of an operator's diary: nothing is written.
    library.add("log", |lua, arguments| {
        let level = match arguments.values.len() {
            0 | 1 => return raise(lua, "ERR redis.log() requires two arguments or more.")?,
            _ => arguments.get(0).and_then(as_number),
        };
        match level {
            Some(level) if (0.0..4.0).contains(&level) => Ok(Vec::new()),
            Some(_) => raise(lua, "ERR Invalid debug level.")?,
            None => raise(lua, "ERR First argument must be a number (log level).")?,
        }
    });
    library.add("replicate_commands", |_, _| Ok(vec![Value::Boolean(true)]));
    library.add("breakpoint", |_, _| Ok(vec![Value::Boolean(false)]));
    library.add("set_repl", |lua, arguments| match arguments.values.len() {
        1 => match arguments.get(0).and_then(as_number) {
            Some(kinds) if (0.0..4.0).contains(&kinds) => Ok(Vec::new()),
            _ => raise(
                lua,
                "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
            )?,
        },
        _ => raise(lua, "ERR redis.set_repl() requires two arguments.")?,
    });
    library.add("debug", |_, _| Ok(Vec::new()));
    Ok(())
}

/// The text of an error as Redis completes it: a single word gets a code in front.
fn with_code(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    if text.contains(&b' ') { text.to_vec() } else { [b"ERR ", text].concat() }
}
