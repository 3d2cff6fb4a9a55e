//! Sound that is played to peers, encoded once for all who listen.

use super::g711;
use std::fmt;
use std::time::Duration;

/// Samples in a second.
pub const RATE: usize = 8000;
/// Samples, and G.711 octets, in one packet of 20 ms.
pub const FRAME: usize = RATE / 50;

/// One of the two laws of G.711.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Law {
    /// PCMA.
    A,
    /// PCMU.
    Mu,
}

/// A piece of sound in both laws, as whole frames of 20 ms; at least one.
#[derive(PartialEq, Eq)]
pub struct Clip {
    alaw: Box<[u8]>,
    mulaw: Box<[u8]>,
}

impl Clip {
    /// Encodes samples of 16 bits, 8000 a second; silence fills the last frame.
    pub fn new(samples: impl IntoIterator<Item = i16>) -> Self {
        let mut samples: Vec<i16> = samples.into_iter().collect();
        let frames = samples.len().div_ceil(FRAME).max(1);
        samples.resize(frames * FRAME, 0);
        let encoded = |law: fn(i16) -> u8| samples.iter().map(|&sample| law(sample)).collect();
        Self {
            alaw: encoded(g711::alaw),
            mulaw: encoded(g711::mulaw),
        }
    }

    /// Frames in it.
    pub fn frames(&self) -> usize {
        self.alaw.len() / FRAME
    }

    /// 20 ms of it, counted from its start and around.
    pub fn frame(&self, law: Law, number: usize) -> &[u8] {
        let octets = match law {
            Law::A => &self.alaw,
            Law::Mu => &self.mulaw,
        };
        &octets[number % self.frames() * FRAME..][..FRAME]
    }

    /// How long it lasts.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(20) * self.frames() as u32
    }
}

/// Shows the length, not the sound.
impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clip")
            .field("duration", &self.duration())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole frames, filled up with silence; after the last the first comes again.
    #[test]
    fn a_clip_goes_around_in_whole_frames() {
        let clip = Clip::new([1000; FRAME + 1]);
        assert_eq!(
            (clip.frames(), clip.duration()),
            (2, Duration::from_millis(40))
        );
        assert_eq!(clip.frame(Law::A, 0), [g711::alaw(1000); FRAME]);
        assert_eq!(clip.frame(Law::Mu, 1)[1..], [g711::mulaw(0); FRAME - 1]);
        assert_eq!(clip.frame(Law::Mu, 2), clip.frame(Law::Mu, 0));
    }

    #[test]
    fn nothing_at_all_is_a_frame_of_silence() {
        assert_eq!(Clip::new([]).frame(Law::A, 7), [g711::alaw(0); FRAME]);
    }
}
