//! Which thread has which leg.

use crate::media::LegId;
use std::collections::HashMap;

/// So many more legs than another thread has, and the next ones go to that one: legs of one call, which are opened one
/// soon after the other, mostly meet on one thread without a move.
const SLACK: usize = 8;

/// All legs that were opened and not closed.
#[derive(Debug)]
pub(super) struct Routes {
    thread_of: HashMap<LegId, usize>,
    /// Legs on each thread.
    load: Vec<usize>,
    /// Where the last one was opened.
    last: usize,
}

impl Routes {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            thread_of: HashMap::new(),
            load: vec![0; threads],
            last: 0,
        }
    }

    /// The thread that has this leg.
    pub(super) fn of(&self, leg: LegId) -> Option<usize> {
        self.thread_of.get(&leg).copied()
    }

    /// Where the next leg should be opened.
    pub(super) fn best(&self) -> usize {
        let least = (0..self.load.len()).min_by_key(|thread| self.load[*thread]);
        least
            .filter(|thread| self.load[*thread] + SLACK < self.load[self.last])
            .unwrap_or(self.last)
    }

    /// Which of two legs must move, from where and to where, to be on one thread: away from the fuller one.
    pub(super) fn apart(&self, one: LegId, other: LegId) -> Option<(LegId, usize, usize)> {
        let (here, there) = (self.of(one)?, self.of(other)?);
        if here == there {
            None
        } else if self.load[here] > self.load[there] {
            Some((one, here, there))
        } else {
            Some((other, there, here))
        }
    }

    pub(super) fn opened(&mut self, leg: LegId, thread: usize) {
        if self.thread_of.insert(leg, thread).is_none() {
            self.load[thread] += 1;
        }
        self.last = thread;
    }

    pub(super) fn moved(&mut self, leg: LegId, to: usize) {
        if let Some(thread) = self.thread_of.get_mut(&leg) {
            self.load[*thread] -= 1;
            self.load[to] += 1;
            *thread = to;
        }
    }

    /// Closed, or never open.
    pub(super) fn closed(&mut self, leg: LegId) {
        if let Some(thread) = self.thread_of.remove(&leg) {
            self.load[thread] -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(routes: &mut Routes, leg: u64) -> usize {
        let thread = routes.best();
        routes.opened(LegId(leg), thread);
        thread
    }

    /// Legs that are opened in pairs stay together, and the threads are equally full up to a few legs.
    #[test]
    fn pairs_stay_together_and_threads_equally_full() {
        let mut routes = Routes::new(3);
        let apart = (0..300u64)
            .filter(|call| open(&mut routes, 2 * call) != open(&mut routes, 2 * call + 1));
        assert!(apart.count() <= 60);
        let (least, most) = (routes.load.iter().min(), routes.load.iter().max());
        assert!(most.unwrap() - least.unwrap() <= SLACK + 1, "{routes:?}");
    }

    /// Of two legs on two threads the one on the fuller thread moves; of two on one thread, or unknown ones, none.
    #[test]
    fn the_fuller_thread_gives() {
        let mut routes = Routes::new(2);
        for (leg, thread) in [(1, 0), (2, 0), (3, 1)] {
            routes.opened(LegId(leg), thread);
        }
        assert_eq!(routes.apart(LegId(1), LegId(2)), None);
        assert_eq!(routes.apart(LegId(1), LegId(9)), None);
        assert_eq!(routes.apart(LegId(3), LegId(1)), Some((LegId(1), 0, 1)));
        assert_eq!(routes.apart(LegId(1), LegId(3)), Some((LegId(1), 0, 1)));
        routes.moved(LegId(1), 1);
        assert_eq!((routes.of(LegId(1)), &routes.load), (Some(1), &vec![1, 2]));
        routes.closed(LegId(1));
        routes.closed(LegId(1));
        assert_eq!((routes.of(LegId(1)), &routes.load), (None, &vec![1, 1]));
    }
}
