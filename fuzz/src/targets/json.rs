//! JSON commands: text, paths and patterns of any bytes, against documents.
//!
//! Two stores come to the same state and give the same replies (INV-R1); what one holds is read back from its text and
//! from its DUMP as the same document; its size is the sum of its parts (INV-JSON3, asserted when a digest is taken).

use keystead_store::{Store, StoreConfig};

use super::payloads::{bulk, call};
use crate::input::Input;

const CONFIG: StoreConfig = StoreConfig { hash_seed: 42, has_every_slot: true };
/// Commands of one run.
const COMMANDS_MAX: usize = 30;

/// Commands behind the key and the path, and how many values they take.
const COMMANDS: [(&[u8], usize); 21] = [
    (b"JSON.SET", 1),
    (b"JSON.SET", 1),
    (b"JSON.MERGE", 1),
    (b"JSON.GET", 0),
    (b"JSON.DEL", 0),
    (b"JSON.CLEAR", 0),
    (b"JSON.NUMINCRBY", 1),
    (b"JSON.NUMMULTBY", 1),
    (b"JSON.NUMPOWBY", 1),
    (b"JSON.STRAPPEND", 1),
    (b"JSON.TOGGLE", 0),
    (b"JSON.ARRAPPEND", 2),
    (b"JSON.ARRINSERT", 2),
    (b"JSON.ARRINDEX", 1),
    (b"JSON.ARRPOP", 1),
    (b"JSON.ARRTRIM", 2),
    (b"JSON.ARRLEN", 0),
    (b"JSON.OBJKEYS", 0),
    (b"JSON.TYPE", 0),
    (b"JSON.RESP", 0),
    (b"JSON.STRLEN", 0),
];
const PATHS: [&[u8]; 26] = [
    b"$",
    b".",
    b"$.a",
    b"$.b",
    b"a.b",
    b"$..a",
    b"$..*",
    b"..b",
    b"$.*",
    b"$[*]",
    b"$[0]",
    b"$[-1]",
    b"$[1:]",
    b"$[::-1]",
    b"$[0,0,1]",
    b"$['a','b']",
    b"$.a[?(@.b>1)]",
    b"$..[?(@.a==1||@.b!=\"x\")]",
    b"$..[?(!@.a && $.b)]",
    b"$.a[?(@ =~ 'a.*b')]",
    b"$..[?(@.s =~ $.p)].s",
    b"$.a[?(@ in [1,2,{\"a\":1}])]",
    b"$..*..*",
    b"$..[?(length(@.s)==2 || count(@.*)>1)]",
    b"$..[?match(@.s,'a|ab') && value(@.a)!=1]",
    b"$..a..b[0].c",
];
const VALUES: [&[u8]; 22] = [
    b"null",
    b"true",
    b"0",
    b"1",
    b"-1",
    b"2.5",
    b"1e300",
    b"18446744073709551615",
    b"9223372036854775807",
    b"\"x\"",
    b"\"(?i)^[a-z]+$\"",
    b"\"a text that is longer than fits beside a tag\"",
    b"\"\\ud83d\\ude00\\u0000\"",
    b"[]",
    b"{}",
    b"[1,2,3]",
    b"[[1],[2,[3]]]",
    b"{\"a\":1,\"b\":{\"a\":2}}",
    b"{\"a\":{\"a\":{\"a\":[]}},\"s\":\"ab\",\"p\":\"a.\"}",
    b"{\"a\":null}",
    b"{\"a\":1,\"a\":2}",
    b"{\"0\":0,\"1\":1,\"2\":2,\"3\":3,\"4\":4,\"5\":5,\"6\":6,\"7\":7,\"8\":8,\"9\":9,\"a\":10,\"b\":11,\"c\":12,\"d\":13,\"e\":14,\"f\":15,\"g\":16,\"h\":17}",
];

/// Applies what the bytes say.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (mut one, mut other) = (Store::new(CONFIG), Store::new(CONFIG));
    for _ in 0..COMMANDS_MAX {
        if input.is_empty() {
            break;
        }
        let (name, values) = input.one_of(&COMMANDS);
        let path = part(&mut input, &PATHS);
        let mut command = vec![name, b"k", path];
        command.extend((0..values).map(|_| part(&mut input, &VALUES)));
        let reply = call(&mut one, &command);
        assert_eq!(
            reply,
            call(&mut other, &command),
            "INV-R1: {}",
            command.concat().escape_ascii()
        );
    }
    assert_eq!(one.digest(), other.digest(), "INV-R1: two stores part ways");
    if one.key_count() == 0 {
        return;
    }
    let text = bulk(&call(&mut one, &[b"JSON.GET", b"k", b"."]));
    let text = text.expect("a document is printed");
    let mut from_text = Store::new(CONFIG);
    let reply = call(&mut from_text, &[b"JSON.SET", b"k", b".", &text]);
    assert_eq!(reply, b"+OK\r\n", "what was printed can be read");
    assert_eq!(from_text.digest(), one.digest(), "text is read back: {}", text.escape_ascii());
    let dumped = bulk(&call(&mut one, &[b"DUMP", b"k"])).expect("a document is dumped");
    let mut restored = Store::new(CONFIG);
    assert_eq!(call(&mut restored, &[b"RESTORE", b"k", b"0", &dumped]), b"+OK\r\n");
    assert_eq!(restored.digest(), one.digest(), "DUMP and RESTORE change a document");
}

/// One of what is known to mean something, or any bytes.
fn part<'a>(input: &mut Input<'a>, known: &[&'a [u8]]) -> &'a [u8] {
    if input.u8().is_multiple_of(4) { input.piece(60) } else { input.one_of(known) }
}

/// Walks through the commands, and bytes that stand for paths and values of any sort.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let walk = |step: u8| (0..400_u16).map(|n| n.to_le_bytes()[0].wrapping_mul(step)).collect();
    let mut seeds: Vec<Vec<u8>> = [1, 3, 5, 37, 101, 201, 251].map(walk).to_vec();
    for text in [&b"{\"a\":[1,2.5,\"x\\n\"],\"b\":{}}"[..], b"[[[[[[]]]]]]", b"\"\\ud800\""] {
        // JSON.SET, the root, then these bytes as the value.
        let len = u16::try_from(text.len()).unwrap_or(0).to_le_bytes();
        seeds.push([&[0, 0, 1, 0, 0, 0][..], &len, text, &[3, 0, 1, 6, 0]].concat());
    }
    for path in [
        &b"$[?(@.a=='x' && (!@.b || @.c=~\"(a|b)*c\"))]"[..],
        b"$..[-1:0:-2]['a',*]",
        b"a[\"\\u00e9\"]",
    ] {
        let len = u16::try_from(path.len()).unwrap_or(0).to_le_bytes();
        let document = [0, 0, 1, 0, 0, 1, 18, 0];
        seeds.push([&document[..], &[3, 0, 0], &len, path].concat());
    }
    seeds
}
