//! The members of a large sorted set in their order: a B-tree that counts.
//! Owns: which member comes before which, and at which rank. Never: names and their index, see
//! [`members`](super::members); names are looked at only where scores are equal.
//!
//! Leaves hold scores and ids in two arrays, 42 of them in 512 bytes. An inner node holds, per child, the child's first
//! item and how many items are below it, so rank, place and removal by either are one way down, O(log n). A full node is
//! halved, but where the new item comes last it begins a new node and leaves the old one full: members that come in
//! their order fill all leaves.
//!
//! INV-Z1: items are sorted by (score, name), and each inner node knows first item and count of every child.
//! INV-Z2: no node is empty but a root leaf; a node that two thirds of a neighbour's room would hold joins it.

use super::members::Members;

/// Items of a leaf: 512 bytes.
const LEAF_ITEMS: usize = 42;
/// Children of an inner node: 1 KiB.
const CHILDREN: usize = 31;

/// A member's place in the order: its score, and its id instead of its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) score: f64,
    pub(super) id: u32,
}

/// A place to look for.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) score: f64,
    pub(super) name: &'a [u8],
}

/// All members in order.
pub(super) struct Order {
    root: Node,
    leaves: u32,
    inners: u32,
}

enum Node {
    Leaf(Box<Leaf>),
    Inner(Box<Inner>),
}

/// Neighbours in the order.
pub(super) struct Leaf {
    scores: [f64; LEAF_ITEMS],
    ids: [u32; LEAF_ITEMS],
    len: u16,
}

struct Inner {
    scores: [f64; CHILDREN],
    ids: [u32; CHILDREN],
    counts: [u32; CHILDREN],
    children: [Option<Node>; CHILDREN],
    len: u16,
}

/// What removal looks for.
#[derive(Clone, Copy)]
enum Target<'a> {
    Key(&'a Members, Key<'a>),
    Rank(usize),
}

/// Nodes that came and went in a change.
#[derive(Default)]
struct NodeCounts {
    leaves: i32,
    inners: i32,
}

impl Key<'_> {
    /// True if the item comes after this place.
    #[inline]
    fn is_before(&self, members: &Members, item: Item) -> bool {
        self.score < item.score || (self.score == item.score && self.name < members.name(item.id))
    }
}

impl Order {
    pub(super) fn new() -> Self {
        Self { root: Node::Leaf(Box::new(Leaf::new())), leaves: 1, inners: 0 }
    }

    /// Puts in a member that is not there yet.
    pub(super) fn insert(&mut self, members: &Members, item: Item) {
        let key = Key { score: item.score, name: members.name(item.id) };
        let mut made = NodeCounts::default();
        if let Some(right) = self.root.insert(members, &key, item, &mut made) {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Box::new(Leaf::new())));
            let mut inner = Box::new(Inner::new());
            inner.put(0, left);
            inner.put(1, right);
            self.root = Node::Inner(inner);
            made.inners += 1;
        }
        self.count(&made);
    }

    /// Takes out the member at `key`; `None` if none is there.
    pub(super) fn remove(&mut self, members: &Members, key: Key<'_>) -> Option<Item> {
        self.take(Target::Key(members, key))
    }

    /// Takes out the member of this rank; `None` if there is none.
    pub(super) fn remove_at(&mut self, rank: usize) -> Option<Item> {
        if rank < self.root.count() { self.take(Target::Rank(rank)) } else { None }
    }

    /// The number of members for which `is_before` holds: those in front, it must hold for no other.
    pub(super) fn rank_where(&self, is_before: impl Fn(Item) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(leaf) => {
                    return rank + count_leading(leaf.len(), |at| is_before(leaf.item(at)));
                }
                Node::Inner(inner) => {
                    let after = count_leading(inner.len(), |at| is_before(inner.first(at)));
                    let Some(child) = after.checked_sub(1) else { return rank };
                    rank += inner.count_before(child);
                    node = inner.child(child);
                }
            }
        }
    }

    /// The leaf that holds the member of this rank, which exists, and the rank of the leaf's first.
    pub(super) fn leaf_at(&self, rank: usize) -> (&Leaf, usize) {
        let (mut node, mut first) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(leaf) => return (leaf, first),
                Node::Inner(inner) => {
                    let (child, before) = inner.child_of_rank(rank - first);
                    first += before;
                    node = inner.child(child);
                }
            }
        }
    }

    /// Bytes of memory behind it; O(1).
    pub(super) const fn bytes(&self) -> usize {
        self.leaves as usize * size_of::<Leaf>() + self.inners as usize * size_of::<Inner>()
    }

    fn take(&mut self, target: Target<'_>) -> Option<Item> {
        let mut made = NodeCounts::default();
        let taken = self.root.take(target, &mut made);
        while let Node::Inner(inner) = &mut self.root
            && inner.len() == 1
        {
            self.root = inner.children[0].take().expect("INV-Z2: an inner node has children");
            made.inners -= 1;
        }
        self.count(&made);
        taken
    }

    const fn count(&mut self, made: &NodeCounts) {
        self.leaves = self.leaves.wrapping_add_signed(made.leaves);
        self.inners = self.inners.wrapping_add_signed(made.inners);
    }

    /// Checks INV-Z1 and INV-Z2 over the whole tree.
    #[cfg(test)]
    pub(super) fn check(&self, members: &Members) {
        let (mut last, mut counts): (Option<Item>, _) = (None, NodeCounts::default());
        self.root.check(&mut counts, &mut |item| {
            if let Some(last) = last {
                let key = Key { score: last.score, name: members.name(last.id) };
                assert!(key.is_before(members, item), "INV-Z1: order");
            }
            assert!(item.score == members.score(item.id), "INV-Z1: score");
            last = Some(item);
        });
        assert_eq!((counts.leaves, counts.inners), (self.leaves as i32, self.inners as i32));
        assert_eq!(self.root.count(), members.len());
    }
}

impl Node {
    fn count(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.len(),
            Self::Inner(inner) => inner.counts[..inner.len()].iter().map(|n| *n as usize).sum(),
        }
    }

    /// Items or children.
    fn width(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.len(),
            Self::Inner(inner) => inner.len(),
        }
    }

    fn first(&self) -> Item {
        match self {
            Self::Leaf(leaf) => leaf.item(0),
            Self::Inner(inner) => inner.first(0),
        }
    }

    /// Puts the item in; returns the right half if the node had to be parted.
    fn insert(
        &mut self,
        members: &Members,
        key: &Key<'_>,
        item: Item,
        made: &mut NodeCounts,
    ) -> Option<Self> {
        match self {
            Self::Leaf(leaf) => {
                let at = count_leading(leaf.len(), |at| !key.is_before(members, leaf.item(at)));
                let right = leaf.insert(at, item)?;
                made.leaves += 1;
                Some(Self::Leaf(right))
            }
            Self::Inner(inner) => {
                let after =
                    count_leading(inner.len(), |at| !key.is_before(members, inner.first(at)));
                let at = after.saturating_sub(1);
                let right = inner.child_mut(at).insert(members, key, item, made);
                inner.refresh(at);
                let parted = inner.insert(at + 1, right?)?;
                made.inners += 1;
                Some(Self::Inner(parted))
            }
        }
    }

    fn take(&mut self, target: Target<'_>, made: &mut NodeCounts) -> Option<Item> {
        match self {
            Self::Leaf(leaf) => {
                let at = match target {
                    Target::Rank(rank) => rank,
                    Target::Key(members, key) => {
                        let after =
                            count_leading(leaf.len(), |at| !key.is_before(members, leaf.item(at)));
                        let at = after.checked_sub(1)?;
                        let Item { score, id } = leaf.item(at);
                        if score != key.score || members.name(id) != key.name {
                            return None;
                        }
                        at
                    }
                };
                Some(leaf.remove(at))
            }
            Self::Inner(inner) => {
                let (at, target) = match target {
                    Target::Rank(rank) => {
                        let (at, before) = inner.child_of_rank(rank);
                        (at, Target::Rank(rank - before))
                    }
                    Target::Key(members, key) => {
                        let is_not_after = |at| !key.is_before(members, inner.first(at));
                        (count_leading(inner.len(), is_not_after).saturating_sub(1), target)
                    }
                };
                let taken = inner.child_mut(at).take(target, made)?;
                inner.mend(at, made);
                Some(taken)
            }
        }
    }

    /// Takes over all that `right` holds, which comes after what is here.
    fn join(&mut self, right: Self, made: &mut NodeCounts) {
        match (self, right) {
            (Self::Leaf(left), Self::Leaf(right)) => {
                made.leaves -= 1;
                (0..right.len()).for_each(|at| left.push(right.item(at)));
            }
            (Self::Inner(left), Self::Inner(mut right)) => {
                made.inners -= 1;
                for at in 0..right.len() {
                    let child = right.children[at].take().expect("INV-Z2: len children are there");
                    left.put(left.len(), child);
                }
            }
            _ => unreachable!("INV-Z1: neighbours are of one kind"),
        }
    }

    const fn room(&self) -> usize {
        match self {
            Self::Leaf(_) => LEAF_ITEMS,
            Self::Inner(_) => CHILDREN,
        }
    }

    #[cfg(test)]
    fn check(&self, counts: &mut NodeCounts, visit: &mut dyn FnMut(Item)) {
        match self {
            Self::Leaf(leaf) => {
                counts.leaves += 1;
                (0..leaf.len()).for_each(|at| visit(leaf.item(at)));
            }
            Self::Inner(inner) => {
                counts.inners += 1;
                for at in 0..inner.len() {
                    let child = inner.child(at);
                    assert!(child.width() > 0, "INV-Z2");
                    assert_eq!(child.count(), inner.counts[at] as usize, "INV-Z1: count");
                    assert_eq!(child.first(), inner.first(at), "INV-Z1: first");
                    child.check(counts, visit);
                }
            }
        }
    }
}

impl Leaf {
    const fn new() -> Self {
        Self { scores: [0.0; LEAF_ITEMS], ids: [0; LEAF_ITEMS], len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(super) const fn item(&self, at: usize) -> Item {
        Item { score: self.scores[at], id: self.ids[at] }
    }

    fn push(&mut self, item: Item) {
        let at = self.len();
        (self.scores[at], self.ids[at]) = (item.score, item.id);
        self.len += 1;
    }

    /// Puts the item in at `at`; returns the right half if there was no room.
    fn insert(&mut self, at: usize, item: Item) -> Option<Box<Self>> {
        let len = self.len();
        if len < LEAF_ITEMS {
            self.scores.copy_within(at..len, at + 1);
            self.ids.copy_within(at..len, at + 1);
            (self.scores[at], self.ids[at]) = (item.score, item.id);
            self.len += 1;
            return None;
        }
        let mut right = Box::new(Self::new());
        if at == len {
            right.push(item);
            return Some(right);
        }
        let middle = len / 2;
        (middle..len).for_each(|from| right.push(self.item(from)));
        self.len -= right.len;
        let half =
            if at <= middle { self.insert(at, item) } else { right.insert(at - middle, item) };
        assert!(half.is_none(), "INV-Z2: half a leaf has room");
        Some(right)
    }

    fn remove(&mut self, at: usize) -> Item {
        let (item, len) = (self.item(at), self.len());
        self.scores.copy_within(at + 1..len, at);
        self.ids.copy_within(at + 1..len, at);
        self.len -= 1;
        item
    }
}

impl Inner {
    fn new() -> Self {
        let children = [const { None }; CHILDREN];
        let (scores, ids, counts) = ([0.0; CHILDREN], [0; CHILDREN], [0; CHILDREN]);
        Self { scores, ids, counts, children, len: 0 }
    }

    const fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    const fn first(&self, at: usize) -> Item {
        Item { score: self.scores[at], id: self.ids[at] }
    }

    fn child(&self, at: usize) -> &Node {
        self.children[at].as_ref().expect("INV-Z2: len children are there")
    }

    const fn child_mut(&mut self, at: usize) -> &mut Node {
        self.children[at].as_mut().expect("INV-Z2: len children are there")
    }

    fn count_before(&self, child: usize) -> usize {
        self.counts[..child].iter().map(|count| *count as usize).sum()
    }

    /// The child that holds the item of this rank, and the number of items before that child.
    fn child_of_rank(&self, rank: usize) -> (usize, usize) {
        let (mut at, mut before) = (0, 0);
        while before + self.counts[at] as usize <= rank {
            before += self.counts[at] as usize;
            at += 1;
        }
        (at, before)
    }

    /// Follows a change of the child at `at`.
    fn refresh(&mut self, at: usize) {
        let child = self.child(at);
        let (first, count) = (child.first(), child.count());
        (self.scores[at], self.ids[at]) = (first.score, first.id);
        self.counts[at] = u32::try_from(count).expect("ids are u32, so are counts of them");
    }

    /// Puts a child in at `at`; there is room.
    fn put(&mut self, at: usize, child: Node) {
        let len = self.len();
        self.scores.copy_within(at..len, at + 1);
        self.ids.copy_within(at..len, at + 1);
        self.counts.copy_within(at..len, at + 1);
        self.children[at..=len].rotate_right(1);
        self.children[at] = Some(child);
        self.len += 1;
        self.refresh(at);
    }

    fn cut(&mut self, at: usize) -> Node {
        let len = self.len();
        let child = self.children[at].take().expect("INV-Z2: len children are there");
        self.scores.copy_within(at + 1..len, at);
        self.ids.copy_within(at + 1..len, at);
        self.counts.copy_within(at + 1..len, at);
        self.children[at..len].rotate_left(1);
        self.len -= 1;
        child
    }

    /// Puts a child in at `at`; returns the right half if there was no room.
    fn insert(&mut self, at: usize, child: Node) -> Option<Box<Self>> {
        let len = self.len();
        if len < CHILDREN {
            self.put(at, child);
            return None;
        }
        let mut right = Box::new(Self::new());
        if at == len {
            right.put(0, child);
            return Some(right);
        }
        let middle = len / 2;
        for from in middle..len {
            let moved = self.children[from].take().expect("INV-Z2: len children are there");
            right.put(from - middle, moved);
        }
        self.len -= right.len;
        if at <= middle {
            self.put(at, child)
        } else {
            right.put(at - middle, child)
        }
        Some(right)
    }

    /// After an item was taken from the child at `at`: drops it if it is empty, joins it to a neighbour if it is small.
    fn mend(&mut self, at: usize, made: &mut NodeCounts) {
        let child = self.child(at);
        let (width, room) = (child.width(), child.room());
        if width == 0 {
            match self.cut(at) {
                Node::Leaf(_) => made.leaves -= 1,
                Node::Inner(_) => made.inners -= 1,
            }
            return;
        }
        self.refresh(at);
        if width > room / 3 {
            return;
        }
        let fits =
            |left: usize| self.child(left).width() + self.child(left + 1).width() <= room * 2 / 3;
        let left = if at > 0 && fits(at - 1) {
            at - 1
        } else if at + 1 < self.len() && fits(at) {
            at
        } else {
            return;
        };
        let right = self.cut(left + 1);
        self.child_mut(left).join(right, made);
        self.refresh(left);
    }
}

/// The number of places below `len` for which `is_before` holds, if it holds for none behind one for which it does not.
#[inline]
fn count_leading(len: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = usize::midpoint(low, high);
        if is_before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
