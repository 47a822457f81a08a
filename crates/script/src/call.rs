//! One run of a script or function, from its text to its reply.
//! Owns: compiling, running, limits, the error a client reads. Never: keeps anything between two runs.

use keystead_resp::{Protocol, ReplyWriter};
use mlua::chunk::ChunkMode;
use mlua::{Error, Function, MultiValue, Table, Value};

use crate::convert::{Replying, Unfit, error_text};
use crate::library::{Registry, load_in};
use crate::redis::{Host, SESSION_FUNCTIONS, Session};
use crate::sandbox::Sandbox;
use crate::shebang::body;
use crate::work::Work;
use crate::{REPLY_BYTES_MAX, TEXT_BYTES_MAX, WORK_MAX};

const SCRIPT_CHUNK: &str = "@user_script";
pub(crate) const LIBRARY_CHUNK: &str = "@user_function";
/// Work for what the host does on its own account.
pub(crate) const WITHOUT_LIMIT: f64 = 1e18;

/// Limits that stop a script, as its error names them.
const TOO_MUCH_WORK: &str = "it did more work than a script may do";
const TOO_MUCH_MEMORY: &str = "it needs more memory than a script may have";
const TOO_LONG_A_REPLY: &str = "its reply is longer than a reply may be";

/// What is run.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// A script, with keys and arguments as `KEYS` and `ARGV`.
    Script {
        /// Its text.
        text: &'a [u8],
    },
    /// A function, with keys and arguments as its own arguments.
    Function {
        /// The text of its library.
        code: &'a [u8],
        /// What the library registered it as.
        name: &'a str,
    },
}

/// What a script is run with.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What is run.
    pub program: Program<'a>,
    /// Keys that the client named.
    pub keys: &'a [&'a [u8]],
    /// Arguments behind the keys.
    pub args: &'a [&'a [u8]],
    /// The time of the entry, milliseconds since 1970.
    pub now_ms: u64,
    /// Where chance begins.
    pub seed: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ending {
    /// It returned; the reply is written.
    Returned,
    /// It is no program: nothing was run. The text of the reply, code first.
    Refused(String),
    /// It ended by an error of its own, or returned one: the text of the reply, code first.
    Failed(String),
    /// It was stopped by the limit that is named: what it did is to be undone.
    Stopped(&'static str),
}

/// Why a run did not end by itself.
enum Break {
    Refused(String),
    Failed(String),
    Stopped(&'static str),
}

/// Says whether a text is a script: what SCRIPT LOAD asks.
///
/// # Errors
/// The reply to give, in the words of Redis.
pub fn compile(text: &[u8]) -> Result<(), String> {
    let sandbox = Sandbox::new(text, 0, 0).map_err(|error| internal(&error))?;
    compile_script(&sandbox, text).map(|_| ())
}

/// Runs a program and writes its reply, if it returns.
///
/// # Panics
/// If the host panicked: what it was doing is half done.
pub fn run(call: &Call<'_>, host: &mut dyn Host, reply: &mut ReplyWriter<'_>) -> Ending {
    let position = reply.position();
    let session = Session::new(host);
    let result = attempt(call, &session, reply);
    assert!(
        !session.is_in_host.get(),
        "a command panicked within a script; its changes are half done"
    );
    let Err(why) = result else { return Ending::Returned };
    reply.truncate(position);
    match why {
        Break::Refused(text) => Ending::Refused(text),
        Break::Failed(text) => Ending::Failed(text),
        Break::Stopped(limit) => Ending::Stopped(limit),
    }
}

fn attempt(
    call: &Call<'_>,
    session: &Session<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), Break> {
    let (Program::Script { text } | Program::Function { code: text, .. }) = call.program;
    let sandbox = Sandbox::new(text, call.seed, call.now_ms).map_err(|error| broken(&error))?;
    let chunk = match call.program {
        Program::Script { text } => compile_script(&sandbox, text),
        Program::Function { code, .. } => compile_in(&sandbox, code, LIBRARY_CHUNK),
    };
    let chunk = chunk.map_err(Break::Refused)?;
    let outcome = sandbox.lua.scope(|scope| {
        let lua = &sandbox.lua;
        let host =
            scope.create_function(|lua: &_, values: MultiValue| session.dispatch(lua, values))?;
        sandbox.bind(host, &SESSION_FUNCTIONS)?;
        let [keys, args] = [call.keys, call.args].map(|words| array(lua, words));
        let (ended, fuel) = match call.program {
            Program::Script { .. } => run_script(&sandbox, &chunk, keys?, args?)?,
            Program::Function { name, .. } => run_function(&sandbox, &chunk, name, (keys?, args?))?,
        };
        // What follows is the host's own.
        sandbox.fuel.call::<()>(WITHOUT_LIMIT)?;
        Ok((ended, fuel))
    });
    let ((is_returned, value), fuel) = outcome.map_err(|error| broken(&error))?;
    if fuel < 0.0 {
        return Err(Break::Stopped(TOO_MUCH_WORK));
    }
    if is_returned {
        return answer(&value, session.protocol.get(), reply, Work::allowed(fuel));
    }
    Err(failure(&value, call.program))
}

/// Whether it returned, and what it returned or raised; and the fuel that was left.
type Run = ((bool, Value), f64);

fn run_script(sandbox: &Sandbox, chunk: &Function, keys: Table, args: Table) -> mlua::Result<Run> {
    let globals = sandbox.lua.globals();
    globals.raw_set("KEYS", keys)?;
    globals.raw_set("ARGV", args)?;
    sandbox.seal()?;
    sandbox.fuel.call::<()>(WORK_MAX)?;
    let ended = sandbox.run.call(chunk)?;
    Ok((ended, sandbox.fuel.call(Value::Nil)?))
}

fn run_function(
    sandbox: &Sandbox,
    chunk: &Function,
    name: &str,
    arguments: (Table, Table),
) -> mlua::Result<Run> {
    let registry = Registry::default();
    let failed = |text: String| {
        let error = crate::redis::error_table(&sandbox.lua, text)?;
        Ok(((false, error), 0.0))
    };
    if let Some(error) = load_in(sandbox, chunk, &registry, WORK_MAX)? {
        return failed(error);
    }
    let Some(function) = registry.callback(name) else {
        return failed("ERR the library did not register the function this time".to_owned());
    };
    let ended = sandbox.run.call((function, arguments.0, arguments.1))?;
    Ok((ended, sandbox.fuel.call(Value::Nil)?))
}

fn array(lua: &mlua::Lua, words: &[&[u8]]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(words.len(), 0)?;
    for (at, word) in words.iter().enumerate() {
        table.raw_set(at + 1, lua.create_string(word)?)?;
    }
    Ok(table)
}

/// Writes what the script returned.
fn answer(
    value: &Value,
    protocol: Protocol,
    reply: &mut ReplyWriter<'_>,
    mut work: Work,
) -> Result<(), Break> {
    if let Some(Value::String(error)) = value.as_table().and_then(|table| table.raw_get("err").ok())
    {
        return Err(Break::Failed(error_text(&error.as_bytes())));
    }
    // On a follower nobody reads the reply, but one that is too long stops the script there as well.
    let mut bytes = Vec::new();
    let mut own = ReplyWriter::new(&mut bytes, reply.protocol());
    let written = Replying { reply: &mut own, protocol, work: &mut work }.write(value, 0);
    match written {
        Ok(()) if bytes.len() <= REPLY_BYTES_MAX => {
            reply.raw(&bytes);
            Ok(())
        }
        Ok(()) | Err(Unfit::Length) => Err(Break::Stopped(TOO_LONG_A_REPLY)),
        Err(Unfit::Work) => Err(Break::Stopped(TOO_MUCH_WORK)),
        Err(Unfit::Depth) => Err(Break::Failed("ERR reached lua stack limit".to_owned())),
        Err(Unfit::Lua(error)) => Err(broken(&error)),
    }
}

/// The error that ended a script.
fn failure(value: &Value, program: Program<'_>) -> Break {
    let (name, chunk) = match program {
        Program::Script { text } => (crate::sha1_hex(text), SCRIPT_CHUNK),
        Program::Function { name, .. } => (name.to_owned(), LIBRARY_CHUNK),
    };
    let table: Option<&Table> = value.as_table();
    let field = |name: &str| table.and_then(|table| table.raw_get::<Value>(name).ok());
    let Some(Value::String(error)) = field("err") else {
        return match value {
            Value::Error(error) if is_memory(error) => Break::Stopped(TOO_MUCH_MEMORY),
            // Lua has no memory left to describe an error with.
            Value::String(error) if error.as_bytes() == *b"not enough memory" => {
                Break::Stopped(TOO_MUCH_MEMORY)
            }
            _ => Break::Failed(format!("ERR unknown error script: {name}, on {chunk}.")),
        };
    };
    let error = error_text(&error.as_bytes());
    Break::Failed(match (field("source"), field("line")) {
        (Some(Value::String(source)), Some(Value::Integer(line))) => {
            let source = source.as_bytes();
            let source = String::from_utf8_lossy(&source);
            format!("{error} script: {name}, on {source}:{line}.")
        }
        _ => error,
    })
}

/// The text of an error alone, without the place where it came about.
pub(crate) fn plain_error(value: &Value) -> String {
    match value.as_table().and_then(|table| table.raw_get::<Value>("err").ok()) {
        Some(Value::String(error)) => error_text(&error.as_bytes()),
        _ => "ERR unknown error".to_owned(),
    }
}

fn compile_script(sandbox: &Sandbox, text: &[u8]) -> Result<Function, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!(
            "ERR the script is longer than {TEXT_BYTES_MAX} bytes; what it works on belongs into its arguments"
        ));
    }
    crate::header(text).map_err(|error| error.to_string())?;
    compile_in(sandbox, text, SCRIPT_CHUNK)
        .map_err(|message| format!("ERR Error compiling script (new function): {message}"))
}

/// The chunk of a text, or what Lua says against it.
pub(crate) fn compile_in(sandbox: &Sandbox, text: &[u8], chunk: &str) -> Result<Function, String> {
    let chunk = sandbox.lua.load(body(text)).set_name(chunk).set_mode(ChunkMode::Text);
    chunk.into_function().map_err(|error| match error {
        Error::SyntaxError { message, .. } => message,
        other => other.to_string(),
    })
}

fn is_memory(error: &Error) -> bool {
    match error {
        Error::MemoryError(_) => true,
        Error::CallbackError { cause, .. } => is_memory(cause),
        _ => false,
    }
}

/// An error outside of the script's own instructions.
fn broken(error: &Error) -> Break {
    if is_memory(error) {
        return Break::Stopped(TOO_MUCH_MEMORY);
    }
    Break::Failed(internal(error))
}

fn internal(error: &Error) -> String {
    format!("ERR the script could not be run: {error}")
}
