//! Who calls: as the INVITE says it, and what of it a peer may learn (RFC 3323, RFC 3325; TDR-304, TDR-305, TDR-409).
//!
//! From is what people see, P-Asserted-Identity what the caller's network vouches for, Privacy what the caller wants kept
//! from strangers. `id` keeps the asserted identity from a peer that is not trusted with it, `user` the From as well. Teams
//! adds `Privacy: id` to every call with an asserted identity (TDR-305), so `id` alone hides no From.

use bytes::Bytes;

use super::history;
use crate::directory::{AssertedIdentity, Phone, Profile};
use crate::sip::{Message, Name, NameAddr, Uri};

/// Who calls.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// For rules and records: the number, whether or not anybody may see it, or [`ANONYMOUS`].
    pub number: String,
    /// The display name as it came.
    pub display: Option<Bytes>,
    /// What strangers may see.
    pub shown: Shown,
    /// Everybody else whom the INVITE names as being behind it: asserted identities, and who diverted the call.
    pub vouching: Vec<String>,
}

/// What of a caller may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The number.
    All,
    /// The number, to trusted peers only: the caller's own network asks us to hide it.
    ToTrusted,
    /// Nothing: From is anonymous already.
    Nothing,
}

/// The user part that names nobody (RFC 3323 §4.1.1.3).
pub(super) const ANONYMOUS: &str = "anonymous";

impl Caller {
    /// Who sends this INVITE. `asserted` counts before From where the peer's profile says so (TDR-409), and where From
    /// names nobody.
    pub fn of(invite: &Message, profile: Option<&Profile>) -> Result<Self, String> {
        let from = invite.from().map_err(|e| e.to_string())?;
        let display = from.display.map(Bytes::copy_from_slice);
        let number = user(from.uri).filter(|user| !user.eq_ignore_ascii_case(ANONYMOUS));
        let asserted: Vec<String> = invite
            .values(Name::PAssertedIdentity)
            .filter_map(|value| user(NameAddr::parse(value.bytes()).ok()?.uri))
            .filter(|user| is_telephone(user))
            .collect();
        let is_hidden = history::has_privacy(invite, "user");
        let asserted_first = profile.is_some_and(|profile| profile.caller_from_asserted_identity);
        let (shown, display) = match (&number, asserted.first()) {
            (None, _) => (Shown::Nothing, None),
            // The number in its place is one that the caller wants hidden.
            (_, Some(_)) if asserted_first && history::has_privacy(invite, "id") => {
                (Shown::ToTrusted, display)
            }
            _ if is_hidden => (Shown::ToTrusted, display),
            _ => (Shown::All, display),
        };
        let first = asserted.first().cloned();
        let number = match asserted_first {
            true => first.or(number),
            false => number.or(first),
        };
        let mut vouching = asserted;
        vouching.extend(history::of(invite).into_iter().map(|by| by.user));
        Ok(Self {
            number: number.unwrap_or_else(|| ANONYMOUS.to_owned()),
            display,
            shown,
            vouching,
        })
    }

    /// The same as a telephone's: it is who the directory says that it is, whatever it says of itself but that it wants to
    /// be hidden.
    pub fn of_phone(self, phone: &Phone) -> Self {
        let name = &phone.display_name;
        let number = phone.number.map(|number| number.to_string());
        Self {
            number: number.unwrap_or_else(|| phone.extension.to_string()),
            display: (!name.is_empty()).then(|| format!("\"{}\"", quotable(name)).into()),
            vouching: Vec::new(),
            ..self
        }
    }

    /// Whether a peer sees the number in From. In an emergency it does, or nobody could call back (TDR-1007).
    pub fn is_seen_by(&self, profile: &Profile, emergency: bool) -> bool {
        let trusted = profile.asserted_identity != AssertedIdentity::Drop;
        match self.shown {
            Shown::All => true,
            Shown::ToTrusted => trusted || emergency,
            Shown::Nothing => emergency,
        }
    }

    /// The same for a peer of whom nothing is known.
    pub fn is_seen_by_all(&self) -> bool {
        self.shown == Shown::All
    }
}

/// What may stand between quotes (RFC 3261 §25.1).
fn quotable(name: &str) -> String {
    let is_plain = |c: &char| !c.is_control() && !matches!(c, '"' | '\\');
    name.chars().filter(is_plain).collect()
}

fn user(uri: &str) -> Option<String> {
    Uri::parse(uri).ok()?.user.map(str::to_owned)
}

fn is_telephone(user: &str) -> bool {
    let digits = user.strip_prefix('+').unwrap_or(user);
    digits.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(from: &str, headers: &str, profile: Option<&Profile>) -> Caller {
        let text = format!(
            "INVITE sip:b SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\nFrom: {from};tag=1\r\nTo: <sip:b>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        Caller::of(&Message::parse(Bytes::from(text)).unwrap(), profile).unwrap()
    }

    fn trusted() -> Profile {
        Profile {
            asserted_identity: AssertedIdentity::Pass,
            ..Profile::trunk()
        }
    }

    const JANE: &str = "\"Jane\" <sip:+14255550100@a>";
    const NOBODY: &str = "<sip:Anonymous@anonymous.invalid>";
    const ASSERTED: &str = "P-Asserted-Identity: <sip:bob@a>, <tel:+14255550199>\r\n";

    /// TDR-304, TDR-305: who is seen by a peer that is trusted with identities, and by one that is not. The rules know
    /// the number either way.
    #[test]
    fn who_is_seen_by_whom() {
        for (from, headers, number, by_trusted, by_others) in [
            (JANE, "", "+14255550100", true, true),
            (JANE, "Privacy: id\r\n", "+14255550100", true, true),
            (JANE, "Privacy: user;id\r\n", "+14255550100", true, false),
            (NOBODY, ASSERTED, "+14255550199", false, false),
            (NOBODY, "", ANONYMOUS, false, false),
        ] {
            let caller = caller(from, headers, None);
            assert_eq!(caller.number, number);
            let seen = |profile, emergency| caller.is_seen_by(&profile, emergency);
            assert_eq!(seen(trusted(), false), by_trusted, "{from} {headers}");
            assert_eq!(seen(Profile::trunk(), false), by_others, "{from} {headers}");
            assert_eq!(caller.is_seen_by_all(), by_others);
            assert!(seen(Profile::trunk(), true), "in an emergency");
        }
    }

    /// TDR-409: a carrier that puts the true caller into P-Asserted-Identity only; with `Privacy: id` it stays hidden.
    #[test]
    fn the_asserted_identity_may_be_the_caller() {
        let profile = Profile {
            caller_from_asserted_identity: true,
            ..Profile::trunk()
        };
        let shown = caller(JANE, ASSERTED, Some(&profile));
        assert_eq!(shown.number, "+14255550199");
        assert!(shown.is_seen_by_all());
        let hidden = format!("{ASSERTED}Privacy: id\r\n");
        let hidden = caller(JANE, &hidden, Some(&profile));
        assert_eq!(hidden.number, "+14255550199");
        assert!(!hidden.is_seen_by_all());
        assert_eq!(caller(JANE, "", Some(&profile)).number, "+14255550100");
        assert_eq!(caller(JANE, ASSERTED, None).number, "+14255550100");
    }
}
