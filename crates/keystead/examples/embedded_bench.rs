//! How fast a node in this process is: one caller at a time, and many in flight.
//!
//! ```sh
//! cargo run --release --example embedded_bench -- [seconds per figure] [fsync|replicated] [nodes]
//! ```
//!
//! `cargo xtask bench embedded` calls it. Each figure is the median of five equal parts of its time, so
//! that a hiccup of the machine shows as spread and not as a result. Values have 64 bytes.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::task::Poll;
use std::time::{Duration, Instant};

use keystead::config::Durability;
use keystead::{Keystead, Options};

/// Longest wait for a cluster to settle.
const PATIENCE: Duration = Duration::from_secs(30);
/// Keys that the figures use.
const KEYS: u64 = 10_000;
/// Parts of the time of a figure.
const PARTS: u32 = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with("--"));
    let seconds: f64 = words.next().map_or(Ok(2.0), |word| word.parse())?;
    let durability = match words.next().as_deref() {
        None | Some("replicated") => Durability::Replicated,
        Some("fsync") => Durability::Fsync,
        Some(other) => return Err(format!("`{other}` is neither fsync nor replicated").into()),
    };
    let count: usize = words.next().map_or(Ok(1), |word| word.parse())?;
    let data = tempfile::tempdir()?;
    let nodes = start(data.path(), durability, count).await?;
    show(format_args!("durability {}, nodes {count}, 64-byte values", durability.name()));
    measure(&nodes[0], Duration::from_secs_f64(seconds)).await?;
    for node in nodes {
        node.shutdown().await?;
    }
    Ok(())
}

async fn start(
    data: &Path,
    durability: Durability,
    count: usize,
) -> Result<Vec<Keystead>, keystead::Error> {
    let mut nodes: Vec<Keystead> = Vec::new();
    for number in 0..count {
        // One shard: its leader, hence every fast read, is on the node that founded it.
        let options = Options::new(data.join(format!("node{number}")))
            .durability(durability)
            .configure(|config| config.shards = 1);
        let seed = nodes.first().map(Keystead::peer_address);
        nodes.push(Keystead::start(options.join(seed)?).await?);
    }
    for node in &nodes {
        node.ready(PATIENCE).await?;
    }
    nodes[0].sync(PATIENCE).await?;
    Ok(nodes)
}

async fn measure(store: &Keystead, time: Duration) -> Result<(), keystead::Error> {
    let keys: Vec<String> = (0..KEYS).map(|key| format!("key:{key:012}")).collect();
    let value = [b'x'; 64];
    for key in &keys {
        store.put_bytes(key, value).await?;
    }
    let next = |n: u64| &keys[usize::try_from(n.wrapping_mul(0x9e37_79b9) % KEYS).unwrap_or(0)];

    let mut n = 0;
    report("get_with, one caller", time, async || {
        for _ in 0..1024 {
            n += 1;
            store.get_with(next(n), |bytes| bytes.map_or(0, <[u8]>::len)).await?;
        }
        Ok(1024)
    })
    .await?;
    report("get_bytes, one caller", time, async || {
        for _ in 0..1024 {
            n += 1;
            store.get_bytes(next(n)).await?;
        }
        Ok(1024)
    })
    .await?;
    report("put_bytes, one caller", time, async || {
        n += 1;
        store.put_bytes(next(n), value).await?;
        Ok(1)
    })
    .await?;
    let blocking = keystead::blocking::Keystead::from(store.clone());
    report("put_bytes, one thread", time, async || {
        n += 1;
        blocking.put_bytes(next(n), value)?;
        Ok(1)
    })
    .await?;
    report("put_bytes, 256 at a time", time, async || {
        together(256, |number| store.put_bytes(next(number), value)).await
    })
    .await?;
    store.put("counter", &0).await?;
    report("update, one thread", time, async || {
        blocking.update("counter", |n: Option<u64>| n.unwrap_or(0) + 1)?;
        Ok(1)
    })
    .await
}

/// Runs `count` calls at once and returns how many.
async fn together<F>(count: u64, call: impl Fn(u64) -> F) -> Result<u64, keystead::Error>
where
    F: Future<Output = Result<(), keystead::Error>>,
{
    let mut calls: Vec<_> = (0..count).map(|number| Box::pin(call(number))).collect();
    // The first poll sends a call on its way. One that ended by then is not to be polled again.
    let mut early = Vec::new();
    poll_fn(|context| {
        calls.retain_mut(|call| match call.as_mut().poll(context) {
            Poll::Ready(ended) => {
                early.push(ended);
                false
            }
            Poll::Pending => true,
        });
        Poll::Ready(())
    })
    .await;
    early.into_iter().collect::<Result<(), _>>()?;
    for call in calls {
        call.await?;
    }
    Ok(count)
}

/// Repeats `step`, which says how many operations it did, and prints the rate.
async fn report(
    name: &str,
    time: Duration,
    mut step: impl AsyncFnMut() -> Result<u64, keystead::Error>,
) -> Result<(), keystead::Error> {
    let mut rates = Vec::new();
    for _ in 0..PARTS {
        let (began, mut operations) = (Instant::now(), 0);
        while began.elapsed() < time / PARTS {
            operations += step().await?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        rates.push(operations as f64 / began.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    let (least, median, most) = (rates[0], rates[rates.len() / 2], rates[rates.len() - 1]);
    show(format_args!(
        "{name:<26} {median:>12.0}/s  {:>9.2} us  ({least:.0} to {most:.0})",
        1e6 / median
    ));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark shows what it measured")]
fn show(line: impl std::fmt::Display) {
    println!("{line}");
}
