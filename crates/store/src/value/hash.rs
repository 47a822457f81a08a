//! A hash: fields with values, each field with an optional time to expire.
//! Owns: the two representations and the switch between them, the index of field expiry.
//! Never: the key's own expiry, replies, the clock (`now` is an argument).
//!
//! Small hashes are packed: fields one after the other in one allocation, in the order in which
//! they came, found by reading through. A hash with more than [`PACKED_FIELDS_MAX`] fields, or with a
//! field or value longer than [`PACKED_BYTES_MAX`], becomes a table and stays one. The one-way switch is
//! that of Redis, since OBJECT ENCODING and the order of replies show it.
//!
//! INV-H1: `next_expiry` is the earliest expiry among the fields.
//! INV-H2: a packed hash holds no field twice and nothing past the two bounds.

use keystead_types::UnixMillis;

use crate::entry::Entry;
use crate::expiry::ExpiryIndex;
use crate::table::{Hasher, Place, Table};
use crate::value::Kind;
use crate::wire::{WireReader, put_bytes};

/// Most fields of a packed hash (as `hash-max-listpack-entries` of Redis 7.0).
pub(crate) const PACKED_FIELDS_MAX: usize = 512;
/// Longest field or value of a packed hash, bytes (as `hash-max-listpack-value` of Redis).
pub(crate) const PACKED_BYTES_MAX: usize = 64;

/// Fields with their values.
pub(crate) struct Hash {
    fields: Fields,
    /// INV-H1; `None` if no field expires.
    next_expiry: Option<UnixMillis>,
}

enum Fields {
    Packed { bytes: Vec<u8>, count: usize },
    Table(Box<TableFields>),
}

/// Fields of a large hash.
#[derive(Default)]
struct TableFields {
    table: Table,
    expiry: ExpiryIndex,
    /// Bytes of memory behind the entries of `table`.
    entry_bytes: usize,
}

/// Forms of [`Kind::form`].
const PACKED: u8 = 0;
const TABLE: u8 = 1;

/// One field as it stands in a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// The field's name.
    pub(crate) name: &'a [u8],
    /// Its value.
    pub(crate) value: &'a [u8],
    /// When it expires.
    pub(crate) expiry: Option<UnixMillis>,
}

impl Field<'_> {
    /// True if the field is visible at `now`.
    pub(crate) fn is_live(&self, now: UnixMillis) -> bool {
        self.expiry.is_none_or(|at| at > now)
    }
}

impl Hash {
    /// A table without fields, for loading one that was a table.
    pub(crate) fn new_table() -> Self {
        Self { fields: Fields::Table(Box::default()), next_expiry: None }
    }

    /// Number of fields, expired ones included until they are removed.
    pub(crate) fn len(&self) -> usize {
        match &self.fields {
            Fields::Packed { count, .. } => *count,
            Fields::Table(held) => held.table.len(),
        }
    }

    /// Number of fields visible at `now`. O(1) unless a field has expired and is not removed yet.
    pub(crate) fn live_len(&self, now: UnixMillis) -> usize {
        if self.next_expiry.is_none_or(|at| at > now) {
            return self.len();
        }
        self.iter().filter(|field| field.is_live(now)).count()
    }

    /// True while the fields stand packed.
    pub(crate) const fn is_packed(&self) -> bool {
        matches!(self.fields, Fields::Packed { .. })
    }

    /// The field, expired or not.
    pub(crate) fn get(&self, hasher: &Hasher, name: &[u8]) -> Option<Field<'_>> {
        match &self.fields {
            Fields::Packed { bytes, .. } => packed_find(bytes, name).map(|item| item.field(bytes)),
            Fields::Table(held) => {
                held.table.get(hasher, hasher.hash(name), name).map(field_of_entry)
            }
        }
    }

    /// The field if it is visible at `now`.
    pub(crate) fn get_live(
        &self,
        hasher: &Hasher,
        now: UnixMillis,
        name: &[u8],
    ) -> Option<Field<'_>> {
        self.get(hasher, name).filter(|field| field.is_live(now))
    }

    /// Sets a field with its expiry; true if it was not there.
    pub(crate) fn set(&mut self, hasher: &Hasher, field: Field<'_>) -> bool {
        let Field { name, value, expiry } = field;
        if name.len() > PACKED_BYTES_MAX || value.len() > PACKED_BYTES_MAX {
            self.unpack(hasher);
        }
        let is_new = match &mut self.fields {
            Fields::Packed { bytes, count } => {
                let old = packed_find(bytes, name);
                let replaced = old.map_or(bytes.len()..bytes.len(), |item| item.start..item.end);
                packed_put(bytes, replaced, field);
                *count += usize::from(old.is_none());
                self.next_expiry = packed_next_expiry(bytes, self.next_expiry, expiry);
                old.is_none()
            }
            Fields::Table(held) => {
                let TableFields { table, expiry: index, entry_bytes } = &mut **held;
                let hash = hasher.hash(name);
                let old = match table.find(hasher, hash, name) {
                    Place::Occupied(at) => {
                        let entry = table.at_mut(at);
                        let old = (entry.expiry(), entry.bytes());
                        entry.set_string(value, expiry);
                        *entry_bytes = *entry_bytes + entry.bytes() - old.1;
                        Some(old.0)
                    }
                    Place::Vacant(at) => {
                        let entry = Entry::string(name, value, expiry);
                        *entry_bytes += entry.bytes();
                        table.insert(hasher, hash, entry, at);
                        None
                    }
                };
                index.change(hash, old.flatten(), expiry);
                self.next_expiry = index.first().map(|(at, _)| at);
                old.is_none()
            }
        };
        if self.is_packed() && self.len() > PACKED_FIELDS_MAX {
            self.unpack(hasher);
        }
        is_new
    }

    /// Removes a field; true if it was there.
    pub(crate) fn remove(&mut self, hasher: &Hasher, name: &[u8]) -> bool {
        match &mut self.fields {
            Fields::Packed { bytes, count } => {
                let Some(item) = packed_find(bytes, name) else { return false };
                bytes.drain(item.start..item.end);
                *count -= 1;
                self.next_expiry = packed_iter(bytes).filter_map(|i| i.expiry).min();
            }
            Fields::Table(held) => {
                let TableFields { table, expiry, entry_bytes } = &mut **held;
                let hash = hasher.hash(name);
                let Place::Occupied(at) = table.find(hasher, hash, name) else { return false };
                let entry = table.remove(hasher, at);
                *entry_bytes -= entry.bytes();
                expiry.change(hash, entry.expiry(), None);
                self.next_expiry = expiry.first().map(|(at, _)| at);
            }
        }
        true
    }

    /// Sets or clears when a field expires; nothing happens if there is no such field.
    pub(crate) fn set_expiry(&mut self, hasher: &Hasher, name: &[u8], expiry: Option<UnixMillis>) {
        let Some(field) = self.get(hasher, name) else { return };
        let value = field.value.to_vec();
        self.set(hasher, Field { name, value: &value, expiry });
    }

    /// The fields: packed ones as they came, those of a table in the order of their hashes.
    pub(crate) fn iter(&self) -> Iter<'_> {
        match &self.fields {
            Fields::Packed { bytes, .. } => Iter::Packed { bytes, at: 0 },
            Fields::Table(held) => Iter::Table(held.table.buckets().iter()),
        }
    }

    /// The fields of a table from this hash on, in order; `None` if the hash is packed.
    pub(crate) fn iter_from<'a>(
        &'a self,
        hasher: &'a Hasher,
        hash: u64,
    ) -> Option<impl Iterator<Item = Field<'a>>> {
        match &self.fields {
            Fields::Packed { .. } => None,
            Fields::Table(held) => Some(held.table.iter_from(hasher, hash).map(field_of_entry)),
        }
    }

    /// Turns a packed hash into a table.
    pub(crate) fn unpack(&mut self, hasher: &Hasher) {
        if !self.is_packed() {
            return;
        }
        let packed = std::mem::replace(self, Self::new_table());
        for field in packed.iter() {
            self.set(hasher, field);
        }
    }

    /// Makes room for `count` fields of a table.
    pub(crate) fn reserve(&mut self, hasher: &Hasher, count: u32) {
        if let Fields::Table(held) = &mut self.fields {
            held.table.reserve(hasher, count);
        }
    }

    /// The field that expires at `at`, the earliest time, or is next in order among those.
    fn first_due<'a>(&'a self, hasher: &'a Hasher, at: UnixMillis) -> Option<&'a [u8]> {
        match &self.fields {
            Fields::Packed { bytes, .. } => packed_iter(bytes)
                .find(|item| item.expiry == Some(at))
                .map(|item| item.field(bytes).name),
            Fields::Table(held) => {
                let (_, hash) = held.expiry.first()?;
                held.table.iter_from(hasher, hash).find(|e| e.expiry() == Some(at)).map(Entry::key)
            }
        }
    }
}

impl Kind for Hash {
    const NAME: &'static str = "hash";
    const CODE: u8 = b'H';
    const IS_ORDERED: bool = false;

    /// A packed hash without fields.
    fn new() -> Self {
        Self { fields: Fields::Packed { bytes: Vec::new(), count: 0 }, next_expiry: None }
    }

    fn encoding(&self) -> &'static str {
        match (&self.fields, self.next_expiry) {
            (Fields::Table(_), _) => "hashtable",
            (Fields::Packed { .. }, Some(_)) => "listpackex",
            (Fields::Packed { .. }, None) => "listpack",
        }
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_empty_at(&self, now: UnixMillis) -> bool {
        match self.next_expiry {
            Some(at) if at <= now => !self.iter().any(|field| field.is_live(now)),
            _ => self.is_empty(),
        }
    }

    fn next_expiry(&self) -> Option<UnixMillis> {
        self.next_expiry
    }

    fn has_expired_since(&self, since: UnixMillis, now: UnixMillis) -> bool {
        let is_due = |field: Field<'_>| !field.is_live(now) && field.is_live(since);
        self.next_expiry.is_some() && self.iter().any(is_due)
    }

    fn remove_due(&mut self, hasher: &Hasher, now: UnixMillis, limit: usize) -> usize {
        let mut removed = 0;
        while removed < limit
            && let Some(at) = self.next_expiry
            && at <= now
        {
            let due =
                self.first_due(hasher, at).expect("INV-H1: some field expires first").to_vec();
            self.remove(hasher, &due);
            removed += 1;
        }
        removed
    }

    fn bytes(&self) -> usize {
        match &self.fields {
            Fields::Packed { bytes, .. } => bytes.capacity() + 8,
            Fields::Table(held) => {
                let TableFields { table, expiry, entry_bytes } = &**held;
                size_of::<TableFields>() + 8 + table.bytes() + expiry.bytes() + entry_bytes
            }
        }
    }

    fn content_bytes(&self) -> usize {
        match &self.fields {
            Fields::Packed { bytes, .. } => bytes.len(),
            Fields::Table(held) => held.entry_bytes,
        }
    }

    fn duplicate(&self, hasher: &Hasher) -> Self {
        let mut copy = if self.is_packed() { Self::new() } else { Self::new_table() };
        copy.reserve(hasher, u32::try_from(self.len()).unwrap_or(0));
        for field in self.iter() {
            copy.set(hasher, field);
        }
        copy
    }

    fn form(&self) -> u8 {
        if self.is_packed() { PACKED } else { TABLE }
    }

    fn part_count(&self) -> u64 {
        self.len() as u64
    }

    /// `[timed:1][expiry:8 if timed][name with its length][value]`.
    fn each_part(&self, visit: &mut dyn FnMut(&[u8])) {
        let mut part = Vec::new();
        for field in self.iter() {
            part.clear();
            part.push(u8::from(field.expiry.is_some()));
            if let Some(at) = field.expiry {
                part.extend_from_slice(&at.0.to_le_bytes());
            }
            put_bytes(&mut part, field.name);
            part.extend_from_slice(field.value);
            visit(&part);
        }
    }

    fn begin(_hasher: &Hasher, form: u8, parts: u64) -> Option<Self> {
        match form {
            PACKED if parts <= PACKED_FIELDS_MAX as u64 => Some(Self::new()),
            TABLE => Some(Self::new_table()),
            _ => None,
        }
    }

    fn add_part(&mut self, hasher: &Hasher, part: &[u8]) -> Result<(), &'static str> {
        const SHORT: &str = "a field is cut short";
        let mut part = WireReader(part);
        let expiry = match part.byte().ok_or(SHORT)? {
            0 => None,
            _ => Some(UnixMillis(part.u64().ok_or(SHORT)?)),
        };
        let name = part.bytes().ok_or(SHORT)?;
        let value = part.0;
        if self.is_packed() && name.len().max(value.len()) > PACKED_BYTES_MAX {
            return Err("a packed hash has a long field");
        }
        if !self.set(hasher, Field { name, value, expiry }) {
            return Err("a field stands twice in its hash");
        }
        Ok(())
    }
}

/// Walks over the fields of a hash.
pub(crate) enum Iter<'a> {
    /// Over packed bytes, from this offset.
    Packed {
        /// The packed fields.
        bytes: &'a [u8],
        /// Offset of the next field.
        at: usize,
    },
    /// Over the buckets of a table.
    Table(std::slice::Iter<'a, Entry>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        match self {
            Iter::Packed { bytes, at } => {
                let item = packed_item(bytes, *at)?;
                *at = item.end;
                Some(item.field(bytes))
            }
            Iter::Table(buckets) => buckets.find(|entry| !entry.is_vacant()).map(field_of_entry),
        }
    }
}

fn field_of_entry(entry: &Entry) -> Field<'_> {
    let value = entry.as_string().expect("INV-H1: the fields of a hash are strings");
    Field { name: entry.key(), value, expiry: entry.expiry() }
}

/// Where one packed field lies: `[timed:1][name len:1][value len:1][expiry:8 if timed][name][value]`.
#[derive(Clone, Copy)]
struct PackedItem {
    start: usize,
    name: usize,
    value: usize,
    end: usize,
    expiry: Option<UnixMillis>,
}

impl PackedItem {
    fn field(self, bytes: &[u8]) -> Field<'_> {
        Field {
            name: &bytes[self.name..self.value],
            value: &bytes[self.value..self.end],
            expiry: self.expiry,
        }
    }
}

fn packed_item(bytes: &[u8], start: usize) -> Option<PackedItem> {
    let [timed, name_len, value_len] = *bytes.get(start..)?.first_chunk::<3>()?;
    let mut name = start + 3;
    let mut expiry = None;
    if timed != 0 {
        let at = bytes[name..].first_chunk::<8>().expect("INV-H2: a timed field has its expiry");
        expiry = Some(UnixMillis(u64::from_le_bytes(*at)));
        name += 8;
    }
    let value = name + usize::from(name_len);
    Some(PackedItem { start, name, value, end: value + usize::from(value_len), expiry })
}

fn packed_iter(bytes: &[u8]) -> impl Iterator<Item = PackedItem> {
    std::iter::successors(packed_item(bytes, 0), |item| packed_item(bytes, item.end))
}

fn packed_find(bytes: &[u8], name: &[u8]) -> Option<PackedItem> {
    packed_iter(bytes).find(|item| &bytes[item.name..item.value] == name)
}

fn packed_put(bytes: &mut Vec<u8>, replaced: std::ops::Range<usize>, field: Field<'_>) {
    let short = |len: usize| u8::try_from(len).expect("INV-H2: packed names and values are short");
    let mut head = [0u8; 11];
    head[..3].copy_from_slice(&[
        u8::from(field.expiry.is_some()),
        short(field.name.len()),
        short(field.value.len()),
    ]);
    let mut head_len = 3;
    if let Some(at) = field.expiry {
        head[3..].copy_from_slice(&at.0.to_le_bytes());
        head_len = 11;
    }
    let new_len = head_len + field.name.len() + field.value.len();
    if new_len > replaced.len() {
        bytes.reserve_exact(new_len - replaced.len());
    }
    let parts = head[..head_len].iter().chain(field.name).chain(field.value);
    bytes.splice(replaced, parts.copied());
}

fn packed_next_expiry(
    bytes: &[u8],
    before: Option<UnixMillis>,
    set: Option<UnixMillis>,
) -> Option<UnixMillis> {
    if before.is_none() { set } else { packed_iter(bytes).filter_map(|item| item.expiry).min() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Set(u16, usize, Option<u64>),
        Remove(u16),
        RemoveDue(u64, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let name = 0u16..200;
        prop_oneof![
            5 => (name.clone(), prop_oneof![0usize..65, Just(70)], proptest::option::of(0u64..50))
                .prop_map(|(n, len, at)| Step::Set(n, len, at)),
            2 => name.prop_map(Step::Remove),
            1 => (0u64..20, 0usize..5).prop_map(|(now, limit)| Step::RemoveDue(now, limit)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// INV-H1, and INV-H2 with values on both sides of the bounds.
        #[test]
        fn a_hash_equals_a_map(steps in proptest::collection::vec(step(), 1..400)) {
            let hasher = Hasher::new(5);
            let mut hash = Hash::new();
            let mut model: BTreeMap<Vec<u8>, (Vec<u8>, Option<UnixMillis>)> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Set(n, len, at) => {
                        let (name, value) = (n.to_le_bytes(), vec![7; len]);
                        let expiry = at.map(UnixMillis);
                        let is_new = hash.set(&hasher, Field { name: &name, value: &value, expiry });
                        prop_assert_eq!(is_new, model.insert(name.to_vec(), (value, expiry)).is_none());
                    }
                    Step::Remove(n) => {
                        let name = n.to_le_bytes();
                        prop_assert_eq!(hash.remove(&hasher, &name), model.remove(&name[..]).is_some());
                    }
                    Step::RemoveDue(now, limit) => {
                        let now = UnixMillis(now);
                        let removed = hash.remove_due(&hasher, now, limit);
                        let due = model.values().filter(|v| v.1.is_some_and(|at| at <= now)).count();
                        prop_assert_eq!(removed, due.min(limit));
                        let kept: Vec<_> = hash.iter().map(|f| f.name.to_vec()).collect();
                        model.retain(|name, _| kept.contains(name));
                    }
                }
                prop_assert_eq!(hash.next_expiry(), model.values().filter_map(|v| v.1).min());
                prop_assert_eq!(hash.len(), model.len());
            }
            let mut fields: Vec<_> = hash.iter().map(|f| (f.name.to_vec(), (f.value.to_vec(), f.expiry))).collect();
            fields.sort();
            prop_assert_eq!(fields, model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn packed_fields_keep_the_order_in_which_they_came() {
        let hasher = Hasher::new(5);
        let mut hash = Hash::new();
        for name in [b"b", b"a", b"c", b"a"] {
            hash.set(&hasher, Field { name, value: b"v", expiry: None });
        }
        let names: Vec<_> = hash.iter().map(|f| f.name).collect();
        assert_eq!(names, [b"b", b"a", b"c"]);
    }
}
