use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};

use super::Event;
use super::hub::Hub;
use crate::sip::{Flow, Source, Transport};

/// Bursts wait here while the shard is at work.
const KERNEL_BUFFER: usize = 4 << 20;
/// The longest datagram there is.
const LARGEST: usize = 65_535;

/// A UDP socket, as senders see it.
pub(super) struct Udp {
    pub flow: Flow,
    pub local: SocketAddr,
    socket: UdpSocket,
}

impl Udp {
    pub fn bind(address: SocketAddr, flow: Flow) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // The system may grant less, which is no reason not to start.
        let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
        let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from(socket);
        Ok(Self {
            flow,
            local: socket.local_addr()?,
            socket,
        })
    }

    /// Goes straight to the system, which takes it or, its buffer being full, does not.
    pub fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.socket.send_to(bytes, to).map(|_| ())
    }

    /// The same socket, to be read by a task.
    pub fn reader(&self) -> io::Result<tokio::net::UdpSocket> {
        tokio::net::UdpSocket::from_std(self.socket.try_clone()?)
    }
}

/// Reads one socket until the network stops.
pub(super) async fn receive(
    hub: Arc<Hub>,
    socket: tokio::net::UdpSocket,
    flow: Flow,
    local: SocketAddr,
) {
    let mut stopping = hub.stopping();
    let mut buffer = vec![0; LARGEST];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match received {
            Ok((n, remote)) => take(
                &hub,
                &buffer[..n],
                Source {
                    transport: Transport::Udp,
                    flow,
                    remote,
                    local,
                    certificate: None,
                },
            ),
            Err(error) => {
                tracing::debug!(%local, %error, "UDP receive failed");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

fn take(hub: &Hub, datagram: &[u8], source: Source) {
    // Keep-alives of phones and NAT helpers: blank lines, or zeros as some send them.
    if datagram
        .iter()
        .all(|byte| matches!(byte, b'\r' | b'\n' | 0))
    {
        return;
    }
    let bytes = Bytes::copy_from_slice(datagram);
    match hub.inbox.try_arrive(Event::Received { bytes, source }) {
        true => hub.counters.datagrams_received.add(),
        false => hub.counters.datagrams_dropped.add(),
    }
}
