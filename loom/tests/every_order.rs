//! Runs each scenario in every order of events with at most [`PREEMPTIONS_MAX`] switches away from a thread that could
//! go on; what each load may see of the stores before it is not bounded.

use keystead_loom::scenarios;

/// Beyond three switches nearly nothing is found (Musuvathi and Qadeer 2007), and a run takes minutes.
const PREEMPTIONS_MAX: usize = 3;

fn in_every_order(scenario: fn()) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS_MAX);
    model.check(scenario);
}

/// INV-N5.
#[test]
fn brought_work_is_seen_to() {
    in_every_order(scenarios::brought_work_is_seen_to);
}

#[test]
fn letters_are_found() {
    in_every_order(scenarios::letters_are_found);
}

/// INV-L1.
#[test]
fn a_lease_shows_what_was_applied() {
    in_every_order(scenarios::a_lease_shows_what_was_applied);
}

/// INV-N4.
#[test]
fn a_lease_ends_before_another_state_comes() {
    in_every_order(scenarios::a_lease_ends_before_another_state_comes);
}
