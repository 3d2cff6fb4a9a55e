use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The randomness of one owner: tags, branches, Call-IDs, nonces and SRTP keys are drawn from it.
///
/// Code below the line gets one handed in, seeded by the operating system in the product and by a printed number
/// in tests, so that a failing simulation can be run again.
#[derive(Debug, Clone)]
pub struct Random(ChaCha12Rng);

impl Random {
    /// A generator for this 256-bit seed. In the product the seed must come from the operating system.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// A generator for a test's number.
    pub fn from_number(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    /// Another generator, independent of this one from here on.
    pub fn split(&mut self) -> Self {
        Self::from_seed(self.bytes())
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A random number.
    pub fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A random number.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// `length` characters of lower-case base 32, five random bits in each: safe in every SIP token.
    pub fn token(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        (0..length)
            .map(|_| ALPHABET[self.u32() as usize % 32] as char)
            .collect()
    }

    /// A version 4 UUID.
    pub fn uuid(&mut self) -> uuid::Uuid {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same seed draws the same tokens, another seed others.
    #[test]
    fn a_seed_decides_everything() {
        let draw = |seed| Random::from_number(seed).token(20);
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(
            draw(7)
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        );
    }
}
