//! Where a command's keys stand among its arguments.
//! Owns: [`KeySpec`] and walking over the keys of a command. Never: slots.
//! INV-CMD1: a command changes no key that its row does not find among its arguments.
//! The two steps of a specification, and their names, are those of COMMAND INFO since Redis 7.0: where the search
//! begins, and which arguments from there on are keys.

use keystead_resp::Args;

/// A run of keys, and what the command does with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Where the search begins.
    pub begin: Begin,
    /// Which arguments from there on are keys.
    pub find: Find,
    /// How the keys are used, as Redis names it, each word separated by a blank.
    pub flags: &'static str,
    /// A remark that COMMAND INFO shows.
    pub notes: &'static str,
}

/// Where the search for keys begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this position; the name is 0.
    Index(usize),
    /// Behind this word, whatever its case, looked for from a position on; negative: counted from the end, backwards.
    Keyword {
        /// The word.
        word: &'static str,
        /// Where to begin to look.
        from: i32,
    },
    /// Behind the last of this option. Redis finds such keys by a function of the command.
    Option(&'static OptionKey),
    /// Nowhere: which keys they are follows from what others hold. Redis calls the search unknown.
    Nowhere,
}

/// A key that is the argument of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionKey {
    /// The option's word.
    pub word: &'static str,
    /// Where the options begin.
    pub from: usize,
    /// The options that take arguments, and how many: none of these is an option itself, whatever it reads.
    pub valued: &'static [(&'static str, usize)],
    /// True if COMMAND INFO shows it as a keyword; otherwise it calls the search unknown.
    pub is_shown: bool,
}

impl OptionKey {
    /// Where the key stands: the last option counts, as it does for the command.
    fn place(&self, args: Args<'_>) -> Option<usize> {
        let (mut at, mut found) = (self.from, None);
        while let Some(word) = args.get(at) {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            if is(self.word) {
                found = Some(at + 1);
            }
            let valued = self.valued.iter().find(|(name, _)| is(name));
            at += 1 + valued.map_or(0, |(_, count)| *count);
        }
        found
    }
}

/// Which arguments are keys, from where the search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Every `step`-th one up to the last.
    Range {
        /// The last, counted from the first; negative: counted from the end, -1 being the last argument.
        last: i32,
        /// Distance between keys.
        step: usize,
        /// Above 1, with a negative `last`: only that fraction of the arguments are keys.
        limit: usize,
    },
    /// As many as an argument says.
    Count {
        /// Where the number stands, counted from the beginning.
        at: usize,
        /// Where the first key stands, counted from the beginning.
        first: usize,
        /// Distance between keys.
        step: usize,
    },
}

impl KeySpec {
    /// One key at `position`.
    #[must_use]
    pub const fn one(position: usize, flags: &'static str) -> Self {
        Self::span(position, 0, flags)
    }

    /// The key at `position` and `more` behind it.
    #[must_use]
    pub const fn span(position: usize, more: i32, flags: &'static str) -> Self {
        let find = Find::Range { last: more, step: 1, limit: 0 };
        Self { begin: Begin::Index(position), find, flags, notes: "" }
    }

    /// Every argument from `position` on.
    #[must_use]
    pub const fn all_from(position: usize, flags: &'static str) -> Self {
        Self::span(position, -1, flags)
    }

    /// Every `step`-th argument from `position` on.
    #[must_use]
    pub const fn every(step: usize, position: usize, flags: &'static str) -> Self {
        let find = Find::Range { last: -1, step, limit: 0 };
        Self { begin: Begin::Index(position), find, flags, notes: "" }
    }

    /// As many keys behind the argument at `position` as it says.
    #[must_use]
    pub const fn counted(position: usize, flags: &'static str) -> Self {
        let find = Find::Count { at: 0, first: 1, step: 1 };
        Self { begin: Begin::Index(position), find, flags, notes: "" }
    }

    /// As many keys behind the argument at `position` as it says, a value behind each.
    #[must_use]
    pub const fn counted_pairs(position: usize, flags: &'static str) -> Self {
        let find = Find::Count { at: 0, first: 1, step: 2 };
        Self { begin: Begin::Index(position), find, flags, notes: "" }
    }

    /// One key behind `word`, looked for from position `from` on.
    #[must_use]
    pub const fn behind(word: &'static str, from: i32, flags: &'static str) -> Self {
        let find = Find::Range { last: 0, step: 1, limit: 0 };
        Self { begin: Begin::Keyword { word, from }, find, flags, notes: "" }
    }

    /// The first half of the arguments behind `word`, looked for from position `from` on.
    #[must_use]
    pub const fn half_behind(word: &'static str, from: i32, flags: &'static str) -> Self {
        let find = Find::Range { last: -1, step: 1, limit: 2 };
        Self { begin: Begin::Keyword { word, from }, find, flags, notes: "" }
    }

    /// Every argument behind `word`, looked for from position `from` on.
    #[must_use]
    pub const fn all_behind(word: &'static str, from: i32, flags: &'static str) -> Self {
        let find = Find::Range { last: -1, step: 1, limit: 0 };
        Self { begin: Begin::Keyword { word, from }, find, flags, notes: "" }
    }

    /// One key that is the argument of an option.
    #[must_use]
    pub const fn option(option: &'static OptionKey, flags: &'static str) -> Self {
        let find = Find::Range { last: 0, step: 1, limit: 0 };
        Self { begin: Begin::Option(option), find, flags, notes: "" }
    }

    /// Keys that the arguments do not name.
    #[must_use]
    pub const fn unknown(flags: &'static str) -> Self {
        let find = Find::Range { last: 0, step: 1, limit: 0 };
        Self { begin: Begin::Nowhere, find, flags, notes: "" }
    }

    /// The same with a remark.
    #[must_use]
    pub const fn noted(self, notes: &'static str) -> Self {
        Self { notes, ..self }
    }

    /// Where the search begins among `args`.
    fn begin(&self, args: Args<'_>) -> Option<usize> {
        let is = |at: &usize, word: &str| {
            args.get(*at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
        };
        match self.begin {
            Begin::Index(at) => Some(at),
            Begin::Keyword { word, from } if from < 0 => {
                let from = args.len().checked_sub(from.unsigned_abs() as usize)?;
                (1..=from).rev().find(|at| is(at, word)).map(|at| at + 1)
            }
            Begin::Keyword { word, from } => {
                let from = from.unsigned_abs() as usize;
                (from..args.len()).find(|at| is(at, word)).map(|at| at + 1)
            }
            Begin::Option(option) => option.place(args),
            Begin::Nowhere => None,
        }
    }

    /// The keys among `args`: the first, the one behind the last, the distance.
    #[inline]
    fn range(&self, args: Args<'_>) -> Option<KeyRange> {
        let begin = self.begin(args)?;
        let (first, end, step) = match self.find {
            Find::Range { last, step, .. } if last >= 0 => {
                (begin, begin + last.unsigned_abs() as usize + 1, step)
            }
            Find::Range { last, step, limit } => {
                let end = (args.len() + 1).saturating_sub(last.unsigned_abs() as usize);
                let parts = limit.max(1);
                (begin, begin + end.saturating_sub(begin) / parts, step)
            }
            Find::Count { at, first, step } => {
                let count = std::str::from_utf8(args.get(begin + at)?).ok()?.parse::<u32>().ok()?;
                let first = begin + first;
                (first, first.checked_add((count as usize).checked_mul(step)?)?, step)
            }
        };
        Some(KeyRange { next: first, end: end.min(args.len()), step })
    }
}

/// Keys of one specification that are still to come.
#[derive(Clone, Copy, Debug)]
struct KeyRange {
    next: usize,
    end: usize,
    step: usize,
}

/// The keys of one command.
#[derive(Clone, Debug)]
pub struct KeyIter<'a> {
    specs: &'static [KeySpec],
    args: Args<'a>,
    /// Of the first of `specs`, once it was looked at.
    range: Option<KeyRange>,
}

impl<'a> KeyIter<'a> {
    pub(super) const fn new(specs: &'static [KeySpec], args: Args<'a>) -> Self {
        Self { specs, args, range: None }
    }

    /// Position of the next key among the arguments, and how it is used.
    #[inline]
    pub fn next_position(&mut self) -> Option<(usize, &'static KeySpec)> {
        while let Some(spec) = self.specs.first() {
            let range = self.range.or_else(|| spec.range(self.args));
            if let Some(range) = range.filter(|range| range.next < range.end) {
                self.range = Some(KeyRange { next: range.next + range.step, ..range });
                return Some((range.next, spec));
            }
            self.specs = &self.specs[1..];
            self.range = None;
        }
        None
    }
}

impl<'a> Iterator for KeyIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (at, _) = self.next_position()?;
        self.args.get(at)
    }
}
