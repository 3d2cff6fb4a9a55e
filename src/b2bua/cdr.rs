use super::why::Trace;
use crate::directory::{Admission, Route};
use crate::media::LegReport;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;
use uuid::Uuid;

/// A call detail record: what is left of a call, or of an attempt at one, when it is over. Written once, at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Cdr {
    /// The call's.
    pub id: Uuid,
    /// Of the directory that admitted or refused it.
    pub generation: u64,
    /// Whose call it was; none if it was refused before that was known.
    pub customer_id: Option<Uuid>,
    /// The trunk it came in by, or went out by.
    pub trunk_id: Option<Uuid>,
    /// The gateway that Teams named, or in whose name Teams was called.
    pub gateway: Option<String>,
    /// Which way it went.
    pub direction: Direction,
    /// Whether it passed the limits as an emergency call.
    pub emergency: bool,
    /// Who called.
    pub from: String,
    /// Who was called.
    pub to: String,
    /// Call-ID of the A leg.
    pub a_call_id: String,
    /// Call-ID of the B leg that was last tried.
    pub b_call_id: Option<String>,
    /// When the INVITE came in.
    #[serde(with = "time::serde::rfc3339")]
    pub start: OffsetDateTime,
    /// When the called side first rang.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ringing: Option<OffsetDateTime>,
    /// When the called side answered.
    #[serde(with = "time::serde::rfc3339::option")]
    pub answer: Option<OffsetDateTime>,
    /// When both legs were over.
    #[serde(with = "time::serde::rfc3339")]
    pub end: OffsetDateTime,
    /// The final status that the A leg got: 200 for an answered call.
    pub sip_code: Option<u16>,
    /// The cause of the end, by ITU-T Q.850.
    pub q850: Option<u8>,
    /// Why it ended, in a constant sentence.
    pub reason: String,
    /// Which rule refused it: `acl`, `inactive`, `disabled`, `number`, `limit`, `route`; none if none did.
    pub refused_by: Option<String>,
    /// Who ended it.
    pub ended_by: Option<EndedBy>,
    /// Whether a held party heard our music, or the PBX's.
    pub music: Option<Music>,
    /// Whom the call was handed on to, by REFER or by an INVITE with Replaces.
    #[serde(default)]
    pub transferred_to: Option<String>,
    /// What the A leg's peer sent and got, and whoever took its place; none without media.
    pub a_media: Option<MediaCounts>,
    /// The same of the B leg.
    pub b_media: Option<MediaCounts>,
    /// Why it went so. It travels with the record and is kept beside it.
    #[serde(default, skip_serializing_if = "Trace::is_empty")]
    #[schema(ignore)]
    pub why: Trace,
}

impl Cdr {
    /// From the INVITE to the answer, if there was one.
    pub fn setup(&self) -> Option<Duration> {
        self.answer.map(|answer| answer - self.start)
    }

    /// From the answer to the end; zero without an answer.
    pub fn talk(&self) -> Duration {
        self.answer
            .map_or(Duration::ZERO, |answer| self.end - answer)
    }
}

/// Which way a call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Teams was the A leg.
    FromTeams,
    /// Teams was the B leg, or would have been.
    ToTeams,
    /// Teams had no part in it: a customer's exchange called out by a carrier.
    BetweenTrunks,
}

impl Direction {
    /// As in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::FromTeams => "from_teams",
            Self::ToTeams => "to_teams",
            Self::BetweenTrunks => "between_trunks",
        }
    }

    /// Of a call that is admitted.
    pub(super) fn of(admission: &Admission) -> Self {
        match (&admission.gateway, admission.routes.first()) {
            (Some(_), _) => Self::FromTeams,
            (None, Some(Route::Trunk(_))) => Self::BetweenTrunks,
            (None, _) => Self::ToTeams,
        }
    }
}

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The caller's side.
    ALeg,
    /// The called side.
    BLeg,
    /// This SBC: a limit, a timer, a failure or a shutdown.
    Us,
    /// An operator, through the API.
    Operator,
}

/// What a held party heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Music {
    /// The built-in piece.
    BuiltIn,
    /// Whatever its own PBX plays.
    Pbx,
}

/// What went through one leg.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MediaCounts {
    /// Valid RTP packets from the peer.
    pub received: u64,
    /// RTP packets sent to the peer.
    pub sent: u64,
    /// Packets from the peer that never came (RFC 3550 A.3).
    pub lost: u64,
    /// In units of the RTP clock (RFC 3550 A.8).
    pub jitter: u32,
    /// Packets with a wrong SRTP or SRTCP tag.
    pub authentication_failures: u64,
    /// SRTP or SRTCP packets seen before.
    pub replayed: u64,
    /// Packets from an address that may not send on this leg.
    pub wrong_source: u64,
    /// Packets that were neither RTP nor RTCP.
    pub malformed: u64,
}

impl MediaCounts {
    /// The counts of two legs, one after the other, on the same side of a call.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            received: self.received + other.received,
            sent: self.sent + other.sent,
            lost: self.lost + other.lost,
            jitter: self.jitter.max(other.jitter),
            authentication_failures: self.authentication_failures + other.authentication_failures,
            replayed: self.replayed + other.replayed,
            wrong_source: self.wrong_source + other.wrong_source,
            malformed: self.malformed + other.malformed,
        }
    }

    /// What of these counts came after those.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let later = |now: u64, then: u64| now.saturating_sub(then);
        Self {
            received: later(self.received, before.received),
            sent: later(self.sent, before.sent),
            lost: later(self.lost, before.lost),
            jitter: self.jitter,
            authentication_failures: later(
                self.authentication_failures,
                before.authentication_failures,
            ),
            replayed: later(self.replayed, before.replayed),
            wrong_source: later(self.wrong_source, before.wrong_source),
            malformed: later(self.malformed, before.malformed),
        }
    }
}

impl From<&LegReport> for MediaCounts {
    fn from(report: &LegReport) -> Self {
        Self {
            received: report.received,
            sent: report.sent,
            lost: report.lost,
            jitter: report.jitter,
            authentication_failures: report.authentication_failures,
            replayed: report.replayed,
            wrong_source: report.wrong_source,
            malformed: report.malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    /// An answered call of 61 s that took 4 s to answer.
    fn example() -> Cdr {
        Cdr {
            id: Uuid::from_u128(7),
            generation: 3,
            customer_id: Some(Uuid::from_u128(1)),
            trunk_id: None,
            gateway: Some("acme.eu.example".into()),
            direction: Direction::FromTeams,
            emergency: false,
            from: "+14255550100".into(),
            to: "*21#".into(),
            a_call_id: "a@teams".into(),
            b_call_id: Some("b@tollgate".into()),
            start: datetime!(2026-01-02 03:04:05.25 UTC),
            ringing: Some(datetime!(2026-01-02 03:04:07 UTC)),
            answer: Some(datetime!(2026-01-02 03:04:09.25 UTC)),
            end: datetime!(2026-01-02 03:05:10.25 UTC),
            sip_code: Some(200),
            q850: Some(16),
            reason: "the caller hung up".into(),
            refused_by: None,
            ended_by: Some(EndedBy::ALeg),
            music: Some(Music::BuiltIn),
            transferred_to: None,
            a_media: Some(MediaCounts {
                received: 3050,
                ..MediaCounts::default()
            }),
            b_media: None,
            why: Trace::default(),
        }
    }

    #[test]
    fn a_record_survives_the_spool() {
        let line = serde_json::to_string(&example()).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Cdr>(&line).unwrap(), example());
    }

    /// Two legs after each other make one side; a leg that came from another call counts from there on.
    #[test]
    fn counts_of_several_legs() {
        let (early, late) = (
            MediaCounts {
                received: 20,
                lost: 3,
                jitter: 9,
                ..MediaCounts::default()
            },
            MediaCounts {
                received: 50,
                lost: 1,
                jitter: 7,
                ..MediaCounts::default()
            },
        );
        let (both, rest) = (early.and(&late), late.since(&early));
        assert_eq!((both.received, both.lost, both.jitter), (70, 4, 9));
        assert_eq!((rest.received, rest.lost, rest.jitter), (30, 0, 7));
    }

    #[test]
    fn durations_follow_from_the_times() {
        assert_eq!(
            (example().setup(), example().talk()),
            (Some(Duration::seconds(4)), Duration::seconds(61))
        );
        let unanswered = Cdr {
            answer: None,
            ..example()
        };
        assert_eq!(
            (unanswered.setup(), unanswered.talk()),
            (None, Duration::ZERO)
        );
    }
}
