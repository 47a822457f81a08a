//! A set: members without an order, each once.
//! Owns: the three representations, the switches between them, choosing a member by chance.
//! Never: replies, keys, what is done with several sets (`command/set/combine.rs`).
//!
//! Members that are all numbers stand sorted in one allocation ([`Ints`]); few and short ones one after the other in
//! another (packed); all others in a table. The switches are one-way and, where OBJECT ENCODING shows them, those of
//! Redis 7.0, which knows intset and hashtable: a packed set says that it is a hashtable.
//!
//! INV-SET1: see `set/ints.rs`; numbers stand there up to [`INTS_MAX`].
//! INV-SET2: a packed set holds no member twice and nothing past [`PACKED_MEMBERS_MAX`] and [`PACKED_BYTES_MAX`].
//! INV-SET3: what chance chooses depends on the members, how they are kept and the numbers drawn: not on capacities,
//! which differ between a replica that grew and one that was loaded.

mod ints;

use smallvec::SmallVec;

use self::ints::{Ints, Width};
use crate::chance::below;
use crate::entry::Entry;
use crate::number::parse_integer;
use crate::table::{Hasher, Place, Table};
use crate::value::Kind;

/// Most members of a set of numbers (as `set-max-intset-entries` of Redis).
pub(crate) const INTS_MAX: usize = 512;
/// Most members of a packed set (as `set-max-listpack-entries` of Redis 7.2).
pub(crate) const PACKED_MEMBERS_MAX: usize = 128;
/// Longest member of a packed set, bytes (as `set-max-listpack-value` of Redis 7.2).
pub(crate) const PACKED_BYTES_MAX: usize = 64;

/// Members, each once.
pub(crate) struct Set(Members);

enum Members {
    Ints(Ints),
    Packed { bytes: Vec<u8>, count: usize },
    Table(Box<TableMembers>),
}

/// Members of a large set.
#[derive(Default)]
struct TableMembers {
    table: Table,
    /// Bytes of memory behind the entries of `table`.
    entry_bytes: usize,
}

/// Forms of [`Kind::form`]; those of numbers are their bytes.
const PACKED: u8 = 0;
const TABLE: u8 = 1;

/// One member as it stands in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member<'a> {
    /// A number; the member is its digits.
    Int(i64),
    /// Anything else, or a number among others.
    Bytes(&'a [u8]),
}

impl Member<'_> {
    /// Calls `f` with the member's bytes.
    pub(crate) fn with_bytes<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Member::Int(number) => f(itoa::Buffer::new().format(number).as_bytes()),
            Member::Bytes(bytes) => f(bytes),
        }
    }

    /// The member's bytes, owned.
    pub(crate) fn to_vec(self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }
}

impl Set {
    /// Number of members.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Members::Ints(ints) => ints.len(),
            Members::Packed { count, .. } => *count,
            Members::Table(held) => held.table.len(),
        }
    }

    /// True if `member` is in the set.
    pub(crate) fn contains(&self, hasher: &Hasher, member: Member<'_>) -> bool {
        match (&self.0, member) {
            (Members::Ints(ints), Member::Int(number)) => ints.contains(number),
            (Members::Ints(ints), Member::Bytes(bytes)) => {
                parse_integer(bytes).is_some_and(|number| ints.contains(number))
            }
            (Members::Packed { bytes, .. }, _) => {
                member.with_bytes(|member| packed_find(bytes, member).is_some())
            }
            (Members::Table(held), _) => member
                .with_bytes(|member| held.table.get(hasher, hasher.hash(member), member).is_some()),
        }
    }

    /// Adds a member; true if it was not there.
    pub(crate) fn add(&mut self, hasher: &Hasher, member: Member<'_>) -> bool {
        let number = match member {
            Member::Int(number) => Some(number),
            Member::Bytes(bytes) if matches!(self.0, Members::Ints(_)) => parse_integer(bytes),
            Member::Bytes(_) => None,
        };
        if let (Members::Ints(ints), Some(number)) = (&mut self.0, number) {
            let is_new = ints.add(number);
            if is_new && ints.len() > INTS_MAX {
                self.make_table(hasher);
            }
            return is_new;
        }
        member.with_bytes(|bytes| self.add_bytes(hasher, bytes))
    }

    /// Removes a member; true if it was there.
    pub(crate) fn remove(&mut self, hasher: &Hasher, member: Member<'_>) -> bool {
        match &mut self.0 {
            Members::Ints(ints) => match member {
                Member::Int(number) => ints.remove(number),
                Member::Bytes(bytes) => parse_integer(bytes).is_some_and(|n| ints.remove(n)),
            },
            Members::Packed { bytes, count } => {
                let found = member.with_bytes(|member| packed_find(bytes, member));
                let Some((start, end)) = found else { return false };
                bytes.drain(start..end);
                *count -= 1;
                true
            }
            Members::Table(held) => member.with_bytes(|member| {
                let place = held.table.find(hasher, hasher.hash(member), member);
                let Place::Occupied(at) = place else { return false };
                held.entry_bytes -= held.table.remove(hasher, at).bytes();
                true
            }),
        }
    }

    /// The members: numbers sorted, packed ones as they came, those of a table in the order of their hashes.
    pub(crate) fn iter(&self) -> Iter<'_> {
        match &self.0 {
            Members::Ints(ints) => Iter::Ints { ints, at: 0 },
            Members::Packed { bytes, .. } => Iter::Packed { bytes, at: 0 },
            Members::Table(held) => Iter::Table(held.table.buckets().iter()),
        }
    }

    /// The members of a table from this hash on, in order; `None` if the set is no table.
    pub(crate) fn iter_from<'a>(
        &'a self,
        hasher: &'a Hasher,
        hash: u64,
    ) -> Option<impl Iterator<Item = &'a [u8]>> {
        match &self.0 {
            Members::Table(held) => Some(held.table.iter_from(hasher, hash).map(Entry::key)),
            _ => None,
        }
    }

    /// A member chosen by the numbers that `random` gives, each as likely as any other (INV-SET3). O(1) expected.
    pub(crate) fn choose<'a>(
        &'a self,
        hasher: &'a Hasher,
        random: &mut dyn FnMut() -> u64,
    ) -> Option<Member<'a>> {
        match &self.0 {
            Members::Ints(ints) if ints.len() == 0 => None,
            Members::Ints(ints) => Some(Member::Int(ints.at(below(random(), ints.len())))),
            Members::Packed { count, .. } => self.iter().nth(below(random(), *count)),
            Members::Table(held) => choose_entry(&held.table, hasher, random).map(Member::Bytes),
        }
    }

    /// The numbers as an intset of Redis; `None` if the set is none.
    pub(crate) fn to_intset(&self) -> Option<Vec<u8>> {
        let Members::Ints(ints) = &self.0 else { return None };
        let mut out = u32::from(ints.width() as u8).to_le_bytes().to_vec();
        out.extend_from_slice(&u32::try_from(ints.len()).ok()?.to_le_bytes());
        out.extend_from_slice(ints.as_bytes());
        Some(out)
    }

    /// The set that an intset of Redis holds; `None` if the bytes are not one.
    pub(crate) fn from_intset(hasher: &Hasher, bytes: &[u8]) -> Option<Self> {
        let (width, rest) = bytes.split_first_chunk::<4>()?;
        let (count, numbers) = rest.split_first_chunk::<4>()?;
        let width = Width::of_bytes(u8::try_from(u32::from_le_bytes(*width)).ok()?)?;
        let ints = Ints::from_bytes(width, numbers)?;
        if ints.len() != usize::try_from(u32::from_le_bytes(*count)).ok()? {
            return None;
        }
        let is_large = ints.len() > INTS_MAX;
        let mut set = Self(Members::Ints(ints));
        if is_large {
            set.make_table(hasher);
        }
        Some(set)
    }

    /// Adds a member that does not go among numbers.
    fn add_bytes(&mut self, hasher: &Hasher, member: &[u8]) -> bool {
        let fits = member.len() <= PACKED_BYTES_MAX && self.len() < PACKED_MEMBERS_MAX;
        match &mut self.0 {
            Members::Ints(_) if fits => self.make_packed(),
            Members::Ints(_) => self.make_table(hasher),
            Members::Packed { bytes, .. } if !fits => {
                if packed_find(bytes, member).is_some() {
                    return false;
                }
                self.make_table(hasher);
            }
            _ => {}
        }
        match &mut self.0 {
            Members::Packed { bytes, count } => {
                let is_new = packed_find(bytes, member).is_none();
                if is_new {
                    packed_put(bytes, member);
                    *count += 1;
                }
                is_new
            }
            Members::Table(held) => {
                let hash = hasher.hash(member);
                let place = held.table.find(hasher, hash, member);
                let Place::Vacant(at) = place else { return false };
                let entry = Entry::string(member, b"", None);
                held.entry_bytes += entry.bytes();
                held.table.insert(hasher, hash, entry, at);
                true
            }
            Members::Ints(_) => unreachable!("INV-SET1: the switch above left no numbers"),
        }
    }

    fn make_packed(&mut self) {
        let mut bytes = Vec::new();
        for member in self.iter() {
            member.with_bytes(|member| packed_put(&mut bytes, member));
        }
        self.0 = Members::Packed { bytes, count: self.len() };
    }

    /// Turns the set into a table, which it stays.
    pub(crate) fn make_table(&mut self, hasher: &Hasher) {
        if matches!(self.0, Members::Table(_)) {
            return;
        }
        let old = std::mem::replace(self, Self(Members::Table(Box::default())));
        for member in old.iter() {
            self.add(hasher, member);
        }
    }

    /// Makes room for `count` members of a table.
    fn reserve(&mut self, hasher: &Hasher, count: usize) {
        if let Members::Table(held) = &mut self.0 {
            held.table.reserve(hasher, u32::try_from(count).unwrap_or(0));
        }
    }
}

impl Kind for Set {
    const NAME: &'static str = "set";
    const CODE: u8 = b'S';
    const IS_ORDERED: bool = false;

    fn new() -> Self {
        Self(Members::Ints(Ints::new(Width::Two)))
    }

    fn encoding(&self) -> &'static str {
        match self.0 {
            Members::Ints(_) => "intset",
            Members::Packed { .. } | Members::Table(_) => "hashtable",
        }
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bytes(&self) -> usize {
        match &self.0 {
            Members::Ints(ints) => ints.capacity() + 8,
            Members::Packed { bytes, .. } => bytes.capacity() + 8,
            Members::Table(held) => {
                size_of::<TableMembers>() + 8 + held.table.bytes() + held.entry_bytes
            }
        }
    }

    fn content_bytes(&self) -> usize {
        match &self.0 {
            Members::Ints(ints) => ints.as_bytes().len(),
            Members::Packed { bytes, .. } => bytes.len(),
            Members::Table(held) => held.entry_bytes,
        }
    }

    fn duplicate(&self, hasher: &Hasher) -> Self {
        match &self.0 {
            Members::Ints(ints) => Self(Members::Ints(ints.clone())),
            Members::Packed { bytes, count } => {
                Self(Members::Packed { bytes: bytes.clone(), count: *count })
            }
            Members::Table(_) => {
                let mut copy = Self(Members::Table(Box::default()));
                copy.reserve(hasher, self.len());
                for member in self.iter() {
                    copy.add(hasher, member);
                }
                copy
            }
        }
    }

    fn form(&self) -> u8 {
        match &self.0 {
            Members::Ints(ints) => ints.width() as u8,
            Members::Packed { .. } => PACKED,
            Members::Table(_) => TABLE,
        }
    }

    fn part_count(&self) -> u64 {
        self.len() as u64
    }

    /// The member's bytes.
    fn each_part(&self, visit: &mut dyn FnMut(&[u8])) {
        for member in self.iter() {
            member.with_bytes(&mut *visit);
        }
    }

    fn begin(_hasher: &Hasher, form: u8, parts: u64) -> Option<Self> {
        match (form, Width::of_bytes(form)) {
            (PACKED, _) if parts <= PACKED_MEMBERS_MAX as u64 => {
                Some(Self(Members::Packed { bytes: Vec::new(), count: 0 }))
            }
            (TABLE, _) => Some(Self(Members::Table(Box::default()))),
            (_, Some(width)) if parts <= INTS_MAX as u64 => {
                Some(Self(Members::Ints(Ints::new(width))))
            }
            _ => None,
        }
    }

    fn add_part(&mut self, hasher: &Hasher, part: &[u8]) -> Result<(), &'static str> {
        match self.0 {
            Members::Ints(_) if parse_integer(part).is_none() => {
                return Err("a set of numbers has a member that is none");
            }
            Members::Packed { .. } if part.len() > PACKED_BYTES_MAX => {
                return Err("a packed set has a long member");
            }
            _ => {}
        }
        if !self.add(hasher, Member::Bytes(part)) {
            return Err("a member stands twice in its set");
        }
        Ok(())
    }
}

/// Walks over the members of a set.
pub(crate) enum Iter<'a> {
    /// Over numbers, from this index.
    Ints {
        /// The numbers.
        ints: &'a Ints,
        /// Index of the next.
        at: usize,
    },
    /// Over packed bytes, from this offset.
    Packed {
        /// The packed members.
        bytes: &'a [u8],
        /// Offset of the next.
        at: usize,
    },
    /// Over the buckets of a table.
    Table(std::slice::Iter<'a, Entry>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        match self {
            Iter::Ints { ints, at } => {
                *at += 1;
                (*at <= ints.len()).then(|| Member::Int(ints.at(*at - 1)))
            }
            Iter::Packed { bytes, at } => {
                let (start, end) = packed_item(bytes, *at)?;
                *at = end;
                Some(Member::Bytes(&bytes[start + 1..end]))
            }
            Iter::Table(buckets) => {
                buckets.find(|entry| !entry.is_vacant()).map(|entry| Member::Bytes(entry.key()))
            }
        }
    }
}

/// A key chosen among those of a table, each as likely as any other.
///
/// The range of hashes is cut into as many regions as there are entries (a power of two), whatever the capacity
/// (INV-SET3). A region is drawn, and a place in it; if nothing stands at that place, the draw is repeated, so that an
/// entry alone in its region is not drawn more often than one among several.
fn choose_entry<'a>(
    table: &'a Table,
    hasher: &'a Hasher,
    random: &mut dyn FnMut() -> u64,
) -> Option<&'a [u8]> {
    /// Places of a region. One in a million holds more entries, which are drawn a little less often.
    const PLACES: usize = 8;
    /// A bound for tables in which somebody found many colliding members; 1 - 1/16 to this power is below 10^-14.
    const DRAWS_MAX: usize = 512;
    let shift = table.len().checked_next_power_of_two()?.leading_zeros() + 1;
    if table.len() <= 1 {
        return table.iter().next().map(Entry::key);
    }
    for _ in 0..DRAWS_MAX {
        let drawn = random();
        let region = drawn >> shift;
        let found: SmallVec<[&[u8]; PLACES]> = table
            .iter_from(hasher, region << shift)
            .map(Entry::key)
            .take_while(|key| hasher.hash(key) >> shift == region)
            .collect();
        let place = if found.len() > PLACES {
            below(random(), found.len())
        } else {
            below(drawn << 32, PLACES)
        };
        if let Some(key) = found.get(place) {
            return Some(key);
        }
    }
    let next = table.iter_from(hasher, random()).next();
    next.or_else(|| table.iter().next()).map(Entry::key)
}

/// Where the packed member at `start` lies: `[len:1][bytes]`.
fn packed_item(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    bytes.get(start).map(|len| (start, start + 1 + usize::from(*len)))
}

fn packed_find(bytes: &[u8], member: &[u8]) -> Option<(usize, usize)> {
    std::iter::successors(packed_item(bytes, 0), |(_, end)| packed_item(bytes, *end))
        .find(|(start, end)| &bytes[start + 1..*end] == member)
}

fn packed_put(bytes: &mut Vec<u8>, member: &[u8]) {
    let len = u8::try_from(member.len()).expect("INV-SET2: packed members are short");
    bytes.reserve_exact(1 + member.len());
    bytes.push(len);
    bytes.extend_from_slice(member);
}

#[cfg(test)]
mod tests;
