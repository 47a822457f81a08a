//! SUBSCRIBE and its kin, PUBLISH, PUBSUB: channels, patterns and sharded channels.
//!
//! Owns: [`Subscriptions`], what one connection listens to, and how messages look on the wire. Never: who else listens,
//! and other nodes (see the node's [`Bus`]). A connection that speaks RESP2 and listens to anything runs little else
//! ([`Session::is_confined`]); with RESP3 messages stand between replies, as pushes.
//!
//! [`Bus`]: keystead_node::pubsub::Bus

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use keystead_node::pubsub::{Listener, Publication, Topic};
use keystead_resp::{Protocol, ReplyWriter};
use keystead_store::command::{Command, Handler, SessionCommand};

use crate::dispatch::Verdict;
use crate::pipeline::Turn;
use crate::reply::Failure;

use super::{Answer, Session, SessionCall};

/// Names that one connection listens to, of all kinds together: more are a mistake of the client, and each takes memory.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 1 << 20;

/// What a connection listens to.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    channels: BTreeSet<Box<[u8]>>,
    patterns: BTreeSet<Box<[u8]>>,
    sharded: BTreeSet<Box<[u8]>>,
}

impl Subscriptions {
    const fn of(&mut self, topic: Topic) -> &mut BTreeSet<Box<[u8]>> {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::Sharded => &mut self.sharded,
        }
    }

    fn count(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.sharded.len()
    }

    /// The number that confirms a change: sharded channels are counted apart, as in Redis.
    fn count_beside(&self, topic: Topic) -> usize {
        match topic {
            Topic::Channel | Topic::Pattern => self.channels.len() + self.patterns.len(),
            Topic::Sharded => self.sharded.len(),
        }
    }
}

impl Session {
    /// True if the connection listens to anything.
    pub(crate) const fn is_listening(&self) -> bool {
        self.subscriptions.is_some()
    }

    /// True if the connection may not run this command now, because it could not tell its reply from a message.
    pub(crate) fn is_confined(&self, row: &Command) -> bool {
        use SessionCommand as Cmd;
        let Handler::Session(kind) = row.handler else {
            return self.is_listening() && self.protocol == Protocol::Resp2;
        };
        self.is_listening()
            && self.protocol == Protocol::Resp2
            && !kind.changes_subscriptions()
            && !matches!(kind, Cmd::Ping | Cmd::Quit | Cmd::Reset)
    }

    /// Ends all subscriptions without a word to the client.
    pub(super) fn drop_subscriptions(&mut self, turn: &Turn<'_>) {
        let Some(mut subscriptions) = self.subscriptions.take() else { return };
        let listener = self.listener(turn);
        let local = &turn.local;
        for topic in [Topic::Channel, Topic::Pattern, Topic::Sharded] {
            for name in std::mem::take(subscriptions.of(topic)) {
                local.shared.config.bus.unsubscribe(topic, &name, &local.inbox, listener);
            }
        }
        self.show_subscriptions();
    }

    pub(crate) fn listener(&self, turn: &Turn<'_>) -> Listener {
        self.registration.listener(turn.slot)
    }

    /// Renews what CLIENT LIST shows.
    fn show_subscriptions(&self) {
        let counts = self
            .subscriptions
            .as_ref()
            .map_or([0; 3], |it| [it.channels.len(), it.patterns.len(), it.sharded.len()]);
        for (shown, count) in self.client().subscriptions.iter().zip(counts) {
            shown.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
    }
}

/// Writes a message as its subscriber reads it.
pub(super) fn write_message(
    publication: &Publication,
    pattern: Option<&[u8]>,
    reply: &mut ReplyWriter<'_>,
) {
    match pattern {
        Some(pattern) => {
            reply.push(4);
            reply.bulk(b"pmessage");
            reply.bulk(pattern);
        }
        None => {
            reply.push(3);
            reply.bulk(if publication.is_sharded { b"smessage" } else { b"message" });
        }
    }
    reply.bulk(&publication.channel);
    reply.bulk(&publication.message);
}

/// What a command does to subscriptions of a kind, and the words that confirm it.
const fn change_of(kind: SessionCommand) -> Option<(Topic, bool, &'static str)> {
    use SessionCommand as Cmd;
    Some(match kind {
        Cmd::Subscribe => (Topic::Channel, true, "subscribe"),
        Cmd::Unsubscribe => (Topic::Channel, false, "unsubscribe"),
        Cmd::PSubscribe => (Topic::Pattern, true, "psubscribe"),
        Cmd::PUnsubscribe => (Topic::Pattern, false, "punsubscribe"),
        Cmd::SSubscribe => (Topic::Sharded, true, "ssubscribe"),
        Cmd::SUnsubscribe => (Topic::Sharded, false, "sunsubscribe"),
        _ => return None,
    })
}

impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn pubsub(&mut self, kind: SessionCommand) -> Answer<'a> {
        use SessionCommand as Cmd;
        match kind {
            Cmd::Publish => self.publish(false),
            Cmd::SPublish => self.publish(true),
            Cmd::PubSubChannels => self.list_names(Topic::Channel),
            Cmd::PubSubShardChannels => self.list_names(Topic::Sharded),
            Cmd::PubSubNumSub => self.count_subscribers(Topic::Channel),
            Cmd::PubSubShardNumSub => self.count_subscribers(Topic::Sharded),
            Cmd::PubSubNumPat => {
                let [_, patterns, _] = self.turn.local.shared.config.bus.stats().topics;
                self.reply().integer(i64::try_from(patterns).unwrap_or(i64::MAX));
                Ok(Verdict::Next)
            }
            Cmd::PubSub | Cmd::PubSubHelp => self.help("pubsub"),
            _ => match change_of(kind) {
                Some((topic, true, word)) => self.subscribe(topic, word),
                Some((topic, false, word)) => self.unsubscribe(topic, word),
                None => Err(Failure::Unsupported { what: "this command" }),
            },
        }
    }

    fn publish(&mut self, is_sharded: bool) -> Answer<'a> {
        let (channel, message) = (self.arg(1), self.arg(2));
        let local = &mut *self.turn.local;
        let count = local.shared.config.bus.publish(is_sharded, channel, message);
        // The thread's flush sends it to the other nodes, together with what else is published meanwhile.
        local.unflushed += 1;
        // A client that hears itself hears it before the reply, as in Redis.
        self.write_own_messages();
        self.reply().integer(i64::try_from(count).unwrap_or(i64::MAX));
        Ok(Verdict::Next)
    }

    /// Writes the messages for this connection that wait in its thread's inbox.
    fn write_own_messages(&mut self) {
        if self.session.is_listening() {
            let own = self.turn.local.inbox.take_of(self.session.listener(self.turn));
            for delivery in own {
                self.session.take_delivery(&delivery, false, self.output, self.turn.local);
            }
        }
    }

    fn subscribe(&mut self, topic: Topic, word: &'static str) -> Answer<'a> {
        let known = self.session.subscriptions.as_ref().map_or(0, |it| it.count());
        if known + self.args.len() - 1 > SUBSCRIPTIONS_MAX {
            return Err(Failure::TooManySubscriptions { max: SUBSCRIPTIONS_MAX });
        }
        let listener = self.session.listener(self.turn);
        for name in self.args.from(1).iter() {
            let subscriptions = self.session.subscriptions.get_or_insert_default();
            let is_new = subscriptions.of(topic).insert(name.into());
            let count = subscriptions.count_beside(topic);
            if is_new {
                let local = &self.turn.local;
                local.shared.config.bus.subscribe(topic, name, &local.inbox, listener);
            }
            self.confirm(word, Some(name), count);
        }
        self.session.show_subscriptions();
        Ok(Verdict::Next)
    }

    fn unsubscribe(&mut self, topic: Topic, word: &'static str) -> Answer<'a> {
        let names: Vec<Box<[u8]>> = if self.args.len() > 1 {
            self.args.from(1).iter().map(Box::from).collect()
        } else {
            let all = self.session.subscriptions.as_mut();
            all.map_or_else(Vec::new, |it| it.of(topic).iter().cloned().collect())
        };
        let listener = self.session.listener(self.turn);
        for name in &names {
            let local = &self.turn.local;
            local.shared.config.bus.unsubscribe(topic, name, &local.inbox, listener);
        }
        // What was published before stands before the confirmations, and nothing of it behind.
        self.write_own_messages();
        for name in &names {
            let mut count = 0;
            if let Some(subscriptions) = &mut self.session.subscriptions {
                subscriptions.of(topic).remove(name);
                count = subscriptions.count_beside(topic);
            }
            self.confirm(word, Some(name), count);
        }
        if names.is_empty() {
            let beside = self.session.subscriptions.as_ref();
            let count = beside.map_or(0, |it| it.count_beside(topic));
            self.confirm(word, None, count);
        }
        if self.session.subscriptions.as_ref().is_some_and(|it| it.count() == 0) {
            self.session.subscriptions = None;
        }
        self.session.show_subscriptions();
        Ok(Verdict::Next)
    }

    fn confirm(&mut self, word: &str, name: Option<&[u8]>, count: usize) {
        let mut reply = self.reply();
        reply.push(3);
        reply.bulk(word.as_bytes());
        reply.bulk_or_null(name);
        reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn list_names(&mut self, topic: Topic) -> Answer<'a> {
        if self.args.len() > 3 {
            return Err(Failure::Subcommand { container: "PUBSUB", verb: self.arg(1) });
        }
        let names = self.turn.local.shared.config.bus.names(topic, self.args.get(2));
        let mut reply = self.reply();
        reply.array(names.len());
        for name in &names {
            reply.bulk(name);
        }
        Ok(Verdict::Next)
    }

    fn count_subscribers(&mut self, topic: Topic) -> Answer<'a> {
        let names = self.args.from(2);
        let bus = std::sync::Arc::clone(&self.turn.local.shared.config.bus);
        let mut reply = self.reply();
        reply.array(2 * names.len());
        for name in names.iter() {
            reply.bulk(name);
            let count = bus.subscribers(topic, name);
            reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
        }
        Ok(Verdict::Next)
    }
}
