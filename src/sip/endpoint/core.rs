use std::collections::VecDeque;

use bytes::Bytes;

use super::deadlines::Deadlines;
use super::{Config, Counters, Event, Output, SentBy};
use crate::base::Random;
use crate::sip::transport::LARGEST_DATAGRAM;
use crate::sip::{Builder, SendId, SendTo, Transport};

/// As long as any branch of ours.
const LONGEST_BRANCH: &str = "z9hG4bK----------------";

/// What the server and the client side share.
pub(super) struct Core {
    pub config: Config,
    pub sent_by: SentBy,
    pub random: Random,
    pub counters: Counters,
    pub deadlines: Deadlines,
    /// Each call of the endpoint adds few; the caller empties it after each.
    pub out: VecDeque<Output>,
    numbers: u64,
}

impl Core {
    pub fn new(config: Config, sent_by: SentBy, random: Random) -> Self {
        let (counters, deadlines, out) =
            (Counters::default(), Deadlines::default(), VecDeque::new());
        Self {
            config,
            sent_by,
            random,
            counters,
            deadlines,
            out,
            numbers: 0,
        }
    }

    /// A number that nothing else in this endpoint has: transactions, requests and questions share them, so that a
    /// [`SendId`] names its transaction. 0 is nobody's.
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Whether a request is too large for a datagram, with a Via as ours are.
    pub fn is_large(&self, draft: &Builder) -> bool {
        let via = self.sent_by.via(Transport::Udp, LONGEST_BRANCH);
        draft.finish(Some(&via)).bytes().len() > LARGEST_DATAGRAM
    }

    pub fn send(&mut self, number: u64, to: SendTo, bytes: Bytes) {
        self.out.push_back(Output::Send {
            id: SendId(number),
            to,
            bytes,
        });
    }

    pub fn report(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }
}
