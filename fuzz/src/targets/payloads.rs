//! Payloads of RESTORE, which clients bring from anywhere: refused, or a value whose own DUMP is the same value.

use keystead_store::{Store, StoreConfig};
use keystead_types::{ApplyContext, LogIndex, UnixMillis};

use crate::input::Input;

const CONFIG: StoreConfig = StoreConfig { hash_seed: 42, has_every_slot: true };
const CTX: ApplyContext = ApplyContext { index: LogIndex(1), now: UnixMillis(1_000_000), seed: 3 };

/// The first byte decides whether version and checksum are made right.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.u8();
    let mut payload = input.rest().to_vec();
    if choice & 1 == 1 {
        payload.extend_from_slice(&(10 + u16::from(choice & 2)).to_le_bytes());
        let checksum = crc64(&payload);
        payload.extend_from_slice(&checksum.to_le_bytes());
    }
    let mut store = Store::new(CONFIG);
    let reply = call(&mut store, &[b"RESTORE", b"k", b"0", &payload]);
    if reply != b"+OK\r\n" {
        assert!(reply.starts_with(b"-"), "{}", reply.escape_ascii());
        assert_eq!(store.key_count(), 0, "a refused payload left a key");
        return;
    }
    let Some(dumped) = bulk(&call(&mut store, &[b"DUMP", b"k"])) else {
        assert_eq!(store.key_count(), 0, "only a value that is empty by now leaves no key");
        return;
    };
    let mut other = Store::new(CONFIG);
    assert_eq!(call(&mut other, &[b"RESTORE", b"k", b"0", &dumped]), b"+OK\r\n", "of our own DUMP");
    assert_eq!(other.digest(), store.digest(), "DUMP and RESTORE change a value");
    let again = bulk(&call(&mut other, &[b"DUMP", b"k"]));
    assert_eq!(again, Some(dumped), "two dumps of one value");
}

pub(super) fn call(store: &mut Store, command: &[&[u8]]) -> Vec<u8> {
    let mut reply = Vec::new();
    let _outcome = super::commands::apply(store, &CTX, command, &mut reply);
    reply
}

/// The content of a bulk string; `None` for the absent value.
pub(super) fn bulk(reply: &[u8]) -> Option<Vec<u8>> {
    let head = reply.iter().position(|byte| *byte == b'\n')? + 1;
    let content = reply.get(head..reply.len().checked_sub(2)?)?;
    reply.starts_with(b"$").then(|| content.to_vec())
}

/// CRC-64 of Jones, bit by bit: slow, short, and not the product's own.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u64::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x95ac_9329_ac4b_c9b5 } else { crc >> 1 }
        })
    })
}

/// Values of every kind that is read.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mut store = Store::new(CONFIG);
    let setup: [&[&[u8]]; 4] = [
        &[b"SET", b"s", b"a string"],
        &[b"SET", b"n", b"-70000"],
        &[b"HSET", b"h", b"f", b"v", b"12", b"13"],
        &[b"HSET", b"x", b"f", b"v", b"g", b"w"],
    ];
    for command in setup {
        call(&mut store, command);
    }
    call(&mut store, &[b"HPEXPIRE", b"x", b"90", b"FIELDS", b"1", b"f"]);
    for line in [
        "RPUSH l one 2 -70000",
        "SADD i 1 2 -70000",
        "SADD m one two 3",
        "ZADD z 1 one -inf two 2.5 three",
        "XADD e 1-1 name value number -70000",
        "XADD e 1-2 name value number 12",
        "XADD e 2 other 1",
        "XDEL e 1-2",
        "XGROUP CREATE e g 0",
        "XREADGROUP GROUP g c STREAMS e >",
        "XGROUP CREATECONSUMER e g idle",
    ] {
        call(&mut store, &line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
    }
    let mut seeds: Vec<Vec<u8>> = [&b"s"[..], b"n", b"h", b"x", b"l", b"i", b"m", b"z", b"e"]
        .iter()
        .filter_map(|key| bulk(&call(&mut store, &[b"DUMP", key])))
        .flat_map(|dump| {
            let value = &dump[..dump.len() - 10];
            [[&[0][..], &dump].concat(), [&[1][..], value].concat()]
        })
        .collect();
    // A compressed string; a hash as a listpack.
    seeds.push(b"\x01\x00\xc3\x07\x0a\x00a\xe0\x00\x00\x00".to_vec());
    seeds.push(b"\x01\x10\x10\x10\x00\x00\x00\x02\x00\x81f\x02\x81v\x02\x0c\x01\xff".to_vec());
    seeds
}
