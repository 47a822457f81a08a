//! A machine whose whole history is its state: every id ever appended, in order.
//! Owns: [`Ledger`] and its commands. Never: chance or a clock; both come in the context, and are digested.
//!
//! The position of an id in the history is the number the oracle reasons with: a write that was acknowledged at
//! position p must be seen by every read that starts later.

use std::sync::Arc;

use keystead_types::{ApplyContext, UnixMillis};
use parking_lot::Mutex;

use crate::machine::{DumpStep, Machine, Part, Replies};

/// Length of a command: its letter and its id.
pub(super) const COMMAND_BYTES: usize = 9;
const READ: u8 = b'r';
const WRITE: u8 = b'w';
const UPKEEP: u8 = b'u';
/// Every how many milliseconds of the leader's clock the machine asks for upkeep.
const UPKEEP_MS: u64 = 2_000;

pub(super) fn write(id: u64) -> Vec<u8> {
    command(WRITE, id)
}

pub(super) fn read() -> Vec<u8> {
    command(READ, 0)
}

fn command(letter: u8, id: u64) -> Vec<u8> {
    let mut bytes = vec![letter];
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes
}

/// The position in a reply.
pub(super) fn position(reply: &[u8]) -> u64 {
    u64::from_le_bytes(reply[..8].try_into().expect("a reply is a position"))
}

/// The state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    pub(super) ids: Vec<u64>,
    /// Digest of every command with its context.
    pub(super) chain: u64,
    pub(super) index: u64,
    pub(super) now: u64,
}

impl History {
    fn mix(&mut self, value: u64) {
        self.chain = (self.chain ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn dump(&self) -> Vec<u8> {
        let head = [self.chain, self.index, self.now];
        head.iter().chain(&self.ids).flat_map(|number| number.to_le_bytes()).collect()
    }

    pub(super) fn load(bytes: &[u8]) -> Self {
        let numbers: Vec<u64> = bytes.chunks_exact(8).map(position).collect();
        Self { chain: numbers[0], index: numbers[1], now: numbers[2], ids: numbers[3..].to_vec() }
    }
}

/// What the test sees of a machine while a worker has it.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The digest after each index applied since the test last looked.
    pub(super) applied: Vec<(u64, u64)>,
    /// Number of ids in the state.
    pub(super) position: u64,
    /// Ids applied since the test last looked.
    pub(super) ids: Vec<u64>,
    /// Panic when the next entry is applied.
    pub(super) is_doomed: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    state: History,
    window: Arc<Mutex<Window>>,
    /// The dump still to be written. The state at its beginning: later writes do not show in it.
    dump: Option<Vec<u8>>,
}

impl Ledger {
    pub(super) fn new(state: History, window: Arc<Mutex<Window>>) -> Self {
        window.lock().position = state.ids.len() as u64;
        Self { state, window, dump: None }
    }

    pub(super) fn state(&self) -> &History {
        &self.state
    }

    fn reply(&self, parts: &[Part], replies: &mut Replies) {
        for _ in parts {
            replies.bytes.extend_from_slice(&(self.state.ids.len() as u64).to_le_bytes());
            replies.ends.push(replies.bytes.len());
        }
    }
}

impl Machine for Ledger {
    type Loaded = History;

    fn apply(
        &mut self,
        context: &ApplyContext,
        commands: &[u8],
        parts: &[Part],
        replies: &mut Replies,
    ) {
        let mut window = self.window.lock();
        assert!(
            !std::mem::take(&mut window.is_doomed),
            "injected: apply fails at {}",
            context.index
        );
        assert!(
            context.now.0 >= self.state.now,
            "INV-A1: {} after {}",
            context.now,
            self.state.now
        );
        assert!(
            context.index.0 >= self.state.index,
            "INV-R5: {} after {}",
            context.index,
            self.state.index
        );
        if context.index.0 != self.state.index {
            self.state.index = context.index.0;
            self.state.now = context.now.0;
            self.state.mix(context.index.0);
            self.state.mix(context.now.0);
            self.state.mix(context.seed);
            window.applied.push((context.index.0, 0));
        }
        for command in commands.chunks_exact(COMMAND_BYTES) {
            let id = position(&command[1..]);
            self.state.mix(id ^ u64::from(command[0]));
            if command[0] == WRITE {
                self.state.ids.push(id);
                window.ids.push(id);
            }
        }
        if let Some(last) = window.applied.last_mut() {
            last.1 = self.state.chain;
        }
        window.position = self.state.ids.len() as u64;
        drop(window);
        self.reply(parts, replies);
    }

    fn read(&mut self, _now: UnixMillis, commands: &[u8], parts: &[Part], replies: &mut Replies) {
        assert!(
            commands.iter().step_by(COMMAND_BYTES).all(|letter| *letter == READ),
            "a read only reads"
        );
        assert!(!std::mem::take(&mut self.window.lock().is_doomed), "injected: read fails");
        self.reply(parts, replies);
    }

    fn begin_dump(&mut self) {
        self.dump = Some(self.state.dump());
    }

    fn dump_step(&mut self, out: &mut Vec<u8>, bytes_target: usize) -> DumpStep {
        let dump = self.dump.as_mut().expect("a dump is stepped only while it runs");
        let rest = dump.split_off(dump.len().min(bytes_target));
        out.append(dump);
        if rest.is_empty() {
            self.dump = None;
            return DumpStep::Done;
        }
        *dump = rest;
        DumpStep::More
    }

    fn abort_dump(&mut self) {
        self.dump = None;
    }

    fn install(&mut self, state: History) {
        let mut window = self.window.lock();
        window.applied.push((state.index, state.chain));
        window.position = state.ids.len() as u64;
        drop(window);
        self.state = state;
    }

    fn digest(&self) -> u128 {
        u128::from(self.state.chain)
    }

    fn upkeep(&mut self, now: UnixMillis, commands: &mut Vec<u8>) {
        if now.0 >= self.state.now + UPKEEP_MS {
            commands.extend_from_slice(&command(UPKEEP, 0));
        }
    }
}
