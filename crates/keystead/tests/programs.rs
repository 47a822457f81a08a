//! `keystead serve` and `keystead dev` as programs: what they say, how they end, what is left.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for a line or an end that must come.
const DEADLINE: Duration = Duration::from_secs(60);
/// Lines of a program that may wait for the test to look at them.
const LINES_MAX: usize = 10_000;

/// A running program and the lines it prints.
struct Program {
    process: Child,
    lines: Receiver<String>,
}

impl Program {
    /// Starts `keystead` and listens to one of its two streams.
    fn start(args: &[&str], takes: fn(&mut Child) -> Box<dyn Read + Send>) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_keystead"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stream = BufReader::new(takes(&mut process));
        let (sender, lines) = sync_channel(LINES_MAX);
        let reads = move || {
            // Ends with the stream, or when nobody listens any more.
            stream.lines().map_while(Result::ok).try_for_each(|line| sender.send(line).ok())
        };
        thread::Builder::new().spawn(reads).expect("a thread");
        Self { process, lines }
    }

    /// The next line that contains `wanted`.
    fn line_with(&self, wanted: &str) -> String {
        let started = Instant::now();
        let mut seen = Vec::new();
        while let Some(left) = DEADLINE.checked_sub(started.elapsed()) {
            let Ok(line) = self.lines.recv_timeout(left) else { break };
            if line.contains(wanted) {
                return line;
            }
            seen.push(line);
        }
        panic!("no line with `{wanted}` among:\n{}", seen.join("\n"));
    }

    fn ask_to_stop(&self) {
        send(self.process.id(), Signal::TERM);
    }

    /// Waits for the end; the stream's end tells of it.
    fn end(mut self) -> ExitStatus {
        let started = Instant::now();
        while let Some(left) = DEADLINE.checked_sub(started.elapsed()) {
            if self.lines.recv_timeout(left).is_err() {
                return self.process.wait().expect("a child of this process");
            }
        }
        panic!("the program does not end");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // After a test that failed; otherwise it has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn send(process: u32, signal: Signal) {
    let id = i32::try_from(process).expect("process ids are small");
    kill_process(Pid::from_raw(id).expect("not zero"), signal).expect("the process runs");
}

fn stdout_of(process: &mut Child) -> Box<dyn Read + Send> {
    Box::new(process.stdout.take().expect("piped"))
}

fn stderr_of(process: &mut Child) -> Box<dyn Read + Send> {
    Box::new(process.stderr.take().expect("piped"))
}

/// Runs `keystead` to its end, which must be a good one.
fn run(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_keystead")).args(args).output();
    let output = output.expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn shell(address: &str, statements: &[&str]) -> String {
    let statements = statements.iter().flat_map(|statement| ["-c", statement]);
    run(&["shell", address].into_iter().chain(statements).collect::<Vec<_>>())
}

/// The word behind `mark` in `line`.
fn word_behind<'a>(line: &'a str, mark: &str) -> &'a str {
    let (_, behind) = line.split_once(mark).expect("the mark is in the line");
    behind.split([' ', ';']).next().expect("split gives at least one piece")
}

#[test]
fn a_node_says_where_it_listens_stops_on_a_signal_and_keeps_its_data() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let args = ["serve", "--listen", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--data", data];

    let node = Program::start(&args, stderr_of);
    let line = node.line_with("listens on");
    let address = word_behind(&line, "listens on ");
    assert!(line.contains(&format!("keystead shell {address}")), "{line}");
    assert!(line.contains(data), "{line}");
    // A node listens before it has founded its cluster.
    assert_eq!(shell(address, &["sync"]), "OK\n");
    let statements = ["put user1 {\"name\": \"Alice\", \"age\": 30}", "update user1 .age = 31"];
    assert_eq!(shell(address, &statements), "OK\n{\"name\":\"Alice\",\"age\":31}\n");
    node.ask_to_stop();
    assert_eq!(node.end().code(), Some(0));

    let node = Program::start(&args, stderr_of);
    let line = node.line_with("listens on");
    let address = word_behind(&line, "listens on ");
    assert_eq!(shell(address, &["sync"]), "OK\n");
    assert_eq!(shell(address, &["get user1"]), "{\"name\":\"Alice\",\"age\":31}\n");
    node.ask_to_stop();
    assert_eq!(node.end().code(), Some(0));
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().to_str().expect("UTF-8");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("a bound socket has an address").to_string();
    let args = ["serve", "--listen", &taken, "--peer", "127.0.0.1:0", "--data", data];
    let node = Program::start(&args, stderr_of);
    assert!(node.line_with("keystead: ").contains(&taken));
    assert_eq!(node.end().code(), Some(1));

    let node = Program::start(&["serve", "--shards", "1025"], stderr_of);
    node.line_with("--shards: shards cannot be `1025`");
    assert_eq!(node.end().code(), Some(2));

    let cluster = Program::start(&["dev", "--data", data, "--", "--durability", "none"], stderr_of);
    cluster.line_with("--durability: durability cannot be `none`");
    assert_eq!(cluster.end().code(), Some(2));
}

#[test]
fn a_local_cluster_restarts_a_killed_node_and_ends_with_its_terminal() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("cluster");
    let port = first_of_three_ports();
    let args = ["dev", "--port", &port.to_string(), "--data", data.to_str().expect("UTF-8")];
    let cluster = Program::start(&args, stdout_of);

    let line = cluster.line_with("n2 is process ");
    let n2 = word_behind(&line, "process ").parse().expect("a process id");
    cluster.line_with("the cluster of 3 is up");
    let address = format!("127.0.0.1:{}", port + 1);
    assert_eq!(shell(&address, &["put k {\"a\": 1}", "get k"]), "OK\n{\"a\": 1}\n");

    assert!(run(&["cluster", "tree", &address]).starts_with("root"));
    assert_eq!(run(&["cluster", "nodes", &address]).lines().count(), 1 + 3);
    let status = run(&["cluster", "status", &address]);
    assert!(status.starts_with("slots: ok\nreplication: "), "{status}");
    assert_eq!(status.matches("  up  ").count(), 3, "{status}");

    send(n2, Signal::KILL);
    cluster.line_with("n2 ended (signal: 9 (SIGKILL)); it is started again");
    cluster.line_with("n2 is process ");
    cluster.line_with("listens on");
    cluster.ask_to_stop();
    assert_eq!(cluster.end().code(), Some(0));
    for offset in 0..3 {
        let left = TcpStream::connect(("127.0.0.1", port + offset));
        assert!(left.is_err(), "a node still listens on {}", port + offset);
    }
}

/// A port that is free with the two that follow it, and so are those for nodes 10,000 above.
fn first_of_three_ports() -> u16 {
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut candidates = (20_000..30_000).step_by(3);
    let start = std::process::id() as usize % 3_000;
    let free = |first: &u16| (0..3).all(|n| is_free(first + n) && is_free(first + n + 10_000));
    candidates.by_ref().skip(start).find(free).expect("six free ports")
}
