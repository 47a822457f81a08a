//! Rows of the sorted set family.

use super::{
    ACCESS_DELETE_KEY, ACCESS_UPDATE_KEY, Command, DELETE_FROM_KEY, Group, KeySpec, LOOK_AT_KEY,
    REPLACE_KEY, WaitCommand, flags,
};
use crate::command::sorted_set::{add, combine, count, get, pop, random, range, remove, scan};

const fn write(name: &'static str, arity: i32, run: super::WriteFn) -> Command {
    Command::write(name, arity, Group::SortedSet, run)
}

const fn read(name: &'static str, arity: i32, run: super::ReadFn) -> Command {
    Command::read(name, arity, Group::SortedSet, run)
}

const COUNTED: &[KeySpec] = &[KeySpec::counted(1, "RO access")];
const REPLACE_FROM_COUNTED: &[KeySpec] = &[REPLACE_KEY[0], KeySpec::counted(2, "RO access")];

const REPLACE_FROM_SECOND: &[KeySpec] = &[REPLACE_KEY[0], KeySpec::one(2, "RO access")];

const RANGE_COST: &str = "O(log(N)+M) where N is the number of members and M of those returned";

const fn combined(name: &'static str, run: super::ReadFn) -> Command {
    read(name, -3, run).with(flags::MOVABLEKEYS).keys_at(COUNTED).since("6.2.0")
}

const fn stored(name: &'static str, run: super::WriteFn) -> Command {
    write(name, -4, run)
        .deny_oom()
        .with(flags::MOVABLEKEYS)
        .keys_at(REPLACE_FROM_COUNTED)
        .since("2.0.0")
}

const fn removed(name: &'static str, run: super::WriteFn) -> Command {
    write(name, 4, run)
        .keys_at(DELETE_FROM_KEY)
        .cost("O(log(N)*(M+1)) where N is the number of members and M of those removed")
}

const fn wait(name: &'static str, arity: i32, kind: WaitCommand) -> Command {
    Command::wait(name, arity, Group::SortedSet, kind)
}

pub(crate) const ROWS: &[Command] = &[
    wait("bzmpop", -5, WaitCommand::BZMPop)
        .without(flags::NOSCRIPT)
        .with(flags::MOVABLEKEYS)
        .keys_at(&[KeySpec::counted(2, "RW access delete")])
        .since("7.0.0")
        .cost("O(K)+O(M*log(N)) where K is the number of keys, N of members and M of those removed")
        .doc(
            "timeout numkeys key [key ...] MIN | MAX [COUNT count]",
            "Removes the least or greatest members of the first set that has any, waiting until one has.",
        ),
    wait("bzpopmax", -3, WaitCommand::BZPopMax)
        .fast()
        .keys_at(&[KeySpec::span(1, -2, "RW access delete")])
        .since("5.0.0")
        .cost("O(log(N)) where N is the number of members")
        .doc(
            "key [key ...] timeout",
            "Removes the member with the greatest score of the first set that has one, waiting until one has.",
        ),
    wait("bzpopmin", -3, WaitCommand::BZPopMin)
        .fast()
        .keys_at(&[KeySpec::span(1, -2, "RW access delete")])
        .since("5.0.0")
        .cost("O(log(N)) where N is the number of members")
        .doc(
            "key [key ...] timeout",
            "Removes the member with the least score of the first set that has one, waiting until one has.",
        ),
    write("zadd", -4, add::zadd)
        .deny_oom()
        .fast()
        .since("1.2.0")
        .cost("O(log(N)) for each member, where N is the number of members")
        .doc(
            "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
            "Sets the scores of members.",
        ),
    read("zcard", 2, count::zcard)
        .fast()
        .keys_at(LOOK_AT_KEY)
        .since("1.2.0")
        .doc("key", "Returns the number of members."),
    read("zcount", 4, count::zcount)
        .fast()
        .since("2.0.0")
        .cost("O(log(N)) where N is the number of members")
        .doc("key min max", "Returns the number of members with scores in a range."),
    combined("zdiff", combine::zdiff)
        .cost("O(N*K) where N is the size of the first set and K the number of keys")
        .doc(
            "numkeys key [key ...] [WITHSCORES]",
            "Returns the members of the first set that are in no other.",
        ),
    stored("zdiffstore", combine::zdiffstore)
        .since("6.2.0")
        .cost("O(N*K) where N is the size of the first set and K the number of keys")
        .doc(
            "destination numkeys key [key ...]",
            "Stores the members of the first set that are in no other.",
        ),
    write("zincrby", 4, add::zincrby)
        .deny_oom()
        .fast()
        .keys_at(ACCESS_UPDATE_KEY)
        .since("1.2.0")
        .cost("O(log(N)) where N is the number of members")
        .doc("key increment member", "Adds an amount to the score of a member."),
    combined("zinter", combine::zinter)
        .cost("O(N*K)+O(M*log(M)) where N is the size of the smallest set, K the number of keys and M the size of the result")
        .doc(
            "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]",
            "Returns the members that are in all sets.",
        ),
    combined("zintercard", combine::zintercard)
        .since("7.0.0")
        .cost("O(N*K) where N is the size of the smallest set and K the number of keys")
        .doc(
            "numkeys key [key ...] [LIMIT limit]",
            "Returns the number of members that are in all sets.",
        ),
    stored("zinterstore", combine::zinterstore)
        .cost("O(N*K)+O(M*log(M)) where N is the size of the smallest set, K the number of keys and M the size of the result")
        .doc(
            "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX]",
            "Stores the members that are in all sets.",
        ),
    read("zlexcount", 4, count::zlexcount)
        .fast()
        .since("2.8.9")
        .cost("O(log(N)) where N is the number of members")
        .doc("key min max", "Returns the number of members with names in a range."),
    write("zmpop", -4, pop::zmpop)
        .with(flags::MOVABLEKEYS)
        .keys_at(&[KeySpec::counted(1, "RW access delete")])
        .since("7.0.0")
        .cost("O(K)+O(M*log(N)) where K is the number of keys, N of members and M of those removed")
        .doc(
            "numkeys key [key ...] MIN | MAX [COUNT count]",
            "Removes and returns the least or greatest members of the first set that has any.",
        ),
    read("zmscore", -3, get::zmscore)
        .fast()
        .since("6.2.0")
        .cost("O(N) where N is the number of members named")
        .doc("key member [member ...]", "Returns the scores of members."),
    write("zpopmax", -2, pop::zpopmax)
        .fast()
        .keys_at(ACCESS_DELETE_KEY)
        .since("5.0.0")
        .cost("O(log(N)*M) where N is the number of members and M of those removed")
        .doc("key [count]", "Removes and returns the members with the greatest scores."),
    write("zpopmin", -2, pop::zpopmin)
        .fast()
        .keys_at(ACCESS_DELETE_KEY)
        .since("5.0.0")
        .cost("O(log(N)*M) where N is the number of members and M of those removed")
        .doc("key [count]", "Removes and returns the members with the least scores."),
    read("zrandmember", -2, random::zrandmember)
        .tips(&["nondeterministic_output"])
        .since("6.2.0")
        .cost("O(M*log(N)) where N is the number of members and M of those returned")
        .doc("key [count [WITHSCORES]]", "Returns members chosen at random."),
    read("zrange", -4, range::zrange)
        .since("1.2.0")
        .cost(RANGE_COST)
        .doc(
            "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
            "Returns the members in a range of ranks, scores or names.",
        ),
    read("zrangebylex", -4, range::zrangebylex)
        .since("2.8.9")
        .cost(RANGE_COST)
        .doc("key min max [LIMIT offset count]", "Returns the members with names in a range."),
    read("zrangebyscore", -4, range::zrangebyscore)
        .since("1.0.5")
        .cost(RANGE_COST)
        .doc(
            "key min max [WITHSCORES] [LIMIT offset count]",
            "Returns the members with scores in a range.",
        ),
    write("zrangestore", -5, range::zrangestore)
        .deny_oom()
        .keys_at(REPLACE_FROM_SECOND)
        .since("6.2.0")
        .cost("O(log(N)+M*log(M)) where N is the number of members and M of those stored")
        .doc(
            "dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
            "Stores the members in a range of ranks, scores or names.",
        ),
    read("zrank", -3, get::zrank)
        .fast()
        .since("2.0.0")
        .cost("O(log(N)) where N is the number of members")
        .doc("key member [WITHSCORE]", "Returns how many members have lesser scores."),
    write("zrem", -3, remove::zrem)
        .fast()
        .keys_at(DELETE_FROM_KEY)
        .since("1.2.0")
        .cost("O(M*log(N)) where N is the number of members and M of those named")
        .doc("key member [member ...]", "Removes members."),
    removed("zremrangebylex", remove::zremrangebylex)
        .since("2.8.9")
        .doc("key min max", "Removes the members with names in a range."),
    removed("zremrangebyrank", remove::zremrangebyrank)
        .since("2.0.0")
        .doc("key start stop", "Removes the members in a range of ranks."),
    removed("zremrangebyscore", remove::zremrangebyscore)
        .since("1.2.0")
        .doc("key min max", "Removes the members with scores in a range."),
    read("zrevrange", -4, range::zrevrange)
        .since("1.2.0")
        .cost(RANGE_COST)
        .doc(
            "key start stop [WITHSCORES]",
            "Returns the members in a range of ranks, the greatest first.",
        ),
    read("zrevrangebylex", -4, range::zrevrangebylex)
        .since("2.8.9")
        .cost(RANGE_COST)
        .doc(
            "key max min [LIMIT offset count]",
            "Returns the members with names in a range, the greatest first.",
        ),
    read("zrevrangebyscore", -4, range::zrevrangebyscore)
        .since("2.2.0")
        .cost(RANGE_COST)
        .doc(
            "key max min [WITHSCORES] [LIMIT offset count]",
            "Returns the members with scores in a range, the greatest first.",
        ),
    read("zrevrank", -3, get::zrevrank)
        .fast()
        .since("2.0.0")
        .cost("O(log(N)) where N is the number of members")
        .doc("key member [WITHSCORE]", "Returns how many members have greater scores."),
    read("zscan", -3, scan::zscan)
        .tips(&["nondeterministic_output"])
        .since("2.8.0")
        .cost("O(1) for a step, O(N) for all, where N is the number of members")
        .doc("key cursor [MATCH pattern] [COUNT count] [NOSCORES]", "Walks over members in steps."),
    read("zscore", 3, get::zscore)
        .fast()
        .since("1.2.0")
        .doc("key member", "Returns the score of a member."),
    combined("zunion", combine::zunion)
        .cost("O(N*log(N)) where N is the number of members of all sets")
        .doc(
            "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]",
            "Returns the members that are in any of the sets.",
        ),
    stored("zunionstore", combine::zunionstore)
        .cost("O(N*log(N)) where N is the number of members of all sets")
        .doc(
            "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX]",
            "Stores the members that are in any of the sets.",
        ),
];
