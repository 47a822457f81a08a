//! The slow log: commands that took longer than a threshold, the latest ones, of the whole node.
//!
//! Owns: [`SlowLog`], its bound, and how much of a command an entry shows. Never: measures (see `meter.rs`), decides what
//! is slow (see `alarm.rs`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keystead_resp::Args;
use parking_lot::Mutex;

use crate::registry::Client;
use crate::secret::{REDACTED, is_secret};

/// Entries that are kept, as in Redis; `slowlog-max-len` sets it.
const ENTRIES_DEFAULT: usize = 128;
/// Most entries that `slowlog-max-len` may ask for: each may take [`ARGS_SHOWN`] arguments of [`ARG_BYTES_SHOWN`] bytes.
pub(crate) const ENTRIES_MAX: usize = 100_000;
/// Arguments that an entry shows, the last of which counts the others, as in Redis.
const ARGS_SHOWN: usize = 32;
/// Bytes that an entry shows of an argument, as in Redis.
const ARG_BYTES_SHOWN: usize = 128;
/// Bytes of what a window holds that are kept until it is known whether it was slow.
pub(crate) const KEPT_BYTES: usize = 1024;

/// The entries, the latest first.
#[derive(Debug)]
pub(crate) struct SlowLog {
    entries: Mutex<Entries>,
    entries_max: AtomicUsize,
}

#[derive(Debug, Default)]
struct Entries {
    latest_first: VecDeque<Arc<Entry>>,
    next_id: u64,
}

/// A slow command.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Counts up over the node's life, whatever is reset.
    pub(crate) id: u64,
    /// When it was over, Unix seconds.
    pub(crate) unix_s: u64,
    /// How long it took, microseconds.
    pub(crate) took_us: u64,
    /// The command, cut short.
    pub(crate) args: Vec<Box<[u8]>>,
    /// Where it came from.
    pub(crate) peer: String,
    /// The name of its client.
    pub(crate) name: Box<[u8]>,
}

impl Default for SlowLog {
    fn default() -> Self {
        let entries_max = AtomicUsize::new(ENTRIES_DEFAULT);
        Self { entries: Mutex::default(), entries_max }
    }
}

impl SlowLog {
    /// Adds an entry; the oldest goes if there are too many.
    pub(crate) fn add(&self, command: Shown, took_us: u64, unix_s: u64, client: &Client) {
        let peer = client.peer.map_or_else(|| "?:0".to_owned(), |peer| peer.to_string());
        let name = client.labels().name;
        let mut entries = self.entries.lock();
        let id = entries.next_id;
        entries.next_id += 1;
        let entry = Entry { id, unix_s, took_us, args: command.0, peer, name };
        entries.latest_first.push_front(Arc::new(entry));
        entries.latest_first.truncate(self.entries_max());
    }

    /// The latest entries, so many at most.
    pub(crate) fn latest(&self, count: usize) -> Vec<Arc<Entry>> {
        self.entries.lock().latest_first.iter().take(count).cloned().collect()
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.lock().latest_first.len()
    }

    /// Drops all entries.
    pub(crate) fn clear(&self) {
        self.entries.lock().latest_first.clear();
    }

    /// Entries that are kept at most.
    pub(crate) fn entries_max(&self) -> usize {
        self.entries_max.load(Ordering::Relaxed)
    }

    /// Changes that; as in Redis, what is too much goes when the next entry comes.
    pub(crate) fn set_entries_max(&self, count: usize) {
        self.entries_max.store(count.min(ENTRIES_MAX), Ordering::Relaxed);
    }
}

/// A command as an entry shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown(Vec<Box<[u8]>>);

impl Shown {
    /// Of a command that is there as a whole.
    pub(crate) fn of(args: Args<'_>) -> Self {
        let redacted = |(at, arg)| if is_secret(args, at) { REDACTED } else { arg };
        let shown = args.iter().enumerate().take(ARGS_SHOWN).map(redacted);
        Self::cut(shown.map(|arg| (arg, arg.len())), args.len())
    }

    /// Of the commands at the beginning of a run, as far as `kept` goes; each with its name.
    pub(crate) fn of_kept(kept: &[u8]) -> Vec<(&[u8], Self)> {
        let (mut rest, mut all) = (kept, Vec::new());
        while let Some(count) = header(&mut rest, b'*') {
            let mut args = Vec::new();
            while args.len() < count
                && let Some(length) = header(&mut rest, b'$')
            {
                let there = rest.len().min(length);
                args.push((&rest[..there], length));
                rest = rest.get(length + 2..).unwrap_or_default();
            }
            let Some((name, _)) = args.first().copied() else { break };
            all.push((name, Self::cut(args.into_iter(), count)));
        }
        all
    }

    /// Of arguments of which at least the beginnings are there.
    fn cut<'a>(args: impl Iterator<Item = (&'a [u8], usize)>, count: usize) -> Self {
        let most = if count > ARGS_SHOWN { ARGS_SHOWN - 1 } else { count };
        let mut shown: Vec<Box<[u8]>> = args.take(most).map(|(arg, len)| cut(arg, len)).collect();
        if shown.len() < count {
            let more = format!("... ({} more arguments)", count - shown.len());
            shown.push(more.into_bytes().into());
        }
        Self(shown)
    }
}

/// The beginning of an argument that is `length` bytes long.
fn cut(arg: &[u8], length: usize) -> Box<[u8]> {
    let there = &arg[..arg.len().min(ARG_BYTES_SHOWN)];
    if length == there.len() {
        return there.into();
    }
    let more = format!("... ({} more bytes)", length - there.len());
    [there, more.as_bytes()].concat().into()
}

/// The number in a line that begins with `kind`, if the line is there as a whole; `rest` is what follows it.
fn header(rest: &mut &[u8], kind: u8) -> Option<usize> {
    let line = rest.strip_prefix(&[kind])?;
    let end = line.iter().position(|byte| *byte == b'\r')?;
    let number = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
    *rest = line.get(end + 2..)?;
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shown: &Shown) -> Vec<String> {
        shown.0.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
    }

    #[test]
    fn long_arguments_and_long_commands_are_cut_as_redis_cuts_them() {
        let long = [b'x'; 200];
        let shown = Shown::cut([(&b"SET"[..], 3), (&long, 200)].into_iter(), 2);
        assert_eq!(text(&shown)[1], format!("{}... (72 more bytes)", "x".repeat(128)));
        let many = [(&b"a"[..], 1); 33];
        let shown = text(&Shown::cut(many.into_iter(), 33));
        assert_eq!((shown.len(), shown[31].as_str()), (32, "... (2 more arguments)"));
        assert_eq!(text(&Shown::cut(many[..32].iter().copied(), 32)).len(), 32);
    }

    #[test]
    fn what_was_kept_of_a_run_is_shown_wherever_it_was_cut() {
        let mut run = Vec::new();
        keystead_resp::encode::command(&mut run, [&b"SET"[..], b"key", &[b'v'; 20]]);
        keystead_resp::encode::command(&mut run, [&b"INCR"[..], b"n"]);
        let whole = Shown::of_kept(&run);
        assert_eq!(whole.len(), 2);
        assert_eq!(text(&whole[0].1), ["SET", "key", "vvvvvvvvvvvvvvvvvvvv"]);
        assert_eq!(text(&whole[1].1), ["INCR", "n"]);
        for cut in 0..run.len() {
            for (name, shown) in Shown::of_kept(&run[..cut]) {
                let shown = text(&shown);
                assert!(name.len() <= 4 && !shown.is_empty(), "cut at {cut}");
            }
        }
        let cut_within_value = Shown::of_kept(&run[..run.len() - 40]);
        assert_eq!(text(&cut_within_value[0].1)[..2], ["SET", "key"]);
        let cut_behind_name = Shown::of_kept(b"*3\r\n$3\r\nSET\r\n");
        assert_eq!(text(&cut_behind_name[0].1), ["SET", "... (2 more arguments)"]);
        assert!(Shown::of_kept(b"nonsense").is_empty());
    }
}
