//! What a script is told is the same on a replica that lived through every entry and on one that began with a snapshot.
//!
//! INV-LUA3: nothing of what a script sees, counts for or leaves depends on how a replica came to its state.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use keystead_store::Store;
use support::CONFIG;

const NOW: u64 = 1_000;

/// What scripts may ask; words that name a key get a number behind them.
const QUESTIONS: &str = "memory usage list
    memory usage set
    memory usage ints
    memory usage hash
    memory usage zset
    memory usage stream
    memory usage string
    memory usage json
    object encoding list
    object encoding set
    object encoding ints
    object encoding hash
    object encoding zset
    object encoding stream
    object encoding string
    object idletime set
    object freq set
    object refcount set
    smembers set
    smembers ints
    hgetall hash
    hkeys hash
    lrange list 0 -1
    zrange zset 0 -1
    srandmember set
    srandmember set 7
    srandmember set -7
    srandmember ints 7
    hrandfield hash 7
    hrandfield hash -7
    zrandmember zset 7
    zrandmember zset -7
    sscan set 0 COUNT 20
    sscan ints 0 COUNT 20
    hscan hash 0 COUNT 20
    zscan zset 0 COUNT 20
    xinfo stream stream
    xinfo stream stream FULL
    xrange stream - +
    json.get json
    json.debug memory json
    json.debug memory json $.list
    json.objkeys json
    debug object set
    sort set ALPHA
    sort ints
    dump set
    dump list
    dump hash
    dump zset
    dump stream
    dump json
    dump ints
    sdiff set ints
    sinter set set
    sunion set ints
    spop set 5
    spop ints 5
    spop set
    randomkey
    keys *
    scan 0 COUNT 50
    dbsize
    info memory
    info
    command count
    time";

fn run(store: &mut Store, words: &[&str]) -> String {
    String::from_utf8_lossy(&support::apply(store, NOW, words)).into_owned()
}

/// A store of which every value has grown and shrunk: it holds room that a fresh copy does not.
fn with_a_past() -> Store {
    let mut store = Store::new(CONFIG);
    for (large, small) in [(600, 40), (4_000, 2_200)] {
        for at in 0..large {
            let (name, tag) = (format!("m{at}:{}", "x".repeat(60 + at % 37)), large.to_string());
            let key = |kind: &str| format!("{kind}{tag}");
            for words in [
                &["RPUSH", &key("list"), &name][..],
                &["SADD", &key("set"), &name],
                &["SADD", &key("ints"), &at.to_string()],
                &["HSET", &key("hash"), &name, &name],
                &["ZADD", &key("zset"), &at.to_string(), &name],
                &["XADD", &key("stream"), &format!("{}-1", at + 1), "f", &name],
                &["APPEND", &key("string"), &name],
                &["JSON.SET", &key("json"), "$", "{\"list\":[]}", "NX"],
                &["JSON.ARRAPPEND", &key("json"), "$.list", &at.to_string()],
                &["JSON.SET", &key("json"), &format!("$.m{at}"), "1"],
                &["SET", &format!("plain{at}"), &name],
            ] {
                run(&mut store, words);
            }
        }
        for at in small..large {
            let (name, tag) = (format!("m{at}:{}", "x".repeat(60 + at % 37)), large.to_string());
            let key = |kind: &str| format!("{kind}{tag}");
            for words in [
                &["RPOP", &key("list")][..],
                &["SREM", &key("set"), &name],
                &["SREM", &key("ints"), &at.to_string()],
                &["HDEL", &key("hash"), &name],
                &["ZREM", &key("zset"), &name],
                &["XDEL", &key("stream"), &format!("{}-1", at + 1)],
                &["JSON.ARRPOP", &key("json"), "$.list"],
                &["JSON.DEL", &key("json"), &format!("$.m{at}")],
                &["DEL", &format!("plain{at}")],
            ] {
                run(&mut store, words);
            }
        }
    }
    store
}

/// The same state as a replica has it that was given a snapshot.
fn without_it(store: &mut Store) -> Store {
    let loaded = support::load(&support::dump(store), 1 << 20).unwrap();
    assert_eq!(loaded.digest(), store.digest());
    loaded
}

/// INV-LUA3: whatever a script asks, the answers agree, for it may write them down.
#[test]
fn what_a_script_reads_has_no_past() {
    let mut lived = with_a_past();
    let mut fresh = without_it(&mut lived);
    let mut differing = Vec::new();
    for tag in ["600", "4000"] {
        for line in QUESTIONS.lines().map(str::trim) {
            let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            for word in words.iter_mut().skip(1) {
                if ["list", "set", "ints", "hash", "zset", "stream", "string", "json"]
                    .contains(&word.as_str())
                {
                    word.push_str(tag);
                }
            }
            // The stream that is asked about has the word twice.
            if line.starts_with("xinfo stream") {
                words[1] = "stream".to_owned();
            }
            let mut call = vec!["EVAL", "return redis.call(unpack(ARGV))", "0"];
            call.extend(words.iter().map(String::as_str));
            if run(&mut lived, &call) != run(&mut fresh, &call) {
                differing.push(words.join(" "));
            }
        }
    }
    assert!(differing.is_empty(), "INV-LUA3: {differing:#?}");
    assert_eq!(lived.digest(), fresh.digest());
}

/// INV-LUA3: what is undone of a script that was stopped is undone everywhere, or nowhere.
#[test]
fn what_is_undone_has_no_past() {
    let mut lived = with_a_past();
    let mut fresh = without_it(&mut lived);
    // Stopped at once: a string without end takes the memory that a script may have.
    let stop = "local s=('x'):rep(1e6) while true do s=s..s end";
    for (key, change) in [
        ("list4000", "'rpush',KEYS[1],'new'"),
        ("set4000", "'sadd',KEYS[1],'new'"),
        ("ints4000", "'sadd',KEYS[1],'77777'"),
        ("hash4000", "'hset',KEYS[1],'new','1'"),
        ("zset4000", "'zadd',KEYS[1],'1','new'"),
        ("stream4000", "'xadd',KEYS[1],'*','f','v'"),
        ("json4000", "'json.set',KEYS[1],'$.new','1'"),
        ("string4000", "'append',KEYS[1],'x'"),
    ] {
        let script = format!("redis.call({change}) {stop}");
        let replies = [&mut lived, &mut fresh].map(|it| run(it, &["EVAL", &script, "1", key]));
        assert!(replies[0].starts_with("-ERR script was stopped"), "{key}: {}", replies[0]);
        assert_eq!(replies[0], replies[1], "INV-LUA3: {key}");
    }
    assert_eq!(lived.digest(), fresh.digest(), "INV-LUA3");
}

/// INV-LUA3: a limit strikes at the same instruction everywhere: work does not count room that one replica has already.
#[test]
fn what_a_script_counts_has_no_past() {
    let mut lived = with_a_past();
    let mut fresh = without_it(&mut lived);
    // It is stopped in its midst, and too large to be put back: what is kept tells how far it came.
    let script = "redis.call('setrange','large',300000,'x') redis.call('append','large','x') \
        for n=1,1e9 do local value=('y'):rep(300)..n redis.call('rpush','list4000',value) redis.call('sadd','set4000',value) \
        redis.call('sadd','ints4000',n) redis.call('hset','hash4000',value,value) redis.call('zadd','zset4000',n,value) \
        redis.call('json.arrappend','json4000','$.list',n) redis.call('append','string4000',value) \
        redis.call('xadd','stream4000','*','f',value) redis.call('sinterstore','copy','set600','ints600') end";
    for store in [&mut lived, &mut fresh] {
        run(store, &["SET", "large", &"x".repeat(300_000)]);
    }
    let replies = [&mut lived, &mut fresh].map(|it| run(it, &["EVAL", script, "0"]));
    assert!(replies[0].contains("was kept"), "{}", replies[0]);
    assert_eq!(replies[0], replies[1], "INV-LUA3");
    for ask in [&["LLEN", "list4000"][..], &["STRLEN", "string4000"], &["XLEN", "stream4000"]] {
        assert_eq!(run(&mut lived, ask), run(&mut fresh, ask), "INV-LUA3");
    }
    assert_eq!(lived.digest(), fresh.digest(), "INV-LUA3");
}

/// Commands of one script have chance of their own each, and the same on every replica.
#[test]
fn each_command_of_a_script_has_its_own_chance() {
    let mut lived = with_a_past();
    let mut fresh = without_it(&mut lived);
    let script = "local seen={} for n=1,20 do seen[redis.call('srandmember','set600')]=true end \
        local count=0 for member in pairs(seen) do count=count+1 end return count";
    let found = run(&mut lived, &["EVAL", script, "0"]);
    let count: u32 = found.trim_matches([':', '\r', '\n']).parse().unwrap();
    assert!(count > 5, "20 draws of 40 members found {count}");
    assert_eq!(found, run(&mut fresh, &["EVAL", script, "0"]));
}
