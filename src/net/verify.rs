//! Whom a certificate speaks for: chains, usage and names, apart from any connection.
//!
//! The stock verifier for clients demands the usage clientAuth, which the certificate of a Teams proxy may lack
//! (TDR-126), and knows one set of roots. Here a chain counts with serverAuth or clientAuth, and each realm has its
//! own roots. The paths, signatures and names themselves are checked by webpki.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use x509_parser::extensions::GeneralName;

use crate::sip::{PeerCertificate, Realm};

/// The roots of each realm, and the names by which Teams goes.
#[derive(Debug)]
pub(super) struct Trust {
    teams: Anchors,
    trunk: Anchors,
    teams_names: Vec<ServerName<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    pub fn new(
        teams: RootCertStore,
        trunk: RootCertStore,
        teams_names: Vec<ServerName<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Self {
        Self {
            teams: Anchors::new(teams, provider),
            trunk: Anchors::new(trunk, provider),
            teams_names,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    /// The realm of a peer that connected to us: Teams by its roots and one of its names, else a trunk by the trunks'
    /// roots and any name, of which the directory makes what it can.
    pub fn client(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<PeerCertificate, Error> {
        let (leaf, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let certificate = ParsedCertificate::try_from(leaf)?;
        let teams = self
            .chain(Realm::Teams, leaf, intermediates, now)
            .and_then(|()| self.teams_name(&certificate));
        let realm = match teams {
            Ok(()) => Realm::Teams,
            Err(teams) => match self.chain(Realm::Trunk, leaf, intermediates, now) {
                Ok(()) => Realm::Trunk,
                // The certificate meant for Teams was the nearer miss.
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                    return Err(teams);
                }
                Err(trunk) => return Err(trunk),
            },
        };
        Ok(PeerCertificate {
            realm,
            names: dns_names(leaf),
        })
    }

    /// Whether a server of `realm` is the one that we meant to reach.
    ///
    /// Any proxy of Teams may show the certificate of `sip.pstnhub.microsoft.com` only (TDR-123), also under another
    /// name or at an address that a Contact or Record-Route named.
    fn server(
        &self,
        realm: Realm,
        name: &ServerName<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificate = ParsedCertificate::try_from(leaf)?;
        let roots = &self.anchors(realm).roots;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        verify_server_name(&certificate, name).or_else(|error| match realm {
            Realm::Teams => self.teams_name(&certificate).map_err(|_| error),
            Realm::Trunk => Err(error),
        })
    }

    fn anchors(&self, realm: Realm) -> &Anchors {
        match realm {
            Realm::Teams => &self.teams,
            Realm::Trunk => &self.trunk,
        }
    }

    /// A valid chain to a root of the realm, for use by a TLS server or a TLS client (TDR-126).
    fn chain(
        &self,
        realm: Realm,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let Anchors { roots, clients } = self.anchors(realm);
        let certificate = ParsedCertificate::try_from(leaf)?;
        let as_server = verify_server_cert_signed_by_trust_anchor(
            &certificate,
            roots,
            intermediates,
            now,
            self.algorithms.all,
        );
        match (as_server, clients) {
            (Err(Error::InvalidCertificate(why)), Some(clients)) if is_about_usage(&why) => clients
                .verify_client_cert(leaf, intermediates, now)
                .map(|_| ()),
            (as_server, _) => as_server,
        }
    }

    fn teams_name(&self, certificate: &ParsedCertificate<'_>) -> Result<(), Error> {
        match self
            .teams_names
            .iter()
            .any(|name| verify_server_name(certificate, name).is_ok())
        {
            true => Ok(()),
            false => Err(CertificateError::NotValidForName.into()),
        }
    }
}

fn is_about_usage(why: &CertificateError) -> bool {
    matches!(
        why,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. }
    )
}

/// The roots of one realm, once for servers and once as webpki's verifier of clients; that cannot be built from none.
#[derive(Debug)]
struct Anchors {
    roots: Arc<RootCertStore>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Anchors {
    fn new(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Self {
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .ok();
        Self { roots, clients }
    }
}

/// The DNS names of a certificate's subjectAltName, in lower case. The common name does not count (RFC 9525 §2).
pub(super) fn dns_names(leaf: &CertificateDer<'_>) -> Vec<String> {
    alternative_names(leaf, |name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    })
}

/// The IP addresses of a certificate's subjectAltName.
pub(super) fn addresses(leaf: &CertificateDer<'_>) -> Vec<IpAddr> {
    alternative_names(leaf, |name| match name {
        GeneralName::IPAddress(bytes) if bytes.len() == 4 => {
            <[u8; 4]>::try_from(*bytes).ok().map(IpAddr::from)
        }
        GeneralName::IPAddress(bytes) => <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from),
        _ => None,
    })
}

fn alternative_names<T>(
    leaf: &CertificateDer<'_>,
    pick: impl Fn(&GeneralName<'_>) -> Option<T>,
) -> Vec<T> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    names.value.general_names.iter().filter_map(pick).collect()
}

/// Judges peers that connect to us.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub trust: Arc<Trust>,
    pub mandatory: bool,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// No hints: a peer whose library picks its certificate by them would find none among the roots of others.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(leaf)
            .chain(intermediates)
            .cloned()
            .collect();
        self.trust
            .client(&chain, now)
            .map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.trust.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.trust.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms.supported_schemes()
    }
}

/// Judges peers of one realm to which we connect.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub trust: Arc<Trust>,
    pub realm: Realm,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.trust
            .server(self.realm, name, leaf, intermediates, now)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.trust.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.trust.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms.supported_schemes()
    }
}
