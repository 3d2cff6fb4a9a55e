//! How strong one frequency is (Goertzel's algorithm).

use super::clip::RATE;
use std::f32::consts::TAU;

/// The power of one frequency, in hertz, in these samples, per sample: a sine of amplitude a has a quarter of a².
pub fn power(samples: &[i16], hertz: f32) -> f32 {
    let factor = 2.0 * (TAU * hertz / RATE as f32).cos();
    let (a, b) = samples
        .iter()
        .fold((0.0, 0.0), |(a, b), &x| (f32::from(x) + factor * a - b, a));
    (a * a + b * b - factor * a * b) / (samples.len() as f32).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_is_found_at_its_frequency_only() {
        let sine: Vec<i16> = (0..800)
            .map(|n| (4000.0 * (TAU * 440.0 * n as f32 / RATE as f32).sin()) as i16)
            .collect();
        let expected = 4000.0 * 4000.0 / 4.0;
        assert!((power(&sine, 440.0) / expected - 1.0).abs() < 0.01);
        assert!(power(&sine, 600.0) < expected / 1000.0);
    }
}
