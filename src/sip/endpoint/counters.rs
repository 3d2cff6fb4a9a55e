use crate::sip::Method;

/// What the endpoint has done since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// New requests of peers, ACKs among them.
    pub requests_received: ByMethod,
    /// New requests of ours.
    pub requests_sent: ByMethod,
    /// Responses that belong to a request of ours, copies too.
    pub responses_received: ByClass,
    /// Responses of ours but copies.
    pub responses_sent: ByClass,
    /// Requests that came once more.
    pub retransmissions_received: u64,
    /// Requests, responses and ACKs that we sent once more.
    pub retransmissions_sent: u64,
    /// Messages that could not be read.
    pub malformed: u64,
    /// Requests that were refused without asking the transaction user: malformed, merged or a CANCEL of nothing.
    pub refused: u64,
    /// Responses to no request of ours.
    pub unmatched_responses: u64,
    /// ACKs of no response of ours.
    pub unmatched_acks: u64,
    /// Answers of the transaction user that came too late.
    pub late_answers: u64,
    /// Requests that nobody answered in time.
    pub timeouts: u64,
    /// Messages that could not be sent.
    pub transport_failures: u64,
    /// Requests that went on to their next target.
    pub failovers: u64,
    /// Questions to DNS that led nowhere.
    pub unresolvable: u64,
    /// Final responses to INVITEs that nobody acknowledged.
    pub unacknowledged: u64,
    /// Requests refused or not sent because too many transactions were open.
    pub table_full: u64,
    /// 2xx of forks beyond the number that one INVITE may have.
    pub forks_dropped: u64,
}

/// A number for each method.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByMethod([u64; Method::Other as usize + 1]);

impl ByMethod {
    /// How many of this method.
    pub fn of(&self, method: Method) -> u64 {
        self.0[method as usize]
    }

    /// How many of all methods.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn add(&mut self, method: Method) {
        self.0[method as usize] += 1;
    }
}

/// A number for each class of status codes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByClass([u64; 6]);

impl ByClass {
    /// How many of the class 1 (provisional) to 6.
    pub fn of(&self, class: u16) -> u64 {
        self.0
            .get(usize::from(class).wrapping_sub(1))
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn add(&mut self, status: u16) {
        if let Some(number) = self.0.get_mut(usize::from(status / 100).wrapping_sub(1)) {
            *number += 1;
        }
    }
}
