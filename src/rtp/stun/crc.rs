/// RFC 8489 §14.7: what tells a STUN sum from another protocol's.
const MARK: u32 = 0x5354_554e;
/// The polynomial of ITU-T V.42, its bits reversed.
const POLYNOMIAL: u32 = 0xedb8_8320;
const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let (mut sum, mut bit) = (n as u32, 0);
        while bit < 8 {
            sum = (sum >> 1) ^ (POLYNOMIAL & (sum & 1).wrapping_neg());
            bit += 1;
        }
        table[n] = sum;
        n += 1;
    }
    table
}

/// The value of a FINGERPRINT behind these bytes, whose header already counts it.
pub(super) fn fingerprint(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        (sum >> 8) ^ TABLE[usize::from(sum as u8 ^ byte)]
    });
    !sum ^ MARK
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value that every catalogue of CRCs gives for this one.
    #[test]
    fn the_sum_is_that_of_v_42() {
        assert_eq!(fingerprint(b"123456789") ^ MARK, 0xcbf4_3926);
    }
}
