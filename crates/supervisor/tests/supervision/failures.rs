//! Promises about falling: panics, intensity, backoff, escalation, stuck children, injected faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::common::{Diary, all_running, is_running, patient, restarts, state, until, worker};
use keystead_supervisor::{
    ChildSpec, ChildState, ExitReason, Failure, FaultError, FaultKind, Faults, Intensity,
    OnExhausted, OrderError, Strategy, Supervisor, SupervisorHandle, SupervisorSpec,
};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

fn start(spec: SupervisorSpec) -> SupervisorHandle {
    Supervisor::start_with_faults(spec, &Handle::current(), Faults::enabled()).unwrap()
}

fn last_error(handle: &SupervisorHandle, path: &str) -> String {
    let snapshot = handle.tree().snapshot();
    snapshot
        .find(path)
        .and_then(|child| child.last_error.clone())
        .map(|e| e.to_string())
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn panics_in_factory_and_body_are_caught_with_their_message() {
    let spec = patient(SupervisorSpec::new("root", Strategy::OneForOne))
        .child(ChildSpec::task("factory", |context| {
            assert!(context.shutdown_requested(), "the factory of {} fell", context.name());
            async { Ok(()) }
        }))
        .child(ChildSpec::task("body", |_context| async { panic!("the body fell") }));
    let handle = start(spec);
    until(&handle, "both fell", || {
        restarts(&handle, "root/factory") > 0 && restarts(&handle, "root/body") > 0
    })
    .await;
    assert_eq!(last_error(&handle, "root/factory"), "panicked: the factory of factory fell");
    assert_eq!(last_error(&handle, "root/body"), "panicked: the body fell");
    handle.stop().await;
}

// INV-SUP4
#[tokio::test(start_paused = true)]
async fn restarts_back_off_and_then_the_tree_fails() {
    let starts: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let noted = starts.clone();
    let child = ChildSpec::task("child", move |_context| {
        noted.lock().push(Instant::now());
        async { Err("no luck".into()) }
    });
    let handle = start(SupervisorSpec::new("root", Strategy::OneForOne).child(child));
    let ExitReason::Failed(failure) = handle.wait().await else { panic!("it cannot have stopped") };
    assert_eq!(
        failure.to_string(),
        "gave up on root/child after 4 failures within 60s, the last: no luck"
    );
    let starts = starts.lock().clone();
    let waits: Vec<u128> =
        starts.windows(2).map(|pair| (pair[1] - pair[0]).as_millis() / 10 * 10).collect();
    assert_eq!(waits, [100, 200, 400]);
    assert!(matches!(state(&handle, "root"), ChildState::Down { .. }));
}

#[tokio::test(start_paused = true)]
async fn failures_that_lie_far_apart_never_exhaust() {
    let handle = start(
        SupervisorSpec::new("root", Strategy::OneForOne).child(worker("a", &Diary::default())),
    );
    for round in 1..=10 {
        all_running(&handle, &["root/a"]).await;
        handle.faults().arm("root/a", "work", FaultKind::Error, 1).unwrap();
        until(&handle, "a restarts", || restarts(&handle, "root/a") == round).await;
        tokio::time::advance(Duration::from_secs(30)).await;
    }
    all_running(&handle, &["root/a"]).await;
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn escalation_restarts_the_supervisor_with_all_its_children() {
    let diary = Diary::default();
    let below = SupervisorSpec::new("below", Strategy::OneForOne)
        .intensity(Intensity { restarts_max: 0, ..Intensity::default() })
        .child(worker("x", &diary))
        .child(worker("y", &diary));
    let spec = SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(below));
    let handle = start(spec);
    all_running(&handle, &["root/below/x", "root/below/y"]).await;
    handle.faults().arm("root/below/x", "work", FaultKind::Error, 1).unwrap();
    until(&handle, "below restarts", || restarts(&handle, "root/below") == 1).await;
    all_running(&handle, &["root/below", "root/below/x", "root/below/y"]).await;
    assert_eq!(diary.events(), ["+x", "+y", "!x", "-y", "+x", "+y"]);
    assert!(
        last_error(&handle, "root/below").starts_with("gave up on root/below/x after 1 failures")
    );
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_keeps_failing_stays_down_and_the_others_go_on() {
    let diary = Diary::default();
    let shards = SupervisorSpec::new("shards", Strategy::OneForOne)
        .on_exhausted(OnExhausted::StayDown)
        .child(worker("s1", &diary))
        .child(worker("s2", &diary));
    let handle = start(
        SupervisorSpec::new("root", Strategy::RestForOne).child(ChildSpec::supervisor(shards)),
    );
    all_running(&handle, &["root/shards/s1", "root/shards/s2"]).await;
    handle.faults().arm("root/shards/s1", "work", FaultKind::Panic, 4).unwrap();
    until(&handle, "s1 is down", || {
        matches!(state(&handle, "root/shards/s1"), ChildState::Down { .. })
    })
    .await;
    assert!(is_running(&handle, "root/shards/s2") && is_running(&handle, "root/shards"));
    assert_eq!(restarts(&handle, "root/shards/s2"), 0);
    let picture = handle.tree().to_string();
    assert!(picture.contains("DOWN: panicked: fault injected at point work"), "{picture}");
    handle.restart_child("root/shards/s1").await.unwrap();
    assert!(is_running(&handle, "root/shards/s1"));
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_never_ready_fails_at_its_deadline() {
    let mute = ChildSpec::task("mute", |context| async move {
        context.shutdown().await;
        Ok(())
    })
    .ready_within(Duration::from_secs(2));
    let spec = SupervisorSpec::new("root", Strategy::OneForOne)
        .on_exhausted(OnExhausted::StayDown)
        .child(mute)
        .child(worker("next", &Diary::default()));
    let handle = start(spec);
    until(&handle, "mute is down", || {
        matches!(state(&handle, "root/mute"), ChildState::Down { .. })
    })
    .await;
    assert_eq!(last_error(&handle, "root/mute"), "was not ready within 2s of its start");
    all_running(&handle, &["root/next"]).await;
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ignores_its_grace_is_aborted() {
    let deaf = ChildSpec::task("deaf", |_context| async {
        std::future::pending::<()>().await;
        Ok(())
    })
    .shutdown_grace(Duration::from_secs(3));
    let handle = start(SupervisorSpec::new("root", Strategy::OneForOne).child(deaf));
    all_running(&handle, &["root/deaf"]).await;
    let asked = Instant::now();
    assert!(matches!(handle.stop().await, ExitReason::Stopped));
    assert_eq!(asked.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_killed_child_has_ended_before_the_next_begins() {
    struct Held(Arc<AtomicU32>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let holders = Arc::new(AtomicU32::new(0));
    let shared = holders.clone();
    let child = ChildSpec::task("holder", move |_context| {
        assert_eq!(
            shared.fetch_add(1, Ordering::SeqCst),
            0,
            "INV-SUP1: two incarnations at a time"
        );
        let held = Held(shared.clone());
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(())
        }
    });
    let handle = start(patient(SupervisorSpec::new("root", Strategy::OneForOne)).child(child));
    for round in 1..=20 {
        all_running(&handle, &["root/holder"]).await;
        handle.kill("root/holder").await.unwrap();
        until(&handle, "it restarts", || restarts(&handle, "root/holder") == round).await;
    }
    assert_eq!(last_error(&handle, "root/holder"), "killed on request");
    handle.stop().await;
    assert_eq!(holders.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn threads_are_named_joined_and_restarted() {
    let (sender, names) = mpsc::channel();
    let child = ChildSpec::thread("log-writer", move |context| {
        sender.send(std::thread::current().name().map(str::to_owned))?;
        let (wake, woken) = mpsc::sync_channel(1);
        context.on_shutdown(move || wake.try_send(()).unwrap_or_default());
        context.fault_point("start")?;
        woken.recv()?;
        assert!(context.shutdown_requested());
        Ok(())
    });
    let handle = start(SupervisorSpec::new("root", Strategy::OneForOne).child(child));
    handle.faults().arm("root/log-writer", "start", FaultKind::Panic, 1).unwrap();
    handle.kill("root/log-writer").await.unwrap_or_default();
    until(&handle, "it restarts", || restarts(&handle, "root/log-writer") > 0).await;
    all_running(&handle, &["root/log-writer"]).await;
    assert!(matches!(handle.stop().await, ExitReason::Stopped));
    assert_eq!(names.recv().unwrap().as_deref(), Some("log-writer"));
}

// INV-SUP1
#[tokio::test]
async fn a_stuck_thread_is_never_doubled_and_may_be_restarted_once_it_ended() {
    let (release, gate) = mpsc::channel::<()>();
    let (gate, starts) = (Mutex::new(gate), Arc::new(AtomicU32::new(0)));
    let counted = starts.clone();
    let stuck = ChildSpec::thread("stuck", move |_context| {
        counted.fetch_add(1, Ordering::SeqCst);
        gate.lock().recv()?;
        Ok(())
    })
    .shutdown_grace(Duration::from_millis(20));
    let spec = SupervisorSpec::new("root", Strategy::OneForOne)
        .on_exhausted(OnExhausted::StayDown)
        .child(stuck)
        .child(worker("other", &Diary::default()));
    let handle = start(spec);
    all_running(&handle, &["root/stuck", "root/other"]).await;
    let killed = handle.kill("root/stuck").await;
    assert!(
        matches!(killed, Err(OrderError::Down { ref reason, .. }) if reason.is_stuck()),
        "{killed:?}"
    );
    assert!(matches!(handle.restart_child("root/stuck").await, Err(OrderError::Down { .. })));
    assert_eq!(starts.load(Ordering::SeqCst), 1);
    release.send(()).unwrap();
    while handle.restart_child("root/stuck").await.is_err() {
        tokio::task::yield_now().await;
    }
    until(&handle, "it starts anew", || starts.load(Ordering::SeqCst) == 2).await;
    assert!(is_running(&handle, "root/other"));
    drop(release);
    handle.stop().await;
}

#[tokio::test]
async fn a_stuck_thread_escalates_to_the_root_without_a_restart() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let stuck = ChildSpec::thread("stuck", move |_context| {
        gate.lock().recv().unwrap_or_default();
        Ok(())
    })
    .shutdown_grace(Duration::from_millis(20));
    let below = SupervisorSpec::new("below", Strategy::OneForOne).child(stuck);
    let handle =
        start(SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(below)));
    all_running(&handle, &["root/below/stuck"]).await;
    assert!(handle.kill("root/below/stuck").await.is_err());
    let ExitReason::Failed(failure) = handle.wait().await else { panic!("it must fail") };
    assert!(failure.is_stuck(), "{failure}");
    assert_eq!(restarts(&handle, "root/below"), 0);
    drop(release);
}

// INV-SUP5
#[tokio::test(start_paused = true)]
async fn faults_strike_only_their_tree_child_and_point_and_as_often_as_armed() {
    let spec = || {
        patient(SupervisorSpec::new("root", Strategy::OneForOne))
            .child(worker("a", &Diary::default()))
    };
    let (struck, other) = (start(spec()), start(spec()));
    struck.faults().arm("root/a", "elsewhere", FaultKind::Error, 1).unwrap();
    struck.faults().arm("root/a", "work", FaultKind::Error, 2).unwrap();
    until(&struck, "two restarts", || restarts(&struck, "root/a") == 2).await;
    all_running(&struck, &["root/a"]).await;
    assert_eq!((restarts(&struck, "root/a"), restarts(&other, "root/a")), (2, 0));
    assert_eq!(last_error(&struck, "root/a"), "fault injected at point work");
    struck.stop().await;
    other.stop().await;
    let refused = Faults::disabled().arm("root/a", "work", FaultKind::Panic, 1);
    assert_eq!(refused, Err(FaultError::Disabled));
}

#[tokio::test(start_paused = true)]
async fn an_error_is_shown_with_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the log")]
    struct Outer(#[source] std::io::Error);
    let child = ChildSpec::task("log", |_context| async {
        Err(Outer(std::io::Error::other("disk is gone")).into())
    });
    let handle = start(SupervisorSpec::new("root", Strategy::OneForOne).child(child));
    let ExitReason::Failed(Failure::Exhausted { last, .. }) = handle.wait().await else {
        panic!("it fails")
    };
    assert_eq!(last.to_string(), "cannot open the log: disk is gone");
}

#[test]
fn threads_are_asked_to_end_when_the_runtime_is_lost() {
    let (sender, ended) = mpsc::channel();
    let body = move |context: keystead_supervisor::ChildContext| {
        let (wake, woken) = mpsc::sync_channel(1);
        context.on_shutdown(move || wake.try_send(()).unwrap_or_default());
        context.ready();
        woken.recv()?;
        sender.send(context.path().clone())?;
        Ok(())
    };
    let below = SupervisorSpec::new("below", Strategy::OneForOne)
        .child(ChildSpec::thread("thread", body).ready_within(Duration::from_secs(10)));
    let spec = SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(below));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.block_on(async {
        let handle = start(spec);
        all_running(&handle, &["root/below/thread"]).await;
        handle
    });
    drop(runtime);
    let path = ended.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(path.as_str(), "root/below/thread");
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(matches!(other.block_on(handle.wait()), ExitReason::Failed(Failure::Killed)));
}
