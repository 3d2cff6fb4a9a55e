//! ITU-T G.711: A-law and µ-law octets against linear samples of 16 bits.

/// A-law octets as linear samples.
pub static ALAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = expand_alaw(octet as u8);
        octet += 1;
    }
    table
};

/// µ-law octets as linear samples.
pub static MULAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = expand_mulaw(octet as u8);
        octet += 1;
    }
    table
};

/// Added to a µ-law magnitude, so that every segment starts at a power of two.
const BIAS: i16 = 132;

/// The A-law octet of a sample.
pub fn alaw(sample: i16) -> u8 {
    // The complement, not the negative: it keeps the most negative sample in range.
    let (sign, magnitude) = if sample < 0 {
        (0x00, !sample >> 3)
    } else {
        (0x80, sample >> 3)
    };
    let segment = magnitude.checked_ilog2().unwrap_or(0).saturating_sub(4);
    // The two lowest segments share one step size.
    let mantissa = magnitude >> segment.max(1) & 0x0f;
    (sign | (segment as u8) << 4 | mantissa as u8) ^ 0x55
}

/// The µ-law octet of a sample.
pub fn mulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0x00 };
    let magnitude = sample.unsigned_abs().min(i16::MAX as u16 - BIAS as u16) + BIAS as u16;
    let segment = magnitude.ilog2() - 7;
    let mantissa = magnitude >> (segment + 3) & 0x0f;
    !(sign | (segment as u8) << 4 | mantissa as u8)
}

const fn expand_alaw(octet: u8) -> i16 {
    let octet = octet ^ 0x55;
    let segment = (octet >> 4) & 0x07;
    let mantissa = ((octet & 0x0f) as i16) << 4;
    let magnitude = match segment {
        0 => mantissa + 8,
        _ => (mantissa + 0x108) << (segment - 1),
    };
    if octet & 0x80 != 0 {
        magnitude
    } else {
        -magnitude
    }
}

const fn expand_mulaw(octet: u8) -> i16 {
    let octet = !octet;
    let magnitude = ((((octet & 0x0f) as i16) << 3) + BIAS) << ((octet >> 4) & 0x07);
    if octet & 0x80 != 0 {
        BIAS - magnitude
    } else {
        magnitude - BIAS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every octet comes back to the same loudness; only µ-law's two zeros become one.
    #[test]
    fn expansion_and_compression_agree() {
        for octet in 0..=255u8 {
            assert_eq!(alaw(ALAW[usize::from(octet)]), octet);
            let sample = MULAW[usize::from(octet)];
            assert_eq!(MULAW[usize::from(mulaw(sample))], sample);
        }
    }

    /// Full scale, silence and the loudest negative sample lie where G.711 puts them.
    #[test]
    fn extremes() {
        assert_eq!((alaw(0), alaw(-1), mulaw(0)), (0xd5, 0x55, 0xff));
        assert_eq!((alaw(i16::MAX), alaw(i16::MIN)), (0xaa, 0x2a));
        assert_eq!((mulaw(i16::MAX), mulaw(i16::MIN)), (0x80, 0x00));
        assert_eq!((ALAW[0xaa], MULAW[0x80]), (32_256, 32_124));
    }

    /// The step never exceeds a sixteenth of the sample's segment: 38 dB or so of signal to noise.
    #[test]
    fn the_error_is_small() {
        for sample in (i16::MIN..=i16::MAX).step_by(7) {
            let allowed = (i32::from(sample).abs() / 16).max(16) + 132;
            for heard in [
                ALAW[usize::from(alaw(sample))],
                MULAW[usize::from(mulaw(sample))],
            ] {
                assert!(
                    (i32::from(heard) - i32::from(sample)).abs() <= allowed,
                    "{sample} became {heard}"
                );
            }
        }
    }
}
