//! What the reply decoder promises: every kind of reply, any split, bounded memory, no panic.

use keystead_resp::{
    Protocol, ReplyDecoder, ReplyError, ReplyLimits, ReplyWriter, Value, skip_reply,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn decode(bytes: &[u8]) -> Result<Option<(Value, usize)>, ReplyError> {
    ReplyDecoder::new(ReplyLimits::default()).decode(bytes)
}

fn value(bytes: &[u8]) -> Value {
    let (value, length) = decode(bytes).expect("well formed").expect("complete");
    assert_eq!(length, bytes.len(), "{}", bytes.escape_ascii());
    assert_eq!(skip_reply(bytes), Ok(Some(length)));
    for end in 0..bytes.len() {
        assert_eq!(decode(&bytes[..end]), Ok(None), "{}", bytes[..end].escape_ascii());
    }
    value
}

#[test]
fn every_kind_of_reply_is_decoded() {
    let bulk = |text: &str| Value::Bulk(text.into());
    assert_eq!(value(b"+OK\r\n"), Value::Simple("OK".into()));
    assert_eq!(value(b"-ERR no\r\n"), Value::Error("ERR no".into()));
    assert_eq!(value(b"!6\r\nERR no\r\n"), Value::Error("ERR no".into()));
    assert_eq!(value(b":-42\r\n"), Value::Integer(-42));
    assert_eq!(value(b"$3\r\na\r\n\r\n"), bulk("a\r\n"));
    for null in ["$-1\r\n", "*-1\r\n", "_\r\n"] {
        assert_eq!(value(null.as_bytes()), Value::Null);
    }
    assert_eq!(value(b"*0\r\n"), Value::Array(vec![]));
    assert_eq!(
        value(b"*2\r\n*1\r\n:1\r\n$-1\r\n"),
        Value::Array(vec![Value::Array(vec![Value::Integer(1)]), Value::Null])
    );
    assert_eq!(
        value(b"%1\r\n+a\r\n:1\r\n"),
        Value::Map(vec![(Value::Simple("a".into()), Value::Integer(1))])
    );
    assert_eq!(value(b"~1\r\n#t\r\n"), Value::Set(vec![Value::Boolean(true)]));
    assert_eq!(value(b">1\r\n#f\r\n"), Value::Push(vec![Value::Boolean(false)]));
    assert_eq!(value(b",1.5e3\r\n"), Value::Double(1500.0));
    assert_eq!(value(b",-inf\r\n"), Value::Double(f64::NEG_INFINITY));
    assert_eq!(
        value(b"(-123456789012345678901\r\n"),
        Value::BigNumber("-123456789012345678901".into())
    );
    assert_eq!(
        value(b"=6\r\ntxt:hi\r\n"),
        Value::Verbatim { format: *b"txt", text: b"hi".to_vec() }
    );
    assert_eq!(
        value(b"*1\r\n|1\r\n+ttl\r\n:9\r\n$1\r\nv\r\n"),
        Value::Array(vec![Value::Attribute {
            attributes: vec![(Value::Simple("ttl".into()), Value::Integer(9))],
            value: Box::new(bulk("v")),
        }])
    );
}

#[test]
fn malformed_replies_are_named_with_their_place() {
    let cases: &[(&[u8], ReplyError)] = &[
        (b"HTTP/1.1 400\r\n", ReplyError::Kind { found: b'H', offset: 0 }),
        (b"*1\r\nx\r\n", ReplyError::Kind { found: b'x', offset: 4 }),
        (b"+OK\rx", ReplyError::Line { offset: 0, bytes_max: 65536 }),
        (b":\r\n", ReplyError::Number { offset: 0 }),
        (b":1x\r\n", ReplyError::Number { offset: 0 }),
        (b"#x\r\n", ReplyError::Number { offset: 0 }),
        (b"(1.5\r\n", ReplyError::Number { offset: 0 }),
        (b"$-2\r\n", ReplyError::Number { offset: 0 }),
        (b"$+1\r\n", ReplyError::Number { offset: 0 }),
        (b"%-1\r\n", ReplyError::Number { offset: 0 }),
        (b"*99999999999\r\n", ReplyError::Number { offset: 0 }),
        (b"$1\r\nabc", ReplyError::Bulk { offset: 0 }),
        (b"=3\r\ntxt\r\n", ReplyError::Bulk { offset: 0 }),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode(bytes), Err(*error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn bounds_hold_before_the_bytes_arrive() {
    let limits =
        ReplyLimits { bulk_bytes_max: 10, reply_bytes_max: 30, values_max: 5, depth_max: 2 };
    let fault = |bytes: &[u8]| ReplyDecoder::new(limits).decode(bytes).unwrap_err();
    assert_eq!(fault(b"$11\r\n"), ReplyError::TooLong { bytes_max: 10 });
    assert_eq!(fault(b"*3\r\n$9\r\n123456789\r\n$9\r\n"), ReplyError::TooLong { bytes_max: 30 });
    assert_eq!(fault(b"*5\r\n"), ReplyError::TooMany { values_max: 5 });
    assert_eq!(fault(b"*1\r\n*1\r\n*1\r\n:1\r\n"), ReplyError::TooDeep { depth_max: 2 });
    assert_eq!(decode(&b"*1\r\n".repeat(100)), Ok(None));
    let nested = [b"*1\r\n".repeat(100_000), b":1\r\n".to_vec()].concat();
    assert_eq!(decode(&nested), Err(ReplyError::TooDeep { depth_max: 64 }));
    assert!(matches!(decode(&[b'+'; 70_000]), Err(ReplyError::Line { .. })));
}

/// Any value that [`write`] can write.
fn any_value() -> impl Strategy<Value = Value> {
    let text = "[ -~]{0,12}";
    let leaf = prop_oneof![
        text.prop_map(Value::Simple),
        text.prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        vec(any::<u8>(), 0..24).prop_map(Value::Bulk),
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        (-1e300..1e300).prop_map(Value::Double),
        "-?[0-9]{1,40}".prop_map(Value::BigNumber),
        text.prop_map(|text| Value::Verbatim { format: *b"txt", text: text.into_bytes() }),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let pairs = vec((inner.clone(), inner.clone()), 0..4);
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            vec(inner.clone(), 0..5).prop_map(Value::Set),
            vec(inner.clone(), 0..5).prop_map(Value::Push),
            pairs.clone().prop_map(Value::Map),
            (pairs, inner).prop_map(|(attributes, value)| Value::Attribute {
                attributes,
                value: Box::new(value)
            }),
        ]
    })
}

fn write(writer: &mut ReplyWriter<'_>, value: &Value) {
    let write_all = |writer: &mut ReplyWriter<'_>, values: &[Value]| {
        values.iter().for_each(|value| write(writer, value));
    };
    match value {
        Value::Simple(text) => writer.simple(text),
        Value::Error(text) => writer.error(text),
        Value::Integer(number) => writer.integer(*number),
        Value::Bulk(bytes) => writer.bulk(bytes),
        Value::Null => writer.null(),
        Value::Boolean(claim) => writer.boolean(*claim),
        Value::Double(number) => writer.double_text(&format!("{number:?}")),
        Value::BigNumber(digits) => writer.raw(format!("({digits}\r\n").as_bytes()),
        Value::Verbatim { text, .. } => {
            writer.verbatim(std::str::from_utf8(text).expect("made of text"))
        }
        Value::Array(values) => {
            writer.array(values.len());
            write_all(writer, values);
        }
        Value::Set(values) => {
            writer.set(values.len());
            write_all(writer, values);
        }
        Value::Push(values) => {
            writer.push(values.len());
            write_all(writer, values);
        }
        Value::Map(pairs) => {
            writer.map(pairs.len());
            write_pairs(writer, pairs);
        }
        Value::Attribute { attributes, value } => {
            writer.raw(format!("|{}\r\n", attributes.len()).as_bytes());
            write_pairs(writer, attributes);
            write(writer, value);
        }
    }
}

fn write_pairs(writer: &mut ReplyWriter<'_>, pairs: &[(Value, Value)]) {
    for (key, value) in pairs {
        write(writer, key);
        write(writer, value);
    }
}

/// Feeds `stream` in pieces that end at `cuts`.
fn hear(stream: &[u8], cuts: &[usize]) -> (Vec<Value>, Option<ReplyError>) {
    let limits = ReplyLimits { bulk_bytes_max: 64, values_max: 100, ..ReplyLimits::default() };
    let mut decoder = ReplyDecoder::new(limits);
    let mut values = Vec::new();
    let mut start = 0;
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    for end in ends {
        loop {
            match decoder.decode(&stream[start..end.max(start)]) {
                Ok(Some((value, length))) => {
                    values.push(value);
                    start += length;
                }
                Ok(None) => break,
                Err(error) => return (values, Some(error)),
            }
        }
    }
    (values, None)
}

fn reply_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "*2\r\n",
            "%1\r\n",
            "|1\r\n",
            "~0\r\n",
            "$3\r\nabc\r\n",
            "$-1\r\n",
            "+OK\r\n"
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
        vec(prop::sample::select(b"+-:$*_#,(!=%~>|0123456789\r\n".to_vec()), 0..10),
        vec(any::<u8>(), 0..5),
    ];
    vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn encode_then_decode_is_identity(sent in vec(any_value(), 0..4), cuts in vec(any::<usize>(), 0..8)) {
        let mut stream = Vec::new();
        for value in &sent {
            let start = stream.len();
            write(&mut ReplyWriter::new(&mut stream, Protocol::Resp3), value);
            prop_assert_eq!(skip_reply(&stream[start..]), Ok(Some(stream.len() - start)));
        }
        let (values, error) = hear(&stream, &cuts);
        prop_assert_eq!(error, None);
        prop_assert_eq!(values, sent);
    }

    #[test]
    fn any_byte_split_decodes_alike(stream in reply_like(), cuts in vec(any::<usize>(), 0..10)) {
        let every_byte: Vec<usize> = (0..stream.len()).collect();
        let whole = hear(&stream, &[]);
        prop_assert_eq!(format!("{whole:?}"), format!("{:?}", hear(&stream, &cuts)));
        prop_assert_eq!(format!("{whole:?}"), format!("{:?}", hear(&stream, &every_byte)));
    }

    #[test]
    fn arbitrary_bytes_never_panic(stream in vec(any::<u8>(), 0..200)) {
        let (values, _) = hear(&stream, &[]);
        prop_assert!(values.len() <= stream.len());
        if let Ok(Some(length)) = skip_reply(&stream) {
            prop_assert!(length <= stream.len());
        }
    }
}
