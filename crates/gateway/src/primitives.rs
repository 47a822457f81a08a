//! The primitives under hand-made synchronisation, named in one place so that `loom/` can put its own there and try every
//! order of events.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use parking_lot::Mutex;
