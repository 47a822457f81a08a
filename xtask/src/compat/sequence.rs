//! What is played through a cluster: the store's own scripts, and random sequences of the shapes beside them.
//! Owns: the order, which follows from a seed, and what a random line is made of. Never: sends anything.
//!
//! Each sequence begins with no keys in database 0 and needs no state of its connection but the database that its last SELECT
//! selected, so any node may be asked for any line.

use std::collections::BTreeMap;
use std::path::Path;

use super::script::{self, Comparison, OF_THE_STORE, SHAPES, Script, Step};
use crate::project::{Outcome, Project};

/// Commands that leave something beside the keys, which outlives FLUSHALL: scripts and libraries.
const BESIDE_KEYS: [&str; 3] = ["EVAL", "FUNCTION", "SCRIPT"];
/// The command whose reply has no order, also where a script knows of one key only.
const KEYS: &str = "KEYS";
/// Commands that tell how much time has passed, or is left: more of it passes here while a leader is elected.
const TELL_OF_TIME: [&str; 10] = [
    "TTL",
    "PTTL",
    "EXPIRETIME",
    "PEXPIRETIME",
    "HTTL",
    "HPTTL",
    "HEXPIRETIME",
    "HPEXPIRETIME",
    "XPENDING",
    "XINFO",
];
/// The one word behind OBJECT that does.
const IDLETIME: &str = "IDLETIME";
/// What stands for a word of a shape.
const WORDS: &str = "crates/store/tests/against_redis/words";
/// Lines of a random sequence: enough for values of every type to be met by commands of every other.
const RANDOM_LINES: usize = 120;

/// Numbers that follow from a seed (SplitMix64).
pub(super) struct Draw(u64);

impl Draw {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A place in a list of this length, which is at least 1.
    pub(super) fn place(&mut self, length: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap_or_default() % length
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.place(from.len())]
    }
}

/// One command of a sequence.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) words: Vec<Vec<u8>>,
    pub(super) comparison: Comparison,
}

impl Line {
    fn new(text: String, words: Vec<Vec<u8>>, comparison: Comparison) -> Self {
        let tells_of_time = TELL_OF_TIME.iter().any(|name| is_called(&words, name))
            || words.get(1).is_some_and(|word| word.eq_ignore_ascii_case(IDLETIME.as_bytes()));
        let comparison = if is_called(&words, KEYS) {
            Comparison::Sorted
        } else if tells_of_time {
            Comparison::Shape
        } else {
            comparison
        };
        Self { text, words, comparison }
    }

    /// True if it may leave a script or a library.
    pub(super) fn is_beside_keys(&self) -> bool {
        BESIDE_KEYS.iter().any(|name| is_called(&self.words, name))
    }
}

/// Commands that belong together.
pub(super) struct Sequence {
    /// Where it comes from.
    pub(super) name: String,
    pub(super) lines: Vec<Line>,
}

/// All there is to be played.
pub(super) struct Sequences {
    scripts: Vec<Script>,
    /// Lines with words to be replaced, by the file they stand in.
    shapes: Vec<(String, Vec<String>)>,
    words: BTreeMap<String, Vec<String>>,
}

impl Sequences {
    pub(super) fn read(project: &Project) -> Outcome<Self> {
        let files = project.files(OF_THE_STORE, "txt")?;
        let (shapes, scripts): (Vec<_>, Vec<_>) =
            files.iter().partition(|path| stem(path).starts_with(SHAPES));
        let read_shapes = |path: &&std::path::PathBuf| -> Outcome<(String, Vec<String>)> {
            let text = project.read(path)?;
            Ok((stem(path), text.lines().map(str::to_owned).collect()))
        };
        let words = project.read(WORDS)?;
        let words = words.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(Self {
            scripts: scripts
                .into_iter()
                .map(|path| Script::read(project, path))
                .collect::<Outcome<_>>()?,
            shapes: shapes.iter().map(read_shapes).collect::<Outcome<_>>()?,
            words: words
                .map(|line| {
                    let mut words = line.split(' ').map(str::to_owned);
                    (words.next().unwrap_or_default(), words.collect())
                })
                .collect(),
        })
    }

    /// How many sequences a turn has: each script, and one random sequence of each file of shapes.
    pub(super) fn count(&self) -> usize {
        self.scripts.len() + self.shapes.len()
    }

    /// Sequence `number`, turn after turn.
    pub(super) fn get(&self, number: usize, draw: &mut Draw) -> Outcome<Sequence> {
        let at = number % self.count();
        match self.scripts.get(at) {
            Some(script) => Ok(of_script(script)),
            None => self.random(&self.shapes[at - self.scripts.len()], draw),
        }
    }

    fn random(&self, (name, shapes): &(String, Vec<String>), draw: &mut Draw) -> Outcome<Sequence> {
        let mut lines = Vec::new();
        for _ in 0..RANDOM_LINES {
            let shape = draw.pick::<String>(shapes);
            let drawn: Vec<&str> = shape
                .split(' ')
                .map(|word| self.words.get(word).map_or(word, |from| draw.pick::<String>(from)))
                .collect();
            let drawn = drawn.join(" ");
            let (text, comparison) = match drawn.strip_prefix("~ ") {
                Some(text) => (text.to_owned(), Comparison::Sorted),
                None => (drawn, Comparison::Exact),
            };
            let words = script::words(&text)?;
            lines.push(Line::new(text, words, comparison));
        }
        Ok(Sequence { name: name.clone(), lines })
    }
}

/// The commands of a script.
fn of_script(script: &Script) -> Sequence {
    let lines = script.lines.iter().filter_map(|line| match &line.step {
        Step::Send { text, words, comparison, .. } => {
            Some(Line::new(text.clone(), words.clone(), *comparison))
        }
        _ => None,
    });
    Sequence { name: script.name.clone(), lines: lines.collect() }
}

fn is_called(words: &[Vec<u8>], name: &str) -> bool {
    words[0].eq_ignore_ascii_case(name.as_bytes())
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_lines_again() {
        let sequences = Sequences::read(&Project::here().expect("a checkout")).expect("the files");
        let last = sequences.count() - 1;
        let text = |seed| -> Vec<String> {
            let sequence = sequences.get(last, &mut Draw::new(seed)).expect("lines with a form");
            sequence.lines.into_iter().map(|line| line.text).collect()
        };
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
        assert!(text(7).iter().all(|line| !line.contains(" K") && !line.contains(" Z ")));
    }
}
