//! Our certificates and whom we trust: read from files, checked before use, exchanged while running (TDR-131).
//!
//! Readers take a [`Material`] and keep it as long as one handshake; [`TlsMaterial::reload`] puts another in its
//! place only when that is whole and valid. There is no switch that turns verification off.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::X509Certificate;

use super::verify::{ClientVerifier, ServerVerifier, Trust, addresses, dns_names};
use crate::sip::{PeerCertificate, Realm};

/// The roots of TDR-124, as `certs/README.md` tells.
const TEAMS_ROOTS: &[u8] = include_bytes!("../../certs/teams-roots.crt");

/// Where certificates, keys and roots are read from, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// What peers who connect to us see.
    pub listener: Identity,
    /// What peers see to whom we connect, if it is another certificate (TDR-128).
    pub dialler: Option<Identity>,
    /// Roots for Teams in place of the built-in ones.
    pub teams_roots: Option<PathBuf>,
    /// Roots for trunks; without them no trunk's certificate is accepted.
    pub trunk_roots: Option<PathBuf>,
    /// Names of which the certificate of a Teams proxy carries one, such as `sip.pstnhub.microsoft.com`.
    pub teams_names: Vec<String>,
    /// Whether a peer who connects to us must show a certificate.
    pub client_certificates: ClientCertificates,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, then its intermediates (TDR-122).
    pub certificate: PathBuf,
    /// PKCS #8, PKCS #1 or SEC 1.
    pub private_key: PathBuf,
}

/// Whether a peer who connects to us must show a certificate. One that is shown must be valid in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientCertificates {
    /// Without one the handshake fails.
    #[default]
    Required,
    /// Without one the peer is nobody in particular.
    Optional,
}

/// What is wrong with a certificate, a key or roots.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not PEM.
    #[error("{}: not PEM: {reason}", path.display())]
    NotPem {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file holds no certificate.
    #[error("{}: no certificate in it", path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// A certificate of the file cannot be read.
    #[error("{}: certificate {number} is malformed: {reason}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which certificate of it, counted from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is no longer valid.
    #[error("{}: expired on {date}", path.display())]
    Expired {
        /// Which file.
        path: PathBuf,
        /// The last moment of its validity.
        date: String,
    },
    /// The certificate is not valid yet.
    #[error("{}: not valid before {date}", path.display())]
    NotYetValid {
        /// Which file.
        path: PathBuf,
        /// The first moment of its validity.
        date: String,
    },
    /// Certificate and key do not belong together, or the key is of a kind that TLS cannot use.
    #[error("{} with {}: {reason}", certificate.display(), private_key.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        private_key: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A configured name of Teams is not a DNS name.
    #[error("{0:?} is not a DNS name")]
    BadName(String),
}

/// Everything that is wrong with one set of files.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct TlsErrors(pub Vec<TlsError>);

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
    /// When it ends.
    pub not_after: SystemTime,
    /// Usable by a TLS server.
    pub server_auth: bool,
    /// Usable by a TLS client (TDR-128).
    pub client_auth: bool,
    /// Whether the key is RSA, as the cipher suites of Teams ask for (TDR-121).
    pub rsa: bool,
    /// How many certificates the file holds, its intermediates included.
    pub chain: usize,
}

/// The certificates, keys and roots in use, and the files they come from.
#[derive(Debug)]
pub struct TlsMaterial {
    config: TlsConfig,
    current: ArcSwap<Material>,
    stamps: Mutex<Vec<Stamp>>,
}

type Stamp = Option<(SystemTime, u64)>;

impl TlsMaterial {
    /// Reads and checks all the files.
    pub fn load(config: TlsConfig) -> Result<Self, TlsErrors> {
        let stamps = Mutex::new(stamps(&config));
        let current = ArcSwap::from_pointee(Material::load(&config)?);
        Ok(Self {
            config,
            current,
            stamps,
        })
    }

    /// Reads and checks all the files again, and uses what they hold from the next handshake on. Whatever is wrong,
    /// all that was in use stays.
    pub fn reload(&self) -> Result<(), TlsErrors> {
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) = stamps(&self.config);
        self.current.store(Arc::new(Material::load(&self.config)?));
        Ok(())
    }

    /// The certificates in use.
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        self.current.load().facts.clone()
    }

    /// Whether a peer who trusts the roots given here would accept our own certificate, now and at `later`.
    pub(super) fn vouches_for_itself(&self, later: SystemTime) -> bool {
        let material = self.current.load();
        let later = later
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let times = [UnixTime::now(), UnixTime::since_unix_epoch(later)];
        times
            .iter()
            .all(|time| material.trust.client(&material.chain, *time).is_ok())
    }

    /// Whether a file has changed since it was last read, well or ill.
    pub(super) fn is_stale(&self) -> bool {
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) != stamps(&self.config)
    }

    pub(super) fn current(&self) -> Arc<Material> {
        self.current.load_full()
    }
}

fn stamps(config: &TlsConfig) -> Vec<Stamp> {
    let identities = std::iter::once(&config.listener).chain(&config.dialler);
    let paths = identities.flat_map(|identity| [&identity.certificate, &identity.private_key]);
    let paths = paths.chain(&config.teams_roots).chain(&config.trunk_roots);
    paths
        .map(|path| {
            fs::metadata(path)
                .and_then(|file| Ok((file.modified()?, file.len())))
                .ok()
        })
        .collect()
}

/// One consistent set, used for one handshake.
#[derive(Debug)]
pub(super) struct Material {
    pub server: Arc<ServerConfig>,
    teams: Arc<ClientConfig>,
    trunk: Arc<ClientConfig>,
    trust: Arc<Trust>,
    facts: Vec<CertificateFacts>,
    chain: Vec<CertificateDer<'static>>,
}

impl Material {
    /// How we connect to servers of this realm.
    pub fn client(&self, realm: Realm) -> Arc<ClientConfig> {
        match realm {
            Realm::Teams => self.teams.clone(),
            Realm::Trunk => self.trunk.clone(),
        }
    }

    /// Who a peer is that has connected to us. This is asked again after the handshake, because the verifier inside
    /// cannot hand its result out, and a resumed handshake does not ask it.
    pub fn peer(&self, chain: &[CertificateDer<'_>]) -> Result<PeerCertificate, rustls::Error> {
        self.trust.client(chain, UnixTime::now())
    }

    fn load(config: &TlsConfig) -> Result<Self, TlsErrors> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut errors = Vec::new();
        let listener = keep(Pair::read(&config.listener), &mut errors);
        let dialler = match &config.dialler {
            Some(identity) => keep(Pair::read(identity), &mut errors),
            None => None,
        };
        let teams = keep(teams_roots(config), &mut errors);
        let trunk = keep(
            config
                .trunk_roots
                .as_deref()
                .map_or(Ok(RootCertStore::empty()), roots),
            &mut errors,
        );
        let names = keep(names(&config.teams_names), &mut errors);
        let (Some(listener), Some(teams), Some(trunk), Some(names), true) =
            (listener, teams, trunk, names, errors.is_empty())
        else {
            return Err(TlsErrors(errors));
        };
        let trust = Arc::new(Trust::new(teams, trunk, names, &provider));
        let mut facts = vec![listener.facts(true)];
        facts.push(dialler.as_ref().unwrap_or(&listener).facts(false));
        let caller = dialler.as_ref().unwrap_or(&listener);
        let built =
            server(&listener, config.client_certificates, &trust, &provider).and_then(|server| {
                let teams = client(caller, Realm::Teams, &trust, &provider)?;
                Ok((
                    server,
                    teams,
                    client(caller, Realm::Trunk, &trust, &provider)?,
                ))
            });
        let (server, teams, trunk) = built.map_err(|error| TlsErrors(vec![error]))?;
        Ok(Self {
            server,
            teams,
            trunk,
            trust,
            facts,
            chain: listener.chain,
        })
    }
}

fn keep<T>(result: Result<T, Vec<TlsError>>, errors: &mut Vec<TlsError>) -> Option<T> {
    result.map_err(|found| errors.extend(found)).ok()
}

fn server(
    pair: &Pair,
    clients: ClientCertificates,
    trust: &Arc<Trust>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mandatory = clients == ClientCertificates::Required;
    let verifier = Arc::new(ClientVerifier {
        trust: trust.clone(),
        mandatory,
    });
    ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS12, &TLS13])
        .and_then(|builder| {
            builder
                .with_client_cert_verifier(verifier)
                .with_single_cert(pair.chain.clone(), pair.key.clone_key())
        })
        .map(Arc::new)
        .map_err(|error| pair.mismatch(&error))
}

fn client(
    pair: &Pair,
    realm: Realm,
    trust: &Arc<Trust>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(ServerVerifier {
        trust: trust.clone(),
        realm,
    });
    let built = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS12, &TLS13])
        .and_then(|builder| {
            builder
                .dangerous() // rustls' word for a verifier of one's own; ours is stricter than the stock one
                .with_custom_certificate_verifier(verifier)
                .with_client_auth_cert(pair.chain.clone(), pair.key.clone_key())
        });
    let mut config = built.map_err(|error| pair.mismatch(&error))?;
    // Teams matches our Contact against the certificate that a connection has shown (TDR-129), and connections of
    // ours are few: each shows it afresh.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn names(names: &[String]) -> Result<Vec<ServerName<'static>>, Vec<TlsError>> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for name in names {
        match ServerName::try_from(name.clone()) {
            Ok(name @ ServerName::DnsName(_)) => good.push(name),
            _ => bad.push(TlsError::BadName(name.clone())),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}

fn teams_roots(config: &TlsConfig) -> Result<RootCertStore, Vec<TlsError>> {
    match &config.teams_roots {
        Some(path) => roots(path),
        None => roots_in(Path::new("built-in roots for Teams"), TEAMS_ROOTS),
    }
}

fn roots(path: &Path) -> Result<RootCertStore, Vec<TlsError>> {
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
struct Pair {
    identity: Identity,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Pair {
    fn read(identity: &Identity) -> Result<Self, Vec<TlsError>> {
        let mut errors = Vec::new();
        let pem = read(&identity.certificate).map_err(|error| vec![error]);
        let chain = pem.and_then(|pem| checked_chain(&identity.certificate, &pem));
        let chain = keep(chain, &mut errors);
        let key = keep(
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

    fn mismatch(&self, error: &rustls::Error) -> TlsError {
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

    fn facts(&self, listener: bool) -> CertificateFacts {
        let leaf = &self.chain[0];
        let (_, parsed) =
            x509_parser::parse_x509_certificate(leaf).expect("checked when it was read");
        let usage = parsed.extended_key_usage().ok().flatten();
        // Without the extension every usage is allowed.
        let (server_auth, client_auth) = usage.map_or((true, true), |u| {
            (
                u.value.any || u.value.server_auth,
                u.value.any || u.value.client_auth,
            )
        });
        let ends = parsed
            .validity()
            .not_after
            .timestamp()
            .max(0)
            .unsigned_abs();
        CertificateFacts {
            path: self.identity.certificate.clone(),
            listener,
            names: dns_names(leaf),
            addresses: addresses(leaf),
            issuer: parsed.issuer().to_string(),
            not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(ends),
            server_auth,
            client_auth,
            rsa: parsed.public_key().algorithm.algorithm
                == x509_parser::oid_registry::OID_PKCS1_RSAENCRYPTION,
            chain: self.chain.len(),
        }
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
