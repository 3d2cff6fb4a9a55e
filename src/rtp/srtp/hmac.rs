use sha1::block_api::compress;

const BLOCK: usize = 64;
/// The initial state of SHA-1 (FIPS 180-4 §5.3.1).
const INITIAL: [u32; 5] = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
];

/// HMAC-SHA1 (RFC 2104) with both pads of the key hashed beforehand, which saves half the work on short messages.
#[derive(Clone)]
pub(super) struct HmacSha1 {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl HmacSha1 {
    pub(super) fn new(key: &[u8; 20]) -> Self {
        let after = |pad: u8| {
            let mut block = [pad; BLOCK];
            for (byte, key) in block.iter_mut().zip(key) {
                *byte ^= key;
            }
            let mut state = INITIAL;
            compress(&mut state, &[block]);
            state
        };
        Self {
            inner: after(0x36),
            outer: after(0x5c),
        }
    }

    /// The code of `message` followed by `suffix`.
    pub(super) fn code(&self, message: &[u8], suffix: [u8; 4]) -> [u8; 20] {
        let (blocks, rest) = message.as_chunks::<BLOCK>();
        let mut state = self.inner;
        compress(&mut state, blocks);
        // What is left, the suffix, a one bit, zeros and the length take one or two blocks.
        let mut tail = [0; 2 * BLOCK];
        let end = rest.len() + suffix.len();
        tail[..rest.len()].copy_from_slice(rest);
        tail[rest.len()..end].copy_from_slice(&suffix);
        finish(
            &mut state,
            &mut tail,
            end,
            BLOCK + message.len() + suffix.len(),
        );

        let mut tail = [0; 2 * BLOCK];
        let inner = bytes(state);
        tail[..inner.len()].copy_from_slice(&inner);
        let mut state = self.outer;
        finish(&mut state, &mut tail, inner.len(), BLOCK + inner.len());
        bytes(state)
    }
}

/// Pads the tail, of which `end` bytes are used, by the rule of FIPS 180-4 §5.1.1 for `total` bytes and hashes it.
fn finish(state: &mut [u32; 5], tail: &mut [u8; 2 * BLOCK], end: usize, total: usize) {
    tail[end] = 0x80;
    let length = if end < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
    tail[length - 8..length].copy_from_slice(&(8 * total as u64).to_be_bytes());
    compress(state, tail[..length].as_chunks::<BLOCK>().0);
}

fn bytes(state: [u32; 5]) -> [u8; 20] {
    let mut bytes = [0; 20];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(state) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::hmac::{Hmac, KeyInit, Mac};

    /// At every length around the block size it agrees with a general implementation.
    #[test]
    fn agrees_with_the_general_one() {
        let key = [0x5a; 20];
        let fast = HmacSha1::new(&key);
        let message: Vec<u8> = (0..300).map(|n| n as u8).collect();
        for length in 0..message.len() {
            let mut general = Hmac::<sha1::Sha1>::new_from_slice(&key).unwrap();
            general.update(&message[..length]);
            general.update(&[1, 2, 3, 4]);
            assert_eq!(
                fast.code(&message[..length], [1, 2, 3, 4])[..],
                general.finalize().into_bytes()[..]
            );
        }
    }
}
