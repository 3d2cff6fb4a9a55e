//! Takes letters to the mail server, beside everything else and in nobody's way.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::mail::{Letter, Mailer, SendError};
use crate::net::clock::Clock;
use crate::provisioning::letter_pause;
use crate::store::mails::{self, DueMail, Tried};
use crate::store::{Store, StoreError, events};
use crate::telemetry::metrics;

/// Letters that are looked at together.
const TOGETHER: u32 = 16;
/// The longest sleep, in case that somebody else wrote to the database.
const LONGEST: Duration = Duration::from_secs(30);
/// Between two tries when the database does not answer.
const RECOVERY: Duration = Duration::from_secs(5);

/// What letters are sent with.
#[derive(Debug)]
pub(super) struct Post {
    pub store: Store,
    /// None if no server is configured: what still waits from before is given up.
    pub mailer: Option<Mailer>,
    pub clock: Clock,
    pub wake: Arc<Notify>,
}

impl Post {
    /// Runs for ever.
    pub async fn run(self) {
        loop {
            let next = match self.deliver().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, "letters wait for the database");
                    tokio::time::sleep(RECOVERY).await;
                    continue;
                }
            };
            let far = self.clock.now() + LONGEST;
            tokio::select! {
                () = self.wake.notified() => {}
                () = self.clock.until(next.unwrap_or(far).min(far)) => {}
            }
        }
    }

    /// Sends what is due, and tells when the next one is.
    async fn deliver(&self) -> Result<Option<OffsetDateTime>, StoreError> {
        loop {
            let due = {
                let mut connection = self.store.read().await?;
                mails::due(
                    &mut connection,
                    self.store.keys(),
                    self.clock.now(),
                    TOGETHER,
                )
                .await?
            };
            if due.is_empty() {
                break;
            }
            for mail in due {
                let came = self.hand_over(&mail).await;
                self.note(&mail, came).await?;
            }
        }
        let mut connection = self.store.read().await?;
        metrics::MAILS_WAITING.set([], mails::waiting(&mut connection).await? as f64);
        mails::next_due(&mut connection).await
    }

    async fn hand_over(&self, mail: &DueMail) -> Tried {
        let Some(mailer) = &self.mailer else {
            return Tried::Failed("no mail server is configured".to_owned());
        };
        let id = mail.id.to_string();
        let letter = Letter {
            id: &id,
            to: &mail.recipient,
            subject: &mail.subject,
            text: mail.text.expose(),
        };
        let sent = mailer.send(letter).await;
        let now = self.clock.now();
        match sent {
            Ok(()) => Tried::Sent,
            Err(SendError::Refused(why)) => Tried::Failed(why),
            Err(SendError::Later(why)) => {
                let next = now + letter_pause(mail.attempts + 1);
                match next < mail.expires_at {
                    true => Tried::Later(why, next),
                    false => Tried::Failed(why),
                }
            }
        }
    }

    /// Whoever runs the place hears of the first failure and of the last one.
    async fn note(&self, mail: &DueMail, came: Tried) -> Result<(), StoreError> {
        let (result, kind, why) = match &came {
            Tried::Sent => ("sent", "mail.sent", None),
            Tried::Failed(why) => ("failed", "mail.failed", Some(why)),
            Tried::Later(why, _) => ("later", "mail.delayed", Some(why)),
        };
        metrics::MAILS.add([result], 1);
        if let Some(why) = why {
            tracing::warn!(mail = %mail.id, kind = mail.kind, why, "a letter has not left");
        }
        let now = self.clock.now();
        let mut change = self.store.rows().await?;
        mails::tried(&mut change, mail.id, &came, now).await?;
        let is_news = !matches!(came, Tried::Later(..)) || mail.attempts == 0;
        if let Some(customer) = mail.customer_id.filter(|_| is_news) {
            let detail = json!({ "kind": mail.kind, "error": why });
            events::insert(&mut change, now, kind, customer, &detail).await?;
        }
        change.keep().await
    }
}
