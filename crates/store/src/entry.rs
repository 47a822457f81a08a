//! One bucket of a table: vacant, or an owned key with its value in a single heap allocation.
//! Owns: the memory layout of an entry and every `unsafe` line of this crate. Never: hashes a key,
//! knows a slot, decides whether an entry is expired. Called by `table.rs` and `keyspace.rs`.
//!
//! A bucket is eight bytes: a pointer whose upper 16 bits hold the `tag` (the upper 16 bits of the
//! key's hash), so that a probe rarely leaves the bucket array. The allocation behind it:
//!
//! ```text
//! compact: [flags:1][key len:1][value len:2]        [expiry:8 if timed][key][value]
//! wide:    [flags:1][unused:3][key len:4][value len:4][expiry:8 if timed][key][value]
//! ```
//!
//! The flags take three bits of their byte; the other five are what is noted of the entry's use (`eviction.rs`). They alone change while
//! others read, so the byte is read and written as an atomic.
//!
//! INV-E1: a non-null pointer owns one allocation of `allocation_bytes(shape.total())` bytes.
//! INV-E2: the value of an entry that is a collection is exactly one pointer made by `Box::into_raw`.
//! INV-E3: user-space addresses fit in 48 bits (asserted at every allocation).
#![expect(
    unsafe_code,
    reason = "one thin tagged pointer per key is what keeps a key under 120 bytes"
)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use keystead_types::UnixMillis;

use crate::table::Hasher;
use crate::value::{Collection, Held};

/// A vacant bucket, or an owned key, its value and its time to expire.
pub(crate) struct Entry(*mut u8);

/// What an entry holds.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    /// A string.
    String(&'a [u8]),
    /// Anything else.
    Collection(&'a Collection),
}

// SAFETY: an entry owns its allocation and the `Collection` behind it alone; both are plain memory that
// any thread may free, and a `Collection` is `Send` itself but for the entries in it (asserted below).
unsafe impl Send for Entry {}
// SAFETY: everything reachable through `&Entry` is read only but for the byte of flags, which is an atomic everywhere.
unsafe impl Sync for Entry {}

const TIMED: u8 = 1;
const WIDE: u8 = 2;
const COLLECTION: u8 = 4;
/// The bits of the flags that say how the allocation is laid out; those above are for [`Entry::uses`].
const LAYOUT_MASK: u8 = 7;
const USES_SHIFT: u32 = 3;
const ADDRESS_BITS: u32 = 48;
const ADDRESS_MASK: usize = (1 << ADDRESS_BITS) - 1;
const COMPACT_HEADER: usize = 4;
const WIDE_HEADER: usize = 12;
const POINTER_BYTES: usize = size_of::<*mut Collection>();

/// The numbers in an entry's header.
#[derive(Clone, Copy)]
struct Shape {
    flags: u8,
    key_len: usize,
    value_len: usize,
}

impl Shape {
    fn new(kind: u8, key_len: usize, value_len: usize, timed: bool) -> Self {
        let wide = key_len > usize::from(u8::MAX) || value_len > usize::from(u16::MAX);
        let flags = kind | if timed { TIMED } else { 0 } | if wide { WIDE } else { 0 };
        Self { flags, key_len, value_len }
    }

    const fn is_timed(self) -> bool {
        self.flags & TIMED != 0
    }

    const fn expiry_start(self) -> usize {
        if self.flags & WIDE == 0 { COMPACT_HEADER } else { WIDE_HEADER }
    }

    const fn key_start(self) -> usize {
        self.expiry_start() + if self.is_timed() { 8 } else { 0 }
    }

    const fn value_start(self) -> usize {
        self.key_start() + self.key_len
    }

    const fn total(self) -> usize {
        self.value_start() + self.value_len
    }

    /// # Safety
    /// `at` must point to at least `self.expiry_start()` writable bytes.
    #[expect(clippy::cast_possible_truncation, reason = "`new` chose the header by these lengths")]
    unsafe fn write(self, at: *mut u8) {
        assert!(u32::try_from(self.value_len).is_ok(), "INV-E1: a value is at most 4 GiB");
        // SAFETY: the caller grants the header's bytes; unaligned writes need no alignment.
        unsafe {
            at.write(self.flags);
            if self.flags & WIDE == 0 {
                at.add(1).write(self.key_len as u8);
                at.add(2).cast::<u16>().write_unaligned(self.value_len as u16);
            } else {
                at.add(4).cast::<u32>().write_unaligned(self.key_len as u32);
                at.add(8).cast::<u32>().write_unaligned(self.value_len as u32);
            }
        }
    }
}

/// Bytes that are asked of the allocator for `needed` bytes: what its size classes (16 n + 8 with
/// its own 8-byte header) would give anyway, and past 1 KiB up to 1/8 spare so that a string
/// that grows by APPEND is not copied each time.
const fn allocation_bytes(needed: usize) -> usize {
    let step = if needed <= 1024 { 16 } else { needed.next_power_of_two() / 16 };
    (needed + 8).div_ceil(step) * step - 8
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 1).expect("INV-E1: an entry is far smaller than isize::MAX")
}

impl Entry {
    /// A bucket without an entry.
    pub(crate) const fn vacant() -> Self {
        Self(std::ptr::null_mut())
    }

    /// An entry that holds a string.
    pub(crate) fn string(key: &[u8], value: &[u8], expiry: Option<UnixMillis>) -> Self {
        Self::build(0, key, value, expiry)
    }

    /// An entry that holds a collection.
    pub(crate) fn collection(
        key: &[u8],
        collection: impl Held,
        expiry: Option<UnixMillis>,
    ) -> Self {
        Self::boxed(key, Box::new(collection.into_collection()), expiry)
    }

    /// The same, of any kind and boxed already.
    pub(crate) fn boxed(
        key: &[u8],
        collection: Box<Collection>,
        expiry: Option<UnixMillis>,
    ) -> Self {
        let address = Box::into_raw(collection).expose_provenance();
        Self::build(COLLECTION, key, &address.to_ne_bytes(), expiry)
    }

    /// True if nothing is here.
    pub(crate) const fn is_vacant(&self) -> bool {
        self.0.is_null()
    }

    /// The upper 16 bits of the key's hash, as [`set_tag`](Self::set_tag) left them.
    #[expect(clippy::cast_possible_truncation, reason = "64 bits shifted by 48 leave 16")]
    pub(crate) fn tag(&self) -> u16 {
        (self.0.addr() >> ADDRESS_BITS) as u16
    }

    /// Remembers the upper 16 bits of the key's hash.
    pub(crate) fn set_tag(&mut self, tag: u16) {
        assert!(!self.is_vacant(), "INV-E1: a vacant bucket has no tag");
        self.0 = self.0.map_addr(|a| (a & ADDRESS_MASK) | (usize::from(tag) << ADDRESS_BITS));
    }

    /// The key.
    pub(crate) fn key(&self) -> &[u8] {
        let shape = self.shape();
        // SAFETY: INV-E1: the key lies within the allocation, which lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.base().add(shape.key_start()), shape.key_len) }
    }

    /// The value.
    pub(crate) fn value(&self) -> Value<'_> {
        let shape = self.shape();
        if shape.flags & COLLECTION != 0 {
            // SAFETY: INV-E2, and `&self` keeps others from changing the collection meanwhile.
            Value::Collection(unsafe { &*self.collection_pointer(shape) })
        } else {
            Value::String(self.value_bytes(shape))
        }
    }

    /// The value if it is a string.
    pub(crate) fn as_string(&self) -> Option<&[u8]> {
        match self.value() {
            Value::String(bytes) => Some(bytes),
            Value::Collection(_) => None,
        }
    }

    /// The value if it is a collection.
    pub(crate) fn as_collection(&self) -> Option<&Collection> {
        match self.value() {
            Value::String(_) => None,
            Value::Collection(collection) => Some(collection),
        }
    }

    /// The value if it is of this kind.
    pub(crate) fn as_kind<K: Held>(&self) -> Option<&K> {
        self.as_collection().and_then(K::of)
    }

    /// The string's bytes for writing, if it is a string.
    pub(crate) fn string_mut(&mut self) -> Option<&mut [u8]> {
        let shape = self.shape();
        if shape.flags & COLLECTION != 0 {
            return None;
        }
        // SAFETY: INV-E1: the value lies within the allocation; `&mut self` makes it ours alone.
        Some(unsafe {
            std::slice::from_raw_parts_mut(self.base().add(shape.value_start()), shape.value_len)
        })
    }

    /// The collection for writing, if it is one.
    pub(crate) fn collection_mut(&mut self) -> Option<&mut Collection> {
        let shape = self.shape();
        // SAFETY: INV-E2, and `&mut self` makes the collection ours alone.
        (shape.flags & COLLECTION != 0).then(|| unsafe { &mut *self.collection_pointer(shape) })
    }

    /// When the entry expires.
    pub(crate) fn expiry(&self) -> Option<UnixMillis> {
        let shape = self.shape();
        if !shape.is_timed() {
            return None;
        }
        // SAFETY: INV-E1: a timed entry has eight bytes of expiry behind its header.
        let at = unsafe { self.base().add(shape.expiry_start()).cast::<u64>().read_unaligned() };
        Some(UnixMillis(at))
    }

    /// Sets or clears when the entry expires.
    pub(crate) fn set_expiry(&mut self, expiry: Option<UnixMillis>) {
        let shape = self.shape();
        match expiry {
            Some(at) if shape.is_timed() => self.write_expiry(shape, at),
            None if !shape.is_timed() => {}
            _ => {
                let kind = shape.flags & COLLECTION;
                let rebuilt = Self::build(kind, self.key(), self.value_bytes(shape), expiry);
                self.replace_allocation(rebuilt);
            }
        }
    }

    /// Makes the entry hold this string; the allocation is used again if it has the right size.
    pub(crate) fn set_string(&mut self, value: &[u8], expiry: Option<UnixMillis>) {
        let (old, uses) = (self.shape(), self.uses());
        let new = Shape::new(0, old.key_len, value.len(), expiry.is_some());
        if old.flags != new.flags || allocation_bytes(old.total()) != allocation_bytes(new.total())
        {
            let rebuilt = Self::build(0, self.key(), value, expiry);
            self.drop_collection();
            self.replace_allocation(rebuilt);
            return;
        }
        // SAFETY: the same flags put key and expiry where they were, and the allocation holds
        // `new.total()` bytes; `value` is borrowed, so it is no part of this entry.
        unsafe {
            new.write(self.base());
            let at = self.base().add(new.value_start());
            std::ptr::copy_nonoverlapping(value.as_ptr(), at, value.len());
        }
        self.set_uses(uses);
        if let Some(at) = expiry {
            self.write_expiry(new, at);
        }
    }

    /// Makes the string `len` bytes long; new bytes are zero. Nothing happens to a collection.
    pub(crate) fn resize_string(&mut self, len: usize) {
        let old = self.shape();
        if old.flags & COLLECTION != 0 {
            return;
        }
        let new = Shape::new(0, old.key_len, len, old.is_timed());
        if old.flags != new.flags {
            let mut value = vec![0; len];
            let kept = len.min(old.value_len);
            value[..kept].copy_from_slice(&self.value_bytes(old)[..kept]);
            let rebuilt = Self::build(0, self.key(), &value, self.expiry());
            self.replace_allocation(rebuilt);
            return;
        }
        let (from, to) = (allocation_bytes(old.total()), allocation_bytes(new.total()));
        let (tag, uses) = (self.tag(), self.uses());
        // SAFETY: the pointer came from `alloc` with the layout of `from` (INV-E1); after the call
        // only the new pointer is used. Bytes past the old value are written before they are read.
        unsafe {
            let mut base = self.base();
            if from != to {
                base = realloc(base, layout(from), to);
                if base.is_null() {
                    handle_alloc_error(layout(to));
                }
                self.0 = checked_address(base);
                self.set_tag(tag);
            }
            new.write(base);
            if len > old.value_len {
                base.add(new.value_start() + old.value_len).write_bytes(0, len - old.value_len);
            }
        }
        self.set_uses(uses);
    }

    /// The same value under another key.
    pub(crate) fn renamed(mut self, key: &[u8], expiry: Option<UnixMillis>) -> Self {
        let shape = self.shape();
        let rebuilt = Self::build(shape.flags & COLLECTION, key, self.value_bytes(shape), expiry);
        self.free_allocation();
        rebuilt
    }

    /// A copy under another key, with the same time to expire.
    pub(crate) fn duplicate(&self, key: &[u8], hasher: &Hasher) -> Self {
        match self.value() {
            Value::String(bytes) => Self::string(key, bytes, self.expiry()),
            Value::Collection(collection) => {
                Self::boxed(key, Box::new(collection.duplicate(hasher)), self.expiry())
            }
        }
    }

    /// Bytes of memory behind the bucket: the allocation with the allocator's header, and the collection.
    pub(crate) fn bytes(&self) -> usize {
        if self.is_vacant() {
            return 0;
        }
        let shape = self.shape();
        let own = allocation_bytes(shape.total()) + 8;
        self.as_collection().map_or(own, |collection| own + collection.bytes())
    }

    /// About as many bytes as its value has, the same on every replica; see [`Kind::content_bytes`](crate::value::Kind::content_bytes).
    pub(crate) fn content_bytes(&self) -> usize {
        match self.value() {
            Value::String(bytes) => bytes.len(),
            Value::Collection(collection) => collection.content_bytes(),
        }
    }

    /// What is noted of the entry's use, five bits.
    #[inline]
    pub(crate) fn uses(&self) -> u8 {
        self.flags_byte().load(Ordering::Relaxed) >> USES_SHIFT
    }

    /// Notes how the entry is used. Of two that do so at the same time one wins.
    pub(crate) fn set_uses(&self, uses: u8) {
        let byte = self.flags_byte();
        let flags = byte.load(Ordering::Relaxed) & LAYOUT_MASK;
        byte.store(flags | uses << USES_SHIFT, Ordering::Relaxed);
    }

    fn flags_byte(&self) -> &AtomicU8 {
        assert!(!self.is_vacant(), "INV-E1: a vacant bucket has no flags");
        // SAFETY: INV-E1: the byte was written when the entry was built and lives as long as `self`. While `self` is shared it is
        // read and written as an atomic only (here and in `shape`); its layout bits change with the entry held alone.
        unsafe { AtomicU8::from_ptr(self.base()) }
    }

    /// Takes the entry out and leaves the bucket vacant.
    pub(crate) const fn take(&mut self) -> Self {
        std::mem::replace(self, Self::vacant())
    }

    /// The tag's bits are no part of the address.
    fn base(&self) -> *mut u8 {
        self.0.map_addr(|address| address & ADDRESS_MASK)
    }

    fn shape(&self) -> Shape {
        assert!(!self.is_vacant(), "INV-E1: a vacant bucket has no entry");
        let base = self.base();
        // SAFETY: INV-E1: the header was written when the entry was built.
        unsafe {
            let flags = AtomicU8::from_ptr(base).load(Ordering::Relaxed) & LAYOUT_MASK;
            if flags & WIDE == 0 {
                let key_len = usize::from(base.add(1).read());
                let value_len = usize::from(base.add(2).cast::<u16>().read_unaligned());
                Shape { flags, key_len, value_len }
            } else {
                let key_len = base.add(4).cast::<u32>().read_unaligned() as usize;
                let value_len = base.add(8).cast::<u32>().read_unaligned() as usize;
                Shape { flags, key_len, value_len }
            }
        }
    }

    fn value_bytes(&self, shape: Shape) -> &[u8] {
        // SAFETY: INV-E1: the value lies within the allocation, which lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.base().add(shape.value_start()), shape.value_len) }
    }

    fn collection_pointer(&self, shape: Shape) -> *mut Collection {
        let bytes = self.value_bytes(shape);
        let address =
            bytes.first_chunk::<POINTER_BYTES>().expect("INV-E2: a collection is one pointer");
        std::ptr::with_exposed_provenance_mut(usize::from_ne_bytes(*address))
    }

    fn write_expiry(&mut self, shape: Shape, at: UnixMillis) {
        // SAFETY: INV-E1: a timed entry has eight bytes of expiry behind its header.
        unsafe {
            self.base().add(shape.expiry_start()).cast::<u64>().write_unaligned(at.0);
        }
    }

    fn build(kind: u8, key: &[u8], value: &[u8], expiry: Option<UnixMillis>) -> Self {
        let shape = Shape::new(kind, key.len(), value.len(), expiry.is_some());
        let layout = layout(allocation_bytes(shape.total()));
        // SAFETY: the layout is never empty; every byte of header, key and value is written before
        // anyone reads it, and `key` and `value` are borrowed, so they are not the new allocation.
        unsafe {
            let base = alloc(layout);
            if base.is_null() {
                handle_alloc_error(layout);
            }
            shape.write(base);
            std::ptr::copy_nonoverlapping(key.as_ptr(), base.add(shape.key_start()), key.len());
            let at = base.add(shape.value_start());
            std::ptr::copy_nonoverlapping(value.as_ptr(), at, value.len());
            let mut entry = Self(checked_address(base));
            if let Some(at) = expiry {
                entry.write_expiry(shape, at);
            }
            entry
        }
    }

    /// Takes over `rebuilt`'s allocation, keeps the tag and what is noted, frees the old allocation (not the collection).
    fn replace_allocation(&mut self, rebuilt: Self) {
        let (tag, uses) = (self.tag(), self.uses());
        self.free_allocation();
        self.0 = std::mem::ManuallyDrop::new(rebuilt).0;
        self.set_tag(tag);
        self.set_uses(uses);
    }

    /// Frees the allocation but not the collection behind it, and leaves the bucket vacant.
    fn free_allocation(&mut self) {
        let bytes = allocation_bytes(self.shape().total());
        // SAFETY: INV-E1: this pointer came from `alloc` with this layout; it is forgotten here.
        unsafe { dealloc(self.base(), layout(bytes)) };
        self.0 = std::ptr::null_mut();
    }

    fn drop_collection(&mut self) {
        let shape = self.shape();
        if shape.flags & COLLECTION != 0 {
            // SAFETY: INV-E2: the pointer came from `Box::into_raw`; both callers overwrite or free
            // the bytes that hold it right after.
            drop(unsafe { Box::from_raw(self.collection_pointer(shape)) });
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.is_vacant() {
            self.drop_collection();
            self.free_allocation();
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_vacant() {
            return f.write_str("vacant");
        }
        write!(f, "{:04x}:{}", self.tag(), self.key().escape_ascii())
    }
}

fn checked_address(base: *mut u8) -> *mut u8 {
    assert!(base.addr() & !ADDRESS_MASK == 0, "INV-E3: address {base:p} needs more than 48 bits");
    base
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Kind;
    use crate::value::hash::Hash;
    use proptest::prelude::*;

    #[test]
    fn a_small_string_costs_one_allocation_of_96_bytes() {
        let entry = Entry::string(&[b'k'; 16], &[b'v'; 64], None);
        assert_eq!(entry.bytes(), 96);
        assert_eq!(size_of::<Entry>(), 8);
    }

    /// INV-E2.
    #[test]
    fn a_collection_moves_between_keys_and_is_dropped_once() {
        let mut entry = Entry::collection(b"h", Hash::new(), None);
        entry.set_tag(7);
        entry.set_expiry(Some(UnixMillis(9)));
        let mut other = entry.renamed(b"other", Some(UnixMillis(4)));
        other.set_tag(3);
        assert_eq!((other.key(), other.expiry()), (&b"other"[..], Some(UnixMillis(4))));
        assert!(other.as_kind::<Hash>().is_some());
        other.set_string(b"again", None);
        assert_eq!((other.as_string(), other.tag()), (Some(&b"again"[..]), 3));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(usize, Option<u64>),
        Resize(usize),
        Expiry(Option<u64>),
        Hash,
    }

    fn length() -> impl Strategy<Value = usize> {
        prop_oneof![0usize..200, 1000usize..1100, 65_500usize..65_600, Just(200_000)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (length(), any::<Option<u64>>()).prop_map(|(n, at)| Step::Set(n, at)),
            length().prop_map(Step::Resize),
            any::<Option<u64>>().prop_map(Step::Expiry),
            Just(Step::Hash),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// INV-E1 and INV-E3, over every length of header and every way to grow and shrink.
        #[test]
        fn an_entry_equals_its_plain_model(key in proptest::collection::vec(any::<u8>(), 0..300), steps in proptest::collection::vec(step(), 1..20)) {
            let mut entry = Entry::string(&key, b"", None);
            entry.set_tag(0xbeef);
            entry.set_uses(21);
            let mut model: (Option<Vec<u8>>, Option<UnixMillis>) = (Some(vec![]), None);
            for (round, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Set(n, at) => {
                        let value = vec![u8::try_from(round).unwrap(); n];
                        entry.set_string(&value, at.map(UnixMillis));
                        model = (Some(value), at.map(UnixMillis));
                    }
                    Step::Resize(n) => {
                        entry.resize_string(n);
                        if let Some(value) = &mut model.0 { value.resize(n, 0); }
                    }
                    Step::Expiry(at) => {
                        entry.set_expiry(at.map(UnixMillis));
                        model.1 = at.map(UnixMillis);
                    }
                    Step::Hash => {
                        entry = Entry::collection(&key, Hash::new(), model.1);
                        entry.set_tag(0xbeef);
                        entry.set_uses(21);
                        model.0 = None;
                    }
                }
                prop_assert_eq!(entry.key(), &key[..]);
                prop_assert_eq!(entry.as_string(), model.0.as_deref());
                prop_assert_eq!(entry.expiry(), model.1);
                prop_assert_eq!((entry.tag(), entry.uses()), (0xbeef, 21));
            }
        }
    }
}
