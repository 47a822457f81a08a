//! Glob patterns as Redis matches them: `*`, `?`, `[a-c]`, `[^x]`, `\` before a literal.
//! Owns: one function. Never: allocates; time is bounded by pattern length times text length.

/// True if all of `text` matches `pattern`. Bytes, not characters, and case counts.
#[must_use]
pub fn glob_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    // Where to go on after a mismatch: behind the last star, one byte further into the text.
    // Going back to the last star alone is enough, so the time is bounded by the product of lengths.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if at < pattern.len() && pattern[at] == b'*' {
            retry = Some((at + 1, seen));
            at += 1;
            continue;
        }
        if seen == text.len() && at >= pattern.len() {
            return true;
        }
        let matched = (seen < text.len()).then(|| match_one(&pattern[at..], text[seen])).flatten();
        if let Some(len) = matched {
            at += len;
            seen += 1;
            continue;
        }
        match retry {
            Some((star, from)) if from < text.len() => {
                retry = Some((star, from + 1));
                at = star;
                seen = from + 1;
            }
            _ => return false,
        }
    }
}

/// Length of the pattern's first element if `byte` matches it.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', set @ ..] => {
            let (is_member, len) = match_set(set, byte);
            is_member.then_some(1 + len)
        }
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Whether `byte` is in the set, and the length of the set with its closing bracket. A set that is
/// not closed reaches to the end of the pattern, as in Redis.
fn match_set(set: &[u8], byte: u8) -> (bool, usize) {
    let is_negated = set.first() == Some(&b'^');
    let mut at = usize::from(is_negated);
    let mut is_member = false;
    loop {
        match set[at.min(set.len())..] {
            [] => break,
            [b'\\', literal, ..] => {
                is_member |= literal == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [from, b'-', to, ..] => {
                is_member |= (from.min(to)..=from.max(to)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                is_member |= literal == byte;
                at += 1;
            }
        }
    }
    (is_member != is_negated, at.min(set.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn globs_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a[\\]]b", "a]b", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("a[bc", "ab", true),
        ] {
            assert_eq!(
                glob_matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "[*?\\[\\]^\\\\a-]{0,12}", text in "[a\\]-]{0,12}") {
            let is_match = glob_matches(pattern.as_bytes(), text.as_bytes());
            prop_assert!(is_match || !pattern.bytes().all(|b| b == b'*') || pattern.is_empty());
        }
    }
}
