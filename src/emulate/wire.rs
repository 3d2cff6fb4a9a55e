//! Sockets and connections of the emulators: bytes in become messages in one queue, messages out never wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc, watch};

use super::framing::{Frame, Framer};
use super::message::Message;

/// How many messages wait for one connection before further ones are refused.
const QUEUE: usize = 256;

/// A message and the way its answer goes.
#[derive(Debug, Clone)]
pub struct Inbound {
    /// What came.
    pub message: Message,
    /// What it came on.
    pub wire: Wire,
}

/// Where messages of an emulator arrive; shared by all its sockets.
pub type Sink = mpsc::Sender<Inbound>;

/// A way to a peer.
#[derive(Debug, Clone)]
pub enum Wire {
    /// Datagrams from our one socket.
    Udp {
        /// Ours.
        socket: Arc<UdpSocket>,
        /// The peer's address.
        peer: SocketAddr,
    },
    /// A connection.
    Stream(Arc<Stream>),
}

/// One TCP or TLS connection.
#[derive(Debug)]
pub struct Stream {
    queue: mpsc::Sender<Bytes>,
    closing: Notify,
    /// Keep-alives of RFC 5626 §3.5.1 that the peer answered, and that it sent.
    pongs: AtomicU64,
    pings: AtomicU64,
    /// What it is and who is at its other end.
    pub about: About,
}

/// What is known of a connection.
#[derive(Debug, Clone)]
pub struct About {
    /// `TCP` or `TLS`, as in a Via.
    pub transport: &'static str,
    /// Whether we opened it.
    pub ours: bool,
    /// The DNS names of the certificate that the peer showed, in lower case.
    pub names: Vec<String>,
    /// Our end and the peer's.
    pub ends: (SocketAddr, SocketAddr),
}

impl Wire {
    /// Sends without waiting; `false` if the connection is gone or its queue is full.
    pub fn send(&self, bytes: Bytes) -> bool {
        match self {
            Self::Udp { socket, peer } => socket.try_send_to(&bytes, *peer).is_ok(),
            Self::Stream(stream) => stream.queue.try_send(bytes).is_ok(),
        }
    }

    /// Whether something sent now could arrive.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Udp { .. } => true,
            Self::Stream(stream) => !stream.queue.is_closed(),
        }
    }

    /// As in a Via.
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Udp { .. } => "UDP",
            Self::Stream(stream) => stream.about.transport,
        }
    }

    /// Waits until the connection is gone; for datagrams, for ever.
    pub async fn ended(&self) {
        match self {
            Self::Udp { .. } => std::future::pending().await,
            Self::Stream(stream) => stream.queue.closed().await,
        }
    }

    /// Ends a connection; what waits to be sent is lost.
    pub fn close(&self) {
        if let Self::Stream(stream) = self {
            stream.closing.notify_one();
        }
    }

    /// How many of our pings the peer answered; nothing of datagrams.
    pub fn pongs(&self) -> u64 {
        match self {
            Self::Udp { .. } => 0,
            Self::Stream(stream) => stream.pongs.load(Ordering::Relaxed),
        }
    }

    /// How many pings the peer sent; nothing of datagrams.
    pub fn pings(&self) -> u64 {
        match self {
            Self::Udp { .. } => 0,
            Self::Stream(stream) => stream.pings.load(Ordering::Relaxed),
        }
    }

    /// What is known of a connection; nothing of datagrams.
    pub fn about(&self) -> Option<&About> {
        match self {
            Self::Udp { .. } => None,
            Self::Stream(stream) => Some(&stream.about),
        }
    }
}

/// Reads datagrams until `closed` ends.
pub fn serve_datagrams(socket: Arc<UdpSocket>, sink: Sink, mut closed: watch::Receiver<()>) {
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        loop {
            let received = tokio::select! {
                received = socket.recv_from(&mut buffer) => received,
                _ = closed.changed() => return,
            };
            // An ICMP error of an earlier datagram shows up here; the socket goes on.
            let Ok((length, peer)) = received else {
                continue;
            };
            let Ok(mut message) = Message::parse(&buffer[..length], false) else {
                continue;
            };
            let peer = if message.status().is_none() {
                message.stamp(peer)
            } else {
                peer
            };
            let wire = Wire::Udp {
                socket: socket.clone(),
                peer,
            };
            if sink.send(Inbound { message, wire }).await.is_err() {
                return;
            }
        }
    });
}

/// Runs a connection until the peer or `closed` ends it, or no message passes for `idle` (TDR-143).
pub fn serve_stream<S>(
    io: S,
    about: About,
    idle: Duration,
    sink: Sink,
    closed: watch::Receiver<()>,
) -> Wire
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (queue, outbound) = mpsc::channel(QUEUE);
    let stream = Arc::new(Stream {
        queue,
        closing: Notify::new(),
        pongs: AtomicU64::new(0),
        pings: AtomicU64::new(0),
        about,
    });
    let wire = Wire::Stream(stream.clone());
    tokio::spawn(run_stream(io, stream, outbound, idle, sink, closed));
    wire
}

async fn run_stream<S>(
    io: S,
    stream: Arc<Stream>,
    mut outbound: mpsc::Receiver<Bytes>,
    idle: Duration,
    sink: Sink,
    mut closed: watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut reader, mut writer) = tokio::io::split(io);
    let mut framer = Framer::default();
    let mut buffer = vec![0; 16_384];
    let mut last = tokio::time::Instant::now();
    loop {
        tokio::select! {
            read = reader.read(&mut buffer) => {
                let Ok(length @ 1..) = read else { break };
                framer.push(&buffer[..length]);
                match deliver(&mut framer, &stream, &sink).await {
                    Ok(messages) => if messages > 0 { last = tokio::time::Instant::now() },
                    Err(Gone) => break,
                }
            }
            Some(bytes) = outbound.recv() => {
                last = tokio::time::Instant::now();
                if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                    break;
                }
            }
            () = tokio::time::sleep_until(last + idle) => break,
            () = stream.closing.notified() => break,
            _ = closed.changed() => break,
        }
    }
    // Closing the queue first makes `is_open` false for whoever still holds the wire.
    outbound.close();
    let _ = writer.shutdown().await;
}

/// The stream is of no use any more, or nobody listens.
struct Gone;

async fn deliver(framer: &mut Framer, stream: &Arc<Stream>, sink: &Sink) -> Result<usize, Gone> {
    let wire = Wire::Stream(stream.clone());
    let mut messages = 0;
    while let Some(frame) = framer.next().map_err(|_| Gone)? {
        match frame {
            Frame::Message(message) => {
                messages += 1;
                sink.send(Inbound {
                    message: *message,
                    wire: wire.clone(),
                })
                .await
                .map_err(|_| Gone)?;
            }
            Frame::Ping => {
                stream.pings.fetch_add(1, Ordering::Relaxed);
                wire.send(Bytes::from_static(b"\r\n"));
            }
            Frame::Pong => drop(stream.pongs.fetch_add(1, Ordering::Relaxed)),
        }
    }
    if framer.take_pong() {
        stream.pongs.fetch_add(1, Ordering::Relaxed);
    }
    Ok(messages)
}
