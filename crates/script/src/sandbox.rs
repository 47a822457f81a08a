//! The Lua that a script finds: what Redis offers, and nothing else.
//! Owns: which globals there are, and that nothing of them can be changed. Never: runs a script.

use mlua::{Function, Lua, LuaOptions, MultiValue, StdLib, Table, Value};

use crate::function::{Functions, Library, Raise};
use crate::{MEMORY_BYTES_MAX, bit, json, layout, mathematics, msgpack, redis};

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

/// Which globals a text can reach. To fill all libraries takes longer than most scripts run.
struct Reach<'t> {
    names: Vec<&'t [u8]>,
    is_everything: bool,
}

impl<'t> Reach<'t> {
    /// A global is reached by its name; by `_G`, or by text that is loaded, any of them is.
    fn of(text: &'t [u8]) -> Self {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let mut names: Vec<&[u8]> = Vec::new();
        let mut is_everything = false;
        for name in text.split(|byte| !is_part(byte)) {
            is_everything |= name == b"_G" || name.starts_with(b"load");
            if SEALED.iter().any(|known| known.as_bytes() == name) && !names.contains(&name) {
                names.push(name);
            }
        }
        Self { names, is_everything }
    }

    fn has(&self, name: &str) -> bool {
        self.is_everything || self.names.contains(&name.as_bytes())
    }
}

/// A Lua for one run, and the functions of `lua/keystead.c` that the script does not see.
pub(crate) struct Sandbox {
    pub(crate) lua: Lua,
    pub(crate) redis: Table,
    pub(crate) run: Function,
    /// `fuel()` says how much work may still be done, `fuel(work)` how much from now on.
    pub(crate) fuel: Function,
    install: Function,
    dispatcher: Function,
    functions: Functions,
    seal: Function,
    close: Function,
}

impl Sandbox {
    /// A Lua with all libraries that `text` can reach, but `redis.call` and its kin; nothing is sealed yet.
    pub(crate) fn new(text: &[u8], seed: u64, now_ms: u64) -> mlua::Result<Self> {
        let reach = Reach::of(text);
        let math = if reach.has("math") { StdLib::MATH } else { StdLib::NONE };
        let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING | math, LuaOptions::default())?;
        // What is made here stays to the end: there is nothing to collect.
        lua.gc_stop();
        lua.set_memory_limit(MEMORY_BYTES_MAX)?;
        let globals = lua.globals();
        let inner: Table = globals.raw_get("keystead")?;
        globals.raw_set("keystead", Value::Nil)?;
        let functions = Functions::default();
        let sandbox = Self {
            redis: lua.create_table()?,
            run: inner.raw_get("run")?,
            fuel: inner.raw_get("fuel")?,
            install: inner.raw_get("install")?,
            dispatcher: functions.dispatcher(&lua)?,
            functions,
            seal: inner.raw_get("seal")?,
            close: inner.raw_get("close")?,
            lua,
        };
        inner.raw_get::<Function>("set_pow")?.call::<()>(mathematics::power(&sandbox.lua)?)?;
        if reach.has("math") {
            let math = sandbox.library(globals.raw_get("math")?);
            mathematics::fill(&math, seed);
            math.finish()?;
        }
        let redis = sandbox.library(sandbox.redis.clone());
        redis::fill(&redis)?;
        redis.finish()?;
        for (name, fill) in LIBRARIES.into_iter().filter(|(name, _)| reach.has(name)) {
            let library = sandbox.library(sandbox.lua.create_table()?);
            fill(&library)?;
            globals.raw_set(name, &library.table)?;
            library.finish()?;
        }
        globals.raw_set("redis", &sandbox.redis)?;
        if reach.has("os") {
            sandbox.add_clock(&globals, now_ms)?;
        }
        sandbox.lua.gc_restart();
        Ok(sandbox)
    }

    /// Functions of the host, to be put into `table`.
    pub(crate) fn library(&self, table: Table) -> Library<'_> {
        Library::new((&self.lua, &self.install, &self.dispatcher), &self.functions, table)
    }

    /// Puts functions of `host` into the table `redis`, by their numbers.
    pub(crate) fn bind(&self, host: Function, names: &[&str]) -> mlua::Result<()> {
        let mut call = MultiValue::with_capacity(3 + names.len());
        call.push_back(Value::Table(self.redis.clone()));
        call.push_back(Value::Function(host));
        call.push_back(Value::Integer(0));
        for name in names {
            call.push_back(Value::String(self.lua.create_string(name)?));
        }
        self.install.call(call)
    }

    /// `os.clock`: the entry's time, seconds.
    fn add_clock(&self, globals: &Table, now_ms: u64) -> mlua::Result<()> {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit into a double")]
        let now_s = now_ms as f64 / 1000.0;
        let library = self.library(self.lua.create_table()?);
        library.add("clock", move |_, _| Ok(vec![Value::Number(now_s)]));
        globals.raw_set("os", &library.table)?;
        library.finish()
    }

    /// A metatable: who reads what there is not, and what `find` does not know either, gets an error.
    pub(crate) fn guard(
        &self,
        find: impl Fn(&[u8]) -> Option<Value> + 'static,
    ) -> mlua::Result<Table> {
        let guard = self.lua.create_table()?;
        let library = self.library(guard.clone());
        library.add("__index", move |_, arguments| {
            let name = arguments.bytes(1);
            let name = name.as_deref().unwrap_or_default();
            if let Some(value) = find(name) {
                return Ok(vec![value]);
            }
            let name = String::from_utf8_lossy(name);
            let text = format!("Script attempted to access nonexistent global variable '{name}'");
            Err(Raise::Here(text))
        });
        library.finish()?;
        Ok(guard)
    }

    /// Makes globals and libraries read-only.
    pub(crate) fn seal(&self) -> mlua::Result<()> {
        let mut call = MultiValue::with_capacity(1 + SEALED.len());
        call.push_back(Value::Table(self.guard(|_| None)?));
        for name in SEALED {
            call.push_back(Value::String(self.lua.create_string(name)?));
        }
        self.close.call(call)
    }

    /// Makes a table read-only.
    pub(crate) fn seal_table(&self, table: &Table) -> mlua::Result<()> {
        self.seal.call(table)
    }
}

#[cfg(test)]
mod tests {
    use super::Reach;

    #[test]
    fn a_text_reaches_what_it_names_and_by_detours_everything() {
        let has = |text: &str, name| Reach::of(text.as_bytes()).has(name);
        assert!(has("return cjson.encode(1)", "cjson") && !has("return cjson.encode(1)", "bit"));
        assert!(has("local j=cjson", "cjson") && !has("mycjson.x()", "cjson"));
        for detour in ["_G['cj'..'son']", "loadstring(ARGV[1])()", "load(f)()"] {
            assert!(has(detour, "cjson") && has(detour, "math"), "{detour}");
        }
    }
}
