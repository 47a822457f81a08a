//! Instructions of the hot pieces, counted by valgrind and compared with those that are stored.
//!
//! Owns: running the pieces under callgrind, the margin, `bench/instructions.json`. Never: times anything: a count is
//! the same on a busy machine and on an idle one, which is what CI needs.
//!
//! Counting is on only within the function `counted_calls` of `bench/src/bin/instructions.rs`. Two counts of one build
//! are equal; counts of two builds of one source are equal if compiler, C library and processor features are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::apart;
use crate::project::{Outcome, Project, find_program};
use crate::server::Scratch;

const STORED: &str = "bench/instructions.json";
/// How far a count may be from the stored one, percent. What changes a hot piece on purpose changes it by more;
/// what the layout of other code changes (an inlining decision) stays below, most often.
const MARGIN_PERCENT: f64 = 3.0;
const UPDATE: &str = "cargo xtask bench instructions update";

/// A piece as its program lists it.
#[derive(Clone, Debug, PartialEq)]
struct Piece {
    name: String,
    operations: f64,
    about: String,
}

/// What a count says beside the stored one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Same,
    /// By so many percent.
    Dearer(f64),
    /// By so many percent.
    Cheaper(f64),
    /// Nothing is stored for it.
    New,
}

/// Counts, and compares with what is stored or stores it.
pub(super) fn run(project: &Project, arguments: &[String]) -> Outcome {
    let is_update = match arguments {
        [] => false,
        [word] if word == "update" => true,
        _ => return Err("cargo xtask bench instructions [update]".into()),
    };
    let program = apart::program(project, "instructions")?;
    let pieces = list(&program)?;
    let scratch = Scratch::new(project, "instructions")?;
    let counts = count_all(&program, &pieces, &scratch.folder("counts")?)?;
    let compiler = compiler(project)?;
    if is_update {
        let page = json!({
            "what": "instructions of an operation; written by `cargo xtask bench instructions update`",
            "compiler": compiler,
            "pieces": counts,
        });
        let text = serde_json::to_string_pretty(&page)? + "\n";
        std::fs::write(project.path(STORED), text)?;
    }
    let stored: Value = serde_json::from_str(&project.read(STORED)?)?;
    let failures = compare(&pieces, &counts, &stored["pieces"]);
    if failures.is_empty() {
        return Ok(());
    }
    let mut text = failures;
    if stored["compiler"] != json!(compiler) {
        let before = stored["compiler"].as_str().unwrap_or("another compiler");
        writeln!(text, "the stored counts are of {before}, these of {compiler}: store new ones")?;
    }
    Err(text.into())
}

/// Prints every piece and returns what is to be said about those beyond the margin.
fn compare(pieces: &[Piece], counts: &BTreeMap<String, f64>, stored: &Value) -> String {
    let mut text = String::new();
    println!("{:<16}{:>12}{:>12}{:>9}", "piece", "stored", "counted", "%");
    for piece in pieces {
        let count = counts.get(&piece.name).copied().unwrap_or(0.0);
        let before = stored[&piece.name].as_f64();
        let change = before.map_or(String::new(), |b| format!("{:+.2}", percent(b, count)));
        let shown = before.map_or("-".to_owned(), |before| format!("{before:.1}"));
        println!("{:<16}{shown:>12}{count:>12.1}{change:>9}  {}", piece.name, piece.about);
        text.push_str(&advice(piece, before, count));
    }
    let gone = stored.as_object().into_iter().flatten().map(|(name, _)| name);
    for name in gone.filter(|name| !counts.contains_key(*name)) {
        text.push_str(&format!("{name} is stored and does not exist: {UPDATE}\n"));
    }
    text
}

/// What to do about a count; nothing if it is within the margin.
fn advice(piece: &Piece, stored: Option<f64>, count: f64) -> String {
    let name = &piece.name;
    match judge(stored, count) {
        Verdict::Same => String::new(),
        Verdict::New => format!("{name} has no stored count: {UPDATE}\n"),
        Verdict::Dearer(by) => format!(
            "{name} takes {by:.1} % more instructions than stored, the margin is {MARGIN_PERCENT} %: take it back, \
             or, if it buys something, run `{UPDATE}` and say in the commit what\n"
        ),
        Verdict::Cheaper(by) => format!(
            "{name} takes {by:.1} % fewer instructions than stored: run `{UPDATE}`, so that this is not lost again\n"
        ),
    }
}

fn judge(stored: Option<f64>, count: f64) -> Verdict {
    let Some(stored) = stored else { return Verdict::New };
    let by = percent(stored, count);
    if by > MARGIN_PERCENT {
        Verdict::Dearer(by)
    } else if by < -MARGIN_PERCENT {
        Verdict::Cheaper(-by)
    } else {
        Verdict::Same
    }
}

fn percent(before: f64, after: f64) -> f64 {
    (after / before - 1.0) * 100.0
}

fn list(program: &Path) -> Outcome<Vec<Piece>> {
    let output = Command::new(program).output()?;
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| parse(line).ok_or_else(|| format!("`{line}`").into())).collect()
}

/// `name TAB calls TAB operations of a call TAB what an operation is`; the operations of all calls are counted.
fn parse(line: &str) -> Option<Piece> {
    let mut fields = line.split('\t');
    let name = fields.next()?.to_owned();
    let (calls, operations): (f64, f64) =
        (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let about = fields.next()?.to_owned();
    Some(Piece { name, operations: calls * operations, about })
}

/// Instructions of one operation of each piece; as many valgrinds at a time as there are cores.
fn count_all(program: &Path, pieces: &[Piece], folder: &Path) -> Outcome<BTreeMap<String, f64>> {
    let valgrind = find_program("valgrind").ok_or("valgrind is missing; run cargo xtask setup")?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts = BTreeMap::new();
    for together in pieces.chunks(cores) {
        let mut running = Vec::new();
        for piece in together {
            let file = folder.join(&piece.name);
            running.push((piece, start(&valgrind, program, &piece.name, &file)?, file));
        }
        for (piece, child, file) in running {
            let total = finish(child, &file).map_err(|e| format!("{}: {e}", piece.name))?;
            // Tenths are enough to see a change and keep the diff of the stored file quiet.
            counts.insert(piece.name.clone(), (total / piece.operations * 10.0).round() / 10.0);
        }
    }
    Ok(counts)
}

fn start(valgrind: &PathBuf, program: &Path, piece: &str, file: &Path) -> Outcome<Child> {
    let mut command = Command::new(valgrind);
    command.args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_calls*"]);
    command.arg(format!("--callgrind-out-file={}", file.display())).arg(program).arg(piece);
    // The environment lies on the stack and would move what comes after it. The allocator gives memory back by the
    // clock, unless it is told never to.
    command.env_clear().env("MIMALLOC_PURGE_DELAY", "-1");
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)
}

fn finish(child: Child, file: &Path) -> Outcome<f64> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    total(&std::fs::read_to_string(file)?).ok_or_else(|| "valgrind counted nothing".into())
}

/// The sum that a file of callgrind gives.
fn total(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("summary:"))?;
    line.trim().parse().ok().filter(|total| *total > 0.0)
}

fn compiler(project: &Project) -> Outcome<String> {
    let output = project.command("rustc").arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{MARGIN_PERCENT, Piece, Verdict, judge, parse, total};

    #[test]
    fn the_margin_holds_in_both_directions() {
        assert_eq!(judge(Some(100.0), 100.0 + MARGIN_PERCENT * 0.99), Verdict::Same);
        assert_eq!(judge(Some(100.0), 100.0 - MARGIN_PERCENT * 0.99), Verdict::Same);
        assert!(matches!(judge(Some(100.0), 110.0), Verdict::Dearer(by) if by > 9.9));
        assert!(matches!(judge(Some(100.0), 90.0), Verdict::Cheaper(by) if by > 9.9));
        assert_eq!(judge(None, 1.0), Verdict::New);
    }

    #[test]
    fn callgrinds_sum_is_found() {
        let text = "# callgrind format\nversion: 1\nevents: Ir\nsummary: 2427013\n\nfn=(1) main\n";
        assert_eq!(total(text), Some(2_427_013.0));
        assert_eq!(total("summary: 0\n"), None);
        assert_eq!(total(""), None);
    }

    #[test]
    fn pieces_are_read_as_they_are_listed() {
        let piece = Piece { name: "get".into(), operations: 80.0, about: "a b".into() };
        assert_eq!(parse("get\t5\t16\ta b"), Some(piece));
        assert_eq!(parse("get\t5"), None);
    }
}
