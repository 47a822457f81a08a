//! What the figures of INFO need to know of a window: which commands were in it, which of them failed.
//!
//! Owns: looking for errors among replies that pass by. Never: changes a reply; a reply without a dash costs one search.

use keystead_node::Outcome;
use keystead_resp::skip_reply;

use super::Window;
use crate::registry::NO_COMMAND;
use crate::reply::Failure;
use crate::stats::ThreadStats;

/// Bytes of an error that are kept: its code stands at the beginning.
const CODE_BYTES: usize = 64;

/// An error reply of a command of the window; [`NO_COMMAND`] if it stands within a reply (a transaction's).
#[derive(Debug)]
pub(super) struct ErrorReply {
    row: u16,
    beginning: Box<[u8]>,
}

impl Window {
    /// Positions in the command table of the window's commands, neighbours together, and how many of each.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (u16, u64)> {
        let groups = self.commands.chunk_by(|one, next| one.row == next.row);
        groups.map(|group| (group[0].row, group.len() as u64))
    }

    /// What was kept of the commands, to be shown if they turn out to be slow.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Counts the errors among the replies.
    pub(crate) fn count_errors(&mut self, stats: &ThreadStats) {
        for error in self.errors.drain(..) {
            stats.note_error(&error.beginning);
            if let Some(row) = stats.row(error.row) {
                row.failed.add(1);
            }
        }
    }

    /// Looks for errors in the outcome of a run.
    #[inline]
    pub(super) fn look_for_errors(&mut self, run: usize, outcome: &Outcome<'_>) {
        match outcome {
            Outcome::Done(replies) if !replies.contains(&b'-') => {}
            outcome => self.take_errors(run, outcome),
        }
    }

    #[cold]
    fn take_errors(&mut self, run: usize, outcome: &Outcome<'_>) {
        let Some(first) = self.runs.get(run).map(|run| run.first) else { return };
        let refusal = match outcome {
            Outcome::Done(replies) => return self.take_error_replies(first, replies),
            Outcome::Refused(refusal) => Failure::Refused(refusal).to_string(),
            Outcome::Unknown(reason) => Failure::Unknown(*reason).to_string(),
        };
        let mut next = Some(first);
        while let Some(command) = next.map(|at| self.commands[at]) {
            self.take_error(command.row, refusal.as_bytes());
            next = command.next;
        }
    }

    fn take_error_replies(&mut self, first: usize, replies: &[u8]) {
        let (mut next, mut rest) = (Some(first), replies);
        while !rest.is_empty()
            && let Ok(Some(length)) = skip_reply(rest)
        {
            let (reply, behind) = rest.split_at(length);
            let command = next.map(|at| self.commands[at]);
            match reply.first() {
                Some(b'-') => self.take_error(command.map_or(NO_COMMAND, |it| it.row), reply),
                Some(b'*' | b'~' | b'%') => self.take_errors_within(reply),
                _ => {}
            }
            next = command.and_then(|command| command.next);
            rest = behind;
        }
    }

    /// Errors at any depth of a reply: headers of collections are stepped over, what is in them is looked at in turn.
    fn take_errors_within(&mut self, reply: &[u8]) {
        let mut rest = reply;
        while let Some(kind) = rest.first() {
            let is_header = matches!(kind, b'*' | b'~' | b'%');
            let length = match skip_reply(rest) {
                _ if is_header => rest.iter().position(|byte| *byte == b'\n').map(|at| at + 1),
                length => length.ok().flatten(),
            };
            let Some((element, behind)) = length.and_then(|length| rest.split_at_checked(length))
            else {
                return;
            };
            if *kind == b'-' {
                self.take_error(NO_COMMAND, element);
            }
            rest = behind;
        }
    }

    fn take_error(&mut self, row: u16, error: &[u8]) {
        let beginning = error[..error.len().min(CODE_BYTES)].into();
        self.errors.push(ErrorReply { row, beginning });
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;

    fn window_of(rows: &[u16]) -> Window {
        let mut window = Window::default();
        for row in rows {
            let (shard, access, wire) = (ShardId(1), Access::Write, &b"x"[..]);
            let entry =
                Entry { row: *row, shard, access, wire, input_start: None, is_silent: false };
            window.push(entry);
        }
        window
    }

    fn errors_of(rows: &[u16], outcome: &Outcome<'_>) -> Vec<(u16, String)> {
        let mut window = window_of(rows);
        window.look_for_errors(0, outcome);
        let text = |error: &ErrorReply| String::from_utf8_lossy(&error.beginning).into_owned();
        window.errors.iter().map(|error| (error.row, text(error))).collect()
    }

    #[test]
    fn neighbours_are_counted_together() {
        let window = window_of(&[3, 3, 5, 3]);
        assert_eq!(window.rows().collect::<Vec<_>>(), [(3, 2), (5, 1), (3, 1)]);
    }

    #[test]
    fn errors_are_found_and_belong_to_their_commands() {
        let replies = b"+OK\r\n-ERR a\r\n$3\r\n-xy\r\n-OOM b\r\n";
        let found = errors_of(&[1, 2, 3, 4], &Outcome::Done(replies));
        assert_eq!(found, [(2, "-ERR a\r\n".to_owned()), (4, "-OOM b\r\n".to_owned())]);
        let transaction = b"*3\r\n+OK\r\n-WRONGTYPE c\r\n*1\r\n$2\r\n-a\r\n";
        let found = errors_of(&[7], &Outcome::Done(transaction));
        assert_eq!(found, [(NO_COMMAND, "-WRONGTYPE c\r\n".to_owned())]);
        assert!(errors_of(&[1], &Outcome::Done(b"$36\r\n4f2c-...")).is_empty(), "cut: none");
    }

    #[test]
    fn a_run_that_was_refused_failed_as_a_whole() {
        let found = errors_of(&[1, 2], &Outcome::Refused(Refusal::Overloaded));
        assert_eq!(found.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 2]);
        assert!(found[0].1.starts_with("OVERLOADED "));
    }
}
