//! Certificates of a laboratory, made by `rcgen`, and rustls configurations that verify by the stock rules.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, RsaKeySize,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Why a certificate cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// While making one.
    #[error("making a certificate: {0}")]
    Making(#[from] rcgen::Error),
    /// While reading a file.
    #[error("reading {0}: {1}")]
    Reading(String, String),
    /// While writing a file.
    #[error("writing a file: {0}")]
    Writing(#[from] std::io::Error),
    /// rustls does not take it.
    #[error("using a certificate: {0}")]
    Using(String),
}

/// A certificate authority of the laboratory.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a certificate may be used for (RFC 5280 §4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// serverAuth alone, as Teams' own certificates since 2026 (TDR-126).
    Server,
    /// serverAuth and clientAuth, as Teams demands of an SBC (TDR-128).
    Both,
}

/// What kind of key a certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// P-256: quickly made.
    Ec,
    /// 2,048 bits, as an SBC needs towards Teams (TDR-121).
    Rsa,
}

impl Authority {
    /// A new one, known to nobody yet.
    pub fn new(name: &str) -> Result<Self, TlsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        Ok(Self(CertifiedIssuer::self_signed(
            params,
            KeyPair::generate()?,
        )?))
    }

    /// Its certificate, for whoever is to trust it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names or addresses, with a new key.
    pub fn issue(&self, names: &[&str], usage: Usage, kind: KeyKind) -> Result<Identity, TlsError> {
        let mut params =
            CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name.push(
            DnType::CommonName,
            names.first().copied().unwrap_or("emulator"),
        );
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if usage == Usage::Both {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        let key = match kind {
            KeyKind::Ec => KeyPair::generate()?,
            KeyKind::Rsa => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048)?,
        };
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(Identity {
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// A certificate chain and its key, both as PEM.
#[derive(Clone)]
pub struct Identity {
    /// Leaf first.
    pub chain_pem: String,
    /// PKCS#8. Never printed.
    key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl Identity {
    /// Reads two PEM files.
    pub fn read(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            chain_pem: read(chain)?,
            key_pem: read(key)?,
        })
    }

    /// Writes two PEM files, the key readable by its owner only.
    pub fn write(&self, chain: &Path, key: &Path) -> Result<(), TlsError> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        std::fs::write(chain, &self.chain_pem)?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(key)?;
        Ok(file.write_all(self.key_pem.as_bytes())?)
    }

    fn parts(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(using)?;
        Ok((certificates(&self.chain_pem)?, key))
    }
}

/// A file as text.
pub fn read(path: &Path) -> Result<String, TlsError> {
    std::fs::read_to_string(path)
        .map_err(|e| TlsError::Reading(path.display().to_string(), e.to_string()))
}

/// A listener that demands a client certificate of `roots` that may be used as one.
pub fn server(identity: &Identity, roots: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store(roots)?), provider())
        .build()
        .map_err(using)?;
    let (chain, key) = identity.parts()?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(using)?;
    Ok(Arc::new(
        config
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(using)?,
    ))
}

/// A dialler that shows `identity` and verifies the server against `roots` and the name it dials.
pub fn client(identity: &Identity, roots: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let (chain, key) = identity.parts()?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(using)?;
    Ok(Arc::new(
        config
            .with_root_certificates(store(roots)?)
            .with_client_auth_cert(chain, key)
            .map_err(using)?,
    ))
}

/// The same with another identity than Teams', or none at all.
pub fn client_as(identity: Option<&Identity>, roots: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let Some(identity) = identity else {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(using)?;
        return Ok(Arc::new(
            config
                .with_root_certificates(store(roots)?)
                .with_no_client_auth(),
        ));
    };
    client(identity, roots)
}

/// The DNS names of a certificate, in lower case.
pub fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    let dns = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(name) = name {
            Some(name.to_ascii_lowercase())
        } else {
            None
        }
    };
    names.value.general_names.iter().filter_map(dns).collect()
}

/// RFC 2818's rule as TDR-129 tells it: `*.a.com` covers `foo.a.com`, not `bar.foo.a.com`, not `a.com`.
pub fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn store(pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(using)?;
    }
    Ok(roots)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(using)
}

fn using(error: impl std::fmt::Display) -> TlsError {
    TlsError::Using(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wildcard stands for exactly one label.
    #[test]
    fn a_wildcard_is_one_label() {
        assert!(covers("*.a.com", "foo.a.com") && covers("A.com", "a.COM"));
        assert!(
            !covers("*.a.com", "a.com")
                && !covers("*.a.com", "bar.foo.a.com")
                && !covers("*.a.com", ".a.com")
        );
    }

    /// Names come back out of a certificate; its key never shows in a debug print.
    #[test]
    fn an_issued_certificate_has_its_names() {
        let identity = Authority::new("lab")
            .unwrap()
            .issue(&["Sbc.example", "*.sbc.example"], Usage::Both, KeyKind::Ec)
            .unwrap();
        let (chain, _) = identity.parts().unwrap();
        assert_eq!(names(&chain[0]), ["sbc.example", "*.sbc.example"]);
        assert!(!format!("{identity:?}").contains("PRIVATE"));
    }
}
