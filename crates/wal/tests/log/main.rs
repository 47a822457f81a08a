//! What the log promises, held against a disk that forgets, lies, fills up and is edited.

mod crash;
mod damage;
mod full;
mod model;
mod purge;
mod real;
mod writer;
