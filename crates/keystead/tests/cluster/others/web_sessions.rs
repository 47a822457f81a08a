//! Sessions of a web shop: express-session 1.19.0 with connect-redis 9.0.0 (Node.js), over node-redis 5.9.0. The script is
//! `web_sessions.cjs`.
//!
//! Exercises saving (SET EX), reading, touching (EXPIRE), ending (DEL), listing (SCAN, MGET) and running out of sessions; three
//! instances of a shop, each with a node of its own, and browsers that go to the next one when a page fails.
//!
//! What must hold while the leader dies: a page shows what its session was told before, and the visit it shows is kept: a count of
//! visits never goes back, in no instance, before, during and after. Visits whose page failed may count or not.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::process::{Child, ChildStdout, Stdio};

use super::{kill, leader, node_script, port_words};
use crate::clients::text;
use crate::cluster::{Cluster, Shape};
use crate::node::Tested as _;

/// connect-redis lists and removes sessions by commands over many keys.
const ONE_SHARD: Shape = Shape { nodes: 3, shards: 1, flags: &[] };
const BROWSERS: &str = "24";
/// Pages that each browser sees; the leader dies once all have seen the first three.
const VISITS: &str = "60";

#[test]
fn connect_redis_does_what_it_offers() {
    let cluster = Cluster::start(&ONE_SHARD);
    for port in port_words(&cluster) {
        let output = node_script("web_sessions.cjs").args(["store", &port]).output();
        let output = output.expect("node runs; `cargo xtask setup` installs it");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && out.contains("done"), "{out}\n{err}");
    }
}

/// The shop and its browsers, and what they say.
struct Shop {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Shop {
    fn open(ports: &[String]) -> Self {
        let mut command = node_script("web_sessions.cjs");
        command.args(["visit", BROWSERS, VISITS]).args(ports);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("node runs; `cargo xtask setup` installs it");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { process, lines }
    }

    /// The next line; its errors, if it ended instead.
    fn line(&mut self) -> String {
        self.lines.next().map_or_else(
            || {
                let mut told = String::new();
                let errors = self.process.stderr.take().expect("piped");
                BufReader::new(errors).read_to_string(&mut told).expect("text");
                panic!("the shop ended: {told}")
            },
            |line| line.expect("text"),
        )
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // After a test that failed; otherwise it has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn sessions_outlive_the_leader() {
    let mut cluster = Cluster::start(&ONE_SHARD);
    let mut shop = Shop::open(&port_words(&cluster));
    assert_eq!(shop.line(), "going");
    let at = leader(&cluster);
    kill(&mut cluster, at);
    assert_eq!(shop.line(), "visited");
    cluster.nodes[at].begin();
    cluster.wait_until_level();
    let mut input = shop.process.stdin.take().expect("piped");
    input.write_all(b"back\n").expect("it reads");
    drop(input);
    eprintln!("sessions while a leader dies: {}", shop.line());
    assert!(shop.process.wait().expect("a child").success());
    cluster.assert_equal_digests();
}
