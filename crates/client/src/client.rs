//! One caller's door to a server or a cluster.
//! Owns: the connections, which of them takes a command, INV-C1. Never: starts a task, shares a
//! connection between callers, retries what may have been executed.
//!
//! A pipeline goes to the node that the routes name if they name the same for all its commands, else
//! home: to the first of the given addresses that answers. Replies that redirect are followed one
//! command at a time afterwards. Between WATCH or MULTI and EXEC everything goes home and redirects are
//! handed to the caller, since a transaction lives in one connection.

use std::collections::BTreeMap;

use keystead_resp::{RunDecoder, Span, Value};
use tokio::time::Instant;

use crate::connection::{Break, Connection};
use crate::error::Error;
use crate::options::ConnectOptions;
use crate::pipeline::Pipeline;
use crate::redirect::{Redirect, RedirectKind, Routes};
use crate::session::{Pin, Selection, needs_connection};

/// Connections kept beside the one home. Past it the first by address is closed.
const CONNECTIONS_MAX: usize = 64;

/// A client of one server or cluster, for one caller at a time.
///
/// It reconnects by itself for the next command. What belongs to a connection is set up again from
/// [`ConnectOptions`] (login, name, protocol), and so is the database that `SELECT` selected last; what other
/// commands set, such as `CLIENT NO-EVICT`, is not.
#[derive(Debug)]
pub struct Client {
    options: ConnectOptions,
    /// Never empty.
    seeds: Vec<String>,
    /// Index of the seed that is home.
    home: usize,
    connections: BTreeMap<String, Connection>,
    routes: Routes,
    pin: Pin,
    selection: Selection,
}

/// What is known about a pipeline before it is sent.
struct Plan {
    /// By command: whether a redirect may be followed.
    is_free: Vec<bool>,
    /// The node that all commands belong to, if it is known.
    address: Option<String>,
    pin_after: Pin,
    /// True if one of the commands may select a database.
    may_select: bool,
}

impl Client {
    /// Connects to the first of `addresses` (`host:port`, several separated by commas) that answers. Behind the last one
    /// may stand the number of a database, as in URLs: `host:port/3`; it takes the place of the one in `options`.
    ///
    /// # Errors
    /// As [`Connection::open`]; `Invalid` if there is no address in `addresses`, or no number behind the `/`.
    pub async fn connect(addresses: &str, mut options: ConnectOptions) -> Result<Self, Error> {
        let given = addresses;
        let (addresses, database) = given.split_once('/').unwrap_or((given, ""));
        if !database.is_empty() {
            let number = database.parse();
            options.database = number.map_err(|_| Error::Address { address: given.to_owned() })?;
        }
        let seeds: Vec<String> = addresses.split(',').map(|seed| seed.trim().to_owned()).collect();
        let has_port = |seed: &String| {
            seed.rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if !seeds.iter().all(has_port) {
            return Err(Error::Address { address: given.to_owned() });
        }
        let mut client = Self {
            options,
            seeds,
            home: 0,
            connections: BTreeMap::new(),
            routes: Routes::default(),
            pin: Pin::Free,
            selection: Selection::default(),
        };
        let deadline = client.deadline();
        client.connect_home(deadline).await?;
        Ok(client)
    }

    /// The address of the node that takes commands for which no other is known.
    #[must_use]
    pub fn home(&self) -> &str {
        &self.seeds[self.home]
    }

    /// How this client connects, with the database that is selected by now.
    #[must_use]
    pub const fn options(&self) -> &ConnectOptions {
        &self.options
    }

    /// Sends a command, its name first, and returns its reply within
    /// [`ConnectOptions::command_timeout`].
    ///
    /// Dropping the future does not withdraw the command; the connection is then replaced.
    ///
    /// # Errors
    /// [`Error::Reply`] for an error reply; see [`Error::kind`] for all others. `Unknown` means that the
    /// command may have been executed; this client never sends such a command again.
    ///
    /// # Panics
    /// None that a caller or a server can cause.
    pub async fn command(&mut self, args: &[impl AsRef<[u8]>]) -> Result<Value, Error> {
        let mut outcomes = self.pipeline(&Pipeline::of(args)?).await;
        assert!(outcomes.len() == 1, "one command has {} outcomes", outcomes.len());
        outcomes.remove(0)
    }

    /// Sends all commands of `pipeline` at once and returns one outcome for each, in their order.
    ///
    /// A command that a node redirected is sent again behind all others. Dropping the future does not
    /// withdraw the commands.
    pub async fn pipeline(&mut self, pipeline: &Pipeline) -> Vec<Result<Value, Error>> {
        let plan = match self.plan(pipeline) {
            Ok(plan) => plan,
            Err(error) => return vec![Err(error); pipeline.len()],
        };
        let deadline = self.deadline();
        let address = match self.reach(plan.address.as_deref(), deadline).await {
            Ok(address) => address,
            Err(error) => return vec![Err(error); pipeline.len()],
        };
        self.pin = plan.pin_after;
        let mut outcomes = self.exchange(&address, pipeline, deadline).await;
        for (position, outcome) in outcomes.iter_mut().enumerate() {
            if let Err(Error::Reply { message }) = outcome
                && plan.is_free[position]
                && let Some(redirect) = Redirect::parse(message, &address)
            {
                *outcome = self.follow(redirect, pipeline.command(position), deadline).await;
            }
        }
        if plan.may_select {
            self.follow_selection(&address, pipeline, &outcomes);
        }
        outcomes
    }

    /// Notes which database was selected: connections that are made again, and those to other nodes, work on it too.
    fn follow_selection(
        &mut self,
        address: &str,
        pipeline: &Pipeline,
        outcomes: &[Result<Value, Error>],
    ) {
        let (mut run, mut spans) = (RunDecoder::new(pipeline.run()), Vec::new());
        for outcome in outcomes {
            let Ok(Some(args)) = run.next(&mut spans) else { return };
            if let Some(database) = self.selection.after(args, outcome)
                && database != self.options.database
            {
                self.options.database = database;
                self.connections.retain(|other, _| other == address);
            }
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.options.command_timeout
    }

    fn plan(&self, pipeline: &Pipeline) -> Result<Plan, Error> {
        let mut pin = self.pin;
        let mut is_free = Vec::with_capacity(pipeline.len());
        let mut address = None;
        let mut is_agreed = true;
        let mut may_select = false;
        let mut spans = Vec::new();
        let mut run = RunDecoder::new(pipeline.run());
        while let Some(args) = run.next(&mut spans).map_err(|_| Error::TooLong)? {
            let name = &args[0];
            if needs_connection(name) {
                let command = String::from_utf8_lossy(name).into_owned();
                return Err(Error::NeedsConnection { command });
            }
            may_select |= Selection::may_follow(name);
            let before = pin;
            pin = pin.after(name);
            let is_this_free = before == Pin::Free && pin == Pin::Free;
            let wanted = self.routes.address_of(&args);
            if is_free.is_empty() {
                address = wanted;
            }
            is_agreed &= is_this_free && address == wanted;
            is_free.push(is_this_free);
        }
        let address = address.filter(|_| is_agreed).map(str::to_owned);
        Ok(Plan { is_free, address, pin_after: pin, may_select })
    }

    /// Makes sure of a connection to `address`, or else to home; returns whose it is.
    async fn reach(&mut self, address: Option<&str>, deadline: Instant) -> Result<String, Error> {
        if let Some(address) = address {
            match self.connect_to(address, deadline).await {
                Ok(()) => return Ok(address.to_owned()),
                // Nothing was sent: home knows better, or forwards.
                Err(_) => self.routes.forget(address),
            }
        }
        let home = self.home().to_owned();
        if self.pin != Pin::Free && !self.has_usable(&home) {
            self.pin = Pin::Free;
            return Err(Error::TransactionLost { address: home });
        }
        self.connect_home(deadline).await?;
        Ok(self.home().to_owned())
    }

    /// Connects to home; if it does not answer, the next seed that does becomes home.
    async fn connect_home(&mut self, deadline: Instant) -> Result<(), Error> {
        let mut last_error = None;
        for _ in 0..self.seeds.len() {
            let address = self.seeds[self.home].clone();
            match self.connect_to(&address, deadline).await {
                Ok(()) => return Ok(()),
                Err(error) => last_error = Some(error),
            }
            self.home = (self.home + 1) % self.seeds.len();
        }
        Err(last_error.expect("there is at least one seed, see connect"))
    }

    async fn connect_to(&mut self, address: &str, deadline: Instant) -> Result<(), Error> {
        if self.has_usable(address) {
            return Ok(());
        }
        let connection = Connection::open_until(address, &self.options, deadline).await?;
        if self.connections.len() >= CONNECTIONS_MAX {
            let home = self.seeds[self.home].as_str();
            let victim = self.connections.keys().find(|key| *key != home).cloned();
            victim.and_then(|victim| self.connections.remove(&victim));
        }
        self.connections.insert(address.to_owned(), connection);
        Ok(())
    }

    /// True if there is a connection that can take a command; one that cannot is closed.
    fn has_usable(&mut self, address: &str) -> bool {
        let is_usable = self.connections.get_mut(address).is_some_and(Connection::is_usable);
        if !is_usable {
            self.connections.remove(address);
        }
        is_usable
    }

    async fn exchange(
        &mut self,
        address: &str,
        pipeline: &Pipeline,
        deadline: Instant,
    ) -> Vec<Result<Value, Error>> {
        let connection =
            self.connections.get_mut(address).expect("reach has just connected to this address");
        let mut replies = Vec::with_capacity(pipeline.len());
        let end = connection.exchange(pipeline, deadline, &mut replies).await;
        let mut outcomes: Vec<_> = replies.into_iter().map(into_outcome).collect();
        if let Err(Break { cause, written }) = end {
            for position in outcomes.len()..pipeline.len() {
                let (address, source) = (address.to_owned(), cause.clone());
                // A server executes no command of which the end is missing.
                outcomes.push(Err(if pipeline.is_sent(position, written) {
                    Error::Lost { address, source }
                } else {
                    Error::NotSent { address, source }
                }));
            }
        }
        outcomes
    }

    /// Sends one command where `redirect` points, and on from there.
    async fn follow(
        &mut self,
        mut redirect: Redirect,
        command: &[u8],
        deadline: Instant,
    ) -> Result<Value, Error> {
        for _ in 0..self.options.redirects_max {
            let address = redirect.address.clone();
            self.connect_to(&address, deadline).await?;
            if redirect.kind == RedirectKind::Moved {
                self.learn(&redirect, command, deadline).await;
                self.connect_to(&address, deadline).await?;
            }
            let mut pipeline = Pipeline::new();
            if redirect.kind == RedirectKind::Ask {
                pipeline.push(&["ASKING"])?;
            }
            pipeline.push_encoded(command);
            let outcome = self.exchange(&address, &pipeline, deadline).await.pop();
            let outcome = outcome.expect("a pipeline has one outcome per command");
            redirect = match &outcome {
                Err(Error::Reply { message }) => match Redirect::parse(message, &address) {
                    Some(next) => next,
                    None => return outcome,
                },
                _ => return outcome,
            };
        }
        let redirects = self.options.redirects_max;
        Err(Error::Redirects { redirects, address: redirect.address })
    }

    /// Remembers a redirect and now and then asks the node it names for the whole map.
    async fn learn(&mut self, redirect: &Redirect, command: &[u8], deadline: Instant) {
        let mut spans: Vec<Span> = Vec::new();
        let Ok(Some(args)) = RunDecoder::new(command).next(&mut spans) else { return };
        if !self.routes.learn(&args, redirect) {
            return;
        }
        let Ok(pipeline) = Pipeline::of(&["CLUSTER", "SLOTS"]) else { return };
        let reply = self.exchange(&redirect.address, &pipeline, deadline).await.pop();
        // Only a cache: whoever does not answer this will answer the command.
        if let Some(Ok(slots)) = reply {
            self.routes.adopt(&slots, &redirect.address);
        }
    }
}

fn into_outcome(value: Value) -> Result<Value, Error> {
    match value {
        Value::Error(message) => Err(Error::Reply { message }),
        value => Ok(value),
    }
}
