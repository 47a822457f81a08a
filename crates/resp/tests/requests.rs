//! What the request decoder promises: Redis's texts for every error, one canonical form, and the same
//! answer however the bytes are split over reads.

use keystead_resp::decode::is_cross_protocol;
use keystead_resp::{Decoder, Limits, ProtocolError, RequestKind, RunDecoder, encode};
use proptest::collection::vec;
use proptest::prelude::*;

/// What a connection's bytes mean: its commands, how the last one ended, and what was left over.
#[derive(Debug, PartialEq)]
struct Heard {
    commands: Vec<Vec<Vec<u8>>>,
    error: Option<ProtocolError>,
    pending_bytes: usize,
}

/// Feeds `stream` in pieces that end at `cuts`, as a connection does.
fn hear(stream: &[u8], cuts: &[usize], limits: Limits) -> Heard {
    let mut decoder = Decoder::new(limits);
    let mut heard = Heard { commands: Vec::new(), error: None, pending_bytes: 0 };
    let mut start = 0;
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    for end in ends {
        loop {
            let buffer = &stream[start..end.max(start)];
            match decoder.decode(buffer) {
                Ok(Some(request)) => {
                    let args = decoder.args(buffer);
                    assert_eq!(args.is_empty(), request.kind == RequestKind::Empty);
                    if !args.is_empty() {
                        assert_canonical(args);
                        heard.commands.push(args.iter().map(<[u8]>::to_vec).collect());
                    }
                    assert!(request.length > 0, "a request takes bytes");
                    start += request.length;
                }
                Ok(None) => break,
                Err(error) => {
                    heard.error = Some(error);
                    return heard;
                }
            }
        }
    }
    heard.pending_bytes = stream.len() - start;
    heard
}

/// INV-P1: no argument reaches beyond `wire`, which reading each of them would show.
/// INV-P2: `wire` is the canonical form of its arguments, and a log entry made of it says the same.
fn assert_canonical(args: keystead_resp::Args<'_>) {
    let mut canonical = Vec::new();
    encode::command(&mut canonical, args.iter());
    assert_eq!(args.wire(), canonical);
    let mut spans = Vec::new();
    let mut run = RunDecoder::new(&canonical);
    let again = run.next(&mut spans).expect("canonical").expect("one command");
    assert!(again.iter().eq(args.iter()));
}

fn hear_all(stream: &[u8]) -> Heard {
    hear(stream, &[], Limits::default())
}

fn commands(stream: &[u8]) -> Vec<Vec<String>> {
    let heard = hear_all(stream);
    assert_eq!((heard.error, heard.pending_bytes), (None, 0), "{}", stream.escape_ascii());
    let text = |arg: &Vec<u8>| arg.escape_ascii().to_string();
    heard.commands.iter().map(|command| command.iter().map(text).collect()).collect()
}

fn error_text(stream: &[u8]) -> String {
    hear_all(stream).error.map_or_else(|| "no error".into(), |error| error.to_string())
}

#[test]
fn errors_have_the_texts_of_redis() {
    let long = "1".repeat(64 * 1024 + 1);
    let cases: &[(&str, &str)] = &[
        ("*x\r\n", "invalid multibulk length"),
        ("*\r\nPING\r\n", "invalid multibulk length"),
        ("*01\r\n", "invalid multibulk length"),
        ("*+1\r\n", "invalid multibulk length"),
        ("* 1\r\n", "invalid multibulk length"),
        ("*1 \r\n", "invalid multibulk length"),
        ("*-0\r\n", "invalid multibulk length"),
        ("*-01\r\n", "invalid multibulk length"),
        ("*9223372036854775808\r\n", "invalid multibulk length"),
        ("*1\n$4\r\nPING\r\n", "invalid multibulk length"),
        ("*1\r\n:4\r\n", "expected '$', got ':'"),
        ("*1\r\n\r\n", "expected '$', got '\r'"),
        ("*1\r\nxPING\r\n", "expected '$', got 'x'"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$\r\n", "invalid bulk length"),
        ("*1\r\n$04\r\n", "invalid bulk length"),
        ("*1\r\n$4\nPING\r\n", "invalid bulk length"),
        ("*1\r\n$536870913\r\n", "invalid bulk length"),
        ("*1\r\n$9223372036854775808\r\n", "invalid bulk length"),
        ("ECHO \"a\r\n", "unbalanced quotes in request"),
        ("ECHO 'a\r\n", "unbalanced quotes in request"),
        ("ECHO \"a\"b\r\n", "unbalanced quotes in request"),
        ("ECHO 'a'b\r\n", "unbalanced quotes in request"),
        ("ECHO \"a\\\r\n", "unbalanced quotes in request"),
        (&format!("*{long}"), "too big mbulk count string"),
        (&format!("*1\r\n${long}"), "too big bulk count string"),
        (&format!("P{long}"), "too big inline request"),
    ];
    for (stream, text) in cases {
        let shown = &stream[..stream.len().min(40)];
        assert_eq!(error_text(stream.as_bytes()), format!("Protocol error: {text}"), "{shown:?}");
    }
}

#[test]
fn limits_are_those_of_redis_or_named_where_redis_has_none() {
    assert_eq!(error_text(b"*1048576\r\n"), "no error");
    assert_eq!(error_text(b"*1048577\r\n"), "Protocol error: invalid multibulk length");
    assert_eq!(error_text(b"*1\r\n$536870912\r\n"), "no error");
    let small = Limits { command_bytes_max: 39, ..Limits::default() };
    let heard = hear(b"*2\r\n$3\r\nGET\r\n$20\r\n", &[], small);
    assert_eq!(heard.error, Some(ProtocolError::CommandBytes { bytes_max: 39 }));
}

#[test]
fn strangers_may_send_little() {
    let stranger = Limits { is_authenticated: false, ..Limits::default() };
    let text = |stream: &[u8]| hear(stream, &[], stranger).error.map(|error| error.to_string());
    assert_eq!(text(b"*10\r\n$16384\r\n"), None);
    assert_eq!(text(b"*11\r\n"), Some("Protocol error: unauthenticated multibulk length".into()));
    assert_eq!(
        text(b"*2\r\n$16385\r\n"),
        Some("Protocol error: unauthenticated bulk length".into())
    );
}

#[test]
fn what_asks_for_nothing_is_passed_over() {
    for nothing in ["*0\r\n", "*-1\r\n", "*-5\r\n", "\r\n", "\n", "   \r\n", " \t \n"] {
        assert_eq!(commands(format!("{nothing}PING\r\n").as_bytes()), [["PING"]], "{nothing:?}");
    }
}

#[test]
fn inline_commands_are_split_as_redis_splits_them() {
    let cases: &[(&str, &[&str])] = &[
        ("PING\n", &["PING"]),
        ("  set  k\tv \r\n", &["set", "k", "v"]),
        ("ECHO \"a\\x41\\n\\r\\t\\b\\a\\q\\\"b\"\r\n", &["ECHO", "aA\\n\\r\\t\\x08\\x07q\\\"b"]),
        ("ECHO 'a\\x41\\'b\\n'\r\n", &["ECHO", "a\\\\x41\\'b\\\\n"]),
        ("ECHO \"\\x4\" \"\\xzz\"\r\n", &["ECHO", "x4", "xzz"]),
        ("ECHO a\"b\" \"\" ''\r\n", &["ECHO", "ab", "", ""]),
        ("ECHO a\u{b}b \u{b} c\u{c}\r\n", &["ECHO", "a\\x0bb", "c\\x0c"]),
        ("ECHO a\rb\r\r\n", &["ECHO", "a", "b"]),
        ("ECHO a\0b\r\n", &["ECHO", "a\\x00b"]),
    ];
    for (stream, expected) in cases {
        assert_eq!(commands(stream.as_bytes()), [*expected], "{stream:?}");
    }
}

#[test]
fn sloppy_line_ends_are_accepted_and_made_canonical() {
    // `assert_canonical` within `hear` looks at what would go into the log.
    assert_eq!(commands(b"*1\rx$4\ryPINGxxPING\r\n"), [["PING"], ["PING"]]);
    assert_eq!(commands(b"*2\r\n$4\r\nECHO\r\n$3\r\na\r\n??"), [["ECHO", "a\\r\\n"]]);
}

#[test]
fn browsers_are_recognised() {
    assert!(is_cross_protocol(b"post") && is_cross_protocol(b"Host:"));
    assert!(!is_cross_protocol(b"GET") && !is_cross_protocol(b"HOST"));
}

#[test]
fn the_wanted_length_is_known_within_a_bulk_string() {
    let mut decoder = Decoder::new(Limits::default());
    assert_eq!(decoder.decode(b"*1\r\n$10"), Ok(None));
    assert_eq!(decoder.buffer_bytes_wanted(), None);
    assert_eq!(decoder.decode(b"*1\r\n$100\r\nabc"), Ok(None));
    assert_eq!(decoder.buffer_bytes_wanted(), Some(112));
    assert!(
        decoder.args(b"*1\r\n$100\r\nabc").is_empty(),
        "an incomplete command has no arguments"
    );
}

/// INV-P3.
#[test]
#[should_panic(expected = "INV-P3")]
fn a_buffer_that_shrinks_within_a_command_is_its_owners_fault() {
    let mut decoder = Decoder::new(Limits::default());
    assert_eq!(decoder.decode(b"*2\r\n$3\r\nGET\r\n"), Ok(None));
    let _never = decoder.decode(b"*2\r\n");
}

/// Bytes that look like the protocol often enough to get far into the decoder.
fn protocol_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"*1\r\n".to_vec()),
        Just(b"*2\r\n".to_vec()),
        Just(b"*0\r\n".to_vec()),
        Just(b"*-1\r\n".to_vec()),
        Just(b"$3\r\nabc\r\n".to_vec()),
        Just(b"$3\rxabc..".to_vec()),
        Just(b"$0\r\n\r\n".to_vec()),
        Just(b"$12\r\nabc".to_vec()),
        Just(b"GET 'a\\'' \"\\x0a\"\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        vec(any::<u8>(), 0..6),
        vec(prop::sample::select(b"*$-0123456789\r\n\"'\\x ".to_vec()), 0..12),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn small_limits() -> Limits {
    Limits { inline_bytes_max: 24, bulk_bytes_max: 64, args_max: 16, ..Limits::default() }
}

proptest! {
    #[test]
    fn any_byte_split_decodes_alike(stream in protocol_like(), cuts in vec(any::<usize>(), 0..12)) {
        let whole = hear(&stream, &[], small_limits());
        let every_byte: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(&whole, &hear(&stream, &cuts, small_limits()));
        prop_assert_eq!(&whole, &hear(&stream, &every_byte, small_limits()));
    }

    #[test]
    fn encode_then_decode_is_identity(
        sent in vec(vec(vec(any::<u8>(), 0..40), 1..8), 0..8),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let mut stream = Vec::new();
        for command in &sent {
            encode::command(&mut stream, command.iter().map(Vec::as_slice));
        }
        let heard = hear(&stream, &cuts, Limits::default());
        prop_assert_eq!(heard, Heard { commands: sent, error: None, pending_bytes: 0 });
    }

    #[test]
    fn quoting_a_word_and_splitting_the_line_is_identity(words in vec(vec(any::<u8>(), 0..20), 1..6)) {
        let quote = |word: &Vec<u8>| -> String {
            let escaped: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            format!("\"{escaped}\" ")
        };
        let line: String = words.iter().map(quote).collect::<String>() + "\r\n";
        prop_assert_eq!(hear_all(line.as_bytes()).commands, [words]);
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_pass_the_limits(stream in vec(any::<u8>(), 0..400)) {
        for command in hear(&stream, &[], small_limits()).commands {
            prop_assert!(command.iter().all(|arg| arg.len() <= 64));
        }
    }
}
