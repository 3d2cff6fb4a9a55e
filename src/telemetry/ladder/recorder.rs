//! The SIP messages of calls, kept in memory that never grows beyond its limits.
//!
//! A leg is known by its Call-ID, and an INVITE opens its shelf; other messages are kept only where there is one. So
//! keep-alives and scans leave nothing behind, and calls themselves need not know that anybody listens.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use time::OffsetDateTime;

use crate::sip::{SendTo, Source, Transport};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages of one leg; the oldest go first.
    pub messages: usize,
    /// Bytes of one leg; the oldest messages go first.
    pub bytes: usize,
    /// Bytes of all legs; those that have been silent longest go first, whole.
    pub total: usize,
    /// A leg goes when it was silent for so long.
    pub keep: Duration,
    /// Messages of one call that are shown, of all its legs together; the newest.
    pub call_messages: usize,
    /// Bytes of one call that are shown, of all its legs together; of the newest messages.
    pub call_bytes: usize,
}

/// One message as it went over the wire, decrypted.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    /// When.
    pub at: OffsetDateTime,
    /// Whether it is ours.
    pub sent: bool,
    /// What carried it.
    pub transport: Transport,
    /// Our address, where it is known: of a connection that we opened only once something came back on it.
    pub local: Option<SocketAddr>,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The whole message.
    pub bytes: Bytes,
}

/// What is kept of one leg.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// Oldest first.
    pub packets: Vec<Packet>,
    /// Earlier ones that had to go.
    pub left_out: u64,
}

/// What is shown of one call.
#[derive(Debug, Clone, Default)]
pub struct RecordedCall {
    /// Oldest first, each with the place of its leg.
    pub packets: Vec<(usize, Packet)>,
    /// Earlier ones that had to go, or are too many.
    pub left_out: u64,
}

/// Keeps messages; clones share them. One that is off costs a look at an `Option`.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    shelves: Mutex<Shelves>,
    evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct Shelves {
    legs: HashMap<Box<[u8]>, Shelf>,
    /// By when they were last added to.
    by_age: BTreeMap<u64, Box<[u8]>>,
    turns: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Shelf {
    packets: VecDeque<Kept>,
    bytes: usize,
    left_out: u64,
    turn: u64,
    touched: Instant,
    /// By what the peer's last message came, and our address that it reached.
    heard: Option<(Transport, SocketAddr)>,
}

/// A packet as it is kept: those of one way share what is the same of them.
#[derive(Debug)]
struct Kept {
    at: OffsetDateTime,
    path: Arc<Path>,
    bytes: Bytes,
}

#[derive(Debug, PartialEq)]
struct Path {
    sent: bool,
    transport: Transport,
    local: Option<SocketAddr>,
    remote: SocketAddr,
}

/// What a packet takes besides its bytes, at most.
const OVERHEAD: usize = size_of::<Packet>();
/// Packets that room is made for at a time: a usual leg has seven.
const GROWTH: usize = 2;
/// Packets that are looked at for one of the same path.
const LOOK_BACK: usize = 4;

impl Recorder {
    /// Keeps nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Keeps so much.
    pub fn new(limits: Limits) -> Self {
        Self(Some(Arc::new(Shared {
            limits,
            shelves: Mutex::default(),
            evicted: AtomicU64::new(0),
        })))
    }

    /// Whether it keeps anything.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A message came in.
    pub fn received(&self, bytes: &Bytes, source: &Source) {
        let Some(shared) = &self.0 else { return };
        let heard = Some((source.transport, source.local));
        shared.keep(bytes, heard, |_| {
            Some(Path {
                sent: false,
                transport: source.transport,
                local: Some(source.local),
                remote: source.remote,
            })
        });
    }

    /// A message of ours goes out.
    pub fn sent(&self, bytes: &Bytes, to: &SendTo) {
        let Some(shared) = &self.0 else { return };
        shared.keep(bytes, None, |shelf| match to {
            SendTo::Target(target) => Some(Path {
                sent: true,
                transport: target.transport,
                local: None,
                remote: target.address,
            }),
            SendTo::Flow(_, remote) => {
                let (transport, local) = shelf.heard?;
                Some(Path {
                    sent: true,
                    transport,
                    local: Some(local),
                    remote: *remote,
                })
            }
        });
    }

    /// What is kept of the leg with this Call-ID.
    pub fn leg(&self, call_id: &str) -> Recorded {
        let Some(shared) = &self.0 else {
            return Recorded::default();
        };
        let mut shelves = shared.lock();
        shared.expire(&mut shelves, Instant::now());
        let Some(shelf) = shelves.legs.get(call_id.as_bytes()) else {
            return Recorded::default();
        };
        Recorded {
            packets: shelf.packets.iter().map(Packet::from).collect(),
            left_out: shelf.left_out,
        }
    }

    /// What is kept of the legs with these Call-IDs, however many a call has had: the newest messages, within the limits of
    /// a call.
    pub fn call<'a>(&self, call_ids: impl IntoIterator<Item = &'a str>) -> RecordedCall {
        let Some(shared) = &self.0 else {
            return RecordedCall::default();
        };
        let mut call = RecordedCall::default();
        for (place, call_id) in call_ids.into_iter().enumerate() {
            let leg = self.leg(call_id);
            call.left_out += leg.left_out;
            let placed = leg.packets.into_iter().map(|packet| (place, packet));
            call.packets.extend(placed);
            call.bound(&shared.limits);
        }
        call
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |shared| shared.lock().bytes)
    }

    /// Messages that had to go before their time.
    pub fn evicted(&self) -> u64 {
        let shared = self.0.as_ref();
        shared.map_or(0, |shared| shared.evicted.load(Ordering::Relaxed))
    }
}

impl RecordedCall {
    fn bound(&mut self, limits: &Limits) {
        self.packets.sort_by_key(|(_, packet)| packet.at);
        let mut room = limits.call_bytes;
        let newest = self.packets.iter().rev().take(limits.call_messages);
        let fitting = newest.take_while(|(_, packet)| {
            let size = packet.bytes.len();
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        });
        let too_many = self.packets.len() - fitting.count();
        self.packets.drain(..too_many);
        self.left_out += too_many as u64;
    }
}

impl Shared {
    fn keep(
        &self,
        bytes: &Bytes,
        heard: Option<(Transport, SocketAddr)>,
        path: impl FnOnce(&Shelf) -> Option<Path>,
    ) {
        let Some(call_id) = call_id(bytes) else {
            return;
        };
        let size = bytes.len() + OVERHEAD;
        if size > self.limits.bytes || size > self.limits.total {
            self.evicted.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let now = Instant::now();
        let mut guard = self.lock();
        let shelves = &mut *guard;
        if !shelves.legs.contains_key(call_id) {
            if !bytes.starts_with(b"INVITE ") {
                return;
            }
            shelves.legs.insert(call_id.into(), Shelf::new(now));
        }
        shelves.turns += 1;
        let turn = shelves.turns;
        let Some(shelf) = shelves.legs.get_mut(call_id) else {
            return;
        };
        if heard.is_some() {
            shelf.heard = heard;
        }
        if let Some(path) = path(shelf) {
            let kept = Kept {
                at: OffsetDateTime::now_utc(),
                path: shelf.shared(path),
                // Each message has a buffer of its own, which transactions and dialogs share with us.
                bytes: bytes.clone(),
            };
            if shelf.packets.len() == shelf.packets.capacity() {
                shelf.packets.reserve_exact(GROWTH);
            }
            shelf.packets.push_back(kept);
            shelf.bytes += size;
            shelves.bytes += size;
        }
        while shelf.packets.len() > self.limits.messages || shelf.bytes > self.limits.bytes {
            let Some(oldest) = shelf.packets.pop_front() else {
                break;
            };
            let size = oldest.bytes.len() + OVERHEAD;
            shelf.bytes -= size;
            shelf.left_out += 1;
            shelves.bytes -= size;
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        let before = std::mem::replace(&mut shelf.turn, turn);
        shelf.touched = now;
        let key = shelves.by_age.remove(&before);
        let key = key.unwrap_or_else(|| call_id.into());
        shelves.by_age.insert(turn, key);
        self.expire(shelves, now);
    }

    /// Lets go of legs that have been silent for too long, and of the longest silent ones while there is too much.
    fn expire(&self, shelves: &mut Shelves, now: Instant) {
        while let Some(entry) = shelves.by_age.first_entry() {
            let Some(shelf) = shelves.legs.get(entry.get()) else {
                entry.remove();
                continue;
            };
            let too_much = shelves.bytes > self.limits.total;
            if !too_much && now.saturating_duration_since(shelf.touched) < self.limits.keep {
                break;
            }
            if too_much {
                let messages = shelf.packets.len() as u64;
                self.evicted.fetch_add(messages, Ordering::Relaxed);
            }
            shelves.bytes -= shelf.bytes;
            let key = entry.remove();
            shelves.legs.remove(&key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn new(now: Instant) -> Self {
        Self {
            packets: VecDeque::new(),
            bytes: 0,
            left_out: 0,
            turn: 0,
            touched: now,
            heard: None,
        }
    }

    /// The same path as that of a packet not long before, of which there are two: there and back.
    fn shared(&self, path: Path) -> Arc<Path> {
        let mut newest = self.packets.iter().rev().take(LOOK_BACK);
        let same = newest.find(|kept| *kept.path == path);
        same.map_or_else(|| Arc::new(path), |kept| kept.path.clone())
    }
}

impl From<&Kept> for Packet {
    fn from(kept: &Kept) -> Self {
        let path = &kept.path;
        Self {
            at: kept.at,
            sent: path.sent,
            transport: path.transport,
            local: path.local,
            remote: path.remote,
            bytes: kept.bytes.clone(),
        }
    }
}

/// The value of Call-ID, without reading the whole message; none beyond what a Call-ID may reasonably be.
fn call_id(message: &[u8]) -> Option<&[u8]> {
    let mut rest = message;
    loop {
        let end = memchr::memchr(b'\n', rest)?;
        let line = rest[..end].trim_ascii_end();
        rest = &rest[end + 1..];
        let Some(first) = line.first() else {
            return None; // the body begins
        };
        if !matches!(first, b'C' | b'c' | b'I' | b'i') {
            continue;
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let name = line[..colon].trim_ascii_end();
        if name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i") {
            let value = line[colon + 1..].trim_ascii();
            return (1..=256).contains(&value.len()).then_some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Flow, Realm, Target};

    const LIMITS: Limits = Limits {
        messages: 4,
        bytes: 4000,
        total: 8000,
        keep: Duration::from_secs(60),
        call_messages: 6,
        call_bytes: 3000,
    };

    fn source() -> Source {
        Source {
            transport: Transport::Udp,
            flow: Flow(1),
            remote: "192.0.2.10:5060".parse().unwrap(),
            local: "192.0.2.1:5060".parse().unwrap(),
            certificate: None,
        }
    }

    fn message(first: &str, call_id: &str, body: usize) -> Bytes {
        let text = format!(
            "{first}\r\nVia: x\r\ncall-id : {call_id}\r\n\r\n{}",
            "x".repeat(body)
        );
        text.into()
    }

    fn kept(recorder: &Recorder, call_id: &str) -> Vec<(bool, String)> {
        let first = |packet: &Packet| {
            let text = String::from_utf8(packet.bytes.to_vec()).unwrap();
            (packet.sent, text.lines().next().unwrap().to_owned())
        };
        recorder.leg(call_id).packets.iter().map(first).collect()
    }

    /// Both ways of a leg are kept under its Call-ID from its INVITE on, with the addresses of both ends; what belongs
    /// to no call is not.
    #[test]
    fn a_leg_is_kept_from_its_invite_on() {
        let recorder = Recorder::new(LIMITS);
        recorder.received(&message("OPTIONS sip:a SIP/2.0", "ping", 0), &source());
        recorder.received(&message("INVITE sip:a SIP/2.0", "a", 0), &source());
        let back = SendTo::Flow(Flow(1), source().remote);
        recorder.sent(&message("SIP/2.0 200 OK", "a", 0), &back);
        let target = Target {
            transport: Transport::Tls,
            address: "198.51.100.1:5061".parse().unwrap(),
            name: "far".into(),
            realm: Realm::Teams,
        };
        recorder.sent(
            &message("INVITE sip:b SIP/2.0", "b", 0),
            &SendTo::Target(target),
        );
        assert_eq!(kept(&recorder, "ping"), []);
        assert_eq!(
            kept(&recorder, "a"),
            [
                (false, "INVITE sip:a SIP/2.0".into()),
                (true, "SIP/2.0 200 OK".into())
            ]
        );
        let answer = &recorder.leg("a").packets[1];
        assert_eq!(
            (answer.local, answer.remote),
            (Some(source().local), source().remote)
        );
        let ours = &recorder.leg("b").packets[0];
        assert_eq!((ours.transport, ours.local), (Transport::Tls, None));
    }

    /// Neither one leg's messages nor all together outgrow their limits; what goes is the oldest, and is counted.
    #[test]
    fn memory_is_bounded() {
        let recorder = Recorder::new(LIMITS);
        for n in 0..100 {
            recorder.received(
                &message(&format!("INVITE sip:{n} SIP/2.0"), "long", 10),
                &source(),
            );
        }
        let names: Vec<_> = kept(&recorder, "long")
            .into_iter()
            .map(|(_, line)| line)
            .collect();
        assert_eq!(names.first().unwrap(), "INVITE sip:96 SIP/2.0");
        assert_eq!(
            (
                names.len(),
                recorder.leg("long").left_out,
                recorder.evicted()
            ),
            (4, 96, 96)
        );
        for n in 0..100 {
            recorder.received(
                &message("INVITE sip:a SIP/2.0", &format!("call{n}"), 1000),
                &source(),
            );
            assert!(recorder.bytes() <= LIMITS.total);
        }
        assert!(kept(&recorder, "long").is_empty() && kept(&recorder, "call0").is_empty());
        assert_eq!(kept(&recorder, "call99").len(), 1);
        let before = recorder.evicted();
        recorder.received(&message("INVITE sip:a SIP/2.0", "huge", 5000), &source());
        assert_eq!(
            (kept(&recorder, "huge").len(), recorder.evicted()),
            (0, before + 1)
        );
        let shared = recorder.0.as_ref().unwrap();
        let shelves = shared.lock();
        assert_eq!(shelves.legs.len(), shelves.by_age.len());
    }

    /// However many legs a call has had, what is shown of it is bounded as a whole: the newest messages of all legs
    /// together, in the order of time, and how many are missing.
    #[test]
    fn a_call_of_many_legs_is_bounded() {
        let recorder = Recorder::new(LIMITS);
        let legs: Vec<String> = (0..5).map(|leg| format!("leg{leg}")).collect();
        for n in 0..4 {
            for leg in &legs {
                let line = format!("INVITE sip:{n} SIP/2.0");
                recorder.received(&message(&line, leg, 10), &source());
            }
        }
        let call = recorder.call(legs.iter().map(String::as_str));
        assert_eq!((call.packets.len(), call.left_out), (6, 14));
        let shown = call.packets.iter().map(|(leg, packet)| {
            let text = String::from_utf8_lossy(&packet.bytes).into_owned();
            (*leg, text[..12].to_owned())
        });
        let shown: Vec<_> = shown.collect();
        assert_eq!(shown[0], (4, "INVITE sip:2".to_owned()));
        assert_eq!(shown[5], (4, "INVITE sip:3".to_owned()));
        for leg in ["big0", "big1"] {
            recorder.received(&message("INVITE sip:a SIP/2.0", leg, 1600), &source());
        }
        let call = recorder.call(["big0", "big1"]);
        assert_eq!((call.packets.len(), call.left_out), (1, 1));
        assert!(Recorder::off().call(["big0"]).packets.is_empty());
    }

    /// A leg goes when it was silent for long enough, which is no eviction; one that is off keeps nothing.
    #[test]
    fn silent_legs_go() {
        let limits = Limits {
            keep: Duration::ZERO,
            ..LIMITS
        };
        let recorder = Recorder::new(limits);
        recorder.received(&message("INVITE sip:a SIP/2.0", "a", 0), &source());
        assert!(kept(&recorder, "a").is_empty());
        assert_eq!((recorder.bytes(), recorder.evicted()), (0, 0));
        let off = Recorder::off();
        off.received(&message("INVITE sip:a SIP/2.0", "a", 0), &source());
        assert!(kept(&off, "a").is_empty() && !off.is_on());
    }

    #[test]
    fn a_call_id_is_found_in_every_form() {
        for (text, expected) in [
            (
                "INVITE x SIP/2.0\r\nCSeq: 1 INVITE\r\nCALL-ID: a@b\r\n\r\n",
                Some("a@b"),
            ),
            ("INVITE x SIP/2.0\r\ni:a@b \r\n\r\n", Some("a@b")),
            ("INVITE x SIP/2.0\ni: a\n\n", Some("a")),
            ("INVITE x SIP/2.0\r\nVia: x\r\n\r\nCall-ID: body\r\n", None),
            ("INVITE x SIP/2.0\r\nCall-ID:\r\n\r\n", None),
            ("INVITE", None),
        ] {
            assert_eq!(
                call_id(text.as_bytes()),
                expected.map(str::as_bytes),
                "{text:?}"
            );
        }
    }
}
