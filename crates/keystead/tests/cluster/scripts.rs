//! Scripts and functions over real nodes: known everywhere, whoever leads, and equal on every replica.

use std::time::Duration;

use keystead_resp::Value;

use crate::cluster::{Cluster, Shape};
use crate::node::Tested as _;
use crate::wait::wait_for;
use crate::wire::{ask, connect};

/// Adds, and keeps what chance and the order of a table say.
const SCRIPT: &str = "local t={} for i=1,20 do t[{}]=i t['k'..i]=i end \
    local seen='' for k,v in pairs(t) do seen=seen..v..',' end \
    redis.call('hset',KEYS[2],'seen',seen,'chance',tostring(math.random()),'packed',cmsgpack.pack(t)) \
    return redis.call('incrby',KEYS[1],ARGV[1])";
const LIBRARY: &str = "#!lua name=lib\n\
    redis.register_function('add',function(keys,args) return redis.call('incrby',keys[1],args[1]) end)\n\
    redis.register_function{function_name='look',callback=function(keys) return redis.call('get',keys[1]) end,\
    flags={'no-writes'}}";
/// Hash tags that lie in different shards.
const TAGS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A reply that is a number.
fn number(port: u16, words: &[&str]) -> i64 {
    let reply = ask(port, words).expect("the node answers");
    reply.as_integer().unwrap_or_else(|| panic!("{words:?}: {reply:?}"))
}

/// A reply as text, errors included.
fn text(port: u16, words: &[&str]) -> String {
    let reply = ask(port, words).expect("the node answers");
    reply.as_str().or(reply.as_error()).map_or_else(|| format!("{reply:?}"), str::to_owned)
}

#[test]
fn scripts_are_known_on_every_node_and_outlive_their_leader() {
    let mut cluster = Cluster::start(&Shape::default());
    let ports = cluster.ports();
    // A client that falls back: the shard does not know the script, then EVAL brings it, whichever node is asked.
    for tag in TAGS {
        let (sum, kept) = (format!("{{{tag}}}sum"), format!("{{{tag}}}kept"));
        let sha = text(ports[0], &["EVAL", "return redis.sha1hex(ARGV[1])", "0", SCRIPT]);
        let call = ["EVALSHA", sha.as_str(), "2", sum.as_str(), kept.as_str(), "2"];
        for (at, port) in ports.iter().enumerate() {
            if at == 0 {
                let refused = text(*port, &call);
                assert!(
                    refused.starts_with("NOSCRIPT ") || refused.starts_with("Integer("),
                    "{refused}"
                );
                number(*port, &["EVAL", SCRIPT, "2", &sum, &kept, "2"]);
            }
            number(*port, &call);
        }
    }
    // One that is loaded on any node is known to every shard.
    let sha = text(ports[1], &["SCRIPT", "LOAD", "return redis.call('incr',KEYS[1])"]);
    for port in &ports {
        let known = ask(*port, &["SCRIPT", "EXISTS", &sha, "none"]).expect("the node answers");
        assert_eq!(known, Value::Array(vec![Value::Integer(1), Value::Integer(0)]));
        for tag in TAGS {
            number(*port, &["EVALSHA", &sha, "1", &format!("{{{tag}}}n")]);
        }
    }
    assert_eq!(text(ports[2], &["FUNCTION", "LOAD", LIBRARY]), "lib");
    for port in &ports {
        for tag in TAGS {
            number(*port, &["FCALL", "add", "1", &format!("{{{tag}}}f"), "5"]);
            assert!(!text(*port, &["FCALL_RO", "look", "1", &format!("{{{tag}}}f")]).is_empty());
        }
    }
    cluster.wait_until_level();
    cluster.assert_equal_digests();

    // A node falls; the others know scripts and functions still.
    cluster.nodes[0].end();
    cluster.wait_until_led();
    for port in &ports[1..] {
        for tag in TAGS {
            number(*port, &["EVALSHA", &sha, "1", &format!("{{{tag}}}n")]);
            number(*port, &["FCALL", "add", "1", &format!("{{{tag}}}f"), "5"]);
        }
    }
    cluster.nodes[0].begin();
    cluster.wait_until_level();
    cluster.assert_equal_digests();
    assert_eq!(number(ports[0], &["FCALL", "add", "1", "{a}f", "0"]), 25);
    assert_eq!(number(ports[0], &["EVALSHA", &sha, "1", "{a}n"]), 6);
}

#[test]
fn scripts_run_inside_transactions_and_see_their_shard_alone() {
    let cluster = Cluster::start(&Shape::default());
    for port in cluster.ports() {
        let mut wire = connect(port).expect("the node listens");
        let sha = text(port, &["SCRIPT", "LOAD", "return redis.call('incr',KEYS[1])"]);
        let lines: [&[&str]; 5] = [
            &["MULTI"],
            &["SET", "{t}n", "6"],
            &["EVALSHA", &sha, "1", "{t}n"],
            &["EVALSHA", "unknown", "0"],
            &["EXEC"],
        ];
        let replies = lines.map(|line| wire.call_all(line).expect("the node answers"));
        let last = format!("{:?}", replies[4]);
        assert!(last.contains("Integer(7)") && last.contains("NOSCRIPT"), "{last}");
        // Keys of two shards, named or not.
        let crossed = text(port, &["EVAL", "return 1", "2", "a", "b"]);
        assert!(crossed.starts_with("CROSSSLOT"), "{crossed}");
        let script = "return redis.call('get',ARGV[1])";
        let refused: Vec<String> =
            TAGS.iter().map(|key| text(port, &["EVAL", script, "1", "a", key])).collect();
        assert!(refused.iter().any(|reply| reply.contains("non local key")), "{refused:?}");
        let endless =
            text(port, &["EVAL", "redis.call('set',KEYS[1],1) while true do end", "1", "x"]);
        assert!(endless.contains("was undone"), "{endless}");
        assert_eq!(number(port, &["EXISTS", "x"]), 0);
        assert!(text(port, &["SCRIPT", "KILL"]).starts_with("NOTBUSY"));
    }
    cluster.assert_equal_digests();
}

/// A library whose function says which version of it this is.
fn library_of(version: usize) -> String {
    format!("#!lua name=both\nredis.register_function('version',function() return {version} end)")
}

/// What every shard answers, asked through every node, and the libraries that each node tells of.
fn versions(ports: &[u16]) -> (Vec<String>, Vec<String>) {
    let called = |port: &u16| {
        TAGS.map(|tag| text(*port, &["FCALL", "version", "1", &format!("{{{tag}}}k")]))
    };
    let listed = |port: &u16| text(*port, &["FUNCTION", "LIST", "WITHCODE"]);
    let mut answers: Vec<String> = ports.iter().flat_map(called).collect();
    answers.sort();
    answers.dedup();
    let mut lists: Vec<String> = ports.iter().map(listed).collect();
    lists.dedup();
    (answers, lists)
}

/// INV-FN1: whoever changes libraries through whichever node at the same time, all shards come to have the same.
#[test]
fn simultaneous_changes_of_libraries_leave_every_shard_with_one() {
    const ROUNDS: usize = 12;
    let cluster = Cluster::start(&Shape::default());
    let ports = cluster.ports();
    for round in 0..ROUNDS {
        std::thread::scope(|scope| {
            for (at, port) in ports.iter().enumerate() {
                scope.spawn(move || {
                    let code = library_of(3 * round + at);
                    assert_eq!(text(*port, &["FUNCTION", "LOAD", "REPLACE", &code]), "both");
                    if round % 3 == 2 && at == 0 {
                        text(*port, &["FUNCTION", "DELETE", "both"]);
                    }
                });
            }
        });
        let (answers, lists) = versions(&ports);
        assert_eq!((answers.len(), lists.len()), (1, 1), "INV-FN1: {answers:?} {lists:?}");
    }
    assert_eq!(text(ports[1], &["FUNCTION", "FLUSH"]), "OK");
    assert!(text(ports[0], &["FCALL", "version", "1", "a"]).starts_with("ERR Function not found"));
    cluster.assert_equal_digests();
}

/// INV-FN1: a node that dies while it has a change spread leaves no shard behind for good.
#[test]
fn a_change_of_libraries_outlives_the_node_that_spreads_it() {
    let mut cluster = Cluster::start(&Shape::default());
    let ports = cluster.ports();
    assert_eq!(text(ports[0], &["FUNCTION", "LOAD", &library_of(0)]), "both");
    for round in 1..4 {
        let fallen = round % ports.len();
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                // Until the node is gone; what it last answered may be anything.
                (0..).find(|at| {
                    let code = library_of(1000 * round + at);
                    ask(ports[fallen], &["FUNCTION", "LOAD", "REPLACE", &code]).is_err()
                })
            });
            wait_for("a few changes", Duration::from_secs(20), || {
                let reply = ask(ports[fallen], &["FCALL", "version", "1", "a"]).ok()?;
                (reply.as_integer()? > 1000 * i64::try_from(round).ok()? + 5).then_some(())
            });
            cluster.nodes[fallen].end();
            asked.join().expect("the client ends with its node");
        });
        cluster.wait_until_led();
        let others: Vec<u16> =
            ports.iter().copied().filter(|port| *port != ports[fallen]).collect();
        wait_for("every shard has one library", Duration::from_secs(20), || {
            let (answers, lists) = versions(&others);
            (answers.len() == 1 && lists.len() == 1).then_some(())
        });
        cluster.nodes[fallen].begin();
        cluster.wait_until_level();
    }
    cluster.assert_equal_digests();
}
