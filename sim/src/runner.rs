//! Seeds one after the other: catching what fails, saying how to see it again, and what was put to the test.
//! Owns: the sum over seeds, the failure's text. Never: plays by other rules than `play`.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use std::time::{Duration, Instant};

use keystead_types::mistakes::{self, Mistake};

use crate::coverage::{Coverage, Event};
use crate::play::play_in;
use crate::scenario::{Manner, SECOND, Scenario};
use crate::trace::Trace;
use crate::world::World;

thread_local! {
    /// The last panic of this thread, which nobody printed.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// By which seed.
    pub seed: u64,
    /// What was broken, with the facts.
    pub reason: String,
    /// What happened last, if lines were kept.
    pub lines: Vec<String>,
}

/// The sum over seeds that held.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// How many.
    pub seeds: u64,
    /// What was put to the test.
    pub coverage: Coverage,
    /// How long they lasted in the world.
    pub simulated_us: u64,
    /// How long they took.
    pub took: Duration,
}

impl Sum {
    /// Simulated seconds per second.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.simulated_us as f64 / SECOND as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Adds a seed.
    pub fn add(&mut self, coverage: &Coverage, simulated_us: u64, took: Duration) {
        self.seeds += 1;
        self.coverage.add(coverage);
        self.simulated_us += simulated_us;
        self.took += took;
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.simulated_us as f64 / SECOND as f64;
        writeln!(
            f,
            "{} seeds, {:.0} s simulated ({:.2} days) in {:.1} s: {:.0} simulated seconds per second",
            self.seeds,
            seconds,
            seconds / 86_400.0,
            self.took.as_secs_f64(),
            self.speed()
        )?;
        let per_second = |event| self.coverage.of(event) as f64 / seconds.max(1e-9);
        writeln!(
            f,
            "load of a simulated second: {:.2} operations answered, {:.3} faults, {:.3} elections",
            per_second(Event::Answered),
            per_second(Event::Fault),
            per_second(Event::Election)
        )?;
        let counts: Vec<String> =
            self.coverage.iter().map(|(name, count)| format!("{name} {count}")).collect();
        for line in counts.chunks(6) {
            writeln!(f, "  {}", line.join(", "))?;
        }
        Ok(())
    }
}

/// Plays a scenario, making `mistake` on purpose if there is one.
///
/// # Errors
/// [`Failure`] if a promise was broken.
pub fn run(
    scenario: Scenario,
    mistake: Option<Mistake>,
    keeps_lines: bool,
) -> Result<(Coverage, u64), Box<Failure>> {
    catch_silently();
    mistakes::make(mistake);
    let seed = scenario.seed;
    let mut world = None;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let world = world.insert(World::new(scenario, Trace::new(keeps_lines, false)));
        play_in(world);
    }));
    mistakes::make(None);
    let lines = |world: &World| world.trace.lines().map(str::to_owned).collect();
    match (outcome, world) {
        (Ok(()), Some(world)) => Ok((world.coverage, world.now_us)),
        (_, world) => {
            let reason = LAST_PANIC.take();
            let lines = world.as_ref().map(lines).unwrap_or_default();
            Err(Box::new(Failure { seed, reason, lines }))
        }
    }
}

/// Plays a seed and adds it to a sum.
///
/// # Errors
/// [`Failure`] if a promise was broken.
pub fn run_into(sum: &mut Sum, seed: u64, manner: Manner) -> Result<(), Box<Failure>> {
    let begun = Instant::now();
    let (coverage, simulated_us) = run(Scenario::draw(seed, manner), None, false)?;
    sum.add(&coverage, simulated_us, begun.elapsed());
    Ok(())
}

/// Keeps panics to be told by whoever caught them: replicas that fall on purpose would fill the screen.
fn catch_silently() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(note_panic)));
}

fn note_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("a panic without words");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    LAST_PANIC.with_borrow_mut(|last| *last = format!("{text}\n  at {place}"));
}
