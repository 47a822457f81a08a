//! Rows of the geo family.

use super::{Command, Group, KeySpec, OptionKey, REPLACE_KEY, flags};
use crate::command::geo::{add, get, search};

const fn write(name: &'static str, arity: i32, run: super::WriteFn) -> Command {
    Command::write(name, arity, Group::Geo, run).deny_oom().since("3.2.0").cost(SEARCH_COST)
}

const fn read(name: &'static str, arity: i32, run: super::ReadFn) -> Command {
    Command::read(name, arity, Group::Geo, run).since("3.2.0").cost(SEARCH_COST)
}

const SEARCH_COST: &str =
    "O(N+M*log(M)) where N is the number of members near the shape and M of those within it";

/// The option STORE or STOREDIST.
const fn storing(word: &'static str, from: usize) -> OptionKey {
    let valued = &[("STORE", 1), ("STOREDIST", 1), ("COUNT", 1)];
    OptionKey { word, from, valued, is_shown: true }
}
const STORE_OF_MEMBER: [OptionKey; 2] = [storing("STORE", 5), storing("STOREDIST", 5)];
const STORE_OF_PLACE: [OptionKey; 2] = [storing("STORE", 6), storing("STOREDIST", 6)];
/// The set that is read, and the key behind STORE or STOREDIST.
const STORING_FROM_5: &[KeySpec] = &[
    KeySpec::one(1, "RO access"),
    KeySpec::option(&STORE_OF_MEMBER[0], "OW update"),
    KeySpec::option(&STORE_OF_MEMBER[1], "OW update"),
];
const STORING_FROM_6: &[KeySpec] = &[
    KeySpec::one(1, "RO access"),
    KeySpec::option(&STORE_OF_PLACE[0], "OW update"),
    KeySpec::option(&STORE_OF_PLACE[1], "OW update"),
];
const REPLACE_FROM_SECOND: &[KeySpec] = &[REPLACE_KEY[0], KeySpec::one(2, "RO access")];

pub(crate) const ROWS: &[Command] = &[
    write("geoadd", -5, add::geoadd)
        .cost("O(log(N)) for each member, where N is the number of members")
        .doc(
            "key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
            "Sets the places of members.",
        ),
    read("geodist", -4, get::geodist)
        .cost("O(1)")
        .doc("key member1 member2 [M | KM | FT | MI]", "Returns the distance between two members."),
    read("geohash", -2, get::geohash)
        .cost("O(N) where N is the number of members named")
        .doc("key [member [member ...]]", "Returns the geohashes of members."),
    read("geopos", -2, get::geopos)
        .cost("O(N) where N is the number of members named")
        .doc("key [member [member ...]]", "Returns the places of members."),
    write("georadius", -6, search::georadius)
        .with(flags::MOVABLEKEYS)
        .keys_at(STORING_FROM_6)
        .doc(
            "key longitude latitude radius M | KM | FT | MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
            "Returns or stores the members within a radius.",
        ),
    read("georadius_ro", -6, search::georadius_ro).since("3.2.10").doc(
        "key longitude latitude radius M | KM | FT | MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        "Returns the members within a radius.",
    ),
    write("georadiusbymember", -5, search::georadiusbymember)
        .with(flags::MOVABLEKEYS)
        .keys_at(STORING_FROM_5)
        .doc(
            "key member radius M | KM | FT | MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
            "Returns or stores the members within a radius around a member.",
        ),
    read("georadiusbymember_ro", -5, search::georadiusbymember_ro).since("3.2.10").doc(
        "key member radius M | KM | FT | MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        "Returns the members within a radius around a member.",
    ),
    read("geosearch", -7, search::geosearch).since("6.2.0").doc(
        "key FROMMEMBER member | FROMLONLAT longitude latitude BYRADIUS radius M | KM | FT | MI | BYBOX width height M | KM | FT | MI [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
        "Returns the members within a circle or a rectangle.",
    ),
    write("geosearchstore", -8, search::geosearchstore)
        .keys_at(REPLACE_FROM_SECOND)
        .since("6.2.0")
        .doc(
            "destination source FROMMEMBER member | FROMLONLAT longitude latitude BYRADIUS radius M | KM | FT | MI | BYBOX width height M | KM | FT | MI [ASC | DESC] [COUNT count [ANY]] [STOREDIST]",
            "Stores the members within a circle or a rectangle.",
        ),
];
