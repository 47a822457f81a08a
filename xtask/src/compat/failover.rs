//! `compat --failover`: sequences of commands through three nodes of which the leader is killed again and again.
//!
//! Owns: the run. redis-server is told what the cluster was told, and every reply is compared. Never: compares what nobody can
//! know: a command that was refused ("nothing happened") is sent again, and one whose outcome is unknown is settled by what
//! the cluster then holds, which must be what it held before or what redis-server holds after it; nothing else.
//!
//! ```text
//!   sequence (seed) --> any node that runs --> reply  ==  reply <-- redis-server
//!                  \--> every so often: the command is on its way, and the leader is killed
//! ```
//! At the end the replicas' digests must be equal (CLUSTER SYNC). Which commands are sent, and before which a node dies, follows
//! from the seed; what a kill makes of the command under way does not.

mod ground;
mod reference;

use std::path::Path;
use std::time::{Duration, Instant};

use super::contents::Contents;
use super::differences::Differences;
use super::player::{is_equal, show};
use super::sequence::{Draw, Line, Sequence, Sequences};
use crate::project::{Outcome, Project};
use crate::server::{self, Scratch};
use ground::{Ground, Told};
use reference::Reference;

/// Longest time for which a command may be refused, or a read stay unanswered, after a kill.
const REFUSED_MAX: Duration = Duration::from_secs(20);
/// Commands between two kills: at least so many, and up to as many again and more, as is drawn.
const COMMANDS_BETWEEN_MIN: usize = 200;
const COMMANDS_BETWEEN_DRAWN: usize = 1_000;
/// How long a killed node stays away, in commands, drawn up to this.
const COMMANDS_AWAY: usize = 300;

/// What a run is to be.
pub(super) struct Plan {
    /// Which sequences in which order, and when nodes die.
    pub(super) seed: u64,
    /// After this no new sequence is begun.
    pub(super) time: Duration,
}

/// What a run came to.
#[derive(Default)]
struct Tally {
    sequences: usize,
    compared: usize,
    as_intended: usize,
    refused: usize,
    happened: usize,
    not_happened: usize,
    differing: usize,
}

/// Both sides and what was found.
struct Run {
    ground: Ground,
    redis: Reference,
    draw: Draw,
    differences: Differences,
    tally: Tally,
    /// Commands sent so far, and the counts at which a node dies and returns.
    sent: usize,
    kill_at: usize,
    return_at: usize,
}

/// Plays sequences until the time is over.
pub(super) fn run(project: &Project, binary: &Path, scratch: &Scratch, plan: &Plan) -> Outcome {
    let sequences = Sequences::read(project)?;
    let redis = server::redis(&scratch.folder("redis")?, &super::REDIS_SETTINGS)?;
    let mut run = Run {
        ground: Ground::found(binary, scratch)?,
        redis: Reference::at(redis.address)?,
        draw: Draw::new(plan.seed),
        differences: Differences::read(project)?,
        tally: Tally::default(),
        sent: 0,
        kill_at: 0,
        return_at: 0,
    };
    println!("seed {}, {} sequences in a turn", plan.seed, sequences.count());
    run.plan_a_kill();
    let start = Instant::now();
    let mut number = run.draw.place(sequences.count());
    while start.elapsed() < plan.time || run.ground.kills == 0 {
        let sequence = sequences.get(number, &mut run.draw)?;
        run.play(&sequence).map_err(|error| format!("seed {}: {error}", plan.seed))?;
        number += 1;
    }
    run.ground.bring_back()?;
    run.ground.compare_replicas()?;
    run.tell(start.elapsed());
    match run.tally.differing {
        0 => Ok(()),
        count => Err(format!("{count} differences with seed {}, see above", plan.seed).into()),
    }
}

impl Run {
    fn plan_a_kill(&mut self) {
        self.kill_at = self.sent + COMMANDS_BETWEEN_MIN + self.draw.place(COMMANDS_BETWEEN_DRAWN);
        self.return_at = self.kill_at + 1 + self.draw.place(COMMANDS_AWAY);
    }

    /// Plays a sequence, from no keys to the comparison of what it leaves.
    fn play(&mut self, sequence: &Sequence) -> Outcome {
        self.tally.sequences += 1;
        // Emptying twice is emptying once: an unknown outcome is no reason to stop.
        self.until_told(0, &[b"FLUSHALL"])?;
        self.redis.empty()?;
        if sequence.lines.iter().any(Line::is_beside_keys) {
            for words in [[&b"SCRIPT"[..], b"FLUSH"], [b"FUNCTION", b"FLUSH"]] {
                self.until_told(0, &words)?;
                self.redis.call(&words)?;
            }
        }
        for line in &sequence.lines {
            let place = |error| format!("{}: {}: {error}", sequence.name, line.text);
            if !self.play_line(line).map_err(place)? {
                // The cluster did not do what redis-server did: from here on they differ.
                return Ok(());
            }
        }
        let redis = self.redis.contents()?;
        let found = Contents::of(|database, words| self.until_told(database, words))?;
        self.note_difference(&sequence.name, "what is left", &redis, &found);
        Ok(())
    }

    /// Plays one line. Returns false if it did not happen here, but did there.
    fn play_line(&mut self, line: &Line) -> Outcome<bool> {
        let words: Vec<&[u8]> = line.words.iter().map(Vec::as_slice).collect();
        if self.ground.is_one_down() && self.sent >= self.return_at {
            self.ground.start_again()?;
            self.plan_a_kill();
        }
        let mut is_deadly = !self.ground.is_one_down() && self.sent >= self.kill_at;
        self.sent += 1;
        let start = Instant::now();
        loop {
            let database = self.redis.selected();
            let told = if std::mem::take(&mut is_deadly) {
                self.ground.call_and_kill(database, &words, &mut self.draw)?
            } else {
                self.ground.call(database, &words, &mut self.draw)
            };
            match told {
                Told::Reply(tested) => {
                    let redis = self.redis.call(&words)?;
                    self.compare(line, &redis, &tested);
                    return Ok(true);
                }
                Told::Refused(why) => {
                    self.tally.refused += 1;
                    if start.elapsed() > REFUSED_MAX {
                        let waited = REFUSED_MAX.as_secs();
                        return Err(format!("refused for {waited} s: {why}").into());
                    }
                }
                Told::Unknown => return self.settle(line, &words),
            }
        }
    }

    fn compare(&mut self, line: &Line, redis: &[u8], tested: &[u8]) {
        self.tally.compared += 1;
        if is_equal(line.comparison, redis, tested) {
            return;
        }
        if self.differences.explain(&line.text) {
            self.tally.as_intended += 1;
            return;
        }
        self.tally.differing += 1;
        println!("{}\n    redis    {}\n    keystead {}", line.text, show(redis), show(tested));
    }

    /// Finds out whether a command of unknown outcome happened. True if both sides are alike again.
    fn settle(&mut self, line: &Line, words: &[&[u8]]) -> Outcome<bool> {
        let before = self.redis.contents()?;
        self.redis.call(words)?;
        let after = self.redis.contents()?;
        let found = Contents::of(|database, words| self.until_told(database, words))?;
        if found == after {
            self.tally.happened += 1;
            // Keys do not tell whether a script or a library was taken.
            return Ok(!line.is_beside_keys());
        }
        self.tally.not_happened += 1;
        self.note_difference(
            &line.text,
            "neither done nor undone: what was there",
            &before,
            &found,
        );
        Ok(false)
    }

    fn note_difference(&mut self, place: &str, what: &str, redis: &Contents, found: &Contents) {
        if redis == found {
            return;
        }
        self.tally.differing += 1;
        println!("{place}: {what} (redis | keystead):");
        redis.differences(found).iter().for_each(|line| println!("    {line}"));
    }

    /// The reply to a command that may be sent as often as need be.
    fn until_told(&mut self, database: u16, words: &[&[u8]]) -> Outcome<Vec<u8>> {
        let start = Instant::now();
        while start.elapsed() < REFUSED_MAX {
            if let Told::Reply(reply) = self.ground.call(database, words, &mut self.draw) {
                return Ok(reply);
            }
        }
        let shown = words.join(&b' ').escape_ascii().to_string();
        Err(format!("no answer to {shown} for {} s", REFUSED_MAX.as_secs()).into())
    }

    fn tell(&self, took: Duration) {
        let Tally { sequences, compared, as_intended, refused, happened, not_happened, .. } =
            &self.tally;
        println!(
            "{} s: {sequences} sequences, {compared} replies compared, {as_intended} differ as intended; {} leaders \
             killed, {refused} refusals, of unknown outcome {happened} done and {not_happened} not; digests equal",
            took.as_secs(),
            self.ground.kills,
        );
    }
}
