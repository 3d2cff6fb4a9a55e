use super::MasterKey;
use super::cipher::CounterMode;
use super::hmac::HmacSha1;

/// What encrypts and authenticates one protocol under one master key.
#[derive(Clone)]
pub(super) struct SessionKeys {
    pub(super) cipher: CounterMode,
    pub(super) code: HmacSha1,
}

impl SessionKeys {
    /// Keys for SRTP (RFC 3711 §4.3.1; the key derivation rate is zero).
    pub(super) fn rtp(master: &MasterKey) -> Self {
        Self::derive(master, 0)
    }

    /// Keys for SRTCP (RFC 3711 §4.3.2).
    pub(super) fn rtcp(master: &MasterKey) -> Self {
        Self::derive(master, 3)
    }

    /// Cipher key, authentication key and salt have three labels in a row.
    fn derive(master: &MasterKey, first_label: u8) -> Self {
        let key = expand::<16>(master, first_label);
        let code = expand::<20>(master, first_label + 1);
        let salt = expand::<14>(master, first_label + 2);
        Self {
            cipher: CounterMode::new(&key, &salt),
            code: HmacSha1::new(&code),
        }
    }
}

/// The pseudo-random function of RFC 3711 §4.3.3 at this label.
fn expand<const N: usize>(master: &MasterKey, label: u8) -> [u8; N] {
    let (key, salt) = master
        .split_first_chunk::<16>()
        .expect("a master key has thirty bytes");
    let mut start = [0; 16];
    start[..14].copy_from_slice(salt);
    start[7] ^= label;
    let mut bytes = [0; N];
    CounterMode::new(key, &[0; 14]).keystream(start, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
    }

    /// The worked example of RFC 3711 appendix B.3.
    #[test]
    fn the_example_of_the_rfc() {
        let master = hex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
        assert_eq!(
            expand::<16>(&master, 0),
            hex("c61e7a93744f39ee10734afe3ff7a087")
        );
        assert_eq!(
            expand::<20>(&master, 1),
            hex("cebe321f6ff7716b6fd4ab49af256a156d38baa4")
        );
        assert_eq!(
            expand::<14>(&master, 2),
            hex("30cbbc08863d8c85d49db34a9ae1")
        );
    }

    /// The keystream of RFC 3711 appendix B.2, past the first carry of its counter.
    #[test]
    fn the_keystream_of_the_rfc() {
        let cipher = CounterMode::new(&hex("2b7e151628aed2a6abf7158809cf4f3c"), &[0; 14]);
        let mut bytes = vec![0; 16 * 65_282];
        cipher.keystream(hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000"), &mut bytes);
        assert_eq!(bytes[..16], hex::<16>("e03ead0935c95e80e166b16dd92b4eb4"));
        assert_eq!(
            bytes[16 * 65_281..],
            hex::<16>("6a2cc3787889374fbeb4c81b17ba6c44")
        );
    }
}
