//! Who a call was diverted by, in whichever of its three forms it came: History-Info (RFC 7044, and as Teams writes it,
//! TDR-306), Diversion (RFC 5806), or only a cause in the Request-URI (RFC 4458, TDR-303); and how a peer is told, in the
//! form that its profile wants (RFC 7544, TDR-307).

use bytes::Bytes;

use crate::directory::{CallHistory, Dialled};
use crate::sip::{Message, Name, NameAddr, Uri};

/// Somebody who handed the call on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Diversion {
    /// The number or name, without the host, which is somebody else's.
    pub user: String,
    /// Why, as an RFC 4458 cause.
    pub cause: u32,
    /// Whether the diverter does not want to be named.
    pub private: bool,
}

/// Diversions of one call; one with more goes round in circles (TDR-308).
pub(super) const MAX_DIVERSIONS: usize = 10;
/// RFC 4458 §4: nobody knows why.
const UNKNOWN: u32 = 404;

/// RFC 4458 §4 and RFC 5806 §4, joined as RFC 7544 §7 does; what stands first for one side is written.
const CAUSES: &[(u32, &str)] = &[
    (302, "unconditional"),
    (486, "user-busy"),
    (408, "no-answer"),
    (480, "deflection"),
    (487, "deflection"),
    (503, "unavailable"),
    (404, "unknown"),
];

/// All diversions that an INVITE tells of, the first one first. Those beyond one more than [`MAX_DIVERSIONS`] are left
/// out.
pub(super) fn of(invite: &Message) -> Vec<Diversion> {
    let mut found = from_history_info(invite);
    if found.is_empty() {
        found = from_diversion(invite);
    }
    if found.is_empty() {
        found.extend(from_request_uri(invite));
    }
    found.truncate(MAX_DIVERSIONS + 1);
    found
}

/// The cause in the Request-URI (RFC 4458 §2), if it is one.
pub(super) fn request_cause(invite: &Message) -> Option<u32> {
    cause_of(&Uri::parse(invite.request_uri()).ok()?)
}

/// The headers that tell a peer of diversions, in its own form. `host` is ours, `number` writes numbers as the peer wants
/// them, `called` is whom it is asked for.
pub(super) fn write(
    diversions: &[Diversion],
    form: CallHistory,
    host: &str,
    called: &str,
    number: impl Fn(&str) -> String,
) -> Vec<(Name, Bytes)> {
    let uri = |user: &str| {
        let user = super::core::escape(&number(user));
        format!("sip:{user}@{host};user=phone")
    };
    match form {
        CallHistory::Drop => Vec::new(),
        CallHistory::Diversion => diversions
            .iter()
            .rev()
            .map(|diversion| {
                let privacy = if diversion.private { "full" } else { "off" };
                let (uri, reason) = (uri(&diversion.user), reason(diversion.cause));
                let value = format!("<{uri}>;reason={reason};counter=1;privacy={privacy}");
                (Name::Diversion, value.into())
            })
            .collect(),
        CallHistory::HistoryInfo => {
            let Some(last) = diversions.last() else {
                return Vec::new();
            };
            let mut index = String::from("1");
            let mut lines = Vec::with_capacity(diversions.len() + 1);
            for diversion in diversions {
                let privacy = if diversion.private {
                    "&Privacy=history"
                } else {
                    ""
                };
                let (uri, cause) = (uri(&diversion.user), diversion.cause);
                let value = format!("<{uri}?Reason=SIP%3Bcause%3D{cause}{privacy}>;index={index}");
                lines.push((Name::HistoryInfo, value.into()));
                index.push_str(".1");
            }
            let target = format!("<{};cause={}>;index={index}", uri(called), last.cause);
            lines.push((Name::HistoryInfo, target.into()));
            lines
        }
    }
}

/// An entry diverted the call if it says why, or if the one behind it, at the end the Request-URI, does. Entries that
/// name no user are left out, as are those that cannot be read.
fn from_history_info(invite: &Message) -> Vec<Diversion> {
    let all_private = has_privacy(invite, "history");
    let values: Vec<_> = invite.values(Name::HistoryInfo).collect();
    let entries: Vec<Uri> = values
        .iter()
        .filter_map(|value| Uri::parse(NameAddr::parse(value.bytes()).ok()?.uri).ok())
        .collect();
    let last = request_cause(invite);
    let diverts = |(at, uri): (usize, &Uri)| {
        let next = match entries.get(at + 1) {
            Some(next) => cause_of(next),
            None => last.filter(|_| uri.user != request_user(invite)),
        };
        let headers = unescaped(uri.headers.unwrap_or_default());
        Some(Diversion {
            user: named(uri)?,
            cause: embedded_cause(&headers).or(next)?,
            private: all_private || lower(&headers).contains("privacy=history"),
        })
    };
    entries.iter().enumerate().filter_map(diverts).collect()
}

/// RFC 5806 §4: the last diversion stands first.
fn from_diversion(invite: &Message) -> Vec<Diversion> {
    let read = |value: &crate::sip::Value| {
        let address = NameAddr::parse(value.bytes()).ok()?;
        let param = |name| lower(address.params.get(name).flatten().unwrap_or_default());
        let reason = param("reason");
        let cause = CAUSES.iter().find(|(_, text)| *text == reason);
        Some(Diversion {
            user: named(&Uri::parse(address.uri).ok()?)?,
            cause: cause.map_or(UNKNOWN, |(cause, _)| *cause),
            private: !matches!(param("privacy").as_str(), "" | "off"),
        })
    };
    let mut found: Vec<_> = invite
        .values(Name::Diversion)
        .filter_map(|value| read(&value))
        .collect();
    found.reverse();
    found
}

/// RFC 4458 §2: `target` is whom the call was for at first.
fn from_request_uri(invite: &Message) -> Option<Diversion> {
    let uri = Uri::parse(invite.request_uri()).ok()?;
    let target = unescaped(uri.params.get("target").flatten()?);
    Some(Diversion {
        user: named(&Uri::parse(&target).ok()?)?,
        cause: cause_of(&uri)?,
        private: false,
    })
}

fn request_user(invite: &Message) -> Option<&str> {
    Uri::parse(invite.request_uri()).ok()?.user
}

fn named(uri: &Uri) -> Option<String> {
    let user = Dialled::parse(uri.user?).to_string();
    (!user.is_empty()).then_some(user)
}

fn cause_of(uri: &Uri) -> Option<u32> {
    status(uri.params.get("cause").flatten()?)
}

/// `Reason=SIP;cause=302;text="…"`, with its escapes taken off.
fn embedded_cause(headers: &str) -> Option<u32> {
    let headers = lower(headers);
    let reason = headers.split("reason=").nth(1)?.trim_start();
    let rest = reason.strip_prefix("sip")?.split("cause=").nth(1)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    status(digits)
}

fn status(text: &str) -> Option<u32> {
    text.parse().ok().filter(|cause| (300..700).contains(cause))
}

fn reason(cause: u32) -> &'static str {
    let known = CAUSES.iter().find(|(known, _)| *known == cause);
    known.map_or("unknown", |(_, text)| text)
}

/// Whether Privacy asks for this (RFC 3323 §4.2, RFC 3325 §9.3, RFC 7044 §10.1).
pub(super) fn has_privacy(message: &Message, wanted: &str) -> bool {
    let mut values = message.headers(Name::Privacy);
    values.any(|value| {
        let tokens = String::from_utf8_lossy(value.bytes()).into_owned();
        let mut tokens = tokens.split([';', ',']);
        tokens.any(|token| token.trim().eq_ignore_ascii_case(wanted))
    })
}

fn lower(text: &str) -> String {
    text.to_ascii_lowercase()
}

/// With its `%` escapes resolved, as far as they are ASCII.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let code = after
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                plain.push(char::from(code));
                rest = &after[2..];
            }
            None => {
                plain.push('%');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(uri: &str, headers: &str) -> Message {
        let text = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    fn diversion(user: &str, cause: u32, private: bool) -> Diversion {
        Diversion {
            user: user.into(),
            cause,
            private,
        }
    }

    /// TDR-306: Teams' own form, several in one line, one that wants to stay unnamed; an entry without a number and one
    /// without a cause divert nothing.
    #[test]
    fn history_info_as_teams_writes_it() {
        let header = "History-Info: <sip:+14255550111@sip.pstnhub.microsoft.com:5061;user=phone?Reason=SIP%3Bcause%3D302\
            %3Btext%3D%22Moved%20temporarily%22>;index=1,<sip:+14255550112@sip.pstnhub.microsoft.com?\
            Privacy=history&Reason=SIP%3Bcause%3D486>;index=1.1,<sip:sip.pstnhub.microsoft.com?Reason=SIP%3Bcause%3D302>;\
            index=1.2,<sip:+14255550113@a>;index=1.1.1\r\n";
        let wanted = [
            diversion("+14255550111", 302, false),
            diversion("+14255550112", 486, true),
        ];
        assert_eq!(of(&invite("sip:+14255550113@a", header)), wanted);
        let private = format!("{header}Privacy: id;history\r\n");
        assert!(of(&invite("sip:b@a", &private)).iter().all(|d| d.private));
    }

    /// RFC 7044 puts the cause into the URI that the call was diverted to; the Request-URI may hold the last.
    #[test]
    fn history_info_as_rfc_7044_has_it() {
        let header = "History-Info: <sip:+14255550111@a>;index=1\r\n\
            History-Info: <sip:+14255550112@a;cause=408>;index=1.1;mp=1\r\n";
        let found = of(&invite("sip:+14255550113@a;cause=486", header));
        let wanted = [
            diversion("+14255550111", 408, false),
            diversion("+14255550112", 486, false),
        ];
        assert_eq!(found, wanted);
        assert_eq!(of(&invite("sip:+14255550112@a;cause=408", header)).len(), 1);
    }

    /// TDR-303: only a cause, with the first target or without.
    #[test]
    fn a_cause_in_the_request_uri() {
        let with = invite("sip:+1425@a;target=sip%3A%2B14255550111%40a;cause=302", "");
        assert_eq!(of(&with), [diversion("+14255550111", 302, false)]);
        let without = invite("sip:+1425@a;cause=302", "");
        assert_eq!(
            (of(&without).len(), request_cause(&without)),
            (0, Some(302))
        );
        assert_eq!(request_cause(&invite("sip:+1425@a;cause=9", "")), None);
    }

    /// TDR-307: each form becomes the other, and keeps order, reasons and wishes.
    #[test]
    fn each_form_becomes_the_other() {
        let header = "Diversion: <tel:+14255550112>;reason=user-busy;privacy=full, \
            <sip:+14255550111@a>;reason=\"unconditional\"\r\n";
        let found = of(&invite("sip:b@a", header));
        let wanted = [
            diversion("+14255550111", 302, false),
            diversion("+14255550112", 486, true),
        ];
        assert_eq!(found, wanted);
        for form in [CallHistory::HistoryInfo, CallHistory::Diversion] {
            let lines = write(&found, form, "sbc.example", "+14255550113", str::to_owned);
            let headers: String = lines
                .iter()
                .map(|(name, value)| format!("{name}: {}\r\n", String::from_utf8_lossy(value)))
                .collect();
            assert!(
                !headers.contains("@a"),
                "hosts of others stay away: {headers}"
            );
            assert_eq!(
                of(&invite("sip:+14255550113@b", &headers)),
                wanted,
                "{headers}"
            );
        }
        assert!(write(&found, CallHistory::Drop, "h", "c", str::to_owned).is_empty());
    }

    /// What cannot be read is left out, and what goes on for ever ends.
    #[test]
    fn nonsense_diverts_nothing() {
        for header in [
            "History-Info: ;;;,<>,<sip:>,\"\r\n",
            "Diversion: <sip:a\r\n",
            "History-Info: <sip:+1@a?Reason=Q.850%3Bcause%3D16>;index=1\r\n",
            "History-Info: <sip:+1@a?Reason=SIP%3Bcause%3D99999999999>;index=1\r\n",
            "History-Info: <sip:+1@a?%zz%e4%=%>;index=1\r\n",
        ] {
            assert_eq!(of(&invite("sip:b@a", header)), [], "{header}");
        }
        let long = "Diversion: <sip:+14255550111@a>;reason=x\r\n".repeat(50);
        let found = of(&invite("sip:b@a", &long));
        assert_eq!((found.len(), found[0].cause), (MAX_DIVERSIONS + 1, UNKNOWN));
    }
}
