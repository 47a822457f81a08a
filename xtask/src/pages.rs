//! The verb `pages`: reference pages that are generated from the product's own tables.
//! Owns: which page comes from which table. Never: text of its own; the tables hold it.

use crate::project::{Outcome, Project};

/// A page and the words that make the built binary print it.
struct Page {
    path: &'static str,
    arguments: &'static [&'static str],
}

/// Every generated page.
const PAGES: &[Page] = &[
    Page { path: "docs/operate/settings.md", arguments: &["reference", "settings"] },
    Page { path: "docs/commands.md", arguments: &["reference", "commands"] },
];

/// Compares the pages in the tree with what the tables say; `update` writes them.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    let is_update = match arguments {
        [] => false,
        [word] if word == "update" => true,
        _ => return Err("pages takes nothing, or update".into()),
    };
    let mut stale = Vec::new();
    for page in PAGES {
        let text = generate(project, page)?;
        if is_update {
            std::fs::write(project.path(page.path), &text)?;
        } else if project.read(page.path).unwrap_or_default() != text {
            stale.push(page.path);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("stale: {}; run `cargo xtask pages update` and commit", stale.join(", ")).into())
}

fn generate(project: &Project, page: &Page) -> Outcome<String> {
    let mut call = project.cargo(&["run", "--quiet", "--package", "keystead", "--"]);
    let output = call.args(page.arguments).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cannot generate {}: {said}", page.path).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
