//! The store beside a real redis-server 7.0: the same commands, the same reply bytes, the same keyspace events.
//!
//! Scripts in `tests/against_redis/` hold one command a line, quoted as redis-cli does; a line that
//! begins with `~` has a reply without an order. Random sequences follow. What is meant to differ
//! stands in `src/command/differences.txt` and nowhere else. Needs redis-server 7.0 in the path.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use keystead_resp::{Args, Protocol, ReplyWriter, Span};
use keystead_store::{Effect, EventClass, Store, StoreConfig, Wanted, command};
use keystead_types::{ApplyContext, Clock, LogIndex, time::SystemClock};
use proptest::prelude::*;

/// Channels that events are told in, and what stands there before the event's name.
const KEY_EVENTS_PATTERN: &str = "__keyevent@*__:*";
const KEY_EVENTS: &str = "__keyevent@";
/// The event that is not compared: when it comes is another matter than what came about.
const EXPIRED: &str = "expired";
/// Ends the events of one command, where they are heard.
const END_OF_EVENTS: &str = "end-of-events";

struct Redis {
    server: Child,
    connection: BufReader<UnixStream>,
    /// Subscribed to all keyspace events.
    listener: BufReader<UnixStream>,
    _folder: tempfile::TempDir,
}

impl Redis {
    fn start(protocol: Protocol) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("redis.sock");
        let mut server = Command::new("redis-server")
            // It looks 500 times a second whether a client has waited long enough, not 10 times.
            .args(["--hz", "500"])
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            // SORT ALPHA follows the locale there, and compares bytes here.
            .env("LC_ALL", "C")
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server 7.0 is needed for this test: install the package redis-server");
        let lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let is_ready = lines.map_while(Result::ok).any(|line| line.contains("ready to accept"));
        assert!(is_ready, "redis-server ended before it was ready");
        let connect = || BufReader::new(UnixStream::connect(&socket).unwrap());
        let (connection, listener) = (connect(), connect());
        let mut redis = Self { server, connection, listener, _folder: folder };
        redis.run(&text(&["CONFIG", "SET", "notify-keyspace-events", "EA"]));
        send(&mut redis.listener, &text(&["PSUBSCRIBE", KEY_EVENTS_PATTERN, END_OF_EVENTS]));
        (0..2).for_each(|_| read_reply(&mut redis.listener, &mut Vec::new()));
        if protocol == Protocol::Resp3 {
            redis.run(&[b"HELLO".to_vec(), b"3".to_vec()]);
        }
        redis
    }

    fn run(&mut self, command: &[Vec<u8>]) -> Vec<u8> {
        send(&mut self.connection, command);
        let mut reply = Vec::new();
        read_reply(&mut self.connection, &mut reply);
        reply
    }

    /// The events since the last call: database, name and key.
    fn events(&mut self) -> Vec<String> {
        self.run(&text(&["PUBLISH", END_OF_EVENTS, ""]));
        let mut events = Vec::new();
        loop {
            let mut message = Vec::new();
            read_reply(&mut self.listener, &mut message);
            let parts = bulks(&message);
            let [_, _, channel, key] = parts[..] else { panic!("no message") };
            let Some(event) = channel.strip_prefix(KEY_EVENTS.as_bytes()) else { return events };
            let end = event.windows(3).position(|end| end == b"__:").unwrap();
            let (database, event) = (&event[..end], &event[end + 3..]);
            // Redis finds out that a key's time is up when somebody looks at it, or some time later.
            if event == EXPIRED.as_bytes() {
                continue;
            }
            let words = [database, event, key].map(|word| word.escape_ascii().to_string());
            events.push(words.join(" "));
        }
    }
}

fn send(connection: &mut BufReader<UnixStream>, command: &[Vec<u8>]) {
    let mut wire = Vec::new();
    keystead_resp::encode::command(&mut wire, command.iter().map(Vec::as_slice));
    connection.get_mut().write_all(&wire).unwrap();
}

fn read_reply(connection: &mut BufReader<UnixStream>, reply: &mut Vec<u8>) {
    let start = reply.len();
    connection.read_until(b'\n', reply).unwrap();
    let line = &reply[start..];
    let count = std::str::from_utf8(&line[1..line.len() - 2]).ok().and_then(|n| n.parse().ok());
    match (line[0], count) {
        (b'$' | b'=', Some(len @ 0..)) => {
            let len = usize::try_from(len + 2i64).unwrap();
            let at = reply.len();
            reply.resize(at + len, 0);
            connection.read_exact(&mut reply[at..]).unwrap();
        }
        (b'*' | b'~' | b'>', Some(count)) => (0..count).for_each(|_| read_reply(connection, reply)),
        (b'%', Some(count)) => (0..count * 2).for_each(|_| read_reply(connection, reply)),
        _ => {}
    }
}

/// The bulk strings of a flat array.
fn bulks(reply: &[u8]) -> Vec<&[u8]> {
    let (mut found, mut rest) = (Vec::new(), reply);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, behind) = rest.split_at(end + 1);
        rest = behind;
        if let Some(len) = line.strip_prefix(b"$") {
            let len: usize = std::str::from_utf8(len.trim_ascii_end()).unwrap().parse().unwrap();
            found.push(&rest[..len]);
            rest = &rest[len + 2..];
        }
    }
    found
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

/// The store, applying commands with the machine's time as a node would.
struct Ours {
    store: Store,
    clock: SystemClock,
    index: u64,
    protocol: Protocol,
}

impl Ours {
    fn new(protocol: Protocol) -> Self {
        let mut store = Store::new(StoreConfig { hash_seed: 42, has_every_slot: true });
        store.want(Wanted { classes: u16::MAX, ..Wanted::default() });
        Self { store, clock: SystemClock::new(), index: 0, protocol }
    }

    /// The events since the last call, as Redis would tell them of its class A.
    fn events(&mut self) -> Vec<String> {
        let effects = self.store.take_effects().into_iter();
        let events = effects.filter_map(|effect| match effect {
            Effect::Event { class: EventClass::New, .. } | Effect::Event { name: EXPIRED, .. } => {
                None
            }
            Effect::Event { name, database, key, .. } => {
                Some(format!("{} {name} {}", database.0, key.escape_ascii()))
            }
            _ => None,
        });
        events.collect()
    }

    fn run(&mut self, command: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut spans = Vec::new();
        for arg in command {
            let start = u32::try_from(bytes.len()).unwrap();
            spans.push(Span { start, len: u32::try_from(arg.len()).unwrap() });
            bytes.extend_from_slice(arg);
        }
        let args = Args::new(&bytes, &spans);
        self.index += 1;
        let now = self.clock.unix_now();
        let ctx = ApplyContext { index: LogIndex(self.index), now, seed: self.index };
        let mut reply = Vec::new();
        let is_read = command::resolve(args).is_ok_and(command::Command::is_read_only);
        let mut writer = ReplyWriter::new(&mut reply, self.protocol);
        if is_read {
            self.store.read(self.store.selected(), now, args, &mut writer);
        } else {
            let outcome = self.store.apply(&ctx, args, &mut writer);
            assert_eq!(outcome.is_error, reply.first() == Some(&b'-'));
        }
        reply
    }
}

/// Splits a line as redis-cli does: blanks, double quotes with escapes.
fn split(line: &str) -> Vec<Vec<u8>> {
    let (mut args, mut bytes) = (Vec::new(), line.bytes().peekable());
    while bytes.peek().is_some() {
        let mut arg = Vec::new();
        if bytes.next_if_eq(&b'"').is_some() {
            while let Some(byte) = bytes.next_if(|b| *b != b'"') {
                arg.push(match byte {
                    b'\\' => match bytes.next().unwrap() {
                        b'n' => b'\n',
                        b'x' => {
                            let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                            u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
                        }
                        other => other,
                    },
                    byte => byte,
                });
            }
            bytes.next();
        } else {
            while let Some(byte) = bytes.next_if(|b| *b != b' ') {
                arg.push(byte);
            }
        }
        bytes.next_if_eq(&b' ');
        args.push(arg);
    }
    args
}

fn sorted_lines(reply: &[u8]) -> Vec<u8> {
    let mut lines: Vec<_> = reply.split(|b| *b == b'\n').collect();
    lines.sort_unstable();
    lines.concat()
}

fn compare_script(script: &str, protocol: Protocol) {
    let (mut redis, mut ours) = (Redis::start(protocol), Ours::new(protocol));
    let mut differing = Vec::new();
    for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (is_unordered, text) = match line.strip_prefix("~ ") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let command = split(text);
        let (mut theirs, mut own) = (redis.run(&command), ours.run(&command));
        if is_unordered {
            (theirs, own) = (sorted_lines(&theirs), sorted_lines(&own));
        }
        let (told, own_told) = (redis.events(), ours.events());
        if told != own_told {
            differing.push(format!(
                "{line}: events\n   redis {}\n   store {}",
                told.join(", "),
                own_told.join(", ")
            ));
        }
        if own != theirs && command::reason_to_differ(text).is_none() {
            differing.push(format!(
                "{line}\n   redis {}\n   store {}",
                theirs.escape_ascii(),
                own.escape_ascii()
            ));
        }
    }
    assert!(
        differing.is_empty(),
        "{protocol:?}: {} differ:\n{}",
        differing.len(),
        differing.join("\n")
    );
}

macro_rules! scripts {
    ($($name:ident => $file:literal,)*) => {$(
        #[test]
        fn $name() {
            let script = include_str!(concat!("against_redis/", $file));
            compare_script(script, Protocol::Resp2);
            compare_script(script, Protocol::Resp3);
        }
    )*};
}

scripts! {
    replies_of_string_commands_equal => "strings.txt",
    replies_of_bitmap_commands_equal => "bitmaps.txt",
    replies_of_hash_commands_equal => "hashes.txt",
    replies_of_list_commands_equal => "lists.txt",
    replies_of_blocking_commands_equal => "blocking.txt",
    replies_of_set_commands_equal => "sets.txt",
    replies_of_hyperloglog_commands_equal => "hyperloglogs.txt",
    replies_of_key_commands_equal => "keys.txt",
    replies_of_commands_on_databases_equal => "databases.txt",
    replies_of_script_commands_equal => "scripts.txt",
    replies_of_script_libraries_equal => "script_libraries.txt",
    replies_of_function_commands_equal => "functions.txt",
    replies_of_sorted_set_commands_equal => "sorted_sets.txt",
    replies_of_stream_commands_equal => "streams.txt",
    replies_of_geo_commands_equal => "geo.txt",
    replies_of_sort_equal => "sort.txt",
}

#[test]
fn replies_to_random_commands_on_databases_equal() {
    compare_random(include_str!("against_redis/shapes_databases.txt"));
}

#[test]
fn replies_to_random_commands_equal() {
    compare_random(include_str!("against_redis/shapes.txt"));
}

#[test]
fn replies_to_random_commands_on_sorted_sets_equal() {
    compare_random(include_str!("against_redis/shapes_sorted_sets.txt"));
}

#[test]
fn replies_to_random_commands_on_sets_equal() {
    compare_random(include_str!("against_redis/shapes_sets.txt"));
}

#[test]
fn replies_to_random_commands_on_streams_equal() {
    compare_random(include_str!("against_redis/shapes_streams.txt"));
}

#[test]
fn replies_to_random_commands_on_lists_equal() {
    compare_random(include_str!("against_redis/shapes_lists.txt"));
}

#[test]
fn replies_to_random_sorts_equal() {
    compare_random(include_str!("against_redis/shapes_sort.txt"));
}

/// Compares random lines of these shapes.
fn compare_random(shapes: &'static str) {
    let both = (Redis::start(Protocol::Resp3), Ours::new(Protocol::Resp3));
    let both = std::cell::RefCell::new(both);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(120));
    let lines = proptest::collection::vec(random_line(shapes), 1..60);
    let outcome = runner.run(&lines, |lines| {
        let (redis, ours) = &mut *both.borrow_mut();
        let flush = [b"FLUSHALL".to_vec()];
        prop_assert_eq!(redis.run(&flush), ours.run(&flush));
        for line in lines {
            let command = split(line.strip_prefix("~ ").unwrap_or(&line));
            let (mut theirs, mut own) = (redis.run(&command), ours.run(&command));
            if line.starts_with('~') {
                (theirs, own) = (sorted_lines(&theirs), sorted_lines(&own));
            }
            let (theirs, own) = (theirs.escape_ascii(), own.escape_ascii());
            prop_assert_eq!(theirs.to_string(), own.to_string(), "{}", &line);
            prop_assert_eq!(redis.events(), ours.events(), "events of {}", line);
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// A line over a few keys and values, such that commands meet what others left: one of the shapes, each word of it
/// that `against_redis/words` knows replaced by one that stands there behind it.
fn random_line(shapes: &'static str) -> impl Strategy<Value = String> {
    let stands_for: BTreeMap<&str, Vec<&str>> = include_str!("against_redis/words")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split(' ');
            (words.next().unwrap(), words.collect())
        })
        .collect();
    let shapes: Vec<&str> = shapes.lines().collect();
    let words = proptest::collection::vec(any::<u32>(), 8);
    (proptest::sample::select(shapes), words).prop_map(move |(shape, draws)| {
        let mut draws = draws.into_iter();
        let drawn = shape.split(' ').map(|word| match stands_for.get(word) {
            Some(from) => from[draws.next().unwrap_or(0) as usize % from.len()],
            None => word,
        });
        drawn.collect::<Vec<_>>().join(" ")
    })
}

/// Rows that Redis 7.0 does not have, or has with fewer arguments, and so cannot be compared; `cluster|sync` is Keystead's own.
const NEWER: &[&str] = &[
    "client|no-touch",
    "client|setinfo",
    "cluster|myshardid",
    "cluster|sync",
    // Of Redis 7.2.
    "waitaof",
    // Of Valkey 9.0.
    "delifeq",
    // WITHSCORE since 7.2: another number of arguments.
    "zrank",
    "zrevrank",
];

#[test]
fn rows_of_the_command_table_equal_command_info() {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut redis = Redis::start(protocol);
        let mut differing = Vec::new();
        for row in command::TABLE {
            for row in std::iter::once(row).chain(row.subcommands) {
                let since_newer = row.since > "7.0.99" && row.since < "9";
                if NEWER.contains(&row.name) || since_newer {
                    continue;
                }
                let mut alone = *row;
                alone.subcommands = &[];
                let mut own = Vec::new();
                command::describe::info(&alone, &mut ReplyWriter::new(&mut own, protocol));
                let asked = [b"COMMAND".to_vec(), b"INFO".to_vec(), row.name.as_bytes().to_vec()];
                let theirs = redis.run(&asked);
                let theirs = without_subcommands(&theirs, row.subcommands.is_empty(), protocol);
                if sorted_lines(&own) != sorted_lines(&theirs) {
                    differing.push(format!(
                        "{}\n   redis {}\n   table {}",
                        row.name,
                        theirs.escape_ascii(),
                        own.escape_ascii()
                    ));
                }
            }
        }
        assert!(
            differing.is_empty(),
            "{protocol:?}: {}\n{}",
            differing.len(),
            differing.join("\n")
        );
    }
}

/// Takes off the array around the one row, and the subcommands behind it.
fn without_subcommands(reply: &[u8], is_leaf: bool, protocol: Protocol) -> Vec<u8> {
    let row = reply.strip_prefix(b"*1\r\n").expect("one row was asked for");
    if is_leaf {
        return row.to_vec();
    }
    let marker = b"*10\r\n";
    let inner = (1..row.len()).find(|at| row[*at..].starts_with(marker)).expect("subcommands");
    let before = &row[..inner - 2];
    let head = before.iter().rposition(|b| *b == b'\n').expect("the head of the list") + 1;
    let mut kept = before[..head].to_vec();
    ReplyWriter::new(&mut kept, protocol).set(0);
    kept
}

#[test]
fn values_move_both_ways_by_dump_and_restore() {
    let (mut redis, mut ours) = (Redis::start(Protocol::Resp2), Ours::new(Protocol::Resp2));
    for command in &values_to_move() {
        redis.run(command);
        ours.run(command);
        let key = std::str::from_utf8(&command[1]).unwrap();
        let (theirs, own) = (redis.run(&text(&["DUMP", key])), ours.run(&text(&["DUMP", key])));
        if key.starts_with("int") || key == "short" {
            assert_eq!(theirs, own, "{key}");
        }
        for payload in [theirs, own] {
            let start = payload.iter().position(|b| *b == b'\n').unwrap() + 1;
            let payload = &payload[start..payload.len() - 2];
            let restore = [&b"RESTORE"[..], b"copy", b"0", payload, b"REPLACE"].map(<[u8]>::to_vec);
            assert_eq!(ours.run(&restore), b"+OK\r\n", "{key} into the store");
            assert_eq!(redis.run(&restore), b"+OK\r\n", "{key} into redis");
            let read = |key| match &command[0][..] {
                b"SET" => text(&["GET", key]),
                b"HSET" => text(&["HGETALL", key]),
                b"SADD" => text(&["SMEMBERS", key]),
                b"RPUSH" => text(&["LRANGE", key, "0", "-1"]),
                _ => text(&["ZRANGE", key, "0", "-1", "WITHSCORES"]),
            };
            let encoding = text(&["OBJECT", "ENCODING", "copy"]);
            assert_eq!(ours.run(&encoding), redis.run(&encoding), "{key}");
            let mut seen =
                vec![ours.run(&read("copy")), ours.run(&read(key)), redis.run(&read("copy"))];
            if command[0] != b"RPUSH" {
                seen.iter_mut().for_each(|reply| *reply = sorted_lines(reply));
            }
            seen.dedup();
            assert_eq!(seen.len(), 1, "{key}");
        }
    }
}

/// Commands that make values of every type, small and large.
fn values_to_move() -> Vec<Vec<Vec<u8>>> {
    let long = "abc".repeat(100);
    let pairs: Vec<String> = (0..300).flat_map(|n| [format!("f{n}"), long.clone()]).collect();
    let small = [
        "a",
        "1",
        "b",
        "-1",
        "c",
        "4000",
        "d",
        "100000",
        "e",
        "9223372036854775807",
        "f",
        "text",
        "g",
        "-5000",
        "h",
        "-70000",
        &"y".repeat(64),
        "-3000000000",
    ]
    .map(str::to_owned);
    let hash = |key: &str, pairs: &[String]| {
        let mut words = vec!["HSET", key];
        words.extend(pairs.iter().map(String::as_str));
        text(&words)
    };
    let list = |key: &str, elements: &[String]| {
        let mut words = vec!["RPUSH", key];
        words.extend(elements.iter().map(String::as_str));
        text(&words)
    };
    let sorted_set = |key: &str, len: i32| {
        let scores = ["-inf", "inf", "0.1", "-7", "40000", "-1e300"].map(str::to_owned);
        let pairs = (0..len).flat_map(|n| {
            let score = scores.get(usize::try_from(n).unwrap()).cloned();
            [score.unwrap_or_else(|| (n * 1000 - 9000).to_string()), format!("m{n}")]
        });
        let words: Vec<String> = pairs.collect();
        let mut all = vec!["ZADD", key];
        all.extend(words.iter().map(String::as_str));
        text(&all)
    };
    vec![
        text(&["SET", "short", "hello"]),
        text(&["SET", "int8", "-7"]),
        text(&["SET", "int16", "3000"]),
        text(&["SET", "int32", "-2000000000"]),
        text(&["SET", "int64", "12345678901"]),
        text(&["SET", "long", &long]),
        text(&["SET", "empty", ""]),
        hash("packed", &small),
        hash("table", &pairs),
        list("queue", &small),
        list("long_queue", &pairs),
        text(&["RPUSH", "giants", &"g".repeat(20_000), "", &"h".repeat(9_000)]),
        text(&["SADD", "numbers", "1", "-70000", "9000000000"]),
        text(&["SADD", "words", "a", "1", "-70000", "", &long]),
        sorted_set("ranked", 100),
        sorted_set("skipped", 300),
    ]
}

fn text(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn streams_move_both_ways_by_dump_and_restore() {
    let (mut redis, mut ours) = (Redis::start(Protocol::Resp2), Ours::new(Protocol::Resp2));
    let mut lines: Vec<String> = (1..300)
        .map(|n: i32| {
            format!(
                "XADD s {n}-{} f {} name {}",
                n % 3,
                n * 7 - 900,
                "v".repeat(usize::try_from(n % 90).unwrap())
            )
        })
        .collect();
    let more = "XADD s 300 other -1 f 3000000000 g \"\"\nXDEL s 7 8-2 250-1 299-2\nXTRIM s MINID 20\n\
        XGROUP CREATE s g 0\nXGROUP CREATE s h 50\nXREADGROUP GROUP g c COUNT 30 STREAMS s >\n\
        XREADGROUP GROUP g d COUNT 3 STREAMS s >\nXREADGROUP GROUP h e COUNT 3 STREAMS s >\n\
        XGROUP CREATECONSUMER s h idle\nXACK s g 30 31-1\nXGROUP CREATE empty g $ MKSTREAM";
    lines.extend(more.lines().map(str::to_owned));
    for line in &lines {
        assert_eq!(redis.run(&split(line)), ours.run(&split(line)), "{line}");
    }
    for key in ["s", "empty"] {
        let dump = split(&format!("DUMP {key}"));
        for reply in [redis.run(&dump), ours.run(&dump)] {
            let start = reply.iter().position(|b| *b == b'\n').unwrap() + 1;
            let payload = &reply[start..reply.len() - 2];
            let restore = [&b"RESTORE"[..], b"copy", b"0", payload, b"REPLACE"].map(<[u8]>::to_vec);
            assert_eq!(ours.run(&restore), b"+OK\r\n", "{key} into the store");
            assert_eq!(redis.run(&restore), b"+OK\r\n", "{key} into redis");
            for asked in [
                "XRANGE copy - +",
                "XINFO STREAM copy",
                "XINFO GROUPS copy",
                "XPENDING copy g",
                "XTRIM copy MAXLEN ~ 20",
                "XREVRANGE copy + - COUNT 30",
            ] {
                assert_eq!(redis.run(&split(asked)), ours.run(&split(asked)), "{asked} of {key}");
            }
        }
    }
}

/// Long streams: where blocks end decides what `~` removes, and how many nodes XINFO counts.
#[test]
fn blocks_end_where_those_of_redis_end() {
    let (mut redis, mut ours) = (Redis::start(Protocol::Resp2), Ours::new(Protocol::Resp2));
    for n in 1..2500u64 {
        let ms = n * n % 13 * (n / 100 * 300) + n * 1_000_000;
        let mut lines = vec![format!(
            "XADD s {ms} f {} g {}",
            n * n,
            "x".repeat(usize::try_from(n % 70).unwrap())
        )];
        match n % 40 {
            0 => lines.push(format!("XTRIM s MAXLEN ~ {}", n / 3)),
            7 => lines.push(format!("XTRIM s MINID ~ {}", ms / 2)),
            13 => lines.push(format!("XADD s MAXLEN ~ 700 LIMIT 150 {}-5 f v", ms)),
            20 => lines.push(format!("XADD s MAXLEN = 1800 {}-5 other v other {n}", ms)),
            27 => lines.push(format!("XDEL s {} {}", (n - 20) * 1_000_000, (n / 2) * 1_000_000)),
            _ => {}
        }
        lines.push("XLEN s".to_owned());
        if n % 10 == 0 {
            lines.push("XINFO STREAM s".to_owned());
        }
        for line in lines {
            let (theirs, own) = (redis.run(&split(&line)), ours.run(&split(&line)));
            assert_eq!(
                theirs.escape_ascii().to_string(),
                own.escape_ascii().to_string(),
                "{n}: {line}"
            );
        }
    }
}
