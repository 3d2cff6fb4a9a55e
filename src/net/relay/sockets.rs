//! The sockets of one thread's legs.

use super::batch::{Batch, Inbox};
use crate::media::LegId;
use crate::media::relay::{Counters, Forward, Kind, LegHasher};
use crate::net::mark;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::EventFd;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Marks the eventfd among the legs' sockets.
pub(super) const WAKER: u64 = u64::MAX;

/// The sockets of all legs of a thread, and what waits for them.
pub(super) struct Sockets {
    pub(super) epoll: Epoll,
    open: HashMap<LegId, Pair, BuildHasherDefault<LegHasher>>,
    dscp: u8,
    receive_buffer: usize,
}

/// Of one leg.
pub(super) struct Pair {
    rtp: Inbox,
    rtcp: Inbox,
}

impl Pair {
    fn of(&mut self, kind: Kind) -> &mut Inbox {
        match kind {
            Kind::Rtp => &mut self.rtp,
            Kind::Rtcp => &mut self.rtcp,
        }
    }
}

impl Sockets {
    pub(super) fn new(dscp: u8, receive_buffer: usize, waker: &EventFd) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(waker, EpollEvent::new(EpollFlags::EPOLLIN, WAKER))?;
        Ok(Self {
            epoll,
            open: HashMap::default(),
            dscp,
            receive_buffer,
        })
    }

    /// Binds both ports of a leg.
    pub(super) fn open(&mut self, leg: LegId, address: IpAddr, port: u16) -> io::Result<()> {
        if self.open.contains_key(&leg) || leg.0 > u64::MAX >> 2 {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a leg of this number is open",
            ));
        }
        let next = port
            .checked_add(1)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no port follows"))?;
        let pair = Pair {
            rtp: self.bind(SocketAddr::new(address, port))?,
            rtcp: self.bind(SocketAddr::new(address, next))?,
        };
        self.adopt(leg, pair)
    }

    /// Takes over sockets that are bound; what waits in them is heard of at once.
    pub(super) fn adopt(&mut self, leg: LegId, pair: Pair) -> io::Result<()> {
        for (kind, inbox) in [(Kind::Rtp, &pair.rtp), (Kind::Rtcp, &pair.rtcp)] {
            self.epoll
                .add(&inbox.socket, EpollEvent::new(LISTENS, token(leg, kind)))?;
        }
        self.open.insert(leg, pair);
        Ok(())
    }

    /// Gives a leg's sockets away.
    pub(super) fn release(&mut self, leg: LegId) -> Option<Pair> {
        let pair = self.open.remove(&leg)?;
        for inbox in [&pair.rtp, &pair.rtcp] {
            // It is there, or nothing is lost.
            let _ = self.epoll.delete(&inbox.socket);
        }
        Some(pair)
    }

    /// A socket that is dropped leaves the epoll by itself.
    pub(super) fn close(&mut self, leg: LegId) {
        self.open.remove(&leg);
    }

    fn bind(&self, address: SocketAddr) -> io::Result<Inbox> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM.nonblocking().cloexec(),
            Some(Protocol::UDP),
        )?;
        mark(&socket, address, self.dscp)?;
        socket.set_recv_buffer_size(self.receive_buffer)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        socket.bind(&address.into())?;
        Ok(Inbox::new(socket.into(), address.is_ipv6()))
    }

    /// Reads what waits at a leg's port. A command in the same round may have closed it.
    pub(super) fn read(&mut self, leg: LegId, kind: Kind, batch: &mut Batch, counters: &Counters) {
        batch.clear();
        let Some(pair) = self.open.get_mut(&leg) else {
            return;
        };
        let inbox = pair.of(kind);
        if !batch.read(inbox, counters) {
            // More than anybody should have sent: the others come first. Being told of changes only, we must ask again.
            let mut event = EpollEvent::new(LISTENS, token(leg, kind));
            let _ = self.epoll.modify(&inbox.socket, &mut event);
        }
    }

    /// Sends or drops: a packet of voice that has to wait is worth nothing.
    pub(super) fn send(&self, forward: &Forward, bytes: &[u8], counters: &Counters) {
        let sent = self
            .socket(forward.leg, forward.kind)
            .map(|socket| socket.send_to(bytes, forward.to));
        if !matches!(sent, Some(Ok(_))) {
            counters.send_failed();
        }
    }

    /// Sends all that a batch became, with one call for what leaves by one socket.
    pub(super) fn send_all(&self, batch: &Batch, counters: &Counters) {
        batch.each_socket(
            |forward| self.socket(forward.leg, forward.kind),
            |forward, bytes| self.send(forward, bytes, counters),
            counters,
        );
    }

    fn socket(&self, leg: LegId, kind: Kind) -> Option<&UdpSocket> {
        let pair = self.open.get(&leg)?;
        Some(match kind {
            Kind::Rtp => &pair.rtp.socket,
            Kind::Rtcp => &pair.rtcp.socket,
        })
    }
}

/// We are told when something comes, not that something is there: each socket is read until it is empty.
const LISTENS: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLET);

fn token(leg: LegId, kind: Kind) -> u64 {
    leg.0 << 1 | u64::from(kind == Kind::Rtcp)
}

/// The port that an epoll tells of.
pub(super) fn leg_of(token: u64) -> (LegId, Kind) {
    (
        LegId(token >> 1),
        if token & 1 == 0 {
            Kind::Rtp
        } else {
            Kind::Rtcp
        },
    )
}

/// How many bytes the system keeps for a socket that asks for so many.
pub(super) fn granted_receive_buffer(wanted: usize) -> io::Result<usize> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(wanted)?;
    // Linux doubles what it is asked for, to pay for its own records, and tells the double (socket(7)).
    Ok(socket.recv_buffer_size()? / 2)
}

#[cfg(test)]
mod tests {
    use super::super::batch::KEPT;
    use super::*;
    use crate::media::relay::MAX_DATAGRAM;
    use std::net::Ipv4Addr;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const LEG: LegId = LegId(1);

    /// A leg with a buffer of 16 KiB, its RTP port and a peer.
    fn open() -> (Sockets, u16, UdpSocket) {
        let waker = EventFd::new().unwrap();
        let mut sockets = Sockets::new(46, 16 << 10, &waker).unwrap();
        let peer = UdpSocket::bind((HOST, 0)).unwrap();
        let port = (0..50).find_map(|_| {
            let free = UdpSocket::bind((HOST, 0)).unwrap().local_addr().unwrap();
            let port = free.port() & !1;
            sockets.open(LEG, HOST, port).ok().map(|()| port)
        });
        (sockets, port.unwrap(), peer)
    }

    fn lengths(batch: &Batch) -> Vec<usize> {
        (0..batch.len()).map(|number| batch.get(number).1).collect()
    }

    /// Who was away for long finds more than anyone wants to hear: the newest are kept, in their order, and the others
    /// counted. What the system had no room for is counted as soon as it tells, which is with the next packet. Nothing is
    /// unaccounted for.
    #[test]
    fn the_oldest_go_first_and_losses_are_counted() {
        const SENT: usize = 1000;
        let (mut sockets, port, peer) = open();
        let (mut batch, counters) = (Batch::new(), Counters::default());
        for length in 1..=SENT {
            peer.send_to(&vec![0; length], (HOST, port)).unwrap();
        }
        sockets.read(LEG, Kind::Rtp, &mut batch, &counters);
        let (kept, stale) = (lengths(&batch), counters.stale.get() as usize);
        assert!(stale > 0);
        // Those that came before the buffer was full.
        assert_eq!(kept, (stale + 1..=stale + KEPT).collect::<Vec<_>>());
        assert_eq!(counters.dropped_by_system.get(), 0);

        peer.send_to(&[0; 7], (HOST, port)).unwrap();
        sockets.read(LEG, Kind::Rtp, &mut batch, &counters);
        assert_eq!(lengths(&batch), [7]);
        let lost = counters.dropped_by_system.get() as usize;
        assert_eq!(lost, SENT - stale - KEPT);

        peer.send_to(&[0; 8], (HOST, port)).unwrap();
        sockets.read(LEG, Kind::Rtp, &mut batch, &counters);
        assert_eq!(lengths(&batch), [8]);
        assert_eq!(counters.dropped_by_system.get() as usize, lost, "told once");
        sockets.read(LEG, Kind::Rtp, &mut batch, &counters);
        assert_eq!(batch.len(), 0);
    }

    /// What is too long is told apart from what is just not, and comes from whom it comes.
    #[test]
    fn long_datagrams_are_recognised() {
        let (mut sockets, port, peer) = open();
        let (mut batch, counters) = (Batch::new(), Counters::default());
        for length in [MAX_DATAGRAM, MAX_DATAGRAM + 1, 9000] {
            peer.send_to(&vec![0; length], (HOST, port)).unwrap();
        }
        sockets.read(LEG, Kind::Rtp, &mut batch, &counters);
        let long = MAX_DATAGRAM + 1;
        assert_eq!(lengths(&batch), [MAX_DATAGRAM, long, long]);
        assert!((0..3).all(|n| batch.get(n).0 == peer.local_addr().unwrap()));
    }

    /// Sockets that are given away keep what waits in them, and whoever takes them is told.
    #[test]
    fn nothing_is_lost_on_the_way_to_another_thread() {
        let (mut sockets, port, peer) = open();
        let waker = EventFd::new().unwrap();
        let mut others = Sockets::new(46, 16 << 10, &waker).unwrap();
        peer.send_to(&[1; 20], (HOST, port)).unwrap();
        let pair = sockets.release(LEG).unwrap();
        peer.send_to(&[1; 21], (HOST, port)).unwrap();
        others.adopt(LEG, pair).unwrap();
        let mut ready = [EpollEvent::empty(); 4];
        let none = nix::sys::epoll::EpollTimeout::ZERO;
        assert_eq!(sockets.epoll.wait(&mut ready, none), Ok(0));
        assert_eq!(others.epoll.wait(&mut ready, none), Ok(1));
        assert_eq!(leg_of(ready[0].data()), (LEG, Kind::Rtp));
        let (mut batch, counters) = (Batch::new(), Counters::default());
        others.read(LEG, Kind::Rtp, &mut batch, &counters);
        assert_eq!(lengths(&batch), [20, 21]);
    }
}
