//! The Redis serialization protocol, both directions, without I/O.
//!
//! Owns: decoding requests incrementally and within bounds, encoding replies for RESP2 and RESP3,
//! decoding replies for clients. Never: knows a command, opens a socket, reads a clock.
//! Source: the Redis serialization protocol specification (RESP2 and RESP3).

pub mod args;
pub mod decode;
pub mod encode;
mod inline;
pub mod reply;
pub mod run;

pub use args::{Args, Span};
pub use decode::{Decoder, Limits, ProtocolError, Request, RequestKind};
pub use encode::{Protocol, ReplyWriter};
pub use reply::{ReplyDecoder, ReplyError, ReplyLimits, Value, skip_reply};
pub use run::{RunDecoder, RunError};
