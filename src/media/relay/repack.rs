use crate::audio::Law;
use crate::audio::{Coding, g711};
use crate::media::Passage;
use crate::rtp::packet::{HEADER, Header};

/// The most voice that waits: 300 ms.
const ROOM: usize = 2400;
/// Voice that is missing for longer than this, in ticks, was not lost but never spoken.
const PAUSE: u32 = 800;
/// Octets in 20 ms, after which we look again.
const FRAME: usize = 160;

/// Voice of the partner's in packets of the length that the peer wants. They go in the stream of ours in which sounds go, for
/// their number is another than that of the partner's.
pub(super) struct Repacker {
    payload_type: u8,
    silence: u8,
    /// Octets in a packet.
    size: usize,
    waiting: Vec<u8>,
    /// Timestamp of what should come next, in the partner's stream.
    expected: Option<u32>,
    /// Timestamp of what waits, in ours; none where speech begins anew.
    next: Option<u32>,
}

impl Repacker {
    /// For a passage to a peer that wants other packets than come.
    pub(super) fn of(passage: &Passage) -> Option<Box<Self>> {
        let (voice, ms) = (passage.voice?, passage.packet_ms?);
        let silence = match voice.coding {
            Coding::G711(Law::A) => g711::alaw(0),
            Coding::G711(Law::Mu) => g711::mulaw(0),
            Coding::G722 => return None,
        };
        Some(Box::new(Self {
            payload_type: voice.payload_type,
            silence,
            size: usize::from(ms) * FRAME / 20,
            waiting: Vec::with_capacity(ROOM),
            expected: None,
            next: None,
        }))
    }

    /// Takes a packet of the peer's voice, or says that it is none.
    pub(super) fn take(&mut self, header: &Header, payload: &[u8]) -> bool {
        if header.payload_type != self.payload_type {
            return false;
        }
        let expected = self.expected.unwrap_or(header.timestamp);
        let missing = header.timestamp.wrapping_sub(expected);
        if missing > PAUSE {
            // What came too late is behind by a little, which is a lot ahead.
            if missing > u32::MAX - ROOM as u32 {
                return true;
            }
            self.waiting.clear();
            self.next = None;
        } else {
            let end = self.waiting.len() + missing as usize;
            self.waiting.resize(end.min(ROOM), self.silence);
        }
        self.expected = Some(header.timestamp.wrapping_add(payload.len() as u32));
        // Nobody took it for long: the oldest goes.
        let over = (self.waiting.len() + payload.len()).saturating_sub(ROOM);
        if over > 0 {
            self.waiting.drain(..over.min(self.waiting.len()));
            self.next = None;
        }
        self.waiting
            .extend_from_slice(&payload[..payload.len().min(ROOM)]);
        true
    }

    /// How many packets are to go out now, by a clock of 20 ms: as many as last so long, and more where voice comes in long
    /// packets.
    pub(super) fn due(&self) -> usize {
        let usual = FRAME.div_ceil(self.size);
        let behind = self.waiting.len() > self.size.max(FRAME) * 4;
        let ready = self.waiting.len() / self.size;
        ready.min(usual + usize::from(behind))
    }

    /// Writes the next packet behind a header that the clock has filled in; its length.
    pub(super) fn write(&mut self, header: &mut Header, into: &mut [u8]) -> Option<usize> {
        let voice = self.waiting.get(..self.size)?;
        into.get_mut(HEADER..HEADER + self.size)?
            .copy_from_slice(voice);
        self.waiting.drain(..self.size);
        header.payload_type = self.payload_type;
        header.marker = self.next.is_none();
        header.timestamp = self.next.unwrap_or(header.timestamp);
        self.next = Some(header.timestamp.wrapping_add(self.size as u32));
        Some(HEADER + self.size)
    }

    /// A moment of the partner's stream in ours, as far as that is known.
    pub(super) fn moment(&self, timestamp: u32) -> Option<u32> {
        let first = self.expected?.wrapping_sub(self.waiting.len() as u32);
        Some(timestamp.wrapping_sub(first).wrapping_add(self.next?))
    }
}
