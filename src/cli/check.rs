use super::{ConfigFile, Failure};
use crate::config::Config;
use crate::net::{CertificateFacts, TlsMaterial};
use anyhow::anyhow;
use std::time::{Duration, SystemTime};

/// Public certificates are renewed well before; Teams warns at the same distance (TDR-209).
const SOON: Duration = Duration::from_secs(30 * 86_400);

/// `tollgate check`
pub(super) fn check(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    println!("configuration  good");
    let mut problems = Vec::new();
    certificates(&config, &mut problems);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::Mend(anyhow!("{}", problems.join("\n"))))
    }
}

fn certificates(config: &Config, problems: &mut Vec<String>) {
    let files = config.tls();
    if config.uses_development_certificates() && !files.listener.certificate.exists() {
        let directory = config.development_directory();
        println!(
            "certificates   none configured; `run` makes development ones in {}",
            directory.display()
        );
        return;
    }
    match TlsMaterial::load(files) {
        Ok(material) => material.certificates().iter().for_each(show),
        Err(errors) => problems.extend(errors.0.iter().map(ToString::to_string)),
    }
}

/// What a certificate says, and what Teams will not like about it: advice, for a laboratory may do without.
fn show(facts: &CertificateFacts) {
    let role = if facts.listener {
        "listener"
    } else {
        "dialler"
    };
    let addresses = facts.addresses.iter().map(ToString::to_string);
    let names: Vec<_> = facts.names.iter().cloned().chain(addresses).collect();
    let left = facts
        .not_after
        .duration_since(SystemTime::now())
        .unwrap_or_default();
    println!(
        "certificate    {role}: {} for {}",
        facts.path.display(),
        names.join(", ")
    );
    println!(
        "               {} in the chain, {} days left, by {}",
        facts.chain,
        left.as_secs() / 86_400,
        facts.issuer
    );
    let advice = [
        (left < SOON, "it ends soon"),
        (!facts.rsa, "its key is not RSA, which Teams asks for"),
        (!facts.server_auth, "it may not be used by a server"),
        (
            !facts.client_auth,
            "it may not be used by a client, which Teams asks for",
        ),
    ];
    for (_, text) in advice.iter().filter(|(applies, _)| *applies) {
        println!("               attention: {text}");
    }
}
