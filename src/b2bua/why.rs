//! Why a call went as it did: every decision about it as typed values, in order, bounded. They are gathered while the
//! call is made and end up beside its CDR; words are made of them only when somebody asks.

mod text;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::audio::Announcement;
use crate::directory::{ActivationState, AdminState, GatewayState};
use crate::sip::auth::AuthFailure;

/// The decisions about one call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = CallTrace)]
pub struct Trace {
    /// In the order in which they fell.
    pub steps: Vec<Step>,
    /// How many found no room any more.
    #[serde(default)]
    pub left_out: u32,
}

/// One decision, or one thing that decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = CallStep)]
pub struct Step {
    /// Milliseconds since the INVITE came in.
    pub ms: u64,
    /// What it was.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What was decided, with the values that decided it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
#[schema(as = CallFact)]
pub enum Fact {
    /// The INVITE came in.
    Received {
        /// From there.
        #[schema(value_type = String)]
        from: SocketAddr,
        /// By `udp`, `tcp` or `tls`.
        transport: String,
        /// Names in the peer's certificate.
        certificate: Vec<String>,
    },
    /// Who the peer is.
    Peer {
        /// `teams`, or the names of the trunks that it may be.
        peers: Vec<String>,
        /// By what it is known.
        by: Proof,
    },
    /// What the trunk's credentials are worth (RFC 7616).
    Credentials {
        /// Whose they should be.
        trunk: String,
        /// What was found.
        found: Credentials,
    },
    /// The gateway that the Request-URI of Teams names.
    Gateway {
        /// The host as it stands there.
        host: String,
        /// None: there is no such gateway.
        state: Option<GatewayState>,
    },
    /// Of several trunks at one address, the called number chose this one.
    Trunk {
        /// Its name.
        trunk: String,
    },
    /// Whose call it is.
    Customer {
        /// Its id.
        id: Uuid,
        /// Its account.
        account: String,
        /// What the operator wants.
        admin: AdminState,
        /// How far Teams is set up.
        activation: ActivationState,
    },
    /// The called number.
    Number {
        /// As it stood in the Request-URI.
        dialled: String,
        /// As it is understood.
        number: String,
        /// What is known of it.
        found: Found,
    },
    /// The calling number.
    Caller {
        /// As the INVITE has it.
        presented: String,
        /// As it is passed on.
        number: String,
        /// Whether it may be presented.
        screening: Screening,
    },
    /// A limit of calls at once, and what was in use at that instant, this call included if it was let in.
    Limit {
        /// Whose.
        of: LimitOf,
        /// The customer's account, or the trunk's name.
        name: String,
        /// Calls, this one included if it was let in.
        in_use: u32,
        /// None: there is no limit.
        limit: Option<u32>,
        /// What came of it.
        outcome: LimitOutcome,
    },
    /// Where the call may go, in the order of trial.
    Candidates {
        /// Each is tried until one answers.
        targets: Vec<Candidate>,
    },
    /// An INVITE of ours goes out.
    Attempt {
        /// A trunk's name, or a gateway's FQDN.
        peer: String,
        /// To this host.
        host: String,
        /// Call-ID of the leg.
        call_id: String,
    },
    /// What DNS said about a host.
    Resolved {
        /// In the order of trial; empty: it leads nowhere.
        #[schema(value_type = Vec<String>)]
        addresses: Vec<SocketAddr>,
        /// Why there are none.
        failure: Option<String>,
    },
    /// One of several addresses of a host failed, and the next one is tried.
    NextAddress {
        /// Why.
        failure: Failing,
    },
    /// An attempt failed.
    Failed {
        /// A trunk's name, or a gateway's FQDN.
        peer: String,
        /// Why.
        failure: Failing,
        /// Whether others may still be tried.
        next: bool,
    },
    /// The called side said that it rings, or sends sound before the answer.
    Progress {
        /// Its status.
        status: u16,
    },
    /// The called side answered.
    Answered {
        /// A trunk's name, or a gateway's FQDN.
        peer: String,
    },
    /// The caller hears why before it is refused.
    Announced {
        /// What it hears.
        announcement: Announcement,
        /// Whether it comes with a 200, and not as early media. The call is not answered by that.
        with_answer: bool,
    },
    /// The call was refused, or ended unanswered.
    Refused {
        /// What the caller heard.
        status: u16,
        /// For its Reason header.
        q850: Option<u8>,
        /// Which rule, in one word.
        rule: String,
        /// The fact.
        why: String,
    },
    /// A peer holds.
    Held {
        /// Its name.
        by: String,
        /// Who plays to the other side.
        music: super::Music,
    },
    /// A peer that held does so no more.
    Resumed {
        /// Its name.
        by: String,
    },
    /// A REFER came in.
    Refer {
        /// Who sent it.
        by: String,
        /// Status that refused it; none: it is being obeyed.
        refused: Option<u16>,
    },
    /// An INVITE took the place of a leg (RFC 3891).
    Replaced {
        /// Whose INVITE.
        by: String,
        /// Call-ID of the new leg.
        call_id: String,
    },
    /// The target of a REFER took the referrer's place.
    Transferred {
        /// The number, or the party's name.
        to: String,
    },
    /// The target of a REFER could not be reached.
    TransferFailed {
        /// What the referrer hears.
        status: u16,
        /// Why.
        why: String,
    },
    /// One side was not heard.
    Silent {
        /// `caller` or `called party`.
        side: String,
        /// What kept it away, as far as that can be told.
        why: super::Silence,
    },
    /// A call that was up ended.
    Ended {
        /// In one word.
        why: String,
        /// Whose doing it was, if a peer's.
        by: Option<String>,
        /// In the Reason header of our BYE.
        q850: u8,
    },
}

/// By what a peer is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "proof", rename_all = "snake_case")]
#[schema(as = PeerProof)]
pub enum Proof {
    /// A certificate of Microsoft's realm and an address in its ranges (TDR-314).
    CertificateAndRange,
    /// An address in a trunk's list.
    Network {
        /// Of the narrowest network that holds it.
        #[schema(value_type = String)]
        address: IpAddr,
        /// Its prefix.
        prefix: u8,
    },
    /// A telephone's password (RFC 7616).
    Digest,
}

/// What the credentials in an INVITE are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CredentialsFound)]
pub enum Credentials {
    /// They prove that the trunk sent it.
    Right,
    /// There are none; the trunk is asked for them, and may come again.
    Missing,
    /// Made for another question than our last ones; the trunk is asked anew, and may come again.
    Stale,
    /// They lack something.
    Malformed,
    /// An unknown user or another password.
    Wrong,
}

impl Credentials {
    /// As in the API, and the label of the metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Missing => "missing",
            Self::Stale => "stale",
            Self::Malformed => "malformed",
            Self::Wrong => "wrong",
        }
    }
}

impl From<AuthFailure> for Credentials {
    fn from(failure: AuthFailure) -> Self {
        match failure {
            AuthFailure::Missing => Self::Missing,
            AuthFailure::Stale => Self::Stale,
            AuthFailure::Malformed => Self::Malformed,
            AuthFailure::Wrong => Self::Wrong,
        }
    }
}

/// What is known of a called number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NumberFound)]
pub enum Found {
    /// A number of the customer, in service.
    Owned,
    /// A number of the customer, out of service.
    OutOfService,
    /// A number of another customer than the trunk's.
    Foreign,
    /// Nobody's.
    Nobodys,
    /// Nothing was dialled.
    Empty,
    /// An emergency number: no limit and no screening applies (TDR-1007).
    Emergency,
    /// From Teams, any number may be called.
    Outside,
}

/// Whether a caller may present its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CallerScreening)]
pub enum Screening {
    /// It is a number of the customer, in service.
    Passed,
    /// It is not.
    Refused,
    /// The customer wants no screening.
    Off,
    /// Emergency calls are never screened.
    Emergency,
    /// It is not from Teams, and its trunk may present any number.
    NotFromTeams,
    /// Its trunk may not present any number, but this one: nobody's here, or vouched for by one of the customer.
    Outside,
    /// It is another customer's, which the trunk may pass on, or a number of the customer vouches for it.
    Foreign,
}

/// Whose limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitOf {
    /// `max_channels`.
    Customer,
    /// `cac_max_sessions`.
    Trunk,
}

/// What came of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitOutcome {
    /// A channel was free.
    Taken,
    /// All were busy.
    Busy,
    /// An emergency call passes every limit.
    Exempt,
}

impl LimitOutcome {
    pub(super) fn of(taken: bool, exempt: bool) -> Self {
        match (taken, exempt) {
            (_, true) => Self::Exempt,
            (true, false) => Self::Taken,
            (false, false) => Self::Busy,
        }
    }
}

/// A place where a call may go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = CallCandidate)]
pub struct Candidate {
    /// A trunk's name, or a gateway's FQDN.
    pub peer: String,
    /// Its host.
    pub host: String,
    /// As it was known then: a peer that is down is tried last.
    pub up: bool,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "how", rename_all = "snake_case")]
#[schema(as = AttemptFailure)]
pub enum Failing {
    /// It answered with this status.
    Status {
        /// The status.
        status: u16,
        /// Its reason phrase.
        phrase: String,
        /// Its Reason headers (RFC 3326), where Microsoft puts its own codes.
        reasons: Vec<String>,
    },
    /// It kept silent.
    Timeout,
    /// No connection, or TLS failed.
    Transport {
        /// What failed.
        what: String,
    },
    /// Its name leads nowhere.
    Unresolvable {
        /// What DNS said.
        what: String,
    },
    /// It was not tried: a limit, or no media.
    NotStarted {
        /// Why.
        what: String,
    },
    /// It answered, but not so that it can be used.
    Unusable {
        /// Why.
        what: String,
    },
}

/// Steps that a call may have; what comes later is counted, but for how it ended.
const MOST_STEPS: usize = 64;
/// Steps that room is made for at a time: a usual call has nine, and doubling would leave half of it empty.
const GROWTH: usize = 4;
/// Texts of peers are cut to so many characters.
const MOST_TEXT: usize = 200;

/// A trace while it grows.
#[derive(Debug)]
pub(super) struct Notes {
    began: Instant,
    trace: Trace,
}

impl Notes {
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            trace: Trace::default(),
        }
    }

    /// One more step, if there is room.
    pub fn add(&mut self, now: Instant, fact: Fact) {
        if self.trace.steps.len() < MOST_STEPS {
            self.push(now, fact);
        } else {
            self.trace.left_out += 1;
        }
    }

    /// How it ended: there is always room for that.
    pub fn add_last(&mut self, now: Instant, fact: Fact) {
        if self.trace.steps.len() > MOST_STEPS {
            self.trace.left_out += 1;
            return;
        }
        self.push(now, fact);
    }

    fn push(&mut self, now: Instant, fact: Fact) {
        let ms = u64::try_from((now - self.began).as_millis()).unwrap_or(u64::MAX);
        let steps = &mut self.trace.steps;
        if steps.len() == steps.capacity() {
            steps.reserve_exact(GROWTH);
        }
        steps.push(Step { ms, fact });
    }

    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}

/// A peer's text, bounded.
pub(super) fn cut(text: impl AsRef<[u8]>) -> String {
    let text = String::from_utf8_lossy(text.as_ref());
    text.chars()
        .filter(|c| !c.is_control())
        .take(MOST_TEXT)
        .collect()
}

impl Trace {
    /// Whether there is none, as of calls of earlier versions.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Numbers of people pass through `hide`.
    pub fn redacted(mut self, hide: impl Fn(&str) -> String) -> Self {
        for step in &mut self.steps {
            match &mut step.fact {
                Fact::Number {
                    dialled: one,
                    number: other,
                    found,
                } if *found != Found::Emergency => (*one, *other) = (hide(one), hide(other)),
                Fact::Caller {
                    presented, number, ..
                } => (*presented, *number) = (hide(presented), hide(number)),
                Fact::Transferred { to } => *to = hide(to),
                _ => {}
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// However much happens in a call, its trace stays small, says what it lacks, and still tells how the call ended.
    #[test]
    fn a_trace_is_bounded_and_keeps_the_end() {
        let start = Instant::now();
        let mut notes = Notes::new(start);
        for n in 0..1000u16 {
            notes.add(
                start + Duration::from_millis(n.into()),
                Fact::Progress { status: 180 },
            );
        }
        let end = Fact::Ended {
            why: "bye".into(),
            by: None,
            q850: 16,
        };
        notes.add_last(start + Duration::from_secs(2), end.clone());
        notes.add_last(start + Duration::from_secs(3), end.clone());
        let trace = notes.trace();
        assert_eq!((trace.steps.len(), trace.left_out), (65, 937));
        assert_eq!(
            trace.steps[64],
            Step {
                ms: 2000,
                fact: end
            }
        );
        let text = trace.to_string();
        assert!(
            text.contains("and 937 more steps") && text.lines().count() == 66,
            "{text}"
        );
    }

    /// What is stored as JSON comes back as it was, tags and all.
    #[test]
    fn a_trace_survives_the_spool() {
        let facts = [
            Fact::Peer {
                peers: vec!["pbx".into()],
                by: Proof::Network {
                    address: "192.0.2.0".parse().unwrap(),
                    prefix: 24,
                },
            },
            Fact::Failed {
                peer: "pbx".into(),
                failure: Failing::Status {
                    status: 403,
                    phrase: "Forbidden".into(),
                    reasons: vec!["Q.850;cause=63".into()],
                },
                next: false,
            },
        ];
        let steps = facts.map(|fact| Step { ms: 7, fact }).to_vec();
        let trace = Trace { steps, left_out: 1 };
        let text = serde_json::to_string(&trace).unwrap();
        assert!(
            text.contains(r#""step":"peer""#) && text.contains(r#""how":"status""#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Trace>(&text).unwrap(), trace);
    }

    /// Numbers can be hidden; an emergency number is nobody's secret.
    #[test]
    fn numbers_are_hidden() {
        let number = |found| Fact::Number {
            dialled: "112".into(),
            number: "112".into(),
            found,
        };
        let facts = [number(Found::Emergency), number(Found::Outside)];
        let steps = facts.map(|fact| Step { ms: 0, fact }).to_vec();
        let text = Trace { steps, left_out: 0 }
            .redacted(|_| "…".into())
            .to_string();
        assert_eq!(
            (text.matches("112").count(), text.matches('…').count()),
            (2, 2)
        );
    }

    /// Text of a peer can neither fill the trace nor steer a terminal.
    #[test]
    fn texts_of_peers_are_cut() {
        assert_eq!(cut("a\u{1b}[2J\r\nb"), "a[2Jb");
        assert_eq!(cut("ä".repeat(5000)).chars().count(), MOST_TEXT);
    }
}
