//! Reading a path.
//! Owns: the grammar. Never: follows a path; recursion beyond [`FILTER_NESTING_MAX`].
//!
//! ```text
//! path     = "$" segments | "." segments | segments behind an understood "$."
//! segment  = "." (name | "*" | brackets) | ".." (name | "*" | brackets) | brackets
//! brackets = "[" selector {"," selector} "]"
//! selector = quoted name | "*" | index | slice | "?" condition
//! ```

use thiserror::Error;

use crate::table::Hasher;
use crate::value::json::{Node, read};

use super::{
    Comparison, Condition, Extent, FILTER_NESTING_MAX, Operand, PATH_BYTES_MAX, PATTERNS_MAX, Path,
    Pattern, Query, Reach, ReadyPattern, Segment, Selector, Slice,
};

/// Why a text is not a path, in the words of RedisJSON's reader.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("Error occurred on position {position}, expected {expected}")]
pub(crate) struct PathError {
    /// Where, counted from one.
    pub(crate) position: usize,
    /// What should stand there.
    pub(crate) expected: &'static str,
}

/// Reads a path of either dialect.
pub(super) fn path(hasher: &Hasher, text: &[u8]) -> Result<Path, PathError> {
    let mut reader = Reader { hasher, text, at: 0, depth: 0, patterns: 0 };
    if text.len() > PATH_BYTES_MAX {
        return Err(PathError { position: PATH_BYTES_MAX, expected: "the end of the path" });
    }
    if std::str::from_utf8(text).is_err() {
        return Err(reader.expected("UTF-8"));
    }
    let is_legacy = !reader.take(b"$");
    let mut segments = Vec::new();
    if is_legacy {
        if text == b"." || text.is_empty() {
            return Ok(Path { is_legacy, segments });
        }
        // `a.b` and `[0]` stand for `.a.b` and `.[0]`.
        if !text.starts_with(b".") {
            segments.push(reader.named_segment(Reach::Children)?);
        }
    }
    reader.segments(&mut segments)?;
    if reader.at < text.len() {
        return Err(reader.expected("`.` or `[`"));
    }
    Ok(Path { is_legacy, segments })
}

struct Reader<'a> {
    hasher: &'a Hasher,
    text: &'a [u8],
    at: usize,
    depth: usize,
    /// Patterns that were made ready.
    patterns: usize,
}

impl Reader<'_> {
    const fn expected(&self, expected: &'static str) -> PathError {
        PathError { position: self.at + 1, expected }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Takes these bytes if they come next.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let is_next = self.text[self.at..].starts_with(bytes);
        self.at += if is_next { bytes.len() } else { 0 };
        is_next
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes these bytes behind any blanks, or fails.
    fn require(&mut self, bytes: &'static [u8], expected: &'static str) -> Result<(), PathError> {
        self.skip_blanks();
        if self.take(bytes) { Ok(()) } else { Err(self.expected(expected)) }
    }

    /// Reads steps until something else comes.
    fn segments(&mut self, segments: &mut Vec<Segment>) -> Result<(), PathError> {
        loop {
            if self.take(b"..") {
                segments.push(self.named_segment(Reach::Descendants)?);
            } else if self.take(b".") {
                segments.push(self.named_segment(Reach::Children)?);
            } else if self.peek() == Some(b'[') {
                segments.push(self.brackets(Reach::Children)?);
            } else {
                return Ok(());
            }
        }
    }

    /// A name, a star or brackets, behind points.
    fn named_segment(&mut self, reach: Reach) -> Result<Segment, PathError> {
        if self.peek() == Some(b'[') {
            return self.brackets(reach);
        }
        if self.take(b"*") {
            return Ok(Segment { reach, selectors: vec![Selector::Wildcard] });
        }
        let len = self.text[self.at..].iter().take_while(|byte| is_of_name(**byte)).count();
        if len == 0 {
            return Err(self.expected("a name, `*` or `[`"));
        }
        let name = self.text[self.at..self.at + len].into();
        self.at += len;
        Ok(Segment { reach, selectors: vec![Selector::Name(name)] })
    }

    fn brackets(&mut self, reach: Reach) -> Result<Segment, PathError> {
        self.require(b"[", "`[`")?;
        let mut selectors = Vec::new();
        loop {
            self.skip_blanks();
            selectors.push(self.selector()?);
            self.skip_blanks();
            if !self.take(b",") {
                break;
            }
        }
        self.require(b"]", "`,` or `]`")?;
        Ok(Segment { reach, selectors })
    }

    fn selector(&mut self) -> Result<Selector, PathError> {
        match self.peek() {
            Some(b'*') => {
                self.at += 1;
                Ok(Selector::Wildcard)
            }
            Some(b'"' | b'\'') => Ok(Selector::Name(self.quoted()?.into())),
            Some(b'?') => {
                self.at += 1;
                Ok(Selector::Filter(self.condition()?))
            }
            Some(b'-' | b'0'..=b'9' | b':') => self.index_or_slice(),
            _ => Err(self.expected("a quoted name, `*`, an index, a slice or `?`")),
        }
    }

    fn index_or_slice(&mut self) -> Result<Selector, PathError> {
        let start = self.integer()?;
        self.skip_blanks();
        if !self.take(b":") {
            return start.map(Selector::Index).ok_or_else(|| self.expected("an index"));
        }
        self.skip_blanks();
        let end = self.integer()?;
        self.skip_blanks();
        let mut step = None;
        if self.take(b":") {
            self.skip_blanks();
            step = self.integer()?;
        }
        Ok(Selector::Slice(Slice { start, end, step: step.unwrap_or(1) }))
    }

    /// An integer, if one comes next.
    fn integer(&mut self) -> Result<Option<i64>, PathError> {
        let rest = &self.text[self.at..];
        let sign = usize::from(rest.first() == Some(&b'-'));
        let digits = rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return if sign == 0 { Ok(None) } else { Err(self.expected("an integer")) };
        }
        let text = std::str::from_utf8(&rest[..sign + digits]).unwrap_or_default();
        let number = text.parse().map_err(|_| self.expected("an integer of 64 bits"))?;
        self.at += sign + digits;
        Ok(Some(number))
    }

    /// A text in quotes of either sort, with the escapes of JSON.
    fn quoted(&mut self) -> Result<Vec<u8>, PathError> {
        let unclosed = self.expected("a closing quote");
        let quote = self.peek().ok_or(unclosed)?;
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let byte = self.peek().ok_or(unclosed)?;
            self.at += 1;
            match byte {
                b'\\' => self.escaped(&mut text)?,
                _ if byte == quote => return Ok(text),
                _ => text.push(byte),
            }
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self, text: &mut Vec<u8>) -> Result<(), PathError> {
        let invalid = self.expected("an escape of JSON");
        let byte = self.peek().ok_or(invalid)?;
        self.at += 1;
        let plain = match byte {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut unit = self.hexadecimal().ok_or(invalid)?;
                if (0xd800..0xdc00).contains(&unit) && self.take(b"\\u") {
                    let low = self.hexadecimal().filter(|low| (0xdc00..0xe000).contains(low));
                    unit = 0x10000 + (unit - 0xd800) * 0x400 + (low.ok_or(invalid)? - 0xdc00);
                }
                let character = char::from_u32(unit).ok_or(invalid)?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            b'"' | b'\'' | b'\\' | b'/' => byte,
            // RedisJSON takes any other letter as it stands: regular expressions are full of them.
            _ => {
                text.push(b'\\');
                byte
            }
        };
        text.push(plain);
        Ok(())
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let digits = std::str::from_utf8(self.text.get(self.at..self.at + 4)?).ok()?;
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.at += 4;
        u32::from_str_radix(digits, 16).ok().filter(|_| is_plain)
    }

    /// Conditions with `||` between them.
    fn condition(&mut self) -> Result<Condition, PathError> {
        self.enter()?;
        let mut any = vec![self.conjunction()?];
        while self.take_behind_blanks(b"||") {
            any.push(self.conjunction()?);
        }
        self.depth -= 1;
        Ok(only(any).unwrap_or_else(Condition::Any))
    }

    /// Conditions with `&&` between them.
    fn conjunction(&mut self) -> Result<Condition, PathError> {
        let mut all = vec![self.term()?];
        while self.take_behind_blanks(b"&&") {
            all.push(self.term()?);
        }
        Ok(only(all).unwrap_or_else(Condition::All))
    }

    fn take_behind_blanks(&mut self, bytes: &[u8]) -> bool {
        self.skip_blanks();
        self.take(bytes)
    }

    fn term(&mut self) -> Result<Condition, PathError> {
        let mut is_negated = false;
        while self.take_behind_blanks(b"!") {
            is_negated = !is_negated;
        }
        self.skip_blanks();
        let condition = if self.take(b"(") {
            let inner = self.condition()?;
            self.require(b")", "`&&`, `||` or `)`")?;
            inner
        } else {
            self.comparison()?
        };
        Ok(if is_negated { Condition::Not(Box::new(condition)) } else { condition })
    }

    fn comparison(&mut self) -> Result<Condition, PathError> {
        for (name, extent) in [(&b"match("[..], Extent::Whole), (b"search(", Extent::Part)] {
            if self.take(name) {
                self.skip_blanks();
                let left = self.operand()?;
                self.require(b",", "`,`")?;
                self.skip_blanks();
                let pattern = self.pattern(extent)?;
                self.require(b")", "`)`")?;
                return Ok(Condition::Matched(left, pattern, extent));
            }
        }
        let left = self.operand()?;
        self.skip_blanks();
        if self.take(b"=~") {
            self.skip_blanks();
            let pattern = self.pattern(Extent::Part)?;
            return Ok(Condition::Matched(left, pattern, Extent::Part));
        }
        const COMPARISONS: [(&[u8], Comparison); 8] = [
            (b"==", Comparison::Equal),
            (b"!=", Comparison::Unequal),
            (b"<=", Comparison::LessOrEqual),
            (b"<", Comparison::Less),
            (b">=", Comparison::GreaterOrEqual),
            (b">", Comparison::Greater),
            (b"in ", Comparison::In),
            (b"nin ", Comparison::NotIn),
        ];
        let found = COMPARISONS.iter().find(|(sign, _)| self.take(sign));
        let Some((_, comparison)) = found else { return Ok(Condition::Holds(left)) };
        self.skip_blanks();
        Ok(Condition::Compared(left, *comparison, self.operand()?))
    }

    /// What a text is matched with, made ready if it is known by now.
    fn pattern(&mut self, extent: Extent) -> Result<Pattern, PathError> {
        match self.operand()? {
            Operand::Query(query) => Ok(Pattern::Query(query)),
            Operand::Literal(Node::Text(text)) => {
                self.patterns += 1;
                if self.patterns > PATTERNS_MAX {
                    return Err(self.expected("fewer patterns"));
                }
                let text = std::str::from_utf8(text.as_bytes()).ok();
                Ok(Pattern::Ready(text.and_then(|text| ReadyPattern::make(text, extent))))
            }
            _ => Err(self.expected("a quoted pattern or a path")),
        }
    }

    fn operand(&mut self) -> Result<Operand, PathError> {
        if self.take(b"length(") {
            self.skip_blanks();
            self.enter()?;
            let argument = self.operand()?;
            self.depth -= 1;
            self.require(b")", "`)`")?;
            return Ok(Operand::Length(Box::new(argument)));
        }
        for (name, of_query) in
            [(&b"count("[..], Operand::Count as fn(Query) -> Operand), (b"value(", Operand::Value)]
        {
            if self.take(name) {
                self.skip_blanks();
                let query = self.query()?;
                self.require(b")", "`)`")?;
                return Ok(of_query(query));
            }
        }
        match self.peek() {
            Some(b'@' | b'$') => self.query().map(Operand::Query),
            Some(b'"' | b'\'') => Ok(Operand::Literal(Node::text(&self.quoted()?))),
            Some(b'[' | b'{') => self.literal(self.bracketed_len()),
            _ => {
                let rest = &self.text[self.at..];
                let is_of_word =
                    |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
                self.literal(rest.iter().take_while(|byte| is_of_word(byte)).count())
            }
        }
    }

    /// A path within a filter.
    fn query(&mut self) -> Result<Query, PathError> {
        let is_from_root = self.take(b"$");
        if !is_from_root && !self.take(b"@") {
            return Err(self.expected("`@` or `$`"));
        }
        let mut segments = Vec::new();
        self.enter()?;
        self.segments(&mut segments)?;
        self.depth -= 1;
        Ok(Query { is_from_root, segments })
    }

    /// Goes one level deeper, or refuses to.
    const fn enter(&mut self) -> Result<(), PathError> {
        if self.depth == FILTER_NESTING_MAX {
            return Err(self.expected("less nesting"));
        }
        self.depth += 1;
        Ok(())
    }

    /// The JSON value that the next `len` bytes are.
    fn literal(&mut self, len: usize) -> Result<Operand, PathError> {
        let invalid = self.expected("a path, a number, a quoted text or another literal");
        let value = read(self.hasher, &self.text[self.at..self.at + len]).map_err(|_| invalid)?;
        self.at += len;
        Ok(Operand::Literal(value))
    }

    /// The length of what stands in the brackets that come next, these included; all that is left if they stay open.
    fn bracketed_len(&self) -> usize {
        let (mut depth, mut is_quoted, mut is_escaped) = (0usize, false, false);
        for (at, byte) in self.text[self.at..].iter().enumerate() {
            if is_escaped {
                is_escaped = false;
                continue;
            }
            match byte {
                b'\\' => is_escaped = is_quoted,
                b'"' => is_quoted = !is_quoted,
                b'[' | b'{' if !is_quoted => depth += 1,
                b']' | b'}' if !is_quoted => {
                    depth -= 1;
                    if depth == 0 {
                        return at + 1;
                    }
                }
                _ => {}
            }
        }
        self.text.len() - self.at
    }
}

/// The only one of several, or all of them.
fn only(mut conditions: Vec<Condition>) -> Result<Condition, Vec<Condition>> {
    match (conditions.pop(), conditions.is_empty()) {
        (Some(condition), true) => Ok(condition),
        (last, _) => {
            conditions.extend(last);
            Err(conditions)
        }
    }
}

/// True for what may stand in a name without quotes. The signs of arithmetic may, as in RedisJSON.
const fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || !byte.is_ascii()
        || matches!(
            byte,
            b'_' | b'-' | b'+' | b'/' | b'%' | b'$' | b'^' | b':' | b'#' | b'@' | b';'
        )
}
