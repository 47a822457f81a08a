//! Clients that wait, as clients see it: beside a real redis-server, and what becomes of a wait when its client or this
//! server goes.
//!
//! Needs redis-server 7 (Debian: `apt-get install redis-server`).

mod support;

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use keystead_gateway::GatewayConfig;
use support::redis::Redis;
use support::{Client, Server, command, wait_until};

/// How long an answer that is due is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lines of several clients, of which each begins with its name. `a BLPOP k 0`: sent, and answered or not; `a >` reads the
/// answer to it; a client without `!` behind its name does not go on before it waits or is answered.
const SCRIPTS: &[&str] = &[
    // First come, first served; whoever comes later finds nothing.
    "a BLPOP k 0; b BRPOP k 0; c BLPOP k 0; z RPUSH k 1 2; a >; b >; z LLEN k; z RPUSH k 3; c >; z EXISTS k",
    // Several keys: the first one that has something at once, the one that gets something later.
    "z RPUSH k2 x; a BLPOP k1 k2 k3 0; a >; a BLPOP k1 k2 k3 0; z RPUSH k3 y; a >; a BLPOP k1 k1 0; z LPUSH k1 1 2; a >; z LRANGE k1 0 -1",
    // Who waits for several keys waits for none any more once it was served.
    "a BLPOP k1 k2 0; b BLPOP k2 0; z RPUSH k1 1; a >; z RPUSH k2 2; b >; z EXISTS k1 k2",
    // What fills the key does not matter.
    "a BLPOP k 0; z RPUSH l 1; z RENAME l k; a >; b BLPOP k 0; z RPUSH l 2; z COPY l k; b >; z LRANGE l 0 -1; z DEL l",
    "a BLPOP k 0; z RPUSH l 1; z LMOVE l k LEFT LEFT; a >; z EXISTS k l; a BLPOP k 0; z LINSERT k BEFORE 1 2; z LPUSHX k 1; z LPUSH k 9; a >",
    "a BZPOPMIN k 0; b BZPOPMAX k 0; z ZADD k 1 x 2 y 3 z; a >; b >; z ZRANGE k 0 -1 WITHSCORES",
    "a BZPOPMIN k 0; z ZADD l 5 x; z ZUNIONSTORE k 1 l; a >; a BZPOPMAX k m 0; z ZINCRBY m 2.5 y; a >",
    // Transactions serve at their end only.
    "a BLPOP k 0; z MULTI; z RPUSH k 1; z DEL k; z RPUSH k 2; z EXEC; a >",
    "a BLPOP k 0; z MULTI; z RPUSH k 1; z DEL k; z EXEC; z RPUSH k 3; a >",
    "a BLPOP k2 k1 0; z MULTI; z RPUSH k1 1; z RPUSH k2 2; z EXEC; a >; z EXISTS k1 k2",
    // Inside a transaction nobody waits.
    "a MULTI; a BLPOP k 0; a >; a BLMOVE k l LEFT LEFT 0; a >; a BRPOPLPUSH k l 0; a >; a BLMPOP 0 1 k LEFT; a >; a BZPOPMIN k 0; a >; a BZMPOP 0 1 k MIN; a >; a XREAD BLOCK 0 STREAMS k 0; a >; a EXEC",
    // Chains.
    "a BLMOVE k l LEFT RIGHT 0; b BLPOP l 0; z RPUSH k 1; a >; b >; z EXISTS k l",
    "a BRPOPLPUSH k l 0; b BLMOVE l m RIGHT LEFT 0; c BLPOP m 0; z RPUSH k 1 2; a >; b >; c >; z LRANGE k 0 -1",
    "a BLMOVE k k LEFT RIGHT 0; z RPUSH k 1 2 3; a >; z LRANGE k 0 -1",
    "z RPUSH k 1; a BLMOVE k l LEFT LEFT 0; a >; a BRPOPLPUSH l k 0; a >",
    // A destination of the wrong kind tells who waits; the element stays.
    "z SET l text; a BLMOVE k l LEFT LEFT 0; z RPUSH k 1; a >; z LRANGE k 0 -1; a BRPOPLPUSH k l 0; a >",
    "z SET l text; a BLMOVE k l LEFT LEFT 0; b BLPOP k 0; z RPUSH k 1; a >; b >; z EXISTS k",
    // Keys of another kind.
    "z SET k text; a BLPOP k 0; a >; a BZPOPMIN k 0; a >; a BLMOVE k l LEFT LEFT 0; a >; a BLMPOP 0 1 k LEFT; a >; a BZMPOP 0 1 k MIN; a >; a XREAD BLOCK 0 STREAMS k 0; a >",
    "a BLPOP k 0; z ZADD k 1 x; z SET k y; z DEL k; z SADD k z; z DEL k; z RPUSH k 1; a >",
    "a BLPOP k l 0; z SET k text; z RPUSH l 1; a >",
    // Counts.
    "a BLMPOP 0 2 k l LEFT COUNT 2; z RPUSH l 1 2 3; a >; a BLMPOP 0 2 k l RIGHT COUNT 9; a >; a BLMPOP 0 1 k RIGHT; z RPUSH k 1 2; a >",
    "a BZMPOP 0 2 k l MIN COUNT 2; z ZADD l 1 a 2 b 3 c; a >; a BZMPOP 0 2 k l MAX COUNT 9; a >; a BZMPOP 0 1 k MAX; z ZADD k 1 a 2 b; a >",
    // Times.
    "a BLPOP k 0.01; a >; a BRPOP k 0.001; a >; a BLMOVE k l LEFT LEFT 0.01; a >; a BRPOPLPUSH k l 0.01; a >; a BLMPOP 0.01 1 k LEFT; a >",
    "a BZPOPMIN k 0.01; a >; a BZPOPMAX k 1e-2; a >; a BZMPOP 0.01 1 k MIN; a >; a XREAD BLOCK 10 STREAMS k $; a >",
    "a BLPOP k 0.0000001; a >; a BLPOP k -1; a >; a BLPOP k -0.0001; b BLPOP k 0; z RPUSH k 1 2; a >; b >",
    "a BLPOP k x; a >; a BLPOP k 1e400; a >; a BLPOP k inf; a >; a BLPOP k -inf; a >; a BLPOP k nan; a >; a BLPOP k 9223372036854775807; a >; a BLPOP k 9.3e15; a >; a BLPOP k ''; a >",
    "a BLMOVE k l LEFT UP 1; a >; a BLMOVE k l UP LEFT x; a >; a BLMOVE k l LEFT LEFT x; a >; a BLMOVE k l LEFT LEFT -1; a >; a BLMOVE k l LEFT LEFT; a >",
    "a BLMPOP x 1 k LEFT; a >; a BLMPOP x 0 k LEFT; a >; a BLMPOP -1 1 k UP; a >; a BLMPOP -1 1 k LEFT COUNT 0; a >; a BLMPOP 1 2 k LEFT; a >; a BLMPOP 1 1 k LEFT COUNT; a >",
    "a BZMPOP x 1 k MIN; a >; a BZMPOP x 0 k MIN; a >; a BZMPOP -1 1 k LEFT; a >; a BZMPOP -1 1 k MIN COUNT 0; a >; a BZMPOP 1 2 k MIN; a >",
    "a BRPOPLPUSH k l x; a >; a BRPOPLPUSH k l -1; a >; a BRPOPLPUSH k l; a >; a BLPOP 1; a >; a BZPOPMIN k x; a >; a BZPOPMIN k -1; a >",
    // Streams.
    "a XREAD BLOCK 0 STREAMS s $; b XREAD COUNT 1 BLOCK 0 STREAMS r s 0 0; z XADD s 1-1 f v; a >; b >; a XREAD BLOCK 0 STREAMS s 0; a >; a XREAD BLOCK 0 STREAMS s $; z XADD s 2-1 f w; a >",
    "a XREAD BLOCK 0 STREAMS s 5-0; z XADD s 1-1 f v; z XADD s 5-1 f v; a >",
    "z XADD s 1-1 f v; z XGROUP CREATE s g 0; a XREADGROUP GROUP g c BLOCK 0 STREAMS s >; a >; a XREADGROUP GROUP g c BLOCK 0 STREAMS s >; b XREADGROUP GROUP g d BLOCK 0 STREAMS s >; z XADD s 2-1 f w; a >; z XADD s 3-1 f x; b >; a XREADGROUP GROUP g c BLOCK 0 STREAMS s 0; a >",
    "z XADD s 1-1 f v; z XGROUP CREATE s g $; a XREADGROUP GROUP g c BLOCK 0 STREAMS s >; z XGROUP DESTROY s g; a >",
    "z XADD s 1-1 f v; z XGROUP CREATE s g $; a XREADGROUP GROUP g c BLOCK 0 STREAMS s >; z DEL s; a >",
    "z XADD s 1-1 f v; z XGROUP CREATE s g $; a XREADGROUP GROUP g c BLOCK 0 STREAMS s >; z FLUSHALL; a >",
    "z XADD s 1-1 f v; z XGROUP CREATE s g $; a XREADGROUP GROUP g c BLOCK 0 STREAMS s >; z RENAME s t; a >",
    "a XREADGROUP GROUP g c BLOCK 0 STREAMS s >; a >; a XREAD BLOCK -1 STREAMS s 0; a >; a XREAD BLOCK x STREAMS s 0; a >; a XREAD BLOCK 0.5 STREAMS s 0; a >",
    "z XADD s 1-1 f v; z XGROUP CREATE s g $; a XREADGROUP GROUP g c BLOCK 0 STREAMS s >; z SET s text; a >",
    "z XADD s 1-1 f v; z XGROUP CREATE s g $; a XREADGROUP GROUP g c BLOCK 0 STREAMS s >; z MULTI; z DEL s; z SADD s m; z EXEC; a >",
    "z XADD s 1-1 f v; z XGROUP CREATE s g $; a XREADGROUP GROUP g c BLOCK 0 STREAMS s >; z RPUSH l 1; z RENAME l s; a >",
    "z XADD s 1-1 f v; z XGROUP CREATE s g $; a XREADGROUP GROUP g c BLOCK 0 STREAMS s >; z XADD t 1-1 f v; z SORT none STORE s; a >",
    "z XADD s 1-1 f v; z XGROUP CREATE s g $; a XREADGROUP GROUP g c BLOCK 0 STREAMS s >; z EVAL return{redis.call('del',KEYS[1]),redis.call('xadd',KEYS[1],'9-1','f','v'),redis.call('xgroup','create',KEYS[1],'g','0')} 1 s; a >",
    // Scripts serve at their end, and in them nobody waits.
    "a BLPOP k 0; b BRPOP k 0; z EVAL return{redis.call('rpush',KEYS[1],1,2,3),redis.call('llen',KEYS[1])} 1 k; a >; b >; z LRANGE k 0 -1",
    "a BLPOP k 0; z EVAL return{redis.call('rpush',KEYS[1],1),redis.call('del',KEYS[1])} 1 k; z RPUSH k 2; a >",
    "a BLMOVE k l LEFT LEFT 0; z EVAL return{redis.call('rpush',KEYS[1],1),redis.call('nosuch')} 1 k; a >; z LRANGE l 0 -1",
    "z EVAL return{redis.pcall('blpop',KEYS[1],0).err,redis.pcall('bzpopmin',KEYS[1],0).err,redis.pcall('blmove',KEYS[1],KEYS[1],'LEFT','LEFT',0).err,redis.pcall('brpoplpush',KEYS[1],KEYS[1],0).err} 1 k",
    "z EVAL return{redis.call('blmpop',0,1,KEYS[1],'LEFT'),redis.call('bzmpop',0,1,KEYS[1],'MIN'),redis.call('xread','STREAMS',KEYS[1],0),1} 1 k; z RPUSH k 1 2; z EVAL return(redis.call('blmpop',0,1,KEYS[1],'LEFT','COUNT',5)) 1 k",
    "z EVAL return{redis.pcall('XRead','BLOCK',0,'STREAMS',KEYS[1],0).err,redis.pcall('xreadgroup','GROUP','g','c','BLOCK',0,'STREAMS',KEYS[1],'>').err} 1 s",
    "z EVAL_RO return{redis.call('xread','BLOCK',0,'STREAMS',KEYS[1],'$'),1} 1 s; z EVAL_RO return(redis.call('blmpop',0,1,KEYS[1],'LEFT')) 1 k",
    // Who waits is told what it is to be told meanwhile.
    "a HELLO 3; a SUBSCRIBE c; a BLPOP k 0; z PUBLISH c m; a >; z RPUSH k 1; a >",
    "a HELLO 3; a CLIENT TRACKING ON; a GET x; a BLPOP k 0; z SET x 1; a >; z RPUSH k 1; a >; a PING",
    // What is popped for one who waits is told to whoever read the key; the one who pushes included.
    "t HELLO 3; t CLIENT TRACKING ON; t LRANGE k 0 -1; a BLPOP k 0; z RPUSH k 1; t >; a >; t LLEN k; a BLMOVE k l LEFT LEFT 0; z RPUSH k 2; t >; a >; t PING",
    // RESP3.
    "a HELLO 3; a BLPOP k 0.01; a >; a BZPOPMIN k 0; z ZADD k 1.5 x; a >; a XREAD BLOCK 0 STREAMS s $; z XADD s 1-1 f v; a >; a BLMPOP 0.01 1 l LEFT; a >; a BLMOVE l m LEFT LEFT 0.01; a >",
    // Commands behind one that waits come after it; replies in front of it do not wait with it.
    "a! SET x 1; a >; a! BLPOP k 0; a! SET x 2; z GET x; z RPUSH k 1; a >; a >; z GET x",
    // CLIENT UNBLOCK.
    "a CLIENT ID; a BLPOP k 0; z CLIENT UNBLOCK $a; a >; a BLPOP k 0; z CLIENT UNBLOCK $a TIMEOUT; a >; a BLPOP k 0; z CLIENT UNBLOCK $a ERROR; a >; z CLIENT UNBLOCK $a; z CLIENT UNBLOCK $a NOW; z CLIENT UNBLOCK x; z RPUSH k 1; a BLPOP k 0; a >",
    "a CLIENT ID; a XREAD BLOCK 0 STREAMS s $; z CLIENT UNBLOCK $a; a >; a BLMOVE k l LEFT LEFT 0; z CLIENT UNBLOCK $a; a >; a BZPOPMIN k 0; z CLIENT UNBLOCK $a; a >",
];

/// What the clients of a script are told, line by line.
fn play(address: SocketAddr, script: &str) -> Vec<String> {
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    let mut control = Client::connect(address);
    control.call("FLUSHALL");
    let mut told = Vec::new();
    for line in script.split(';').map(str::trim) {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let name = words.remove(0);
        let (name, goes_on) =
            name.strip_suffix('!').map_or((name.as_str(), false), |name| (name, true));
        let client = clients.entry(name.to_owned()).or_insert_with(|| Client::connect(address));
        if words == [">"] {
            // One that is not answered is a difference like any other.
            let begun = Instant::now();
            while !client.has_reply() && begun.elapsed() < PATIENCE {
                std::thread::yield_now();
            }
            let reply = if client.has_reply() { client.reply() } else { b"nothing".to_vec() };
            told.push(format!("{line} {}", String::from_utf8_lossy(&reply)));
            continue;
        }
        for word in &mut words {
            if let Some(id) = word.strip_prefix('$').and_then(|name| ids.get(name)) {
                word.clone_from(id);
            } else if word == "''" {
                word.clear();
            }
        }
        let before = blocked(&mut control);
        client.send(&command(&words));
        if goes_on {
            continue;
        }
        if words[0].starts_with('B') || words.contains(&"BLOCK".to_owned()) {
            // Either it is answered, or it waits: its reply is read by a line of its own.
            wait_until(line, || client.has_reply() || blocked(&mut control) > before);
            continue;
        }
        let reply = String::from_utf8_lossy(&client.reply()).into_owned();
        if words[..] == ["CLIENT", "ID"] {
            ids.insert(name.to_owned(), reply.trim_start_matches(':').trim().to_owned());
        } else if words[0] != "HELLO" {
            told.push(format!("{line} {reply}"));
        }
    }
    told
}

/// Clients that wait, as the server counts them.
fn blocked(control: &mut Client) -> usize {
    let clients = control.call("INFO clients");
    let field = clients.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    field.expect("the server counts them").parse().expect("a number")
}

/// INV-G7, among much else.
#[test]
fn clients_that_wait_are_told_what_redis_tells_them() {
    let (redis, server) = (Redis::start(), Server::start(1));
    let mut differing = Vec::new();
    for script in SCRIPTS {
        let (ours, theirs) = (play(server.address, script), play(redis.address, script));
        if ours != theirs {
            differing.push(format!("{script}\n ours: {ours:#?}\n redis: {theirs:#?}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n\n"));
}

/// A client that waits for `key`, and one beside it.
fn waiting_for(server: &Server, key: &str) -> (Client, Client) {
    let (mut waiting, mut other) = (server.connect(), server.connect());
    waiting.send(&command(&["BLPOP", key, "0"]));
    wait_until("the client waits", || blocked(&mut other) == 1);
    (waiting, other)
}

#[test]
fn who_goes_waits_no_more_and_takes_nothing_along() {
    let server = Server::start(4);
    let (waiting, mut other) = waiting_for(&server, "k");
    let list = other.call("CLIENT LIST");
    assert!(list.contains("flags=b") && list.contains("cmd=blpop"), "{list}");
    drop(waiting);
    wait_until("the shard has forgotten", || server.node.waiters() == 0);
    assert_eq!(other.call("RPUSH k 1"), ":1\r\n");
    assert_eq!((other.call("LLEN k").as_str(), blocked(&mut other)), (":1\r\n", 0));

    let (mut waiting, mut other) = waiting_for(&server, "l");
    let list = other.call("CLIENT LIST");
    let line = list.lines().find(|line| line.contains("flags=b")).expect("it waits");
    let id = line.strip_prefix("id=").and_then(|line| line.split(' ').next()).expect("an id");
    assert_eq!(other.call(&format!("CLIENT KILL ID {id}")), ":1\r\n");
    assert_eq!(waiting.rest(), b"");
    wait_until("the shard has forgotten", || server.node.waiters() == 0);
}

/// Who sends no more may still read: what is there for it comes, and what is not is not waited for.
#[test]
fn who_sends_no_more_does_not_wait() {
    let server = Server::start(1);
    let mut other = server.connect();
    assert_eq!(other.call("RPUSH k 1"), ":1\r\n");
    let lines: [&[&str]; 4] =
        [&["SET", "a", "1"], &["BLPOP", "k", "0"], &["BLPOP", "k", "0"], &["SET", "b", "2"]];
    for holds_outcomes in [false, true] {
        let mut client = server.connect();
        server.node.holds_outcomes.store(holds_outcomes, Ordering::SeqCst);
        client.send(&lines.map(command).concat());
        client.stream.shutdown(Shutdown::Write).expect("the socket is open");
        server.node.release();
        let found = if holds_outcomes { "" } else { "*2\r\n$1\r\nk\r\n$1\r\n1\r\n" };
        assert_eq!(String::from_utf8_lossy(&client.rest()), format!("+OK\r\n{found}+OK\r\n"));
        assert_eq!((server.node.waiters(), blocked(&mut other)), (0, 0));
    }
}

#[test]
fn a_server_that_stops_lets_go_of_who_waits() {
    let mut server = Server::start(4);
    let (mut waiting, other) = waiting_for(&server, "k");
    drop(other);
    server.request_stop();
    let told = String::from_utf8(waiting.rest_in_order()).expect("text");
    assert!(told.starts_with("-UNBLOCKED this node is shutting down"), "{told}");
    server.join();
    assert_eq!(server.node.waiters(), 0);
}

/// A wait is not idleness.
#[test]
fn who_waits_is_not_idle() {
    let config = GatewayConfig { idle_timeout: Duration::from_secs(1), ..GatewayConfig::default() };
    let server = Server::start_with(1, config);
    let (mut idle, mut waiting) = (server.connect(), server.connect());
    waiting.send(&command(&["BLPOP", "k", "0"]));
    assert_eq!(idle.rest(), b"");
    let mut other = server.connect();
    assert_eq!(other.call("RPUSH k 1"), ":1\r\n");
    assert_eq!(waiting.reply(), b"*2\r\n$1\r\nk\r\n$1\r\n1\r\n");
}
