//! What a listener would think of a stream: the mean opinion score that ITU-T G.107 predicts, simplified.

use std::time::Duration;

/// The transmission rating of a narrow-band line without any fault (G.107, all parameters at their defaults).
const BEST: f32 = 93.2;
/// Robustness of G.711 with packet loss concealment against lost packets (G.113 appendix I).
const LOSS_ROBUSTNESS: f32 = 25.1;
/// From so many milliseconds on people begin to talk at the same time.
const NOTICED_MS: f32 = 177.3;

/// An estimate from 1 (bad) to 4.4 (as good as a telephone gets) for this share of lost packets (0 to 1) and this delay
/// from mouth to ear. Other codecs than G.711 are taken for it: it compares lines, not codecs.
pub fn mos(loss: f32, delay: Duration) -> f32 {
    let delay = delay.as_secs_f32() * 1000.0;
    let delayed = 0.024 * delay + 0.11 * (delay - NOTICED_MS).max(0.0);
    let percent = 100.0 * loss.clamp(0.0, 1.0);
    let lost = 95.0 * percent / (percent + LOSS_ROBUSTNESS);
    let rating = (BEST - delayed - lost).clamp(0.0, 100.0);
    let score = 1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6;
    score.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(loss: f32, ms: u64) -> f32 {
        mos(loss, Duration::from_millis(ms))
    }

    /// G.107 gives 4.41 for a faultless line; half a second of delay and a tenth of loss are each heard.
    #[test]
    fn faults_cost_what_the_model_says() {
        assert!((after(0.0, 0) - 4.41).abs() < 0.01);
        assert!((4.3..4.4).contains(&after(0.0, 100)));
        assert!((3.0..3.3).contains(&after(0.0, 400)));
        assert!((2.8..3.4).contains(&after(0.1, 50)));
        assert_eq!(after(1.0, 2000), 1.0);
    }

    /// More of a fault is never better.
    #[test]
    fn it_only_falls() {
        let losses: Vec<f32> = (0..100).map(|n| after(n as f32 / 100.0, 80)).collect();
        let delays: Vec<f32> = (0..100).map(|n| after(0.01, n * 20)).collect();
        for scores in [losses, delays] {
            assert!(scores.windows(2).all(|two| two[0] >= two[1]));
        }
    }
}
