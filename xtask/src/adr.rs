//! The verb `adr`: begins the next decision record.
//! Owns: numbers and the form of a record. Never: edits a record that exists; a new one supersedes it.

use crate::project::{Outcome, Project};

/// Writes `docs/adr/NNNN-title.md` from the template.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    let title = arguments.join(" ");
    if title.trim().is_empty() {
        return Err(
            "adr needs a title, for instance: cargo xtask adr \"leases end on transfer\"".into()
        );
    }
    let numbers = project.files("docs/adr", "md")?;
    let last = numbers
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.get(..4)?.parse::<u32>().ok())
        .max()
        .unwrap_or(0);
    let number = last + 1;
    let path = project.path(format!("docs/adr/{number:04}-{}.md", file_name(&title)));
    std::fs::write(&path, page(number, &title))?;
    println!("{}", path.display());
    Ok(())
}

/// The title as a file name: lower case words joined by dashes.
fn file_name(title: &str) -> String {
    let words: Vec<String> = title
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join("-")
}

fn page(number: u32, title: &str) -> String {
    format!(
        "# {number:04}. {title}\n\n\
         Status: proposed\n\n\
         ## Context\nWhat forces a decision, with figures where there are any.\n\n\
         ## Decision\nWhat we do, in the present tense.\n\n\
         ## Consequences\nWhat becomes easier, what becomes harder, what must be tested.\n\n\
         ## Alternatives refused\nEach with the reason.\n\n\
         ## What would make us reconsider\nA measurement or an event.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn a_title_becomes_a_file_name() {
        assert_eq!(file_name("Leases: end on transfer!"), "leases-end-on-transfer");
    }
}
