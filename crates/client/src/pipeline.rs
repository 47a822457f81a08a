//! Commands that are sent together.
//! Owns: their bytes and where each one ends. Never: sends them.

use keystead_resp::encode;

use crate::error::Error;

/// Commands to be sent in one go; their replies come back in the same order.
///
/// A pipeline is no transaction: commands of other clients may be executed in between, and one that
/// fails does not keep the next from being executed.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    run: Vec<u8>,
    ends: Vec<usize>,
}

impl Pipeline {
    /// A pipeline without commands.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A pipeline of one command.
    ///
    /// # Errors
    /// [`Error::Empty`] if it has not even a name.
    pub fn of(args: &[impl AsRef<[u8]>]) -> Result<Self, Error> {
        let mut pipeline = Self::new();
        pipeline.push(args)?;
        Ok(pipeline)
    }

    /// Adds a command.
    ///
    /// # Errors
    /// [`Error::Empty`] if it has not even a name.
    pub fn push(&mut self, args: &[impl AsRef<[u8]>]) -> Result<(), Error> {
        if args.is_empty() {
            return Err(Error::Empty);
        }
        encode::command(&mut self.run, args.iter().map(AsRef::as_ref));
        self.ends.push(self.run.len());
        Ok(())
    }

    /// Number of commands.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without commands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All commands as they are sent.
    pub(crate) fn run(&self) -> &[u8] {
        &self.run
    }

    /// The command at `position` as it is sent.
    pub(crate) fn command(&self, position: usize) -> &[u8] {
        let start = if position == 0 { 0 } else { self.ends[position - 1] };
        &self.run[start..self.ends[position]]
    }

    /// True if the first `bytes` of the run hold all of the command at `position`.
    pub(crate) fn is_sent(&self, position: usize, bytes: usize) -> bool {
        self.ends[position] <= bytes
    }

    /// Adds a command that is encoded already.
    pub(crate) fn push_encoded(&mut self, command: &[u8]) {
        self.run.extend_from_slice(command);
        self.ends.push(self.run.len());
    }
}
