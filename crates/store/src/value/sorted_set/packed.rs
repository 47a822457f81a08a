//! The members of a small sorted set: one allocation, in their order, found by reading through.
//! Owns: the bytes. Never: the bounds of a small set, see [`PACKED_MEMBERS_MAX`](super::PACKED_MEMBERS_MAX).
//!
//! A member is `[length of the name and form of the score:1][score:2, 4 or 8][name]`: whole scores, which most are, take
//! two or four bytes. As in a listpack of Redis, minus zero becomes zero.
//!
//! INV-Z4: members are sorted by (score, name), and no name stands twice.

use crate::allocation::granted;

use super::PACKED_BYTES_MAX;

/// Members in one allocation.
#[derive(Default)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    count: u8,
}

/// One member as it stands in the bytes.
#[derive(Clone, Copy)]
pub(super) struct PackedItem<'a> {
    pub(super) score: f64,
    pub(super) name: &'a [u8],
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Heads 0 to 64 have a score of two bytes, the next as many one of four, the last one of eight.
const HEADS: usize = PACKED_BYTES_MAX + 1;
const SCORE_BYTES: [usize; 3] = [2, 4, 8];

impl Packed {
    pub(super) fn len(&self) -> usize {
        usize::from(self.count)
    }

    pub(super) const fn bytes(&self) -> usize {
        granted(self.bytes.capacity())
    }

    /// Bytes of the members.
    pub(super) const fn used(&self) -> usize {
        self.bytes.len()
    }

    /// The member that begins at byte `start`.
    #[inline]
    pub(super) fn item_at(&self, start: usize) -> Option<PackedItem<'_>> {
        let head = usize::from(*self.bytes.get(start)?);
        let (form, len) = (head / HEADS, head % HEADS);
        let name = start + 1 + SCORE_BYTES[form];
        let score = &self.bytes[start + 1..name];
        let score = match form {
            0 => f64::from(i16::from_le_bytes(fixed(score))),
            1 => f64::from(i32::from_le_bytes(fixed(score))),
            _ => f64::from_le_bytes(fixed(score)),
        };
        Some(PackedItem { score, name: &self.bytes[name..name + len], start, end: name + len })
    }

    /// The members in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = PackedItem<'_>> {
        std::iter::successors(self.item_at(0), |item| self.item_at(item.end))
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<PackedItem<'_>> {
        // Scores are looked at only once the name is found: this is what most of a ZADD to a small set costs.
        let mut start = 0;
        while let Some(head) = self.bytes.get(start) {
            let (form, len) = (usize::from(*head) / HEADS, usize::from(*head) % HEADS);
            let at = start + 1 + SCORE_BYTES[form];
            if len == name.len() && &self.bytes[at..at + len] == name {
                return self.item_at(start);
            }
            start = at + len;
        }
        None
    }

    /// Puts in a member that is not there; the bounds of a packed set hold.
    pub(super) fn insert(&mut self, name: &[u8], score: f64) {
        let is_before =
            |item: &PackedItem<'_>| item.score < score || (item.score == score && item.name < name);
        let at =
            self.iter().find(|item| !is_before(item)).map_or(self.bytes.len(), |item| item.start);
        let mut new = [0; 1 + 8 + PACKED_BYTES_MAX];
        let len = write(&mut new, name, score);
        self.replace(at..at, &new[..len]);
        self.count += 1;
    }

    /// Takes out the bytes of `count` neighbours.
    pub(super) fn remove(&mut self, range: std::ops::Range<usize>, count: usize) {
        self.replace(range, &[]);
        self.count -= u8::try_from(count).expect("INV-Z4: a packed set has few members");
    }

    /// The bytes of the members of these ranks.
    pub(super) fn bytes_of(&self, ranks: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        let mut starts = self.iter().map(|item| item.start);
        let mut start_of = |skip| starts.nth(skip).unwrap_or(self.bytes.len());
        let start = start_of(ranks.start);
        let end = if ranks.is_empty() { start } else { start_of(ranks.len() - 1) };
        start..end
    }

    fn replace(&mut self, range: std::ops::Range<usize>, new: &[u8]) {
        let len = self.bytes.len() - range.len() + new.len();
        if len > self.bytes.capacity() {
            // What the allocator would round up to anyway is used.
            self.bytes.reserve_exact(granted(len) - self.bytes.len());
        }
        self.bytes.splice(range, new.iter().copied());
        if granted(len) < self.bytes.capacity() / 2 {
            self.bytes.shrink_to(granted(len));
        }
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("INV-Z4: a score is as long as its form says")
}

/// Writes a member; returns its length.
#[expect(clippy::cast_possible_truncation, reason = "the casts are compared with what was cast")]
fn write(out: &mut [u8], name: &[u8], score: f64) -> usize {
    let form = if f64::from(score as i16) == score {
        out[1..3].copy_from_slice(&(score as i16).to_le_bytes());
        0
    } else if f64::from(score as i32) == score {
        out[1..5].copy_from_slice(&(score as i32).to_le_bytes());
        1
    } else {
        out[1..9].copy_from_slice(&score.to_le_bytes());
        2
    };
    let head = form * HEADS + name.len();
    out[0] = u8::try_from(head).expect("INV-Z4: packed names are short");
    let start = 1 + SCORE_BYTES[form];
    out[start..start + name.len()].copy_from_slice(name);
    start + name.len()
}
