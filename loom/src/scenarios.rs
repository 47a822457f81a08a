//! What threads do to each other, one function for each meeting; loom runs it in every order.

use std::task::Waker;

use keystead_types::Monotonic;
use loom::sync::{Arc, Notify};
use loom::thread;

use crate::attended::Attended;
use crate::cell::{GroupCell, Published};
use crate::primitives::{AtomicU64, Mutex, Ordering};
use crate::wake::Wake;

/// Two threads bring work while a third uses the thing: nobody's work is left lying (INV-N5).
pub fn brought_work_is_seen_to() {
    /// What was brought and not yet seen to; the thing counts what was.
    #[derive(Default)]
    struct Place {
        desk: Mutex<u64>,
        attended: Attended<u64>,
    }
    impl Place {
        fn attend(&self, new: u8) {
            let work = |seen: &mut u64, _| *seen += std::mem::take(&mut *self.desk.lock());
            self.attended.attend(new, work, drop);
        }
    }
    let place = Arc::new(Place::default());
    let bringers = [(), ()].map(|()| {
        let place = Arc::clone(&place);
        thread::spawn(move || {
            *place.desk.lock() += 1;
            place.attend(1);
        })
    });
    place.attended.with(|_| ());
    place.attend(0);
    bringers.into_iter().for_each(|bringer| bringer.join().expect("the scenario goes on"));
    assert_eq!(place.attended.with(|seen| *seen), 2, "INV-N5: work was left lying");
}

/// A thread that sleeps until it is woken, by a signal that wakes only if it was not set before.
pub fn letters_are_found() {
    /// The bed of the thread that looks.
    #[derive(Default)]
    struct Bed(Notify);
    impl std::task::Wake for Bed {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.notify();
        }
    }
    let (wake, letters) = (Wake::new(), Arc::new(Mutex::new(0_u64)));
    let writers = [(), ()].map(|()| {
        let (wake, letters) = (wake.clone(), Arc::clone(&letters));
        thread::spawn(move || {
            *letters.lock() += 1;
            wake.wake();
        })
    });
    let bed = std::sync::Arc::new(Bed::default());
    let waker = Waker::from(std::sync::Arc::clone(&bed));
    let mut found = 0;
    loop {
        wake.signal.begin_look(&waker);
        found += std::mem::take(&mut *letters.lock());
        if found == 2 {
            break;
        }
        // A letter that is not found and wakes nobody leaves this thread asleep for ever, which loom reports.
        bed.0.wait();
    }
    writers.into_iter().for_each(|writer| writer.join().expect("the scenario goes on"));
}

/// INV-L1 as other threads see it. Whoever sees the lease sees what was applied before it was published, and whoever
/// sees an index applied sees the term that goes with it.
pub fn a_lease_shows_what_was_applied() {
    let (cell, state) = (Arc::new(GroupCell::default()), Arc::new(AtomicU64::new(0)));
    let worker = {
        let (cell, state) = (Arc::clone(&cell), Arc::clone(&state));
        thread::spawn(move || {
            state.store(7, Ordering::Relaxed);
            cell.publish(Published { applied: 7, term: 3, ..Published::default() });
            cell.set_lease(Some(Monotonic(100)));
        })
    };
    if cell.may_read(Monotonic(99)) {
        assert_eq!(state.load(Ordering::Relaxed), 7, "INV-L1: a read before what was applied");
    }
    if cell.applied().0 == 7 {
        assert_eq!(cell.term().0, 3, "an index was seen without its term");
    }
    worker.join().expect("the scenario goes on");
}

/// A lease is honoured only for the state that it was given for (INV-N4). The state stands behind a lock; whoever reads
/// looks at the lease under it, whoever puts another state there ends the lease before.
pub fn a_lease_ends_before_another_state_comes() {
    let (cell, state) = (Arc::new(GroupCell::default()), Arc::new(Mutex::new(7_u64)));
    cell.set_lease(Some(Monotonic(100)));
    let keeper = {
        let (cell, state) = (Arc::clone(&cell), Arc::clone(&state));
        thread::spawn(move || {
            cell.close();
            *state.lock() = 1;
        })
    };
    {
        let state = state.lock();
        if cell.may_read(Monotonic(99)) {
            assert_eq!(*state, 7, "INV-N4: a lease was honoured for another state");
        }
    }
    keeper.join().expect("the scenario goes on");
}
