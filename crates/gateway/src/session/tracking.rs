//! CLIENT TRACKING, CACHING, TRACKINGINFO, GETREDIR, and how a connection is told that what it caches is stale.
//!
//! Owns: [`Tracked`], what one connection asked for, and the form in which it is told. Never: the table of keys (see the
//! node's [`Tracking`]), when a key is registered (`tracked.rs`).
//!
//! [`Tracking`]: keystead_node::tracking::Tracking

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use keystead_node::pubsub::{Content, Delivery, Stale};
use keystead_node::tracking::{Origin, Tracker};
use keystead_resp::{Protocol, ReplyWriter};
use keystead_types::ShardId;

use crate::dispatch::Verdict;
use crate::local::Local;
use crate::registry::flag;
use crate::reply::{Failure, TrackingFailure};

use super::pubsub::write_message;
use super::{Answer, Session, SessionCall, integer};

/// Prefixes that one connection tracks: every changed key is compared with each.
const PREFIXES_MAX: usize = 1024;
/// What is held back behind a window before it becomes one word: drop everything.
const HELD_MAX: usize = 4096;
/// The channel under which a connection that speaks RESP2 is told what another one caches.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// How a connection tracks what it reads.
#[derive(Debug, Default)]
pub(crate) struct Tracked {
    mode: Mode,
    is_noloop: bool,
    /// The connection that is told in its place; 0: itself.
    redirect: u64,
    /// What was asked of the connection that is told is gone.
    is_redirect_broken: bool,
    prefixes: BTreeSet<Box<[u8]>>,
    /// CLIENT CACHING was given for the next command or transaction.
    is_caching: bool,
    origin: Origin,
    /// Keys that the window reads, registered.
    pub(crate) reading: Vec<(ShardId, Box<[u8]>)>,
    /// Keys that the window writes, of shards led elsewhere.
    pub(crate) writing: Vec<(ShardId, Box<[u8]>)>,
    /// Keys that scripts of the window may have read behind a change of their own, of a connection that is not told of those.
    pub(crate) unsure: Vec<(ShardId, Box<[u8]>)>,
    /// What is told behind the replies of the window in flight.
    held: Vec<Stale>,
}

/// Which keys are tracked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// All that are read.
    #[default]
    Read,
    /// Those that are read behind CLIENT CACHING YES.
    OptIn,
    /// All that are read, but behind CLIENT CACHING NO.
    OptOut,
    /// Those with one of the prefixes, read or not.
    Broadcast,
}

impl Tracked {
    /// True if keys that are read now are registered.
    pub(crate) const fn registers(&self) -> bool {
        match self.mode {
            Mode::Read => true,
            Mode::OptIn => self.is_caching,
            Mode::OptOut => !self.is_caching,
            Mode::Broadcast => false,
        }
    }

    /// True if the connection is told of keys that it read.
    pub(crate) fn is_by_key(&self) -> bool {
        self.mode != Mode::Broadcast
    }

    /// True if its own changes are not to be told.
    pub(crate) const fn is_noloop(&self) -> bool {
        self.is_noloop
    }

    /// Keeps something back until the replies of the window in flight are written.
    pub(crate) fn hold(&mut self, stale: &Stale) {
        if self.held.len() >= HELD_MAX || stale.is_none() {
            self.held.clear();
            self.held.push(None);
        } else if self.held.first() != Some(&None) {
            self.held.push(stale.clone());
        }
    }
}

impl Session {
    /// How the connection tracks, if it does.
    #[inline]
    pub(crate) fn tracked(&mut self) -> Option<&mut Tracked> {
        self.tracking.as_deref_mut()
    }

    /// True if the connection tracks.
    #[inline]
    pub(crate) const fn is_tracking(&self) -> bool {
        self.tracking.is_some()
    }

    /// Ends what CLIENT CACHING said.
    pub(crate) fn end_caching(&mut self) {
        if let Some(tracked) = self.tracked() {
            tracked.is_caching = false;
        }
    }

    /// What the connection's own changes are known by.
    pub(crate) fn origin(&self) -> Origin {
        self.tracking.as_ref().map_or(Origin::NOBODY, |tracked| tracked.origin)
    }

    /// Tells the client something, or keeps it back if it belongs behind replies that are awaited. True if it was written.
    pub(crate) fn take_delivery(
        &mut self,
        delivery: &Delivery,
        awaits_replies: bool,
        output: &mut Vec<u8>,
        local: &Local,
    ) -> bool {
        let before = output.len();
        match &delivery.content {
            Content::Message { publication, pattern } if self.is_listening() => {
                let mut reply = ReplyWriter::new(output, self.protocol);
                write_message(publication, pattern.as_deref(), &mut reply);
            }
            Content::Message { .. } => {}
            Content::Stale(stale) => match self.tracked() {
                Some(tracked) if awaits_replies => tracked.hold(stale),
                Some(_) => self.tell_stale(stale, output, local),
                None => {}
            },
            Content::StaleElsewhere(stale) => self.write_stale_elsewhere(stale, output),
        }
        output.len() > before
    }

    /// Writes what was held back behind the replies that were just written, and what came about with them.
    pub(crate) fn tell_held(&mut self, output: &mut Vec<u8>, local: &Local) {
        for stale in self.tracked().map(|it| std::mem::take(&mut it.held)).unwrap_or_default() {
            self.tell_stale(&stale, output, local);
        }
    }

    /// Tells the client, or the connection that it named, what to drop.
    pub(crate) fn tell_stale(&mut self, stale: &Stale, output: &mut Vec<u8>, local: &Local) {
        let (protocol, client) = (self.protocol, self.registration.client());
        let Some(tracked) = &mut self.tracking else { return };
        if tracked.redirect == 0 {
            if protocol == Protocol::Resp3 {
                write_stale(stale, &mut ReplyWriter::new(output, protocol));
            }
            return;
        }
        match local.shared.registry.client(tracked.redirect) {
            Some(target) => target.tell(Content::StaleElsewhere(stale.clone())),
            None => {
                tracked.is_redirect_broken = true;
                client.set_flag(flag::BROKEN_REDIRECT, true);
                if protocol == Protocol::Resp3 {
                    let mut reply = ReplyWriter::new(output, protocol);
                    reply.push(2);
                    reply.bulk(b"tracking-redir-broken");
                    reply.integer(i64::try_from(tracked.redirect).unwrap_or(i64::MAX));
                }
            }
        }
    }

    /// As a connection that another one named is told: a push, or a message if it listens to any channel.
    fn write_stale_elsewhere(&self, stale: &Stale, output: &mut Vec<u8>) {
        let mut reply = ReplyWriter::new(output, self.protocol);
        if self.protocol == Protocol::Resp3 {
            write_stale(stale, &mut reply);
        } else if self.is_listening() {
            reply.push(3);
            reply.bulk(b"message");
            reply.bulk(CHANNEL);
            write_keys(stale, &mut reply);
        }
    }

    /// Ends tracking without a word to the client.
    pub(super) fn stop_tracking(&mut self, local: &Local) {
        if self.tracking.take().is_some() {
            let client = self.client();
            local.shared.config.bus.tracking().dismiss(client.id);
            client.redirect.store(0, Ordering::Relaxed);
            client.set_flag(flag::TRACKING | flag::BROADCAST | flag::BROKEN_REDIRECT, false);
        }
    }
}

fn write_stale(stale: &Stale, reply: &mut ReplyWriter<'_>) {
    reply.push(2);
    reply.bulk(b"invalidate");
    write_keys(stale, reply);
}

fn write_keys(stale: &Stale, reply: &mut ReplyWriter<'_>) {
    match stale {
        Some(keys) => {
            reply.array(keys.len());
            keys.iter().for_each(|key| reply.bulk(key));
        }
        None => reply.null(),
    }
}

/// The options of CLIENT TRACKING.
#[derive(Default)]
struct Options<'a> {
    redirect: Option<u64>,
    prefixes: Vec<&'a [u8]>,
    is_broadcast: bool,
    is_opt_in: bool,
    is_opt_out: bool,
    is_noloop: bool,
}

impl Options<'_> {
    const fn mode(&self) -> Mode {
        match (self.is_broadcast, self.is_opt_in, self.is_opt_out) {
            (true, ..) => Mode::Broadcast,
            (_, true, _) => Mode::OptIn,
            (.., true) => Mode::OptOut,
            _ => Mode::Read,
        }
    }
}

impl<'a> SessionCall<'_, '_, 'a> {
    /// `CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX p ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`
    pub(super) fn client_tracking(&mut self) -> Answer<'a> {
        let options = self.tracking_options()?;
        let switch = self.arg(2);
        if switch.eq_ignore_ascii_case(b"off") {
            self.session.stop_tracking(self.turn.local);
            return self.ok();
        }
        if !switch.eq_ignore_ascii_case(b"on") {
            return Err(Failure::Syntax);
        }
        self.check_tracking(&options)?;
        self.track(&options);
        self.ok()
    }

    fn tracking_options(&self) -> Result<Options<'a>, Failure<'a>> {
        let mut options = Options::default();
        let mut at = 3;
        while at < self.args.len() {
            let has_value = at + 1 < self.args.len();
            match self.arg(at).to_ascii_lowercase().as_slice() {
                b"redirect" if has_value => {
                    if options.redirect.is_some() {
                        return Err(TrackingFailure::RedirectTwice.into());
                    }
                    at += 1;
                    let id = integer(self.arg(at)).ok_or(Failure::NotAnInteger)?;
                    let id = u64::try_from(id).ok();
                    let known = id.filter(|id| self.turn.local.shared.registry.has(*id));
                    options.redirect = Some(known.ok_or(TrackingFailure::RedirectToNobody)?);
                }
                b"prefix" if has_value => {
                    at += 1;
                    options.prefixes.push(self.arg(at));
                }
                b"bcast" => options.is_broadcast = true,
                b"optin" => options.is_opt_in = true,
                b"optout" => options.is_opt_out = true,
                b"noloop" => options.is_noloop = true,
                _ => return Err(Failure::Syntax),
            }
            at += 1;
        }
        Ok(options)
    }

    /// Options that go together, and with what the connection asked for before.
    fn check_tracking(&mut self, options: &Options<'a>) -> Result<(), Failure<'a>> {
        if !options.is_broadcast && !options.prefixes.is_empty() {
            return Err(TrackingFailure::PrefixWithoutBroadcast.into());
        }
        let before = self.session.tracked().map(|tracked| tracked.mode);
        if before.is_some_and(|mode| (mode == Mode::Broadcast) != options.is_broadcast) {
            return Err(TrackingFailure::BroadcastSwitched.into());
        }
        if options.is_broadcast && (options.is_opt_in || options.is_opt_out) {
            return Err(TrackingFailure::OptionWithBroadcast.into());
        }
        if options.is_opt_in && options.is_opt_out {
            return Err(TrackingFailure::BothOptions.into());
        }
        let switches = (options.is_opt_in && before == Some(Mode::OptOut))
            || (options.is_opt_out && before == Some(Mode::OptIn));
        if switches {
            return Err(TrackingFailure::OptionSwitched.into());
        }
        self.check_prefixes(&options.prefixes)
    }

    fn check_prefixes(&mut self, prefixes: &[&'a [u8]]) -> Result<(), Failure<'a>> {
        let none = BTreeSet::new();
        let known = self.session.tracked().map_or(&none, |tracked| &tracked.prefixes);
        if known.len() + prefixes.len() > PREFIXES_MAX {
            return Err(TrackingFailure::TooManyPrefixes { max: PREFIXES_MAX }.into());
        }
        for (at, prefix) in prefixes.iter().enumerate() {
            let overlaps = |other: &[u8]| other.starts_with(prefix) || prefix.starts_with(other);
            if let Some(other) = known.iter().find(|other| overlaps(other)) {
                let other = other.clone();
                return Err(TrackingFailure::OverlapsExisting { prefix, other }.into());
            }
            if let Some(other) = prefixes[at + 1..].iter().find(|other| overlaps(other)) {
                return Err(TrackingFailure::OverlapsProvided { prefix, other }.into());
            }
        }
        Ok(())
    }

    fn track(&mut self, options: &Options<'a>) {
        let (turn, session) = (&*self.turn, &mut *self.session);
        let tracked = session.tracking.get_or_insert_default();
        tracked.mode = options.mode();
        tracked.is_noloop = options.is_noloop;
        tracked.redirect = options.redirect.unwrap_or(0);
        tracked.is_redirect_broken = false;
        let is_everything = options.is_broadcast && options.prefixes.is_empty();
        let everything: &[&[u8]] = if is_everything { &[b""] } else { &[] };
        tracked.prefixes.extend(options.prefixes.iter().chain(everything).map(|it| Box::from(*it)));
        let tracker = Tracker {
            inbox: std::sync::Arc::clone(&turn.local.inbox),
            listener: session.registration.listener(turn.slot),
            prefixes: options.is_broadcast.then(|| tracked.prefixes.clone()),
            is_noloop: options.is_noloop,
        };
        tracked.origin = turn.local.shared.config.bus.tracking().enroll(tracker);
        let client = session.registration.client();
        client.redirect.store(tracked.redirect, Ordering::Relaxed);
        client.set_flag(flag::BROKEN_REDIRECT, false);
        client.set_flag(flag::TRACKING, true);
        client.set_flag(flag::BROADCAST, options.is_broadcast);
    }

    /// `CLIENT CACHING YES|NO`
    pub(super) fn client_caching(&mut self) -> Answer<'a> {
        let word = self.arg(2);
        let Some(tracked) = self.session.tracked() else {
            return Err(TrackingFailure::CachingWithoutTracking.into());
        };
        let (wanted, refusal) = if word.eq_ignore_ascii_case(b"yes") {
            (Mode::OptIn, TrackingFailure::CachingYes)
        } else if word.eq_ignore_ascii_case(b"no") {
            (Mode::OptOut, TrackingFailure::CachingNo)
        } else {
            return Err(Failure::Syntax);
        };
        if tracked.mode != wanted {
            return Err(refusal.into());
        }
        tracked.is_caching = true;
        self.ok()
    }

    /// The connection that is told; 0 if it is this one, -1 if it does not track.
    fn told_connection(&self) -> i64 {
        let tracked = self.session.tracking.as_ref();
        tracked.map_or(-1, |tracked| i64::try_from(tracked.redirect).unwrap_or(i64::MAX))
    }

    pub(super) fn client_getredir(&mut self) -> Answer<'a> {
        let told = self.told_connection();
        self.reply().integer(told);
        Ok(Verdict::Next)
    }

    pub(super) fn client_tracking_state(&mut self) -> Answer<'a> {
        let told = self.told_connection();
        let mut flags = Vec::new();
        let mut prefixes = Vec::new();
        match &self.session.tracking {
            None => flags.push("off"),
            Some(tracked) => {
                let caching = |word| tracked.is_caching.then_some(word);
                flags.push("on");
                match tracked.mode {
                    Mode::Read => {}
                    Mode::Broadcast => flags.push("bcast"),
                    Mode::OptIn => {
                        flags.extend(["optin"].into_iter().chain(caching("caching-yes")))
                    }
                    Mode::OptOut => {
                        flags.extend(["optout"].into_iter().chain(caching("caching-no")));
                    }
                }
                flags.extend(tracked.is_noloop.then_some("noloop"));
                flags.extend(tracked.is_redirect_broken.then_some("broken_redirect"));
                prefixes.extend(tracked.prefixes.iter().cloned());
            }
        }
        let mut reply = self.reply();
        reply.map(3);
        reply.bulk(b"flags");
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
        reply.bulk(b"redirect");
        reply.integer(told);
        reply.bulk(b"prefixes");
        reply.array(prefixes.len());
        prefixes.iter().for_each(|prefix| reply.bulk(prefix));
        Ok(Verdict::Next)
    }
}
