//! Scripts of commands: one per line, words quoted as in redis-cli.
//! Owns: their form. Never: sends anything (see `player`).
//!
//! ```text
//! ## a section: both servers are emptied before it
//! SET k "two words\x00"      # a command; a blank line below begins new connections
//! 2> GET k                   # on the second connection
//! ~sorted KEYS *             # elements may come in any order; `~ KEYS *` says the same
//! ~shape TIME                # figures and texts may differ, their kinds may not
//! ~any INFO                  # answered, but not compared
//! ~raw "*1\r\n$4\r\nPING\r\n"   # bytes as they are, one reply
//! ~gone k                    # wait until the key has expired on both
//! ~alone CLUSTER INFO        # to the tested server alone, which must not answer with an error
//! ~closed                    # both servers close the connection
//! + SET k v IFEQ w           # newer than the Redis of the comparison; over RESP2 only, and
//! = $-1\r\n                  # this must be the reply
//! ```
//!
//! A family of commands whose whole script lies with the store's own comparison is played from there.

use std::path::Path;

use crate::project::{Outcome, Project};

/// Where the scripts lie.
const OWN: &str = "xtask/compat";
/// Where those lie that the store, without a server around it, is compared by; those that are not among our own.
pub(super) const OF_THE_STORE: &str = "crates/store/tests/against_redis";
/// What files are called there that hold shapes of commands, not commands.
pub(super) const SHAPES: &str = "shapes";

/// One file of commands.
pub(super) struct Script {
    pub(super) name: String,
    pub(super) lines: Vec<Line>,
}

/// One line that does something.
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) step: Step,
}

/// What a line does.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Empties both servers.
    Section,
    /// Closes the connections; the next command opens new ones.
    Reconnect,
    /// Sends a command on a connection and compares the replies.
    Send { connection: usize, text: String, words: Vec<Vec<u8>>, comparison: Comparison },
    /// Sends bytes and compares one reply.
    Raw { text: String, bytes: Vec<u8> },
    /// Waits until the key is gone on both.
    AwaitGone(Vec<u8>),
    /// Both servers close the first connection.
    Closed,
    /// Sends a command to the tested server alone, which must not refuse it.
    Alone { text: String, words: Vec<Vec<u8>> },
    /// Sends a command to the tested server alone, which must answer this.
    Expect { text: String, words: Vec<Vec<u8>>, reply: Vec<u8> },
}

/// How two replies are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Comparison {
    Exact,
    Sorted,
    Shape,
    Any,
    NoError,
}

impl Script {
    /// The scripts named, or all, in the order of their names.
    pub(super) fn read_all(project: &Project, names: &[String]) -> Outcome<Vec<Self>> {
        let mut scripts: Vec<Self> = Vec::new();
        let (own, others) = (project.files(OWN, "txt")?, project.files(OF_THE_STORE, "txt")?);
        let own_names: Vec<_> = own.iter().filter_map(|path| path.file_stem()).collect();
        let others = others.iter().filter(|path| {
            let name = path.file_stem().unwrap_or_default();
            !own_names.contains(&name) && !name.to_string_lossy().starts_with(SHAPES)
        });
        for path in own.iter().chain(others) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if names.is_empty() || names.contains(&name) {
                scripts.push(Self::read(project, path)?);
            }
        }
        if scripts.is_empty() {
            return Err(format!("no script is called {}", names.join(" or ")).into());
        }
        Ok(scripts)
    }

    /// The script in this file.
    pub(super) fn read(project: &Project, path: &Path) -> Outcome<Self> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut lines = vec![Line { number: 0, step: Step::Section }];
        lines.extend(parse(&project.read(path)?).map_err(|e| format!("{name}: {e}"))?);
        Ok(Self { name, lines })
    }

    /// The names of the commands it plays, in lower case, each alone and with the word behind it
    /// (`config` and `config|get`), as COMMAND LIST names subcommands.
    pub(super) fn commands(&self) -> impl Iterator<Item = String> {
        let played = self.lines.iter().filter_map(|line| match &line.step {
            Step::Send { words, .. } | Step::Expect { words, .. } | Step::Alone { words, .. } => {
                Some(words)
            }
            _ => None,
        });
        played.flat_map(|words| {
            let text: Vec<String> = words
                .iter()
                .take(2)
                .map(|word| String::from_utf8_lossy(word).to_lowercase())
                .collect();
            [text[0].clone(), text.join("|")]
        })
    }
}

fn parse(text: &str) -> Outcome<Vec<Line>> {
    let mut lines = Vec::new();
    let mut awaiting: Option<(usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        let line = line.trim();
        let step = if let Some((began, command)) = awaiting.take() {
            let reply =
                line.strip_prefix("= ").ok_or_else(|| format!("line {began}: no `=` below"))?;
            let words = words(&command).map_err(|e| format!("line {began}: {e}"))?;
            Some(Step::Expect { words, text: command, reply: unescape(reply.as_bytes()) })
        } else if let Some(command) = line.strip_prefix("+ ") {
            awaiting = Some((number, command.to_owned()));
            None
        } else {
            parse_line(line).map_err(|error| format!("line {number}: {error}"))?
        };
        lines.extend(step.map(|step| Line { number, step }));
    }
    Ok(lines)
}

fn parse_line(line: &str) -> Outcome<Option<Step>> {
    if line.starts_with("##") {
        return Ok(Some(Step::Section));
    }
    if line.is_empty() {
        return Ok(Some(Step::Reconnect));
    }
    if line.starts_with('#') {
        return Ok(None);
    }
    let (connection, rest) = match line.split_once("> ") {
        Some((number, rest)) if number.parse::<usize>().is_ok() => (number.parse()?, rest),
        _ => (1, line),
    };
    let send = |comparison, text: &str| -> Outcome<Option<Step>> {
        let text = text.trim().to_owned();
        Ok(Some(Step::Send { connection, words: words(&text)?, text, comparison }))
    };
    let Some(directive) = rest.strip_prefix('~') else {
        return send(Comparison::Exact, rest);
    };
    let (name, operand) = directive.split_once(' ').unwrap_or((directive, ""));
    let first_word =
        || words(operand)?.into_iter().next().ok_or_else(|| "an operand is missing".into());
    match name {
        "" | "sorted" => send(Comparison::Sorted, operand),
        "shape" => send(Comparison::Shape, operand),
        "any" => send(Comparison::Any, operand),
        "raw" => first_word().map(|bytes| Some(Step::Raw { text: line.to_owned(), bytes })),
        "gone" => first_word().map(|key| Some(Step::AwaitGone(key))),
        "alone" => Ok(Some(Step::Alone { text: line.to_owned(), words: words(operand)? })),
        "closed" => Ok(Some(Step::Closed)),
        _ => Err(format!("`~{name}` means nothing").into()),
    }
}

/// Splits a line into words; `"..."` may hold spaces and escapes, `'...'` is taken as it is.
pub(super) fn words(line: &str) -> Outcome<Vec<Vec<u8>>> {
    let bytes = line.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b' ' {
            at += 1;
            continue;
        }
        let quote = bytes[at];
        if quote != b'"' && quote != b'\'' {
            let end = bytes[at..].iter().position(|&b| b == b' ').map_or(bytes.len(), |n| at + n);
            found.push(bytes[at..end].to_vec());
            at = end;
            continue;
        }
        let begin = at + 1;
        let mut end = begin;
        while bytes.get(end).is_some_and(|&b| b != quote) {
            end += if bytes[end] == b'\\' && quote == b'"' { 2 } else { 1 };
        }
        let inner =
            bytes.get(begin..end).filter(|_| end < bytes.len()).ok_or("a quote is not closed")?;
        found.push(if quote == b'"' { unescape(inner) } else { inner.to_vec() });
        at = end + 1;
    }
    if found.is_empty() { Err("no command".into()) } else { Ok(found) }
}

/// Resolves `\r`, `\n`, `\t`, `\xHH`; any other escaped byte stands for itself.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if text[at] != b'\\' || at + 1 == text.len() {
            out.push(text[at]);
            at += 1;
            continue;
        }
        let hex = text.get(at + 2..at + 4).and_then(|h| std::str::from_utf8(h).ok());
        let byte = hex.and_then(|h| u8::from_str_radix(h, 16).ok());
        match (text[at + 1], byte) {
            (b'x', Some(byte)) => {
                out.push(byte);
                at += 4;
                continue;
            }
            (b'r', _) => out.push(b'\r'),
            (b'n', _) => out.push(b'\n'),
            (b't', _) => out.push(b'\t'),
            (other, _) => out.push(other),
        }
        at += 2;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Comparison, Step, parse, words};

    #[test]
    fn words_are_quoted_as_in_redis_cli() {
        let found = words(r#"SET "a \"b\"\x00\n" 'c\x' """#).expect("well formed");
        assert_eq!(found, [&b"SET"[..], b"a \"b\"\0\n", b"c\\x", b""]);
        assert!(words("SET \"a").is_err());
    }

    #[test]
    fn a_script_is_read_line_by_line() {
        let lines =
            parse("## s\n# c\n2> GET k\n~sorted KEYS *\n\n+ X\n= :1\\r\\n\n").expect("fine");
        let steps: Vec<Step> = lines.into_iter().map(|line| line.step).collect();
        assert_eq!(steps.len(), 5);
        assert!(matches!(
            steps[1],
            Step::Send { connection: 2, comparison: Comparison::Exact, .. }
        ));
        assert!(matches!(steps[2], Step::Send { comparison: Comparison::Sorted, .. }));
        assert_eq!(steps[3], Step::Reconnect);
        assert!(matches!(&steps[4], Step::Expect { reply, .. } if reply == b":1\r\n"));
    }
}
