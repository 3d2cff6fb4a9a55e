use super::counters::Dropped;
use crate::audio::Transcoder;
use crate::audio::clip::FRAME;
use crate::media::{Fate, Passage, Voice};
use crate::rtp::packet::{self, Header};

/// Makes a partner's voice such as the peer takes. Sequence numbers, timestamps and sources stay: all codings that are
/// converted have one clock and as many octets for a millisecond.
pub(super) struct Converter {
    voice: Voice,
    transcoder: Transcoder,
}

impl Converter {
    /// For a passage that converts something.
    pub(super) fn of(passage: &Passage) -> Option<Box<Self>> {
        let voice = passage.converts()?;
        Some(Box::new(Self {
            voice,
            transcoder: Transcoder::new(voice.coding),
        }))
    }

    /// A plain packet in the first `length` bytes, whose header has been read; how long it is now.
    pub(super) fn convert(
        &mut self,
        fate: Fate,
        buffer: &mut [u8],
        length: usize,
    ) -> Result<usize, Dropped> {
        let datagram = buffer.get(..length).ok_or(Dropped::Malformed)?;
        let header = Header::parse(datagram).map_err(|_| Dropped::Malformed)?;
        let payload = header.payload(datagram).map_err(|_| Dropped::Malformed)?;
        let length = match fate {
            Fate::Voice(from) => {
                self.transcoder.convert(from, &mut buffer[payload]);
                length
            }
            Fate::Silence => {
                let end = payload.start + FRAME;
                let silence = buffer.get_mut(payload.start..end);
                self.transcoder.silence(silence.ok_or(Dropped::Malformed)?);
                packet::forget_padding(buffer);
                end
            }
            Fate::As(_) | Fate::Key | Fate::Dropped => return Err(Dropped::PayloadType),
        };
        packet::set_payload_type(buffer, self.voice.payload_type);
        Ok(length)
    }
}
