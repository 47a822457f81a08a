//! Which nodes run and can talk to each other, and so which shards ought to take writes.
//! Owns: that picture, as whoever breaks things has made it. Never: looks at a node.

use std::collections::BTreeSet;

/// What is up and connected.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    nodes: usize,
    down: BTreeSet<usize>,
    cuts: BTreeSet<(usize, usize)>,
}

impl Reach {
    pub(super) fn all(nodes: usize) -> Self {
        Self { nodes, down: BTreeSet::new(), cuts: BTreeSet::new() }
    }

    pub(super) fn set_up(&mut self, node: usize, is_up: bool) {
        if is_up {
            self.down.remove(&node);
        } else {
            self.down.insert(node);
        }
    }

    pub(super) fn cuts(&self) -> &BTreeSet<(usize, usize)> {
        &self.cuts
    }

    pub(super) fn cuts_mut(&mut self) -> &mut BTreeSet<(usize, usize)> {
        &mut self.cuts
    }

    /// True if more than half of these nodes are up and every two of those are connected in both directions.
    pub(super) fn has_majority(&self, replicas: &[usize]) -> bool {
        let needed = replicas.len() / 2 + 1;
        let up: Vec<usize> = replicas
            .iter()
            .copied()
            .filter(|node| *node < self.nodes && !self.down.contains(node))
            .collect();
        // Few replicas: all subsets are looked at.
        (0u32..1 << up.len()).any(|subset| {
            let chosen: Vec<usize> =
                (0..up.len()).filter(|at| subset >> at & 1 == 1).map(|at| up[at]).collect();
            chosen.len() >= needed
                && chosen.iter().all(|a| chosen.iter().all(|b| self.is_connected(*a, *b)))
        })
    }

    fn is_connected(&self, a: usize, b: usize) -> bool {
        !self.cuts.contains(&(a, b)) && !self.cuts.contains(&(b, a))
    }
}

/// Cuts between two groups, in both directions.
pub(super) fn between(one: &[usize], other: &[usize]) -> BTreeSet<(usize, usize)> {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b)));
    pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_up_and_each_of_it_sees_each() {
        let mut reach = Reach::all(3);
        assert!(reach.has_majority(&[0, 1, 2]));
        // A bridge: 0 and 1 do not see each other, both see 2.
        *reach.cuts_mut() = between(&[0], &[1]);
        assert!(reach.has_majority(&[0, 1, 2]));
        reach.set_up(2, false);
        assert!(!reach.has_majority(&[0, 1, 2]));
        reach.set_up(2, true);
        // One direction is enough for a cut.
        *reach.cuts_mut() = BTreeSet::from([(0, 1), (2, 0), (1, 2)]);
        assert!(!reach.has_majority(&[0, 1, 2]));
    }

    #[test]
    fn a_shard_depends_on_its_own_replicas_only() {
        let mut reach = Reach::all(5);
        reach.set_up(0, false);
        reach.set_up(1, false);
        assert!(!reach.has_majority(&[0, 1, 2]));
        assert!(reach.has_majority(&[1, 2, 3]));
        assert!(reach.has_majority(&[0, 1, 2, 3, 4]));
    }
}
