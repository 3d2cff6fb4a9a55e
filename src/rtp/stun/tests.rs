use super::*;
use md5::{Digest, Md5};

const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
const TRANSACTION: Transaction = [
    0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
];

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len() / 2)
        .map(|n| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).unwrap())
        .collect()
}

/// RFC 5769 §2.1.
fn request() -> Vec<u8> {
    hex("00010058 2112a442 b7e7a701 bc34d686 fa87dfae
         80220010 5354554e 20746573 7420636c 69656e74
         00240004 6e0001ff 80290008 932ff9b1 51263b36
         00060009 6576746a 3a683676 59202020
         00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2
         80280004 e57a3bcf")
}

/// The request of RFC 5769 §2.1 is read as the RFC says, and is authentic under its password only.
#[test]
fn the_request_of_the_rfc() {
    let bytes = request();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(
        (message.class, message.method, message.transaction),
        (Class::Request, BINDING, TRANSACTION)
    );
    assert_eq!(message.username(), Some(&b"evtj:h6vY"[..]));
    assert_eq!(message.priority(), Some(0x6e00_01ff));
    assert_eq!(
        message.role(),
        Some(Role::Controlled(0x932f_f9b1_5126_3b36))
    );
    assert!(!message.nominates() && message.unknown().next().is_none());
    assert!(message.is_authentic(&Key::new(PASSWORD)));
    assert!(!message.is_authentic(&Key::new(b"another")));
}

/// The responses of RFC 5769 §2.2 and §2.3, with an address of either family, are read and written.
#[test]
fn the_responses_of_the_rfc() {
    for (bytes, mapped) in [
        (
            "0101003c 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220
             00200008 0001a147 e112a643
             00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7 80280004 c07d4c96",
            "192.0.2.1:32853",
        ),
        (
            "01010048 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220
             00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9
             00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41 80280004 c8fb0b4c",
            "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
        ),
    ] {
        let (bytes, mapped) = (hex(bytes), mapped.parse().unwrap());
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(
            (message.class, message.mapped()),
            (Class::Success, Some(mapped))
        );
        assert!(message.is_authentic(&Key::new(PASSWORD)));

        // Ours differs in the padding only, which the RFC fills with blanks; so do the sums over it.
        let mut ours = [0; 200];
        let length = Writer::new(&mut ours, Class::Success, BINDING, &TRANSACTION)
            .attribute(kind::SOFTWARE, b"test vector")
            .mapped(mapped)
            .integrity(&Key::new(PASSWORD))
            .fingerprint()
            .finish()
            .unwrap();
        let again = Message::parse(&ours[..length]).unwrap();
        assert_eq!(length, bytes.len());
        assert!(again.attributes().eq(message.attributes()));
        assert!(again.is_authentic(&Key::new(PASSWORD)));
    }
}

/// The request of RFC 5769 §2.4 with long-term credentials: no FINGERPRINT, and a key that is a digest.
#[test]
fn the_request_with_long_term_credentials_of_the_rfc() {
    let bytes = hex("00010060 2112a442 78ad3433 c6ad72c0 29da412e
         00060012 e3839ee3 8388e383 aae38383 e382afe3 82b90000
         0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341
         0014000b 6578616d 706c652e 6f726700
         00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666");
    let message = Message::parse(&bytes).unwrap();
    let user = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}";
    assert_eq!(message.username(), Some(user.as_bytes()));
    let key = Md5::digest(format!("{user}:example.org:TheMatrIX"));
    assert!(message.is_authentic(&Key::new(&key)) && message.unknown().next().is_none());
}

/// One bit changed anywhere but in the fingerprint, with or without which: no message any more, or not the peer's.
#[test]
fn every_changed_bit_is_noticed() {
    let (whole, key) = (request(), Key::new(PASSWORD));
    let authentic = |bytes: &[u8]| Message::parse(bytes).is_ok_and(|m| m.is_authentic(&key));
    for bit in 0..8 * (whole.len() - 8) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(!authentic(&bytes), "bit {bit}");
        bytes.truncate(whole.len() - 8);
        let length = (bytes.len() - HEADER) as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        // The length was put right again.
        assert_eq!(authentic(&bytes), (16..32).contains(&bit), "bit {bit}");
    }
    let last = whole.len() - 1;
    let mut bytes = whole;
    bytes[last] ^= 1;
    assert!(Message::parse(&bytes).is_err());
}

/// What is cut short, too long or no STUN is refused and nothing else happens.
#[test]
fn what_is_no_message_is_refused() {
    let whole = request();
    for length in 0..whole.len() {
        assert!(Message::parse(&whole[..length]).is_err(), "{length} bytes");
    }
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        Message::parse(&bytes).map(|_| ()).unwrap_err()
    };
    assert_eq!(refused(&|b| b[0] = 0x80), StunError::NotStun);
    assert_eq!(refused(&|b| b[4] = 0), StunError::NotStun);
    assert_eq!(refused(&|b| b.extend([0; 4])), StunError::Length);
    assert_eq!(refused(&|b| b[3] += 1), StunError::Length);
    assert_eq!(refused(&|b| b[107] ^= 1), StunError::Fingerprint);
    assert_eq!(refused(&|b| b[22] = 0xff), StunError::Attribute);
    assert!(is_stun(&whole) && !is_stun(&[0x80]) && !is_stun(&[20]) && !is_stun(&[]));
}

/// Attributes behind the code are nobody's word; of two of a kind the first counts.
#[test]
fn only_what_the_code_covers_counts() {
    let key = Key::new(PASSWORD);
    let mut buffer = [0; 200];
    let length = Writer::new(&mut buffer, Class::Request, BINDING, &TRANSACTION)
        .attribute(kind::PRIORITY, &[0, 0, 0, 1])
        .attribute(kind::PRIORITY, &[0, 0, 0, 2])
        .attribute(0x7777, b"?")
        .integrity(&key)
        .attribute(kind::USE_CANDIDATE, &[])
        .attribute(0x7778, b"?")
        .fingerprint()
        .finish()
        .unwrap();
    let message = Message::parse(&buffer[..length]).unwrap();
    assert!(message.is_authentic(&key) && !message.nominates());
    assert_eq!(message.priority(), Some(1));
    assert!(message.unknown().eq([0x7777]));
}

/// An error has its number; a buffer that is too short for the message is told, whatever is written into it.
#[test]
fn a_message_fits_or_is_not_there() {
    let key = Key::new(PASSWORD);
    let write = |room: usize| {
        let mut buffer = vec![0; room];
        let length = Writer::new(&mut buffer, Class::Error, BINDING, &TRANSACTION)
            .error(487)
            .attribute(kind::UNKNOWN_ATTRIBUTES, &[0x77, 0x77])
            .integrity(&key)
            .fingerprint()
            .finish();
        length.map(|length| buffer[..length].to_vec())
    };
    let whole = write(200).unwrap();
    assert_eq!(Message::parse(&whole).unwrap().error(), Some(487));
    for room in 0..whole.len() {
        assert_eq!(write(room), None);
    }
    assert_eq!(write(whole.len()), Some(whole));
}
