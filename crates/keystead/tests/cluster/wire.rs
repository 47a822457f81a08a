//! The connections of the torture, to nodes on this machine.
//! Owns: what a port is short for. Never: a connection of its own kind.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use keystead::torture::wire;
pub(crate) use keystead::torture::wire::{Wire, field};
use keystead_resp::Value;

/// Connects to the node that listens on this port.
pub(crate) fn connect(port: u16) -> io::Result<Wire> {
    Wire::connect(local(port))
}

/// One command on a connection of its own.
pub(crate) fn ask(port: u16, args: &[&str]) -> io::Result<Value> {
    wire::ask(local(port), args)
}

/// The reply's text, of a command that answers with text.
pub(crate) fn ask_text(port: u16, args: &[&str]) -> Option<String> {
    wire::ask_text(local(port), args)
}

/// A write on a connection of its own.
pub(crate) fn set(port: u16, key: &str, value: &str) -> Option<String> {
    let reply = ask(port, &["SET", key, value]).ok()?;
    Some(reply.as_str().or(reply.as_error()).unwrap_or_default().to_owned())
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
