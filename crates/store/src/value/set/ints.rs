//! Numbers of a small set, sorted, in as few bytes each as the widest of them needs.
//! Owns: the bytes, which are those of an intset of Redis without its header. Never: how many may stand here (`set.rs`).
//!
//! INV-SET1: the numbers are sorted, each stands once, and each has the same width: 2, 4 or 8 bytes, little endian.

/// Sorted numbers.
#[derive(Clone)]
pub(crate) struct Ints {
    width: Width,
    bytes: Vec<u8>,
}

/// Bytes of each number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Width {
    Two = 2,
    Four = 4,
    Eight = 8,
}

impl Width {
    const fn of(number: i64) -> Self {
        if number >= i16::MIN as i64 && number <= i16::MAX as i64 {
            Self::Two
        } else if number >= i32::MIN as i64 && number <= i32::MAX as i64 {
            Self::Four
        } else {
            Self::Eight
        }
    }

    /// The width of so many bytes.
    pub(super) const fn of_bytes(bytes: u8) -> Option<Self> {
        match bytes {
            2 => Some(Self::Two),
            4 => Some(Self::Four),
            8 => Some(Self::Eight),
            _ => None,
        }
    }

    const fn bytes(self) -> usize {
        self as usize
    }
}

impl Ints {
    /// No numbers, of this width from the beginning.
    pub(super) const fn new(width: Width) -> Self {
        Self { width, bytes: Vec::new() }
    }

    /// Takes the bytes of numbers; `None` if they break INV-SET1.
    pub(super) fn from_bytes(width: Width, bytes: &[u8]) -> Option<Self> {
        let ints = Self { width, bytes: bytes.to_vec() };
        let is_whole = bytes.len().is_multiple_of(width.bytes());
        (is_whole && ints.iter().is_sorted_by(|a, b| a < b)).then_some(ints)
    }

    pub(super) const fn width(&self) -> Width {
        self.width
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len() / self.width.bytes()
    }

    /// The number at `index`, which must be below [`len`](Self::len).
    pub(super) fn at(&self, index: usize) -> i64 {
        let width = self.width.bytes();
        self.read(&self.bytes[index * width..(index + 1) * width])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.bytes.chunks_exact(self.width.bytes()).map(|bytes| self.read(bytes))
    }

    pub(super) fn contains(&self, number: i64) -> bool {
        self.search(number).is_ok()
    }

    /// Adds a number; true if it was not there. O(n).
    pub(super) fn add(&mut self, number: i64) -> bool {
        self.widen(Width::of(number));
        let Err(index) = self.search(number) else { return false };
        let at = index * self.width.bytes();
        let bytes = number.to_le_bytes();
        self.bytes.reserve_exact(self.width.bytes());
        self.bytes.splice(at..at, bytes[..self.width.bytes()].iter().copied());
        true
    }

    /// Removes a number; true if it was there. The width stays, as in Redis.
    pub(super) fn remove(&mut self, number: i64) -> bool {
        let Ok(index) = self.search(number) else { return false };
        let at = index * self.width.bytes();
        self.bytes.drain(at..at + self.width.bytes());
        true
    }

    fn read(&self, bytes: &[u8]) -> i64 {
        const WHOLE: &str = "INV-SET1: a number has all of its bytes";
        match self.width {
            Width::Two => i64::from(i16::from_le_bytes(*bytes.first_chunk().expect(WHOLE))),
            Width::Four => i64::from(i32::from_le_bytes(*bytes.first_chunk().expect(WHOLE))),
            Width::Eight => i64::from_le_bytes(*bytes.first_chunk().expect(WHOLE)),
        }
    }

    /// Where the number is, or where it belongs.
    fn search(&self, number: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.at(middle).cmp(&number) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    fn widen(&mut self, width: Width) {
        if width <= self.width {
            return;
        }
        let mut bytes = Vec::with_capacity((self.len() + 1) * width.bytes());
        for number in self.iter() {
            bytes.extend_from_slice(&number.to_le_bytes()[..width.bytes()]);
        }
        *self = Self { width, bytes };
    }
}
