//! Inline commands: words that are quoted come back as they were.

use keystead_resp::{Decoder, Limits, RequestKind};

use crate::input::Input;

/// Quotes the words that the bytes give, each in one of the forms that Redis knows, and reads the line back.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (mut words, mut line) = (Vec::new(), Vec::new());
    while !input.is_empty() && words.len() < 32 {
        let form = input.u8();
        let word = input.piece(24);
        line.extend_from_slice(if form & 8 == 0 { b" " } else { b"\t  " });
        quote(word, form, &mut line);
        words.push(word);
    }
    line.extend_from_slice(if words.len() % 2 == 0 { b"\r\n" } else { b"\n" });
    let mut decoder = Decoder::new(Limits::default());
    let request = decoder.decode(&line).expect("quoted as it should be").expect("the line ends");
    assert_eq!(request.length, line.len(), "one line");
    if request.kind == RequestKind::Empty {
        assert!(words.is_empty(), "words were lost: {words:?}");
        return;
    }
    let read: Vec<&[u8]> = decoder.args(&line).iter().collect();
    assert_eq!(read, words, "from the line {}", line.escape_ascii());
}

fn quote(word: &[u8], form: u8, line: &mut Vec<u8>) {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'');
    let first = line.len();
    // A line that begins with an asterisk is an array.
    let may_be_bare = !word.is_empty() && word.iter().all(is_plain) && first + 1 > 1;
    match form & 3 {
        0 if may_be_bare => line.extend_from_slice(word),
        1 if !word.iter().any(|byte| matches!(byte, b'\n' | b'\\')) => {
            line.push(b'\'');
            for byte in word {
                if *byte == b'\'' {
                    line.push(b'\\');
                }
                line.push(*byte);
            }
            line.push(b'\'');
        }
        _ => {
            line.push(b'"');
            for byte in word {
                line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
            }
            line.push(b'"');
        }
    }
}

/// Words of each form.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        b"\0\x03\0SET\x01\x01\0k\x02\x04\0a b'".to_vec(),
        b"\x09\x02\0it\x02\0\0\x01\x02\0'\"".to_vec(),
    ]
}
