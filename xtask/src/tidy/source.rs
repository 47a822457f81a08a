//! A Rust file as the checks see it: its text, its code without comments and strings, its tests.
//! Owns: a lexer that knows just enough of Rust. Never: parses; braces and words are all it offers.
//!
//! Blanked code has the same length and the same lines as the text, so places stay comparable.

use std::path::PathBuf;

/// One Rust file.
pub(super) struct Source {
    /// Relative to the root, with `/` between parts.
    pub(super) path: PathBuf,
    /// As it stands on disk.
    pub(super) text: String,
    /// The same with comments, strings and character literals replaced by spaces.
    pub(super) code: String,
    /// First line (from 0) of the file's tests; the number of lines if it has none.
    pub(super) tests_from: usize,
}

impl Source {
    pub(super) fn new(path: PathBuf, text: String) -> Self {
        let code = blank(&text);
        let lines = code.lines().count();
        let is_test_file = is_test_path(&path);
        let tests_from = if is_test_file { 0 } else { tests_from(&code).unwrap_or(lines) };
        Self { path, text, code, tests_from }
    }

    /// The path as text, with `/` on every system.
    pub(super) fn name(&self) -> String {
        self.path.to_string_lossy().replace('\\', "/")
    }

    /// True if every line of the file is a test, an example's support or a benchmark.
    pub(super) fn is_test(&self) -> bool {
        self.tests_from == 0
    }

    /// Lines of the product's code: number (from 1) and text, comments and strings blanked.
    pub(super) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().take(self.tests_from).enumerate().map(|(at, line)| (at + 1, line))
    }

    /// The text of the file's tests, comments included.
    pub(super) fn test_text(&self) -> impl Iterator<Item = &str> {
        self.text.lines().skip(self.tests_from)
    }
}

/// True for files under `tests/` or `benches/` and for modules named `tests`.
fn is_test_path(path: &std::path::Path) -> bool {
    let is_test_word = |part: &str| {
        matches!(part, "tests" | "benches")
            || part == "tests.rs"
            || part.ends_with("_tests")
            || part.ends_with("_tests.rs")
    };
    path.iter().any(|part| is_test_word(&part.to_string_lossy()))
}

/// The line where the test module begins: `#[cfg(test)]` before a `mod`.
fn tests_from(code: &str) -> Option<usize> {
    let lines: Vec<&str> = code.lines().collect();
    (0..lines.len()).find(|&at| {
        let is_gate = lines[at].trim_start().starts_with("#[cfg(test)]");
        let next = lines[at + 1..].iter().map(|line| line.trim()).find(|l| !l.starts_with("#["));
        is_gate && next.is_some_and(|l| l.starts_with("mod ") && l.ends_with('{'))
    })
}

/// The words of a line of code: identifiers and keywords.
pub(super) fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Replaces comments, strings and character literals by spaces; line ends stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        match end {
            Some(end) => {
                for byte in &mut out[at..end] {
                    if *byte != b'\n' {
                        *byte = b' ';
                    }
                }
                at = end;
            }
            None => at += 1,
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that begins at `at` ends, if one begins there.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let is_word_before = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => Some(find(bytes, at, b"\n").unwrap_or(bytes.len())),
        [b'/', b'*', ..] => Some(block_comment_end(bytes, at)),
        [b'"', ..] => Some(string_end(bytes, at + 1)),
        [b'b' | b'c', b'"', ..] if !is_word_before => Some(string_end(bytes, at + 2)),
        [b'r', b'"' | b'#', ..] if !is_word_before => raw_string_end(bytes, at + 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !is_word_before => raw_string_end(bytes, at + 2),
        [b'\'', ..] => char_end(bytes, at),
        _ => None,
    }
}

fn find(bytes: &[u8], from: usize, needle: &[u8]) -> Option<usize> {
    bytes[from..].windows(needle.len()).position(|w| w == needle).map(|at| from + at)
}

fn block_comment_end(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0usize;
    let mut at = from;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// End of a raw string whose hashes begin at `from`; `None` for a raw identifier.
fn raw_string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let hashes = bytes[from..].iter().take_while(|&&b| b == b'#').count();
    if bytes.get(from + hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let begin = from + hashes + 1;
    Some(find(bytes, begin, &close).map_or(bytes.len(), |end| end + close.len()))
}

/// End of a character literal; `None` for a lifetime.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes[at + 1..] {
        // The byte after the backslash may itself be a quote.
        [b'\\', _, ..] => find(bytes, at + 3, b"'").map(|end| end + 1),
        [first, ..] => {
            let width = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            (bytes.get(at + 1 + width) == Some(&b'\'')).then_some(at + width + 2)
        }
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, blank};

    #[test]
    fn blanks_what_is_not_code() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("a\"{", x)"#, r#"f(      , x)"#),
            (r###"f(r#"{"}"#, x)"###, "f(        , x)"),
            ("'{' 'a 'b: '\\'' '\\u{7d}'", "    'a 'b:               "),
            ("b\"}\" br\"}\" r#fn", "           r#fn"),
        ];
        for (text, expected) in cases {
            assert_eq!(blank(text).trim_end(), expected.trim_end(), "of {text}");
        }
    }

    #[test]
    fn finds_where_tests_begin() {
        let text = "fn a() {}\n#[cfg(test)]\nuse b;\n#[cfg(test)]\n#[expect(x)]\nmod tests {\n}\n";
        let source = Source::new("crates/x/src/a.rs".into(), text.to_owned());
        assert_eq!(source.tests_from, 3);
        assert!(Source::new("crates/x/tests/a.rs".into(), text.to_owned()).is_test());
    }
}
