//! SWAPDB in the histories: one command that is an operation on every object.
//! Owns: which objects' histories it belongs to. Never: when it is asked for.
//!
//! A shard exchanges its databases at one moment, not all shards at the same. So it is an operation on each object by
//! itself, called and answered at the same times: on those that are asked when it is called, and on those that are first asked
//! while it may yet come.

use keystead_history::{Operation, Outcome};

use super::{Pending, Workload};
use crate::coverage::Coverage;
use crate::model::{Answer, Ask, Command};

/// Exchanges of unknown outcome after which no further one is asked for until all is at rest: every history has them.
const DOUBTFUL_MAX: usize = 2;

/// One whose reply has not come.
pub(super) struct OpenSwap {
    called: u64,
    objects: Vec<usize>,
}

impl Workload {
    /// Begins an exchange, unless too many are in doubt.
    pub fn swap(&mut self, called: u64) -> Option<Pending> {
        if self.open_swaps.len() + self.doubtful_swaps.len() >= DOUBTFUL_MAX {
            return None;
        }
        self.swaps += 1;
        let unjudged = self.active.iter().chain(&self.leaving).copied();
        let objects: Vec<usize> = unjudged.filter(|object| !self.is_judged(*object)).collect();
        objects.iter().for_each(|object| self.called(*object));
        self.open_swaps.insert(self.swaps, OpenSwap { called, objects });
        Some(Pending::Swap(self.swaps))
    }

    /// Ends an exchange; without an outcome, nothing happened.
    pub fn swap_ended(
        &mut self,
        swap: u64,
        outcome: Option<Outcome<Answer>>,
        coverage: &mut Coverage,
    ) {
        let OpenSwap { called, objects } = self.open_swaps.remove(&swap).expect("it was open");
        if outcome == Some(Outcome::Unknown) {
            self.doubtful_swaps.push(called);
        }
        for object in objects {
            let operation = outcome.clone().map(|outcome| operation(called, outcome));
            self.ended(object, operation, coverage);
        }
    }

    /// What an object begins with that is first asked now: exchanges that may yet come.
    pub(super) fn swaps_to_come(&mut self, object: usize) {
        let doubtful = self.doubtful_swaps.iter().map(|at| operation(*at, Outcome::Unknown));
        let story = &mut self.stories[object];
        story.history.extend(doubtful);
        for swap in self.open_swaps.values_mut() {
            swap.objects.push(object);
            story.open += 1;
        }
    }
}

fn operation(called: u64, outcome: Outcome<Answer>) -> Operation<Ask, Answer> {
    Operation { input: Ask::alone(Command::Swap), called, outcome }
}
