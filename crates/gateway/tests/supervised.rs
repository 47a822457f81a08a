//! An io thread under a supervisor: it fails on purpose, comes back, and only its connections notice.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use keystead_gateway::{Gateway, GatewayConfig};
use keystead_supervisor::{
    ChildSpec, ChildState, FaultKind, Faults, Shutdown, Strategy, Supervisor, SupervisorSpec,
};
use keystead_types::time::SystemClock;
use support::{Client, DEADLINE, LocalNode, background_runtime, wait_until};

#[test]
fn a_failed_io_thread_comes_back() {
    let stop = Shutdown::new();
    let (runtime, thread) = background_runtime(stop.clone());
    let config = GatewayConfig { io_threads: 2, ..GatewayConfig::default() };
    let gateway = Gateway::new(config, Arc::new(SystemClock::new()), 1);
    let node = LocalNode::new(2);
    let listener = Gateway::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");

    let mut spec = SupervisorSpec::new("gateway", Strategy::OneForOne);
    for position in 0..gateway.io_thread_count() {
        let (gateway, node) = (gateway.clone(), Arc::clone(&node));
        let thread = ChildSpec::thread(format!("io-{position}"), move |ctx| {
            gateway.run_io_child(position, &ctx, |wake| node.door(wake)).map_err(Into::into)
        });
        spec = spec.child(thread.ready_within(DEADLINE));
    }
    let accepting = gateway.clone();
    spec = spec.child(ChildSpec::task("listener", move |ctx| {
        let (gateway, listener) = (accepting.clone(), listener.try_clone());
        async move {
            ctx.ready();
            gateway.accept(listener?, &ctx.shutdown_signal()).await.map_err(Into::into)
        }
    }));
    let faults = Faults::enabled();
    let tree = Supervisor::start_with_faults(spec, &runtime, faults.clone());
    let tree = tree.expect("the spec is right");
    wait_until("the gateway serves", || {
        let root = tree.tree().snapshot();
        root.children.iter().all(|child| matches!(child.state, ChildState::Running))
    });

    for (restarts, kind) in [(1, FaultKind::Panic), (2, FaultKind::Error)] {
        // Sockets are dealt in turn, so of two neighbours one is served by each thread.
        let (mut one, mut two) = (Client::connect(address), Client::connect(address));
        assert_eq!(one.call("SET a 1"), "+OK\r\n");
        assert_eq!(two.call("GET a"), "$1\r\n1\r\n");
        faults.arm("gateway/io-0", "serve", kind, 1).expect("faults are enabled");
        assert_eq!(one.rest(), b"");
        // Until the thread is back, new clients go to the other one.
        for _ in 0..2 {
            assert_eq!(Client::connect(address).call("PING"), "+PONG\r\n");
        }
        assert_eq!(two.call("GET a"), "$1\r\n1\r\n");
        wait_until("the thread is back", || {
            let root = tree.tree().snapshot();
            let thread = root.children.first().expect("the first child is io-0");
            thread.restarts == restarts && matches!(thread.state, ChildState::Running)
        });
    }
    runtime.block_on(tree.stop());
    stop.request();
    thread.join().expect("the runtime's thread ends");
}
