//! The table that a message's head is read into, and the characters that heads are made of.

use smallvec::SmallVec;

use super::Method;

/// The lines of one message; a head of usual size needs no allocation.
pub(crate) type Lines = SmallVec<[Line; 20]>;

/// Everything before the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub start: Start,
    pub lines: Lines,
    /// Where the empty line ends.
    pub body_at: u16,
}

/// The request line or the status line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// The method begins at 0, the Request-URI one blank after it.
    Request {
        method: Method,
        method_len: u16,
        uri_len: u16,
    },
    Response {
        status: u16,
        reason_at: u16,
        reason_len: u16,
    },
}

/// One header line. Its name begins at `name_at`, and the next line's name, or the empty line, ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub name_at: u16,
    pub value_at: u16,
    pub value_len: u16,
    /// The number of a known name, or [`Line::UNKNOWN`].
    pub known: u8,
}

impl Line {
    /// A name that `Name` has no variant for.
    pub const UNKNOWN: u8 = u8::MAX;
}

/// RFC 3261 §25.1, `token`.
pub(super) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// What may stand around a value and between its parts: SP, HTAB, and the CRLF of a folded line.
pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Without the blanks around it.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

/// Without the blanks around it.
pub(super) fn trim_text(text: &str) -> &str {
    text.trim_matches(|c: char| u8::try_from(c).is_ok_and(is_blank))
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"-.!%*_+`'~";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};
