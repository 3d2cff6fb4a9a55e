//! Our certificates and whom we trust: read from files, checked before use, exchanged while running (TDR-131).
//!
//! Readers take a [`Material`] and keep it as long as one handshake; [`TlsMaterial::reload`] puts another in its
//! place only when that is whole and valid. There is no switch that turns verification off.

mod config;
mod error;
pub(in crate::net) mod files;

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::verify::{ClientVerifier, ServerVerifier, Trust};
use crate::sip::{PeerCertificate, Realm};
use files::{Pair, names, roots, teams_roots};

pub use config::{ClientCertificates, Identity, TlsConfig};
pub use error::{TlsError, TlsErrors};
pub use files::{CertificateFacts, ChainEnd, Key, KnownRoots};

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
    pub(in crate::net) fn vouches_for_itself(&self, later: SystemTime) -> bool {
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
    pub(in crate::net) fn is_stale(&self) -> bool {
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) != stamps(&self.config)
    }

    pub(in crate::net) fn current(&self) -> Arc<Material> {
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
pub(in crate::net) struct Material {
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

    /// Who judges servers of this realm.
    pub fn verifier(&self, realm: Realm) -> ServerVerifier {
        ServerVerifier {
            trust: self.trust.clone(),
            realm,
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
