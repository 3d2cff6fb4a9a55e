//! Sound to send and to recognise: sine tones, and what a listener hears in each 20 ms of them.

use std::f64::consts::TAU;
use std::time::{Duration, Instant};

/// Samples in a second, and in one window or packet of 20 ms.
pub const RATE: f64 = 8000.0;
/// See [`RATE`].
pub const WINDOW: usize = 160;

/// A sine wave without jumps between its packets.
#[derive(Debug, Clone)]
pub struct Sine {
    frequency: f64,
    phase: f64,
}

/// The amplitude of every tone: about −10 dB of full scale.
const AMPLITUDE: f64 = 10_000.0;

impl Sine {
    /// A tone of `frequency` Hz; zero or less is silence.
    pub fn new(frequency: f64) -> Self {
        Self {
            frequency,
            phase: 0.0,
        }
    }

    /// The next 20 ms.
    pub fn next(&mut self) -> [i16; WINDOW] {
        let mut samples = [0; WINDOW];
        if self.frequency > 0.0 {
            for sample in &mut samples {
                *sample = (self.phase.sin() * AMPLITUDE) as i16;
                self.phase = (self.phase + TAU * self.frequency / RATE) % TAU;
            }
        }
        samples
    }
}

/// What was heard in one packet.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// When it arrived.
    pub at: Instant,
    /// The root mean square of its samples, in dB of full scale; −100 is digital silence.
    pub level: f64,
    /// Its strongest frequency in Hz, to about 5 Hz; 0 in silence.
    pub frequency: f64,
    /// How much of its energy that one frequency explains: near 1 for a pure tone.
    pub purity: f64,
}

/// Below this level, in dB of full scale, nobody hears anything.
const SILENCE: f64 = -50.0;

impl Window {
    /// Listens to the samples of one packet.
    pub fn of(samples: &[i16], at: Instant) -> Self {
        let mean_square = samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>()
            / samples.len().max(1) as f64;
        let level = if mean_square > 0.0 {
            10.0 * (mean_square / 32_768f64.powi(2)).log10()
        } else {
            -100.0
        };
        if level < SILENCE {
            return Self {
                at,
                level: level.max(-100.0),
                frequency: 0.0,
                purity: 0.0,
            };
        }
        let coarse = strongest(samples, (1..98).map(|step| 40.0 * f64::from(step)));
        let fine = strongest(
            samples,
            (-8..=8).map(|step| coarse.0 + 5.0 * f64::from(step)),
        );
        Self {
            at,
            level,
            frequency: fine.0,
            purity: (fine.1.powi(2) / 2.0 / mean_square).min(1.0),
        }
    }

    /// Whether nothing was to be heard.
    pub fn is_silent(&self) -> bool {
        self.level < SILENCE
    }

    /// Whether this was a pure tone of about `frequency` Hz.
    pub fn is_tone(&self, frequency: f64) -> bool {
        !self.is_silent() && self.purity > 0.8 && (self.frequency - frequency).abs() <= 12.0
    }
}

/// The frequency with the greatest amplitude, and that amplitude.
fn strongest(samples: &[i16], frequencies: impl Iterator<Item = f64>) -> (f64, f64) {
    frequencies
        .map(|f| (f, goertzel(samples, f)))
        .fold(
            (0.0, 0.0),
            |best, next| if next.1 > best.1 { next } else { best },
        )
}

/// The amplitude of one frequency by Goertzel's recurrence, under a Hann window, whose narrow skirts keep a tone
/// between two of the tested frequencies from being smeared over all of them.
fn goertzel(samples: &[i16], frequency: f64) -> f64 {
    let (length, step) = (samples.len() as f64, TAU * frequency / RATE);
    let (mut before, mut last, mut weight) = (0.0, 0.0, 0.0);
    for (n, &sample) in samples.iter().enumerate() {
        let hann = 0.5 - 0.5 * (TAU * (n as f64 + 0.5) / length).cos();
        weight += hann;
        (before, last) = (
            last,
            hann * f64::from(sample) + 2.0 * step.cos() * last - before,
        );
    }
    let power = last * last + before * before - 2.0 * step.cos() * last * before;
    2.0 * power.max(0.0).sqrt() / f64::max(weight, 1.0)
}

/// What a listener heard, oldest window first. Silence without packets has no windows.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// One for each packet of sound.
    pub windows: Vec<Window>,
}

impl Heard {
    /// What arrived at `from` or later and before `to`.
    pub fn between(&self, from: Instant, to: Instant) -> Self {
        Self {
            windows: self
                .windows
                .iter()
                .filter(|w| w.at >= from && w.at < to)
                .copied()
                .collect(),
        }
    }

    /// What arrived at `from` or later.
    pub fn since(&self, from: Instant) -> Self {
        Self {
            windows: self
                .windows
                .iter()
                .filter(|w| w.at >= from)
                .copied()
                .collect(),
        }
    }

    /// The share of windows, 0 to 1, that hold a pure tone of about `frequency` Hz; 0 without any window.
    pub fn tone(&self, frequency: f64) -> f64 {
        self.share(|w| w.is_tone(frequency))
    }

    /// The share of windows, 0 to 1, in which nothing is to be heard; 1 without any window.
    pub fn silence(&self) -> f64 {
        if self.windows.is_empty() {
            1.0
        } else {
            self.share(Window::is_silent)
        }
    }

    /// How long this went on, by the number of packets.
    pub fn length(&self) -> Duration {
        Duration::from_millis(20 * self.windows.len() as u64)
    }

    /// The notes of a melody in their order: frequencies in Hz that lasted for at least 60 ms.
    pub fn notes(&self) -> Vec<f64> {
        let mut notes: Vec<f64> = Vec::new();
        let mut lasted = 0;
        let mut previous = 0.0;
        for window in &self.windows {
            let same = !window.is_silent() && (window.frequency - previous).abs() <= 12.0;
            lasted = if same { lasted + 1 } else { 1 };
            previous = if window.is_silent() {
                0.0
            } else {
                window.frequency
            };
            if same
                && lasted == 3
                && notes
                    .last()
                    .is_none_or(|last| (last - previous).abs() > 12.0)
            {
                notes.push(previous);
            }
        }
        notes
    }

    fn share(&self, is: impl Fn(&Window) -> bool) -> f64 {
        let all = self.windows.len().max(1) as f64;
        self.windows.iter().filter(|w| is(w)).count() as f64 / all
    }
}

#[cfg(test)]
mod tests {
    use super::super::g711::Law;
    use super::*;

    fn listen(frequencies: &[f64], law: Law) -> Heard {
        let mut heard = Heard::default();
        for &frequency in frequencies {
            let mut sine = Sine::new(frequency);
            for _ in 0..10 {
                let samples = sine.next().map(|s| law.decode(law.encode(s)));
                heard.windows.push(Window::of(&samples, Instant::now()));
            }
        }
        heard
    }

    /// Tones are told apart after G.711, also where they lie between the coarse steps.
    #[test]
    fn a_tone_is_recognised_and_no_other() {
        for law in [Law::A, Law::Mu] {
            for frequency in [440.0, 600.0, 1000.0, 1004.0, 425.0, 2100.0] {
                let heard = listen(&[frequency], law);
                assert_eq!(
                    heard.tone(frequency),
                    1.0,
                    "{frequency} Hz in {law:?}: {:?}",
                    heard.windows[0]
                );
                assert_eq!(heard.tone(frequency + 40.0), 0.0);
                assert_eq!(heard.silence(), 0.0);
            }
        }
    }

    /// A-law's smallest values are silence, and no packets at all are silence too.
    #[test]
    fn silence_is_silent() {
        assert_eq!(listen(&[0.0], Law::A).silence(), 1.0);
        assert_eq!(Heard::default().silence(), 1.0);
        assert_eq!(listen(&[0.0], Law::A).tone(440.0), 0.0);
    }

    /// A melody is its notes in order; one steady tone is a single note, two tones at once are not pure.
    #[test]
    fn a_melody_is_told_from_a_tone() {
        let notes = listen(&[440.0, 523.0, 659.0, 440.0], Law::A).notes();
        assert_eq!(notes.len(), 4, "{notes:?}");
        assert!((notes[1] - 523.0).abs() < 12.0);
        assert_eq!(listen(&[600.0], Law::A).notes().len(), 1);
        let (mut one, mut two) = (Sine::new(440.0), Sine::new(1200.0));
        let both: Vec<i16> = one
            .next()
            .iter()
            .zip(two.next())
            .map(|(a, b)| a / 2 + b / 2)
            .collect();
        assert!(Window::of(&both, Instant::now()).purity < 0.8);
    }
}
