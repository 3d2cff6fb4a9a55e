//! What a registrar's answer says.

use std::time::Duration;

use crate::b2bua::watch::retry_after;
use crate::sip::{Message, Name, NameAddr, Uri};

/// The answer to a REGISTER, or to its absence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The binding stands for so long.
    Granted(Duration),
    /// There is no binding of ours any more.
    Gone,
    /// 401 or 407.
    Challenged,
    /// 423: not for less than so many seconds.
    TooBrief(u32),
    /// No.
    Refused {
        /// Whether trying again soon would be of no use.
        lasting: bool,
        /// In seconds.
        retry_after: Option<u64>,
        /// For people.
        reason: String,
    },
}

/// Longer grants are cut to this, so that a registrar that forgets us is noticed within a day.
const LONGEST: u32 = 86_400;
/// A Min-Expires beyond this is not obeyed.
const LONGEST_MINIMUM: u32 = 86_400;
/// Characters of a reason that are kept.
const MOST_REASON: usize = 120;

impl Answer {
    /// Of a final response to a REGISTER for the Contact with this user part, which asked for so many seconds.
    pub fn of(response: &Message, token: &str, asked: u32) -> Self {
        match response.status() {
            200..=299 if asked == 0 => Self::Gone,
            200..=299 => match granted(response, token, asked) {
                Some(0) => Self::refused(false, None, "the registrar granted no time"),
                Some(seconds) => Self::Granted(Duration::from_secs(seconds.min(LONGEST).into())),
                None => Self::refused(false, None, "the registrar does not name our contact"),
            },
            401 | 407 => Self::Challenged,
            423 => match minimum(response) {
                Some(seconds) if seconds > asked => Self::TooBrief(seconds),
                _ => Self::refused(true, None, "423 without a Min-Expires that we can meet"),
            },
            status => {
                let phrase = String::from_utf8_lossy(response.reason());
                let phrase: String = phrase.chars().take(MOST_REASON).collect();
                Self::refused(
                    is_lasting(status),
                    retry_after(response),
                    &format!("{status} {phrase}"),
                )
            }
        }
    }

    fn refused(lasting: bool, retry_after: Option<u64>, reason: &str) -> Self {
        Self::Refused {
            lasting,
            retry_after,
            reason: reason.to_owned(),
        }
    }
}

/// Whether it is about us, and no passing trouble of the registrar's.
fn is_lasting(status: u16) -> bool {
    !matches!(status, 408 | 430 | 480 | 491 | 500..=599)
}

/// RFC 3261 §10.2.4: the time is that of our own Contact; one without says it by Expires, and one that says nothing
/// grants what was asked for. Many registrars list nothing at all.
fn granted(response: &Message, token: &str, asked: u32) -> Option<u32> {
    let whole = response.header(Name::Expires);
    let whole = whole.and_then(|value| value.number()).unwrap_or(asked);
    let mut listed = false;
    for value in response.values(Name::Contact) {
        listed = true;
        let Ok(contact) = NameAddr::parse(value.bytes()) else {
            continue;
        };
        if Uri::parse(contact.uri).is_ok_and(|uri| uri.user == Some(token)) {
            let own = contact.params.get("expires").flatten();
            return Some(own.and_then(|text| text.parse().ok()).unwrap_or(whole));
        }
    }
    (!listed).then_some(whole)
}

fn minimum(response: &Message) -> Option<u32> {
    let value = response.header(Name::MinExpires)?;
    value.number().filter(|seconds| *seconds <= LONGEST_MINIMUM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn answer(status: u16, headers: &str) -> Answer {
        let text = format!(
            "SIP/2.0 {status} Because\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\n\
             To: <sip:b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        let response = Message::parse_datagram(Bytes::from(text)).unwrap();
        Answer::of(&response, "tok", 3600)
    }

    /// The registrar's word counts, wherever it says it: with our Contact, for all, or not at all. A Contact of somebody
    /// else is not ours.
    #[test]
    fn the_grant_is_that_of_our_contact() {
        for (headers, seconds) in [
            (
                "Contact: <sip:tok@192.0.2.1>;expires=60\r\nExpires: 90\r\n",
                60,
            ),
            (
                "Contact: <sip:x@192.0.2.9>;expires=5, <sip:tok@192.0.2.1>;expires=\"70\"\r\n",
                70,
            ),
            ("Contact: <sip:tok@192.0.2.1>\r\nExpires: 90\r\n", 90),
            ("Contact: <sip:tok@192.0.2.1>;expires=soon\r\n", 3600),
            ("Expires: 100\r\n", 100),
            ("", 3600),
            (
                "Contact: <sip:tok@192.0.2.1>;expires=4000000000\r\n",
                86_400,
            ),
        ] {
            let granted = Answer::Granted(Duration::from_secs(seconds));
            assert_eq!(answer(200, headers), granted, "{headers}");
        }
        for headers in [
            "Contact: <sip:tok@192.0.2.1>;expires=0\r\n",
            "Contact: <sip:other@192.0.2.1>;expires=60\r\n",
            "Contact: <sip:TOK@192.0.2.1>;expires=60\r\n",
        ] {
            let refused = matches!(answer(200, headers), Answer::Refused { lasting: false, .. });
            assert!(refused, "{headers}");
        }
    }

    /// A 423 is obeyed if it says something that can be obeyed.
    #[test]
    fn a_minimum_is_taken_if_it_can_be() {
        assert_eq!(answer(423, "Min-Expires: 7200\r\n"), Answer::TooBrief(7200));
        for headers in ["", "Min-Expires: 60\r\n", "Min-Expires: 99999999\r\n"] {
            let refused = matches!(answer(423, headers), Answer::Refused { lasting: true, .. });
            assert!(refused, "{headers}");
        }
    }

    /// Trouble passes, a refusal lasts.
    #[test]
    fn trouble_is_told_from_refusal() {
        for (status, headers, lasting, retry_after) in [
            (403, "", true, None),
            (404, "", true, None),
            (603, "", true, None),
            (302, "", true, None),
            (500, "", false, None),
            (503, "Retry-After: 120\r\n", false, Some(120)),
            (480, "", false, None),
        ] {
            let expected = Answer::Refused {
                lasting,
                retry_after,
                reason: format!("{status} Because"),
            };
            assert_eq!(answer(status, headers), expected);
        }
        assert_eq!(answer(401, ""), Answer::Challenged);
    }
}
