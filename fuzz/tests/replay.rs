//! Every target over the stored corpus, its seeds and mutations of both: what CI runs, without a fuzzer.
//!
//! The mutations are drawn from fixed seeds, so a failure is found again; proptest shrinks it. To look further:
//! `cargo xtask fuzz TARGET SECONDS`.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::path::{Path, PathBuf};

use keystead_fuzz::{TARGETS, Target};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Mutations that each target is run with.
const MUTATIONS: u32 = 4000;
/// Longest input, bytes.
const INPUT_BYTES_MAX: usize = 4096;

fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// The stored inputs of a target, sorted, and its seeds.
fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let mut inputs = (target.seeds)();
    let mut files: Vec<PathBuf> = match std::fs::read_dir(folder(target)) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    inputs.extend(files.iter().map(|file| std::fs::read(file).unwrap()));
    inputs
}

/// One change of an input.
#[derive(Clone, Debug)]
enum Edit {
    Flip(usize, u8),
    Put(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
    Join(usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let place = any::<usize>();
    prop_oneof![
        3 => (place, 0u8..8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        3 => (place, any::<u8>()).prop_map(|(at, byte)| Edit::Put(at, byte)),
        2 => (place, prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        2 => (place, 1usize..20).prop_map(|(at, count)| Edit::Remove(at, count)),
        1 => (place, 1usize..40).prop_map(|(at, count)| Edit::Repeat(at, count)),
        1 => place.prop_map(Edit::Join),
    ]
}

fn edited(mut bytes: Vec<u8>, edits: &[Edit], inputs: &[Vec<u8>]) -> Vec<u8> {
    for edit in edits {
        let length = bytes.len();
        match edit {
            Edit::Flip(at, bit) if length > 0 => bytes[at % length] ^= 1 << bit,
            Edit::Put(at, byte) if length > 0 => bytes[at % length] = *byte,
            Edit::Insert(at, new) => {
                let at = at % (length + 1);
                bytes.splice(at..at, new.iter().copied());
            }
            Edit::Remove(at, count) if length > 0 => {
                let at = at % length;
                bytes.drain(at..(at + count).min(length));
            }
            Edit::Repeat(at, count) if length > 0 => {
                let at = at % length;
                let again = bytes[at..(at + count).min(length)].to_vec();
                bytes.splice(at..at, again);
            }
            Edit::Join(which) => bytes.extend_from_slice(&inputs[which % inputs.len()]),
            _ => {}
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

fn play(name: &str) {
    let target = keystead_fuzz::target(name).unwrap();
    let inputs = inputs(target);
    assert!(!inputs.is_empty(), "{name} has nothing to begin with");
    inputs.iter().for_each(|input| (target.run)(input));
    let config = Config { cases: MUTATIONS, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let strategy = (any::<usize>(), prop::collection::vec(edit(), 1..12));
    TestRunner::new_with_rng(config, rng)
        .run(&strategy, |(which, edits)| {
            let input = edited(inputs[which % inputs.len()].clone(), &edits, &inputs);
            (target.run)(&input);
            Ok(())
        })
        .unwrap();
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { play(stringify!($name)); })*
        const PLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}

targets! {
    commands configuration control forwarded frames greetings inline json log lua messages metadata payloads records replies
    requests snapshot_files store_dumps
}

#[test]
fn every_target_is_played_and_has_a_program_of_its_name() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, PLAYED);
    let mut programs: Vec<String> =
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
    programs.sort();
    assert_eq!(programs, names);
}
