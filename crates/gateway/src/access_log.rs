//! Who was refused: the latest failed logins of this node, for ACL LOG.
//!
//! Owns: [`AccessLog`], its bound, and which refusals count as one. Never: refuses anybody (see `session/hello.rs`). There is
//! one user, who may do everything, so a wrong password is all there is to log.

use std::collections::VecDeque;

use keystead_types::UnixMillis;
use parking_lot::Mutex;

/// Entries that are kept, as in Redis (`acllog-max-len`).
const ENTRIES_MAX: usize = 128;
/// A refusal like an earlier one counts with it for so long, as in Redis.
const ALIKE_MS: u64 = 60_000;
/// Bytes of a user's name that are kept: it may be anything.
const NAME_BYTES_MAX: usize = 128;

/// The refusals.
#[derive(Debug, Default)]
pub(crate) struct AccessLog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    latest_first: VecDeque<Refused>,
    total: u64,
    /// What `total` was at the last CONFIG RESETSTAT.
    base: u64,
}

/// Logins that were refused alike.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) count: u64,
    /// The command: `AUTH` or `HELLO`.
    pub(crate) command: &'static str,
    pub(crate) user: Box<[u8]>,
    pub(crate) at: UnixMillis,
    /// The client, as CLIENT LIST shows it.
    pub(crate) client: String,
}

impl AccessLog {
    /// Notes a refusal.
    pub(crate) fn add(&self, command: &'static str, user: &[u8], client: String, at: UnixMillis) {
        let user: Box<[u8]> = user[..user.len().min(NAME_BYTES_MAX)].into();
        let mut state = self.state.lock();
        state.total += 1;
        let is_like = |it: &Refused| {
            it.command == command && it.user == user && at.0.saturating_sub(it.at.0) <= ALIKE_MS
        };
        let known = state.latest_first.iter().position(is_like);
        let known = known.and_then(|position| state.latest_first.remove(position));
        let count = known.map_or(0, |known| known.count) + 1;
        state.latest_first.push_front(Refused { count, command, user, at, client });
        state.latest_first.truncate(ENTRIES_MAX);
    }

    /// The latest refusals, so many at most.
    pub(crate) fn latest(&self, count: usize) -> Vec<Refused> {
        self.state.lock().latest_first.iter().take(count).cloned().collect()
    }

    /// Drops all entries.
    pub(crate) fn clear(&self) {
        self.state.lock().latest_first.clear();
    }

    /// Refusals since the last [`reset_total`](Self::reset_total).
    pub(crate) fn total(&self) -> u64 {
        let state = self.state.lock();
        state.total - state.base
    }

    /// Lets the total begin at zero.
    pub(crate) fn reset_total(&self) {
        let mut state = self.state.lock();
        state.base = state.total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_alike_count_together_for_a_minute_and_all_are_bounded() {
        let log = AccessLog::default();
        let add = |user: &str, at| log.add("AUTH", user.as_bytes(), String::new(), UnixMillis(at));
        for (user, at) in [("a", 0), ("b", 1), ("a", 60_000), ("a", 120_001)] {
            add(user, at);
        }
        let counts: Vec<u64> = log.latest(9).iter().map(|refused| refused.count).collect();
        assert_eq!(counts, [1, 2, 1]);
        assert_eq!(log.total(), 4);
        for number in 0..1000 {
            add(&format!("{number}{}", "x".repeat(1000)), 200_000);
        }
        let all = log.latest(usize::MAX);
        assert_eq!(all.len(), ENTRIES_MAX);
        assert!(all.iter().all(|refused| refused.user.len() <= NAME_BYTES_MAX));
        log.reset_total();
        assert_eq!(log.total(), 0);
    }
}
