//! Where registrations stand: what calls ask.

use std::collections::HashMap;
use std::net::IpAddr;

use uuid::Uuid;

/// The addresses of the registrars that have a binding of ours.
#[derive(Debug, Default)]
pub(in crate::b2bua) struct Standing {
    lines: HashMap<Uuid, IpAddr>,
    /// How many registrations stand at each.
    places: HashMap<IpAddr, u32>,
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

    /// Notes where a registration stands.
    pub(super) fn set(&mut self, line: Uuid, at: Option<IpAddr>) {
        let before = match at {
            Some(at) => self.lines.insert(line, at),
            None => self.lines.remove(&line),
        };
        if before == at {
            return;
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

    /// An address is a registrar's as long as one registration stands there.
    #[test]
    fn the_last_registration_takes_its_registrar_along() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let here: IpAddr = "198.51.100.1".parse().unwrap();
        let there: IpAddr = "198.51.100.2".parse().unwrap();
        let mut standing = Standing::default();
        standing.set(one, Some(here));
        standing.set(one, Some(here));
        standing.set(other, Some(here));
        assert!(standing.is_registrar("::ffff:198.51.100.1".parse().unwrap()));
        standing.set(one, Some(there));
        assert_eq!(standing.at(one), Some(there));
        standing.set(other, None);
        assert!(!standing.is_registrar(here) && standing.is_registrar(there));
        standing.set(one, None);
        assert!(standing.lines.is_empty() && standing.places.is_empty());
    }
}
