//! OPTIONS to a peer and its answer, and our own answer to OPTIONS of Teams (TDR-202, TDR-207, TDR-1503).

use bytes::Bytes;

use super::Check;
use super::reason::meaning;
use crate::sip::{Builder, Hop, Message, Method, Name, Realm, Transport, Uri};

/// Name of the check of a peer's answer.
pub const ANSWER: &str = "OPTIONS";
/// Name of the check of our own answer.
pub const OWN: &str = "our answer to OPTIONS";

/// Who asks.
#[derive(Debug, Clone)]
pub struct Asker {
    /// A FQDN towards Teams, else our name or address.
    pub host: String,
    /// Ours.
    pub port: u16,
    /// User-Agent.
    pub product: String,
    /// For Teams.
    pub x_ms_sbc: String,
}

/// TDR-202: no user part anywhere, our name in From and Contact. `unique` becomes branch, tag and Call-ID.
pub fn request(asker: &Asker, hop: &Hop, transport: Transport, unique: &str) -> Bytes {
    large(asker, hop, transport, unique, 0)
}

/// The same with as many bytes at least, and not many more.
pub fn large(asker: &Asker, hop: &Hop, transport: Transport, unique: &str, bytes: usize) -> Bytes {
    let host = if hop.host.contains(':') {
        format!("[{}]", hop.host)
    } else {
        hop.host.clone()
    };
    let port = hop.port.map(|port| format!(":{port}")).unwrap_or_default();
    let own = format!("{}:{}", asker.host, asker.port);
    let parameter = match transport {
        Transport::Udp => String::new(),
        _ => format!(";transport={transport}"),
    };
    let mut draft = Builder::request(Method::Options, &format!("sip:{host}{port}{parameter}"));
    draft
        .header(Name::MaxForwards, "70")
        .header_fmt(Name::From, format_args!("<sip:{own}>;tag=d{unique}"))
        .header_fmt(Name::To, format_args!("<sip:{host}{port}>"))
        .header_fmt(Name::CallId, format_args!("doctor-{unique}"))
        .header(Name::CSeq, "1 OPTIONS")
        .header_fmt(Name::Contact, format_args!("<sip:{own}{parameter}>"))
        .header(
            Name::Allow,
            "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY, REFER",
        )
        .header(Name::UserAgent, &asker.product);
    if hop.realm == Realm::Teams {
        draft.header(Name::Extension("X-MS-SBC"), &asker.x_ms_sbc);
    }
    let rport = if transport == Transport::Udp {
        ";rport"
    } else {
        ""
    };
    let via = format!(
        "SIP/2.0/{} {own};branch=z9hG4bK{unique}{rport}",
        transport.via()
    );
    let missing = bytes.saturating_sub(draft.finish(Some(&via)).bytes().len());
    if missing > 0 {
        draft.header(Name::Subject, "-".repeat(missing));
    }
    draft.finish(Some(&via)).bytes().clone()
}

/// What a peer answered. From Teams only 200 will do (TDR-210); from a trunk anything that shows that somebody is there.
pub fn answer(to: &str, realm: Realm, answer: &Result<Bytes, String>) -> Check {
    let bytes = match answer {
        Ok(bytes) => bytes,
        Err(why) => {
            let remedy = "look at the checks before this one: address, firewall, certificate; Teams also drops who is unknown to it (TDR-210)";
            return Check::fault(ANSWER, format!("{to}: {why}"), remedy);
        }
    };
    let Ok(message) = Message::parse(bytes.clone()) else {
        return Check::fault(
            ANSWER,
            format!("{to} answers what is no SIP"),
            "is it a SIP peer at all?",
        );
    };
    let status = message.status();
    let phrase = String::from_utf8_lossy(message.reason()).into_owned();
    let reasons = message.headers(Name::Reason).filter_map(|v| v.text());
    let words: Vec<&str> = std::iter::once(phrase.as_str()).chain(reasons).collect();
    let said = format!("{to} answers {status} {}", words.join(" "));
    match (status, realm) {
        (200..=299, _) => Check::ok(ANSWER, said),
        (408 | 500..=599, Realm::Trunk) => Check::fault(
            ANSWER,
            said,
            "the peer is there and does not serve: ask whoever runs it",
        ),
        (401 | 403 | 407, Realm::Trunk) => Check::warning(
            ANSWER,
            said,
            "the peer may not know our address or credentials: compare them with its side",
        ),
        (_, Realm::Trunk) => Check::ok(ANSWER, said),
        (_, Realm::Teams) => match meaning(status, words.iter().copied()) {
            Some(meaning) => {
                Check::fault(ANSWER, format!("{said}: {}", meaning.cause), meaning.remedy)
            }
            None => Check::fault(
                ANSWER,
                said,
                "see Microsoft's list of SIP response codes for Direct Routing",
            ),
        },
    }
}

/// OPTIONS as Teams sends it to a name of ours.
pub fn of_teams(fqdn: &str, port: u16) -> Bytes {
    let mut draft = Builder::request(Method::Options, &format!("sip:{fqdn}:{port};transport=tls"));
    draft
        .header(Name::MaxForwards, "70")
        .header(
            Name::From,
            "<sip:sip-du-a-eu.pstnhub.microsoft.com:5061>;tag=doctor",
        )
        .header_fmt(Name::To, format_args!("<sip:{fqdn}:{port}>"))
        .header(Name::CallId, "doctor")
        .header(Name::CSeq, "1 OPTIONS")
        .header(
            Name::Contact,
            "<sip:sip-du-a-eu.pstnhub.microsoft.com:5061;transport=tls>",
        );
    let via = "SIP/2.0/TLS 52.112.0.1:5061;branch=z9hG4bKdoctor";
    draft.finish(Some(via)).bytes().clone()
}

/// TDR-207, TDR-1503: 200, with the FQDN that was asked for in Contact, and REFER in Allow.
pub fn own_answer(fqdn: &str, port: u16, answer: Option<&Message>) -> Check {
    let Some(answer) = answer else {
        return Check::fault(OWN, "we would not answer", "this is a defect of Tollgate");
    };
    let status = answer.status();
    let contact = answer.contact().ok().flatten();
    let contact = contact.and_then(|c| Uri::parse(c.uri).ok().map(|u| (u.host.to_owned(), u.port)));
    let refer = answer.has_token(Name::Allow, "REFER");
    let shown = contact.as_ref().map_or("none".to_owned(), |(host, port)| {
        format!(
            "{host}:{}",
            port.map_or_else(|| "-".to_owned(), |p| p.to_string())
        )
    });
    let evidence = format!(
        "to OPTIONS for {fqdn} we answer {status}, Contact {shown}, REFER {}",
        if refer { "allowed" } else { "not allowed" }
    );
    if status != 200 {
        return Check::fault(
            OWN,
            evidence,
            "Teams takes the trunk for down: is the name that of a region or gateway, and teams.address_ranges complete?",
        );
    }
    if contact
        .as_ref()
        .is_none_or(|(host, of)| !host.eq_ignore_ascii_case(fqdn) || *of != Some(port))
    {
        return Check::fault(
            OWN,
            evidence,
            "the Contact must be the FQDN and port that Teams dials: add the region or gateway of this name (TDR-207)",
        );
    }
    if !refer {
        return Check::warning(
            OWN,
            evidence,
            "without REFER Teams transfers calls by itself (TDR-1503)",
        );
    }
    Check::ok(OWN, evidence)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn response(status: &str, headers: &str) -> Bytes {
        format!("SIP/2.0 {status}\r\nVia: SIP/2.0/TLS x;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n{headers}Content-Length: 0\r\n\r\n").into()
    }

    fn asker() -> Asker {
        Asker {
            host: "sbc.example".into(),
            port: 5061,
            product: "Tollgate/1".into(),
            x_ms_sbc: "T/T/1".into(),
        }
    }

    /// TDR-202, TDR-203: no user part, our FQDN in Contact; it parses.
    #[test]
    fn our_options_keep_to_the_rules() {
        let hop = Hop {
            host: "sip.pstnhub.microsoft.com".into(),
            port: Some(5061),
            transport: Some(Transport::Tls),
            realm: Realm::Teams,
        };
        let message = Message::parse(request(&asker(), &hop, Transport::Tls, "1")).unwrap();
        assert!(message.check().is_ok());
        assert_eq!(
            message.contact().unwrap().unwrap().uri,
            "sip:sbc.example:5061;transport=tls"
        );
        assert!(!String::from_utf8_lossy(message.bytes()).contains('@'));
    }

    /// From Teams only 200 will do, and a refusal is decoded (TDR-203, TDR-210); a trunk only has to be there.
    #[test]
    fn answers_are_judged_by_who_gives_them() {
        let reason =
            "Reason: Q.850;cause=63;text=\"Record-Route and Contact headers are missing\"\r\n";
        for (realm, bytes, expected, word) in [
            (Realm::Teams, Ok(response("200 OK", "")), Verdict::Ok, "200"),
            (
                Realm::Teams,
                Ok(response("403 Forbidden", "")),
                Verdict::Fault,
                "address in Contact",
            ),
            (
                Realm::Teams,
                Ok(response("403 Forbidden", reason)),
                Verdict::Fault,
                "without Contact",
            ),
            (
                Realm::Teams,
                Err("no answer in time".to_owned()),
                Verdict::Fault,
                "no answer",
            ),
            (Realm::Trunk, Ok(response("405 No", "")), Verdict::Ok, "405"),
            (
                Realm::Trunk,
                Ok(response("403 No", "")),
                Verdict::Warning,
                "403",
            ),
            (
                Realm::Trunk,
                Ok(response("503 No", "")),
                Verdict::Fault,
                "503",
            ),
            (
                Realm::Trunk,
                Ok("HTTP/1.1 400\r\n\r\n".into()),
                Verdict::Fault,
                "no SIP",
            ),
        ] {
            let check = answer("peer", realm, &bytes);
            assert!(
                check.verdict == expected && check.evidence.contains(word),
                "{check:?}"
            );
        }
    }

    /// TDR-207, TDR-1503: the FQDN and port that were asked for in Contact, and REFER allowed.
    #[test]
    fn our_own_answer_is_judged() {
        for (headers, expected) in [
            (
                "Contact: <sip:sbc.example:5061;transport=tls>\r\nAllow: INVITE, REFER\r\n",
                Verdict::Ok,
            ),
            (
                "Contact: <sip:sbc.example:5061;transport=tls>\r\nAllow: INVITE\r\n",
                Verdict::Warning,
            ),
            (
                "Contact: <sip:192.0.2.1:5061;transport=tls>\r\nAllow: REFER\r\n",
                Verdict::Fault,
            ),
            (
                "Contact: <sip:sbc.example:5060;transport=tls>\r\nAllow: REFER\r\n",
                Verdict::Fault,
            ),
            ("Allow: REFER\r\n", Verdict::Fault),
        ] {
            let message = Message::parse(response("200 OK", headers)).unwrap();
            assert_eq!(
                own_answer("sbc.example", 5061, Some(&message)).verdict,
                expected,
                "{headers}"
            );
        }
        let refused = Message::parse(response("403 Forbidden", "")).unwrap();
        assert_eq!(
            own_answer("sbc.example", 5061, Some(&refused)).verdict,
            Verdict::Fault
        );
    }
}
