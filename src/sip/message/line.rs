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
    trim_end(bytes)
}

/// Without the blanks behind it.
pub(super) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

/// Without the blanks around it.
pub(super) fn trim_text(text: &str) -> &str {
    match text.as_bytes() {
        // Hardly any text has blanks around it.
        [first, .., last] if *first > b' ' && *last > b' ' => text,
        bytes => {
            let start = bytes.iter().take_while(|&&byte| is_blank(byte)).count();
            let end = start + trim_end(&bytes[start..]).len();
            &text[start..end]
        }
    }
}

/// What stands before and behind the first such byte, which must be ASCII.
pub(super) fn split_once(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(byte, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

/// The text up to the first such byte, which must be ASCII, and the text from it on.
pub(super) fn split_before(text: &str, byte: u8) -> (&str, &str) {
    text.split_at(memchr::memchr(byte, text.as_bytes()).unwrap_or(text.len()))
}

/// Just behind the quote that closes the one at the start.
pub(super) fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Whether there is a control character or a blank in it. Without an early end, so that many bytes are looked at
/// at once.
pub(super) fn has_blank(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, &byte| {
        found | (byte <= b' ') | (byte == 0x7f)
    })
}

/// Whether there is anything in it that no URI has: a blank, a quote, an angle bracket.
pub(super) fn is_no_uri(bytes: &[u8]) -> bool {
    let never = |byte: u8| {
        (byte <= b' ') | (byte == 0x7f) | (byte == b'"') | (byte == b'<') | (byte == b'>')
    };
    bytes.iter().fold(false, |found, &byte| found | never(byte))
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
