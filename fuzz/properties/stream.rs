// What holds for a stream of any bytes, however it is cut into reads. The fuzz target and `tests/it` try it.

use tollgate::sip::Message;
use tollgate::sip::framing::{Frame, FramingError, StreamFramer};

/// The first byte says how long the reads are. Their length must not matter, every message must be one for the
/// parser, and no byte may get lost.
pub fn check(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else {
        return;
    };
    let whole = frames(stream.chunks(stream.len().max(1)));
    let cut = frames(stream.chunks(usize::from(size) + 1));
    assert_eq!(whole, cut, "the frames depend on the reads");
    assert!([stream, END].concat().starts_with(&whole.0.concat()));
}

/// A read of its own at the end: three bytes of a ping may wait for the fourth, or be found to be none.
const END: &[u8] = b"\r\n\r\n";

/// The bytes of every frame, a ping as two pongs since a read may end between them; and the error, if there is one.
fn frames<'a>(reads: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<FramingError>) {
    let mut framer = StreamFramer::new();
    let mut found = Vec::new();
    for read in reads.chain([END]) {
        framer.push(read);
        while let Some(frame) = framer.next() {
            match frame {
                Ok(Frame::Message(bytes)) => {
                    found.push(bytes.to_vec());
                    Message::parse(bytes).expect("a frame is a message");
                }
                Ok(Frame::Ping) => found.extend([b"\r\n".to_vec(), b"\r\n".to_vec()]),
                Ok(Frame::Pong) => found.push(b"\r\n".to_vec()),
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}
