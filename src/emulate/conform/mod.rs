//! Conformance: named scenarios between an emulated Teams and an emulated PBX, which tell what the SBC in their middle
//! does wrong, rule by rule (TDR, appendix A).
//!
//! A [`Scenario`] is a function over a [`Bench`]; [`ALL`] is the one table of them. A scenario collects findings, each
//! with the item that was broken and the bytes that broke it, and stops only where it cannot go on. What the emulated
//! Teams notes by itself during a scenario counts as a finding of that scenario. They run one after the other, and
//! each begins when the calls of the one before are over.

mod bench;
mod bypass;
mod cli;
mod connections;
mod failover;
mod findings;
mod headers;
mod look;
mod media;
mod numbers;
mod options;
mod report;
mod ringing;
mod session;
mod transfer;

use std::pin::Pin;
use std::time::Duration;

pub use bench::{Bench, Customer, Facts, PBX_TONE, TEAMS_TONE};
pub use cli::{ConformArgs, list, run};
pub use findings::{Finding, Findings};
pub use report::{Report, Row};

/// No scenario takes longer, but for its patience, which ends each wait.
const LIMIT: Duration = Duration::from_secs(150);

/// One thing that an SBC has to do.
pub struct Scenario {
    /// As on the command line.
    pub name: &'static str,
    /// The items of TDR that it tries, the foremost first.
    pub items: &'static [&'static str],
    /// What it means, in one line.
    pub meaning: &'static str,
    needs: Needs,
    play: Play,
}

/// What a scenario can only be played with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// A trunk at Teams without media bypass.
    Nothing,
    /// One with it.
    Bypass,
    /// A second customer.
    Other,
}

/// A scenario's function: what it found on the way, and what it cannot go on after.
type Play = for<'a> fn(&'a Bench, &'a mut Findings) -> Played<'a>;
type Played<'a> = Pin<Box<dyn Future<Output = findings::Step> + Send + 'a>>;

macro_rules! scenarios {
    (@needs) => { Needs::Nothing };
    (@needs $needs:ident) => { Needs::$needs };
    ($($name:literal, [$($item:literal),+], $play:path $(=> $needs:ident)?, $meaning:literal;)+) => {
        &[$(Scenario {
            name: $name,
            items: &[$($item),+],
            meaning: $meaning,
            needs: scenarios!(@needs $($needs)?),
            play: |bench, findings| Box::pin($play(bench, findings)),
        }),+]
    };
}

/// All scenarios, in their order: what spoils something for a while, such as a busy proxy, comes last.
pub const ALL: &[Scenario] = scenarios![
    "tls-in", ["TDR-126", "TDR-129", "TDR-130"], connections::dial_in,
        "Teams dials both names with a certificate for servers only";
    "tls-out", ["TDR-122", "TDR-129"], connections::dial_out,
        "the SBC dials with a certificate that covers its names";
    "tls-strangers", ["TDR-314"], connections::strangers,
        "whoever has no certificate of Microsoft's is not let in";
    "keep-alive", ["TDR-143"], connections::keep_alive,
        "a ping of two line ends is answered by one";
    "invite", ["TDR-401", "TDR-403", "TDR-404", "TDR-406", "TDR-409", "TDR-411", "TDR-412", "TDR-413", "TDR-420",
        "TDR-501", "TDR-502"], headers::invite,
        "the INVITE of the SBC, header by header";
    "answers", ["TDR-503", "TDR-403", "TDR-420", "TDR-501", "TDR-502"], headers::answers,
        "every answer to an INVITE of Teams, header by header";
    "unknown-method", ["TDR-511"], headers::unknown_method,
        "INFO is answered 200, an unknown method 405 with Allow";
    "own-offer", ["TDR-831", "TDR-810", "TDR-813", "TDR-816", "TDR-819", "TDR-820", "TDR-830", "TDR-832"], media::own_offer,
        "the description that the SBC offers";
    "worst-offer", ["TDR-831", "TDR-810", "TDR-813", "TDR-819", "TDR-820", "TDR-830", "TDR-832"], media::worst_offer,
        "SHA1_32 first and lines of ICE in the offer, and a good answer";
    "key-identifier", ["TDR-832"], media::key_identifier,
        "a key with |2^31|1:1, in the description and in the packets";
    "plain-rtp", ["TDR-830"], media::plain,
        "plain RTP is refused by 488";
    "sound", ["TDR-830", "TDR-804"], media::sound,
        "SRTP both ways, in calls of either side, judged by what is heard";
    "digits", ["TDR-813"], media::digits,
        "telephone-event both ways";
    "rtcp-mux", ["TDR-816", "TDR-815"], media::shared_rtcp,
        "RTCP on the port of RTP";
    "rtcp-port", ["TDR-816"], media::separate_rtcp,
        "RTCP on a port of its own when a=rtcp-mux is not offered";
    "ringing", ["TDR-508"], ringing::ringing,
        "180 when the PBX rings, 200 when it answers";
    "early-media", ["TDR-508"], ringing::early_media,
        "what the PBX plays before the answer is heard at Teams";
    "silent-progress", ["TDR-505"], ringing::silent_progress,
        "183 of Teams without a sound is ringing for the PBX";
    "forks", ["TDR-504", "TDR-506"], ringing::forks,
        "180 twice, 183 on a third tag, 200 on the first or a new one";
    "busy", ["TDR-516", "TDR-518"], ringing::busy,
        "486 both ways, and no cause 34 for the PBX";
    "cancel", ["TDR-517"], ringing::cancel,
        "CANCEL both ways, and 487";
    "refusal", ["TDR-213", "TDR-517"], ringing::final_refusal,
        "603, 480 and 404 of Teams are final";
    "refresh", ["TDR-512", "TDR-834"], session::refresh,
        "the same description is answered by the same, and not passed on";
    "hold", ["TDR-604", "TDR-815", "TDR-834"], session::hold,
        "a=inactive, RTCP all the while, and sound again";
    "address", ["TDR-804", "TDR-601"], session::address,
        "the SBC's media address never moves, however the PBX holds";
    "rekey", ["TDR-834"], session::rekey,
        "a new key of Teams, whose roll-over counter begins at 0";
    "transfer", ["TDR-702", "TDR-703", "TDR-704", "TDR-706", "TDR-708"], transfer::blind,
        "REFER to a user without user part, byte for byte";
    "transfer-number", ["TDR-703", "TDR-702", "TDR-706", "TDR-708"], transfer::to_number,
        "REFER to a number, which leads back to Teams";
    "transfer-consult", ["TDR-705", "TDR-706", "TDR-708"], transfer::consultative,
        "REFER with x-ti and x-tt, byte for byte";
    "transfer-held", ["TDR-608", "TDR-706"], transfer::from_hold,
        "REFER out of a hold offers both directions";
    "transfer-fails", ["TDR-709"], transfer::fails,
        "the target refuses, and the old call goes on";
    "hold-refer", ["TDR-605", "TDR-711"], transfer::hold,
        "hold by REFER to music, taken back by INVITE with Replaces";
    "replaces", ["TDR-711"], transfer::replaces,
        "INVITE with Replaces takes over a call on another connection";
    "replaces-unknown", ["TDR-711"], transfer::replaces_unknown,
        "Replaces of no dialog is refused by 481";
    "feature-code", ["TDR-302"], numbers::feature_code,
        "an unescaped # in the Request-URI";
    "emergency", ["TDR-1001"], numbers::emergency,
        "an emergency number without +";
    "location", ["TDR-1002", "TDR-1003"], numbers::location,
        "an emergency call with PIDF-LO in multipart/mixed";
    "unknown-host", ["TDR-301", "TDR-1212"], numbers::unknown_host,
        "a gateway that nobody has is refused and reaches nobody";
    "unknown-caller", ["TDR-313", "TDR-1212"], numbers::unknown_caller,
        "a caller that is not the customer's is refused or replaced";
    "isolation", ["TDR-1212", "TDR-301", "TDR-313"], numbers::isolation => Other,
        "neither number nor gateway of another customer serves this one";
    "closed-connection", ["TDR-144", "TDR-140"], connections::closed,
        "Teams closes its connections, the call lives on, BYE comes on the SBC's own";
    "other-connection", ["TDR-142", "TDR-141"], connections::other_connection,
        "re-INVITE and BYE of a call come on other connections";
    "unknown-source", ["TDR-105"], connections::unknown_source,
        "a call from an address in the ranges that no name leads to";
    "no-ack", ["TDR-514"], ringing::no_ack,
        "a 200 that Teams never acknowledges ends the call";
    "options-out", ["TDR-201", "TDR-202", "TDR-203", "TDR-204", "TDR-404", "TDR-420"], options::sent,
        "OPTIONS of the SBC to every proxy, again and again";
    "options-in", ["TDR-207"], options::answered,
        "OPTIONS of Teams are answered with Contact and Allow";
    "slow-proxy", ["TDR-213"], failover::slow,
        "a 100 after two seconds is no reason to call twice";
    "busy-proxy", ["TDR-212", "TDR-211"], failover::busy,
        "503 with Retry-After: the next proxy, and not that one for a while";
    "gone-proxy", ["TDR-211"], failover::gone,
        "a proxy that refuses connections: the next one";
    "deaf-proxy", ["TDR-213"], failover::deaf,
        "a proxy that says nothing: the next one";
    "ice-lite", ["TDR-840", "TDR-841"], bypass::lite => Bypass,
        "media bypass: ice-lite, credentials and one candidate, in offer and answer";
    "ice-checks", ["TDR-840", "TDR-801"], bypass::checks => Bypass,
        "media bypass: every check is answered, and sound flows both ways";
    "ice-nomination", ["TDR-843", "TDR-508"], bypass::nomination => Bypass,
        "media bypass: nominated after 183, before 200, which says the same of ICE";
    "ice-forks", ["TDR-842"], bypass::forks => Bypass,
        "media bypass: two clients check, and the one that answers is heard";
    "ice-restart", ["TDR-844"], bypass::restart => Bypass,
        "media bypass: new credentials, the same candidate, and sound again";
];

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    /// Whether it can be played on a bench of which this is so.
    pub fn suits(&self, facts: &Facts) -> bool {
        match self.needs {
            Needs::Nothing => !facts.media_bypass,
            Needs::Bypass => facts.media_bypass,
            Needs::Other => !facts.media_bypass && facts.other.is_some(),
        }
    }

    /// Plays it, and leaves nothing of it behind.
    pub async fn run(&self, bench: &Bench) -> Row {
        bench.clear().await;
        drop(bench.teams.take_notes());
        let begun = std::time::Instant::now();
        let mut findings = Findings::default();
        let played = tokio::time::timeout(LIMIT, (self.play)(bench, &mut findings)).await;
        let outcome = played.unwrap_or_else(|_| {
            let evidence = format!("it did not within {} s", LIMIT.as_secs());
            let rule = "the scenario comes to an end";
            Err(Finding::new(self.items[0], rule, evidence))
        });
        findings.step(outcome);
        findings.noted(bench.teams.take_notes());
        let took = begun.elapsed();
        bench.clear().await;
        Row::new(self, findings, took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Every scenario has a name of its own that a shell takes, names its items as the specification does, and says
    /// what it means in a line.
    #[test]
    fn the_table_is_in_order() {
        let names: HashSet<_> = ALL.iter().map(|s| s.name).collect();
        assert_eq!(names.len(), ALL.len());
        for scenario in ALL {
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(scenario.name.chars().all(plain), "{}", scenario.name);
            for item in scenario.items {
                let number = item.strip_prefix("TDR-").map(str::parse::<u16>);
                assert!(matches!(number, Some(Ok(101..=1599))), "{item}");
            }
            assert!(
                (10..=90).contains(&scenario.meaning.chars().count()),
                "{}",
                scenario.meaning
            );
            assert!(find(scenario.name).is_some());
        }
        assert!(find("nonsense").is_none());
    }
}
