//! The bytes of a sketch, those of Redis: 16384 registers behind a header of 16 bytes.
//! Owns: both encodings, changing a register, hashing an element. Never: estimates, replies.
//!
//! ```text
//! header: "HYLL", encoding, three zeros, cardinality as last estimated (8 bytes, its top bit: no longer true)
//! dense:  six bits a register, the lowest first
//! sparse: runs: 00nnnnnn zeros, 01nnnnnn nnnnnnnn zeros, 1vvvvvnn registers of one value
//! ```
//! Bytes come from clients: every run is checked before it is followed.

use crate::error::CommandError;

pub(super) const REGISTERS: usize = 16384;
/// One value a register.
pub(super) type Registers = [u8; REGISTERS];

const HEADER: usize = 16;
const DENSE_BYTES: usize = HEADER + REGISTERS * 6 / 8;
/// Longest sparse sketch, header included (as `hll-sparse-max-bytes` of Redis).
const SPARSE_BYTES_MAX: usize = 3000;
const SPARSE_VALUE_MAX: u8 = 32;
const SPARSE_RUN_MAX: usize = 4;
const SHORT_ZEROS_MAX: usize = 64;
const STALE: u8 = 0x80;

/// How the registers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Dense = 0,
    Sparse = 1,
}

/// One run of a sparse sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    Zeros { len: usize },
    ManyZeros { len: usize },
    Values { value: u8, len: usize },
}

impl Run {
    /// The run at `at`; `None` if it is cut off.
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let first = *bytes.get(at)?;
        Some(match first >> 6 {
            0 => Self::Zeros { len: usize::from(first) + 1 },
            1 => {
                let len = usize::from(first & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
                Self::ManyZeros { len: len + 1 }
            }
            _ => {
                let len = usize::from(first & 3) + 1;
                Self::Values { value: (first >> 2 & 0x1f) + 1, len }
            }
        })
    }

    const fn len(self) -> usize {
        match self {
            Self::Zeros { len } | Self::ManyZeros { len } | Self::Values { len, .. } => len,
        }
    }

    const fn bytes(self) -> usize {
        if matches!(self, Self::ManyZeros { .. }) { 2 } else { 1 }
    }

    /// The run of the same kind with another length; `None` if that is zero.
    const fn with_len(self, len: usize) -> Option<Self> {
        match self {
            _ if len == 0 => None,
            Self::Values { value, .. } => Some(Self::Values { value, len }),
            _ if len > SHORT_ZEROS_MAX => Some(Self::ManyZeros { len }),
            _ => Some(Self::Zeros { len }),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "lengths have 6, 14 and 2 bits")]
    fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Zeros { len } => out.push((len - 1) as u8),
            Self::ManyZeros { len } => {
                out.extend_from_slice(&((len - 1) as u16 | 0x4000).to_be_bytes());
            }
            Self::Values { value, len } => out.push(0x80 | (value - 1) << 2 | (len - 1) as u8),
        }
    }
}

/// A sketch.
pub(super) struct Sketch(Vec<u8>);

impl Sketch {
    /// A sketch that has seen nothing.
    pub(super) fn new() -> Self {
        let mut bytes = b"HYLL\x01".to_vec();
        bytes.resize(HEADER, 0);
        Run::ManyZeros { len: REGISTERS }.put(&mut bytes);
        Self(bytes)
    }

    /// The sketch that a string holds, or the error that Redis answers.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, CommandError> {
        let is_sound = bytes.len() >= HEADER
            && bytes.starts_with(b"HYLL")
            && (bytes[4] == 1 || (bytes[4] == 0 && bytes.len() == DENSE_BYTES));
        if !is_sound {
            let text = "WRONGTYPE Key is not a valid HyperLogLog string value.";
            return Err(CommandError::Text { text });
        }
        Ok(Self(bytes.to_vec()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn encoding(&self) -> Encoding {
        if self.0[4] == 0 { Encoding::Dense } else { Encoding::Sparse }
    }

    /// The cardinality as it was last estimated, if nothing has changed since.
    pub(super) fn cached(&self) -> Option<u64> {
        let cached = self.0[8..HEADER].first_chunk().expect("eight bytes end the header");
        (self.0[HEADER - 1] & STALE == 0).then(|| u64::from_le_bytes(*cached))
    }

    /// Marks the cached cardinality as no longer true.
    pub(super) fn invalidate(&mut self) {
        self.0[HEADER - 1] |= STALE;
    }

    /// The runs of a sparse sketch.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let run = Run::read(&self.0, at)?;
            at += run.bytes();
            Some(run)
        })
    }

    /// Raises `registers` to those of the sketch.
    pub(super) fn merge_into(&self, registers: &mut Registers) -> Result<(), CommandError> {
        if self.encoding() == Encoding::Dense {
            for (index, register) in registers.iter_mut().enumerate() {
                *register = (*register).max(self.dense_get(index));
            }
            return Ok(());
        }
        let mut at = 0;
        for run in self.runs() {
            let span = registers.get_mut(at..at + run.len()).ok_or(corrupted())?;
            if let Run::Values { value, .. } = run {
                span.iter_mut().for_each(|register| *register = (*register).max(value));
            }
            at += run.len();
        }
        if at == REGISTERS { Ok(()) } else { Err(corrupted()) }
    }

    /// The registers.
    pub(super) fn registers(&self) -> Result<Registers, CommandError> {
        let mut registers = [0; REGISTERS];
        self.merge_into(&mut registers)?;
        Ok(registers)
    }

    /// Takes an element in; true if a register rose.
    pub(super) fn add(&mut self, element: &[u8]) -> Result<bool, CommandError> {
        const INDEX_BITS: u32 = 14;
        const COUNTED_BITS: u32 = 50;
        let hash = murmur(element);
        let index = usize::try_from(hash & (REGISTERS as u64 - 1)).expect("14 bits");
        let rest = hash >> INDEX_BITS | 1 << COUNTED_BITS;
        self.raise(index, u8::try_from(rest.trailing_zeros() + 1).expect("at most 51"))
    }

    /// Raises a register to `value`; true if it was lower.
    pub(super) fn raise(&mut self, index: usize, value: u8) -> Result<bool, CommandError> {
        if self.encoding() == Encoding::Dense {
            let is_higher = value > self.dense_get(index);
            if is_higher {
                self.dense_set(index, value);
            }
            return Ok(is_higher);
        }
        self.raise_sparse(index, value)
    }

    /// Writes the registers densely; true if they were not.
    pub(super) fn make_dense(&mut self) -> Result<bool, CommandError> {
        if self.encoding() == Encoding::Dense {
            return Ok(false);
        }
        let registers = self.registers()?;
        self.0.truncate(HEADER);
        self.0[4] = Encoding::Dense as u8;
        self.0.resize(DENSE_BYTES, 0);
        for (index, value) in registers.into_iter().enumerate().filter(|(_, value)| *value > 0) {
            self.dense_set(index, value);
        }
        Ok(true)
    }

    fn raise_sparse(&mut self, index: usize, value: u8) -> Result<bool, CommandError> {
        if value > SPARSE_VALUE_MAX {
            self.make_dense()?;
            return self.raise(index, value);
        }
        let (mut at, mut first, mut before) = (HEADER, 0, HEADER);
        let run = loop {
            let run = Run::read(&self.0, at).ok_or(corrupted())?;
            if index < first + run.len() {
                break run;
            }
            (before, first, at) = (at, first + run.len(), at + run.bytes());
        };
        if matches!(run, Run::Values { value: old, .. } if old >= value) {
            return Ok(false);
        }
        let parts = [
            run.with_len(index - first),
            Some(Run::Values { value, len: 1 }),
            run.with_len(first + run.len() - index - 1),
        ];
        let mut written = Vec::with_capacity(5);
        parts.into_iter().flatten().for_each(|part| part.put(&mut written));
        let longer = self.0.len() - run.bytes() + written.len();
        if written.len() > run.bytes() && longer > SPARSE_BYTES_MAX {
            self.make_dense()?;
            return self.raise(index, value);
        }
        self.0.splice(at..at + run.bytes(), written);
        self.join_runs(before);
        Ok(true)
    }

    /// Joins neighbours of one value among the few runs from `at` on, as Redis does.
    fn join_runs(&mut self, mut at: usize) {
        const LOOKED_AT: usize = 5;
        for _ in 0..LOOKED_AT {
            let Some(run) = Run::read(&self.0, at) else { return };
            if let Run::Values { value, len } = run
                && let Some(Run::Values { value: next, len: more }) = Run::read(&self.0, at + 1)
                && next == value
                && len + more <= SPARSE_RUN_MAX
            {
                let mut joined = Vec::with_capacity(1);
                Run::Values { value, len: len + more }.put(&mut joined);
                self.0.splice(at..at + 2, joined);
                continue;
            }
            at += run.bytes();
        }
    }

    fn dense_get(&self, index: usize) -> u8 {
        let (byte, shift) = (HEADER + index * 6 / 8, index * 6 % 8);
        let next = self.0.get(byte + 1).copied().unwrap_or(0);
        (u16::from_le_bytes([self.0[byte], next]) >> shift & 63).to_le_bytes()[0]
    }

    fn dense_set(&mut self, index: usize, value: u8) {
        let (byte, shift) = (HEADER + index * 6 / 8, index * 6 % 8);
        let next = self.0.get(byte + 1).copied().unwrap_or(0);
        let both = u16::from_le_bytes([self.0[byte], next]);
        let both = (both & !(63 << shift) | u16::from(value) << shift).to_le_bytes();
        self.0[byte] = both[0];
        if let Some(next) = self.0.get_mut(byte + 1) {
            *next = both[1];
        }
    }
}

const fn corrupted() -> CommandError {
    CommandError::Text { text: "INVALIDOBJ Corrupted HLL object detected" }
}

/// MurmurHash64A (Appleby, public domain) with the seed that Redis uses.
fn murmur(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0xadc8_3b19;
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        hash = (hash ^ (word ^ word >> 47).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(FACTOR);
    hash ^ hash >> 47
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_runs_are_followed_or_refused(
            runs in proptest::collection::vec(any::<u8>(), 0..80),
            element in any::<[u8; 3]>(),
            value in 1u8..52,
            index in 0..REGISTERS,
        ) {
            let mut bytes = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0".to_vec();
            bytes.extend_from_slice(&runs);
            let mut sketch = Sketch::of(&bytes).unwrap();
            // Raising may find the damage first, or not come as far; reading all finds it.
            let is_whole = sketch.registers().is_ok();
            let is_changed = [sketch.add(&element), sketch.raise(index, value)];
            prop_assert!(!is_whole || is_changed.iter().all(Result::is_ok));
            prop_assert_eq!(sketch.make_dense().is_ok(), is_whole);
        }

        #[test]
        fn both_encodings_hold_the_same_registers(
            raised in proptest::collection::vec((0..REGISTERS, 1u8..40), 0..300),
        ) {
            let (mut sparse, mut dense) = (Sketch::new(), Sketch::new());
            dense.make_dense().unwrap();
            for (index, value) in raised {
                prop_assert_eq!(sparse.raise(index, value), dense.raise(index, value));
            }
            prop_assert!(sparse.registers() == dense.registers());
        }
    }
}
