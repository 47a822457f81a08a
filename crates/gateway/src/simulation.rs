//! Connections without sockets, for a simulator that carries the bytes itself.
//!
//! Owns: [`Desk`], which does for its connections what `io_thread` and `connection` do: bytes in, one pump for all,
//! bytes out. Never: a rule of its own; everything is done by `pipeline` and behind it. Only there with the feature
//! `simulation`.

use std::sync::Arc;

use keystead_node::Door;
use keystead_types::Clock;
use slab::Slab;

use crate::config::GatewayConfig;
use crate::local::{Local, Shared};
use crate::pipeline::{Pipeline, Turn};
use crate::registry::Ends;
use crate::session::Session;
use crate::waiting::Withdrawal;
use crate::wake::Wake;
use crate::window::Address;

/// The connections of one io thread, and its door.
pub struct Desk {
    door: Box<dyn Door>,
    local: Local,
    connections: Slab<Pipeline>,
}

impl Desk {
    /// A desk without connections. `incarnation` is to differ from start to start.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, incarnation: u64, door: Box<dyn Door>) -> Self {
        let shared = Shared::new(GatewayConfig::default(), clock, incarnation);
        Self { door, local: Local::new(Arc::new(shared), 0, Wake::new()), connections: Slab::new() }
    }

    /// A client has connected; the number of its connection.
    ///
    /// # Panics
    /// If there are more connections than 32 bits can number.
    pub fn connect(&mut self) -> u32 {
        let shared = &self.local.shared;
        let entry = self.connections.vacant_entry();
        let slot = u32::try_from(entry.key()).expect("fewer connections than 32 bits number");
        let place = (Arc::clone(&self.local.inbox), slot);
        let registration = shared.registry.register(Ends::default(), place, self.local.now_s);
        let session = Session::new(registration, &shared.config);
        entry.insert(Pipeline::new(session, &self.local));
        slot
    }

    /// Bytes came from a client. True if [`pump`](Self::pump) is to run.
    pub fn take(&mut self, connection: u32, bytes: &[u8]) -> bool {
        if let Some(pipeline) = self.connections.get_mut(connection as usize) {
            pipeline.input_space(&mut self.local).extend_from_slice(bytes);
            let (door, local) = (&mut *self.door, &mut self.local);
            pipeline.advance(&mut Turn { door, local, slot: connection });
        }
        self.local.unflushed > 0
    }

    /// Passes outcomes to connections and submissions to the node. To be called again while it says so.
    pub fn pump(&mut self) -> bool {
        let mut complete = Vec::new();
        let (connections, local) = (&mut self.connections, &mut self.local);
        self.door.completions(&mut |ticket, outcome| {
            let address = Address::of(ticket);
            let Some(pipeline) = connections.get_mut(address.slot as usize) else { return };
            if pipeline.end_run(address.serial, address.run, outcome, local) {
                complete.push(address.slot);
            }
        });
        if !complete.is_empty() {
            local.moment = local.shared.clock.monotonic_now();
        }
        for slot in complete {
            let Some(pipeline) = self.connections.get_mut(slot as usize) else { continue };
            let (door, local) = (&mut *self.door, &mut self.local);
            pipeline.finish_window(&mut Turn { door, local, slot });
        }
        if std::mem::take(&mut self.local.unflushed) > 0 {
            self.door.flush();
        }
        self.local.unflushed > 0
    }

    /// What is to be sent to clients now.
    pub fn outputs(&mut self, mut each: impl FnMut(u32, &[u8])) {
        for (slot, pipeline) in &mut self.connections {
            let unsent = pipeline.unsent();
            if !unsent.is_empty() {
                let length = unsent.len();
                each(u32::try_from(slot).unwrap_or(u32::MAX), unsent);
                pipeline.mark_sent(length, &mut self.local);
            }
        }
    }

    /// The time of a client that waits is over; nothing if it does not wait. True if [`pump`](Self::pump) is to run.
    pub fn end_wait(&mut self, connection: u32) -> bool {
        if let Some(pipeline) = self.connections.get_mut(connection as usize) {
            let (door, local) = (&mut *self.door, &mut self.local);
            let turn = &mut Turn { door, local, slot: connection };
            pipeline.withdraw_wait(Withdrawal::Timeout, turn);
        }
        self.local.unflushed > 0
    }

    /// A client is gone: takes back what it left at the node. True if [`pump`](Self::pump) is to run.
    pub fn disconnect(&mut self, connection: u32) -> bool {
        if let Some(mut pipeline) = self.connections.try_remove(connection as usize) {
            let (door, local) = (&mut *self.door, &mut self.local);
            pipeline.depart(&mut Turn { door, local, slot: connection });
        }
        self.local.unflushed > 0
    }
}
