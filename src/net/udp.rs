use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};

use super::Event;
use super::hub::Hub;
use super::mark;
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
    pub fn bind(address: SocketAddr, dscp: u8, flow: Flow) -> io::Result<Self> {
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
        mark(&socket, address, dscp)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;

    /// What leaves a SIP socket is marked: with class selector 3 unless told otherwise, on UDP and on every connection,
    /// ours and a peer's.
    #[tokio::test]
    async fn sip_is_marked() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let dscp = super::super::Config::default().dscp;
        assert_eq!(dscp, 24);
        let udp = Udp::bind(any, dscp, Flow(1)).unwrap();
        assert_eq!(SockRef::from(&udp.socket).tos_v4().unwrap(), 24 << 2);
        let listener = super::super::accept::bind(any, dscp).unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert_eq!(SockRef::from(&accepted).tos_v4().unwrap(), 24 << 2);
        drop(peer);
        let any = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
        let udp = Udp::bind(any, 10, Flow(1)).unwrap();
        assert_eq!(SockRef::from(&udp.socket).tclass_v6().unwrap(), 10 << 2);
    }
}
