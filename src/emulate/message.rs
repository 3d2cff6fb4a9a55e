//! SIP messages of the emulators, read by `rsip` and printed through it.
//!
//! `rsip` knows no compact names, no folding and takes any Content-Length; [`Message::parse`] puts a message into the
//! plain form that it reads, and judges lengths itself, before `rsip` sees it.

use std::net::SocketAddr;

use bytes::Bytes;
use rsip::{Headers, SipMessage};

/// A message larger than this is not read.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// No empty line ends the head, a header has no colon, or the text is not UTF-8.
    #[error("not a SIP message")]
    Syntax,
    /// Content-Length is missing on a stream, no number, stated twice, or longer than what came.
    #[error("the Content-Length is missing or wrong")]
    Length,
    /// What `rsip` says.
    #[error("rsip refuses it: {0}")]
    Rsip(String),
}

/// The start line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Method and Request-URI, the latter byte for byte.
    Request {
        /// In capitals.
        method: String,
        /// As received.
        uri: String,
    },
    /// Status and reason phrase.
    Response {
        /// 100 to 699.
        status: u16,
    },
}

/// A message that was received.
#[derive(Debug, Clone)]
pub struct Message {
    /// The start line.
    pub start: Start,
    /// Names in their long form and values, in their order.
    headers: Vec<(String, String)>,
    /// What follows the empty line.
    pub body: Bytes,
    /// All of it, as received.
    pub text: String,
}

impl Message {
    /// Reads one message. On a stream Content-Length must be there; in a datagram the body goes to its end without one.
    pub fn parse(bytes: &[u8], stream: bool) -> Result<Self, MessageError> {
        let end = head_length(bytes).ok_or(MessageError::Syntax)?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| MessageError::Syntax)?;
        let lines = unfold(head);
        let (start, lines) = lines.split_first().ok_or(MessageError::Syntax)?;
        let mut plain = format!("{}\r\n", plain_start(start));
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(MessageError::Syntax)?;
            plain += &format!("{}: {}\r\n", long_name(name.trim_end()), value.trim());
        }
        plain += "\r\n";
        let length = content_length(lines)?;
        let rest = &bytes[end..];
        let body = match length {
            Some(length) => rest.get(..length).ok_or(MessageError::Length)?,
            None if stream => return Err(MessageError::Length),
            None => rest,
        };
        let message =
            SipMessage::try_from(plain.as_str()).map_err(|e| MessageError::Rsip(e.to_string()))?;
        let (start, headers) = match message {
            SipMessage::Request(request) => {
                let uri = start
                    .split(' ')
                    .nth(1)
                    .ok_or(MessageError::Syntax)?
                    .to_owned();
                (
                    Start::Request {
                        method: request.method.to_string(),
                        uri,
                    },
                    request.headers,
                )
            }
            SipMessage::Response(response) => (
                Start::Response {
                    status: response.status_code.code(),
                },
                response.headers,
            ),
        };
        Ok(Self {
            start,
            headers: headers
                .iter()
                .filter_map(|h| {
                    h.to_string()
                        .split_once(':')
                        .map(|(n, v)| (n.to_owned(), v.trim().to_owned()))
                })
                .collect(),
            body: Bytes::copy_from_slice(body),
            text: String::from_utf8_lossy(bytes).into_owned(),
        })
    }

    /// What a server does with the topmost Via on receipt (RFC 3261 §18.2.1, RFC 3581 §4); returns where answers go in datagrams.
    pub fn stamp(&mut self, from: SocketAddr) -> SocketAddr {
        let Some((_, via)) = self
            .headers
            .iter_mut()
            .find(|(n, _)| n.eq_ignore_ascii_case("Via"))
        else {
            return from;
        };
        let (top, rest) = via
            .split_once(',')
            .map_or((via.as_str(), None), |(top, rest)| (top, Some(rest)));
        let sent_by = top
            .split_ascii_whitespace()
            .nth(1)
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default();
        let (_, port) = host_of(&format!("sip:{sent_by}"));
        let (stamped, back) = match parameter(top, "rport") {
            Some("") => (
                top.replacen(
                    ";rport",
                    &format!(";rport={};received={}", from.port(), from.ip()),
                    1,
                ),
                from,
            ),
            _ => (
                format!("{top};received={}", from.ip()),
                SocketAddr::new(from.ip(), port.unwrap_or(5060)),
            ),
        };
        *via = stamped + &rest.map(|rest| format!(",{rest}")).unwrap_or_default();
        back
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The values of all headers of this name, a line each.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The method of a request, or the one of a response's CSeq, in capitals.
    pub fn method(&self) -> &str {
        match &self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => self
                .header("CSeq")
                .and_then(|c| c.split_ascii_whitespace().nth(1))
                .unwrap_or_default(),
        }
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { status } => Some(status),
            Start::Request { .. } => None,
        }
    }

    /// The Request-URI, empty for a response.
    pub fn uri(&self) -> &str {
        match &self.start {
            Start::Request { uri, .. } => uri,
            Start::Response { .. } => "",
        }
    }

    /// The number of CSeq; 0 when there is none.
    pub fn sequence(&self) -> u32 {
        self.header("CSeq")
            .and_then(|c| c.split_ascii_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }

    /// The Call-ID; empty when there is none.
    pub fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or_default()
    }

    /// The branch of the topmost Via.
    pub fn branch(&self) -> &str {
        self.header("Via")
            .and_then(|v| parameter(v.split(',').next()?, "branch"))
            .unwrap_or_default()
    }

    /// Whether a header of this name lists `token`.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|v| v.split(','))
            .any(|t| t.trim().eq_ignore_ascii_case(token))
    }

    /// The start line, for traces.
    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct Draft {
    start: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Draft {
    /// A request without any header.
    pub fn request(method: &str, uri: &str) -> Self {
        Self {
            start: format!("{method} {uri} SIP/2.0"),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// RFC 3261 §8.2.6.2. `tag` goes to a To that has none, but for a 100.
    pub fn response(request: &Message, status: u16, reason: &str, tag: &str) -> Self {
        let mut draft = Self {
            start: format!("SIP/2.0 {status} {reason}"),
            headers: Vec::new(),
            body: String::new(),
        };
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            for value in request.all(name) {
                let bare = name == "To" && status > 100 && tag_of(value).is_none();
                draft.push(
                    name,
                    if bare {
                        format!("{value};tag={tag}")
                    } else {
                        value.to_owned()
                    },
                );
            }
        }
        draft
    }

    /// Adds a header. What would end the line is left out of its value.
    pub fn push(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.headers
            .push((name.to_owned(), value.into().replace(['\r', '\n'], "")));
        self
    }

    /// Adds a body.
    pub fn body(&mut self, content_type: &str, body: impl Into<String>) -> &mut Self {
        self.body = body.into();
        self.push("Content-Type", content_type)
    }

    /// The bytes, with a `Via` on top if it is a request's, and header names in capitals as Teams writes them (TDR-206).
    pub fn print(&self, via: Option<&str>, capitals: bool) -> Bytes {
        let mut headers = Headers::default();
        let length = self.body.len().to_string();
        let via = via.map(|via| ("Via", via)).into_iter();
        let rest = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in via.chain(rest).chain([("Content-Length", length.as_str())]) {
            let name = if capitals && name != "CSeq" {
                name.to_uppercase()
            } else {
                name.to_owned()
            };
            headers.push(rsip::Header::Other(name, value.to_owned()));
        }
        Bytes::from(format!("{}\r\n{headers}\r\n{}", self.start, self.body))
    }
}

/// A start line with a Request-URI that `rsip` reads: it knows few of the characters that parameters may have, and no
/// address in brackets, so it gets the host alone, or any. The whole URI is kept by ourselves.
fn plain_start(start: &str) -> String {
    match start.split(' ').collect::<Vec<_>>()[..] {
        [method, uri, version] if uri.contains(':') && !method.starts_with("SIP/") => {
            let host = Some(host_of(uri).0).filter(|host| !host.contains(':'));
            let host = host.as_deref().unwrap_or("address.invalid");
            format!("{method} sip:{host} {version}")
        }
        _ => start.to_owned(),
    }
}

/// The length of start line and headers with the empty line, once that is there.
pub fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// What the Content-Length of these lines says. Two that agree are one.
pub fn content_length(lines: &[String]) -> Result<Option<usize>, MessageError> {
    let mut found = None;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if !long_name(name.trim_end()).eq_ignore_ascii_case("Content-Length") {
            continue;
        }
        let digits = value.trim();
        let number = digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())
            .flatten();
        let number = number
            .filter(|n| *n <= MAX_MESSAGE)
            .ok_or(MessageError::Length)?;
        if found.replace(number).is_some_and(|before| before != number) {
            return Err(MessageError::Length);
        }
    }
    Ok(found)
}

/// The lines of a head, folded ones joined (RFC 3261 §7.3.1).
pub fn unfold(head: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in head.split("\r\n").filter(|line| !line.is_empty()) {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// RFC 3261 §7.3.3 and the registry's later ones.
fn long_name(name: &str) -> &str {
    match name {
        "i" | "I" => "Call-ID",
        "m" | "M" => "Contact",
        "e" | "E" => "Content-Encoding",
        "l" | "L" => "Content-Length",
        "c" | "C" => "Content-Type",
        "f" | "F" => "From",
        "s" | "S" => "Subject",
        "k" | "K" => "Supported",
        "t" | "T" => "To",
        "v" | "V" => "Via",
        "x" | "X" => "Session-Expires",
        "r" | "R" => "Refer-To",
        "b" | "B" => "Referred-By",
        "o" | "O" => "Event",
        other => other,
    }
}

/// The URI of a name-addr or addr-spec, without its brackets; the parameters of a bare addr-spec belong to the header.
pub fn uri_of(value: &str) -> &str {
    let quoted = value
        .trim_start()
        .strip_prefix('"')
        .and_then(|rest| rest.find('"').map(|end| &rest[end + 1..]));
    let value = quoted.unwrap_or(value);
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
        None => value.split(';').next().unwrap_or_default().trim(),
    }
}

/// The `tag` of a From or To.
pub fn tag_of(value: &str) -> Option<&str> {
    parameter(value.rsplit('>').next()?, "tag")
}

/// The value of `name` among `;`-separated parameters; empty if it is there without a value.
pub fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(';').skip(1).find_map(|p| {
        let (n, value) = p.split_once('=').unwrap_or((p, ""));
        n.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The host of a URI, without brackets and in lower case, and its port.
pub fn host_of(uri: &str) -> (String, Option<u16>) {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let place = rest.split_once('@').map_or(rest, |(_, place)| place);
    let place = place.split([';', '?']).next().unwrap_or_default();
    if let Some((host, after)) = place.strip_prefix('[').and_then(|p| p.split_once(']')) {
        return (
            host.to_ascii_lowercase(),
            after.strip_prefix(':').and_then(|p| p.parse().ok()),
        );
    }
    match place.split_once(':') {
        Some((host, port)) => (host.to_ascii_lowercase(), port.parse().ok()),
        None => (place.to_ascii_lowercase(), None),
    }
}

/// The user part of a URI, without its parameters; empty if there is none.
pub fn user_of(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.rsplit_once('@').map_or("", |(user, _)| {
        user.split([';', ':']).next().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:+4420@contoso.sbc.example:5061;user=phone;x-i=Ab%2f SIP/2.0\r\nv: SIP/2.0/TLS a.example;\r\n branch=z9hG4bK7\r\n\
        f: \"Smith; tag=9\" <sip:+44@a.example>;tag=1\r\nt: <sip:+4420@a.example>\r\ni: abc@d\r\nCSeq : 7 INVITE\r\nl: 4\r\n\r\nbodyrest";

    /// Compact names, folding and blanks before the colon are read; the Request-URI keeps every byte; what follows the body is cut.
    #[test]
    fn what_rsip_cannot_read_is_made_plain() {
        let message = Message::parse(INVITE.as_bytes(), true).unwrap();
        assert_eq!(
            message.uri(),
            "sip:+4420@contoso.sbc.example:5061;user=phone;x-i=Ab%2f"
        );
        assert_eq!(
            (message.branch(), message.call_id(), message.sequence()),
            ("z9hG4bK7", "abc@d", 7)
        );
        assert_eq!(message.header("from").and_then(tag_of), Some("1"));
        assert_eq!(message.body, "body".as_bytes());
        let six = INVITE.replace("contoso.sbc.example", "[2001:db8::1]");
        let message = Message::parse(six.as_bytes(), true).unwrap();
        assert!(message.uri().starts_with("sip:+4420@[2001:db8::1]:5061;"));
    }

    /// Lengths that could split a message in two ways are refused.
    #[test]
    fn a_doubtful_length_is_refused() {
        let doubt = |length: &str| {
            Message::parse(INVITE.replace("l: 4", length).as_bytes(), true).unwrap_err()
        };
        for length in [
            "l: 4\r\nContent-Length: 5",
            "l: +4",
            "l: 9",
            "Subject: none",
        ] {
            assert_eq!(doubt(length), MessageError::Length, "{length}");
        }
    }

    /// Brackets, quotes, ports and user parts are told apart.
    #[test]
    fn uris_are_taken_apart() {
        assert_eq!(uri_of("\"a <b>\" <sip:x@y;z=1>;tag=2"), "sip:x@y;z=1");
        assert_eq!(uri_of("sip:x@y;tag=2"), "sip:x@y");
        assert_eq!(
            host_of("sip:+1;ext=2@[::1]:5070;transport=tcp"),
            ("::1".to_owned(), Some(5070))
        );
        assert_eq!(
            host_of("sip:Host.Example"),
            ("host.example".to_owned(), None)
        );
        assert_eq!(user_of("sip:+1;ext=2@h"), "+1");
        assert_eq!(user_of("sip:h:5060"), "");
    }

    /// With rport an answer goes back to where the request came from, without it to the port of the Via.
    #[test]
    fn a_via_is_stamped() {
        let from: SocketAddr = "192.0.2.7:4444".parse().unwrap();
        let stamp = |via: &str| {
            let mut message = Message::parse(
                INVITE.replace("a.example;\r\n branch", via).as_bytes(),
                true,
            )
            .unwrap();
            (
                message.stamp(from),
                message.header("Via").unwrap().to_owned(),
            )
        };
        let (back, via) = stamp("10.0.0.1:5070;rport;branch");
        assert_eq!(
            (back, via.as_str()),
            (
                from,
                "SIP/2.0/TLS 10.0.0.1:5070;rport=4444;received=192.0.2.7;branch=z9hG4bK7"
            )
        );
        assert_eq!(
            stamp("10.0.0.1:5070;branch").0,
            "192.0.2.7:5070".parse().unwrap()
        );
    }

    /// A printed response names the request's dialog, adds the tag once and cannot be split by a value.
    #[test]
    fn a_response_carries_the_request_s_headers() {
        let request = Message::parse(INVITE.as_bytes(), true).unwrap();
        let mut draft = Draft::response(&request, 486, "Busy Here", "me");
        draft.push("Reason", "Q.850;cause=17\r\nEvil: yes");
        let response = Message::parse(&draft.print(None, true), true).unwrap();
        assert_eq!(
            (response.status(), response.sequence(), response.method()),
            (Some(486), 7, "INVITE")
        );
        assert_eq!(response.header("To").and_then(tag_of), Some("me"));
        assert_eq!(response.header("Evil"), None);
        assert!(response.text.contains("\r\nCALL-ID: abc@d\r\n"));
    }
}
