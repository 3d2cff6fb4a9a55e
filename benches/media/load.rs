//! Callers and called: each sends a packet of G.711 every 20 ms and hears the other.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};
use tollgate::rtp::packet::{HEADER, Header, write_header};
use tollgate::rtp::srtp::{MasterKey, Sender, Suite};

/// What callers protect their packets with.
pub const KEY: [u8; 30] = [3; 30];
const PAYLOAD: usize = 160;
const PACE: Duration = Duration::from_millis(20);
/// In tens of microseconds, the last for all that is longer.
const DELAYS: usize = 5000;

/// One direction of a call.
struct Stream {
    socket: UdpSocket,
    sender: Option<Sender>,
    sequence: u16,
    /// What it hears has this length; other packets do not count.
    hears: usize,
    /// Whether what it hears can be read, and tells when it was sent.
    readable: bool,
}

/// All of them; a call's two streams are neighbours, the caller's first.
pub struct Load {
    streams: Vec<Stream>,
    epoll: Epoll,
    start: Instant,
    delays: Vec<u64>,
}

/// What came of it.
pub struct Measured {
    pub sent: u64,
    pub received: u64,
    pub mean_delay_ms: f64,
    pub p99_delay_ms: f64,
}

impl Load {
    /// Calls whose callers, if `secure`, speak SRTP; the others speak RTP.
    pub fn new(calls: usize, secure: bool) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll");
        let key: MasterKey = std::array::from_fn(|n| KEY.get(n).copied().unwrap_or(0));
        let suite = Suite::AesCm128HmacSha1_80;
        let stream = |number: usize| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
            socket.set_nonblocking(true).expect("sockets can be that");
            let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
            epoll.add(&socket, event).expect("room in the epoll");
            let secure = secure && number.is_multiple_of(2);
            Stream {
                socket,
                sender: secure.then(|| Sender::new(suite, &key, &[])),
                sequence: 0,
                hears: HEADER + PAYLOAD + if secure { suite.rtp_tag() } else { 0 },
                readable: !secure,
            }
        };
        Self {
            streams: (0..2 * calls).map(stream).collect(),
            epoll,
            start: Instant::now(),
            delays: vec![0; DELAYS],
        }
    }

    /// Whether callers speak SRTP.
    pub fn is_secure(&self) -> bool {
        self.streams[0].sender.is_some()
    }

    /// The ports of each call, the caller's first.
    pub fn ports(&self) -> Vec<[u16; 2]> {
        let port = |stream: &Stream| stream.socket.local_addr().expect("it is bound").port();
        let calls = self.streams.as_chunks::<2>().0;
        calls.iter().map(|call| call.each_ref().map(port)).collect()
    }

    /// Where each call's two sides send.
    pub fn connect(&mut self, relays: &[[u16; 2]]) {
        for (stream, port) in self.streams.iter().zip(relays.as_flattened()) {
            let relay = (Ipv4Addr::LOCALHOST, *port);
            stream.socket.connect(relay).expect("loopback has a route");
        }
    }

    /// Sends for so long, at an even pace, and hears what comes.
    pub fn run(&mut self, duration: Duration) -> Measured {
        self.delays.fill(0);
        let (start, mut sent, mut left_out, mut received) = (Instant::now(), 0, 0, 0);
        // Whoever was kept from sending for longer than this leaves out the rest, as no telephone would send it.
        let most = 2 * self.streams.len() as u64;
        loop {
            let passed = start.elapsed().min(duration);
            let due = self.streams.len() as u128 * passed.as_micros() / PACE.as_micros();
            left_out += (due as u64).saturating_sub(sent + left_out + most);
            while sent + left_out < due as u64 {
                let number = sent as usize % self.streams.len();
                self.send(number);
                sent += 1;
            }
            received += self.hear();
            if passed >= duration {
                break;
            }
            // It never sleeps: each packet leaves in its time, as telephones would send it, and not in bursts.
        }
        std::thread::sleep(PACE);
        received += self.hear();
        let (mean, p99) = self.delay();
        Measured {
            sent,
            received,
            mean_delay_ms: mean,
            p99_delay_ms: p99,
        }
    }

    fn send(&mut self, number: usize) {
        let stream = &mut self.streams[number];
        let mut packet = [0xd5; HEADER + PAYLOAD + 16];
        let sequence = stream.sequence;
        stream.sequence = sequence.wrapping_add(1);
        let timestamp = u32::from(sequence) * PAYLOAD as u32;
        let header = Header::new(8, false, sequence, timestamp, number as u32 + 1);
        write_header(&header, packet.first_chunk_mut().expect("it is longer"));
        let now = self.start.elapsed().as_nanos() as u64;
        packet[HEADER..HEADER + 8].copy_from_slice(&now.to_be_bytes());
        let mut length = HEADER + PAYLOAD;
        if let Some(sender) = &mut stream.sender {
            let protected = sender.protect_rtp(&mut packet, length);
            length = protected.expect("each number is new");
        }
        // A relay that is too slow loses it, which is counted where it is missed.
        let _ = stream.socket.send(&packet[..length]);
    }

    fn hear(&mut self) -> u64 {
        let (mut events, mut received) = ([EpollEvent::empty(); 256], 0);
        loop {
            let ready = self.epoll.wait(&mut events, EpollTimeout::ZERO);
            let ready = ready.unwrap_or(0);
            for event in &events[..ready] {
                let stream = &self.streams[event.data() as usize];
                let mut packet = [0; 2048];
                while let Ok(length) = stream.socket.recv(&mut packet) {
                    if length != stream.hears {
                        continue;
                    }
                    received += 1;
                    if stream.readable
                        && let Some(sent) = packet[HEADER..].first_chunk()
                    {
                        let now = self.start.elapsed().as_nanos() as u64;
                        let delay = now.saturating_sub(u64::from_be_bytes(*sent)) / 10_000;
                        self.delays[(delay as usize).min(DELAYS - 1)] += 1;
                    }
                }
            }
            if ready == 0 {
                return received;
            }
        }
    }

    /// The mean, and what 99 of 100 packets are within, in milliseconds.
    fn delay(&self) -> (f64, f64) {
        let all: u64 = self.delays.iter().sum();
        let total: f64 = (0..)
            .zip(&self.delays)
            .map(|(at, n)| f64::from(at) * *n as f64)
            .sum();
        let mut before = 0;
        let p99 = self.delays.iter().position(|n| {
            before += n;
            before * 100 >= all * 99
        });
        let ms = |tens: f64| tens / 100.0;
        (ms(total / all.max(1) as f64), ms(p99.unwrap_or(0) as f64))
    }
}
