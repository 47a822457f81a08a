//! The settings file: any text is read or refused with words, and what is read can be shown and read again.

use keystead::config::SETTINGS;
use keystead::config::source::load_text;

/// Reads the bytes as a settings file.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let loaded = match load_text(text) {
        Ok(loaded) => loaded,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error without words");
            return;
        }
    };
    let page = loaded.to_toml();
    let again = match load_text(&page) {
        Ok(again) => again,
        Err(error) => panic!("what was shown cannot be read: {error}\n{page}"),
    };
    for setting in SETTINGS {
        let (shown, read) = (setting.render(&loaded.config), setting.render(&again.config));
        assert!(shown == read || page.contains(&format!("# {}", setting.name)), "{}", setting.name);
    }
}

/// Files with settings of every form.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let defaults = load_text("").map(|loaded| loaded.to_toml()).unwrap_or_default();
    let mut seeds: Vec<Vec<u8>> = defaults.lines().map(|line| line.as_bytes().to_vec()).collect();
    seeds.push(b"listen = \"0.0.0.0:1\"\njoin = [\"a:1\", \"b:2\"]\nexpect = 3\n".to_vec());
    seeds.push(b"shards = 0x10\n[table]\nx = 1.5\n".to_vec());
    seeds
}
