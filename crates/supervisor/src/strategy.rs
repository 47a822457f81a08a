//! Which siblings a fallen child takes along.
//! Owns: [`Strategy`]. Never: the restarting itself (see `actor`).

use std::ops::Range;

/// Which siblings are stopped and started again together with a fallen child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// None: the children do not depend on each other.
    OneForOne,
    /// Those that stand after it in the start order: each child depends on the earlier ones.
    RestForOne,
    /// All of them: the children depend on each other.
    OneForAll,
}

impl Strategy {
    /// The positions, the fallen child's included, that restart together.
    pub(crate) fn carried_along(self, fallen: usize, count: usize) -> Range<usize> {
        match self {
            Self::OneForOne => fallen..fallen + 1,
            Self::RestForOne => fallen..count,
            Self::OneForAll => 0..count,
        }
    }
}
