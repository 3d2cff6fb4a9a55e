//! Events about registrations at exchanges: which failed, and which stand again. Those that just begin, as all do after a
//! start, are none.

use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::b2bua::{RegistrationState, Report};
use crate::store::{Store, StoreError, events};

/// Events that are written together.
const AT_ONCE: usize = 256;

/// Something about a registration that is to be kept.
#[derive(Debug)]
pub(super) struct Noted {
    at: OffsetDateTime,
    kind: &'static str,
    customer: Uuid,
    detail: Value,
}

impl Noted {
    /// What is to be kept of a report, if anything.
    pub fn of(report: &Report) -> Option<Self> {
        let Report::Registration {
            customer,
            id,
            was,
            is,
            code,
            reason,
        } = report
        else {
            return None;
        };
        let kind = match (was, is) {
            (_, RegistrationState::Failed | RegistrationState::Expired) => "registration.failed",
            (
                RegistrationState::Failed | RegistrationState::Expired,
                RegistrationState::Registered,
            ) => "registration.registered",
            _ => return None,
        };
        Some(Self {
            at: OffsetDateTime::now_utc(),
            kind,
            // What concerns all customers is in metrics and in the trunk itself.
            customer: (*customer)?,
            detail: json!({ "registration_id": id, "state": is, "code": code, "reason": reason }),
        })
    }
}

/// Writes them for as long as there are any to come.
pub(super) async fn keep(store: Store, mut noted: mpsc::Receiver<Noted>) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while noted.recv_many(&mut batch, AT_ONCE).await > 0 {
        if let Err(error) = write(&store, &batch).await {
            tracing::warn!(%error, lost = batch.len(), "events about registrations are lost");
        }
        batch.clear();
    }
}

async fn write(store: &Store, batch: &[Noted]) -> Result<(), StoreError> {
    let mut rows = store.rows().await?;
    for noted in batch {
        events::insert(
            &mut rows,
            noted.at,
            noted.kind,
            noted.customer,
            &noted.detail,
        )
        .await?;
    }
    rows.keep().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Failures and recoveries are kept, beginnings and ends are not.
    #[test]
    fn what_is_worth_keeping() {
        use RegistrationState::{Expired, Failed, Leaving, Pending, Registered};
        let kind = |was, is| {
            let report = Report::Registration {
                customer: Some(Uuid::nil()),
                id: Uuid::nil(),
                was,
                is,
                code: Some(403),
                reason: Some("403 Forbidden".into()),
            };
            Noted::of(&report).map(|noted| noted.kind)
        };
        let (failed, stands) = (Some("registration.failed"), Some("registration.registered"));
        assert_eq!(kind(Pending, Failed), failed);
        assert_eq!(kind(Registered, Expired), failed);
        assert_eq!(kind(Failed, Registered), stands);
        assert_eq!(kind(Expired, Registered), stands);
        assert_eq!(kind(Pending, Registered), None);
        assert_eq!(kind(Registered, Leaving), None);
    }
}
