//! Promises about orders to a running tree, and about the nursery.

use std::time::Duration;

use super::common::{Diary, all_running, is_running, patient, restarts, soon, until, worker};
use keystead_supervisor::{
    ChildSpec, Drained, ExitReason, Nursery, NurseryError, OrderError, SpecError, Strategy,
    Supervisor, SupervisorHandle, SupervisorSpec,
};
use tokio::runtime::Handle;
use tokio::task::LocalSet;
use tokio::time::Instant;

fn start(spec: SupervisorSpec) -> SupervisorHandle {
    Supervisor::start(spec, &Handle::current()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn children_come_and_go_at_run_time() {
    let diary = Diary::default();
    let below = SupervisorSpec::new("below", Strategy::OneForOne);
    let handle =
        start(SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(below)));
    all_running(&handle, &["root/below"]).await;
    handle.add_child("root/below", worker("x", &diary)).await.unwrap();
    assert!(is_running(&handle, "root/below/x"));
    let twice = handle.add_child("root/below", worker("x", &diary)).await;
    assert!(matches!(twice, Err(OrderError::Spec(SpecError::Duplicate { .. }))), "{twice:?}");
    handle.remove_child("root/below/x").await.unwrap();
    assert!(handle.tree().snapshot().find("root/below/x").is_none());
    let gone = handle.remove_child("root/below/x").await;
    assert!(matches!(gone, Err(OrderError::NotFound { .. })), "{gone:?}");
    assert_eq!(diary.events(), ["+x", "-x"]);
    handle.stop().await;
    let late = handle.add_child("root/below", worker("y", &diary)).await;
    assert!(matches!(late, Err(OrderError::Gone)), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_takes_along_those_that_depend_on_the_child() {
    let diary = Diary::default();
    let spec = SupervisorSpec::new("root", Strategy::RestForOne)
        .child(worker("a", &diary))
        .child(worker("b", &diary))
        .child(worker("c", &diary));
    let handle = start(spec);
    all_running(&handle, &["root/a", "root/b", "root/c"]).await;
    diary.clear();
    handle.restart_child("root/b").await.unwrap();
    all_running(&handle, &["root/a", "root/b", "root/c"]).await;
    assert_eq!(diary.events(), ["-c", "-b", "+b", "+c"]);
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_supervisor_comes_back_with_its_children() {
    let diary = Diary::default();
    let below =
        patient(SupervisorSpec::new("below", Strategy::OneForOne)).child(worker("x", &diary));
    let handle =
        start(SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(below)));
    all_running(&handle, &["root/below/x"]).await;
    handle.kill("root/below").await.unwrap();
    until(&handle, "below restarts", || restarts(&handle, "root/below") == 1).await;
    all_running(&handle, &["root/below", "root/below/x"]).await;
    assert_eq!(diary.events(), ["+x", "+x"], "the killed task had no time to say goodbye");
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_heeded_while_a_child_starts_or_backs_off() {
    let forever = ChildSpec::task("forever", |context| async move {
        context.shutdown().await;
        Ok(())
    })
    .ready_within(Duration::from_secs(3600));
    let fails = ChildSpec::task("fails", |_context| async { Err("again".into()) });
    let spec = SupervisorSpec::new("root", Strategy::OneForOne).child(fails).child(forever);
    let handle = start(spec);
    let asked = Instant::now();
    assert!(matches!(handle.stop().await, ExitReason::Stopped));
    assert!(asked.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn names_that_would_make_paths_ambiguous_are_refused() {
    let runtime = Handle::current();
    let bad = SupervisorSpec::new("ro/ot", Strategy::OneForOne);
    assert!(matches!(Supervisor::start(bad, &runtime), Err(SpecError::Name { .. })));
    let diary = Diary::default();
    let twice = SupervisorSpec::new("root", Strategy::OneForOne)
        .child(worker("a", &diary))
        .child(worker("a", &diary));
    assert!(matches!(Supervisor::start(twice, &runtime), Err(SpecError::Duplicate { .. })));
}

#[tokio::test(start_paused = true)]
async fn the_tree_prints_a_line_for_each_child() {
    let diary = Diary::default();
    let below =
        SupervisorSpec::new("workers", Strategy::OneForOne).child(worker("shard-1", &diary));
    let spec = SupervisorSpec::new("root", Strategy::RestForOne)
        .child(worker("wal", &diary))
        .child(ChildSpec::supervisor(below));
    let handle = start(spec);
    all_running(&handle, &["root/wal", "root/workers/shard-1"]).await;
    let picture = handle.tree().to_string();
    let lines: Vec<&str> =
        picture.lines().map(|line| line.split(" for ").next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "root                         supervisor running",
            "  wal                        task       running",
            "  workers                    supervisor running",
            "    shard-1                  task       running",
        ]
    );
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_nursery_counts_catches_panics_and_drains() {
    let nursery = Nursery::new("connections", 3);
    let inside = LocalSet::new();
    inside
        .run_until(async {
            nursery.spawn_local(async { panic!("a connection fell") }).unwrap();
            nursery.spawn_local(tokio::time::sleep(Duration::from_secs(1))).unwrap();
            nursery.spawn_local(std::future::pending()).unwrap();
            assert_eq!(nursery.count(), 3);
            assert!(matches!(
                nursery.spawn_local(async {}),
                Err(NurseryError::Full { max: 3, .. })
            ));
            while nursery.panicked() == 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(nursery.count(), 2);
            assert_eq!(nursery.drain(soon()).await, Drained { ended: 1, aborted: 1 });
            assert_eq!((nursery.count(), nursery.panicked()), (0, 1));
            assert!(matches!(nursery.spawn_local(async {}), Err(NurseryError::Closed { .. })));
        })
        .await;
}

#[tokio::test]
async fn a_nursery_carries_ten_thousand_tasks() {
    let nursery = Nursery::new("connections", 10_000);
    LocalSet::new()
        .run_until(async {
            for _ in 0..3 {
                for _ in 0..10_000 {
                    nursery.spawn_local(tokio::task::yield_now()).unwrap();
                }
                while nursery.count() > 0 {
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(nursery.drain(soon()).await, Drained { ended: 0, aborted: 0 });
        })
        .await;
}
