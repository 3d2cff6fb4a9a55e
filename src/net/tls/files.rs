//! Reading PEM files and finding everything that is wrong with them.

use std::collections::HashSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;

use super::{Identity, TlsConfig, TlsError};
use crate::net::verify::{addresses, dns_names};

/// The roots of TDR-124, as `certs/README.md` tells.
const TEAMS_ROOTS: &[u8] = include_bytes!("../../../certs/teams-roots.crt");
/// What an installed certificate says, for metrics and `check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Where it was read from.
    pub path: PathBuf,
    /// Whether it is shown by the listener, else when we connect.
    pub listener: bool,
    /// Its DNS names, in lower case.
    pub names: Vec<String>,
    /// Its IP addresses.
    pub addresses: Vec<IpAddr>,
    /// Its issuer's distinguished name.
    pub issuer: String,
    /// When it begins to be valid.
    pub not_before: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
    /// Usable by a TLS server.
    pub server_auth: bool,
    /// Usable by a TLS client (TDR-128).
    pub client_auth: bool,
    /// What kind of key it has; the cipher suites of Teams ask for RSA (TDR-121).
    pub key: Key,
    /// How many certificates the file holds, its intermediates included.
    pub chain: usize,
    /// Where they lead.
    pub chain_end: ChainEnd,
}

/// A public key, with its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// RSA.
    Rsa(usize),
    /// On an elliptic curve.
    Ec(usize),
    /// Something else.
    Other,
}

/// Where a chain of certificates leads. Issuers are given by their distinguished names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainEnd {
    /// The only certificate has issued itself.
    SelfSigned,
    /// To a root that is part of the file.
    Root,
    /// To a root that is known.
    KnownIssuer(String),
    /// To an issuer that is neither in the file nor known as a root.
    UnknownIssuer(String),
    /// To an issuer, and no roots are known.
    NoRoots(String),
    /// The certificate of this number, counted from 1, was not issued by the one after it.
    Broken(usize),
}

/// Roots by their names.
#[derive(Debug)]
pub struct KnownRoots(HashSet<Vec<u8>>);

/// Where Linux distributions keep the roots that everybody trusts.
const SYSTEM_ROOTS: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

impl KnownRoots {
    /// Those in this file, or those of this machine; none if there are none.
    pub fn read(file: Option<&Path>) -> Option<Self> {
        let paths: Vec<&Path> = match file {
            Some(path) => vec![path],
            None => SYSTEM_ROOTS.iter().map(Path::new).collect(),
        };
        let pem = paths.iter().find_map(|path| fs::read(path).ok())?;
        let roots = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        let names = roots.filter_map(|root| {
            let (_, parsed) = x509_parser::parse_x509_certificate(&root).ok()?;
            Some(parsed.subject().as_raw().to_vec())
        });
        Some(Self(names.collect()))
    }
}

impl CertificateFacts {
    /// Of a file that need not be in use: neither a key nor a date makes it unreadable.
    ///
    /// # Errors
    /// It holds no certificate.
    pub fn read(path: &Path, roots: Option<&KnownRoots>) -> Result<Self, TlsError> {
        let chain = chain(path, &read(path)?)?;
        for (n, certificate) in chain.iter().enumerate() {
            x509_parser::parse_x509_certificate(certificate)
                .map_err(|error| malformed(path, n, &error))?;
        }
        Ok(facts(path, &chain, true, roots))
    }
}

/// `chain` has been parsed before.
fn facts(
    path: &Path,
    chain: &[CertificateDer<'_>],
    listener: bool,
    roots: Option<&KnownRoots>,
) -> CertificateFacts {
    let leaf = &chain[0];
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).expect("checked when it was read");
    let usage = parsed.extended_key_usage().ok().flatten();
    // Without the extension every usage is allowed.
    let (server_auth, client_auth) = usage.map_or((true, true), |u| {
        (
            u.value.any || u.value.server_auth,
            u.value.any || u.value.client_auth,
        )
    });
    let time = |time: x509_parser::time::ASN1Time| {
        let seconds = time.timestamp().max(0).unsigned_abs();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    };
    CertificateFacts {
        path: path.to_owned(),
        listener,
        names: dns_names(leaf),
        addresses: addresses(leaf),
        issuer: parsed.issuer().to_string(),
        not_before: time(parsed.validity().not_before),
        not_after: time(parsed.validity().not_after),
        server_auth,
        client_auth,
        key: key(&parsed),
        chain: chain.len(),
        chain_end: chain_end(chain, roots),
    }
}

fn key(leaf: &X509Certificate<'_>) -> Key {
    match leaf.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) => Key::Rsa(rsa.key_size()),
        Ok(PublicKey::EC(point)) => Key::Ec(point.key_size()),
        _ => Key::Other,
    }
}

/// By names alone: whether the signatures are right, whoever verifies the chain finds out.
fn chain_end(chain: &[CertificateDer<'_>], roots: Option<&KnownRoots>) -> ChainEnd {
    let parsed: Vec<_> = chain
        .iter()
        .filter_map(|der| Some(x509_parser::parse_x509_certificate(der).ok()?.1))
        .collect();
    let broken = parsed
        .windows(2)
        .position(|pair| pair[0].issuer().as_raw() != pair[1].subject().as_raw());
    if let Some(at) = broken {
        return ChainEnd::Broken(at + 1);
    }
    let Some(last) = parsed.last() else {
        return ChainEnd::Broken(1);
    };
    let issuer = last.issuer();
    match roots {
        _ if issuer.as_raw() == last.subject().as_raw() && parsed.len() == 1 => {
            ChainEnd::SelfSigned
        }
        _ if issuer.as_raw() == last.subject().as_raw() => ChainEnd::Root,
        None => ChainEnd::NoRoots(issuer.to_string()),
        Some(roots) if roots.0.contains(issuer.as_raw()) => {
            ChainEnd::KnownIssuer(issuer.to_string())
        }
        Some(_) => ChainEnd::UnknownIssuer(issuer.to_string()),
    }
}

pub(super) fn names(names: &[String]) -> Result<Vec<ServerName<'static>>, Vec<TlsError>> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for name in names {
        match ServerName::try_from(name.clone()) {
            Ok(name @ ServerName::DnsName(_)) => good.push(name),
            _ => bad.push(TlsError::BadName(name.clone())),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}

pub(super) fn teams_roots(config: &TlsConfig) -> Result<RootCertStore, Vec<TlsError>> {
    match &config.teams_roots {
        Some(path) => roots(path),
        None => roots_in(Path::new("built-in roots for Teams"), TEAMS_ROOTS),
    }
}

pub(in crate::net) fn roots(path: &Path) -> Result<RootCertStore, Vec<TlsError>> {
    roots_in(path, &read(path).map_err(|error| vec![error])?)
}

/// An expired root is no error: it only leads nowhere any more.
fn roots_in(path: &Path, pem: &[u8]) -> Result<RootCertStore, Vec<TlsError>> {
    let chain = chain(path, pem).map_err(|error| vec![error])?;
    let (mut store, mut errors) = (RootCertStore::empty(), Vec::new());
    for (n, certificate) in chain.into_iter().enumerate() {
        if let Err(error) = store.add(certificate) {
            errors.push(malformed(path, n, &error));
        }
    }
    if errors.is_empty() {
        Ok(store)
    } else {
        Err(errors)
    }
}

/// A certificate with its intermediates and its key, each readable by itself.
pub(in crate::net) struct Pair {
    identity: Identity,
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Pair {
    pub fn read(identity: &Identity) -> Result<Self, Vec<TlsError>> {
        let mut errors = Vec::new();
        let pem = read(&identity.certificate).map_err(|error| vec![error]);
        let chain = pem.and_then(|pem| checked_chain(&identity.certificate, &pem));
        let chain = super::keep(chain, &mut errors);
        let key = super::keep(
            private_key(&identity.private_key).map_err(|error| vec![error]),
            &mut errors,
        );
        match (chain, key) {
            (Some(chain), Some(key)) => Ok(Self {
                identity: identity.clone(),
                chain,
                key,
            }),
            _ => Err(errors),
        }
    }

    pub fn mismatch(&self, error: &rustls::Error) -> TlsError {
        let Identity {
            certificate,
            private_key,
        } = self.identity.clone();
        TlsError::Mismatch {
            certificate,
            private_key,
            reason: error.to_string(),
        }
    }

    pub fn facts(&self, listener: bool) -> CertificateFacts {
        facts(&self.identity.certificate, &self.chain, listener, None)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Unreadable {
        path: path.to_owned(),
        error,
    })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| TlsError::NotPem {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| TlsError::NotPem {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(chain)
}

/// Every certificate of the chain can be read, and the first is valid today.
fn checked_chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Vec<TlsError>> {
    let chain = chain(path, pem).map_err(|error| vec![error])?;
    let mut errors = Vec::new();
    for (n, certificate) in chain.iter().enumerate() {
        match x509_parser::parse_x509_certificate(certificate) {
            Ok((_, leaf)) if n == 0 => errors.extend(validity(path, &leaf)),
            Ok(_) => (),
            Err(error) => errors.push(malformed(path, n, &error)),
        }
    }
    if errors.is_empty() {
        Ok(chain)
    } else {
        Err(errors)
    }
}

fn validity(path: &Path, leaf: &X509Certificate<'_>) -> Option<TlsError> {
    let path = path.to_owned();
    let (validity, now) = (leaf.validity(), x509_parser::time::ASN1Time::now());
    if now > validity.not_after {
        return Some(TlsError::Expired {
            path,
            date: validity.not_after.to_string(),
        });
    }
    (now < validity.not_before).then(|| TlsError::NotYetValid {
        path,
        date: validity.not_before.to_string(),
    })
}

fn malformed(path: &Path, index: usize, error: &dyn std::fmt::Display) -> TlsError {
    TlsError::Malformed {
        path: path.to_owned(),
        number: index + 1,
        reason: error.to_string(),
    }
}
