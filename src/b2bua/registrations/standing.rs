//! Where registrations stand: what calls ask.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use uuid::Uuid;

use crate::directory::{Registrant, Registration};

/// The addresses of the registrars that have a binding of ours.
#[derive(Debug, Default)]
pub(in crate::b2bua) struct Standing {
    lines: HashMap<Uuid, IpAddr>,
    /// How many registrations stand at each.
    places: HashMap<IpAddr, u32>,
    /// The trunks among them.
    trunks: BTreeSet<(IpAddr, Uuid)>,
}

impl Standing {
    /// Where this registration stands, if it does.
    pub fn at(&self, line: Uuid) -> Option<IpAddr> {
        self.lines.get(&line).copied()
    }

    /// Whether any stands at this address.
    pub fn is_registrar(&self, address: IpAddr) -> bool {
        self.places.contains_key(&address.to_canonical())
    }

    /// The trunks that stand at this address.
    pub fn trunks_at(&self, address: IpAddr) -> impl Iterator<Item = Uuid> {
        let range = (address, Uuid::nil())..=(address, Uuid::max());
        self.trunks.range(range).map(|(_, id)| *id)
    }

    /// Notes where a registration stands.
    pub(super) fn set(&mut self, line: &Registration, at: Option<IpAddr>) {
        let before = match at {
            Some(at) => self.lines.insert(line.id, at),
            None => self.lines.remove(&line.id),
        };
        if before == at {
            return;
        }
        if line.registrant == Registrant::Trunk {
            if let Some(before) = before {
                self.trunks.remove(&(before, line.id));
            }
            self.trunks.extend(at.map(|at| (at, line.id)));
        }
        if let Some(at) = at {
            *self.places.entry(at).or_default() += 1;
        }
        if let Some(count) = before.and_then(|before| self.places.get_mut(&before)) {
            *count -= 1;
            if *count == 0
                && let Some(before) = before
            {
                self.places.remove(&before);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::examples::{customer, registration};

    /// An address is a registrar's as long as one registration stands there, and a trunk is found by where it stands.
    #[test]
    fn the_last_registration_takes_its_registrar_along() {
        let one = registration("one", &customer("acme"), &[]);
        let other = Registration {
            registrant: Registrant::Trunk,
            ..registration("other", &customer("acme"), &[])
        };
        let here: IpAddr = "198.51.100.1".parse().unwrap();
        let there: IpAddr = "198.51.100.2".parse().unwrap();
        let mut standing = Standing::default();
        let trunks = |standing: &Standing| standing.trunks_at(here).collect::<Vec<_>>();
        standing.set(&one, Some(here));
        standing.set(&one, Some(here));
        standing.set(&other, Some(here));
        assert!(standing.is_registrar("::ffff:198.51.100.1".parse().unwrap()));
        assert_eq!(trunks(&standing), [other.id]);
        standing.set(&one, Some(there));
        assert_eq!(standing.at(one.id), Some(there));
        standing.set(&other, None);
        assert!(!standing.is_registrar(here) && standing.is_registrar(there));
        assert!(trunks(&standing).is_empty());
        standing.set(&one, None);
        assert!(standing.lines.is_empty() && standing.places.is_empty());
    }
}
