use std::fmt::{self, Write as _};

use bytes::Bytes;
use memchr::memchr3;
use smallvec::SmallVec;

use super::line::{Head, Line, Lines, Start, has_blank, is_blank, is_token, trim};
use super::name::CONTENT_LENGTH;
use super::{MAX_HEADERS, MAX_LINE, MAX_MESSAGE, Message, Method, Name, phrase};

/// Kept free for the Via, a tag and the Content-Length, which come last.
const RESERVE: usize = 1_024;
/// Also of a reason phrase: what a start line has room for.
const MAX_URI: usize = MAX_LINE - 64;
const MAX_VIA: usize = 512;
const MAX_TAG: usize = 256;

/// Writes a message. Nothing that is put in can end a line: CR, LF and NUL become blanks, and a URI or method loses
/// its blanks.
///
/// What would break the limits of [`Message::parse`] is left out, and [`Builder::left_out`] counts it. A
/// Content-Length that is put in is passed over: [`Builder::finish`] writes it.
#[derive(Clone)]
pub struct Builder {
    /// First the start line, then pieces in any order, and the body.
    arena: Vec<u8>,
    start: Start,
    start_len: usize,
    /// In the order of printing.
    pieces: SmallVec<[Piece; 20]>,
    body: std::ops::Range<usize>,
    /// What the message holds so far.
    size: usize,
    left_out: usize,
    /// A response's To, when it has no tag yet.
    untagged: bool,
}

/// One header line in the arena.
#[derive(Clone, Copy)]
struct Piece {
    at: usize,
    /// With the CRLF.
    len: u16,
    /// From `at`.
    value_at: u16,
    value_len: u16,
    known: u8,
}

impl Piece {
    fn is_named(&self, arena: &[u8], name: Name) -> bool {
        let (line, wanted) = (&arena[self.at..], name.text().as_bytes());
        let is_spelt = || {
            line.get(..wanted.len())
                .is_some_and(|text| text.eq_ignore_ascii_case(wanted))
                && line.get(wanted.len()).is_some_and(|&byte| !is_token(byte))
        };
        self.known == name.known() && (self.known != Line::UNKNOWN || is_spelt())
    }
}

impl Builder {
    /// A request without any header. The endpoint puts the Via on top when it is sent.
    pub fn request(method: Method, uri: &str) -> Self {
        let mut builder = Self::empty(Start::Request {
            method,
            method_len: 0,
            uri_len: 0,
        });
        let arena = &mut builder.arena;
        arena.extend_from_slice(method.text().as_bytes());
        arena.push(b' ');
        match has_blank(uri.as_bytes()) || uri.len() > MAX_URI {
            false => arena.extend_from_slice(uri.as_bytes()),
            true => arena.extend(
                uri.bytes()
                    .filter(|byte| *byte > b' ' && *byte != 0x7f)
                    .take(MAX_URI),
            ),
        }
        let method_len = method.text().len();
        // A character that the limit cut in two would leave a start line that is no text.
        while std::str::from_utf8(&arena[method_len + 1..]).is_err() {
            arena.pop();
        }
        let uri_len = arena.len() - method_len - 1;
        arena.extend_from_slice(b" SIP/2.0\r\n");
        builder.start = Start::Request {
            method,
            method_len: method_len as u16,
            uri_len: uri_len as u16,
        };
        builder.started()
    }

    /// A response with the headers that it takes from its request: all Vias, From, To, Call-ID and CSeq (RFC 3261
    /// §8.2.6.2), and the Timestamp in a 100. An empty `reason` stands for the usual phrase.
    ///
    /// A status outside 100 to 699 becomes 500.
    pub fn response(request: &Message, status: u16, reason: &str) -> Self {
        let status = if (100..700).contains(&status) {
            status
        } else {
            500
        };
        let mut builder = Self::empty(Start::Response {
            status,
            reason_at: 12,
            reason_len: 0,
        });
        write!(builder.text(), "SIP/2.0 {status} ").expect("writing to memory succeeds");
        let reason = if reason.is_empty() {
            phrase(status)
        } else {
            reason
        };
        builder.put(&reason.as_bytes()[..reason.len().min(MAX_URI)]);
        builder.start = Start::Response {
            status,
            reason_at: 12,
            reason_len: (builder.arena.len() - 12) as u16,
        };
        builder.arena.extend_from_slice(b"\r\n");
        let mut builder = builder.started();
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            builder.copy(request, name);
        }
        if status == 100 {
            builder.copy(request, Name::Timestamp);
        }
        builder.untagged = request.to().is_ok_and(|to| to.tag().is_none());
        builder
    }

    /// Adds the tag to a response's To, unless it has one.
    pub fn to_tag(&mut self, tag: &str) -> &mut Self {
        if !std::mem::take(&mut self.untagged) {
            return self;
        }
        let mut pieces = self.pieces.iter();
        if let Some(index) = pieces.position(|piece| piece.known == Name::To.known()) {
            let old = self.pieces[index];
            let value_at = old.at + usize::from(old.value_at);
            let (value, at) = (
                value_at..value_at + usize::from(old.value_len),
                self.arena.len(),
            );
            self.arena.extend_from_slice(b"To: ");
            self.arena.extend_from_within(value);
            self.arena.extend_from_slice(b";tag=");
            self.put(&tag.as_bytes()[..tag.len().min(MAX_TAG)]);
            if let Some(piece) = self.piece(Name::To, at, at + 4) {
                self.size = self.size + usize::from(piece.len) - usize::from(old.len);
                self.pieces[index] = piece;
            }
        }
        self
    }

    /// Adds a header below those that are there.
    pub fn header(&mut self, name: Name, value: impl AsRef<[u8]>) -> &mut Self {
        let (at, value_at) = self.open(name);
        self.put(value.as_ref());
        self.close(name, at, value_at);
        self
    }

    /// Adds a header whose value is written by `format_args!`.
    pub fn header_fmt(&mut self, name: Name, value: fmt::Arguments<'_>) -> &mut Self {
        let (at, value_at) = self.open(name);
        self.text()
            .write_fmt(value)
            .expect("writing to memory succeeds");
        self.close(name, at, value_at);
        self
    }

    /// Adds all headers of this name as the other message has them, byte for byte.
    pub fn copy(&mut self, from: &Message, name: Name) -> &mut Self {
        let known = name.known();
        for (index, line) in from.head.lines.iter().enumerate() {
            if line.known == known && known != CONTENT_LENGTH && from.is_named(line, name) {
                let (raw, at) = (from.raw(index), self.arena.len());
                self.arena.extend_from_slice(raw);
                let piece = Piece {
                    at,
                    len: raw.len() as u16,
                    value_at: line.value_at - line.name_at,
                    value_len: line.value_len,
                    known: line.known,
                };
                self.add(piece);
            }
        }
        self
    }

    /// Takes away all headers of this name.
    pub fn remove(&mut self, name: Name) -> &mut Self {
        let arena = &self.arena;
        let mut removed = 0;
        self.pieces.retain(|piece| {
            let same = piece.is_named(arena, name);
            removed += if same { usize::from(piece.len) } else { 0 };
            !same
        });
        self.size -= removed;
        self
    }

    /// [`Builder::remove`], then [`Builder::header`].
    pub fn replace(&mut self, name: Name, value: impl AsRef<[u8]>) -> &mut Self {
        self.remove(name).header(name, value)
    }

    /// Sets the body and its Content-Type, in place of those that were there.
    pub fn body(&mut self, content_type: &str, body: impl AsRef<[u8]>) -> &mut Self {
        let body = body.as_ref();
        self.size -= self.body.len();
        self.body = 0..0;
        self.remove(Name::ContentType);
        if self.size + body.len() + content_type.len() + 32 > MAX_MESSAGE - RESERVE {
            self.left_out += 1;
            return self;
        }
        self.header(Name::ContentType, content_type);
        let at = self.arena.len();
        self.arena.extend_from_slice(body);
        self.body = at..self.arena.len();
        self.size += body.len();
        self
    }

    /// A request's method; [`Method::Other`] for a response.
    pub fn method(&self) -> Method {
        match self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => Method::Other,
        }
    }

    /// The Request-URI; empty for a response.
    pub fn uri(&self) -> &str {
        match self.start {
            Start::Request {
                method_len,
                uri_len,
                ..
            } => {
                let at = usize::from(method_len) + 1;
                std::str::from_utf8(&self.arena[at..at + usize::from(uri_len)]).unwrap_or_default()
            }
            Start::Response { .. } => "",
        }
    }

    /// A response's status; 0 for a request.
    pub fn status(&self) -> u16 {
        match self.start {
            Start::Request { .. } => 0,
            Start::Response { status, .. } => status,
        }
    }

    /// Whether there is a header of this name.
    pub fn has(&self, name: Name) -> bool {
        self.pieces
            .iter()
            .any(|piece| piece.is_named(&self.arena, name))
    }

    /// The value of the first header of this name.
    pub fn value(&self, name: Name) -> Option<&[u8]> {
        let mut pieces = self.pieces.iter();
        let piece = pieces.find(|piece| piece.is_named(&self.arena, name))?;
        let at = piece.at + usize::from(piece.value_at);
        self.arena.get(at..at + usize::from(piece.value_len))
    }

    /// The body so far.
    pub fn body_bytes(&self) -> &[u8] {
        &self.arena[self.body.clone()]
    }

    /// Whether `Require` names this extension, alone in its line.
    pub fn requires(&self, extension: &str) -> bool {
        self.pieces.iter().any(|piece| {
            let at = piece.at + usize::from(piece.value_at);
            let value = &self.arena[at..at + usize::from(piece.value_len)];
            piece.known == Name::Require.known() && value.eq_ignore_ascii_case(extension.as_bytes())
        })
    }

    /// How many headers and bodies found no room within the limits.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The message, with `via` as its first header. The builder stays as it is, for the next target's Via.
    pub fn finish(&self, via: Option<&str>) -> Message {
        let via = via.map(|via| via[..via.floor_char_boundary(MAX_VIA)].trim());
        let length = self.body.len();
        let mut buf = Vec::with_capacity(
            self.size + via.map_or(0, |via| via.len() + 7) + 20 + digits(length),
        );
        let mut lines = Lines::new();
        buf.extend_from_slice(&self.arena[..self.start_len]);
        if let Some(via) = via {
            let name_at = buf.len() as u16;
            buf.extend_from_slice(b"Via: ");
            clean_into(&mut buf, via.as_bytes());
            lines.push(Line {
                name_at,
                value_at: name_at + 5,
                value_len: via.len() as u16,
                known: Name::Via.known(),
            });
            buf.extend_from_slice(b"\r\n");
        }
        for piece in &self.pieces {
            let name_at = buf.len() as u16;
            buf.extend_from_slice(&self.arena[piece.at..piece.at + usize::from(piece.len)]);
            let (value_at, value_len) = (name_at + piece.value_at, piece.value_len);
            lines.push(Line {
                name_at,
                value_at,
                value_len,
                known: piece.known,
            });
        }
        let name_at = buf.len() as u16;
        buf.extend_from_slice(b"Content-Length: ");
        push_number(&mut buf, length);
        let value_len = buf.len() as u16 - name_at - 16;
        lines.push(Line {
            name_at,
            value_at: name_at + 16,
            value_len,
            known: CONTENT_LENGTH,
        });
        buf.extend_from_slice(b"\r\n\r\n");
        let body_at = buf.len() as u16;
        buf.extend_from_slice(&self.arena[self.body.clone()]);
        Message {
            buf: Bytes::from(buf),
            head: Head {
                start: self.start,
                lines,
                body_at,
            },
        }
    }

    fn empty(start: Start) -> Self {
        Self {
            arena: Vec::with_capacity(2_048),
            start,
            start_len: 0,
            pieces: SmallVec::new(),
            body: 0..0,
            size: 0,
            left_out: 0,
            untagged: false,
        }
    }

    fn started(mut self) -> Self {
        self.start_len = self.arena.len();
        self.size = self.start_len;
        self
    }

    fn open(&mut self, name: Name) -> (usize, usize) {
        let at = self.arena.len();
        self.arena.extend_from_slice(name.text().as_bytes());
        self.arena.extend_from_slice(b": ");
        (at, self.arena.len())
    }

    fn close(&mut self, name: Name, at: usize, value_at: usize) {
        if name.known() == CONTENT_LENGTH {
            self.arena.truncate(at);
        } else if let Some(piece) = self.piece(name, at, value_at) {
            self.add(piece);
        }
    }

    /// Ends the line that was begun at `at`, or takes it back when it is too long.
    fn piece(&mut self, name: Name, at: usize, value_at: usize) -> Option<Piece> {
        // Blanks around a value are not part of it, and a reader takes them off.
        let value = &self.arena[value_at..];
        let leading = value.iter().take_while(|&&byte| is_blank(byte)).count();
        let value_len = trim(value).len();
        self.arena.truncate(value_at + leading + value_len);
        self.arena.extend_from_slice(b"\r\n");
        let len = self.arena.len() - at;
        if len > MAX_LINE {
            self.arena.truncate(at);
            self.left_out += 1;
            return None;
        }
        let known = name.known();
        let value_at = (value_at + leading - at) as u16;
        Some(Piece {
            at,
            len: len as u16,
            value_at,
            value_len: value_len as u16,
            known,
        })
    }

    /// Takes a line in, if the message has room for it. The Via and the Content-Length will need two lines more.
    fn add(&mut self, piece: Piece) {
        let len = usize::from(piece.len);
        if self.pieces.len() + 2 >= MAX_HEADERS || self.size + len > MAX_MESSAGE - RESERVE {
            self.arena.truncate(piece.at);
            self.left_out += 1;
            return;
        }
        self.size += len;
        self.pieces.push(piece);
    }

    fn put(&mut self, bytes: &[u8]) {
        clean_into(&mut self.arena, bytes);
    }

    fn text(&mut self) -> Clean<'_> {
        Clean(&mut self.arena)
    }
}

struct Clean<'a>(&'a mut Vec<u8>);

impl fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        clean_into(self.0, text.as_bytes());
        Ok(())
    }
}

fn clean_into(buf: &mut Vec<u8>, bytes: &[u8]) {
    let at = buf.len();
    buf.extend_from_slice(bytes);
    if memchr3(b'\r', b'\n', 0, bytes).is_some() {
        let harmful = buf[at..]
            .iter_mut()
            .filter(|byte| matches!(byte, b'\r' | b'\n' | 0));
        harmful.for_each(|byte| *byte = b' ');
    }
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

fn push_number(buf: &mut Vec<u8>, number: usize) {
    let at = buf.len();
    let mut rest = number;
    loop {
        buf.push(b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    buf[at..].reverse();
}

/// What it will be; the rest stays out of logs.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.start {
            Start::Request { method, .. } => write!(f, "Builder({method})"),
            Start::Response { status, .. } => write!(f, "Builder({status})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(message: &Message) -> Message {
        let parsed = Message::parse(message.bytes().clone()).unwrap();
        assert_eq!(parsed.head, message.head);
        parsed
    }

    fn invite() -> Message {
        let mut draft = Builder::request(Method::Invite, "sip:b@example.com");
        draft
            .header(Name::Via, "SIP/2.0/UDP second.example;branch=z9hG4bK0")
            .header(Name::From, "<sip:a@a.example>;tag=1");
        draft
            .header(Name::To, "<sip:b@example.com>")
            .header(Name::CallId, "77")
            .header_fmt(Name::CSeq, format_args!("{} INVITE", 5));
        draft
            .header(Name::Extension("X-One"), "1")
            .body("application/sdp", "v=0\r\n");
        draft.finish(Some("SIP/2.0/TLS first.example;branch=z9hG4bK1"))
    }

    #[test]
    fn a_request_is_printed_in_order() {
        let text = "INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/TLS first.example;branch=z9hG4bK1\r\n\
            Via: SIP/2.0/UDP second.example;branch=z9hG4bK0\r\nFrom: <sip:a@a.example>;tag=1\r\nTo: <sip:b@example.com>\r\n\
            Call-ID: 77\r\nCSeq: 5 INVITE\r\nX-One: 1\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";
        assert_eq!(again(&invite()).bytes(), text);
        again(&invite()).check().unwrap();
    }

    /// RFC 3261 §8.2.6.2.
    #[test]
    fn a_response_carries_what_its_request_says() {
        let request = invite();
        let mut draft = Builder::response(&request, 180, "");
        draft.to_tag("t1").to_tag("t2");
        let response = again(&draft.finish(None));
        response.check().unwrap();
        assert_eq!(
            (response.status(), response.reason(), response.method()),
            (180, b"Ringing".as_slice(), Method::Invite)
        );
        assert_eq!(response.headers(Name::Via).count(), 2);
        assert_eq!(
            (response.from_tag(), response.to_tag()),
            (Some("1"), Some("t1"))
        );
        assert_eq!(response.body(), "");

        let mut draft = Builder::response(&response, 200, "Fine");
        draft.to_tag("t3");
        assert_eq!(again(&draft.finish(None)).to_tag(), Some("t1"));
    }

    /// A line end in a value, a URI or a phrase never becomes one in the message.
    #[test]
    fn nothing_put_in_can_end_a_line() {
        let mut draft = Builder::request(Method::Bye, "sip:a@b\r\nRoute: <sip:evil> SIP/2.0");
        draft.header(Name::Subject, "a\r\nRoute: <sip:evil>\r\n\r\nbody");
        draft.header_fmt(
            Name::Extension("X-Two"),
            format_args!("{}", " \r\nRoute: x\n"),
        );
        let message = again(&draft.finish(Some("SIP/2.0/UDP a\r\nRoute: y\r\n")));
        assert!(message.header(Name::Route).is_none());
        assert_eq!(message.lines().count(), 4);
        assert_eq!(
            message.header(Name::Extension("X-Two")).unwrap(),
            "Route: x"
        );
        let response = Builder::response(&invite(), 400, "Bad\r\nRoute: z").finish(None);
        assert!(again(&response).header(Name::Route).is_none());
    }

    #[test]
    fn headers_can_be_replaced_and_the_body_too() {
        let request = invite();
        let mut draft = Builder::request(Method::Invite, "sip:b");
        draft
            .copy(&request, Name::Extension("x-one"))
            .copy(&request, Name::CSeq)
            .copy(&request, Name::ContentLength);
        draft
            .replace(Name::CSeq, "6 INVITE")
            .body("a/b", "one")
            .body("c/d", "three")
            .header(Name::Subject, "after");
        assert!(draft.has(Name::Extension("X-ONE")) && !draft.has(Name::Extension("X-Onetwo")));
        draft
            .remove(Name::Extension("X-ONE"))
            .header(Name::ContentLength, "99");
        let message = again(&draft.finish(None));
        assert_eq!(message.cseq().unwrap().number, 6);
        assert_eq!(
            (message.content_type(), message.body()),
            (Some("c/d"), Bytes::from("three"))
        );
        assert_eq!(message.lines().count(), 4);
        assert_eq!(
            (draft.method(), draft.uri(), draft.status()),
            (Method::Invite, "sip:b", 0)
        );
    }

    /// Whatever is put in, what comes out is within the limits and counted.
    #[test]
    fn limits_are_kept_and_counted() {
        let mut draft = Builder::request(Method::Message, &"\u{fc}".repeat(10_000));
        draft.header(Name::Subject, "a".repeat(MAX_LINE));
        assert_eq!(draft.left_out(), 1);
        draft.body("text/plain", "a".repeat(MAX_MESSAGE));
        assert_eq!(draft.left_out(), 2);
        draft.body("text/plain", "a".repeat(20_000));
        for _ in 0..300 {
            draft.header(Name::Subject, "a".repeat(150));
        }
        let via = format!("SIP/2.0/UDP {}", "\u{fc}".repeat(600));
        let message = again(&draft.finish(Some(&via)));
        assert_eq!(message.lines().count(), 303 - (draft.left_out() - 2));
        assert!(draft.left_out() > 2 && message.body().len() == 20_000);
    }
}
