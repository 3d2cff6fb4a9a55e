//! ITU-T G.711, written for the emulators alone, so that what they hear does not depend on what the SBC's own
//! tables say. One octet a sample, 8,000 samples a second, linear side 16 bits.

/// The two laws of G.711, by the names and static payload types of RFC 3551 §6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// PCMA, payload type 8.
    A,
    /// PCMU, payload type 0.
    Mu,
}

impl Law {
    /// RFC 3551 §6.
    pub fn payload_type(self) -> u8 {
        match self {
            Self::A => 8,
            Self::Mu => 0,
        }
    }

    /// The law with this static payload type.
    pub fn of(payload_type: u8) -> Option<Self> {
        match payload_type {
            8 => Some(Self::A),
            0 => Some(Self::Mu),
            _ => None,
        }
    }

    /// As in an `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "PCMA",
            Self::Mu => "PCMU",
        }
    }

    /// One sample, compressed.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Self::A => encode_a(sample),
            Self::Mu => encode_mu(sample),
        }
    }

    /// One octet, expanded.
    pub fn decode(self, octet: u8) -> i16 {
        match self {
            Self::A => decode_a(octet),
            Self::Mu => decode_mu(octet),
        }
    }
}

/// Thirteen bits: sign, segment, four bits of mantissa; even bits inverted.
fn encode_a(sample: i16) -> u8 {
    let positive = sample >= 0;
    let magnitude = (if positive {
        i32::from(sample)
    } else {
        !i32::from(sample)
    }) >> 3;
    let segment = (32 - (magnitude >> 5).leading_zeros()) as i32;
    let mantissa = if segment < 2 {
        magnitude >> 1
    } else {
        magnitude >> segment
    };
    let octet = (segment << 4) | (mantissa & 0x0f);
    (octet as u8 | if positive { 0x80 } else { 0 }) ^ 0x55
}

fn decode_a(octet: u8) -> i16 {
    let octet = octet ^ 0x55;
    let (segment, mantissa) = ((octet >> 4) & 7, i32::from(octet & 0x0f) << 4);
    let magnitude = match segment {
        0 => mantissa + 8,
        segment => (mantissa + 0x108) << (segment - 1),
    };
    (if octet & 0x80 != 0 {
        magnitude
    } else {
        -magnitude
    }) as i16
}

/// What µ-law adds to a magnitude before it looks for the segment.
const BIAS: i32 = 0x84;

fn encode_mu(sample: i16) -> u8 {
    let negative = sample < 0;
    let magnitude = i32::from(sample).abs().min(32_635) + BIAS;
    let segment = 24 - magnitude.leading_zeros() as i32;
    let mantissa = (magnitude >> (segment + 3)) & 0x0f;
    !((if negative { 0x80 } else { 0 } | (segment << 4) | mantissa) as u8)
}

fn decode_mu(octet: u8) -> i16 {
    let octet = !octet;
    let segment = (octet >> 4) & 7;
    let magnitude = (((i32::from(octet & 0x0f) << 3) + BIAS) << segment) - BIAS;
    (if octet & 0x80 != 0 {
        -magnitude
    } else {
        magnitude
    }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets that ITU-T G.711 names: silence, the smallest and the largest magnitudes.
    #[test]
    fn the_corners_are_those_of_the_recommendation() {
        assert_eq!((Law::A.encode(0), Law::A.decode(0xd5)), (0xd5, 8));
        assert_eq!(
            (Law::A.encode(i16::MAX), Law::A.decode(0xaa)),
            (0xaa, 32_256)
        );
        assert_eq!(
            (Law::A.encode(i16::MIN), Law::A.decode(0x2a)),
            (0x2a, -32_256)
        );
        assert_eq!((Law::Mu.encode(0), Law::Mu.decode(0xff)), (0xff, 0));
        assert_eq!(
            (Law::Mu.encode(i16::MAX), Law::Mu.decode(0x80)),
            (0x80, 32_124)
        );
        assert_eq!(
            (Law::Mu.encode(i16::MIN), Law::Mu.decode(0x00)),
            (0x00, -32_124)
        );
    }

    /// Every octet, expanded and compressed, is itself (µ-law has two zeros).
    #[test]
    fn every_octet_survives_a_round_trip() {
        for octet in 0..=u8::MAX {
            assert_eq!(Law::A.encode(Law::A.decode(octet)), octet);
            if octet != 0x7f {
                assert_eq!(Law::Mu.encode(Law::Mu.decode(octet)), octet);
            }
        }
    }
}
