//! Sequence numbers of 16 bits as ever-growing indices.
//!
//! The index of a packet is `65536 × ROC + sequence` (RFC 3711 §3.3.1). A [`Window`] remembers which indices were
//! seen, so that a replayed packet is told from a late one (RFC 3711 §3.3.2).

/// Why an index is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// This very index was seen.
    Seen,
    /// It lies before the window, so nobody knows.
    TooOld,
}

/// The last 128 indices up to the highest one.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    highest: u64,
    /// Bit n: `highest - n` was seen.
    seen: u128,
}

impl Window {
    /// A window in which only this index was seen.
    pub fn starting_at(index: u64) -> Self {
        Self {
            highest: index,
            seen: 1,
        }
    }

    /// The highest index seen.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// The index nearest to the highest one that ends in this sequence number (RFC 3711 §3.3.1 and appendix A).
    ///
    /// In the first half of the first round nothing can lie behind the start, so a sequence number far ahead is taken as
    /// what it says; senders that jump there are followed.
    pub fn guess(&self, sequence: u16) -> u64 {
        const HALF: i64 = 1 << 15;
        let here = i64::from(self.highest as u16);
        let ahead = match i64::from(sequence) - here {
            ahead if here < HALF && ahead > HALF => ahead - 2 * HALF,
            ahead if here >= HALF && ahead < -HALF => ahead + 2 * HALF,
            ahead => ahead,
        };
        self.highest
            .checked_add_signed(ahead)
            .unwrap_or(u64::from(sequence))
    }

    /// Whether the index is new.
    pub fn check(&self, index: u64) -> Result<(), Stale> {
        match self.highest.checked_sub(index) {
            None => Ok(()),
            Some(back) if back >= u64::from(u128::BITS) => Err(Stale::TooOld),
            Some(back) if self.seen >> back & 1 != 0 => Err(Stale::Seen),
            Some(_) => Ok(()),
        }
    }

    /// Marks an index that [`Window::check`] let through.
    pub fn accept(&mut self, index: u64) {
        if index > self.highest {
            let ahead = (index - self.highest).min(u64::from(u128::BITS)) as u32;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = index;
        } else if self.highest - index < u64::from(u128::BITS) {
            self.seen |= 1 << (self.highest - index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Around a wrap the nearer rollover counter is taken, in both directions.
    #[test]
    fn the_guess_crosses_the_wrap() {
        let before = Window::starting_at(65_530);
        assert_eq!((before.guess(65_531), before.guess(3)), (65_531, 65_539));
        let after = Window::starting_at(65_539);
        assert_eq!((after.guess(65_535), after.guess(4)), (65_535, 65_540));
        assert_eq!(Window::starting_at(3).guess(40_000), 40_000);
    }

    /// Each of the last 128 indices is taken once; older ones never.
    #[test]
    fn a_window_takes_each_index_once() {
        let mut window = Window::starting_at(1000);
        window.accept(1127);
        assert_eq!(window.check(1000), Err(Stale::Seen));
        assert_eq!(window.check(1001), Ok(()));
        window.accept(1001);
        assert_eq!(window.check(1001), Err(Stale::Seen));
        assert_eq!(window.check(999), Err(Stale::TooOld));
        window.accept(5000);
        assert_eq!(window.check(5000), Err(Stale::Seen));
        assert_eq!(window.check(4873), Ok(()));
        assert_eq!(window.check(4872), Err(Stale::TooOld));
    }

    /// Against a plain set of everything seen, over shuffled and repeated indices.
    #[test]
    fn a_window_agrees_with_a_set() {
        let mut random = crate::base::Random::from_number(1);
        let mut window = Window::starting_at(100_000);
        let mut seen = std::collections::HashSet::from([100_000]);
        for _ in 0..20_000 {
            let index = window.highest() + u64::from(random.u32() % 12)
                - u64::from(random.u32() % 140).min(window.highest());
            let old = window.highest().saturating_sub(index) >= 128 && index <= window.highest();
            assert_eq!(
                window.check(index).is_ok(),
                !old && !seen.contains(&index),
                "{index}"
            );
            if window.check(index).is_ok() {
                window.accept(index);
                seen.insert(index);
            }
        }
    }
}
