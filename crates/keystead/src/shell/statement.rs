//! What a line of the shell means.
//!
//! Owns: [`Statement`], the shell's own verbs, the rules of quoting. Never: talks to a server.
//!
//! Quoting. Words are separated by blanks. `"..."` may hold blanks and the escapes `\n \r \t \b \a \" \\
//! \xHH`; `'...'` holds blanks and `\'`. This is how redis-cli reads a line, and all Redis commands are read
//! so. The verbs `put` and `update` read only the key so; what follows it, to the end of the line, is taken as
//! it stands: JSON and jq expressions have quotes of their own, so `put user1 {"name": "Alice"}` needs none.
//! JSON may go on over further lines until its brackets are closed.

use keystead::config::Address;
use keystead::config::value::AddressError;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// Store a value, JSON text, under a key.
    Put { key: Vec<u8>, value: String },
    /// Show the value of a key.
    Get { key: Vec<u8> },
    /// Replace a JSON value by what a jq expression makes of it.
    Update { key: Vec<u8>, expression: String },
    /// Remove keys.
    Delete { keys: Vec<Vec<u8>> },
    /// List the keys that match a pattern, or all.
    Scan { pattern: Option<Vec<u8>> },
    /// Talk to another server.
    Connect { address: Address },
    /// Wait until every replica is level.
    Sync { seconds_max: u64 },
    /// Explain the shell, or one command.
    Help { command: Option<String> },
    /// End the shell.
    Exit,
    /// A Redis command, sent as it stands.
    Command { args: Vec<Vec<u8>> },
}

/// Why a line means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StatementError {
    /// A quote is not closed, or a blank is missing behind one.
    #[error("unbalanced quotes; close them, and put a blank behind a closing quote")]
    Quotes,
    /// The verb needs other arguments.
    #[error("usage: {usage}")]
    Usage { usage: &'static str },
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The value looks like JSON but is not.
    #[error(
        "the value is not JSON: {reason}; a text with blanks is put in quotes: put KEY \"some text\""
    )]
    Json { reason: String, is_cut_off: bool },
}

impl StatementError {
    /// True if further lines may complete the statement: JSON that ends in the middle.
    pub(crate) const fn is_cut_off(&self) -> bool {
        matches!(self, Self::Json { is_cut_off: true, .. })
    }
}

/// A verb of the shell, for help and completion.
#[derive(Debug)]
pub(crate) struct Verb {
    /// How it is typed.
    pub(crate) name: &'static str,
    /// What follows it.
    pub(crate) arguments: &'static str,
    /// What it does.
    pub(crate) summary: &'static str,
    usage: &'static str,
}

macro_rules! verbs {
    ($( $name:literal $arguments:literal $summary:literal )+) => {
        &[$( Verb {
            name: $name,
            arguments: $arguments,
            summary: $summary,
            usage: concat!($name, " ", $arguments),
        }, )+]
    };
}

/// Default of the longest wait of `sync`, seconds.
const SYNC_SECONDS: u64 = 30;

/// The verbs that the shell adds to the commands of the server.
pub(crate) const VERBS: &[Verb] = verbs! {
    "put" "KEY JSON|WORD" "store JSON, or a bare word as a JSON string"
    "get" "KEY" "show a value, JSON indented"
    "update" "KEY JQ-EXPRESSION" "change a JSON value atomically, as in .age = 31"
    "delete" "KEY [KEY ...]" "remove keys"
    "scan" "[PATTERN]" "list the keys that match, as in scan user:*"
    "connect" "HOST:PORT" "talk to another server"
    "sync" "[SECONDS]" "wait until all replicas are level and proven equal, at most 30 s"
    "help" "[COMMAND]" "explain the shell, or a command"
    "exit" "" "leave"
};

impl Statement {
    /// Reads a line; `None` if it is empty or a comment (`#`).
    pub(crate) fn parse(line: &str) -> Result<Option<Self>, StatementError> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (verb, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let statement = match verb.to_ascii_lowercase().as_str() {
            "put" => put(rest)?,
            "update" => update(rest)?,
            name => from_words(name, words(line)?)?,
        };
        Ok(Some(statement))
    }
}

fn put(rest: &str) -> Result<Statement, StatementError> {
    let (key, value) = key_and_text(rest, "put")?;
    Ok(Statement::Put { key, value: json_value(value)? })
}

fn update(rest: &str) -> Result<Statement, StatementError> {
    let (key, expression) = key_and_text(rest, "update")?;
    Ok(Statement::Update { key, expression: expression.to_owned() })
}

fn key_and_text<'a>(rest: &'a str, verb: &str) -> Result<(Vec<u8>, &'a str), StatementError> {
    let (key, text) = next_word(rest)?.ok_or_else(|| usage(verb))?;
    match text.trim() {
        "" => Err(usage(verb)),
        text => Ok((key, text)),
    }
}

/// The text to store: JSON as it stands, a bare word as a JSON string.
fn json_value(text: &str) -> Result<String, StatementError> {
    let error = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) => return Ok(text.to_owned()),
        Err(error) => error,
    };
    let is_word = !text.contains(char::is_whitespace) && !text.starts_with(['{', '[', '"']);
    if is_word {
        return Ok(serde_json::Value::from(text).to_string());
    }
    Err(StatementError::Json { reason: error.to_string(), is_cut_off: error.is_eof() })
}

fn from_words(name: &str, args: Vec<Vec<u8>>) -> Result<Statement, StatementError> {
    let wrong = || usage(name);
    let text_at = |position: usize| args.get(position).map(|word| String::from_utf8_lossy(word));
    let statement = match (name, args.len()) {
        ("get", 2) => Statement::Get { key: args.into_iter().nth(1).ok_or_else(wrong)? },
        ("delete", 2..) => Statement::Delete { keys: args.into_iter().skip(1).collect() },
        ("scan", 1) => Statement::Scan { pattern: None },
        // SCAN with a cursor is Redis' own.
        ("scan", 2) if !args[1].iter().all(u8::is_ascii_digit) => {
            Statement::Scan { pattern: args.into_iter().nth(1) }
        }
        ("connect", 2) => Statement::Connect { address: text_at(1).ok_or_else(wrong)?.parse()? },
        ("sync", 1) => Statement::Sync { seconds_max: SYNC_SECONDS },
        ("sync", 2) => {
            let seconds = text_at(1).and_then(|text| text.parse().ok());
            Statement::Sync { seconds_max: seconds.ok_or_else(wrong)? }
        }
        ("help" | "?", 1) => Statement::Help { command: None },
        ("help", _) => {
            let words: Vec<_> =
                args[1..].iter().map(|word| String::from_utf8_lossy(word)).collect();
            Statement::Help { command: Some(words.join(" ")) }
        }
        ("exit" | "quit", 1) => Statement::Exit,
        ("delete" | "connect" | "sync" | "exit", _) => return Err(wrong()),
        _ => Statement::Command { args },
    };
    Ok(statement)
}

fn usage(verb: &str) -> StatementError {
    let found = VERBS.iter().find(|row| row.name == verb);
    StatementError::Usage { usage: found.map_or("help", |row| row.usage) }
}

/// The words of a line, quotes removed.
pub(crate) fn words(line: &str) -> Result<Vec<Vec<u8>>, StatementError> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some((word, behind)) = next_word(rest)? {
        words.push(word);
        rest = behind;
    }
    Ok(words)
}

/// The first word, quotes removed, and what stands behind it; `None` if there is no word.
fn next_word(line: &str) -> Result<Option<(Vec<u8>, &str)>, StatementError> {
    let line = line.trim_start();
    let mut word = Vec::new();
    let mut bytes = line.bytes().enumerate();
    while let Some((position, byte)) = bytes.next() {
        match byte {
            b'"' => double_quoted(&mut bytes, &mut word)?,
            b'\'' => single_quoted(&mut bytes, &mut word)?,
            blank if blank.is_ascii_whitespace() => return Ok(Some((word, &line[position..]))),
            other => {
                word.push(other);
                continue;
            }
        }
        return match bytes.next() {
            None => Ok(Some((word, ""))),
            Some((position, blank)) if blank.is_ascii_whitespace() => {
                Ok(Some((word, &line[position..])))
            }
            Some(_) => Err(StatementError::Quotes),
        };
    }
    Ok((!line.is_empty()).then_some((word, "")))
}

type Bytes<'a> = std::iter::Enumerate<std::str::Bytes<'a>>;

fn double_quoted(bytes: &mut Bytes<'_>, word: &mut Vec<u8>) -> Result<(), StatementError> {
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'"' => return Ok(()),
            b'\\' => word.push(escaped(bytes)?),
            other => word.push(other),
        }
    }
    Err(StatementError::Quotes)
}

/// The byte that an escape stands for; `\x` not followed by two digits stands for `x`, as in redis-cli.
fn escaped(bytes: &mut Bytes<'_>) -> Result<u8, StatementError> {
    let (_, byte) = bytes.next().ok_or(StatementError::Quotes)?;
    Ok(match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        b'x' => {
            let mut ahead = bytes.clone();
            let mut digit = || ahead.next().and_then(|(_, digit)| char::from(digit).to_digit(16));
            match (digit(), digit()) {
                (Some(high), Some(low)) => {
                    *bytes = ahead;
                    u8::try_from(high * 16 + low).expect("two hexadecimal digits make a byte")
                }
                _ => b'x',
            }
        }
        other => other,
    })
}

fn single_quoted(bytes: &mut Bytes<'_>, word: &mut Vec<u8>) -> Result<(), StatementError> {
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'\'' => return Ok(()),
            b'\\' if bytes.clone().next().is_some_and(|(_, next)| next == b'\'') => {
                word.extend(bytes.next().map(|(_, quote)| quote));
            }
            other => word.push(other),
        }
    }
    Err(StatementError::Quotes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Statement {
        Statement::parse(line).expect("a good line").expect("not empty")
    }

    fn refusal(line: &str) -> String {
        Statement::parse(line).expect_err("a bad line").to_string()
    }

    #[test]
    fn json_and_expressions_need_no_quotes() {
        let value = r#"{"name": "Alice", "age": 30}"#.to_owned();
        assert_eq!(
            parse(r#"put user1 {"name": "Alice", "age": 30} "#),
            Statement::Put { key: b"user1".to_vec(), value }
        );
        assert_eq!(
            parse(r#"PUT "two words" "a text""#),
            Statement::Put { key: b"two words".to_vec(), value: "\"a text\"".into() }
        );
        assert_eq!(
            parse("put k hello"),
            Statement::Put { key: b"k".to_vec(), value: "\"hello\"".into() }
        );
        assert_eq!(parse("put k 31"), Statement::Put { key: b"k".to_vec(), value: "31".into() });
        assert_eq!(
            parse(r#"update user1 .name = "Bob" | .age += 1"#),
            Statement::Update {
                key: b"user1".to_vec(),
                expression: r#".name = "Bob" | .age += 1"#.into()
            }
        );
    }

    #[test]
    fn redis_commands_are_read_as_redis_cli_reads_them() {
        let words = |line: &str| words(line).expect("balanced");
        assert_eq!(words(r#"set k "a\x00\n\"é""#), [&b"set"[..], b"k", b"a\x00\n\"\xc3\xa9"]);
        assert_eq!(words(r"set k 'a\n\'b'"), [&b"set"[..], b"k", br"a\n'b"]);
        assert_eq!(words(r#"set k "" x"y""#), [&b"set"[..], b"k", b"", b"xy"]);
        assert_eq!(words(r#"a "\xzz""#), [&b"a"[..], b"xzz"]);
        for line in [r#"set k "a"#, r#"set k "a"b"#, "set 'a", "\"\\"] {
            assert_eq!(super::words(line), Err(StatementError::Quotes), "{line}");
        }
    }

    #[test]
    fn verbs_leave_the_redis_commands_of_the_same_name_alone() {
        assert_eq!(parse("scan user:*"), Statement::Scan { pattern: Some(b"user:*".to_vec()) });
        assert!(matches!(parse("SCAN 0"), Statement::Command { .. }));
        assert!(matches!(parse("scan 0 match user:*"), Statement::Command { .. }));
        assert!(matches!(parse("get"), Statement::Command { .. }), "the server's own error");
        assert_eq!(Statement::parse("  # a comment"), Ok(None));
        assert_eq!(Statement::parse("   "), Ok(None));
    }

    #[test]
    fn mistakes_say_what_is_right() {
        assert_eq!(refusal("put k"), "usage: put KEY JSON|WORD");
        assert_eq!(refusal("update k"), "usage: update KEY JQ-EXPRESSION");
        assert_eq!(refusal("connect"), "usage: connect HOST:PORT");
        assert_eq!(refusal("sync soon"), "usage: sync [SECONDS]");
        assert_eq!(
            refusal("connect nowhere"),
            "`nowhere` is not HOST:PORT, as in 127.0.0.1:7379 or [::1]:7379"
        );
        assert_eq!(
            refusal("put k {\"a\": }"),
            "the value is not JSON: expected value at line 1 column 7; a text with blanks is put in \
             quotes: put KEY \"some text\""
        );
    }
}
