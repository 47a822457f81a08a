//! The first words on a connection: who calls, whom it wants, and why it may be sent away.
//!
//! Owns: [`Hello`], [`Welcome`], [`Refusal`] and their bytes. Never: I/O; who decides is
//! [`Hello::check`], who acts on it is the server. The layout of magic, version and refusal never
//! changes, so that any two versions can tell each other that they do not match.
//!
//! INV-NET6: frames pass only between nodes of one protocol version and, once both belong to a
//! cluster, of one cluster; and only to the node that was meant.

use std::fmt;

use keystead_types::NodeId;
use thiserror::Error;

use super::wire::{DecodeError, Reader, put_bytes, put_varint};

/// Version of everything between nodes: frames, messages, calls.
pub const PROTOCOL_VERSION: u32 = 3;
/// Longest frame that is read from a stranger, bytes: a hello with its address fits easily.
pub const HELLO_BYTES_MAX: usize = 1024;
/// Longest peer address, bytes: a host name has at most 253, then a colon and a port.
const ADDRESS_BYTES_MAX: usize = 260;

const MAGIC: [u8; 4] = *b"KSTD";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Frames from the caller, for as long as both live.
    Link,
    /// Requests of the control plane and their replies, one at a time.
    Call,
}

/// What a caller says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What the connection is for.
    pub purpose: Purpose,
    /// The caller's cluster, 0 if it has none yet.
    pub cluster: u64,
    /// The caller; [`NodeId::NONE`] if it is no node (a tool).
    pub sender: NodeId,
    /// Whom it wants; [`NodeId::NONE`] for whoever answers.
    pub receiver: NodeId,
    /// Where the caller can be called, `host:port`; empty if nowhere.
    pub address: String,
}

/// What the called node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Its cluster, 0 if it has none yet.
    pub cluster: u64,
    /// Who it is.
    pub node: NodeId,
}

/// Why a connection was not accepted. Nothing sent on it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another protocol.
    #[error(
        "the caller speaks version {theirs} of the protocol between nodes, the called node {ours}; run versions that match"
    )]
    Version {
        /// The caller's.
        theirs: u32,
        /// The called node's.
        ours: u32,
    },
    /// Another cluster.
    #[error(
        "the caller belongs to cluster {theirs:016x}, the called node to {ours:016x}; check the addresses it was given to join"
    )]
    Cluster {
        /// The caller's.
        theirs: u64,
        /// The called node's.
        ours: u64,
    },
    /// Another node lives at this address now.
    #[error("node {wanted} was called, but this address belongs to {actual}")]
    Receiver {
        /// Whom the caller wanted.
        wanted: NodeId,
        /// Who answered.
        actual: NodeId,
    },
    /// A node called itself, or two nodes carry one id.
    #[error(
        "the caller has the id of the called node, {node}; a data directory may have been copied, start the copy with an empty one"
    )]
    Itself {
        /// The id of both.
        node: NodeId,
    },
    /// A later version's reason.
    #[error("the called node refused for reason {code}, which this version does not know")]
    Other {
        /// Its number.
        code: u64,
    },
}

impl Hello {
    /// Appends the payload of a hello frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        put_varint(out, u64::from(PROTOCOL_VERSION));
        out.push(match self.purpose {
            Purpose::Link => 1,
            Purpose::Call => 2,
        });
        put_varint(out, self.cluster);
        put_varint(out, self.sender.0);
        put_varint(out, self.receiver.0);
        put_bytes(out, self.address.as_bytes());
    }

    /// Reads a hello. The outer error means that it is none, the inner that it is one of another
    /// version.
    ///
    /// # Errors
    /// [`DecodeError`] if a stranger is at the other end, [`Refusal::Version`] if it is a node.
    pub fn decode(payload: &[u8]) -> Result<Result<Self, Refusal>, DecodeError> {
        let mut reader = Reader::new(payload);
        for expected in MAGIC {
            let offset = reader.offset();
            let value = reader.u8("magic")?;
            if value != expected {
                return Err(DecodeError::Refused { field: "magic", value: value.into(), offset });
            }
        }
        let theirs = reader.varint_u32("protocol version")?;
        if theirs != PROTOCOL_VERSION {
            return Ok(Err(Refusal::Version { theirs, ours: PROTOCOL_VERSION }));
        }
        let offset = reader.offset();
        let purpose = match reader.u8("purpose")? {
            1 => Purpose::Link,
            2 => Purpose::Call,
            other => {
                let (field, value) = ("purpose", u64::from(other));
                return Err(DecodeError::Refused { field, value, offset });
            }
        };
        let cluster = reader.varint("cluster")?;
        let offset = reader.offset();
        let sender = NodeId(reader.varint("sender")?);
        if purpose == Purpose::Link && sender == NodeId::NONE {
            // Frames from nobody would be answered to nobody.
            return Err(DecodeError::Refused { field: "sender", value: 0, offset });
        }
        let receiver = NodeId(reader.varint("receiver")?);
        let address = read_address(&mut reader)?;
        reader.finish()?;
        Ok(Ok(Self { purpose, cluster, sender, receiver, address }))
    }

    /// Decides whether the node that is `ours` takes this caller.
    ///
    /// # Errors
    /// [`Refusal`] if it does not.
    pub fn check(&self, ours: &Welcome) -> Result<(), Refusal> {
        if self.cluster != 0 && ours.cluster != 0 && self.cluster != ours.cluster {
            return Err(Refusal::Cluster { theirs: self.cluster, ours: ours.cluster });
        }
        if self.receiver != NodeId::NONE && self.receiver != ours.node {
            return Err(Refusal::Receiver { wanted: self.receiver, actual: ours.node });
        }
        // A call may come from the node itself: it asks every address it was told to join.
        if self.purpose == Purpose::Link && self.sender == ours.node {
            return Err(Refusal::Itself { node: ours.node });
        }
        Ok(())
    }
}

fn read_address(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let (field, offset) = ("address", reader.offset());
    let bytes = reader.bytes(field)?;
    if bytes.len() > ADDRESS_BYTES_MAX {
        return Err(DecodeError::TooLarge { field, offset });
    }
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.chars().all(is_printable));
    text.map(str::to_owned).ok_or(DecodeError::Refused { field, value: 0, offset })
}

/// Addresses end up in logs; nothing in them may steer a terminal.
const fn is_printable(c: char) -> bool {
    c.is_ascii_graphic()
}

impl Welcome {
    /// Appends the payload of a welcome frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.cluster);
        put_varint(out, self.node.0);
    }

    /// Reads a welcome.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let welcome =
            Self { cluster: reader.varint("cluster")?, node: NodeId(reader.varint("node")?) };
        reader.finish()?;
        Ok(welcome)
    }
}

impl Refusal {
    /// Appends the payload of a refusal: a code and two numbers, in every version.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (code, first, second) = match *self {
            Self::Version { theirs, ours } => (1, theirs.into(), ours.into()),
            Self::Cluster { theirs, ours } => (2, theirs, ours),
            Self::Receiver { wanted, actual } => (3, wanted.0, actual.0),
            Self::Itself { node } => (4, node.0, 0),
            Self::Other { code } => (code, 0, 0),
        };
        for number in [code, first, second] {
            put_varint(out, number);
        }
    }

    /// Reads a refusal.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let code = reader.varint("refusal")?;
        let offset = reader.offset();
        let (first, second) = (reader.varint("refusal")?, reader.varint("refusal")?);
        let version = |number| {
            u32::try_from(number).map_err(|_| DecodeError::TooLarge { field: "version", offset })
        };
        Ok(match code {
            1 => Self::Version { theirs: version(first)?, ours: version(second)? },
            2 => Self::Cluster { theirs: first, ours: second },
            3 => Self::Receiver { wanted: NodeId(first), actual: NodeId(second) },
            4 => Self::Itself { node: NodeId(first) },
            code => Self::Other { code },
        })
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link => "link",
            Self::Call => "call",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello() -> Hello {
        Hello {
            purpose: Purpose::Link,
            cluster: 7,
            sender: NodeId(1),
            receiver: NodeId(2),
            address: "db-1.example:17379".to_owned(),
        }
    }

    fn encoded(hello: &Hello) -> Vec<u8> {
        let mut out = Vec::new();
        hello.encode(&mut out);
        out
    }

    const OURS: Welcome = Welcome { cluster: 7, node: NodeId(2) };

    proptest! {
        #[test]
        fn a_hello_comes_back_as_it_was(
            cluster: u64, sender in 1..u64::MAX, receiver: u64, is_call: bool,
        ) {
            let purpose = if is_call { Purpose::Call } else { Purpose::Link };
            let (sender, receiver) = (NodeId(sender), NodeId(receiver));
            let hello = Hello { purpose, cluster, sender, receiver, ..hello() };
            prop_assert_eq!(Hello::decode(&encoded(&hello)), Ok(Ok(hello)));
        }

        #[test]
        fn any_bytes_at_all_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut spoken = MAGIC.to_vec();
            spoken.push(1);
            spoken.extend(&bytes);
            drop((Hello::decode(&bytes), Hello::decode(&spoken)));
            prop_assert!(Welcome::decode(&bytes).is_ok() || Refusal::decode(&[]).is_err());
            if let Ok(refusal) = Refusal::decode(&bytes) {
                prop_assert!(!refusal.to_string().is_empty());
            }
        }
    }

    #[test]
    fn a_refusal_comes_back_as_it_was() {
        for refusal in [
            Refusal::Version { theirs: 2, ours: 1 },
            Refusal::Cluster { theirs: u64::MAX, ours: 1 },
            Refusal::Receiver { wanted: NodeId(1), actual: NodeId(2) },
            Refusal::Itself { node: NodeId(3) },
            Refusal::Other { code: 99 },
        ] {
            let mut out = Vec::new();
            refusal.encode(&mut out);
            assert_eq!(Refusal::decode(&out), Ok(refusal));
        }
    }

    #[test]
    fn another_version_is_told_so_and_a_stranger_is_not_a_node() {
        let mut bytes = encoded(&hello());
        bytes[4] = 9;
        assert_eq!(
            Hello::decode(&bytes),
            Ok(Err(Refusal::Version { theirs: 9, ours: PROTOCOL_VERSION }))
        );
        bytes[0] = b'G';
        assert!(matches!(Hello::decode(&bytes), Err(DecodeError::Refused { field: "magic", .. })));
    }

    #[test]
    fn a_link_from_nobody_is_refused_a_call_is_not() {
        let link = Hello { sender: NodeId::NONE, ..hello() };
        assert!(matches!(
            Hello::decode(&encoded(&link)),
            Err(DecodeError::Refused { field: "sender", .. })
        ));
        let call = Hello { purpose: Purpose::Call, ..link };
        assert_eq!(Hello::decode(&encoded(&call)), Ok(Ok(call)));
    }

    #[test]
    fn an_address_cannot_carry_control_characters() {
        let hello = Hello { address: "a\x1b[2J:1".to_owned(), ..hello() };
        assert!(Hello::decode(&encoded(&hello)).is_err());
    }

    // INV-NET6
    #[test]
    fn who_is_taken() {
        assert_eq!(hello().check(&OURS), Ok(()));
        assert_eq!(Hello { cluster: 0, ..hello() }.check(&OURS), Ok(()));
        assert_eq!(hello().check(&Welcome { cluster: 0, ..OURS }), Ok(()));
        assert_eq!(Hello { receiver: NodeId::NONE, ..hello() }.check(&OURS), Ok(()));
        let other = Hello { cluster: 8, ..hello() };
        assert_eq!(other.check(&OURS), Err(Refusal::Cluster { theirs: 8, ours: 7 }));
        let stranger = Hello { receiver: NodeId(3), ..hello() };
        let refusal = Refusal::Receiver { wanted: NodeId(3), actual: NodeId(2) };
        assert_eq!(stranger.check(&OURS), Err(refusal));
        let mirror = Hello { sender: NodeId(2), ..hello() };
        assert_eq!(mirror.check(&OURS), Err(Refusal::Itself { node: NodeId(2) }));
        assert_eq!(Hello { purpose: Purpose::Call, ..mirror }.check(&OURS), Ok(()));
    }
}
