//! The bitmap family: strings as arrays of bits, the first bit being the highest of the first byte.

pub(super) mod bit;
pub(super) mod count;
pub(super) mod field;
pub(super) mod op;
pub(super) mod pos;
mod range;
