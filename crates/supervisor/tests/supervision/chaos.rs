//! Whatever befalls a tree, its children never overlap, start and stop in order, and come back.
//! Virtual time: a case with hours of backoff takes milliseconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keystead_supervisor::{
    ChildContext, ChildSpec, ExitReason, FaultKind, Faults, Intensity, Strategy as Tied,
    Supervisor, SupervisorHandle, SupervisorSpec,
};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::runtime::{Builder, Handle};
use tokio::time::Instant;

use super::common::{all_running, is_running, until};

const CHILDREN: usize = 4;
const NAMES: [&str; CHILDREN] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Blow {
    Kill(usize),
    Restart(usize),
    Fault(usize, FaultKind),
    FaultAtStart(usize),
    Pause(u64),
}

fn any_blow() -> impl Strategy<Value = Blow> {
    let child = || 0..CHILDREN;
    prop_oneof![
        child().prop_map(Blow::Kill),
        child().prop_map(Blow::Restart),
        child().prop_map(|child| Blow::Fault(child, FaultKind::Panic)),
        child().prop_map(|child| Blow::Fault(child, FaultKind::Error)),
        child().prop_map(Blow::FaultAtStart),
        (0u64..500).prop_map(Blow::Pause),
    ]
}

/// Who lives now, and which promise was broken first.
#[derive(Default)]
struct Watch {
    alive: [AtomicBool; CHILDREN],
    died_at: Mutex<[Option<Instant>; CHILDREN]>,
    broken: Mutex<Option<String>>,
}

impl Watch {
    fn hold(&self, promise: &str, is_kept: bool) {
        if !is_kept {
            self.broken.lock().get_or_insert(promise.to_owned());
        }
    }

    /// True if the child lives, or died in this very instant: a start that was under way then could
    /// not know.
    fn was_alive_just_now(&self, child: usize) -> bool {
        self.is_alive(child) || self.died_at.lock()[child] == Some(Instant::now())
    }

    fn is_alive(&self, child: usize) -> bool {
        self.alive[child].load(Ordering::SeqCst)
    }
}

/// Marks a child as alive for as long as its body exists, however it ends.
struct Life(Arc<Watch>, usize);

impl Life {
    fn begin(watch: &Arc<Watch>, child: usize) -> Self {
        let was_alive = watch.alive[child].swap(true, Ordering::SeqCst);
        watch.hold("INV-SUP1: one incarnation at a time", !was_alive);
        Self(watch.clone(), child)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.alive[self.1].store(false, Ordering::SeqCst);
        self.0.died_at.lock()[self.1] = Some(Instant::now());
    }
}

async fn live(
    context: ChildContext,
    watch: Arc<Watch>,
    child: usize,
    is_tied: bool,
) -> Result<(), String> {
    let _life = Life::begin(&watch, child);
    let earlier = (0..child).all(|other| watch.was_alive_just_now(other));
    watch.hold("INV-SUP2: a child starts behind those it depends on", !is_tied || earlier);
    let later = (child + 1..CHILDREN).any(|other| watch.is_alive(other));
    watch.hold("INV-SUP2: what depends on a child has ended before it starts", !is_tied || !later);
    context.fault_point("start").map_err(|fault| fault.to_string())?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    context.ready();
    tokio::select! {
        fault = context.fault("work") => Err(fault.to_string()),
        () = context.shutdown() => {
            // The last takes longer than the first backoff.
            tokio::time::sleep(Duration::from_millis(50 * child as u64)).await;
            let later = (child + 1..CHILDREN).any(|other| watch.is_alive(other));
            watch.hold("INV-SUP3: a child is stopped before those it depends on", !is_tied || !later);
            Ok(())
        }
    }
}

fn start(strategy: Tied, watch: &Arc<Watch>) -> SupervisorHandle {
    let intensity = Intensity { restarts_max: 10_000, ..Intensity::default() };
    let is_tied = strategy != Tied::OneForOne;
    let mut spec = SupervisorSpec::new("root", strategy).intensity(intensity);
    for (child, name) in NAMES.into_iter().enumerate() {
        let watch = watch.clone();
        let body = move |context| {
            let watch = watch.clone();
            async move { Ok(live(context, watch, child, is_tied).await?) }
        };
        spec = spec.child(ChildSpec::task(name, body).ready_within(Duration::from_secs(1)));
    }
    Supervisor::start_with_faults(spec, &Handle::current(), Faults::enabled()).unwrap()
}

async fn strike(handle: &SupervisorHandle, blow: &Blow) {
    let path = |child: usize| format!("root/{}", NAMES[child]);
    match *blow {
        // A child in its backoff cannot be killed; that is as good.
        Blow::Kill(child) => handle.kill(&path(child)).await.unwrap_or_default(),
        Blow::Restart(child) => handle.restart_child(&path(child)).await.unwrap(),
        Blow::Fault(child, kind) => handle.faults().arm(&path(child), "work", kind, 1).unwrap(),
        Blow::FaultAtStart(child) => {
            handle.faults().arm(&path(child), "start", FaultKind::Error, 1).unwrap();
        }
        Blow::Pause(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn children_never_overlap_keep_their_order_and_come_back(
        strategy in prop_oneof![Just(Tied::OneForOne), Just(Tied::RestForOne), Just(Tied::OneForAll)],
        blows in proptest::collection::vec(any_blow(), 0..20),
    ) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let watch = Arc::new(Watch::default());
        runtime.block_on(async {
            let handle = start(strategy, &watch);
            for blow in &blows {
                strike(&handle, blow).await;
            }
            handle.faults().disarm_all();
            let paths = NAMES.map(|name| format!("root/{name}"));
            all_running(&handle, &paths.each_ref().map(String::as_str)).await;
            // Stopping what is still in motion is part of the promise, so no further wait here.
            assert!(matches!(handle.stop().await, ExitReason::Stopped));
            until(&handle, "none runs", || !paths.iter().any(|path| is_running(&handle, path))).await;
        });
        prop_assert!(watch.broken.lock().is_none(), "{:?}", watch.broken.lock());
        prop_assert!((0..CHILDREN).all(|child| !watch.is_alive(child)));
    }
}
