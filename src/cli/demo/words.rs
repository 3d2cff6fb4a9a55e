//! Whether what was heard is what was said, word for word.

use crate::audio::{Announcement, Law, g711};
use crate::emulate::Heard;

/// 20 ms pieces at the beginning that may be over before anybody listens.
const MISSED: usize = 25;

/// How much like these words what was heard is, from -1 to 1, wherever they begin in it: the correlation of how loud they
/// are, 20 ms by 20 ms.
pub(super) fn likeness(heard: &Heard, words: Announcement) -> f64 {
    let clip = words.built_in();
    let said: Vec<f64> = (MISSED..clip.frames())
        .map(|n| loudness(clip.frame(Law::Mu, n)))
        .collect();
    let heard: Vec<f64> = heard
        .windows
        .iter()
        .map(|window| 10f64.powf(window.level / 20.0))
        .collect();
    let parts = heard.windows(said.len().max(1));
    parts
        .map(|part| correlation(part, &said))
        .fold(-1.0, f64::max)
}

/// The root mean square as a share of full scale.
fn loudness(octets: &[u8]) -> f64 {
    let squares = octets
        .iter()
        .map(|octet| (f64::from(g711::MULAW[usize::from(*octet)]) / 32_768.0).powi(2));
    (squares.sum::<f64>() / octets.len().max(1) as f64).sqrt()
}

/// Pearson's.
fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (a, b) = (mean(one), mean(other));
    let pairs = || one.iter().zip(other).map(|(x, y)| (x - a, y - b));
    let together: f64 = pairs().map(|(x, y)| x * y).sum();
    let spread = |of: fn((f64, f64)) -> f64| pairs().map(of).map(|d| d * d).sum::<f64>();
    let apart = (spread(|(x, _)| x) * spread(|(_, y)| y)).sqrt();
    if apart > 0.0 { together / apart } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulate::Window;
    use std::time::Instant;

    /// Words are known behind a silence and without their beginning, and are not taken for others.
    #[test]
    fn words_are_known_from_others() {
        let all = [
            Announcement::ActivationEnter,
            Announcement::ActivationThankYou,
            Announcement::ActivationBusy,
        ];
        for said in all {
            let clip = said.built_in();
            let window = |samples: &[i16]| Window::of(samples, Instant::now());
            let mut windows = vec![window(&[0; 160]); 30];
            windows.extend((MISSED / 2..clip.frames()).map(|n| {
                let octets = clip.frame(Law::Mu, n).iter();
                let samples: Vec<i16> = octets.map(|o| g711::MULAW[usize::from(*o)]).collect();
                window(&samples)
            }));
            let heard = Heard { windows };
            for words in all {
                let likeness = likeness(&heard, words);
                assert_eq!(
                    likeness > 0.9,
                    words == said,
                    "{said:?} as {words:?}: {likeness}"
                );
            }
        }
        assert_eq!(likeness(&Heard::default(), all[0]), -1.0);
    }
}
