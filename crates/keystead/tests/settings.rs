//! `keystead config` as a program: precedence, sources, messages, exit codes.

use std::process::{Command, Output};

fn config(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keystead"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KEYSTEAD_")) {
        command.env_remove(name);
    }
    let command = command.arg("config").args(args).envs(variables.iter().copied());
    command.output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn flags_win_over_variables_over_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("keystead.toml");
    std::fs::write(&file, "shards = 4\nzone = \"a\"\nlog_format = \"json\"\n").expect("a file");
    let file = file.to_str().expect("UTF-8");
    let output = config(
        &["--config", file, "--shards", "2", "--join", "n1:1,n2:2"],
        &[("KEYSTEAD_SHARDS", "8"), ("KEYSTEAD_ZONE", "b")],
    );
    let listing = text(&output.stdout);
    let line = |name: &str| {
        let found = listing.lines().find(|line| line.starts_with(&format!("{name} =")));
        found.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(line("shards").as_deref(), Some("shards = 2 # --shards"));
    assert_eq!(line("zone").as_deref(), Some("zone = \"b\" # KEYSTEAD_ZONE"));
    assert_eq!(line("log_format"), Some(format!("log_format = \"json\" # {file}:3")));
    assert_eq!(line("join").as_deref(), Some("join = [\"n1:1\", \"n2:2\"] # --join"));
    assert_eq!(line("tick_ms").as_deref(), Some("tick_ms = 25 # default"));

    let output = config(&["--config", file, "--format", "json"], &[]);
    let listing: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(listing["shards"]["value"], 4);
    assert_eq!(listing["shards"]["source"], "file");
    assert_eq!(listing["shards"]["place"], format!("{file}:1"));
}

#[test]
fn mistakes_end_the_program_with_a_message_that_helps() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("keystead.toml");
    std::fs::write(&file, "\ndurabilty = \"fsync\"\n").expect("a file");
    let output = config(&["--config", file.to_str().expect("UTF-8")], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        format!(
            "keystead: {}:2: there is no setting `durabilty`, did you mean `durability`?; `keystead \
             config` lists all settings\n",
            file.display()
        )
    );

    let output = config(&["--shards", "1025"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "keystead: --shards: shards cannot be `1025`; it takes a number from 0 to 1024\n"
    );
}

#[test]
fn the_reference_page_is_as_the_table_says() {
    let page = include_str!("../../../docs/operate/settings.md");
    assert!(
        page == keystead::config::reference::settings_reference(),
        "docs/operate/settings.md is stale; write it anew with: \
         cargo run -- reference settings > docs/operate/settings.md"
    );
}

#[test]
fn a_misspelt_variable_is_reported_and_a_password_is_not_shown() {
    let variables = [("KEYSTEAD_DURABLITY", "replicated"), ("KEYSTEAD_REQUIREPASS", "hunter2")];
    let output = config(&[], &variables);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stderr),
        "keystead: the variable KEYSTEAD_DURABLITY names no setting and is ignored; did you mean \
         durability?\n"
    );
    assert!(text(&output.stdout).contains("# requirepass = \"********\""));
    assert!(!text(&output.stdout).contains("hunter2"));
}
