//! What the project's own load generator says where redis-benchmark cannot: SET followed by WAIT,
//! and etcd's JSON gateway.
//! Owns: the bytes of a request and where a reply ends. Never: a socket (see `swarm`).

use crate::project::Outcome;
use crate::wire;

/// A protocol with one request and one reply at a time on each connection.
pub(super) trait Dialogue {
    /// Appends the next request.
    fn request(&mut self, out: &mut Vec<u8>);
    /// True if `input` is one complete reply that says the operation was done.
    fn is_done(&self, input: &[u8]) -> Outcome<bool>;
}

/// Numbers for keys: random ones below a count (a linear congruential generator is random enough to spread a load),
/// or one after the other.
enum Keys {
    Random { state: u64, count: u64 },
    Rising(u64),
}

impl Keys {
    fn new(count: u64) -> Self {
        Self::Random { state: 0x9e37_79b9_7f4a_7c15, count }
    }

    fn next(&mut self) -> String {
        let number = match self {
            Self::Random { state, count } => {
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (*state >> 20) % *count
            }
            Self::Rising(next) => {
                *next += 1;
                *next - 1
            }
        };
        format!("key:{number:012}")
    }
}

/// SET key value, then WAIT 1 0: done when the primary and one replica have it.
pub(super) struct WaitDialogue {
    keys: Keys,
    value: Vec<u8>,
}

impl WaitDialogue {
    pub(super) fn new(keys: u64, value_bytes: usize) -> Self {
        Self { keys: Keys::new(keys), value: vec![b'x'; value_bytes] }
    }
}

impl Dialogue for WaitDialogue {
    fn request(&mut self, out: &mut Vec<u8>) {
        wire::encode(&[b"SET", self.keys.next().as_bytes(), &self.value], out);
        wire::encode(&[b"WAIT", b"1", b"0"], out);
    }

    fn is_done(&self, input: &[u8]) -> Outcome<bool> {
        if input.iter().filter(|&&byte| byte == b'\n').count() < 2 {
            return Ok(false);
        }
        if input.starts_with(b"+OK\r\n:") && !input.ends_with(b":0\r\n") {
            return Ok(true);
        }
        Err(format!("SET and WAIT were answered {:?}", String::from_utf8_lossy(input)).into())
    }
}

/// A put or a linearizable range of one key.
pub(super) struct EtcdDialogue {
    keys: Keys,
    value: String,
    is_put: bool,
}

impl EtcdDialogue {
    pub(super) fn new(keys: u64, value_bytes: usize, is_put: bool) -> Self {
        Self { keys: Keys::new(keys), value: base64(&vec![b'x'; value_bytes]), is_put }
    }

    /// Puts of every key, one after the other.
    pub(super) fn filling(value_bytes: usize) -> Self {
        Self { keys: Keys::Rising(0), ..Self::new(1, value_bytes, true) }
    }

    /// Reads of one key.
    pub(super) fn reading(number: u64) -> Self {
        Self { keys: Keys::Rising(number), ..Self::new(1, 0, false) }
    }
}

impl Dialogue for EtcdDialogue {
    fn request(&mut self, out: &mut Vec<u8>) {
        let key = base64(self.keys.next().as_bytes());
        let (path, body) = if self.is_put {
            ("put", format!("{{\"key\":\"{key}\",\"value\":\"{}\"}}", self.value))
        } else {
            ("range", format!("{{\"key\":\"{key}\"}}"))
        };
        let length = body.len();
        let head = format!(
            "POST /v3/kv/{path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {length}\r\n\r\n"
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(body.as_bytes());
    }

    fn is_done(&self, input: &[u8]) -> Outcome<bool> {
        let Some(head_end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(false);
        };
        let head = String::from_utf8_lossy(&input[..head_end]).to_lowercase();
        if !head.starts_with("http/1.1 200") {
            return Err(format!("etcd answered {head}").into());
        }
        let body = &input[head_end + 4..];
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        match length {
            Some(length) => Ok(body.len() >= length.trim().parse::<usize>()?),
            None => Ok(body.ends_with(b"0\r\n\r\n")),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let joined = chunk.iter().fold(0u32, |joined, &byte| joined << 8 | u32::from(byte));
        let joined = joined << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let at = (joined >> (18 - 6 * place) & 63) as usize;
            text.push(if place <= chunk.len() { char::from(ALPHABET[at]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Dialogue, EtcdDialogue, WaitDialogue, base64};

    #[test]
    fn base64_pads_as_the_standard_says() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, encoded) in cases {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_reply_ends_where_its_protocol_says() {
        let wait = WaitDialogue::new(10, 1);
        assert!(!wait.is_done(b"+OK\r\n").expect("half a reply is no error"));
        assert!(wait.is_done(b"+OK\r\n:2\r\n").expect("a good reply"));
        assert!(wait.is_done(b"+OK\r\n:0\r\n").is_err());
        let etcd = EtcdDialogue::new(10, 1, true);
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert!(!etcd.is_done(&reply[..reply.len() - 1]).expect("half a reply is no error"));
        assert!(etcd.is_done(reply).expect("a good reply"));
    }
}
