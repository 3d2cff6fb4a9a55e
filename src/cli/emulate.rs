use super::Failure;
use crate::emulate::cli::{PbxArgs, RunError, TeamsArgs, run_pbx, run_teams};
use anyhow::Context;
use clap::Subcommand;

/// Whom to stand in for. Both run until they are interrupted and print every SIP message.
#[derive(Debug, Subcommand)]
pub(super) enum Emulate {
    /// Microsoft Teams Direct Routing: TLS, SRTP, and as strict as Microsoft.
    Teams(TeamsArgs),
    /// A hosted PBX: UDP and TCP, RTP, a registrar.
    Pbx(PbxArgs),
}

/// `tollgate emulate`
pub(super) fn emulate(party: Emulate) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    let done = match party {
        Emulate::Teams(arguments) => runtime.block_on(run_teams(arguments)),
        Emulate::Pbx(arguments) => runtime.block_on(run_pbx(arguments)),
    };
    done.map_err(|error| match error {
        // An address in use, a file that is missing, a certificate that is none: all the user's to mend.
        RunError::Tls(_) | RunError::Io(_) => Failure::Mend(error.into()),
    })
}
