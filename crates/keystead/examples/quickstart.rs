//! A node in this process: serve, put, get, update.
//!
//! ```sh
//! cargo run --example quickstart
//! ```

use std::error::Error;

use keystead::{Keystead, Options};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    age: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let data = tempfile::tempdir()?;

    // Redis clients are served, too, at a port that is free.
    let options = Options::new(data.path()).listen("127.0.0.1:0".parse()?);
    let store = Keystead::start(options).await?;
    let address = store.client_address().ok_or("the node serves clients")?;
    show(format_args!("serving at {address}, data in {}", data.path().display()));

    store.put("user1", &User { name: "Alice".into(), age: 30 }).await?;
    let user: Option<User> = store.get("user1").await?;
    show(format_args!("user1 is {user:?}"));

    // Atomic against every other client, here or on the network.
    let older = |user: Option<User>| user.map(|user| User { age: user.age + 1, ..user });
    let user = store.update("user1", older).await?;
    assert_eq!(user, Some(User { name: "Alice".into(), age: 31 }));
    show(format_args!("after a birthday: {user:?}"));

    // What a Redis client sees.
    let text = store.get_bytes("user1").await?.unwrap_or_default();
    show(format_args!("as JSON: {}", String::from_utf8(text)?));

    store.shutdown().await?;

    // Everything acknowledged is still there.
    let store = Keystead::start(Options::new(data.path())).await?;
    let user: Option<User> = store.get("user1").await?;
    show(format_args!("after a restart: {user:?}"));
    assert_eq!(user.map(|user| user.age), Some(31));
    store.shutdown().await?;
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
