//! The shell as a program: what it prints and how it ends, against a redis-server and a scripted one.
//!
//! The redis-server of the machine answers everything but `SET ... IFEQ`, which it does not know; for
//! `update` a small server in this file compares and sets, and can be told to interfere.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;

use keystead_resp::{Decoder, Limits, Protocol, ReplyWriter};

/// A redis-server of the test's own, ended with it.
struct RedisServer {
    process: Child,
    port: u16,
    /// Kept open: redis-server would fail to log.
    _log: BufReader<ChildStdout>,
    _directory: tempfile::TempDir,
}

impl RedisServer {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let mut process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server is needed by this test: apt-get install redis-server");
        let mut log = BufReader::new(process.stdout.take().expect("a piped standard output"));
        let mut line = String::new();
        while !line.contains("Ready to accept connections") {
            line.clear();
            let read = log.read_line(&mut line).expect("redis-server logs text");
            assert!(read > 0, "redis-server ended before it listened on {port}");
        }
        Self { process, port, _log: log, _directory: directory }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Runs `keystead shell` against a port, with `input` as its standard input.
fn shell(port: u16, args: &[&str], input: &str) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_keystead"))
        .args(["shell", &format!("127.0.0.1:{port}")])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = process.stdin.take().expect("a piped standard input");
    // A shell that leaves early closes its input; what it did is judged by its output.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    process.wait_with_output().expect("the program ends")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn a_script_prints_the_bytes_alone() {
    let redis = RedisServer::start();
    let script = "# people\n\
                  put user1 {\"name\": \"Alice\", \"age\": 30}\n\
                  get user1\n\
                  \n\
                  RPUSH list a \"b c\" 'd\\'e'\n\
                  lrange list 0 -1\n\
                  get missing\n\
                  delete user1 list missing\n\
                  put word hello\n\
                  get word\n\
                  scan w*\n";
    let output = shell(redis.port, &[], script);
    assert_eq!(
        stdout(&output),
        "OK\n{\"name\": \"Alice\", \"age\": 30}\n3\na\nb c\nd'e\n\n2\nOK\n\"hello\"\nword\n"
    );
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn pretty_output_names_types_and_lays_out_json() {
    let redis = RedisServer::start();
    let args = [
        "--format",
        "pretty",
        "-c",
        "put user1 {\"name\": \"Alice\", \"tags\": [1, 2]}",
        "-c",
        "get user1",
        "-c",
        "HSET hash field value",
        "-c",
        "HGETALL hash",
        "-c",
        "GET missing",
        "-c",
        "set text \"plain \\x00\"",
        "-c",
        "get text",
    ];
    let output = shell(redis.port, &args, "");
    assert_eq!(
        stdout(&output),
        "OK\n\
         {\n  \"name\": \"Alice\",\n  \"tags\": [\n    1,\n    2\n  ]\n}\n\
         (integer) 1\n\
         1# \"field\" => \"value\"\n\
         (nil)\n\
         OK\n\
         \"plain \\x00\"\n"
    );
}

#[test]
fn json_output_is_a_document_a_line() {
    let redis = RedisServer::start();
    let script = "put user1 {\"b\": 1, \"a\": [true, null]}\n\
                  get user1\n\
                  HSET hash field value\n\
                  HGETALL hash\n\
                  GET missing\n\
                  LPUSH user1 x\n";
    let output = shell(redis.port, &["--json"], script);
    assert_eq!(
        stdout(&output),
        "\"OK\"\n{\"b\":1,\"a\":[true,null]}\n1\n{\"field\":\"value\"}\nnull\n\
         {\"error\":\"WRONGTYPE Operation against a key holding the wrong kind of value\"}\n"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_script_stops_at_the_first_failure_unless_told_to_keep_going() {
    let redis = RedisServer::start();
    let script = "set k v\nincr k\nput k\nget k\n";
    let output = shell(redis.port, &[], script);
    assert_eq!(stdout(&output), "OK\n");
    assert_eq!(stderr(&output), "ERR value is not an integer or out of range\n");
    assert_eq!(output.status.code(), Some(1));

    let output = shell(redis.port, &["--keep-going"], script);
    assert_eq!(stdout(&output), "OK\nv\n");
    assert!(stderr(&output).ends_with("keystead shell: usage: put KEY JSON|WORD\n"));
    assert_eq!(output.status.code(), Some(1), "the first failure counts");
}

#[test]
fn json_goes_on_until_its_brackets_are_closed() {
    let redis = RedisServer::start();
    let script = "put user1 {\n  \"name\": \"Alice\",\n  \"age\": 30\n}\nupdate user1 .age = 31\n";
    let output = shell(redis.port, &[], script);
    assert_eq!(stdout(&output), "OK\n");
    assert_eq!(
        stderr(&output),
        "keystead shell: this server does not know SET ... IFEQ, which update needs; Keystead and \
         Valkey 8.1 do
"
    );

    let output = shell(redis.port, &[], "put user1 {\n  \"name\":\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("EOF while parsing"), "{}", stderr(&output));
}

#[test]
fn exit_codes_tell_usage_from_connection() {
    let redis = RedisServer::start();
    assert_eq!(shell(redis.port, &["-c", "put k {"], "").status.code(), Some(2));
    assert_eq!(shell(redis.port, &["--no-such-flag"], "").status.code(), Some(2));
    assert_eq!(shell(redis.port, &["-c", "exit", "-c", "nonsense"], "").status.code(), Some(0));

    let nobody = shell(free_port(), &["-c", "PING"], "");
    assert_eq!(nobody.status.code(), Some(3));
    assert!(stderr(&nobody).starts_with("keystead shell: cannot connect to 127.0.0.1:"));
}

#[test]
fn transactions_work_and_refuse_verbs_of_several_commands() {
    let redis = RedisServer::start();
    let script = "MULTI\nset k 1\nincr k\nupdate k . + 1\nscan\nEXEC\n";
    let output = shell(redis.port, &["--keep-going"], script);
    assert_eq!(stdout(&output), "OK\nQUEUED\nQUEUED\nOK\n2\n");
    assert_eq!(stderr(&output).matches("not between MULTI and EXEC").count(), 2);
}

#[test]
fn connect_changes_the_server_and_keeps_the_old_one_if_nobody_answers() {
    let (first, second) = (RedisServer::start(), RedisServer::start());
    let script = format!(
        "set where first\nconnect 127.0.0.1:{}\nset where second\nconnect 127.0.0.1:{}\nget where\n",
        second.port,
        free_port()
    );
    let output = shell(first.port, &["--keep-going"], &script);
    assert_eq!(stdout(&output), "OK\nOK\nsecond\n");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stdout(&shell(first.port, &["-c", "get where"], "")), "first\n");
}

#[test]
fn a_server_without_replicas_cannot_be_waited_for() {
    let redis = RedisServer::start();
    let output = shell(redis.port, &["-c", "sync 1"], "");
    assert_eq!(output.status.code(), Some(1));
    let reason =
        "keystead shell: this server does not know CLUSTER SYNC, so there is nothing to wait for\n";
    assert_eq!(stderr(&output), reason);
}

/// One key on a server that compares and sets.
struct Register {
    value: Option<Vec<u8>>,
    /// Writes of others that will come between a GET and the SET that follows it.
    interferences: usize,
    sets: usize,
}

impl Register {
    fn holding(value: &str, interferences: usize) -> Self {
        Self { value: Some(value.into()), interferences, sets: 0 }
    }

    /// Serves one connection to its end.
    fn serve(&mut self, listener: &TcpListener) {
        let (mut stream, _) = listener.accept().expect("the shell connects");
        let mut decoder = Decoder::new(Limits::default());
        let mut received = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let decoded = decoder.decode(&received).expect("the shell sends well-formed commands");
            if let Some(request) = decoded {
                let args: Vec<Vec<u8>> =
                    decoder.args(&received).iter().map(<[u8]>::to_vec).collect();
                let mut reply = Vec::new();
                self.answer(&args, &mut ReplyWriter::new(&mut reply, Protocol::Resp2));
                received.drain(..request.length);
                stream.write_all(&reply).expect("the shell reads replies");
                continue;
            }
            match stream.read(&mut chunk).expect("the shell closes its connection cleanly") {
                0 => return,
                read => received.extend_from_slice(&chunk[..read]),
            }
        }
    }

    fn answer(&mut self, args: &[Vec<u8>], reply: &mut ReplyWriter<'_>) {
        let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        match words.as_slice() {
            [b"CLIENT", ..] => reply.ok(),
            [b"GET", _] => match &self.value {
                Some(value) => reply.bulk(value),
                None => reply.null(),
            },
            [b"SET", _, new, b"IFEQ", old, b"KEEPTTL"] => {
                self.sets += 1;
                if self.interferences > 0 {
                    self.interferences -= 1;
                    self.value = Some(format!("{{\"age\":{}}}", 100 + self.sets).into_bytes());
                }
                if self.value.as_deref() == Some(*old) {
                    self.value = Some(new.to_vec());
                    reply.ok();
                } else {
                    reply.null();
                }
            }
            _ => reply.error("ERR unknown command"),
        }
    }
}

/// Runs the shell against `register` and gives back what it printed.
fn update(register: &mut Register, expression: &str) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    thread::scope(|scope| {
        scope.spawn(|| register.serve(&listener));
        shell(port, &["-c", &format!("update user1 {expression}")], "")
    })
}

#[test]
fn update_applies_an_expression_by_compare_and_set() {
    let mut register = Register::holding(r#"{"name": "Alice", "age": 30}"#, 0);
    let output = update(&mut register, ".age = 31");
    assert_eq!(stdout(&output), "{\"name\":\"Alice\",\"age\":31}\n");
    assert_eq!(register.value.as_deref(), Some(&br#"{"name":"Alice","age":31}"#[..]));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn update_starts_over_from_the_value_that_others_wrote() {
    let mut register = Register::holding(r#"{"age": 30}"#, 2);
    let output = update(&mut register, ".age += 1");
    assert_eq!(stdout(&output), "{\"age\":103}\n");
    assert_eq!(register.sets, 3);
}

#[test]
fn update_gives_up_after_many_conflicts_and_says_so() {
    let mut register = Register::holding(r#"{"age": 30}"#, usize::MAX);
    let output = update(&mut register, ".age += 1");
    assert_eq!(
        stderr(&output),
        "keystead shell: conflict: others changed the key 32 times while it was being updated; try \
         again\n"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn update_leaves_the_value_alone_when_the_expression_is_wrong() {
    let mut register = Register::holding("[1]", 0);
    let output = update(&mut register, ".age = 31");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the value is as before"), "{}", stderr(&output));

    let mut missing = Register { value: None, interferences: 0, sets: 0 };
    let output = update(&mut missing, ".age = 31");
    assert!(stderr(&output).contains("there is no such key"), "{}", stderr(&output));
    assert_eq!(missing.sets, 0);
}
