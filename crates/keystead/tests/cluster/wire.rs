//! A blocking connection that speaks RESP, one command at a time.
//! Owns: deadlines, and telling a command that was not sent from one whose reply is missing. Never: retries.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use keystead_resp::{ReplyDecoder, ReplyLimits, Value, encode};

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Longest wait for a reply: longer than a node takes to answer with UNCERTAIN.
const REPLY_MAX: Duration = Duration::from_secs(12);

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
    decoder: ReplyDecoder,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(port: u16) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, CONNECT_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_MAX))?;
        stream.set_write_timeout(Some(REPLY_MAX))?;
        let decoder = ReplyDecoder::new(ReplyLimits::default());
        Ok(Self { stream, decoder, buffer: Vec::new(), out: Vec::new() })
    }

    /// Sends a command and waits for its reply. An error reply is a value; an error of the connection
    /// means that a command may or may not have been executed.
    pub(crate) fn call<const N: usize>(&mut self, args: [&str; N]) -> io::Result<Value> {
        self.call_all(&args)
    }

    pub(crate) fn call_all(&mut self, args: &[&str]) -> io::Result<Value> {
        self.send(args)?;
        self.receive()
    }

    pub(crate) fn send(&mut self, args: &[&str]) -> io::Result<()> {
        self.out.clear();
        encode::command(&mut self.out, args.iter().map(|arg| arg.as_bytes()));
        self.stream.write_all(&self.out)
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn receive(&mut self) -> io::Result<Value> {
        loop {
            let decoded = self.decoder.decode(&self.buffer).map_err(io::Error::other)?;
            if let Some((value, bytes)) = decoded {
                self.buffer.drain(..bytes);
                return Ok(value);
            }
            let mut chunk = [0; 16 * 1024];
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&chunk[..read]);
        }
    }

    /// True if the node has closed the connection, so that a command sent now would certainly not be read.
    pub(crate) fn is_closed(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket");
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// One command on a connection of its own.
pub(crate) fn ask(port: u16, args: &[&str]) -> io::Result<Value> {
    Wire::connect(port)?.call_all(args)
}

/// The reply's text, of a command that answers with text.
pub(crate) fn ask_text(port: u16, args: &[&str]) -> Option<String> {
    ask(port, args).ok()?.as_str().map(str::to_owned)
}

/// The value of `name:value` among lines.
pub(crate) fn field(lines: &str, name: &str) -> Option<String> {
    let rows = lines.lines().filter_map(|line| line.trim_end().split_once(':'));
    rows.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
}
