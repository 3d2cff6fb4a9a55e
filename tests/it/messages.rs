//! What a SIP parser must be able to read and must refuse, one probe after another; what holds for messages of any
//! bytes; and the same messages read by another implementation.
#![allow(clippy::unwrap_used)] // not all of a test is inside #[test]

use bytes::Bytes;
use proptest::prelude::*;
use tollgate::sip::framing::{Frame, StreamFramer};
use tollgate::sip::{Builder, HeaderError, Message, Method, Name, NameAddr, ParseError, Uri};

#[path = "../../fuzz/properties/message.rs"]
pub mod message;
#[path = "../../fuzz/properties/stream.rs"]
pub mod stream;

/// An INVITE with these lines above the usual ones, and this body.
fn invite(lines: &str, body: &str) -> Vec<u8> {
    let mut bytes = b"INVITE sip:bob@b.example SIP/2.0\r\n".to_vec();
    bytes.extend(lines.chars().map(|c| u8::try_from(c).expect("Latin-1")));
    for (name, line) in [
        ("v", "Via: SIP/2.0/UDP a.example;branch=z9hG4bK1"),
        ("f", "From: <sip:ann@a.example>;tag=1"),
        ("t", "To: <sip:bob@b.example>"),
        ("i", "Call-ID: 1@a.example"),
        ("cseq", "CSeq: 1 INVITE"),
        ("m", "Contact: <sip:ann@a.example>"),
    ] {
        let full = line.split(':').next().unwrap();
        let given = |given: &str| {
            given.trim_end().eq_ignore_ascii_case(name)
                || given.trim_end().eq_ignore_ascii_case(full)
        };
        if !lines
            .lines()
            .any(|line| given(line.split(':').next().unwrap()))
        {
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

fn datagram(bytes: impl Into<Vec<u8>>) -> Result<Message, ParseError> {
    Message::parse_datagram(Bytes::from(bytes.into()))
}

fn sound(lines: &str) -> Message {
    let message = datagram(invite(lines, "")).unwrap();
    message.check().unwrap();
    message
}

fn refused(lines: &str) -> HeaderError {
    datagram(invite(lines, ""))
        .unwrap()
        .check()
        .expect_err("the check refuses it")
}

/// What a stream makes of these bytes: a frame, nothing yet, or an end.
fn framed(bytes: &[u8]) -> Option<Result<Frame, ParseError>> {
    let mut framer = StreamFramer::new();
    framer.push(bytes);
    framer.next().map(|frame| frame.map_err(|error| error.0))
}

#[test]
fn compact_names() {
    let message = sound(
        "v: SIP/2.0/UDP c.example;branch=z9hG4bK2\r\nf: <sip:x@y>;tag=2\r\nt: <sip:z@y>\r\ni: 2\r\nm: <sip:x@y:5>\r\nk: timer, Replaces\r\n",
    );
    assert_eq!(message.via().unwrap().host, "c.example");
    assert_eq!(
        (message.from_tag(), message.call_id()),
        (Some("2"), Ok("2"))
    );
    assert_eq!(message.contact().unwrap().unwrap().uri, "sip:x@y:5");
    assert!(
        message.has_token(Name::Supported, "replaces")
            && !message.has_token(Name::Supported, "time")
    );
}

#[test]
fn folding_and_blanks_before_the_colon() {
    let message = sound(
        "Subject : one\r\n\ttwo\r\n  three \r\nFrom   :\r\n <sip:ann@a.example>\r\n ;tag=7\r\n",
    );
    assert_eq!(
        message.header(Name::Subject).unwrap(),
        "one\r\n\ttwo\r\n  three"
    );
    assert_eq!(message.from_tag(), Some("7"));
}

#[test]
fn two_vias_in_one_line_and_blanks_around_slashes() {
    let message = sound(
        "Via: SIP / 2.0 / UDP one:5062 ;branch=z9hG4bK2,SIP/2.0/TCP two\r\nVia: SIP/2.0/TLS three\r\n",
    );
    assert_eq!(
        (message.via().unwrap().host, message.via().unwrap().port),
        ("one", Some(5062))
    );
    assert_eq!(
        (
            message.values(Name::Via).count(),
            message.headers(Name::Via).count()
        ),
        (3, 2)
    );
    let response = Builder::response(&message, 200, "").finish(None);
    assert!(response.headers(Name::Via).eq(message.headers(Name::Via)));
}

#[test]
fn ipv6_in_via_and_contact() {
    let message = sound(
        "Via: SIP/2.0/UDP [2001:db8::1]:5070;branch=z9hG4bK2;received=2001:db8::2\r\nContact: <sip:ann@[2001:db8::1]:5071>\r\n",
    );
    assert_eq!(
        (message.via().unwrap().host, message.via().unwrap().port),
        ("2001:db8::1", Some(5070))
    );
    assert_eq!(message.via().unwrap().received, Some("2001:db8::2"));
    let contact = Uri::parse(message.contact().unwrap().unwrap().uri).unwrap();
    assert_eq!((contact.host, contact.port), ("2001:db8::1", Some(5071)));
}

#[test]
fn a_comma_and_latin_1_in_a_quoted_display_name() {
    let message = sound("From: \"J\u{fc}rgen, \\\"J\\\"\" <sip:j@a.example>;tag=3\r\n");
    assert_eq!(
        message.from().unwrap().display,
        Some(b"\"J\xfcrgen, \\\"J\\\"\"".as_slice())
    );
    let response = Builder::response(&message, 486, "").finish(None);
    assert_eq!(response.header(Name::From), message.header(Name::From));
}

#[test]
fn a_from_without_angle_brackets() {
    let message = sound("From: sip:ann@a.example;tag=4\r\n");
    assert_eq!(
        (message.from().unwrap().uri, message.from_tag()),
        ("sip:ann@a.example", Some("4"))
    );
}

#[test]
fn a_contact_of_all_contacts() {
    let text = String::from_utf8(invite("Contact: *\r\nCSeq: 9 REGISTER\r\n", "")).unwrap();
    let register = datagram(text.replacen("INVITE", "REGISTER", 1)).unwrap();
    register.check().unwrap();
    assert_eq!(register.contact().unwrap().unwrap().uri, "*");
    assert_eq!(refused("Contact: *\r\n").name, Name::Contact);
}

#[test]
fn other_schemes_in_the_request_uri() {
    for uri in [
        "tel:+1-555-0100;phone-context=a",
        "urn:service:sos",
        "sip:*21#@a.example",
        "sip:a.example",
        "sips:a@[::1]",
    ] {
        let text = String::from_utf8(invite("", ""))
            .unwrap()
            .replacen("sip:bob@b.example", uri, 1);
        let message = datagram(text).unwrap();
        message.check().unwrap();
        assert_eq!(message.request_uri(), uri);
    }
}

#[test]
fn methods_have_a_case() {
    let text = String::from_utf8(invite("CSeq: 1 invite\r\n", ""))
        .unwrap()
        .replacen("INVITE", "invite", 1);
    let message = datagram(text).unwrap();
    message.check().unwrap();
    assert_eq!(
        (message.method(), message.method_text()),
        (Method::Other, "invite")
    );
}

#[test]
fn any_sixth_class_answer_is_one() {
    let message = datagram("SIP/2.0 699 \r\nVia: SIP/2.0/UDP a\r\nf: <sip:a>\r\nt: <sip:b>\r\ni: 1\r\nCSeq: 1 INVITE\r\n\r\n").unwrap();
    message.check().unwrap();
    assert_eq!((message.status(), message.method()), (699, Method::Invite));
}

#[test]
fn a_binary_body_is_kept() {
    let body: Vec<u8> = (0..=255).collect();
    let mut bytes = invite("Content-Length: 256\r\n", "");
    bytes.extend_from_slice(&body);
    let message = datagram(bytes.clone()).unwrap();
    assert_eq!(
        (&message.body()[..], message.bytes()),
        (&body[..], &Bytes::from(bytes.clone()))
    );
    assert_eq!(framed(&bytes), Some(Ok(Frame::Message(bytes.into()))));
}

/// A datagram ends where it ends; a stream has nothing but the number.
#[test]
fn content_length_on_datagrams_and_streams() {
    let with = |value: &str| invite(&format!("Content-Length: {value}\r\n"), "0123456789");
    assert_eq!(
        datagram(invite("", "0123456789")).unwrap().body(),
        "0123456789"
    );
    assert_eq!(
        framed(&invite("", "0123456789")),
        Some(Err(ParseError::NoContentLength))
    );
    assert_eq!(datagram(with("4")).unwrap().body(), "0123");
    assert_eq!(datagram(with("11")), Err(ParseError::BodyLength));
    assert_eq!(framed(&with("11")), None);
    assert_eq!(datagram(with("\r\n 10")).unwrap().body().len(), 10);
    assert!(matches!(
        framed(&with("\r\n 10")),
        Some(Ok(Frame::Message(_)))
    ));
    for value in [
        "+6",
        "-6",
        "6 6",
        "6,6",
        "0x6",
        "",
        "6;a=b",
        "\u{b2}",
        "6\r\nContent-Length: 7",
        "6\r\nl: 6",
        "6\r\nCONTENT-LENGTH : 7",
    ] {
        assert_eq!(
            datagram(with(value)),
            Err(ParseError::ContentLength),
            "{value}"
        );
        assert_eq!(
            framed(&with(value)),
            Some(Err(ParseError::ContentLength)),
            "{value}"
        );
    }
    assert_eq!(
        datagram(with("99999999999999999999")),
        Err(ParseError::TooLarge)
    );
}

/// What another program might take for the end of a line, this one refuses.
#[test]
fn lines_end_in_one_way() {
    for (lines, error) in [
        ("A: b\rC: d\r\n", ParseError::LineEnd),
        ("A: b\nC: d\r\n", ParseError::LineEnd),
        ("A: b\r\r\n", ParseError::LineEnd),
        ("no colon\r\n", ParseError::HeaderName),
        ("A\r\n : b\r\n", ParseError::HeaderName),
        (": b\r\n", ParseError::HeaderName),
        (" A: b\r\n", ParseError::HeaderName),
        ("A b: c\r\n", ParseError::HeaderName),
        ("A\u{fc}: c\r\n", ParseError::HeaderName),
    ] {
        assert_eq!(datagram(invite(lines, "")), Err(error), "{lines:?}");
    }
}

#[test]
fn numbers_have_limits() {
    assert_eq!(
        sound("CSeq: 4294967295 INVITE\r\n").cseq().unwrap().number,
        u32::MAX
    );
    assert_eq!(
        sound("CSeq: 0009\r\n INVITE\r\nMax-Forwards: 0070\r\n").max_forwards(),
        Ok(Some(70))
    );
    for (lines, name) in [
        ("CSeq: 4294967296 INVITE\r\n", Name::CSeq),
        ("CSeq: -1 INVITE\r\n", Name::CSeq),
        ("CSeq: 1\r\n", Name::CSeq),
        ("CSeq: 1 BYE\r\n", Name::CSeq),
        ("CSeq: 1 INVITE now\r\n", Name::CSeq),
        ("Max-Forwards: 256\r\n", Name::MaxForwards),
        ("Max-Forwards: x\r\n", Name::MaxForwards),
        ("Via: SIP/2.0/UDP a:65536\r\n", Name::Via),
    ] {
        assert_eq!(refused(lines).name, name, "{lines}");
    }
}

#[test]
fn what_must_be_there_is_there_once() {
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let text = String::from_utf8(invite("", "")).unwrap().replacen(
            &format!("\r\n{name}: "),
            "\r\nX: ",
            1,
        );
        assert!(datagram(text).unwrap().check().is_err(), "without {name}");
    }
    assert_eq!(
        refused("i: 1\r\nCall-ID: 1\r\n").to_string(),
        "Call-ID is there twice"
    );
    assert_eq!(refused("f: <sip:a>\r\nFrom: <sip:a>\r\n").name, Name::From);
    assert_eq!(
        refused("Max-Forwards: 1\r\nMax-Forwards: 1\r\n").name,
        Name::MaxForwards
    );
    assert_eq!(refused("Route: <sip:a;lr>, b\r\n").name, Name::Route);
}

#[test]
fn size_has_limits() {
    assert_eq!(
        datagram(invite(&"A: b\r\n".repeat(10_000), "")),
        Err(ParseError::TooManyHeaders)
    );
    assert_eq!(
        datagram(invite(&"A: b\r\n".repeat(11_000), "")),
        Err(ParseError::TooLarge)
    );
    assert_eq!(
        datagram(invite(&format!("A: {}\r\n", "b".repeat(1 << 20)), "")),
        Err(ParseError::TooLarge)
    );
    assert_eq!(
        datagram(invite(&format!("A: {}\r\n", "b".repeat(1 << 14)), "")),
        Err(ParseError::LineTooLong)
    );
    assert!(matches!(
        framed(&invite(&"A: b\r\n".repeat(10_000), "")),
        Some(Err(_))
    ));
}

/// A message with these lines has these values, for this parser and for another.
fn agrees_with_rsip(bytes: &[u8]) {
    use rsip::prelude::*;
    let ours = datagram(bytes).unwrap();
    let theirs = rsip::SipMessage::try_from(bytes).unwrap();
    match &theirs {
        rsip::SipMessage::Request(request) => {
            assert_eq!(ours.method_text(), request.method.to_string());
            assert_eq!(ours.request_uri(), request.uri.to_string());
        }
        rsip::SipMessage::Response(response) => {
            assert_eq!(ours.status(), response.status_code.code())
        }
    }
    assert_eq!(ours.body(), theirs.body().as_slice());
    let headers: Vec<String> = theirs
        .headers()
        .iter()
        .map(rsip::Header::to_string)
        .collect();
    let lines: Vec<String> = ours
        .lines()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    assert_eq!(headers.len(), lines.len());
    for (one, other) in headers.iter().zip(&lines) {
        assert!(one.eq_ignore_ascii_case(other), "{one} is not {other}");
    }
    let via = theirs.via_header().unwrap().typed().unwrap();
    assert_eq!(
        ours.via().unwrap().branch,
        via.branch().map(|branch| branch.value())
    );
    assert_eq!(
        ours.via().unwrap().host,
        via.uri.host().to_string().trim_matches(['[', ']'])
    );
    let from = theirs.from_header().unwrap().typed().unwrap();
    assert_eq!(ours.from_tag(), from.tag().map(|tag| tag.value()));
    assert_eq!(ours.from().unwrap().uri, from.uri.to_string());
    let cseq = theirs.cseq_header().unwrap().typed().unwrap();
    assert_eq!(
        (ours.cseq().unwrap().number, ours.method_text().to_owned()),
        (cseq.seq, cseq.method.to_string())
    );
}

/// Requests and responses of the plain kind that any implementation reads in the same way.
fn plain() -> impl Strategy<Value = Vec<u8>> {
    let word = "[a-zA-Z0-9]{1,12}";
    let uri =
        (word, word, proptest::option::of(1u16..)).prop_map(|(user, host, port)| match port {
            Some(port) => format!("sip:{user}@{host}.example:{port}"),
            None => format!("sip:{user}@{host}.example;user=phone"),
        });
    let extras = proptest::collection::vec(("X-[A-Za-z]{1,10}", "[!-~]([ -~]{0,40}[!-~])?"), 0..12);
    let method = prop_oneof![
        Just("INVITE"),
        Just("ACK"),
        Just("BYE"),
        Just("OPTIONS"),
        Just("REGISTER")
    ];
    let status = proptest::option::of(prop_oneof![
        Just(100u16),
        Just(200),
        Just(404),
        Just(486),
        Just(603)
    ]);
    let body = proptest::collection::vec(any::<u8>(), 0..200);
    (method, uri.clone(), uri, word, 0..u32::MAX, extras, body, status).prop_map(|(method, uri, from, tag, number, extras, body, status)| {
        let mut text = match status {
            Some(status) => format!("SIP/2.0 {status} OK\r\n"),
            None => format!("{method} {uri} SIP/2.0\r\n"),
        };
        text += &format!("Via: SIP/2.0/TCP {tag}.example;branch=z9hG4bK{tag}\r\nFrom: \"{tag}\" <{from}>;tag={tag}\r\nTo: <{uri}>\r\n");
        text += &format!("Call-ID: {tag}@{tag}\r\nCSeq: {number} {method}\r\n");
        text.extend(extras.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
        text += &format!("Content-Length: {}\r\n\r\n", body.len());
        [text.as_bytes(), &body].concat()
    })
}

proptest! {
    #[test]
    fn another_implementation_reads_the_same(bytes in plain()) {
        agrees_with_rsip(&bytes);
        datagram(bytes).unwrap().check().unwrap();
    }

    /// A sound message with some bytes overwritten, taken out or doubled is read or refused, and never more.
    #[test]
    fn damage_is_survived(bytes in plain(), damage in proptest::collection::vec((any::<u16>(), any::<u8>(), 0..4), 1..6)) {
        let mut bytes = bytes;
        for (at, byte, kind) in damage {
            // Nothing may be left of it.
            if bytes.is_empty() {
                break;
            }
            let at = usize::from(at) % bytes.len();
            match kind {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                2 => bytes.insert(at, b"\r\n:;,<>\"@ \0[]"[usize::from(byte) % 13]),
                _ => bytes.truncate(at + 1),
            }
        }
        message::check(&bytes);
        stream::check(&bytes);
    }

    /// Whatever is put into a header of ours comes out of it as one line.
    #[test]
    fn no_value_becomes_two_lines(values in proptest::collection::vec("\\PC*|[\\r\\n\\t :;a]*", 0..10), uri in "\\PC+", body in "\\PC*") {
        let mut draft = Builder::request(Method::Info, &format!("sip:{uri}"));
        for value in &values {
            draft.header(Name::Subject, value).header_fmt(Name::Server, format_args!("{value}"));
        }
        draft.body("text/plain", &body);
        let made = draft.finish(Some("SIP/2.0/UDP a"));
        let read = Message::parse(made.bytes().clone()).unwrap();
        prop_assert_eq!(read.lines().count(), 2 * values.len() + 3);
        prop_assert!(read.lines().eq(made.lines()));
        prop_assert_eq!(read.body(), body.as_bytes());
    }

    /// Addresses and URIs of any text are read or refused.
    #[test]
    fn addresses_of_any_text(text in "\\PC*|[\"<>;,:@?=\\\\a \\[\\]]*") {
        if let Ok(address) = NameAddr::parse(&text) {
            prop_assert!(text.contains(address.uri));
            let _ = (address.tag(), address.display_text(), address.params.iter().count());
        }
        if let Ok(uri) = Uri::parse(&text) {
            prop_assert!(text.contains(uri.host) && text.contains(uri.params.raw()));
        }
    }
}
