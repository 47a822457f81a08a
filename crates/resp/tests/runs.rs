//! What the decoder of log entries promises: commands back as they went in, and a typed error that
//! names the place for anything else.

use keystead_resp::{RunDecoder, RunError, encode};
use proptest::collection::vec;
use proptest::prelude::*;

fn decode(run: &[u8]) -> Result<Vec<Vec<Vec<u8>>>, RunError> {
    let mut decoder = RunDecoder::new(run);
    let mut spans = Vec::new();
    let mut commands = Vec::new();
    while let Some(args) = decoder.next(&mut spans)? {
        commands.push(args.iter().map(<[u8]>::to_vec).collect());
    }
    assert_eq!(decoder.offset(), run.len());
    Ok(commands)
}

#[test]
fn damage_is_named_with_its_place() {
    let head = b"*1\r\n$4\r\nPING\r\n";
    let header = |offset, expected| RunError::Header { offset, expected };
    let cases: &[(&[u8], RunError)] = &[
        (b"PING\r\n", header(14, b'*')),
        (b"*0\r\n", header(14, b'*')),
        (b"*-1\r\n", header(14, b'*')),
        (b"*01\r\n", header(14, b'*')),
        (b"*1\rx", header(14, b'*')),
        (b"*9999999999\r\n", header(14, b'*')),
        (b"*1048577\r\n", RunError::TooLong { offset: 14, length: 1_048_577, max: 1_048_576 }),
        (b"*1\r\n", header(18, b'$')),
        (b"*1\r\n+4\r\n", header(18, b'$')),
        (b"*1\r\n$4\r\nPIN", RunError::Argument { offset: 22, length: 4 }),
        (b"*1\r\n$4\r\nPING\r", RunError::Argument { offset: 22, length: 4 }),
        (b"*1\r\n$4\r\nPING\n\n", RunError::Argument { offset: 22, length: 4 }),
    ];
    for (tail, error) in cases {
        let run = [head.as_slice(), tail].concat();
        assert_eq!(decode(&run), Err(*error), "{}", tail.escape_ascii());
    }
    assert!(header(14, b'*').to_string().starts_with("damaged run of commands: no `*`"));
}

#[test]
fn a_damaged_run_stays_damaged() {
    let mut decoder = RunDecoder::new(b"*1\r\n$4\r\nPING\r\nx");
    let mut spans = Vec::new();
    assert!(matches!(decoder.next(&mut spans), Ok(Some(_))));
    assert_eq!(decoder.next(&mut spans).unwrap_err(), decoder.next(&mut spans).unwrap_err());
}

proptest! {
    #[test]
    fn encode_then_decode_is_identity(sent in vec(vec(vec(any::<u8>(), 0..40), 1..8), 0..8)) {
        let mut run = Vec::new();
        for command in &sent {
            encode::command(&mut run, command.iter().map(Vec::as_slice));
        }
        prop_assert_eq!(decode(&run), Ok(sent));
    }

    #[test]
    fn a_flipped_byte_never_panics(
        sent in vec(vec(vec(any::<u8>(), 0..12), 1..5), 1..5),
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut run = Vec::new();
        for command in &sent {
            encode::command(&mut run, command.iter().map(Vec::as_slice));
        }
        let at = position.index(run.len());
        run[at] = byte;
        // INV-P2: whatever still decodes has exactly this one form.
        if let Ok(commands) = decode(&run) {
            let mut again = Vec::new();
            for command in &commands {
                encode::command(&mut again, command.iter().map(Vec::as_slice));
            }
            prop_assert_eq!(again, run);
        }
    }
}
