//! What crosses from one leg's INVITE to the other's: one table. A header that it does not name stays behind.
//!
//! | header | crosses |
//! |---|---|
//! | P-Asserted-Identity | as the peer's profile has it: dropped, as it came, or as one value of ours (RFC 3325, TDR-305, TDR-410) |
//! | Privacy | whole to peers that are trusted with identities; to others only what is not done already by what they do not get (RFC 3323 §5) |
//! | History-Info, Diversion | to peers that want call history, in the form they want, with our host in the URIs (TDR-306, TDR-307, TDR-419); see `history` |
//! | Geolocation, Geolocation-Routing | to trunks that take locations, together with the PIDF-LO (TDR-1003); see `body` |
//! | Subject, Priority | as they came |
//! | Reason of BYE and CANCEL | as it came (RFC 3326) |
//!
//! From, To, Call-ID, CSeq, Via, Contact, Max-Forwards, Allow, Supported, Require, Session-Expires, User-Agent and the
//! description are our own on every leg; From shows the caller as `identity` allows. Nothing that starts with `X-MS-` or
//! `Ms-` crosses (TDR-311). Nothing at all crosses into an INVITE that a REFER asks for, which is nobody's original one.

use bytes::Bytes;

use super::history;
use super::identity::{ANONYMOUS, Caller, Shown};
use super::leg::Peer;
use crate::directory::{AssertedIdentity, CallHistory, Dialled};
use crate::sip::{Builder, Message, Name, NameAddr};

/// What a header of one leg's INVITE needs to cross to the other leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crosses {
    /// Nothing.
    Always,
    /// What the peer's `asserted_identity` says.
    AsIdentity,
    /// The same, token by token.
    AsPrivacy,
    /// What the peer's `call_history` says; both forms are written from what either said.
    AsHistory,
    /// A peer whose profile takes locations.
    AsLocation,
}

const INVITE: &[(Name, Crosses)] = &[
    (Name::PAssertedIdentity, Crosses::AsIdentity),
    (Name::Privacy, Crosses::AsPrivacy),
    (Name::HistoryInfo, Crosses::AsHistory),
    (Name::Diversion, Crosses::AsHistory),
    (Name::Geolocation, Crosses::AsLocation),
    (Name::GeolocationRouting, Crosses::AsLocation),
    (Name::Subject, Crosses::Always),
    (Name::Priority, Crosses::Always),
];

/// An INVITE that came in, on its way to a peer.
pub(super) struct Passage<'a> {
    pub invite: &'a Message,
    pub peer: &'a Peer,
    /// Who sent it.
    pub origin: &'a Peer,
    pub caller: &'a Caller,
    /// The caller's number as the directory read it.
    pub number: &'a str,
    pub called: &'a str,
    pub emergency: bool,
    /// Our name towards the peer, with the port.
    pub host: &'a str,
}

/// Headers that cross, as they are written.
#[derive(Debug, Clone, Default)]
pub(super) struct Crossing(Vec<(Name, Bytes)>);

/// More lines of one INVITE than anyone needs do not cross.
const MAX_LINES: usize = 32;
/// Wishes that are granted by what a peer does not get: its identity, its From, our own Contact and Via, its history.
const GRANTED: [&str; 5] = ["id", "user", "header", "history", "none"];

impl Crossing {
    /// What of this INVITE crosses to the peer.
    pub fn of(passage: &Passage) -> Self {
        let mut lines = Vec::new();
        for (name, crosses) in INVITE {
            match crosses {
                Crosses::Always => passage.copy(*name, &mut lines),
                Crosses::AsIdentity => passage.identity(&mut lines),
                Crosses::AsPrivacy => passage.privacy(&mut lines),
                Crosses::AsHistory => lines.extend(passage.history(*name)),
                Crosses::AsLocation if passage.peer.profile().pidf_lo => {
                    passage.copy(*name, &mut lines);
                }
                Crosses::AsLocation => {}
            }
        }
        lines.truncate(MAX_LINES);
        Self(lines)
    }

    /// Writes them.
    pub fn write(&self, draft: &mut Builder) {
        for (name, value) in &self.0 {
            draft.header(*name, value);
        }
    }
}

impl Passage<'_> {
    /// Whether the peer may know who hides: it is trusted with identities, or is the exchange whose user calls.
    fn is_trusted(&self) -> bool {
        self.peer.profile().asserted_identity != AssertedIdentity::Drop || self.is_own_exchange()
    }

    fn is_own_exchange(&self) -> bool {
        self.peer.trunk().and_then(|trunk| trunk.user()).is_some()
    }

    /// A number as the peer writes it.
    fn written(&self, number: &str) -> String {
        match self.peer.trunk() {
            Some(trunk) => trunk.number_format.write(number),
            None => number.to_owned(),
        }
    }

    /// A number that the origin wrote, in E.164 form if it is a whole one.
    fn read(&self, number: &str) -> String {
        let dialled = Dialled::parse(number);
        let trunk = self.origin.trunk();
        let whole = trunk.and_then(|trunk| trunk.number_format.read(&dialled));
        whole.map_or_else(|| number.to_owned(), |whole| whole.to_string())
    }

    fn copy(&self, name: Name, lines: &mut Vec<(Name, Bytes)>) {
        let values = self.invite.headers(name);
        lines.extend(values.map(|value| (name, Bytes::copy_from_slice(value.bytes()))));
    }

    fn identity(&self, lines: &mut Vec<(Name, Bytes)>) {
        match self.peer.profile().asserted_identity {
            AssertedIdentity::Drop => {}
            AssertedIdentity::Pass => self.copy(Name::PAssertedIdentity, lines),
            AssertedIdentity::Rewrite if self.number == ANONYMOUS => {}
            AssertedIdentity::Rewrite => {
                let user = super::core::escape(&self.written(self.number));
                let value = format!("<sip:{user}@{};user=phone>", self.host);
                lines.push((Name::PAssertedIdentity, value.into()));
            }
        }
    }

    fn privacy(&self, lines: &mut Vec<(Name, Bytes)>) {
        // Who calls an emergency number is known there.
        if self.emergency {
            return;
        }
        if self.is_trusted() {
            self.copy(Name::Privacy, lines);
            let ours = self.peer.profile().asserted_identity == AssertedIdentity::Rewrite
                || self.is_own_exchange();
            if ours
                && self.caller.shown == Shown::Nothing
                && self.invite.header(Name::Privacy).is_none()
            {
                // The number in our P-Asserted-Identity, or the user in our From, is one that the caller's From does not
                // show.
                lines.push((Name::Privacy, Bytes::from_static(b"id")));
            }
            return;
        }
        let text = self.invite.headers(Name::Privacy).map(|v| v.to_string());
        let text: Vec<String> = text.collect();
        let tokens = text.iter().flat_map(|line| line.split([';', ',']));
        let left: Vec<&str> = tokens
            .map(str::trim)
            .filter(|token| !token.is_empty())
            .filter(|token| !GRANTED.iter().any(|done| token.eq_ignore_ascii_case(done)))
            .collect();
        // `critical` only says that the rest has to be granted.
        if left
            .iter()
            .any(|token| !token.eq_ignore_ascii_case("critical"))
        {
            lines.push((Name::Privacy, left.join(";").into()));
        }
    }

    /// The lines of this name. Who asked not to be named is not, to a peer that is not trusted.
    fn history(&self, name: Name) -> impl Iterator<Item = (Name, Bytes)> {
        let form = self.peer.profile().call_history;
        let mut diversions = match form {
            CallHistory::Drop => Vec::new(),
            _ => history::of(self.invite),
        };
        for diversion in &mut diversions {
            diversion.user = self.read(&diversion.user);
        }
        if !self.is_trusted() {
            diversions.retain(|diversion| !diversion.private);
        }
        let number = |number: &str| self.written(number);
        let lines = history::write(&diversions, form, self.host, self.called, number);
        lines.into_iter().filter(move |(found, _)| *found == name)
    }
}

/// The Reason of a BYE or CANCEL, for the other leg's BYE or CANCEL (RFC 3326): Q.850 and SIP reasons cross.
pub(super) fn reason(message: &Message) -> Option<Bytes> {
    let values: Vec<_> = message
        .values(Name::Reason)
        .take(MAX_REASONS)
        .map(|value| value.bytes())
        .collect();
    (!values.is_empty()).then(|| values.join(&b", "[..]).into())
}

/// The cause of a response by ITU-T Q.850 (RFC 6432), if it says one that ends a call.
pub(super) fn q850(message: &Message) -> Option<u8> {
    let values = message.values(Name::Reason);
    let mut causes = values.filter_map(|value| {
        let value = NameAddr::parse(value.bytes()).ok()?;
        let is_q850 = value.uri.eq_ignore_ascii_case("Q.850");
        is_q850.then(|| value.params.get("cause").flatten()?.parse::<u8>().ok())?
    });
    causes.find(|cause| matches!(cause, 1..=15 | 17..=127))
}

/// One of each protocol is all that RFC 3326 §2 allows; there are not many protocols.
const MAX_REASONS: usize = 4;
