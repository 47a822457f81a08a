//! What a node tells about what it does: the slow log, the latency monitor, the figures of INFO.

mod support;

use std::sync::atomic::Ordering;

use keystead_node::Refusal;
use keystead_types::ShardId;
use support::local_door::Verdict;
use support::{Client, Server, command, wait_until};

/// The value of a field of INFO.
fn field(client: &mut Client, section: &str, name: &str) -> Option<String> {
    let text = client.call(&format!("INFO {section}"));
    let prefix = format!("{name}:");
    text.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
}

/// The part of a field of the form `a=1,b=2`.
fn part(text: &str, name: &str) -> String {
    let mut parts = text.split(',').filter_map(|part| part.split_once('='));
    parts.find(|(key, _)| *key == name).expect("the part is there").1.to_owned()
}

#[test]
fn the_slow_log_shows_every_command_if_asked_to_the_latest_first() {
    for shards in [1, 4] {
        let server = Server::start(shards);
        let mut client = server.connect();
        client.call("CLIENT SETNAME tester");
        client.call("CONFIG SET slowlog-log-slower-than 0");
        client.call("SLOWLOG RESET");
        client.call("SET key value");
        client.call("GET key");
        client.send(&[command(&["INCR", "a"]), command(&["INCR", "b"])].concat());
        client.reply();
        client.reply();
        client.send(b"GET inline\r\n");
        client.reply();
        let log = client.call("SLOWLOG GET");
        let shown: Vec<&str> = log.lines().filter(|line| *line == "tester").collect();
        assert_eq!(shown.len(), 6, "{log}");
        let places: Vec<usize> = ["GET\r\n$6\r\ninline", "GET\r\n$3\r\nkey", "SET", "SLOWLOG"]
            .iter()
            .map(|words| log.find(words).unwrap_or_else(|| panic!("{words} in {log}")))
            .collect();
        assert!(places.is_sorted(), "{places:?} in {log}");
        assert!(log.contains("$4\r\nINCR\r\n$1\r\na") && log.contains("$4\r\nINCR\r\n$1\r\nb"));
        assert_eq!(client.call("SLOWLOG GET 1").matches("tester").count(), 1);
        // The one that is slow itself comes in behind its own answer.
        assert_eq!(client.call("SLOWLOG LEN"), ":8\r\n");
        client.call("CONFIG SET slowlog-max-len 2");
        client.call("PING");
        assert_eq!(client.call("SLOWLOG LEN"), ":2\r\n");
        client.call("CONFIG SET slowlog-log-slower-than -1");
        client.call("SLOWLOG RESET");
        client.call("PING");
        client.call("SET key value");
        assert_eq!(client.call("SLOWLOG LEN"), ":0\r\n");
    }
}

#[test]
fn a_write_took_as_long_as_its_outcome_was_awaited() {
    let server = Server::start(1);
    let mut client = server.connect();
    client.call("CONFIG SET slowlog-log-slower-than 2000 latency-monitor-threshold 2");
    server.node.holds_outcomes.store(true, Ordering::SeqCst);
    client.send(&command(&["SET", "k", "v"]));
    let mut other = server.connect();
    wait_until("the write is under way", || server.node.runs.load(Ordering::Relaxed) == 1);
    let since = std::time::Instant::now();
    wait_until("time passes", || since.elapsed().as_millis() >= 4);
    server.node.release();
    assert_eq!(client.reply(), b"+OK\r\n");
    let log = other.call("SLOWLOG GET");
    assert!(log.contains("$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"), "{log}");
    let latest = other.call("LATENCY LATEST");
    assert!(latest.starts_with("*1\r\n*4\r\n$7\r\ncommand\r\n:"), "{latest}");
    let history = other.call("LATENCY HISTORY command");
    assert!(history.starts_with("*1\r\n*2\r\n:"), "{history}");
    assert!(other.call("LATENCY GRAPH command").contains("command - high "));
    assert!(other.call("LATENCY DOCTOR").contains("command: 1 slow seconds, "));
    let histogram = other.call("LATENCY HISTOGRAM set get");
    assert!(histogram.starts_with("*2\r\n$3\r\nset\r\n*4\r\n$5\r\ncalls\r\n:1\r\n"), "{histogram}");
    assert_eq!(other.call("LATENCY RESET command"), ":1\r\n");
    assert_eq!(other.call("LATENCY LATEST"), "*0\r\n");
}

#[test]
fn passwords_are_not_in_the_slow_log() {
    let server = Server::start(1);
    let mut client = server.connect();
    client.call("CONFIG SET slowlog-log-slower-than 0");
    client.call("HELLO 2 AUTH default sesame");
    client.call("AUTH default sesame");
    let log = client.call("SLOWLOG GET");
    assert!(log.contains("(redacted)") && !log.contains("sesame"), "{log}");
}

#[test]
fn calls_failures_refusals_and_times_of_commands_are_counted() {
    let server = Server::start(1);
    let mut client = server.connect();
    client.call("CONFIG RESETSTAT");
    let sent = ["SET a text", "SET b 1", "INCR a", "INCR b", "LPUSH a x", "HGET a f", "GET a"];
    let bytes: Vec<u8> =
        sent.iter().flat_map(|line| command(&line.split(' ').collect::<Vec<_>>())).collect();
    client.send(&bytes);
    let errors = sent.iter().filter(|_| client.reply().starts_with(b"-")).count();
    assert_eq!(errors, 3);
    for line in ["SET", "NOSUCH", "MULTI", "SET c 1", "INCR a", "EXEC"] {
        client.call(line);
    }
    let stats = |client: &mut Client, name: &str| {
        field(client, "commandstats", &format!("cmdstat_{name}")).expect("it was called")
    };
    let set = stats(&mut client, "set");
    assert_eq!((part(&set, "calls"), part(&set, "rejected_calls")), ("3".into(), "1".into()));
    assert_eq!(part(&set, "failed_calls"), "0");
    let incr = stats(&mut client, "incr");
    assert_eq!((part(&incr, "calls"), part(&incr, "failed_calls")), ("3".into(), "1".into()));
    let hget = stats(&mut client, "hget");
    assert_eq!((part(&hget, "calls"), part(&hget, "failed_calls")), ("1".into(), "1".into()));
    assert_eq!(part(&stats(&mut client, "exec"), "calls"), "1");
    let calls = |client: &mut Client, code| field(client, "errorstats", code);
    assert_eq!(calls(&mut client, "errorstat_WRONGTYPE").as_deref(), Some("count=2"));
    // Not a number, twice; too few arguments; an unknown command.
    assert_eq!(calls(&mut client, "errorstat_ERR").as_deref(), Some("count=4"));
    assert_eq!(field(&mut client, "stats", "total_error_replies").as_deref(), Some("6"));
    let times = field(&mut client, "latencystats", "latency_percentiles_usec_set").unwrap();
    let p50: f64 = part(&times, "p50").parse().unwrap();
    let p99: f64 = part(&times, "p99").parse().unwrap();
    assert!(p50 > 0.0 && p99 >= p50, "{times}");
    client.call("CONFIG RESETSTAT");
    assert_eq!(field(&mut client, "errorstats", "errorstat_ERR"), None);
    assert_eq!(field(&mut client, "commandstats", "cmdstat_set"), None);
}

#[test]
fn what_a_shard_refuses_counts_as_failed() {
    let server = Server::start(1);
    let mut client = server.connect();
    server.node.set_judge(|_: ShardId, _: &[u8]| Verdict::Refuse(Refusal::Overloaded));
    assert!(client.call("SET a 1").starts_with("-OVERLOADED"));
    let code = field(&mut client, "errorstats", "errorstat_OVERLOADED");
    assert_eq!(code.as_deref(), Some("count=1"));
    let set = field(&mut client, "commandstats", "cmdstat_set").unwrap();
    assert_eq!(part(&set, "failed_calls"), "1");
    assert!(client.call("FLUSHALL").starts_with("-OVERLOADED"));
    let flush = field(&mut client, "commandstats", "cmdstat_flushall").unwrap();
    assert_eq!(part(&flush, "failed_calls"), "1");
}

#[test]
fn sections_of_info_are_those_that_were_asked_for() {
    let server = Server::start(1);
    let mut client = server.connect();
    client.call("PING");
    let mut sections = |asked: &str| -> Vec<String> {
        let text = client.call(asked);
        text.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect()
    };
    let default = sections("INFO");
    assert_eq!(sections("INFO default"), default);
    assert!(!default.contains(&"Commandstats".to_owned()));
    let all = sections("INFO all");
    assert_eq!(sections("INFO everything"), all);
    for section in ["Server", "CPU", "Commandstats", "Errorstats", "Latencystats", "Cluster"] {
        assert!(all.contains(&section.to_owned()), "{section} in {all:?}");
    }
    assert_eq!(sections("INFO keyspace stats KEYSPACE nosuch"), ["Stats", "Keyspace"]);
    assert!(sections("INFO nosuch").is_empty());
}

#[test]
fn a_monitor_is_shown_what_all_clients_send_and_no_password() {
    let config = keystead_gateway::GatewayConfig { io_threads: 2, ..Default::default() };
    let server = Server::start_with(2, config);
    let (mut monitor, mut one, mut two) = (server.connect(), server.connect(), server.connect());
    assert_eq!(monitor.call("MONITOR"), "+OK\r\n");
    let mut shown = |client: &mut Client, line: &str| {
        client.call(line);
        String::from_utf8(monitor.reply()).expect("a line of text")
    };
    for client in [&mut one, &mut two] {
        let line = shown(client, "SET key value");
        let (time, words) = line.split_once(" [0 127.0.0.1:").expect("time and client");
        assert!(time.starts_with('+') && time.contains('.'), "{line}");
        assert!(words.ends_with("] \"SET\" \"key\" \"value\"\r\n"), "{line}");
    }
    assert!(shown(&mut one, "GET key").ends_with("\"GET\" \"key\"\r\n"));
    assert!(shown(&mut one, "AUTH default sesame").ends_with(" \"(redacted)\" \"(redacted)\"\r\n"));
    // What operators do is not shown, as in Redis; nor is what does not exist.
    one.call("CONFIG SET timeout 0");
    one.call("NOSUCH");
    assert!(shown(&mut one, "ECHO last").ends_with("\"ECHO\" \"last\"\r\n"));
    assert!(two.call("CLIENT LIST").contains(" flags=O "));
    assert!(monitor.call("GET key").starts_with("-ERR Replica can't interact"));
    assert_eq!(monitor.call("RESET"), "+RESET\r\n");
    one.call("ECHO unseen");
    assert_eq!(monitor.call("PING"), "+PONG\r\n");
}

#[test]
fn a_pause_holds_commands_back_until_it_is_over() {
    let config = keystead_gateway::GatewayConfig { io_threads: 2, ..Default::default() };
    let server = Server::start_with(1, config);
    let (mut operator, mut one, mut two) = (server.connect(), server.connect(), server.connect());
    one.call("SET key before");
    assert_eq!(operator.call("CLIENT PAUSE 60000 WRITE"), "+OK\r\n");
    assert_eq!(two.call("GET key"), "$6\r\nbefore\r\n");
    for client in [&mut one, &mut two] {
        client.send(&command(&["SET", "key", "after"]));
        client.send(&command(&["GET", "key"]));
    }
    one.stream.shutdown(std::net::Shutdown::Write).expect("the socket is open");
    assert_eq!(operator.call("GET key"), "$6\r\nbefore\r\n");
    assert_eq!(operator.call("CLIENT PAUSE 60000 ALL"), "+OK\r\n");
    let runs = server.node.runs.load(Ordering::Relaxed);
    let since = std::time::Instant::now();
    wait_until("time passes", || since.elapsed().as_millis() >= 50);
    assert_eq!(server.node.runs.load(Ordering::Relaxed), runs, "nothing was written");
    assert_eq!(operator.call("CLIENT UNPAUSE"), "+OK\r\n");
    for client in [&mut one, &mut two] {
        assert_eq!(client.reply(), b"+OK\r\n");
        assert_eq!(client.reply(), b"$5\r\nafter\r\n");
    }
    assert_eq!(operator.call("CLIENT PAUSE 20"), "+OK\r\n");
    assert_eq!(two.call("GET key"), "$5\r\nafter\r\n", "it ended by itself");
}

/// As a Redis that sleeps: nobody is answered meanwhile, and then everybody, the one who asked for it included.
#[test]
fn debug_sleep_holds_everybody_back_and_then_answers() {
    let server = Server::start(1);
    let (mut operator, mut sleeper, mut client) =
        (server.connect(), server.connect(), server.connect());
    sleeper.send(&command(&["DEBUG", "SLEEP", "60"]));
    sleeper.send(&command(&["SET", "key", "v"]));
    let mut is_awake = || {
        operator.call("CLIENT UNPAUSE");
        sleeper.stream.set_nonblocking(true).expect("the socket is open");
        let is_awake = sleeper.stream.peek(&mut [0]).is_ok();
        sleeper.stream.set_nonblocking(false).expect("the socket is open");
        is_awake
    };
    wait_until("somebody wakes it", &mut is_awake);
    assert_eq!(sleeper.reply(), b"+OK\r\n");
    assert_eq!(sleeper.reply(), b"+OK\r\n");
    sleeper.send(&command(&["DEBUG", "SLEEP", "0.3"]));
    wait_until("others are held back", || {
        let since = std::time::Instant::now();
        client.call("PING");
        since.elapsed().as_millis() >= 100
    });
    assert_eq!(sleeper.reply(), b"+OK\r\n");
    let since = std::time::Instant::now();
    assert_eq!(client.call("DEBUG SLEEP 0.05"), "+OK\r\n");
    assert!(since.elapsed().as_millis() >= 50, "it ended by itself, and not before");
    assert_eq!(part(&field(&mut operator, "commandstats", "cmdstat_debug").unwrap(), "calls"), "3");
}

#[test]
fn a_pause_for_writes_lets_transactions_that_read_go_on() {
    let server = Server::start(1);
    let (mut operator, mut client) = (server.connect(), server.connect());
    operator.call("CLIENT PAUSE 60000 WRITE");
    for (line, reply) in [("MULTI", "+OK"), ("GET key", "+QUEUED"), ("EXEC", "*1\r\n$-1")] {
        assert_eq!(client.call(line), format!("{reply}\r\n"));
    }
    client.send(&[command(&["MULTI"]), command(&["SET", "key", "v"]), command(&["EXEC"])].concat());
    assert_eq!(client.reply(), b"+OK\r\n");
    assert_eq!(operator.call("GET key"), "$-1\r\n");
    operator.call("CLIENT UNPAUSE");
    assert_eq!(client.reply(), b"+QUEUED\r\n");
    assert_eq!(client.reply(), b"*1\r\n+OK\r\n");
}

#[test]
fn connections_are_listed_and_closed_by_their_type() {
    let server = Server::start(1);
    let (mut operator, mut listener) = (server.connect(), server.connect());
    listener.call("SUBSCRIBE news");
    let lines = |client: &mut Client, kind: &str| {
        client.call(&format!("CLIENT LIST TYPE {kind}")).matches("id=").count()
    };
    assert_eq!(lines(&mut operator, "normal"), 1);
    assert_eq!(lines(&mut operator, "pubsub"), 1);
    assert_eq!(lines(&mut operator, "replica"), 0);
    assert_eq!(operator.call("CLIENT KILL TYPE pubsub"), ":1\r\n");
    assert_eq!(listener.rest(), b"");
    assert_eq!(operator.call("CLIENT KILL TYPE normal"), ":0\r\n");
}

#[test]
fn failed_logins_are_logged_with_who_failed() {
    let config = keystead_gateway::GatewayConfig {
        password: Some("sesame".to_owned()),
        ..Default::default()
    };
    let server = Server::start_with(1, config);
    let mut stranger = server.connect();
    stranger.call("AUTH default wrong");
    stranger.call("AUTH default wrong");
    stranger.call("HELLO 2 AUTH nobody sesame");
    let mut client = server.connect();
    client.call("AUTH sesame");
    let log = client.call("ACL LOG");
    assert!(log.starts_with("*2\r\n*14\r\n$5\r\ncount\r\n:1\r\n"), "{log}");
    assert!(log.contains("$8\r\nusername\r\n$6\r\nnobody\r\n") && log.contains("count\r\n:2\r\n"));
    assert!(log.contains("addr=127.0.0.1:") && !log.contains("wrong"), "{log}");
    assert_eq!(field(&mut client, "stats", "acl_access_denied_auth").as_deref(), Some("3"));
    assert_eq!(client.call("ACL LOG RESET"), "+OK\r\n");
    assert_eq!(client.call("ACL LOG"), "*0\r\n");
}

#[test]
fn passwords_that_are_made_have_the_length_asked_for_and_differ() {
    let server = Server::start(1);
    let mut client = server.connect();
    let one = client.call("ACL GENPASS");
    assert!(one.starts_with("$64\r\n") && one != client.call("ACL GENPASS"));
    assert!(client.call("ACL GENPASS 5").starts_with("$2\r\n"));
    assert!(client.call("LOLWUT VERSION 5 1 1").contains("Keystead ver. "));
}

/// A script may write: whoever pauses writes pauses it, in a transaction too.
#[test]
fn a_pause_of_writes_holds_scripts_back() {
    let server = Server::start(1);
    let (mut operator, mut client) = (server.connect(), server.connect());
    assert_eq!(operator.call("CLIENT PAUSE 60000 WRITE"), "+OK\r\n");
    client.send(&command(&["EVAL", "return redis.call('set',KEYS[1],1)", "1", "k"]));
    assert_eq!(operator.call("EVAL_RO return(redis.call('get',KEYS[1])) 1 k"), "$-1\r\n");
    assert_eq!(operator.call("CLIENT UNPAUSE"), "+OK\r\n");
    assert_eq!(client.reply(), b"+OK\r\n");
    assert_eq!(operator.call("GET k"), "$1\r\n1\r\n");
}
