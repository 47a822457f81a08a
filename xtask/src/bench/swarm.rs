//! A load generator for dialogues that redis-benchmark cannot hold: one thread, many connections.
//! Owns: sockets, latencies. Never: knows a protocol (see `dialogue`).
//!
//! One request is in flight on each connection; the next leaves when its reply is complete.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::dialogue::Dialogue;
use super::sample::Sample;
use crate::project::Outcome;

/// A server that answers nobody for this long is broken.
const SILENCE_MAX: Duration = Duration::from_secs(20);

struct Voice {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    sent_at: Instant,
}

/// Sends `requests` requests over `connections` connections and measures them.
pub(super) fn run(
    address: SocketAddr,
    connections: usize,
    requests: u64,
    dialogue: &mut dyn Dialogue,
) -> Outcome<Sample> {
    let mut poll = Poll::new()?;
    let mut voices = Vec::with_capacity(connections);
    for number in 0..connections {
        let mut stream = TcpStream::from_std(connect(address)?);
        poll.registry().register(
            &mut stream,
            Token(number),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let (out, input) = (Vec::new(), Vec::new());
        voices.push(Voice { stream, out, written: 0, input, sent_at: Instant::now() });
    }

    let mut latencies_us: Vec<u32> = Vec::new();
    let start = Instant::now();
    let mut sent = 0u64;
    for voice in &mut voices {
        voice.speak(dialogue)?;
        sent += 1;
    }
    let mut events = Events::with_capacity(1024);
    while (latencies_us.len() as u64) < requests {
        poll.poll(&mut events, Some(SILENCE_MAX))?;
        if events.is_empty() {
            return Err(format!("no reply for {} s", SILENCE_MAX.as_secs()).into());
        }
        for event in &events {
            let voice = &mut voices[event.token().0];
            voice.flush()?;
            if voice.hear(dialogue)? {
                latencies_us.push(u32::try_from(voice.sent_at.elapsed().as_micros())?);
                if sent < requests {
                    voice.speak(dialogue)?;
                    sent += 1;
                }
            }
        }
    }
    Ok(summary(&mut latencies_us, start.elapsed()))
}

fn connect(address: SocketAddr) -> Outcome<std::net::TcpStream> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
fn summary(latencies_us: &mut [u32], took: Duration) -> Sample {
    latencies_us.sort_unstable();
    let at = |permille: usize| {
        let place = latencies_us.len() * permille / 1000;
        latencies_us.get(place).map_or(0.0, |&micros| f64::from(micros) / 1000.0)
    };
    let rate = latencies_us.len() as f64 / took.as_secs_f64();
    Sample { rate, p50_ms: at(500), p99_ms: at(990), p999_ms: at(999), ..Sample::default() }
}

impl Voice {
    fn speak(&mut self, dialogue: &mut dyn Dialogue) -> Outcome {
        self.out.clear();
        self.input.clear();
        self.written = 0;
        dialogue.request(&mut self.out);
        self.sent_at = Instant::now();
        self.flush()
    }

    /// Writes what the socket takes; the rest goes when it is writable again.
    fn flush(&mut self) -> Outcome {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what has come; true once when the reply is complete.
    fn hear(&mut self, dialogue: &dyn Dialogue) -> Outcome<bool> {
        let mut chunk = [0; 16 * 1024];
        let mut is_new = false;
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(count) => {
                    self.input.extend_from_slice(&chunk[..count]);
                    is_new = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(is_new && dialogue.is_done(&self.input)?)
    }
}
