//! Reading, changing and writing a key as one step.
//!
//! Owns: the loop of compare and set. Never: a lock: other clients, in this process or elsewhere, change
//! the key at any time; then the store refuses the write, and the loop begins anew.
//!
//! The comparison is by the bytes of the value. A value that became another and then the same again is
//! the same: what the closure made of it is right for it.

use std::ops::ControlFlow;

use keystead_node::Access;
use keystead_types::Slot;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::exchange::Place;
use super::{Keystead, json, reply};
use crate::error::Error;

/// Attempts before an update gives up. Each failed one means that somebody else's write succeeded, so
/// with sixty-four writers at one key one in ten million gets this far.
pub(crate) const ATTEMPTS_MAX: u32 = 1024;

impl Keystead {
    /// See [`Keystead::update`].
    pub(super) async fn update_by<T, R>(
        &self,
        key: &[u8],
        mut change: impl FnMut(Option<T>) -> R,
    ) -> Result<Option<T>, Error>
    where
        T: Serialize + DeserializeOwned,
        R: Into<Option<T>>,
    {
        for _ in 0..ATTEMPTS_MAX {
            let before = self.get_bytes(key).await?;
            let value = before.as_deref().map(json::decode).transpose()?;
            let after = change(value).into();
            let text = after.as_ref().map(json::encode).transpose()?;
            match self.replace(key, before.as_deref(), text.as_deref()).await? {
                ControlFlow::Break(()) => return Ok(after),
                ControlFlow::Continue(()) => {}
            }
        }
        Err(Error::Contended { attempts: ATTEMPTS_MAX })
    }

    /// Makes `after` of the key if it still holds `before`; `Continue` if it holds something else.
    async fn replace(
        &self,
        key: &[u8],
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> Result<ControlFlow<()>, Error> {
        let reply = match (before, after) {
            // The key was read and nothing is to change, so the moment of reading is that of the update.
            (before, after) if before == after => return Ok(ControlFlow::Break(())),
            (None, Some(after)) => self.write(key, &[b"SET", key, after, b"NX"]).await,
            (Some(before), Some(after)) => {
                self.write(key, &[b"SET", key, after, b"IFEQ", before, b"KEEPTTL"]).await
            }
            // Removes the key if it holds `before`: a string whose time is up is not kept by SET.
            (Some(before), None) => {
                self.write(key, &[b"SET", key, b"", b"IFEQ", before, b"PXAT", b"1"]).await
            }
            (None, None) => return Ok(ControlFlow::Break(())),
        };
        match reply.and_then(|reply| reply::is_set(&reply)) {
            Ok(true) => Ok(ControlFlow::Break(())),
            Ok(false) => Ok(ControlFlow::Continue(())),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, key: &[u8], words: &[&[u8]]) -> Result<Vec<u8>, Error> {
        self.run(Place::Slot(Slot::of_key(key)), Access::Write, words).await
    }
}
