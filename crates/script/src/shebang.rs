//! The first line of a script or library, which says how to run it.
//! Owns: reading `#!lua flags=...` and `#!lua name=...`, the flags. Never: runs anything.

use thiserror::Error;

/// What a script or function says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// Every flag by its bit, as Redis names and orders them.
    const NAMES: [&'static str; 5] =
        ["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"];

    /// The flag with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let bit = Self::NAMES.iter().position(|known| *known == name)?;
        Some(Self(1 << bit))
    }

    /// These flags and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True if it may not write.
    #[must_use]
    pub const fn is_read_only(self) -> bool {
        self.0 & 1 != 0
    }

    /// True if it may take memory where there is none left.
    #[must_use]
    pub const fn allows_oom(self) -> bool {
        self.0 & 2 != 0
    }

    /// The names of these flags.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        let named = Self::NAMES.into_iter().enumerate();
        named.filter(move |(bit, _)| self.0 & 1 << bit != 0).map(|(_, name)| name)
    }

    /// The flags as a byte of a snapshot.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The flags of such a byte; `None` if it has others.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits >> Self::NAMES.len() == 0 { Some(Self(bits)) } else { None }
    }
}

/// Why a first line is refused, in the words of Redis.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum HeaderError {
    #[error("ERR Invalid script shebang")]
    Unended,
    #[error("ERR Unexpected engine in script shebang: {found}")]
    Engine { found: String },
    #[error("ERR Unknown lua shebang option: {found}")]
    Option { found: String },
    #[error("ERR Unexpected flag in script shebang: {found}")]
    Flag { found: String },
}

/// Reads the first line of a script; `None` if it does not begin with `#!` and so says nothing.
///
/// # Errors
/// An engine, an option or a flag that is not known.
pub fn header(text: &[u8]) -> Result<Option<Flags>, HeaderError> {
    if !text.starts_with(b"#!") {
        return Ok(None);
    }
    let line = first_line(text).ok_or(HeaderError::Unended)?;
    let mut words = line.split_ascii_whitespace();
    let engine = words.next().unwrap_or_default();
    if engine != "#!lua" {
        return Err(HeaderError::Engine { found: engine.to_owned() });
    }
    let mut found = Flags::default();
    for word in words {
        let Some(flags) = word.strip_prefix("flags=") else {
            return Err(HeaderError::Option { found: word.to_owned() });
        };
        for name in flags.split(',').filter(|name| !name.is_empty()) {
            let flag = Flags::named(name);
            found = found.with(flag.ok_or_else(|| HeaderError::Flag { found: name.to_owned() })?);
        }
    }
    Ok(Some(found))
}

/// Why a library is refused, in the words of Redis.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum LibraryError {
    #[error("ERR Missing library metadata")]
    Missing,
    #[error("ERR Invalid library metadata")]
    Unended,
    #[error("ERR Engine '{found}' not found")]
    Engine { found: String },
    #[error("ERR Invalid metadata value given: {found}")]
    Option { found: String },
    #[error("ERR Invalid metadata value, name argument was given multiple times")]
    NamedTwice,
    #[error("ERR Library name was not given")]
    Unnamed,
    #[error(
        "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long"
    )]
    Name,
    #[error("ERR No functions registered")]
    Empty,
    #[error("ERR Error compiling function: {message}")]
    Syntax { message: String },
    #[error("ERR Error registering functions: {message}")]
    Run { message: String },
    #[error("ERR the library is longer than {bytes_max} bytes; split it")]
    Length { bytes_max: usize },
}

/// The name that the first line of a library gives it.
///
/// # Errors
/// What is wrong with that line.
pub fn library_name(code: &[u8]) -> Result<String, LibraryError> {
    if !code.starts_with(b"#!") {
        return Err(LibraryError::Missing);
    }
    let line = first_line(code).ok_or(LibraryError::Unended)?;
    let mut words = line[2..].split_ascii_whitespace();
    let engine = words.next().ok_or(LibraryError::Unended)?;
    let mut name = None;
    for word in words {
        let Some(given) = word.strip_prefix("name=") else {
            return Err(LibraryError::Option { found: word.to_owned() });
        };
        if name.replace(given).is_some() {
            return Err(LibraryError::NamedTwice);
        }
    }
    let name = name.ok_or(LibraryError::Unnamed)?;
    if !is_name(name) {
        return Err(LibraryError::Name);
    }
    if !engine.eq_ignore_ascii_case("lua") {
        return Err(LibraryError::Engine { found: engine.to_owned() });
    }
    Ok(name.to_owned())
}

/// True for what a library or a function may be called.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What is to be compiled: the first line stays, empty, so that the numbers of the lines are right.
pub(crate) fn body(text: &[u8]) -> &[u8] {
    if !text.starts_with(b"#!") {
        return text;
    }
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    &text[end..]
}

fn first_line(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    Some(String::from_utf8_lossy(&text[..end]).into_owned())
}
