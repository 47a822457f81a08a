//! What the log promises, held against a disk that forgets, lies, fills up and is edited.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod crash;
mod damage;
mod direct;
mod full;
mod model;
mod purge;
mod real;
mod writer;
