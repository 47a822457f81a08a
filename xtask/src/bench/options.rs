//! What the command line of `bench` sets.
//! Owns: flags and their defaults. Never: what a flag does.

use std::path::PathBuf;

use crate::project::Outcome;
use crate::server::Binary;

const USAGE: &str =
    "cargo xtask bench [SUITE...] [--rounds N] [--requests N] [--keys N] [--only ROW,...]
                  [--json FILE] [--markdown] [--binary KEYSTEAD] [--against-itself]
cargo xtask bench curves [CURVE...] [--keys MAX] [--rounds N] [--requests N] [--json FILE] [--markdown]
cargo xtask bench plots FILE.json [FOLDER]
cargo xtask bench micro [PIECE] [flags of criterion]
cargo xtask bench disk FOLDER [BLOCKS]
cargo xtask bench instructions [update]
cargo xtask bench where [LOAD...] [--seconds S] [--keys N] [--value-bytes N] [--durability fsync|replicated]
                  [--markdown]
cargo xtask bench flame get|set-one|set-three|get-three [--connections C] [--pipeline P] [--seconds S]
                  [--keys N] [--value-bytes N] [--durability fsync|replicated]
                  [--output FILE.svg] [--json FILE] [--binary KEYSTEAD]
--against-itself puts redis in Keystead's place: the differences then show the machine's noise
--markdown prints tables as docs/performance.md shows them; --only takes parts of rows' names";

/// The flags, and the words that are none.
pub(super) struct Options {
    pub(super) rounds: usize,
    pub(super) requests: u64,
    pub(super) keys: u64,
    pub(super) only: Vec<String>,
    pub(super) json: Option<PathBuf>,
    pub(super) is_markdown: bool,
    pub(super) binary: Binary,
    pub(super) is_against_itself: bool,
    pub(super) connections: usize,
    pub(super) pipeline: usize,
    pub(super) value_bytes: usize,
    pub(super) seconds: u64,
    pub(super) durability: String,
    pub(super) output: Option<PathBuf>,
    /// Suites, curves or loads.
    pub(super) words: Vec<String>,
}

impl Options {
    /// Reads the command line; what is wrong with it comes with what there is.
    pub(super) fn parse(arguments: &[String]) -> Outcome<Self> {
        Self::read(arguments).map_err(|error| format!("{error}\n{USAGE}").into())
    }

    fn read(arguments: &[String]) -> Outcome<Self> {
        let mut options = Self {
            rounds: 3,
            requests: 200_000,
            keys: 1_000_000,
            only: Vec::new(),
            json: None,
            is_markdown: false,
            binary: Binary::Release,
            is_against_itself: false,
            connections: 50,
            pipeline: 1,
            value_bytes: 64,
            seconds: 10,
            durability: "fsync".to_owned(),
            output: None,
            words: Vec::new(),
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--against-itself" => options.is_against_itself = true,
                "--markdown" => options.is_markdown = true,
                "--help" => return Err("what there is:".into()),
                word if !word.starts_with("--") => options.words.push(word.to_owned()),
                flag => {
                    let value = rest.next().ok_or_else(|| format!("{flag} needs a value"))?;
                    options.set(flag, value)?;
                }
            }
        }
        Ok(options)
    }

    fn set(&mut self, flag: &str, value: &str) -> Outcome {
        match flag {
            "--rounds" => self.rounds = value.parse::<usize>()?.max(1),
            "--requests" => self.requests = value.parse::<u64>()?.max(1000),
            "--keys" => self.keys = value.parse::<u64>()?.max(1000),
            "--only" => self.only = value.split(',').map(|s| s.trim().to_owned()).collect(),
            "--json" => self.json = Some(value.into()),
            "--binary" => self.binary = Binary::Named(value.into()),
            "--connections" => self.connections = value.parse::<usize>()?.max(1),
            "--pipeline" => self.pipeline = value.parse::<usize>()?.max(1),
            "--value-bytes" => self.value_bytes = value.parse::<usize>()?.max(1),
            "--seconds" => self.seconds = value.parse::<u64>()?.max(1),
            "--durability" => self.durability = value.to_owned(),
            "--output" => self.output = Some(value.into()),
            _ => return Err(format!("there is no flag `{flag}`").into()),
        }
        Ok(())
    }

    /// True if the row is to be run: its name contains one of the words of `--only`.
    pub(super) fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| row.contains(word.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn options_are_read_in_any_order() {
        let words = ["--rounds", "5", "three", "--markdown", "--only", "GET, SET 50"];
        let options = Options::parse(&words.map(str::to_owned)).expect("all of these exist");
        assert_eq!((options.rounds, options.words.as_slice()), (5, &["three".to_owned()][..]));
        assert!(options.wants("GET, 50") && !options.wants("INCR") && options.is_markdown);
        assert!(Options::parse(&["--what".to_owned(), "1".to_owned()]).is_err());
        assert!(Options::parse(&["--keys".to_owned()]).is_err());
    }
}
