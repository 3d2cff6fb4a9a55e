//! What lies between an agent and the SBC.

use std::time::{Duration, Instant};

use tollgate::base::Random;

/// Both directions of one path. Chances are in percent and hold for datagrams only: a stream loses nothing and keeps
/// its order.
#[derive(Debug, Clone)]
pub struct Link {
    pub loss: u32,
    pub duplication: u32,
    /// The shortest way and what may come on top; datagrams overtake each other where the latter is large.
    pub delay: Duration,
    pub jitter: Duration,
    newest: [Option<Instant>; 2],
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToSbc,
    FromSbc,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            loss: 0,
            duplication: 0,
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            newest: [None; 2],
        }
    }
}

impl Link {
    /// Every fifth datagram is lost, every tenth comes twice, and they overtake each other.
    pub fn bad() -> Self {
        Self {
            loss: 20,
            duplication: 10,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(150),
            newest: [None; 2],
        }
    }

    /// When copies of a message sent now arrive; none if it is lost.
    pub fn carry(
        &mut self,
        way: Way,
        reliable: bool,
        now: Instant,
        random: &mut Random,
    ) -> Vec<Instant> {
        let spread = u64::try_from(self.jitter.as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
        let arrives =
            |random: &mut Random| now + self.delay + Duration::from_micros(random.u64() % spread);
        if reliable {
            let newest = &mut self.newest[way as usize];
            let at = newest.map_or(arrives(random), |newest| arrives(random).max(newest));
            *newest = Some(at);
            return vec![at];
        }
        let copies = match random.u32() % 100 {
            n if n < self.loss => 0,
            n if n < self.loss + self.duplication => 2,
            _ => 1,
        };
        (0..copies).map(|_| arrives(random)).collect()
    }
}
