//! The project's own stand-in for Teams, which shares no code with the SBC: sipp has neither SRTP nor ICE.

use crate::lab::{BASE, CUSTOMER, Lab, PBX_NUMBER, TEAMS_COLLEAGUE, TEAMS_NUMBER};
use crate::process::PATIENCE;
use std::net::SocketAddr;
use tollgate::emulate::{EmuCall, Gateway, Teams, TeamsCall, TeamsConfig};

/// What its users play.
pub const TEAMS_TONE: f64 = 440.0;

/// Starts it; with `bypass`, its users are clients with ICE.
pub async fn teams(lab: &Lab, bypass: bool) -> Teams {
    let sbc = SocketAddr::from((lab.sbc(), 5061));
    let (listener, dialler) = (lab.teams.clone(), lab.teams.clone());
    let mut settings = TeamsConfig::new(sbc, listener, dialler, lab.sbc_roots.clone());
    settings.listen = SocketAddr::from((lab.microsoft(), 5061));
    settings.media = lab.microsoft().into();
    settings.media_bypass = bypass;
    settings.tone = TEAMS_TONE;
    settings.patience = PATIENCE;
    let teams = Teams::start(settings).await.expect("the emulated Teams");
    let numbers = [TEAMS_NUMBER, TEAMS_COLLEAGUE].map(str::to_owned).to_vec();
    for (fqdn, numbers) in [(BASE, vec![]), (CUSTOMER, numbers)] {
        teams.register(Gateway {
            fqdn: fqdn.to_owned(),
            numbers,
        });
    }
    teams
}

/// A call to the telephone at the PBX, answered.
pub async fn call(teams: &Teams) -> EmuCall {
    let call = TeamsCall {
        to: PBX_NUMBER.to_owned(),
        from: TEAMS_NUMBER.to_owned(),
        gateway: CUSTOMER.to_owned(),
        headers: Vec::new(),
    };
    let call = teams.call(call).await.expect("a call");
    call.answered().await.expect("an answer");
    call
}
