//! Datagrams of one socket, read and sent with few calls.

use crate::media::relay::{BUFFER, Counters, Forward, MAX_DATAGRAM};
use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrStorage,
    recvmmsg, recvmsg,
};
use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

/// Datagrams that are kept of one socket's: 320 ms of voice. What is older, no listener still waits for.
pub(super) const KEPT: usize = 16;
/// Datagrams asked for at first: nearly always there is one, and each place has its price.
const FIRST: usize = 4;
const PLACES: usize = 2 * KEPT;
/// Further reads of one socket before the others have their turn.
const READS: usize = 64;

/// A socket, and what is known of its losses.
pub(super) struct Inbox {
    pub(super) socket: UdpSocket,
    is_v6: bool,
    /// Datagrams that the system has dropped for want of room, as far as it told.
    dropped: u32,
    /// So many waited that the system may have dropped some: the next datagram tells.
    overrun: bool,
}

impl Inbox {
    pub(super) fn new(socket: UdpSocket, is_v6: bool) -> Self {
        Self {
            socket,
            is_v6,
            dropped: 0,
            overrun: false,
        }
    }
}

/// Room for the datagrams of one socket, as a ring of which the newest [`KEPT`] count.
pub(super) struct Batch {
    buffers: Box<[[u8; BUFFER]; PLACES]>,
    came: [(SocketAddr, usize); PLACES],
    first: usize,
    length: usize,
    v4: MultiHeaders<SockaddrIn>,
    v6: MultiHeaders<SockaddrIn6>,
    control: Vec<u8>,
    leaving: Vec<(Forward, usize)>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            buffers: Box::new([[0; BUFFER]; PLACES]),
            came: [(NOBODY, 0); PLACES],
            first: 0,
            length: 0,
            v4: MultiHeaders::preallocate(KEPT, None),
            v6: MultiHeaders::preallocate(KEPT, None),
            control: cmsg_space!(u32),
            leaving: Vec::with_capacity(KEPT),
        }
    }

    pub(super) fn clear(&mut self) {
        (self.first, self.length) = (0, 0);
        self.leaving.clear();
    }

    /// How many datagrams there are.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// The datagram of this number: from whom, its length and the buffer that it begins.
    pub(super) fn get(&self, number: usize) -> (SocketAddr, usize, usize) {
        let place = (self.first + number) % PLACES;
        let (from, length) = self.came[place];
        (from, length, place)
    }

    /// A whole buffer.
    pub(super) fn buffer(&mut self, place: usize) -> &mut [u8; BUFFER] {
        &mut self.buffers[place]
    }

    /// What a datagram became is to leave.
    pub(super) fn leaves(&mut self, forward: Forward, place: usize) {
        self.leaving.push((forward, place));
    }

    /// Reads the socket until it is empty; whether it is.
    pub(super) fn read(&mut self, inbox: &mut Inbox, counters: &Counters) -> bool {
        if std::mem::take(&mut inbox.overrun) {
            self.read_one(inbox, counters);
        }
        if self.read_some::<FIRST>(inbox, counters) < FIRST {
            return true;
        }
        inbox.overrun = true;
        (0..READS).any(|_| self.read_some::<KEPT>(inbox, counters) < KEPT)
    }

    /// Reads no more than so many; how many there were.
    fn read_some<const MOST: usize>(&mut self, inbox: &Inbox, counters: &Counters) -> usize {
        let fd = inbox.socket.as_raw_fd();
        let start = self.first + self.length;
        let mut came = [(NOBODY, 0); MOST];
        // One byte more than is taken shows that a datagram was too long.
        let (before, behind) = self.buffers.split_at_mut(start % PLACES);
        let mut places = behind.iter_mut().chain(before);
        let mut slices: [[IoSliceMut; 1]; MOST] = std::array::from_fn(|_| {
            let buffer = places.next().expect("there are more places than slices");
            [IoSliceMut::new(&mut buffer[..=MAX_DATAGRAM])]
        });
        let slices = slices.iter_mut();
        let read = if inbox.is_v6 {
            let from = |from: SockaddrIn6| SocketAddr::V6(from.into());
            recvmmsg(fd, &mut self.v6, slices, MsgFlags::MSG_DONTWAIT, None).map(|messages| {
                note(
                    messages.map(|m| (m.address.map_or(NOBODY, from), m.bytes)),
                    &mut came,
                )
            })
        } else {
            let from = |from: SockaddrIn| SocketAddr::V4(from.into());
            recvmmsg(fd, &mut self.v4, slices, MsgFlags::MSG_DONTWAIT, None).map(|messages| {
                note(
                    messages.map(|m| (m.address.map_or(NOBODY, from), m.bytes)),
                    &mut came,
                )
            })
        };
        let read = read.unwrap_or(0);
        for (n, came) in came[..read].iter().enumerate() {
            self.came[(start + n) % PLACES] = *came;
        }
        self.grow(read, counters);
        read
    }

    /// Reads one, with what the system tells about those that it dropped. Only a fresh header has room for that.
    fn read_one(&mut self, inbox: &mut Inbox, counters: &Counters) {
        let place = (self.first + self.length) % PLACES;
        let mut slices = [IoSliceMut::new(&mut self.buffers[place][..=MAX_DATAGRAM])];
        let read = recvmsg::<SockaddrStorage>(
            inbox.socket.as_raw_fd(),
            &mut slices,
            Some(&mut self.control[..]),
            MsgFlags::MSG_DONTWAIT,
        );
        let message = match read {
            Ok(message) => message,
            Err(_) => return inbox.overrun = true,
        };
        for told in message.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::RxqOvfl(dropped) = told {
                let more = dropped.wrapping_sub(inbox.dropped);
                counters.dropped_by_system(more.into());
                inbox.dropped = dropped;
            }
        }
        let from = message.address.as_ref().and_then(address);
        self.came[place] = (from.unwrap_or(NOBODY), message.bytes);
        self.grow(1, counters);
    }

    fn grow(&mut self, read: usize, counters: &Counters) {
        self.length += read;
        let stale = self.length.saturating_sub(KEPT);
        if stale > 0 {
            counters.dropped_as_stale(stale as u64);
            self.first = (self.first + stale) % PLACES;
            self.length = KEPT;
        }
    }

    /// Sends what leaves: alone by `one`, several in a row of one socket with one call.
    pub(super) fn each_socket<'a>(
        &self,
        socket: impl Fn(&Forward) -> Option<&'a UdpSocket>,
        one: impl Fn(&Forward, &[u8]),
        counters: &Counters,
    ) {
        let (buffers, leaving) = (&self.buffers, &self.leaving);
        for run in leaving.chunk_by(|(a, _), (b, _)| (a.leg, a.kind) == (b.leg, b.kind)) {
            match run {
                [(forward, place)] => one(forward, &buffers[*place][..forward.length]),
                [(forward, _), ..] => match socket(forward) {
                    Some(socket) => send_run(socket, run, buffers, counters),
                    None => run.iter().for_each(|_| counters.send_failed()),
                },
                [] => {}
            }
        }
    }
}

/// Sends all of them. The system stops at the first that it refuses, which is left out then.
fn send_run(
    socket: &UdpSocket,
    mut run: &[(Forward, usize)],
    buffers: &[[u8; BUFFER]; PLACES],
    counters: &Counters,
) {
    while !run.is_empty() {
        let to: [SocketAddrAny; KEPT] =
            std::array::from_fn(|n| run.get(n).map_or(NOBODY, |(f, _)| f.to).as_any());
        let slices: [[IoSlice; 1]; KEPT] = std::array::from_fn(|n| {
            let bytes = run.get(n).map(|(f, place)| &buffers[*place][..f.length]);
            [IoSlice::new(bytes.unwrap_or(&[]))]
        });
        let mut controls: [_; KEPT] = std::array::from_fn(|_| SendAncillaryBuffer::default());
        let mut headers = to.iter().zip(&slices).zip(&mut controls);
        let mut messages: [MMsgHdr; KEPT] = std::array::from_fn(|_| {
            let ((to, slice), control) = headers.next().expect("there is one for each message");
            MMsgHdr::new_with_addr(to, slice, control)
        });
        let most = run.len().min(KEPT);
        let sent = match sendmmsg(socket, &mut messages[..most], SendFlags::DONTWAIT) {
            Ok(sent) => sent,
            Err(Errno::INTR) => continue,
            Err(_) => 0,
        };
        let refused = usize::from(sent < most);
        if refused > 0 {
            counters.send_failed();
        }
        run = &run[sent + refused..];
    }
}

fn note(
    messages: impl Iterator<Item = (SocketAddr, usize)>,
    came: &mut [(SocketAddr, usize)],
) -> usize {
    let mut count = 0;
    for (place, message) in came.iter_mut().zip(messages) {
        *place = message;
        count += 1;
    }
    count
}

fn address(from: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = from.as_sockaddr_in().map(|a| SocketAddrV4::from(*a).into());
    v4.or_else(|| {
        from.as_sockaddr_in6()
            .map(|a| SocketAddrV6::from(*a).into())
    })
}

/// No datagram comes from there.
const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
