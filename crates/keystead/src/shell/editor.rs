//! The line editor: history, completion and hints on a terminal.
//!
//! Owns: the prompt, the history file, which lines are kept out of it (those with passwords).
//! Never: interprets a line. Only used when a person sits at a terminal.

use std::borrow::Cow;
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor};

use super::help;
use super::render::Colour;
use super::statement::Statement;

/// Lines kept in the history file.
const HISTORY_LINES_MAX: usize = 2_000;
/// The history file's name in the home directory.
const HISTORY_FILE: &str = ".keystead_history";
/// Words that stand before a password.
const SECRET_WORDS: [&str; 3] = ["auth", "requirepass", "setuser"];

/// What a person typed.
#[derive(Debug)]
pub(crate) enum Line {
    /// A line.
    Text(String),
    /// Ctrl-C: the line is dropped.
    Dropped,
    /// Ctrl-D, or the terminal is gone.
    End,
}

/// Reads lines from a terminal.
pub(crate) struct LineEditor {
    editor: Editor<Hints, FileHistory>,
    history: Option<PathBuf>,
}

impl LineEditor {
    /// Reads the history file, if there is one.
    pub(crate) fn open(colour: Colour) -> Result<Self, ReadlineError> {
        let config = Config::builder()
            .max_history_size(HISTORY_LINES_MAX)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Hints { colour }));
        let history = std::env::home_dir().map(|home| home.join(HISTORY_FILE));
        if let Some(path) = &history {
            // Without a history file, or with one that cannot be read, the shell works all the same.
            drop(editor.load_history(path));
        }
        Ok(Self { editor, history })
    }

    /// Shows the prompt and waits for a line.
    pub(crate) fn next_line(&mut self, prompt: &str) -> Result<Line, ReadlineError> {
        match self.editor.readline(prompt) {
            Ok(line) => {
                self.remember(&line);
                Ok(Line::Text(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Dropped),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(error),
        }
    }

    fn remember(&mut self, line: &str) {
        let mut words = line.split_whitespace().map(str::to_ascii_lowercase);
        if words.any(|word| SECRET_WORDS.contains(&word.as_str())) {
            return;
        }
        let is_new = self.editor.add_history_entry(line).unwrap_or(false);
        if let Some(path) = self.history.as_ref().filter(|_| is_new) {
            // A home directory that cannot be written costs the history, nothing else.
            drop(self.editor.append_history(path));
        }
    }
}

/// Completion and hints for the name of a command and what follows it.
struct Hints {
    colour: Colour,
}

impl rustyline::Helper for Hints {}

impl Validator for Hints {
    /// A line whose JSON is cut off goes on on the next.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match Statement::parse(context.input()) {
            Err(error) if error.is_cut_off() => ValidationResult::Incomplete,
            _ => ValidationResult::Valid(None),
        })
    }
}

impl Completer for Hints {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok((0, help::completions(&line[..position])))
    }
}

impl Hinter for Hints {
    type Hint = String;

    fn hint(&self, line: &str, position: usize, _: &Context<'_>) -> Option<String> {
        if position < line.len() { None } else { help::hint(line) }
    }
}

impl Highlighter for Hints {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        match self.colour {
            Colour::Ansi => Cow::Owned(format!("\x1b[2m{hint}\x1b[0m")),
            Colour::None => Cow::Borrowed(hint),
        }
    }
}
