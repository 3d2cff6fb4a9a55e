//! Messages as a pcapng file (draft-ietf-opsawg-pcapng) that Wireshark opens: raw IP packets with the addresses and
//! times that they really had, and around each message a UDP or TCP header.
//!
//! What came by TLS is written as UDP: it is decrypted here, and on TCP port 5061 Wireshark would look for TLS. TCP
//! has sequence numbers that fit, but no handshake, for none was seen.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::recorder::Packet;
use crate::sip::Transport;

/// `LINKTYPE_RAW`: packets begin with their IP header.
const RAW_IP: u16 = 101;
/// Of one message; the lengths in IP and UDP headers have 16 bits.
const MOST: usize = 65_000;
const UDP: u8 = 17;
const TCP: u8 = 6;

/// The file. `listener` stands in for our own address where it is not known.
pub fn pcapng(packets: &[Packet], listener: impl Fn(Transport) -> Option<SocketAddr>) -> Vec<u8> {
    let mut file = Vec::new();
    section(&mut file);
    interface(&mut file);
    let mut streams = HashMap::new();
    for packet in packets {
        let local = packet
            .local
            .or_else(|| heard_at(packets, packet))
            .or_else(|| listener(packet.transport))
            .unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let (from, to) = if packet.sent {
            (local, packet.remote)
        } else {
            (packet.remote, local)
        };
        let payload = &packet.bytes[..packet.bytes.len().min(MOST)];
        let data = match packet.transport {
            Transport::Tcp => ip(from, to, TCP, &tcp(from, to, payload, &mut streams)),
            Transport::Udp | Transport::Tls => ip(from, to, UDP, &udp(from, to, payload)),
        };
        enhanced(&mut file, packet, &data);
    }
    file
}

/// Our end of a connection, by what came in on it.
fn heard_at(packets: &[Packet], sent: &Packet) -> Option<SocketAddr> {
    let same = |p: &&Packet| p.remote == sent.remote && p.transport == sent.transport;
    packets.iter().filter(same).find_map(|packet| packet.local)
}

fn section(file: &mut Vec<u8>) {
    let mut body = Vec::new();
    body.extend(0x1a2b_3c4d_u32.to_le_bytes());
    body.extend(1_u16.to_le_bytes());
    body.extend(0_u16.to_le_bytes());
    body.extend((-1_i64).to_le_bytes());
    option(
        &mut body,
        4,
        concat!("Tollgate ", env!("CARGO_PKG_VERSION")).as_bytes(),
    );
    option(&mut body, 0, &[]);
    block(file, 0x0a0d_0d0a, &body);
}

fn interface(file: &mut Vec<u8>) {
    let mut body = Vec::new();
    body.extend(RAW_IP.to_le_bytes());
    body.extend([0; 6]);
    option(&mut body, 2, b"sip");
    option(&mut body, 0, &[]);
    block(file, 1, &body);
}

fn enhanced(file: &mut Vec<u8>, packet: &Packet, data: &[u8]) {
    let micros = packet.at.unix_timestamp_nanos() / 1000;
    let micros = u64::try_from(micros).unwrap_or_default().to_le_bytes();
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut body = vec![0; 4];
    body.extend(&micros[4..]);
    body.extend(&micros[..4]);
    body.extend(length);
    body.extend(length);
    padded(&mut body, data);
    let how = match packet.transport {
        Transport::Tls => "SIP over TLS, decrypted and written as UDP",
        Transport::Tcp => "SIP over TCP",
        Transport::Udp => "SIP over UDP",
    };
    option(&mut body, 1, how.as_bytes());
    option(
        &mut body,
        2,
        &(if packet.sent { 2_u32 } else { 1 }).to_le_bytes(),
    );
    option(&mut body, 0, &[]);
    block(file, 6, &body);
}

fn block(file: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = u32::try_from(body.len() + 12)
        .unwrap_or(u32::MAX)
        .to_le_bytes();
    file.extend(kind.to_le_bytes());
    file.extend(length);
    file.extend(body);
    file.extend(length);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    padded(body, value);
}

/// To a multiple of four.
fn padded(body: &mut Vec<u8>, data: &[u8]) {
    body.extend(data);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).unwrap_or(u16::MAX);
    let mut datagram = Vec::with_capacity(payload.len() + 8);
    datagram.extend(from.port().to_be_bytes());
    datagram.extend(to.port().to_be_bytes());
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let sum = checksum(from.ip(), to.ip(), UDP, &datagram);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// The next byte of each direction.
type Streams = HashMap<(SocketAddr, SocketAddr), u32>;

fn tcp(from: SocketAddr, to: SocketAddr, payload: &[u8], streams: &mut Streams) -> Vec<u8> {
    const PUSH_AND_ACK: u8 = 0x18;
    let acknowledged = *streams.entry((to, from)).or_insert(1);
    let sequence = streams.entry((from, to)).or_insert(1);
    let mut segment = Vec::with_capacity(payload.len() + 20);
    segment.extend(from.port().to_be_bytes());
    segment.extend(to.port().to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledged.to_be_bytes());
    segment.extend([5 << 4, PUSH_AND_ACK, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    *sequence = sequence.wrapping_add(u32::try_from(payload.len()).unwrap_or_default());
    let sum = checksum(from.ip(), to.ip(), TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

fn ip(from: SocketAddr, to: SocketAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(payload.len() + 40);
    match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = u16::try_from(payload.len() + 20).unwrap_or(u16::MAX);
            packet.extend([0x45, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = !folded(&packet, 0);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (from, to) => {
            let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([protocol, 64]);
            packet.extend(six(from));
            packet.extend(six(to));
        }
    }
    packet.extend(payload);
    packet
}

fn six(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
        IpAddr::V6(six) => six.octets(),
    }
}

/// RFC 768, RFC 9293 §3.1, RFC 8200 §8.1: over the pseudo header, too.
fn checksum(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> u16 {
    let mut pseudo = Vec::with_capacity(40);
    match (from.to_canonical(), to.to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            pseudo.extend(from.octets());
            pseudo.extend(to.octets());
        }
        (from, to) => {
            pseudo.extend(six(from));
            pseudo.extend(six(to));
        }
    }
    pseudo.extend([0, protocol]);
    pseudo.extend(
        u16::try_from(payload.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes(),
    );
    let sum = !folded(payload, u32::from(folded(&pseudo, 0)));
    // A UDP checksum of 0 would mean that there is none.
    if sum == 0 { 0xffff } else { sum }
}

/// RFC 1071.
fn folded(bytes: &[u8], start: u32) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let sum: u64 = u64::from(start)
        + bytes
            .chunks(2)
            .map(|pair| u64::from(word(pair)))
            .sum::<u64>();
    let mut sum = sum;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use time::macros::datetime;

    fn packet(transport: Transport, sent: bool, remote: &str, text: &'static str) -> Packet {
        Packet {
            at: datetime!(2026-01-02 03:04:05.678901 UTC),
            sent,
            transport,
            local: (!sent).then(|| "192.0.2.1:5060".parse().unwrap()),
            remote: remote.parse().unwrap(),
            bytes: Bytes::from_static(text.as_bytes()),
        }
    }

    /// Blocks of a file: kind and body.
    fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let word = |at: &[u8]| u32::from_le_bytes(at[..4].try_into().unwrap());
        let mut found = Vec::new();
        while !file.is_empty() {
            let length = word(&file[4..]) as usize;
            assert_eq!(
                (length % 4, word(&file[length - 4..]) as usize),
                (0, length)
            );
            found.push((word(file), file[8..length - 4].to_vec()));
            file = &file[length..];
        }
        found
    }

    /// One section, one interface, a block for each message with its time in microseconds and a whole IP packet, whose
    /// checksums are right in IPv4 and IPv6.
    #[test]
    fn every_message_is_a_packet() {
        let file = pcapng(
            &[
                packet(Transport::Udp, false, "192.0.2.10:5060", "INVITE"),
                packet(Transport::Tls, true, "[2001:db8::1]:5061", "odd"),
                packet(Transport::Tcp, true, "192.0.2.10:5060", "first"),
                packet(Transport::Tcp, true, "192.0.2.10:5060", "second"),
            ],
            |_| Some("192.0.2.1:5061".parse().unwrap()),
        );
        let blocks = blocks(&file);
        let kinds: Vec<_> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [0x0a0d_0d0a, 1, 6, 6, 6, 6]);
        let data = |at: usize| {
            let body = &blocks[at].1;
            let length = u32::from_le_bytes(body[12..16].try_into().unwrap()) as usize;
            body[20..20 + length].to_vec()
        };
        let (high, low) = (&blocks[2].1[4..8], &blocks[2].1[8..12]);
        let micros = [low, high].concat();
        assert_eq!(
            u64::from_le_bytes(micros.try_into().unwrap()),
            1_767_323_045_678_901
        );

        let four = data(2);
        assert_eq!(
            (four[0], four[9], &four[12..20]),
            (0x45, UDP, &[192, 0, 2, 10, 192, 0, 2, 1][..])
        );
        assert_eq!(folded(&four[..20], 0), 0xffff);
        assert_eq!(&four[28..], b"INVITE");
        let six = data(3);
        assert_eq!((six[0], six[6], six.len()), (0x60, UDP, 40 + 8 + 3));
        let pseudo: Vec<u8> = [&six[8..40], &[0, UDP, 0, 11]].concat();
        assert_eq!(folded(&six[40..], u32::from(folded(&pseudo, 0))), 0xffff);
        let sequence = |at: usize| u32::from_be_bytes(data(at)[24..28].try_into().unwrap());
        assert_eq!((data(4)[9], sequence(4), sequence(5)), (TCP, 1, 6));
    }
}
