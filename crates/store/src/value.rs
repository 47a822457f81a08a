//! The kinds of values that need more than bytes.
//! Owns: [`Collection`], and [`Kind`]: what each kind must say of itself so that keyspace, snapshots, digests and
//! OBJECT ENCODING need not know it. Never: keys, replies, the clock (`now` is an argument).
//!
//! How to add a kind: its structure in `value/<kind>.rs` with `impl Kind`, a line in `collections!` below, the values
//! that DUMP and RESTORE know in `command/key/dump.rs` and `restore.rs`.

use keystead_types::UnixMillis;

use crate::table::Hasher;

pub(crate) mod hash;
pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod set;
pub(crate) mod sorted_set;
pub(crate) mod stream;

/// One kind of collection.
///
/// A collection is made of *parts* (a field with its value, an element of a list): what snapshots hold and digests are
/// taken of. A part is the same whatever the representation that it stands in.
pub(crate) trait Kind: Sized {
    /// The name that TYPE gives.
    const NAME: &'static str;
    /// The byte that stands for the kind in snapshots and digests; none other has it.
    const CODE: u8;
    /// True if two collections with the same parts in another order differ.
    const IS_ORDERED: bool;

    /// An empty one.
    fn new() -> Self;

    /// The name that OBJECT ENCODING gives.
    fn encoding(&self) -> &'static str;

    /// True if nothing is left of it, so that its key goes.
    fn is_empty(&self) -> bool;

    /// True if nothing of it is visible at `now`.
    fn is_empty_at(&self, _now: UnixMillis) -> bool {
        self.is_empty()
    }

    /// The earliest time at which a part of it expires.
    fn next_expiry(&self) -> Option<UnixMillis> {
        None
    }

    /// Removes at most `limit` parts that have expired by `now`; returns how many.
    fn remove_due(&mut self, _hasher: &Hasher, _now: UnixMillis, _limit: usize) -> usize {
        0
    }

    /// True if a part has expired after `since`, by `now`, whether it is removed yet or not.
    fn has_expired_since(&self, _since: UnixMillis, _now: UnixMillis) -> bool {
        false
    }

    /// Bytes of memory behind it, without `size_of::<Self>()`: what this replica happens to hold, spare room included.
    fn bytes(&self) -> usize;

    /// About as many bytes as its parts have; O(1). Follows from the parts and the representation alone, so it is the same on
    /// every replica, however each came to them (INV-LUA3).
    fn content_bytes(&self) -> usize;

    /// A copy in the same representation.
    fn duplicate(&self, hasher: &Hasher) -> Self;

    /// Which representation it has: a number for [`begin`](Self::begin).
    fn form(&self) -> u8;

    /// How many parts [`each_part`](Self::each_part) visits.
    fn part_count(&self) -> u64;

    /// Calls `visit` with the bytes of each part, in an order in which [`add_part`](Self::add_part) takes them.
    fn each_part(&self, visit: &mut dyn FnMut(&[u8]));

    /// An empty one in the representation `form`, to be given `parts` parts; `None` if that cannot be.
    fn begin(hasher: &Hasher, form: u8, parts: u64) -> Option<Self>;

    /// Takes the next part.
    ///
    /// # Errors
    /// What is wrong with it: bytes that `each_part` of this representation does not give.
    fn add_part(&mut self, hasher: &Hasher, part: &[u8]) -> Result<(), &'static str>;

    /// True if the parts that came make a whole.
    fn is_whole(&self) -> bool {
        true
    }
}

/// Where one kind is found among all collections.
pub(crate) trait Held: Kind {
    /// The collection as this kind.
    fn of(collection: &Collection) -> Option<&Self>;
    /// The same, for changing it.
    fn of_mut(collection: &mut Collection) -> Option<&mut Self>;
    /// As one of all kinds.
    fn into_collection(self) -> Collection;
}

macro_rules! collections {
    ($($name:ident($kind:ty)),+ $(,)?) => {
        /// A value that is more than bytes.
        pub(crate) enum Collection {
            $(#[doc = concat!("See [`", stringify!($kind), "`].")] $name($kind),)+
        }

        $(impl Held for $kind {
            #[allow(clippy::allow_attributes, unreachable_patterns, reason = "there may be one kind only")]
            fn of(collection: &Collection) -> Option<&Self> {
                match collection {
                    Collection::$name(held) => Some(held),
                    _ => None,
                }
            }

            #[allow(clippy::allow_attributes, unreachable_patterns, reason = "there may be one kind only")]
            fn of_mut(collection: &mut Collection) -> Option<&mut Self> {
                match collection {
                    Collection::$name(held) => Some(held),
                    _ => None,
                }
            }

            fn into_collection(self) -> Collection {
                Collection::$name(self)
            }
        })+

        /// Runs `$run` with the collection as what it is.
        macro_rules! each_kind {
            ($collection:expr, $held:ident => $run:expr) => {
                match $collection {
                    $(Collection::$name($held) => $run,)+
                }
            };
        }

        impl Collection {
            /// An empty one of the kind `code`, to be given parts; see [`Kind::begin`].
            pub(crate) fn begin(hasher: &Hasher, code: u8, form: u8, parts: u64) -> Option<Self> {
                match code {
                    $(<$kind>::CODE => <$kind>::begin(hasher, form, parts).map(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

collections! {
    Hash(hash::Hash),
    SortedSet(sorted_set::SortedSet),
    Stream(stream::Stream),
    Set(set::Set),
    List(list::List),
    Json(json::Json),
}

impl Collection {
    /// See [`Kind::NAME`].
    pub(crate) const fn type_name(&self) -> &'static str {
        const fn name<K: Kind>(_: &K) -> &'static str {
            K::NAME
        }
        each_kind!(self, held => name(held))
    }

    /// See [`Kind::CODE`].
    pub(crate) const fn code(&self) -> u8 {
        const fn code<K: Kind>(_: &K) -> u8 {
            K::CODE
        }
        each_kind!(self, held => code(held))
    }

    /// See [`Kind::IS_ORDERED`].
    pub(crate) const fn is_ordered(&self) -> bool {
        const fn is_ordered<K: Kind>(_: &K) -> bool {
            K::IS_ORDERED
        }
        each_kind!(self, held => is_ordered(held))
    }

    /// See [`Kind::encoding`].
    pub(crate) fn encoding(&self) -> &'static str {
        each_kind!(self, held => held.encoding())
    }

    /// See [`Kind::is_empty`].
    pub(crate) fn is_empty(&self) -> bool {
        each_kind!(self, held => held.is_empty())
    }

    /// See [`Kind::is_empty_at`].
    pub(crate) fn is_empty_at(&self, now: UnixMillis) -> bool {
        each_kind!(self, held => held.is_empty_at(now))
    }

    /// See [`Kind::next_expiry`].
    pub(crate) fn next_expiry(&self) -> Option<UnixMillis> {
        each_kind!(self, held => held.next_expiry())
    }

    /// See [`Kind::remove_due`].
    pub(crate) fn remove_due(&mut self, hasher: &Hasher, now: UnixMillis, limit: usize) -> usize {
        each_kind!(self, held => held.remove_due(hasher, now, limit))
    }

    /// See [`Kind::has_expired_since`].
    pub(crate) fn has_expired_since(&self, since: UnixMillis, now: UnixMillis) -> bool {
        each_kind!(self, held => held.has_expired_since(since, now))
    }

    /// Bytes of memory: its own and those behind it.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + each_kind!(self, held => held.bytes())
    }

    /// See [`Kind::content_bytes`].
    pub(crate) fn content_bytes(&self) -> usize {
        each_kind!(self, held => held.content_bytes())
    }

    /// See [`Kind::duplicate`].
    pub(crate) fn duplicate(&self, hasher: &Hasher) -> Self {
        each_kind!(self, held => held.duplicate(hasher).into_collection())
    }

    /// See [`Kind::form`].
    pub(crate) fn form(&self) -> u8 {
        each_kind!(self, held => held.form())
    }

    /// See [`Kind::part_count`].
    pub(crate) fn part_count(&self) -> u64 {
        each_kind!(self, held => held.part_count())
    }

    /// See [`Kind::each_part`].
    pub(crate) fn each_part(&self, visit: &mut dyn FnMut(&[u8])) {
        each_kind!(self, held => held.each_part(visit));
    }

    /// See [`Kind::add_part`].
    pub(crate) fn add_part(&mut self, hasher: &Hasher, part: &[u8]) -> Result<(), &'static str> {
        each_kind!(self, held => held.add_part(hasher, part))
    }

    /// See [`Kind::is_whole`].
    pub(crate) fn is_whole(&self) -> bool {
        each_kind!(self, held => held.is_whole())
    }
}

/// The kinds of collections are boxed behind one pointer: the largest decides what the smallest costs.
const _: () = assert!(size_of::<Collection>() <= 64, "box what a small collection does not need");
