//! How a customer's Teams side comes to life: the states between "not set up" and "calls pass", as provisioning §10
//! draws them.
//!
//! [`State::on`] is the figure. Whoever runs an activation carries out the step that a state names, once it is
//! [due](State::due), and tells what came of it; each step looks first whether its work was done before, so that a crash or a
//! second start goes on where the first one stood.

mod pace;

pub use pace::{CONSENT_LASTS, pause};

use pace::{check_after, look_after, patience, poll_after};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;

/// Who does the work at Microsoft.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ActivationMethod)]
pub enum Method {
    /// We do, after the customer's Global Administrator consented.
    #[default]
    Automatic,
    /// The customer's Global Administrator does, and only gives us the verification codes.
    Manual,
}

/// What is being done or waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ActivationStep)]
pub enum Step {
    /// The administrator has the consent page before them.
    ConsentPending,
    /// Whether the consent is for the whole organisation.
    ConsentCheck,
    /// The gateways' names are made known to the tenant, which gives a code for each.
    DomainsCreated,
    /// The codes go into DNS.
    DnsPublishing,
    /// Microsoft looks for the codes.
    Verifying,
    /// A user under each name: without one Microsoft does not take the name into use.
    ActivationUser,
    /// The user's licence.
    LicenseAssigned,
    /// Microsoft's parts learn from each other.
    WaitingPropagation,
    /// The route from the tenant to the gateways.
    VoiceRoute,
    /// The names lead to the tenant.
    Test,
    /// The customer's administrator works, and nobody tells when it is done.
    AwaitingAdminCenter,
    /// The codes go out of DNS again.
    Withdrawing,
}

/// Why something did not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ActivationError)]
pub struct Failure {
    /// For programs; stable.
    pub code: String,
    /// For people.
    pub detail: String,
    /// What Microsoft calls the request, for its support.
    pub microsoft_request_id: Option<String>,
}

/// Where an activation stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not begun, or given up. Why, if it was tried.
    Inactive(Option<Failure>),
    /// A step is being worked on.
    Running(Work),
    /// The consent was for the one who gave it only.
    ConsentIncomplete(Failure),
    /// A step cannot succeed until somebody changes something; a start goes on with it.
    Failed(Step, Failure),
    /// Calls pass. Looked at now and then.
    Active(#[serde(with = "time::serde::rfc3339")] OffsetDateTime),
    /// Calls pass, but something is wrong, or not every gateway has shown itself. Looked at more often.
    Degraded(
        #[serde(with = "time::serde::rfc3339")] OffsetDateTime,
        Failure,
    ),
}

/// A step under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Which.
    pub step: Step,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// How often it was tried.
    pub attempt: u32,
    /// When it is tried next; for the consent, when it is no longer waited for.
    #[serde(with = "time::serde::rfc3339")]
    pub due: OffsetDateTime,
    /// Why it did not succeed the last time.
    pub trouble: Option<Failure>,
}

/// What happens to an activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody entitled wants it.
    Start,
    /// Microsoft sent the administrator back with a consent of the expected tenant.
    Consented,
    /// Microsoft sent them back without, or with one that does not count.
    Refused(Failure),
    /// The consent is for one user only, or is gone.
    NotConsented(Failure),
    /// The step is done.
    Done,
    /// Nothing more can be done from here: the rest is the administrator's (the voice route without access to it).
    LeftToAdministrator,
    /// The step did not succeed yet, and may later; not before so many seconds, if the other side said so.
    NotYet(Failure, Option<u32>),
    /// The step cannot succeed as things are.
    Broken(Failure),
    /// A gateway has been proven by a call; whether it was the last one.
    Proven {
        /// Every gateway is.
        all: bool,
    },
    /// All is as it should be.
    Healthy,
    /// Nobody came back from the consent page.
    Expired,
    /// Somebody entitled wants it undone.
    Cancel,
}

/// Why an event is out of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// There is nothing to start.
    #[error("the customer is active already")]
    AlreadyActive,
    /// There is nothing to start again.
    #[error("the activation has been started")]
    Started,
    /// Such a thing does not happen in this state; whoever saw it looked at an older one.
    #[error("it does not belong to this state")]
    Stale,
}

impl Step {
    /// The first one.
    pub fn first(method: Method) -> Self {
        match method {
            Method::Automatic => Self::ConsentPending,
            Method::Manual => Self::DnsPublishing,
        }
    }

    /// The one after it; none after the last.
    fn next(self, method: Method) -> Option<Self> {
        Some(match (self, method) {
            (Self::ConsentPending, _) => Self::ConsentCheck,
            (Self::ConsentCheck, _) => Self::DomainsCreated,
            (Self::DomainsCreated, _) => Self::DnsPublishing,
            (Self::DnsPublishing, Method::Automatic) => Self::Verifying,
            (Self::DnsPublishing, Method::Manual) => Self::AwaitingAdminCenter,
            (Self::Verifying, _) => Self::ActivationUser,
            (Self::ActivationUser, _) => Self::LicenseAssigned,
            (Self::LicenseAssigned, _) => Self::WaitingPropagation,
            (Self::WaitingPropagation, _) => Self::VoiceRoute,
            (Self::VoiceRoute, _) => Self::Test,
            (Self::Test | Self::AwaitingAdminCenter | Self::Withdrawing, _) => return None,
        })
    }

    /// As in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConsentPending => "consent_pending",
            Self::ConsentCheck => "consent_check",
            Self::DomainsCreated => "domains_created",
            Self::DnsPublishing => "dns_publishing",
            Self::Verifying => "verifying",
            Self::ActivationUser => "activation_user",
            Self::LicenseAssigned => "license_assigned",
            Self::WaitingPropagation => "waiting_propagation",
            Self::VoiceRoute => "voice_route",
            Self::Test => "test",
            Self::AwaitingAdminCenter => "awaiting_admin_center",
            Self::Withdrawing => "withdrawing",
        }
    }
}

impl Method {
    /// As in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Manual => "manual",
        }
    }
}

impl Failure {
    /// Without a word of Microsoft's.
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            detail: detail.into(),
            microsoft_request_id: None,
        }
    }
}

impl State {
    /// As in the API and the database.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Inactive(_) => "inactive",
            Self::Running(work) if work.step == Step::Withdrawing => "deactivating",
            Self::Running(_) => "activating",
            Self::ConsentIncomplete(_) => "consent_incomplete",
            Self::Failed(..) => "failed",
            Self::Active(_) => "active",
            Self::Degraded(..) => "degraded",
        }
    }

    /// The step that is worked on, or that failed.
    pub fn step(&self) -> Option<Step> {
        match self {
            Self::Running(work) => Some(work.step),
            Self::Failed(step, _) => Some(*step),
            _ => None,
        }
    }

    /// What is wrong.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Inactive(failure) => failure.as_ref(),
            Self::Running(work) => work.trouble.as_ref(),
            Self::ConsentIncomplete(failure)
            | Self::Failed(_, failure)
            | Self::Degraded(_, failure) => Some(failure),
            Self::Active(_) => None,
        }
    }

    /// When something is to be done; never, if it waits for people.
    pub fn due(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Running(work) => Some(work.due),
            Self::Active(due) | Self::Degraded(due, _) => Some(*due),
            Self::Inactive(_) | Self::ConsentIncomplete(_) | Self::Failed(..) => None,
        }
    }

    /// Whether calls pass.
    pub fn is_in_service(&self) -> bool {
        matches!(self, Self::Active(_) | Self::Degraded(..))
    }

    /// Whether the method may still be chosen, and a start begins from the beginning.
    pub fn is_inactive(&self) -> bool {
        matches!(self, Self::Inactive(_))
    }

    /// Whether a start would be taken.
    pub fn can_start(&self) -> bool {
        matches!(
            self,
            Self::Inactive(_) | Self::ConsentIncomplete(_) | Self::Failed(..)
        )
    }

    /// The figure of provisioning §10, one arm for each arrow.
    ///
    /// # Errors
    /// The event does not belong to this state, which stays.
    pub fn on(&self, method: Method, event: Event, now: OffsetDateTime) -> Result<Self, Misplaced> {
        let working = |step| Self::Running(Work::begun(step, now));
        Ok(match (self, event) {
            (Self::Inactive(_), Event::Start) => working(Step::first(method)),
            (Self::ConsentIncomplete(_), Event::Start) => working(Step::ConsentPending),
            (Self::Failed(step, _), Event::Start) => working(*step),
            (Self::Running(_), Event::Start) => return Err(Misplaced::Started),
            (Self::Active(_) | Self::Degraded(..), Event::Start) => {
                return Err(Misplaced::AlreadyActive);
            }

            (Self::Running(work), Event::Consented) if work.waits_for_consent() => {
                working(Step::ConsentCheck)
            }
            (Self::Running(work), Event::Refused(why)) if work.waits_for_consent() => {
                Self::Inactive(Some(why))
            }
            (Self::Running(work), Event::Expired)
                if work.waits_for_consent() && work.due <= now =>
            {
                let why = "nobody came back from Microsoft's consent page in time";
                Self::Inactive(Some(Failure::new("consent_expired", why)))
            }
            (Self::Running(work), Event::NotConsented(why))
                if work.may_fail() && method == Method::Automatic =>
            {
                Self::ConsentIncomplete(why)
            }

            (Self::Running(work), Event::Done) if work.is_ours() => match work.step.next(method) {
                Some(step) => working(step),
                None if work.step == Step::Withdrawing => Self::Inactive(None),
                None => Self::Active(check_after(now)),
            },
            (Self::Running(work), Event::LeftToAdministrator) if work.step == Step::VoiceRoute => {
                working(Step::AwaitingAdminCenter)
            }
            (Self::Running(work), Event::NotYet(why, after)) if !work.waits_for_consent() => {
                work.again(why, after, now)
            }
            (Self::Running(work), Event::Broken(why)) if work.may_fail() => {
                Self::Failed(work.step, why)
            }
            // Where nothing of ours can fail, it is tried again.
            (Self::Running(work), Event::Broken(why) | Event::NotConsented(why))
                if !work.waits_for_consent() =>
            {
                work.again(why, None, now)
            }

            (Self::Running(work), Event::Proven { all: true }) if work.may_be_proven() => {
                Self::Active(check_after(now))
            }
            (Self::Running(work), Event::Proven { all: false })
                if work.step == Step::AwaitingAdminCenter =>
            {
                let why = "calls have come by some of the gateways only";
                Self::Degraded(poll_after(0, now), Failure::new("gateways_unproven", why))
            }
            (Self::Degraded(..), Event::Proven { all: true } | Event::Healthy) => {
                Self::Active(check_after(now))
            }
            (Self::Active(_), Event::Healthy) => Self::Active(check_after(now)),
            (
                Self::Active(_) | Self::Degraded(..),
                Event::NotYet(why, _) | Event::Broken(why) | Event::NotConsented(why),
            ) => Self::Degraded(look_after(now), why),

            (Self::ConsentIncomplete(_), Event::Cancel) => Self::Inactive(None),
            (Self::Running(work), Event::Cancel) if work.waits_for_consent() => {
                Self::Inactive(None)
            }
            (Self::Running(work), Event::Cancel) if work.step == Step::Withdrawing => self.clone(),
            (
                Self::Running(_) | Self::Failed(..) | Self::Active(_) | Self::Degraded(..),
                Event::Cancel,
            ) => working(Step::Withdrawing),
            _ => return Err(Misplaced::Stale),
        })
    }
}

impl Work {
    /// The first try is at once; a consent is waited for.
    fn begun(step: Step, now: OffsetDateTime) -> Self {
        let due = match step {
            Step::ConsentPending => now + CONSENT_LASTS,
            _ => now,
        };
        Self {
            step,
            since: now,
            attempt: 0,
            due,
            trouble: None,
        }
    }

    fn waits_for_consent(&self) -> bool {
        self.step == Step::ConsentPending
    }

    /// Whether it is work of ours that has to succeed.
    fn may_fail(&self) -> bool {
        self.is_ours() && self.step != Step::Withdrawing
    }

    /// Whether we are at work, and nobody else.
    fn is_ours(&self) -> bool {
        !matches!(self.step, Step::ConsentPending | Step::AwaitingAdminCenter)
    }

    /// Whether gateways may be verified by now, so that a call can prove them.
    fn may_be_proven(&self) -> bool {
        matches!(
            self.step,
            Step::ActivationUser
                | Step::LicenseAssigned
                | Step::WaitingPropagation
                | Step::VoiceRoute
                | Step::Test
                | Step::AwaitingAdminCenter
        )
    }

    /// The next try, or the end of patience.
    fn again(&self, why: Failure, after: Option<u32>, now: OffsetDateTime) -> State {
        if self.step != Step::Withdrawing && now - self.since >= patience(self.step) {
            let detail = format!("given up after the last try: {}", why.detail);
            return State::Failed(
                self.step,
                Failure {
                    code: "timeout".to_owned(),
                    detail,
                    ..why
                },
            );
        }
        let next = match self.step {
            Step::AwaitingAdminCenter => poll_after(self.attempt, now),
            _ => now + pause(self.attempt),
        };
        let asked = now + Duration::seconds(after.unwrap_or(0).into());
        State::Running(Self {
            attempt: self.attempt.saturating_add(1),
            due: next.max(asked),
            trouble: Some(why),
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests;
