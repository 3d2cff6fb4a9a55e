// What holds for a SIP message of any bytes. The fuzz target and `tests/it` try it.

use bytes::Bytes;
use tollgate::sip::{Builder, Message, Method, Name, NameAddr, Uri, Via};

/// Parses, uses, prints and parses again.
pub fn check(data: &[u8]) {
    let buf = Bytes::copy_from_slice(data);
    if let Some(rest) = Message::salvage(buf.clone()) {
        touch(&rest);
        print(&rest);
    }
    let stream = Message::parse(buf.clone());
    let Ok(message) = Message::parse_datagram(buf) else {
        assert!(stream.is_err(), "a stream takes what a datagram does not");
        return;
    };
    if let Ok(other) = stream {
        assert_eq!(
            other, message,
            "a stream and a datagram hold different messages"
        );
    }
    same(
        &message,
        &Message::parse_datagram(message.bytes().clone()).expect("what was parsed can be parsed"),
    );
    touch(&message);
    print(&message);
}

/// Asks everything that can be asked.
fn touch(message: &Message) {
    let _ = (
        message.method_text(),
        message.request_uri(),
        message.reason(),
        message.content_type(),
        message.call_id(),
    );
    let _ = (
        message.via(),
        message.cseq(),
        message.max_forwards(),
        message.check(),
        format!("{message:?}"),
    );
    for (name, value) in message.lines() {
        assert!(!name.is_empty());
        let _ = (value.to_string(), value.number());
        for part in value.split() {
            let _ = Via::parse(&part);
            if let Ok(address) = NameAddr::parse(&part) {
                let _ = (
                    address.tag(),
                    address.display_text(),
                    address.params.iter().count(),
                    Uri::parse(address.uri),
                );
            }
        }
    }
    if message.check().is_ok() {
        assert!(
            message.via().is_ok()
                && message.from().is_ok()
                && message.to().is_ok()
                && message.cseq().is_ok()
        );
    }
}

/// Whatever is made of a message can be read, and says the same.
fn print(message: &Message) {
    let names = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq];
    let mut draft = Builder::response(message, 480, "");
    draft.to_tag("t\r\nVia: x");
    let response = again(&draft.finish(None));
    let uri = if message.is_request() {
        message.request_uri()
    } else {
        "sip:a.example"
    };
    let mut draft = Builder::request(Method::Options, uri);
    for (_, value) in message.lines() {
        draft.header(Name::Extension("X-Copy"), value);
    }
    for name in names {
        draft.copy(message, name);
    }
    let request = again(&draft.finish(None));
    for (name, made) in names
        .iter()
        .flat_map(|name| [(*name, &response), (*name, &request)])
    {
        if draft.left_out() == 0 && !(name == Name::To && made.status() > 0) {
            assert!(
                made.headers(name).eq(message.headers(name)),
                "{name} changed"
            );
        }
    }
    let source = "192.0.2.1:5060".parse().expect("an address");
    let stamped = message.clone().received_from(source);
    assert_eq!(stamped.lines().count(), message.lines().count());
    assert_eq!(stamped.body(), message.body());
    if stamped != *message {
        let via = stamped.via().expect("a stamped Via can be read");
        assert_eq!(via.received, Some("192.0.2.1"));
    }
}

/// What the builder made is what the parser reads.
fn again(made: &Message) -> Message {
    let parsed = Message::parse(made.bytes().clone()).expect("what was built can be parsed");
    same(made, &parsed);
    parsed
}

fn same(one: &Message, other: &Message) {
    assert_eq!(one, other);
    assert!(one.lines().eq(other.lines()));
    assert_eq!(
        (one.method_text(), one.request_uri(), one.status()),
        (other.method_text(), other.request_uri(), other.status())
    );
    assert_eq!((one.reason(), one.body()), (other.reason(), other.body()));
}
