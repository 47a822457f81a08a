//! Watches that are over, until their shards know.
//!
//! Owns: [`Releases`], one per io thread. Never: a connection; whoever watched may be gone already.
//! A watch is part of its shard's state, where it would stay for an hour and count against the bound on
//! watches. So its release is sent until the shard has taken it: at once, and after a refusal (no
//! leader, a full queue) with every round of `io_thread.rs`' housekeeping. Sending it twice does no
//! harm, since a watch's number is never used again.

use std::collections::BTreeMap;

use keystead_node::tracking::Origin;
use keystead_node::{Access, Door, Outcome, Run, internal};
use keystead_resp::{Protocol, encode};
use keystead_types::DatabaseId;

use crate::local::Local;
use crate::transaction::Watch;
use crate::window::{Address, NO_CONNECTION};

/// Most releases that wait on one thread; past it, watches are left to grow too old in their shards.
const RELEASES_MAX: usize = 4096;

/// The releases that no shard has taken yet, by the number they were sent under.
#[derive(Debug, Default)]
pub(crate) struct Releases {
    unconfirmed: BTreeMap<u32, Release>,
}

#[derive(Debug)]
struct Release {
    watch: Watch,
    is_in_flight: bool,
}

impl Releases {
    /// Notes how a release ended: a watch that its shard has ended is done with.
    pub(crate) fn end(&mut self, serial: u32, outcome: &Outcome<'_>) {
        match outcome {
            Outcome::Done(_) => drop(self.unconfirmed.remove(&serial)),
            Outcome::Refused(_) | Outcome::Unknown(_) => {
                if let Some(release) = self.unconfirmed.get_mut(&serial) {
                    release.is_in_flight = false;
                }
            }
        }
    }
}

impl Local {
    /// Has `watch` ended in its shard. Nobody waits for it.
    pub(crate) fn release(&mut self, watch: Watch, door: &mut dyn Door) {
        let serial = self.next_serial();
        if self.releases.unconfirmed.len() < RELEASES_MAX {
            let release = Release { watch, is_in_flight: true };
            self.releases.unconfirmed.insert(serial, release);
        }
        submit(serial, watch, door);
        self.unflushed += 1;
    }

    /// Sends again what was refused.
    pub(crate) fn release_again(&mut self, door: &mut dyn Door) {
        for (serial, release) in &mut self.releases.unconfirmed {
            if !release.is_in_flight {
                release.is_in_flight = true;
                submit(*serial, release.watch, door);
                self.unflushed += 1;
            }
        }
    }
}

fn submit(serial: u32, watch: Watch, door: &mut dyn Door) {
    let id = watch.id.to_string();
    let mut commands = Vec::new();
    encode::command(&mut commands, [internal::UNWATCH, id.as_bytes()]);
    door.submit(Run {
        ticket: Address { serial, slot: NO_CONNECTION, run: 0 }.ticket(),
        shard: watch.shard,
        database: DatabaseId::FIRST,
        commands: &commands,
        protocol: Protocol::Resp2,
        access: Access::Write,
        origin: Origin::NOBODY,
    });
}
