//! The kinds of values that settings take: how each is read, shown, and described to a person.
//!
//! Owns: [`Accepts`] (bounds and their wording), [`Address`], [`Secret`], the choices. Never: knows a
//! setting's name or where its value came from. All sources hand in text, so that a value is read alike
//! from the file, a variable and a flag.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// What a setting takes.
#[derive(Clone, Copy, Debug)]
pub enum Accepts {
    /// `IP:PORT` to listen on.
    Socket,
    /// `HOST:PORT`, or nothing.
    OptionalAddress,
    /// Any number of `HOST:PORT`, separated by commas.
    Addresses,
    /// A whole number.
    Number {
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
    /// A number of bytes, with or without a unit.
    Bytes {
        /// Least value, bytes.
        min: u64,
        /// Greatest value, bytes.
        max: u64,
    },
    /// A number of milliseconds.
    Millis {
        /// Least value, milliseconds.
        min: u64,
        /// Greatest value, milliseconds.
        max: u64,
    },
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// A path in the file system.
    Path,
    /// Any text.
    Text,
    /// Any text, never shown.
    Secret,
}

impl Accepts {
    /// The unit of the value, for tables; empty if it has none.
    #[must_use]
    pub const fn unit(&self) -> &'static str {
        match self {
            Self::Bytes { .. } => "bytes",
            Self::Millis { .. } => "ms",
            _ => "",
        }
    }

    /// The placeholder in a flag's help, as in `--listen IP:PORT`.
    #[must_use]
    pub const fn placeholder(&self) -> &'static str {
        match self {
            Self::Socket => "IP:PORT",
            Self::OptionalAddress => "HOST:PORT",
            Self::Addresses => "HOST:PORT[,...]",
            Self::Number { .. } => "N",
            Self::Bytes { .. } => "BYTES",
            Self::Millis { .. } => "MS",
            Self::OneOf(_) => "WORD",
            Self::Path => "PATH",
            Self::Text | Self::Secret => "TEXT",
        }
    }

    /// `text` as a value of the TOML file.
    #[must_use]
    pub fn quoted(&self, text: &str) -> String {
        match self {
            Self::Number { .. } | Self::Bytes { .. } | Self::Millis { .. } => text.to_owned(),
            Self::Addresses => {
                let list = text.split(',').filter(|item| !item.is_empty());
                let list: Vec<String> = list.map(toml_string).collect();
                format!("[{}]", list.join(", "))
            }
            _ => toml_string(text),
        }
    }

    /// The least and greatest number, where the value is one.
    const fn bounds(&self) -> (u64, u64) {
        match self {
            Self::Number { min, max } | Self::Bytes { min, max } | Self::Millis { min, max } => {
                (*min, *max)
            }
            _ => (0, u64::MAX),
        }
    }
}

impl fmt::Display for Accepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket => f.write_str("IP:PORT, as in 127.0.0.1:7379"),
            Self::OptionalAddress => f.write_str("HOST:PORT, as in node1.example:7379, or nothing"),
            Self::Addresses => f.write_str("HOST:PORT, more of them after commas"),
            Self::Number { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Bytes { min, max } => {
                write!(f, "bytes from {} to {}, as in 1048576 or 1mb", Bytes(*min), Bytes(*max))
            }
            Self::Millis { min, max } => write!(f, "milliseconds from {min} to {max}"),
            Self::OneOf(words) => {
                let (last, rest) = words.split_last().unwrap_or((&"", &[]));
                write!(f, "{} or {last}", rest.join(", "))
            }
            Self::Path => f.write_str("a path"),
            Self::Text | Self::Secret => f.write_str("text"),
        }
    }
}

/// `text` as a basic string of TOML.
fn toml_string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A number of bytes in the largest unit that divides it, as it may also be written.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits =
            BYTE_UNITS.iter().find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale));
        match fits {
            Some((unit, scale)) => write!(f, "{}{unit}", self.0 / scale),
            None => self.0.fmt(f),
        }
    }
}

/// Units of bytes, as Redis' configuration reads them: `kb` is 1024. The largest stands first.
const BYTE_UNITS: [(&str, u64); 4] =
    [("tb", 1 << 40), ("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)];

/// A value that a setting can hold.
pub(super) trait Value: Sized {
    /// Reads `text`; `None` if `accepts` does not allow it.
    fn parse(text: &str, accepts: &Accepts) -> Option<Self>;
    /// Text that [`parse`](Self::parse) reads as this value.
    fn render(&self) -> String;
}

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// The text is not `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not HOST:PORT, as in 127.0.0.1:7379 or [::1]:7379")]
pub struct AddressError {
    /// What stood there.
    pub given: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError { given: text.to_owned() };
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(socket.into());
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.chars().all(is_name) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Self {
        Self { host: socket.ip().to_string(), port: socket.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A text that is not shown: not by `Debug`, not by `keystead config`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes `text` into keeping; empty means that there is no secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; `None` if it is empty.
    #[must_use]
    pub fn reveal(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "********" })
    }
}

impl Value for Secret {
    fn parse(text: &str, _: &Accepts) -> Option<Self> {
        Some(Self::new(text))
    }

    fn render(&self) -> String {
        if self.0.is_empty() { String::new() } else { "********".to_owned() }
    }
}

impl Value for SocketAddr {
    fn parse(text: &str, _: &Accepts) -> Option<Self> {
        text.parse().ok()
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Value for Option<Address> {
    fn parse(text: &str, _: &Accepts) -> Option<Self> {
        if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
    }

    fn render(&self) -> String {
        self.as_ref().map_or_else(String::new, Address::to_string)
    }
}

impl Value for Vec<Address> {
    fn parse(text: &str, _: &Accepts) -> Option<Self> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(|item| item.parse().ok()).collect()
    }

    fn render(&self) -> String {
        self.iter().map(Address::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Value for PathBuf {
    fn parse(text: &str, _: &Accepts) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }

    fn render(&self) -> String {
        self.display().to_string()
    }
}

impl Value for String {
    fn parse(text: &str, _: &Accepts) -> Option<Self> {
        Some(text.to_owned())
    }

    fn render(&self) -> String {
        self.clone()
    }
}

impl Value for u64 {
    fn parse(text: &str, accepts: &Accepts) -> Option<Self> {
        let number = match accepts {
            Accepts::Bytes { .. } => parse_bytes(text)?,
            _ => text.parse().ok()?,
        };
        let (min, max) = accepts.bounds();
        (min..=max).contains(&number).then_some(number)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    fn parse(text: &str, accepts: &Accepts) -> Option<Self> {
        u64::parse(text, accepts)?.try_into().ok()
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Value for u16 {
    fn parse(text: &str, accepts: &Accepts) -> Option<Self> {
        u64::parse(text, accepts)?.try_into().ok()
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Value for usize {
    fn parse(text: &str, accepts: &Accepts) -> Option<Self> {
        u64::parse(text, accepts)?.try_into().ok()
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    for (unit, scale) in BYTE_UNITS {
        if let Some(number) = lower.strip_suffix(unit) {
            return number.trim_end().parse::<u64>().ok()?.checked_mul(scale);
        }
    }
    lower.parse().ok()
}

/// Declares a choice between a few words.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $( $(#[$variant_doc:meta])* $variant:ident = $word:literal, )+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$variant_doc])* $variant, )+
        }

        impl $name {
            /// The words, in the order of the choices.
            pub const NAMES: &[&str] = &[$( $word ),+];

            /// The word of this choice.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl Value for $name {
            fn parse(text: &str, _: &Accepts) -> Option<Self> {
                match text { $( $word => Some(Self::$variant), )+ _ => None }
            }

            fn render(&self) -> String {
                self.name().to_owned()
            }
        }
    };
}

choice! {
    /// When a write is acknowledged.
    Durability {
        /// A majority has it on disk.
        Fsync = "fsync",
        /// A majority has it in memory; the disk follows.
        Replicated = "replicated",
    }
}

choice! {
    /// What happens to a command whose shard is led by another node.
    Routing {
        /// It is passed on to the leader.
        Forward = "forward",
        /// It is answered with MOVED.
        Redirect = "redirect",
    }
}

choice! {
    /// What happens when keys take more than they may.
    MemoryPolicy {
        /// Writes that need memory are refused.
        NoEviction = "noeviction",
        /// Keys go that were not used for longest.
        AllKeysLru = "allkeys-lru",
        /// Keys go that are used least often.
        AllKeysLfu = "allkeys-lfu",
        /// Any keys go.
        AllKeysRandom = "allkeys-random",
        /// Keys go that expire and were not used for longest.
        VolatileLru = "volatile-lru",
        /// Keys go that expire and are used least often.
        VolatileLfu = "volatile-lfu",
        /// Any keys go that expire.
        VolatileRandom = "volatile-random",
        /// Keys go that expire soonest.
        VolatileTtl = "volatile-ttl",
    }
}

choice! {
    /// Form of the log lines.
    LogFormat {
        /// A line for people.
        Text = "text",
        /// An object of JSON.
        Json = "json",
    }
}

choice! {
    /// Importance of a logged event.
    LogLevel {
        /// A person must act.
        Error = "error",
        /// It may become an error.
        Warn = "warn",
        /// A change of state worth a diary entry.
        Info = "info",
        /// Per request.
        Debug = "debug",
        /// Per step of a request.
        Trace = "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_names_or_ips_with_a_port() {
        for text in ["node1:17379", "10.0.0.1:1", "[::1]:7379", "a-b.example_x:65535"] {
            let address: Address = text.parse().expect("an address");
            assert_eq!(address.to_string(), text);
        }
        for text in ["", ":1", "node1", "node1:", "node1:70000", "a b:1", "::1:7379", "redis://a:1"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_take_units_and_keep_their_bounds() {
        let accepts = Accepts::Bytes { min: 1024, max: 1 << 30 };
        assert_eq!(u64::parse("64mb", &accepts), Some(64 << 20));
        assert_eq!(u64::parse("64 KB", &accepts), Some(64 << 10));
        assert_eq!(u64::parse("2048", &accepts), Some(2048));
        for text in ["1", "2gb", "99999999999tb", "mb", "-1", "1.5mb", "1 mib"] {
            assert_eq!(u64::parse(text, &accepts), None, "{text}");
        }
        assert_eq!(accepts.to_string(), "bytes from 1kb to 1gb, as in 1048576 or 1mb");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {}", secret.render()), "******** ********");
        assert_eq!(secret.reveal(), Some("hunter2"));
        assert_eq!(Secret::default().reveal(), None);
    }
}
