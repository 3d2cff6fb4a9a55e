//! The built-in music on hold: a little piece of our own, made of sines when the program starts.
//!
//! Sixteen notes of half a second each ([`MELODY`]) give a loop of eight seconds, over and over:
//!
//! | bar | notes | hertz |
//! |---|---|---|
//! | 1 | C E G E | 523.25, 659.26, 783.99, 659.26 |
//! | 2 | A G E C | 880.00, 783.99, 659.26, 523.25 |
//! | 3 | E G A C' | 659.26, 783.99, 880.00, 1046.50 |
//! | 4 | A G E C | 880.00, 783.99, 659.26, 523.25 |
//!
//! Each note swells in 10 ms, fades over its last 60 ms and carries an octave at a tenth of its strength. Whoever wants
//! to recognise the piece looks in each half second for the strongest of the five frequencies; they lie far enough from
//! each other, and from the 440 and 600 Hz that tests like to send, for windows of 20 ms.

use super::Play;
use crate::rtp::g711;
use std::f32::consts::TAU;

/// The frequency of each note in hertz, in order. A note lasts half a second.
pub const MELODY: [f32; 16] = [C, E, G, E, A, G, E, C, E, G, A, HIGH_C, A, G, E, C];

const C: f32 = 523.25;
const E: f32 = 659.26;
const G: f32 = 783.99;
const A: f32 = 880.0;
const HIGH_C: f32 = 1046.5;

/// Samples in a second.
const RATE: usize = 8000;
const NOTE: usize = RATE / 2;
/// Samples, and G.711 octets, in one packet of 20 ms.
pub const FRAME: usize = RATE / 50;
const FRAMES: usize = MELODY.len() * NOTE / FRAME;
/// Ringback sounds for one second in five, at this frequency in hertz (ITU-T E.180 §6).
pub const RINGBACK: f32 = 425.0;
const RINGBACK_FRAMES: usize = 5 * RATE / FRAME;
/// Peak of a note: 18 dB below full scale, as loud as speech.
const PEAK: f32 = 4096.0;

/// The piece and the ringback tone, encoded once for all who listen.
pub struct Music {
    alaw: Vec<u8>,
    mulaw: Vec<u8>,
    ringback_alaw: Vec<u8>,
    ringback_mulaw: Vec<u8>,
}

impl Music {
    /// Composes and encodes the piece.
    pub fn new() -> Self {
        let samples = || {
            MELODY
                .iter()
                .flat_map(|&pitch| (0..NOTE).map(move |n| sample(pitch, n)))
        };
        let tone = || (0..RINGBACK_FRAMES * FRAME).map(ringback);
        Self {
            alaw: samples().map(g711::alaw).collect(),
            mulaw: samples().map(g711::mulaw).collect(),
            ringback_alaw: tone().map(g711::alaw).collect(),
            ringback_mulaw: tone().map(g711::mulaw).collect(),
        }
    }

    /// 20 ms of it, counted from its start and around.
    pub fn frame(&self, play: Play, number: usize) -> &[u8] {
        let (piece, frames) = match play {
            Play::MusicAlaw(_) => (&self.alaw, FRAMES),
            Play::MusicMulaw(_) => (&self.mulaw, FRAMES),
            Play::RingbackAlaw(_) => (&self.ringback_alaw, RINGBACK_FRAMES),
            Play::RingbackMulaw(_) => (&self.ringback_mulaw, RINGBACK_FRAMES),
        };
        &piece[number % frames * FRAME..][..FRAME]
    }
}

impl Default for Music {
    fn default() -> Self {
        Self::new()
    }
}

/// One second of tone, swelling and fading in 10 ms, then silence.
fn ringback(n: usize) -> i16 {
    if n >= RATE {
        return 0;
    }
    let edge = n.min(RATE - n) as f32 / (0.010 * RATE as f32);
    ((TAU * RINGBACK * n as f32 / RATE as f32).sin() * PEAK * edge.min(1.0)) as i16
}

fn sample(pitch: f32, n: usize) -> i16 {
    let phase = TAU * pitch * n as f32 / RATE as f32;
    let swell = n as f32 / (0.010 * RATE as f32);
    let fade = (NOTE - n) as f32 / (0.060 * RATE as f32);
    ((phase.sin() + 0.1 * (2.0 * phase).sin()) * PEAK * swell.min(fade).min(1.0)) as i16
}

#[cfg(test)]
pub(crate) mod recognise {
    use super::*;

    /// The power of one frequency in these samples (Goertzel's algorithm), per sample.
    pub(crate) fn power(samples: &[i16], hertz: f32) -> f32 {
        let factor = 2.0 * (TAU * hertz / RATE as f32).cos();
        let (a, b) = samples
            .iter()
            .fold((0.0, 0.0), |(a, b), &x| (f32::from(x) + factor * a - b, a));
        (a * a + b * b - factor * a * b) / (samples.len() as f32).powi(2)
    }

    /// The strongest note of the piece in these samples, if it is louder than a whisper.
    pub(crate) fn note(samples: &[i16]) -> Option<f32> {
        let strongest = [C, E, G, A, HIGH_C]
            .into_iter()
            .max_by(|&a, &b| power(samples, a).total_cmp(&power(samples, b)))?;
        (power(samples, strongest) > 10_000.0).then_some(strongest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(play: Play, table: &[i16; 256]) -> Vec<i16> {
        let music = Music::new();
        (0..FRAMES)
            .flat_map(|n| music.frame(play, n).to_vec())
            .map(|octet| table[usize::from(octet)])
            .collect()
    }

    /// Decoded, both laws play the melody, note by note and in every 20 ms of each note's middle.
    #[test]
    fn the_melody_is_recognised() {
        for samples in [
            decoded(Play::MusicAlaw(8), &g711::ALAW),
            decoded(Play::MusicMulaw(0), &g711::MULAW),
        ] {
            for (note, pitch) in samples.chunks(NOTE).zip(MELODY) {
                assert_eq!(recognise::note(note), Some(pitch));
                assert!(
                    note[FRAME..NOTE - 3 * FRAME]
                        .chunks(FRAME)
                        .all(|window| recognise::note(window) == Some(pitch))
                );
            }
        }
    }

    /// Ringback is one second of one frequency and four of silence, and is not taken for a note of the melody.
    #[test]
    fn ringback_is_recognised() {
        let music = Music::new();
        for (play, table) in [
            (Play::RingbackAlaw(8), &g711::ALAW),
            (Play::RingbackMulaw(0), &g711::MULAW),
        ] {
            let seconds: Vec<Vec<i16>> = (0..6)
                .map(|second| {
                    (0..RATE / FRAME)
                        .flat_map(|n| music.frame(play, second * RATE / FRAME + n))
                        .map(|octet| table[usize::from(*octet)])
                        .collect()
                })
                .collect();
            for (number, second) in seconds.iter().enumerate() {
                let sounds = recognise::power(second, RINGBACK) > 1_000_000.0;
                assert_eq!(sounds, number % 5 == 0, "second {number}");
                assert_eq!(recognise::note(&second[..NOTE]), None);
            }
        }
    }

    /// It is as loud as speech, neither clipped nor a whisper, and starts and ends each note without a click.
    #[test]
    fn the_level_is_moderate() {
        let samples = decoded(Play::MusicAlaw(8), &g711::ALAW);
        let peak = samples.iter().map(|sample| sample.unsigned_abs()).max();
        assert!((3500..=5000).contains(&peak.unwrap()), "{peak:?}");
        assert!(
            samples
                .chunks(NOTE)
                .all(|note| note[0].abs() < 100 && note[NOTE - 1].abs() < 100)
        );
    }

    /// The piece goes around.
    #[test]
    fn it_loops() {
        let music = Music::new();
        assert_eq!(
            music.frame(Play::MusicMulaw(0), 3),
            music.frame(Play::MusicMulaw(0), FRAMES + 3)
        );
    }

    /// A test's 440 and 600 Hz are not taken for a note.
    #[test]
    fn other_tones_are_told_apart() {
        for hertz in [440.0, 600.0] {
            let tone: Vec<i16> = (0..NOTE)
                .map(|n| (PEAK * (TAU * hertz * n as f32 / RATE as f32).sin()) as i16)
                .collect();
            assert_eq!(recognise::note(&tone), None, "{hertz}");
        }
    }
}
