//! A real redis-server beside ours: the same lines to both.
//! Owns: its process, and playing what several connections send. Never: compares; each test says what is equal.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::{Client, command, wait_until};

/// A redis-server on a free port; ends with the test.
pub(crate) struct Redis {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// One that serves all slots as a cluster of its own.
    pub(crate) fn start_cluster(dir: &std::path::Path) -> Self {
        let dir = dir.to_str().expect("a path in UTF-8");
        let redis = Self::start_with(&["--cluster-enabled", "yes", "--dir", dir]);
        let mut client = Client::connect(redis.address);
        assert_eq!(client.call("CLUSTER ADDSLOTSRANGE 0 16383"), "+OK\r\n");
        wait_until("the cluster serves", || client.call("SET a 1") == "+OK\r\n");
        redis
    }

    pub(crate) fn start_with(flags: &[&str]) -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = free.local_addr().expect("a bound socket has an address");
        drop(free);
        let port = address.port().to_string();
        let process = Command::new("redis-server")
            .args([
                "--port",
                &port,
                "--save",
                "",
                "--appendonly",
                "no",
                "--enable-debug-command",
                "yes",
            ])
            .args(flags)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server 7 is installed (apt-get install redis-server)");
        wait_until("redis-server accepts", || TcpStream::connect(address).is_ok());
        Self { process, address }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Plays what several connections send, and what they read then: so many replies and messages behind each line.
///
/// `{x}` in a line stands for the number of connection x, and so it does in what CLIENT answers.
pub(crate) fn play_together(
    script: &[(&str, &str, usize)],
    protocol: u8,
    address: SocketAddr,
) -> Vec<String> {
    let mut clients = BTreeMap::new();
    for (name, ..) in script {
        clients.entry(*name).or_insert_with(|| {
            let mut client = Client::connect(address);
            client.call(&format!("HELLO {protocol}"));
            let id = client.call("CLIENT ID").trim_matches([':', '\r', '\n']).to_owned();
            (client, id)
        });
    }
    let ids: Vec<(String, String)> =
        clients.iter().map(|(name, (_, id))| (format!("{{{name}}}"), id.clone())).collect();
    let mut heard = Vec::new();
    for (name, line, replies) in script {
        let (client, _) = clients.get_mut(name).expect("all are connected");
        if !line.is_empty() {
            let line =
                ids.iter().fold((*line).to_owned(), |line, (name, id)| line.replace(name, id));
            client.send(&command(&line.split(' ').collect::<Vec<_>>()));
        }
        for _ in 0..*replies {
            let reply = text(&client.reply());
            let named = ids.iter().filter(|_| line.starts_with("CLIENT "));
            let reply = named.fold(reply, |reply, (name, id)| {
                reply.replace(&format!(":{id}\r\n"), &format!(":{name}\r\n"))
            });
            heard.push(format!("RESP{protocol} {name} {line}: {reply:?}"));
        }
    }
    heard
}

/// A reply as text.
pub(crate) fn text(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).into_owned()
}
