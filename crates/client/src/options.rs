//! How to connect.
//! Owns: [`ConnectOptions`] and their defaults. Never: shows a password in its debug output.

use std::fmt;
use std::time::Duration;

use keystead_resp::{Protocol, ReplyLimits};

/// How a client connects and how long it waits.
#[derive(Clone)]
pub struct ConnectOptions {
    /// Protocol to ask for. A server that does not know RESP3 is spoken to in RESP2.
    pub protocol: Protocol,
    /// User to log in as; `default` if there is only a password.
    pub username: Option<String>,
    /// Password to log in with.
    pub password: Option<String>,
    /// Name shown in `CLIENT LIST`.
    pub client_name: Option<String>,
    /// Database to select.
    pub database: u16,
    /// Longest wait for a connection and its handshake.
    pub connect_timeout: Duration,
    /// Longest wait for the replies to one command or pipeline, reconnecting and redirects included. It holds for commands
    /// that wait by themselves (BLPOP), too: it must be longer than what they are told to wait, or an element that they are
    /// given afterwards is lost.
    pub command_timeout: Duration,
    /// Redirects followed for one command; past it: [`Error::Redirects`](crate::Error::Redirects).
    pub redirects_max: usize,
    /// Bounds of a reply.
    pub reply_limits: ReplyLimits,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            protocol: Protocol::Resp3,
            username: None,
            password: None,
            client_name: None,
            database: 0,
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(30),
            redirects_max: 5,
            reply_limits: ReplyLimits::default(),
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("protocol", &self.protocol)
            .field("username", &self.username)
            .field("has_password", &self.password.is_some())
            .field("client_name", &self.client_name)
            .field("database", &self.database)
            .field("connect_timeout", &self.connect_timeout)
            .field("command_timeout", &self.command_timeout)
            .field("redirects_max", &self.redirects_max)
            .field("reply_limits", &self.reply_limits)
            .finish()
    }
}
