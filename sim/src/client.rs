//! Clients at work: connecting, sending, hearing, giving up.
//! Owns: when a client does what. Never: whether an answer is right (see `workload`).

use keystead_history::{Operation, Outcome};
use keystead_resp::{Value, encode};
use keystead_types::NodeId;

use crate::coverage::Event;
use crate::model::{Answer, Ask, CELLS, Cells, Command, Form, Reply, STRINGS, key};
use crate::scenario::MS;
use crate::workload::{Client, Heard, Pending, Wire, Workload};
use crate::world::{Happening, World};

/// Of so many things that a client asks one is an exchange of databases: in doubt, it makes all histories longer to judge.
const ASKS_A_SWAP: u64 = 150;

impl World {
    /// Clients begin to ask.
    pub(crate) fn open_workload(&mut self) {
        self.workload.is_open = true;
        self.workload.clients.resize_with(self.scenario.clients + 1, Client::default);
        for client in 0..self.scenario.clients {
            let (delay, epoch) = (self.soon(20 * MS), self.workload.clients[client].epoch);
            self.after(delay, Happening::Client(client, epoch));
        }
    }

    fn again(&mut self, client: usize) {
        let delay = self.soon(self.scenario.think_us_max);
        let epoch = self.workload.clients[client].epoch;
        self.after(delay, Happening::Client(client, epoch));
    }

    pub(crate) fn client(&mut self, client: usize, epoch: u64) {
        let is_judge = client == self.scenario.clients;
        let it = &self.workload.clients[client];
        // The judge asks until it has seen every object, then leaves the cluster to itself.
        let has_business = if is_judge { !self.finals.is_empty() } else { self.workload.is_open };
        if it.epoch != epoch || !it.pending.is_empty() || !has_business {
            return;
        }
        if it.wire.is_none() && !self.connect(client) {
            return self.again(client);
        }
        let mut bytes = Vec::new();
        if is_judge {
            self.ask_finals(client, &mut bytes);
        } else {
            for _ in 0..self.rng.between(1, 3) {
                self.ask(client, &mut bytes);
            }
        }
        self.send_bytes(client, &bytes);
    }

    /// Connects to where it was sent, or to any node that runs.
    fn connect(&mut self, client: usize) -> bool {
        let running = self.running();
        let sent_to = self.workload.clients[client].sent_to.take();
        let sent_to = sent_to.filter(|node| running.contains(node));
        let Some(node) = sent_to.or_else(|| self.rng.pick(&running).copied()) else { return false };
        let host = self.hosts.get_mut(&node).expect("it runs");
        let (life, process) = (host.life, host.process.as_mut().expect("it runs"));
        let connection = process.desk.connect();
        let it = &mut self.workload.clients[client];
        it.wire = Some(Wire { node, life, connection });
        if self.rng.below(2) == 0 {
            let mut bytes = Vec::new();
            encode::command(&mut bytes, [&b"HELLO"[..], b"3"]);
            self.workload.clients[client].pending.push_back(Pending::Any);
            self.send_bytes(client, &bytes);
        }
        true
    }

    fn object(&mut self) -> usize {
        self.workload.any_object(&mut self.rng, self.scenario.clients + 2)
    }

    fn ask(&mut self, client: usize, bytes: &mut Vec<u8>) {
        if self.now_us < self.workload.reads_only_until_us {
            let (object, cell) = (self.object(), self.rng.index(CELLS));
            return self.begin(client, object, Ask::alone(Command::Get(cell)), bytes);
        }
        if self.rng.below(ASKS_A_SWAP) == 0 {
            return self.swap(client, bytes);
        }
        match self.rng.below(12) {
            0 | 1 => return self.write_bulk(client, bytes),
            2 if !self.workload.clients[client].is_watching => return self.watch(client, bytes),
            _ => {}
        }
        let watched = self.workload.clients[client].watched.take();
        if let Some((object, ..)) = watched
            && self.workload.is_left(object)
        {
            // Its history is closed: the watch was for nothing.
            self.workload.clients[client].is_watching = false;
            encode::command(bytes, [&b"UNWATCH"[..]]);
            return self.workload.clients[client].pending.push_back(Pending::Any);
        }
        if let Some((object, cell, held)) = watched {
            let commands = [Command::Set(cell, self.workload.token()), Command::Get(cell)];
            let guard = Some((cell, held));
            let ask = Ask { guard, ..Ask::together(Form::Transaction, commands) };
            self.workload.clients[client].is_watching = false;
            return self.begin(client, object, ask, bytes);
        }
        let object = self.object();
        let is_watching = self.workload.clients[client].is_watching;
        let ask = self.workload.any_ask(&mut self.rng, !is_watching);
        self.begin(client, object, ask, bytes);
    }

    /// Fills logs and snapshots, and gives keys a time to expire.
    fn write_bulk(&mut self, client: usize, bytes: &mut Vec<u8>) {
        let key = format!("bulk:{}", self.rng.below(60));
        let value = vec![b'x'; self.rng.index(1_500)];
        let ttl = self.rng.between(1, 3_000).to_string();
        let set: [&[u8]; 5] = [b"SET", key.as_bytes(), &value, b"PX", ttl.as_bytes()];
        let count = if self.rng.below(3) == 0 { 5 } else { 3 };
        encode::command(bytes, set.into_iter().take(count));
        self.workload.clients[client].pending.push_back(Pending::Any);
    }

    /// Exchanges the databases, of all objects.
    fn swap(&mut self, client: usize, bytes: &mut Vec<u8>) {
        if let Some(pending) = self.workload.swap(self.now_us) {
            Ask::alone(Command::Swap).write("", bytes);
            self.workload.clients[client].pending.push_back(pending);
        }
    }

    /// Selects a database, unless the client is sure that it is selected.
    fn select(&mut self, client: usize, database: usize, bytes: &mut Vec<u8>) {
        let it = &mut self.workload.clients[client];
        if it.selected.replace(database) != Some(database) {
            Ask::alone(Command::Select(database)).write("", bytes);
            it.pending.push_back(Pending::Select);
        }
    }

    /// Watches a cell and reads it; what follows is a transaction that hangs on it.
    fn watch(&mut self, client: usize, bytes: &mut Vec<u8>) {
        let object = self.object();
        let get = Command::Get(Workload::any_cell(&mut self.rng, STRINGS));
        self.select(client, get.database(), bytes);
        let key = key(self.workload.tag(object), get.cell());
        encode::command(bytes, [&b"WATCH"[..], &key]);
        self.workload.clients[client].pending.push_back(Pending::Watch);
        self.workload.clients[client].is_watching = true;
        self.begin(client, object, Ask::alone(get), bytes);
        if let Some(Pending::Operation { is_for_watch, .. }) =
            self.workload.clients[client].pending.back_mut()
        {
            *is_for_watch = true;
        }
    }

    fn begin(&mut self, client: usize, object: usize, ask: Ask, bytes: &mut Vec<u8>) {
        self.write(client, object, &ask, bytes);
        self.workload.called(object);
        let (called, before) = (self.now_us, ask.replies_before());
        let pending = Pending::Operation { object, ask, called, before, is_for_watch: false };
        self.workload.clients[client].pending.push_back(pending);
    }

    fn write(&mut self, client: usize, object: usize, ask: &Ask, bytes: &mut Vec<u8>) {
        self.select(client, ask.commands[0].database(), bytes);
        ask.write(self.workload.tag(object), bytes);
        let selects = ask.commands.iter().any(|command| matches!(command, Command::Select(_)));
        if selects && ask.form == Form::Transaction {
            // It stays selected if the transaction is executed, and nobody knows yet whether it is.
            self.workload.clients[client].selected = None;
        }
    }

    fn ask_finals(&mut self, client: usize, bytes: &mut Vec<u8>) {
        for object in self.workload.judged() {
            let ask = Ask::together(Form::Transaction, (0..CELLS).map(Command::Get));
            self.write(client, object, &ask, bytes);
            let it = &mut self.workload.clients[client];
            (0..ask.replies_before()).for_each(|_| it.pending.push_back(Pending::Any));
            it.pending.push_back(Pending::Final(object, ask));
        }
    }

    /// Sends bytes, in pieces that arrive one after the other.
    fn send_bytes(&mut self, client: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.trace.note_bytes(bytes);
        let Some(wire) = self.workload.clients[client].wire else { return };
        let cut = if self.rng.below(4) == 0 { self.rng.index(bytes.len()) } else { 0 };
        for piece in [&bytes[..cut], &bytes[cut..]] {
            if piece.is_empty() {
                continue;
            }
            let travel = 20 + self.rng.below(300);
            let it = &mut self.workload.clients[client];
            let at = (self.now_us + travel).max(it.last_arrival_us + 1);
            it.last_arrival_us = at;
            let (epoch, Wire { node, life, connection }) = (it.epoch, wire);
            let bytes = piece.to_vec();
            self.at(at, Happening::ToNode { client, epoch, node, life, connection, bytes });
        }
        let it = &mut self.workload.clients[client];
        it.batch += 1;
        let batch = it.batch;
        let patience = u64::try_from(self.scenario.core.patience.as_micros()).expect("seconds");
        self.after(patience * 2 + 1_000 * MS, Happening::ClientTimeout(client, batch));
        self.plan_end_of_wait(client, batch);
    }

    /// Has the time of whoever waits be over some time later, if what is pending waits.
    fn plan_end_of_wait(&mut self, client: usize, batch: u64) {
        let it = &self.workload.clients[client];
        if it.batch == batch && it.pending.iter().any(Pending::waits) {
            let delay = (20 + self.rng.below(400)) * MS * self.scenario.scale;
            self.after(delay, Happening::WaitOver(client, batch));
        }
    }

    pub(crate) fn wait_over(&mut self, client: usize, batch: u64) {
        let it = &self.workload.clients[client];
        let Some(Wire { node, life, connection }) = it.wire.filter(|_| it.batch == batch) else {
            return;
        };
        if let Some(process) = self.alive(node, life) {
            if process.desk.end_wait(connection) {
                while process.desk.pump() {}
            }
            self.settle_down(node);
        }
        // There may be one more behind it.
        self.plan_end_of_wait(client, batch);
    }

    pub(crate) fn bytes_at_node(
        &mut self,
        (client, epoch): (usize, u64),
        (node, life, connection): (NodeId, u64, u32),
        bytes: &[u8],
    ) {
        if self.workload.clients[client].epoch != epoch {
            return;
        }
        let Some(process) = self.alive(node, life) else { return };
        if process.desk.take(connection, bytes) {
            while process.desk.pump() {}
        }
        self.settle_down(node);
    }

    /// Sends what the gateway of a node has for its clients.
    pub(crate) fn send_replies(&mut self, id: NodeId) {
        let Some(process) = self.process(id) else { return };
        let mut outputs = Vec::new();
        process.desk.outputs(|connection, bytes| outputs.push((connection, bytes.to_vec())));
        for (connection, bytes) in outputs {
            self.trace.note_bytes(&bytes);
            let life = self.hosts[&id].life;
            let holds = |it: &Client| {
                it.wire.is_some_and(|wire| {
                    (wire.node, wire.life, wire.connection) == (id, life, connection)
                })
            };
            let Some(client) = self.workload.clients.iter().position(holds) else { continue };
            let epoch = self.workload.clients[client].epoch;
            // Ends of one connection arrive in order: each takes as long as the others.
            self.after(150, Happening::ToClient { client, epoch, bytes });
        }
    }

    pub(crate) fn bytes_at_client(&mut self, client: usize, epoch: u64, bytes: &[u8]) {
        if self.workload.clients[client].epoch != epoch {
            return;
        }
        let mut next = self.workload.clients[client].next_reply(bytes);
        while let Some(value) = next {
            self.hear_reply(client, &value);
            if self.workload.clients[client].epoch != epoch {
                return;
            }
            next = self.workload.clients[client].next_reply(&[]);
        }
        if self.workload.clients[client].pending.is_empty() {
            let it = &self.workload.clients[client];
            if it.sent_to.is_some() || it.is_spoiled || self.rng.below(40) == 0 {
                return self.hang_up(client);
            }
            self.again(client);
        }
    }

    fn hear_reply(&mut self, client: usize, value: &Value) {
        let it = &mut self.workload.clients[client];
        match it.pending.front_mut().expect("every reply was asked for") {
            Pending::Operation { before, .. } if *before > 0 => {
                *before -= 1;
                return;
            }
            _ => {}
        }
        match it.pending.pop_front().expect("it was just looked at") {
            Pending::Any => {}
            Pending::Select => {
                assert_eq!(*value, Value::Simple("OK".into()), "SELECT was answered {value:?}");
            }
            Pending::Swap(swap) => self.hear_swap(swap, value),
            // What follows would hang on no watch.
            Pending::Watch => it.is_spoiled |= value.as_error().is_some(),
            Pending::Final(object, ask) => self.hear_final(object, &ask, value),
            Pending::Operation { object, ask, called, is_for_watch, .. } => {
                self.hear_operation(client, (object, ask, called, is_for_watch), value);
            }
        }
    }

    fn hear_operation(
        &mut self,
        client: usize,
        (object, ask, called, is_for_watch): (usize, Ask, u64, bool),
        value: &Value,
    ) {
        let at = self.now_us;
        // Without an answer to what it watches, the client has nothing to hang a transaction on.
        self.workload.clients[client].is_spoiled |= is_for_watch && value.as_error().is_some();
        let outcome = match Heard::of(&ask, value) {
            Heard::Answer(output) => {
                self.coverage.count(Event::Answered);
                let it = &mut self.workload.clients[client];
                if is_for_watch
                    && !it.is_spoiled
                    && let Answer::Replies(replies) = &output
                {
                    let held = match &replies[0] {
                        Reply::Bytes(bytes) => Some(bytes.clone()),
                        _ => None,
                    };
                    let cell = ask.commands[0].cell();
                    it.watched = Some((object, cell, held));
                }
                match ask.form {
                    Form::Alone => {
                        if ask.waits() && output != Answer::Replies(vec![Reply::Nil]) {
                            self.coverage.count(Event::Served);
                        }
                    }
                    Form::Script => self.coverage.count(Event::Script),
                    Form::Transaction if output == Answer::Aborted => {
                        self.coverage.count(Event::Aborted);
                    }
                    Form::Transaction => self.coverage.count(Event::Transaction),
                }
                Some(Outcome::Returned { at, output })
            }
            Heard::Refused => {
                self.coverage.count(Event::Refused);
                None
            }
            Heard::Moved(address) => {
                self.coverage.count(Event::Moved);
                self.workload.clients[client].sent_to = self.node_at(&address);
                None
            }
            Heard::Uncertain => {
                self.coverage.count(Event::Uncertain);
                Some(Outcome::Unknown)
            }
        };
        let operation = outcome.map(|outcome| Operation { input: ask, called, outcome });
        self.workload.ended(object, operation, &mut self.coverage);
    }

    fn hear_swap(&mut self, swap: u64, value: &Value) {
        let outcome = match Heard::of(&Ask::alone(Command::Swap), value) {
            Heard::Answer(output) => {
                self.coverage.count(Event::Swapped);
                Some(Outcome::Returned { at: self.now_us, output })
            }
            Heard::Uncertain => Some(Outcome::Unknown),
            Heard::Refused | Heard::Moved(_) => None,
        };
        self.workload.swap_ended(swap, outcome, &mut self.coverage);
    }

    fn hear_final(&mut self, object: usize, ask: &Ask, value: &Value) {
        let Some(elements) = value.as_elements() else {
            // Not now: it is asked again.
            return;
        };
        let mut cells = Cells::default();
        for (command, element) in ask.commands.iter().zip(elements) {
            if let (Command::Get(cell), Some(Reply::Bytes(held))) =
                (command, command.reply(element))
            {
                cells[*cell] = Some(held);
            }
        }
        self.workload.compare(object, &cells);
        self.finals.remove(&object);
    }

    pub(crate) fn client_timeout(&mut self, client: usize, batch: u64) {
        let it = &self.workload.clients[client];
        if it.batch == batch && !it.pending.is_empty() {
            self.hang_up(client);
        }
    }

    /// A client gives its connection up, or lost it; what it had asked is in doubt.
    pub(crate) fn hang_up(&mut self, client: usize) {
        let wire = self.workload.clients[client].wire;
        for pending in self.workload.clients[client].forget_wire() {
            match pending {
                Pending::Operation { object, ask, called, .. } => {
                    self.coverage.count(Event::Unheard);
                    let is_read = ask.is_read();
                    let unknown = Operation { input: ask, called, outcome: Outcome::Unknown };
                    self.workload.ended(object, (!is_read).then_some(unknown), &mut self.coverage);
                }
                Pending::Swap(swap) => {
                    let unknown = Some(Outcome::Unknown);
                    self.workload.swap_ended(swap, unknown, &mut self.coverage);
                }
                _ => {}
            }
        }
        if let Some(Wire { node, life, connection }) = wire
            && let Some(process) = self.alive(node, life)
        {
            if process.desk.disconnect(connection) {
                while process.desk.pump() {}
            }
            self.settle_down(node);
        }
        self.again(client);
    }

    /// A node's connections are gone.
    pub(crate) fn node_gone(&mut self, id: NodeId) {
        for client in 0..self.workload.clients.len() {
            if self.workload.clients[client].wire.is_some_and(|wire| wire.node == id) {
                self.hang_up(client);
            }
        }
    }
}
