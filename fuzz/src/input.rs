//! A fuzzer's bytes as a supply of numbers, choices and pieces.
//!
//! Owns: [`Input`]. Never: fails: what is not there any more is 0 or empty, so that every input means something and
//! a shorter one means nearly the same.

use arbitrary::Unstructured;

/// The bytes of one run, taken from the front.
pub(crate) struct Input<'a>(Unstructured<'a>);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or(0)
    }

    pub(crate) fn u16(&mut self) -> u16 {
        self.0.arbitrary().unwrap_or(0)
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or(0)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.u16()) % bound
    }

    /// One of these.
    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// The next bytes, at most `most` of them.
    pub(crate) fn piece(&mut self, most: usize) -> &'a [u8] {
        let wanted = self.below(most + 1).min(self.0.len());
        self.0.bytes(wanted).unwrap_or(&[])
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0.take_rest()
    }
}

/// Lengths of reads, drawn from a seed: mostly short, so that every border is met.
pub(crate) struct Splits(u64);

impl Splits {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The length of the next read, at least 1.
    pub(crate) fn next(&mut self) -> usize {
        // xorshift64 (Marsaglia): any sequence will do, as long as the seed decides it.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let draw = usize::from((self.0 >> 48) as u16);
        match draw % 4 {
            0 => 1,
            1 => 1 + draw / 4 % 4,
            2 => 1 + draw / 4 % 16,
            _ => 1 + draw / 4 % 256,
        }
    }
}
