//! What callers hear of us: built-in tones that need no language (ITU-T E.180) where a call is refused, and English words
//! where a telephone is activated. An operator may replace each.

use super::clip::Clip;
use super::g711;
use super::tones::compose;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use utoipa::ToSchema;

/// Why a call was refused, as its caller hears it; or what somebody hears who activates a telephone.
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
    /// A telephone's activation code is asked for.
    ActivationEnter,
    /// It is not valid.
    ActivationNotValid,
    /// The telephone is activated.
    ActivationThankYou,
    /// Whoever knows codes cannot be asked.
    ActivationBusy,
    /// There were too many tries.
    ActivationGoodbye,
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
    pub const ALL: [Self; 8] = [
        Self::NotActive,
        Self::NotInService,
        Self::LimitReached,
        Self::ActivationEnter,
        Self::ActivationNotValid,
        Self::ActivationThankYou,
        Self::ActivationBusy,
        Self::ActivationGoodbye,
    ];

    /// As in the API, and the label of the metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotActive => "not_active",
            Self::NotInService => "not_in_service",
            Self::LimitReached => "limit_reached",
            Self::ActivationEnter => "activation_enter",
            Self::ActivationNotValid => "activation_not_valid",
            Self::ActivationThankYou => "activation_thank_you",
            Self::ActivationBusy => "activation_busy",
            Self::ActivationGoodbye => "activation_goodbye",
        }
    }

    /// How it sounds where an operator brought nothing else: about six seconds, encoded when it is first asked for.
    pub fn built_in(self) -> Arc<Clip> {
        static CLIPS: [OnceLock<Arc<Clip>>; Announcement::ALL.len()] =
            [const { OnceLock::new() }; Announcement::ALL.len()];
        let clip = &CLIPS[self as usize];
        clip.get_or_init(|| Arc::new(self.made())).clone()
    }

    fn made(self) -> Clip {
        let repeated = |tones: &'static [(&'static [f32], u16)], rounds| {
            compose(tones.iter().copied().cycle().take(tones.len() * rounds))
        };
        match self {
            Self::NotActive | Self::NotInService => repeated(SPECIAL_INFORMATION, 3),
            Self::LimitReached => repeated(CONGESTION, 12),
            Self::ActivationEnter => spoken(include_bytes!("prompts/en/enter.ulaw")),
            Self::ActivationNotValid => spoken(include_bytes!("prompts/en/not_valid.ulaw")),
            Self::ActivationThankYou => spoken(include_bytes!("prompts/en/thank_you.ulaw")),
            Self::ActivationBusy => spoken(include_bytes!("prompts/en/busy.ulaw")),
            Self::ActivationGoodbye => spoken(include_bytes!("prompts/en/goodbye.ulaw")),
        }
    }
}

/// What `prompts/make` has made.
fn spoken(octets: &[u8]) -> Clip {
    Clip::new(octets.iter().map(|octet| g711::MULAW[usize::from(*octet)]))
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

    /// The words are there: seconds of sound that is no silence.
    #[test]
    fn words_are_spoken() {
        let spoken = Announcement::ALL.into_iter().skip(3);
        for announcement in spoken {
            let clip = announcement.built_in();
            let loudest = decoded(&clip).into_iter().map(i16::unsigned_abs).max();
            assert!(loudest > Some(8000), "{announcement:?}");
            assert!(clip.duration() > Duration::from_secs(1), "{announcement:?}");
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
