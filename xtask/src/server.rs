//! Servers as child processes: Keystead and the peers it is compared with.
//! Owns: ports, folders, how each is started, when it is ready, and that it ends with us.
//! Never: asks more of a server than its own settings; what was set is kept as text for reports.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::project::{Outcome, Project, find_program};
use crate::wait;
use crate::wire::Connection;

/// A server that does not answer within this is broken.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// One process; killed when dropped.
pub(crate) struct Server {
    child: Child,
    command: Command,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
}

/// A folder for servers of one run; removed when dropped.
pub(crate) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// An empty folder below the target folder: on the disk, not in memory.
    pub(crate) fn new(project: &Project, purpose: &str) -> Outcome<Self> {
        let name = format!("{purpose}-{}", std::process::id());
        let folder = project.target()?.join("servers").join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// A folder for one server, made empty.
    pub(crate) fn folder(&self, name: &str) -> Outcome<PathBuf> {
        let folder = self.folder.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }
}

impl Server {
    /// Starts `command`; its output goes to `server.log` in `folder`.
    pub(crate) fn spawn(mut command: Command, folder: &Path, address: SocketAddr) -> Outcome<Self> {
        let log =
            std::fs::File::options().create(true).append(true).open(folder.join("server.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = start(&mut command)?;
        Ok(Self { child, command, address })
    }

    /// Kills the process without warning and waits for its end.
    pub(crate) fn kill(&mut self) -> Outcome {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts the same command again after `kill`.
    pub(crate) fn start_again(&mut self) -> Outcome {
        self.child = start(&mut self.command)?;
        Ok(())
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails if the process has ended.
    pub(crate) fn check_alive(&mut self) -> Outcome {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let program = self.command.get_program().to_string_lossy().into_owned();
        let folder = self.command.get_current_dir().unwrap_or(Path::new("."));
        let log = std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        let said = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        Err(format!("{program} ended with {status}, having said:\n{said}").into())
    }

    /// Waits until the server answers PING.
    pub(crate) fn await_ready(&mut self) -> Outcome {
        let address = self.address;
        wait::until("an answer to PING", START_DEADLINE, || {
            self.check_alive()?;
            let pong = Connection::open(address).and_then(|mut c| c.ask(&["PING"]));
            Ok(pong.is_ok_and(|reply| reply.starts_with("+PONG")).then_some(()))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        if self.child.kill().is_ok()
            && let Err(error) = self.child.wait()
        {
            eprintln!("cannot wait for a server's end: {error}");
        }
    }
}

fn start(command: &mut Command) -> Outcome<Child> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.spawn().map_err(|error| format!("cannot start {program}: {error}").into())
}

/// An address of this machine with a port that is free now.
pub(crate) fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// redis-server with `settings` behind its own defaults, ready.
pub(crate) fn redis(folder: &Path, settings: &[&str]) -> Outcome<Server> {
    let program =
        find_program("redis-server").ok_or("redis-server is missing; run cargo xtask setup")?;
    redis_like(&program, folder, settings)
}

/// A server that takes redis-server's settings, ready.
pub(crate) fn redis_like(program: &Path, folder: &Path, settings: &[&str]) -> Outcome<Server> {
    let address = free_address()?;
    let mut command = Command::new(program);
    let port = address.port().to_string();
    // SORT ALPHA follows the locale there, and compares bytes here.
    command.current_dir(folder).env("LC_ALL", "C");
    command.args(["--port", &port, "--bind", "127.0.0.1", "--daemonize", "no"]).args(settings);
    let mut server = Server::spawn(command, folder, address)?;
    server.await_ready()?;
    Ok(server)
}

/// Which binary of the product is started.
pub(crate) enum Binary {
    /// This one.
    Named(PathBuf),
    /// The release build of this checkout: for figures.
    Release,
    /// Its dev build: for comparisons, since tests have built it already.
    Dev,
}

/// The path of the product's binary, built if need be.
pub(crate) fn keystead_binary(project: &Project, binary: &Binary) -> Outcome<PathBuf> {
    let (flags, folder): (&[&str], &str) = match binary {
        Binary::Named(path) => return Ok(std::path::absolute(path)?),
        Binary::Release => (&["--release"], "release"),
        Binary::Dev => (&[], "debug"),
    };
    let mut build = project.cargo(&["build", "--quiet", "--package", "keystead"]);
    let status = build.args(flags).status()?;
    if !status.success() {
        return Err(format!("keystead does not build: {status}").into());
    }
    let name = format!("keystead{}", std::env::consts::EXE_SUFFIX);
    Ok(project.target()?.join(folder).join(name))
}

/// `count` Keystead nodes of one cluster with `settings`, ready, every replica in place.
pub(crate) fn keystead(
    binary: &Path,
    scratch: &Scratch,
    name: &str,
    count: usize,
    settings: &[&str],
) -> Outcome<Vec<Server>> {
    let peers = (0..count).map(|_| free_address()).collect::<Outcome<Vec<SocketAddr>>>()?;
    let join: Vec<String> = peers.iter().map(SocketAddr::to_string).collect();
    let mut servers = Vec::new();
    for (number, peer) in peers.iter().enumerate() {
        let folder = scratch.folder(&format!("{name}-{number}"))?;
        let listen = free_address()?;
        let mut command = Command::new(binary);
        command.current_dir(&folder).arg("serve").args(["--listen", &listen.to_string()]);
        command.args(["--peer", &peer.to_string(), "--data", "data"]).args(settings);
        if count > 1 {
            command.args(["--join", &join.join(","), "--expect", &count.to_string()]);
        }
        servers.push(Server::spawn(command, &folder, listen)?);
    }
    await_cluster(&mut servers)?;
    Ok(servers)
}

/// Waits until every node answers, knows all the others, and finds all slots served and all replicas level.
pub(crate) fn await_cluster(servers: &mut [Server]) -> Outcome {
    let known = format!("cluster_known_nodes:{}\r\n", servers.len());
    let signs = [known.as_str(), "cluster_state:ok", "keystead_replication:full"];
    for server in servers {
        server.await_ready()?;
        let address = server.address;
        wait::until(&signs.join(", ").replace("\r\n", ""), START_DEADLINE, || {
            server.check_alive()?;
            let reply = Connection::open(address).and_then(|mut c| c.ask(&["CLUSTER", "INFO"]));
            let is_settled = reply.is_ok_and(|text| signs.iter().all(|sign| text.contains(sign)));
            Ok(is_settled.then_some(()))
        })?;
    }
    Ok(())
}
