//! The relay thread: sockets, clock and queues around a [`media::Relay`](crate::media::Relay).
//!
//! One thread owns all media sockets and waits for them with `epoll`. Commands come over a bounded queue and an eventfd
//! that wakes the thread; events go out over a bounded queue of tokio. For a packet nothing is allocated and no lock is
//! taken.

use crate::base::Random;
use crate::media::relay::{BUFFER, Counters, Forward, Kind, Limits, MAX_DATAGRAM, Relay as Table};
use crate::media::{Command, Event, LegId};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, TryRecvError, TrySendError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc as queue;

/// Datagrams read from one socket before the others have their turn.
const FAIR_SHARE: usize = 16;
/// Sockets looked at after one wake-up.
const WAKE_UP: usize = 256;
/// Commands carried out between two looks at the sockets.
const COMMANDS: usize = 64;
/// When events are offered again to a control plane that had no room for them.
const RETRY: Duration = Duration::from_millis(20);
/// Marks the eventfd among the legs' sockets.
const WAKER: u64 = u64::MAX;
/// Seconds from 1900, where NTP begins, to 1970.
const NTP_UNIX: u64 = 2_208_988_800;

/// Bounds and marks of a relay thread.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Legs open at once; each has two sockets.
    pub legs: usize,
    /// Commands waiting for the thread.
    pub commands: usize,
    /// Events waiting for the control plane.
    pub events: usize,
    /// Differentiated services code point of all media, 0 to 63; 46 is what voice has (RFC 4594 §4.1).
    pub dscp: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            legs: 10_000,
            commands: 4096,
            events: 4096,
            dscp: 46,
        }
    }
}

/// Why there is no relay.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The operating system gave no thread, epoll or eventfd.
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

/// Speaks to a relay thread; clones share it. With the last one the thread ends and all its sockets close.
#[derive(Clone)]
pub struct RelayHandle(Arc<Shared>);

struct Shared {
    commands: mpsc::SyncSender<Command>,
    waker: Arc<Waker>,
    counters: Arc<Counters>,
    commands_lost: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

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
    /// Starts a thread. `random` must be seeded by the operating system.
    ///
    /// # Errors
    /// When the operating system refuses what the thread needs.
    pub fn start(
        config: Config,
        random: Random,
    ) -> Result<(RelayHandle, queue::Receiver<Event>), RelayError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(io::Error::from)?;
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(io::Error::from)?;
        epoll
            .add(&event, EpollEvent::new(EpollFlags::EPOLLIN, WAKER))
            .map_err(io::Error::from)?;
        let waker = Arc::new(Waker {
            event,
            stop: AtomicBool::new(false),
        });
        let (commands, incoming) = mpsc::sync_channel(config.commands);
        let (outgoing, events) = queue::channel(config.events);
        let limits = Limits {
            legs: config.legs,
            events: config.events + 2 * config.legs,
        };
        let table = Table::new(limits, random, Instant::now(), ntp());
        let counters = table.counters();
        let thread = Thread {
            table,
            sockets: Sockets {
                epoll,
                open: HashMap::new(),
                dscp: config.dscp,
            },
            incoming,
            outgoing,
            waker: waker.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("relay".into())
            .spawn(move || thread.run())?;
        let shared = Shared {
            commands,
            waker,
            counters,
            commands_lost: AtomicU64::new(0),
            thread: Some(thread),
        };
        Ok((RelayHandle(Arc::new(shared)), events))
    }
}

impl RelayHandle {
    /// Hands over a command; never blocks.
    ///
    /// # Errors
    /// The command is lost, and counted, if the thread is too far behind or gone.
    pub fn command(&self, command: Command) -> Result<(), CommandError> {
        let sent = self
            .0
            .commands
            .try_send(command)
            .map_err(|error| match error {
                TrySendError::Full(_) => CommandError::Full,
                TrySendError::Disconnected(_) => CommandError::Ended,
            });
        if sent.is_err() {
            self.0.commands_lost.fetch_add(1, Ordering::Relaxed);
        }
        self.0.waker.wake();
        sent
    }

    /// What the thread counts.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Commands that [`RelayHandle::command`] could not hand over.
    pub fn commands_lost(&self) -> u64 {
        self.0.commands_lost.load(Ordering::Relaxed)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.waker.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("relay thread panicked");
        }
    }
}

/// What the thread owns.
struct Thread {
    table: Table,
    sockets: Sockets,
    incoming: mpsc::Receiver<Command>,
    outgoing: queue::Sender<Event>,
    waker: Arc<Waker>,
}

impl Thread {
    fn run(mut self) {
        let mut ready = [EpollEvent::empty(); WAKE_UP];
        let mut buffer = [0; BUFFER];
        while !self.waker.stop.load(Ordering::Acquire) {
            let count = match self.sockets.epoll.wait(&mut ready, self.timeout()) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return tracing::error!(%error, "relay cannot wait for its sockets"),
            };
            for event in &ready[..count] {
                match event.data() {
                    WAKER => self.commands(),
                    token => self.receive(token, &mut buffer),
                }
            }
            let (sockets, counters) = (&self.sockets, self.table.counters());
            self.table
                .tick(Instant::now(), &mut buffer, |forward, bytes| {
                    sockets.send(&forward, bytes, &counters)
                });
            self.deliver();
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

    fn commands(&mut self) {
        // Reset first: what is queued after this wakes the thread again.
        let _ = self.waker.event.read();
        for _ in 0..COMMANDS {
            match self.incoming.try_recv() {
                Ok(command) => self.command(command),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
        self.waker.wake();
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Open { leg, address, port } => match self.sockets.open(leg, address, port) {
                Ok(()) => {
                    self.table.command(command, Instant::now());
                    if !self.table.is_open(leg) {
                        self.sockets.close(leg);
                    }
                }
                Err(error) => self.table.event(Event::Failed {
                    leg,
                    reason: error.to_string(),
                }),
            },
            Command::Close { leg } => {
                self.sockets.close(leg);
                self.table.command(command, Instant::now());
            }
            Command::Configure { .. }
            | Command::Ice { .. }
            | Command::Connect { .. }
            | Command::Play { .. }
            | Command::Count { .. } => {
                self.table.command(command, Instant::now());
            }
        }
    }

    fn receive(&mut self, token: u64, buffer: &mut [u8; BUFFER]) {
        let (leg, port) = leg_of(token);
        for _ in 0..FAIR_SHARE {
            // A command in the same round may have closed it.
            let Some(socket) = self.sockets.get(leg, port) else {
                return;
            };
            // One byte more than is taken shows that a datagram was too long.
            let (length, from) = match socket.recv_from(&mut buffer[..=MAX_DATAGRAM]) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let forward = self
                .table
                .packet(leg, port, from, buffer, length, Instant::now());
            if let Some(forward) = forward {
                self.sockets
                    .send(&forward, &buffer[..forward.length], self.table.counted());
            }
        }
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

/// The sockets of all legs.
struct Sockets {
    epoll: Epoll,
    open: HashMap<LegId, [UdpSocket; 2]>,
    dscp: u8,
}

impl Sockets {
    /// Binds both ports of a leg.
    fn open(&mut self, leg: LegId, address: IpAddr, port: u16) -> io::Result<()> {
        if self.open.contains_key(&leg) || leg.0 > u64::MAX >> 2 {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a leg of this number is open",
            ));
        }
        let next = port
            .checked_add(1)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no port follows"))?;
        let pair = [
            self.bind(SocketAddr::new(address, port))?,
            self.bind(SocketAddr::new(address, next))?,
        ];
        // A socket that is dropped leaves the epoll by itself.
        for (kind, socket) in [Kind::Rtp, Kind::Rtcp].into_iter().zip(&pair) {
            self.epoll.add(
                socket,
                EpollEvent::new(EpollFlags::EPOLLIN, token(leg, kind)),
            )?;
        }
        self.open.insert(leg, pair);
        Ok(())
    }

    fn bind(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM.nonblocking().cloexec(),
            Some(Protocol::UDP),
        )?;
        let traffic_class = u32::from(self.dscp) << 2;
        match address {
            SocketAddr::V4(_) => socket.set_tos_v4(traffic_class)?,
            SocketAddr::V6(_) => socket.set_tclass_v6(traffic_class)?,
        }
        socket.bind(&address.into())?;
        Ok(socket.into())
    }

    fn close(&mut self, leg: LegId) {
        self.open.remove(&leg);
    }

    fn get(&self, leg: LegId, port: Kind) -> Option<&UdpSocket> {
        let [rtp, rtcp] = self.open.get(&leg)?;
        Some(if port == Kind::Rtp { rtp } else { rtcp })
    }

    /// Sends or drops: a packet of voice that has to wait is worth nothing.
    fn send(&self, forward: &Forward, bytes: &[u8], counters: &Counters) {
        let sent = self
            .get(forward.leg, forward.kind)
            .map(|socket| socket.send_to(bytes, forward.to));
        if !matches!(sent, Some(Ok(_))) {
            counters.send_failed();
        }
    }
}

fn token(leg: LegId, kind: Kind) -> u64 {
    leg.0 << 1 | u64::from(kind == Kind::Rtcp)
}

fn leg_of(token: u64) -> (LegId, Kind) {
    (
        LegId(token >> 1),
        if token & 1 == 0 {
            Kind::Rtp
        } else {
            Kind::Rtcp
        },
    )
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
mod tests {
    use super::*;
    use crate::media::{LegConfig, MediaSource, Play};
    use std::net::Ipv4Addr;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn start(config: Config) -> (RelayHandle, queue::Receiver<Event>) {
        Relay::start(config, Random::from_number(1)).unwrap()
    }

    fn peer() -> UdpSocket {
        let socket = UdpSocket::bind((HOST, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket
    }

    fn heard(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 2000];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        (buffer[..length].to_vec(), from)
    }

    fn towards(peer: &UdpSocket) -> Box<LegConfig> {
        let remote = peer.local_addr().unwrap();
        Box::new(LegConfig {
            remote_rtp: remote,
            remote_rtcp: remote,
            rtcp_mux: true,
            crypto: None,
            source: MediaSource::Strict,
            payload_map: Box::new(std::array::from_fn(|n| n as u8)),
            inactivity: None,
            receive: true,
            send: true,
        })
    }

    /// Opens the leg at a free pair of ports, of which the first is returned.
    fn open(handle: &RelayHandle, events: &mut queue::Receiver<Event>, leg: LegId) -> u16 {
        for _ in 0..50 {
            let free = UdpSocket::bind((HOST, 0))
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
                & !1;
            handle
                .command(Command::Open {
                    leg,
                    address: HOST,
                    port: free,
                })
                .unwrap();
            // The second fails in any case; its reason, or the first one's, says whether the first is open.
            handle
                .command(Command::Open {
                    leg,
                    address: HOST,
                    port: free,
                })
                .unwrap();
            let Some(Event::Failed { reason, .. }) = events.blocking_recv() else {
                panic!("the second cannot be opened")
            };
            if reason.contains("is open") {
                return free;
            }
            events.blocking_recv();
        }
        panic!("no free pair of ports")
    }

    fn voice(n: u8) -> Vec<u8> {
        let mut packet = vec![0x80, 8, 0, n, 0, 0, 0, n, 0, 0, 0, 9];
        packet.resize(172, 0xd5);
        packet
    }

    /// Two peers hear each other through sockets; music takes over at a packet each 20 ms, and closing reports.
    #[test]
    fn two_peers_hear_each_other() {
        let (handle, mut events) = start(Config::default());
        let (alice, bob) = (peer(), peer());
        let (a, b) = (LegId(1), LegId(2));
        let (port_a, port_b) = (open(&handle, &mut events, a), open(&handle, &mut events, b));
        handle
            .command(Command::Configure {
                leg: a,
                config: towards(&alice),
            })
            .unwrap();
        handle
            .command(Command::Configure {
                leg: b,
                config: towards(&bob),
            })
            .unwrap();
        handle
            .command(Command::Connect {
                leg: a,
                with: Some(b),
            })
            .unwrap();
        for n in 0..10 {
            // Until the commands have taken effect packets are lost; nothing says when.
            let deadline = Instant::now() + Duration::from_secs(10);
            while n == 0 && handle.counters().sent.get() == 0 && Instant::now() < deadline {
                alice.send_to(&voice(0), (HOST, port_a)).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
            alice.send_to(&voice(n), (HOST, port_a)).unwrap();
            while heard(&bob) != (voice(n), (HOST, port_b).into()) {}
            bob.send_to(&voice(n), (HOST, port_b)).unwrap();
            assert_eq!(heard(&alice), (voice(n), (HOST, port_a).into()));
        }
        handle
            .command(Command::Play {
                leg: b,
                play: Some(Play::MusicMulaw(0)),
            })
            .unwrap();
        let music: Vec<_> = std::iter::repeat_with(|| heard(&bob).0)
            .filter(|packet| packet[1] & 0x7f == 0)
            .take(5)
            .collect();
        assert!(
            music
                .windows(2)
                .all(|two| two[1][3] == two[0][3].wrapping_add(1))
        );

        handle.command(Command::Close { leg: a }).unwrap();
        let closed = std::iter::from_fn(|| events.blocking_recv()).find_map(|event| match event {
            Event::Closed { leg, report } => Some((leg, report.sent)),
            _ => None,
        });
        assert_eq!(closed, Some((a, 10)));
        UdpSocket::bind((HOST, port_a)).expect("its port is free again");
    }

    /// A port in use is told, with the system's words, and the leg is not there.
    #[test]
    fn a_port_in_use_is_told() {
        let (handle, mut events) = start(Config::default());
        let taken = peer();
        let port = taken.local_addr().unwrap().port();
        handle
            .command(Command::Open {
                leg: LegId(7),
                address: HOST,
                port,
            })
            .unwrap();
        let Some(Event::Failed { leg, reason }) = events.blocking_recv() else {
            panic!("it cannot be opened")
        };
        assert!(leg == LegId(7) && reason.contains("in use"), "{reason}");
    }

    /// A leg above the limit fails and leaves no socket behind.
    #[test]
    fn legs_are_bounded() {
        let (handle, mut events) = start(Config {
            legs: 0,
            ..Config::default()
        });
        let port = {
            let free = peer();
            free.local_addr().unwrap().port() & !1
        };
        handle
            .command(Command::Open {
                leg: LegId(1),
                address: HOST,
                port,
            })
            .unwrap();
        assert!(matches!(
            events.blocking_recv(),
            Some(Event::Failed { leg: LegId(1), .. })
        ));
    }

    /// More commands than the queue holds are refused and counted; the thread ends with its handle and nothing blocks.
    #[test]
    fn a_full_queue_is_told() {
        let (handle, mut events) = start(Config {
            commands: 1,
            ..Config::default()
        });
        let refused = (0..100_000)
            .filter(|_| handle.command(Command::Close { leg: LegId(1) }).is_err())
            .count();
        assert_eq!(refused as u64, handle.commands_lost());
        drop(handle);
        assert!(events.blocking_recv().is_none());
    }

    /// Events for which the queue has no room are told later, in order, without anything else happening.
    #[test]
    fn events_wait_for_their_turn() {
        let (handle, mut events) = start(Config {
            events: 1,
            ..Config::default()
        });
        let taken = peer();
        let port = taken.local_addr().unwrap().port();
        for n in 0..20 {
            handle
                .command(Command::Open {
                    leg: LegId(n),
                    address: HOST,
                    port,
                })
                .unwrap();
        }
        for n in 0..20 {
            assert!(
                matches!(events.blocking_recv(), Some(Event::Failed { leg, .. }) if leg == LegId(n))
            );
        }
    }
}
