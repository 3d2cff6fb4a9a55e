//! The built-in music on hold: a little piece of our own, made of sines when it is first asked for.
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

use super::clip::{Clip, RATE};
use std::f32::consts::TAU;
use std::sync::{Arc, LazyLock};

/// The frequency of each note in hertz, in order. A note lasts half a second.
pub const MELODY: [f32; 16] = [C, E, G, E, A, G, E, C, E, G, A, HIGH_C, A, G, E, C];

const C: f32 = 523.25;
const E: f32 = 659.26;
const G: f32 = 783.99;
const A: f32 = 880.0;
const HIGH_C: f32 = 1046.5;

const NOTE: usize = RATE / 2;
/// Peak of a note: 18 dB below full scale, as loud as speech.
const PEAK: f32 = 4096.0;

/// The piece, composed and encoded when it is first asked for.
pub fn music() -> Arc<Clip> {
    static PIECE: LazyLock<Arc<Clip>> = LazyLock::new(|| {
        let notes = MELODY.iter();
        let samples = notes.flat_map(|&pitch| (0..NOTE).map(move |n| sample(pitch, n)));
        Arc::new(Clip::new(samples))
    });
    PIECE.clone()
}

fn sample(pitch: f32, n: usize) -> i16 {
    let phase = TAU * pitch * n as f32 / RATE as f32;
    let swell = n as f32 / (0.010 * RATE as f32);
    let fade = (NOTE - n) as f32 / (0.060 * RATE as f32);
    ((phase.sin() + 0.1 * (2.0 * phase).sin()) * PEAK * swell.min(fade).min(1.0)) as i16
}

#[cfg(test)]
pub(crate) mod recognise {
    use super::super::goertzel::power;
    use super::*;

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
    use super::super::clip::{FRAME, Law};
    use super::super::{g711, tones};
    use super::*;

    fn decoded(clip: &Clip, law: Law) -> Vec<i16> {
        let table = match law {
            Law::A => &g711::ALAW,
            Law::Mu => &g711::MULAW,
        };
        (0..clip.frames())
            .flat_map(|n| clip.frame(law, n))
            .map(|octet| table[usize::from(*octet)])
            .collect()
    }

    /// Decoded, both laws play the melody, note by note and in every 20 ms of each note's middle.
    #[test]
    fn the_melody_is_recognised() {
        for law in [Law::A, Law::Mu] {
            for (note, pitch) in decoded(&music(), law).chunks(NOTE).zip(MELODY) {
                assert_eq!(recognise::note(note), Some(pitch));
                assert!(
                    note[FRAME..NOTE - 3 * FRAME]
                        .chunks(FRAME)
                        .all(|window| recognise::note(window) == Some(pitch))
                );
            }
        }
    }

    /// It is as loud as speech, neither clipped nor a whisper, and starts and ends each note without a click.
    #[test]
    fn the_level_is_moderate() {
        let samples = decoded(&music(), Law::A);
        let peak = samples.iter().map(|sample| sample.unsigned_abs()).max();
        assert!((3500..=5000).contains(&peak.unwrap()), "{peak:?}");
        assert!(
            samples
                .chunks(NOTE)
                .all(|note| note[0].abs() < 100 && note[NOTE - 1].abs() < 100)
        );
    }

    /// Ringback of most countries, and a test's 440 and 600 Hz, are not taken for a note.
    #[test]
    fn other_tones_are_told_apart() {
        let ringback = decoded(&tones::ringback(None), Law::A);
        assert_eq!(recognise::note(&ringback[..NOTE]), None);
        for hertz in [440.0, 600.0] {
            let tone: Vec<i16> = (0..NOTE)
                .map(|n| (PEAK * (TAU * hertz * n as f32 / RATE as f32).sin()) as i16)
                .collect();
            assert_eq!(recognise::note(&tone), None, "{hertz}");
        }
    }
}
