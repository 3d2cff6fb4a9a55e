//! What one relay thread does.

use super::batch::Batch;
use super::pace::Pace;
use super::routes::Routes;
use super::sockets::{Pair, Sockets, WAKER, leg_of};
use super::{Waker, lock};
use crate::media::relay::{BUFFER, OpenLeg, Relay as Table};
use crate::media::{Command, Event, LegId};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::epoll::{EpollEvent, EpollTimeout};
use nix::unistd::Pid;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc as queue;

/// Sockets looked at after one wake-up.
const WAKE_UP: usize = 256;
/// Orders carried out between two looks at the sockets.
const ORDERS: usize = 64;
/// When events are offered again to a control plane that had no room for them.
const RETRY: Duration = Duration::from_millis(20);

/// What a thread is told.
pub(super) enum Order {
    Command(Command),
    /// Send this leg over to another thread, and wake it: also if there is no such leg, so that it waits no longer.
    Depart {
        leg: LegId,
        way: mpsc::SyncSender<Moved>,
        waker: Arc<Waker>,
    },
    /// A leg comes from another thread. What is told later may be about it, so that all of it waits.
    Arrive(mpsc::Receiver<Moved>),
}

/// A leg between two threads.
pub(super) struct Moved {
    leg: LegId,
    media: OpenLeg,
    sockets: Pair,
}

/// What the thread owns.
pub(super) struct Thread {
    table: Table,
    sockets: Sockets,
    incoming: mpsc::Receiver<Order>,
    /// Of a leg that has not come yet.
    expected: Option<mpsc::Receiver<Moved>>,
    outgoing: queue::Sender<Event>,
    waker: Arc<Waker>,
    routes: Arc<Mutex<Routes>>,
    pace: Pace,
}

impl Thread {
    pub(super) fn new(
        table: Table,
        sockets: Sockets,
        incoming: mpsc::Receiver<Order>,
        outgoing: queue::Sender<Event>,
        waker: Arc<Waker>,
        routes: Arc<Mutex<Routes>>,
        collect: Duration,
    ) -> Self {
        Self {
            table,
            sockets,
            incoming,
            expected: None,
            outgoing,
            waker,
            routes,
            pace: Pace::new(collect, Instant::now()),
        }
    }

    pub(super) fn run(mut self) {
        let mut ready = [EpollEvent::empty(); WAKE_UP];
        let mut batch = Batch::new();
        let mut buffer = [0; BUFFER];
        while !self.waker.stop.load(Ordering::Acquire) {
            let count = match self.sockets.epoll.wait(&mut ready, self.timeout()) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return tracing::error!(%error, "relay cannot wait for its sockets"),
            };
            // More sockets are ready than were asked for, or one of them has waited for longer than a packet takes.
            let (mut packets, mut behind) = (0, count == WAKE_UP);
            for event in &ready[..count] {
                match event.data() {
                    WAKER => self.orders(),
                    token => {
                        let read = self.receive(token, &mut batch);
                        packets += read;
                        behind |= read > 1;
                    }
                }
            }
            let (sockets, counters) = (&self.sockets, self.table.counters());
            let now = Instant::now();
            self.table.tick(now, &mut buffer, |forward, bytes| {
                sockets.send(&forward, bytes, &counters)
            });
            self.deliver();
            if let Some(rest) = self.pace.rest(packets, behind, Instant::now()) {
                std::thread::sleep(rest);
            }
        }
    }

    /// Until the table has something to do; rounded up, so that it is due then.
    fn timeout(&self) -> EpollTimeout {
        let wait = self
            .table
            .deadline()
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let retry = self.table.has_events().then_some(RETRY);
        let Some(wait) = wait.into_iter().chain(retry).min() else {
            return EpollTimeout::NONE;
        };
        EpollTimeout::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(EpollTimeout::MAX)
    }

    fn orders(&mut self) {
        // Reset first: what is queued after this wakes the thread again.
        let _ = self.waker.event.read();
        for _ in 0..ORDERS {
            if let Some(way) = &self.expected {
                match way.try_recv() {
                    Ok(moved) => self.arrive(moved),
                    // Whoever sends it wakes us.
                    Err(TryRecvError::Empty) => return,
                    Err(TryRecvError::Disconnected) => {}
                }
                self.expected = None;
            }
            match self.incoming.try_recv() {
                Ok(Order::Command(command)) => self.command(command),
                Ok(Order::Depart { leg, way, waker }) => {
                    self.depart(leg, way);
                    waker.wake();
                }
                Ok(Order::Arrive(way)) => self.expected = Some(way),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
        self.waker.wake();
    }

    /// Whoever waits hears of it when `way` goes, with the leg or without.
    fn depart(&mut self, leg: LegId, way: mpsc::SyncSender<Moved>) {
        let Some(sockets) = self.sockets.release(leg) else {
            return;
        };
        if let Some(media) = self.table.release(leg) {
            let moved = Moved {
                leg,
                media,
                sockets,
            };
            // There is room for one; if the other thread has ended, all legs end.
            let _ = way.try_send(moved);
        }
    }

    fn arrive(&mut self, moved: Moved) {
        let leg = moved.leg;
        match self.sockets.adopt(leg, moved.sockets) {
            Ok(()) => self.table.adopt(moved.media, Instant::now()),
            Err(error) => self.failed(leg, &error),
        }
    }

    fn failed(&mut self, leg: LegId, error: &std::io::Error) {
        self.table.event(Event::Failed {
            leg,
            reason: error.to_string(),
        });
        self.forget_if_closed(leg);
    }

    /// A leg that could not be opened is nobody's.
    fn forget_if_closed(&mut self, leg: LegId) {
        if !self.table.is_open(leg) {
            lock(&self.routes).closed(leg);
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Open { leg, address, port } => match self.sockets.open(leg, address, port) {
                Ok(()) => {
                    self.table.command(command, Instant::now());
                    if !self.table.is_open(leg) {
                        self.sockets.close(leg);
                        self.forget_if_closed(leg);
                    }
                }
                Err(error) => self.failed(leg, &error),
            },
            Command::Close { leg } => {
                self.sockets.close(leg);
                self.table.command(command, Instant::now());
            }
            Command::Configure { .. }
            | Command::Ice { .. }
            | Command::Connect { .. }
            | Command::Play { .. }
            | Command::Dial { .. }
            | Command::Listen { .. }
            | Command::Count { .. } => {
                self.table.command(command, Instant::now());
            }
        }
    }

    /// All that waits at a port; how much it was.
    fn receive(&mut self, token: u64, batch: &mut Batch) -> usize {
        let (leg, port) = leg_of(token);
        self.sockets.read(leg, port, batch, self.table.counted());
        let now = Instant::now();
        for number in 0..batch.len() {
            let (from, length, place) = batch.get(number);
            let buffer = batch.buffer(place);
            let forward = self.table.packet(leg, port, from, buffer, length, now);
            if let Some(forward) = forward {
                batch.leaves(forward, place);
            }
        }
        self.sockets.send_all(batch, self.table.counted());
        batch.len()
    }

    /// What the control plane has no room for waits in the table, which is bounded.
    fn deliver(&mut self) {
        while let Some(event) = self.table.poll_event() {
            if let Err(queue::error::TrySendError::Full(event)) = self.outgoing.try_send(event) {
                return self.table.return_event(event);
            }
        }
    }
}

/// Keeps the calling thread, which is the one of this number, to one of the processors that it may use.
pub(super) fn keep_to_processor(number: usize) {
    let kept = sched_getaffinity(Pid::from_raw(0)).and_then(|allowed| {
        let usable: Vec<usize> = (0..CpuSet::count())
            .filter(|processor| allowed.is_set(*processor).unwrap_or(false))
            .collect();
        let mut own = CpuSet::new();
        own.set(usable[number % usable.len()])?;
        sched_setaffinity(Pid::from_raw(0), &own)
    });
    if let Err(error) = kept {
        tracing::warn!(number, %error, "a relay thread cannot keep to one processor");
    }
}
