//! DEBUG: what authors of clients test with, a reply of every type and an error of their choice.
//! Owns: these replies. Never: harms the server or looks behind it; tests arm fault points of their own.

use keystead_resp::{Protocol, ReplyWriter};

use crate::dispatch::Verdict;
use crate::reply::Failure;

use super::{Answer, SessionCall};

impl<'a> SessionCall<'_, '_, 'a> {
    /// `DEBUG PROTOCOL type` and `DEBUG ERROR text`
    pub(super) fn debug(&mut self) -> Answer<'a> {
        let (verb, value) = (self.arg(1), self.arg(2));
        if self.args.len() == 3 && verb.eq_ignore_ascii_case(b"protocol") {
            write_sample(value, self.session.protocol, &mut self.reply())?;
        } else if self.args.len() == 3 && verb.eq_ignore_ascii_case(b"error") {
            self.reply().error(String::from_utf8_lossy(value));
        } else {
            return Err(Failure::Unsupported { what: "DEBUG but for PROTOCOL and ERROR" });
        }
        Ok(Verdict::Next)
    }
}

/// A reply of the type, with the content that Redis gives it.
fn write_sample(
    kind: &[u8],
    protocol: Protocol,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), Failure<'static>> {
    let is_new = protocol == Protocol::Resp3;
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double_text("3.141"),
        b"bignum" if is_new => reply.raw(b"(1234567999999999999999999999999999999\r\n"),
        b"bignum" => reply.bulk(b"1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if is_new {
                reply.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if !is_new => return Err(Failure::OnlyNewProtocol),
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"verbatim" => reply.verbatim("This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        _ => return Err(Failure::ProtocolType),
    }
    Ok(())
}
