//! Values as JSON text, so that every Redis client reads what the process wrote.
//! Owns: encoding, decoding, and a buffer per thread that makes both cheap. Never: a key.

use std::any::type_name;
use std::cell::Cell;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// Bytes that a thread keeps for its next value.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The JSON text of `value`.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value)
        .map_err(|source| Error::Encode { type_name: type_name::<T>(), source })
}

/// The value that `text` is the JSON of.
pub(crate) fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(text)
        .map_err(|source| Error::Decode { type_name: type_name::<T>(), source })
}

/// Runs `call` with an empty buffer of this thread. A call within the call gets another buffer.
pub(crate) fn with_scratch<T>(call: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut scratch = SCRATCH.take();
    scratch.clear();
    let result = call(&mut scratch);
    if scratch.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(scratch);
    }
    result
}
