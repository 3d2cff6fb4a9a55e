//! What a caller hears whose call is refused: built-in tones that need no language (ITU-T E.180), which an operator may
//! replace by words.

use super::clip::Clip;
use super::tones::compose;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use utoipa::ToSchema;

/// Why a call was refused, as its caller hears it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Announcement {
    /// The customer, or its side at Teams, is not active, or is disabled.
    NotActive,
    /// The called number is not in service.
    NotInService,
    /// All channels of the customer are in use.
    LimitReached,
}

/// The special information tone: three tones that rise, and a second of silence.
const SPECIAL_INFORMATION: &[(&[f32], u16)] = &[
    (&[950.0], 330),
    (&[1400.0], 330),
    (&[1800.0], 330),
    (&[], 1000),
];
/// The congestion tone: half as long as a busy tone, and twice as often.
const CONGESTION: &[(&[f32], u16)] = &[(&[425.0], 250), (&[], 250)];

impl Announcement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NotActive, Self::NotInService, Self::LimitReached];

    /// As in the API, and the label of the metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotActive => "not_active",
            Self::NotInService => "not_in_service",
            Self::LimitReached => "limit_reached",
        }
    }

    /// How it sounds where an operator brought nothing else: about six seconds, encoded when it is first asked for.
    pub fn built_in(self) -> Arc<Clip> {
        static CLIPS: [OnceLock<Arc<Clip>>; Announcement::ALL.len()] =
            [const { OnceLock::new() }; Announcement::ALL.len()];
        let (tones, rounds) = match self {
            Self::NotActive | Self::NotInService => (SPECIAL_INFORMATION, 3),
            Self::LimitReached => (CONGESTION, 12),
        };
        let all = || tones.iter().copied().cycle().take(tones.len() * rounds);
        let clip = &CLIPS[self as usize];
        clip.get_or_init(|| Arc::new(compose(all()))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::clip::{FRAME, Law, RATE};
    use super::super::g711;
    use super::super::goertzel::power;
    use super::*;
    use std::time::Duration;

    fn decoded(clip: &Clip) -> Vec<i16> {
        let octets = (0..clip.frames()).flat_map(|n| clip.frame(Law::Mu, n));
        octets
            .map(|octet| g711::MULAW[usize::from(*octet)])
            .collect()
    }

    /// ITU-T E.180: the special information tone rises from 950 over 1400 to 1800 Hz, a third of a second each, and rests
    /// for a second; the congestion tone sounds and rests for a quarter of a second. Both are repeated.
    #[test]
    fn tones_are_those_of_the_itu() {
        for (announcement, tones) in [
            (Announcement::NotInService, SPECIAL_INFORMATION),
            (Announcement::NotActive, SPECIAL_INFORMATION),
            (Announcement::LimitReached, CONGESTION),
        ] {
            let clip = announcement.built_in();
            assert!((5..=6).contains(&clip.duration().as_secs()), "{clip:?}");
            let samples = decoded(&clip);
            let mut at = 0;
            for (hertz, length) in [tones, tones].concat() {
                let part = &samples[at..at + usize::from(length) * RATE / 1000];
                let middle = &part[FRAME..FRAME + 800];
                for known in [425.0, 950.0, 1400.0, 1800.0] {
                    let heard = power(middle, known) > 100_000.0;
                    assert_eq!(heard, hertz.contains(&known), "{announcement:?} {known}");
                }
                at += part.len();
            }
        }
    }

    #[test]
    fn a_sound_is_made_once() {
        let made = Announcement::ALL.map(Announcement::built_in);
        for (clip, announcement) in made.iter().zip(Announcement::ALL) {
            assert!(Arc::ptr_eq(clip, &announcement.built_in()));
            assert!(clip.duration() < Duration::from_secs(10));
        }
    }
}
