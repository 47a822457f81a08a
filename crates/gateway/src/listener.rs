//! Accepting clients and dealing them to the io threads.
//!
//! Owns: [`Gateway`], the limit of connections, the queue of sockets on their way to a thread.
//! Never: a byte of the protocol but the refusal at the limit. The supervisor of the product runs
//! [`Gateway::run_io_thread`] on one thread per io thread, then [`Gateway::accept`] as a task.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use keystead_node::Door;
use keystead_resp::{Protocol, ReplyWriter};
use keystead_supervisor::{ChildContext, InjectedFault, Nursery, Shutdown};
use keystead_types::Clock;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;

use crate::config::GatewayConfig;
use crate::io_thread::{IoThread, unless_stopped};
use crate::local::Shared;
use crate::registry::{Ends, Permit};
use crate::reply::Failure;
use crate::wake::Wake;
use crate::window::THREAD_CONNECTIONS_MAX;

/// Clients that may wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;
/// Pause after the system refused a socket (too many open files), so that a full table is not
/// asked again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Silence after which a client is asked whether it is still there (as Redis: `tcp-keepalive`).
pub(crate) const KEEPALIVE_TIME: Duration = Duration::from_secs(300);
/// Sockets that may become ready between two looks of the runtime at timers and at other threads.
const EVENT_INTERVAL: u32 = 256;

/// The Redis protocol server of one node. Clones are the same gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    inboxes: Arc<[Inbox]>,
    next_inbox: Arc<AtomicUsize>,
    /// Tells all io threads at once that no further client will be dealt to them.
    last_call: Arc<watch::Sender<()>>,
}

/// Where a test can make an io thread fail.
pub const FAULT_POINT: &str = "serve";

/// What makes an io thread fail on purpose; for most, nothing ever does.
type Fault = Pin<Box<dyn Future<Output = InjectedFault>>>;

/// Sockets on their way to an io thread; bounded by the limit of connections.
#[derive(Debug, Default)]
struct Inbox {
    arrived: Mutex<VecDeque<Arrival>>,
    bell: Notify,
    /// True while the thread serves.
    is_open: AtomicBool,
}

/// Says that a thread serves, for as long as it does.
struct Serving<'a>(&'a Inbox);

impl<'a> Serving<'a> {
    fn begin(inbox: &'a Inbox) -> Self {
        inbox.is_open.store(true, Ordering::Release);
        Self(inbox)
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.is_open.store(false, Ordering::Release);
        // Whoever waits here would wait for a thread that may never come back.
        self.0.arrived.lock().clear();
    }
}

#[derive(Debug)]
struct Arrival {
    stream: std::net::TcpStream,
    ends: Ends,
    permit: Permit,
}

/// Why the gateway, or one of its threads, does not serve.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen for clients on {address}: {source}; choose another address with --listen, or \
         stop what uses this one"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The thread's runtime cannot be made.
    #[error("cannot start the event loop of io thread {position}: {source}")]
    Runtime {
        /// Which thread.
        position: usize,
        /// What the system says.
        source: io::Error,
    },
    /// The part of the thread that all its connections depend on panicked.
    #[error("the pump of io thread {position} failed; its connections were closed")]
    PumpFailed {
        /// Which thread.
        position: usize,
    },
    /// A test armed the thread's fault point.
    #[error("{fault}")]
    Injected {
        /// The fault.
        fault: InjectedFault,
    },
    /// There is no io thread of that number.
    #[error("there is no io thread {position}, only {count}")]
    NoSuchThread {
        /// Which was asked for.
        position: usize,
        /// How many there are.
        count: usize,
    },
}

impl Gateway {
    /// A gateway that serves nobody yet. `incarnation` is to differ from start to start.
    #[must_use]
    pub fn new(config: GatewayConfig, clock: Arc<dyn Clock>, incarnation: u64) -> Self {
        let inboxes = (0..config.io_threads.max(1)).map(|_| Inbox::default()).collect();
        let shared = Shared::new(config, clock, incarnation);
        Self {
            shared: Arc::new(shared),
            inboxes,
            next_inbox: Arc::default(),
            last_call: Arc::new(watch::Sender::new(())),
        }
    }

    /// Number of io threads to run.
    #[must_use]
    pub fn io_thread_count(&self) -> usize {
        self.inboxes.len()
    }

    /// Connections open now.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.shared.registry.len()
    }

    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`GatewayError::Listen`] if the system refuses.
    pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener, GatewayError> {
        let listen = || {
            let domain = socket2::Domain::for_address(address);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(std::net::TcpListener::from(socket))
        };
        listen().map_err(|source| GatewayError::Listen { address, source })
    }

    /// Accepts clients and deals them to the io threads in turn, until a stop is requested. Then serves
    /// those that the system has accepted already, closes the listener, and has all io threads drain.
    ///
    /// # Errors
    /// [`GatewayError::Listen`] if the listener cannot be used with the runtime.
    pub async fn accept(
        &self,
        listener: std::net::TcpListener,
        shutdown: &Shutdown,
    ) -> Result<(), GatewayError> {
        let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let listener = TcpListener::from_std(listener)
            .map_err(|source| GatewayError::Listen { address, source })?;
        unless_stopped(shutdown, self.accept_all(&listener)).await;
        let listener =
            listener.into_std().map_err(|source| GatewayError::Listen { address, source })?;
        self.admit_waiting(&listener);
        drop(listener);
        self.last_call.send_replace(());
        Ok(())
    }

    /// Admits clients whose connections stand already; closing the listener would reset them.
    fn admit_waiting(&self, listener: &std::net::TcpListener) {
        for _ in 0..BACKLOG {
            // The runtime's view may be older than the queue, so the system is asked.
            let Ok((stream, peer)) = listener.accept() else { return };
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            match stream {
                Ok(stream) => self.admit(stream, peer),
                Err(error) => tracing::warn!(%error, "cannot watch a client's socket; closed"),
            }
        }
    }

    async fn accept_all(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Deals a client to a thread, or turns it away.
    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let connections_max = self.shared.live.connections_max();
        let Some(permit) = self.shared.registry.permit(connections_max) else {
            self.shared.stats.rejected.fetch_add(1, Ordering::Relaxed);
            let mut refusal = Vec::new();
            ReplyWriter::new(&mut refusal, Protocol::Resp2).error(Failure::TooManyClients);
            // Whoever cannot even take these few bytes does without them.
            stream.try_write(&refusal).ok();
            return;
        };
        let ends = Ends { peer: Some(peer), local: stream.local_addr().ok() };
        let Ok(stream) = prepare(stream) else { return };
        let inbox = self.next_inbox();
        inbox.arrived.lock().push_back(Arrival { stream, ends, permit });
        inbox.bell.notify_one();
    }

    /// The next thread in turn that serves; if none does, the next in turn gets the client when it does.
    fn next_inbox(&self) -> &Inbox {
        let first = self.next_inbox.fetch_add(1, Ordering::Relaxed) % self.inboxes.len();
        let in_turn = || self.inboxes[first..].iter().chain(&self.inboxes[..first]);
        let open = in_turn().find(|inbox| inbox.is_open.load(Ordering::Acquire));
        open.unwrap_or(&self.inboxes[first])
    }

    /// Serves connections on the calling thread as a supervised child: until the supervisor asks for a
    /// stop, then drains them. A test can make it fail at [`FAULT_POINT`].
    ///
    /// `make_door` is called once, with what wakes this thread. Blocks. While no thread serves, clients
    /// that connect wait for the next that does.
    ///
    /// # Errors
    /// [`GatewayError`]; all connections of the thread are closed then.
    ///
    /// # Panics
    /// Only if a panic is armed at the fault point.
    pub fn run_io_child<D: Door + 'static>(
        &self,
        position: usize,
        child: &ChildContext,
        make_door: impl FnOnce(Wake) -> D,
    ) -> Result<(), GatewayError> {
        let failing = child.clone();
        let fault: Fault = Box::pin(async move { failing.fault(FAULT_POINT).await });
        self.run(position, (&child.shutdown_signal(), fault), || child.ready(), make_door)
    }

    /// As [`run_io_child`](Self::run_io_child), for a thread without a supervisor: `ready` is called
    /// once it serves.
    ///
    /// # Errors
    /// [`GatewayError`]; all connections of the thread are closed then.
    pub fn run_io_thread<D: Door + 'static>(
        &self,
        position: usize,
        shutdown: &Shutdown,
        ready: impl FnOnce(),
        make_door: impl FnOnce(Wake) -> D,
    ) -> Result<(), GatewayError> {
        self.run(position, (shutdown, Box::pin(std::future::pending())), ready, make_door)
    }

    fn run<D: Door + 'static>(
        &self,
        position: usize,
        (shutdown, fault): (&Shutdown, Fault),
        ready: impl FnOnce(),
        make_door: impl FnOnce(Wake) -> D,
    ) -> Result<(), GatewayError> {
        let count = self.inboxes.len();
        let inbox =
            self.inboxes.get(position).ok_or(GatewayError::NoSuchThread { position, count })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build()
            .map_err(|source| GatewayError::Runtime { position, source })?;
        let wake = Wake::new();
        let door = Box::new(make_door(wake.clone()));
        let thread = IoThread::new(Arc::clone(&self.shared), position, door, &wake);
        let tasks = LocalSet::new();
        let stop = Stop { shutdown, last_call: self.last_call.subscribe() };
        let serving = serve(&thread, inbox, position, stop, ready);
        tasks.block_on(&runtime, async {
            tokio::select! {
                ended = serving => ended,
                fault = fault => Err(GatewayError::Injected { fault }),
            }
        })
    }
}

/// Sets a client's socket up. A reply is written in one piece, so waiting for more would only delay it;
/// clients that vanished without a word are found by keepalive.
fn prepare(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_TIME);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    stream.into_std()
}

/// Runs a thread's tasks until a stop is requested or its pump fails.
async fn serve(
    thread: &Rc<IoThread<TcpStream>>,
    inbox: &Inbox,
    position: usize,
    mut stop: Stop<'_>,
    ready: impl FnOnce(),
) -> Result<(), GatewayError> {
    let services = Nursery::new(format!("io-{position}-services"), 3);
    let clients = Nursery::new(format!("io-{position}-clients"), THREAD_CONNECTIONS_MAX);
    let pump_ended = Rc::new(Notify::new());
    let pump = {
        let (thread, bell) = (Rc::clone(thread), Bell(Rc::clone(&pump_ended)));
        async move {
            let _bell = bell;
            thread.pump().await;
        }
    };
    let housekeeping = {
        let thread = Rc::clone(thread);
        async move { thread.keep_house().await }
    };
    let pauses = {
        let thread = Rc::clone(thread);
        async move { thread.end_pauses().await }
    };
    let failed = |_| GatewayError::PumpFailed { position };
    services.spawn_local(pump).map_err(failed)?;
    services.spawn_local(housekeeping).map_err(failed)?;
    services.spawn_local(pauses).map_err(failed)?;
    // ORDER: declared behind the connections and so dropped before them: no client is dealt to a thread
    // that closes its connections already.
    let open = Serving::begin(inbox);
    ready();

    tokio::select! {
        () = stop.draining() => {}
        () = pump_ended.notified() => return Err(GatewayError::PumpFailed { position }),
        () = adopt_all(thread, inbox, &clients) => {}
    }
    adopt_waiting(thread, inbox, &clients);
    drop(open);
    thread.drain(&clients).await;
    // A child that ends before it is asked to would be started again.
    stop.shutdown.requested().await;
    Ok(())
}

/// What ends an io thread.
struct Stop<'a> {
    shutdown: &'a Shutdown,
    last_call: watch::Receiver<()>,
}

impl Stop<'_> {
    /// Returns once the thread's connections are to end: its own stop is requested, or the listener was
    /// closed, which the threads hear together; their supervisor stops them one after the other.
    async fn draining(&mut self) {
        tokio::select! {
            () = self.shutdown.requested() => {}
            // An error says that the gateway is gone, and with it the listener.
            _ = self.last_call.changed() => {}
        }
    }
}

/// Takes in the sockets that the listener deals to this thread; never returns.
async fn adopt_all(thread: &Rc<IoThread<TcpStream>>, inbox: &Inbox, clients: &Nursery) {
    loop {
        adopt_waiting(thread, inbox, clients);
        inbox.bell.notified().await;
    }
}

/// Takes in the sockets that have arrived.
fn adopt_waiting(thread: &Rc<IoThread<TcpStream>>, inbox: &Inbox, clients: &Nursery) {
    loop {
        // Taken in a statement of its own, so that the lock is not held while adopting.
        let arrival = inbox.arrived.lock().pop_front();
        let Some(Arrival { stream, ends, permit }) = arrival else { return };
        match TcpStream::from_std(stream) {
            Ok(stream) => thread.adopt(stream, ends, permit, clients),
            Err(error) => tracing::warn!(%error, "cannot watch a client's socket; closed"),
        }
    }
}

/// Rings when it is dropped: however its task ends.
struct Bell(Rc<Notify>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
