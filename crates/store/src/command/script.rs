//! EVAL, EVALSHA, FCALL, SCRIPT and FUNCTION.
//! Owns: their functions, and what a script may ask of the store. Never: Lua; see the crate `script`.

pub(super) mod cache;
pub(super) mod eval;
pub(super) mod function;
mod host;
