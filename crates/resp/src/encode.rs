//! Writing replies: one writer for RESP2 and RESP3, straight into the connection's output.
//! Owns: how each kind of reply looks on the wire. Never: decides what to reply.
//! Where RESP2 lacks a type, the reply takes the form that Redis gives it there (a map becomes a
//! flat array, a double a bulk string, a boolean an integer, null a null bulk string).

/// The protocol version that a connection speaks (HELLO 2 or HELLO 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2, what a connection speaks until HELLO 3.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

/// Writes replies to a buffer, or nowhere on replicas that answer nobody.
#[derive(Debug)]
pub struct ReplyWriter<'a> {
    out: Option<&'a mut Vec<u8>>,
    protocol: Protocol,
}

impl<'a> ReplyWriter<'a> {
    /// Appends replies to `out`.
    #[must_use]
    pub const fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out: Some(out), protocol }
    }

    /// Writes nothing: for replicas that apply a command nobody there asked for.
    #[must_use]
    pub const fn discard() -> ReplyWriter<'static> {
        ReplyWriter { out: None, protocol: Protocol::Resp2 }
    }

    /// The protocol that replies are written in.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// True if nobody reads what is written: a reply that costs much may be left out.
    #[must_use]
    pub const fn is_discarding(&self) -> bool {
        self.out.is_none()
    }

    /// Bytes in the buffer so far; to take back a reply with [`truncate`](Self::truncate).
    #[must_use]
    pub fn position(&self) -> usize {
        self.out.as_ref().map_or(0, |out| out.len())
    }

    /// Takes back everything written since [`position`](Self::position) gave `position`.
    pub fn truncate(&mut self, position: usize) {
        if let Some(out) = &mut self.out {
            out.truncate(position);
        }
    }

    /// `+text`. The text must hold no line break.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// `-CODE message`: an error. Line breaks in it become spaces, as Redis does.
    pub fn error(&mut self, error: impl std::fmt::Display) {
        use std::io::Write as _;
        let Some(out) = &mut self.out else { return };
        out.push(b'-');
        let start = out.len();
        write!(out, "{error}").expect("writing to a Vec cannot fail");
        for byte in &mut out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        let Some(out) = &mut self.out else { return };
        out.reserve(bytes.len() + 32);
        Self::put_header(out, b'$', len(bytes.len()));
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }

    /// A bulk string that holds the decimal digits of `value`.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// The absent value: `$-1` in RESP2, `_` in RESP3.
    pub fn null(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// A bulk string, or the absent value.
    #[inline]
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// The absent array: `*-1` in RESP2 (what an aborted EXEC answers), `_` in RESP3.
    pub fn null_array(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The head of an array of `count` replies, which follow.
    pub fn array(&mut self, count: usize) {
        self.header(b'*', len(count));
    }

    /// The head of a map of `pairs` keys and values, which follow; RESP2: a flat array.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len(pairs * 2)),
            Protocol::Resp3 => self.header(b'%', len(pairs)),
        }
    }

    /// The head of a set of `count` replies; RESP2: an array.
    pub fn set(&mut self, count: usize) {
        self.header(if self.protocol == Protocol::Resp3 { b'~' } else { b'*' }, len(count));
    }

    /// The head of a push message of `count` replies; RESP2: an array.
    pub fn push(&mut self, count: usize) {
        self.header(if self.protocol == Protocol::Resp3 { b'>' } else { b'*' }, len(count));
    }

    /// A boolean; RESP2: 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        match (self.protocol, value) {
            (Protocol::Resp2, _) => self.integer(i64::from(value)),
            (Protocol::Resp3, true) => self.raw(b"#t\r\n"),
            (Protocol::Resp3, false) => self.raw(b"#f\r\n"),
        }
    }

    /// A double, already formatted by its command; RESP2: a bulk string.
    pub fn double_text(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// Text for people, in the format `txt`; RESP2: a bulk string.
    pub fn verbatim(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                let Some(out) = &mut self.out else { return };
                Self::put_header(out, b'=', len(text.len() + 4));
                out.extend_from_slice(b"txt:");
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Bytes that are a reply already.
    pub fn raw(&mut self, bytes: &[u8]) {
        if let Some(out) = &mut self.out {
            out.extend_from_slice(bytes);
        }
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        let Some(out) = &mut self.out else { return };
        debug_assert!(!text.contains(&b'\n'), "a reply line holds no line break");
        out.push(kind);
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    fn header(&mut self, kind: u8, value: i64) {
        if let Some(out) = &mut self.out {
            Self::put_header(out, kind, value);
        }
    }

    fn put_header(out: &mut Vec<u8>, kind: u8, value: i64) {
        out.push(kind);
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// A length as the protocol writes it.
fn len(count: usize) -> i64 {
    i64::try_from(count).expect("a buffer in memory is shorter than 2^63 bytes")
}

/// Appends `args` as the array of bulk strings in which clients send commands.
pub fn command<'a, I>(out: &mut Vec<u8>, args: I)
where
    I: IntoIterator<Item = &'a [u8], IntoIter: ExactSizeIterator>,
{
    let args = args.into_iter();
    let mut writer = ReplyWriter::new(out, Protocol::Resp2);
    writer.array(args.len());
    for arg in args {
        writer.bulk(arg);
    }
}
