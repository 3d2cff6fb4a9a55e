use super::super::{Counters, Kind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Paths that one leg remembers. A peer has a few candidates for each component, and a call a few forks.
pub(super) const MOST: usize = 32;

/// A check whose integrity was proved.
pub(super) struct Check<'a> {
    /// The port of ours that it came to: the component.
    pub(super) port: Kind,
    /// The other end of the path.
    pub(super) from: SocketAddr,
    /// The user name fragment of whoever sent it.
    pub(super) fork: &'a [u8],
    /// Not in checks that only ask for consent.
    pub(super) priority: Option<u32>,
    /// Whether it nominates the path.
    pub(super) nominates: bool,
}

/// Where a peer's valid checks came from.
struct Path {
    port: Kind,
    address: SocketAddr,
    fork: Box<[u8]>,
    priority: u32,
    /// When it was nominated, counted in nominations of the leg.
    nominated: Option<u64>,
    /// The last sign of the peer on it.
    heard: Instant,
}

impl Path {
    fn is(&self, port: Kind, address: SocketAddr) -> bool {
        self.port == port && self.address == address
    }
}

/// The paths of one leg, and which of them packets take.
pub(super) struct Paths {
    known: Vec<Path>,
    nominations: u64,
    /// For each component. What a packet needs is here; the table is looked through only when a check came.
    selected: [Option<Selected>; 2],
}

#[derive(Clone, Copy)]
struct Selected {
    address: SocketAddr,
    /// Its number; after a restart, until something is selected anew, the old path has none.
    nominated: Option<u64>,
    heard: Instant,
}

impl Paths {
    pub(super) fn new() -> Self {
        Self {
            known: Vec::new(),
            nominations: 0,
            selected: [None; 2],
        }
    }

    /// Forgets all but where packets go: they go there until the new checks tell otherwise (RFC 8445 §9).
    pub(super) fn restart(&mut self) {
        self.known.clear();
        for selected in self.selected.iter_mut().flatten() {
            selected.nominated = None;
        }
    }

    /// Remembers a check; [`Paths::select`] is to follow.
    pub(super) fn check(&mut self, check: &Check, counters: &Counters, now: Instant) {
        self.heard(check.port, check.from, now);
        let place = self
            .known
            .iter()
            .position(|path| path.is(check.port, check.from) && *path.fork == *check.fork);
        let Some(place) = place.or_else(|| self.make_room(check, now)) else {
            return counters.paths_refused.add();
        };
        let path = &mut self.known[place];
        path.heard = now;
        path.priority = check.priority.unwrap_or(path.priority);
        if check.nominates && path.nominated.is_none() {
            self.nominations += 1;
            path.nominated = Some(self.nominations);
            counters.nominations.add();
        }
    }

    /// A place for a path that is not known yet. Where all are taken only a nominated one gets that of the worst which
    /// is not.
    fn make_room(&mut self, check: &Check, now: Instant) -> Option<usize> {
        if self.known.len() == MOST {
            let open = self.known.iter().enumerate();
            let open = open.filter(|(_, path)| check.nominates && path.nominated.is_none());
            let (worst, _) = open.min_by_key(|(_, path)| path.priority)?;
            self.known.swap_remove(worst);
        }
        self.known.push(Path {
            port: check.port,
            address: check.from,
            fork: check.fork.into(),
            priority: 0,
            nominated: None,
            heard: now,
        });
        Some(self.known.len() - 1)
    }

    /// Chooses for each component among the paths of this fork, or of all while none is chosen: the first that was
    /// nominated, which stays; before there is one, the one of the highest priority (TDR-842); before there is that,
    /// what was selected before a restart.
    pub(super) fn select(&mut self, fork: Option<&[u8]>) {
        for port in [Kind::Rtp, Kind::Rtcp] {
            let paths = self
                .known
                .iter()
                .filter(|path| path.port == port && fork.is_none_or(|fork| *path.fork == *fork));
            let best = paths.min_by_key(|path| {
                let order = path.nominated.unwrap_or(u64::MAX);
                (order, u32::MAX - path.priority)
            });
            let before = self.selected[place(port)];
            let is_before = |path: &Path| before.is_some_and(|b| path.is(port, b.address));
            match best {
                Some(path) => {
                    let signs = before.filter(|_| is_before(path)).map(|b| b.heard);
                    self.selected[place(port)] = Some(Selected {
                        address: path.address,
                        nominated: path.nominated,
                        heard: signs.map_or(path.heard, |heard| heard.max(path.heard)),
                    });
                }
                // It is of another fork than the one that was chosen since.
                None if self.known.iter().any(is_before) => self.selected[place(port)] = None,
                None => {}
            }
        }
    }

    pub(super) fn selected(&self, port: Kind) -> Option<SocketAddr> {
        self.selected[place(port)].map(|selected| selected.address)
    }

    pub(super) fn is_nominated(&self, port: Kind, address: SocketAddr) -> bool {
        self.selected[place(port)]
            .is_some_and(|selected| selected.nominated.is_some() && selected.address == address)
    }

    /// A sign of the peer on the path that packets take.
    pub(super) fn heard(&mut self, port: Kind, from: SocketAddr, now: Instant) {
        if let Some(selected) = &mut self.selected[place(port)]
            && selected.address == from
        {
            selected.heard = now;
        }
    }

    /// Forgets paths without a sign of the peer for so long. If the nominated one for RTP is among them, it is told.
    pub(super) fn expire(&mut self, now: Instant, after: Duration) -> Option<SocketAddr> {
        for port in [Kind::Rtp, Kind::Rtcp] {
            // Media counts on the path that packets take, and is noted there only.
            if let Some(selected) = self.selected[place(port)] {
                let taken = |path: &&mut Path| path.is(port, selected.address);
                for path in self.known.iter_mut().filter(taken) {
                    path.heard = path.heard.max(selected.heard);
                }
            }
        }
        let is_old = |heard| now.saturating_duration_since(heard) >= after;
        self.known.retain(|path| !is_old(path.heard));
        let mut lost = None;
        for port in [Kind::Rtp, Kind::Rtcp] {
            let selected = &mut self.selected[place(port)];
            if let Some(old) = selected.take_if(|selected| is_old(selected.heard))
                && old.nominated.is_some()
                && port == Kind::Rtp
            {
                lost = Some(old.address);
            }
        }
        lost
    }
}

fn place(port: Kind) -> usize {
    match port {
        Kind::Rtp => 0,
        Kind::Rtcp => 1,
    }
}
