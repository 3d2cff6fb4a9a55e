//! Whose registrations fail: noted as they change, so that nobody has to look through all of them.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::directory::{Registrant, Registration};

/// Registrations that fail or have expired.
#[derive(Debug, Default)]
pub(in crate::b2bua) struct Failing {
    /// How many users of a customer; none has none.
    customers: BTreeMap<Uuid, u32>,
    trunks: BTreeSet<Uuid>,
}

impl Failing {
    /// Customers, and how many of their users.
    pub fn customers(&self) -> impl Iterator<Item = (Uuid, u32)> {
        self.customers.iter().map(|(id, count)| (*id, *count))
    }

    /// Trunks that are to be registered.
    pub fn trunks(&self) -> impl Iterator<Item = Uuid> {
        self.trunks.iter().copied()
    }

    /// This one fails from now on.
    pub(super) fn enter(&mut self, line: &Registration) {
        match (&line.registrant, line.customer) {
            (Registrant::Trunk, _) => {
                self.trunks.insert(line.id);
            }
            (Registrant::User, Some(customer)) => {
                *self.customers.entry(customer).or_default() += 1;
            }
            // Users are a customer's.
            (Registrant::User, None) => {}
        }
    }

    /// It does no longer.
    pub(super) fn leave(&mut self, line: &Registration) {
        if line.registrant == Registrant::Trunk {
            self.trunks.remove(&line.id);
            return;
        }
        let Some(customer) = line.customer else {
            return;
        };
        if let Some(count) = self.customers.get_mut(&customer) {
            *count -= 1;
            if *count == 0 {
                self.customers.remove(&customer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::examples::{customer, registration};

    /// Users are counted by their customer, trunks by themselves, and what is mended leaves nothing behind.
    #[test]
    fn what_is_mended_leaves_nothing_behind() {
        let acme = customer("acme");
        let (one, other) = (
            registration("one", &acme, &[]),
            registration("other", &acme, &[]),
        );
        let trunk = Registration {
            registrant: Registrant::Trunk,
            ..registration("trunk", &acme, &[])
        };
        let mut failing = Failing::default();
        for line in [&one, &other, &trunk] {
            failing.enter(line);
        }
        let customers = |failing: &Failing| failing.customers().collect::<Vec<_>>();
        assert_eq!(customers(&failing), [(acme.id, 2)]);
        assert!(failing.trunks().eq([trunk.id]));
        failing.leave(&one);
        failing.leave(&trunk);
        assert_eq!(customers(&failing), [(acme.id, 1)]);
        assert_eq!(failing.trunks().count(), 0);
        failing.leave(&other);
        assert!(customers(&failing).is_empty());
    }
}
