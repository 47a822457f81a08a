//! A run of elements, packed one after the other in one allocation.
//! Owns: the bytes, and the room around them. Never: how long a run may be (see `List`).
//!
//! ```text
//!   buffer: [free][len body len][len body len] ... [len body len][free]
//!                 ^ start                                         ^ end
//! ```
//!
//! An element has its length on both sides, so that a run is walked from either end: in front seven bits a byte with
//! the lowest first, behind it the same bytes mirrored. Room is kept where it was needed last, so that a run that
//! grows, or shrinks, at one end moves nothing.
//!
//! INV-LIST1: `start..end` of the buffer holds exactly `count` elements.

use std::ops::Range;

use crate::allocation::granted;

/// A buffer of at most so many bytes is never cut down: an allocation costs more than it.
const SHRUNK_BYTES_MIN: usize = 64;
/// A length takes at most so many bytes on each side.
const LEN_BYTES_MAX: usize = 10;

/// One of the two ends of a list, or of a run of its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The head: the element with index 0.
    Left,
    /// The tail.
    Right,
}

/// Elements in one allocation.
#[derive(Default)]
pub(super) struct Node {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    count: usize,
}

/// Where one element lies in the buffer of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    start: usize,
    body: usize,
    body_end: usize,
    end: usize,
}

/// Bytes that an element with a body of `len` bytes takes.
pub(super) const fn bytes_for(len: usize) -> usize {
    2 * len_bytes(len) + len
}

const fn len_bytes(len: usize) -> usize {
    match len {
        0..128 => 1,
        len => (len.ilog2() / 7 + 1) as usize,
    }
}

impl Node {
    /// One element.
    pub(super) fn of(body: &[u8]) -> Self {
        let mut node = Self::default();
        node.push(Side::Right, body);
        node
    }

    /// Number of elements.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the elements.
    pub(super) const fn used(&self) -> usize {
        self.end - self.start
    }

    /// Bytes of memory behind it.
    pub(super) const fn bytes(&self) -> usize {
        if self.buffer.is_empty() { 0 } else { granted(self.buffer.len()) }
    }

    /// The body of an element.
    pub(super) fn body(&self, item: Item) -> &[u8] {
        &self.buffer[item.body..item.body_end]
    }

    /// The element at an end.
    pub(super) fn at_end(&self, side: Side) -> Option<Item> {
        match side {
            Side::Left => self.after(self.start),
            Side::Right => self.before(self.end),
        }
    }

    /// The element next to `item`, away from `side`.
    pub(super) fn next_from(&self, side: Side, item: Item) -> Option<Item> {
        match side {
            Side::Left => self.after(item.end),
            Side::Right => self.before(item.start),
        }
    }

    /// The element at `index`, walked to from the nearer end.
    pub(super) fn item(&self, index: usize) -> Option<Item> {
        if index >= self.count {
            return None;
        }
        let (side, steps) = if index < self.count / 2 {
            (Side::Left, index)
        } else {
            (Side::Right, self.count - 1 - index)
        };
        let mut item = self.at_end(side)?;
        for _ in 0..steps {
            item = self.next_from(side, item)?;
        }
        Some(item)
    }

    /// The elements, from an end on.
    pub(super) fn items(&self, side: Side) -> impl Iterator<Item = Item> {
        std::iter::successors(self.at_end(side), move |item| self.next_from(side, *item))
    }

    /// Puts an element at an end.
    pub(super) fn push(&mut self, side: Side, body: &[u8]) {
        let at = match side {
            Side::Left => self.start,
            Side::Right => self.end,
        };
        self.put(at, body);
    }

    /// Puts an element in front of `item`.
    pub(super) fn insert_before(&mut self, item: Item, body: &[u8]) {
        self.put(item.start, body);
    }

    /// Puts `body` in the place of an element.
    pub(super) fn replace(&mut self, item: Item, body: &[u8]) {
        if item.body_end - item.body == body.len() {
            self.buffer[item.body..item.body_end].copy_from_slice(body);
            return;
        }
        let at = item.start - self.start;
        self.close(item.start..item.end);
        self.count -= 1;
        self.put(self.start + at, body);
        self.fit();
    }

    /// Takes an element out.
    pub(super) fn remove(&mut self, item: Item) {
        self.close(item.start..item.end);
        self.count -= 1;
        self.fit();
    }

    /// Takes `count` elements out at an end; all if there are fewer.
    pub(super) fn drop_at(&mut self, side: Side, count: usize) {
        if count >= self.count {
            *self = Self::default();
            return;
        }
        let Some(last) = self.items(side).nth(count.saturating_sub(1)).filter(|_| count > 0) else {
            return;
        };
        match side {
            Side::Left => self.start = last.end,
            Side::Right => self.end = last.start,
        }
        self.count -= count;
        self.fit();
    }

    /// Takes out the elements equal to `body`, at most `limit` of them, those nearest to `side`; returns how many.
    pub(super) fn remove_equal(&mut self, body: &[u8], side: Side, limit: usize) -> usize {
        let equal: Vec<Item> =
            self.items(side).filter(|item| self.body(*item) == body).take(limit).collect();
        if equal.is_empty() {
            return 0;
        }
        let mut kept = Vec::with_capacity(self.used());
        let mut from = self.start;
        let mut copy = |item: &Item| {
            kept.extend_from_slice(&self.buffer[from..item.start]);
            from = item.end;
        };
        match side {
            Side::Left => equal.iter().for_each(&mut copy),
            Side::Right => equal.iter().rev().for_each(&mut copy),
        }
        kept.extend_from_slice(&self.buffer[from..self.end]);
        let count = self.count - equal.len();
        *self = Self::filled(&kept, count);
        equal.len()
    }

    /// Takes out `item` and all behind it, as a run of its own.
    pub(super) fn split_off(&mut self, item: Item, index: usize) -> Self {
        let right = Self::filled(&self.buffer[item.start..self.end], self.count - index);
        self.end = item.start;
        self.count = index;
        self.fit();
        right
    }

    /// Puts the elements of `other` behind its own.
    pub(super) fn append(&mut self, other: &Self) {
        let at = self.open(self.used(), other.used());
        self.buffer[at..at + other.used()].copy_from_slice(other.packed());
        self.count += other.count;
    }

    /// A copy with nothing free around it but what the allocator gives anyway.
    pub(super) fn fitted(&self) -> Self {
        Self::filled(self.packed(), self.count)
    }

    fn filled(packed: &[u8], count: usize) -> Self {
        let mut buffer = vec![0; capacity_for(packed.len())].into_boxed_slice();
        buffer[..packed.len()].copy_from_slice(packed);
        Self { buffer, start: 0, end: packed.len(), count }
    }

    fn packed(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn put(&mut self, at: usize, body: &[u8]) {
        let mut at = self.open(at - self.start, bytes_for(body.len()));
        let mut len_left = body.len();
        let mut len = [0; LEN_BYTES_MAX];
        let len = &mut len[..len_bytes(body.len())];
        for byte in &mut *len {
            *byte = len_left.to_le_bytes()[0] | 0x80;
            len_left >>= 7;
        }
        if let Some(last) = len.last_mut() {
            *last &= 0x7f;
        }
        for part in [&*len, body] {
            self.buffer[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        len.reverse();
        self.buffer[at..at + len.len()].copy_from_slice(len);
        self.count += 1;
    }

    /// Makes a gap of `len` bytes `offset` bytes behind the start; returns where it begins.
    fn open(&mut self, offset: usize, len: usize) -> usize {
        let used = self.used();
        // The shorter part moves; at an end that is none.
        let moves_front = offset < used - offset;
        if self.buffer.len() - used < len {
            let mut buffer = vec![0; capacity_for(used + len)].into_boxed_slice();
            let start = if moves_front { buffer.len() - used } else { 0 };
            buffer[start..start + used].copy_from_slice(self.packed());
            (self.buffer, self.start, self.end) = (buffer, start, start + used);
        }
        if moves_front {
            if self.start < len {
                self.shift_to(self.buffer.len() - used);
            }
            self.buffer.copy_within(self.start..self.start + offset, self.start - len);
            self.start -= len;
        } else {
            if self.buffer.len() - self.end < len {
                self.shift_to(0);
            }
            self.buffer.copy_within(self.start + offset..self.end, self.start + offset + len);
            self.end += len;
        }
        self.start + offset
    }

    fn shift_to(&mut self, start: usize) {
        let used = self.used();
        self.buffer.copy_within(self.start..self.end, start);
        (self.start, self.end) = (start, start + used);
    }

    /// Takes these bytes out.
    fn close(&mut self, gap: Range<usize>) {
        if gap.start - self.start < self.end - gap.end {
            self.buffer.copy_within(self.start..gap.start, self.start + gap.len());
            self.start += gap.len();
        } else {
            self.buffer.copy_within(gap.end..self.end, gap.start);
            self.end -= gap.len();
        }
    }

    /// Gives memory back where three quarters of it are free.
    fn fit(&mut self) {
        if self.buffer.len() > SHRUNK_BYTES_MIN && self.used() <= self.buffer.len() / 4 {
            *self = self.fitted();
        }
    }

    /// The element that begins at `at`.
    fn after(&self, at: usize) -> Option<Item> {
        if at >= self.end {
            return None;
        }
        let (len, len_bytes) = read_len(self.buffer[at..self.end].iter());
        let body = at + len_bytes;
        Some(Item { start: at, body, body_end: body + len, end: body + len + len_bytes })
    }

    /// The element that ends at `at`.
    fn before(&self, at: usize) -> Option<Item> {
        if at <= self.start {
            return None;
        }
        let (len, len_bytes) = read_len(self.buffer[self.start..at].iter().rev());
        let body_end = at - len_bytes;
        Some(Item { start: body_end - len - len_bytes, body: body_end - len, body_end, end: at })
    }
}

const fn capacity_for(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { granted(bytes) }
}

/// A length, and how many bytes it took.
fn read_len<'a>(bytes: impl Iterator<Item = &'a u8>) -> (usize, usize) {
    let (mut len, mut taken) = (0, 0);
    for byte in bytes {
        len |= usize::from(byte & 0x7f) << (7 * taken);
        taken += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (len, taken)
}
