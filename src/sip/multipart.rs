//! `multipart/mixed` bodies (RFC 2046 §5.1, as RFC 5621 wants them taken): parts in any order under any boundary, their
//! lines ended by CRLF or by LF alone, with whatever part nobody here knows between them.

use bytes::Bytes;
use memchr::memmem;

use super::{Message, Name, NameAddr};

/// More parts than any sender needs: a body with more is refused.
pub const MAX_PARTS: usize = 16;
/// RFC 2046 §5.1.1.
const MAX_BOUNDARY: usize = 70;

/// Why a body has no parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// Content-Type names no boundary, or one that RFC 2046 forbids.
    #[error("the multipart body has no proper boundary")]
    NoBoundary,
    /// The boundary that Content-Type names is nowhere in the body.
    #[error("the multipart body has no part")]
    NoPart,
    /// More than [`MAX_PARTS`].
    #[error("the multipart body has too many parts")]
    TooManyParts,
}

/// One part of a body. A clone shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    raw: Bytes,
    content_at: usize,
}

impl Part {
    /// A part as its sender writes it.
    pub fn new(content_type: &str, content_id: Option<&str>, content: &[u8]) -> Self {
        let id = content_id.map_or(String::new(), |id| format!("Content-ID: {id}\r\n"));
        let head = format!("Content-Type: {content_type}\r\n{id}\r\n");
        let content_at = head.len();
        let mut raw = head.into_bytes();
        raw.extend_from_slice(content);
        Self {
            raw: raw.into(),
            content_at,
        }
    }

    /// Headers and content as they came, without the line break that belongs to the boundary.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The content alone.
    pub fn content(&self) -> Bytes {
        self.raw.slice(self.content_at..)
    }

    /// Whether it is of this type, and not packed by a Content-Transfer-Encoding, which SIP has no need of.
    pub fn is(&self, content_type: &str) -> bool {
        let is_plain = self
            .header("Content-Transfer-Encoding")
            .is_none_or(|encoding| {
                ["7bit", "8bit", "binary"]
                    .iter()
                    .any(|plain| encoding.eq_ignore_ascii_case(plain))
            });
        let found = self.header("Content-Type").unwrap_or("text/plain");
        let found = found.split(';').next().unwrap_or_default().trim();
        is_plain && found.eq_ignore_ascii_case(content_type)
    }

    /// The first line of the header of this name.
    fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(&self.raw[..self.content_at]).ok()?;
        let named = |line: &'_ str| {
            let (key, _) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then_some(())
        };
        let line = head.lines().find(|line| named(line).is_some())?;
        line.split_once(':').map(|(_, value)| value.trim())
    }
}

/// The parts of a message whose Content-Type is `multipart/mixed`; `None` for any other. An end without its boundary
/// ends the last part: that much of a cut body is taken, for it may belong to an emergency call.
pub fn parts(message: &Message) -> Option<Result<Vec<Part>, MultipartError>> {
    let kind = message.content_type()?;
    kind.eq_ignore_ascii_case("multipart/mixed").then(|| {
        let boundary = boundary(message).ok_or(MultipartError::NoBoundary)?;
        split(&boundary, &message.body())
    })
}

/// A body of these parts, in order. The caller sees to it that the boundary is in none of them.
pub fn join<'a>(boundary: &str, parts: impl Iterator<Item = &'a Part>) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        body.extend_from_slice(&part.raw);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

fn boundary(message: &Message) -> Option<String> {
    // A media type reads as an address does: something, then parameters.
    let value = message.header(Name::ContentType)?;
    let value = NameAddr::parse(value.bytes()).ok()?;
    let boundary = value.params.get("boundary").flatten()?.trim_end();
    let fits = (1..=MAX_BOUNDARY).contains(&boundary.len())
        && boundary.bytes().all(|c| c == b' ' || c.is_ascii_graphic());
    fits.then(|| boundary.to_owned())
}

fn split(boundary: &str, body: &Bytes) -> Result<Vec<Part>, MultipartError> {
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut open: Option<usize> = None;
    for at in memmem::find_iter(body, &delimiter) {
        let Some(end) = delimiter_end(body, at, delimiter.len()) else {
            continue;
        };
        if let Some(start) = open.take() {
            add(&mut parts, body, start, before_break(body, at).max(start))?;
        }
        match end {
            End::Line(next) => open = Some(next),
            End::Close => break,
        }
    }
    if let Some(start) = open {
        add(&mut parts, body, start, body.len())?;
    }
    if parts.is_empty() {
        return Err(MultipartError::NoPart);
    }
    Ok(parts)
}

/// What stands behind a boundary.
enum End {
    /// A part, from here on.
    Line(usize),
    /// Nothing that counts.
    Close,
}

/// Whether what looks like the boundary at `at` is one: alone on its line, but for blanks.
fn delimiter_end(body: &[u8], at: usize, len: usize) -> Option<End> {
    let starts_line = at == 0 || body[at - 1] == b'\n';
    let rest = &body[at + len..];
    if !starts_line {
        return None;
    }
    if rest.starts_with(b"--") {
        return Some(End::Close);
    }
    let line = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    let blank = rest[..line]
        .iter()
        .all(|c| matches!(c, b' ' | b'\t' | b'\r'));
    blank.then(|| End::Line((at + len + line + 1).min(body.len())))
}

/// Where the line before `at` ends: its line break belongs to the boundary.
fn before_break(body: &[u8], at: usize) -> usize {
    let head = &body[..at];
    let head = head.strip_suffix(b"\n").unwrap_or(head);
    head.strip_suffix(b"\r").unwrap_or(head).len()
}

fn add(
    parts: &mut Vec<Part>,
    body: &Bytes,
    start: usize,
    end: usize,
) -> Result<(), MultipartError> {
    if parts.len() == MAX_PARTS {
        return Err(MultipartError::TooManyParts);
    }
    let raw = body.slice(start..end);
    parts.push(Part {
        content_at: content_at(&raw),
        raw,
    });
    Ok(())
}

/// Behind the first empty line. Without one there is no content.
fn content_at(raw: &[u8]) -> usize {
    let mut at = 0;
    for line in raw.split_inclusive(|c| *c == b'\n') {
        at += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            return at;
        }
    }
    raw.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(content_type: &str, body: &str) -> Message {
        let text = format!(
            "INVITE sip:911@a SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    fn contents(content_type: &str, body: &str) -> Result<Vec<(bool, String)>, MultipartError> {
        let parts = parts(&message(content_type, body)).expect("a multipart body")?;
        let content = |part: &Part| String::from_utf8(part.content().to_vec()).unwrap();
        Ok(parts
            .iter()
            .map(|part| (part.is("application/sdp"), content(part)))
            .collect())
    }

    /// TDR-1002: any boundary, quoted or not, CRLF or LF, blanks behind it, something before and behind it all, and a
    /// part without headers. The line break before a boundary is the boundary's.
    #[test]
    fn parts_are_found_however_they_are_written() {
        let crlf = "preamble\r\n--b1  \r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b1\r\n\r\nplain\r\n--b1--\r\nepilogue";
        let wanted = vec![(true, "v=0\r\n".to_owned()), (false, "plain".to_owned())];
        assert_eq!(contents("multipart/mixed;boundary=b1", crlf), Ok(wanted));
        let lf = crlf.replace('\r', "");
        let wanted = vec![(true, "v=0\n".to_owned()), (false, "plain".to_owned())];
        assert_eq!(
            contents("Multipart/MIXED; charset=x; Boundary=\"b1\"", &lf),
            Ok(wanted.clone())
        );
        let odd = lf.replace("b1", "'()+_,-./:=? x");
        assert_eq!(
            contents("multipart/mixed;boundary=\"'()+_,-./:=? x\"", &odd),
            Ok(wanted.clone())
        );
        // A line that only begins like the boundary, and the boundary inside a line, separate nothing.
        let lookalike = lf.replace("plain", "a --b1\n--b12\nplain");
        assert_eq!(
            contents("multipart/mixed;boundary=b1", &lookalike).unwrap()[1].1,
            "a --b1\n--b12\nplain"
        );
        let cut = lf.split("--b1--").next().unwrap();
        assert_eq!(
            contents("multipart/mixed;boundary=b1", cut).unwrap()[1].1,
            "plain\n"
        );
    }

    #[test]
    fn what_has_no_parts_is_an_error() {
        for (content_type, body, error) in [
            (
                "multipart/mixed",
                "--b\r\n\r\n--b--",
                MultipartError::NoBoundary,
            ),
            (
                "multipart/mixed;boundary=\"\"",
                "--\r\n",
                MultipartError::NoBoundary,
            ),
            (
                "multipart/mixed;boundary=b",
                "v=0\r\n",
                MultipartError::NoPart,
            ),
            (
                "multipart/mixed;boundary=b",
                "--b--\r\n",
                MultipartError::NoPart,
            ),
        ] {
            assert_eq!(contents(content_type, body), Err(error), "{content_type}");
        }
        let many = "--b\r\n\r\n".repeat(MAX_PARTS + 1);
        assert_eq!(
            contents("multipart/mixed;boundary=b", &many),
            Err(MultipartError::TooManyParts)
        );
        let long = format!("multipart/mixed;boundary={}", "b".repeat(71));
        assert_eq!(contents(&long, ""), Err(MultipartError::NoBoundary));
        assert!(parts(&message("application/sdp", "v=0")).is_none());
    }

    /// What a part is goes by its headers in any case; one that is packed is not what it says.
    #[test]
    fn a_packed_part_is_not_taken() {
        let part = |head: &str| Part {
            raw: Bytes::from(format!("{head}\r\n\r\nv=0\r\n")),
            content_at: head.len() + 4,
        };
        assert!(part("CONTENT-TYPE : Application/SDP;x=y").is("application/sdp"));
        assert!(
            part("Content-Transfer-Encoding: binary\r\nContent-Type: application/sdp")
                .is("application/sdp")
        );
        assert!(
            !part("Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64")
                .is("application/sdp")
        );
    }

    /// What is written is read again.
    #[test]
    fn parts_survive_writing() {
        let sent = [
            Part::new("application/sdp", None, b"v=0\r\n"),
            Part::new("application/pidf+xml", Some("<1@a>"), b"<a>\n--b</a>"),
        ];
        let body = String::from_utf8(join("xyz", sent.iter())).unwrap();
        let read = parts(&message("multipart/mixed;boundary=xyz", &body)).unwrap();
        assert_eq!(read, Ok(sent.to_vec()));
    }
}
