//! jq expressions: what `update KEY EXPRESSION` makes of a value.
//!
//! Owns: compiling an expression and running it over one JSON text. Never: reads or writes a key (see
//! `execute.rs`), ends the process (jq's `halt` is an error here). Deterministic but for jq's own `now`.

use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, data};
use jaq_json::{Val, read};

/// Why there is no new value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpdateError {
    /// The expression is not one of jq.
    #[error("the expression is not jq: {reason}; as in .age = 31 or .tags += [\"new\"]")]
    Expression { reason: String },
    /// The value is not JSON, so no expression applies to it.
    #[error("the value is not JSON ({reason}), so it cannot be updated; store JSON with put")]
    Value { reason: String },
    /// The expression failed on this value.
    #[error("the expression failed: {reason}; the value is as before")]
    Run { reason: String },
    /// The expression did not give exactly one result.
    #[error("the expression gave {found} instead of one result; the value is as before")]
    Results { found: &'static str },
    /// The result has no JSON form.
    #[error("the result is not JSON ({reason}); the value is as before")]
    Outcome { reason: String },
}

/// A compiled expression, which may be run more than once.
pub(crate) struct Expression {
    filter: Filter<data::JustLut<Val>>,
}

impl Expression {
    /// Compiles `code`.
    pub(crate) fn compile(code: &str) -> Result<Self, UpdateError> {
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let arena = Arena::default();
        let modules = Loader::new(definitions)
            .load(&arena, File { code, path: () })
            .map_err(|errors| not_jq(errors.into_iter().map(|(_, error)| syntax(error))))?;
        let filter =
            Compiler::default().with_funs(functions).compile(modules).map_err(|errors| {
                let names = errors.into_iter().flat_map(|(_, unknown)| unknown);
                not_jq(names.map(|(name, kind)| format!("unknown {} `{name}`", kind.as_str())))
            })?;
        Ok(Self { filter })
    }

    /// The JSON text that the expression makes of `value`.
    pub(crate) fn apply(&self, value: &[u8]) -> Result<Vec<u8>, UpdateError> {
        // jq's reader takes more than JSON and nests without bound: what may pass is decided here.
        check_json(value).map_err(|reason| UpdateError::Value { reason })?;
        let input = read::parse_single(value)
            .map_err(|error| UpdateError::Value { reason: error.to_string() })?;
        let context = Ctx::<data::JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        let mut results = self.filter.id.run((context, input));
        let first = results.next().ok_or(UpdateError::Results { found: "none" })?;
        let result = first.map_err(|exception| UpdateError::Run {
            reason: exception
                .get_err()
                .map_or_else(|_| "halt".to_owned(), |error| error.to_string()),
        })?;
        if results.next().is_some() {
            return Err(UpdateError::Results { found: "several" });
        }
        let text = result.to_string().into_bytes();
        check_json(&text).map_err(|reason| UpdateError::Outcome { reason })?;
        Ok(text)
    }
}

/// Checks form and depth: serde_json builds values to a depth of 128 and refuses deeper ones.
fn check_json(text: &[u8]) -> Result<(), String> {
    let checked = serde_json::from_slice::<serde_json::Value>(text);
    checked.map(drop).map_err(|error| error.to_string())
}

fn not_jq(reasons: impl Iterator<Item = String>) -> UpdateError {
    UpdateError::Expression { reason: reasons.collect::<Vec<_>>().join(", ") }
}

fn syntax(error: load::Error<&str>) -> String {
    let at = |found: &str| match found {
        "" => "at the end".to_owned(),
        found => format!("at `{found}`"),
    };
    let reasons: Vec<String> = match error {
        load::Error::Io(errors) => errors.into_iter().map(|(_, reason)| reason).collect(),
        load::Error::Lex(errors) => errors
            .into_iter()
            .map(|(expected, found)| format!("expected {} {}", expected.as_str(), at(found)))
            .collect(),
        load::Error::Parse(errors) => errors
            .into_iter()
            .map(|(expected, found)| format!("expected {} {}", expected.as_str(), at(found)))
            .collect(),
    };
    reasons.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(code: &str, value: &str) -> Result<String, UpdateError> {
        let text = Expression::compile(code)?.apply(value.as_bytes())?;
        Ok(String::from_utf8(text).expect("JSON is UTF-8"))
    }

    #[test]
    fn values_keep_their_order_and_their_digits() {
        let alice = r#"{"name": "Alice", "age": 30, "id": 12345678901234567890123}"#;
        assert_eq!(
            apply(".age = 31", alice).as_deref(),
            Ok(r#"{"name":"Alice","age":31,"id":12345678901234567890123}"#)
        );
        assert_eq!(
            apply(".age += 1 | del(.id)", alice).as_deref(),
            Ok(r#"{"name":"Alice","age":31}"#)
        );
        assert_eq!(apply(". + 1", "41").as_deref(), Ok("42"));
        assert_eq!(apply("map(select(. > 1))", "[1,2,3]").as_deref(), Ok("[2,3]"));
        assert_eq!(apply(r#""\(.)!""#, "\"é\"").as_deref(), Ok("\"é!\""));
    }

    #[test]
    fn mistakes_are_named_and_change_nothing() {
        let messages: Vec<String> = [
            (".age = ", "1"),
            ("nothing_such(1)", "1"),
            ("$x", "1"),
            (".age = 31", "not json"),
            (".age = 31", "[1]"),
            ("empty", "1"),
            (".[]", "[1,2]"),
            ("{(0): 1}", "1"),
            ("halt", "1"),
            ("error(\"no\")", "1"),
            ("\"a", "1"),
        ]
        .iter()
        .map(|(code, value)| apply(code, value).expect_err("a mistake").to_string())
        .collect();
        let as_before = "the value is as before";
        let example = "as in .age = 31 or .tags += [\"new\"]";
        assert_eq!(
            messages,
            [
                format!("the expression is not jq: expected term at the end; {example}"),
                format!("the expression is not jq: unknown filter `nothing_such`; {example}"),
                format!("the expression is not jq: unknown variable `$x`; {example}"),
                "the value is not JSON (expected ident at line 1 column 2), so it cannot be updated; \
                 store JSON with put"
                    .to_owned(),
                format!("the expression failed: cannot use \"age\" as integer; {as_before}"),
                format!("the expression gave none instead of one result; {as_before}"),
                format!("the expression gave several instead of one result; {as_before}"),
                format!("the result is not JSON (key must be a string at line 1 column 2); {as_before}"),
                format!("the expression failed: halt; {as_before}"),
                format!("the expression failed: \"no\"; {as_before}"),
                format!("the expression is not jq: expected closing quote at the end; {example}"),
            ]
        );
    }

    #[test]
    fn deep_nesting_is_refused_rather_than_followed() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(apply(".", &deep), Err(UpdateError::Value { .. })));
    }
}
