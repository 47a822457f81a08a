//! Values of any shape, from threads without a runtime: structs, enums, maps, bytes, times to live.
//!
//! ```sh
//! cargo run --example json_values
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use keystead::blocking::Keystead;
use keystead::{Kind, Options, Value};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    items: BTreeMap<String, u32>,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
enum State {
    Open,
    Shipped { parcel: String },
}

fn main() -> Result<(), Box<dyn Error>> {
    let data = tempfile::tempdir()?;
    let store = Keystead::start(Options::new(data.path()))?;

    let items = BTreeMap::from([("tea".to_owned(), 2)]);
    store.put("order:1", &Order { items, state: State::Open })?;

    // `update` may run its closure several times, so the closure only computes.
    store.update("order:1", |order: Option<Order>| {
        let mut order = order?;
        *order.items.entry("cup".to_owned()).or_default() += 1;
        order.state = State::Shipped { parcel: "P-7".into() };
        Some(order)
    })?;
    show(format_args!("{:?}", store.get::<Order>("order:1")?));

    // Any JSON, without a type of one's own.
    let order: Option<serde_json::Value> = store.get("order:1")?;
    assert_eq!(order.map(|order| order["items"]["tea"].clone()), Some(2.into()));

    // A counter that other clients use with INCR; JSON numbers are what INCR writes.
    store.command(&["INCRBY", "visits", "41"])?;
    store.update("visits", |visits: Option<i64>| visits.unwrap_or(0) + 1)?;
    assert_eq!(store.command(&["INCR", "visits"])?, Value::Integer(43));

    // Bytes that are no JSON, and keys that go by themselves.
    store.put_bytes("logo", [0x89, b'P', b'N', b'G'])?;
    store.put_with_ttl("session:9", &"open", Duration::from_secs(1800))?;
    let wrong = store.get::<Order>("logo").expect_err("a picture is no order");
    assert_eq!(wrong.kind(), Kind::Corrupt);
    show(format_args!("{wrong}"));

    let mut orders = 0;
    for key in store.scan("order:") {
        show(format_args!("there is {}", String::from_utf8(key?)?));
        orders += 1;
    }
    assert_eq!(orders, 1);
    assert!(store.delete("order:1")?);

    store.shutdown()?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn show(line: impl std::fmt::Display) {
    println!("{line}");
}

#[test]
fn the_example_runs() -> Result<(), Box<dyn Error>> {
    main()
}
