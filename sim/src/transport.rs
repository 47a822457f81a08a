//! Frames on their way: how long they take, whether they arrive, what a break of a connection means.
//! Owns: sending, delivery, connections, pieces of snapshots. Never: what a frame means.

use bytes::Bytes;
use keystead_replication::transport::FrameKind;
use keystead_types::NodeId;

use crate::coverage::Event;
use crate::process::FetchStep;
use crate::scenario::MS;
use crate::world::{Happening, World};

/// How long a piece of a snapshot may take, at the product's own pace.
const PIECE_MAX_US: u64 = 10_000 * MS;

impl World {
    /// How long something takes from one node to another.
    fn travel_us(&mut self) -> u64 {
        20 + self.rng.below(400)
    }

    /// Sends a message that may be lost, doubled or late.
    pub(crate) fn send(&mut self, from: NodeId, to: NodeId, kind: FrameKind, payload: Bytes) {
        self.trace.note_bytes(&payload);
        let weather = self.net.weather;
        if self.net.cut.contains(&(from, to)) || self.rng.permille(weather.lost_permille) {
            return;
        }
        let copies = if self.rng.permille(weather.doubled_permille) { 2 } else { 1 };
        for _ in 0..copies {
            let mut delay = self.travel_us();
            if self.rng.permille(weather.late_permille) {
                delay += self.rng.below(300 * MS * self.scenario.scale);
            }
            let payload = payload.clone();
            self.after(delay, Happening::Message { to, from, kind, payload });
        }
    }

    pub(crate) fn message(&mut self, to: NodeId, from: NodeId, kind: FrameKind, payload: Bytes) {
        let is_cut = self.net.cut.contains(&(from, to));
        let Some(process) = self.process(to).filter(|_| !is_cut) else { return };
        process.parts.take_frames(from, &mut vec![(kind, payload)]);
        self.settle_down(to);
    }

    /// Sends a call or an answer on the connection between the two.
    pub(crate) fn post(&mut self, from: NodeId, to: NodeId, kind: FrameKind, payload: Bytes) {
        self.trace.note_bytes(&payload);
        if kind == FrameKind::FORWARD {
            self.count(Event::Forwarded);
        }
        let may_talk = self.net.may_talk(from, to);
        let delay = self.travel_us();
        let now_us = self.now_us;
        let link = self.net.link(from, to);
        if !link.is_up {
            return;
        }
        if !may_talk {
            return link.stalled.push((kind, payload));
        }
        let at = (now_us + delay).max(link.last_arrival_us + 1);
        link.last_arrival_us = at;
        let epoch = link.epoch;
        self.at(at, Happening::Called { to, from, epoch, kind, payload });
    }

    pub(crate) fn called(
        &mut self,
        to: NodeId,
        from: NodeId,
        epoch: u64,
        (kind, payload): (FrameKind, Bytes),
    ) {
        let may_talk = self.net.may_talk(from, to);
        let link = self.net.link(from, to);
        if !link.is_up || link.epoch != epoch {
            return;
        }
        if !may_talk || !link.stalled.is_empty() {
            return link.stalled.push((kind, payload));
        }
        if let Some(process) = self.process(to) {
            process.parts.take_frames(from, &mut vec![(kind, payload)]);
            self.settle_down(to);
        }
    }

    /// Nothing gets through in these directions from now on.
    pub(crate) fn cut(&mut self, pairs: &[(NodeId, NodeId)]) {
        for &(from, to) in pairs {
            if from == to || !self.net.cut.insert((from, to)) {
                continue;
            }
            for (one, other) in [(from, to), (to, from)] {
                let patience = self.rng.between(200, 3_000) * MS;
                let epoch = self.net.link(one, other).epoch;
                self.after(patience, Happening::Silence { from: one, to: other, epoch });
            }
        }
    }

    /// These directions work again.
    pub(crate) fn heal(&mut self, pairs: &[(NodeId, NodeId)]) {
        for pair in pairs {
            self.net.cut.remove(pair);
        }
        for (from, to) in self.net.links() {
            if !self.net.may_talk(from, to) {
                continue;
            }
            let stalled = std::mem::take(&mut self.net.link(from, to).stalled);
            for (kind, payload) in stalled {
                self.post(from, to, kind, payload);
            }
        }
    }

    pub(crate) fn silence(&mut self, from: NodeId, to: NodeId, epoch: u64) {
        if !self.net.may_talk(from, to) && self.net.link(from, to).epoch == epoch {
            self.break_link(from, to);
        }
    }

    /// The connection is gone, and with it what was under way. Its sender hears of it.
    fn break_link(&mut self, from: NodeId, to: NodeId) {
        let delay = self.rng.between(50, 1_000) * MS;
        let link = self.net.link(from, to);
        let was_up = std::mem::take(&mut link.is_up);
        link.epoch += 1;
        link.stalled.clear();
        let must_dial = !std::mem::replace(&mut link.is_dialing, true);
        if must_dial {
            self.after(delay, Happening::Dial { from, to });
        }
        if was_up {
            self.count(Event::LinkBroke);
            if let Some(process) = self.process(from) {
                process.posts.set_up(to, false);
                process.parts.peer_down(to);
                self.settle_down(from);
            }
        }
    }

    pub(crate) fn dial(&mut self, from: NodeId, to: NodeId) {
        if !self.hosts.contains_key(&from) || !self.hosts.contains_key(&to) {
            self.net.link(from, to).is_dialing = false;
            return;
        }
        let works = self.net.may_talk(from, to)
            && self.hosts[&from].process.is_some()
            && self.hosts[&to].process.is_some();
        if !works {
            let delay = self.rng.between(100, 1_000) * MS;
            return self.after(delay, Happening::Dial { from, to });
        }
        let link = self.net.link(from, to);
        link.is_dialing = false;
        link.is_up = true;
        link.epoch += 1;
        if let Some(process) = self.process(from) {
            process.posts.set_up(to, true);
            process.parts.peer_up();
            self.settle_down(from);
        }
    }

    /// A node has started: connections to and from it are made.
    pub(crate) fn connect_all(&mut self, id: NodeId) {
        for other in self.ids() {
            if other == id {
                continue;
            }
            for (from, to) in [(id, other), (other, id)] {
                let delay = self.soon(2 * MS);
                self.net.link(from, to).is_dialing = true;
                self.after(delay, Happening::Dial { from, to });
            }
        }
    }

    /// A node has ended: its connections break.
    pub(crate) fn disconnect_all(&mut self, id: NodeId) {
        for (from, to) in self.net.links_of(id) {
            self.break_link(from, to);
        }
    }

    /// Carries out a step of fetching a snapshot.
    pub(crate) fn fetch(&mut self, id: NodeId, life: u64, step: FetchStep) {
        match step {
            FetchStep::Ask(to, request, number) => {
                let delay = self.travel_us();
                let timeout = PIECE_MAX_US * self.scenario.scale / 4;
                self.after(timeout, Happening::ChunkTimeout { to: id, life, number });
                self.after(delay, Happening::ChunkAsked { to, from: id, life, number, request });
            }
            FetchStep::Done | FetchStep::Failed => {
                self.trace.line(
                    self.now_us,
                    format_args!("{id} fetched: {}", matches!(step, FetchStep::Done)),
                );
                if let Some(process) = self.alive(id, life) {
                    let next = process.fetch_next();
                    self.fetch(id, life, next);
                }
            }
            FetchStep::Idle => {}
        }
        self.settle_down(id);
    }

    pub(crate) fn chunk_asked(
        &mut self,
        to: NodeId,
        (from, life, number): (NodeId, u64, u64),
        request: &[u8],
    ) {
        self.trace.note_bytes(request);
        if !self.net.may_talk(from, to) {
            return;
        }
        let delay = self.travel_us();
        let Some(process) = self.process(to) else { return };
        if let Some(reply) = process.serve_chunk(from, request) {
            self.after(delay, Happening::ChunkCame { to: from, life, number, reply });
        }
        self.settle_down(to);
    }

    pub(crate) fn chunk_came(&mut self, to: NodeId, life: u64, number: u64, reply: Bytes) {
        self.trace.note_bytes(&reply);
        let Some(process) = self.alive(to, life) else { return };
        let step = process.fetch_reply(number, reply);
        self.fetch(to, life, step);
    }

    pub(crate) fn chunk_timeout(&mut self, to: NodeId, life: u64, number: u64) {
        let Some(process) = self.alive(to, life) else { return };
        if process.fetch_timeout(number) {
            self.fetch(to, life, FetchStep::Failed);
        }
    }
}
