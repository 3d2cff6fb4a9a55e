use super::SrtpError;
use crate::rtp::sequence::{Stale, Window};

/// Most synchronisation sources that one context remembers. A leg has a few: one more for each transfer or hold.
/// Forgetting the oldest instead would let its packets be replayed, or its keystream be used twice.
pub const SOURCES: usize = 256;

/// What one synchronisation source has used of the key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    ssrc: u32,
    pub(super) rtp: Option<Window>,
    pub(super) rtcp: Option<Window>,
}

/// The sources of one context, with the one that spoke last at hand.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    known: Vec<Source>,
    last: usize,
}

impl Sources {
    /// A copy of what is known of this source.
    pub(super) fn get(&mut self, ssrc: u32) -> Option<Source> {
        if self
            .known
            .get(self.last)
            .is_none_or(|source| source.ssrc != ssrc)
        {
            self.last = self.known.iter().position(|source| source.ssrc == ssrc)?;
        }
        self.known.get(self.last).copied()
    }

    /// Notes that the source used this RTP index.
    pub(super) fn accept_rtp(&mut self, ssrc: u32, index: u64) -> Result<(), SrtpError> {
        accept(&mut self.entry(ssrc)?.rtp, index);
        Ok(())
    }

    /// Notes that the source used this RTCP index.
    pub(super) fn accept_rtcp(&mut self, ssrc: u32, index: u64) -> Result<(), SrtpError> {
        accept(&mut self.entry(ssrc)?.rtcp, index);
        Ok(())
    }

    fn entry(&mut self, ssrc: u32) -> Result<&mut Source, SrtpError> {
        if self.get(ssrc).is_none() {
            if self.known.len() == SOURCES {
                return Err(SrtpError::TooManySources);
            }
            self.last = self.known.len();
            // Nearly always there are one or two, where a vector would make room for four at once.
            if self.known.len() < 2 {
                self.known.reserve_exact(1);
            }
            self.known.push(Source {
                ssrc,
                rtp: None,
                rtcp: None,
            });
        }
        Ok(&mut self.known[self.last])
    }
}

fn accept(window: &mut Option<Window>, index: u64) {
    match window {
        Some(window) => window.accept(index),
        None => *window = Some(Window::starting_at(index)),
    }
}

impl From<Stale> for SrtpError {
    fn from(_: Stale) -> Self {
        Self::Replayed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table stops growing, and what it knows goes on.
    #[test]
    fn the_number_of_sources_is_bounded() {
        let mut sources = Sources::default();
        for ssrc in 0..SOURCES as u32 {
            assert_eq!(sources.accept_rtp(ssrc, 1), Ok(()));
        }
        assert_eq!(
            sources.accept_rtp(1_000_000, 1),
            Err(SrtpError::TooManySources)
        );
        assert_eq!(sources.accept_rtcp(7, 1), Ok(()));
        assert_eq!(
            sources
                .get(7)
                .and_then(|source| source.rtp)
                .map(|window| window.highest()),
            Some(1)
        );
    }
}
