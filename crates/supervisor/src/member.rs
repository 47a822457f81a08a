//! One child inside its supervisor: its phase, what is wanted of it, who waits for it.
//! Owns: [`Member`] and its transitions that concern no sibling. Never: order among siblings, restart
//! policy (see `actor`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::Id;
use tokio::time::Instant;

use crate::handle::OrderError;
use crate::intensity::History;
use crate::launch::Live;
use crate::shutdown::Urgency;
use crate::spec::{Child, ChildSpec, Readiness};
use crate::tree::{Cell, ChildKind, ChildPath, ChildState};
use crate::{Failure, Restart};

/// Time an aborted task has until its next await point; then it counts as stuck.
const ABORT_GRACE: Duration = Duration::from_secs(5);

pub(crate) struct Member {
    pub(crate) spec: ChildSpec,
    pub(crate) cell: Arc<Cell>,
    pub(crate) phase: Phase,
    pub(crate) goal: Goal,
    /// Its present incarnation must end, this urgently; what follows is the goal's business.
    pub(crate) must_stop: Urgency,
    pub(crate) history: History,
    pub(crate) restarts: u64,
    /// Counts starts; tells incarnations apart.
    pub(crate) incarnation: u64,
    pub(crate) last_error: Option<Failure>,
    waiters: Vec<Waiter>,
}

/// What is wanted of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Run,
    /// Stay stopped, but in the list.
    Rest,
    /// Stop and be forgotten.
    Leave,
}

/// What a child is doing, as its supervisor sees it.
pub(crate) enum Phase {
    Idle,
    Backoff { until: Instant },
    Starting { live: Live, deadline: Option<Instant> },
    Running { live: Live },
    Stopping { live: Live, stop: Stop },
    Down { reason: Failure, lingering: Option<Live> },
    Finished,
}

/// A stop under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) cause: StopCause,
    urgency: Urgency,
    since: Instant,
    /// When to become more urgent, or to give up. None for a supervisor: its children have theirs.
    deadline: Option<Instant>,
}

/// Why a child is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// Its siblings or an order ask for it: not its failure.
    Wanted,
    Killed,
    NotReady {
        within: Duration,
    },
}

/// What became of a stop whose deadline passed.
pub(crate) enum Overdue {
    No,
    Stuck { grace: Duration },
}

/// Somebody who gave an order and waits for its end.
struct Waiter {
    until: Until,
    reply: oneshot::Sender<Result<(), OrderError>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// An incarnation after this one is ready, or has done its work.
    ReadyAfter { incarnation: u64 },
    /// This incarnation has ended.
    EndOf { incarnation: u64 },
}

impl Member {
    pub(crate) fn new(spec: ChildSpec, parent: &ChildPath) -> Self {
        let kind = match spec.start {
            Child::Task(_) => ChildKind::Task,
            Child::Thread(_) => ChildKind::Thread,
            Child::Supervisor(_) => ChildKind::Supervisor,
        };
        let cell = Cell::new(parent.join(&spec.name), kind);
        Self {
            spec,
            cell,
            phase: Phase::Idle,
            goal: Goal::Run,
            must_stop: Urgency::None,
            history: History::default(),
            restarts: 0,
            incarnation: 0,
            last_error: None,
            waiters: Vec::new(),
        }
    }

    /// The incarnation that has not ended yet, if any.
    pub(crate) fn live(&self) -> Option<&Live> {
        match &self.phase {
            Phase::Starting { live, .. }
            | Phase::Running { live }
            | Phase::Stopping { live, .. } => Some(live),
            Phase::Down { lingering, .. } => lingering.as_ref(),
            Phase::Idle | Phase::Backoff { .. } | Phase::Finished => None,
        }
    }

    pub(crate) fn has_id(&self, id: Id) -> bool {
        self.live().is_some_and(|live| live.id() == id)
    }

    /// True while an incarnation runs that a stop would concern.
    pub(crate) fn is_up(&self) -> bool {
        matches!(
            self.phase,
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping { .. }
        )
    }

    /// True if nothing is to be awaited of it: it runs, or will not without an order.
    pub(crate) fn is_settled(&self) -> bool {
        match self.phase {
            Phase::Running { .. } | Phase::Down { .. } | Phase::Finished => true,
            Phase::Idle => self.goal != Goal::Run,
            Phase::Backoff { .. } | Phase::Starting { .. } | Phase::Stopping { .. } => false,
        }
    }

    /// True if it is only waiting for its turn.
    pub(crate) fn wants_start(&self) -> bool {
        matches!(self.phase, Phase::Idle) && self.goal == Goal::Run
    }

    pub(crate) fn note_backoff_over(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Backoff { until } if until <= now) {
            self.phase = Phase::Idle;
        }
    }

    pub(crate) fn started(&mut self, live: Live, now: Instant) {
        self.incarnation += 1;
        self.must_stop = Urgency::None;
        if self.incarnation > 1 {
            self.restarts += 1;
        }
        self.cell.change(|shown| shown.started_at = Some(now));
        self.phase = match self.spec.readiness {
            Readiness::AtOnce => Phase::Running { live },
            Readiness::Within(within) => Phase::Starting { live, deadline: Some(now + within) },
            Readiness::WhenSettled => Phase::Starting { live, deadline: None },
        };
    }

    pub(crate) fn note_readiness(&mut self) {
        let Phase::Starting { live, .. } = &self.phase else { return };
        if !live.is_ready() {
            return;
        }
        if let Phase::Starting { live, .. } = std::mem::replace(&mut self.phase, Phase::Idle) {
            self.phase = Phase::Running { live };
        }
    }

    /// Takes note of a child that did not say it is ready in time.
    pub(crate) fn note_late_start(&mut self, now: Instant) {
        let Phase::Starting { deadline: Some(deadline), .. } = self.phase else { return };
        if let (Readiness::Within(within), true) = (self.spec.readiness, deadline <= now) {
            self.begin_stop(Urgency::Kill, StopCause::NotReady { within }, now);
        }
    }

    /// Asks the running incarnation to end, or once more if it now is more urgent.
    pub(crate) fn begin_stop(&mut self, urgency: Urgency, cause: StopCause, now: Instant) {
        let (live, cause) = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Stopping { live, stop } if stop.urgency >= urgency => {
                self.phase = Phase::Stopping { live, stop };
                return;
            }
            Phase::Stopping { live, stop } => (live, stop.cause),
            Phase::Starting { live, .. } | Phase::Running { live } => (live, cause),
            other => {
                self.phase = other;
                return;
            }
        };
        live.stop(urgency);
        let deadline = self.grace(urgency).map(|grace| now + grace);
        self.phase = Phase::Stopping { live, stop: Stop { cause, urgency, since: now, deadline } };
    }

    /// Aborts a task that overstays its grace; says so if there is nothing more to be done.
    pub(crate) fn check_stop(&mut self, now: Instant) -> Overdue {
        let Phase::Stopping { stop, .. } = &self.phase else { return Overdue::No };
        let Some(deadline) = stop.deadline else { return Overdue::No };
        let (cause, since, urgency) = (stop.cause, stop.since, stop.urgency);
        if deadline > now {
            return Overdue::No;
        }
        if urgency == Urgency::Kill || matches!(self.spec.start, Child::Thread(_)) {
            return Overdue::Stuck { grace: now.duration_since(since) };
        }
        self.begin_stop(Urgency::Kill, cause, now);
        Overdue::No
    }

    /// Gives up on the present incarnation; it is remembered until it ends (INV-SUP1).
    pub(crate) fn stay_down(&mut self, reason: Failure) {
        let lingering = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Starting { live, .. }
            | Phase::Running { live }
            | Phase::Stopping { live, .. } => Some(live),
            Phase::Down { lingering, .. } => lingering,
            Phase::Idle | Phase::Backoff { .. } | Phase::Finished => None,
        };
        self.must_stop = Urgency::None;
        self.phase = Phase::Down { reason, lingering };
    }

    /// When something is to be done about it without anything else happening.
    pub(crate) fn timer(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Backoff { until } => Some(*until),
            Phase::Starting { deadline, .. } => *deadline,
            Phase::Stopping { stop, .. } => stop.deadline,
            _ => None,
        }
    }

    /// True if its end is final: it leaves the list.
    pub(crate) fn is_leaving(&self) -> bool {
        let is_over = self.live().is_none();
        let is_spent =
            matches!(self.phase, Phase::Finished) && self.spec.restart == Restart::Temporary;
        is_over && (is_spent || self.goal == Goal::Leave)
    }

    pub(crate) fn wait(&mut self, until: Until, reply: oneshot::Sender<Result<(), OrderError>>) {
        self.waiters.push(Waiter { until, reply });
    }

    /// Answers those whose order is carried out, or cannot be.
    pub(crate) fn answer_waiters(&mut self) {
        let waiters = std::mem::take(&mut self.waiters);
        for waiter in waiters {
            match self.answer(waiter.until) {
                None => self.waiters.push(waiter),
                // Whoever gave the order may have stopped waiting.
                Some(answer) => drop(waiter.reply.send(answer)),
            }
        }
    }

    fn answer(&self, until: Until) -> Option<Result<(), OrderError>> {
        match (until, &self.phase) {
            (_, Phase::Down { reason, lingering: Some(_) }) => Some(Err(self.down(reason))),
            (Until::EndOf { incarnation }, _) => {
                (self.live().is_none() || self.incarnation > incarnation).then_some(Ok(()))
            }
            (Until::ReadyAfter { .. }, Phase::Down { reason, .. }) => Some(Err(self.down(reason))),
            (Until::ReadyAfter { incarnation }, Phase::Running { .. } | Phase::Finished) => {
                (self.incarnation > incarnation).then_some(Ok(()))
            }
            (Until::ReadyAfter { .. }, _) => None,
        }
    }

    fn down(&self, reason: &Failure) -> OrderError {
        OrderError::Down { child: self.cell.path.clone(), reason: reason.clone() }
    }

    /// Shows the present state to the world.
    pub(crate) fn publish(&self) {
        let state = match &self.phase {
            Phase::Idle if self.goal == Goal::Run => ChildState::Waiting,
            Phase::Idle | Phase::Finished => ChildState::Stopped,
            Phase::Backoff { until } => ChildState::Backoff { until: *until },
            Phase::Starting { .. } => ChildState::Starting,
            Phase::Running { .. } => ChildState::Running,
            Phase::Stopping { .. } => ChildState::Stopping,
            Phase::Down { reason, .. } => ChildState::Down { reason: reason.clone() },
        };
        self.cell.change(|shown| {
            shown.state = state;
            shown.restarts = self.restarts;
            shown.last_error.clone_from(&self.last_error);
        });
    }

    fn grace(&self, urgency: Urgency) -> Option<Duration> {
        match (&self.spec.start, urgency) {
            (Child::Supervisor(_), _) => None,
            (Child::Task(_), Urgency::Kill) => Some(ABORT_GRACE),
            (Child::Task(_) | Child::Thread(_), _) => Some(self.spec.shutdown_grace),
        }
    }
}
