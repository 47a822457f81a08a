//! Nodes in network namespaces of their own, so that links between them can be cut and slowed.
//!
//! Owns: the namespaces, the links, the rules in them; all are gone with the value. Never: a rule or an address outside
//! of them, but for one link by which the clients reach the nodes.
//!
//! ```text
//!   this process - ktPID -|- ktPID-hub: bridge -|- ktPID-n1: eth0 198.18.S.11
//!   198.18.S.1            |                     |- ktPID-n2: eth0 198.18.S.12   ...
//! ```
//! A cut from A to B is a rule in B's namespace that drops what comes from A's address: nobody is told, as when a cable
//! is pulled. Clients reach every node whatever is cut, for a node that is cut off must not answer them with old values.
//! The addresses are of the range that RFC 2544 sets aside for tests.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use super::error::TortureError;
use super::tool::{run, run_with, try_run};

/// How a link is slowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slowness {
    /// `tc netem`: delay, jitter and loss.
    Netem,
    /// `tc tbf`: so little bandwidth that a queue builds up.
    Bandwidth,
    /// A rule that drops at random: retransmission is what takes time.
    Loss,
}

/// Delay and jitter in each direction, and what is lost.
const NETEM: &[&str] = &["netem", "delay", "40ms", "20ms", "loss", "1%"];
/// A queue of up to a tenth of a second, at about a third of what a leader sends under the usual load.
const BANDWIDTH: &[&str] = &["tbf", "rate", "3mbit", "burst", "16kb", "latency", "100ms"];
/// Of a hundred packets.
const LOST_PERCENT: u32 = 3;

impl fmt::Display for Slowness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Netem => write!(f, "tc {}", NETEM.join(" ")),
            Self::Bandwidth => write!(f, "tc {} (no netem in this kernel)", BANDWIDTH.join(" ")),
            Self::Loss => {
                write!(f, "{LOST_PERCENT}% loss by nft (no netem, no tbf in this kernel)")
            }
        }
    }
}

/// Namespaces and what is wrong between them.
#[derive(Debug)]
pub struct Network {
    tag: String,
    subnet: u8,
    nodes: usize,
    slowness: Slowness,
    cuts: BTreeSet<(usize, usize)>,
    slow: BTreeSet<usize>,
}

impl Network {
    /// Makes a namespace for each node. Without the rights or the programs for it, nothing is left behind.
    ///
    /// # Errors
    /// [`TortureError`]: which program failed, and what it said.
    pub fn raise(nodes: usize) -> Result<Self, TortureError> {
        let pid = std::process::id();
        let subnet = u8::try_from(pid % 250).expect("less than 250");
        let tag = format!("kt{pid}");
        let (cuts, slow) = (BTreeSet::new(), BTreeSet::new());
        // Made first: dropped, it removes whatever was made until then.
        let mut network = Self { tag, subnet, nodes, slowness: Slowness::Loss, cuts, slow };
        network.build()?;
        network.slowness = network.slowness_here();
        Ok(network)
    }

    fn build(&self) -> Result<(), TortureError> {
        let (hub, outside) = (self.hub(), &self.tag);
        run(&["ip", "netns", "add", &hub])?;
        run(&["ip", "-n", &hub, "link", "add", "bridge", "type", "bridge"])?;
        run(&["ip", "-n", &hub, "link", "set", "bridge", "up"])?;
        run(&[
            "ip", "link", "add", outside, "type", "veth", "peer", "name", "outside", "netns", &hub,
        ])?;
        run(&["ip", "-n", &hub, "link", "set", "outside", "master", "bridge", "up"])?;
        let gate = format!("198.18.{}.1/24", self.subnet);
        run(&["ip", "address", "add", &gate, "dev", outside])?;
        run(&["ip", "link", "set", outside, "up"])?;
        for at in 0..self.nodes {
            let (space, port) = (self.namespace(at), self.port(at));
            run(&["ip", "netns", "add", &space])?;
            run(&[
                "ip", "-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", "eth0",
                "netns", &space,
            ])?;
            run(&["ip", "-n", &hub, "link", "set", &port, "master", "bridge", "up"])?;
            let address = format!("{}/24", self.address(at));
            run(&["ip", "-n", &space, "address", "add", &address, "dev", "eth0"])?;
            run(&["ip", "-n", &space, "link", "set", "lo", "up"])?;
            run(&["ip", "-n", &space, "link", "set", "eth0", "up"])?;
            self.write_rules(at)?;
        }
        Ok(())
    }

    /// What of the means to slow a link is there, tried out where no packet passes yet.
    fn slowness_here(&self) -> Slowness {
        let space = self.namespace(0);
        let takes = |means: &[&str]| {
            let line =
                [&["tc", "-n", &space, "qdisc", "replace", "dev", "lo", "root"], means].concat();
            let is_there = run(&line).is_ok();
            try_run(&["tc", "-n", &space, "qdisc", "del", "dev", "lo", "root"]);
            is_there
        };
        match () {
            () if takes(NETEM) => Slowness::Netem,
            () if takes(BANDWIDTH) => Slowness::Bandwidth,
            () => Slowness::Loss,
        }
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.tag)
    }

    fn namespace(&self, at: usize) -> String {
        format!("{}-n{}", self.tag, at + 1)
    }

    /// The hub's end of a node's link.
    fn port(&self, at: usize) -> String {
        format!("n{}", at + 1)
    }

    /// The address of a node.
    #[must_use]
    pub fn address(&self, at: usize) -> Ipv4Addr {
        let host = 11 + u8::try_from(at).expect("few nodes");
        Ipv4Addr::new(198, 18, self.subnet, host)
    }

    /// Words that start a program in the node's namespace, replacing themselves by it.
    #[must_use]
    pub fn prefix(&self, at: usize) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", self.namespace(at))]
    }

    /// How links are slowed here.
    #[must_use]
    pub fn slowness(&self) -> Slowness {
        self.slowness
    }

    /// Cuts these links, each from one node to another, and mends all others.
    ///
    /// # Errors
    /// [`TortureError`].
    pub fn set_cuts(&mut self, cuts: BTreeSet<(usize, usize)>) -> Result<(), TortureError> {
        let before = std::mem::replace(&mut self.cuts, cuts);
        for at in 0..self.nodes {
            let into = |cuts: &BTreeSet<(usize, usize)>| {
                cuts.iter().filter(|(_, to)| *to == at).copied().collect::<Vec<_>>()
            };
            if into(&before) != into(&self.cuts) {
                self.write_rules(at)?;
            }
        }
        Ok(())
    }

    /// Slows the links of a node, in both directions, or lets them be.
    ///
    /// # Errors
    /// [`TortureError`].
    pub fn set_slow(&mut self, at: usize, is_slow: bool) -> Result<(), TortureError> {
        let is_new = if is_slow { self.slow.insert(at) } else { self.slow.remove(&at) };
        let means = match self.slowness {
            Slowness::Netem => NETEM,
            Slowness::Bandwidth => BANDWIDTH,
            Slowness::Loss => return self.write_rules(at),
        };
        if !is_new {
            return Ok(());
        }
        let (space, hub, port) = (self.namespace(at), self.hub(), self.port(at));
        for (space, device) in [(&space, "eth0"), (&hub, port.as_str())] {
            let qdisc = ["tc", "-n", space, "qdisc"];
            if is_slow {
                run(&[&qdisc, &["replace", "dev", device, "root"], means].concat())?;
            } else {
                run(&[&qdisc[..], &["del", "dev", device, "root"]].concat())?;
            }
        }
        Ok(())
    }

    /// Packets that the rules of a node have dropped since they were last written.
    ///
    /// # Errors
    /// [`TortureError`].
    pub fn dropped(&self, at: usize) -> Result<u64, TortureError> {
        let space = self.namespace(at);
        let rules =
            run(&["ip", "netns", "exec", &space, "nft", "list", "table", "inet", "keystead"])?;
        let words: Vec<&str> = rules.split_whitespace().collect();
        let counts = words.windows(2).filter(|pair| pair[0] == "packets");
        Ok(counts.filter_map(|pair| pair[1].parse::<u64>().ok()).sum())
    }

    /// Replaces a node's rules in one step.
    fn write_rules(&self, at: usize) -> Result<(), TortureError> {
        let mut rules = String::from(
            "flush ruleset\ntable inet keystead {\n chain input {\n  type filter hook input priority 0;\n",
        );
        for (from, _) in self.cuts.iter().filter(|(_, to)| *to == at) {
            rules.push_str(&format!("  ip saddr {} counter drop\n", self.address(*from)));
        }
        if self.slowness == Slowness::Loss && self.slow.contains(&at) {
            rules.push_str(&format!("  numgen random mod 100 < {LOST_PERCENT} counter drop\n"));
        }
        rules.push_str(" }\n}\n");
        run_with(&["ip", "netns", "exec", &self.namespace(at), "nft", "-f", "-"], &rules)?;
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for at in 0..self.nodes {
            try_run(&["ip", "netns", "del", &self.namespace(at)]);
        }
        try_run(&["ip", "netns", "del", &self.hub()]);
        try_run(&["ip", "link", "del", &self.tag]);
    }
}
