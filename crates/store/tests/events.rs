//! Effects: which keyspace events commands leave behind, in the words and the order of Redis.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use keystead_store::{Effect, EventClass, Store, Wanted};
use keystead_types::DatabaseId;
use support::{CONFIG, apply, context};

/// Steps: what is run (`expire_due` removes what is due), and the events that follow.
const STEPS: &[(&str, &str)] = &[
    ("SET a 1", "new set"),
    ("SET a 2 EX 100", "set expire"),
    ("SET a 3 KEEPTTL", "set"),
    ("SET a 4 NX", ""),
    ("PERSIST a", "persist"),
    ("PERSIST a", ""),
    ("APPEND a 5", "append"),
    ("SETRANGE a 0 9", "setrange"),
    ("INCR a", "incrby"),
    ("INCRBYFLOAT a 1", "incrbyfloat"),
    ("SETBIT a 1 1", "setbit"),
    ("BITFIELD a GET u8 0", ""),
    ("BITFIELD a SET u8 0 1", "setbit"),
    ("MSET b 1 c 2", "new set new set"),
    ("BITOP AND d b c", "new set"),
    ("BITOP AND d none", "del"),
    ("RENAME a b", "new rename_from rename_to"),
    ("COPY b c REPLACE", "new copy_to"),
    ("GETEX c EX 10", "expire"),
    ("GETEX c PERSIST", "persist"),
    ("EXPIRE c 10", "expire"),
    ("EXPIRE c -1", "del"),
    ("GETDEL b", "del"),
    ("DEL b", ""),
    ("HSET h f 1 g 2", "new hset"),
    ("HINCRBY h f 1", "hincrby"),
    ("HINCRBYFLOAT h f 1", "hincrbyfloat"),
    ("HSETNX h f 1", ""),
    ("HDEL h f", "hdel"),
    ("HDEL h g", "hdel del"),
    ("HSET h f 1 g 2", "new hset"),
    ("HPEXPIRE h 5 FIELDS 1 f", "hexpire"),
    ("HPERSIST h FIELDS 1 f", "hpersist"),
    ("HEXPIRE h 0 FIELDS 1 f", "hdel"),
    ("HPEXPIRE h 5 FIELDS 1 g", "hexpire"),
    ("JSON.SET j $ {\"a\":[],\"n\":1,\"t\":true,\"s\":\"x\"}", "new json.set"),
    ("JSON.SET j $.a [2] XX", "json.set"),
    ("JSON.SET j $.nosuch 1 XX", ""),
    ("JSON.NUMINCRBY j $.n 1", "json.numincrby"),
    ("JSON.NUMINCRBY j $.s 1", ""),
    ("JSON.NUMMULTBY j $.n 2", "json.nummultby"),
    ("JSON.NUMPOWBY j $.n 2", "json.numpowby"),
    ("JSON.TOGGLE j $.t", "json.toggle"),
    ("JSON.STRAPPEND j $.s \"y\"", "json.strappend"),
    ("JSON.ARRAPPEND j $.a 1 2", "json.arrappend"),
    ("JSON.ARRINSERT j $.a 0 1", "json.arrinsert"),
    ("JSON.ARRPOP j $.a", "json.arrpop"),
    ("JSON.ARRTRIM j $.a 0 0", "json.arrtrim"),
    ("JSON.ARRTRIM j $.a 0 0", ""),
    ("JSON.MERGE j $ {\"b\":1}", "json.merge"),
    ("JSON.CLEAR j $.a", "json.clear"),
    ("JSON.CLEAR j $.a", ""),
    ("JSON.DEL j $.b", "json.del"),
    ("JSON.DEL j $.b", ""),
    ("JSON.DEL j", "json.del"),
    ("JSON.MSET j $ 1", "new json.mset"),
    ("ZADD z 1 a 2 b 3 c", "new zadd"),
    ("ZADD z 1 a", ""),
    ("ZADD z XX 5 d", ""),
    ("ZADD z INCR 1 a", "zincr"),
    ("ZINCRBY z 1 a", "zincr"),
    ("ZINCRBY z 0 a", ""),
    ("ZRANGESTORE {z}2 z 0 -1", "new zrangestore"),
    ("ZRANGESTORE {z}2 z 9 10", "del"),
    ("ZRANGESTORE {z}2 z 9 10", ""),
    ("ZUNIONSTORE {z}2 1 z", "new zunionstore"),
    ("ZINTERSTORE {z}2 1 z", "zinterstore"),
    ("ZDIFFSTORE {z}2 1 z", "zdiffstore"),
    ("ZREM {z}2 a", "zrem"),
    ("ZREM {z}2 a", ""),
    ("ZREMRANGEBYSCORE {z}2 -inf inf", "zremrangebyscore del"),
    ("ZREMRANGEBYRANK z 0 0", "zremrangebyrank"),
    ("ZREMRANGEBYLEX z [x [y", ""),
    ("ZPOPMIN z", "zpopmin"),
    ("ZMPOP 1 z MAX COUNT 5", "zpopmax del"),
    ("XADD x 1 f v", "new xadd"),
    ("XADD x 1 f v", ""),
    ("XADD x MAXLEN 1 2 f v", "xadd xtrim"),
    ("XADD x MAXLEN 5 3 f v", "xadd"),
    ("XTRIM x MAXLEN 5", ""),
    ("XTRIM x MAXLEN 1", "xtrim"),
    ("XGROUP CREATE x g 0", "xgroup-create"),
    ("XGROUP CREATE x g 0", ""),
    ("XGROUP SETID x g 0", "xgroup-setid"),
    ("XREADGROUP GROUP g c STREAMS x >", "xgroup-createconsumer"),
    ("XREADGROUP GROUP g d STREAMS x >", ""),
    ("XCLAIM x g e 0 3", "xgroup-createconsumer"),
    ("XAUTOCLAIM x g f 0 0", "xgroup-createconsumer"),
    ("XGROUP CREATECONSUMER x g c", ""),
    ("XGROUP CREATECONSUMER x g h", "xgroup-createconsumer"),
    ("XGROUP DELCONSUMER x g h", "xgroup-delconsumer"),
    ("XGROUP DELCONSUMER x g h", ""),
    ("XGROUP DESTROY x g", "xgroup-destroy"),
    ("XGROUP DESTROY x g", ""),
    ("XSETID x 4", "xsetid"),
    ("XDEL x 3 3", "xdel"),
    ("XDEL x 3", ""),
    ("GEOADD g 13 38 a 15 37 b", "new zadd"),
    ("GEOSEARCHSTORE {g}2 g FROMLONLAT 15 37 BYRADIUS 200 km", "new geosearchstore"),
    ("GEORADIUS g 15 37 200 km STORE {g}2", "georadiusstore"),
    ("GEORADIUS g 0 0 1 km STORE {g}2", "del"),
    ("ZREM g a b", "zrem del"),
    ("RPUSH l 2 1", "new rpush"),
    ("SORT l", ""),
    ("SORT l STORE {l}2", "new sortstore"),
    ("SORT l DESC STORE {l}2", "sortstore"),
    ("SORT nosuch STORE {l}2", "del"),
    ("SORT nosuch STORE {l}2", ""),
    ("PSETEX t 5 x", "new set expire"),
    ("expire_due", "hexpired expired expired"),
];

#[test]
fn commands_tell_their_events() {
    let mut store = Store::new(CONFIG);
    store.want(Wanted { classes: u16::MAX, ..Wanted::default() });
    for (line, expected) in STEPS {
        if *line == "expire_due" {
            store.expire_due(&context(1, 2_000), 10);
        } else {
            apply(&mut store, 1_000, &line.split(' ').collect::<Vec<_>>());
        }
        let names = store.take_effects().into_iter().map(|effect| match effect {
            Effect::Event { name, .. } => name,
            other => panic!("{line}: {other:?}"),
        });
        assert_eq!(names.collect::<Vec<_>>().join(" "), *expected, "{line}");
    }
}

#[test]
fn nothing_is_told_that_nobody_asked_for() {
    let mut store = Store::new(CONFIG);
    apply(&mut store, 1, &["SET", "a", "1"]);
    assert_eq!(store.take_effects(), []);
    store.want(Wanted { classes: EventClass::Generic.bit(), ..Wanted::default() });
    apply(&mut store, 1, &["SET", "a", "1"]);
    assert_eq!(store.take_effects(), []);
    apply(&mut store, 1, &["DEL", "a"]);
    let (class, name, database) = (EventClass::Generic, "del", DatabaseId::FIRST);
    let key = b"a"[..].into();
    assert_eq!(store.take_effects(), [Effect::Event { class, name, database, key }]);
}

#[test]
fn events_name_the_database_in_which_they_happened() {
    let mut store = Store::new(CONFIG);
    let classes = EventClass::Generic.bit() | EventClass::New.bit() | EventClass::Expired.bit();
    for line in ["SET a 1", "SET b 1", "SELECT 5", "SET c 1 PX 5", "SELECT 0"] {
        apply(&mut store, 1, &line.split(' ').collect::<Vec<_>>());
    }
    store.want(Wanted { classes, ..Wanted::default() });
    apply(&mut store, 1, &["MOVE", "a", "3"]);
    apply(&mut store, 1, &["COPY", "b", "d", "DB", "4"]);
    store.expire_due(&context(1, 6), 1);
    let told: Vec<String> = store
        .take_effects()
        .into_iter()
        .map(|effect| match effect {
            Effect::Event { name, database, key, .. } => {
                format!("{database} {name} {}", key.escape_ascii())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "db3 new a",
            "db0 move_from a",
            "db3 move_to a",
            "db4 new d",
            "db4 copy_to d",
            "db5 expired c"
        ]
    );
    assert_eq!(store.selected(), DatabaseId::FIRST);
}

#[test]
fn every_change_touches_its_key() {
    let mut store = Store::new(CONFIG);
    store.want(Wanted { has_touches: true, ..Wanted::default() });
    apply(&mut store, 1, &["MSET", "a", "1", "b", "2"]);
    apply(&mut store, 1, &["RENAME", "a", "b"]);
    apply(&mut store, 1, &["GET", "b"]);
    apply(&mut store, 1, &["FLUSHALL"]);
    let touched = |key: &[u8]| Effect::Touched(key.into());
    let expected = [touched(b"a"), touched(b"b"), touched(b"a"), touched(b"b"), Effect::Cleared];
    assert_eq!(store.take_effects(), expected);
}
