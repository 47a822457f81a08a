//! `keystead cluster`: a running cluster as one of its nodes sees it.
//!
//! Owns: which commands are asked and how their replies become a page. Never: changes anything.
//! `tree` asks one node for its supervision tree. `nodes` shows what one node knows of all. `status` asks
//! every node for itself, so that a node that is cut off is seen as such.

use clap::{Args, Subcommand};
use keystead::config::Address;
use keystead_resp::Value;

use super::{Exit, Target, complain, print};
use crate::shell::connection::{Connection, ConnectionError, Login};

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
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum ClusterError {
    /// No connection.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The node answered with an error.
    #[error("{address} answered {command} with: {text}")]
    Reply { address: Address, command: String, text: String },
    /// The reply is not text.
    #[error("{address} does not answer {command} as a Keystead node does")]
    Shape { address: Address, command: String },
}

/// Asks the node and prints the page.
pub(crate) fn run(args: &ClusterArgs) -> Exit {
    let page = match &args.view {
        View::Tree(target) => tree(target),
        View::Status(target) => status(target),
        View::Nodes(target) => nodes(target),
    };
    match page {
        Ok(page) => print(&page),
        Err(error) => {
            complain(&error);
            match error {
                ClusterError::Connection(_) => Exit::Connection,
                _ => Exit::Failed,
            }
        }
    }
}

fn tree(target: &Target) -> Result<String, ClusterError> {
    let text = Asked::open(&target.address, &target.login())?.text(&["INFO", "supervision"])?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines.fold(String::new(), |page, line| page + line + "\n"))
}

fn nodes(target: &Target) -> Result<String, ClusterError> {
    let text = Asked::open(&target.address, &target.login())?.text(&["CLUSTER", "NODES"])?;
    let mut table = Table::new(["ID", "ADDRESS", "FLAGS", "LINK", "SLOTS"]);
    for node in text.lines().filter_map(NodeLine::parse) {
        let slots = node.slots.join(" ");
        table.row([&node.id, &node.address, &node.flags, &node.link, &slots]);
    }
    Ok(table.to_string())
}

fn status(target: &Target) -> Result<String, ClusterError> {
    let login = target.login();
    let mut asked = Asked::open(&target.address, &login)?;
    let cluster = asked.text(&["CLUSTER", "INFO"])?;
    let listed = asked.text(&["CLUSTER", "NODES"])?;
    let mut table = Table::new(["ADDRESS", "NODE", "LEADS", "REPLICAS", "KEYS"]);
    for node in listed.lines().filter_map(NodeLine::parse) {
        let [state, leads, replicas, keys] = match NodeSelf::ask(&node.address, &login) {
            Ok(seen) => ["up".to_owned(), seen.leads, seen.replicas, seen.keys],
            Err(error) => [first_line(&error), "-".into(), "-".into(), "-".into()],
        };
        table.row([&node.address, &state, &leads, &replicas, &keys]);
    }
    let state = field(&cluster, "cluster_state").unwrap_or("unknown");
    let replication = field(&cluster, "keystead_replication").unwrap_or("unknown");
    Ok(format!("slots: {state}\nreplication: {replication}\n\n{table}"))
}

fn first_line(error: &ClusterError) -> String {
    match error {
        ClusterError::Connection(_) => "unreachable".to_owned(),
        other => other.to_string(),
    }
}

/// What a node says of itself.
struct NodeSelf {
    leads: String,
    replicas: String,
    keys: String,
}

impl NodeSelf {
    fn ask(address: &str, login: &Login) -> Result<Self, ClusterError> {
        let address = address.parse().map_err(|_| ClusterError::Shape {
            address: Address { host: address.to_owned(), port: 0 },
            command: "CLUSTER NODES".to_owned(),
        })?;
        let mut asked = Asked::open(&address, login)?;
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

/// A connection that answers with text.
struct Asked {
    connection: Connection,
}

impl Asked {
    fn open(address: &Address, login: &Login) -> Result<Self, ClusterError> {
        Ok(Self { connection: Connection::open(address, login)? })
    }

    fn text(&mut self, command: &[&str]) -> Result<String, ClusterError> {
        let reply = self.connection.call(command)?;
        let address = self.connection.address().clone();
        let command = command.join(" ");
        match (&reply, reply.as_str()) {
            (Value::Error(text), _) => {
                Err(ClusterError::Reply { address, command, text: text.clone() })
            }
            (_, Some(text)) => Ok(text.to_owned()),
            (_, None) => Err(ClusterError::Shape { address, command }),
        }
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
