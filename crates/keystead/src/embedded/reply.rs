//! Replies of the store as results of calls.
//! Owns: reading the few forms that the handle's own commands are answered with, and any other as a
//! [`Value`]. Never: decides what to do about one.

use keystead_resp::{ReplyDecoder, ReplyLimits, Value};

use crate::error::Error;

/// Any reply; an error reply is an error.
pub(crate) fn value(reply: &[u8]) -> Result<Value, Error> {
    let decoded = ReplyDecoder::new(ReplyLimits::default()).decode(reply);
    let decoded = decoded.expect("a store writes replies in the form of the protocol");
    match decoded.expect("a run that ended has its whole reply").0 {
        Value::Error(message) => Err(Error::Reply { message }),
        value => Ok(value),
    }
}

/// What GET answers.
pub(crate) fn string(reply: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    match value(reply)? {
        Value::Bulk(bytes) => Ok(Some(bytes)),
        Value::Null => Ok(None),
        other => panic!("GET answers a string or null, not {other:?}"),
    }
}

/// What SET answers: whether it set.
pub(crate) fn is_set(reply: &[u8]) -> Result<bool, Error> {
    if reply == b"+OK\r\n" {
        return Ok(true);
    }
    match value(reply)? {
        Value::Null => Ok(false),
        other => panic!("SET answers OK or null, not {other:?}"),
    }
}

/// What commands answer that count.
pub(crate) fn count(reply: &[u8]) -> Result<i64, Error> {
    match value(reply)? {
        Value::Integer(count) => Ok(count),
        other => panic!("a count is an integer, not {other:?}"),
    }
}
