use super::Name;

/// Why bytes are no SIP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Nothing but line ends, as keep-alives send them (RFC 5626 §4.4).
    #[error("the message is empty")]
    Empty,
    /// Larger than `MAX_MESSAGE`, or announced to be.
    #[error("the message is too large")]
    TooLarge,
    /// More than `MAX_HEADERS` lines.
    #[error("the message has too many headers")]
    TooManyHeaders,
    /// A line longer than `MAX_LINE`, its folds included.
    #[error("a line of the message is too long")]
    LineTooLong,
    /// Neither a request line nor a status line (RFC 3261 §7.1, §7.2).
    #[error("the first line is neither a request line nor a status line")]
    StartLine,
    /// The first line names another version than SIP/2.0.
    #[error("the message is of another SIP version")]
    Version,
    /// A CR or a LF on its own.
    #[error("a line does not end in CRLF")]
    LineEnd,
    /// A header line that starts with something else than a name and a colon.
    #[error("a header line has no name and colon")]
    HeaderName,
    /// The empty line after the headers is missing.
    #[error("the headers do not end")]
    Unfinished,
    /// A Content-Length that is not a plain number, or a second one.
    #[error("the Content-Length is not one plain number")]
    ContentLength,
    /// On a stream the Content-Length is what separates messages (RFC 3261 §18.3).
    #[error("a message on a stream has no Content-Length")]
    NoContentLength,
    /// There are fewer or, on a stream, more bytes than the Content-Length says.
    #[error("the body is not as long as the Content-Length says")]
    BodyLength,
}

/// Which header breaks which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} {rule}")]
pub struct HeaderError {
    /// The header; [`Name::RequestUri`] stands for the Request-URI.
    pub name: Name,
    /// What is wrong with it, as the end of a sentence that starts with the name.
    pub rule: &'static str,
}

impl HeaderError {
    pub(super) const fn new(name: Name, rule: &'static str) -> Self {
        Self { name, rule }
    }
}

/// What is wrong with a header's value, as the end of a sentence that starts with the header's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value {0}")]
pub struct Malformed(pub &'static str);

impl Malformed {
    pub(super) const fn of(self, name: Name) -> HeaderError {
        HeaderError::new(name, self.0)
    }
}

/// What is wrong with a URI, as the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the URI {0}")]
pub struct UriError(pub &'static str);

impl From<UriError> for Malformed {
    fn from(error: UriError) -> Self {
        Self(error.0)
    }
}
