//! The reference page of all settings, and the listing that `keystead config` prints.
//!
//! Owns: their wording and layout. Never: states a fact of its own about a setting; all come from the
//! table. `docs/operate/settings.md` is this page; a check compares the two.

use std::fmt::Write as _;

use super::source::Loaded;
use super::{Change, Config, SETTINGS, Setting};

const INTRODUCTION: &str = "\
# Settings

<!-- Generated from the table in crates/keystead/src/config.rs. Change it there. -->

Each setting has one name. It is the key in the TOML file (`--config FILE` or `KEYSTEAD_CONFIG`), in capitals
behind `KEYSTEAD_` an environment variable, and with dashes a flag of `keystead serve`: `log_format = \"json\"`,
`KEYSTEAD_LOG_FORMAT=json`, `--log-format json`. A flag wins over a variable, a variable over the file, the file over
the default. `keystead config` prints the value of each setting and where it came from.

Bytes may be written with a unit of 1024: `64kb`, `8mb`, `1gb`, `1tb` (in the file as text). Lists are separated by
commas (in the file also `[\"a:1\", \"b:2\"]`). A misspelt key or a value out of bounds stops the start with a message
that names the place.

";

/// The reference page of all settings, as Markdown.
#[must_use]
pub fn settings_reference() -> String {
    let default = Config::default();
    let mut page = INTRODUCTION.to_owned();
    for setting in SETTINGS {
        push_setting(&mut page, setting, &default);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn push_setting(page: &mut String, setting: &Setting, default: &Config) {
    let change = match setting.change {
        Change::Restart => "at the next start",
        Change::Founding => "only when the cluster is founded",
    };
    let doc: Vec<&str> = setting.doc.iter().map(|line| line.trim()).collect();
    write!(
        page,
        "## `{}`\n\n{}\n\n- Default: `{}`\n- Takes: {}\n- Takes effect: {change}\n- Elsewhere: `{}`, `--{}`\n\n",
        setting.name,
        doc.join("\n"),
        setting.accepts.quoted(&setting.render(default)),
        setting.accepts,
        setting.variable(),
        setting.flag(),
    )
    .expect("writing to a String cannot fail");
}

impl Loaded {
    /// All settings as a TOML file, the origin of each behind it as a comment. A secret is itself a comment: the
    /// stars shown in its place are no value.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let lines: Vec<String> = SETTINGS
            .iter()
            .map(|setting| {
                let value = setting.accepts.quoted(&setting.render(&self.config));
                let is_hidden = setting.is_hidden(&self.config);
                format!("{}{} = {value}", if is_hidden { "# " } else { "" }, setting.name)
            })
            .collect();
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0).min(48);
        let mut page = String::new();
        for (line, origin) in lines.iter().zip(&self.origins) {
            writeln!(page, "{line:width$}  # {origin}").expect("writing to a String cannot fail");
        }
        page
    }

    /// All settings as an object of JSON: `{"shards": {"value": 0, "source": "default", "place": "default"}, ...}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let rows = SETTINGS.iter().zip(&self.origins).map(|(setting, origin)| {
            let text = setting.render(&self.config);
            let value = match setting.accepts.quoted(&text).parse::<u64>() {
                Ok(number) => number.into(),
                Err(_) => text.into(),
            };
            let row = [
                ("value".to_owned(), value),
                ("source".to_owned(), origin.kind().into()),
                ("place".to_owned(), origin.to_string().into()),
            ];
            (setting.name.to_owned(), serde_json::Value::Object(row.into_iter().collect()))
        });
        serde_json::Value::Object(rows.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Inputs;
    use super::*;

    #[test]
    fn the_listing_is_a_settings_file_that_gives_the_same_settings() {
        let flags = vec![
            ("join".to_owned(), "n1:1,n2:2".to_owned()),
            ("zone".to_owned(), "a \"b\"".to_owned()),
        ];
        let loaded = Config::load(&Inputs { flags, ..Inputs::default() }).expect("settings");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("again.toml");
        std::fs::write(&path, loaded.to_toml()).expect("a file");
        let again = Config::load(&Inputs { file: Some(path), ..Inputs::default() });
        assert_eq!(again.expect("settings").config, loaded.config);
        assert!(loaded.to_toml().contains("join = [\"n1:1\", \"n2:2\"]"));
        assert_eq!(loaded.to_json()["shards"]["value"], 0);
        assert_eq!(loaded.to_json()["join"]["source"], "flag");
    }

    #[test]
    fn the_reference_has_a_section_for_each_setting() {
        let page = settings_reference();
        for setting in SETTINGS {
            assert!(page.contains(&format!("## `{}`\n", setting.name)), "{}", setting.name);
            assert!(page.contains(&setting.variable()), "{}", setting.name);
        }
    }
}
