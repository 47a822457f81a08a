//! Promises about order: who starts when, who falls with whom, who stops when.

use std::time::Duration;

use super::common::{Diary, all_running, is_running, patient, restarts, state, until, worker};
use keystead_supervisor::{
    ChildSpec, ChildState, ExitReason, FaultKind, Faults, OnExhausted, Restart, Strategy,
    Supervisor, SupervisorHandle, SupervisorSpec,
};
use tokio::runtime::Handle;

fn three(strategy: Strategy, diary: &Diary) -> SupervisorSpec {
    patient(SupervisorSpec::new("root", strategy))
        .child(worker("a", diary))
        .child(worker("b", diary))
        .child(worker("c", diary))
}

const THREE: [&str; 3] = ["root/a", "root/b", "root/c"];

async fn start(spec: SupervisorSpec) -> SupervisorHandle {
    Supervisor::start_with_faults(spec, &Handle::current(), Faults::enabled()).unwrap()
}

async fn events_after_b_failed(strategy: Strategy) -> Vec<String> {
    let diary = Diary::default();
    let handle = start(three(strategy, &diary)).await;
    all_running(&handle, &THREE).await;
    diary.clear();
    handle.faults().arm("root/b", "work", FaultKind::Error, 1).unwrap();
    until(&handle, "b restarts", || restarts(&handle, "root/b") == 1).await;
    all_running(&handle, &THREE).await;
    let events = diary.events();
    assert!(matches!(handle.stop().await, ExitReason::Stopped));
    events
}

// INV-SUP3
#[tokio::test(start_paused = true)]
async fn children_start_in_order_and_stop_in_reverse() {
    let diary = Diary::default();
    let handle = start(three(Strategy::OneForOne, &diary)).await;
    all_running(&handle, &THREE).await;
    assert!(matches!(handle.stop().await, ExitReason::Stopped));
    assert_eq!(diary.events(), ["+a", "+b", "+c", "-c", "-b", "-a"]);
    assert!(matches!(state(&handle, "root"), ChildState::Stopped));
    assert!(matches!(state(&handle, "root/a"), ChildState::Stopped));
}

#[tokio::test(start_paused = true)]
async fn one_for_one_restarts_only_the_fallen() {
    assert_eq!(events_after_b_failed(Strategy::OneForOne).await, ["!b", "+b"]);
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_restarts_the_fallen_and_those_after_it() {
    assert_eq!(events_after_b_failed(Strategy::RestForOne).await, ["!b", "-c", "+b", "+c"]);
}

#[tokio::test(start_paused = true)]
async fn one_for_all_restarts_everyone() {
    assert_eq!(
        events_after_b_failed(Strategy::OneForAll).await,
        ["!b", "-c", "-a", "+a", "+b", "+c"]
    );
}

// INV-SUP2
#[tokio::test(start_paused = true)]
async fn a_child_starts_only_when_the_one_before_is_ready() {
    let diary = Diary::default();
    let noted = diary.clone();
    let slow = ChildSpec::task("slow", move |context| {
        let diary = noted.clone();
        async move {
            diary.note("begins");
            tokio::time::sleep(Duration::from_secs(3)).await;
            diary.note("is ready");
            context.ready();
            context.shutdown().await;
            Ok(())
        }
    })
    .ready_within(Duration::from_secs(10));
    let spec =
        SupervisorSpec::new("root", Strategy::OneForOne).child(slow).child(worker("next", &diary));
    let handle = start(spec).await;
    until(&handle, "slow starts", || matches!(state(&handle, "root/slow"), ChildState::Starting))
        .await;
    assert!(matches!(state(&handle, "root/next"), ChildState::Waiting));
    all_running(&handle, &["root/slow", "root/next"]).await;
    assert_eq!(diary.events(), ["begins", "is ready", "+next"]);
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_is_ready_when_its_children_are() {
    let diary = Diary::default();
    let below = SupervisorSpec::new("below", Strategy::OneForOne)
        .child(worker("x", &diary))
        .child(worker("y", &diary));
    let spec = SupervisorSpec::new("root", Strategy::RestForOne)
        .child(ChildSpec::supervisor(below))
        .child(worker("after", &diary));
    let handle = start(spec).await;
    all_running(&handle, &["root/below", "root/below/x", "root/below/y", "root/after"]).await;
    assert!(matches!(handle.stop().await, ExitReason::Stopped));
    assert_eq!(diary.events(), ["+x", "+y", "+after", "-after", "-y", "-x"]);
}

#[tokio::test(start_paused = true)]
async fn restart_kinds_decide_who_comes_back() {
    let finishes = |name: &'static str, restart| {
        ChildSpec::task(name, |_context| async { Ok(()) }).restart(restart)
    };
    let spec = patient(SupervisorSpec::new("root", Strategy::OneForOne))
        .child(finishes("permanent", Restart::Permanent))
        .child(finishes("transient", Restart::Transient))
        .child(finishes("temporary", Restart::Temporary))
        .child(
            ChildSpec::task("fails", |_context| async { Err("broken".into()) })
                .restart(Restart::Transient),
        );
    let handle = start(spec).await;
    until(&handle, "restarts", || {
        restarts(&handle, "root/permanent") > 1 && restarts(&handle, "root/fails") > 1
    })
    .await;
    assert!(matches!(state(&handle, "root/transient"), ChildState::Stopped));
    assert_eq!(restarts(&handle, "root/transient"), 0);
    assert!(handle.tree().snapshot().find("root/temporary").is_none(), "it has left the tree");
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn siblings_tied_to_a_child_that_stays_down_rest_until_it_is_restarted() {
    let diary = Diary::default();
    let spec = SupervisorSpec::new("root", Strategy::RestForOne)
        .on_exhausted(OnExhausted::StayDown)
        .child(worker("a", &diary))
        .child(worker("b", &diary))
        .child(worker("c", &diary));
    let handle = start(spec).await;
    all_running(&handle, &THREE).await;
    handle.faults().arm("root/b", "work", FaultKind::Panic, 4).unwrap();
    until(&handle, "b is down", || matches!(state(&handle, "root/b"), ChildState::Down { .. }))
        .await;
    until(&handle, "c rests", || matches!(state(&handle, "root/c"), ChildState::Stopped)).await;
    assert!(is_running(&handle, "root/a"));
    handle.restart_child("root/b").await.unwrap();
    all_running(&handle, &THREE).await;
    handle.stop().await;
}
