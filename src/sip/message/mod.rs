//! SIP messages (RFC 3261 §7, §20, §25): one buffer and one flat table of where its header lines are.
//!
//! [`Message::parse`] and [`Message::parse_datagram`] find the lines in one pass and keep every byte as it came;
//! values are typed when somebody asks. [`Message::check`] says whether what every request must carry is there and well
//! formed. [`Builder`] writes messages, and is the only way to one that did not arrive.
//!
//! Lines end in CRLF and nothing else, there is one Content-Length at most, and a header line has a colon: two
//! programs that read the same bytes differently are how requests are smuggled.

mod builder;
mod check;
mod error;
mod host;
mod line;
mod method;
mod name;
mod name_addr;
mod params;
mod parse;
mod phrase;
mod received;
mod uri;
mod value;
mod via;

pub use builder::Builder;
pub use error::{HeaderError, Malformed, ParseError, UriError};
pub use method::Method;
pub use name::Name;
pub use name_addr::NameAddr;
pub use params::Params;
pub use parse::{MAX_HEADERS, MAX_LINE, MAX_MESSAGE};
pub use phrase::phrase;
pub use uri::Uri;
pub use value::Value;
pub use via::Via;

pub(super) use parse::{body_length, head};

use std::fmt;

use bytes::Bytes;

use line::{Head, Line, Start};

/// A request or a response, exactly as it was received or will be sent.
///
/// A clone shares the bytes.
#[derive(Clone)]
pub struct Message {
    buf: Bytes,
    head: Head,
}

/// The value of a CSeq header (RFC 3261 §20.16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Any 32-bit number is read, though senders keep below 2^31.
    pub number: u32,
    /// [`Method::Other`] for a method that is not known here.
    pub method: Method,
}

impl Message {
    /// Whether this is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.head.start, Start::Request { .. })
    }

    /// A request's method; for a response, the method of its CSeq, or [`Method::Other`] where that cannot be read.
    pub fn method(&self) -> Method {
        match self.head.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => self.cseq().map_or(Method::Other, |cseq| cseq.method),
        }
    }

    /// The method as written, in the request line or, for a response, in its CSeq.
    pub fn method_text(&self) -> &str {
        match self.head.start {
            Start::Request { method_len, .. } => self.text(0, method_len),
            Start::Response { .. } => self.cseq_parts().map_or("", |(_, method)| method),
        }
    }

    /// The Request-URI as written; empty for a response.
    pub fn request_uri(&self) -> &str {
        match self.head.start {
            Start::Request {
                method_len,
                uri_len,
                ..
            } => self.text(method_len + 1, uri_len),
            Start::Response { .. } => "",
        }
    }

    /// 100 to 699; 0 for a request.
    pub fn status(&self) -> u16 {
        match self.head.start {
            Start::Request { .. } => 0,
            Start::Response { status, .. } => status,
        }
    }

    /// The reason phrase, which need not be UTF-8; empty for a request.
    pub fn reason(&self) -> &[u8] {
        match self.head.start {
            Start::Request { .. } => &[],
            Start::Response {
                reason_at,
                reason_len,
                ..
            } => self.slice(reason_at, reason_len),
        }
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: Name) -> Option<Value<'_>> {
        self.headers(name).next()
    }

    /// The values of all headers of this name, one for each line, in order.
    pub fn headers(&self, name: Name) -> impl Iterator<Item = Value<'_>> {
        self.lines_of(name).map(|line| self.value_of(line))
    }

    /// The comma-separated values of all headers of this name, in order. Commas in quotes and in `<>` separate
    /// nothing; empty values are left out.
    pub fn values(&self, name: Name) -> impl Iterator<Item = Value<'_>> {
        self.headers(name).flat_map(Value::split)
    }

    /// Every header, its name as written, in order.
    pub fn lines(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.head
            .lines
            .iter()
            .map(|line| (self.name_of(line), self.value_of(line)))
    }

    /// Whether a list such as `Supported` holds this token, in whatever case.
    pub fn has_token(&self, name: Name, token: &str) -> bool {
        self.values(name)
            .any(|value| value.bytes().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The body, sharing the message's bytes.
    pub fn body(&self) -> Bytes {
        self.buf.slice(usize::from(self.head.body_at)..)
    }

    /// The whole message.
    pub fn bytes(&self) -> &Bytes {
        &self.buf
    }

    /// The topmost Via.
    pub fn via(&self) -> Result<Via<'_>, HeaderError> {
        let value = self
            .values(Name::Via)
            .next()
            .ok_or(HeaderError::new(Name::Via, "is missing"))?;
        Via::parse(value.bytes()).map_err(|error| error.of(Name::Via))
    }

    /// The CSeq.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        let (number, method) = self.cseq_parts()?;
        Ok(CSeq {
            number,
            method: Method::from_bytes(method.as_bytes()),
        })
    }

    /// The Call-ID.
    pub fn call_id(&self) -> Result<&str, HeaderError> {
        let error = |rule| HeaderError::new(Name::CallId, rule);
        let value = self.header(Name::CallId).ok_or(error("is missing"))?;
        let text = value
            .text()
            .filter(|text| !text.is_empty())
            .ok_or(error("is empty or not text"))?;
        if line::has_blank(text.as_bytes()) {
            return Err(error("has a blank in it"));
        }
        Ok(text)
    }

    /// The From.
    pub fn from(&self) -> Result<NameAddr<'_>, HeaderError> {
        self.name_addr(Name::From)
    }

    /// The To.
    pub fn to(&self) -> Result<NameAddr<'_>, HeaderError> {
        self.name_addr(Name::To)
    }

    /// The From's tag, if it can be read and is not empty.
    pub fn from_tag(&self) -> Option<&str> {
        self.from().ok()?.tag()
    }

    /// The To's tag, if it can be read and is not empty.
    pub fn to_tag(&self) -> Option<&str> {
        self.to().ok()?.tag()
    }

    /// The first Contact. `Contact: *` has the URI `*`.
    pub fn contact(&self) -> Result<Option<NameAddr<'_>>, HeaderError> {
        let value = self.values(Name::Contact).next();
        value
            .map(|value| NameAddr::parse_bytes(value.0).map_err(|error| error.of(Name::Contact)))
            .transpose()
    }

    /// The Max-Forwards, which RFC 2543 did not demand.
    pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
        let Some(value) = self.header(Name::MaxForwards) else {
            return Ok(None);
        };
        let number = value.number().and_then(|number| u8::try_from(number).ok());
        number.map(Some).ok_or(HeaderError::new(
            Name::MaxForwards,
            "is not a number from 0 to 255",
        ))
    }

    /// The Content-Type without its parameters, in the case it came in.
    pub fn content_type(&self) -> Option<&str> {
        let text = self.header(Name::ContentType)?.text()?;
        let end = text.find(';').unwrap_or(text.len());
        Some(text[..end].trim())
    }

    fn cseq_parts(&self) -> Result<(u32, &str), HeaderError> {
        let error = |rule| HeaderError::new(Name::CSeq, rule);
        let value = self.header(Name::CSeq).ok_or(error("is missing"))?;
        let mut parts = value
            .text()
            .ok_or(error("is not text"))?
            .split_ascii_whitespace();
        let number = parts
            .next()
            .and_then(|text| Value(text.as_bytes()).number());
        let number = number.ok_or(error("does not start with a 32-bit number"))?;
        let method = parts
            .next()
            .filter(|method| method.bytes().all(line::is_token));
        match (method, parts.next()) {
            (Some(method), None) => Ok((number, method)),
            _ => Err(error("is not a number and a method")),
        }
    }

    fn name_addr(&self, name: Name) -> Result<NameAddr<'_>, HeaderError> {
        let value = self
            .header(name)
            .ok_or(HeaderError::new(name, "is missing"))?;
        NameAddr::parse_bytes(value.0).map_err(|error| error.of(name))
    }

    fn lines_of(&self, name: Name) -> impl Iterator<Item = &Line> {
        let known = name.known();
        self.head
            .lines
            .iter()
            .filter(move |line| line.known == known && self.is_named(line, name))
    }

    /// Whether a line, whose number is the name's, has that name.
    fn is_named(&self, line: &Line, name: Name) -> bool {
        line.known != Line::UNKNOWN || self.name_of(line).eq_ignore_ascii_case(name.text())
    }

    fn name_of(&self, line: &Line) -> &str {
        let rest = &self.buf[usize::from(line.name_at)..];
        let len = rest
            .iter()
            .position(|&byte| !line::is_token(byte))
            .unwrap_or(0);
        std::str::from_utf8(&rest[..len]).unwrap_or_default()
    }

    fn value_of(&self, line: &Line) -> Value<'_> {
        Value(self.slice(line.value_at, line.value_len))
    }

    /// The header line with its CRLF.
    fn raw(&self, index: usize) -> &[u8] {
        let end = self
            .head
            .lines
            .get(index + 1)
            .map_or(self.head.body_at - 2, |next| next.name_at);
        &self.buf[usize::from(self.head.lines[index].name_at)..usize::from(end)]
    }

    fn slice(&self, at: u16, len: u16) -> &[u8] {
        &self.buf[usize::from(at)..usize::from(at) + usize::from(len)]
    }

    fn text(&self, at: u16, len: u16) -> &str {
        std::str::from_utf8(self.slice(at, len)).unwrap_or_default()
    }
}

/// What it is and how long: a message holds numbers, names and keys, so the rest stays out of logs.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, len) = (self.method(), self.buf.len());
        match self.status() {
            0 => write!(f, "Message({method}, {len} bytes)"),
            status => write!(f, "Message({status} to {method}, {len} bytes)"),
        }
    }
}

/// Messages are equal when their bytes are.
impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.buf == other.buf
    }
}

impl Eq for Message {}
