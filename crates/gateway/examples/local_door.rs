//! The gateway over plain stores, without replication: for measuring what the gateway itself costs.
//!
//! `cargo run --release -p keystead-gateway --example local_door -- [PORT [SHARDS [IO_THREADS]]]`

#![expect(clippy::print_stdout, reason = "an example talks to the person who started it")]
#![expect(
    clippy::disallowed_methods,
    reason = "an example without a supervisor starts its own threads"
)]

use std::net::SocketAddr;
use std::sync::Arc;

use keystead_gateway::{Gateway, GatewayConfig};
use keystead_supervisor::Shutdown;
use keystead_types::Clock;

#[path = "../tests/support/local_door.rs"]
#[expect(dead_code, reason = "tests use the rest of it")]
mod local_door;

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u32>().expect("a number"));
    let port = u16::try_from(args.next().unwrap_or(7400)).expect("a port");
    let shards = args.next().unwrap_or(1);
    let io_threads = args.next().unwrap_or(1) as usize;

    let config = GatewayConfig { io_threads, ..GatewayConfig::default() };
    let node = local_door::LocalNode::new(shards);
    let gateway = Gateway::new(config, Arc::clone(&node.clock) as Arc<dyn Clock>, 1);
    let shutdown = Shutdown::new();
    for position in 0..io_threads {
        let (gateway, node, shutdown) = (gateway.clone(), Arc::clone(&node), shutdown.clone());
        std::thread::spawn(move || {
            gateway.run_io_thread(position, &shutdown, || {}, |wake| node.door(wake))
        });
    }
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = Gateway::bind(address).expect("the port is free");
    println!("listening on {address}, {shards} shards, {io_threads} io threads");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let accepting = gateway.accept(listener, &shutdown);
    runtime.expect("a runtime").block_on(accepting).expect("accepting goes on");
}
