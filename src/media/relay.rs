//! The relay's rules: which packet goes where, as what, and what is sent without being asked.
//!
//! A [`Relay`] is a table of legs that one thread owns. [`Relay::command`] takes what the control plane wants,
//! [`Relay::packet`] a datagram, [`Relay::tick`] the time; packets to send come out as [`Forward`]s about the caller's
//! own buffer, and [`Relay::poll_event`] gives what the control plane should hear. Per packet nothing is allocated.
//!
//! Each leg decrypts with its own SRTP contexts (RFC 3711), checks the source, counts (RFC 3550 appendix A), changes the
//! payload type, converts the voice where the other side takes no other, and encrypts for it. Sequence numbers, timestamps,
//! markers and synchronisation sources pass unchanged; RTCP passes, too, across legs with and without RFC 5761's multiplexing. On a leg with ICE connectivity
//! checks are told from media by their first byte (RFC 7983), answered, and decide where packets go.

mod convert;
mod counters;
mod ice;
mod keypad;
mod leg;
mod player;
mod quality;
mod repack;
mod source;
mod streams;

pub use counters::{Counter, Counters};

use super::{Command, Event, LegId};
use crate::base::Random;
use crate::rtp::{stun, telephone_event};
use counters::Dropped;
use keypad::Pressed;
use leg::Leg;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest datagram that is looked at. Longer ones are no voice.
pub const MAX_DATAGRAM: usize = 1600;
/// How large the caller's buffer should be: the longest datagram and what SRTP may append to it.
pub const BUFFER: usize = 2048;

/// How often reports and silence are looked after.
const SWEEP: Duration = Duration::from_millis(250);
/// Packets of sound made up for in one go after a delay; what is later than that is left out.
const CATCH_UP: u32 = 5;

/// Bounds of a relay.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Legs open at once.
    pub legs: usize,
    /// Events waiting to be taken.
    pub events: usize,
}

/// Which of a leg's two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The even port, and the only one if RTCP is multiplexed.
    Rtp,
    /// The next one.
    Rtcp,
}

/// A packet to send: the first `length` bytes of the buffer, from this leg's port of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// The leg that sends it.
    pub leg: LegId,
    /// The port that it leaves from.
    pub kind: Kind,
    /// Where it goes.
    pub to: SocketAddr,
    /// How much of the buffer it is.
    pub length: usize,
}

/// All legs of one relay thread.
pub struct Relay {
    /// Boxed: a leg takes kilobytes, and a table has up to twice as many places as entries.
    legs: HashMap<LegId, Box<Leg>, BuildHasherDefault<LegHasher>>,
    players: Vec<LegId>,
    /// When the next packet of sound is due to all players.
    frame_due: Instant,
    sweep_due: Instant,
    events: VecDeque<Event>,
    counters: Arc<Counters>,
    limits: Limits,
    random: Random,
    start: (Instant, u64),
}

impl Relay {
    /// An empty relay at this time, which is `ntp` on the wall: seconds since 1900 in the upper 32 bits and their
    /// fraction below.
    pub fn new(limits: Limits, mut random: Random, now: Instant, ntp: u64) -> Self {
        Self {
            legs: HashMap::default(),
            players: Vec::new(),
            frame_due: now,
            sweep_due: now,
            events: VecDeque::new(),
            counters: Arc::default(),
            limits,
            random: random.split(),
            start: (now, ntp),
        }
    }

    /// What this relay counts; readable from everywhere.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// The same, for the thread that owns the relay.
    pub fn counted(&self) -> &Counters {
        &self.counters
    }

    /// Whether this leg is open.
    pub fn is_open(&self, leg: LegId) -> bool {
        self.legs.contains_key(&leg)
    }

    /// Carries out a command. Whoever owns the sockets binds them before `Open` and closes them after `Close`.
    /// Commands about legs that are not open do nothing: they were closed, or could not be opened.
    pub fn command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Open { leg, .. } => self.open(leg, now),
            Command::Configure { leg, config } => {
                let Some(configured) = self.legs.get_mut(&leg) else {
                    return;
                };
                configured.configure(*config, now);
                let wants_frames = configured.wants_frames();
                if wants_frames != self.players.contains(&leg) {
                    self.note_player(leg, wants_frames, now);
                }
            }
            Command::Ice { leg, config } => {
                if let Some(leg) = self.legs.get_mut(&leg)
                    && leg.configure_ice(*config, now)
                {
                    self.counters.ice_restarts.add();
                }
            }
            Command::Connect { leg, with } => self.connect(leg, with),
            Command::Play { leg, play } => {
                let Some(player) = self.legs.get_mut(&leg) else {
                    return;
                };
                player.play(play);
                let wants_frames = player.wants_frames();
                self.note_player(leg, wants_frames, now);
            }
            Command::Dial { leg, key, duration } => self.dial(leg, key, duration, now),
            Command::Listen { leg, passage } => {
                if let Some(leg) = self.legs.get_mut(&leg) {
                    leg.listen(&passage);
                }
            }
            Command::Count { leg } => {
                if let Some(counted) = self.legs.get(&leg) {
                    let report = Box::new(counted.report());
                    self.event(Event::Counted { leg, report });
                }
            }
            Command::Close { leg } => self.close(leg, now),
        }
    }

    fn open(&mut self, leg: LegId, now: Instant) {
        if self.legs.len() >= self.limits.legs || self.legs.contains_key(&leg) {
            self.counters.legs_refused.add();
            return self.event(Event::Failed {
                leg,
                reason: "too many legs are open".into(),
            });
        }
        let opened = Box::new(Leg::new(leg, &mut self.random, now));
        self.legs.insert(leg, opened);
        self.counters.legs.set(self.legs.len() as u64);
    }

    fn connect(&mut self, leg: LegId, with: Option<LegId>) {
        self.disconnect(leg);
        let Some(with) = with.filter(|with| *with != leg && self.legs.contains_key(with)) else {
            return;
        };
        if !self.legs.contains_key(&leg) {
            return;
        }
        self.disconnect(with);
        for (one, other) in [(leg, with), (with, leg)] {
            if let Some(one) = self.legs.get_mut(&one) {
                one.partner = Some(other);
            }
        }
    }

    fn disconnect(&mut self, leg: LegId) {
        let partner = self.legs.get_mut(&leg).and_then(|leg| leg.partner.take());
        if let Some(partner) = partner.and_then(|partner| self.legs.get_mut(&partner)) {
            partner.partner = None;
        }
    }

    fn dial(&mut self, id: LegId, key: char, duration: Duration, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let event = telephone_event::event_of(key);
        if !event.is_some_and(|event| leg.dial(event, duration, now)) {
            return self.counters.keys_lost.add();
        }
        if !self.players.contains(&id) {
            self.note_player(id, true, now);
        }
    }

    fn note_player(&mut self, leg: LegId, playing: bool, now: Instant) {
        if self.players.is_empty() {
            self.frame_due = now;
        }
        self.players.retain(|player| *player != leg);
        if playing {
            self.players.push(leg);
        }
    }

    fn close(&mut self, leg: LegId, now: Instant) {
        self.disconnect(leg);
        self.note_player(leg, false, now);
        let Some(closed) = self.legs.remove(&leg) else {
            return;
        };
        self.counters.legs.set(self.legs.len() as u64);
        self.event(Event::Closed {
            leg,
            report: Box::new(closed.report()),
        });
    }

    /// Gives a leg away, without its partner.
    pub fn release(&mut self, leg: LegId) -> Option<OpenLeg> {
        self.disconnect(leg);
        self.players.retain(|player| *player != leg);
        let released = self.legs.remove(&leg)?;
        self.counters.legs.set(self.legs.len() as u64);
        Some(OpenLeg(released))
    }

    /// Takes a leg over, with all that it had but its partner.
    pub fn adopt(&mut self, adopted: OpenLeg, now: Instant) {
        let OpenLeg(leg) = adopted;
        let (id, wants_frames) = (leg.id(), leg.wants_frames());
        self.legs.insert(id, leg);
        self.note_player(id, wants_frames, now);
        self.counters.legs.set(self.legs.len() as u64);
    }

    /// Takes the datagram in the first `length` bytes of the buffer, which came to a leg's port. The answer, if any, is
    /// about the same buffer; it needs room for what SRTP appends ([`BUFFER`]).
    pub fn packet(
        &mut self,
        leg: LegId,
        port: Kind,
        from: SocketAddr,
        buffer: &mut [u8],
        length: usize,
        now: Instant,
    ) -> Option<Forward> {
        self.counters.received.add();
        match self.relay(leg, port, from, buffer, length, now) {
            Ok(forward) => {
                self.counters.sent.add();
                Some(forward)
            }
            Err(why) => {
                self.counters.dropped(why);
                None
            }
        }
    }

    fn relay(
        &mut self,
        id: LegId,
        port: Kind,
        from: SocketAddr,
        buffer: &mut [u8],
        length: usize,
        now: Instant,
    ) -> Result<Forward, Dropped> {
        let leg = self.legs.get_mut(&id).ok_or(Dropped::NotConnected)?;
        // What is longer is cut down to what cannot be valid, so that it is counted like everything malformed.
        let length = if length > MAX_DATAGRAM { 0 } else { length };
        let datagram = buffer.get_mut(..length).ok_or(Dropped::Malformed)?;
        if leg.has_ice() && stun::is_stun(datagram) {
            return leg.check(port, from, buffer, length, &self.counters, now);
        }
        let arrived = leg.arrive(port, from, datagram, now)?;
        let (partner, may_send) = (leg.partner, leg.may_send());
        let is_held = arrived.kind == Kind::Rtp && !may_send;
        let pressed = match is_held {
            true => None,
            false => leg.hear(&arrived, buffer, now),
        };
        if arrived.moved {
            self.counters.source_moves.add();
        }
        if arrived.first {
            self.event(Event::Flowing { leg: id });
        }
        if is_held {
            return Err(Dropped::Held);
        }
        if let Some(pressed) = pressed {
            self.key(id, pressed);
        }
        let partner = partner
            .and_then(|partner| self.legs.get_mut(&partner))
            .ok_or(Dropped::NotConnected)?;
        let forward = partner.forward(&arrived, buffer, now);
        if let Some(pressed) = partner.told() {
            let partner = partner.id();
            self.key(partner, pressed);
        }
        forward
    }

    fn key(&mut self, leg: LegId, pressed: Pressed) {
        let Pressed { event, duration } = pressed;
        if let Some(key) = telephone_event::key_of(event) {
            self.event(Event::Key { leg, key, duration });
        }
    }

    /// When [`Relay::tick`] has something to do; `None` while no leg is open.
    pub fn deadline(&self) -> Option<Instant> {
        match (self.legs.is_empty(), self.players.is_empty()) {
            (true, _) => None,
            (false, true) => Some(self.sweep_due),
            (false, false) => Some(self.sweep_due.min(self.frame_due)),
        }
    }

    /// Sends the sounds and the reports that are due, and notes who fell silent. `send` gets each packet's bytes.
    pub fn tick(&mut self, now: Instant, buffer: &mut [u8], mut send: impl FnMut(Forward, &[u8])) {
        self.play_sounds(now, buffer, &mut send);
        if now >= self.sweep_due {
            self.sweep_due = now + SWEEP;
            self.sweep(now, buffer, &mut send);
        }
    }

    fn play_sounds(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        send: &mut impl FnMut(Forward, &[u8]),
    ) {
        for _ in 0..CATCH_UP {
            if self.players.is_empty() || self.frame_due > now {
                return;
            }
            let mut dialled = false;
            for player in &self.players {
                let Some(leg) = self.legs.get_mut(player) else {
                    continue;
                };
                for _ in 0..leg.frames_due() {
                    if let Some(forward) = leg.sound(self.frame_due, buffer) {
                        self.counters.sent.add();
                        send(forward, &buffer[..forward.length]);
                    }
                }
                dialled |= !leg.wants_frames();
            }
            if dialled {
                let legs = &self.legs;
                self.players
                    .retain(|player| legs.get(player).is_some_and(|leg| leg.wants_frames()));
            }
            self.frame_due += player::PACE;
        }
        let late =
            now.saturating_duration_since(self.frame_due).as_millis() / player::PACE.as_millis();
        for player in &self.players {
            if let Some(leg) = self.legs.get_mut(player) {
                leg.skip_sound(late as usize);
            }
        }
        self.frame_due += player::PACE * late as u32;
    }

    fn sweep(&mut self, now: Instant, buffer: &mut [u8], send: &mut impl FnMut(Forward, &[u8])) {
        let ntp = self.ntp(now);
        let (mut silent, mut lost, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for (id, leg) in &mut self.legs {
            if let Some(forward) = leg.report_to_peer(now, ntp, self.random.u32(), buffer) {
                self.counters.sent.add();
                send(forward, &buffer[..forward.length]);
            }
            if leg.fell_silent(now) {
                silent.push(*id);
            }
            if let Some(path) = leg.lost_consent(now) {
                lost.push((*id, path));
            }
            keys.extend(leg.lost_key(now).map(|key| (*id, key)));
        }
        for (leg, key) in keys {
            self.key(leg, key);
        }
        for (leg, path) in lost {
            self.counters.consents_lost.add();
            let reason = ice::reason(path);
            self.event(Event::ConsentLost { leg, reason });
        }
        for leg in silent {
            self.event(Event::Inactive { leg });
        }
    }

    fn ntp(&self, now: Instant) -> u64 {
        let (start, ntp) = self.start;
        let elapsed = now.saturating_duration_since(start);
        let fraction = (u64::from(elapsed.subsec_nanos()) << 32) / 1_000_000_000;
        ntp.wrapping_add((elapsed.as_secs() << 32) + fraction)
    }

    /// The next thing that the control plane should hear.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there is one.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Gives back the event that was polled last, because it could not be delivered yet.
    pub fn return_event(&mut self, event: Event) {
        self.events.push_front(event);
    }

    /// Queues an event, the caller's own (a socket that could not be bound) included, unless nobody took any for long.
    pub fn event(&mut self, event: Event) {
        if self.events.len() >= self.limits.events {
            return self.counters.events_lost.add();
        }
        self.events.push_back(event);
    }
}

/// A leg on its way from one relay to another.
pub struct OpenLeg(Box<Leg>);

/// Spreads the numbers of legs, which are our own and need no defence against chosen ones.
#[derive(Default)]
pub struct LegHasher(u64);

impl Hasher for LegHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests;
