//! Ringback as each country knows it (ITU-T E.180 Supplement 2).

use super::clip::{Clip, RATE};
use std::f32::consts::TAU;
use std::sync::{Arc, OnceLock};

/// What somebody hears while another's telephone rings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ringback {
    /// ISO 3166 codes of where it is used; none: what E.180 §6 recommends for everywhere else.
    pub countries: &'static [&'static str],
    /// The frequencies that sound together, in hertz. An amplitude modulated tone stands as its two side bands.
    pub hertz: &'static [f32],
    /// Milliseconds of sound and of silence, in turn.
    pub cadence_ms: &'static [u16],
}

/// Frequencies, cadence, countries. The first is what E.180 §6 recommends.
const ALL: [Ringback; 21] = [
    tone(&[425.0], &[1000, 4000], &[]),
    tone(
        &[425.0],
        &[1000, 4000],
        &[
            "DE", "CH", "IT", "NL", "DK", "NO", "FI", "PL", "CZ", "BR", "MX",
        ],
    ),
    tone(&[420.0], &[1000, 5000], &["AT"]),
    tone(&[425.0], &[1000, 3000], &["BE"]),
    tone(&[425.0], &[1000, 5000], &["SE", "PT"]),
    tone(&[425.0], &[1500, 3000], &["ES"]),
    tone(&[425.0], &[800, 3200], &["RU"]),
    tone(&[440.0], &[1500, 3500], &["FR"]),
    tone(&[440.0, 480.0], &[2000, 4000], &["US", "CA"]),
    tone(&[440.0, 480.0], &[400, 200, 400, 3000], &["HK"]),
    tone(&[440.0, 480.0], &[1000, 2000], &["KR"]),
    tone(
        &[400.0, 450.0],
        &[400, 200, 400, 2000],
        &["GB", "IE", "AU", "NZ"],
    ),
    tone(&[400.0], &[1000, 3000], &["IL"]),
    tone(&[450.0], &[1000, 4000], &["CN"]),
    tone(&[450.0], &[2000, 4000], &["TR"]),
    tone(&[384.0, 416.0], &[1000, 2000], &["JP"]),
    tone(&[375.0, 425.0], &[400, 200, 400, 2000], &["IN"]),
    tone(&[367.0, 433.0], &[400, 200, 400, 2000], &["ZA"]),
    tone(&[401.0, 449.0], &[400, 200, 400, 2000], &["SG"]),
    tone(&[425.0], &[1200, 4650], &["SA"]),
    tone(&[425.0], &[400, 200, 400, 2000], &["MY"]),
];

/// Peak of a tone: 18 dB below full scale, as loud as speech.
const PEAK: f32 = 4096.0;
/// Seconds in which a tone swells and fades, so that it does not click.
const EDGE: f32 = 0.010;

const fn tone(
    hertz: &'static [f32],
    cadence_ms: &'static [u16],
    countries: &'static [&'static str],
) -> Ringback {
    Ringback {
        countries,
        hertz,
        cadence_ms,
    }
}

/// The tone of a country, by its ISO 3166 code; `None` if it is not known.
pub fn ringback_of(country: &str) -> Option<&'static Ringback> {
    ALL.iter().find(|tone| tone.countries.contains(&country))
}

/// The same as sound, encoded when it is first asked for; for unknown countries, and for none, as E.180 recommends.
pub fn ringback(country: Option<&str>) -> Arc<Clip> {
    static CLIPS: [OnceLock<Arc<Clip>>; ALL.len()] = [const { OnceLock::new() }; ALL.len()];
    let at = ALL
        .iter()
        .position(|tone| country.is_some_and(|country| tone.countries.contains(&country)))
        .unwrap_or(0);
    CLIPS[at].get_or_init(|| Arc::new(ALL[at].clip())).clone()
}

impl Ringback {
    /// One round of the cadence.
    fn clip(&self) -> Clip {
        let turns = [self.hertz, &[]].into_iter().cycle();
        compose(turns.zip(self.cadence_ms.iter().copied()))
    }
}

/// Tones one after the other: the frequencies that sound together in each, none for silence, and its milliseconds.
pub(super) fn compose<'a>(parts: impl IntoIterator<Item = (&'a [f32], u16)>) -> Clip {
    Clip::new(parts.into_iter().flat_map(|(hertz, length)| {
        let samples = usize::from(length) * RATE / 1000;
        (0..samples).map(move |n| sample(hertz, n, samples))
    }))
}

fn sample(hertz: &[f32], n: usize, of: usize) -> i16 {
    if hertz.is_empty() {
        return 0;
    }
    let seconds = n as f32 / RATE as f32;
    let waves: f32 = hertz.iter().map(|f| (TAU * f * seconds).sin()).sum();
    let edge = n.min(of - n) as f32 / (EDGE * RATE as f32);
    (waves / hertz.len() as f32 * PEAK * edge.min(1.0)) as i16
}

#[cfg(test)]
mod tests {
    use super::super::clip::{FRAME, Law};
    use super::super::g711;
    use super::super::goertzel::power;
    use super::*;

    fn decoded(clip: &Clip) -> Vec<i16> {
        let octets = (0..clip.frames()).flat_map(|n| clip.frame(Law::A, n));
        octets
            .map(|octet| g711::ALAW[usize::from(*octet)])
            .collect()
    }

    /// Every tone has its frequencies while it sounds, and is silent while it rests, in the rhythm of its country.
    #[test]
    fn every_tone_keeps_its_frequencies_and_its_rhythm() {
        for tone in &ALL {
            let samples = decoded(&ringback(tone.countries.first().copied()));
            let mut at = 0;
            for (turn, length) in tone.cadence_ms.iter().enumerate() {
                let part = &samples[at..at + usize::from(*length) * RATE / 1000];
                // A tenth of a second is ten periods of the narrowest pair.
                let middle = &part[FRAME..][..part.len().min(FRAME + 800) - FRAME];
                for hertz in tone.hertz {
                    let heard = power(middle, *hertz) > 100_000.0;
                    assert_eq!(heard, turn % 2 == 0, "{tone:?}, part {turn}");
                }
                at += part.len();
            }
            assert!(samples.len() - at < FRAME, "{tone:?}");
        }
    }

    /// No country has two tones, and one that is not known gets what the ITU recommends.
    #[test]
    fn every_country_has_one_tone() {
        let mut countries: Vec<_> = ALL.iter().flat_map(|tone| tone.countries).collect();
        let all = countries.len();
        countries.sort();
        countries.dedup();
        assert_eq!(countries.len(), all);
        assert!(Arc::ptr_eq(&ringback(Some("XX")), &ringback(None)));
        assert_eq!(ringback_of("US").unwrap().hertz, [440.0, 480.0]);
        assert_eq!(ringback_of("XX"), None);
    }
}
