//! Decoding requests and encoding replies.
//! Owns: those pieces. Never: a socket.

use std::hint::black_box;

use keystead_resp::{Decoder, Limits, Protocol, ReplyWriter};

use super::{Jumps, VALUE, gets, sets};

pub(super) fn decode_get() -> Box<dyn FnMut()> {
    decode(gets(&mut Jumps::new(20_000), 16))
}

pub(super) fn decode_set() -> Box<dyn FnMut()> {
    decode(sets(&mut Jumps::new(20_000), 16))
}

fn decode(bytes: Vec<u8>) -> Box<dyn FnMut()> {
    let mut decoder = Decoder::new(Limits::default());
    Box::new(move || {
        let mut rest = black_box(bytes.as_slice());
        while let Some(request) = decoder.decode(rest).expect("a request as clients send it") {
            black_box(decoder.args(rest).get(1));
            rest = &rest[request.length..];
        }
    })
}

pub(super) fn encode_reply() -> Box<dyn FnMut()> {
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        let mut writer = ReplyWriter::new(&mut out, Protocol::Resp2);
        for _ in 0..16 {
            writer.bulk(black_box(&VALUE));
        }
        black_box(&out);
    })
}
