//! MEMORY: what the server's memory is used for.
//! Owns: the form of these replies. Never: counts; the figures are the node's (`node::MemoryStatus`).
//!
//! Names are those of Redis where the meaning is the same; `log`, `snapshots` and `unaccounted.bytes` are of this
//! server. `total.allocated` is all that is counted, the program and what an idle node needs included
//! (`startup.allocated`). What the system sees beyond it is `unaccounted.bytes`: half-filled pages that the allocator
//! keeps for each size and thread, a few megabytes under writes, and buffers of busy connections.

use keystead_node::MemoryStatus;
use keystead_store::command::SessionCommand;

use super::info::ratio;
use super::{Answer, SessionCall};
use crate::dispatch::Verdict;

/// Resident bytes below which no proportion is worth a word.
const SMALL_BYTES: u64 = 64 * 1024 * 1024;

impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn memory(&mut self, kind: SessionCommand) -> Answer<'a> {
        use SessionCommand as Cmd;
        match kind {
            Cmd::MemoryDoctor => {
                let advice = advice(&self.turn.door.status().memory);
                self.reply().verbatim(&advice);
            }
            Cmd::MemoryMallocStats => self.reply().verbatim(
                "The allocator keeps its own figures: start the server with MIMALLOC_SHOW_STATS=1 and it \
                 prints them when it ends. MEMORY STATS says what is counted here.",
            ),
            Cmd::MemoryPurge => self.reply().ok(),
            Cmd::MemoryStats => self.memory_stats(),
            _ => return self.help("memory"),
        }
        Ok(Verdict::Next)
    }

    fn memory_stats(&mut self) {
        let status = self.turn.door.status();
        let memory = &status.memory;
        let per_key = memory.counted().checked_div(status.keys_held).unwrap_or(0);
        let figures = [
            ("peak.allocated", memory.resident_peak),
            ("total.allocated", memory.used()),
            ("startup.allocated", memory.startup),
            ("log", memory.log),
            ("snapshots", memory.dumps),
            ("overhead.hashtable.main", memory.tables),
            ("overhead.hashtable.expires", memory.expiries),
            ("overhead.total", memory.used() - memory.entries),
            ("keys.count", status.keys_held),
            ("keys.bytes-per-key", per_key),
            ("dataset.bytes", memory.entries),
            ("allocator.resident", memory.resident),
        ];
        let unaccounted = i128::from(memory.resident) - i128::from(memory.used());
        let mut reply = self.reply();
        reply.map(figures.len() + 2);
        for (name, figure) in figures {
            reply.bulk(name.as_bytes());
            reply.integer(i64::try_from(figure).unwrap_or(i64::MAX));
        }
        reply.bulk(b"unaccounted.bytes");
        reply.integer(i64::try_from(unaccounted).unwrap_or(i64::MAX));
        reply.bulk(b"fragmentation");
        reply.double_text(&ratio(memory.resident, memory.used()));
    }
}

/// What is unusual.
fn advice(memory: &MemoryStatus) -> String {
    let unaccounted = memory.resident.saturating_sub(memory.used());
    let mut advice = String::new();
    if memory.resident > SMALL_BYTES && unaccounted > memory.resident / 4 {
        advice.push_str(
            "More than a quarter of the resident memory is none of what is counted. After many keys were removed \
             that is free memory in partly filled pages, which new keys will fill; a restart gives it back at once. ",
        );
    }
    if memory.resident > SMALL_BYTES && memory.log > memory.resident / 4 {
        advice.push_str(
            "More than a quarter of the resident memory is log, kept for replicas that lag: INFO raft says which. ",
        );
    }
    if advice.is_empty() {
        advice.push_str("Nothing about the use of memory is unusual.");
    }
    advice.trim_end().to_owned()
}
