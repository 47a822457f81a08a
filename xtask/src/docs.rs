//! The verb `docs`: the API documentation builds without a warning, its examples run, links lead somewhere.
//! Owns: rustdoc's flags, the link check of pages. Never: writes a page (see `pages`).

use std::path::{Path, PathBuf};

use crate::project::{Outcome, Project};
use crate::step::Steps;

/// Rustdoc, doctests and links.
pub(crate) fn run(project: &Project, _: &[String]) -> Outcome {
    let mut steps = Steps::default();
    steps.call("rustdoc and links", || check_all(project));
    steps.command("doctests", &mut project.cargo(&["test", "--doc", "--workspace", "--quiet"]));
    steps.finish()
}

/// Rustdoc with warnings denied, and the links of every page.
pub(crate) fn check_all(project: &Project) -> Outcome {
    let mut rustdoc = project.cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    // Private items are shown: the first reader of this code is the next engineer.
    rustdoc.arg("--document-private-items").env("RUSTDOCFLAGS", "-D warnings");
    let status = rustdoc.status()?;
    if !status.success() {
        return Err(format!("rustdoc found faults: {status}").into());
    }
    let broken = broken_links(project)?;
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n").into()) }
}

/// Links of pages to files that do not exist. Links out of the project are not followed.
fn broken_links(project: &Project) -> Outcome<Vec<String>> {
    let mut pages = project.files("docs", "md")?;
    pages.extend(
        ["README.md", "README.ko.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
            .map(PathBuf::from),
    );
    let mut broken = Vec::new();
    for page in pages {
        let text = project.read(&page)?;
        for link in links(&text) {
            let is_elsewhere =
                link.contains("://") || link.starts_with('#') || link.starts_with("mailto:");
            let file = link.split('#').next().unwrap_or_default();
            let folder = page.parent().unwrap_or(Path::new(""));
            if !is_elsewhere && !project.path(folder.join(file)).exists() {
                broken.push(format!("{}: link to {link} leads nowhere", page.display()));
            }
        }
    }
    Ok(broken)
}

/// The targets of `[text](target)` in a page.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("](") {
        rest = &rest[at + 2..];
        if let Some(end) = rest.find(')') {
            found.push(&rest[..end]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::links;

    #[test]
    fn finds_every_link_of_a_line() {
        assert_eq!(links("see [a](x.md) and [b](y.md#z), not (c)"), ["x.md", "y.md#z"]);
    }
}
