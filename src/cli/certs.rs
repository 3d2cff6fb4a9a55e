use super::{ConfigFile, Failure};
use crate::net::dev_certificates;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum Certs {
    /// Make a CA and a certificate for trials on this machine, and tell where they are.
    ///
    /// A set that is valid and carries all the names is kept. Teams does not accept it: it is for laboratories.
    Dev(Dev),
}

#[derive(Debug, Args)]
pub(super) struct Dev {
    #[command(flatten)]
    file: ConfigFile,
    /// Where to; without it the place where `run` looks for them, `certs` in the data directory.
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// DNS names and IP addresses that the certificate is for, besides those of the configured listeners.
    names: Vec<String>,
}

/// `tollgate certs`
pub(super) fn certs(command: Certs) -> Result<(), Failure> {
    let Certs::Dev(dev) = command;
    let config = dev.file.load()?;
    let directory = dev
        .directory
        .unwrap_or_else(|| config.development_directory());
    let mut names = config.development_names();
    names.extend(dev.names);
    let set = dev_certificates::ensure(&directory, &names).map_err(Failure::mend)?;
    println!("root         {}", set.ca.display());
    println!("certificate  {}", set.identity.certificate.display());
    println!("private key  {}", set.identity.private_key.display());
    Ok(())
}
