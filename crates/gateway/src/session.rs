//! What a connection is to the server: who it is, how it speaks, and the commands about that.
//!
//! Owns: [`Session`] and the running of session commands ([`SessionCall`]); the larger families stand
//! in `session/`. Never: data, sockets. Called by: `dispatch.rs`, only while no window is in flight.

use keystead_resp::{Args, Protocol, ReplyWriter};
use keystead_store::command::SessionCommand;
use keystead_types::DatabaseId;
use std::sync::Arc;

use crate::attention::Feed;
use crate::config::GatewayConfig;
use crate::dispatch::Verdict;
use crate::pipeline::Turn;
use crate::registry::{Client, Registration, flag};
use crate::reply::Failure;
use crate::transaction::{Transaction, Watch};

mod acl;
mod client;
mod cluster;
mod command;
mod config;
mod connection;
pub(crate) mod debug;
mod hello;
mod info;
mod latency;
mod lolwut;
mod memory;
mod monitor;
pub(crate) mod pubsub;
mod script;
mod slow_log;
pub(crate) mod tracking;
mod wait;

/// The version of Redis that clients may take this server for when they look for features.
pub(crate) const REDIS_VERSION: &str = "7.4.0";

/// One connection's state between its commands.
#[derive(Debug)]
pub(crate) struct Session {
    registration: Registration,
    protocol: Protocol,
    database: DatabaseId,
    is_authenticated: bool,
    reply_mode: ReplyMode,
    pub(crate) transaction: Option<Box<Transaction>>,
    pub(crate) watch: Option<Watch>,
    /// What the connection listens to, if it does.
    subscriptions: Option<Box<pubsub::Subscriptions>>,
    /// How the connection tracks the keys it reads, if it does.
    tracking: Option<Box<tracking::Tracked>>,
    /// Where commands wait for it, if it watches them (MONITOR).
    feed: Option<Arc<Feed>>,
    /// True while DEBUG SLEEP holds the connection back.
    is_asleep: bool,
}

/// Which replies the client wants (CLIENT REPLY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyMode {
    All,
    /// All but that of the next command.
    SkipNext,
    /// All but that of this command.
    SkipThis,
    None,
}

impl Session {
    /// A connection that has sent nothing yet.
    pub(crate) fn new(registration: Registration, config: &GatewayConfig) -> Self {
        Self {
            registration,
            protocol: Protocol::Resp2,
            database: DatabaseId::FIRST,
            is_authenticated: config.password.is_none(),
            reply_mode: ReplyMode::All,
            transaction: None,
            watch: None,
            subscriptions: None,
            tracking: None,
            feed: None,
            is_asleep: false,
        }
    }

    /// What others know of the connection.
    pub(crate) fn client(&self) -> &Arc<Client> {
        self.registration.client()
    }

    /// The protocol that the client speaks.
    pub(crate) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The database that the connection works on.
    pub(crate) const fn database(&self) -> DatabaseId {
        self.database
    }

    /// True once the client has given the password, or if none is asked for.
    pub(crate) const fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// True between MULTI and EXEC.
    pub(crate) const fn is_queueing(&self) -> bool {
        self.transaction.is_some()
    }

    /// True if the client wants no reply to the present command.
    pub(crate) const fn is_silent(&self) -> bool {
        matches!(self.reply_mode, ReplyMode::SkipThis | ReplyMode::None)
    }

    /// To be called behind every command.
    pub(crate) const fn command_ended(&mut self) {
        self.reply_mode = match self.reply_mode {
            ReplyMode::SkipNext => ReplyMode::SkipThis,
            ReplyMode::SkipThis => ReplyMode::All,
            mode => mode,
        };
    }

    /// Notes that a command was refused: a transaction it stands in will abort.
    pub(crate) fn note_failure(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.is_refused = true;
        }
    }

    /// Takes back what the connection left at the node; called when it is over.
    pub(crate) fn depart(&mut self, turn: &mut Turn<'_>) {
        self.drop_watch(turn);
        self.drop_subscriptions(turn);
        self.stop_tracking(turn.local);
        self.drop_feed(turn);
    }

    /// Makes the connection work on another database.
    pub(crate) fn select(&mut self, database: DatabaseId) {
        self.database = database;
        self.client().database.store(database.0, std::sync::atomic::Ordering::Relaxed);
    }

    fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.client().set_flag(flag::RESP3, protocol == Protocol::Resp3);
    }

    /// Makes the connection as new (RESET).
    fn reset(&mut self, turn: &mut Turn<'_>) {
        self.transaction = None;
        self.drop_watch(turn);
        self.drop_subscriptions(turn);
        self.stop_tracking(turn.local);
        self.drop_feed(turn);
        self.set_protocol(Protocol::Resp2);
        self.select(DatabaseId::FIRST);
        self.reply_mode = ReplyMode::All;
        self.is_authenticated = turn.local.shared.config.password.is_none();
        let client = self.client();
        client.set_flag(flag::READONLY | flag::NO_EVICT | flag::NO_TOUCH, false);
        client.queued_plus_one.store(0, std::sync::atomic::Ordering::Relaxed);
        client.relabel(|labels| labels.name = Box::default());
    }
}

/// A session command on its way: what it may use, and where its reply goes.
pub(crate) struct SessionCall<'c, 't, 'a> {
    pub(crate) turn: &'c mut Turn<'t>,
    pub(crate) session: &'c mut Session,
    pub(crate) output: &'c mut Vec<u8>,
    pub(crate) args: Args<'a>,
}

/// How a session command ends: with a reply written, or with an error to write.
pub(crate) type Answer<'a> = Result<Verdict, Failure<'a>>;

impl<'a> SessionCall<'_, '_, 'a> {
    /// Runs the command.
    pub(crate) fn run(&mut self, kind: SessionCommand) -> Answer<'a> {
        use SessionCommand as Cmd;
        match kind {
            Cmd::Ping => self.ping(),
            Cmd::Echo => self.echo(),
            Cmd::Quit => self.quit(),
            Cmd::Reset => self.reset(),
            Cmd::Select => self.select(),
            Cmd::Time => self.time(),
            Cmd::LastSave => self.last_save(),
            Cmd::Asking | Cmd::ReadWrite => self.ok(),
            Cmd::ReadOnly => self.read_only(),
            Cmd::Shutdown => self.shut_down(),
            Cmd::Lolwut => self.lolwut(),
            Cmd::Monitor => self.monitor(),
            Cmd::Role => self.role(),
            Cmd::Wait => self.wait(),
            Cmd::WaitAof => self.wait_aof(),
            Cmd::Hello => self.hello(),
            Cmd::Auth => self.auth(),
            Cmd::Info => self.info(),
            Cmd::Debug => self.debug(),
            _ => self.run_family(kind),
        }
    }

    fn run_family(&mut self, kind: SessionCommand) -> Answer<'a> {
        use SessionCommand as Cmd;
        match kind {
            Cmd::Command
            | Cmd::CommandCount
            | Cmd::CommandDocs
            | Cmd::CommandGetKeys
            | Cmd::CommandGetKeysAndFlags
            | Cmd::CommandHelp
            | Cmd::CommandInfo
            | Cmd::CommandList => self.command(kind),
            Cmd::ConfigGet
            | Cmd::ConfigHelp
            | Cmd::ConfigResetStat
            | Cmd::ConfigRewrite
            | Cmd::ConfigSet => self.config(kind),
            Cmd::ClusterHelp
            | Cmd::ClusterInfo
            | Cmd::ClusterKeySlot
            | Cmd::ClusterLinks
            | Cmd::ClusterMyId
            | Cmd::ClusterMyShardId
            | Cmd::ClusterNodes
            | Cmd::ClusterReplicas
            | Cmd::ClusterShards
            | Cmd::ClusterSlots => self.cluster(kind),
            Cmd::ModuleHelp => self.help("module"),
            Cmd::ModuleList => {
                self.reply().array(0);
                Ok(Verdict::Next)
            }
            Cmd::JsonDebugHelp => self.help("json.debug"),
            Cmd::ObjectHelp => self.help("object"),
            Cmd::XGroupHelp => self.help("xgroup"),
            Cmd::XInfoHelp => self.help("xinfo"),
            Cmd::Publish
            | Cmd::SPublish
            | Cmd::PubSub
            | Cmd::PubSubChannels
            | Cmd::PubSubHelp
            | Cmd::PubSubNumPat
            | Cmd::PubSubNumSub
            | Cmd::PubSubShardChannels
            | Cmd::PubSubShardNumSub => self.pubsub(kind),
            _ if kind.changes_subscriptions() => self.pubsub(kind),
            _ => self.run_inspection(kind),
        }
    }

    fn run_inspection(&mut self, kind: SessionCommand) -> Answer<'a> {
        use SessionCommand as Cmd;
        match kind {
            Cmd::AclCat
            | Cmd::AclDryRun
            | Cmd::AclGenPass
            | Cmd::AclGetUser
            | Cmd::AclHelp
            | Cmd::AclList
            | Cmd::AclLog
            | Cmd::AclUsers
            | Cmd::AclWhoAmI => self.acl(kind),
            Cmd::LatencyDoctor
            | Cmd::LatencyGraph
            | Cmd::LatencyHelp
            | Cmd::LatencyHistogram
            | Cmd::LatencyHistory
            | Cmd::LatencyLatest
            | Cmd::LatencyReset => self.latency(kind),
            Cmd::MemoryDoctor
            | Cmd::MemoryHelp
            | Cmd::MemoryMallocStats
            | Cmd::MemoryPurge
            | Cmd::MemoryStats => self.memory(kind),
            Cmd::SlowLogGet | Cmd::SlowLogHelp | Cmd::SlowLogLen | Cmd::SlowLogReset => {
                self.slow_log(kind)
            }
            Cmd::FunctionHelp => self.help("function"),
            Cmd::ScriptHelp => self.help("script"),
            Cmd::ScriptDebug => self.script_debug(),
            Cmd::FunctionKill | Cmd::ScriptKill => Err(Failure::NotBusy),
            _ => self.client(kind),
        }
    }

    /// Where the reply is written, in the protocol that the connection speaks by now.
    fn reply(&mut self) -> ReplyWriter<'_> {
        ReplyWriter::new(self.output, self.session.protocol)
    }

    fn ok(&mut self) -> Answer<'a> {
        self.reply().ok();
        Ok(Verdict::Next)
    }

    /// The argument at a position that the arity check has made sure of.
    fn arg(&self, position: usize) -> &'a [u8] {
        self.args.get(position).unwrap_or_default()
    }

    /// The HELP of a container, from its rows.
    fn help(&mut self, container: &'static str) -> Answer<'a> {
        let Some(row) = keystead_store::command::find(container.as_bytes()) else {
            return Err(Failure::Syntax);
        };
        keystead_store::command::describe::help(row, &mut self.reply());
        Ok(Verdict::Next)
    }
}

/// A decimal integer as Redis reads arguments: no sign but `-`, no blanks, no leading zeros.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = match digits {
        b"0" => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if is_plain { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// True if the client may use these bytes as a name: printable ASCII without blanks.
fn is_valid_label(label: &[u8]) -> bool {
    label.iter().all(|byte| (b'!'..=b'~').contains(byte))
}
