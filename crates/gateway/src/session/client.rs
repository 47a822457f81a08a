//! CLIENT and its subcommands.
//! Owns: names, labels, the list of connections, killing them. Never: closes a socket itself; the
//! connection's own thread does.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keystead_store::command::SessionCommand;

use crate::attention::Pause;
use crate::dispatch::{Verdict, command_at};
use crate::registry::{Client, Unblock, flag};
use crate::reply::Failure;

use super::{Answer, ReplyMode, SessionCall, integer, is_valid_label};

/// Which connections a CLIENT KILL means; a connection must match all that is set.
#[derive(Default)]
struct Filter<'a> {
    id: Option<u64>,
    peer: Option<&'a [u8]>,
    local: Option<&'a [u8]>,
    kind: Option<Kind>,
    spares_caller: bool,
}

impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn client(&mut self, kind: SessionCommand) -> Answer<'a> {
        use SessionCommand as Cmd;
        match kind {
            Cmd::ClientId => {
                let id = self.session.client().id;
                self.reply().integer(i64::try_from(id).unwrap_or(i64::MAX));
                Ok(Verdict::Next)
            }
            Cmd::ClientGetName => self.client_get_name(),
            Cmd::ClientSetName => self.client_set_name(),
            Cmd::ClientSetInfo => self.client_set_info(),
            Cmd::ClientInfo => {
                let line = self.describe(self.session.client());
                self.reply().verbatim(&line);
                Ok(Verdict::Next)
            }
            Cmd::ClientList => self.client_list(),
            Cmd::ClientKill => self.client_kill(),
            Cmd::ClientReply => self.client_reply(),
            Cmd::ClientNoEvict => self.client_switch(flag::NO_EVICT),
            Cmd::ClientNoTouch => self.client_switch(flag::NO_TOUCH),
            Cmd::ClientUnblock => self.client_unblock(),
            Cmd::ClientGetRedir => self.client_getredir(),
            Cmd::ClientTracking => self.client_tracking(),
            Cmd::ClientTrackingInfo => self.client_tracking_state(),
            Cmd::ClientCaching => self.client_caching(),
            Cmd::ClientHelp => self.help("client"),
            Cmd::ClientPause => self.client_pause(),
            Cmd::ClientUnpause => {
                self.turn.local.shared.attention.end_pause();
                self.ok()
            }
            _ => Err(Failure::Unsupported { what: "this command" }),
        }
    }

    fn client_get_name(&mut self) -> Answer<'a> {
        let labels = self.session.client().labels();
        let mut reply = self.reply();
        if labels.name.is_empty() {
            reply.null();
        } else {
            reply.bulk(&labels.name);
        }
        Ok(Verdict::Next)
    }

    fn client_set_name(&mut self) -> Answer<'a> {
        let name = self.arg(2);
        if !is_valid_label(name) {
            return Err(Failure::ClientName);
        }
        self.session.client().relabel(|labels| labels.name = name.into());
        self.ok()
    }

    /// `CLIENT SETINFO LIB-NAME name` or `LIB-VER version`
    fn client_set_info(&mut self) -> Answer<'a> {
        let (option, value) = (self.arg(2), self.arg(3));
        let is_name = option.eq_ignore_ascii_case(b"lib-name");
        if !is_name && !option.eq_ignore_ascii_case(b"lib-ver") {
            return Err(Failure::ClientOption { option });
        }
        if !is_valid_label(value) {
            return Err(Failure::ClientLabel { option });
        }
        self.session.client().relabel(|labels| {
            let label = if is_name { &mut labels.library } else { &mut labels.library_version };
            *label = value.into();
        });
        self.ok()
    }

    /// `CLIENT LIST [TYPE type] [ID id ...]`
    fn client_list(&mut self) -> Answer<'a> {
        let registry = &self.turn.local.shared.registry;
        let clients = match (self.args.get(2), self.args.len()) {
            (None, _) => registry.clients(),
            (Some(option), 4) if option.eq_ignore_ascii_case(b"type") => {
                let kind = Kind::parse(self.arg(3))?;
                registry.clients().into_iter().filter(|client| kind.is_of(client)).collect()
            }
            (Some(option), 4..) if option.eq_ignore_ascii_case(b"id") => {
                let mut clients = Vec::new();
                for id in self.args.from(3).iter() {
                    let id = integer(id).filter(|id| *id > 0).ok_or(Failure::InvalidClientId)?;
                    clients.extend(registry.client(id.unsigned_abs()));
                }
                clients
            }
            _ => return Err(Failure::Syntax),
        };
        let lines: String = clients.iter().map(|client| self.describe(client)).collect();
        self.reply().verbatim(&lines);
        Ok(Verdict::Next)
    }

    /// One line of CLIENT LIST, in the fields and order of Redis.
    pub(super) fn describe(&self, client: &Client) -> String {
        let address = |address: Option<std::net::SocketAddr>| {
            address.map_or_else(|| "?:0".to_owned(), |address| address.to_string())
        };
        let load = |number: &std::sync::atomic::AtomicU32| number.load(Ordering::Relaxed);
        let labels = client.labels();
        let text = |label: &[u8]| String::from_utf8_lossy(label).into_owned();
        let command = command_at(client.last_command.load(Ordering::Relaxed));
        let queued = load(&client.queued_plus_one);
        let now_s = self.turn.local.shared.now_s();
        let mut line = String::with_capacity(320);
        write!(
            line,
            "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} \
             multi={} qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem={} \
             tot-mem={} events=r cmd={} user=default redir={} resp={} lib-name={} lib-ver={}",
            client.id,
            address(client.peer),
            address(client.local),
            text(&labels.name),
            now_s.saturating_sub(client.connected_at_s),
            now_s.saturating_sub(load(&client.active_at_s)),
            flags_of(client),
            client.database.load(Ordering::Relaxed),
            load(&client.subscriptions[0]),
            load(&client.subscriptions[1]),
            load(&client.subscriptions[2]),
            i64::from(queued) - 1,
            load(&client.input_bytes),
            load(&client.output_bytes),
            u64::from(load(&client.input_bytes)) + u64::from(load(&client.output_bytes)),
            command.map_or("NULL", |row| row.name),
            redirect_of(client),
            if client.has_flag(flag::RESP3) { 3 } else { 2 },
            text(&labels.library),
            text(&labels.library_version),
        )
        .expect("writing to a String cannot fail");
        line.push('\n');
        line
    }

    /// `CLIENT KILL addr`, or `CLIENT KILL <filter> <value> ...`
    fn client_kill(&mut self) -> Answer<'a> {
        let is_old_form = self.args.len() == 3;
        let filter = if is_old_form {
            Filter { peer: Some(self.arg(2)), ..Filter::default() }
        } else {
            self.kill_filter()?
        };
        let caller = self.session.client().id;
        let mut killed = 0;
        let mut kills_caller = false;
        for client in self.turn.local.shared.registry.clients() {
            if !filter.matches(&client) || (filter.spares_caller && client.id == caller) {
                continue;
            }
            killed += 1;
            if client.id == caller {
                kills_caller = true;
            } else {
                client.kill();
            }
        }
        if !is_old_form {
            self.reply().integer(killed);
        } else if killed > 0 {
            self.reply().ok();
        } else {
            return Err(Failure::NoSuchClient);
        }
        Ok(if kills_caller { Verdict::Close } else { Verdict::Next })
    }

    fn kill_filter(&self) -> Result<Filter<'a>, Failure<'a>> {
        let mut filter = Filter { spares_caller: true, ..Filter::default() };
        if !self.args.len().is_multiple_of(2) {
            return Err(Failure::Syntax);
        }
        for at in (2..self.args.len()).step_by(2) {
            let (option, value) = (self.arg(at), self.arg(at + 1));
            match option.to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = integer(value).filter(|id| *id > 0);
                    filter.id = Some(id.ok_or(Failure::ClientIdNotPositive)?.unsigned_abs());
                }
                b"type" => filter.kind = Some(Kind::parse(value)?),
                b"addr" => filter.peer = Some(value),
                b"laddr" => filter.local = Some(value),
                b"user" if value == b"default" => {}
                b"user" => return Err(Failure::NoSuchUser { name: value }),
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.spares_caller = true,
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.spares_caller = false,
                _ => return Err(Failure::Syntax),
            }
        }
        Ok(filter)
    }

    /// `CLIENT REPLY ON|OFF|SKIP`
    fn client_reply(&mut self) -> Answer<'a> {
        let mode = self.arg(2);
        if mode.eq_ignore_ascii_case(b"on") {
            self.session.reply_mode = ReplyMode::All;
            return self.ok();
        }
        if mode.eq_ignore_ascii_case(b"off") {
            self.session.reply_mode = ReplyMode::None;
        } else if mode.eq_ignore_ascii_case(b"skip") {
            if self.session.reply_mode != ReplyMode::None {
                self.session.reply_mode = ReplyMode::SkipNext;
            }
        } else {
            return Err(Failure::Syntax);
        }
        Ok(Verdict::Next)
    }

    /// `CLIENT PAUSE timeout [WRITE | ALL]`: holds back commands of this node's clients.
    fn client_pause(&mut self) -> Answer<'a> {
        if self.args.len() > 4 {
            return Err(Failure::Subcommand { container: "CLIENT", verb: self.arg(1) });
        }
        let is_for_writes = match self.args.get(3) {
            None => false,
            Some(mode) if mode.eq_ignore_ascii_case(b"all") => false,
            Some(mode) if mode.eq_ignore_ascii_case(b"write") => true,
            Some(_) => return Err(Failure::PauseMode),
        };
        let timeout_ms = integer(self.arg(2)).ok_or(Failure::TimeoutNotAnInteger)?;
        let timeout_ms = u64::try_from(timeout_ms).map_err(|_| Failure::NegativeTimeout)?;
        let shared = &self.turn.local.shared;
        let now = shared.clock.monotonic_now();
        let until = now.after(Duration::from_millis(timeout_ms));
        shared.attention.begin_pause(Pause { until, is_for_writes }, now);
        self.ok()
    }

    fn client_switch(&mut self, flag: u16) -> Answer<'a> {
        let value = self.arg(2);
        let is_on = value.eq_ignore_ascii_case(b"on");
        if !is_on && !value.eq_ignore_ascii_case(b"off") {
            return Err(Failure::Syntax);
        }
        self.session.client().set_flag(flag, is_on);
        self.ok()
    }

    /// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`
    fn client_unblock(&mut self) -> Answer<'a> {
        let how = match self.args.get(3) {
            None => Unblock::Timeout,
            Some(word) if word.eq_ignore_ascii_case(b"timeout") => Unblock::Timeout,
            Some(word) if word.eq_ignore_ascii_case(b"error") => Unblock::Error,
            Some(_) => return Err(Failure::UnblockReason),
        };
        let id = integer(self.arg(2)).ok_or(Failure::NotAnInteger)?;
        let client =
            u64::try_from(id).ok().and_then(|id| self.turn.local.shared.registry.client(id));
        let is_unblocked = client.is_some_and(|client| client.unblock(how));
        self.reply().integer(i64::from(is_unblocked));
        Ok(Verdict::Next)
    }
}

impl Filter<'_> {
    fn matches(&self, client: &Client) -> bool {
        let is = |wanted: Option<&[u8]>, address: Option<std::net::SocketAddr>| {
            wanted.is_none_or(|wanted| {
                address.is_some_and(|address| address.to_string().as_bytes() == wanted)
            })
        };
        self.kind.is_none_or(|kind| kind.is_of(client))
            && self.id.is_none_or(|id| id == client.id)
            && is(self.peer, client.peer)
            && is(self.local, client.local)
    }
}

/// The letters of `flags=`.
fn flags_of(client: &Client) -> String {
    let mut letters = String::new();
    for (bit, letter) in [(flag::READONLY, 'r'), (flag::NO_EVICT, 'e'), (flag::NO_TOUCH, 'T')] {
        if client.has_flag(bit) {
            letters.push(letter);
        }
    }
    if client.has_flag(flag::MONITOR) {
        letters.push('O');
    }
    if client.is_listening() {
        letters.push('P');
    }
    if client.queued_plus_one.load(Ordering::Relaxed) > 0 {
        letters.push('x');
    }
    if client.is_waiting() {
        letters.push('b');
    }
    for (bit, letter) in
        [(flag::TRACKING, 't'), (flag::BROKEN_REDIRECT, 'R'), (flag::BROADCAST, 'B')]
    {
        if client.has_flag(bit) {
            letters.push(letter);
        }
    }
    if letters.is_empty() {
        letters.push('N');
    }
    letters
}

/// What `redir=` shows.
fn redirect_of(client: &Client) -> i64 {
    let id = client.redirect.load(Ordering::Relaxed);
    if client.has_flag(flag::TRACKING) { i64::try_from(id).unwrap_or(i64::MAX) } else { -1 }
}

/// The types of connections that Redis tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Listening,
    /// Nobody here: nodes replicate over connections of their own.
    Replicating,
}

impl Kind {
    fn parse(name: &[u8]) -> Result<Self, Failure<'_>> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"pubsub" => Ok(Self::Listening),
            b"master" | b"slave" | b"replica" => Ok(Self::Replicating),
            _ => Err(Failure::UnknownClientType { name }),
        }
    }

    fn is_of(self, client: &Client) -> bool {
        match self {
            Self::Normal => !client.is_listening(),
            Self::Listening => client.is_listening(),
            Self::Replicating => false,
        }
    }
}
