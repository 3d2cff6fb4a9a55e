//! Where a Refer-To leads: what may be reached by a REFER, and nothing else.

use std::sync::Arc;

use super::super::call::{Attempt, Call};
use super::super::core::Core;
use super::super::leg::{Leg, Peer};
use super::super::replaces::Replaces;
use super::super::setup;
use crate::directory::{Attempt as Request, Gateway, Origin, Route, Trunk, TrunkState};
use crate::sip::{Hop, Message, Name, NameAddr, Realm, Transport, Uri};

/// Where a Refer-To leads.
pub(super) enum Target {
    /// Another INVITE.
    Call(Wanted),
    /// The party at the far end of the dialog of ours that this Replaces names.
    Party(String),
}

/// Whom a REFER wants to be called.
pub(super) struct Wanted {
    pub called: String,
    pub party: Option<String>,
    /// The Request-URI, if it is not made from the number.
    pub uri: Option<String>,
    pub replaces: Option<String>,
    pub attempts: Vec<Attempt>,
}

impl Call {
    /// Decides where a Refer-To leads, or with what status it is refused.
    pub(super) fn target(&self, core: &Core, leg: &Leg, message: &Message) -> Result<Target, u16> {
        let mut values = message.values(Name::ReferTo);
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(400);
        };
        let refer_to = NameAddr::parse(value.bytes()).map_err(|_| 400u16)?;
        let uri = Uri::parse(refer_to.uri).map_err(|_| 400u16)?;
        if !uri.is_sip() {
            return Err(400);
        }
        if let Some(replaces) = uri.headers.and_then(replaces) {
            let named = Replaces::parse(&replaces).ok_or(400u16)?;
            let is_ours = core.dialogs.contains_key(named.local_tag);
            let Some(trunk) = self.own_trunk(leg).filter(|_| !is_ours) else {
                return Ok(Target::Party(replaces));
            };
            let called = uri.user.ok_or(404u16)?.to_owned();
            // A dialog between two parties of the PBX: the PBX itself makes one of the three.
            return Ok(Target::Call(Wanted {
                party: Some(called.clone()),
                called,
                uri: None,
                attempts: setup::attempts(core, &[Route::Trunk(trunk.clone())]).into(),
                replaces: Some(replaces),
            }));
        }
        if let (Peer::Teams(gateway, _), true) = (&leg.peer, is_microsoft(core, uri.host)) {
            return Ok(Target::Call(back_to_teams(
                core,
                gateway,
                refer_to.uri,
                &uri,
            )));
        }
        let mut called = uri.user.ok_or(404u16)?.to_owned();
        let (origin, own) = match &leg.peer {
            // Only this customer's own names: another's would be another's trunk (TDR-1212).
            Peer::Teams(..) => (
                Origin::Teams,
                core.directory
                    .gateway(uri.host)
                    .is_some_and(|g| g.customer == self.customer.id),
            ),
            Peer::Trunk(trunk) => (Origin::Trunk(trunk.clone()), true),
            Peer::Phone(phone, ..) => (Origin::Phone(phone.clone()), true),
        };
        if !own {
            return Err(403);
        }
        // In the name of who is handed on; Microsoft's rules are about who hands on.
        let caller = self.partner(leg.id).filter(|_| !leg.peer.is_teams());
        let caller = caller.and_then(|stays| self.leg(stays)).unwrap_or(leg);
        let request = Request {
            origin: &origin,
            request_host: uri.host,
            called: &called,
            caller: &caller.party,
            random: 0,
        };
        let routes = match core.directory.admit(&request) {
            Ok(admission) if admission.customer.id == self.customer.id => {
                let to_teams = matches!(admission.routes.first(), Some(Route::Teams(_)));
                if let Some(known) = admission.forwarded_to.filter(|_| to_teams) {
                    called = known;
                }
                admission.routes
            }
            Ok(_) => return Err(403),
            // A PBX hands a call on to one of its own extensions, or to a number that another one has.
            Err(_) => self.exchanges(core, leg).ok_or(404u16)?,
        };
        Ok(Target::Call(Wanted {
            party: Some(called.clone()),
            called,
            uri: None,
            attempts: setup::attempts(core, &routes).into(),
            replaces: None,
        }))
    }

    /// The leg's trunk, if it is the customer's own.
    fn own_trunk<'a>(&self, leg: &'a Leg) -> Option<&'a Arc<Trunk>> {
        let trunk = leg.peer.trunk()?;
        (trunk.customer == Some(self.customer.id)).then_some(trunk)
    }

    /// The trunks of the customer, beginning with that of this leg, if it is the customer's own. No carrier: a REFER
    /// reaches nobody whom an INVITE would not.
    fn exchanges(&self, core: &Core, leg: &Leg) -> Option<Vec<Route>> {
        let own = self.own_trunk(leg)?;
        let mut others: Vec<_> = core
            .directory
            .trunks_of(own.customer)
            .iter()
            .filter(|t| t.id != own.id)
            .filter(|t| t.state == TrunkState::InService)
            .collect();
        others.sort_by_key(|trunk| trunk.priority);
        let all = std::iter::once(own).chain(others);
        Some(all.cloned().map(Route::Trunk).collect())
    }
}

/// The INVITE that a Refer-To with a Microsoft URI asks for: to Teams and nowhere else, whoever it is for (TDR-703). Its
/// own proxy comes first; the others are asked only if that one says nothing.
fn back_to_teams(core: &Core, gateway: &Arc<Gateway>, whole: &str, uri: &Uri) -> Wanted {
    let first = Hop {
        host: uri.host.to_owned(),
        port: uri.port.or(Some(5061)),
        transport: Some(Transport::Tls),
        realm: Realm::Teams,
    };
    let others = core
        .config
        .teams_proxies
        .iter()
        .filter(|hop| !hop.host.eq_ignore_ascii_case(uri.host));
    let attempts = std::iter::once(&first).chain(others).map(|hop| Attempt {
        route: Route::Teams(gateway.clone()),
        hop: hop.clone(),
        reach: None,
    });
    let named = uri.user.or_else(|| uri.params.get("x-m").flatten());
    Wanted {
        called: named.unwrap_or("teams").to_owned(),
        party: uri.user.map(str::to_owned),
        // RFC 3261 §19.1.5: headers of a URI have no place in a Request-URI.
        uri: whole.split('?').next().map(str::to_owned),
        replaces: None,
        attempts: attempts.collect(),
    }
}

/// Whether a host is Microsoft's: one of the proxies, or below one of their domains.
fn is_microsoft(core: &Core, host: &str) -> bool {
    core.config
        .teams_proxies
        .iter()
        .any(|hop| hop.host.eq_ignore_ascii_case(host))
        || core.config.teams_domains.iter().any(|domain| {
            host.len() > domain.len()
                && host.as_bytes()[host.len() - domain.len() - 1] == b'.'
                && host[host.len() - domain.len()..].eq_ignore_ascii_case(domain)
                || host.eq_ignore_ascii_case(domain)
        })
}

/// `Replaces` among the headers of a Refer-To URI (RFC 3891 §3, RFC 5589 §7).
fn replaces(headers: &str) -> Option<String> {
    let value = headers.split('&').find_map(|header| {
        let (name, value) = header.split_once('=')?;
        name.eq_ignore_ascii_case("Replaces").then_some(value)
    })?;
    // What cannot be read names nothing, and is refused as such.
    Some(unescape(value).unwrap_or_default())
}

/// RFC 3986 §2.1.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digit = |b: Option<u8>| b.and_then(|b| (b as char).to_digit(16));
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            u8::try_from(high * 16 + low).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Refer-To with an escaped Replaces names the other dialog.
    #[test]
    fn replaces_names_our_dialog() {
        let headers = "Subject=a&replaces=abc%40host%3Bto-tag%3Dours%3Bfrom-tag%3Dtheirs";
        let named = replaces(headers).unwrap();
        assert_eq!(named, "abc@host;to-tag=ours;from-tag=theirs");
        assert_eq!(replaces("Subject=hello"), None);
        assert_eq!(replaces("Replaces=%4").as_deref(), Some(""));
    }
}
