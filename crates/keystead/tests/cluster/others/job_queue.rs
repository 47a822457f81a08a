//! A job queue: rq 2.12.0 (Python), over redis-py 5.2.1. The scripts are `job_queue.py` and `jobs.py`.
//!
//! Exercises what rq offers: enqueueing one and many, at the front, delayed, depending on others; workers that fork for each
//! job, and wait for the next one; the scheduler; results, failures, retries, callbacks, cancelling, groups, registries,
//! suspension. That is MULTI over hashes, lists, sets, sorted sets and streams, WATCH, LMOVE, BLMOVE, BLPOP, XREAD BLOCK, LPOS,
//! SCAN, PUBSUB and EXPIRE in one shard.
//!
//! And what rq promises while a leader dies: a job that was taken runs once, or the queue still has it and says
//! so (what a worker held as it fell is left to rq's own maintenance, after a minute); none runs twice.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{kill, leader, port_words, python, python_script};
use crate::clients::text;
use crate::cluster::{Cluster, Shape};
use crate::node::Tested as _;
use crate::wait::wait_for;

/// rq's keys have no hash tags.
const ONE_SHARD: Shape = Shape { nodes: 3, shards: 1, flags: &[] };
/// Jobs of the run with a failover, and after how many answers the leader dies and returns.
const JOBS: usize = 100;
const DEATH_AFTER: usize = 30;
const RETURN_AFTER: usize = 60;
/// Workers at a time.
const WORKERS: usize = 2;
/// Longest wait for the workers to be through.
const DRAINED_MAX: Duration = Duration::from_secs(50);

#[test]
fn rq_does_what_it_offers() {
    let cluster = Cluster::start(&ONE_SHARD);
    run("offers", &cluster, 0);
}

#[test]
fn rq_waits_for_jobs_and_brings_what_is_scheduled() {
    let cluster = Cluster::start(&ONE_SHARD);
    // What waits here is served there.
    run("waits", &cluster, (leader(&cluster) + 1) % 3);
    cluster.assert_equal_digests();
}

/// Runs a verb of the script against one node.
fn run(verb: &str, cluster: &Cluster, node: usize) {
    let ran = cluster.dir().join("ran");
    fs::write(&ran, "").expect("a file of this test");
    let mut command = python_script("job_queue.py");
    command.arg(verb).arg(&port_words(cluster)[node]).env("JOBS_RUN", &ran);
    let output = command.output().expect("python runs");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("done"), "{out}\n{err}");
}

/// `rq worker`, started again by whoever watches over it whenever it ends.
struct Workers {
    ports: Vec<String>,
    running: Vec<Child>,
    started: usize,
    ran: std::path::PathBuf,
}

impl Workers {
    fn new(cluster: &Cluster) -> Self {
        let ran = cluster.dir().join("ran");
        fs::write(&ran, "").expect("a file of this test");
        Self { ports: port_words(cluster), running: Vec::new(), started: 0, ran }
    }

    /// Starts as many as are missing, each at the next node.
    fn keep_up(&mut self) {
        self.running.retain_mut(|worker| worker.try_wait().expect("a child").is_none());
        while self.running.len() < WORKERS {
            let port = &self.ports[self.started % self.ports.len()];
            self.started += 1;
            let url = format!("redis://127.0.0.1:{port}");
            let mut command = Command::new(python());
            command.args(["-c", "from rq.cli import main; main()", "worker", "--quiet"]);
            command
                .args(["--with-scheduler", "--url", &url, "orders"])
                .env("PYTHONPATH", super::SCRIPTS);
            command.env("JOBS_RUN", &self.ran).env("PYTHONDONTWRITEBYTECODE", "1");
            // What it says of nodes that are gone is no surprise here.
            command.stdout(Stdio::null()).stderr(Stdio::null());
            self.running.push(command.spawn().expect("python runs"));
        }
    }

    /// Asks those that run to end behind the job that they are at.
    fn end(&mut self) {
        for worker in &self.running {
            let told = Command::new("kill").arg(worker.id().to_string()).status();
            told.expect("the program kill");
        }
        wait_for("the workers are through", DRAINED_MAX, || {
            self.running.retain_mut(|worker| worker.try_wait().expect("a child").is_none());
            self.running.is_empty().then_some(())
        });
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.running {
            // After a test that failed.
            drop(worker.kill());
            drop(worker.wait());
        }
    }
}

#[test]
fn jobs_that_rq_took_run_once_or_are_kept_while_the_leader_dies() {
    let mut cluster = Cluster::start(&ONE_SHARD);
    let mut workers = Workers::new(&cluster);
    let mut command = python_script("job_queue.py");
    command.args(["enqueue", &JOBS.to_string()]).args(port_words(&cluster));
    command.env("JOBS_RUN", &workers.ran).stdout(Stdio::piped());
    let mut orders = command.spawn().expect("python runs");
    let lines = BufReader::new(orders.stdout.take().expect("piped")).lines();
    let mut answers = Vec::new();
    let mut dead = None;
    for line in lines {
        answers.push(line.expect("text"));
        workers.keep_up();
        if answers.len() == DEATH_AFTER {
            let at = leader(&cluster);
            kill(&mut cluster, at);
            dead = Some(at);
        } else if answers.len() == RETURN_AFTER {
            cluster.nodes[dead.expect("it died before")].begin();
        }
    }
    assert!(orders.wait().expect("a child").success());
    assert_eq!(answers.len(), JOBS);
    let port = cluster.nodes[0].port().to_string();
    cluster.wait_until_level();
    wait_for("no job waits", DRAINED_MAX, || {
        workers.keep_up();
        let waiting = python_script("job_queue.py").args(["waiting", &port]).output();
        (text(&waiting.expect("python runs").stdout).trim() == "0").then_some(())
    });
    workers.end();
    let told = audit(&port, &workers, &answers);
    cluster.assert_equal_digests();
    eprintln!("rq while a leader dies: {told} of {JOBS}, {} workers", workers.started);
}

/// Has every job looked for. Returns what there is to say about them.
fn audit(port: &str, workers: &Workers, answers: &[String]) -> String {
    let mut command = python_script("job_queue.py");
    command.args(["audit", port]).env("JOBS_RUN", &workers.ran);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut auditor = command.spawn().expect("python runs");
    let list = answers.join("\n") + "\n";
    auditor.stdin.take().expect("piped").write_all(list.as_bytes()).expect("it reads");
    let output = auditor.wait_with_output().expect("python ends");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}\n{}", answers.join("\n"));
    out.trim().to_owned()
}
