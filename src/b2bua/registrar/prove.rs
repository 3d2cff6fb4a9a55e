//! Who sends a request in the name of a telephone, by its credentials (RFC 3261 §22). Whoever guesses is not listened to for
//! a while; who has registered from the same address is, so that a stranger cannot keep it out.

use tracing::info;

use super::Named;
use super::bindings::{Registered, Who};
use super::lockout::subscriber;
use crate::b2bua::{Calls, Report};
use crate::base::Redact;
use crate::sip::auth::AuthFailure;
use crate::sip::{Message, Name, Source};

/// Why a request is not believed to come from a telephone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::b2bua) enum Unproven {
    /// Its credentials are missing or wrong.
    #[error("{0}")]
    Failed(AuthFailure),
    /// They are right, and hold no longer.
    #[error("the telephone is not active")]
    Inactive,
    /// There were too many wrong ones.
    #[error("too many wrong credentials")]
    Locked,
}

impl Unproven {
    /// What to challenge it for, where other credentials may still do.
    pub fn asks_again(self) -> Option<AuthFailure> {
        match self {
            Self::Failed(failure @ (AuthFailure::Missing | AuthFailure::Stale)) => Some(failure),
            _ => None,
        }
    }

    /// As the status of a call says it: whoever guesses learns no more than that it was wrong.
    pub fn told(self) -> AuthFailure {
        match self {
            Self::Failed(failure) => failure,
            Self::Inactive | Self::Locked => AuthFailure::Wrong,
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Failed(AuthFailure::Missing) => "challenged",
            Self::Failed(AuthFailure::Stale) => "stale",
            Self::Failed(AuthFailure::Malformed) => "malformed",
            Self::Failed(AuthFailure::Wrong) => "wrong_credentials",
            Self::Inactive => "inactive",
            Self::Locked => "locked",
        }
    }
}

impl Calls {
    /// Who sends a request in the name of `user`; its credentials are in the header of this name.
    pub(in crate::b2bua) fn prove(
        &mut self,
        user: &str,
        header: Name,
        message: &Message,
        source: &Source,
    ) -> Result<Who, Unproven> {
        let core = &mut self.core;
        let (now, address) = (core.now, subscriber(source.remote.ip()));
        let registrar = &mut core.registrar;
        let is_here = |of: &Registered| {
            let mut addresses = of.bindings.iter().map(|b| b.reach.remote.ip());
            addresses.any(|address| address == source.remote.ip())
        };
        let is_known = registrar.bindings.get(user).is_some_and(is_here);
        if !is_known
            && (registrar.sources.is_locked(&address, now)
                || registrar.users.is_locked(&user.into(), now))
        {
            return Err(Unproven::Locked);
        }
        let named = Named::find(&core.directory, &core.config.registrar, user);
        let password = |name: &str| {
            let named = named.as_ref()?;
            let own = name.eq_ignore_ascii_case(user);
            own.then(|| named.password.expose().to_owned())
        };
        match core.challenger.check_in(header, message, password, now) {
            Ok(_) => registrar.users.right(&user.into()),
            Err(failure) => {
                if failure == AuthFailure::Wrong {
                    self.guessed(user, source);
                }
                return Err(Unproven::Failed(failure));
            }
        }
        match named {
            Some(named) if named.active => Ok(named.who),
            Some(_) => Err(Unproven::Inactive),
            None => Err(Unproven::Failed(AuthFailure::Wrong)),
        }
    }

    /// Counts wrong credentials against where they come from, and whose they should be.
    fn guessed(&mut self, user: &str, source: &Source) {
        let core = &mut self.core;
        let address = subscriber(source.remote.ip());
        let source_locked = core.registrar.sources.wrong(&address, core.now);
        let user_locked = core.registrar.users.wrong(&user.into(), core.now);
        if source_locked || user_locked {
            info!(from = %source.remote, user = %Redact(user), "too many wrong credentials");
            let outcome = "lockout";
            core.report(Report::Register { outcome });
        }
    }
}
