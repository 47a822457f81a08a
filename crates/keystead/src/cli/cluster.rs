//! `keystead cluster`: a running cluster as one of its nodes sees it.
//!
//! Owns: which commands are asked and how their replies become a page. Never: changes anything.
//! `tree` asks one node for its supervision tree. `nodes` shows what one node knows of all. `status` asks
//! every node for itself, so that a node that is cut off is seen as such. `sync` has one node compare all replicas.

use std::time::Duration;

use clap::{Args, Subcommand};
use keystead_client::{ConnectOptions, Error, Value, blocking};

use super::replicas::{self, ShardReplicas};
use super::{Exit, Target, complain, print};

/// Longest wait for a node's own words in `status`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// What `keystead cluster` takes.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    view: View,
}

#[derive(Debug, Subcommand)]
enum View {
    /// Show the supervision tree of a node.
    Tree(Target),
    /// Show whether all slots are served, all replicas are level, and what each node does.
    Status(Target),
    /// List the nodes that a node knows.
    Nodes(Target),
    /// Wait until all replicas are level, and compare their digests, shard by shard.
    Sync(SyncArgs),
}

#[derive(Debug, Args)]
struct SyncArgs {
    #[command(flatten)]
    target: Target,
    /// Longest wait for replicas that are behind, seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=600))]
    wait: u64,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum ClusterError {
    /// No connection, or an error for a reply.
    #[error("{address}: {source}")]
    Ask { address: String, source: Error },
    /// The reply is not text.
    #[error("{address} does not answer {command} as a Keystead node does")]
    Shape { address: String, command: String },
    /// The replicas are not known to be equal; the page is shown all the same.
    #[error("{problem}; see keystead cluster status")]
    NotInSync { page: String, problem: String },
}

/// Asks the node and prints the page.
pub(crate) fn run(args: &ClusterArgs) -> Exit {
    let page = match &args.view {
        View::Tree(target) => tree(target),
        View::Status(target) => status(target),
        View::Nodes(target) => nodes(target),
        View::Sync(args) => sync(args),
    };
    match page {
        Ok(page) => print(&page),
        Err(error) => {
            if let ClusterError::NotInSync { page, .. } = &error {
                print(page);
            }
            complain(&error);
            match error {
                ClusterError::Ask { source: Error::Reply { .. }, .. } => Exit::Failed,
                ClusterError::Ask { .. } => Exit::Connection,
                ClusterError::Shape { .. } | ClusterError::NotInSync { .. } => Exit::Failed,
            }
        }
    }
}

fn tree(target: &Target) -> Result<String, ClusterError> {
    let text = Asked::open(&target.address.to_string(), target.options())?
        .text(&["INFO", "supervision"])?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines.fold(String::new(), |page, line| page + line + "\n"))
}

fn nodes(target: &Target) -> Result<String, ClusterError> {
    let text =
        Asked::open(&target.address.to_string(), target.options())?.text(&["CLUSTER", "NODES"])?;
    let mut table = Table::new(["ID", "ADDRESS", "FLAGS", "LINK", "SLOTS"]);
    for node in text.lines().filter_map(NodeLine::parse) {
        let slots = node.slots.join(" ");
        table.row([&node.id, &node.address, &node.flags, &node.link, &slots]);
    }
    Ok(table.to_string())
}

fn sync(args: &SyncArgs) -> Result<String, ClusterError> {
    let patience = Duration::from_secs(args.wait);
    let mut asked = Asked::open(&args.target.address.to_string(), args.target.options())?;
    let reply = asked.reply(&["CLUSTER", "SYNC", &patience.as_millis().to_string()])?;
    let shards = replicas::parse(&reply).ok_or_else(|| asked.shape(&["CLUSTER", "SYNC"]))?;
    let mut table = Table::new(["SHARD", "INDEX", "LEVEL", "EQUAL", "MISSING"]);
    for seen in &shards {
        let level = format!("{} of {}", seen.level, seen.wanted);
        let equal = if seen.is_equal { "yes" } else { "no" };
        let (shard, index) = (seen.shard.to_string(), seen.index.to_string());
        table.row([&shard, &index, &level, &equal.to_owned(), &seen.missing]);
    }
    let page = table.to_string();
    match shards.iter().find_map(ShardReplicas::problem) {
        Some(problem) => Err(ClusterError::NotInSync { page, problem }),
        None => Ok(page),
    }
}

fn status(target: &Target) -> Result<String, ClusterError> {
    // A node that does not answer must not keep the others from being shown.
    let options = ConnectOptions { command_timeout: ANSWER_TIMEOUT, ..target.options() };
    let mut asked = Asked::open(&target.address.to_string(), options.clone())?;
    let cluster = asked.text(&["CLUSTER", "INFO"])?;
    let listed = asked.text(&["CLUSTER", "NODES"])?;
    let mut table = Table::new(["ADDRESS", "NODE", "LEADS", "REPLICAS", "KEYS"]);
    for node in listed.lines().filter_map(NodeLine::parse) {
        let [state, leads, replicas, keys] = match NodeSelf::ask(&node.address, &options) {
            Ok(seen) => ["up".to_owned(), seen.leads, seen.replicas, seen.keys],
            Err(_) => ["unreachable".into(), "-".into(), "-".into(), "-".into()],
        };
        table.row([&node.address, &state, &leads, &replicas, &keys]);
    }
    let state = field(&cluster, "cluster_state").unwrap_or("unknown");
    let replication = field(&cluster, "keystead_replication").unwrap_or("unknown");
    Ok(format!("slots: {state}\nreplication: {replication}\n\n{table}"))
}

/// What a node says of itself.
struct NodeSelf {
    leads: String,
    replicas: String,
    keys: String,
}

impl NodeSelf {
    fn ask(address: &str, options: &ConnectOptions) -> Result<Self, ClusterError> {
        let mut asked = Asked::open(address, options.clone())?;
        let raft = asked.text(&["INFO", "raft"])?;
        let keyspace = asked.text(&["INFO", "keyspace"])?;
        let own = |text, name| field(text, name).unwrap_or("-").to_owned();
        let keys = field(&keyspace, "db0").and_then(|row| row.split(',').next());
        Ok(Self {
            leads: own(&raft, "leader_of"),
            replicas: own(&raft, "replica_of"),
            keys: keys.and_then(|row| row.strip_prefix("keys=")).unwrap_or("0").to_owned(),
        })
    }
}

/// The value of `name:value` among lines.
fn field<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    let rows = lines.lines().filter_map(|line| line.trim_end().split_once(':'));
    rows.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
}

/// A node that answers with text.
struct Asked {
    address: String,
    client: blocking::Client,
}

impl Asked {
    fn open(address: &str, options: ConnectOptions) -> Result<Self, ClusterError> {
        let address = address.to_owned();
        match blocking::Client::connect(&address, options) {
            Ok(client) => Ok(Self { address, client }),
            Err(source) => Err(ClusterError::Ask { address, source }),
        }
    }

    fn reply(&mut self, command: &[&str]) -> Result<Value, ClusterError> {
        let reply = self.client.command(command);
        reply.map_err(|source| ClusterError::Ask { address: self.address.clone(), source })
    }

    fn text(&mut self, command: &[&str]) -> Result<String, ClusterError> {
        let reply = self.reply(command)?;
        reply.as_str().map(str::to_owned).ok_or_else(|| self.shape(command))
    }

    fn shape(&self, command: &[&str]) -> ClusterError {
        ClusterError::Shape { address: self.address.clone(), command: command.join(" ") }
    }
}

/// A line of CLUSTER NODES: `id host:port@peerport flags primary ping pong epoch link slots...`.
struct NodeLine {
    id: String,
    address: String,
    flags: String,
    link: String,
    slots: Vec<String>,
}

impl NodeLine {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (id, address, flags) = (words.next()?, words.next()?, words.next()?);
        let link = words.by_ref().nth(4)?;
        let address = address.split('@').next()?.to_owned();
        Some(Self { id, address, flags, link, slots: words.collect() })
    }
}

/// Columns as wide as their widest cell.
struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    fn new(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned)] }
    }

    fn row(&mut self, cells: [&String; N]) {
        self.rows.push(cells.map(String::clone));
    }
}

impl<const N: usize> std::fmt::Display for Table<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let widest = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max();
        for row in &self.rows {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = widest(column).unwrap_or(0);
                format!("{cell:width$}")
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_cluster_nodes_become_a_table() {
        let text = "a1 127.0.0.1:7379@17379,host1 myself,master - 0 0 3 connected 0-8191 9000\n\
                    b2 127.0.0.1:7380@17380 master - 0 0 3 disconnected\n\
                    odd line\n";
        let mut table = Table::new(["ID", "ADDRESS", "SLOTS"]);
        for node in text.lines().filter_map(NodeLine::parse) {
            table.row([&node.id, &node.address, &node.slots.join(" ")]);
        }
        assert_eq!(
            table.to_string(),
            "ID  ADDRESS         SLOTS\na1  127.0.0.1:7379  0-8191 9000\nb2  127.0.0.1:7380\n"
        );
    }

    #[test]
    fn fields_are_found_among_lines() {
        let text = "# Cluster\r\ncluster_state:ok\r\nkeystead_replication:full\r\n";
        assert_eq!(field(text, "cluster_state"), Some("ok"));
        assert_eq!(field(text, "state"), None);
    }
}
