//! Sockets between nodes, as the transport uses them: those of the system, or in tests those of a simulated network.
//!
//! Owns: [`Listener`], [`Stream`], [`Dialer`]: the one place here that names a kind of socket. Never: frames, deadlines.
//! Everything works on `&Stream`, because the threads that send share it with the task that reads.
//!
//! The simulated kind exists in tests only (`tests/simulated.rs`), so the product pays nothing for it.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream};

use super::peer::is_transient;

/// Bytes read at a time where nobody looks at them.
const IGNORED_BYTES: usize = 1024;

/// Bytes that the system may hold without having begun to send them (`TCP_NOTSENT_LOWAT`, tcp(7)); what is under way does not
/// count, so a long way is filled all the same.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES_MAX: u32 = 32 * 1024;

/// Where connections come in.
pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(test)]
    Simulated(turmoil::net::TcpListener),
}

/// How connections are made: over the network that the listener belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialer {
    Tcp,
    #[cfg(test)]
    Simulated,
}

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(test)]
    Simulated(super::tests::simulated::Socket),
}

impl Listener {
    /// The next connection and where it comes from. Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Tcp(listener) => {
                listener.accept().await.map(|(stream, from)| (Stream::Tcp(stream), from))
            }
            #[cfg(test)]
            Self::Simulated(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((Stream::Simulated(stream.into()), from))
            }
        }
    }

    /// How to reach those who are reached over the same network.
    pub(super) const fn dialer(&self) -> Dialer {
        match self {
            Self::Tcp(_) => Dialer::Tcp,
            #[cfg(test)]
            Self::Simulated(_) => Dialer::Simulated,
        }
    }
}

impl Dialer {
    /// Connects to `address`, `host:port`.
    pub(super) async fn connect(self, address: &str) -> io::Result<Stream> {
        let stream = match self {
            Self::Tcp => Stream::Tcp(TcpStream::connect(address).await?),
            #[cfg(test)]
            Self::Simulated => {
                Stream::Simulated(turmoil::net::TcpStream::connect(address).await?.into())
            }
        };
        stream.set_nodelay()?;
        stream.keep_unsent_short()?;
        Ok(stream)
    }
}

impl Stream {
    /// Sends small pieces at once.
    pub(super) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            #[cfg(test)]
            Self::Simulated(_) => Ok(()),
        }
    }

    /// Lets the system hold little that it has not begun to send. What it holds is in order: the megabytes that it takes by
    /// itself for a slow link would all go before the next acknowledgement, whatever its lane. Where it is not known how to
    /// say that, lanes help less.
    fn keep_unsent_short(&self) -> io::Result<()> {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Self::Tcp(stream) => {
                socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)
            }
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            Self::Tcp(_) => Ok(()),
            #[cfg(test)]
            Self::Simulated(_) => Ok(()),
        }
    }

    /// Writes as much of `bytes` as the socket takes now.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            #[cfg(test)]
            Self::Simulated(stream) => stream.try_write(bytes),
        }
    }

    /// Returns when the socket may take more. Cancel safe.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            #[cfg(test)]
            Self::Simulated(stream) => stream.writable().await,
        }
    }

    /// Reads once; 0 says that the other end closed. Cancel safe.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => loop {
                stream.readable().await?;
                match read_ready(stream, buffer) {
                    Err(error) if is_transient(&error) => {}
                    read => return read,
                }
            },
            #[cfg(test)]
            Self::Simulated(stream) => stream.read(buffer).await,
        }
    }

    /// Says that no more comes, and reads until the other end says so too. What it still says is ignored.
    pub(super) async fn close(self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => read_out(stream).await,
            #[cfg(test)]
            Self::Simulated(stream) => read_out(stream.into_inner()).await,
        }
    }
}

/// Reads once. A read that does not fill the buffer has emptied the socket, and epoll tells when more comes: the runtime is
/// told as much, which spares the next read that would only find nothing.
fn read_ready(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut bytes = None;
    let outcome = stream.try_io(Interest::READABLE, || {
        let read = stream.try_read(buffer)?;
        bytes = Some(read);
        let is_emptied = cfg!(target_os = "linux") && read > 0 && read < buffer.len();
        if is_emptied { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match bytes {
        Some(bytes) => Ok(bytes),
        None => outcome.map(|()| 0),
    }
}

async fn read_out(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> io::Result<()> {
    stream.shutdown().await?;
    let mut ignored = [0; IGNORED_BYTES];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}
