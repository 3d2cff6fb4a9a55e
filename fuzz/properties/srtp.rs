// What holds for bytes that claim to be SRTP or SRTCP, in every suite of SDES. The fuzz target and `tests/it` try it.

use tollgate::rtp::packet::{HEADER, Header, write_header};
use tollgate::rtp::srtp::{Receiver, Sender, SrtpError, Suite};

/// The master key and salt with which authentic packets of the corpus are made.
pub const KEY: [u8; 46] = [7; 46];

/// The first byte says by its remainder which suite, by its highest bit whether it is SRTCP; the second how long an MKI the
/// peer has; the rest is the packet. Whether it was authentic.
pub fn check(data: &[u8]) -> bool {
    let &[first, second, ref packet @ ..] = data else {
        return false;
    };
    let suite = Suite::ALL[usize::from(first & 0x7f) % Suite::ALL.len()];
    let (is_rtcp, mki) = (first & 0x80 != 0, second % 5);
    let mut receiver = Receiver::new(suite, &KEY, mki);
    let taken = take(&mut receiver, is_rtcp, packet);
    if let Ok(plain) = &taken {
        assert!(plain.len() < packet.len());
        assert!(is_rtcp || Header::parse(plain).is_ok());
        let again = take(&mut receiver, is_rtcp, packet);
        assert_eq!(again, Err(SrtpError::Replayed));
        // What was not sealed so is not taken: a changed bit of what the tag covers.
        let at = usize::from(second) % plain.len();
        let mut changed = packet.to_vec();
        changed[at] ^= 1 << (first % 8);
        let mut fresh = Receiver::new(suite, &KEY, mki);
        assert!(take(&mut fresh, is_rtcp, &changed).is_err());
    }
    still_listens(&mut receiver, suite, usize::from(mki));
    taken.is_ok()
}

/// What is in the packet. What is not authentic stays as it is.
fn take(receiver: &mut Receiver, is_rtcp: bool, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut bytes = packet.to_vec();
    let length = match is_rtcp {
        true => receiver.unprotect_rtcp(&mut bytes),
        false => receiver.unprotect_rtp(&mut bytes).map(|(_, length)| length),
    };
    match length {
        Ok(length) => {
            bytes.truncate(length);
            Ok(bytes)
        }
        Err(error) => {
            assert_eq!(bytes, packet, "changed though {error}");
            Err(error)
        }
    }
}

/// Whatever came before, the peer is heard: its next packet is authentic.
fn still_listens(receiver: &mut Receiver, suite: Suite, mki: usize) {
    let mut sender = Sender::new(suite, &KEY, &vec![1; mki]);
    let mut packet = vec![0x55; HEADER + 20];
    let header = Header::new(8, false, 1000, 160_000, 0x7e57_7e57);
    write_header(&header, packet.first_chunk_mut().expect("it is longer"));
    let plain = packet.clone();
    packet.resize(plain.len() + sender.overhead(), 0);
    let length = sender.protect_rtp(&mut packet, plain.len());
    packet.truncate(length.expect("there is room"));
    match take(receiver, false, &packet) {
        Ok(heard) => assert_eq!(heard, plain),
        // It was this very packet that came before.
        Err(error) => assert_eq!(error, SrtpError::Replayed),
    }
}
