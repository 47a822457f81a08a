//! The interactive shell, which is as useful in scripts.
//!
//! Owns: where statements come from (`-c`, standard input, a person at a terminal), where results go, the exit
//! code. Its children: [`statement`] (what a line means), [`session`] (carrying it out),
//! [`render`] (replies as text), [`update`] (jq), [`editor`] (the terminal), [`help`]. Never: holds a node;
//! the shell is a client like any other and works against any server that speaks the Redis protocol.
//!
//! Results go to standard output. Messages about what went wrong go to standard error, except an error
//! reply in the pretty and JSON formats, where it is the result. A script stops at the first statement
//! that fails unless told to keep going. Called by: `cli`.

mod editor;
mod help;
pub(crate) mod render;
mod session;
mod statement;
mod update;

use std::io::{self, BufRead, IsTerminal as _, Read as _, Write};
use std::mem;

use keystead::config::Address;
use keystead_client::{ConnectOptions, Kind};
use keystead_types::limits;

use crate::cli::Exit;
use editor::{Line, LineEditor};
use render::{Colour, Format, Style};
use session::{Flow, Session, ShellError};
use statement::Statement;

/// Longest line of a script, bytes: a value of the greatest size and its command.
const LINE_BYTES_MAX: usize = limits::BULK_BYTES_MAX + 64 * 1024;

/// Who speaks where messages of several programs meet.
const IN_SCRIPT: &str = "keystead shell";
/// And where a person talks to the shell alone.
const AT_TERMINAL: &str = "error";

/// What the shell was asked to do.
#[derive(Debug)]
pub(crate) struct Options {
    /// The first server to talk to.
    pub(crate) address: Address,
    /// How to connect.
    pub(crate) connect: ConnectOptions,
    /// Statements to carry out in place of reading them; empty: read them.
    pub(crate) commands: Vec<String>,
    /// How to show replies; by default pretty on a terminal, raw elsewhere.
    pub(crate) format: Option<Format>,
    /// Whether a script goes on after a statement that failed.
    pub(crate) keeps_going: bool,
}

/// Runs the shell to its end.
pub(crate) fn run(options: Options) -> Exit {
    let is_terminal = io::stdout().is_terminal();
    let colour = if is_terminal && wants_colour() { Colour::Ansi } else { Colour::None };
    let format = options.format.unwrap_or(if is_terminal { Format::Pretty } else { Format::Raw });
    let style = match format {
        Format::Pretty => Style { format, colour },
        Format::Raw | Format::Json => Style { format, colour: Colour::None },
    };
    let session = match Session::open(options.address, options.connect, style) {
        Ok(session) => session,
        Err(error) => return exit_of_start(&error),
    };
    let mut shell = Shell::new(session, options.keeps_going);
    let ended = if !options.commands.is_empty() {
        shell.run_commands(&options.commands)
    } else if io::stdin().is_terminal() && is_terminal {
        shell.run_terminal()
    } else {
        shell.run_script(io::stdin().lock())
    };
    match ended {
        Ok(()) => shell.worst,
        Err(error) => complain(&error, IN_SCRIPT),
    }
}

/// <https://no-color.org>: any value but an empty one turns colours off.
pub(crate) fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

struct Shell {
    session: Session,
    keeps_going: bool,
    /// Lines of a statement that is not complete yet.
    pending: String,
    /// What a message begins with.
    speaker: &'static str,
    /// The exit code of the first statement that failed.
    worst: Exit,
}

impl Shell {
    const fn new(session: Session, keeps_going: bool) -> Self {
        let pending = String::new();
        Self { session, keeps_going, pending, speaker: IN_SCRIPT, worst: Exit::Ok }
    }

    fn run_commands(&mut self, commands: &[String]) -> Result<(), ShellError> {
        for command in commands {
            if self.run_line(command)? == Flow::Exit || self.run_pending()? == Flow::Exit {
                break;
            }
        }
        Ok(())
    }

    fn run_script(&mut self, mut input: impl BufRead) -> Result<(), ShellError> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut bounded = (&mut input).take(LINE_BYTES_MAX as u64);
            let read = bounded.read_until(b'\n', &mut line).map_err(ShellError::Input)?;
            if read == 0 {
                self.run_pending()?;
                return Ok(());
            }
            let text = std::str::from_utf8(&line).map_err(|error| {
                ShellError::Input(io::Error::new(io::ErrorKind::InvalidData, error))
            })?;
            if self.run_line(text)? == Flow::Exit {
                return Ok(());
            }
        }
    }

    /// Carries out one line of a script. Failures end the script unless it keeps going.
    fn run_line(&mut self, line: &str) -> Result<Flow, ShellError> {
        let step = self.step(line);
        self.judge(step)
    }

    /// Carries out what was kept for further lines and did not get them.
    fn run_pending(&mut self) -> Result<Flow, ShellError> {
        let text = mem::take(&mut self.pending);
        let step = Statement::parse(&text).map_err(ShellError::from);
        let step = step.and_then(|statement| self.perform(statement));
        self.judge(step)
    }

    fn judge(&mut self, step: Result<Flow, ShellError>) -> Result<Flow, ShellError> {
        match step {
            Ok(flow) => Ok(flow),
            Err(error @ ShellError::Output(_)) => Err(error),
            Err(error) => {
                let exit = self.report(&error)?;
                if self.worst == Exit::Ok {
                    self.worst = exit;
                }
                Ok(if self.keeps_going { Flow::Continue } else { Flow::Exit })
            }
        }
    }

    fn run_terminal(&mut self) -> Result<(), ShellError> {
        self.speaker = AT_TERMINAL;
        let colour = self.session.style().colour;
        let mut editor = LineEditor::open(colour).map_err(terminal_failed)?;
        let greeting = format!(
            "Keystead shell {}, connected to {}. help explains, exit leaves.\n",
            env!("CARGO_PKG_VERSION"),
            self.session.address()
        );
        io::stdout().write_all(greeting.as_bytes())?;
        loop {
            let prompt = self.session.prompt();
            let line = match editor.next_line(&prompt).map_err(terminal_failed)? {
                Line::Text(line) => line,
                Line::Dropped => {
                    self.pending.clear();
                    continue;
                }
                Line::End => return Ok(()),
            };
            // Text that was pasted may hold several statements, a line each.
            for line in line.lines() {
                match self.step(line) {
                    Ok(Flow::Continue) => {}
                    Ok(Flow::Exit) => return Ok(()),
                    Err(error @ ShellError::Output(_)) => return Err(error),
                    Err(error) => drop(self.report(&error)?),
                }
            }
        }
    }

    /// Carries out the statement that `line` completes; keeps the line if its JSON goes on.
    fn step(&mut self, line: &str) -> Result<Flow, ShellError> {
        self.pending.push_str(line);
        self.pending.push('\n');
        match Statement::parse(&self.pending) {
            Err(error) if error.is_cut_off() && self.pending.len() < LINE_BYTES_MAX => {
                Ok(Flow::Continue)
            }
            parsed => {
                self.pending.clear();
                self.perform(parsed?)
            }
        }
    }

    fn perform(&mut self, statement: Option<Statement>) -> Result<Flow, ShellError> {
        let Some(statement) = statement else { return Ok(Flow::Continue) };
        let mut out = io::BufWriter::new(io::stdout().lock());
        let flow = self.session.execute(statement, &mut out);
        out.flush()?;
        flow
    }

    /// Shows a failure where its format has it.
    fn report(&self, error: &ShellError) -> Result<Exit, ShellError> {
        let style = self.session.style();
        match (error, style.format) {
            (ShellError::Reply { text }, Format::Pretty) => {
                io::stdout().write_all(&style.error(text))?;
            }
            (_, Format::Json) => io::stdout().write_all(&style.error(&error.to_string()))?,
            _ => return Ok(complain(error, self.speaker)),
        }
        Ok(exit_of(error))
    }
}

/// A server that refuses the login is as far away as one that does not answer.
fn exit_of_start(error: &ShellError) -> Exit {
    match complain(error, IN_SCRIPT) {
        Exit::Failed => Exit::Connection,
        exit => exit,
    }
}

fn terminal_failed(error: rustyline::error::ReadlineError) -> ShellError {
    ShellError::Input(io::Error::other(error))
}

/// Writes the failure to standard error.
fn complain(error: &ShellError, speaker: &str) -> Exit {
    let is_closed_pipe =
        matches!(error, ShellError::Output(source) if source.kind() == io::ErrorKind::BrokenPipe);
    if !is_closed_pipe {
        let text = match error {
            ShellError::Reply { text } => format!("{text}\n"),
            other => format!("{speaker}: {other}\n"),
        };
        // Nobody is left to tell if standard error is gone too.
        drop(io::stderr().write_all(text.as_bytes()));
    }
    exit_of(error)
}

fn exit_of(error: &ShellError) -> Exit {
    match error {
        ShellError::Statement(_) => Exit::Usage,
        ShellError::Connection(error) if matches!(error.kind(), Kind::Invalid) => Exit::Usage,
        ShellError::Connection(_) => Exit::Connection,
        _ => Exit::Failed,
    }
}
