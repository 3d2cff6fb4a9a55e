//! Sound in files: a tone to play, and what was heard.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

/// Samples a second.
const RATE: u32 = 8000;
/// What stands before the samples of a plain WAV file.
const HEADER: usize = 44;
/// Samples that are judged together, 50 ms.
const WINDOW: usize = 400;

/// Writes a tone of so many Hz and seconds as a WAV file: mono, 16 bits.
pub fn write_tone(file: &Path, frequency: f64, seconds: u32) {
    let length = RATE * seconds;
    let mut wav = Vec::with_capacity(HEADER + 2 * length as usize);
    wav.extend(b"RIFF");
    wav.extend((36 + 2 * length).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    wav.extend([1_u16, 1].map(u16::to_le_bytes).concat());
    wav.extend([RATE, 2 * RATE].map(u32::to_le_bytes).concat());
    wav.extend([2_u16, 16].map(u16::to_le_bytes).concat());
    wav.extend(b"data");
    wav.extend((2 * length).to_le_bytes());
    for n in 0..length {
        let sample = 8000.0 * (TAU * frequency * f64::from(n) / f64::from(RATE)).sin();
        wav.extend((sample as i16).to_le_bytes());
    }
    fs::write(file, wav).expect("a file");
}

/// The samples of a WAV file: mono, 16 bits; none when it has not begun.
pub fn samples(file: &Path) -> Vec<i16> {
    let wav = fs::read(file).unwrap_or_default();
    let start = wav.windows(4).position(|four| four == b"data");
    // Whoever still writes may not have filled in the length, or anything of the header.
    let data = wav.get(start.map_or(HEADER, |start| start + 8)..);
    let data = data.unwrap_or_default();
    let pairs = data.as_chunks::<2>().0;
    pairs.iter().map(|&pair| i16::from_le_bytes(pair)).collect()
}

/// How many seconds of the samples are a pure tone of this frequency.
pub fn seconds_of(frequency: f64, samples: &[i16]) -> f64 {
    let windows = samples.as_chunks::<WINDOW>().0;
    let pure = windows
        .iter()
        .filter(|window| purity(frequency, &window[..]) > 0.8);
    pure.count() as f64 * WINDOW as f64 / f64::from(RATE)
}

/// Whether there are samples, and the last second of them is this tone, but for a window.
pub fn ends_with(frequency: f64, samples: &[i16]) -> bool {
    let last = samples.len().saturating_sub(RATE as usize);
    seconds_of(frequency, &samples[last..]) >= 0.95
}

/// The share, 0 to 1, of the power of the samples that lies at this frequency, by Goertzel's recurrence; silence has
/// none.
fn purity(frequency: f64, samples: &[i16]) -> f64 {
    let step = TAU * frequency / f64::from(RATE);
    let (mut before, mut last, mut power) = (0.0, 0.0, 0.0);
    for &sample in samples {
        let sample = f64::from(sample);
        (before, last) = (last, sample + 2.0 * step.cos() * last - before);
        power += sample * sample;
    }
    let length = samples.len() as f64;
    if power / length < 100.0 * 100.0 {
        return 0.0;
    }
    let at_frequency = last * last + before * before - 2.0 * step.cos() * last * before;
    2.0 * at_frequency / (length * power)
}

/// A tone is itself and no other; noise is none at all.
#[test]
fn a_tone_is_known_from_another_and_from_noise() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("tone.wav");
    write_tone(&file, 440.0, 2);
    let tone = samples(&file);
    assert_eq!(tone.len(), 16_000);
    assert_eq!(seconds_of(440.0, &tone), 2.0);
    assert_eq!(seconds_of(600.0, &tone), 0.0);
    let noise: Vec<i16> = (0..16_000).map(|_| rand::random::<i16>() / 4).collect();
    assert_eq!(seconds_of(440.0, &noise), 0.0);
    assert_eq!(seconds_of(440.0, &[0; 16_000]), 0.0);
    assert!(ends_with(440.0, &[&noise[..], &tone[..]].concat()));
    assert!(!ends_with(440.0, &[&tone[..], &noise[..]].concat()));
    assert!(!ends_with(440.0, &tone[..4000]));
}
