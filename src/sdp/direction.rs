use std::fmt;

/// RFC 8866 §6.7, as seen by the one who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Wants to send and to receive; meant where nothing is written.
    #[default]
    SendRecv,
    /// Wants to send only: the other side is on hold.
    SendOnly,
    /// Wants to receive only.
    RecvOnly,
    /// Neither: the only hold that Teams understands (TDR-601).
    Inactive,
}

impl Direction {
    /// Sending and receiving, put together.
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether the writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same stream as the other side would write it.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What is left of this wish where `other` sets the limit.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::new(
            self.sends() && other.sends(),
            self.receives() && other.receives(),
        )
    }

    /// What may be answered to `offer` by someone who wishes this (RFC 3264 §6.1): we send only if the offerer
    /// receives, and receive only if it sends.
    #[must_use]
    pub fn answering(self, offer: Self) -> Self {
        self.and(offer.reversed())
    }

    /// The attribute's name.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The direction that an attribute of this name sets, if it is one of the four.
    pub fn from_attribute(name: &[u8]) -> Option<Self> {
        [
            Self::SendRecv,
            Self::SendOnly,
            Self::RecvOnly,
            Self::Inactive,
        ]
        .into_iter()
        .find(|direction| direction.attribute().as_bytes() == name)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.attribute())
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{Inactive, RecvOnly, SendOnly, SendRecv};

    /// The table of RFC 3264 §6.1: whoever wishes everything gets what the offer leaves.
    #[test]
    fn an_answer_never_says_more_than_the_offer_allows() {
        for (offer, answer) in [
            (SendRecv, SendRecv),
            (SendOnly, RecvOnly),
            (RecvOnly, SendOnly),
            (Inactive, Inactive),
        ] {
            assert_eq!(SendRecv.answering(offer), answer);
            assert_eq!(Inactive.answering(offer), Inactive);
        }
        assert_eq!(SendOnly.answering(SendOnly), Inactive);
        assert_eq!(RecvOnly.answering(SendRecv), RecvOnly);
    }
}
