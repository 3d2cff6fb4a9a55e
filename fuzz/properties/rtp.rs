// What holds for a datagram of any bytes that comes from a peer's own address. The fuzz target and `tests/it` try it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tollgate::base::Random;
use tollgate::media::relay::{BUFFER, Kind, Limits, MAX_DATAGRAM};
use tollgate::media::{
    Command, Crypto, LegConfig, LegId, MasterKey, MediaSource, Passage, Relay, Suite,
};
use tollgate::rtp::packet::{self, HEADER, Header};
use tollgate::rtp::srtp;

/// Parses, prints and parses again; then a leg takes it, and the other one sends it on with SRTP. Whether it did.
pub fn check(data: &[u8]) -> bool {
    let header = Header::parse(data);
    if let Ok(header) = header {
        is_printed_alike(&header, data);
    }
    let sound = header.is_ok_and(|header| header.payload(data).is_ok());
    let fits = data.len() <= MAX_DATAGRAM && !packet::is_rtcp(data);
    let forwarded = RELAY.with_borrow_mut(|(relay, legs)| {
        *legs += 2;
        forwarded(relay, LegId(*legs), LegId(*legs + 1), data)
    });
    assert_eq!(forwarded.is_some(), sound && fits);
    if let Some(secret) = forwarded {
        let mut receiver = srtp::Receiver::new(srtp::Suite::AesCm128HmacSha1_80, &[9; 46], 0);
        let mut packet = secret.clone();
        let (_, length) = receiver.unprotect_rtp(&mut packet).expect("our own packet");
        assert_eq!(&packet[..length], data);
    }
    sound && fits
}

/// The twelve bytes that every header has say the same when they are written again.
fn is_printed_alike(header: &Header, data: &[u8]) {
    let mut written = [0; HEADER];
    packet::write_header(header, &mut written);
    assert_eq!(written[1..], data[1..HEADER]);
    let again = Header::parse(&written).expect("our own header");
    assert_eq!(
        (again.marker, again.payload_type, again.sequence),
        (header.marker, header.payload_type, header.sequence)
    );
    assert_eq!(
        (again.timestamp, again.ssrc),
        (header.timestamp, header.ssrc)
    );
    assert_eq!(packet::ssrc(data), header.ssrc);
    assert!((HEADER..=data.len()).contains(&header.payload_at));
}

thread_local! {
    /// Made once; each datagram gets legs of its own.
    static RELAY: RefCell<(Relay, u64)> = {
        let limits = Limits { legs: 2, events: 10 };
        let relay = Relay::new(limits, Random::from_number(1), Instant::now(), 0);
        RefCell::new((relay, 0))
    };
}

fn forwarded(relay: &mut Relay, one: LegId, other: LegId, data: &[u8]) -> Option<Vec<u8>> {
    let now = Instant::now();
    let places: [SocketAddr; 2] = [([192, 0, 2, 1], 4000).into(), ([192, 0, 2, 2], 4000).into()];
    let key = || MasterKey::new(&[9; 30]).expect("short enough");
    let crypto = Crypto {
        suite: Suite::AesCm128HmacSha1_80,
        receive: key(),
        receive_mki_length: 0,
        send: key(),
        send_mki: Vec::new(),
    };
    for (leg, remote, crypto) in [(one, places[0], None), (other, places[1], Some(crypto))] {
        let address = [127, 0, 0, 1].into();
        relay.command(
            Command::Open {
                leg,
                address,
                port: 4000,
            },
            now,
        );
        let config = Box::new(LegConfig {
            remote_rtp: remote,
            remote_rtcp: remote,
            rtcp_mux: false,
            crypto,
            source: MediaSource::Strict,
            passage: Arc::new(Passage::unchanged()),
            inactivity: None,
            receive: true,
            send: true,
        });
        relay.command(Command::Configure { leg, config }, now);
    }
    let with = Some(other);
    relay.command(Command::Connect { leg: one, with }, now);
    let mut buffer = [0; BUFFER];
    let length = data.len().min(BUFFER);
    buffer[..length].copy_from_slice(&data[..length]);
    let forward = relay.packet(one, Kind::Rtp, places[0], &mut buffer, length, now);
    for leg in [one, other] {
        relay.command(Command::Close { leg }, now);
    }
    while relay.poll_event().is_some() {}
    let forward = forward?;
    assert_eq!((forward.leg, forward.to), (other, places[1]));
    Some(buffer[..forward.length].to_vec())
}
