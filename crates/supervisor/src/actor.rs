//! One supervisor at work: a loop that takes one event, then does all that has become due.
//!
//! Owns: order among siblings, restart policy, escalation. Never: how a child is built (`launch`),
//! how one child's phases follow each other (`member`).
//!
//! The loop is driven by goals, not by scripts: an event only notes what is wanted of each child
//! (run, rest, leave) and which incarnations must stop; `advance` then takes every step that the
//! order among siblings allows now. So a slow child never blocks the supervisor: orders, other
//! children's deaths and a stop are taken up at once.
//!
//! ```text
//!            launch            ready()            asked to end         join
//!   Idle ───────────▶ Starting ──────▶ Running ───────────▶ Stopping ──────▶ Idle | Finished
//!    ▲                    │ death         │ death               │ overdue twice
//!    └──── Backoff ◀──────┴───────────────┘                     ▼
//!                         └── too often ──────────────────▶   Down
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use crate::context::Ready;
use crate::handle::{Order, OrderError, SupervisorHandle, Wish, order_channel};
use crate::intensity::History;
use crate::launch::{Ended, Live, exit_of};
use crate::member::{Goal, Member, Overdue, Phase, StopCause, Until};
use crate::shutdown::{Shutdown, Urgency};
use crate::spec::{CHILDREN_MAX, ChildSpec, SpecError, SupervisorSpec};
use crate::tree::{Branch, Cell, ChildPath};
use crate::{Failure, Intensity, OnExhausted, Restart, Strategy};

/// A running supervisor.
pub(crate) struct Actor {
    path: ChildPath,
    strategy: Strategy,
    intensity: Intensity,
    on_exhausted: OnExhausted,
    members: Vec<Member>,
    running: JoinSet<Ended>,
    orders: mpsc::Receiver<Order>,
    branch: Arc<Branch>,
    /// Rung by a child that became ready.
    bell: Arc<Notify>,
    surroundings: Environment,
    shutdown: Shutdown,
    heeded: Urgency,
    ready: Ready,
    /// True once every child was ready, or down; from then on independent children start independently.
    is_settled: bool,
    /// How this supervisor will end, once all its children have.
    outcome: Option<Ended>,
    history: History,
}

/// What every supervisor of a tree needs.
#[derive(Clone)]
pub(crate) struct Environment {
    pub(crate) runtime: Handle,
    pub(crate) supervisor: SupervisorHandle,
}

enum Event {
    Exit(Id, Ended),
    Order(Order),
    Stop(Urgency),
    /// A child became ready, or a timer ran out.
    Look,
}

impl Actor {
    pub(crate) fn new(
        spec: &SupervisorSpec,
        cell: &Cell,
        shutdown: Shutdown,
        ready: Ready,
        surroundings: Environment,
    ) -> Self {
        let (sender, orders) = order_channel();
        let members: Vec<Member> =
            spec.children.iter().map(|child| Member::new(child.clone(), &cell.path)).collect();
        let cells = members.iter().map(|member| member.cell.clone()).collect();
        let branch = Arc::new(Branch { orders: sender, cells: parking_lot::Mutex::new(cells) });
        cell.change(|shown| shown.branch = Some(branch.clone()));
        Self {
            path: cell.path.clone(),
            strategy: spec.strategy,
            intensity: spec.intensity,
            on_exhausted: spec.on_exhausted,
            members,
            running: JoinSet::new(),
            orders,
            branch,
            bell: Arc::new(Notify::new()),
            surroundings,
            shutdown,
            heeded: Urgency::None,
            ready,
            is_settled: false,
            outcome: None,
            history: History::default(),
        }
    }

    /// Runs until asked to stop or at the end of its patience, and until all children have ended.
    pub(crate) fn run(mut self) -> Pin<Box<dyn Future<Output = Ended> + Send>> {
        Box::pin(async move {
            loop {
                self.advance(Instant::now());
                if let Some(outcome) = self.outcome_if_over() {
                    return outcome;
                }
                match self.next_event().await {
                    Event::Exit(id, ended) => self.take_exit(id, ended),
                    Event::Order(order) => self.take_order(order),
                    Event::Stop(urgency) => {
                        self.heeded = urgency;
                        self.stop_all(Ok(()), urgency);
                    }
                    Event::Look => {}
                }
                // ORDER: all deaths before the next step: a child that said it is ready and died
                // in one breath must not let the next one start.
                while let Some(joined) = self.running.try_join_next_with_id() {
                    let (id, ended) = exit_of(joined);
                    self.take_exit(id, ended);
                }
            }
        })
    }

    async fn next_event(&mut self) -> Event {
        let timer = self.members.iter().filter_map(Member::timer).min();
        let Self { running, orders, bell, shutdown, heeded, .. } = self;
        tokio::select! {
            biased;
            urgency = shutdown.beyond(*heeded), if *heeded < Urgency::Kill => Event::Stop(urgency),
            Some(joined) = running.join_next_with_id(), if !running.is_empty() => {
                let (id, ended) = exit_of(joined);
                Event::Exit(id, ended)
            }
            () = bell.notified() => Event::Look,
            // Never closed while this runs: the branch it holds keeps a sender.
            Some(order) = orders.recv() => Event::Order(order),
            () = sleep_until(timer) => Event::Look,
        }
    }

    /// Takes every step that is due and allowed.
    fn advance(&mut self, now: Instant) {
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            member.note_readiness();
            member.note_late_start(now);
            member.note_backoff_over(now);
            if let Overdue::Stuck { grace } = member.check_stop(now) {
                self.take_stuck(at, Failure::Stuck { grace });
            }
        }
        self.begin_starts(now);
        self.begin_stops(now);
        if !self.is_settled && self.members.iter().all(Member::is_settled) {
            self.is_settled = true;
            self.ready.set();
        }
        for member in &mut self.members {
            member.answer_waiters();
            member.publish();
        }
        if self.members.iter().any(Member::is_leaving) {
            self.members.retain(|member| !member.is_leaving());
            *self.branch.cells.lock() =
                self.members.iter().map(|member| member.cell.clone()).collect();
        }
    }

    /// INV-SUP2: starts, in order, each child whose turn it is.
    fn begin_starts(&mut self, now: Instant) {
        for at in 0..self.members.len() {
            if !self.may_start(at) {
                continue;
            }
            let member = &mut self.members[at];
            let launched = Live::launch(
                &member.spec,
                &member.cell,
                &self.surroundings,
                &self.bell,
                &mut self.running,
            );
            match launched {
                Ok(live) => {
                    member.started(live, now);
                    tracing::debug!(child = %member.cell.path, incarnation = member.incarnation, "child started");
                }
                Err(source) => self.take_failure(at, Failure::Spawn { source: Arc::new(source) }),
            }
        }
    }

    fn may_start(&self, at: usize) -> bool {
        if self.outcome.is_some() || !self.members[at].wants_start() {
            return false;
        }
        let is_independent = self.strategy == Strategy::OneForOne;
        if is_independent && self.is_settled {
            return true;
        }
        if !self.members[..at].iter().all(Member::is_settled) {
            return false;
        }
        is_independent || !self.members.iter().any(|member| self.holds_back(member))
    }

    /// True if nobody may start before this member has come to rest: a group goes down as a whole
    /// before any of it comes up again.
    fn holds_back(&self, member: &Member) -> bool {
        match member.phase {
            Phase::Stopping { .. } => true,
            Phase::Starting { .. } | Phase::Running { .. } => member.must_stop > Urgency::None,
            Phase::Backoff { .. } => self.strategy == Strategy::OneForAll,
            Phase::Idle | Phase::Down { .. } | Phase::Finished => false,
        }
    }

    /// INV-SUP3: asks children to end that must, the last one first, one at a time unless they are
    /// independent of each other.
    fn begin_stops(&mut self, now: Instant) {
        let is_one_by_one = self.outcome.is_some() || self.strategy != Strategy::OneForOne;
        for member in self.members.iter_mut().rev() {
            if member.must_stop > Urgency::None {
                let is_kill = member.must_stop == Urgency::Kill && self.outcome.is_none();
                let cause = if is_kill { StopCause::Killed } else { StopCause::Wanted };
                member.begin_stop(member.must_stop, cause, now);
            }
            if is_one_by_one && matches!(member.phase, Phase::Stopping { .. }) {
                return;
            }
        }
    }

    fn take_exit(&mut self, id: Id, ended: Ended) {
        let Some(at) = self.members.iter().position(|member| member.has_id(id)) else { return };
        let member = &mut self.members[at];
        member.must_stop = Urgency::None;
        match std::mem::replace(&mut member.phase, Phase::Idle) {
            Phase::Down { reason, .. } => {
                tracing::info!(child = %member.cell.path, "stuck child ended after all");
                member.phase = Phase::Down { reason, lingering: None };
            }
            Phase::Stopping { stop, .. } => match stop.cause {
                StopCause::Killed => self.take_failure(at, Failure::Killed),
                StopCause::NotReady { within } => {
                    self.take_failure(at, Failure::NotReady { within })
                }
                StopCause::Wanted => self.take_wanted_end(at, ended),
            },
            _ => self.take_unasked_end(at, ended),
        }
    }

    /// A child ended because it was asked to.
    fn take_wanted_end(&mut self, at: usize, ended: Ended) {
        let member = &mut self.members[at];
        if let Err(failure) = ended {
            tracing::warn!(child = %member.cell.path, error = %failure, "child failed while stopping");
            member.last_error = Some(failure);
        }
        if member.spec.restart == Restart::Temporary {
            member.phase = Phase::Finished;
        }
    }

    /// A child ended by itself.
    fn take_unasked_end(&mut self, at: usize, ended: Ended) {
        match (ended, self.members[at].spec.restart) {
            (Err(failure), _) => self.take_failure(at, failure),
            (Ok(()), Restart::Permanent) => self.take_failure(at, Failure::Ended),
            (Ok(()), Restart::Transient | Restart::Temporary) => {
                self.members[at].phase = Phase::Finished;
            }
        }
    }

    /// INV-SUP4: a child failed and has ended; decides whether and when it comes back.
    fn take_failure(&mut self, at: usize, failure: Failure) {
        let (now, count) = (Instant::now(), self.members.len());
        let member = &mut self.members[at];
        let child = member.cell.path.clone();
        member.last_error = Some(failure.clone());
        if self.outcome.is_some() || member.goal != Goal::Run {
            tracing::warn!(%child, error = %failure, "child failed while stopping");
            return;
        }
        if member.spec.restart == Restart::Temporary {
            tracing::warn!(%child, error = %failure, "temporary child failed");
            member.phase = Phase::Finished;
            return;
        }
        let own_failures = member.history.record(now, &self.intensity);
        let failures = match self.on_exhausted {
            OnExhausted::StayDown => own_failures,
            OnExhausted::Escalate => self.history.record(now, &self.intensity),
        };
        // INV-SUP1: whatever is stuck below may still run; starting anew could double it.
        if failures > self.intensity.restarts_max || failure.is_stuck() {
            self.give_up(at, failures, failure);
            return;
        }
        let backoff = self.intensity.backoff(own_failures);
        let backoff_ms = u64::try_from(backoff.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(%child, error = %failure, failures, backoff_ms, "child failed; restart scheduled");
        member.phase = Phase::Backoff { until: now + backoff };
        for tied in self.strategy.carried_along(at, count) {
            self.must_stop(tied, Urgency::Orderly);
        }
    }

    /// A child did not end although everything was tried.
    fn take_stuck(&mut self, at: usize, failure: Failure) {
        tracing::error!(child = %self.members[at].cell.path, error = %failure, "child is stuck");
        self.members[at].last_error = Some(failure.clone());
        if self.outcome.is_some() {
            self.members[at].stay_down(failure);
        } else {
            self.give_up(at, 1, failure);
        }
    }

    fn give_up(&mut self, at: usize, failures: u32, last: Failure) {
        let count = self.members.len();
        let child = self.members[at].cell.path.clone();
        self.members[at].stay_down(last.clone());
        match self.on_exhausted {
            OnExhausted::StayDown => {
                tracing::error!(%child, error = %last, failures, "child stays down");
                for tied in self.strategy.carried_along(at, count).filter(|&tied| tied != at) {
                    self.rest(tied, Urgency::Orderly);
                }
            }
            OnExhausted::Escalate => {
                tracing::error!(%child, error = %last, failures, supervisor = %self.path, "supervisor gives up");
                let window = self.intensity.window;
                let last = Box::new(last);
                self.stop_all(
                    Err(Failure::Exhausted { child, failures, window, last }),
                    Urgency::Orderly,
                );
            }
        }
    }

    fn stop_all(&mut self, outcome: Ended, urgency: Urgency) {
        self.outcome.get_or_insert(outcome);
        for at in 0..self.members.len() {
            self.rest(at, urgency);
        }
    }

    /// Brings a member to rest, and wants nothing of it any more.
    fn rest(&mut self, at: usize, urgency: Urgency) {
        let member = &mut self.members[at];
        if member.goal == Goal::Run {
            member.goal = Goal::Rest;
        }
        if matches!(member.phase, Phase::Backoff { .. }) {
            member.phase = Phase::Idle;
        }
        self.must_stop(at, urgency);
    }

    fn must_stop(&mut self, at: usize, urgency: Urgency) {
        let member = &mut self.members[at];
        if member.is_up() {
            member.must_stop = member.must_stop.max(urgency);
        }
    }

    fn take_order(&mut self, order: Order) {
        let Order { wish, reply } = order;
        if self.outcome.is_some() {
            // Whoever gave the order may have stopped waiting; the same holds below.
            drop(reply.send(Err(OrderError::Gone)));
            return;
        }
        let taken = match wish {
            Wish::Add(spec) => self.add(spec),
            Wish::Remove(name) => self.find(&name).map(|at| self.remove(at)),
            Wish::Restart(name) => self.find(&name).and_then(|at| self.restart(at)),
            Wish::Kill(name) => self.find(&name).and_then(|at| self.kill(at)),
        };
        match taken {
            Ok((at, until)) => self.members[at].wait(until, reply),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn add(&mut self, spec: ChildSpec) -> Result<(usize, Until), OrderError> {
        if self.members.iter().any(|member| member.spec.name == spec.name) {
            return Err(SpecError::Duplicate { name: spec.name }.into());
        }
        if self.members.len() >= CHILDREN_MAX {
            let supervisor = self.path.name().into();
            return Err(SpecError::TooMany { supervisor, max: CHILDREN_MAX }.into());
        }
        let member = Member::new(spec, &self.path);
        self.branch.cells.lock().push(member.cell.clone());
        self.members.push(member);
        Ok((self.members.len() - 1, Until::ReadyAfter { incarnation: 0 }))
    }

    fn remove(&mut self, at: usize) -> (usize, Until) {
        self.rest(at, Urgency::Orderly);
        self.members[at].goal = Goal::Leave;
        (at, Until::EndOf { incarnation: self.members[at].incarnation })
    }

    fn restart(&mut self, at: usize) -> Result<(usize, Until), OrderError> {
        let count = self.members.len();
        let member = &mut self.members[at];
        if let Phase::Down { reason, lingering: Some(_) } = &member.phase {
            let (child, reason) = (member.cell.path.clone(), reason.clone());
            return Err(OrderError::Down { child, reason });
        }
        member.history.clear();
        if !member.is_up() {
            member.phase = Phase::Idle;
        }
        let incarnation = member.incarnation;
        for tied in self.strategy.carried_along(at, count) {
            if self.members[tied].goal == Goal::Rest {
                self.members[tied].goal = Goal::Run;
            }
            self.must_stop(tied, Urgency::Orderly);
        }
        Ok((at, Until::ReadyAfter { incarnation }))
    }

    fn kill(&mut self, at: usize) -> Result<(usize, Until), OrderError> {
        if !self.members[at].is_up() {
            return Err(OrderError::NotRunning { child: self.members[at].cell.path.clone() });
        }
        self.must_stop(at, Urgency::Kill);
        Ok((at, Until::EndOf { incarnation: self.members[at].incarnation }))
    }

    fn find(&self, name: &str) -> Result<usize, OrderError> {
        let found = self.members.iter().position(|member| &*member.spec.name == name);
        found.ok_or_else(|| OrderError::NotFound { path: self.path.join(name).to_string() })
    }

    /// The outcome, once there is one and no child is up any more.
    fn outcome_if_over(&mut self) -> Option<Ended> {
        if self.members.iter().any(Member::is_up) { None } else { self.outcome.take() }
    }
}

/// Sleeps until then, or for good.
async fn sleep_until(timer: Option<Instant>) {
    match timer {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
