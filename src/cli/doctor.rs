use super::{ConfigFile, Failure, wait_for};
use crate::config::Config;
use crate::directory::Directory;
use crate::doctor::{self, Diagnosis, MOST_GATEWAYS, Verdict, Wanted};
use crate::net::TlsMaterial;
use crate::store::Store;
use anyhow::anyhow;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::sync::Arc;

/// What keeps calls away.
///
/// Each check has a verdict (ok, warning, FAULT, not checked), what was seen, and what helps. With a fault the exit
/// status is 64. Nothing is changed; OPTIONS are sent at most.
#[derive(Debug, Subcommand)]
pub(super) enum Doctor {
    /// Certificates, names, TLS both ways, OPTIONS, number plan; and PowerShell for the tenants.
    Teams {
        /// Only this gateway.
        #[arg(long, value_name = "FQDN", conflicts_with_all = ["most", "after"])]
        gateway: Option<String>,
        /// At most so many gateways, in the order of their names.
        #[arg(long, value_name = "NUMBER", default_value_t = MOST_GATEWAYS)]
        most: usize,
        /// Only gateways whose names come after this one, as the last one of an earlier run.
        #[arg(long, value_name = "FQDN")]
        after: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// A PBX or carrier: address, TLS, OPTIONS, settings, and whether large requests get through.
    Trunk {
        /// The trunk's name.
        name: String,
        #[command(flatten)]
        how: How,
    },
    /// A certificate chain in PEM, in use or not yet.
    Certificate {
        /// The certificate, then its intermediates.
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Debug, Args)]
pub(super) struct How {
    #[command(flatten)]
    file: ConfigFile,
    /// Roots in PEM that certificates of ours should lead to; without it those of this machine.
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// `tollgate doctor`
pub(super) fn doctor(command: Doctor) -> Result<(), Failure> {
    let (Doctor::Teams { how, .. } | Doctor::Trunk { how, .. } | Doctor::Certificate { how, .. }) =
        &command;
    let config = how.file.load()?;
    let tls = TlsMaterial::load(config.tls());
    let tls = tls.map(Arc::new).map_err(|errors| errors.to_string());
    let settings = doctor::Config {
        roots: how.roots.clone(),
        ..config.doctor()
    };
    let doctor = doctor::Doctor::new(settings, tls);
    let directory = directory(&config)?;
    let none = || {
        Failure::Mend(anyhow!(
            "nothing is provisioned in {}",
            config.database().display()
        ))
    };
    let diagnosis = match &command {
        Doctor::Teams {
            gateway,
            most,
            after,
            ..
        } => {
            let directory = directory.ok_or_else(none)?;
            let next = Wanted::Next {
                most: *most,
                after: after.as_deref(),
            };
            let wanted = gateway.as_deref().map_or(next, Wanted::Gateway);
            wait_for(doctor.teams(&directory, wanted))?.map_err(Failure::mend)?
        }
        Doctor::Trunk { name, .. } => {
            let directory = directory.ok_or_else(none)?;
            wait_for(doctor.trunk(&directory, name))?.map_err(Failure::mend)?
        }
        Doctor::Certificate { file, .. } => doctor.certificate(file, directory.as_deref()),
    };
    print(&diagnosis, how.json)?;
    let faults = diagnosis
        .checks
        .iter()
        .filter(|c| c.verdict == Verdict::Fault);
    match faults.count() {
        0 => Ok(()),
        faults => Err(Failure::Mend(anyhow!("{faults} checks found a fault"))),
    }
}

fn print(diagnosis: &Diagnosis, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(diagnosis)?);
    } else {
        print!("{diagnosis}");
    }
    Ok(())
}

/// What is provisioned, without changing it.
fn directory(config: &Config) -> Result<Option<Arc<Directory>>, Failure> {
    let path = config.database();
    if !path.exists() {
        return Ok(None);
    }
    let found = wait_for(Store::inspect(
        &path,
        &config.key_file(),
        &config.directory(),
    ))?
    .map_err(Failure::mend)?;
    match found {
        Some(directory) => Ok(Some(Arc::new(directory))),
        None => Err(Failure::Mend(anyhow!(
            "{} is of an older version; `tollgate run` brings it up to date",
            path.display()
        ))),
    }
}
