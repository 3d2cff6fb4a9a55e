use super::cipher::CounterMode;
use super::gcm::{self, Gcm};
use super::hmac::HmacSha1;
use super::{MasterKey, RTCP_INDEX, Suite};
use subtle::ConstantTimeEq;

/// Set in the index of an SRTCP packet that is encrypted (RFC 3711 §3.4).
pub(super) const ENCRYPTED: u32 = 1 << 31;

/// The longest tag, of which a suite may cut off the end.
pub(super) type Code = [u8; 20];

/// What encrypts and authenticates one protocol under one master key.
#[derive(Clone)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one in each context, and a packet should not have to follow a pointer"
)]
pub(super) enum SessionKeys {
    /// RFC 3711, RFC 6188: first the cipher, then a code over what came of it.
    Counter { cipher: CounterMode, code: HmacSha1 },
    /// RFC 7714.
    Gcm(Gcm),
}

impl SessionKeys {
    /// Keys for SRTP (RFC 3711 §4.3.1; the key derivation rate is zero).
    pub(super) fn rtp(suite: Suite, master: &MasterKey) -> Self {
        Self::derive(suite, master, 0)
    }

    /// Keys for SRTCP (RFC 3711 §4.3.2).
    pub(super) fn rtcp(suite: Suite, master: &MasterKey) -> Self {
        Self::derive(suite, master, 3)
    }

    /// Cipher key, authentication key and salt have three labels in a row.
    fn derive(suite: Suite, master: &MasterKey, first_label: u8) -> Self {
        let source = Source::new(suite, master);
        let salt_label = first_label + 2;
        match suite {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => Self::Counter {
                cipher: CounterMode::bits128(
                    &source.expand(first_label),
                    &source.expand(salt_label),
                ),
                code: HmacSha1::new(&source.expand(first_label + 1)),
            },
            Suite::AesCm256HmacSha1_80 => Self::Counter {
                cipher: CounterMode::bits256(
                    &source.expand(first_label),
                    &source.expand(salt_label),
                ),
                code: HmacSha1::new(&source.expand(first_label + 1)),
            },
            Suite::AeadAes128Gcm => Self::Gcm(Gcm::bits128(
                &source.expand(first_label),
                source.expand(salt_label),
            )),
            Suite::AeadAes256Gcm => Self::Gcm(Gcm::bits256(
                &source.expand(first_label),
                source.expand(salt_label),
            )),
        }
    }

    /// Encrypts an RTP packet, whose payload begins at `payload_at`; the answer is its tag.
    pub(super) fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        payload_at: usize,
    ) -> Option<Code> {
        match self {
            Self::Counter { cipher, code } => {
                cipher.apply(ssrc, index, &mut packet[payload_at..]);
                Some(code.code(packet, rollover(index)))
            }
            Self::Gcm(gcm) => {
                let (header, body) = packet.split_at_mut(payload_at);
                let tag = gcm.seal(gcm::rtp_nonce(ssrc, index), header, body)?;
                Some(long(tag))
            }
        }
    }

    /// Decrypts an RTP packet if this is its tag; if not, nothing changes.
    pub(super) fn open_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        payload_at: usize,
        tag: &[u8],
    ) -> bool {
        match self {
            Self::Counter { cipher, code } => {
                let authentic = is_code(&code.code(packet, rollover(index)), tag);
                if authentic {
                    cipher.apply(ssrc, index, &mut packet[payload_at..]);
                }
                authentic
            }
            Self::Gcm(gcm) => {
                let (header, body) = packet.split_at_mut(payload_at);
                gcm.open(gcm::rtp_nonce(ssrc, index), header, body, tag)
            }
        }
    }

    /// Encrypts a compound RTCP packet; the answer is its tag.
    pub(super) fn seal_rtcp(&self, ssrc: u32, index: u64, packet: &mut [u8]) -> Option<Code> {
        let suffix = (index as u32 | ENCRYPTED).to_be_bytes();
        match self {
            Self::Counter { cipher, code } => {
                cipher.apply(ssrc, index, &mut packet[8..]);
                Some(code.code(packet, suffix))
            }
            Self::Gcm(gcm) => {
                let (header, body) = packet.split_at_mut(8);
                let header = associated(header, suffix);
                let tag = gcm.seal(gcm::rtcp_nonce(ssrc, index), &header, body)?;
                Some(long(tag))
            }
        }
    }

    /// Decrypts a compound RTCP packet if this is its tag; if not, nothing changes. `suffix` is the index as it was
    /// sent.
    pub(super) fn open_rtcp(
        &self,
        ssrc: u32,
        suffix: [u8; RTCP_INDEX],
        packet: &mut [u8],
        tag: &[u8],
    ) -> bool {
        let index = u64::from(u32::from_be_bytes(suffix) & !ENCRYPTED);
        match self {
            Self::Counter { cipher, code } => {
                let authentic = is_code(&code.code(packet, suffix), tag);
                if authentic {
                    cipher.apply(ssrc, index, &mut packet[8..]);
                }
                authentic
            }
            Self::Gcm(gcm) => {
                let (header, body) = packet.split_at_mut(8);
                let header = associated(header, suffix);
                gcm.open(gcm::rtcp_nonce(ssrc, index), &header, body, tag)
            }
        }
    }

    /// Whether the tag stands before what else is behind a packet (RFC 7714 §8.2, §9.2), not after it (RFC 3711 §3.1).
    pub(super) fn tag_comes_first(&self) -> bool {
        matches!(self, Self::Gcm(_))
    }
}

/// The rollover counter as it is authenticated behind a packet.
fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

fn is_code(code: &Code, tag: &[u8]) -> bool {
    code.get(..tag.len())
        .is_some_and(|code| code.ct_eq(tag).into())
}

fn long(tag: [u8; gcm::TAG]) -> Code {
    let mut code = [0; 20];
    code[..tag.len()].copy_from_slice(&tag);
    code
}

/// RFC 7714 §9.2: what is authenticated of an encrypted RTCP packet besides its body.
fn associated(header: &[u8], suffix: [u8; RTCP_INDEX]) -> [u8; 12] {
    let mut data = [0; 12];
    data[..8].copy_from_slice(header);
    data[8..].copy_from_slice(&suffix);
    data
}

/// The pseudo-random function of RFC 3711 §4.3.3 and RFC 6188 §3, keyed by a master key.
struct Source {
    function: CounterMode,
    salt: [u8; 14],
}

impl Source {
    fn new(suite: Suite, master: &MasterKey) -> Self {
        let (key, rest) = master.split_at(suite.key());
        // A salt of 12 bytes is filled up with zeros (RFC 7714 §11).
        let mut salt = [0; 14];
        salt[..suite.salt()].copy_from_slice(&rest[..suite.salt()]);
        let function = match <&[u8; 16]>::try_from(key) {
            Ok(key) => CounterMode::bits128(key, &[0; 14]),
            Err(_) => CounterMode::bits256(key.first_chunk().expect("32, if not 16"), &[0; 14]),
        };
        Self { function, salt }
    }

    /// So many bytes at this label.
    fn expand<const N: usize>(&self, label: u8) -> [u8; N] {
        let mut start = [0; 16];
        start[..14].copy_from_slice(&self.salt);
        start[7] ^= label;
        let mut bytes = [0; N];
        self.function.keystream(start, &mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
    }

    /// A master key as far as this text goes, and zeros.
    fn source(suite: Suite, text: &str) -> Source {
        let mut text = text.to_owned();
        text.extend(std::iter::repeat_n(
            '0',
            2 * size_of::<MasterKey>() - text.len(),
        ));
        Source::new(suite, &hex(&text))
    }

    /// The worked examples of RFC 3711 appendix B.3 and RFC 6188 §7.2.
    #[test]
    fn the_examples_of_the_rfcs() {
        let short = source(
            Suite::AesCm128HmacSha1_80,
            "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6",
        );
        assert_eq!(
            short.expand::<16>(0),
            hex("c61e7a93744f39ee10734afe3ff7a087")
        );
        assert_eq!(
            short.expand::<20>(1),
            hex("cebe321f6ff7716b6fd4ab49af256a156d38baa4")
        );
        assert_eq!(short.expand::<14>(2), hex("30cbbc08863d8c85d49db34a9ae1"));
        let long = source(
            Suite::AesCm256HmacSha1_80,
            "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b63b04803de51ee7c96423ab5b78d2",
        );
        assert_eq!(
            long.expand::<32>(0),
            hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4")
        );
        assert_eq!(
            long.expand::<20>(1),
            hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05")
        );
        assert_eq!(long.expand::<14>(2), hex("fa31791685ca444a9e07c6c64e93"));
    }

    /// The keystreams of RFC 3711 appendix B.2 and RFC 6188 §7.1, past the first carry of their counters.
    #[test]
    fn the_keystreams_of_the_rfcs() {
        let short = CounterMode::bits128(&hex("2b7e151628aed2a6abf7158809cf4f3c"), &[0; 14]);
        let key = hex("57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98");
        let long = CounterMode::bits256(&key, &[0; 14]);
        for (cipher, first, last) in [
            (
                short,
                "e03ead0935c95e80e166b16dd92b4eb4",
                "6a2cc3787889374fbeb4c81b17ba6c44",
            ),
            (
                long,
                "92bdd28a93c3f52511c677d08b5515a4",
                "6eb246913062a16891433e97dd01a57f",
            ),
        ] {
            let mut bytes = vec![0; 16 * 65_282];
            cipher.keystream(hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000"), &mut bytes);
            assert_eq!(bytes[..16], hex::<16>(first));
            assert_eq!(bytes[16 * 65_281..], hex::<16>(last));
        }
    }
}
