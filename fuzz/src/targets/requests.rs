//! Requests of clients, in any split into reads.
//!
//! The whole buffer at once, and the same bytes in pieces, must give the same requests and the same error. What is
//! taken must be taken by the decoder of log entries too, or a replica would fall over it (INV-N3).

use keystead_resp::{Decoder, Limits, ProtocolError, RequestKind, RunDecoder, encode};

use crate::input::{Input, Splits};

/// A request as it was decoded.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    kind: RequestKind,
    length: usize,
    args: Vec<Vec<u8>>,
}

/// See the module. The first eight bytes decide how the rest is cut; the ninth, who the client is.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (splits, limits) = (Splits::new(input.u64()), limits(input.u8()));
    let stream = input.rest();
    let whole = decode(stream, limits, || stream.len().max(1));
    let mut splits = splits;
    let pieces = decode(stream, limits, || splits.next());
    assert_eq!(whole, pieces, "requests depend on how they are split over reads");
}

/// Small limits now and then, so that short inputs reach them.
fn limits(choice: u8) -> Limits {
    let is_authenticated = choice & 1 == 0;
    if choice & 2 == 0 {
        return Limits { is_authenticated, ..Limits::default() };
    }
    Limits {
        bulk_bytes_max: 40,
        args_max: 5,
        inline_bytes_max: 64,
        command_bytes_max: 120,
        is_authenticated,
    }
}

fn decode(
    stream: &[u8],
    limits: Limits,
    mut next_read: impl FnMut() -> usize,
) -> (Vec<Seen>, Option<ProtocolError>) {
    let (mut decoder, mut seen) = (Decoder::new(limits), Vec::new());
    // `from` is the first byte of the pending request, `to` the first that has not been read.
    let (mut from, mut to) = (0, 0);
    loop {
        match decoder.decode(&stream[from..to]) {
            Err(error) => return (seen, Some(error)),
            Ok(Some(request)) => {
                seen.push(look_at(&decoder, &stream[from..to], request.kind, request.length));
                from += request.length;
            }
            Ok(None) if to == stream.len() => return (seen, None),
            Ok(None) => to = (to + next_read()).min(stream.len()),
        }
    }
}

fn look_at(decoder: &Decoder, buffer: &[u8], kind: RequestKind, length: usize) -> Seen {
    assert!(
        0 < length && length <= buffer.len(),
        "a request of {length} bytes in {}",
        buffer.len()
    );
    let args = decoder.args(buffer);
    let owned: Vec<Vec<u8>> = args.iter().map(<[u8]>::to_vec).collect();
    if kind == RequestKind::Empty {
        return Seen { kind, length, args: owned };
    }
    let mut canonical = Vec::new();
    encode::command(&mut canonical, owned.iter().map(Vec::as_slice));
    assert_eq!(args.wire(), canonical, "INV-P2: the canonical form of {owned:?}");
    let (mut run, mut spans) = (RunDecoder::new(args.wire()), Vec::new());
    let again = run.next(&mut spans).expect("what was accepted can be replayed");
    let again: Vec<Vec<u8>> = again.expect("one command").iter().map(<[u8]>::to_vec).collect();
    assert_eq!(again, owned, "INV-P2: a replica reads other arguments");
    assert_eq!(run.offset(), canonical.len(), "one command, no more");
    Seen { kind, length, args: owned }
}

/// Requests as clients send them, and what comes close.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    [
        &b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"[..],
        b"*1\r\n$4\r\nPING\r\n\r\nPING\r\n*0\r\n*-1\r\nSET k \"a\\x00b\" 'c d'\n",
        b"*2\n$4\nECHO\n$0\n\n*1\r\n$4\r\nPING\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$99999\r\nnot all",
        b"*1048577\r\n",
        b"*1\r\n$536870913\r\n",
        b"*1\r\n:4\r\n",
    ]
    .iter()
    .flat_map(|stream| [0_u8, 1, 2].map(|who| [&[7; 8][..], &[who], stream].concat()))
    .collect()
}
