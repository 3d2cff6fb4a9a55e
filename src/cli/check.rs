use super::{ConfigFile, Failure, wait_for};
use crate::config::Config;
use crate::directory::Directory;
use crate::doctor::{Check, Verdict, certificate};
use crate::net::{CertificateFacts, TlsMaterial};
use crate::store::Store;
use anyhow::anyhow;
use std::time::SystemTime;

/// `tollgate check`: what is wrong ends it with an error, what is merely unwise for Teams is pointed out.
pub(super) fn check(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    println!("configuration  good");
    let mut problems = Vec::new();
    let certificates = certificates(&config, &mut problems);
    database(&config, &certificates, &mut problems)?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::Mend(anyhow!("{}", problems.join("\n"))))
}

/// The certificate of the listener, and that of the dialler if it is another one.
fn certificates(config: &Config, problems: &mut Vec<String>) -> Vec<CertificateFacts> {
    let files = config.tls();
    if config.uses_development_certificates() && !files.listener.certificate.exists() {
        let directory = config.development_directory();
        println!(
            "certificate    none configured; `run` makes one for trials in {}",
            directory.display()
        );
        return Vec::new();
    }
    let mut facts = match TlsMaterial::load(files) {
        Ok(material) => material.certificates(),
        Err(errors) => {
            problems.extend(errors.0.iter().map(ToString::to_string));
            return Vec::new();
        }
    };
    facts.dedup_by(|later, earlier| later.path == earlier.path);
    facts.iter().for_each(show);
    facts
}

fn show(facts: &CertificateFacts) {
    let addresses = facts.addresses.iter().map(ToString::to_string);
    let names: Vec<_> = facts.names.iter().cloned().chain(addresses).collect();
    let left = facts
        .not_after
        .duration_since(SystemTime::now())
        .unwrap_or_default();
    println!(
        "certificate    {} for {}",
        facts.path.display(),
        names.join(", ")
    );
    println!(
        "               {} in the chain, {} days left, by {}",
        facts.chain,
        left.as_secs() / 86_400,
        facts.issuer
    );
    let checks = certificate::judge(facts, &[], SystemTime::now());
    checks.iter().for_each(advise);
}

fn database(
    config: &Config,
    certificates: &[CertificateFacts],
    problems: &mut Vec<String>,
) -> Result<(), Failure> {
    let path = config.database();
    if !path.exists() {
        println!("database       none yet; `run` makes {}", path.display());
        return Ok(());
    }
    match wait_for(Store::inspect(
        &path,
        &config.key_file(),
        &config.directory(),
    ))? {
        Ok(Some(directory)) => provisioned(config, &directory, certificates),
        Ok(None) => println!(
            "database       {}: of an older version; `run` brings it up to date",
            path.display()
        ),
        Err(error) => problems.push(error.to_string()),
    }
    Ok(())
}

fn provisioned(config: &Config, directory: &Directory, certificates: &[CertificateFacts]) {
    let (customers, gateways) = (directory.customers().count(), directory.gateways().count());
    let trunks = directory.trunks().count();
    println!(
        "database       {}: {customers} customers, {gateways} gateways, {trunks} trunks",
        config.database().display()
    );
    let bases = directory.regions().map(|region| region.base_fqdn.clone());
    let gateways = directory.gateways().map(|gateway| gateway.fqdn.clone());
    let names: Vec<_> = bases.chain(gateways).collect();
    for facts in certificates {
        let checks = certificate::judge(facts, &names, SystemTime::now());
        let named = |check: &&Check| check.name == certificate::NAMES;
        checks.iter().filter(named).for_each(advise);
    }
}

/// What the doctor's judgement has to say against something.
fn advise(check: &Check) {
    if matches!(check.verdict, Verdict::Warning | Verdict::Fault) {
        attention(&format!(
            "{}: {}; {}",
            check.name, check.evidence, check.remedy
        ));
    }
}

fn attention(advice: &str) {
    println!("               attention: {advice}");
}
