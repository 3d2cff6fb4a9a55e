//! The relay threads: sockets, clocks and queues around tables of legs ([`media::Relay`](crate::media::Relay)).
//!
//! Each thread owns some of the legs, with their sockets, and waits for them with `epoll`. Both legs of a call are on one
//! thread: when legs of two threads are connected, one of them moves. Commands come over a bounded queue for each thread
//! and an eventfd that wakes it; events go out over one bounded queue of tokio. For a packet nothing is allocated and no
//! lock is taken.
//!
//! What costs is the system: a thread under load therefore looks at its sockets once in a while instead of once a packet
//! ([`Config::collect`]), reads all that a socket holds with one call, and sends what leaves by one socket with one. Who
//! falls so far behind that voice has aged drops the oldest of it.

mod batch;
mod pace;
mod routes;
mod sockets;
mod thread;

use crate::base::Random;
use crate::media::relay::{Counters, Limits, Relay as Table};
use crate::media::{Command, Event, LegId};
use nix::sys::eventfd::{EfdFlags, EventFd};
use routes::Routes;
use sockets::Sockets;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use thread::{Order, Thread};
use tokio::sync::mpsc as queue;

/// Seconds from 1900, where NTP begins, to 1970.
const NTP_UNIX: u64 = 2_208_988_800;

/// Bounds and marks of the relay.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// How many threads, at least one.
    pub threads: usize,
    /// Whether each thread keeps to one processor.
    pub pin: bool,
    /// Legs open at once on each thread; each has two sockets.
    pub legs: usize,
    /// Commands waiting for each thread.
    pub commands: usize,
    /// Events waiting for the control plane.
    pub events: usize,
    /// Differentiated services code point of all media, 0 to 63; 46 is what voice has (RFC 4594 §4.1).
    pub dscp: u8,
    /// Bytes that the system is asked to keep for each socket until they are read.
    pub receive_buffer: usize,
    /// How long a thread under load waits for more packets before it looks; it is what a packet may be late by.
    pub collect: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: 1,
            pin: false,
            legs: 10_000,
            commands: 4096,
            events: 4096,
            dscp: 46,
            receive_buffer: 64 << 10,
            collect: Duration::from_millis(1),
        }
    }
}

/// Why there is no relay.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The operating system gave no thread, epoll, eventfd or socket.
    #[error("cannot start the relay: {0}")]
    Start(#[from] io::Error),
}

/// The command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The thread is too far behind.
    #[error("the relay's queue is full")]
    Full,
    /// The thread is gone.
    #[error("the relay has ended")]
    Ended,
}

/// Starts relay threads.
pub struct Relay;

/// Speaks to the relay threads; clones share them. With the last one the threads end and all their sockets close.
#[derive(Clone)]
pub struct RelayHandle(Arc<Shared>);

struct Shared {
    threads: Vec<Reach>,
    routes: Arc<Mutex<Routes>>,
    commands_lost: AtomicU64,
    receive_buffer: usize,
}

/// One thread, as others reach it.
struct Reach {
    orders: mpsc::SyncSender<Order>,
    waker: Arc<Waker>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

/// Gets a thread out of its wait.
struct Waker {
    event: EventFd,
    stop: AtomicBool,
}

impl Waker {
    /// A full counter of the eventfd wakes just as well, so that error means nothing.
    fn wake(&self) {
        let _ = self.event.write(1);
    }
}

impl Relay {
    /// Starts the threads. `random` must be seeded by the operating system.
    ///
    /// # Errors
    /// When the operating system refuses what they need.
    pub fn start(
        config: Config,
        mut random: Random,
    ) -> Result<(RelayHandle, queue::Receiver<Event>), RelayError> {
        let (outgoing, events) = queue::channel(config.events);
        let count = config.threads.max(1);
        let mut shared = Shared {
            threads: Vec::with_capacity(count),
            routes: Arc::new(Mutex::new(Routes::new(count))),
            commands_lost: AtomicU64::new(0),
            receive_buffer: sockets::granted_receive_buffer(config.receive_buffer)?,
        };
        if shared.receive_buffer < config.receive_buffer {
            tracing::warn!(
                wanted = config.receive_buffer,
                granted = shared.receive_buffer,
                "the system keeps less for each media socket than it was asked for; see net.core.rmem_max"
            );
        }
        for number in 0..count {
            let thread = shared.start(number, config, random.split(), outgoing.clone())?;
            shared.threads.push(thread);
        }
        Ok((RelayHandle(Arc::new(shared)), events))
    }
}

impl Shared {
    fn start(
        &self,
        number: usize,
        config: Config,
        random: Random,
        outgoing: queue::Sender<Event>,
    ) -> Result<Reach, RelayError> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(io::Error::from)?;
        let waker = Arc::new(Waker {
            event,
            stop: AtomicBool::new(false),
        });
        let (orders, incoming) = mpsc::sync_channel(config.commands);
        let limits = Limits {
            legs: config.legs,
            events: config.events + 2 * config.legs,
        };
        let table = Table::new(limits, random, Instant::now(), ntp());
        let counters = table.counters();
        let thread = Thread::new(
            table,
            Sockets::new(config.dscp, config.receive_buffer, &waker.event)?,
            incoming,
            outgoing,
            waker.clone(),
            self.routes.clone(),
            config.collect,
        );
        let thread = std::thread::Builder::new()
            .name(format!("relay-{number}"))
            .spawn(move || {
                if config.pin {
                    thread::keep_to_processor(number);
                }
                thread.run();
            })?;
        Ok(Reach {
            orders,
            waker,
            counters,
            thread: Some(thread),
        })
    }

    /// Puts an order into a thread's queue.
    fn order(&self, thread: usize, order: Order) -> Result<(), CommandError> {
        self.threads[thread]
            .orders
            .try_send(order)
            .map_err(|error| match error {
                TrySendError::Full(_) => CommandError::Full,
                TrySendError::Disconnected(_) => CommandError::Ended,
            })
    }

    fn command(&self, command: Command) -> Result<(), CommandError> {
        // Held until all is queued, so that every thread sees moves and commands in one order.
        let mut routes = lock(&self.routes);
        if let Command::Connect {
            leg,
            with: Some(with),
        } = command
            && let Some((leg, from, to)) = routes.apart(leg, with)
        {
            self.move_leg(leg, from, to)?;
            routes.moved(leg, to);
        }
        let leg = command.leg();
        let opens = matches!(command, Command::Open { .. });
        let closes = matches!(command, Command::Close { .. });
        let thread = match routes.of(leg) {
            Some(thread) => thread,
            None if opens => routes.best(),
            // It was closed, or could not be opened.
            None => return Ok(()),
        };
        self.order(thread, Order::Command(command))?;
        if opens {
            routes.opened(leg, thread);
        } else if closes {
            routes.closed(leg);
        }
        self.threads[thread].waker.wake();
        Ok(())
    }

    /// Whoever gets the leg waits for it, and does nothing else that it is told, from the moment that its queue says so.
    fn move_leg(&self, leg: LegId, from: usize, to: usize) -> Result<(), CommandError> {
        let (way, arrival) = mpsc::sync_channel(1);
        self.order(to, Order::Arrive(arrival))?;
        let waker = self.threads[to].waker.clone();
        let departs = self.order(from, Order::Depart { leg, way, waker });
        self.threads[from].waker.wake();
        self.threads[to].waker.wake();
        departs
    }
}

impl RelayHandle {
    /// Hands over a command; never blocks for longer than another one takes. A leg that is not open is not spoken to.
    ///
    /// # Errors
    /// The command is lost, and counted, if the thread is too far behind or gone.
    pub fn command(&self, command: Command) -> Result<(), CommandError> {
        let sent = self.0.command(command);
        if sent.is_err() {
            self.0.commands_lost.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    /// What all threads have counted until now.
    pub fn counters(&self) -> Counters {
        Counters::sum(self.0.threads.iter().map(|thread| &*thread.counters))
    }

    /// Legs open on each thread.
    pub fn legs_by_thread(&self) -> Vec<u64> {
        let threads = self.0.threads.iter();
        threads.map(|thread| thread.counters.legs.get()).collect()
    }

    /// Commands that [`RelayHandle::command`] could not hand over.
    pub fn commands_lost(&self) -> u64 {
        self.0.commands_lost.load(Ordering::Relaxed)
    }

    /// Bytes that the system keeps for each socket until they are read.
    pub fn receive_buffer(&self) -> usize {
        self.0.receive_buffer
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for thread in &self.threads {
            thread.waker.stop.store(true, Ordering::Release);
            thread.waker.wake();
        }
        for thread in &mut self.threads {
            if let Some(thread) = thread.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("relay thread panicked");
            }
        }
    }
}

/// Nothing that holds the lock can panic half-way, so what a panicking thread leaves is whole.
fn lock(routes: &Mutex<Routes>) -> MutexGuard<'_, Routes> {
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The wall's time now, as NTP writes it.
fn ntp() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    (now.as_secs() + NTP_UNIX) << 32 | fraction
}

#[cfg(test)]
mod tests;
