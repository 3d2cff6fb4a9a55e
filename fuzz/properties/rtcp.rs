// What holds for a datagram of any bytes on a media port. The fuzz target and `tests/it` try it.

use tollgate::rtp::packet::{Header, is_rtcp};
use tollgate::rtp::rtcp::{self, Packet, ReportBlock, SenderReport};
use tollgate::rtp::srtp::{Receiver, Sender, Suite};
use tollgate::rtp::telephone_event::{Keys, TelephoneEvent};

/// Parses, prints and parses again; encrypts and decrypts again.
pub fn check(data: &[u8]) {
    let packets: Result<Vec<Packet>, _> = rtcp::packets(data).collect();
    let sound = rtcp::check(data).is_ok();
    assert_eq!(sound, packets.is_ok() && !data.is_empty());
    for packet in packets.into_iter().flatten() {
        match packet {
            Packet::SenderReport(sent, blocks) => {
                blocks
                    .iter()
                    .for_each(|block| printed(sent.ssrc, Some(sent), Some(block)));
                printed(sent.ssrc, Some(sent), None);
            }
            Packet::ReceiverReport(ssrc, blocks) => {
                blocks
                    .iter()
                    .for_each(|block| printed(ssrc, None, Some(block)));
                printed(ssrc, None, None);
            }
            Packet::SourceDescription(_) | Packet::Bye(_) | Packet::Other(..) => {}
        }
    }
    if sound && data.len() >= 8 {
        secured(data, Sender::protect_rtcp, Receiver::unprotect_rtcp);
    }
    let Ok(header) = Header::parse(data) else {
        return;
    };
    secured(data, Sender::protect_rtp, |receiver, packet| {
        receiver.unprotect_rtp(packet).map(|(_, length)| length)
    });
    if let Ok(payload) = header.payload(data)
        && let Some(event) = TelephoneEvent::parse(&data[payload])
    {
        Keys::default().packet(header.timestamp, event);
    }
    let _ = is_rtcp(data);
}

/// A report is read as it was written.
fn printed(ssrc: u32, sent: Option<SenderReport>, block: Option<ReportBlock>) {
    let mut buffer = [0; 128];
    let length = rtcp::write_report(&mut buffer, ssrc, sent.as_ref(), block.as_ref(), "fuzz");
    let written = &buffer[..length.expect("there is room")];
    let mut packets = rtcp::packets(written);
    let (source, again, blocks) = match packets.next() {
        Some(Ok(Packet::SenderReport(again, blocks))) => (again.ssrc, Some(again), blocks),
        Some(Ok(Packet::ReceiverReport(source, blocks))) => (source, None, blocks),
        other => panic!("a report became {other:?}"),
    };
    assert_eq!((source, again, blocks.iter().next()), (ssrc, sent, block));
    assert!(matches!(
        packets.next(),
        Some(Ok(Packet::SourceDescription(_)))
    ));
    assert!(packets.next().is_none());
}

/// What is protected is taken once and comes back whole; the plain bytes are not taken as protected ones.
fn secured<E: std::fmt::Debug>(
    plain: &[u8],
    protect: impl Fn(&mut Sender, &mut [u8], usize) -> Result<usize, E>,
    unprotect: impl Fn(&mut Receiver, &mut [u8]) -> Result<usize, E>,
) {
    for suite in Suite::ALL {
        secured_by(suite, plain, &protect, &unprotect);
    }
}

fn secured_by<E: std::fmt::Debug>(
    suite: Suite,
    plain: &[u8],
    protect: impl Fn(&mut Sender, &mut [u8], usize) -> Result<usize, E>,
    unprotect: impl Fn(&mut Receiver, &mut [u8]) -> Result<usize, E>,
) {
    let (key, mki) = ([7; 46], [1, 2]);
    let mut sender = Sender::new(suite, &key, &mki);
    let mut receiver = Receiver::new(suite, &key, 2);
    assert!(unprotect(&mut receiver, &mut plain.to_vec()).is_err());
    let mut packet = plain.to_vec();
    packet.resize(plain.len() + sender.overhead(), 0);
    let length = protect(&mut sender, &mut packet, plain.len()).expect("there is room");
    let mut copy = packet.clone();
    let back = unprotect(&mut receiver, &mut packet[..length]).expect("it is authentic");
    assert_eq!(&packet[..back], plain);
    assert!(unprotect(&mut receiver, &mut copy[..length]).is_err());
}
