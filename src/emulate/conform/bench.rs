//! The bench on which an SBC is tried: an emulated Teams on one side, an emulated PBX on the other.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::findings::{Finding, Step};
use super::look;
use crate::emulate::{
    CallError, EmuCall, Identity, Pbx, PbxCall, Quirks, Teams, TeamsCall, Traced, Way,
};

/// Hertz that Teams plays when a call begins.
pub const TEAMS_TONE: f64 = 440.0;
/// The same of the PBX.
pub const PBX_TONE: f64 = 600.0;
/// The same of whoever a call was transferred to.
pub(super) const OTHER_TONE: f64 = 800.0;

/// What the SBC has been told about the world, or the world about the SBC.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The carrier's trunk at Teams, which OPTIONS are about.
    pub base: String,
    /// The customer's derived trunk, which calls are about.
    pub gateway: String,
    /// The customer's number at Teams.
    pub teams_number: String,
    /// A number behind the SBC: the emulated PBX answers it, rings or is busy, as a scenario wants.
    pub pbx_number: String,
    /// What a user dials at Teams that is no number; it leads to the PBX too.
    pub feature_code: String,
    /// An emergency number, without `+`; it leads to the PBX too.
    pub emergency: String,
    /// Another customer of the SBC, whose calls lead elsewhere.
    pub other: Option<Customer>,
    /// Whether the trunk at Teams has media bypass.
    pub media_bypass: bool,
    /// Between OPTIONS of the SBC.
    pub options_interval: Duration,
    /// An address of this machine, in the ranges that the SBC takes for Teams', that no name leads to.
    pub source: IpAddr,
    /// A certificate from an authority that nobody trusts.
    pub stranger: Identity,
    /// Whoever signed the SBC's certificates, PEM.
    pub sbc_roots: String,
}

/// A customer, as Teams knows it.
#[derive(Debug, Clone)]
pub struct Customer {
    /// Its derived trunk.
    pub gateway: String,
    /// One of its numbers at Teams.
    pub number: String,
}

/// Both emulators, and what the SBC between them has been told.
pub struct Bench {
    /// On the one side.
    pub teams: Teams,
    /// On the other.
    pub pbx: Pbx,
    /// See there.
    pub facts: Facts,
}

/// One leg of a call at each side of the SBC.
pub(super) struct Pair {
    pub teams: EmuCall,
    pub pbx: EmuCall,
}

impl Bench {
    /// Ends what the last scenario left over.
    pub(super) async fn clear(&self) {
        self.teams.dial_from(None);
        tokio::join!(self.teams.clear(), self.pbx.clear());
        // The ends of calls cross the SBC; a scenario begins when that is over.
        for _ in 0..50 {
            let before = self.size();
            tokio::time::sleep(Duration::from_millis(30)).await;
            if self.size() == before {
                break;
            }
        }
        tokio::join!(self.teams.clear(), self.pbx.clear());
    }

    fn size(&self) -> (Option<Instant>, Option<Instant>) {
        let last = |messages: Vec<Traced>| messages.last().map(|m| m.at);
        (
            last(self.teams.trace().messages()),
            last(self.pbx.trace().messages()),
        )
    }

    /// An ordinary call of Teams to the PBX's number.
    pub(super) fn ordinary(&self) -> TeamsCall {
        TeamsCall {
            to: self.facts.pbx_number.clone(),
            from: self.facts.teams_number.clone(),
            gateway: self.facts.gateway.clone(),
            headers: Vec::new(),
        }
    }

    /// Calls from Teams, whatever comes of it.
    pub(super) async fn dial(&self, call: TeamsCall, quirks: Quirks) -> Step<EmuCall> {
        let dialled = self.teams.call_oddly(call, quirks).await;
        dialled.map_err(|error| Finding::new("TDR-129", "Teams can dial the SBC", error))
    }

    /// Calls from the PBX, whatever comes of it.
    pub(super) async fn dial_from_pbx(&self) -> Step<EmuCall> {
        let call = PbxCall {
            to: self.facts.teams_number.clone(),
            from: self.facts.pbx_number.clone(),
            ..PbxCall::default()
        };
        let dialled = self.pbx.call(call).await;
        dialled.map_err(|error| Finding::new("TDR-401", "the PBX can call", error))
    }

    /// An answered call of Teams; if there is none, `item` was broken.
    pub(super) async fn call_from_teams(&self, item: &'static str) -> Step<Pair> {
        self.call_from_teams_oddly(item, self.ordinary(), Quirks::default())
            .await
    }

    /// The same for a call that is not ordinary.
    pub(super) async fn call_from_teams_oddly(
        &self,
        item: &'static str,
        call: TeamsCall,
        quirks: Quirks,
    ) -> Step<Pair> {
        let to = call.to.clone();
        let teams = self.dial(call, quirks).await?;
        answered(
            item,
            &teams,
            &format!("the call of Teams to {to} is answered"),
        )
        .await?;
        let pbx = self.at_pbx(item).await?;
        Ok(Pair { teams, pbx })
    }

    /// An answered call of the PBX; if there is none, `item` was broken.
    pub(super) async fn call_from_pbx(&self, item: &'static str) -> Step<Pair> {
        let pbx = self.dial_from_pbx().await?;
        if let Err(error) = pbx.answered().await {
            let evidence = match self.refused_by_teams() {
                Some(refusal) => format!(
                    "Teams answered {refusal}; the PBX heard {}",
                    look::last_word(&pbx)
                ),
                None => format!("{error}; the PBX heard {}", look::last_word(&pbx)),
            };
            return Err(Finding::new(
                item,
                "the call of the PBX is answered",
                evidence,
            ));
        }
        let teams = self.at_teams(item).await?;
        Ok(Pair { teams, pbx })
    }

    /// What Teams answered to the last INVITE, if it refused it.
    fn refused_by_teams(&self) -> Option<String> {
        let messages = self.teams.trace().messages();
        let last = messages.iter().rev().find(|m| {
            m.way == Way::Out && m.cseq.ends_with("INVITE") && m.first_line.starts_with("SIP/2.0")
        })?;
        let message = look::read(&last.text)?;
        (message.status() >= Some(300)).then(|| look::line(&message, "Reason"))
    }

    /// The leg that came to the PBX.
    pub(super) async fn at_pbx(&self, item: &'static str) -> Step<EmuCall> {
        let came = self.pbx.incoming().await;
        came.ok_or_else(|| {
            Finding::new(item, "the call reaches the PBX", "nothing came to the PBX")
        })
    }

    /// The leg that came to Teams.
    pub(super) async fn at_teams(&self, item: &'static str) -> Step<EmuCall> {
        let came = self.teams.incoming().await;
        came.ok_or_else(|| {
            Finding::new(
                item,
                "an INVITE comes to Teams",
                "no INVITE that Teams takes",
            )
        })
    }

    /// INVITEs that start calls, that came to Teams since then: at which proxy each came.
    pub(super) fn invites_since(&self, from: Instant) -> Vec<usize> {
        let messages = self.teams.trace().messages();
        let fresh = messages
            .iter()
            .filter(|m| m.at >= from && m.way == Way::In && m.first_line.starts_with("INVITE "));
        fresh
            .filter_map(|m| {
                let (here, _) = m.ends?;
                self.teams.proxies.iter().position(|proxy| *proxy == here)
            })
            .collect()
    }
}

impl Pair {
    /// Each side hears the other's tone.
    pub(super) async fn both_hear(&self, item: &'static str) -> Step {
        hear_each_other(item, (&self.teams, TEAMS_TONE), (&self.pbx, PBX_TONE)).await
    }
}

/// Each side hears the other's tone: Teams' side with its own tone first.
pub(super) async fn hear_each_other(
    item: &'static str,
    (teams, its): (&EmuCall, f64),
    (pbx, theirs): (&EmuCall, f64),
) -> Step {
    let (at_teams, at_pbx) = tokio::join!(teams.hears_tone(theirs), pbx.hears_tone(its));
    for (heard, call, who, tone) in [
        (at_teams, teams, "Teams", theirs),
        (at_pbx, pbx, "the PBX", its),
    ] {
        heard.map_err(|_| {
            let report = call.report();
            let evidence = format!(
                "{} packets heard, {} refused by SRTP, {} from elsewhere; {:?}",
                report.received,
                report.refused,
                report.strangers,
                call.phase()
            );
            Finding::new(item, format!("{who} hears {tone} Hz"), evidence)
        })?;
    }
    Ok(())
}

/// A call is answered, or `item` was broken.
pub(super) async fn answered(item: &'static str, call: &EmuCall, rule: &str) -> Step {
    call.answered().await.map_err(|error| {
        let evidence = match error {
            CallError::Patience => format!("no final answer; last {}", look::last_word(call)),
            _ => look::last_word(call),
        };
        Finding::new(item, rule, evidence)
    })
}

/// The final status of a call that is not answered.
pub(super) async fn refused(item: &'static str, call: &EmuCall, rule: &str) -> Step<u16> {
    match call.answered().await {
        Err(CallError::Ended(ended)) => Ok(ended.status),
        Err(error) => Err(Finding::new(
            item,
            rule,
            format!("{error}; {}", look::last_word(call)),
        )),
        Ok(()) => Err(Finding::new(item, rule, "it was answered")),
    }
}

/// Something of a call's own worked, or `item` was broken.
pub(super) fn done<T>(
    item: &'static str,
    call: &EmuCall,
    rule: &str,
    outcome: Result<T, CallError>,
) -> Step<T> {
    outcome.map_err(|error| {
        Finding::new(
            item,
            rule,
            format!("{error}; last {}", look::last_word(call)),
        )
    })
}
