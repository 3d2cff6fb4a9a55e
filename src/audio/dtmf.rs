//! Keys as pairs of tones in the voice (ITU-T Q.23), written and recognised.
//!
//! Keys are numbered as telephone events are (RFC 4733 §3.2): 0 to 9, `*`, `#`, `A` to `D`.

use super::clip::RATE;
use super::goertzel::power;
use std::f32::consts::TAU;

/// The lower tone of each row, in hertz.
const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
/// The upper tone of each column.
const COLUMNS: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// The keys by row and column.
const KEYS: [[u8; 4]; 4] = [[1, 2, 3, 12], [4, 5, 6, 13], [7, 8, 9, 14], [10, 0, 11, 15]];

/// Peaks of the two tones that we write: -10 dBm0, and 2 dB more for the upper one, which lines weaken more.
const PEAKS: [f32; 2] = [7000.0, 8800.0];

/// Writes a key's tones, from the sample of this number on.
pub fn write(key: u8, from: u32, into: &mut [i16]) {
    let place = (0..16).find(|place| KEYS[place / 4][place % 4] == key);
    let Some(place) = place else {
        return into.fill(0);
    };
    let [low, high] = [ROWS[place / 4], COLUMNS[place % 4]];
    for (sample, n) in into.iter_mut().zip(0..) {
        let n = from.wrapping_add(n);
        // Both tones come around after a second, and the sine of a large number is a rough one.
        let seconds = (n % RATE as u32) as f32 / RATE as f32;
        let wave = |hertz: f32, peak: f32| peak * (TAU * hertz * seconds).sin();
        *sample = (wave(low, PEAKS[0]) + wave(high, PEAKS[1])) as i16;
    }
}

/// Samples that are looked at together: short enough for two of them in a key of 40 ms, which is the shortest that must be
/// recognised, and longer together than the 23 ms that must not be (ITU-T Q.24).
const BLOCK: usize = 102;
/// The weakest tone, as its power: 30 dB below full scale.
const WEAKEST: f32 = 1000.0 * 1000.0 / 4.0;
/// How much stronger a tone is than the others of its group.
const ALONE: f32 = 6.3;
/// How much stronger the lower tone may be than the upper, and the upper than the lower: 8 and 6 dB.
const TWIST: [f32; 2] = [6.3, 4.0];
/// How much of all that sounds the two tones are. Speech and music have more besides.
const SHARE: f32 = 0.75;
/// Blocks without the key that end it.
const MISSES: u8 = 2;

/// Recognises keys in voice.
#[derive(Debug)]
pub struct Detector {
    block: [i16; BLOCK],
    filled: usize,
    /// What the last block sounded like.
    last: Option<u8>,
    pressed: Option<u8>,
    misses: u8,
}

impl Default for Detector {
    fn default() -> Self {
        Self {
            block: [0; BLOCK],
            filled: 0,
            last: None,
            pressed: None,
            misses: 0,
        }
    }
}

impl Detector {
    /// Listens on; the key that is pressed after these samples, if one is.
    pub fn hear(&mut self, mut samples: &[i16]) -> Option<u8> {
        while !samples.is_empty() {
            let length = samples.len().min(BLOCK - self.filled);
            let (now, rest) = samples.split_at(length);
            self.block[self.filled..][..length].copy_from_slice(now);
            self.filled += length;
            samples = rest;
            if self.filled == BLOCK {
                self.filled = 0;
                self.judge(key_in(&self.block));
            }
        }
        self.pressed
    }

    /// Whether what was heard last may be the beginning of a key, or is one.
    pub fn suspects(&self) -> bool {
        self.last.is_some()
    }

    fn judge(&mut self, heard: Option<u8>) {
        if heard.is_some() && heard == self.pressed {
            self.misses = 0;
        } else if self.pressed.is_some() {
            self.misses += 1;
            if self.misses >= MISSES {
                self.pressed = None;
            }
        } else if heard.is_some() && heard == self.last {
            (self.pressed, self.misses) = (heard, 0);
        }
        self.last = heard;
    }
}

/// The key whose tones these samples are.
fn key_in(block: &[i16]) -> Option<u8> {
    let powers = |group: [f32; 4]| group.map(|hertz| power(block, hertz));
    let (row, low) = alone(powers(ROWS))?;
    let (column, high) = alone(powers(COLUMNS))?;
    let twisted = low > high * TWIST[0] || high > low * TWIST[1];
    let squares = block.iter().map(|sample| f32::from(*sample).powi(2));
    let all = squares.sum::<f32>() / block.len() as f32;
    // The power of a sine is half of its mean square.
    let is_key = !twisted && 2.0 * (low + high) > SHARE * all;
    is_key.then_some(KEYS[row][column])
}

/// The one of a group that sounds, and how strongly.
fn alone(powers: [f32; 4]) -> Option<(usize, f32)> {
    let strongest = (0..4).max_by(|a, b| powers[*a].total_cmp(&powers[*b]))?;
    let others = (0..4).filter(|n| *n != strongest);
    let is_alone = others
        .map(|n| powers[n])
        .all(|other| powers[strongest] > ALONE * other);
    (is_alone && powers[strongest] >= WEAKEST).then_some((strongest, powers[strongest]))
}

#[cfg(test)]
mod tests {
    use super::super::clip::{FRAME, Law};
    use super::super::{g711, music};
    use super::*;
    use crate::base::Random;

    /// Keys recognised in these samples, which come in packets of 20 ms.
    fn heard(samples: &[i16]) -> Vec<u8> {
        let mut detector = Detector::default();
        let (mut keys, mut last) = (Vec::new(), None);
        for packet in samples.chunks(FRAME) {
            let now = detector.hear(packet);
            if now != last {
                keys.extend(now);
            }
            last = now;
        }
        keys
    }

    fn milliseconds(ms: usize) -> usize {
        ms * RATE / 1000
    }

    fn sines(parts: &[(f32, f32)], samples: usize) -> Vec<i16> {
        let at = |n: usize| {
            let wave =
                |(hertz, peak): &(f32, f32)| peak * (TAU * hertz * n as f32 / RATE as f32).sin();
            parts.iter().map(wave).sum::<f32>() as i16
        };
        (0..samples).map(at).collect()
    }

    /// Every key that we write, 40 ms of it and 40 ms of silence, wherever it begins, in either law.
    #[test]
    fn every_key_is_recognised() {
        for offset in [0, 13, 57, 99] {
            let mut samples = vec![0; offset];
            for key in 0..16 {
                let mut tone = vec![0; milliseconds(40)];
                write(key, 0, &mut tone);
                samples.extend(tone);
                samples.extend(vec![0; milliseconds(40)]);
            }
            let wanted: Vec<u8> = (0..16).collect();
            assert_eq!(heard(&samples), wanted);
            let coded: Vec<i16> = samples
                .iter()
                .map(|s| g711::MULAW[usize::from(g711::mulaw(*s))])
                .collect();
            assert_eq!(heard(&coded), wanted);
        }
    }

    /// A key that is held is one; a drop-out of 5 ms does not make it two, and 20 ms of it are none.
    #[test]
    fn a_key_is_one_key() {
        let mut tone = vec![0; milliseconds(2000)];
        write(5, 0, &mut tone);
        assert_eq!(heard(&tone), [5]);
        tone[milliseconds(300)..milliseconds(305)].fill(0);
        assert_eq!(heard(&tone), [5]);
        let mut short = vec![0; milliseconds(500)];
        write(5, 0, &mut short[milliseconds(103)..milliseconds(123)]);
        assert_eq!(heard(&short), [0; 0]);
    }

    /// What is written in two parts is the same as in one.
    #[test]
    fn tones_have_no_seams() {
        let (mut whole, mut parts) = ([0; 320], [0; 320]);
        write(9, 0, &mut whole);
        write(9, 0, &mut parts[..160]);
        write(9, 160, &mut parts[160..]);
        assert_eq!(whole, parts);
    }

    /// ITU-T Q.24: tones 1.5 % off are keys; one tone alone is none, nor is a pair of one group, or a pair of
    /// which one is 12 dB weaker.
    #[test]
    fn only_the_right_pairs_are_keys() {
        let pair = |low: f32, high: f32, peaks: [f32; 2]| {
            heard(&sines(
                &[(low, peaks[0]), (high, peaks[1])],
                milliseconds(200),
            ))
        };
        let even = [6000.0, 6000.0];
        for (row, low) in ROWS.iter().enumerate() {
            for (column, high) in COLUMNS.iter().enumerate() {
                let key = KEYS[row][column];
                for off in [0.985, 1.0, 1.015] {
                    assert_eq!(
                        pair(low * off, high * off, even),
                        [key],
                        "{low} {high} {off}"
                    );
                }
            }
        }
        assert_eq!(pair(770.0, 1336.0, [8000.0, 4000.0]), [5]);
        assert_eq!(pair(770.0, 1336.0, [4000.0, 7000.0]), [5]);
        for peaks in [
            [8000.0, 2000.0],
            [2000.0, 8000.0],
            [0.0, 8000.0],
            [700.0, 700.0],
        ] {
            assert_eq!(pair(770.0, 1336.0, peaks), [0; 0], "{peaks:?}");
        }
        assert_eq!(pair(697.0, 852.0, even), [0; 0]);
        assert_eq!(pair(440.0, 480.0, even), [0; 0]);
    }

    /// A key is recognised over noise 20 dB below it.
    #[test]
    fn a_key_is_heard_over_noise() {
        let mut random = Random::from_number(3);
        let mut samples = vec![0; milliseconds(400)];
        write(7, 0, &mut samples[milliseconds(100)..milliseconds(300)]);
        for sample in &mut samples {
            *sample += (random.u32() % 2000) as i16 - 1000;
        }
        assert_eq!(heard(&samples), [7]);
    }

    /// Neither music nor minutes of noises that resemble speech are taken for keys: voiced sounds of changing pitch with the
    /// formants of vowels, which lie where the tones do, hisses and pauses.
    #[test]
    fn speech_and_music_are_no_keys() {
        let clip = music::music();
        let music: Vec<i16> = (0..clip.frames())
            .flat_map(|n| clip.frame(Law::A, n))
            .map(|octet| g711::ALAW[usize::from(*octet)])
            .collect();
        assert_eq!(heard(&music), [0; 0]);
        let mut random = Random::from_number(24);
        let mut samples = Vec::new();
        for _ in 0..600 {
            samples.extend(syllable(&mut random));
        }
        assert!(samples.len() > 120 * RATE);
        assert_eq!(heard(&samples), [0; 0]);
    }

    fn syllable(random: &mut Random) -> Vec<i16> {
        let mut between =
            |low: f32, high: f32| low + (high - low) * random.u32() as f32 / u32::MAX as f32;
        let length = milliseconds(between(120.0, 350.0) as usize);
        if between(0.0, 1.0) < 0.2 {
            return (0..length)
                .map(|_| between(-3000.0, 3000.0) as i16)
                .collect();
        }
        let (pitch, glide) = (between(80.0, 260.0), between(-40.0, 40.0));
        let formants = [
            between(270.0, 800.0),
            between(850.0, 2300.0),
            between(2300.0, 3000.0),
        ];
        let mut phase = 0.0f32;
        let voiced = (0..length).map(|n| {
            let part = n as f32 / length as f32;
            let hertz = pitch + glide * part;
            phase += TAU * hertz / RATE as f32;
            let harmonics = (1..).take_while(|h| hertz * (*h as f32) < 3400.0);
            let sound: f32 = harmonics
                .map(|h| {
                    let near = |f: &f32| 1.0 / (1.0 + ((hertz * h as f32 - f) / 80.0).powi(2));
                    formants.iter().map(near).sum::<f32>() * (phase * h as f32).sin()
                })
                .sum();
            (sound * 6000.0 * (std::f32::consts::PI * part).sin()).clamp(-32_000.0, 32_000.0) as i16
        });
        let mut samples: Vec<i16> = voiced.collect();
        samples.extend(vec![0; milliseconds(60)]);
        samples
    }
}
