//! What `help` says, and the names that completion knows.
//!
//! Owns: the wording. Never: a list of commands of its own; the verbs come from `statement.rs`, the
//! commands from the server's table.

use std::fmt::Write as _;

use super::statement::VERBS;

const QUOTING: &str = "
Any other line is a Redis command and is sent as it stands: HSET user:1 name Alice, TTL user:1, INFO.
Words are separated by blanks; \"...\" and '...' hold blanks. After put KEY and update KEY the rest of the line is
taken as it stands, so JSON and jq expressions need no quotes:

  put user1 {\"name\": \"Alice\", \"age\": 30}
  get user1
  update user1 .age = 31
";

/// The text for `help`, or for `help COMMAND`.
pub(crate) fn text(command: Option<&str>) -> String {
    match command {
        None => overview(),
        Some(name) => one(name),
    }
}

fn overview() -> String {
    let mut text = String::new();
    for verb in VERBS {
        let usage = format!("{} {}", verb.name, verb.arguments);
        writeln!(text, "  {usage:26} {}", verb.summary).expect("writing to a String cannot fail");
    }
    text + QUOTING
}

fn one(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match VERBS.iter().find(|verb| verb.name == name) {
        Some(verb) => format!("{} {}\n  {}\n", verb.name, verb.arguments, verb.summary),
        None => format!("no command `{name}` is known; help lists what the shell adds\n"),
    }
}

/// What the command line `typed` may become; empty once the command's name stands there.
pub(crate) fn completions(typed: &str) -> Vec<String> {
    let prefix = typed.to_ascii_lowercase();
    let verbs = VERBS.iter().map(|verb| verb.name).filter(|name| name.starts_with(&prefix));
    verbs.map(|name| format!("{name} ")).collect()
}

/// The arguments that still belong behind `typed`.
pub(crate) fn hint(typed: &str) -> Option<String> {
    let (name, given) = typed.split_once(' ')?;
    let name = name.to_ascii_lowercase();
    let verb = VERBS.iter().find(|verb| verb.name == name)?;
    given.is_empty().then(|| verb.arguments.to_owned())
}
