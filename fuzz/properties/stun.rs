// What holds for a datagram of any bytes that may be STUN. The fuzz target and `tests/it` try it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Instant;
use tollgate::base::Random;
use tollgate::media::relay::{BUFFER, Kind, Limits};
use tollgate::media::{Command, IceConfig, IceCredentials, LegId, Relay};
use tollgate::rtp::stun::{Class, Key, Message, Writer, kind};

/// Of the leg that every datagram is given to, so that a corpus can hold authentic checks.
pub const UFRAG: &str = "h6vY";
/// That of RFC 5769, whose request is one of them.
pub const PWD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

/// Parses, prints and parses again; then has a leg with ICE take it. Whether it was a message.
pub fn check(data: &[u8]) -> bool {
    let message = Message::parse(data);
    if let Ok(message) = &message {
        is_printed_alike(message);
    }
    is_answered_by_the_rules(data);
    message.is_ok()
}

/// What counts of a message is written and read as the same, signed and summed.
fn is_printed_alike(message: &Message) {
    let key = Key::new(PWD.as_bytes());
    let mut buffer = vec![
        0;
        message
            .attributes()
            .map(|(_, value)| value.len() + 7)
            .sum::<usize>()
            + 64
    ];
    let mut writer = Writer::new(
        &mut buffer,
        message.class,
        message.method,
        &message.transaction,
    );
    for (kind, value) in message.attributes() {
        writer.attribute(kind, value);
    }
    // A message may be as long as its length field can say, and then has no room for more.
    let whole = writer.finish().expect("there is room");
    if whole + 32 > 65_535 {
        return;
    }
    writer.integrity(&key).fingerprint();
    let length = writer.finish().expect("there is room");
    let again = Message::parse(&buffer[..length]).expect("our own message");
    assert_eq!(
        (again.class, again.method, again.transaction),
        (message.class, message.method, message.transaction)
    );
    assert!(again.attributes().eq(message.attributes()));
    assert!(again.is_authentic(&key));
    assert_eq!(
        (again.username(), again.priority()),
        (message.username(), message.priority())
    );
    assert_eq!(
        (again.role(), again.mapped()),
        (message.role(), message.mapped())
    );
    assert_eq!(
        (again.error(), again.nominates()),
        (message.error(), message.nominates())
    );
    assert!(again.unknown().eq(message.unknown()));
}

/// A leg answers a request or nothing, to where it came from, with the request's transaction, and nothing longer than
/// the request to whom did not prove to be a peer.
fn is_answered_by_the_rules(data: &[u8]) {
    RELAY.with_borrow_mut(|(relay, legs)| {
        *legs += 1;
        let (leg, now) = (LegId(*legs), Instant::now());
        let address = [127, 0, 0, 1].into();
        let port = 4000;
        relay.command(Command::Open { leg, address, port }, now);
        answers(relay, leg, data, now);
        relay.command(Command::Close { leg }, now);
        while relay.poll_event().is_some() {}
    });
}

thread_local! {
    /// Made once, because its music takes longer than a message. Each message gets a leg of its own.
    static RELAY: RefCell<(Relay, u64)> = {
        let limits = Limits { legs: 1, events: 10 };
        let relay = Relay::new(limits, Random::from_number(1), Instant::now(), 0);
        RefCell::new((relay, 0))
    };
}

fn answers(relay: &mut Relay, leg: LegId, data: &[u8], now: Instant) {
    let ours = IceCredentials {
        ufrag: UFRAG.into(),
        pwd: PWD.into(),
    };
    let config = Box::new(IceConfig {
        ours,
        remote_ufrag: None,
    });
    relay.command(Command::Ice { leg, config }, now);
    let from: SocketAddr = ([192, 0, 2, 1], 32853).into();
    let mut buffer = [0; BUFFER];
    let length = data.len().min(BUFFER);
    buffer[..length].copy_from_slice(&data[..length]);
    let Some(forward) = relay.packet(leg, Kind::Rtp, from, &mut buffer, length, now) else {
        return;
    };
    assert_eq!(
        (forward.leg, forward.kind, forward.to),
        (leg, Kind::Rtp, from)
    );
    let request = Message::parse(data).expect("only messages are answered");
    let response = Message::parse(&buffer[..forward.length]).expect("our own message");
    assert_eq!(
        (request.class, response.transaction),
        (Class::Request, request.transaction)
    );
    let key = Key::new(PWD.as_bytes());
    match response.class {
        Class::Success => {
            assert!(request.is_authentic(&key) && response.is_authentic(&key));
            assert_eq!(response.mapped(), Some(from));
        }
        Class::Error if response.has_integrity() => {
            assert!(request.is_authentic(&key) && response.is_authentic(&key));
            let unknown = response
                .attributes()
                .any(|(k, _)| k == kind::UNKNOWN_ATTRIBUTES);
            assert_eq!(unknown, response.error() == Some(420));
        }
        Class::Error => {
            assert!(matches!(response.error(), Some(400 | 401)) && forward.length <= length)
        }
        other => panic!("{other:?}"),
    }
}
