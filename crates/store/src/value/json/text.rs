//! UTF-8 text of a document: strings, and the names of members.
//! Owns: keeping short text inside the value. Never: escapes (see `print.rs`).

use crate::allocation::granted;

/// Longest text that needs no allocation: what two words leave beside a tag and a length.
const INLINE_BYTES_MAX: usize = 14;

/// Text in two words.
#[derive(Clone)]
pub(crate) enum Text {
    /// Its bytes stand here.
    Inline {
        /// How many of `bytes` count.
        len: u8,
        /// The text and what fills it up.
        bytes: [u8; INLINE_BYTES_MAX],
    },
    /// Its bytes stand elsewhere.
    #[expect(
        clippy::box_collection,
        reason = "one word instead of three: text is everywhere in a document"
    )]
    Distant(Box<Vec<u8>>),
}

impl Text {
    /// Text with these bytes, which are UTF-8.
    pub(crate) fn new(text: &[u8]) -> Self {
        match u8::try_from(text.len()) {
            Ok(len) if text.len() <= INLINE_BYTES_MAX => {
                let mut bytes = [0; INLINE_BYTES_MAX];
                bytes[..text.len()].copy_from_slice(text);
                Self::Inline { len, bytes }
            }
            _ => Self::Distant(Box::new(text.to_vec())),
        }
    }

    /// The bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Distant(bytes) => bytes,
        }
    }

    /// Puts more text behind it.
    pub(crate) fn append(&mut self, more: &[u8]) {
        match self {
            Self::Distant(bytes) => bytes.extend_from_slice(more),
            Self::Inline { .. } => *self = Self::new(&[self.as_bytes(), more].concat()),
        }
    }

    /// Bytes of memory behind it.
    pub(crate) const fn bytes_behind(&self) -> usize {
        match self {
            Self::Inline { .. } => 0,
            Self::Distant(bytes) => granted(size_of::<Vec<u8>>()) + granted_buffer(bytes.len()),
        }
    }
}

/// Bytes of memory that a buffer takes for what is in it. Room for more does not count: it depends on the past, and what
/// paths may look at follows from the size (INV-LUA3).
pub(super) const fn granted_buffer(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { granted(bytes) }
}
