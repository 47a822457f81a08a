//! The English and the Korean README say the same: headings of the same depth, the same commands.
//! Owns: that comparison. Never: the quality of either text.

use super::{Tree, Violation};
use crate::project::Outcome;

const ENGLISH: &str = "README.md";
const KOREAN: &str = "README.ko.md";

/// Compares the outline and the code blocks of the two files.
pub(super) fn check(tree: &Tree<'_>) -> Outcome<Vec<Violation>> {
    let english = outline(&tree.project.read(ENGLISH)?);
    let korean = outline(&tree.project.read(KOREAN)?);
    let mut found = Vec::new();
    if english.depths != korean.depths {
        let what = format!(
            "headings differ from {ENGLISH}: depths {:?} there, {:?} here",
            english.depths, korean.depths
        );
        found.push(Violation::new(KOREAN, what));
    }
    for line in english.commands.iter().filter(|line| !korean.commands.contains(line)) {
        found.push(Violation::new(KOREAN, format!("lacks the line `{line}` of {ENGLISH}")));
    }
    for line in korean.commands.iter().filter(|line| !english.commands.contains(line)) {
        found.push(Violation::new(ENGLISH, format!("lacks the line `{line}` of {KOREAN}")));
    }
    Ok(found)
}

/// What the two must share.
#[derive(Default)]
struct Outline {
    depths: Vec<usize>,
    commands: Vec<String>,
}

fn outline(text: &str) -> Outline {
    let mut outline = Outline::default();
    let mut is_code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            // A comment behind a command is prose and may be translated.
            let command =
                line.split(" #").next().unwrap_or_default().split(" //").next().unwrap_or_default();
            let command = command.trim();
            let is_comment =
                command.is_empty() || command.starts_with("# ") || command.starts_with("//");
            if !is_comment {
                outline.commands.push(command.to_owned());
            }
        } else if line.starts_with('#') {
            outline.depths.push(line.bytes().take_while(|&b| b == b'#').count());
        }
    }
    outline
}

#[cfg(test)]
mod tests {
    use super::outline;

    #[test]
    fn comments_of_commands_may_differ() {
        let page = outline("# A\ntext\n```sh\n# prose\nrun it   # now\n```\n## B\n");
        assert_eq!(page.depths, [1, 2]);
        assert_eq!(page.commands, ["run it"]);
    }
}
