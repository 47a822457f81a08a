//! The client for threads without a runtime: the shell, tests, scripts.
//! Owns: an event loop per client, run only while a call waits. Never: starts a thread, may be used
//! within a task (the loop inside would stop the loop outside).

use keystead_resp::Value;
use tokio::runtime::{Builder, Runtime};

use crate::error::Error;
use crate::options::ConnectOptions;
use crate::pipeline::Pipeline;

/// [`Client`](crate::Client) with methods that block.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    client: crate::Client,
}

impl Client {
    /// See [`Client::connect`](crate::Client::connect).
    ///
    /// # Errors
    /// Those of [`Client::connect`](crate::Client::connect); `Unavailable` if the operating system gives
    /// no event queue.
    ///
    /// # Panics
    /// Within a task, as do all other methods that block.
    pub fn connect(addresses: &str, options: ConnectOptions) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|error| Error::Runtime { source: error.into() })?;
        let client = runtime.block_on(crate::Client::connect(addresses, options))?;
        Ok(Self { runtime, client })
    }

    /// See [`Client::command`](crate::Client::command).
    ///
    /// # Errors
    /// See [`Client::command`](crate::Client::command).
    pub fn command(&mut self, args: &[impl AsRef<[u8]>]) -> Result<Value, Error> {
        self.runtime.block_on(self.client.command(args))
    }

    /// See [`Client::pipeline`](crate::Client::pipeline).
    pub fn pipeline(&mut self, pipeline: &Pipeline) -> Vec<Result<Value, Error>> {
        self.runtime.block_on(self.client.pipeline(pipeline))
    }

    /// See [`Client::options`](crate::Client::options).
    #[must_use]
    pub const fn options(&self) -> &ConnectOptions {
        self.client.options()
    }

    /// See [`Client::home`](crate::Client::home).
    #[must_use]
    pub fn home(&self) -> &str {
        self.client.home()
    }
}
