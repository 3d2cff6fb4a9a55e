//! The command line: `tollgate run`, `check` and the small tools around them.

mod account;
mod certs;
mod check;
mod demo;
mod doctor;
mod emulate;
mod openapi;
mod portable;
mod rotate_key;
mod run;
mod token;
mod why;

use crate::config::{self, Config};
use anyhow::Context;
use clap::{Parser, Subcommand};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the shell sees when the user must mend something: arguments, configuration, database, certificates.
const MEND: u8 = 64;

/// Session border controller for Microsoft Teams Direct Routing.
///
/// Joins Teams (SIP over TLS, SRTP) to hosted PBXes and carriers. Exit status: 0 when all went well, 64 when the
/// arguments, the configuration, the database or the certificates need mending, 1 when Tollgate itself failed.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take calls until SIGINT or SIGTERM; SIGHUP reads certificates again.
    ///
    /// Without a configuration file everything listens on loopback, data lie in ./data, and certificates for trials are
    /// made. What listens where is printed, and on the first start a token for the REST API.
    Run(ConfigFile),
    /// Play calls between an emulated Teams, Tollgate and an emulated PBX, and judge them by what is heard; or take a desk
    /// telephone, or a new customer, to its first calls.
    Demo(demo::Demo),
    /// Check the configuration and what it names, change nothing, and tell everything that is wrong.
    Check(ConfigFile),
    /// Look for what keeps calls away: certificates, names, connections, numbers.
    #[command(subcommand)]
    Doctor(doctor::Doctor),
    /// Tell why a call that is over went as it did: every decision, with the values that decided it.
    Why(why::Why),
    /// Print everything that is provisioned as one file (TOML), without secrets.
    Export(portable::Export),
    /// Bring what is provisioned into the form of such a file: all of it, or nothing. Not while Tollgate runs.
    Import(portable::Import),
    /// Tokens for the REST API.
    #[command(subcommand)]
    Token(token::Token),
    /// Accounts of people who sign in with a password, for when nothing else works.
    #[command(subcommand)]
    Account(account::Account),
    /// Put a new key into the file that secrets in the database are sealed with, for the next start.
    RotateKey(ConfigFile),
    /// Certificates for trials.
    #[command(subcommand)]
    Certs(certs::Certs),
    /// Stand in for Teams, for a PBX or for Microsoft 365, to try an SBC against.
    #[command(subcommand)]
    Emulate(emulate::Emulate),
    /// Print the description of the REST API (OpenAPI, JSON).
    Openapi,
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// TOML file; without it the built-in defaults hold. TOLLGATE__SECTION__KEY in the environment wins over both.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, Failure> {
        load(self.config.as_deref())
    }
}

/// Why a command failed, by whose turn it is now.
#[derive(Debug)]
enum Failure {
    /// The user's: something outside the program needs mending.
    Mend(anyhow::Error),
    /// Ours.
    Ours(anyhow::Error),
}

impl Failure {
    fn mend(error: impl Into<anyhow::Error>) -> Self {
        Self::Mend(error.into())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Ours(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Mend(error) | Self::Ours(error)) = self;
        let mut text = error.to_string();
        for cause in error.chain().skip(1).map(ToString::to_string) {
            // Most errors of ours tell their cause themselves.
            if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
        }
        f.write_str(&text)
    }
}

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // The text goes to a closed terminal at worst.
            let _ = error.print();
            return if error.use_stderr() {
                MEND.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let result = match arguments.command {
        Command::Run(file) => run::run(&file),
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Check(file) => check::check(&file),
        Command::Doctor(command) => doctor::doctor(command),
        Command::Why(asked) => why::why(&asked),
        Command::Export(wanted) => portable::export(&wanted),
        Command::Import(wanted) => portable::import(&wanted),
        Command::Token(command) => token::token(command),
        Command::Account(command) => account::account(command),
        Command::RotateKey(file) => rotate_key::rotate_key(&file),
        Command::Certs(command) => certs::certs(command),
        Command::Emulate(party) => emulate::emulate(party),
        Command::Openapi => openapi::openapi(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tollgate: {failure}");
            if let Failure::Mend(_) = failure {
                MEND.into()
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Runs something short that waits for the database or the network.
fn wait_for<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    Ok(runtime.context("no runtime")?.block_on(work))
}

fn load(file: Option<&Path>) -> Result<Config, Failure> {
    let environment = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    config::load(file, environment).map_err(|error| {
        Failure::Mend(anyhow::anyhow!("the configuration needs mending:\n{error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// clap's own check of names, help texts and conflicts.
    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
