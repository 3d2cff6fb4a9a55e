//! Keys on their way to one peer, where they come otherwise than they must go: tones in the partner's voice, orders of the
//! control plane (the partner's INFO), or telephone events (RFC 4733); to be made events, tones, or news for the control plane.
//!
//! What we make takes the place of packets of the partner's voice, under their sequence numbers and in their source, so that
//! the peer hears one stream. Where the partner sends no voice, ours goes in the stream in which sounds are played.

use super::counters::Dropped;
use crate::audio::clip::FRAME;
use crate::audio::dtmf::{self, Detector};
use crate::audio::transcode::expand;
use crate::audio::{Coding, Law, Transcoder};
use crate::media::{Fate, KeySink, Passage, Voice};
use crate::rtp::packet::{self, HEADER, Header, write_header};
use crate::rtp::telephone_event::TelephoneEvent;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Keys that wait to be sent to one peer.
const QUEUE: usize = 32;
/// Ticks of the clock in a millisecond.
const MS: u32 = 8;
/// A key lasts at least so long for its receiver to recognise it (ITU-T Q.24), and no longer than an event can say.
const SHORTEST: u32 = 40 * MS;
const LONGEST: u32 = 5000 * MS;
/// The last packet of an event is sent so often (RFC 4733 §2.5.1.4). Tones pause for as long.
const ENDS: u8 = 3;
/// -10 dBm0, as the tones are.
const VOLUME: u8 = 10;
/// The most voice that one packet is looked at, or made of.
const PACKET: usize = 3 * FRAME;
/// Without voice for so long, the partner sends none.
const SILENT: Duration = Duration::from_millis(100);
/// A telephone event that nobody ends is over after so long.
const LOST: Duration = Duration::from_millis(300);

/// A key for the control plane, and for how long it was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pressed {
    pub(super) event: u8,
    pub(super) duration: Duration,
}

/// Towards one peer.
pub(super) struct Keypad {
    sink: KeySink,
    voice: Option<Voice>,
    /// The partner presses keys by tones.
    detector: Option<Detector>,
    /// Keys to be sent, and their lengths in ticks.
    queue: VecDeque<(u8, u32)>,
    sending: Option<Sending>,
    /// An event of the partner's that is not over, or was the last.
    incoming: Option<Incoming>,
    told: Option<Pressed>,
    /// When voice of the partner's last passed.
    voiced: Option<Instant>,
    transcoder: Option<Transcoder>,
}

/// A key that we are sending.
#[derive(Debug, Clone, Copy)]
struct Sending {
    event: u8,
    /// Timestamp of its beginning.
    start: u32,
    /// How long it is to last; unknown for one that is still pressed.
    length: Option<u32>,
    begun: bool,
    ends: u8,
    /// In the stream of sounds.
    own: bool,
}

/// A key that the partner presses by telephone events.
#[derive(Debug, Clone, Copy)]
struct Incoming {
    event: u8,
    start: u32,
    duration: u16,
    over: bool,
    heard: Instant,
}

impl Keypad {
    /// For a passage on which keys change their form, or may have to. What waited before it changed still does.
    pub(super) fn of(passage: &Passage, before: Option<&mut Self>) -> Self {
        let waiting = before.map(|before| std::mem::take(&mut before.queue));
        let coding = passage.voice.map(|voice| voice.coding);
        Self {
            sink: passage.keys,
            voice: passage.voice,
            detector: passage.listens.then(Detector::default),
            queue: waiting.unwrap_or_else(|| VecDeque::with_capacity(QUEUE)),
            sending: None,
            incoming: None,
            told: None,
            voiced: None,
            transcoder: coding.map(Transcoder::new),
        }
    }

    /// Takes a key to send; `false` if too many wait, or the peer cannot be reached so.
    pub(super) fn dial(&mut self, event: u8, duration: Duration, now: Instant) -> bool {
        let reaches = matches!(self.sink, KeySink::Events(_) | KeySink::Tones);
        let has_room = reaches && self.queue.len() < QUEUE;
        if has_room {
            let ticks = duration.as_millis().min(u128::from(LONGEST / MS)) as u32 * MS;
            self.queue.push_back((event, ticks.max(SHORTEST)));
            // The voice that it may ride on shows itself soon, if there is any.
            self.voiced.get_or_insert(now);
        }
        has_room
    }

    /// Whether keys are to be sent.
    pub(super) fn is_dialling(&self) -> bool {
        !self.queue.is_empty() || self.sending.is_some()
    }

    /// A key that the control plane is to hear of.
    pub(super) fn told(&mut self) -> Option<Pressed> {
        self.told.take()
    }

    /// The same, of a key whose end was lost.
    pub(super) fn lost(&mut self, now: Instant) -> Option<Pressed> {
        let incoming = self.incoming.as_mut().filter(|incoming| !incoming.over)?;
        if now.saturating_duration_since(incoming.heard) < LOST {
            return None;
        }
        incoming.over = true;
        let pressed = incoming.pressed();
        (self.sink == KeySink::Told).then_some(pressed)
    }

    /// A telephone event of the partner's, in the first `length` bytes, which the peer does not take as such; how long the
    /// packet is that goes in its place.
    pub(super) fn event(
        &mut self,
        buffer: &mut [u8],
        length: usize,
        now: Instant,
    ) -> Result<usize, Dropped> {
        let (header, payload) = parts(buffer, length)?;
        let event = TelephoneEvent::parse(&buffer[payload]).ok_or(Dropped::Malformed)?;
        let (start, duration) = (header.timestamp, event.duration);
        let known = self.incoming.filter(|incoming| incoming.start == start);
        if known.is_none() {
            self.end_incoming();
        }
        // What was told once stays told: the last packet comes three times.
        if known.is_some_and(|incoming| incoming.over) || event.digit().is_none() {
            return Err(Dropped::Key);
        }
        let before = known.map_or(0, |incoming| incoming.duration);
        self.incoming = Some(Incoming {
            event: event.event,
            start,
            duration: duration.max(before),
            over: false,
            heard: now,
        });
        if event.end {
            self.end_incoming();
        }
        let from = u32::from(before);
        let samples = usize::from(duration.saturating_sub(before)).min(PACKET);
        if self.sink != KeySink::Tones || samples == 0 {
            return Err(Dropped::Key);
        }
        let mut tone = [0; PACKET];
        dtmf::write(event.event, from, &mut tone[..samples]);
        let at = header.payload_at;
        self.sound(&tone[..samples], buffer, at)?;
        let timestamp = start.wrapping_add(from);
        packet::set_timestamp(buffer, timestamp);
        packet::set_marker(buffer, from == 0);
        Ok(at + samples)
    }

    fn end_incoming(&mut self) {
        if let Some(incoming) = &mut self.incoming
            && !std::mem::replace(&mut incoming.over, true)
            && self.sink == KeySink::Told
        {
            self.told = Some(incoming.pressed());
        }
    }

    /// Voice of the partner's in the first `length` bytes, on its way under this fate: what goes in its place, if something
    /// does, and how long that is.
    pub(super) fn voice(
        &mut self,
        fate: Fate,
        buffer: &mut [u8],
        length: usize,
        now: Instant,
    ) -> Result<Option<usize>, Dropped> {
        let (header, payload) = parts(buffer, length)?;
        self.voiced = Some(now);
        let timestamp = header.timestamp;
        let coding = self.coding(fate);
        if let Some(Coding::G711(law)) = coding {
            self.listen(law, &buffer[payload.clone()], timestamp);
        }
        // Of a voice that we do not know packets are as long as most are.
        let samples = coding.map_or(FRAME, |_| payload.len()) as u32;
        let presses = self.incoming.is_some_and(|incoming| !incoming.over);
        if presses && self.sink == KeySink::Tones {
            // Who presses a key and speaks as well is not heard twice.
            return Err(Dropped::Key);
        }
        if self.sending.is_some_and(|sending| sending.own) {
            return Ok(None);
        }
        self.begin(timestamp, false);
        let at = header.payload_at;
        if self.sending.is_some() {
            return self.render(timestamp, samples, buffer, at).map(Some);
        }
        let mutes = self.detector.as_ref().is_some_and(Detector::suspects);
        if mutes && self.voice.is_some() {
            let silence = [0; PACKET];
            let samples = payload.len().min(PACKET);
            self.sound(&silence[..samples], buffer, at)?;
            return Ok(Some(at + samples));
        }
        Ok(None)
    }

    /// How the voice is written that passes, or is converted, by this fate.
    fn coding(&self, fate: Fate) -> Option<Coding> {
        match (fate, self.voice) {
            (Fate::Voice(coding), _) => Some(coding),
            (Fate::As(number), Some(voice)) if voice.payload_type == number => Some(voice.coding),
            _ => None,
        }
    }

    /// Whether packets of this fate are the partner's own events, which the peer takes.
    pub(super) fn passes(&self, fate: Fate) -> bool {
        matches!((fate, self.sink), (Fate::As(number), KeySink::Events(events)) if number == events)
    }

    /// Hears keys out of the voice.
    fn listen(&mut self, law: Law, octets: &[u8], timestamp: u32) {
        let Some(detector) = &mut self.detector else {
            return;
        };
        let mut samples = [0; PACKET];
        let octets = &octets[..octets.len().min(PACKET)];
        let samples = &mut samples[..octets.len()];
        expand(law, octets, samples);
        let key = detector.hear(samples);
        let sounding = self.sending.filter(|sending| sending.length.is_none());
        if sounding.map(|sending| sending.event) == key {
            return;
        }
        if let (Some(was), Some(sending)) = (sounding, &mut self.sending) {
            let length = timestamp.wrapping_sub(was.start).clamp(SHORTEST, LONGEST);
            sending.length = Some(length);
            if self.sink == KeySink::Told {
                self.told = Some(pressed(was.event, length));
                self.sending = None;
            }
        }
        // A key that follows another at once waits until that has been said whole: its tones are heard long enough.
        if let (Some(event), None) = (key, self.sending) {
            self.sending = Some(Sending::new(event, timestamp, None, false));
        }
    }

    /// Takes the next key of the queue, if none is being sent.
    fn begin(&mut self, timestamp: u32, own: bool) {
        if self.sending.is_none()
            && let Some((event, length)) = self.queue.pop_front()
        {
            self.sending = Some(Sending::new(event, timestamp, Some(length), own));
        }
    }

    /// The packet for what is being sent, in place of so much voice from this time on.
    fn render(
        &mut self,
        timestamp: u32,
        samples: u32,
        buffer: &mut [u8],
        at: usize,
    ) -> Result<usize, Dropped> {
        let Some(mut sending) = self.sending else {
            return Err(Dropped::Key);
        };
        let since = timestamp.wrapping_sub(sending.start);
        let elapsed = since.saturating_add(samples).min(LONGEST);
        let is_over = sending.ends > 0 || sending.length.is_some_and(|length| elapsed >= length);
        sending.ends += u8::from(is_over);
        let first = !std::mem::replace(&mut sending.begun, true);
        self.sending = (sending.ends < ENDS).then_some(sending);
        let length = match self.sink {
            KeySink::Events(payload_type) => {
                let event = TelephoneEvent {
                    event: sending.event,
                    end: is_over,
                    volume: VOLUME,
                    duration: sending.length.map_or(elapsed, |l| l.min(elapsed)) as u16,
                };
                let payload = buffer.get_mut(at..at + 4).ok_or(Dropped::Malformed)?;
                payload.copy_from_slice(&event.write());
                packet::set_payload_type(buffer, payload_type);
                packet::set_timestamp(buffer, sending.start);
                packet::set_marker(buffer, first);
                packet::forget_padding(buffer);
                4
            }
            KeySink::Tones | KeySink::Told | KeySink::Nowhere => {
                let mut tone = [0; PACKET];
                let tone = &mut tone[..(samples as usize).min(PACKET)];
                // A key that is told of is only to be silenced.
                if self.sink == KeySink::Tones && sending.ends < 2 {
                    dtmf::write(sending.event, since, tone);
                }
                self.sound(tone, buffer, at)?;
                packet::set_timestamp(buffer, timestamp);
                tone.len()
            }
        };
        Ok(at + length)
    }

    /// Writes samples as the peer's voice behind a header of this length.
    fn sound(&mut self, samples: &[i16], buffer: &mut [u8], at: usize) -> Result<(), Dropped> {
        let (Some(voice), Some(transcoder)) = (self.voice, &mut self.transcoder) else {
            return Err(Dropped::PayloadType);
        };
        let payload = buffer.get_mut(at..at + samples.len());
        transcoder.encode(samples, payload.ok_or(Dropped::Malformed)?);
        packet::set_payload_type(buffer, voice.payload_type);
        packet::forget_padding(buffer);
        Ok(())
    }

    /// What is due at this time in the stream of sounds, because the partner sends no voice: a packet with this header, which
    /// the timestamp of an event and its type are written into; its length.
    pub(super) fn without_voice(
        &mut self,
        now: Instant,
        header: &Header,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let speaks = |at: Instant| now.saturating_duration_since(at) < SILENT;
        if self.voiced.is_some_and(speaks) {
            return None;
        }
        if self.sending.is_some_and(|sending| !sending.own) {
            // It broke off with the voice; nobody can say any more that it ended.
            self.sending = None;
        }
        self.begin(header.timestamp, true);
        self.sending?;
        write_header(header, buffer.first_chunk_mut()?);
        self.render(header.timestamp, FRAME as u32, buffer, HEADER)
            .ok()
    }
}

impl Sending {
    fn new(event: u8, start: u32, length: Option<u32>, own: bool) -> Self {
        Self {
            event,
            start,
            length,
            begun: false,
            ends: 0,
            own,
        }
    }
}

impl Incoming {
    fn pressed(&self) -> Pressed {
        pressed(self.event, self.duration.into())
    }
}

fn pressed(event: u8, ticks: u32) -> Pressed {
    Pressed {
        event,
        duration: Duration::from_millis(u64::from(ticks / MS)),
    }
}

fn parts(buffer: &[u8], length: usize) -> Result<(Header, std::ops::Range<usize>), Dropped> {
    let datagram = buffer.get(..length).ok_or(Dropped::Malformed)?;
    let header = Header::parse(datagram).map_err(|_| Dropped::Malformed)?;
    let payload = header.payload(datagram).map_err(|_| Dropped::Malformed)?;
    Ok((header, payload))
}
