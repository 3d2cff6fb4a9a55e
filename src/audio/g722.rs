//! ITU-T G.722 at 64 kbit/s, as far as telephony needs it: of its two bands the lower one is what G.711 has, 8000 samples a
//! second, and the upper one is silent in what we write and left out of what we read. An octet is a sample.
//!
//! Blocks and variables bear the names of the recommendation's §6.2.

/// Table 14: decision levels of the lower band's quantizer.
const Q6: [i32; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940,
    1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// Table 17: what four bits of the lower band stand for.
const QQ4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];
/// Table 18: what six bits of it stand for.
const QQ6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
/// Table 21 for what two bits of the upper band stand for.
const QQ2: [i32; 4] = [-7408, -1616, 7408, 1616];
/// How much each of the lower band's four bits moves its scale.
const WL: [i32; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];
/// The same for the upper band's two bits.
const WH: [i32; 4] = [798, -214, 798, -214];
/// Table 20: 2^(n/32) in units of 2^-11.
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// Reads what a peer says.
pub struct Decoder(Band);

impl Decoder {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self(Band::lower())
    }

    /// The sample that an octet stands for.
    pub fn sample(&mut self, octet: u8) -> i16 {
        let code = usize::from(octet & 0x3f);
        let band = &mut self.0;
        let heard = band.s + ((band.det * QQ6[code]) >> 15);
        band.lower_took(code >> 2);
        // Fifteen bits are what the lower band has.
        (heard.clamp(-16_384, 16_383) << 1) as i16
    }
}

/// Writes what a peer is to hear.
pub struct Encoder {
    lower: Band,
    upper: Band,
}

impl Encoder {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self {
            lower: Band::lower(),
            upper: Band::upper(),
        }
    }

    /// The octet for a sample.
    pub fn octet(&mut self, sample: i16) -> u8 {
        self.bands(i32::from(sample) >> 1, 0)
    }

    fn bands(&mut self, lower: i32, upper: i32) -> u8 {
        self.upper.write_upper(upper) << 6 | self.lower.write_lower(lower)
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// The predictor and the scale of one band; both sides of a stream keep the same.
struct Band {
    /// The next sample as it is predicted, and the part that its zeros have in that.
    s: i32,
    sz: i32,
    /// Logarithm of the scale, and the scale.
    nb: i32,
    det: i32,
    /// The last two reconstructed samples, and these without the part of the poles.
    r: [i32; 2],
    p: [i32; 2],
    /// Coefficients of the poles and of the zeros.
    a: [i32; 2],
    b: [i32; 6],
    /// The last differences, for the zeros.
    d: [i32; 6],
}

impl Band {
    fn lower() -> Self {
        Self::new(32)
    }

    fn upper() -> Self {
        Self::new(8)
    }

    fn new(det: i32) -> Self {
        Self {
            s: 0,
            sz: 0,
            nb: 0,
            det,
            r: [0; 2],
            p: [0; 2],
            a: [0; 2],
            b: [0; 6],
            d: [0; 6],
        }
    }

    /// SUBTRA and QUANTL.
    fn write_lower(&mut self, sample: i32) -> u8 {
        let difference = clip(sample - self.s);
        let size = magnitude(difference);
        // All are compared, for nobody can foretell where to stop.
        let crossed = Q6[1..]
            .iter()
            .filter(|level| size >= (**level * self.det) >> 12);
        // Table 15: the two smallest steps below zero have codes out of the row.
        let code = match (difference < 0, 1 + crossed.count()) {
            (true, step @ ..=2) => 64 - step,
            (true, step) => 34 - step,
            (false, step) => 62 - step,
        };
        self.lower_took(code >> 2);
        code as u8
    }

    /// INVQAL, LOGSCL and SCALEL.
    fn lower_took(&mut self, code: usize) {
        let difference = (self.det * QQ4[code]) >> 15;
        self.rescale(WL[code], 18_432, 8);
        self.predict(difference);
    }

    /// SUBTRA, QUANTH, INVQAH, LOGSCH and SCALEH.
    fn write_upper(&mut self, sample: i32) -> u8 {
        let difference = clip(sample - self.s);
        let large = magnitude(difference) >= (564 * self.det) >> 12;
        let code = match (difference < 0, large) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        };
        let difference = (self.det * QQ2[code]) >> 15;
        self.rescale(WH[code], 22_528, 10);
        self.predict(difference);
        code as u8
    }

    fn rescale(&mut self, step: i32, most: i32, shift: i32) {
        self.nb = (((self.nb * 127) >> 7) + step).clamp(0, most);
        let (power, whole) = (ILB[(self.nb >> 6 & 31) as usize], shift - (self.nb >> 11));
        let scale = if whole < 0 {
            power << -whole
        } else {
            power >> whole
        };
        self.det = scale << 2;
    }

    /// Block 4: the filters learn from this difference, and predict the next sample.
    fn predict(&mut self, d: i32) {
        let (r, p) = (clip(self.s + d), clip(self.sz + d));

        // UPPOL2 and UPPOL1.
        let a1 = clip(self.a[0] << 2);
        let turn = (-toward(a1, p, self.p[0])).min(32_767) >> 7;
        let a2 = turn + toward(128, p, self.p[1]) + ((self.a[1] * 32_512) >> 15);
        let a2 = a2.clamp(-12_288, 12_288);
        let a1 = clip(toward(192, p, self.p[0]) + ((self.a[0] * 32_640) >> 15));
        let most = 15_360 - a2;
        self.a = [a1.clamp(-most, most), a2];

        // UPZERO.
        let step = if d == 0 { 0 } else { 128 };
        for (b, old) in self.b.iter_mut().zip(self.d) {
            *b = clip(toward(step, d, old) + ((*b * 32_640) >> 15));
        }

        // DELAYA.
        let [first, second, third, fourth, fifth, _] = self.d;
        self.d = [d, first, second, third, fourth, fifth];
        self.r = [r, self.r[0]];
        self.p = [p, self.p[0]];

        // FILTEP, FILTEZ and PREDIC.
        let weighed = |(weight, value): (&i32, &i32)| (weight * clip(value << 1)) >> 15;
        let poles: i32 = self.a.iter().zip(&self.r).map(weighed).sum();
        let zeros: i32 = self.b.iter().zip(&self.d).map(weighed).sum();
        self.sz = clip(zeros);
        self.s = clip(clip(poles) + self.sz);
    }
}

fn clip(value: i32) -> i32 {
    value.clamp(i16::MIN.into(), i16::MAX.into())
}

/// The step if two have one sign, else its negative; without a branch, which would be mistaken half of the time.
fn toward(step: i32, one: i32, other: i32) -> i32 {
    let differ = (one ^ other) >> 31;
    (step ^ differ) - differ
}

/// Without its sign, as QUANTL and QUANTH want it.
fn magnitude(difference: i32) -> i32 {
    if difference < 0 {
        !difference
    } else {
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(numbers: impl Iterator<Item = u32>) -> u32 {
        numbers.fold(0, |sum: u32, number| {
            sum.wrapping_mul(31).wrapping_add(number)
        })
    }

    /// As libg722 reads them: octets of a fixed row of numbers, and a sum over the samples that come of them.
    #[test]
    fn octets_are_read_as_others_read_them() {
        let mut number = 1u32;
        let mut decoder = Decoder::new();
        let samples: Vec<i16> = (0..4000)
            .map(|_| {
                number = number.wrapping_mul(1_103_515_245).wrapping_add(12_345);
                decoder.sample((number >> 16) as u8)
            })
            .collect();
        assert_eq!(samples[..8], [-38, -4, -2, 38, -66, 2, 158, 8]);
        let all = sum(samples.iter().map(|sample| u32::from(*sample as u16)));
        assert_eq!(all, 2_900_941_044);
    }

    /// As libg722 writes them: a loud signal of 16,000 samples a second that fills both bands, split by the filter of table 11.
    #[test]
    fn octets_are_written_as_others_write_them() {
        const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
        let signal: Vec<i32> = (0..320).map(|n| (n * 97 % 512 - 256) * 100).collect();
        let mut window = [0; 24];
        let mut encoder = Encoder::new();
        let octets: Vec<u8> = signal
            .chunks(2)
            .map(|two| {
                window.rotate_left(2);
                window[22..].copy_from_slice(two);
                let odd: i32 = (0..12).map(|n| window[2 * n] * QMF[n]).sum();
                let even: i32 = (0..12).map(|n| window[2 * n + 1] * QMF[11 - n]).sum();
                encoder.bands((even + odd) >> 14, (even - odd) >> 14)
            })
            .collect();
        assert_eq!(
            octets[..8],
            [0x24, 0x84, 0x20, 0x84, 0x20, 0x84, 0x84, 0x25]
        );
        assert_eq!(sum(octets.into_iter().map(u32::from)), 3_295_653_256);
    }

    /// Whatever comes, nothing overflows: the loudest square wave, and every octet for long.
    #[test]
    fn extremes_do_no_harm() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for n in 0..4000 {
            let sample = if n / 40 % 2 == 0 { i16::MAX } else { i16::MIN };
            let heard = decoder.sample(encoder.octet(sample));
            assert!(n < 100 || (heard < 0) == (sample < 0) || n % 40 < 8);
        }
        for octet in 0..=255 {
            for _ in 0..200 {
                decoder.sample(octet);
            }
        }
    }
}
