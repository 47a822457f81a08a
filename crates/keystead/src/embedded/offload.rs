//! Calls that block for long (start, join, resynchronise, stop), as futures.
//! Owns: the thread of such a call. Never: a call per command; these are a handful in a node's life.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::slot::promise;

/// Runs `call` on a thread of its own, so that the caller's runtime goes on meanwhile.
///
/// Dropping the future does not stop the call.
///
/// # Errors
/// The operating system gave no thread.
pub(crate) async fn offload<T, F>(name: &'static str, call: F) -> Result<T, io::Error>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (filled, pending) = promise();
    // No supervisor stands above it: the call ends by itself, and whoever waits sees how.
    std::thread::Builder::new().name(name.into()).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(call));
        if let Some(waker) = filled.fill(result) {
            waker.wake();
        }
    })?;
    match pending.await {
        Ok(result) => Ok(result),
        Err(panic) => resume_unwind(panic),
    }
}
