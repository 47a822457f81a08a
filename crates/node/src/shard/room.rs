//! Room for what a shard is about to take in: what it lets go of, and what it refuses if it can let go of nothing.
//!
//! Owns: [`Room`], which keys are on their way out of one shard. Never: removes one; that stands in the log, and every replica
//! does it. Only the leader chooses. Called by `shard.rs`.

use std::collections::VecDeque;

use keystead_replication::Part;
use keystead_resp::{Args, RunDecoder, Span, encode};
use keystead_store::command::{self, Group, Handler, flags};
use keystead_store::{AgeCursor, Choice, Policy, Store};
use keystead_types::UnixMillis;
use parking_lot::RwLock;

use crate::eviction::Eviction;
use crate::internal;

use super::next_command;

/// Milliseconds after which what was chosen and is still there is chosen again: its entry was lost with a change of leader.
const DOOMED_MS: u64 = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Bytes of what was proposed to go and is still there, and when, oldest first.
    doomed: VecDeque<(u64, UnixMillis)>,
    /// True if room was looked for in vain.
    is_barren: bool,
    /// How far the keys were looked at for what time does to them, and when.
    aged: (AgeCursor, UnixMillis),
}

impl Room {
    /// True if there is too little memory, and nothing to let go of.
    pub(super) fn is_lacking(&self, eviction: &Eviction) -> bool {
        eviction.excess() > 0 && (self.is_barren || eviction.policy() == Policy::NoEviction)
    }

    /// An entry is about to be applied; how many evictions there were before.
    pub(super) fn begin(
        &self,
        store: &mut Store,
        eviction: Option<&Eviction>,
        now: UnixMillis,
    ) -> u64 {
        if let Some(policy) = eviction.map(Eviction::policy)
            && store.wants_note(policy, now)
        {
            store.note_uses(policy, now);
        }
        store.evictions()
    }

    /// An entry was applied: what it removed is not on its way any more.
    pub(super) fn end(&mut self, store: &Store, eviction: Option<&Eviction>, before: u64) {
        for _ in before..store.evictions() {
            if let (Some((bytes, _)), Some(eviction)) = (self.doomed.pop_front(), eviction) {
                eviction.freed(bytes);
            }
        }
    }

    /// Appends what removes as much as this shard has too much, if it has.
    pub(super) fn make(
        &mut self,
        store: &RwLock<Store>,
        eviction: &Eviction,
        now: UnixMillis,
        commands: &mut Vec<u8>,
    ) {
        if eviction.excess() == 0 {
            self.is_barren = false;
            return;
        }
        let limit = eviction.limit();
        if limit.policy == Policy::NoEviction {
            return;
        }
        self.doomed.retain(|(_, at)| now.0 < at.0.saturating_add(DOOMED_MS));
        if !self.doomed.is_empty() {
            // The same keys would be chosen again.
            return;
        }
        let store = store.read();
        self.is_barren = true;
        for (database, held) in store.held_by_database() {
            let choice = Choice {
                database,
                policy: limit.policy,
                samples: usize::from(limit.samples),
                bytes: if held > 0 { eviction.share_of(held) } else { 0 },
                keys_max: internal::EVICT_KEYS_MAX,
            };
            let mut keys: Vec<Vec<u8>> = Vec::new();
            let freed = store.victims(now, &choice, |key| keys.push(key.to_vec()));
            if keys.is_empty() {
                continue;
            }
            self.is_barren = false;
            let number = database.0.to_string();
            let mut words = vec![internal::EVICT, number.as_bytes()];
            words.extend(keys.iter().map(Vec::as_slice));
            encode::command(commands, words);
            self.doomed.push_back((freed, now));
        }
    }

    /// Does to the next few keys what time does to them.
    pub(super) fn age(&mut self, store: &RwLock<Store>, eviction: &Eviction, now: UnixMillis) {
        let policy = eviction.policy();
        let (cursor, at) = self.aged;
        let wants_note = {
            let store = store.read();
            self.aged = (store.age_keys(now, cursor, now.0.saturating_sub(at.0)), now);
            store.wants_note(policy, now)
        };
        if wants_note {
            store.write().note_uses(policy, now);
        }
    }
}

/// Puts in place of every command that needs memory one that says that there is none.
pub(super) fn refuse(commands: &mut Vec<u8>, parts: &mut [Part], spans: &mut Vec<Span>) {
    let mut out = Vec::with_capacity(commands.len());
    let mut rest = commands.as_slice();
    for part in parts {
        let (own, behind) = rest.split_at(part.bytes as usize);
        rest = behind;
        let before = out.len();
        refuse_in(own, spans, &mut out);
        part.bytes = u32::try_from(out.len() - before)
            .expect("what is refused is shorter than what it stands for, or a few bytes");
    }
    *commands = out;
}

/// The same in one part. A transaction that needs memory anywhere is refused whole, and its watches end. What a script needs is
/// known when it runs: it is told to take none.
fn refuse_in(own: &[u8], spans: &mut Vec<Span>, out: &mut Vec<u8>) {
    let mut run = RunDecoder::new(own);
    let (mut start, mut multi, mut is_refused, mut is_script) = (0, None, false, false);
    while let Some(args) = next_command(&mut run, spans) {
        let name = &args[0];
        if name == internal::MULTI {
            (multi, is_refused, is_script) = (Some(start), false, false);
        } else if name == internal::EXEC {
            let from = multi.take().unwrap_or(start);
            if std::mem::take(&mut is_refused) {
                let words = [internal::OUT_OF_MEMORY].into_iter().chain(args.iter());
                encode::command(out, words.collect::<Vec<_>>());
            } else if std::mem::take(&mut is_script) {
                without_memory(&own[from..run.offset()], out);
            } else {
                out.extend_from_slice(&own[from..run.offset()]);
            }
        } else if multi.is_some() {
            is_refused |= needs_memory(args);
            is_script |= may_need_memory(args);
        } else if needs_memory(args) {
            encode::command(out, [internal::OUT_OF_MEMORY]);
        } else if may_need_memory(args) {
            without_memory(&own[start..run.offset()], out);
        } else {
            out.extend_from_slice(&own[start..run.offset()]);
        }
        start = run.offset();
    }
}

/// A command, or a transaction, whose scripts may take no memory.
fn without_memory(commands: &[u8], out: &mut Vec<u8>) {
    encode::command(out, [internal::FULL, b"1"]);
    out.extend_from_slice(commands);
    encode::command(out, [internal::FULL, b"0"]);
}

/// True for a script that may write.
fn may_need_memory(args: Args<'_>) -> bool {
    command::resolve(args)
        .is_ok_and(|row| row.group == Group::Scripting && matches!(row.handler, Handler::Write(_)))
}

fn needs_memory(args: Args<'_>) -> bool {
    let args = if &args[0] == internal::AWAIT { args.from(internal::AWAIT_WORDS) } else { args };
    command::resolve(args).is_ok_and(|row| row.flags & flags::DENYOOM != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(lines: &[&str]) -> String {
        let mut commands = Vec::new();
        for line in lines {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            encode::command(&mut commands, words);
        }
        let bytes = u32::try_from(commands.len()).unwrap();
        let mut parts = [Part { ticket: 1, bytes, form: 2 }];
        refuse(&mut commands, &mut parts, &mut Vec::new());
        assert_eq!(parts[0].bytes as usize, commands.len());
        let (mut run, mut spans, mut left) = (RunDecoder::new(&commands), Vec::new(), Vec::new());
        while let Some(args) = next_command(&mut run, &mut spans) {
            let words: Vec<_> = args.iter().map(String::from_utf8_lossy).collect();
            left.push(words.join(" "));
        }
        left.join("; ")
    }

    #[test]
    fn scripts_are_told_to_take_none() {
        assert_eq!(
            refused(&["EVAL s 0", "EVAL_RO s 0", "SET a 1"]),
            "KEYSTEAD.FULL 1; EVAL s 0; KEYSTEAD.FULL 0; EVAL_RO s 0; KEYSTEAD.OOM"
        );
        assert_eq!(
            refused(&["MULTI", "DEL a", "FCALL f 0", "EXEC 7", "DEL c"]),
            "KEYSTEAD.FULL 1; MULTI; DEL a; FCALL f 0; EXEC 7; KEYSTEAD.FULL 0; DEL c"
        );
        assert_eq!(refused(&["MULTI", "EVAL s 0", "SET a 1", "EXEC"]), "KEYSTEAD.OOM EXEC");
    }

    #[test]
    fn only_what_needs_memory_is_refused() {
        assert_eq!(
            refused(&["SET a 1", "DEL a", "GET a", "INCR a", "NOSUCH", "SET"]),
            "KEYSTEAD.OOM; DEL a; GET a; KEYSTEAD.OOM; NOSUCH; SET"
        );
        let pop = "KEYSTEAD.AWAIT 1 2 3 2 BLPOP a 0";
        let moved = "KEYSTEAD.AWAIT 1 2 3 2 BLMOVE a b LEFT LEFT 0";
        assert_eq!(refused(&[pop, moved]), format!("{pop}; KEYSTEAD.OOM"));
        assert_eq!(refused(&["KEYSTEAD.AWAIT 1 2 3 2"]), "KEYSTEAD.AWAIT 1 2 3 2");
        assert_eq!(refused(&["MULTI", "DEL a", "EXEC 7"]), "MULTI; DEL a; EXEC 7");
        assert_eq!(
            refused(&["MULTI", "DEL a", "SET b 1", "EXEC 7", "DEL c"]),
            "KEYSTEAD.OOM EXEC 7; DEL c"
        );
    }
}
