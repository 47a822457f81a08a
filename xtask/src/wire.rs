//! Just enough of the Redis protocol to control a server, fill it and compare its replies.
//! Owns: a blocking connection that keeps replies as raw bytes. Never: uses the product's own
//! codec, since `compat` would then compare that codec with itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::project::Outcome;

/// A reply that takes longer than this is a failure of the server.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to a server that speaks the Redis protocol.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Bytes received and not yet given out.
    input: Vec<u8>,
}

impl Connection {
    /// Connects within a second.
    pub(crate) fn open(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// Sends one command and returns the raw bytes of its reply.
    pub(crate) fn call(&mut self, arguments: &[&[u8]]) -> Outcome<Vec<u8>> {
        let mut out = Vec::new();
        encode(arguments, &mut out);
        self.send(&out)?;
        self.reply()
    }

    /// The reply to a command of plain words as text, for control commands.
    pub(crate) fn ask(&mut self, words: &[&str]) -> Outcome<String> {
        let arguments: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        Ok(String::from_utf8_lossy(&self.call(&arguments)?).into_owned())
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Outcome {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The raw bytes of the next reply. Empty if the server closed the connection.
    pub(crate) fn reply(&mut self) -> Outcome<Vec<u8>> {
        loop {
            if let Some(length) = reply_length(&self.input) {
                return Ok(self.input.drain(..length).collect());
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(std::mem::take(&mut self.input)),
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(Vec::new()),
                Err(error) => return Err(format!("no reply: {error}").into()),
            }
        }
    }
}

/// Appends a command as an array of bulk strings.
pub(crate) fn encode(arguments: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// Length of the first complete reply in `input`, bytes.
pub(crate) fn reply_length(input: &[u8]) -> Option<usize> {
    let mut at = 0;
    // Replies still to be read at this level of the walk: an aggregate adds its elements.
    let mut awaited = 1usize;
    while awaited > 0 {
        let line_end = at + input.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
        let kind = input[at];
        let count = || std::str::from_utf8(&input[at + 1..line_end]).ok()?.parse::<i64>().ok();
        awaited -= 1;
        let body = line_end + 2;
        at = match kind {
            b'$' | b'=' | b'!' => body + usize::try_from(count()?).map_or(0, |length| length + 2),
            b'*' | b'~' | b'>' => {
                awaited += usize::try_from(count()?).unwrap_or(0);
                body
            }
            b'%' => {
                awaited += 2 * usize::try_from(count()?).unwrap_or(0);
                body
            }
            // An attribute stands before the reply it belongs to.
            b'|' => {
                awaited += 2 * usize::try_from(count()?).unwrap_or(0) + 1;
                body
            }
            _ => body,
        };
        if at > input.len() {
            return None;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::reply_length;

    #[test]
    fn finds_the_end_of_a_reply() {
        let cases: [(&[u8], Option<usize>); 9] = [
            (b"+OK\r\n:1\r\n", Some(5)),
            (b"$3\r\nab", None),
            (b"$-1\r\n", Some(5)),
            (b"$2\r\nab\r\n", Some(8)),
            (b"*2\r\n:1\r\n*1\r\n:2\r\n", Some(16)),
            (b"*2\r\n:1\r\n*1\r\n", None),
            (b"*-1\r\n", Some(5)),
            (b"%1\r\n+a\r\n+b\r\n", Some(12)),
            (b"", None),
        ];
        for (input, expected) in cases {
            assert_eq!(reply_length(input), expected, "{:?}", String::from_utf8_lossy(input));
        }
    }
}
