//! The leader's lease: until when it may answer reads from memory without asking anyone.
//!
//! Owns: when to ask for a read index, what a confirmation is worth, who waits for one.
//! Never: reads a clock; the worker passes `now` in. Never uses raft's own lease option, whose only
//! test is "leader and check_quorum".
//!
//! A confirmation of a ReadIndex (Ongaro's thesis, section 6.4) proves that a majority took this
//! node for its leader when the request was *sent*. Voters that heard from a leader ignore vote
//! requests for an election timeout (check_quorum; thesis 6.2 and 4.2.3), and a restarted voter,
//! which has forgotten whom it heard, is fenced for as long (see `group`). So nobody else can be
//! elected until one election timeout after the sending. The voter counts it in ticks, the first of which
//! may come right after the message: what it really keeps is a tick less (`Settings::promise`). The lease
//! takes 0.8 of that, which leaves the rest for clocks that run at different rates.
//!
//! INV-L1: a lease is published only once everything up to its read index is applied.
//! INV-L2: no lease outlives the leader's role, its term, a change of the group's voters, or the
//! start of a transfer; after a transfer was started there is none until the next term, because the
//! request to campaign, which overrides the voters' promise, may still be on its way.
//! INV-L3: a voter that has heard its leader within an election timeout stays with it unless another one was
//! elected: answers of newer terms to an older campaign of its own do not make it forget (see `group::step`).

use std::collections::VecDeque;
use std::time::Duration;

use keystead_types::Monotonic;
use keystead_types::mistakes::{Mistake, is_made};

/// Requests for a read index that may be unanswered at a time; older ones are forgotten.
const PENDING_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct Lease {
    /// How long a confirmation is worth, from the sending of its request.
    duration: Duration,
    /// Number of the last request sent; also its context on the wire.
    last_request: u64,
    pending: VecDeque<(u64, Monotonic)>,
    /// The newest confirmed request: its number, when it was sent, and the index to be applied.
    confirmed: Option<Confirmed>,
    /// Set when a transfer was started in the current term.
    is_barred: bool,
}

#[derive(Clone, Copy, Debug)]
struct Confirmed {
    request: u64,
    sent_at: Monotonic,
    read_index: u64,
}

impl Lease {
    pub(crate) fn new(promise: Duration) -> Self {
        Self {
            duration: promise.mul_f64(if is_made(Mistake::LeaseTooLong) { 4.0 } else { 0.8 }),
            last_request: 0,
            pending: VecDeque::new(),
            confirmed: None,
            is_barred: false,
        }
    }

    /// True if it is time to ask again: a third of the lease has gone by, or there is none.
    pub(crate) fn is_renewal_due(&self, now: Monotonic) -> bool {
        match (self.pending.back(), self.confirmed) {
            (Some((_, sent_at)), _) => now.since(*sent_at) >= self.duration / 3,
            (None, Some(confirmed)) => now.since(confirmed.sent_at) >= self.duration / 3,
            (None, None) => true,
        }
    }

    /// True if a request newer than `request` is under way or was confirmed: there is no need for another.
    pub(crate) fn is_asked_after(&self, request: u64) -> bool {
        let is_under_way = self.last_request > request && !self.pending.is_empty();
        is_under_way || self.confirmed.is_some_and(|confirmed| confirmed.request > request)
    }

    /// Numbers a new request, to be sent now.
    pub(crate) fn ask(&mut self, now: Monotonic) -> [u8; 8] {
        self.last_request += 1;
        if self.pending.len() == PENDING_MAX {
            self.pending.pop_front();
        }
        self.pending.push_back((self.last_request, now));
        self.last_request.to_le_bytes()
    }

    /// A majority answered the request with this context.
    pub(crate) fn confirm(&mut self, context: &[u8], read_index: u64) {
        let Ok(context) = <[u8; 8]>::try_from(context) else { return };
        let number = u64::from_le_bytes(context);
        while let Some(&(request, sent_at)) = self.pending.front() {
            if request > number {
                break;
            }
            self.pending.pop_front();
            if request == number {
                self.confirmed = Some(Confirmed { request, sent_at, read_index });
            }
        }
    }

    /// Until when reads may be answered, given what is applied; `None` if they may not.
    pub(crate) fn until(&self, applied: u64) -> Option<Monotonic> {
        let confirmed = self.confirmed.filter(|c| !self.is_barred && applied >= c.read_index)?;
        Some(confirmed.sent_at.after(self.duration))
    }

    /// The number that a read which arrives now must see exceeded by a confirmation.
    pub(crate) const fn mark(&self) -> u64 {
        self.last_request
    }

    /// True if a request sent after `mark` was confirmed and everything it covers is applied: the
    /// read may be answered though there may be no lease.
    pub(crate) fn is_confirmed_after(&self, mark: u64, applied: u64) -> bool {
        self.confirmed.is_some_and(|c| c.request > mark && applied >= c.read_index)
    }

    /// Forgets every confirmation: the group's voters changed, or this node does not lead any more.
    pub(crate) fn revoke(&mut self) {
        self.pending.clear();
        self.confirmed = None;
    }

    /// A transfer of leadership was started: no lease until the next term.
    pub(crate) fn bar(&mut self) {
        self.revoke();
        self.is_barred = true;
    }

    /// A new term has begun.
    pub(crate) fn new_term(&mut self) {
        self.revoke();
        self.is_barred = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic(ms * 1_000_000)
    }

    #[test]
    fn a_lease_counts_from_the_sending_of_its_request_and_waits_for_apply() {
        let mut lease = Lease::new(Duration::from_millis(1000));
        assert!(lease.is_renewal_due(at(0)));
        let context = lease.ask(at(10));
        assert_eq!(lease.until(99), None, "unconfirmed");
        lease.confirm(&context, 7);
        assert_eq!(lease.until(6), None, "INV-L1");
        assert_eq!(lease.until(7), Some(at(810)));
        assert!(!lease.is_renewal_due(at(200)));
        assert!(lease.is_renewal_due(at(300)));
    }

    #[test]
    fn a_transfer_bars_the_lease_until_the_next_term() {
        let mut lease = Lease::new(Duration::from_millis(1000));
        let early = lease.ask(at(0));
        lease.bar();
        lease.confirm(&early, 1);
        let late = lease.ask(at(5));
        lease.confirm(&late, 1);
        assert_eq!(lease.until(1), None, "INV-L2");
        assert!(lease.is_confirmed_after(1, 1), "single reads are still confirmed");
        lease.new_term();
        let next = lease.ask(at(9));
        lease.confirm(&next, 1);
        assert!(lease.until(1).is_some());
    }

    #[test]
    fn a_read_is_served_only_by_a_request_sent_after_it_came() {
        let mut lease = Lease::new(Duration::from_millis(1000));
        let before = lease.ask(at(0));
        let mark = lease.mark();
        lease.confirm(&before, 1);
        assert!(!lease.is_confirmed_after(mark, 1));
        let after = lease.ask(at(1));
        lease.confirm(&after, 1);
        assert!(lease.is_confirmed_after(mark, 1));
    }
}
