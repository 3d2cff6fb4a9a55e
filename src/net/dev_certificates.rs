//! Certificates for a developer's machine: a CA of one's own and one certificate for both ends of TLS.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};
use time::{Duration, OffsetDateTime};

use super::tls::{CertificateFacts, ClientCertificates, Identity, TlsConfig, TlsMaterial};

/// How long they last.
const VALIDITY: Duration = Duration::days(90);
/// Made anew when this little of it is left.
const RENEW_BEFORE: Duration = Duration::days(7);

/// The files of a development set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevCertificates {
    /// The root that peers must trust.
    pub ca: PathBuf,
    /// The certificate and its key.
    pub identity: Identity,
}

/// Why there is no development set.
#[derive(Debug, thiserror::Error)]
pub enum DevCertificatesError {
    /// The directory or a file in it cannot be written.
    #[error("{}: {error}", path.display())]
    Unwritable {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A name or address that no certificate can carry.
    #[error("no certificate can be made: {0}")]
    Unmakeable(#[from] rcgen::Error),
}

/// The development set in `directory`, for these DNS names and IP addresses. It is made if there is none that is
/// valid for another week and carries all the names; a set that is good is never overwritten.
///
/// The key is RSA with 2048 bits and the usages are serverAuth and clientAuth, as Teams would ask (TDR-121, TDR-128).
/// Key files are readable by their owner only. A key once lost is no loss: the CA is for this machine alone.
pub fn ensure(directory: &Path, names: &[String]) -> Result<DevCertificates, DevCertificatesError> {
    let set = files(directory);
    if is_good(&set, names) {
        return Ok(set);
    }
    fs::create_dir_all(directory).map_err(unwritable(directory))?;
    let ca_key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let ca_params = ca_params();
    let ca = ca_params.self_signed(&ca_key)?;
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let leaf = leaf_params(names)?.signed_by(&key, &Issuer::from_params(&ca_params, &ca_key))?;
    // The CA's key is not kept: a set is renewed whole.
    write(&set.identity.private_key, &key.serialize_pem(), 0o600)?;
    write(&set.identity.certificate, &leaf.pem(), 0o644)?;
    write(&set.ca, &ca.pem(), 0o644)?;
    Ok(set)
}

/// Where a development set lies in its directory, whether it is there or not.
pub fn files(directory: &Path) -> DevCertificates {
    let file = |name: &str| directory.join(name);
    let identity = Identity {
        certificate: file("sbc.crt"),
        private_key: file("sbc.key"),
    };
    DevCertificates {
        ca: file("ca.crt"),
        identity,
    }
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Tollgate development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit(&mut params);
    params
}

fn leaf_params(names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let first = names.first().map_or("tollgate", String::as_str);
    params.distinguished_name.push(DnType::CommonName, first);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    limit(&mut params);
    Ok(params)
}

fn limit(params: &mut CertificateParams) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1); // clocks of two virtual machines may differ
    params.not_after = now + VALIDITY;
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), DevCertificatesError> {
    // Made under another name first: nobody may see half a file, and the mode must hold before the first byte is in.
    let draft = path.with_extension("new");
    let _ = fs::remove_file(&draft);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&draft);
    file.and_then(|mut file| {
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
    })
    .and_then(|()| fs::rename(&draft, path))
    .map_err(unwritable(path))
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> DevCertificatesError {
    let path = path.to_owned();
    move |error| DevCertificatesError::Unwritable { path, error }
}

/// Whether the set is whole, signed by its own CA, and will be valid and sufficient for a while.
fn is_good(set: &DevCertificates, names: &[String]) -> bool {
    let config = TlsConfig {
        listener: set.identity.clone(),
        dialler: None,
        teams_roots: None,
        trunk_roots: Some(set.ca.clone()),
        teams_names: Vec::new(),
        client_certificates: ClientCertificates::Required,
    };
    let until = OffsetDateTime::now_utc() + RENEW_BEFORE;
    TlsMaterial::load(config).is_ok_and(|material| {
        material.vouches_for_itself(until.into()) && carries(&material, names)
    })
}

fn carries(material: &TlsMaterial, names: &[String]) -> bool {
    let certificates = material.certificates();
    let has = |facts: &CertificateFacts, name: &String| match name.parse() {
        Ok(address) => facts.addresses.contains(&address),
        Err(_) => facts.names.contains(&name.to_ascii_lowercase()),
    };
    names
        .iter()
        .all(|name| certificates.iter().all(|facts| has(facts, name)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// A set is made once, kept while it serves, and made anew for a name that it lacks or after damage.
    #[test]
    fn a_good_set_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let made = || ensure(directory.path(), &names(&["sbc.test", "127.0.0.1"])).unwrap();
        let read = |set: &DevCertificates| fs::read(&set.identity.certificate).unwrap();
        let first = read(&made());
        assert_eq!(read(&made()), first);
        assert_eq!(
            read(&ensure(directory.path(), &names(&["127.0.0.1"])).unwrap()),
            first
        );
        let other = ensure(directory.path(), &names(&["other.test"])).unwrap();
        let second = read(&other);
        assert_ne!(second, first);
        fs::write(&other.identity.private_key, "gone").unwrap();
        assert_ne!(
            read(&ensure(directory.path(), &names(&["other.test"])).unwrap()),
            second
        );
    }

    /// Nobody else may read the key, and the certificate serves both ends for at most 90 days.
    #[test]
    fn the_key_is_private_and_the_certificate_short_lived() {
        let directory = tempfile::tempdir().unwrap();
        let set = ensure(directory.path(), &names(&["*.sbc.test", "::1"])).unwrap();
        let mode = fs::metadata(&set.identity.private_key)
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let config = TlsConfig {
            listener: set.identity,
            dialler: None,
            teams_roots: Some(set.ca),
            trunk_roots: None,
            teams_names: Vec::new(),
            client_certificates: ClientCertificates::Required,
        };
        let facts = TlsMaterial::load(config).unwrap().certificates().remove(0);
        assert!(
            matches!(facts.key, super::super::Key::Rsa(2048))
                && facts.server_auth
                && facts.client_auth
        );
        assert_eq!(facts.names, ["*.sbc.test"]);
        let left = facts
            .not_after
            .duration_since(std::time::SystemTime::now())
            .unwrap();
        assert!(left <= std::time::Duration::from_secs(90 * 86400));
    }
}
