//! What the tests of this crate share: a diary of events, and waiting for a condition.

use std::sync::Arc;
use std::time::Duration;

use keystead_supervisor::{ChildSpec, ChildState, Intensity, SupervisorHandle, SupervisorSpec};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

/// What happened, in order.
#[derive(Clone, Default)]
pub(super) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub(super) fn note(&self, event: impl Into<String>) {
        self.0.lock().push(event.into());
    }

    pub(super) fn events(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}

/// A task that notes its start and end, fails at the fault point "work", and stops when asked.
pub(super) fn worker(name: &'static str, diary: &Diary) -> ChildSpec {
    let diary = diary.clone();
    ChildSpec::task(name, move |context| {
        let diary = diary.clone();
        async move {
            diary.note(format!("+{name}"));
            context.ready();
            tokio::select! {
                fault = context.fault("work") => {
                    diary.note(format!("!{name}"));
                    Err(fault.into())
                }
                () = context.shutdown() => {
                    diary.note(format!("-{name}"));
                    Ok(())
                }
            }
        }
    })
    .ready_within(Duration::from_secs(5))
}

pub(super) fn patient(spec: SupervisorSpec) -> SupervisorSpec {
    spec.intensity(Intensity { restarts_max: 100, ..Intensity::default() })
}

/// Waits until the condition holds; fails with the tree if it does not in time.
pub(super) async fn until(handle: &SupervisorHandle, what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if timeout(Duration::from_secs(20), waiting).await.is_err() {
        panic!("in vain waited until {what}; the tree is\n{}", handle.tree());
    }
}

pub(super) fn state(handle: &SupervisorHandle, path: &str) -> ChildState {
    handle.tree().snapshot().find(path).unwrap_or_else(|| panic!("no {path}")).state.clone()
}

pub(super) fn restarts(handle: &SupervisorHandle, path: &str) -> u64 {
    handle.tree().snapshot().find(path).unwrap_or_else(|| panic!("no {path}")).restarts
}

pub(super) fn is_running(handle: &SupervisorHandle, path: &str) -> bool {
    // A supervisor that was never started shows no children yet.
    let snapshot = handle.tree().snapshot();
    snapshot.find(path).is_some_and(|child| matches!(child.state, ChildState::Running))
}

pub(super) async fn all_running(handle: &SupervisorHandle, paths: &[&str]) {
    until(handle, "all run", || paths.iter().all(|path| is_running(handle, path))).await;
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}
