//! What scripts promise: equal on every replica, stopped by limits without a trace, known after a snapshot.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use keystead_store::{Effect, Outcome, Store, Wanted, WatchId};
use support::CONFIG;

/// Milliseconds since 1970, at which everything here happens.
const NOW: u64 = 1_000;
/// Names every kind of effect.
const EVERYTHING: Wanted =
    Wanted { classes: 0xffff, has_messages: true, has_touches: true, has_served: true };
const LIBRARY: &str = "#!lua name=lib\n\
    local function both(keys) return redis.call('incr', keys[1]) end\n\
    redis.register_function('count', both)\n\
    redis.register_function{function_name='look', callback=function(keys) return redis.call('get', keys[1]) end, \
    flags={'no-writes'}, description='looks'}";

fn run_with_outcome(store: &mut Store, words: &[&str]) -> (String, Outcome) {
    let (outcome, reply) = support::apply_with_outcome(store, NOW, words);
    (String::from_utf8_lossy(&reply).into_owned(), outcome)
}

fn run(store: &mut Store, words: &[&str]) -> String {
    run_with_outcome(store, words).0
}

/// INV-LUA1: two stores come to the same state and reply, chance, names of objects and order of tables included.
#[test]
fn the_same_script_does_the_same_everywhere() {
    let script = "local t={} for i=1,50 do t['k'..i]=i t[{}]=i t[function() end]=i end \
        local r='' for k,v in pairs(t) do r=r..tostring(v)..type(k)..'|' end \
        r=r..cmsgpack.pack(t)..cjson.encode({a=1,b=2,c={1,2}})..struct.pack('>dl',math.random(),7) \
        redis.call('set',KEYS[1],r..tostring(t)..math.random()..math.sin(3)..(2^0.3)..os.clock()) \
        return redis.call('get',KEYS[1])";
    let (mut one, mut other) = (Store::new(CONFIG), Store::new(CONFIG));
    let reply = run(&mut one, &["EVAL", script, "1", "k"]);
    assert!(reply.starts_with('$'), "{reply}");
    // What ran before is of no weight.
    run(&mut other, &["EVAL", "local t={} for i=1,1000 do t[{}]=i end return 1", "0"]);
    run(&mut one, &["EVAL", "local t={} for i=1,1000 do t[{}]=i end return 1", "0"]);
    assert_eq!(reply, run(&mut other, &["EVAL", script, "1", "k"]));
    run(&mut one, &["EVAL", script, "1", "k"]);
    run(&mut other, &["SCRIPT", "FLUSH"]);
    run(&mut one, &["SCRIPT", "FLUSH"]);
    assert_eq!(one.digest(), other.digest());
}

/// Runs scripts that end alike, each behind changes of every kind.
fn assert_no_trace(ends: &[&str]) {
    let mut store = Store::new(CONFIG);
    for words in [&["SET", "k", "before"][..], &["HSET", "h", "f", "v"], &["PEXPIRE", "h", "500"]] {
        run(&mut store, words);
    }
    store.want(EVERYTHING);
    store.watch(&support::context(1, NOW), WatchId(1), [&b"k"[..], b"other"]);
    let before = store.digest();
    for end in ends {
        let script = format!(
            "redis.call('set',KEYS[1],'after') redis.call('set','new',1) redis.call('hdel','h','f') \
             redis.call('publish','c','m') {end}"
        );
        let (reply, outcome) = run_with_outcome(&mut store, &["EVAL", &script, "2", "k", "other"]);
        assert!(
            reply.starts_with("-ERR script was stopped, and what it had changed was undone"),
            "{end}: {reply}"
        );
        assert_eq!(outcome, Outcome { is_error: true, ..Outcome::default() }, "{end}");
        assert_eq!(store.take_effects(), [], "{end}");
        run(&mut store, &["SCRIPT", "FLUSH"]);
        assert_eq!(store.digest(), before, "INV-K5: {end}");
    }
}

/// INV-LUA2, INV-K5: what is stopped leaves no trace.
#[test]
fn endless_scripts_leave_no_trace() {
    assert_no_trace(&[
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local co=coroutine.wrap(function() while true do end end) while true do pcall(co) end",
    ]);
}

/// INV-LUA2, INV-K5: what is stopped leaves no trace.
#[test]
fn greedy_scripts_leave_no_trace() {
    assert_no_trace(&[
        "local t={} while true do t[#t+1]=('x'):rep(100000)..#t end",
        "local s=('x'):rep(1e6) local t={} for i=1,7000 do t[i]=s end while true do redis.pcall('mset',unpack(t)) end",
        "while true do redis.call('del',KEYS[2]) redis.call('setrange',KEYS[2],1000000,'x') end",
    ]);
}

/// INV-LUA2, INV-K5: what is stopped leaves no trace.
#[test]
fn tangled_scripts_leave_no_trace() {
    assert_no_trace(&[
        "string.find(('a'):rep(60),('a*'):rep(25)..'b')",
        "local t={} for i=1,100 do t={t,t} end return t",
        "local t={} for i=1,100 do t={t,t} end return cjson.encode(t)",
        "local t={} for i=1,100 do t={a=t,b=t} end while true do cmsgpack.pack(t) end",
    ]);
}

/// INV-LUA2, INV-K5: what is stopped leaves no trace.
#[test]
fn scripts_that_let_libraries_work_leave_no_trace() {
    assert_no_trace(&[
        "local s=('x'):rep(1e6) while true do redis.sha1hex(s) end",
        "local s=('[1,'):rep(100)..'1'..(']'):rep(100) while true do cjson.decode(s) end",
        "local s=cmsgpack.pack({1,2,3}) while true do cmsgpack.unpack(s) end",
        "while true do struct.unpack(('b'):rep(1000),('x'):rep(1000)) end",
    ]);
}

/// INV-LUA2: what takes the processor long counts for much, however few instructions of Lua ask for it. Each of these ran
/// for minutes or hours.
#[test]
fn what_lua_does_at_length_counts() {
    let mut store = Store::new(CONFIG);
    for script in [
        "local s=('x'):rep(8e6) while true do string.find(s,'y',1,true) end",
        "local s=('x'):rep(8e6) while true do string.find('x',s) end",
        "local s=('x'):rep(3e6) while true do local t=s..s end",
        "local s=('1'):rep(400) while true do local x=s+1 end",
        "local s=('1'):rep(3e6) while true do local x=tonumber(s) end",
        "local s=('z'):rep(3e6) while true do local x=tonumber(s,36) end",
        "local t={} for i=1,7900 do t[i]=i end local function g() end \
         local function f(...) while true do g(...) end end f(unpack(t))",
        "local s=('x'):rep(7000) while true do s:byte(1,-1) end",
        "local t={} for i=1,2^17 do t[i*2^33]=1 end while true do local x=t[2^33] end",
        "local i=0 while true do i=i+1 local s=('x'):rep(32)..string.format('%08d',i)..('y'):rep(400) end",
        "local s='return '..('1+'):rep(50000)..'1' while true do loadstring(s) end",
        "local s=cmsgpack.pack(('x'):rep(3e6)) while true do cmsgpack.unpack(s) end",
        "local s=('x'):rep(3e6) while true do pcall(struct.unpack,'s',s) end",
        "local s=('x'):rep(3e6) while true do pcall(redis.acl_check_cmd,'set','k',s) end",
        "while true do math.sin(1) end",
    ] {
        let reply = run(&mut store, &["EVAL", script, "0"]);
        assert!(reply.starts_with("-ERR script was stopped"), "{script}: {reply}");
    }
}

/// INV-LUA2: the same of commands whose replies are short.
#[test]
fn what_commands_do_at_length_counts() {
    let mut store = Store::new(CONFIG);
    let filled = "for i=1,3000 do redis.call('sadd','set','m'..i) redis.call('hset','hash',i,i) \
        redis.call('json.arrappend','json','$.list','{\"a\":[1,2,3]}') end \
        redis.call('setrange','one',4000,'x') redis.call('setrange','other',4000,'y') \
        redis.call('setrange','string',250000,'x')";
    run(&mut store, &["JSON.SET", "json", "$", "{\"list\":[]}"]);
    assert_eq!(run(&mut store, &["EVAL", filled, "0"]), "$-1\r\n");
    for command in [
        "'lcs','one','other','len'",
        "'json.type','json','$..*..*'",
        "'json.debug','memory','json'",
        "'sdiffstore','to','set','none'",
        "'hrandfield','hash'",
        "'dump','set'",
        "'rename','string','string'",
        "'digest','string'",
    ] {
        let script = format!("while true do redis.call({command}) end");
        let reply = run(&mut store, &["EVAL", &script, "0"]);
        assert!(reply.starts_with("-ERR script was stopped"), "{script}: {reply}");
    }
}

/// INV-LUA2: what a library says of itself takes no memory without end.
#[test]
fn libraries_register_a_bounded_number_of_functions() {
    let mut store = Store::new(CONFIG);
    for body in [
        "for i=1,1e9 do redis.register_function('f'..i,function() end) end",
        "for i=1,1e9 do redis.register_function{function_name='f'..i,callback=function() end,\
         description=('x'):rep(1e5)} end",
        "local name=('x'):rep(2e6) redis.register_function(name,function() end)",
    ] {
        let code = format!("#!lua name=l\n{body}");
        let reply = run(&mut store, &["FUNCTION", "LOAD", &code]);
        let is_bounded =
            ["too many functions", "did more work"].iter().any(|why| reply.contains(why));
        assert!(is_bounded, "{body}: {reply}");
    }
    assert_eq!(run(&mut store, &["FUNCTION", "LIST"]), "*0\r\n");
}

/// INV-LUA1: what C leaves to the processor is the same everywhere; as Redis answers on x86-64.
#[test]
fn numbers_beyond_integers_and_nan_are_the_same_everywhere() {
    let mut store = Store::new(CONFIG);
    let script = "local nan=0/0 local function hex(s) return (s:gsub('.',function(c) return string.format('%02x',c:byte()) end)) end \
        return {string.format('%d',1e300),string.format('%x',-1),string.format('%u',2^63),string.format('%f',nan),\
        string.format('%g',-nan),hex(struct.pack('<d',nan)),hex(struct.pack('<d',-nan)),hex(struct.pack('>f',-nan)),\
        hex(cmsgpack.pack(-nan)),('abc'):sub(1,1e300)..'.',tonumber('fffffffff',16)..''}";
    let reply = run(&mut store, &["EVAL", script, "0"]);
    let words: Vec<&str> = reply.split("\r\n").skip(2).step_by(2).collect();
    assert_eq!(
        words[..11],
        [
            "-9223372036854775808",
            "ffffffffffffffff",
            "9223372036854775808",
            "-nan",
            "-nan",
            "000000000000f8ff",
            "000000000000f8ff",
            "ffc00000",
            "cbfff8000000000000",
            ".",
            "68719476735",
        ]
    );
}

/// INV-LUA2, INV-K5: what is stopped leaves no trace.
#[test]
fn scripts_that_let_commands_work_leave_no_trace() {
    assert_no_trace(&["while true do redis.call('get',KEYS[1]) end"]);
}

/// What cannot be taken back is said to be kept.
#[test]
fn a_stopped_script_says_what_it_leaves() {
    let mut store = Store::new(CONFIG);
    run(&mut store, &["SETRANGE", "large", "1000000", "x"]);
    let script = "redis.call('append',KEYS[1],'y') redis.call('set','k',1) while true do end";
    let reply = run(&mut store, &["EVAL", script, "1", "large"]);
    assert!(
        reply.starts_with("-ERR script was stopped, and what it had changed was kept"),
        "{reply}"
    );
    assert_eq!(run(&mut store, &["STRLEN", "large"]), ":1000002\r\n");
    assert_eq!(run(&mut store, &["GET", "k"]), "$1\r\n1\r\n");
}

/// What a script selects is selected for the script alone; what it did elsewhere is taken back too.
#[test]
fn a_script_has_its_own_database() {
    let mut store = Store::new(CONFIG);
    let script = "redis.call('select',3) return redis.call('set','k',ARGV[1])";
    assert_eq!(run(&mut store, &["EVAL", script, "0", "v"]), "+OK\r\n");
    assert_eq!(run(&mut store, &["EXISTS", "k"]), ":0\r\n");
    let before = store.digest();
    let script = "redis.call('select',3) redis.call('set','k','w') redis.call('move','k',2) \
        while true do end";
    let reply = run(&mut store, &["EVAL", script, "0"]);
    assert!(reply.contains("was undone"), "{reply}");
    run(&mut store, &["SCRIPT", "FLUSH"]);
    let mut other = Store::new(CONFIG);
    for words in [&["SELECT", "3"][..], &["SET", "k", "v"], &["SELECT", "0"]] {
        run(&mut other, words);
    }
    assert_ne!(store.digest(), before, "the scripts are gone");
    assert_eq!(store.digest(), other.digest());
}

/// A script that fails by itself keeps what it did, as in Redis, and tells of it.
#[test]
fn a_failed_script_keeps_what_it_did() {
    let mut store = Store::new(CONFIG);
    store.want(EVERYTHING);
    let script = "redis.call('set',KEYS[1],1) redis.call('publish','c','m') error('x')";
    let (reply, outcome) = run_with_outcome(&mut store, &["EVAL", script, "1", "k"]);
    assert!(reply.starts_with("-ERR user_script:1: x script: "), "{reply}");
    assert_eq!(outcome.changes, 1);
    assert_eq!(run(&mut store, &["GET", "k"]), "$1\r\n1\r\n");
    let effects = store.take_effects();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Touched(_))), "{effects:?}");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Publish { .. })), "{effects:?}");
}

/// INV-LUA2: patterns and calls that nest take a bounded part of the stack.
#[test]
fn no_script_takes_the_stack() {
    let mut store = Store::new(CONFIG);
    for script in [
        "return string.find(('a'):rep(300000),('a?'):rep(300000))",
        "local function f() return ('x'):gsub('x',f) end return f()",
        "local t={} t.t=t return cjson.encode(t)",
        "local t={} t.t=t return t.t.t",
        "local t={} t[1]=t return t",
        "return cjson.decode(('['):rep(100000))",
        "return cmsgpack.unpack(('\\145'):rep(100000))",
        "return loadstring('return '..('('):rep(100000))()",
        "return loadstring(string.dump(function() end))()",
        "local t={} for i=1,7997 do t[i]='x' end local function f(...) return 1,2,3,4,5,... end \
         local function g(n,...) if n==0 then return redis.call('set',...) end return g(n-1,'x','x','x','x','x','x','x','x',...) end \
         return g(200,unpack(t))",
    ] {
        let reply = run(&mut store, &["EVAL", script, "0"]);
        assert!(reply.starts_with('-') || reply == "*0\r\n", "{script}: {reply}");
    }
}

/// Job queues push their arguments in batches of thousands.
#[test]
fn commands_take_thousands_of_words() {
    let mut store = Store::new(CONFIG);
    let script = "local t={} for i=1,7000 do t[i]='job:'..i end redis.call('rpush',KEYS[1],unpack(t)) \
        return redis.call('sadd',KEYS[2],unpack(redis.call('lrange',KEYS[1],0,-1)))";
    assert_eq!(run(&mut store, &["EVAL", script, "2", "{q}:wait", "{q}:ids"]), ":7000\r\n");
}

/// Where memory is full a script is told so with its first command that needs some; one that says how it is to be run is
/// not run, unless it says that it may (compared by hand with redis-server 7.0.15).
#[test]
fn scripts_take_no_memory_where_there_is_none() {
    const FULL: &str = "-OOM command not allowed when used memory > 'maxmemory'.";
    let mut store = Store::new(CONFIG);
    run(&mut store, &["FUNCTION", "LOAD", LIBRARY]);
    run(&mut store, &["SET", "k", "v"]);
    store.deny_memory(true);
    let set = "return redis.call('set',KEYS[1],1)";
    assert!(run(&mut store, &["EVAL", set, "1", "n"]).starts_with(FULL));
    let freed = "local r=redis.pcall('set',KEYS[1],1) return {r.err,redis.call('del',KEYS[1])}";
    let reply = run(&mut store, &["EVAL", freed, "1", "k"]);
    assert!(reply.contains(&FULL[1..]) && reply.ends_with(":1\r\n"), "{reply}");
    for (flags, refused) in [("", true), (" flags=no-writes", false), (" flags=allow-oom", false)] {
        let script = format!("#!lua{flags}\nreturn redis.call('get','k')");
        let reply = run(&mut store, &["EVAL", &script, "0"]);
        assert_eq!(reply.starts_with(FULL), refused, "{flags}: {reply}");
    }
    assert_eq!(
        run(&mut store, &["EVAL", &format!("#!lua flags=allow-oom\n{set}"), "1", "n"]),
        "+OK\r\n"
    );
    assert!(run(&mut store, &["FCALL", "count", "1", "c"]).starts_with(FULL));
    assert_eq!(run(&mut store, &["FCALL", "look", "1", "n"]), "$1\r\n1\r\n");
    store.deny_memory(false);
    assert_eq!(run(&mut store, &["FCALL", "count", "1", "c"]), ":1\r\n");
}

/// A script may touch every key of its shard, and none of another.
#[test]
fn keys_lie_in_the_shard() {
    let mut store = Store::new(CONFIG);
    let script = "return redis.call('set','undeclared',1)";
    assert_eq!(run(&mut store, &["EVAL", script, "0"]), "+OK\r\n");
    store.serve(0..1);
    let reply = run(&mut store, &["EVAL", script, "0"]);
    assert!(
        reply.starts_with("-ERR Script attempted to access a non local key in a cluster node"),
        "{reply}"
    );
}

/// Inside a transaction a script sees what stands before it, and one that fails does not stop the others.
#[test]
fn scripts_run_inside_transactions() {
    let mut store = Store::new(CONFIG);
    let name = run(&mut store, &["SCRIPT", "LOAD", "return redis.call('incr',KEYS[1])"]);
    let name = name.trim_start_matches("$40\r\n").trim_end();
    let commands = [
        &["SET", "k", "6"][..],
        &["EVALSHA", name, "1", "k"],
        &["EVALSHA", "x", "0"],
        &["GET", "k"],
    ];
    let reply = support::transact(&mut store, NOW, &commands, &[]);
    assert_eq!(
        String::from_utf8_lossy(&reply),
        "*4\r\n+OK\r\n:7\r\n-NOSCRIPT No matching script. Please use EVAL.\r\n$1\r\n7\r\n"
    );
}

/// Scripts and functions are state: a snapshot has them.
#[test]
fn a_snapshot_has_scripts_and_functions() {
    let mut store = Store::new(CONFIG);
    run(&mut store, &["SCRIPT", "LOAD", "return 7"]);
    run(&mut store, &["EVAL", "return 8", "0"]);
    run(&mut store, &["FUNCTION", "LOAD", LIBRARY]);
    let mut loaded = support::load(&support::dump(&mut store), 1000).unwrap();
    assert_eq!(loaded.digest(), store.digest());
    let name = "59b6ab2fbe0ee4b25733de0f62e6cda4899ef8e9";
    assert_eq!(run(&mut loaded, &["EVALSHA", name, "0"]), ":7\r\n");
    assert_eq!(run(&mut loaded, &["FCALL", "count", "1", "k"]), ":1\r\n");
    for words in [&["FUNCTION", "LIST", "WITHCODE"][..], &["FUNCTION", "DUMP"]] {
        assert_eq!(run(&mut loaded, words), run(&mut store, words));
    }
}

/// A library changes the digest, and its removal does not take back that there was a change (INV-FN1).
#[test]
fn libraries_are_part_of_the_digest() {
    let mut store = Store::new(CONFIG);
    let before = store.digest();
    assert_eq!(run(&mut store, &["FUNCTION", "LOAD", LIBRARY]), "$3\r\nlib\r\n");
    assert_ne!(store.digest(), before);
    let with_library = store.digest();
    run(&mut store, &["FUNCTION", "DELETE", "lib"]);
    assert!(store.digest() != before && store.digest() != with_library);
    let loaded = support::load(&support::dump(&mut store), 1000).unwrap();
    assert_eq!((loaded.digest(), loaded.libraries_version()), (store.digest(), 2));
}

/// INV-FN1: stores that are given libraries in any order, twice or not at all, have those of the latest version.
#[test]
fn the_latest_libraries_win_whatever_comes_when() {
    let (mut first, mut versions) = (Store::new(CONFIG), Vec::new());
    let other = LIBRARY.replace("name=lib", "name=other").replace("'count'", "'more'");
    let other = other.replace("'look'", "'peek'");
    for words in [
        &["FUNCTION", "LOAD", LIBRARY][..],
        &["FUNCTION", "LOAD", &other],
        &["FUNCTION", "DELETE", "lib"],
        &["FUNCTION", "LOAD", LIBRARY],
        &["FUNCTION", "FLUSH"],
        &["FUNCTION", "LOAD", "REPLACE", &other],
    ] {
        let reply = run(&mut first, words);
        assert!(!reply.starts_with('-'), "{reply}");
        versions.push(first.libraries());
    }
    assert!(run(&mut first, &["FUNCTION", "LOAD", &other]).starts_with("-ERR"));
    assert_eq!(first.libraries_version(), 6, "what is refused is no change");
    for order in [&[5usize, 0, 3][..], &[0, 1, 2, 3, 4, 5], &[2, 2, 5, 5, 4], &[5]] {
        let mut store = Store::new(CONFIG);
        for at in order {
            store.adopt_libraries(&versions[*at]);
        }
        assert_eq!(store.digest(), first.digest(), "INV-FN1: {order:?}");
        assert_eq!(run(&mut store, &["FCALL", "more", "1", "k"]), ":1\r\n");
    }
    let mut store = Store::new(CONFIG);
    for end in 0..versions[5].len() {
        store.adopt_libraries(&versions[5][..end]);
    }
    assert_eq!(store.digest(), Store::new(CONFIG).digest(), "what is cut short is nothing");
}

/// A function that is stopped leaves no trace, and neither does a library that cannot be loaded.
#[test]
fn functions_have_limits() {
    let mut store = Store::new(CONFIG);
    let endless = "#!lua name=l\nwhile true do end";
    let reply = run(&mut store, &["FUNCTION", "LOAD", endless]);
    assert!(reply.starts_with("-ERR Error registering functions: it did more work"), "{reply}");
    let code = "#!lua name=l\nredis.register_function('f',function(keys) redis.call('set',keys[1],1) while true do end end)";
    assert_eq!(run(&mut store, &["FUNCTION", "LOAD", code]), "$1\r\nl\r\n");
    let reply = run(&mut store, &["FCALL", "f", "1", "k"]);
    assert!(
        reply.starts_with("-ERR script was stopped, and what it had changed was undone"),
        "{reply}"
    );
    assert!(reply.ends_with("script: f\r\n"), "{reply}");
    assert_eq!(run(&mut store, &["EXISTS", "k"]), ":0\r\n");
}

/// An error may be any value. (redis-server 7.0.15 falls over a table without `err`, so this is not compared with it.)
#[test]
fn errors_are_any_value() {
    let mut store = Store::new(CONFIG);
    for (error, reply) in [
        ("{}", "-ERR unknown error script: "),
        ("{err=1}", "-ERR unknown error script: "),
        ("true", "-ERR "),
        ("function() end", "-ERR "),
    ] {
        let found = run(&mut store, &["EVAL", &format!("error({error})"), "0"]);
        assert!(found.starts_with(reply), "{error}: {found}");
    }
}
