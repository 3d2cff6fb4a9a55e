//! Named telephone events: keys pressed, as RFC 4733 carries them.

/// One event block (RFC 4733 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// 0 to 15 are the keys, 16 is flash.
    pub event: u8,
    /// Set in the last packets of the event.
    pub end: bool,
    /// 0 is loud, 63 is quiet: dBm0 without its sign.
    pub volume: u8,
    /// So far, in units of the RTP clock.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Reads a payload of exactly one block, which is all that anybody sends; the reserved bit is ignored.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let &[event, flags, high, low] = payload else {
            return None;
        };
        Some(Self {
            event,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The payload.
    pub fn write(&self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        let flags = u8::from(self.end) << 7 | self.volume & 0x3f;
        [self.event, flags, high, low]
    }

    /// The key, or `None` for what is not a key.
    pub fn digit(&self) -> Option<char> {
        key_of(self.event)
    }
}

/// The keys by their number (RFC 4733 §3.2).
const KEYS: &[u8; 16] = b"0123456789*#ABCD";

/// The key that this event is.
pub fn key_of(event: u8) -> Option<char> {
    KEYS.get(usize::from(event)).map(|&key| key.into())
}

/// The event that is this key.
pub fn event_of(key: char) -> Option<u8> {
    let is_key = |known: &u8| char::from(*known) == key.to_ascii_uppercase();
    KEYS.iter().position(is_key).map(|event| event as u8)
}

/// Tells keys from the many packets that carry each of them: lost, repeated and reordered ones included.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    last: Option<(u32, TelephoneEvent)>,
}

impl Keys {
    /// A packet's timestamp and event; the answer is the key if this is the first packet that speaks of it.
    pub fn packet(&mut self, timestamp: u32, event: TelephoneEvent) -> Option<char> {
        let begins = self.last.is_none_or(|(start, before)| {
            let newer = timestamp.wrapping_sub(start) as i32 > 0;
            // A key held for longer than 16 bits can say goes on under a new timestamp (RFC 4733 §2.5.1.3).
            let goes_on = before.event == event.event
                && !before.end
                && timestamp.wrapping_sub(start) == 0xffff;
            newer && !goes_on
        });
        if self
            .last
            .is_none_or(|(start, _)| timestamp.wrapping_sub(start) as i32 >= 0)
        {
            self.last = Some((timestamp, event));
        }
        event.digit().filter(|_| begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: u8, end: bool, duration: u16) -> TelephoneEvent {
        TelephoneEvent {
            event,
            end,
            volume: 10,
            duration,
        }
    }

    /// The reserved bit is ignored, anything but four bytes is not an event.
    #[test]
    fn one_block_is_read() {
        assert_eq!(
            TelephoneEvent::parse(&[11, 0xca, 0x03, 0x20]),
            Some(event(11, true, 800))
        );
        assert_eq!(event(11, true, 800).write(), [11, 0x8a, 0x03, 0x20]);
        assert_eq!(event(11, true, 800).digit(), Some('#'));
        assert_eq!(
            (event_of('#'), event_of('b'), event_of('x')),
            (Some(11), Some(13), None)
        );
        assert_eq!(event(16, true, 800).digit(), None);
        assert!(
            TelephoneEvent::parse(&[1, 2, 3]).is_none() && TelephoneEvent::parse(&[0; 8]).is_none()
        );
    }

    /// Three ends of one key are one key, the same key again is another, and a late packet is none.
    #[test]
    fn a_key_counts_once() {
        let mut keys = Keys::default();
        let heard: String = [
            (1000, event(5, false, 160)),
            (1000, event(5, true, 800)),
            (1000, event(5, true, 800)),
            (3000, event(5, false, 160)),
            (1000, event(5, true, 800)),
            (3000, event(5, true, 800)),
        ]
        .into_iter()
        .filter_map(|(timestamp, event)| keys.packet(timestamp, event))
        .collect();
        assert_eq!(heard, "55");
    }
}
