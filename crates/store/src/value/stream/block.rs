//! Blocks of entries: up to a hundred in one allocation, field names written once where they repeat.
//! Owns: the layout of a block, which is that of Redis to the byte: its length decides where the next block begins, and
//! so what XTRIM with `~` leaves. Never: which block an entry goes to (`blocks.rs`).
//!
//! A block is a listpack. Its head: the number of live entries, that of deleted ones, and the field names of the
//! first entry, with a 0 behind. Then the entries: flags, milliseconds and number counted from the first entry's id, the
//! number of fields unless the names are those of the head, (name and) value of each, and how many elements that was.
//!
//! INV-ST2: a block is what [`Block::check`] accepts: sound, its counts those of its entries.

use keystead_resp::Args;

use super::id::StreamId;
use super::listpack::{self, Cursor, Item};

const FLAG_DELETED: i64 = 1;
const FLAG_SAME_FIELDS: i64 = 2;

/// Entries that share an allocation.
#[derive(Clone)]
pub(super) struct Block {
    /// The id of the first entry, deleted or not; others are counted from it.
    first: StreamId,
    list: Vec<u8>,
}

/// An entry, borrowed from its block.
#[derive(Clone, Copy)]
pub(crate) struct StreamEntry<'a> {
    /// Its id.
    pub(crate) id: StreamId,
    /// How many fields it has.
    pub(crate) field_count: usize,
    /// The names in the head of the block, if the entry has them.
    names: Option<Cursor<'a>>,
    /// Names and values, or values only.
    items: Cursor<'a>,
}

impl<'a> StreamEntry<'a> {
    /// Its fields with their values.
    pub(crate) fn fields(mut self) -> impl Iterator<Item = (Item<'a>, Item<'a>)> {
        const SOUND: &str = "INV-ST2: an entry has as many fields as it says";
        (0..self.field_count).map(move |_| {
            let name = self.names.as_mut().unwrap_or(&mut self.items).next().expect(SOUND);
            (name, self.items.next().expect(SOUND))
        })
    }
}

/// An entry and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) entry: StreamEntry<'a>,
    pub(super) is_deleted: bool,
    /// Where its flags stand.
    at: usize,
    flags: i64,
}

/// What stands in front of a block's entries.
#[derive(Clone, Copy)]
struct Head<'a> {
    first: StreamId,
    live: i64,
    deleted: i64,
    /// Where the number of deleted entries stands.
    deleted_at: usize,
    names: Cursor<'a>,
    name_count: usize,
    /// Where the first entry stands.
    entries: Cursor<'a>,
}

impl<'a> Head<'a> {
    fn read(first: StreamId, list: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(list);
        let live = cursor.next()?.integer()?;
        let deleted_at = cursor.at;
        let deleted = cursor.next()?.integer()?;
        let name_count = usize::try_from(cursor.next()?.integer()?).ok()?;
        let names = cursor;
        for _ in 0..name_count {
            cursor.next()?;
        }
        let is_ended = cursor.next()?.integer()? == 0;
        is_ended.then_some(Self {
            first,
            live,
            deleted,
            deleted_at,
            names,
            name_count,
            entries: cursor,
        })
    }

    /// The entry at `cursor`, which moves behind it.
    fn entry(&self, cursor: &mut Cursor<'a>) -> Option<Place<'a>> {
        let at = cursor.at;
        let flags = cursor.next()?.integer()?;
        let ms = cursor.next()?.integer()?.cast_unsigned();
        let seq = cursor.next()?.integer()?.cast_unsigned();
        let has_names = flags & FLAG_SAME_FIELDS == 0;
        let field_count = if has_names {
            usize::try_from(cursor.next()?.integer()?).ok()?
        } else {
            self.name_count
        };
        let items = *cursor;
        let item_count = field_count.checked_mul(if has_names { 2 } else { 1 })?;
        for _ in 0..item_count {
            cursor.next()?;
        }
        let elements = cursor.next()?.integer()?;
        let is_counted = usize::try_from(elements).ok()? == elements_of(has_names, item_count)?;
        let id =
            StreamId { ms: self.first.ms.wrapping_add(ms), seq: self.first.seq.wrapping_add(seq) };
        let names = (!has_names).then_some(self.names);
        let entry = StreamEntry { id, field_count, names, items };
        let is_deleted = flags & FLAG_DELETED != 0;
        is_counted.then_some(Place { entry, is_deleted, at, flags })
    }

    /// The entry that ends at `cursor`, which moves in front of it.
    fn entry_before(&self, cursor: &mut Cursor<'a>) -> Option<Place<'a>> {
        if cursor.at <= self.entries.at {
            return None;
        }
        cursor.back()?;
        let mut number = *cursor;
        let elements = number.next()?.integer()?;
        for _ in 0..elements {
            cursor.back()?;
        }
        let mut forward = *cursor;
        self.entry(&mut forward)
    }
}

/// How many elements an entry has in front of their number.
fn elements_of(has_names: bool, item_count: usize) -> Option<usize> {
    item_count.checked_add(if has_names { 4 } else { 3 })
}

impl Block {
    /// A block with one entry.
    pub(super) fn new(id: StreamId, fields: Args<'_>) -> Self {
        let mut list = listpack::empty();
        listpack::push_integer(&mut list, 0);
        listpack::push_integer(&mut list, 0);
        listpack::push_integer(&mut list, (fields.len() / 2) as i64);
        for name in fields.iter().step_by(2) {
            listpack::push_string(&mut list, name);
        }
        listpack::push_integer(&mut list, 0);
        let mut block = Self { first: id, list };
        block.append(id, fields);
        block
    }

    /// A block from bytes of unknown origin; `None` if they are not one.
    pub(super) fn check(first: StreamId, list: &[u8]) -> Option<Self> {
        if !listpack::is_sound(list) {
            return None;
        }
        let head = Head::read(first, list)?;
        let (mut cursor, mut live, mut deleted) = (head.entries, 0, 0);
        let mut last_live = None;
        while cursor.at < list.len() - 1 {
            let place = head.entry(&mut cursor)?;
            if place.flags & !(FLAG_DELETED | FLAG_SAME_FIELDS) != 0 {
                return None;
            }
            if place.is_deleted {
                deleted += 1;
                continue;
            }
            live += 1;
            // Entries without fields cannot be added; those whose ids do not ascend from the first cannot be found.
            let id = place.entry.id;
            if place.entry.field_count == 0 || id < first || last_live >= Some(id) {
                return None;
            }
            last_live = Some(id);
        }
        let is_counted = head.live == live && head.deleted == deleted && live + deleted > 0;
        is_counted.then(|| Self { first, list: list.to_vec() })
    }

    /// The id that the block's ids are counted from.
    pub(super) const fn first(&self) -> StreamId {
        self.first
    }

    /// The block as a listpack.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.list
    }

    /// Bytes of its allocation.
    pub(super) const fn capacity(&self) -> usize {
        self.list.capacity()
    }

    /// Bytes of its allocation, and its own.
    pub(super) const fn sizes(&self) -> (usize, usize) {
        (self.list.capacity(), self.list.len())
    }

    /// Gives back what was reserved for more entries.
    pub(super) fn shrink(&mut self) {
        self.list.shrink_to_fit();
    }

    /// Number of entries that are not deleted.
    pub(super) fn live(&self) -> u64 {
        self.head().live.unsigned_abs()
    }

    /// Number of entries, deleted ones included.
    pub(super) fn total(&self) -> u64 {
        let head = self.head();
        (head.live + head.deleted).unsigned_abs()
    }

    /// Adds an entry behind the others.
    pub(super) fn append(&mut self, id: StreamId, fields: Args<'_>) {
        let head = self.head();
        let mut names = head.names;
        let is_same = head.name_count == fields.len() / 2
            && fields.iter().step_by(2).all(|name| names.next().is_some_and(|own| own.is(name)));
        let live = head.live;
        let (ms, seq) = (id.ms.wrapping_sub(self.first.ms), id.seq.wrapping_sub(self.first.seq));
        let list = &mut self.list;
        listpack::push_integer(list, if is_same { FLAG_SAME_FIELDS } else { 0 });
        listpack::push_integer(list, ms.cast_signed());
        listpack::push_integer(list, seq.cast_signed());
        if is_same {
            fields.iter().skip(1).step_by(2).for_each(|value| listpack::push_string(list, value));
        } else {
            listpack::push_integer(list, (fields.len() / 2) as i64);
            fields.iter().for_each(|item| listpack::push_string(list, item));
        }
        let item_count = if is_same { fields.len() / 2 } else { fields.len() };
        let elements = elements_of(!is_same, item_count).expect("a command has few arguments");
        listpack::push_integer(list, elements as i64);
        listpack::replace_integer(list, listpack::HEAD_BYTES, live + 1);
    }

    /// Marks those of the first entries as deleted that `is_wanted` picks, until it says `None`; returns how many.
    pub(super) fn delete(&mut self, mut is_wanted: impl FnMut(StreamId) -> Option<bool>) -> u64 {
        let mut marked = Vec::new();
        for place in self.places().filter(|place| !place.is_deleted) {
            match is_wanted(place.entry.id) {
                Some(true) => marked.push((place.at, place.flags)),
                Some(false) => {}
                None => break,
            }
        }
        let count = marked.len() as i64;
        // The last first: flags that a restored block writes at length become shorter.
        for (at, flags) in marked.iter().rev() {
            listpack::replace_integer(&mut self.list, *at, flags | FLAG_DELETED);
        }
        if count > 0 {
            let head = self.head();
            let (live, deleted, deleted_at) = (head.live, head.deleted, head.deleted_at);
            listpack::replace_integer(&mut self.list, deleted_at, deleted + count);
            listpack::replace_integer(&mut self.list, listpack::HEAD_BYTES, live - count);
        }
        count.unsigned_abs()
    }

    /// The id of the last entry, deleted or not.
    pub(super) fn last(&self) -> StreamId {
        let last = self.head().entry_before(&mut Cursor::at_end(&self.list));
        last.map_or(self.first, |place| place.entry.id)
    }

    /// All entries.
    pub(super) fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let head = self.head();
        let mut cursor = head.entries;
        std::iter::from_fn(move || head.entry(&mut cursor))
    }

    /// The entries that are not deleted.
    pub(super) fn entries(&self) -> impl Iterator<Item = StreamEntry<'_>> {
        self.places().filter(|place| !place.is_deleted).map(|place| place.entry)
    }

    /// The same, the last first.
    pub(super) fn entries_back(&self) -> impl Iterator<Item = StreamEntry<'_>> {
        let head = self.head();
        let mut cursor = Cursor::at_end(&self.list);
        std::iter::from_fn(move || head.entry_before(&mut cursor))
            .filter(|place| !place.is_deleted)
            .map(|place| place.entry)
    }

    fn head(&self) -> Head<'_> {
        Head::read(self.first, &self.list).expect("INV-ST2: a block begins with its head")
    }
}
