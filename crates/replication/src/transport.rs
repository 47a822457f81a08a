//! Connections between nodes: frames, messages, peers.
//! Owns: bytes between nodes. Never: what a message means to a group.

pub mod message;
pub mod wire;
