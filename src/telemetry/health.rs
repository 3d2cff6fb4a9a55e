//! Whether new calls should be sent here, and if not, why.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What must work before calls are welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The program is starting, or ends.
    Program,
    /// The database; calls go on without it, but nothing can be changed.
    Store,
}

impl Part {
    /// In lower case, as answers of `/readyz` show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Store => "store",
        }
    }
}

/// The parts that do not work now, each with a reason fit for strangers. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<Part, String>>>);

impl Health {
    /// This part does not work.
    pub fn down(&self, part: Part, reason: impl Into<String>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(part, reason.into());
    }

    /// This part works.
    pub fn up(&self, part: Part) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&part);
    }

    /// Why not; empty when ready.
    pub fn reasons(&self) -> Vec<(Part, String)> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts
            .iter()
            .map(|(part, reason)| (*part, reason.clone()))
            .collect()
    }

    /// Whether everything works.
    pub fn is_ready(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part that is down twice has its last reason, and one `up` ends it for every clone.
    #[test]
    fn readiness_is_the_absence_of_reasons() {
        let health = Health::default();
        assert!(health.is_ready());
        let clone = health.clone();
        clone.down(Part::Store, "locked");
        clone.down(Part::Store, "disk full");
        assert_eq!(health.reasons(), [(Part::Store, "disk full".to_owned())]);
        health.up(Part::Store);
        assert!(clone.is_ready());
    }
}
