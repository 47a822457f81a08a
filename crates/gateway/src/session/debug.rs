//! DEBUG: what those rely on who test clients and tools.
//!
//! PROTOCOL and ERROR answer with a reply of a type and an error of one's choice, OBJECT (which the key's shard answers) says
//! how a value is kept, SLEEP holds back the clients of this node as CLIENT PAUSE does. The others harm the server, look
//! behind it, or are about what is not here; each is refused with a sentence. Never: harms the server; tests arm fault
//! points of their own.

use std::time::Duration;

use keystead_resp::{Args, Protocol, ReplyWriter};
use keystead_store::CommandError;

use crate::attention::Pause;
use crate::dispatch::Verdict;
use crate::reply::Failure;

use super::{Answer, SessionCall};

/// The longest DEBUG SLEEP: more is taken for a slip. CLIENT UNPAUSE ends it.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Verbs that are refused, and why.
static REFUSED: [(&[u8], CommandError); 11] = [
    (
        b"change-repl-id",
        refused(
            "debug|change-repl-id",
            "nodes follow the log of each shard and have no replication id",
        ),
    ),
    (b"crash-and-recover", refused("debug|crash-and-recover", NO_HARM)),
    (b"digest", refused("debug|digest", COMPARED)),
    (b"digest-value", refused("debug|digest-value", COMPARED)),
    (b"loadaof", refused("debug|loadaof", READ_BACK)),
    (b"oom", refused("debug|oom", NO_HARM)),
    (b"panic", refused("debug|panic", NO_HARM)),
    (b"reload", refused("debug|reload", READ_BACK)),
    (b"restart", refused("debug|restart", NO_HARM)),
    (b"segfault", refused("debug|segfault", NO_HARM)),
    (b"set-active-expire", refused("debug|set-active-expire", NOT_TURNED_OFF)),
];
/// Any other verb.
static NOT_THERE: CommandError = refused(
    "debug",
    "there are ERROR, OBJECT, PROTOCOL, SET-ACTIVE-EXPIRE 1 and SLEEP, with which clients and tools are tested",
);
const NO_HARM: &str = "a client does not bring a node down; end its process";
const COMPARED: &str = "CLUSTER SYNC compares the digests of all replicas, shard by shard";
const READ_BACK: &str = "what was acknowledged is on the disks of a majority, and is read back when a node starts; restart one to see it";
const NOT_TURNED_OFF: &str = "nobody sees a key that has expired, and its removal goes through its shard's log by itself; 1 is accepted";

const fn refused(command: &'static str, why: &'static str) -> CommandError {
    CommandError::Refused { command, why }
}

/// True for `DEBUG OBJECT key`, which the key's shard answers.
pub(crate) fn is_about_key(args: Args<'_>) -> bool {
    args.len() == 3 && args[1].eq_ignore_ascii_case(b"object")
}

impl<'a> SessionCall<'_, '_, 'a> {
    /// `DEBUG PROTOCOL type`, `DEBUG ERROR text`, `DEBUG SLEEP seconds`, `DEBUG SET-ACTIVE-EXPIRE 1`
    pub(super) fn debug(&mut self) -> Answer<'a> {
        let (verb, value) = (self.arg(1).to_ascii_lowercase(), self.arg(2));
        match (verb.as_slice(), self.args.len()) {
            (b"protocol", 3) => {
                write_sample(value, self.session.protocol, &mut self.reply())?;
                Ok(Verdict::Next)
            }
            (b"error", 3) => {
                self.reply().error(String::from_utf8_lossy(value));
                Ok(Verdict::Next)
            }
            (b"sleep", 3) => self.sleep(value),
            (b"set-active-expire", 3) if value == b"1" => self.ok(),
            (b"protocol" | b"error" | b"sleep" | b"set-active-expire" | b"object", length)
                if length != 3 =>
            {
                Err(Failure::Subcommand { container: "DEBUG", verb: self.arg(1) })
            }
            _ => {
                let known = REFUSED.iter().find(|(name, _)| *name == verb);
                Err(Failure::Command(known.map_or(&NOT_THERE, |(_, why)| why)))
            }
        }
    }

    /// Answers once the time is over, and nobody else on this node before that: as a Redis that sleeps.
    fn sleep(&mut self, seconds: &[u8]) -> Answer<'a> {
        let seconds = std::str::from_utf8(seconds).ok().and_then(|text| text.parse().ok());
        let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        // As in Redis, what is no time is none.
        let time = time.unwrap_or_default().min(SLEEP_MAX);
        if std::mem::take(&mut self.session.is_asleep) || time.is_zero() {
            return self.ok();
        }
        self.session.is_asleep = true;
        let shared = &self.turn.local.shared;
        let now = shared.clock.monotonic_now();
        shared.attention.begin_pause(Pause { until: now.after(time), is_for_writes: false }, now);
        Ok(Verdict::Pause)
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
