//! A command's arguments as slices of the bytes the client sent.
//! Owns: [`Args`], a view that costs nothing to pass on. Never: copies an argument.

use std::ops::Index;

/// Where one argument lies, relative to the first byte of its command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the argument's first byte, bytes.
    pub start: u32,
    /// Length of the argument, bytes.
    pub len: u32,
}

impl Span {
    /// The span from `start` up to `end`, or `None` if it lies beyond 4 GiB (no command is that long).
    #[inline]
    pub(crate) fn between(start: usize, end: usize) -> Option<Self> {
        let len = u32::try_from(end.checked_sub(start)?).ok()?;
        Some(Self { start: u32::try_from(start).ok()?, len })
    }
}

/// The arguments of one command, its name first.
///
/// INV-P1: every span lies within `bytes`; the decoders are the only makers of spans.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// A view of `spans` over `bytes`, the command's own bytes from its first to its last.
    #[must_use]
    pub const fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }

    /// Number of arguments, the command's name included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.spans.len()
    }

    /// True if there is not even a name.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `position`, 0 being the command's name.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<&'a [u8]> {
        self.spans.get(position).map(|span| self.slice(*span))
    }

    /// The arguments in order, the name first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + use<'a> {
        let this = *self;
        this.spans.iter().map(move |span| this.slice(*span))
    }

    /// The arguments from `position` on; empty if there are fewer.
    #[must_use]
    pub fn from(&self, position: usize) -> Self {
        Self { bytes: self.bytes, spans: self.spans.get(position..).unwrap_or(&[]) }
    }

    /// The first `count` arguments; all if there are fewer.
    #[must_use]
    pub fn up_to(&self, count: usize) -> Self {
        Self { bytes: self.bytes, spans: &self.spans[..count.min(self.spans.len())] }
    }

    /// The command's bytes as they stand in the log: a RESP array of bulk strings.
    #[must_use]
    pub const fn wire(&self) -> &'a [u8] {
        self.bytes
    }

    fn slice(&self, span: Span) -> &'a [u8] {
        &self.bytes[span.start as usize..span.start as usize + span.len as usize]
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    /// The argument at `position`.
    ///
    /// # Panics
    /// If there is no such argument; the arity check of the command table comes first.
    fn index(&self, position: usize) -> &[u8] {
        self.slice(self.spans[position])
    }
}
