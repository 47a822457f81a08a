//! Documents by themselves: objects, parts, paths. What commands make of them stands in `tests/json.rs`.

use proptest::prelude::*;

use super::path::{Path, select};
use super::print::printed;
use super::*;

fn hasher() -> Hasher {
    Hasher::new(5)
}

fn document(text: &str) -> Json {
    Json::of(read(&hasher(), text.as_bytes()).unwrap())
}

/// What a path finds, as text.
fn found(document: &Json, path: &str) -> String {
    let path = Path::read(&hasher(), path.as_bytes()).unwrap();
    let selection = select(&path, document, &hasher()).unwrap();
    for (node, location) in selection.nodes().zip(selection.locations()) {
        assert!(std::ptr::eq(document.at(&location).unwrap(), node), "the way leads elsewhere");
    }
    let found: Vec<String> =
        selection.nodes().map(|node| String::from_utf8(printed(node)).unwrap()).collect();
    found.join(" ")
}

fn fault(path: &str) -> String {
    Path::read(&hasher(), path.as_bytes()).err().unwrap().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// INV-JSON1, on both sides of what is looked through without an index.
    #[test]
    fn an_object_keeps_the_order_of_its_members(
        steps in proptest::collection::vec((0u8..40, 0u8..4, 0usize..40), 1..300),
    ) {
        let hasher = hasher();
        let mut object = Object::default();
        let mut model: Vec<(Vec<u8>, i64)> = Vec::new();
        for (nth, (name, kind, len)) in steps.into_iter().enumerate() {
            let name = vec![b'a' + name; len % 3 * 10 + 1];
            let place = model.iter().position(|(held, _)| *held == name);
            let value = nth as i64;
            if kind > 0 {
                let old = object.put(&hasher, &name, Node::Integer(value));
                prop_assert_eq!(old.is_some(), place.is_some());
                match place {
                    Some(place) => model[place].1 = value,
                    None => model.push((name, value)),
                }
            } else if let Some(place) = place {
                let at = object.place_of(&hasher, &name).unwrap();
                let mut taken = 0;
                object.remove_places(&hasher, &[at], |_| taken += 1);
                prop_assert_eq!(taken, 1);
                model.remove(place);
            }
            prop_assert_eq!(object.len(), model.len());
            let held: Vec<(Vec<u8>, i64)> = object
                .iter()
                .map(|(_, name, value)| match value {
                    Node::Integer(value) => (name.to_vec(), *value),
                    _ => unreachable!("integers went in"),
                })
                .collect();
            prop_assert_eq!(&held, &model);
            for (name, _) in &model {
                prop_assert!(object.get(&hasher, name).is_some());
            }
        }
    }

    #[test]
    fn text_is_read_back_whatever_its_length(texts in proptest::collection::vec("\\PC{0,20}", 1..6)) {
        let mut text = text::Text::new(texts[0].as_bytes());
        texts[1..].iter().for_each(|more| text.append(more.as_bytes()));
        let whole = texts.concat();
        prop_assert_eq!(text.as_bytes(), whole.as_bytes());
    }

    #[test]
    fn doubles_are_read_back_to_the_last_bit(bits: u64) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        let text = printed(&Node::Double(number));
        match read(&hasher(), &text) {
            Ok(Node::Double(back)) => prop_assert_eq!(back.to_bits(), bits),
            _ => prop_assert!(false, "not a double: {}", String::from_utf8_lossy(&text)),
        }
    }

    #[test]
    fn arbitrary_parts_do_not_panic(parts in proptest::collection::vec(
        (prop_oneof![Just(b'a'), Just(b'o'), Just(b's'), Just(b'i'), Just(b'n'), any::<u8>()],
         proptest::collection::vec(0u8..4, 0..12)),
        1..12,
    )) {
        let mut json = Json::begin(&hasher(), 0, parts.len() as u64).unwrap();
        for (tag, rest) in parts {
            let part: Vec<u8> = std::iter::once(tag).chain(rest).collect();
            if json.add_part(&hasher(), &part).is_err() {
                break;
            }
        }
    }

    /// Slices beside the words of RFC 9535.
    #[test]
    fn slices_are_those_of_the_standard(
        len in 0i64..8,
        start in proptest::option::of(-10i64..10),
        end in proptest::option::of(-10i64..10),
        step in -3i64..4,
    ) {
        let text = |number: Option<i64>| number.map_or(String::new(), |number| number.to_string());
        let path = format!("$[{}:{}:{step}]", text(start), text(end));
        let items: Vec<String> = (0..len).map(|item| item.to_string()).collect();
        let placed = |at: i64| if at < 0 { len + at } else { at };
        let mut wanted = Vec::new();
        if step > 0 {
            let mut at = placed(start.unwrap_or(0)).clamp(0, len);
            while at < placed(end.unwrap_or(len)).clamp(0, len) {
                wanted.push(at.to_string());
                at += step;
            }
        } else if step < 0 {
            let mut at = placed(start.unwrap_or(len - 1)).clamp(-1, len - 1);
            while at > placed(end.unwrap_or(-len - 1)).clamp(-1, len - 1) {
                wanted.push(at.to_string());
                at += step;
            }
        }
        let held = document(&format!("[{}]", items.join(",")));
        prop_assert_eq!(found(&held, &path), wanted.join(" "));
    }

    #[test]
    fn arbitrary_paths_do_not_panic(path in "[$@.\\[\\]*?(){}!=<>&|~:,'\"\\\\a-c0-9 -]{0,40}") {
        let held = document(r#"{"a":[1,{"b":"x"}],"b":{"a":2,"c":null}}"#);
        for start in ["", "$", "$[?("] {
            let path = format!("{start}{path}");
            if let Ok(path) = Path::read(&hasher(), path.as_bytes()) {
                let found = select(&path, &held, &hasher()).map_or(0, |found| found.len());
                prop_assert!(found <= 1 << 21, "more than looks allow");
            }
        }
    }
}

#[test]
fn a_document_comes_back_from_its_parts() {
    let text = r#"{"z":[1,-2,18446744073709551615,1.5,-0.0],"a":{},"e":[],"s":"é\n","n":null,"t":true,"o":{"f":false}}"#;
    let held = document(text);
    let mut parts: Vec<Vec<u8>> = Vec::new();
    held.each_part(&mut |part| parts.push(part.to_vec()));
    assert_eq!(parts.len() as u64, held.part_count());
    let load = |parts: &[Vec<u8>]| {
        let mut back = Json::begin(&hasher(), 0, parts.len() as u64).unwrap();
        parts.iter().try_for_each(|part| back.add_part(&hasher(), part)).map(|()| back)
    };
    let back = load(&parts).unwrap();
    assert!(back.is_whole());
    assert_eq!(printed(back.root()), text.as_bytes());
    assert!(!load(&parts[..parts.len() - 1]).unwrap().is_whole(), "the last value is missing");
    let again = parts.last().unwrap().clone();
    parts.push(again);
    assert!(load(&parts).is_err(), "nothing may follow");
    let twice: [&[u8]; 3] = [b"o\x02", b"n\x01a", b"t\x01a"];
    assert!(load(&twice.map(<[u8]>::to_vec)).is_err(), "INV-JSON1");
    assert!(load(&vec![b"a\x01".to_vec(); NESTING_MAX + 1]).is_err(), "INV-JSON2");
    let infinite = [&b"d"[..], &f64::INFINITY.to_le_bytes()].concat();
    assert!(load(&[infinite]).is_err());
}

#[test]
fn of_two_members_of_one_name_the_last_counts() {
    assert_eq!(printed(document(r#"{"a":1,"b":2,"a":3}"#).root()), br#"{"a":3,"b":2}"#);
}

#[test]
fn text_that_nests_too_deep_is_refused() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(document(&nested(NESTING_MAX)).root().depth(), NESTING_MAX);
    let error = read(&hasher(), nested(100_000).as_bytes()).err().unwrap().to_string();
    assert_eq!(error, "recursion limit exceeded at line 1 column 128");
}

#[test]
fn paths_find_what_they_name_in_the_order_of_the_document() {
    let held = document(
        r#"{"b":[{"p":5,"t":"Ab"},{"p":8.5,"t":"c"},{"t":"abc","x":null}],"a":{"p":1,"b":[0]},"k.e y":7,"m":6,"r":"^a"}"#,
    );
    for (path, text) in [
        ("$", std::str::from_utf8(&printed(held.root())).unwrap()),
        ("$.a.p", "1"),
        (".a.p", "1"),
        ("a.p", "1"),
        ("a[\"p\"]", "1"),
        ("$['a']['p']", "1"),
        ("$.['a'].p", "1"),
        ("$[\"k.e y\"]", "7"),
        ("$[\"\\u006d\"]", "6"),
        ("$..p", "5 8.5 1"),
        ("..p", "5 8.5 1"),
        ("$..b[0].p", "5"),
        ("$.b[*].t", "\"Ab\" \"c\" \"abc\""),
        ("$.b[-1].t", "\"abc\""),
        ("$.b[3]", ""),
        ("$.b[0,1].p", "5 8.5"),
        ("$.b[0,0].p", "5 5"),
        ("$['m', 'a'].p", "1"),
        ("$.b[1:].t", "\"c\" \"abc\""),
        ("$.b[::-2].t", "\"abc\" \"Ab\""),
        ("$.b[::0]", ""),
        ("$.a.*", "1 [0]"),
        ("$.b[?(@.p)].p", "5 8.5"),
        ("$.b[?@.p].p", "5 8.5"),
        ("$.b[?(!@.p)].t", "\"abc\""),
        ("$.b[?(@.p>5)].p", "8.5"),
        ("$.b[?(@.p>=5 && @.p<8.5)].p", "5"),
        ("$.b[?(@.p==5.0||@.t=='abc')].t", "\"Ab\" \"abc\""),
        ("$.b[?(@.p < $.m)].p", "5"),
        ("$.b[?(6 > @.p)].p", "5"),
        ("$.b[?(@.p != 5)].p", "8.5"),
        ("$.b[?(@.t != 5)].t", ""),
        ("$.b[?(@.x == null)].t", "\"abc\""),
        ("$.b[?(@.t =~ 'b')].t", "\"Ab\" \"abc\""),
        ("$.b[?(@.t =~ \"(?i)^a\")].t", "\"Ab\" \"abc\""),
        ("$.b[?(@.t =~ $.r)].t", "\"abc\""),
        ("$.b[?(@.t =~ '(')].t", ""),
        ("$.b[?(@.t =~ '\\w{2}')].t", "\"Ab\" \"abc\""),
        ("$.b[?(@ == {\"t\":\"c\",\"p\":8.5})].t", "\"c\""),
        ("$.b[?(@.p in [5, 6])].p", "5"),
        ("$.b[?(@.p nin [5, 6])].t", "\"c\" \"abc\""),
        ("$.b[?(true)].p", "5 8.5"),
        ("$.b[?length(@.t) > 1].t", "\"Ab\" \"abc\""),
        ("$[?length(@) == 2]", "{\"p\":1,\"b\":[0]} \"^a\""),
        ("$.b[?(count(@.*) == 2 && @.p)].p", "5 8.5"),
        ("$.b[?value(@.p) == 5].p", "5"),
        ("$.b[?value(@.*) == 5].p", ""),
        ("$.b[?match(@.t, 'b')].t", ""),
        ("$.b[?match(@.t, \"a|abc\")].t", "\"abc\""),
        ("$.b[?!search( @.t , 'b' )].t", "\"c\""),
        ("$.b[?search(@.t, $.r)].t", "\"abc\""),
        ("$.b[?match(@.t, $.r)].t", ""),
        ("$.b[?length(length(@.t)) == 1].t", ""),
        ("$.a[?(@ == 1)]", "1"),
        ("$..[?(@.p == 1)].b", "[0]"),
        ("$.b[?((@.p == 5 || @.p == 8.5) && !(@.t == 'c'))].p", "5"),
        ("$.nosuch.a[0]", ""),
        ("", std::str::from_utf8(&printed(held.root())).unwrap()),
    ] {
        assert_eq!(found(&held, path), text, "{path}");
    }
}

#[test]
fn what_is_no_path_is_refused_at_its_place() {
    for (path, text) in [
        ("$.", "Error occurred on position 3, expected a name, `*` or `[`"),
        ("$a", "Error occurred on position 2, expected `.` or `[`"),
        (
            "$[",
            "Error occurred on position 3, expected a quoted name, `*`, an index, a slice or `?`",
        ),
        ("$[1", "Error occurred on position 4, expected `,` or `]`"),
        ("$['a", "Error occurred on position 3, expected a closing quote"),
        ("$['\\ud800']", "Error occurred on position 5, expected an escape of JSON"),
        ("$[-]", "Error occurred on position 3, expected an integer"),
        (
            "$[?(@.a ==)]",
            "Error occurred on position 11, expected a path, a number, a quoted text or another literal",
        ),
        ("$[?(@.a == 1]", "Error occurred on position 13, expected `&&`, `||` or `)`"),
        ("a b", "Error occurred on position 2, expected `.` or `[`"),
    ] {
        assert_eq!(fault(path), text, "{path}");
    }
    assert!(fault(&format!("$[?{}", "(".repeat(10_000))).ends_with("expected less nesting"));
    assert!(fault(&format!("${}", "[?@".repeat(1000))).ends_with("expected less nesting"));
    assert!(fault(&"a".repeat(100_000)).ends_with("expected the end of the path"));
    assert!(Path::read(&hasher(), b"$.\xff").is_err());
}

#[test]
fn patterns_take_looks_by_their_size() {
    let text = "a".repeat(100_000);
    let held = document(&format!("[{{\"t\":\"{text}b\",\"p\":\"(a*)*c\"}}]"));
    assert_eq!(found(&held, "$[?(@.t =~ @.p)].p"), "");
    assert_eq!(found(&held, "$[?(@.t =~ 'a{1000}{1000}')].p"), "", "too large to be a pattern");
    let path = Path::read(&hasher(), b"$[?(@.t =~ '.{300}c')]").unwrap();
    assert!(select(&path, &held, &hasher()).is_err(), "100,000 bytes, hundreds of states each");
    assert!(
        fault(&format!("$[?(@=~'a'){}]", "||@=~'a'".repeat(32)))
            .ends_with("expected fewer patterns")
    );
}

#[test]
fn a_path_that_looks_at_too_much_is_refused() {
    let depth = NESTING_MAX;
    let held = document(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    let path = Path::read(&hasher(), b"$..*..*..*..*..*").unwrap();
    assert!(select(&path, &held, &hasher()).is_err(), "127 choose 5 values");
    let path = Path::read(&hasher(), b"$..*..*").unwrap();
    assert_eq!(select(&path, &held, &hasher()).unwrap().len(), depth * (depth - 1) / 2 - depth + 1);
}

#[test]
fn a_name_of_an_object_with_many_members_is_found_and_forgotten() {
    let hasher = hasher();
    let names: Vec<String> = (0..1000).map(|nth| format!("\"{nth}\":{nth}")).collect();
    let mut held = document(&format!("{{{}}}", names.join(",")));
    let gone: Vec<usize> = (0..1000).filter(|nth| nth % 10 != 3).collect();
    held.remove_children(&hasher, &[], &gone);
    assert_eq!(found(&held, "$['983']"), "983");
    assert_eq!(found(&held, "$['982']"), "");
    assert_eq!(held.root().child_count(), 100);
    assert!(held.put_member(&hasher, &[], b"982", Node::Null));
    assert_eq!(found(&held, "$['982']"), "null");
    assert_eq!(held.bytes(), held.root().bytes_behind(), "INV-JSON3");
}
