//! Connections between nodes: frames, messages, peers.
//! Owns: bytes between nodes. Never: what a message means to a group.

pub mod frame;
pub mod hello;
pub mod message;
pub mod wire;
