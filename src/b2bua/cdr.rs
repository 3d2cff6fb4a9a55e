use super::why::Trace;
use crate::directory::{Admission, Route};
use crate::media::LegReport;
use crate::rtp::mos::mos;
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
    /// Teams had no part in it: a customer's exchange called out by a carrier, or a desk telephone called or was called.
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
            (None, Some(Route::Trunk(_) | Route::Phone(_))) => Self::BetweenTrunks,
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

/// Why nobody was heard on one side of a call, as far as that can be told from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Silence {
    /// The peer was on hold, by its own wish or its partner's.
    Held,
    /// Packets came and none had a valid tag: the keys differ.
    SrtpAuthFailed,
    /// Valid packets came, and then only such as look like another round of sequence numbers (RFC 3711 §3.3.1).
    RocJump,
    /// Packets came from elsewhere than the peer said.
    WrongSource,
    /// The peer ceased to consent to the path that it had chosen (RFC 7675).
    IceConsentLost,
    /// The peer sent reports and no voice.
    FarEndMuted,
    /// Nothing at all came, while we sent.
    FirewallSuspected,
    /// Nothing came, and nothing was sent.
    NoPackets,
}

impl Silence {
    /// As in the API, the database and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::SrtpAuthFailed => "srtp_auth_failed",
            Self::RocJump => "roc_jump",
            Self::WrongSource => "wrong_source",
            Self::IceConsentLost => "ice_consent_lost",
            Self::FarEndMuted => "far_end_muted",
            Self::FirewallSuspected => "firewall_suspected",
            Self::NoPackets => "no_packets",
        }
    }

    /// Why a peer was not heard, or is no longer; none if it was. `held`: whether it was not to send in the end.
    pub(super) fn of(report: &LegReport, held: bool) -> Option<Self> {
        if report.received > 0 {
            return match report {
                r if r.failing >= UNHEARD => Some(Self::RocJump),
                r if r.consent_lost => Some(Self::IceConsentLost),
                _ => None,
            };
        }
        Some(match report {
            _ if held => Self::Held,
            r if r.authentication_failures > 0 => Self::SrtpAuthFailed,
            r if r.wrong_source > 0 => Self::WrongSource,
            r if r.consent_lost => Self::IceConsentLost,
            r if r.reports > 0 => Self::FarEndMuted,
            r if r.sent > 0 => Self::FirewallSuspected,
            _ => Self::NoPackets,
        })
    }
}

/// Milliseconds of voice in a packet, which nobody hears before it is whole.
const PACKET_MS: u32 = 20;
/// Ticks of the clock in which jitter is told, in a millisecond.
const TICKS_PER_MS: u32 = 8;
/// After so many packets that nobody can hear, a second of them, a stream is broken.
const UNHEARD: u64 = 50;

/// What went through one leg.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// Most packets from the peer that were missing in a row.
    #[serde(default)]
    pub longest_gap: u64,
    /// Packets that the peer says never reached it (RFC 3550 §6.4.1).
    #[serde(default)]
    pub lost_there: u64,
    /// From us to the peer and back, in milliseconds, by its last report.
    #[serde(default)]
    pub round_trip_ms: Option<u32>,
    /// Mean opinion score of what came from the peer, 1 to 4.4: an estimate by a simplified ITU-T G.107.
    #[serde(default)]
    pub mos_estimate: Option<f32>,
    /// The voice that was agreed on last.
    #[serde(default)]
    pub codec: Option<String>,
    /// The SRTP suite; none for plain RTP.
    #[serde(default)]
    pub srtp: Option<String>,
    /// Why the peer was not heard, in an answered call of three seconds or more.
    #[serde(default)]
    pub silence: Option<Silence>,
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
            longest_gap: self.longest_gap.max(other.longest_gap),
            lost_there: self.lost_there + other.lost_there,
            round_trip_ms: other.round_trip_ms.or(self.round_trip_ms),
            mos_estimate: None,
            codec: other.codec.clone().or(self.codec.clone()),
            srtp: other.srtp.clone().or(self.srtp.clone()),
            silence: other.silence,
        }
    }

    /// What a listener would think of it, if there was anything to hear. `delay` is what the jitter buffer and the packets
    /// themselves add to half the round trip.
    fn estimated(&self) -> Option<f32> {
        let expected = self.received + self.lost;
        let loss = (self.received > 0).then(|| self.lost as f32 / expected as f32)?;
        let buffered =
            Duration::milliseconds(i64::from(PACKET_MS + 2 * self.jitter / TICKS_PER_MS));
        let travelled = Duration::milliseconds(i64::from(self.round_trip_ms.unwrap_or(0) / 2));
        let delay = (buffered + travelled).unsigned_abs();
        Some((mos(loss, delay) * 100.0).round() / 100.0)
    }

    /// The same, judged as a whole.
    pub(super) fn judged(mut self) -> Self {
        self.mos_estimate = self.estimated();
        self
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
            longest_gap: self.longest_gap,
            lost_there: later(self.lost_there, before.lost_there),
            round_trip_ms: self.round_trip_ms,
            mos_estimate: None,
            codec: self.codec.clone(),
            srtp: self.srtp.clone(),
            silence: self.silence,
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
            longest_gap: report.longest_gap,
            lost_there: report.lost_there,
            round_trip_ms: report
                .round_trip
                .and_then(|trip| trip.as_millis().try_into().ok()),
            ..Self::default()
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

    /// What is known of a leg that nobody was heard on names one cause; of one that was heard, none.
    #[test]
    fn silence_is_explained() {
        let quiet = LegReport {
            sent: 100,
            ..LegReport::default()
        };
        let of = |report: LegReport| Silence::of(&report, false);
        let with = |change: fn(&mut LegReport)| {
            let mut report = quiet.clone();
            change(&mut report);
            of(report)
        };
        assert_eq!(of(LegReport::default()), Some(Silence::NoPackets));
        assert_eq!(of(quiet.clone()), Some(Silence::FirewallSuspected));
        assert_eq!(Silence::of(&quiet, true), Some(Silence::Held));
        assert_eq!(with(|r| r.reports = 1), Some(Silence::FarEndMuted));
        assert_eq!(with(|r| r.wrong_source = 1), Some(Silence::WrongSource));
        assert_eq!(
            with(|r| r.consent_lost = true),
            Some(Silence::IceConsentLost)
        );
        let failures = with(|r| (r.authentication_failures, r.wrong_source) = (9, 9));
        assert_eq!(failures, Some(Silence::SrtpAuthFailed));
        assert_eq!(with(|r| (r.received, r.failing) = (9, 49)), None);
        assert_eq!(
            with(|r| (r.received, r.failing) = (9, 50)),
            Some(Silence::RocJump)
        );
    }

    /// Loss and a long way are heard; without a packet there is nothing to judge.
    #[test]
    fn what_came_is_judged() {
        let clean = MediaCounts {
            received: 1000,
            ..MediaCounts::default()
        };
        let lossy = MediaCounts {
            lost: 100,
            round_trip_ms: Some(300),
            ..clean.clone()
        };
        let score = |counts: MediaCounts| counts.judged().mos_estimate;
        assert_eq!(score(clean), Some(4.4));
        assert!((2.5..3.5).contains(&score(lossy).unwrap()));
        assert_eq!(score(MediaCounts::default()), None);
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
