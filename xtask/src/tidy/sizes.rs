//! Files stay within 600 lines of code before their tests, functions within 70 lines.
//! Owns: both limits and the ratchet file `xtask/ratchet.txt`. Never: counts tests.
//!
//! The ratchet lists functions that crossed the limit for a reason, with the length they may keep.
//! A function that is not listed may not cross; a listed one may shrink, never grow.

use std::collections::BTreeMap;

use super::source::{Source, words};
use super::{Tree, Violation};
use crate::project::Outcome;

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const RATCHET: &str = "xtask/ratchet.txt";

/// Checks the size of every file and every function of the product.
pub(super) fn check(tree: &Tree<'_>) -> Outcome<Vec<Violation>> {
    let mut ratchet = read_ratchet(&tree.project.read(RATCHET)?)?;
    let mut found = Vec::new();
    for source in tree.sources.iter().filter(|source| !source.is_test()) {
        let lines = code_lines(source);
        if lines > FILE_LINES_MAX {
            let what = format!(
                "{lines} lines of code before its tests; {FILE_LINES_MAX} at most: split it"
            );
            found.push(Violation::new(&source.path, what));
        }
        for function in functions(source) {
            let name = format!("{}::{}", source.name(), function.name);
            let listed = ratchet.remove(&name);
            let limit = listed.unwrap_or(FUNCTION_LINES_MAX);
            if function.lines > limit {
                let place = format!("{}:{}", source.name(), function.first_line);
                let what =
                    format!("`{}` has {} lines; {limit} at most", function.name, function.lines);
                found.push(Violation::new(place, what));
            } else if listed.is_some() && function.lines <= FUNCTION_LINES_MAX {
                found.push(Violation::new(
                    RATCHET,
                    format!("{name} is short now: take it off the list"),
                ));
            }
        }
    }
    for gone in ratchet.keys() {
        found.push(Violation::new(RATCHET, format!("{gone} does not exist: take it off the list")));
    }
    Ok(found)
}

/// Lines with code on them before the tests: blank lines and comments are free.
fn code_lines(source: &Source) -> usize {
    source.product_lines().filter(|(_, line)| !line.trim().is_empty()).count()
}

fn read_ratchet(text: &str) -> Outcome<BTreeMap<String, usize>> {
    let mut listed = BTreeMap::new();
    for line in
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (name, lines) = line.rsplit_once(' ').ok_or_else(|| format!("{RATCHET}: `{line}`"))?;
        listed.insert(name.to_owned(), lines.parse()?);
    }
    Ok(listed)
}

/// A function and how long it is from its `fn` to its closing brace.
#[derive(Debug, PartialEq)]
struct Function {
    name: String,
    first_line: usize,
    lines: usize,
}

/// The functions of a file before its tests, found by counting braces in blanked code.
fn functions(source: &Source) -> Vec<Function> {
    let mut found = Vec::new();
    let mut depth = 0usize;
    // Functions whose closing brace has not come: depth of their body, name, first line, code lines.
    let mut open: Vec<(usize, Function)> = Vec::new();
    let mut announced: Option<Function> = None;
    for (number, line) in source.product_lines() {
        if !line.trim().is_empty() {
            open.iter_mut().for_each(|(_, function)| function.lines += 1);
        }
        if let Some(name) = announced_name(line) {
            announced = Some(Function { name: name.to_owned(), first_line: number, lines: 1 });
        } else if let Some(function) = &mut announced {
            function.lines += 1;
        }
        for byte in line.bytes() {
            match byte {
                b'{' => {
                    depth += 1;
                    open.extend(announced.take().map(|function| (depth, function)));
                }
                b'}' => {
                    if open.last().is_some_and(|(at, _)| *at == depth) {
                        found.extend(open.pop().map(|(_, function)| function));
                    }
                    depth = depth.saturating_sub(1);
                }
                // A declaration without a body, or an array type in the signature.
                b';' if announced.is_some() && line.trim_end().ends_with(';') => announced = None,
                _ => {}
            }
        }
    }
    found
}

/// The name after `fn` on a line that begins a function.
fn announced_name(line: &str) -> Option<&str> {
    let mut all = words(line);
    let mut previous_are_modifiers = true;
    while let Some(word) = all.next() {
        match word {
            "fn" if previous_are_modifiers => return all.next(),
            "pub" | "crate" | "super" | "in" | "const" | "async" | "unsafe" | "extern" | "self" => {
            }
            _ => previous_are_modifiers = false,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::functions;
    use crate::tidy::source::Source;

    #[test]
    fn functions_are_measured_by_their_braces() {
        let text = "impl A {\n    pub(crate) fn one(\n        a: [u8; 2],\n    ) {\n        if a { b(\"}\") }\n\n    }\n\
                    }\ntrait T {\n    fn none(&self);\n}\nconst fn two() {}\n";
        let source = Source::new("crates/x/src/a.rs".into(), text.to_owned());
        let found: Vec<(String, usize)> =
            functions(&source).into_iter().map(|f| (f.name, f.lines)).collect();
        assert_eq!(found, [("one".to_owned(), 5), ("two".to_owned(), 1)]);
    }
}
