//! Users of customers' exchanges, in whose names we register there and make their calls.

use super::pbx_kind::PbxKind;
use super::{Auth, Number, NumberFormat, Profile, Role, Secret, Trunk, TrunkState};
use crate::sip::{Hop, Transport};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A customer's exchange that has users of its own, as a phone sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pbx {
    /// Never used again.
    pub id: Uuid,
    /// For people, metrics and records.
    pub name: String,
    /// How it differs from others.
    pub kind: PbxKind,
    /// What stands behind the `@` of its users' addresses.
    pub domain: String,
    /// Whom a REGISTER is addressed to; mostly the same.
    pub registrar: String,
    /// Where requests go, before DNS.
    pub hop: Hop,
    /// Seconds that a registration is to last.
    pub expires_s: u32,
    /// On UDP, how often an empty datagram keeps the way to us open (RFC 5626 §4.4.1); none never does.
    pub keep_alive: Option<Duration>,
    /// Addresses that may bring calls besides the one where a registration stands, as the nodes of a cluster do.
    pub acl: Vec<IpNet>,
    /// What its legs are like.
    pub profile: Profile,
}

/// In whose name a registration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registrant {
    /// One user of an exchange: its calls are that user's.
    User,
    /// A trunk: its calls are those of all numbers that the peer sends here.
    Trunk,
}

/// One user of such an exchange, or a trunk whose peer wants to be told where we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Never used again.
    pub id: Uuid,
    /// In whose name.
    pub registrant: Registrant,
    /// Whose; none of a trunk that all customers share.
    pub customer: Option<Uuid>,
    /// The numbers at Teams of whom it stands for: calls on the registration reach the first, and calls of any of them go
    /// out by the exchange.
    pub numbers: Box<[Number]>,
    /// The user part of the address-of-record.
    pub username: Box<str>,
    /// The name by which the user proves itself; mostly the same.
    pub auth_name: Box<str>,
    /// What proves it.
    pub password: Secret,
    /// The user part of our Contact: random, unique, and the same after a restart, so that a binding that the exchange
    /// still has is replaced and not joined by another. Whoever calls it means this registration, which is what a GRUU
    /// (RFC 5627) would be for.
    pub token: Box<str>,
    /// Where.
    pub pbx: Arc<Pbx>,
}

impl Registration {
    /// `sip:user@domain`.
    pub fn aor(&self) -> String {
        format!("sip:{}@{}", self.username, bracketed(&self.pbx.domain))
    }

    /// What carries its requests where DNS does not say otherwise.
    pub fn transport(&self) -> Transport {
        self.pbx.hop.transport.unwrap_or(Transport::Udp)
    }

    /// The registration of a trunk whose peer wants one.
    pub(super) fn of_trunk(trunk: &Trunk) -> Option<Self> {
        if trunk.auth != Auth::Register {
            return None;
        }
        let auth_name = trunk.username.as_deref()?;
        let profile = &trunk.profile;
        let domain = profile.sip_domain.as_ref().unwrap_or(&trunk.host);
        let pbx = Pbx {
            id: trunk.id,
            name: trunk.name.clone(),
            kind: PbxKind::Generic,
            domain: domain.clone(),
            registrar: domain.clone(),
            hop: trunk.hop(),
            expires_s: profile.register_expires_s,
            keep_alive: (trunk.transport == Transport::Udp).then_some(KEEP_ALIVE),
            acl: trunk.acl.clone(),
            profile: profile.clone(),
        };
        Some(Self {
            id: trunk.id,
            registrant: Registrant::Trunk,
            customer: trunk.customer,
            numbers: Box::default(),
            username: profile.main_line.as_deref().unwrap_or(auth_name).into(),
            auth_name: auth_name.into(),
            password: trunk.password.clone()?,
            token: format!("t{}", trunk.id.simple()).into(),
            pbx: Arc::new(pbx),
        })
    }

    /// The exchange as calls of this user see it: a trunk that these addresses may send from. Channels are counted by
    /// exchange.
    pub fn trunk(self: &Arc<Self>, from: impl IntoIterator<Item = IpAddr>) -> Trunk {
        let pbx = &self.pbx;
        let from = from.into_iter().map(|ip| IpNet::from(ip.to_canonical()));
        Trunk {
            id: pbx.id,
            customer: self.customer,
            name: pbx.name.clone(),
            role: Role::Pbx,
            transport: self.transport(),
            host: pbx.hop.host.clone(),
            port: pbx.hop.port,
            auth: Auth::IpAcl,
            username: Some(self.auth_name.to_string()),
            password: Some(self.password.clone()),
            acl: from.chain(pbx.acl.iter().copied()).collect(),
            cac_max_sessions: None,
            number_format: NumberFormat::E164,
            options_ping: None,
            priority: 0,
            weight: 1,
            state: TrunkState::InService,
            profile: pbx.profile.clone(),
            line: Some(Arc::clone(self)),
        }
    }

    /// Whether what the exchange knows of the other is what it would know of this one.
    pub fn is_same_binding(&self, other: &Self) -> bool {
        let place = |r: &Self| {
            let pbx = &r.pbx;
            (
                pbx.domain.clone(),
                pbx.registrar.clone(),
                pbx.hop.clone(),
                r.username.clone(),
                r.token.clone(),
            )
        };
        place(self) == place(other)
    }

    /// Whether the other proves itself in the same way.
    pub fn has_same_credentials(&self, other: &Self) -> bool {
        self.auth_name == other.auth_name && self.password == other.password
    }
}

/// How often the way to us is kept open where a trunk registers by UDP: NATs forget within half a minute (RFC 5626 §4.4.1).
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// A host as it stands in a URI.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{customer, registration};
    use super::*;

    /// A leg of a user is a leg to its exchange: with the user's credentials, and from nowhere but where it is registered
    /// and what the exchange's list names.
    #[test]
    fn a_registration_is_a_trunk_of_one_user() {
        let mut line = registration("1001", &customer("acme"), &["+14255550100"]);
        let pbx = Arc::make_mut(&mut line.pbx);
        pbx.acl = vec!["203.0.113.0/24".parse().unwrap()];
        let line = Arc::new(line);
        let trunk = line.trunk(["198.51.100.9".parse().unwrap()]);
        let acl: Vec<_> = trunk.acl.iter().map(ToString::to_string).collect();
        assert_eq!(acl, ["198.51.100.9/32", "203.0.113.0/24"]);
        assert_eq!(trunk.username.as_deref(), Some("auth-1001"));
        assert_eq!((trunk.id, trunk.role), (line.pbx.id, Role::Pbx));
        assert_eq!(line.aor(), "sip:1001@pbx.example");
        assert!(!format!("{line:?}").contains("s3same"));
    }

    /// A trunk that registers does so as its main line, at its own place, with its own proof; others do not.
    #[test]
    fn a_trunk_registers_as_its_main_line() {
        let mut trunk = super::super::examples::trunk("carrier", None);
        trunk.username = Some("account-7".into());
        trunk.password = Some(Secret::new("s3same"));
        assert_eq!(Registration::of_trunk(&trunk), None);
        trunk.auth = Auth::Register;
        let line = Registration::of_trunk(&trunk).unwrap();
        assert_eq!(line.aor(), "sip:account-7@carrier.example");
        trunk.profile.main_line = Some("+4930123450".into());
        trunk.profile.sip_domain = Some("tel.example".into());
        let line = Registration::of_trunk(&trunk).unwrap();
        assert_eq!(line.aor(), "sip:+4930123450@tel.example");
        assert_eq!(line.pbx.hop, trunk.hop());
        assert_eq!((&*line.auth_name, line.id), ("account-7", trunk.id));
    }

    /// A new password needs no new binding; another name or place does.
    #[test]
    fn what_the_exchange_knows_decides_about_a_new_binding() {
        let line = registration("1001", &customer("acme"), &[]);
        let other = Registration {
            password: Secret::new("another"),
            ..line.clone()
        };
        assert!(line.is_same_binding(&other) && !line.has_same_credentials(&other));
        let other = Registration {
            username: "1002".into(),
            ..line.clone()
        };
        assert!(!line.is_same_binding(&other) && line.has_same_credentials(&other));
        let mut other = line.clone();
        Arc::make_mut(&mut other.pbx).hop.port = Some(5070);
        assert!(!line.is_same_binding(&other));
    }
}
