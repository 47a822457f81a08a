//! Replies as a client reads them, in any split, and as the server writes them.
//!
//! The whole buffer and the same bytes in pieces give the same values and the same error; what skips replies
//! without building them (INV-P5) agrees about where they end. What [`ReplyWriter`] wrote is read.

use keystead_resp::{
    Protocol, ReplyDecoder, ReplyError, ReplyLimits, ReplyWriter, Value, skip_reply,
};

use crate::input::{Input, Splits};

/// See the module. The first byte decides whether the bytes are replies or say which replies to write.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (choice, seed) = (input.u8(), input.u64());
    if choice & 1 == 0 {
        any_stream(input.rest(), seed, limits(choice));
    } else {
        let protocol = if choice & 2 == 0 { Protocol::Resp2 } else { Protocol::Resp3 };
        written(&mut input, seed, protocol);
    }
}

fn limits(choice: u8) -> ReplyLimits {
    if choice & 4 == 0 {
        return ReplyLimits::default();
    }
    ReplyLimits { bulk_bytes_max: 32, reply_bytes_max: 200, values_max: 20, depth_max: 3 }
}

fn any_stream(stream: &[u8], seed: u64, limits: ReplyLimits) {
    let whole = decode(stream, limits, || stream.len().max(1));
    let mut splits = Splits::new(seed);
    let pieces = decode(stream, limits, || splits.next());
    // Not by `==`: a double may be no number, which equals nothing.
    let shown = |decoded: &Decoded| format!("{:?}", decoded.0);
    assert_eq!(shown(&whole), shown(&pieces), "replies depend on how they are split");
    // Which error may depend: what is too long is refused before its end, and what is wrong there, has come.
    let is_too_long = |error: Option<ReplyError>| matches!(error, Some(ReplyError::TooLong { .. }));
    let is_alike = whole.1 == pieces.1 || whole.1.is_some() && is_too_long(pieces.1);
    assert!(is_alike, "errors depend on the split: {:?} {:?}", whole.1, pieces.1);
    let mut rest = stream;
    for (_, length) in &whole.0 {
        assert_eq!(skip_reply(rest), Ok(Some(*length)), "at {}", rest.escape_ascii());
        rest = &rest[*length..];
    }
}

type Decoded = (Vec<(Value, usize)>, Option<ReplyError>);

fn decode(stream: &[u8], limits: ReplyLimits, mut next_read: impl FnMut() -> usize) -> Decoded {
    let (mut decoder, mut values) = (ReplyDecoder::new(limits), Vec::new());
    let (mut from, mut to) = (0, 0);
    loop {
        match decoder.decode(&stream[from..to]) {
            Err(error) => return (values, Some(error)),
            Ok(Some((value, length))) => {
                assert!(0 < length && length <= to - from, "a reply of {length} bytes");
                values.push((value, length));
                from += length;
            }
            Ok(None) if to == stream.len() => return (values, None),
            Ok(None) => to = (to + next_read()).min(stream.len()),
        }
    }
}

fn written(input: &mut Input<'_>, seed: u64, protocol: Protocol) {
    let mut out = Vec::new();
    let mut writer = ReplyWriter::new(&mut out, protocol);
    let mut count = 0;
    while !input.is_empty() && count < 16 {
        write_one(input, &mut writer, 0);
        count += 1;
    }
    let mut splits = Splits::new(seed);
    let (values, error) = decode(&out, ReplyLimits::default(), || splits.next());
    assert_eq!(
        error,
        None,
        "the server writes what its client cannot read: {}",
        out.escape_ascii()
    );
    assert_eq!(values.len(), count, "replies in {}", out.escape_ascii());
    let bytes: usize = values.iter().map(|(_, length)| length).sum();
    assert_eq!(bytes, out.len(), "something behind the last reply");
}

fn write_one(input: &mut Input<'_>, writer: &mut ReplyWriter<'_>, depth: usize) {
    let text = |piece: &[u8]| {
        let letters = piece.iter().map(|byte| char::from(b' ' + byte % 95));
        letters.collect::<String>()
    };
    match input.u8() % if depth < 6 { 14 } else { 9 } {
        0 => writer.ok(),
        1 => writer.simple(&text(input.piece(20))),
        2 => writer.error(String::from_utf8_lossy(input.piece(20))),
        3 => writer.integer(i64::from_le_bytes(input.u64().to_le_bytes())),
        4 => writer.bulk(input.piece(40)),
        5 => writer.null(),
        6 => writer.null_array(),
        7 => writer.boolean(input.u8() & 1 == 1),
        8 => writer.verbatim(&text(input.piece(20))),
        9 => writer.double_text(input.one_of(&["1.5", "-0", "inf", "-inf", "3e+100", "17"])),
        10 => {
            let count = input.below(4);
            writer.array(count);
            (0..count).for_each(|_| write_one(input, writer, depth + 1));
        }
        11 => {
            let pairs = input.below(3);
            writer.map(pairs);
            (0..2 * pairs).for_each(|_| write_one(input, writer, depth + 1));
        }
        12 => {
            let count = input.below(4);
            writer.set(count);
            (0..count).for_each(|_| write_one(input, writer, depth + 1));
        }
        _ => writer.bulk_integer(i64::from_le_bytes(input.u64().to_le_bytes())),
    }
}

/// Replies of both protocols.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let streams: [&[u8]; 6] = [
        b"+OK\r\n-ERR no\r\n:1\r\n$5\r\nvalue\r\n$-1\r\n*-1\r\n*2\r\n:1\r\n*0\r\n",
        b"%1\r\n+a\r\n~2\r\n:1\r\n:2\r\n_\r\n#t\r\n,1.5\r\n,nan\r\n(123456789012345678901234567890\r\n",
        b"=7\r\ntxt:abc\r\n!5\r\nERR x\r\n>2\r\n+a\r\n+b\r\n|1\r\n+k\r\n+v\r\n:7\r\n",
        b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
        b"*1000000000\r\n",
        b"$9999999999999999999\r\n",
    ];
    let mut seeds: Vec<Vec<u8>> = streams
        .iter()
        .flat_map(|stream| [0_u8, 4].map(|choice| [&[choice][..], &[9; 8], stream].concat()))
        .collect();
    seeds.extend([1_u8, 3].map(|choice| {
        let mut seed = vec![choice];
        seed.extend((0_u8..120).map(|number| number.wrapping_mul(37)));
        seed
    }));
    seeds
}
