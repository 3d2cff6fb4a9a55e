//! Voice in one coding made voice in another: between the laws of G.711 by table, to and from G.722 by way of samples.
//!
//! In each of them an octet is an eighth of a millisecond, and the RTP clock of G.722 is 8000 although it has 16,000
//! samples a second (RFC 3551 §4.5.2): a packet keeps its length, its timestamp and its place. Nothing is allocated.

use super::clip::{FRAME, Law};
use super::g711;
use super::g722::{Decoder, Encoder};

/// How voice is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// ITU-T G.711.
    G711(Law),
    /// ITU-T G.722 at 64 kbit/s.
    G722,
}

/// A-law octets as µ-law, and the other way.
static A_TO_MU: [u8; 256] = table(&g711::ALAW, &g711::MULAW);
static MU_TO_A: [u8; 256] = table(&g711::MULAW, &g711::ALAW);

/// For each octet of one law that of the other which sounds most like it.
const fn table(from: &[i16; 256], to: &[i16; 256]) -> [u8; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let (mut best, mut least, mut other) = (0, i32::MAX, 0);
        while other < 256 {
            let distance = (from[octet] as i32 - to[other] as i32).abs();
            // Of the two zeros of µ-law the one of this sign.
            let same_sign = (octet ^ other) & 0x80 == 0;
            if distance < least || distance == least && same_sign {
                (best, least) = (other, distance);
            }
            other += 1;
        }
        table[octet] = best as u8;
        octet += 1;
    }
    table
}

/// One direction of one call, towards one coding.
pub struct Transcoder {
    to: Coding,
    decoder: Decoder,
    encoder: Encoder,
}

impl Transcoder {
    /// Nothing was said yet.
    pub fn new(to: Coding) -> Self {
        Self {
            to,
            decoder: Decoder::new(),
            encoder: Encoder::new(),
        }
    }

    /// Makes octets of another coding those of this one, in place.
    pub fn convert(&mut self, from: Coding, octets: &mut [u8]) {
        let table = match (from, self.to) {
            (Coding::G711(Law::A), Coding::G711(Law::Mu)) => &A_TO_MU,
            (Coding::G711(Law::Mu), Coding::G711(Law::A)) => &MU_TO_A,
            (from, to) if from == to => return,
            (Coding::G722, _) | (_, Coding::G722) => return self.by_way_of_samples(from, octets),
            (Coding::G711(_), Coding::G711(_)) => return,
        };
        for octet in octets {
            *octet = table[usize::from(*octet)];
        }
    }

    fn by_way_of_samples(&mut self, from: Coding, octets: &mut [u8]) {
        for part in octets.chunks_mut(FRAME) {
            let mut samples = [0; FRAME];
            let samples = &mut samples[..part.len()];
            match from {
                Coding::G711(law) => expand(law, part, samples),
                Coding::G722 => {
                    for (sample, octet) in samples.iter_mut().zip(&*part) {
                        *sample = self.decoder.sample(*octet);
                    }
                }
            }
            self.encode(samples, part);
        }
    }

    /// Writes these samples in this coding; as many as there is room for.
    pub fn encode(&mut self, samples: &[i16], into: &mut [u8]) {
        match self.to {
            Coding::G711(law) => {
                let law = match law {
                    Law::A => g711::alaw,
                    Law::Mu => g711::mulaw,
                };
                for (octet, sample) in into.iter_mut().zip(samples) {
                    *octet = law(*sample);
                }
            }
            Coding::G722 => {
                for (octet, sample) in into.iter_mut().zip(samples) {
                    *octet = self.encoder.octet(*sample);
                }
            }
        }
    }

    /// Writes silence.
    pub fn silence(&mut self, into: &mut [u8]) {
        for part in into.chunks_mut(FRAME) {
            let samples = &[0; FRAME][..part.len()];
            self.encode(samples, part);
        }
    }
}

/// Octets of G.711 as samples.
pub fn expand(law: Law, octets: &[u8], into: &mut [i16]) {
    let table = match law {
        Law::A => &g711::ALAW,
        Law::Mu => &g711::MULAW,
    };
    for (sample, octet) in into.iter_mut().zip(octets) {
        *sample = table[usize::from(*octet)];
    }
}

#[cfg(test)]
mod tests {
    use super::super::clip::RATE;
    use super::super::goertzel::power;
    use super::*;
    use std::f32::consts::TAU;

    const A: Coding = Coding::G711(Law::A);
    const MU: Coding = Coding::G711(Law::Mu);
    const G722: Coding = Coding::G722;

    fn sine(hertz: f32, amplitude: f32, samples: usize) -> Vec<i16> {
        let wave = |n| (amplitude * (TAU * hertz * n as f32 / RATE as f32).sin()) as i16;
        (0..samples).map(wave).collect()
    }

    /// A tone written in one coding, in packets of 20 ms converted on this way, and read from the last.
    fn through(way: &[Coding], tone: &[i16]) -> Vec<i16> {
        let mut octets = vec![0; tone.len()];
        Transcoder::new(way[0]).encode(tone, &mut octets);
        let mut steps: Vec<_> = way[1..].iter().map(|to| Transcoder::new(*to)).collect();
        for packet in octets.chunks_mut(FRAME) {
            for (step, from) in steps.iter_mut().zip(way) {
                step.convert(*from, packet);
            }
        }
        let mut samples = vec![0; tone.len()];
        match way[way.len() - 1] {
            Coding::G711(law) => expand(law, &octets, &mut samples),
            Coding::G722 => {
                let mut decoder = Decoder::new();
                for (sample, octet) in samples.iter_mut().zip(octets) {
                    *sample = decoder.sample(octet);
                }
            }
        }
        samples
    }

    /// From law to law every octet sounds as it did, within half a step of the coarser one.
    #[test]
    fn the_laws_meet_as_closely_as_they_can() {
        for octet in 0..=255u8 {
            for (from, there, back) in [
                (&g711::ALAW, &A_TO_MU, &g711::MULAW),
                (&g711::MULAW, &MU_TO_A, &g711::ALAW),
            ] {
                let (before, other) = (from[usize::from(octet)], there[usize::from(octet)]);
                let after = back[usize::from(other)];
                let step = (i32::from(before).abs() / 24).max(8);
                let error = (i32::from(before) - i32::from(after)).abs();
                assert!(error <= step, "{octet}: {before} became {after}");
            }
        }
        assert_eq!(
            (A_TO_MU[0xd5], MU_TO_A[0xff], MU_TO_A[0x7f]),
            (0xfe, 0xd5, 0x55)
        );
    }

    /// Speech frequencies come out of each conversion as loud as they went in, within a decibel, and nothing is added that is
    /// louder than 27 dB below them.
    #[test]
    fn tones_pass_every_way() {
        for way in [
            &[A, MU][..],
            &[MU, A],
            &[A, G722],
            &[A, G722, MU],
            &[MU, G722, A],
        ] {
            for hertz in [300.0, 1000.0, 2000.0, 3100.0] {
                let tone = sine(hertz, 8000.0, RATE);
                let heard = &through(way, &tone)[RATE / 4..][..RATE / 2];
                let wanted = 8000.0f32.powi(2) / 4.0;
                let found = power(heard, hertz);
                assert!(
                    (found / wanted).log10().abs() < 0.1,
                    "{way:?} {hertz}: {found}"
                );
                let all = heard.iter().map(|s| f32::from(*s).powi(2)).sum::<f32>();
                let noise = all / heard.len() as f32 - 2.0 * found;
                assert!(noise < 2.0 * found / 500.0, "{way:?} {hertz}: {noise}");
            }
        }
    }

    /// Silence is as silent as each coding can say it, and packets of any length are converted whole.
    #[test]
    fn silence_and_odd_lengths() {
        for to in [A, MU, G722] {
            let mut octets = [7; 500];
            Transcoder::new(to).silence(&mut octets);
            let mut back = Transcoder::new(MU);
            back.convert(to, &mut octets);
            let mut samples = [1; 500];
            expand(Law::Mu, &octets, &mut samples);
            assert!(samples.iter().all(|s| s.abs() <= 8), "{to:?}");
        }
        for length in [0, 1, 159, 161, 1500] {
            let mut octets = vec![0xd5; length];
            Transcoder::new(G722).convert(A, &mut octets);
            assert_eq!(octets.len(), length);
        }
    }
}
