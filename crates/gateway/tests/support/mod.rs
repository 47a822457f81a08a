//! What the tests of the gateway share: a server over plain stores, and a client that sees bytes.
//! Owns: starting and stopping both. Never: sleeps; every wait has a deadline.

#![expect(clippy::disallowed_methods, reason = "a test starts threads without a supervision tree")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod local_door;
pub(crate) mod redis;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use keystead_gateway::{Gateway, GatewayConfig};
use keystead_resp::skip_reply;
use keystead_supervisor::Shutdown;
use keystead_types::Clock;
pub(crate) use local_door::LocalNode;

/// Longest time that any wait of a test may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A gateway over a [`LocalNode`], on a free port.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) node: Arc<LocalNode>,
    pub(crate) gateway: Gateway,
    /// Ends the listener; as in the product, before the threads.
    closing: Shutdown,
    listener: Option<JoinHandle<()>>,
    shutdown: Shutdown,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// One io thread and that many shards.
    pub(crate) fn start(shards: u32) -> Self {
        Self::start_with(shards, GatewayConfig::default())
    }

    pub(crate) fn start_with(shards: u32, config: GatewayConfig) -> Self {
        let node = LocalNode::with_bus(shards, Arc::clone(&config.bus));
        let gateway = Gateway::new(config, Arc::clone(&node.clock) as Arc<dyn Clock>, 0x1234_5678);
        let shutdown = Shutdown::new();
        let mut threads = Vec::new();
        let (ready, is_ready) = std::sync::mpsc::channel();
        for position in 0..gateway.io_thread_count() {
            let (gateway, node, shutdown) = (gateway.clone(), Arc::clone(&node), shutdown.clone());
            let ready = ready.clone();
            let ready = move || ready.send(()).expect("the test waits for it");
            threads.push(std::thread::spawn(move || {
                let door = |wake| node.door(wake);
                let ended = gateway.run_io_thread(position, &shutdown, ready, door);
                ended.expect("the io thread ends in order");
            }));
        }
        // Tests count on clients being dealt to all threads in turn.
        for _ in 0..gateway.io_thread_count() {
            is_ready.recv_timeout(DEADLINE).expect("the io threads start");
        }
        let listener = Gateway::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (accepting, closing) = (gateway.clone(), Shutdown::new());
        let stop = closing.clone();
        let listener = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let accepted = runtime.expect("a runtime").block_on(accepting.accept(listener, &stop));
            accepted.expect("the listener works");
        });
        Self { address, node, gateway, closing, listener: Some(listener), shutdown, threads }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Closes the listener and asks the gateway to stop; [`join`](Self::join) waits for it.
    pub(crate) fn request_stop(&mut self) {
        self.close_listener();
        self.shutdown.request();
    }

    pub(crate) fn close_listener(&mut self) {
        self.closing.request();
        if let Some(listener) = self.listener.take() {
            listener.join().expect("the listener's thread did not panic");
        }
    }

    pub(crate) fn join(&mut self) {
        for thread in self.threads.drain(..) {
            thread.join().expect("no thread of the gateway panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.closing.request();
            self.shutdown.request();
        } else {
            self.request_stop();
            self.join();
        }
    }
}

/// A runtime on a thread of its own, until `stop` is requested.
pub(crate) fn background_runtime(stop: Shutdown) -> (tokio::runtime::Handle, JoinHandle<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let handle = runtime.handle().clone();
    (handle, std::thread::spawn(move || runtime.block_on(stop.requested())))
}

/// A client that sends bytes and takes replies apart, but does not understand them.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("the option can be set");
        Self { stream, received: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// The next reply, as it stands on the wire.
    pub(crate) fn reply(&mut self) -> Vec<u8> {
        loop {
            if let Some(length) = skip_reply(&self.received).expect("a reply is well formed") {
                return self.received.drain(..length).collect();
            }
            let mut chunk = [0; 16 * 1024];
            let count = self.stream.read(&mut chunk).expect("the server answers in time");
            assert!(count > 0, "closed behind {:?}", String::from_utf8_lossy(&self.received));
            self.received.extend_from_slice(&chunk[..count]);
        }
    }

    /// True if a whole reply has come; does not wait for one.
    pub(crate) fn has_reply(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("the option can be set");
        let mut chunk = [0; 16 * 1024];
        while let Ok(count @ 1..) = self.stream.read(&mut chunk) {
            self.received.extend_from_slice(&chunk[..count]);
        }
        self.stream.set_nonblocking(false).expect("the option can be set");
        skip_reply(&self.received).expect("a reply is well formed").is_some()
    }

    /// The next reply, or nothing if the connection is closed.
    pub(crate) fn rest_or_reply(&mut self) -> Vec<u8> {
        let mut chunk = [0; 1024];
        match self.stream.read(&mut chunk) {
            Ok(count) => chunk[..count].to_vec(),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Vec::new(),
            Err(error) => panic!("neither answered nor closed: {error}"),
        }
    }

    /// Sends a command given as words and returns its reply as text.
    pub(crate) fn call(&mut self, line: &str) -> String {
        self.send(&command(&line.split_whitespace().collect::<Vec<_>>()));
        String::from_utf8(self.reply()).expect("a test's replies are text")
    }

    /// Gives back the memory that replies were received in.
    pub(crate) fn forget_buffer(&mut self) {
        self.received = std::mem::take(&mut self.received).into_boxed_slice().into_vec();
    }

    /// Everything up to the end of the connection, which must not be a reset.
    pub(crate) fn rest_in_order(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.received);
        self.stream.read_to_end(&mut rest).expect("the connection ends in order");
        rest
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        // A server that closes with unread input resets the connection; that is an end, too.
        let mut rest = std::mem::take(&mut self.received);
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return rest,
                Ok(count) => rest.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return rest,
                Err(error) => panic!("the connection was not closed: {error}"),
            }
        }
    }
}

/// A command in canonical form.
pub(crate) fn command<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = Vec::new();
    keystead_resp::encode::command(&mut bytes, args.iter().map(AsRef::as_ref));
    bytes
}

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        std::thread::yield_now();
    }
}
