//! Cutting a byte stream into SIP messages (RFC 3261 §18.3) and keep-alives (RFC 5626 §4.4.1).
//!
//! Bytes go in as they are read, frames come out; the socket is somebody else's. The head of a message is read by the
//! same code as in [`super::Message::parse`], so that the two cannot disagree about where a message ends.

use bytes::Bytes;

use super::message::{self, MAX_MESSAGE, ParseError};

/// The longest head, from the start line to the empty line, that a stream may send.
pub const MAX_HEAD: usize = 49_152;

/// What a stream carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// One whole message, for [`super::Message::parse`].
    Message(Bytes),
    /// Two line ends: the peer wants to see a [`Frame::Pong`].
    Ping,
    /// A single line end between messages: the answer to a ping, or a stray one.
    Pong,
}

/// The stream cannot be read on, for nobody knows where the next message begins: the connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream cannot be divided into messages: {0}")]
pub struct FramingError(#[from] pub ParseError);

/// The bytes of one stream that are not yet a frame. It never holds more than one message and what one
/// [`StreamFramer::push`] brought.
#[derive(Debug, Default)]
pub struct StreamFramer {
    buf: Vec<u8>,
    /// Where the bytes begin that no frame has taken.
    start: usize,
    /// How many bytes from `start` were looked through for the end of the head.
    seen: usize,
    /// The length of the message at `start`, once its head is there.
    length: Option<usize>,
    failed: Option<FramingError>,
}

impl StreamFramer {
    /// A stream's beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read. Call [`StreamFramer::next`] until it gives `None` before pushing again.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if self.start > 0 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        if self.buf.len() > MAX_MESSAGE {
            return self.fail(ParseError::TooLarge);
        }
        self.buf.extend_from_slice(bytes);
    }

    /// The next frame. After an error there is nothing but that error.
    #[expect(
        clippy::should_implement_trait,
        reason = "`None` means not yet; more may come after a push"
    )]
    pub fn next(&mut self) -> Option<Result<Frame, FramingError>> {
        if self.failed.is_none() {
            match self.frame() {
                Ok(frame) => return frame.map(Ok),
                Err(error) => self.fail(error),
            }
        }
        self.failed.map(Err)
    }

    /// Whether bytes wait for the rest of a message: what a time limit on slow senders asks.
    pub fn is_waiting(&self) -> bool {
        self.start < self.buf.len()
    }

    fn frame(&mut self) -> Result<Option<Frame>, ParseError> {
        let rest = &self.buf[self.start..];
        let (frame, taken) = match (rest, self.length) {
            ([b'\r', b'\n', b'\r', b'\n', ..], _) => (Frame::Ping, 4),
            ([b'\r', b'\n', b'\r'], _) => return Ok(None),
            ([b'\r', b'\n', ..], _) => (Frame::Pong, 2),
            ([] | [b'\r'], _) => return Ok(None),
            (_, Some(length)) if rest.len() < length => return Ok(None),
            (_, Some(length)) => (
                Frame::Message(Bytes::copy_from_slice(&rest[..length])),
                length,
            ),
            (_, None) => {
                self.length = self.measure()?;
                return if self.length.is_some() {
                    self.frame()
                } else {
                    Ok(None)
                };
            }
        };
        self.start += taken;
        (self.seen, self.length) = (0, None);
        Ok(Some(frame))
    }

    /// The length of the message that begins here, if its head is whole.
    fn measure(&mut self) -> Result<Option<usize>, ParseError> {
        let rest = &self.buf[self.start..];
        let from = self.seen.saturating_sub(3);
        let Some(end) = memchr::memmem::find(&rest[from..], b"\r\n\r\n") else {
            self.seen = rest.len();
            return if rest.len() > MAX_HEAD {
                Err(ParseError::TooLarge)
            } else {
                Ok(None)
            };
        };
        let end = from + end + 4;
        if end > MAX_HEAD {
            return Err(ParseError::TooLarge);
        }
        let head = message::head(&rest[..end])?;
        let body = message::body_length(&rest[..end], &head)?.ok_or(ParseError::NoContentLength)?;
        Ok(Some(end + body))
    }

    fn fail(&mut self, error: ParseError) {
        self.failed = Some(FramingError(error));
        (self.buf, self.start) = (Vec::new(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(framer: &mut StreamFramer) -> Vec<Result<Frame, FramingError>> {
        std::iter::from_fn(|| framer.next()).take(10).collect()
    }

    fn message(body: &str) -> String {
        format!(
            "OPTIONS sip:a@b SIP/2.0\r\nl : {}\r\nVia: SIP/2.0/TCP c\r\n\r\n{body}",
            body.len()
        )
    }

    fn whole(text: &str) -> Result<Frame, FramingError> {
        Ok(Frame::Message(Bytes::copy_from_slice(text.as_bytes())))
    }

    /// Every way to cut three messages and keep-alives into two reads gives the same frames.
    #[test]
    fn where_reads_end_does_not_matter() {
        let (one, two) = (message("hello\r\n\r\n"), message(""));
        let stream = format!("{one}\r\n\r\n{two}\r\n{one}");
        let expected = [
            whole(&one),
            Ok(Frame::Ping),
            whole(&two),
            Ok(Frame::Pong),
            whole(&one),
        ];
        let inside_ping = one.len() + 2;
        for cut in (0..stream.len()).filter(|cut| *cut != inside_ping) {
            let mut framer = StreamFramer::new();
            framer.push(&stream.as_bytes()[..cut]);
            let mut found = frames(&mut framer);
            framer.push(&stream.as_bytes()[cut..]);
            found.extend(frames(&mut framer));
            assert_eq!(found, expected, "cut at {cut}");
            assert!(!framer.is_waiting());
        }
    }

    #[test]
    fn byte_by_byte() {
        let text = message("body");
        let mut framer = StreamFramer::new();
        for byte in &text.as_bytes()[..text.len() - 1] {
            framer.push(&[*byte]);
            assert_eq!(framer.next(), None);
        }
        assert!(framer.is_waiting());
        framer.push(b"y");
        assert_eq!(frames(&mut framer), [whole(&text)]);
    }

    /// Once a stream is out of step nothing in it can be trusted, however well it looks.
    #[test]
    fn an_error_is_for_ever() {
        let mut framer = StreamFramer::new();
        framer.push(b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: +6\r\n\r\n");
        assert_eq!(
            framer.next(),
            Some(Err(FramingError(ParseError::ContentLength)))
        );
        framer.push(message("").as_bytes());
        assert_eq!(
            framer.next(),
            Some(Err(FramingError(ParseError::ContentLength)))
        );
    }

    #[test]
    fn what_cannot_be_divided_is_refused() {
        let refused = |headers: &str| {
            let mut framer = StreamFramer::new();
            framer.push(format!("OPTIONS sip:a@b SIP/2.0\r\n{headers}\r\n\r\n").as_bytes());
            framer.next().expect("a verdict").expect_err("a refusal").0
        };
        assert_eq!(refused("Via: SIP/2.0/TCP c"), ParseError::NoContentLength);
        assert_eq!(
            refused("l: 5\r\nContent-Length: 6"),
            ParseError::ContentLength
        );
        assert_eq!(refused("l: 5, 5"), ParseError::ContentLength);
        assert_eq!(refused("l: -1"), ParseError::ContentLength);
        assert_eq!(refused("l: 4294967297"), ParseError::TooLarge);
        assert_eq!(refused("l: 65535"), ParseError::TooLarge);
        assert_eq!(refused("l: 0\rl: 7"), ParseError::LineEnd);
        assert_eq!(refused("l: 0\nl: 7"), ParseError::LineEnd);
        assert_eq!(refused("l: 0\r\nno colon"), ParseError::HeaderName);
    }

    /// A head without end costs a bounded number of bytes.
    #[test]
    fn an_endless_head_is_refused() {
        let mut framer = StreamFramer::new();
        framer.push(b"OPTIONS sip:a@b SIP/2.0\r\n");
        let pushes = (0..).take_while(|_| {
            framer.push(&b"X: 0123456789012345678901234567890123456789\r\n".repeat(20));
            framer.next().is_none()
        });
        assert!(pushes.count() < 60);
        assert_eq!(framer.next(), Some(Err(FramingError(ParseError::TooLarge))));
    }
}
