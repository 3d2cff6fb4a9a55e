use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::sync::Arc;

/// Bytes of the tag behind what is encrypted.
pub(super) const TAG: usize = 16;
/// The longest payload that is opened; a datagram of voice is far shorter.
const LONGEST: usize = 2048;

/// AES-GCM with a session key and salt (RFC 7714).
#[derive(Clone)]
pub(super) struct Gcm {
    key: Arc<LessSafeKey>,
    salt: [u8; 12],
}

/// RFC 7714 §8.1: what a source sends under an index of 48 bits.
pub(super) fn rtp_nonce(ssrc: u32, index: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    nonce
}

/// RFC 7714 §9.1: the same for RTCP, with an index of 31 bits.
pub(super) fn rtcp_nonce(ssrc: u32, index: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[8..].copy_from_slice(&(index as u32).to_be_bytes());
    nonce
}

impl Gcm {
    pub(super) fn bits128(key: &[u8; 16], salt: [u8; 12]) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, key).expect("16 bytes are such a key");
        Self::of(key, salt)
    }

    pub(super) fn bits256(key: &[u8; 32], salt: [u8; 12]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are such a key");
        Self::of(key, salt)
    }

    fn of(key: UnboundKey, salt: [u8; 12]) -> Self {
        Self {
            key: Arc::new(LessSafeKey::new(key)),
            salt,
        }
    }

    fn nonce(&self, mut nonce: [u8; 12]) -> Nonce {
        for (byte, salt) in nonce.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts in place; the answer is the tag. `None` for what no packet is long enough to be.
    pub(super) fn seal(
        &self,
        nonce: [u8; 12],
        header: &[u8],
        body: &mut [u8],
    ) -> Option<[u8; TAG]> {
        let nonce = self.nonce(nonce);
        let sealed = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(header), body);
        sealed.ok()?.as_ref().try_into().ok()
    }

    /// Decrypts in place if the tag is right; if not, nothing changes, so that another nonce can be tried.
    pub(super) fn open(&self, nonce: [u8; 12], header: &[u8], body: &mut [u8], tag: &[u8]) -> bool {
        let mut plain = [0; LONGEST];
        let Some(plain) = plain.get_mut(..body.len()) else {
            return false;
        };
        let (nonce, header) = (self.nonce(nonce), Aad::from(header));
        let opened = self
            .key
            .open_separate_gather(nonce, header, body, tag, plain);
        if opened.is_ok() {
            body.copy_from_slice(plain);
        }
        opened.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; 12] = *b"Quid pro quo";

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
            .collect()
    }

    fn keys() -> [Gcm; 2] {
        let long: [u8; 32] = std::array::from_fn(|n| n as u8);
        let short = std::array::from_fn(|n| n as u8);
        [Gcm::bits128(&short, SALT), Gcm::bits256(&long, SALT)]
    }

    /// The packets of RFC 7714 §16.1.1 and §16.2.1, with session keys of both lengths.
    #[test]
    fn the_rtp_packets_of_the_rfc() {
        let header = hex("8040f17b8041f8d35501a0b2");
        let plain = b"Gallia est omnis divisa in partes tres";
        for (gcm, sealed) in keys().iter().zip([
            "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a91\
             52cf765ee4390cce",
            "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0\
             f9bb7878d7a76c13",
        ]) {
            let nonce = rtp_nonce(0x5501_a0b2, 0xf17b);
            let mut body = plain.to_vec();
            let tag = gcm.seal(nonce, &header, &mut body).unwrap();
            assert_eq!([&body[..], &tag].concat(), hex(sealed));
            assert!(!gcm.open(rtp_nonce(0x5501_a0b2, 0x1_f17b), &header, &mut body, &tag));
            assert!(gcm.open(nonce, &header, &mut body, &tag));
            assert_eq!(body, plain);
        }
    }

    /// The packets of RFC 7714 §17.1 and §17.2.
    #[test]
    fn the_rtcp_packets_of_the_rfc() {
        let header = hex("81c8000d4d617273800005d4");
        let plain = hex(
            "4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
        );
        for (gcm, sealed) in keys().iter().zip([
            "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b\
             c84aa45896cf4d2fc5abf87245d9eade",
            "d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad\
             1d1eb30c4446839f57ff6f6cb26ac3be",
        ]) {
            let nonce = rtcp_nonce(0x4d61_7273, 0x5d4);
            let mut body = plain.clone();
            let tag = gcm.seal(nonce, &header, &mut body).unwrap();
            assert_eq!([&body[..], &tag].concat(), hex(sealed));
            assert!(gcm.open(nonce, &header, &mut body, &tag) && body == plain);
        }
    }
}
