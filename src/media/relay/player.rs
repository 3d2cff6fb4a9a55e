use crate::audio::clip::FRAME;
use crate::base::Random;
use crate::media::Play;
use crate::rtp::packet::{HEADER, Header, write_header};
use std::time::{Duration, Instant};

/// How much music one packet holds.
pub(super) const PACE: Duration = Duration::from_millis(20);

/// Our own stream towards one peer: one source with one row of sequence numbers, however often the music stops.
pub(super) struct Player {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// When the packet of this timestamp was due; `None` before the first.
    at: Option<Instant>,
    playing: Option<Play>,
    frame: usize,
    marker: bool,
    packets: u32,
    octets: u32,
    /// Packets when the last report was written.
    reported: u32,
}

impl Player {
    /// A silent player. The sequence starts in the lower half, so that the first packets cannot be lost before a wrap
    /// (RFC 3711 §3.3.1).
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            ssrc: random.u32(),
            sequence: random.u32() as u16 >> 1,
            timestamp: random.u32(),
            at: None,
            playing: None,
            frame: 0,
            marker: false,
            packets: 0,
            octets: 0,
            reported: 0,
        }
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    pub(super) fn is_playing(&self) -> bool {
        self.playing.is_some()
    }

    /// Starts the piece from its beginning, changes its encoding on the way, or ends it.
    pub(super) fn play(&mut self, play: Option<Play>) {
        let continues = match (&self.playing, &play) {
            (Some(now), Some(next)) => next.continues(now),
            _ => false,
        };
        if !continues {
            (self.frame, self.marker) = (0, true);
        }
        self.playing = play;
    }

    /// Writes the packet that is due at this time, if a sound plays; the answer is its length.
    pub(super) fn packet(&mut self, due: Instant, into: &mut [u8]) -> Option<usize> {
        let play = self.playing.as_ref()?;
        let mut header = self.header(due);
        (header.marker, header.payload_type) = (self.marker, play.payload_type);
        write_header(&header, into.first_chunk_mut()?);
        into.get_mut(HEADER..HEADER + FRAME)?
            .copy_from_slice(play.clip.frame(play.law, self.frame));
        (self.frame, self.marker) = (self.frame + 1, false);
        self.sent(due, FRAME);
        Some(HEADER + FRAME)
    }

    /// The header of this stream's packet that is due at this time.
    pub(super) fn header(&self, due: Instant) -> Header {
        Header::new(0, false, self.sequence, self.timestamp_at(due), self.ssrc)
    }

    /// It was sent, with so many octets behind it.
    pub(super) fn sent(&mut self, due: Instant, octets: usize) {
        self.timestamp = self.timestamp_at(due);
        self.at = Some(due);
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(octets as u32);
    }

    /// The music of so many packets is left out.
    pub(super) fn skip(&mut self, frames: usize) {
        self.frame += frames;
    }

    /// The stream's clock: it goes on while the music rests.
    pub(super) fn timestamp_at(&self, now: Instant) -> u32 {
        let elapsed = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.timestamp
            .wrapping_add((elapsed.as_micros() * FRAME as u128 / PACE.as_micros()) as u32)
    }

    /// Packets and payload octets so far, if there were any since the last time this was asked.
    pub(super) fn sent_since_report(&mut self) -> Option<(u32, u32)> {
        if self.packets == self.reported {
            return None;
        }
        self.reported = self.packets;
        Some((self.packets, self.octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Law;

    fn header(player: &mut Player, due: Instant) -> Header {
        let mut packet = [0; 200];
        let length = player.packet(due, &mut packet).unwrap();
        assert_eq!(length, 172);
        Header::parse(&packet[..length]).unwrap()
    }

    /// After a rest of ten seconds the same source goes on: next number, ten seconds later, with a marker.
    #[test]
    fn a_second_start_continues_the_stream() {
        let start = Instant::now();
        let mut player = Player::new(&mut Random::from_number(1));
        player.play(Some(Play::music(Law::A, 8)));
        let first = header(&mut player, start);
        let second = header(&mut player, start + PACE);
        assert!(first.marker && !second.marker && first.sequence < 0x8000);
        assert_eq!(second.timestamp, first.timestamp.wrapping_add(160));

        player.play(None);
        assert_eq!(player.packet(start, &mut [0; 200]), None);
        player.play(Some(Play::music(Law::Mu, 0)));
        let third = header(&mut player, start + PACE + Duration::from_secs(10));
        assert_eq!(
            (third.ssrc, third.sequence, third.payload_type),
            (first.ssrc, first.sequence + 2, 0)
        );
        assert_eq!(third.timestamp, second.timestamp.wrapping_add(80_000));
        assert!(third.marker);
        assert_eq!(player.sent_since_report(), Some((3, 480)));
        assert_eq!(player.sent_since_report(), None);
    }
}
