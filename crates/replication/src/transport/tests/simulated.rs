//! The transport on a simulated network (turmoil): the same code of hello, dialing, serving and queues, three nodes in one
//! thread, a clock that jumps, and links that are cut, held back, slow, or one-way, and nodes that crash.
//!
//! Every node sends numbered frames to every other as fast as a ticking worker would. What is judged:
//!
//! - INV-NET7, INV-NET9: what arrives from a node is in the order in which it was sent, nothing twice, across
//!   reconnects, too;
//! - INV-NET8: what was taken and did not arrive was followed by `peer_down`, or the sender crashed;
//! - once the faults stop, every pair is connected again and what is sent arrives.
//!
//! A seed decides the faults and the network. It does not decide everything: the runtime draws which of two ready
//! branches runs first, so a failure may need a few runs of its seed to come back.
//!
//! On a simulated link that was cut TCP does not send again: a connection that lost a segment is stuck for good, as with
//! a host that is gone. The transport has to notice by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::time::Duration;

use keystead_types::time::Clock;
use keystead_types::{Monotonic, UnixMillis};
use tokio::io::{AsyncRead, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use super::*;
use crate::transport::net::Listener;
use crate::transport::server::serve_on;

const PORT: u16 = 17379;
const NODES: u64 = 3;
/// Simulated time of faults, and of what follows them.
const FAULTS: Duration = Duration::from_secs(40);
const SETTLED: Duration = Duration::from_secs(12);

/// A simulated connection that sender and reader share, as they share a real one.
#[derive(Debug)]
pub(in crate::transport) struct Socket(Mutex<TcpStream>);

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self(Mutex::new(stream))
    }
}

impl Socket {
    pub(in crate::transport) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().try_write(bytes)
    }

    pub(in crate::transport) async fn writable(&self) -> io::Result<()> {
        std::future::poll_fn(|context| {
            let stream = self.0.lock();
            let writable = pin!(stream.writable());
            writable.poll(context)
        })
        .await
    }

    pub(in crate::transport) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        std::future::poll_fn(|context| {
            let mut read = ReadBuf::new(buffer);
            let polled = Pin::new(&mut *self.0.lock()).poll_read(context, &mut read);
            polled.map_ok(|()| read.filled().len())
        })
        .await
    }

    pub(in crate::transport) fn into_inner(self) -> TcpStream {
        self.0.into_inner()
    }
}

/// The simulation's clock.
struct SimulatedClock;

impl Clock for SimulatedClock {
    fn unix_now(&self) -> UnixMillis {
        UnixMillis(1_000_000 + u64::try_from(elapsed().as_millis()).unwrap())
    }

    fn monotonic_now(&self) -> Monotonic {
        Monotonic(1 + u64::try_from(elapsed().as_nanos()).unwrap())
    }
}

/// A node that is taken down looks at its clock outside of its own time.
fn elapsed() -> Duration {
    if turmoil::in_simulation() {
        turmoil::sim_elapsed().unwrap_or_default()
    } else {
        Duration::ZERO
    }
}

/// Which frame: of which life of its sender, and its number in it.
type Number = (u64, u64);

/// What one node sent to another, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pair {
    taken: Vec<Number>,
    /// How many had been taken when the sender was told that the connection broke, or crashed.
    downs: Vec<usize>,
    received: Vec<Number>,
    is_up: bool,
}

/// Everything that is known of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Story {
    pairs: BTreeMap<(u64, u64), Pair>,
    lives: BTreeMap<u64, u64>,
}

impl Story {
    fn pair(&mut self, from: u64, to: u64) -> &mut Pair {
        self.pairs.entry((from, to)).or_default()
    }

    /// The node is gone, with all it had taken.
    fn crashed(&mut self, node: u64) {
        for ((from, _), pair) in &mut self.pairs {
            if *from == node {
                pair.downs.push(pair.taken.len());
                pair.is_up = false;
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.pairs.len() as u64, NODES * (NODES - 1), "every node sent to every other");
        for ((from, to), pair) in &self.pairs {
            let is_rising = pair.received.windows(2).all(|two| two[0] < two[1]);
            assert!(is_rising, "INV-NET9: frames of {from} reach {to} out of order or twice");
            let taken: BTreeSet<Number> = pair.taken.iter().copied().collect();
            let received: BTreeSet<Number> = pair.received.iter().copied().collect();
            assert!(received.is_subset(&taken), "INV-NET8: {to} got what {from} was not taken for");
            let last_down = pair.downs.last().copied().unwrap_or(0);
            let lost = pair.taken[last_down..].iter().find(|number| !received.contains(number));
            assert_eq!(lost, None, "INV-NET8: from {from} to {to}, lost without a word");
            assert!(pair.is_up && pair.taken.len() > last_down, "{from} is not connected to {to}");
        }
    }
}

type Shared = Arc<Mutex<Story>>;

/// Notes what arrives at one node.
struct Witness {
    me: u64,
    story: Shared,
}

impl Receive for Witness {
    fn frames(&self, from: NodeId, frames: &mut Vec<(FrameKind, Bytes)>) {
        let mut story = self.story.lock();
        for (kind, payload) in frames.drain(..) {
            assert_eq!(kind, KIND);
            let (life, number) = payload.split_at(8);
            let number = (
                u64::from_le_bytes(life.try_into().unwrap()),
                u64::from_le_bytes(number[..8].try_into().unwrap()),
            );
            story.pair(from.0, self.me).received.push(number);
        }
    }

    fn peer_up(&self, peer: NodeId) {
        self.story.lock().pair(self.me, peer.0).is_up = true;
    }

    fn peer_down(&self, peer: NodeId) {
        let mut story = self.story.lock();
        let pair = story.pair(self.me, peer.0);
        pair.downs.push(pair.taken.len());
        pair.is_up = false;
    }

    fn call(&self, _: Option<NodeId>, request: Bytes) -> Reply {
        Box::pin(async move { request })
    }
}

fn name(node: u64) -> String {
    format!("node-{node}")
}

/// One life of a node: serves, and sends until the simulation ends or it is crashed.
async fn live(me: u64, story: Shared) -> turmoil::Result {
    let life = {
        let mut story = story.lock();
        let life = story.lives.entry(me).or_default();
        *life += 1;
        *life
    };
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let address = format!("{}:{PORT}", name(me));
    let identity = Identity { node: NodeId(me), cluster: 7, address };
    let outbox = Outbox::new(identity, Arc::new(SimulatedClock), Timing::default());
    let others = || (1..=NODES).filter(move |other| *other != me);
    others().for_each(|other| outbox.set_peer(NodeId(other), &format!("{}:{PORT}", name(other))));
    let witness = Arc::new(Witness { me, story: story.clone() });
    let sending = async {
        let mut number = 0_u64;
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            number += 1;
            for other in others() {
                // Some large ones, so that the socket's room runs out now and then.
                let filling = if number.is_multiple_of(50) { 20_000 } else { 8 };
                let mut payload = [life.to_le_bytes(), number.to_le_bytes()].concat();
                payload.resize(16 + filling, 0);
                if outbox.send(NodeId(other), KIND, &payload) {
                    story.lock().pair(me, other).taken.push((life, number));
                }
            }
        }
    };
    let serving = serve_on(Listener::Simulated(listener), outbox.clone(), witness, Shutdown::new());
    tokio::select! {
        served = serving => Ok(served?),
        never = sending => never,
    }
}

/// Chance, from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Breaks something, or mends it.
fn disturb(sim: &mut turmoil::Sim<'_>, story: &Shared, chance: &mut Chance) {
    let one = 1 + chance.below(NODES);
    let other = 1 + (one + chance.below(NODES - 1)) % NODES;
    let (a, b) = (name(one), name(other));
    match chance.below(9) {
        0 => sim.partition(a, b),
        1 => sim.partition_oneway(a, b),
        2 => sim.hold(a, b),
        3 | 4 => {
            sim.release(a.as_str(), b.as_str());
            sim.repair(a, b);
        }
        5 => {
            let latency = Duration::from_millis(1 + chance.below(80));
            sim.set_link_max_message_latency(a, b, latency);
        }
        6 => {
            sim.crash(a.as_str());
            story.lock().crashed(one);
            sim.bounce(a);
        }
        7 => {
            sim.set_link_fail_rate(a.as_str(), b.as_str(), 0.002);
        }
        _ => sim.set_link_fail_rate(a.as_str(), b.as_str(), 0.0),
    }
}

/// Everything works again, except connections that are stuck.
fn mend(sim: &mut turmoil::Sim<'_>) {
    for one in 1..=NODES {
        for other in one + 1..=NODES {
            let (a, b) = (name(one), name(other));
            sim.set_link_fail_rate(a.as_str(), b.as_str(), 0.0);
            sim.release(a.as_str(), b.as_str());
            sim.repair(a.as_str(), b.as_str());
            sim.set_link_max_message_latency(a, b, Duration::from_millis(5));
        }
    }
}

/// One run from a seed.
fn run(seed: u64) -> Story {
    let story = Shared::default();
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(1))
        .simulation_duration(FAULTS + SETTLED + Duration::from_secs(60))
        .build();
    for me in 1..=NODES {
        let story = story.clone();
        sim.host(name(me), move || live(me, story.clone()));
    }
    let mut chance = Chance(seed);
    while sim.elapsed() < FAULTS {
        for _ in 0..100 + chance.below(1500) {
            sim.step().unwrap();
        }
        disturb(&mut sim, &story, &mut chance);
    }
    mend(&mut sim);
    let end = sim.elapsed() + SETTLED;
    while sim.elapsed() < end {
        sim.step().unwrap();
    }
    story.lock().clone()
}

/// What is still under way when the simulation stops has not been lost.
fn without_the_last_moment(mut story: Story) -> Story {
    for pair in story.pairs.values_mut() {
        let under_way = pair.taken.len().saturating_sub(20);
        let received = pair.received.last().copied().unwrap_or_default();
        while pair.taken.len() > under_way && pair.taken.last().is_some_and(|last| *last > received)
        {
            pair.taken.pop();
        }
    }
    story
}

#[test]
fn frames_keep_their_order_and_none_is_lost_in_silence() {
    for seed in 1..=6 {
        let story = run(seed);
        let (received, downs) = story.pairs.values().fold((0, 0), |(received, downs), pair| {
            (received + pair.received.len(), downs + pair.downs.len())
        });
        assert!(
            received > 10_000 && downs > 10,
            "seed {seed} saw {received} frames, {downs} breaks"
        );
        let judged = std::panic::catch_unwind(|| without_the_last_moment(story).check());
        assert!(judged.is_ok(), "found with seed {seed}; the message stands above");
    }
}
