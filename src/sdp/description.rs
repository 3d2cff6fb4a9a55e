use bytes::Bytes;
use std::fmt;

/// Longest description in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// Most lines.
const MAX_LINES: usize = 1000;
/// Most `m=` lines.
const MAX_MEDIA: usize = 16;

/// Why bytes are not a session description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Longer than 64 KiB.
    #[error("the session description is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// More lines than anybody needs.
    #[error("the session description has more than {MAX_LINES} lines")]
    TooManyLines,
    /// More streams than anybody needs.
    #[error("the session description has more than {MAX_MEDIA} media lines")]
    TooManyMedia,
    /// RFC 8866 §5.1: does not begin with `v=0`.
    #[error("the session description does not begin with v=0 (RFC 8866 §5.1)")]
    NoVersion,
    /// Not `<letter>=<value>`. Lines are counted from 1.
    #[error("line {0} of the session description is not a letter, an equals sign and a value")]
    NotALine(usize),
    /// A CR that ends no line, or a NUL (RFC 8866 §5).
    #[error("line {0} of the session description contains CR or NUL")]
    StrayControl(usize),
    /// RFC 8866 §5.14.
    #[error(
        "line {0} of the session description is no media line of medium, port, profile and formats"
    )]
    MediaLine(usize),
}

/// A session description as it came: a table of lines over its bytes.
///
/// Order, case, line ends, unknown lines and bytes that are not UTF-8 stay as they are. Lenient where peers are sloppy
/// and nothing depends on it (missing or misplaced `s=`, `t=`, `o=`; LF alone), strict where an answer must stand on it.
#[derive(Clone)]
pub struct SessionDescription {
    bytes: Bytes,
    lines: Vec<Span>,
    /// Indices into `lines` of the `m=` lines.
    media: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    kind: u8,
    start: usize,
    end: usize,
}

/// One line: `kind=value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The letter.
    pub kind: u8,
    /// What follows the equals sign, without the line's end.
    pub value: &'a [u8],
}

impl SessionDescription {
    /// Reads a description of at most 64 KiB, 1,000 lines and 16 media.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, SdpError> {
        let bytes = bytes.into();
        if bytes.len() > MAX_BYTES {
            return Err(SdpError::TooLong);
        }
        let mut lines = Vec::with_capacity(32);
        let mut media = Vec::new();
        let mut next = 0;
        for (number, raw) in (1..).zip(bytes.split(|&b| b == b'\n')) {
            let start = next;
            next += raw.len() + 1;
            let text = raw.strip_suffix(b"\r").unwrap_or(raw);
            let &[kind, b'=', ref value @ ..] = text else {
                // Blank lines, found at the end of bodies and between multipart's parts, say nothing.
                if text.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Err(SdpError::NotALine(number));
            };
            if !kind.is_ascii_alphabetic() {
                return Err(SdpError::NotALine(number));
            }
            if value.iter().any(|b| matches!(b, b'\r' | 0)) {
                return Err(SdpError::StrayControl(number));
            }
            if lines.is_empty() && (kind, value.trim_ascii()) != (b'v', b"0") {
                return Err(SdpError::NoVersion);
            }
            if lines.len() == MAX_LINES {
                return Err(SdpError::TooManyLines);
            }
            if kind == b'm' {
                MediaLine::parse(value).ok_or(SdpError::MediaLine(number))?;
                if media.len() == MAX_MEDIA {
                    return Err(SdpError::TooManyMedia);
                }
                media.push(lines.len());
            }
            lines.push(Span {
                kind,
                start: start + 2,
                end: start + text.len(),
            });
        }
        if lines.is_empty() {
            return Err(SdpError::NoVersion);
        }
        Ok(Self {
            bytes,
            lines,
            media,
        })
    }

    /// The description as it came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Every line but blank ones, in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.lines.iter().map(|span| self.line(span))
    }

    /// What stands before the first `m=` line and holds for all media.
    pub fn session(&self) -> Section<'_> {
        self.section(0, self.media.first().copied())
    }

    /// How many `m=` lines there are.
    pub fn media_count(&self) -> usize {
        self.media.len()
    }

    /// The `m=` line at this place, counted from 0, and the lines that belong to it.
    pub fn media(&self, index: usize) -> Option<(MediaLine<'_>, Section<'_>)> {
        let first = *self.media.get(index)?;
        let section = self.section(first, self.media.get(index + 1).copied());
        Some((MediaLine::parse(section.line(b'm')?)?, section))
    }

    /// The version in the `o=` line (RFC 8866 §5.2): 0 where there is none or it is no number.
    pub fn origin_version(&self) -> u64 {
        let origin = self
            .session()
            .line(b'o')
            .and_then(|o| std::str::from_utf8(o).ok());
        origin
            .and_then(|o| o.split_ascii_whitespace().nth(2)?.parse().ok())
            .unwrap_or(0)
    }

    fn section(&self, first: usize, end: Option<usize>) -> Section<'_> {
        Section {
            description: self,
            lines: &self.lines[first..end.unwrap_or(self.lines.len())],
        }
    }

    fn line(&self, span: &Span) -> Line<'_> {
        Line {
            kind: span.kind,
            value: &self.bytes[span.start..span.end],
        }
    }
}

/// Shows sizes only: a description may hold keys.
impl fmt::Debug for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SessionDescription({} lines, {} media)",
            self.lines.len(),
            self.media.len()
        )
    }
}

/// Lines that belong together: the session's, or those of one medium.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    description: &'a SessionDescription,
    lines: &'a [Span],
}

impl<'a> Section<'a> {
    /// The lines in order.
    pub fn lines(self) -> impl Iterator<Item = Line<'a>> {
        self.lines
            .iter()
            .map(move |span| self.description.line(span))
    }

    /// The value of the first line of this kind.
    pub fn line(self, kind: u8) -> Option<&'a [u8]> {
        self.lines()
            .find(|line| line.kind == kind)
            .map(|line| line.value)
    }

    /// The attributes in order: name, and the value behind the colon (RFC 8866 §5.13). Names are case-sensitive.
    pub fn attributes(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        self.lines().filter(|line| line.kind == b'a').map(|line| {
            match line.value.iter().position(|&b| b == b':') {
                Some(colon) => (&line.value[..colon], Some(&line.value[colon + 1..])),
                None => (line.value.trim_ascii_end(), None),
            }
        })
    }

    /// The values of all attributes of this name that are UTF-8, without outer blanks; empty if there is no colon.
    pub fn values(self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.attributes()
            .filter(move |(n, _)| *n == name.as_bytes())
            .filter_map(|(_, value)| {
                std::str::from_utf8(value.unwrap_or_default())
                    .ok()
                    .map(str::trim_ascii)
            })
    }

    /// Whether there is an attribute of this name.
    pub fn has(self, name: &str) -> bool {
        self.attributes().any(|(n, _)| n == name.as_bytes())
    }
}

/// RFC 8866 §5.14.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaLine<'a> {
    /// `audio`, `video`, …
    pub media: &'a str,
    /// 0: refused, or no longer wanted.
    pub port: u16,
    /// `RTP/AVP`, …
    pub profile: &'a str,
    /// What follows, for RTP a list of payload types.
    pub formats: &'a str,
}

impl<'a> MediaLine<'a> {
    fn parse(value: &'a [u8]) -> Option<Self> {
        let mut rest = std::str::from_utf8(value).ok()?;
        let mut token = || {
            rest = rest.trim_ascii_start();
            let (token, after) = rest.split_at(rest.find([' ', '\t']).unwrap_or(rest.len()));
            rest = after;
            (!token.is_empty()).then_some(token)
        };
        let (media, ports, profile) = (token()?, token()?, token()?);
        let (port, count) = ports.split_once('/').unwrap_or((ports, "1"));
        count.parse::<u16>().ok()?;
        Some(Self {
            media,
            port: digits(port)?,
            profile,
            formats: rest.trim_ascii(),
        })
    }
}

/// A number written in digits only; Rust's own parser would take a plus sign.
fn digits(text: &str) -> Option<u16> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> SdpError {
        SessionDescription::parse(text.to_owned()).expect_err("refused")
    }

    /// Latin-1, a 20-digit session id, a missing t=, LF alone, lines in the wrong order: all kept, all readable.
    #[test]
    fn what_peers_really_write_is_read() {
        let text = b"v=0\no=J\xf6rg 12345678901234567890 7 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\ns=\xe9\nx=new\n\
            m=audio 4000/2 RTP/AVP 0  8\na=foo:bar\na=sendonly \n\n";
        let description = SessionDescription::parse(&text[..]).unwrap();
        assert_eq!(description.bytes(), &text[..]);
        assert_eq!(description.session().line(b's'), Some(&b"\xe9"[..]));
        assert_eq!(description.session().line(b't'), None);
        let (media, section) = description.media(0).unwrap();
        assert_eq!(
            media,
            MediaLine {
                media: "audio",
                port: 4000,
                profile: "RTP/AVP",
                formats: "0  8"
            }
        );
        assert_eq!(section.values("foo").collect::<Vec<_>>(), ["bar"]);
        assert!(section.has("sendonly") && !section.has("Foo"));
        assert!(description.media(1).is_none());
    }

    #[test]
    fn an_origin_version_that_is_no_number_counts_as_zero() {
        let version = |o: &str| {
            SessionDescription::parse(format!("v=0\r\n{o}\r\n"))
                .unwrap()
                .origin_version()
        };
        assert_eq!(version("o=- 12345678901234567890 7 IN IP4 192.0.2.1"), 7);
        assert_eq!(version("o=- 1 seven IN IP4 192.0.2.1"), 0);
        assert_eq!(version("s=-"), 0);
    }

    #[test]
    fn what_is_no_description_is_refused_with_its_line() {
        assert_eq!(error(""), SdpError::NoVersion);
        assert_eq!(error("\r\n"), SdpError::NoVersion);
        assert_eq!(error("v=1\r\n"), SdpError::NoVersion);
        assert_eq!(
            error("o=- 1 1 IN IP4 192.0.2.1\r\nv=0\r\n"),
            SdpError::NoVersion
        );
        assert_eq!(error("v=0\r\nhello\r\n"), SdpError::NotALine(2));
        assert_eq!(error("v=0\r\n a=b\r\n"), SdpError::NotALine(2));
        assert_eq!(error("v=0\r\ns=a\rb\r\n"), SdpError::StrayControl(2));
        assert_eq!(error("v=0\r\ns=a\0\r\n"), SdpError::StrayControl(2));
        for m in [
            "",
            "audio",
            "audio 1",
            "audio x RTP/AVP 0",
            "audio 65536 RTP/AVP 0",
            "audio +5 RTP/AVP 0",
        ] {
            assert_eq!(
                error(&format!("v=0\r\nm={m}\r\n")),
                SdpError::MediaLine(2),
                "{m}"
            );
        }
    }

    #[test]
    fn sizes_are_limited() {
        assert_eq!(
            error(&format!("v=0\r\ns={}\r\n", "x".repeat(MAX_BYTES))),
            SdpError::TooLong
        );
        assert_eq!(
            error(&format!("v=0\r\n{}", "a=x\r\n".repeat(MAX_LINES))),
            SdpError::TooManyLines
        );
        assert_eq!(
            error(&format!("v=0\r\n{}", "m=audio 0 RTP/AVP 0\r\n".repeat(17))),
            SdpError::TooManyMedia
        );
        let most = format!("v=0\r\n{}", "a=x\r\n".repeat(MAX_LINES - 1));
        assert_eq!(
            SessionDescription::parse(most).unwrap().lines().count(),
            MAX_LINES
        );
    }

    #[test]
    fn debug_hides_keys() {
        let description =
            SessionDescription::parse("v=0\r\na=crypto:1 x inline:secret\r\n").unwrap();
        assert!(!format!("{description:?} {:?}", description.session()).contains("secret"));
    }
}
