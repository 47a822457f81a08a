//! The JSON commands beside a naive model over `serde_json::Value`, and what scripts of `tests/golden` cannot show:
//! RESP3, payloads, snapshots, bounds.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use keystead_resp::{Protocol, ReplyWriter};
use keystead_store::Store;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{CONFIG, apply, context, dump, load, with_args};

/// One step of a path.
#[derive(Clone, Debug)]
enum Step {
    Name(u8),
    Index(i64),
    All,
    Anywhere(u8),
}

/// A step of a way to one value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    At(usize),
    In(String),
}

fn name(letter: u8) -> String {
    // Some names are long enough to stand outside the value.
    let letter = char::from(b'a' + letter);
    if letter == 'c' { "c".repeat(20) } else { letter.to_string() }
}

fn path_text(path: &[Step]) -> String {
    path.iter().fold("$".to_owned(), |text, step| {
        text + &match step {
            Step::Name(letter) => format!(".{}", name(*letter)),
            Step::Index(index) => format!("[{index}]"),
            Step::All => "[*]".to_owned(),
            Step::Anywhere(letter) => format!("..{}", name(*letter)),
        }
    })
}

fn child<'v>(value: &'v Value, way: &Way) -> Option<&'v Value> {
    match way {
        Way::At(index) => value.as_array()?.get(*index),
        Way::In(name) => value.as_object()?.get(name),
    }
}

fn children(value: &Value) -> Vec<Way> {
    match value {
        Value::Array(elements) => (0..elements.len()).map(Way::At).collect(),
        Value::Object(members) => members.keys().cloned().map(Way::In).collect(),
        _ => Vec::new(),
    }
}

fn at<'v>(value: &'v Value, ways: &[Way]) -> Option<&'v Value> {
    ways.iter().try_fold(value, child)
}

fn at_mut<'v>(value: &'v mut Value, ways: &[Way]) -> Option<&'v mut Value> {
    ways.iter().try_fold(value, |value, way| match way {
        Way::At(index) => value.as_array_mut()?.get_mut(*index),
        Way::In(name) => value.as_object_mut()?.get_mut(name),
    })
}

/// The ways to all values that a path names.
fn select(root: &Value, path: &[Step]) -> Vec<Vec<Way>> {
    let mut found = vec![Vec::new()];
    for step in path {
        let mut next = Vec::new();
        for ways in found {
            let value = at(root, &ways).unwrap();
            let mut choose = |ways: &[Way], value: &Value, way: Way| {
                if child(value, &way).is_some() {
                    next.push([ways, &[way]].concat());
                }
            };
            match step {
                Step::Name(letter) => choose(&ways, value, Way::In(name(*letter))),
                Step::Index(index) => {
                    let len = value.as_array().map_or(0, Vec::len) as i64;
                    let index = if *index < 0 { len + index } else { *index };
                    if let Ok(index) = usize::try_from(index) {
                        choose(&ways, value, Way::At(index));
                    }
                }
                Step::All => children(value).into_iter().for_each(|way| choose(&ways, value, way)),
                Step::Anywhere(letter) => {
                    let mut waiting = vec![ways];
                    while let Some(ways) = waiting.pop() {
                        let value = at(root, &ways).unwrap();
                        choose(&ways, value, Way::In(name(*letter)));
                        waiting.extend(
                            children(value).into_iter().map(|way| [&ways[..], &[way]].concat()),
                        );
                    }
                }
            }
        }
        found = next;
    }
    found
}

/// Without those within others, in their order.
fn outermost(mut found: Vec<Vec<Way>>) -> Vec<Vec<Way>> {
    found.sort();
    found.dedup();
    let all = found.clone();
    found.retain(|ways| !all.iter().any(|outer| outer != ways && ways.starts_with(outer)));
    found
}

#[derive(Clone, Debug)]
enum Change {
    Set(Value),
    Merge(Value),
    Delete,
    Clear,
    Add(i64),
    Toggle,
    AppendText(String),
    Append(Value),
    Insert(i64, Value),
    Pop(i64),
    Trim(i64, i64),
}

impl Change {
    fn command(&self, path: &str) -> Vec<String> {
        let words: Vec<String> = match self {
            Self::Set(value) => vec!["SET".into(), value.to_string()],
            Self::Merge(value) => vec!["MERGE".into(), value.to_string()],
            Self::Delete => vec!["DEL".into()],
            Self::Clear => vec!["CLEAR".into()],
            Self::Add(number) => vec!["NUMINCRBY".into(), number.to_string()],
            Self::Toggle => vec!["TOGGLE".into()],
            Self::AppendText(text) => vec!["STRAPPEND".into(), json!(text).to_string()],
            Self::Append(value) => vec!["ARRAPPEND".into(), value.to_string()],
            Self::Insert(index, value) => {
                vec!["ARRINSERT".into(), index.to_string(), value.to_string()]
            }
            Self::Pop(index) => vec!["ARRPOP".into(), index.to_string()],
            Self::Trim(start, stop) => vec!["ARRTRIM".into(), start.to_string(), stop.to_string()],
        };
        let mut command = vec![format!("JSON.{}", words[0]), "k".to_owned(), path.to_owned()];
        command.extend(words.into_iter().skip(1));
        command
    }

    /// Does the same to the model; false if the command is refused and changes nothing.
    fn model(&self, root: &mut Value, path: &[Step]) -> bool {
        let found = select(root, path);
        match self {
            Self::Set(value) => {
                return put(root, path, value, |root, ways| {
                    *at_mut(root, ways).unwrap() = value.clone();
                });
            }
            Self::Merge(patch) => {
                return put(root, path, patch, |_, _| {}) && {
                    let mut found = found;
                    found.sort();
                    found.iter().rev().for_each(|ways| merge(at_mut(root, ways).unwrap(), patch));
                    true
                };
            }
            Self::Insert(index, _) => {
                let is_refused = found.iter().any(|ways| {
                    let len =
                        at(root, ways).unwrap().as_array().map(|elements| elements.len() as i64);
                    len.is_some_and(|len| !(-len..=len).contains(index))
                });
                if is_refused {
                    return false;
                }
            }
            Self::Delete => {
                for ways in outermost(found).iter().rev() {
                    match (ways.split_last(), &mut *root) {
                        (None, root) => *root = Value::Null,
                        (Some((Way::At(index), ways)), root) => {
                            at_mut(root, ways).unwrap().as_array_mut().unwrap().remove(*index);
                        }
                        (Some((Way::In(name), ways)), root) => {
                            at_mut(root, ways).unwrap().as_object_mut().unwrap().remove(name);
                        }
                    }
                }
                return true;
            }
            Self::Clear => {
                outermost(found).iter().for_each(|ways| self.change(at_mut(root, ways).unwrap()));
                return true;
            }
            _ => {}
        }
        // The innermost first: what moves elements must not move those that are still to be changed.
        let mut found = found;
        found.sort();
        found.iter().rev().for_each(|ways| self.change(at_mut(root, ways).unwrap()));
        true
    }

    /// What becomes of one value.
    fn change(&self, value: &mut Value) {
        match (self, value) {
            (Self::Clear, Value::Array(elements)) => elements.clear(),
            (Self::Clear, Value::Object(members)) => members.clear(),
            (Self::Clear, value @ Value::Number(_)) => *value = json!(0),
            (Self::Add(number), Value::Number(held)) => {
                *held = (held.as_i64().unwrap() + number).into();
            }
            (Self::Toggle, Value::Bool(held)) => *held = !*held,
            (Self::AppendText(text), Value::String(held)) => held.push_str(text),
            (Self::Append(value), Value::Array(elements)) => elements.push(value.clone()),
            (Self::Insert(index, value), Value::Array(elements)) => {
                let len = elements.len() as i64;
                let index = if *index < 0 { len + index } else { *index };
                elements.insert(usize::try_from(index).unwrap(), value.clone());
            }
            (Self::Pop(index), Value::Array(elements)) if !elements.is_empty() => {
                let len = elements.len() as i64;
                let index = if *index < 0 { len + index } else { *index }.clamp(0, len - 1);
                elements.remove(usize::try_from(index).unwrap());
            }
            (Self::Trim(start, stop), Value::Array(elements)) => {
                let len = elements.len() as i64;
                let placed = |at: i64| if at < 0 { (len + at).max(0) } else { at };
                let kept: Vec<Value> = (placed(*start)..=placed(*stop).min(len - 1))
                    .filter_map(|at| elements.get(usize::try_from(at).unwrap()).cloned())
                    .collect();
                *elements = kept;
            }
            _ => {}
        }
    }
}

/// What JSON.SET and JSON.MERGE have in common: a path that finds nothing may name a new member.
fn put(
    root: &mut Value,
    path: &[Step],
    value: &Value,
    change: impl Fn(&mut Value, &[Way]),
) -> bool {
    let found = select(root, path);
    if !found.is_empty() {
        outermost(found).iter().for_each(|ways| change(root, ways));
        return true;
    }
    let is_definite = path.iter().all(|step| matches!(step, Step::Name(_) | Step::Index(_)));
    if let (true, Some((Step::Name(letter), parent))) = (is_definite, path.split_last())
        && let Some(ways) = select(root, parent).first()
        && let Some(Value::Object(members)) = at_mut(root, ways)
    {
        members.insert(name(*letter), value.clone());
        return true;
    }
    false
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let members = target.as_object_mut().unwrap();
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), change);
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9i64..9).prop_map(Value::from),
        "[a-c\"\u{e9}\n]{0,16}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((0u8..6, inner), 0..5).prop_map(|members| {
                members.into_iter().map(|(letter, value)| (name(letter), value)).collect()
            }),
        ]
    })
}

fn path() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u8..6).prop_map(Step::Name),
        2 => (-3i64..4).prop_map(Step::Index),
        2 => Just(Step::All),
        1 => (0u8..6).prop_map(Step::Anywhere),
    ];
    proptest::collection::vec(step, 0..4)
}

fn change() -> impl Strategy<Value = Change> {
    let index = -4i64..5;
    prop_oneof![
        4 => value().prop_map(Change::Set),
        3 => value().prop_map(Change::Merge),
        2 => Just(Change::Delete),
        1 => Just(Change::Clear),
        1 => (-9i64..9).prop_map(Change::Add),
        1 => Just(Change::Toggle),
        1 => "[a-c]{0,9}".prop_map(Change::AppendText),
        2 => value().prop_map(Change::Append),
        1 => (index.clone(), value()).prop_map(|(at, value)| Change::Insert(at, value)),
        1 => index.clone().prop_map(Change::Pop),
        1 => (index.clone(), index).prop_map(|(start, stop)| Change::Trim(start, stop)),
    ]
}

fn words<'a>(line: &[&'a str]) -> Vec<&'a str> {
    line.to_vec()
}

/// The text of a bulk reply.
fn text(reply: &[u8]) -> Option<String> {
    let reply = std::str::from_utf8(reply).unwrap();
    let (head, rest) = reply.split_once("\r\n").unwrap();
    (head != "$-1").then(|| rest.strip_suffix("\r\n").unwrap().to_owned())
}

fn get(store: &mut Store, path: &str) -> Option<Value> {
    let reply = text(&apply(store, 0, &words(&["JSON.GET", "k", path])));
    reply.map(|text| serde_json::from_str(&text).unwrap())
}

fn sorted(mut values: Vec<Value>) -> Vec<String> {
    values.sort_by_key(Value::to_string);
    values.iter().map(Value::to_string).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    /// INV-JSON3 is asserted whenever a digest is taken.
    #[test]
    fn a_document_equals_the_naive_one(
        start in value(),
        steps in proptest::collection::vec((path(), change()), 1..24),
    ) {
        let mut store = Store::new(CONFIG);
        let mut model = start;
        apply(&mut store, 0, &["JSON.SET", "k", "$", &model.to_string()]);
        for (path, change) in steps {
            let path_text = path_text(&path);
            let found: Vec<Value> = select(&model, &path)
                .iter()
                .map(|ways| at(&model, ways).unwrap().clone())
                .collect();
            let read = get(&mut store, &path_text).unwrap();
            prop_assert_eq!(sorted(read.as_array().unwrap().clone()), sorted(found), "{}", path_text);
            if matches!(change, Change::Delete) && path.is_empty() {
                continue;
            }
            let (before, was_full) = (model.clone(), !children(&model).is_empty());
            let reply = apply(&mut store, 0, &change.command(&path_text));
            if !change.model(&mut model, &path) {
                model = before;
            }
            if matches!(change, Change::Delete) && was_full && children(&model).is_empty() {
                prop_assert_eq!(get(&mut store, "$"), None, "an emptied document goes");
                apply(&mut store, 0, &["JSON.SET", "k", "$", &model.to_string()]);
            }
            let shown = || (change.command(&path_text), String::from_utf8_lossy(&reply).into_owned());
            prop_assert_eq!(get(&mut store, "."), Some(model.clone()), "{:?}", shown());
            prop_assert_eq!(store.digest(), store.digest());
        }
        let mut loaded = load(&dump(&mut store), 100).unwrap();
        prop_assert_eq!(loaded.digest(), store.digest());
        prop_assert_eq!(get(&mut loaded, "."), Some(model));
        apply(&mut store, 0, &["COPY", "k", "l"]);
        let payload = apply(&mut store, 0, &["DUMP", "k"]);
        let payload = &payload[payload.iter().position(|byte| *byte == b'\n').unwrap() + 1..payload.len() - 2];
        let mut restored = Store::new(CONFIG);
        let restore: [&[u8]; 4] = [b"RESTORE", b"k", b"0", payload];
        prop_assert_eq!(apply(&mut restored, 0, &restore), b"+OK\r\n");
        apply(&mut restored, 0, &["COPY", "k", "l"]);
        prop_assert_eq!(restored.digest(), store.digest());
    }
}

/// The reply in RESP3.
fn resp3(store: &mut Store, line: &[&str]) -> String {
    let mut reply = Vec::new();
    with_args(line, |args| {
        let mut writer = ReplyWriter::new(&mut reply, Protocol::Resp3);
        let _outcome = store.apply(&context(1, 0), args, &mut writer);
    });
    String::from_utf8(reply).unwrap().replace("\r\n", " ").trim_end().to_owned()
}

/// Source: "Guide for migrating from RESP2 to RESP3 replies" of the Redis documentation of JSON.
#[test]
fn replies_in_resp3_have_its_types() {
    let mut store = Store::new(CONFIG);
    let document = r#"{"n":1,"d":1.5,"s":"x","b":true,"a":[1,2],"z":null}"#;
    assert_eq!(resp3(&mut store, &["JSON.SET", "k", "$", document]), "+OK");
    let get = format!("${} [{document}]", document.len() + 2);
    for (line, reply) in [
        (&["JSON.GET", "k"][..], get.as_str()),
        (&["JSON.GET", "k", ".n"], "$1 1"),
        (&["JSON.NUMINCRBY", "k", "$.*", "2"], "*6 :3 ,3.5 _ _ _ _"),
        (&["JSON.NUMINCRBY", "k", ".n", "2"], ":5"),
        (&["JSON.NUMMULTBY", "k", ".n", "0.5"], ",2.5"),
        (&["JSON.TYPE", "k", "$.a"], "*1 *1 $5 array"),
        (&["JSON.TYPE", "k", ".a"], "*1 $5 array"),
        (&["JSON.TYPE", "k"], "*1 *1 $6 object"),
        (&["JSON.TYPE", "nosuch", "$"], "*1 _"),
        (&["JSON.ARRLEN", "k", "$.*"], "*6 _ _ _ _ :2 _"),
        (&["JSON.TOGGLE", "k", "$.b"], "*1 :0"),
        (&["JSON.OBJLEN", "k"], "*1 :6"),
        (&["JSON.RESP", "k", "$.a"], "*1 *3 +[ :1 :2"),
        (&["JSON.RESP", "k", ".d"], ",3.5"),
        (&["JSON.MGET", "k", "nosuch", "$.s"], "*2 $5 [\"x\"] _"),
        (&["JSON.ARRPOP", "k", "$.a"], "*1 $1 2"),
    ] {
        assert_eq!(resp3(&mut store, line), reply, "{line:?}");
    }
}

#[test]
fn a_payload_of_redis_is_read() {
    // Type 7, the id of ReJSON-RL in encoding 3, one string, the end: put together by hand from the description of the
    // format, with the version and checksum that the test asks the store for.
    let mut store = Store::new(CONFIG);
    apply(&mut store, 0, &["JSON.SET", "k", "$", "[1.5]"]);
    let reply = apply(&mut store, 0, &["DUMP", "k"]);
    let value = &reply[reply.iter().position(|byte| *byte == b'\n').unwrap() + 1..reply.len() - 12];
    let mut id = 0u64;
    for letter in b"ReJSON-RL" {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        id = id << 6 | letters.iter().position(|held| held == letter).unwrap() as u64;
    }
    let by_hand = [&[7, 0x81][..], &(id << 10 | 3).to_be_bytes(), b"\x05\x05[1.5]\x00"].concat();
    assert_eq!(value, by_hand);
}

#[test]
fn values_that_would_nest_too_deep_are_refused() {
    let mut store = Store::new(CONFIG);
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(apply(&mut store, 0, &["JSON.SET", "k", "$", &nested(100)]), b"+OK\r\n");
    let inner = format!("${}", "[0]".repeat(99));
    let refused = b"-ERR recursion limit exceeded: values may be nested 127 deep\r\n";
    for line in [
        &["JSON.SET", "k", &inner, &nested(29)][..],
        &["JSON.MERGE", "k", &inner, &nested(29)],
        &["JSON.ARRAPPEND", "k", &inner, "1", &nested(28)],
        &["JSON.ARRINSERT", "k", &inner, "0", &nested(28)],
    ] {
        assert_eq!(apply(&mut store, 0, line), refused, "INV-JSON2: {}", line[0]);
    }
    assert_eq!(
        apply(&mut store, 0, &["JSON.ARRAPPEND", "k", &inner, &nested(27)]),
        b"*1\r\n:1\r\n"
    );
    assert_eq!(store.digest(), store.digest(), "INV-JSON3 is asserted there");
}

#[test]
fn a_short_command_does_not_multiply_a_long_value() {
    let mut store = Store::new(CONFIG);
    let many = format!("[{}0]", "0,".repeat(100_000));
    apply(&mut store, 0, &["JSON.SET", "k", "$", &many]);
    let long = format!("\"{}\"", "x".repeat(10_000));
    let reply = apply(&mut store, 0, &["JSON.SET", "k", "$[*]", &long]);
    let start = "-ERR the values that 100001 places would get exceed 536870912 bytes";
    assert!(reply.starts_with(start.as_bytes()), "{}", reply.escape_ascii());
}

#[test]
fn numbers_are_kept_as_they_are_written() {
    let mut store = Store::new(CONFIG);
    for number in
        ["0", "-9223372036854775808", "18446744073709551615", "1.0", "0.1", "1e300", "-0.0"]
    {
        apply(&mut store, 0, &["JSON.SET", "k", "$", number]);
        assert_eq!(text(&apply(&mut store, 0, &["JSON.GET", "k"])).unwrap(), number);
    }
}
