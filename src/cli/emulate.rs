use super::Failure;
use crate::emulate::cli::{PbxArgs, RunError, TeamsArgs, run_pbx, run_teams};
use crate::emulate::conform;
use crate::emulate::microsoft::cli::{MicrosoftArgs, run_microsoft};
use anyhow::{Context, anyhow};
use clap::Subcommand;
use std::io::Write;

/// Whom to stand in for, until interrupted. Teams and the PBX print every SIP message; Teams can also try an SBC (--conform).
#[derive(Debug, Subcommand)]
pub(super) enum Emulate {
    /// Microsoft Teams Direct Routing: TLS, SRTP, and as strict as Microsoft.
    Teams(Box<TeamsArgs>),
    /// A hosted PBX: UDP and TCP, RTP, a registrar.
    Pbx(Box<PbxArgs>),
    /// Microsoft 365: sign-in, Graph and voice routes, over HTTP.
    Microsoft(Box<MicrosoftArgs>),
}

/// `tollgate emulate`
pub(super) fn emulate(party: Emulate) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    match party {
        Emulate::Teams(arguments) if arguments.conform.list => {
            // Whoever closed the pipe has seen enough.
            let _ = write!(std::io::stdout(), "{}", conform::list());
            Ok(())
        }
        Emulate::Teams(arguments) => match arguments.conform.conform.clone() {
            Some(target) => {
                let report = runtime
                    .block_on(conform::run(*arguments, &target))
                    .map_err(mend)?;
                judge(&report)
            }
            None => runtime.block_on(run_teams(*arguments)).map_err(mend),
        },
        Emulate::Pbx(arguments) => runtime.block_on(run_pbx(*arguments)).map_err(mend),
        Emulate::Microsoft(arguments) => runtime.block_on(run_microsoft(*arguments)).map_err(mend),
    }
}

/// An address in use, a file that is missing, a certificate that is none: all the user's to mend.
fn mend(error: RunError) -> Failure {
    Failure::Mend(error.into())
}

/// What does not conform is no mistake of whoever asked.
pub(super) fn judge(report: &conform::Report) -> Result<(), Failure> {
    match (report.holds(), report.failed()) {
        (true, _) => Ok(()),
        (false, failed) => Err(Failure::Ours(anyhow!("{failed} scenarios fail"))),
    }
}
