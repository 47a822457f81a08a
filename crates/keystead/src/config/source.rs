//! Where settings come from: the file, over it the environment, over it the flags.
//!
//! Owns: reading the three sources, remembering for each setting which one gave its value, and the
//! errors. Never: interprets a value (see `value.rs`) or prints. An unknown key in the file is an error. An
//! unknown variable is not, because other programs name variables too (an orchestrator sets
//! `KEYSTEAD_PORT` for a service called keystead); one that looks like a misspelt setting is reported.
//! Called by: `Config::load`.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::value::Accepts;
use super::{Config, SETTINGS, Setting};

/// What the variables of Keystead begin with.
pub const VARIABLE_PREFIX: &str = "KEYSTEAD_";
/// The variable that names the file; the flag is `--config`.
pub const FILE_VARIABLE: &str = "KEYSTEAD_CONFIG";
/// Largest settings file, bytes: a page or two, so a larger one is some other file.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The sources that settings are read from, gathered by the caller.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The TOML file; without it [`FILE_VARIABLE`] is looked at.
    pub file: Option<PathBuf>,
    /// Environment variables; those without [`VARIABLE_PREFIX`] are ignored.
    pub environment: Vec<(OsString, OsString)>,
    /// Names of settings with their values, in the order given; the last one counts.
    pub flags: Vec<(String, String)>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No source names the setting.
    Default,
    /// The file, at this line (from 1).
    File {
        /// The file.
        path: PathBuf,
        /// Line of the key, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag, without its dashes.
    Flag(String),
}

impl Origin {
    /// The kind of source in one word: `default`, `file`, `env` or `flag`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File { .. } => "file",
            Self::Variable(_) => "env",
            Self::Flag(_) => "flag",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// The settings as read, and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The origin of each setting, in the order of [`SETTINGS`].
    pub origins: Vec<Origin>,
    /// Variables that name no setting but look like one, with the setting they look like.
    pub doubtful_variables: Vec<(String, &'static str)>,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the settings file {}: {source}; check the path given by --config or KEYSTEAD_CONFIG", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than a settings file can be.
    #[error("{} is larger than {FILE_BYTES_MAX} bytes, so it is not a settings file; check the path", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not TOML.
    #[error("{}:{line}: not TOML: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line of the mistake, from 1.
        line: usize,
        /// The parser's words.
        reason: String,
    },
    /// The file names a setting that does not exist.
    #[error("{}:{line}: there is no setting `{key}`{}; `keystead config` lists all settings", path.display(), did_you_mean(*nearest))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Line of the key, from 1.
        line: usize,
        /// The key as written.
        key: String,
        /// The setting whose name is nearest, if one is near.
        nearest: Option<&'static str>,
    },
    /// A setting does not take the value.
    #[error("{origin}: {setting} cannot be {given}{}; it takes {accepts}", did_you_mean(*nearest))]
    Invalid {
        /// Where the value stands.
        origin: Origin,
        /// The setting.
        setting: &'static str,
        /// The value, quoted, or a description of it where it must not be shown.
        given: String,
        /// For a choice of words: the nearest.
        nearest: Option<&'static str>,
        /// What the setting takes.
        accepts: Accepts,
    },
    /// Two settings do not go together.
    #[error(
        "{first} = {first_value} does not go with {second} = {second_value}: {why}; change one of them"
    )]
    Conflict {
        /// One setting.
        first: &'static str,
        /// Its value.
        first_value: String,
        /// The other setting.
        second: &'static str,
        /// Its value.
        second_value: String,
        /// The rule.
        why: &'static str,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

/// Reads all sources and checks the rules between settings.
pub(super) fn load(inputs: &Inputs) -> Result<Loaded, ConfigError> {
    let mut loaded = Loaded::of_defaults();
    if let Some(path) = settings_file(inputs) {
        loaded.read_file(&path)?;
    }
    loaded.read_environment(&inputs.environment)?;
    for (name, text) in &inputs.flags {
        let position = position(name).expect("the command line offers flags of the table only");
        loaded.assign(position, text, Origin::Flag(SETTINGS[position].flag()))?;
    }
    loaded.config.validate()?;
    Ok(loaded)
}

/// The settings in the text of a file, for the fuzz targets of `fuzz/`.
///
/// # Errors
/// [`ConfigError`], as [`Config::load`].
#[cfg(feature = "fuzzing")]
pub fn load_text(text: &str) -> Result<Loaded, ConfigError> {
    let mut loaded = Loaded::of_defaults();
    loaded.read_text(Path::new("keystead.toml"), text)?;
    loaded.config.validate()?;
    Ok(loaded)
}

fn settings_file(inputs: &Inputs) -> Option<PathBuf> {
    let named = inputs.environment.iter().find(|(name, _)| name == FILE_VARIABLE);
    let named = named.filter(|(_, value)| !value.is_empty());
    inputs.file.clone().or_else(|| named.map(|(_, value)| PathBuf::from(value)))
}

impl Loaded {
    fn of_defaults() -> Self {
        Self {
            config: Config::default(),
            origins: vec![Origin::Default; SETTINGS.len()],
            doubtful_variables: Vec::new(),
        }
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        self.read_text(path, &read_bounded(path)?)
    }

    /// Reads the text of a settings file; `path` is what errors name.
    fn read_text(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let line_of =
            |offset: usize| 1 + text.as_bytes()[..offset].iter().filter(|b| **b == b'\n').count();
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_of(error.span().map_or(0, |span| span.start).min(text.len())),
            reason: error.message().to_owned(),
        })?;
        for (key, value) in table.get_ref() {
            let line = line_of(key.span().start);
            let name: &str = key.get_ref();
            let Some(position) = position(name) else {
                return Err(ConfigError::UnknownKey {
                    path: path.to_owned(),
                    line,
                    key: name.to_owned(),
                    nearest: nearest(name, SETTINGS.iter().map(|setting| setting.name)),
                });
            };
            let origin = Origin::File { path: path.to_owned(), line };
            match plain_text(value.get_ref()) {
                Some(text) => self.assign(position, &text, origin)?,
                None => return Err(invalid(&SETTINGS[position], shape(value.get_ref()), origin)),
            }
        }
        Ok(())
    }

    fn read_environment(
        &mut self,
        environment: &[(OsString, OsString)],
    ) -> Result<(), ConfigError> {
        for (variable, value) in environment {
            let Some(variable) = variable.to_str() else { continue };
            let Some(rest) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
            if variable == FILE_VARIABLE {
                continue;
            }
            let name = rest.to_ascii_lowercase();
            let Some(position) = position(&name) else {
                let near = nearest(&name, SETTINGS.iter().map(|setting| setting.name));
                self.doubtful_variables.extend(near.map(|near| (variable.to_owned(), near)));
                continue;
            };
            let origin = Origin::Variable(variable.to_owned());
            match value.to_str() {
                Some(text) => self.assign(position, text, origin)?,
                None => return Err(invalid(&SETTINGS[position], "text that is not UTF-8", origin)),
            }
        }
        Ok(())
    }

    fn assign(&mut self, position: usize, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let setting = &SETTINGS[position];
        if setting.assign(&mut self.config, text).is_none() {
            let nearest = match setting.accepts {
                Accepts::OneOf(words) => nearest(text, words.iter().copied()),
                _ => None,
            };
            let (setting, accepts) = (setting.name, setting.accepts);
            let given = format!("`{text}`");
            return Err(ConfigError::Invalid { origin, setting, given, nearest, accepts });
        }
        self.origins[position] = origin;
        Ok(())
    }
}

fn invalid(setting: &'static Setting, given: &str, origin: Origin) -> ConfigError {
    let (accepts, given) = (setting.accepts, given.to_owned());
    ConfigError::Invalid { origin, setting: setting.name, given, nearest: None, accepts }
}

fn position(name: &str) -> Option<usize> {
    SETTINGS.iter().position(|setting| setting.name == name)
}

fn read_bounded(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    let mut bounded = file.take(FILE_BYTES_MAX + 1);
    bounded.read_to_string(&mut text).map_err(failed)?;
    match bounded.limit() {
        0 => Err(ConfigError::TooLarge { path: path.to_owned() }),
        _ => Ok(text),
    }
}

/// A value of the file as the text that a variable or flag would hold; `None` if it has no such form.
fn plain_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| item.get_ref().as_str());
            items.collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        _ => None,
    }
}

/// What stands there, for an error.
const fn shape(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number that is not decimal",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list of anything but texts",
        DeValue::Table(_) => "a table",
    }
}

/// The candidate that differs least from `given`, if a misspelling can explain the difference: a third of
/// the letters at most, dashes and capitals not counted.
fn nearest(given: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let given = given.replace('-', "_").to_ascii_lowercase();
    let ranked = candidates.map(|candidate| (edit_distance(&given, candidate), candidate));
    let (distance, candidate) = ranked.min()?;
    (distance * 3 <= candidate.len()).then_some(candidate)
}

/// Insertions, deletions and replacements of bytes that turn `a` into `b` (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_file(text: &str) -> Result<Loaded, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keystead.toml");
        std::fs::write(&path, text).expect("a file");
        let place = format!("{}/", directory.path().display());
        Config::load(&Inputs { file: Some(path), ..Inputs::default() })
            .map_err(|error| error.to_string().replace(&place, ""))
    }

    #[test]
    fn flags_win_over_the_environment_over_the_file_over_defaults() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("k.toml");
        let text = "# comment\nshards = 4\nzone = \"a\"\njoin = [\"n1:1\", \"n2:2\"]\nsegment_bytes = \"8mb\"\n";
        std::fs::write(&path, text).expect("a file");
        let loaded = Config::load(&Inputs {
            file: None,
            environment: vec![
                ("KEYSTEAD_CONFIG".into(), path.clone().into()),
                ("KEYSTEAD_ZONE".into(), "b".into()),
                ("KEYSTEAD_SHARDS".into(), "8".into()),
                ("KEYSTEAD_LOG_FORMT".into(), "json".into()),
                ("KEYSTEAD_SERVICE_HOST".into(), "10.0.0.1".into()),
            ],
            flags: vec![("shards".into(), "32".into())],
        })
        .expect("settings");
        assert_eq!(loaded.config.shards, 32);
        assert_eq!(loaded.config.zone, "b");
        assert_eq!(loaded.config.segment_bytes, 8 << 20);
        assert_eq!(loaded.config.join.len(), 2);
        let origin = |name| loaded.origins[position(name).expect("a setting")].clone();
        assert_eq!(origin("shards"), Origin::Flag("shards".into()));
        assert_eq!(origin("zone"), Origin::Variable("KEYSTEAD_ZONE".into()));
        assert_eq!(origin("join"), Origin::File { path, line: 4 });
        assert_eq!(origin("listen"), Origin::Default);
        assert_eq!(loaded.doubtful_variables, [("KEYSTEAD_LOG_FORMT".to_owned(), "log_format")]);
    }

    #[test]
    fn mistakes_in_the_file_are_named_with_line_key_and_remedy() {
        let messages: Vec<String> = [
            "listen = \"127.0.0.1:7379\"\n\nsahrds = 4\n",
            "quux = 1\n",
            "shards = \"lots\"\n",
            "shards = 1025\n",
            "durability = \"fsnc\"\n",
            "zone = true\n",
            "shards = 0x10\n",
            "[limits]\nshards = 1\n",
            "shards = 1\nshards = 2\n",
            "shards =\n",
        ]
        .iter()
        .map(|text| load_file(text).expect_err("a mistake"))
        .collect();
        assert_eq!(
            messages,
            [
                "keystead.toml:3: there is no setting `sahrds`, did you mean `shards`?; `keystead config` \
                 lists all settings",
                "keystead.toml:1: there is no setting `quux`; `keystead config` lists all settings",
                "keystead.toml:1: shards cannot be `lots`; it takes a number from 0 to 1024",
                "keystead.toml:1: shards cannot be `1025`; it takes a number from 0 to 1024",
                "keystead.toml:1: durability cannot be `fsnc`, did you mean `fsync`?; it takes fsync or \
                 replicated",
                "keystead.toml:1: zone cannot be true or false; it takes text",
                "keystead.toml:1: shards cannot be a number that is not decimal; it takes a number from 0 \
                 to 1024",
                "keystead.toml:1: there is no setting `limits`; `keystead config` lists all settings",
                "keystead.toml:2: not TOML: duplicate key",
                "keystead.toml:1: not TOML: string values must be quoted, expected literal string",
            ]
        );
    }

    #[test]
    fn mistakes_elsewhere_name_the_variable_or_flag() {
        let variable = Inputs {
            environment: vec![("KEYSTEAD_TICK_MS".into(), "fast".into())],
            ..Inputs::default()
        };
        let flag = Inputs { flags: vec![("listen".into(), "7379".into())], ..Inputs::default() };
        let missing = Inputs { file: Some("/nonexistent/k.toml".into()), ..Inputs::default() };
        let messages: Vec<String> = [variable, flag, missing]
            .iter()
            .map(|inputs| Config::load(inputs).expect_err("a mistake").to_string())
            .collect();
        assert_eq!(
            messages,
            [
                "KEYSTEAD_TICK_MS: tick_ms cannot be `fast`; it takes milliseconds from 1 to 1000",
                "--listen: listen cannot be `7379`; it takes IP:PORT, as in 127.0.0.1:7379",
                "cannot read the settings file /nonexistent/k.toml: No such file or directory (os error 2); \
                 check the path given by --config or KEYSTEAD_CONFIG",
            ]
        );
    }
}
