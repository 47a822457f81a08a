//! Every error a command can answer with.
//! Owns: the texts, which equal those of Redis 7.0 to the letter: clients match on them.
//! Never: wraps an operating error; nothing in this crate can fail but for what a client asked.

use thiserror::Error;

mod json;

pub use json::JsonError;

/// A command operated on a key that holds another kind of value.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
pub struct WrongType;

/// Why a command was refused. The texts are those of Redis, hence their capital letters.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the text of each variant says when it occurs")]
pub enum CommandError {
    #[error(transparent)]
    WrongType(#[from] WrongType),
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("ERR unknown command '{}', with args beginning with: {}", .name.escape_invalid(), .args.escape_invalid())]
    UnknownCommand { name: Bytes, args: Bytes },
    #[error("ERR unknown subcommand '{}'. Try {} HELP.", .name.escape_invalid(), .container.to_ascii_uppercase())]
    UnknownSubcommand { container: &'static str, name: Bytes },
    #[error("ERR wrong number of arguments for '{command}' command")]
    Arity { command: &'static str },
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR timeout is not a float or out of range")]
    TimeoutNotAFloat,
    #[error("ERR timeout is not an integer or out of range")]
    TimeoutNotAnInteger,
    #[error("ERR timeout is negative")]
    TimeoutNegative,
    #[error("ERR {} command is not allowed with BLOCK option from scripts", .command.as_c_text())]
    BlockInScript { command: Bytes },
    #[error("UNBLOCKED the stream key no longer exists")]
    StreamGone,
    #[error(
        "OVERLOADED {waiters} clients wait for keys of this shard, with commands of {bytes} bytes; nothing was changed; \
         wait for fewer keys at a time, or ask again later"
    )]
    TooManyWaiters { waiters: usize, bytes: usize },
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    #[error("ERR value is out of range, must be positive")]
    NotPositive,
    #[error("ERR value is out of range")]
    OutOfRange,
    #[error("ERR value is not a valid float")]
    NotAFloat,
    #[error("ERR hash value is not an integer")]
    HashNotAnInteger,
    #[error("ERR hash value is not a float")]
    HashNotAFloat,
    #[error("ERR min or max is not a float")]
    ScoreRange,
    #[error("ERR min or max not valid string range item")]
    NameRange,
    #[error("ERR resulting score is not a number (NaN)")]
    ScoreNotANumber,
    #[error("ERR XX and NX options at the same time are not compatible")]
    ScoreNxAndXx,
    #[error("ERR GT, LT, and/or NX options at the same time are not compatible")]
    ScoreConditions,
    #[error("ERR INCR option supports a single increment-element pair")]
    ScoreIncrementPairs,
    #[error(
        "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
    )]
    RangeLimit,
    #[error("ERR syntax error, WITHSCORES not supported in combination with BYLEX")]
    RangeNameScores,
    #[error("ERR at least 1 input key is needed for '{command}' command")]
    NoInputKey { command: &'static str },
    #[error("ERR weight value is not a float")]
    WeightNotAFloat,
    #[error("ERR LIMIT can't be negative")]
    LimitNegative,
    #[error("ERR numkeys should be greater than 0")]
    KeyCountNotPositive,
    #[error("ERR count should be greater than 0")]
    CountNotPositive,
    #[error("ERR unsupported unit provided. please use M, KM, FT, MI")]
    GeoUnit,
    #[error("ERR invalid longitude,latitude pair {}", .pair.escape_invalid())]
    GeoPlace { pair: Bytes },
    #[error("ERR could not decode requested zset member")]
    GeoMember,
    #[error("ERR need numeric radius")]
    GeoRadius,
    #[error("ERR radius cannot be negative")]
    GeoRadiusNegative,
    #[error("ERR need numeric width")]
    GeoWidth,
    #[error("ERR need numeric height")]
    GeoHeight,
    #[error("ERR height or width cannot be negative")]
    GeoBoxNegative,
    #[error("ERR COUNT must be > 0")]
    GeoCount,
    #[error("ERR the ANY argument requires COUNT argument")]
    GeoAny,
    #[error("ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")]
    GeoStoreWith { what: &'static str },
    #[error("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {}", .command.escape_invalid())]
    GeoNoCenter { command: Bytes },
    #[error("ERR exactly one of BYRADIUS and BYBOX can be specified for {}", .command.escape_invalid())]
    GeoNoExtent { command: Bytes },
    #[error("ERR value is NaN or Infinity")]
    FloatNotFinite,
    #[error("ERR value is out of range, value must between {min} and {max}")]
    OutOfRangeBetween { min: i64, max: i64 },
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    #[error("ERR increment would produce NaN or Infinity")]
    NotFinite,
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    #[error("ERR no such key")]
    NoSuchKey,
    #[error("ERR source and destination objects are the same")]
    SameObject,
    #[error("ERR DB index is out of range")]
    DbOutOfRange,
    #[error("ERR invalid first DB index")]
    FirstDatabase,
    #[error("ERR invalid second DB index")]
    SecondDatabase,
    #[error("ERR invalid expire time in '{command}' command")]
    InvalidExpireTime { command: &'static str },
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    ExpireConditions,
    #[error("ERR GT and LT options at the same time are not compatible")]
    ExpireGtAndLt,
    #[error("ERR Unsupported option {}", .option.escape_invalid())]
    UnsupportedOption { option: Bytes },
    #[error("ERR invalid cursor")]
    InvalidCursor,
    #[error("ERR bit offset is not an integer or out of range")]
    BitOffset,
    #[error("ERR bit is not an integer or out of range")]
    BitValue,
    #[error("ERR The bit argument must be 1 or 0.")]
    BitArgument,
    #[error("ERR BITOP NOT must be called with a single source key.")]
    BitopNot,
    #[error(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
    )]
    BitfieldType,
    #[error("ERR Invalid OVERFLOW type specified")]
    BitfieldOverflow,
    #[error("ERR BITFIELD_RO only supports the GET subcommand")]
    BitfieldReadOnly,
    #[error("ERR If you want both the length and indexes, please just use IDX.")]
    LcsBoth,
    #[error("ERR The specified keys must contain string values")]
    LcsNotStrings,
    #[error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")]
    LcsTooLong,
    #[error(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
             Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
    )]
    NoFrequency,
    #[error("ERR SORT would give {results} results, more than {max}; use LIMIT, or fewer GET")]
    SortResults { results: usize, max: usize },
    #[error("ERR One or more scores can't be converted into double")]
    SortWeight,
    #[error(
        "ERR {option} option of SORT denied: the keys that the pattern names may lie in other slots than the key; \
         put the key's {{hash tag}} before the * of the pattern"
    )]
    SortPattern { option: &'static str },
    #[error("ERR a digest is exactly 16 hexadecimal characters, as DIGEST returns it")]
    DigestForm,
    #[error("ERR Key should be of string type if conditions are specified")]
    DelexNotAString,
    #[error("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")]
    DelexCondition,
    #[error("ERR BITOP {operation} must be called with at least two source keys.")]
    BitopTwoSources { operation: &'static str },
    #[error(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. \
             Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
    )]
    NoIdleTime,
    #[error("OOM command not allowed when used memory > 'maxmemory'.")]
    OutOfMemory,
    #[error(
        "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'."
    )]
    TransactionOutOfMemory,
    #[error("BUSYKEY Target key name already exists.")]
    BusyKey,
    #[error("ERR DUMP payload version or checksum are wrong")]
    RestoreChecksum,
    #[error("ERR Bad data format")]
    RestoreFormat,
    #[error("ERR Invalid TTL value, must be >= 0")]
    RestoreTtl,
    #[error("ERR Invalid IDLETIME value, must be >= 0")]
    RestoreIdleTime,
    #[error("ERR Invalid FREQ value, must be >= 0 and <= 255")]
    RestoreFrequency,
    #[error("ERR Parameter `numFields` should be greater than 0")]
    FieldCountNotPositive,
    #[error("ERR The `numfields` parameter must match the number of arguments")]
    FieldCountMismatch,
    #[error("ERR Mandatory argument FIELDS is missing or not at the right position")]
    FieldsMissing,
    #[error("ERR Only one of FXX or FNX arguments can be specified")]
    FieldConditions,
    #[error("ERR Only one of EX, PX, EXAT, PXAT, PERSIST or KEEPTTL arguments can be specified")]
    FieldExpiries,
    #[error("ERR unknown argument: {}", .argument.escape_invalid())]
    UnknownArgument { argument: Bytes },
    #[error("ERR invalid expire time, must be >= 0")]
    NegativeFieldExpiry,
    #[error("ERR Invalid stream ID specified as stream command argument")]
    InvalidStreamId,
    #[error("ERR invalid start ID for the interval")]
    StreamStart,
    #[error("ERR invalid end ID for the interval")]
    StreamEnd,
    #[error("ERR The stream has exhausted the last possible ID, unable to add more items")]
    StreamIdsExhausted,
    #[error("ERR The ID specified in XADD is equal or smaller than the target stream top item")]
    StreamIdNotAbove,
    #[error("ERR The ID specified in XADD must be greater than 0-0")]
    StreamIdZero,
    #[error("ERR Elements are too large to be stored")]
    StreamEntryTooLarge,
    #[error(
        "NOGROUP No such key '{}' or consumer group '{}'{context}", .key.as_c_text(), .group.as_c_text()
    )]
    NoStreamOrGroup { key: Bytes, group: Bytes, context: &'static str },
    #[error(
        "NOGROUP No such consumer group '{}' for key name '{}'", .group.as_c_text(), .key.as_c_text()
    )]
    NoGroup { group: Bytes, key: Bytes },
    #[error("BUSYGROUP Consumer Group name already exists")]
    BusyGroup,
    #[error("ERR Unrecognized XCLAIM option '{}'", .option.as_c_text())]
    UnrecognizedClaimOption { option: Bytes },
    #[error(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {container} HELP.", .name.as_c_text()
    )]
    SubcommandSyntax { container: &'static str, name: Bytes },
    #[error("ERR Unknown PFDEBUG subcommand '{}'", .name.escape_invalid())]
    UnknownPfdebug { name: Bytes },
    #[error("ERR Invalid slot")]
    InvalidSlot,
    #[error("ERR Invalid slot or number of keys")]
    InvalidSlotOrCount,
    #[error("ERR {} is refused: {why}", .command.to_ascii_uppercase().replace('|', " "))]
    Refused { command: &'static str, why: &'static str },
    #[error("ERR Command is not allowed inside a transaction")]
    NotInTransaction,
    #[error("NOSCRIPT No matching script. Please use EVAL.")]
    NoScript,
    #[error("ERR Number of keys can't be greater than number of args")]
    TooManyKeys,
    #[error("ERR Number of keys can't be negative")]
    NegativeKeys,
    #[error("ERR SCRIPT FLUSH only support SYNC|ASYNC option")]
    ScriptFlushMode,
    #[error(
        "ERR the scripts of this shard take {bytes_max} bytes; remove some with SCRIPT FLUSH, or use EVAL"
    )]
    ScriptsFull { bytes_max: usize },
    #[error("ERR Bad number of keys provided")]
    BadKeyCount,
    #[error("ERR Can not execute a script with write flag using *_ro command.")]
    ScriptWrites,
    #[error("{text}")]
    NotAScript { text: Box<str> },
    #[error("{text}")]
    Script { text: Box<str> },
    #[error("ERR Function not found")]
    NoFunction,
    #[error("ERR Library not found")]
    NoLibrary,
    #[error("ERR Library '{name}' already exists")]
    LibraryExists { name: Box<str> },
    #[error("ERR Library {name} already exists")]
    LibraryRestored { name: Box<str> },
    #[error("ERR Function {name} already exists")]
    FunctionExists { name: Box<str> },
    #[error(
        "ERR the libraries of functions take {bytes_max} bytes; remove some with FUNCTION DELETE"
    )]
    LibrariesFull { bytes_max: usize },
    #[error("ERR Unknown option given: {}", .option.escape_invalid())]
    UnknownOption { option: Bytes },
    #[error("ERR Unknown argument {}", .argument.escape_invalid())]
    UnknownListArgument { argument: Bytes },
    #[error("ERR library name argument was not given")]
    NoLibraryName,
    #[error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")]
    FunctionFlushMode,
    #[error("ERR unknown subcommand or wrong number of arguments for '{}'. Try FUNCTION HELP.", .verb.escape_invalid())]
    FunctionArguments { verb: Bytes },
    #[error("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.")]
    RestorePolicy,
    #[error("ERR given type is not a function")]
    NotAFunction,
    #[error("ERR failed loading the given functions payload")]
    FunctionPayload,
    #[error(transparent)]
    ScriptStopped(Box<ScriptStopped>),
    #[error("{text}")]
    Text { text: &'static str },
}

impl CommandError {
    /// The same where Redis names a library without quotes: FUNCTION RESTORE.
    pub(crate) fn unquoted(self) -> Self {
        match self {
            Self::LibraryExists { name } => Self::LibraryRestored { name },
            other => other,
        }
    }
}

/// A script was stopped by a limit.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("ERR script was stopped, and what it had changed was {outcome}: {limit}. script: {name}")]
pub struct ScriptStopped {
    /// Which limit.
    pub limit: &'static str,
    /// What became of its changes.
    pub outcome: &'static str,
    /// What Redis names a script by in errors.
    pub name: Box<str>,
}

/// Bytes of a client that an error quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Box<[u8]>);

impl Bytes {
    /// As text; bytes that are not UTF-8 are replaced.
    fn escape_invalid(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// As text that ends at the first zero byte, where Redis quotes it as C does.
    fn as_c_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.0.split(|byte| *byte == 0).next().unwrap_or_default())
    }

    /// All of `bytes`.
    pub(crate) fn whole(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Bytes {
    /// At most 128 bytes, as Redis quotes.
    fn from(bytes: &[u8]) -> Self {
        Self(bytes[..bytes.len().min(128)].into())
    }
}
