//! Rows of the family that publishes and subscribes; the gateway runs them.

use super::{Command, Group, KeySpec, SESSION, SessionCommand, flags};

const OPEN: u32 = flags::LOADING | flags::STALE;
/// Sharded channels lie in slots like keys, and are none.
const CHANNEL: &[KeySpec] = &[KeySpec::one(1, "not_key")];
const CHANNELS: &[KeySpec] = &[KeySpec::all_from(1, "not_key")];
const PER_CHANNEL: &str = "O(N) where N is the number of channels";

const fn row(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    Command::session(name, arity, Group::PubSub, kind).with(flags::PUBLISHES | OPEN).since("2.0.0")
}

const fn listening(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    row(name, arity, kind).with(SESSION).cost(PER_CHANNEL)
}

pub(crate) const ROWS: &[Command] = &[
    listening("psubscribe", -2, SessionCommand::PSubscribe)
        .doc("pattern [pattern ...]", "Listens to all channels whose names match."),
    row("publish", 3, SessionCommand::Publish)
        .fast()
        .cost(
            "O(N+M) where N is the number of listeners to the channel and M the number of patterns",
        )
        .doc(
            "channel message",
            "Sends a message to all nodes; returns how many clients of this node got it.",
        ),
    Command::container("pubsub", Group::PubSub, SessionCommand::PubSub, PUBSUB)
        .since("2.8.0")
        .cost("Depends on subcommand.")
        .doc("subcommand", "A container for questions about channels."),
    listening("punsubscribe", -1, SessionCommand::PUnsubscribe)
        .doc("[pattern [pattern ...]]", "Ends listening to patterns, all if none is named."),
    row("spublish", 3, SessionCommand::SPublish)
        .fast()
        .keys_at(CHANNEL)
        .since("7.0.0")
        .cost("O(N) where N is the number of listeners to the channel")
        .doc("shardchannel message", "As PUBLISH, to a sharded channel."),
    listening("ssubscribe", -2, SessionCommand::SSubscribe)
        .keys_at(CHANNELS)
        .since("7.0.0")
        .doc("shardchannel [shardchannel ...]", "Listens to sharded channels."),
    listening("subscribe", -2, SessionCommand::Subscribe)
        .doc("channel [channel ...]", "Listens to channels."),
    listening("sunsubscribe", -1, SessionCommand::SUnsubscribe)
        .keys_at(CHANNELS)
        .since("7.0.0")
        .doc(
            "[shardchannel [shardchannel ...]]",
            "Ends listening to sharded channels, all if none is named.",
        ),
    listening("unsubscribe", -1, SessionCommand::Unsubscribe)
        .doc("[channel [channel ...]]", "Ends listening to channels, all if none is named."),
];

const fn sub(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    row(name, arity, kind).since("2.8.0").cost("O(N) where N is the number of channels")
}

const PUBSUB: &[Command] = &[
    sub("pubsub|channels", -2, SessionCommand::PubSubChannels)
        .doc("[<pattern>]", "Returns the channels that clients of this node listen to."),
    Command::session("pubsub|help", 2, Group::PubSub, SessionCommand::PubSubHelp)
        .with(OPEN)
        .only_in_categories(0)
        .since("6.2.0")
        .doc("", "Describes the subcommands."),
    sub("pubsub|numpat", 2, SessionCommand::PubSubNumPat)
        .cost("O(1)")
        .doc("", "Returns the number of patterns that clients of this node listen to."),
    sub("pubsub|numsub", -2, SessionCommand::PubSubNumSub)
        .doc("[<channel> ...]", "Returns the number of this node's listeners to channels."),
    sub("pubsub|shardchannels", -2, SessionCommand::PubSubShardChannels)
        .since("7.0.0")
        .doc("[<pattern>]", "As CHANNELS, for sharded channels."),
    sub("pubsub|shardnumsub", -2, SessionCommand::PubSubShardNumSub)
        .since("7.0.0")
        .doc("[<shardchannel> ...]", "As NUMSUB, for sharded channels."),
];
