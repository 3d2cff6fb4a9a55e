//! The registrar for desk telephones (RFC 3261 §10, RFC 5626, RFC 7616, RFC 8760): who is where, and the calls to and
//! from there.
//!
//! Each telephone has credentials of its own, which its configuration file brings; the directory says whether they still
//! hold, and a binding counts only as long as they are the ones that it was made with. A telephone that nobody has
//! activated registers as `act-` and its MAC address, by a password that all of those share, and reaches nothing but its
//! activation.
//!
//! Bindings are not stored. After a restart the streams that they named are gone in any case, and whoever had one connects
//! and registers anew by itself; on datagrams a telephone comes back within the interval that it was granted, which is
//! short for that reason.

mod bindings;
mod contact;
mod lockout;
mod prove;
mod register;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

pub(super) use self::bindings::{Binding, Reach, Who};

use self::bindings::{Bindings, Registered};
use self::lockout::Lockout;
use super::Calls;
use crate::directory::{Directory, Phone, Secret, bootstrap_mac};
use crate::sip::auth::Algorithm;
use crate::sip::{Message, Source, Uri};

/// Wrong credentials from one source that have it ignored for a while.
const WRONG_OF_A_SOURCE: u32 = 30;
/// The same for one name.
const WRONG_OF_A_USER: u32 = 10;

/// How telephones may register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrarConfig {
    /// Whether they may at all.
    pub enabled: bool,
    /// Telephones at once; one more is refused with 503.
    pub max_phones: usize,
    /// The same of those that nobody has activated.
    pub max_bootstraps: usize,
    /// The shortest interval that is granted; a shorter one is refused with 423.
    pub min_expires: Duration,
    /// The longest interval that is granted, and the usual one.
    pub max_expires: Duration,
    /// The longest interval on a path that closes when nothing passes, unless the telephone keeps it open by itself.
    pub path_expires: Duration,
    /// Whether they are asked for SHA-256 before MD5 (RFC 8760 §2.3). libre 1, and who else reads RFC 3261 like it, gives up
    /// on a challenge in an algorithm that it does not know.
    pub sha256: bool,
    /// By which telephones register that nobody has activated; none keeps them out.
    pub bootstrap_password: Option<Secret>,
}

impl RegistrarConfig {
    /// What telephones are asked for.
    pub(super) fn algorithms(&self) -> &'static [Algorithm] {
        match self.sha256 {
            true => &[Algorithm::SHA256, Algorithm::MD5],
            false => &[Algorithm::MD5],
        }
    }
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_phones: 50_000,
            max_bootstraps: 2_000,
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(600),
            path_expires: Duration::from_secs(120),
            sha256: false,
            bootstrap_password: None,
        }
    }
}

/// A registered telephone as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneView {
    /// The name that it registers by.
    pub auth_user: String,
    /// Which one it is; none of one that nobody has activated.
    pub device: Option<Uuid>,
    /// Where its packets come from.
    pub address: IpAddr,
    /// `udp`, `tcp` or `tls`.
    pub transport: &'static str,
    /// What it says that it is.
    pub user_agent: String,
    /// Until the last of its bindings expires.
    pub expires_in: Duration,
}

/// Who is registered, and who guesses.
#[derive(Debug)]
pub(super) struct Registrar {
    bindings: Bindings,
    sources: Lockout<IpAddr>,
    users: Lockout<Arc<str>>,
    registers: u64,
}

impl Default for Registrar {
    fn default() -> Self {
        Self {
            bindings: Bindings::default(),
            sources: Lockout::new(WRONG_OF_A_SOURCE),
            users: Lockout::new(WRONG_OF_A_USER),
            registers: 0,
        }
    }
}

impl Registrar {
    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.bindings.deadline()
    }

    /// Where an active telephone can be called, in the order of trial. What was registered with other credentials than
    /// those that it has now does not count.
    pub fn reaches(&self, phone: &Phone) -> Vec<Reach> {
        let registered = self.bindings.get(&phone.auth_user);
        let current = registered.filter(|of| phone.active && of.is_current(phone));
        let bindings = current.into_iter().flat_map(Registered::in_order);
        bindings.map(|binding| binding.reach.clone()).collect()
    }

    /// Whoever last registered by this name, with credentials that may hold no longer.
    pub fn last_known(&self, user: &str) -> Option<(&Who, &Binding)> {
        let registered = self.bindings.get(user)?;
        let binding = registered.in_order().into_iter().next()?;
        Some((&registered.who, binding))
    }

    /// Forgets somebody.
    pub fn remove(&mut self, user: &str) {
        self.bindings.remove(user);
    }

    /// Whether somebody has registered from there.
    pub fn knows(&self, source: &Source) -> bool {
        self.bindings.has_origin(source)
    }

    /// Everybody.
    fn views(&self, now: Instant) -> impl Iterator<Item = PhoneView> {
        let all = self.bindings.all();
        all.filter_map(move |(name, of)| of.view(name, now))
    }
}

impl Registered {
    fn view(&self, name: &str, now: Instant) -> Option<PhoneView> {
        let first = self.in_order().into_iter().next()?;
        let last = self.bindings.iter().map(|b| b.expires).max()?;
        Some(PhoneView {
            auth_user: name.to_owned(),
            device: match &self.who {
                Who::Phone(phone) => Some(phone.device),
                Who::Bootstrap(_) => None,
            },
            address: first.reach.remote.ip(),
            transport: first.reach.transport.parameter(),
            user_agent: self.user_agent.to_string(),
            expires_in: last.saturating_duration_since(now),
        })
    }

    /// Whether the directory still has the telephone as it registered.
    fn is_current(&self, phone: &Phone) -> bool {
        matches!(&self.who, Who::Phone(then) if then.device == phone.device && then.password == phone.password)
    }
}

/// Whom a name means, and the password that proves it.
pub(super) struct Named {
    pub who: Who,
    pub password: Secret,
    /// Whether it may be used at all.
    pub active: bool,
}

impl Named {
    /// Nobody has a name that is no telephone's.
    pub fn find(directory: &Directory, config: &RegistrarConfig, user: &str) -> Option<Self> {
        if let Some(phone) = directory.phone(user) {
            return Some(Self {
                password: phone.password.clone(),
                active: phone.active,
                who: Who::Phone(phone.clone()),
            });
        }
        let mac = bootstrap_mac(user)?;
        Some(Self {
            who: Who::Bootstrap(mac),
            password: config.bootstrap_password.clone()?,
            active: directory.phone_with(&mac).is_none(),
        })
    }
}

/// The name in From, by which telephones say who they are.
pub(super) fn sender(message: &Message) -> Option<String> {
    name(message.from().ok()?.uri)
}

/// The address of record of a REGISTER, by its user part.
pub(super) fn registrant(message: &Message) -> Option<String> {
    name(message.to().ok()?.uri)
}

fn name(uri: &str) -> Option<String> {
    let uri = Uri::parse(uri).ok()?;
    Some(uri.user?.to_ascii_lowercase())
}

impl Calls {
    /// Telephones that are registered, in no order.
    pub fn phones(&self) -> impl Iterator<Item = PhoneView> {
        let core = &self.core;
        core.registrar.views(core.now)
    }

    /// How many are.
    pub fn phones_registered(&self) -> usize {
        self.core.registrar.len()
    }
}
