use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes128Enc, Aes256Enc, Block};

/// Blocks of keystream made at once: enough for 20 ms of G.711, and for the processor to work on them in parallel.
const BATCH: usize = 11;

/// AES in counter mode with a session key and salt (RFC 3711 §4.1.1, RFC 6188 §2).
#[derive(Clone)]
pub(super) struct CounterMode {
    aes: Aes,
    salt: [u8; 14],
}

#[derive(Clone)]
#[allow(
    clippy::large_enum_variant,
    reason = "the common one is found at once, without a second look at memory for each packet"
)]
enum Aes {
    Bits128(Aes128Enc),
    /// Boxed: it is larger by a third, and rare.
    Bits256(Box<Aes256Enc>),
}

impl Aes {
    fn encrypt(&self, blocks: &mut [Block]) {
        match self {
            Self::Bits128(aes) => aes.encrypt_blocks(blocks),
            Self::Bits256(aes) => aes.encrypt_blocks(blocks),
        }
    }
}

impl CounterMode {
    /// With a key of 16 bytes.
    pub(super) fn bits128(key: &[u8; 16], salt: &[u8; 14]) -> Self {
        Self {
            aes: Aes::Bits128(Aes128Enc::new(&Array::from(*key))),
            salt: *salt,
        }
    }

    /// With a key of 32 bytes.
    pub(super) fn bits256(key: &[u8; 32], salt: &[u8; 14]) -> Self {
        Self {
            aes: Aes::Bits256(Aes256Enc::new(&Array::from(*key)).into()),
            salt: *salt,
        }
    }

    /// Encrypts or decrypts what a source sends under an index of 48 (RTP) or 31 bits (RTCP).
    pub(super) fn apply(&self, ssrc: u32, index: u64, bytes: &mut [u8]) {
        let mut start = [0; 16];
        start[4..8].copy_from_slice(&ssrc.to_be_bytes());
        start[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
        for (byte, salt) in start.iter_mut().zip(&self.salt) {
            *byte ^= salt;
        }
        self.keystream(start, bytes);
    }

    /// Adds the keystream that starts at this block, whose last 16 bits count.
    pub(super) fn keystream(&self, start: [u8; 16], bytes: &mut [u8]) {
        let mut counter = 0u16;
        for chunk in bytes.chunks_mut(16 * BATCH) {
            let mut blocks = [Array::from(start); BATCH];
            let blocks = &mut blocks[..chunk.len().div_ceil(16)];
            for block in &mut *blocks {
                block[14..].copy_from_slice(&counter.to_be_bytes());
                counter = counter.wrapping_add(1);
            }
            self.aes.encrypt(blocks);
            // Whole blocks as numbers: byte by byte this would cost more than the cipher.
            let (whole, rest) = chunk.as_chunks_mut::<16>();
            for (bytes, key) in whole.iter_mut().zip(&*blocks) {
                *bytes = (u128::from_ne_bytes(*bytes) ^ u128::from_ne_bytes(key.0)).to_ne_bytes();
            }
            for (byte, key) in rest.iter_mut().zip(blocks.last().into_iter().flatten()) {
                *byte ^= key;
            }
        }
    }
}
