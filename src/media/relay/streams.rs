use super::counters::Dropped;

/// Synchronisation sources that a peer may have between two exchanges of descriptions. It has one, and another one for
/// each transfer or hold at its far end.
const MOST: usize = 32;

/// The synchronisation sources that a peer was heard with, so that nobody who makes up new ones costs anything for them:
/// neither here nor in the SRTP context of the other leg, which never forgets one.
#[derive(Debug, Default)]
pub(super) struct Streams {
    known: Vec<u32>,
    last: usize,
}

impl Streams {
    /// A valid packet of this source came.
    pub(super) fn admit(&mut self, ssrc: u32) -> Result<(), Dropped> {
        if self.known.get(self.last) == Some(&ssrc) {
            return Ok(());
        }
        self.last = match self.known.iter().position(|known| *known == ssrc) {
            Some(at) => at,
            None if self.known.len() < MOST => {
                self.known.push(ssrc);
                self.known.len() - 1
            }
            None => return Err(Dropped::UnknownStream),
        };
        Ok(())
    }

    /// What comes now was agreed anew.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The thirty-third source is not heard, and those before it still are; what is agreed anew begins anew.
    #[test]
    fn the_number_of_streams_is_bounded() {
        let mut streams = Streams::default();
        for ssrc in 0..MOST as u32 {
            assert_eq!(streams.admit(ssrc), Ok(()));
        }
        for ssrc in MOST as u32..10_000 {
            assert_eq!(streams.admit(ssrc), Err(Dropped::UnknownStream));
        }
        assert_eq!((streams.admit(0), streams.admit(7)), (Ok(()), Ok(())));
        assert_eq!(streams.known.len(), MOST);
        streams.clear();
        assert_eq!(streams.admit(10_000), Ok(()));
    }
}
