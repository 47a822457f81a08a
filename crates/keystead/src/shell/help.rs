//! What `help` says, and the names that completion knows.
//!
//! Owns: the wording. Never: a list of commands of its own; the verbs come from `statement.rs`, the
//! commands from the server's table.

use std::fmt::Write as _;

use keystead_store::command::{self, Command};

use super::statement::VERBS;

const QUOTING: &str = "
Any other line is a Redis command and is sent as it stands, as in HGETALL user.
Words are separated by blanks; \"...\" and '...' hold blanks. After put KEY and
update KEY the rest of the line is taken as it stands, so JSON and jq expressions
need no quotes; JSON may go on over further lines:

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

/// What the command line `typed` may become; empty once the command's name stands there.
pub(crate) fn completions(typed: &str) -> Vec<String> {
    let prefix = typed.to_ascii_lowercase();
    // Subcommands are completed as CONFIG GET, so their names count as typed with a blank.
    let mut names: Vec<String> = VERBS.iter().map(|verb| verb.name.to_owned()).collect();
    for row in command::TABLE {
        names.push(shown_name(row));
        names.extend(row.subcommands.iter().map(shown_name));
    }
    names.retain(|name| {
        let is_next_word = !name[prefix.len().min(name.len())..].contains(' ');
        name.to_ascii_lowercase().starts_with(&prefix) && is_next_word
    });
    names.sort_unstable();
    names.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
    names.iter().map(|name| format!("{name} ")).collect()
}

/// The arguments that still belong behind `typed`: all of them once the command's name stands there.
pub(crate) fn hint(typed: &str) -> Option<String> {
    let name = typed.strip_suffix(' ')?.to_ascii_lowercase();
    if let Some(verb) = VERBS.iter().find(|verb| verb.name == name) {
        return Some(verb.arguments.to_owned());
    }
    row(&name).map(|row| row.syntax.to_owned())
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
    let verb = VERBS.iter().find(|verb| verb.name == name);
    let verb = verb.map(|verb| explained(verb.name, verb.arguments, verb.summary));
    let row = row(&name).map(|row| explained(&shown_name(row), row.syntax, row.summary));
    match (verb, row) {
        (None, None) => format!("no command `{name}` is known; help lists what the shell adds\n"),
        (verb, row) => verb.into_iter().chain(row).collect(),
    }
}

fn explained(name: &str, arguments: &str, summary: &str) -> String {
    format!("{name} {arguments}\n  {summary}\n")
}

/// The row of `get`, or of `config get`.
fn row(name: &str) -> Option<&'static Command> {
    let (container, subcommand) = name.split_once(' ').unwrap_or((name, ""));
    let found = command::find(container.as_bytes())?;
    if subcommand.is_empty() {
        return Some(found);
    }
    let full = format!("{container}|{subcommand}");
    found.subcommands.iter().find(|row| row.name == full)
}

/// A command's name as people write it: `CONFIG GET`.
fn shown_name(row: &Command) -> String {
    row.name.replace('|', " ").to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_from_the_verbs_and_the_table() {
        assert!(completions("pu").contains(&"put ".to_owned()));
        assert!(completions("SE").contains(&"SET ".to_owned()));
        assert!(completions("get k").is_empty());
        for container in command::TABLE.iter().filter(|row| !row.subcommands.is_empty()) {
            let subcommand = format!("{} ", shown_name(&container.subcommands[0]));
            let typed = format!("{} ", container.name);
            assert!(completions(&typed).contains(&subcommand), "{subcommand}");
            assert!(!completions(container.name).contains(&subcommand), "{subcommand}");
        }
    }

    #[test]
    fn hints_show_the_arguments() {
        assert_eq!(hint("update ").as_deref(), Some("KEY JQ-EXPRESSION"));
        assert!(hint("SET ").is_some_and(|hint| hint.starts_with("key value")));
        assert_eq!(hint("set k"), None);
    }

    #[test]
    fn help_explains_a_verb_and_the_command_of_the_same_name() {
        assert!(text(Some("get")).starts_with("get KEY\n  show a value"));
        assert!(text(Some("GET")).contains("GET key\n"));
        assert!(text(Some("nothing")).starts_with("no command `nothing`"));
        assert!(text(None).contains("update KEY JQ-EXPRESSION"));
    }
}
