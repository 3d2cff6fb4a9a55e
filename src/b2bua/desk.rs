//! Calls that desk telephones make: each INVITE proves by digest which telephone sends it (RFC 3261 §22.3).
//!
//! A telephone is known by the flow that it registered on, before any trunk is by its address: the office's exchange may
//! sit behind the same address. It says who it is in From, and is believed when it knows the password.

use std::sync::Arc;

use bytes::Bytes;

use super::leg::{PHONES, Peer};
use super::refusal::Refusal;
use super::registrar::{self, Named, Reach, Who};
use super::{Calls, Report};
use crate::directory::{Mac, Phone};
use crate::sip::auth::AuthFailure;
use crate::sip::{Message, Name, ServerKey, Source};

/// Who sends an INVITE, as far as telephones go.
pub(super) enum Sender {
    /// Somebody else.
    NoPhone,
    /// It was asked for credentials, and may come again.
    Asked,
    /// This one, proven.
    Phone(Arc<Phone>),
    /// This one, which nobody has activated.
    Bootstrap(Mac),
}

impl Calls {
    /// Whether a telephone sends this INVITE, and which.
    pub(super) fn sender(
        &mut self,
        key: ServerKey,
        message: &Message,
        source: &Source,
        local_tag: &str,
    ) -> Result<Sender, Refusal> {
        let core = &mut self.core;
        let Some(user) = registrar::sender(message).filter(|_| core.config.registrar.enabled)
        else {
            return Ok(Sender::NoPhone);
        };
        let is_foreign = core.origin(message, source).is_err();
        let from_phone = core.registrar.knows(source) || is_foreign;
        let named = || Named::find(&core.directory, &core.config.registrar, &user).is_some();
        if !from_phone || !named() {
            return Ok(Sender::NoPhone);
        }
        let unproven = match self.prove(&user, Name::ProxyAuthorization, message, source) {
            Ok(Who::Phone(phone)) => return Ok(Sender::Phone(phone)),
            Ok(Who::Bootstrap(mac)) => return Ok(Sender::Bootstrap(mac)),
            Err(unproven) => unproven,
        };
        self.core.report(Report::Unproven {
            trunk: PHONES.to_owned(),
            reason: unproven.label(),
        });
        match unproven.asks_again() {
            Some(failure) => {
                self.ask_proxy(key, message, local_tag, failure);
                Ok(Sender::Asked)
            }
            None => Err(Refusal::Unproven(unproven.told())),
        }
    }

    fn ask_proxy(
        &mut self,
        key: ServerKey,
        message: &Message,
        local_tag: &str,
        failure: AuthFailure,
    ) {
        let core = &mut self.core;
        let mut draft = core.response(message, 407, false);
        draft.to_tag(local_tag);
        let algorithms = core.config.registrar.algorithms();
        for challenge in core.challenger.challenge_in(algorithms, failure, core.now) {
            draft.header(Name::ProxyAuthenticate, challenge);
        }
        core.endpoint.respond(key, draft, core.now);
    }

    /// A telephone as the peer of a leg that it opens.
    pub(super) fn at(&self, phone: &Arc<Phone>, source: &Source) -> Peer {
        let profile = self.core.config.phone_profile.clone();
        Peer::Phone(phone.clone(), profile, Reach::new("", source))
    }

    /// Whether a message of nobody's address is to be read: a telephone may stand anywhere. Where strangers hear nothing,
    /// one has to name a telephone that there is, and to have registered before it calls.
    fn may_be_phone(&self, bytes: &Bytes, source: &Source) -> bool {
        let core = &self.core;
        if !core.config.registrar.enabled {
            return false;
        }
        if core.registrar.knows(source) {
            return true;
        }
        let registers = bytes.starts_with(b"REGISTER ");
        let message = registers
            .then(|| Message::parse(bytes.clone()).ok())
            .flatten();
        let user = message.as_ref().and_then(registrar::registrant);
        user.is_some_and(|user| {
            Named::find(&core.directory, &core.config.registrar, &user).is_some()
        })
    }

    /// Whether a message comes from nobody that we know, and is no call to the Contact of a registration.
    pub(super) fn is_unknown(&self, bytes: &Bytes, source: &Source) -> bool {
        let core = &self.core;
        if core.directory.origin(source).is_ok() || core.standing.is_registrar(source.remote.ip()) {
            return false;
        }
        let user = bytes.strip_prefix(b"INVITE sip:").and_then(|rest| {
            let end = rest.iter().position(|byte| *byte == b'@')?;
            str::from_utf8(&rest[..end]).ok()
        });
        let is_line = user.is_some_and(|user| core.directory.registration_of_token(user).is_some());
        !is_line && !self.may_be_phone(bytes, source)
    }
}
