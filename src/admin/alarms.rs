#![allow(
    unused_qualifications,
    reason = "utoipa::path qualifies the types of its own module"
)]

use super::Admin;
use super::engine::CallRequest;
use super::error::ApiError;
use crate::b2bua::{DownPeer, PeerOf};
use crate::directory::Directory;
use crate::doctor::Verdict;
use crate::store::alarms::{self, Cut, Stuck};
use crate::telemetry::health::Part;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use sqlx::SqliteConnection;
use std::time::SystemTime;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Alarms of one code that are told.
const MOST: u32 = 100;

/// What is wrong now.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Alarms {
    /// The gravest first; of each code at most 100.
    items: Vec<Alarm>,
    /// How many there are besides.
    left_out: u64,
}

/// Something that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Alarm {
    /// For programs; stable.
    code: Code,
    /// How grave it is.
    severity: Severity,
    /// Whom it concerns; null if it is not one customer.
    customer_id: Option<Uuid>,
    /// The path of what it is about in this API; null if it has none.
    object: Option<String>,
    /// Since when, as far as that is known.
    #[serde(with = "time::serde::rfc3339::option")]
    since: Option<OffsetDateTime>,
    /// For people.
    text: String,
}

/// How grave an alarm is, in the words of ITU-T X.733.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AlarmSeverity)]
pub(super) enum Severity {
    /// Everybody's calls or changes are at stake.
    Critical,
    /// Somebody's are.
    Major,
    /// Calls pass, and something else does not work.
    Minor,
    /// Nothing is wrong yet.
    Warning,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AlarmCode)]
pub(super) enum Code {
    /// The database takes no writes: nothing can be changed, and call records wait.
    DatabaseUnwritable,
    /// Whoever knows the calls does not answer.
    CallEngineSilent,
    /// A certificate that we show has expired, or is not valid yet.
    CertificateNotValid,
    /// One will soon have expired.
    CertificateExpires,
    /// A proxy of Teams does not answer.
    TeamsProxyDown,
    /// A trunk does not answer.
    TrunkDown,
    /// A trunk is to be registered, and is not.
    TrunkUnregistered,
    /// Users of a customer are not registered at their exchange; one alarm for all of them.
    RegistrationsFailing,
    /// An activation waits until somebody changes something.
    ActivationFailed,
    /// Calls pass, but something is wrong at Microsoft.
    ActivationDegraded,
    /// The sign-in at Microsoft no longer counts: calls pass, and no upgrade does.
    TokenInvalid,
    /// The last Sync failed.
    SyncFailed,
    /// The mail server did not take a letter, which is tried again.
    MailRefused,
}

impl Code {
    fn severity(self) -> Severity {
        match self {
            Self::DatabaseUnwritable | Self::CallEngineSilent | Self::CertificateNotValid => {
                Severity::Critical
            }
            Self::TeamsProxyDown
            | Self::TrunkDown
            | Self::TrunkUnregistered
            | Self::RegistrationsFailing
            | Self::ActivationFailed
            | Self::SyncFailed => Severity::Major,
            Self::ActivationDegraded | Self::TokenInvalid | Self::MailRefused => Severity::Minor,
            Self::CertificateExpires => Severity::Warning,
        }
    }

    fn alarm(self, text: impl Into<String>) -> Alarm {
        Alarm {
            code: self,
            severity: self.severity(),
            customer_id: None,
            object: None,
            since: None,
            text: text.into(),
        }
    }
}

impl Alarm {
    /// About what a customer has at this place below its own path.
    fn of_customer(self, customer: Uuid, place: &str) -> Self {
        Self {
            customer_id: Some(customer),
            object: Some(format!("/api/v1/customers/{customer}{place}")),
            ..self
        }
    }

    fn since(self, since: Option<OffsetDateTime>) -> Self {
        Self { since, ..self }
    }
}

/// What is wrong now
///
/// Nothing of it is kept: an alarm is there as long as its cause is. What comes and goes is told by events.
#[utoipa::path(
    get, path = "/api/v1/alarms", tag = "health", operation_id = "list_alarms",
    responses((status = 200, body = Alarms))
)]
pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Alarms>, ApiError> {
    let mut told = Alarms::default();
    told.program(&admin);
    told.peers(&admin).await;
    let mut connection = admin.store.read().await?;
    told.customers(&mut connection).await?;
    told.letters(&mut connection).await?;
    told.items.sort_by_key(|alarm| alarm.severity);
    Ok(Json(told))
}

impl Alarms {
    fn cut<T>(&mut self, found: Cut<T>, alarm: impl Fn(T) -> Alarm) {
        self.items.extend(found.items.into_iter().map(alarm));
        self.left_out += found.left_out;
    }

    /// What is wrong with the program itself.
    fn program(&mut self, admin: &Admin) {
        for (part, reason) in admin.health.reasons() {
            if part == Part::Store {
                self.items.push(Code::DatabaseUnwritable.alarm(reason));
            }
        }
        let Some(doctor) = &admin.doctor else {
            return;
        };
        let now = SystemTime::now();
        for (facts, check) in doctor.expiry(now) {
            let code = match check.verdict {
                Verdict::Fault => Code::CertificateNotValid,
                Verdict::Warning => Code::CertificateExpires,
                Verdict::Ok | Verdict::NotChecked => continue,
            };
            let is_over = facts.not_after <= now;
            let since = is_over.then(|| OffsetDateTime::from(facts.not_after));
            let whose = match facts.listener {
                true => "listener",
                false => "dialler",
            };
            let text = format!(
                "the certificate of the {whose}, {}: {}",
                facts.path.display(),
                check.evidence
            );
            self.items.push(code.alarm(text).since(since));
        }
    }

    /// What is wrong with those that calls go to and come from.
    async fn peers(&mut self, admin: &Admin) {
        let most = MOST as usize;
        let ask = |answer| CallRequest::Troubles { most, answer };
        let Ok(found) = admin.calls.ask(ask).await else {
            let silent = Code::CallEngineSilent.alarm("the call engine does not answer");
            self.items.push(silent);
            return;
        };
        let directory = admin.store.directory().load_full();
        let left_out = [
            found.proxies.left_out,
            found.trunks.left_out,
            found.unregistered.left_out,
            found.registrations.left_out,
        ];
        self.left_out += left_out.iter().sum::<usize>() as u64;
        let down = found.proxies.items.into_iter().chain(found.trunks.items);
        self.items
            .extend(down.filter_map(|peer| down_peer(&directory, peer)));
        for id in found.unregistered.items {
            let text = "the trunk is not registered at its peer";
            let alarm = Code::TrunkUnregistered.alarm(text);
            self.items.extend(of_trunk(&directory, id, alarm));
        }
        for failing in found.registrations.items {
            let text = format!("{} users are not registered at exchanges", failing.count);
            let alarm = Code::RegistrationsFailing.alarm(text);
            self.items
                .push(alarm.of_customer(failing.customer, "/pbx-registrations"));
        }
    }

    /// What is wrong with what is stored of customers.
    async fn customers(&mut self, connection: &mut SqliteConnection) -> Result<(), ApiError> {
        for (how, code) in [
            (Stuck::Failed, Code::ActivationFailed),
            (Stuck::Degraded, Code::ActivationDegraded),
        ] {
            let found = alarms::stuck_activations(connection, how, MOST).await?;
            self.cut(found, |stuck| {
                let why = stuck.failure.map_or_else(
                    || "nobody knows why".to_owned(),
                    |failure| format!("{}: {}", failure.code, failure.detail),
                );
                let alarm = code.alarm(why).since(stuck.since);
                alarm.of_customer(stuck.customer_id, "/activation")
            });
        }
        let found = alarms::lost_tokens(connection, MOST).await?;
        self.cut(found, |lost| {
            let text = "the sign-in at Microsoft no longer counts: somebody has to be invited anew";
            let alarm = Code::TokenInvalid.alarm(text).since(Some(lost.since));
            alarm.of_customer(lost.customer_id, "/invitations")
        });
        let found = alarms::failed_syncs(connection, MOST).await?;
        self.cut(found, |sync| {
            let why = sync.why.unwrap_or_else(|| "the Sync failed".to_owned());
            let alarm = Code::SyncFailed.alarm(why).since(sync.since);
            alarm.of_customer(sync.customer_id, "/sync")
        });
        Ok(())
    }

    /// Letters that wait for the mail server's good will.
    async fn letters(&mut self, connection: &mut SqliteConnection) -> Result<(), ApiError> {
        let found = alarms::refused_letters(connection, MOST).await?;
        self.cut(found, |letter| {
            let text = format!(
                "a letter ({}) was not taken {} times: {}",
                letter.kind, letter.attempts, letter.why
            );
            let alarm = Code::MailRefused.alarm(text).since(Some(letter.since));
            match letter.customer_id {
                Some(customer) => alarm.of_customer(customer, ""),
                None => alarm,
            }
        });
        Ok(())
    }
}

/// One that has gone meanwhile is no trouble.
fn down_peer(directory: &Directory, peer: DownPeer) -> Option<Alarm> {
    let (text, since) = (format!("{}: {}", peer.name, peer.why), Some(peer.since));
    match peer.of {
        PeerOf::Trunk(id) => of_trunk(directory, id, Code::TrunkDown.alarm(text).since(since)),
        PeerOf::Region(own) => {
            let region = directory.regions().find(|region| region.base_fqdn == own)?;
            Some(Alarm {
                object: Some(format!("/api/v1/regions/{}", region.code)),
                ..Code::TeamsProxyDown.alarm(text).since(since)
            })
        }
    }
}

/// The alarm, as one about this trunk.
fn of_trunk(directory: &Directory, id: Uuid, alarm: Alarm) -> Option<Alarm> {
    Some(match directory.trunk(id)?.customer {
        Some(customer) => alarm.of_customer(customer, &format!("/trunks/{id}")),
        None => Alarm {
            object: Some(format!("/api/v1/trunks/{id}")),
            ..alarm
        },
    })
}
