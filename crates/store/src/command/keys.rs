//! Where a command's keys stand among its arguments.
//! Owns: [`KeySpec`] and walking over the keys of a command. Never: slots.

use keystead_resp::Args;

/// A run of keys at fixed positions, and what the command does with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Position of the first key; the name is 0.
    pub first: usize,
    /// Position of the last key counted from the first; negative: counted from the end, -1 being the
    /// last argument.
    pub last: i32,
    /// Distance between keys.
    pub step: usize,
    /// How the keys are used, as Redis names it, each word separated by a blank.
    pub flags: &'static str,
    /// A remark that COMMAND INFO shows.
    pub notes: &'static str,
}

impl KeySpec {
    /// One key at `position`.
    #[must_use]
    pub const fn one(position: usize, flags: &'static str) -> Self {
        Self { first: position, last: 0, step: 1, flags, notes: "" }
    }

    /// The key at `position` and `more` behind it.
    #[must_use]
    pub const fn span(position: usize, more: i32, flags: &'static str) -> Self {
        Self { first: position, last: more, step: 1, flags, notes: "" }
    }

    /// Every argument from `position` on.
    #[must_use]
    pub const fn all_from(position: usize, flags: &'static str) -> Self {
        Self { first: position, last: -1, step: 1, flags, notes: "" }
    }

    /// Every `step`-th argument from `position` on.
    #[must_use]
    pub const fn every(step: usize, position: usize, flags: &'static str) -> Self {
        Self { first: position, last: -1, step, flags, notes: "" }
    }

    /// The same with a remark.
    #[must_use]
    pub const fn noted(self, notes: &'static str) -> Self {
        Self { notes, ..self }
    }

    /// Position of the last key among `count` arguments; below the first if there is none.
    const fn end(&self, count: usize) -> usize {
        let back = self.last.unsigned_abs() as usize;
        if self.last >= 0 { self.first + back } else { count.saturating_sub(back) }
    }
}

/// The keys of one command.
#[derive(Clone, Debug)]
pub struct KeyIter<'a> {
    specs: &'static [KeySpec],
    args: Args<'a>,
    /// Position of the next key; 0 before the first of a run.
    at: usize,
}

impl<'a> KeyIter<'a> {
    pub(super) const fn new(specs: &'static [KeySpec], args: Args<'a>) -> Self {
        Self { specs, args, at: 0 }
    }

    /// Position of the next key among the arguments, and how it is used.
    pub fn next_position(&mut self) -> Option<(usize, &'static KeySpec)> {
        while let Some(spec) = self.specs.first() {
            let at = if self.at == 0 { spec.first } else { self.at };
            if at <= spec.end(self.args.len()) && at < self.args.len() {
                self.at = at + spec.step;
                return Some((at, spec));
            }
            self.specs = &self.specs[1..];
            self.at = 0;
        }
        None
    }
}

impl<'a> Iterator for KeyIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (at, _) = self.next_position()?;
        self.args.get(at)
    }
}
