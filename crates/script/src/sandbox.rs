//! The Lua that a script finds: what Redis offers, and nothing else.
//! Owns: which globals there are, and that nothing of them can be changed. Never: runs a script.

use std::rc::Rc;

use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value};

use crate::function::{Library, Raise};
use crate::work::Meter;
use crate::{bit, json, layout, mathematics, msgpack, redis};

/// Globals of Lua that Redis does not offer, or that know of addresses, files or the process.
const REMOVED: &[&str] =
    &["dofile", "getfenv", "loadfile", "module", "newproxy", "print", "require", "setfenv"];

/// What fills a library.
type Fill = fn(&Library<'_>) -> mlua::Result<()>;

/// Libraries of Redis beside `redis`.
const LIBRARIES: [(&str, Fill); 4] = [
    ("bit", bit::fill),
    ("cjson", json::fill),
    ("cmsgpack", msgpack::fill),
    ("struct", layout::fill),
];

/// Libraries that nobody may change.
const SEALED: [&str; 10] =
    ["string", "table", "math", "coroutine", "bit", "cjson", "cmsgpack", "struct", "os", "redis"];

/// A Lua for one run, and the functions of `lua/keystead.c` that the script does not see.
pub(crate) struct Sandbox {
    pub(crate) lua: Lua,
    pub(crate) redis: Table,
    pub(crate) run: Function,
    pub(crate) meter: Rc<Meter>,
    wrap: Function,
    seal: Function,
}

impl Sandbox {
    /// A Lua with all libraries but `redis.call` and its kin; nothing is sealed yet.
    pub(crate) fn new(memory_bytes_max: usize, seed: u64, now_ms: u64) -> mlua::Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        lua.set_memory_limit(memory_bytes_max)?;
        let globals = lua.globals();
        let inner: Table = globals.raw_get("keystead")?;
        globals.raw_set("keystead", Value::Nil)?;
        for name in REMOVED {
            globals.raw_set(*name, Value::Nil)?;
        }
        let (fuel, charge) = (inner.raw_get("fuel")?, inner.raw_get("charge")?);
        let sandbox = Self {
            redis: lua.create_table()?,
            run: inner.raw_get("run")?,
            meter: Rc::new(Meter { fuel, charge }),
            wrap: inner.raw_get("wrap")?,
            seal: inner.raw_get("seal")?,
            lua,
        };
        inner.raw_get::<Function>("set_pow")?.call::<()>(mathematics::power(&sandbox.lua)?)?;
        mathematics::fill(&sandbox.library(globals.raw_get("math")?), seed)?;
        redis::fill(&sandbox.library(sandbox.redis.clone()))?;
        for (name, fill) in LIBRARIES {
            let table = sandbox.lua.create_table()?;
            fill(&sandbox.library(table.clone()))?;
            globals.raw_set(name, table)?;
        }
        globals.raw_set("redis", &sandbox.redis)?;
        add_clock(&globals, &sandbox.library(sandbox.lua.create_table()?), now_ms)?;
        // What is in use differs between builds; a script that looked would tell them apart.
        for name in ["collectgarbage", "gcinfo"] {
            sandbox.library(globals.clone()).add(name, |_, _| Ok(vec![Value::Integer(0)]))?;
        }
        Ok(sandbox)
    }

    /// Puts functions of the host into `table`.
    pub(crate) const fn library(&self, table: Table) -> Library<'_> {
        Library { lua: &self.lua, wrap: &self.wrap, meter: &self.meter, table }
    }

    /// Puts a function that [`finish`](crate::function::finish)es its answers into the table `redis`.
    pub(crate) fn bind(&self, name: &str, raw: Function) -> mlua::Result<()> {
        self.redis.raw_set(name, self.wrap.call::<Function>(raw)?)
    }

    /// A metatable: who reads what there is not, and what `find` does not know either, gets an error.
    pub(crate) fn guard(
        &self,
        find: impl Fn(&[u8]) -> Option<Value> + 'static,
    ) -> mlua::Result<Table> {
        let guard = self.lua.create_table()?;
        self.library(guard.clone()).add("__index", move |_, arguments| {
            let name = arguments.bytes(1);
            let name = name.as_deref().unwrap_or_default();
            if let Some(value) = find(name) {
                return Ok(vec![value]);
            }
            let name = String::from_utf8_lossy(name);
            let text = format!("Script attempted to access nonexistent global variable '{name}'");
            Err(Raise::Here(text))
        })?;
        Ok(guard)
    }

    /// Makes globals and libraries read-only.
    pub(crate) fn seal(&self) -> mlua::Result<()> {
        let globals = self.lua.globals();
        let guard = self.guard(|_| None)?;
        globals.set_metatable(Some(guard.clone()))?;
        self.seal_table(&guard)?;
        for name in SEALED {
            self.seal_table(&globals.raw_get(name)?)?;
        }
        let of_strings: Function = globals.raw_get("getmetatable")?;
        self.seal_table(&of_strings.call("")?)?;
        self.seal_table(&globals)
    }

    /// Makes a table read-only.
    pub(crate) fn seal_table(&self, table: &Table) -> mlua::Result<()> {
        self.seal.call(table)
    }
}

/// `os.clock`: the entry's time, seconds.
fn add_clock(globals: &Table, library: &Library<'_>, now_ms: u64) -> mlua::Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit into a double")]
    let now_s = now_ms as f64 / 1000.0;
    library.add("clock", move |_, _| Ok(vec![Value::Number(now_s)]))?;
    globals.raw_set("os", &library.table)
}
