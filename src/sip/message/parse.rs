use bytes::{Buf, Bytes};
use memchr::{memchr, memchr2};

use super::line::{Head, Line, Lines, Start, has_blank, is_blank, is_token, trim_end};
use super::value::Value;
use super::{Message, Method, ParseError, name};

/// The longest message, in bytes: what fits a datagram, and on streams enough for Teams' longest (TDR-310).
pub const MAX_MESSAGE: usize = 65_535;
/// The most header lines.
pub const MAX_HEADERS: usize = 256;
/// The longest header line in bytes, folds included.
pub const MAX_LINE: usize = 8_192;

impl Message {
    /// Reads what one datagram holds. Without a Content-Length the body reaches to the end; bytes beyond the
    /// Content-Length are cut off, and a body that is shorter is an error (RFC 3261 §18.3). Empty lines before the
    /// message are skipped (RFC 3261 §7.5). The empty line after the headers may be missing where a Content-Length
    /// of 0 shows that nothing else is: examples in RFC 4475 and RFC 5118 forget it.
    pub fn parse_datagram(mut buf: Bytes) -> Result<Self, ParseError> {
        buf.advance(leading_line_ends(&buf));
        let head = match head(&buf) {
            Err(ParseError::Unfinished) if buf.ends_with(b"\r\n") => {
                buf = [&buf, b"\r\n".as_slice()].concat().into();
                let head = head(&buf)?;
                let is_whole = body_length(&buf, &head)? == Some(0);
                is_whole.then_some(head).ok_or(ParseError::Unfinished)?
            }
            other => other?,
        };
        let body_at = usize::from(head.body_at);
        if let Some(length) = body_length(&buf, &head)? {
            if buf.len() - body_at < length {
                return Err(ParseError::BodyLength);
            }
            buf.truncate(body_at + length);
        }
        Ok(Self { buf, head })
    }

    /// Reads exactly one message of a stream, as [`super::super::framing`] cuts them; it must say its
    /// Content-Length (RFC 3261 §18.3).
    pub fn parse(buf: Bytes) -> Result<Self, ParseError> {
        let head = head(&buf)?;
        let length = body_length(&buf, &head)?.ok_or(ParseError::NoContentLength)?;
        if buf.len() != usize::from(head.body_at) + length {
            return Err(ParseError::BodyLength);
        }
        Ok(Self { buf, head })
    }

    /// What can be read of a request that [`Message::parse`] refused: its sound header lines and no body, so that a
    /// refusal can carry the Vias, From, To, Call-ID and CSeq. `None` where even the request line is broken, but
    /// for its version.
    pub fn salvage(mut buf: Bytes) -> Option<Self> {
        buf.advance(leading_line_ends(&buf));
        buf.truncate(MAX_MESSAGE - 2);
        let end = line_end(&buf, 0).ok()?;
        let start = match start_line(&buf[..end]) {
            Err(ParseError::Version) => request_line(&buf[..end]).ok()?.0,
            other => other
                .ok()
                .filter(|start| matches!(start, Start::Request { .. }))?,
        };
        // Lines must lie side by side in a message's table, so the sound ones are copied together.
        let mut kept = buf[..end + 2].to_vec();
        let mut lines = Lines::new();
        let mut at = end + 2;
        while lines.len() < MAX_HEADERS && !buf[at.min(buf.len())..].starts_with(b"\r\n") {
            let Some(next) = next_line(&buf, at) else {
                break;
            };
            if let Ok((line, end)) = header_line(&buf[..next], at)
                && end == next
            {
                let moved = |offset: u16| (usize::from(offset) - at + kept.len()) as u16;
                lines.push(Line {
                    name_at: moved(line.name_at),
                    value_at: moved(line.value_at),
                    ..line
                });
                kept.extend_from_slice(&buf[at..next]);
            }
            at = next;
        }
        kept.extend_from_slice(b"\r\n");
        Some(Self {
            head: Head {
                start,
                lines,
                body_at: kept.len() as u16,
            },
            buf: kept.into(),
        })
    }
}

/// Reads everything up to and including the empty line.
pub(crate) fn head(buf: &[u8]) -> Result<Head, ParseError> {
    if buf.len() > MAX_MESSAGE {
        return Err(ParseError::TooLarge);
    }
    if buf.is_empty() {
        return Err(ParseError::Empty);
    }
    let end = line_end(buf, 0)?;
    let start = start_line(&buf[..end])?;
    let mut lines = Lines::new();
    let mut at = end + 2;
    while !buf[at..].starts_with(b"\r\n") {
        if lines.len() == MAX_HEADERS {
            return Err(ParseError::TooManyHeaders);
        }
        let (line, next) = header_line(buf, at)?;
        lines.push(line);
        at = next;
    }
    Ok(Head {
        start,
        lines,
        body_at: (at + 2) as u16,
    })
}

/// What the Content-Length says, if there is one.
pub(crate) fn body_length(buf: &[u8], head: &Head) -> Result<Option<usize>, ParseError> {
    let mut found = head
        .lines
        .iter()
        .filter(|line| line.known == name::CONTENT_LENGTH);
    let Some(line) = found.next() else {
        return Ok(None);
    };
    let at = usize::from(line.value_at);
    let digits = &buf[at..at + usize::from(line.value_len)];
    if found.next().is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ParseError::ContentLength);
    }
    let length = Value(digits)
        .number()
        .map_or(usize::MAX, |number| number as usize);
    if length > MAX_MESSAGE - usize::from(head.body_at) {
        return Err(ParseError::TooLarge);
    }
    Ok(Some(length))
}

fn leading_line_ends(buf: &[u8]) -> usize {
    buf.chunks(2).take_while(|pair| *pair == b"\r\n").count() * 2
}

/// Where the CRLF is that ends the line at `at`, without regard to folding.
fn line_end(buf: &[u8], at: usize) -> Result<usize, ParseError> {
    let end = at + memchr2(b'\r', b'\n', &buf[at..]).ok_or(ParseError::Unfinished)?;
    if !buf[end..].starts_with(b"\r\n") {
        return Err(ParseError::LineEnd);
    }
    Ok(end)
}

/// Where the line after the one at `at` and its folds begins, however broken this one is.
fn next_line(buf: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memmem::find(buf.get(at..)?, b"\r\n")? + 2;
        if !matches!(buf.get(at), Some(b' ' | b'\t')) {
            return Some(at);
        }
    }
}

/// RFC 3261 §7.1, §7.2.
fn start_line(line: &[u8]) -> Result<Start, ParseError> {
    if line.len() > MAX_LINE {
        return Err(ParseError::LineTooLong);
    }
    if line
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
    {
        return status_line(line);
    }
    let (start, version) = request_line(line)?;
    check_version(version)?;
    Ok(start)
}

/// `SIP/2.0 200 OK`. The blank after the code may be missing when the phrase is.
fn status_line(line: &[u8]) -> Result<Start, ParseError> {
    let (version, rest) = line.split_at_checked(7).ok_or(ParseError::StartLine)?;
    check_version(version)?;
    let [
        b' ',
        class @ b'1'..=b'6',
        tens @ b'0'..=b'9',
        ones @ b'0'..=b'9',
        phrase @ ..,
    ] = rest
    else {
        return Err(ParseError::StartLine);
    };
    if !matches!(phrase, [] | [b' ', ..]) {
        return Err(ParseError::StartLine);
    }
    let digit = |byte: &u8| u16::from(byte - b'0');
    let status = digit(class) * 100 + digit(tens) * 10 + digit(ones);
    let reason_at = line.len().min(12) as u16;
    Ok(Start::Response {
        status,
        reason_at,
        reason_len: line.len() as u16 - reason_at,
    })
}

/// `INVITE sip:bob@example.com SIP/2.0`, and the version as written. One blank between the parts, none within.
fn request_line(line: &[u8]) -> Result<(Start, &[u8]), ParseError> {
    let (method, rest) = split_at_blank(line)?;
    let (uri, version) = split_at_blank(rest)?;
    if method.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
        return Err(ParseError::StartLine);
    }
    if uri.is_empty() || has_blank(uri) || std::str::from_utf8(uri).is_err() {
        return Err(ParseError::StartLine);
    }
    let (method_len, uri_len) = (method.len() as u16, uri.len() as u16);
    let method = Method::from_bytes(method);
    Ok((
        Start::Request {
            method,
            method_len,
            uri_len,
        },
        version,
    ))
}

fn split_at_blank(bytes: &[u8]) -> Result<(&[u8], &[u8]), ParseError> {
    let at = memchr(b' ', bytes).ok_or(ParseError::StartLine)?;
    Ok((&bytes[..at], &bytes[at + 1..]))
}

/// A line that says another version is told from one that is no SIP at all.
fn check_version(text: &[u8]) -> Result<(), ParseError> {
    if text.eq_ignore_ascii_case(b"SIP/2.0") {
        return Ok(());
    }
    let numbers = text
        .get(..4)
        .filter(|name| name.eq_ignore_ascii_case(b"SIP/"))
        .map(|_| &text[4..]);
    let is_version = numbers
        .is_some_and(|n| !n.is_empty() && n.iter().all(|b| b.is_ascii_digit() || *b == b'.'));
    Err(if is_version {
        ParseError::Version
    } else {
        ParseError::StartLine
    })
}

/// The header line at `at` and where the next one begins. A line that starts with a blank continues this one
/// (RFC 3261 §7.3.1).
fn header_line(buf: &[u8], at: usize) -> Result<(Line, usize), ParseError> {
    let rest = &buf[at..];
    let name_len = rest
        .iter()
        .position(|&byte| !is_token(byte))
        .ok_or(ParseError::Unfinished)?;
    let colon = rest[name_len..]
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t'))
        .unwrap_or(0)
        + name_len;
    if name_len == 0 || rest.get(colon) != Some(&b':') {
        return Err(ParseError::HeaderName);
    }
    let mut end = line_end(buf, at + colon + 1)?;
    while matches!(buf.get(end + 2), Some(b' ' | b'\t')) {
        end = line_end(buf, end + 2)?;
    }
    if end - at > MAX_LINE {
        return Err(ParseError::LineTooLong);
    }
    let colon = at + colon;
    let value = &buf[colon + 1..end];
    let blanks = value.iter().take_while(|&&byte| is_blank(byte)).count();
    let line = Line {
        name_at: at as u16,
        value_at: (colon + 1 + blanks) as u16,
        value_len: trim_end(&value[blanks..]).len() as u16,
        known: name::number(&rest[..name_len]),
    };
    Ok((line, end + 2))
}

#[cfg(test)]
mod tests {
    use super::super::Name;
    use super::*;

    const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\r\n\
        v: SIP/2.0/UDP a.example;branch=z9hG4bK1, SIP/2.0/TCP [2001:db8::1]:5070;branch=z9hG4bK0\r\n\
        Via : SIP/2.0/TLS c.example;branch=z9hG4bK\r\n\
        f: \"A, \\\"B\\\"\" <sip:a@a.example>;tag=1\r\n\
        TO:sip:bob@example.com\r\n\
        i: 1@a\r\n\
        CSeq:  7\r\n\t INVITE\r\n\
        Subject: one\r\n  two \r\n\
        X-Ms-Thing:\r\n\
        Max-Forwards: 70\r\n\
        Content-Length: 4\r\n\r\nbody";

    fn datagram(text: &str) -> Result<Message, ParseError> {
        Message::parse_datagram(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn stream(text: &str) -> Result<Message, ParseError> {
        Message::parse(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn every_part_of_a_request() {
        let message = stream(INVITE).unwrap();
        message.check().unwrap();
        assert!(message.is_request());
        assert_eq!(
            (message.method(), message.method_text()),
            (Method::Invite, "INVITE")
        );
        assert_eq!(message.request_uri(), "sip:bob@example.com");
        assert_eq!((message.status(), message.reason()), (0, b"".as_slice()));
        assert_eq!(message.values(Name::Via).count(), 3);
        assert_eq!(message.headers(Name::Via).count(), 2);
        assert_eq!(message.via().unwrap().branch, Some("z9hG4bK1"));
        assert_eq!((message.from_tag(), message.to_tag()), (Some("1"), None));
        assert_eq!(message.call_id(), Ok("1@a"));
        assert_eq!(message.cseq().unwrap().number, 7);
        assert_eq!(
            message.header(Name::Subject).unwrap().bytes(),
            b"one\r\n  two"
        );
        assert_eq!(message.header(Name::Extension("x-ms-thing")).unwrap(), "");
        assert_eq!(message.max_forwards(), Ok(Some(70)));
        assert_eq!(message.body(), "body");
        assert_eq!(message.bytes(), INVITE);
        let names: Vec<_> = message.lines().map(|(name, _)| name).collect();
        assert_eq!(names[..4], ["v", "Via", "f", "TO"]);
        assert_eq!(names.len(), 10);
    }

    #[test]
    fn every_part_of_a_response() {
        let message =
            datagram("\r\n\r\nsip/2.0 699 Nicht \u{fc}blich\r\nCSeq: 1 FROB\r\n\r\n").unwrap();
        assert!(!message.is_request());
        assert_eq!(
            (message.status(), message.reason()),
            (699, "Nicht \u{fc}blich".as_bytes())
        );
        assert_eq!(
            (message.method(), message.method_text()),
            (Method::Other, "FROB")
        );
        assert_eq!(message.request_uri(), "");
        assert_eq!(datagram("SIP/2.0 100 \r\n\r\n").unwrap().reason(), b"");
        assert_eq!(datagram("SIP/2.0 100\r\n\r\n").unwrap().status(), 100);
    }

    #[test]
    fn a_first_line_has_one_form() {
        let verdict = |line: &str| datagram(&format!("{line}\r\n\r\n")).map(drop);
        assert_eq!(verdict("OPTIONS sip:a SIP/2.0"), Ok(()));
        assert_eq!(verdict("OPTIONS sip:a SIP/7.0"), Err(ParseError::Version));
        assert_eq!(verdict("SIP/3.0 200 OK"), Err(ParseError::Version));
        for line in [
            " OPTIONS sip:a SIP/2.0",
            "OPTIONS  sip:a SIP/2.0",
            "OPTIONS sip:a  SIP/2.0",
            "OPTIONS sip:a SIP/2.0 ",
            "OPTIONS sip:a",
            "OPTIONS sip:a b SIP/2.0",
            "OPTIONS  SIP/2.0",
            "OPT@ sip:a SIP/2.0",
            "GET / HTTP/1.1",
            "SIP/2.0 99 x",
            "SIP/2.0 700 x",
            "SIP/2.0 2000 x",
            "SIP/2.0 200OK",
            "SIP/2.0  200 OK",
            "OPTIONS sip:\u{7f} SIP/2.0",
            "x",
        ] {
            assert_eq!(verdict(line), Err(ParseError::StartLine), "{line}");
        }
    }

    /// RFC 3261 §18.3.
    #[test]
    fn a_datagram_is_cut_and_a_stream_is_not() {
        let message = |length: &str| format!("OPTIONS sip:a SIP/2.0\r\n{length}\r\n123456");
        assert_eq!(datagram(&message("")).unwrap().body(), "123456");
        assert_eq!(datagram(&message("l: 2\r\n")).unwrap().body(), "12");
        assert_eq!(datagram(&message("l:\r\n 6\r\n")).unwrap().body(), "123456");
        assert_eq!(datagram(&message("l: 7\r\n")), Err(ParseError::BodyLength));
        assert_eq!(stream(&message("l: 6\r\n")).unwrap().body(), "123456");
        assert_eq!(stream(&message("l: 5\r\n")), Err(ParseError::BodyLength));
        assert_eq!(stream(&message("")), Err(ParseError::NoContentLength));
        assert_eq!(
            datagram(&message("l: 6\r\nl: 6\r\n")),
            Err(ParseError::ContentLength)
        );
    }

    /// Every prefix of a message is refused or is the message without some of its body, and nothing panics.
    #[test]
    fn every_prefix_has_a_verdict() {
        for end in 0..INVITE.len() {
            assert!(
                datagram(&INVITE[..end]).is_err() && stream(&INVITE[..end]).is_err(),
                "{end}"
            );
            if let Some(message) =
                Message::salvage(Bytes::copy_from_slice(&INVITE.as_bytes()[..end]))
            {
                assert_eq!(head(message.bytes()), Ok(message.head.clone()));
            }
        }
        assert_eq!(datagram("\r\n\r\n"), Err(ParseError::Empty));
    }

    #[test]
    fn a_forgotten_empty_line_is_forgiven_where_nothing_can_be_missing() {
        let message = datagram("BYE sip:a SIP/2.0\r\nl: 0\r\n").unwrap();
        assert_eq!((message.lines().count(), message.body().len()), (1, 0));
        assert_eq!(
            stream("BYE sip:a SIP/2.0\r\nl: 0\r\n"),
            Err(ParseError::Unfinished)
        );
        assert_eq!(
            datagram("BYE sip:a SIP/2.0\r\nl: 1\r\n"),
            Err(ParseError::Unfinished)
        );
        assert_eq!(
            datagram("BYE sip:a SIP/2.0\r\na: 0\r\n"),
            Err(ParseError::Unfinished)
        );
    }

    #[test]
    fn limits() {
        let with =
            |headers: &str| datagram(&format!("OPTIONS sip:a SIP/2.0\r\n{headers}\r\n")).map(drop);
        assert_eq!(with(&"a: b\r\n".repeat(MAX_HEADERS)), Ok(()));
        assert_eq!(
            with(&"a: b\r\n".repeat(MAX_HEADERS + 1)),
            Err(ParseError::TooManyHeaders)
        );
        assert_eq!(
            with(&format!("a: {}\r\n", "b".repeat(MAX_LINE - 3))),
            Ok(())
        );
        assert_eq!(
            with(&format!("a: {}\r\n", "b\r\n ".repeat(MAX_LINE / 4))),
            Err(ParseError::LineTooLong)
        );
        assert_eq!(
            with(&format!("a: {}\r\n", "b".repeat(1 << 20))),
            Err(ParseError::TooLarge)
        );
    }

    /// What a refusal must carry is found among the broken lines.
    #[test]
    fn a_broken_request_can_still_be_refused() {
        let broken = "OPTIONS sip:a SIP/9.0\r\nVia: SIP/2.0/UDP a\r\n ;branch=1\r\nnonsense\r\n\
            f: <sip:a>;tag=1\r\nbad\nend: 1\r\nCall-ID: 5\r\nContent-Length: x\r\n\r\nbody";
        assert_eq!(datagram(broken), Err(ParseError::Version));
        let rest = Message::salvage(Bytes::from(broken)).unwrap();
        assert_eq!(rest.via().unwrap().branch, Some("1"));
        assert_eq!((rest.from_tag(), rest.call_id()), (Some("1"), Ok("5")));
        assert_eq!(rest.lines().count(), 4);
        let sound = rest
            .bytes()
            .escape_ascii()
            .to_string()
            .replace("9.0", "2.0");
        assert_eq!(sound.matches("\\r\\n").count(), 7, "{sound}");
        assert_eq!(
            Message::salvage(Bytes::from("nothing at all\r\n\r\n")),
            None
        );
        assert_eq!(
            Message::salvage(Bytes::from("SIP/2.0 200 OK\r\n\r\n")),
            None
        );
    }
}
