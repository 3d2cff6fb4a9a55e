use super::{ConfigFile, Failure, wait_for};
use crate::config::Config;
use crate::directory::Directory;
use crate::net::{CertificateFacts, TlsMaterial};
use crate::store::Store;
use anyhow::anyhow;
use std::time::{Duration, SystemTime};

/// Teams warns of a certificate's end at the same distance (TDR-209).
const SOON: Duration = Duration::from_secs(30 * 86_400);

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
    for (applies, advice) in [
        (left < SOON, "it ends soon"),
        (
            !facts.rsa,
            "its key is not RSA, which Teams asks for (TDR-121)",
        ),
        (!facts.server_auth, "it is not meant for servers"),
        (
            !facts.client_auth,
            "it is not meant for clients, which Teams asks for (TDR-128)",
        ),
    ] {
        if applies {
            attention(advice);
        }
    }
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
    match wait_for(Store::inspect(&path, &config.directory()))? {
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
    for certificate in certificates {
        let covered = |fqdn: &str| certificate.names.iter().any(|name| covers(name, fqdn));
        for gateway in directory
            .gateways()
            .filter(|gateway| !covered(&gateway.fqdn))
        {
            attention(&format!(
                "{} does not cover the gateway {}",
                certificate.path.display(),
                gateway.fqdn
            ));
        }
    }
}

fn attention(advice: &str) {
    println!("               attention: {advice}");
}

/// One label at most stands for a wildcard (TDR-129).
fn covers(name: &str, fqdn: &str) -> bool {
    let fqdn = fqdn.to_ascii_lowercase();
    let rest = |wild: &str| fqdn.split_once('.').is_some_and(|(_, rest)| rest == wild);
    name == fqdn || name.strip_prefix("*.").is_some_and(rest)
}

#[cfg(test)]
mod tests {
    use super::covers;

    /// TDR-129's own examples: `*.a.com` covers `foo.a.com`, not `bar.foo.a.com` and not `a.com`.
    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(covers("*.a.com", "Foo.a.com") && covers("a.com", "A.com"));
        assert!(!covers("*.a.com", "bar.foo.a.com") && !covers("*.a.com", "a.com"));
    }
}
