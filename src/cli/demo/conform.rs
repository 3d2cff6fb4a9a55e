//! The scenarios of conformance, with Tollgate as the SBC.

use super::play::Cast;
use super::stage::{
    BASE, CUSTOMER, KEEP_ALIVE, OTHER, OTHER_NUMBER, PBX_NUMBER, Plan, Stage, TEAMS_NUMBER,
};
use crate::cli::{Failure, emulate};
use crate::emulate::conform::{ALL, Bench, Customer, Facts, Report};
use crate::emulate::{Authority, KeyKind, Usage};
use anyhow::Context;
use std::io::Write;
use std::time::Duration;

/// Room for every scenario, another customer, a second and a third proxy, and nobody who waits half a minute for a lost
/// ACK.
const PLAN: Plan = Plan {
    channels: 16,
    other: true,
    media_bypass: false,
    others: 2,
    // Longer than a proxy that says nothing costs.
    patience: Duration::from_secs(15),
    ports: 1_000,
    t1: Duration::from_millis(100),
    desk: false,
    sections: String::new(),
};

/// Plays all of them, those about media bypass with a trunk that has it, and prints what came of it.
pub(super) async fn play(json: bool) -> Result<(), Failure> {
    let mut report = Report::default();
    act(&PLAN, json, &mut report).await?;
    let bypass = Plan {
        media_bypass: true,
        ..PLAN
    };
    act(&bypass, json, &mut report).await?;
    let verdict = if json {
        report.json().to_string()
    } else {
        format!("\n{report}")
    };
    // Whoever closed the pipe still gets the exit status.
    let _ = writeln!(std::io::stdout(), "{verdict}");
    emulate::judge(&report)
}

/// The scenarios that suit this plan.
async fn act(plan: &Plan, json: bool, report: &mut Report) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let stage = Stage::set(plan).await.context("setting the stage")?;
    if !json {
        // Whoever closed the pipe still gets the exit status.
        let _ = writeln!(out, "{}\n", stage.describe());
    }
    let facts = facts(&stage, plan).context("certificates of strangers")?;
    let Stage {
        teams,
        pbx,
        sbc,
        directory,
        ..
    } = stage;
    let bench = Bench { teams, pbx, facts };
    for scenario in ALL.iter().filter(|s| s.suits(&bench.facts)) {
        let row = scenario.run(&bench).await;
        if !json {
            let _ = writeln!(out, "{row}");
        }
        report.push(row);
    }
    sbc.shut_down().await;
    drop(directory);
    Ok(())
}

fn facts(stage: &Stage, plan: &Plan) -> anyhow::Result<Facts> {
    let names = ["sip.pstnhub.microsoft.com"];
    Ok(Facts {
        base: BASE.to_owned(),
        gateway: CUSTOMER.to_owned(),
        teams_number: TEAMS_NUMBER.to_owned(),
        pbx_number: PBX_NUMBER.to_owned(),
        feature_code: "*21#".to_owned(),
        emergency: "911".to_owned(),
        other: plan.other.then(|| Customer {
            gateway: OTHER.to_owned(),
            number: OTHER_NUMBER.to_owned(),
        }),
        media_bypass: plan.media_bypass,
        options_interval: KEEP_ALIVE,
        source: [127, 0, 0, 9].into(),
        stranger: Authority::new("Nobody")?.issue(&names, Usage::Both, KeyKind::Ec)?,
        sbc_roots: stage.sbc_roots.clone(),
    })
}
