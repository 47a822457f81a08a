//! The list of pieces.
//! Owns: [`PIECES`], names, how many operations a call does. Never: what a piece does (see the files below).

mod log;
mod replication;
mod resp;
mod road;
mod store;

/// A piece of the product that runs by itself.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Its name, for the command line and for the stored counts.
    pub name: &'static str,
    /// What one operation is.
    pub about: &'static str,
    /// Operations done by one call.
    pub operations: u64,
    /// Calls of which instructions are counted: enough that what happens rarely (a table grows, a segment is full)
    /// happens, and few enough that valgrind is done within a second or two.
    pub calls_counted: u64,
    /// Makes the work: what it needs is built here, and not measured.
    pub make: fn() -> Box<dyn FnMut()>,
}

/// Every piece, in the order of the road a command takes.
pub const PIECES: &[Piece] = &[
    Piece {
        name: "decode_get",
        about: "a GET is decoded from a client's bytes",
        operations: 16,
        calls_counted: 500,
        make: resp::decode_get,
    },
    Piece {
        name: "decode_set",
        about: "a SET of 64 bytes is decoded from a client's bytes",
        operations: 16,
        calls_counted: 500,
        make: resp::decode_set,
    },
    Piece {
        name: "find_command",
        about: "a command's row is found by its name",
        operations: 8,
        calls_counted: 1000,
        make: store::find_command,
    },
    Piece {
        name: "slot_hash",
        about: "the slot of a key of 16 bytes",
        operations: 16,
        calls_counted: 1000,
        make: store::slot_hash,
    },
    Piece {
        name: "store_get",
        about: "GET of one of 20,000 keys, reply written",
        operations: 16,
        calls_counted: 500,
        make: store::get,
    },
    Piece {
        name: "store_set",
        about: "SET over one of 20,000 keys, reply written",
        operations: 16,
        calls_counted: 500,
        make: store::set,
    },
    Piece {
        name: "store_incr",
        about: "INCR of one of 1,000 counters, reply written",
        operations: 16,
        calls_counted: 500,
        make: store::incr,
    },
    Piece {
        name: "store_insert",
        about: "SET of a new key, tables growing from empty; emptied every 20,000",
        operations: 20_000,
        calls_counted: 2,
        make: store::insert,
    },
    Piece {
        name: "encode_reply",
        about: "a bulk reply of 64 bytes is written",
        operations: 16,
        calls_counted: 1000,
        make: resp::encode_reply,
    },
    Piece {
        name: "pack_entry",
        about: "a SET of 50 callers goes into one entry, is committed by a group of one and answered; nothing is applied",
        operations: 50,
        calls_counted: 200,
        make: replication::pack_entry,
    },
    Piece {
        name: "frame_batch",
        about: "a frame of 128 bytes for a peer is written and read again",
        operations: 16,
        calls_counted: 500,
        make: replication::frame_batch,
    },
    Piece {
        name: "log_append",
        about: "a record of 128 bytes joins a batch of 16 that is appended to a log in memory",
        operations: 16,
        calls_counted: 500,
        make: log::append,
    },
    Piece {
        name: "apply_run",
        about: "a SET of a run of 50 is decoded from an entry and applied, its reply written",
        operations: 50,
        calls_counted: 200,
        make: store::apply_run,
    },
    Piece {
        name: "road_get",
        about: "GET from a client's bytes to its reply on a node alone, everything but the socket",
        operations: 1,
        calls_counted: 4000,
        make: road::get,
    },
    Piece {
        name: "road_get_16",
        about: "the same, 16 in a pipeline",
        operations: 16,
        calls_counted: 400,
        make: road::get_16,
    },
    Piece {
        name: "road_set",
        about: "SET from a client's bytes to its reply on a node alone, everything but socket and disk",
        operations: 1,
        calls_counted: 2000,
        make: road::set,
    },
    Piece {
        name: "road_set_16",
        about: "the same, 16 in a pipeline",
        operations: 16,
        calls_counted: 400,
        make: road::set_16,
    },
];

/// The piece called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Piece> {
    PIECES.iter().find(|piece| piece.name == name)
}

/// Bytes of the values that pieces write.
const VALUE: [u8; 64] = [b'x'; 64];

/// The key of this number, as the load generators name it: 16 bytes.
fn key(number: u64) -> String {
    format!("key:{number:012}")
}

/// Numbers that jump about below `count`, the same ones every time.
struct Jumps {
    state: u64,
    count: u64,
}

impl Jumps {
    const fn new(count: u64) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, count }
    }

    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.state >> 33) % self.count
    }
}

/// Commands as a client sends them.
fn requests<'a>(commands: impl IntoIterator<Item = &'a [&'a [u8]]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for command in commands {
        keystead_resp::encode::command(&mut bytes, command.iter().copied());
    }
    bytes
}

/// `count` GETs of keys below `keys`.
fn gets(jumps: &mut Jumps, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        bytes.extend(requests([&[b"GET", key(jumps.next()).as_bytes()][..]]));
    }
    bytes
}

/// `count` SETs of keys below `keys`.
fn sets(jumps: &mut Jumps, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        bytes.extend(requests([&[b"SET", key(jumps.next()).as_bytes(), &VALUE][..]]));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::PIECES;

    #[test]
    fn every_piece_does_its_work_again_and_again() {
        for piece in PIECES {
            let mut work = (piece.make)();
            (0..3).for_each(|_| work());
        }
    }

    #[test]
    fn names_are_given_once() {
        let mut names: Vec<&str> = PIECES.iter().map(|piece| piece.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PIECES.len());
    }
}
