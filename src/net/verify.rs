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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        CertificateParams, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyPair, date_time_ymd,
    };

    use super::*;

    struct Ca {
        params: CertificateParams,
        key: KeyPair,
        certificate: CertificateDer<'static>,
    }

    impl Ca {
        fn params(name: &str) -> CertificateParams {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            params
        }

        fn root(name: &str) -> Self {
            let (params, key) = (Self::params(name), KeyPair::generate().unwrap());
            let certificate = params.self_signed(&key).unwrap().der().clone();
            Self {
                params,
                key,
                certificate,
            }
        }

        fn intermediate(&self, name: &str) -> Self {
            let (params, key) = (Self::params(name), KeyPair::generate().unwrap());
            let certificate = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key));
            Self {
                certificate: certificate.unwrap().der().clone(),
                params,
                key,
            }
        }

        /// Valid in the years 2020 to 2029.
        fn leaf(&self, names: &[&str], usages: &[Usage]) -> CertificateDer<'static> {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.extended_key_usages = usages.to_vec();
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2029, 12, 31);
            let key = KeyPair::generate().unwrap();
            let issuer = Issuer::from_params(&self.params, &self.key);
            params.signed_by(&key, &issuer).unwrap().der().clone()
        }

        fn store(&self) -> RootCertStore {
            let mut store = RootCertStore::empty();
            store.add(self.certificate.clone()).unwrap();
            store
        }
    }

    fn trust(teams: &Ca, trunk: Option<&Ca>) -> Trust {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trunk = trunk.map_or_else(RootCertStore::empty, Ca::store);
        let names = ["sip.pstnhub.microsoft.com", "sip2.pstnhub.microsoft.com"];
        let names = names
            .map(|name| ServerName::try_from(name).unwrap())
            .to_vec();
        Trust::new(teams.store(), trunk, names, &provider)
    }

    fn year(year: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600 + 86_400))
    }

    fn why<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
        crate::net::HandshakeFailure::of(&std::io::Error::other(result.unwrap_err())).label()
    }

    const BOTH: &[Usage] = &[Usage::ServerAuth, Usage::ClientAuth];
    const TEAMS: &str = "sip.pstnhub.microsoft.com";

    /// Either usage makes a client (TDR-126), no usage too; another one does not.
    #[test]
    fn a_client_may_be_a_server() {
        let ca = Ca::root("ca");
        let trust = trust(&ca, None);
        let realm = |usages: &[Usage]| {
            trust
                .client(&[ca.leaf(&[TEAMS], usages)], year(2026))
                .map(|peer| peer.realm)
        };
        for usages in [BOTH, &[Usage::ServerAuth], &[Usage::ClientAuth], &[]] {
            assert_eq!(realm(usages).unwrap(), Realm::Teams);
        }
        assert_eq!(why(realm(&[Usage::CodeSigning])), "bad_usage");
        assert_eq!(
            why(realm(&[Usage::EmailProtection, Usage::TimeStamping])),
            "bad_usage"
        );
    }

    /// A chain is followed to its root if the peer sends what lies between, and only then.
    #[test]
    fn intermediates_are_needed() {
        let root = Ca::root("root");
        let between = root.intermediate("between");
        let (trust, leaf) = (
            trust(&root, None),
            between.leaf(&[TEAMS], &[Usage::ServerAuth]),
        );
        let whole = [leaf.clone(), between.certificate.clone()];
        assert_eq!(trust.client(&whole, year(2026)).unwrap().names, [TEAMS]);
        assert_eq!(why(trust.client(&[leaf], year(2026))), "unknown_ca");
        assert_eq!(why(trust.client(&[], year(2026))), "no_certificate");
        assert_eq!(
            why(trust.client(&[CertificateDer::from(vec![1, 2, 3])], year(2026))),
            "protocol"
        );
    }

    /// Validity has two ends.
    #[test]
    fn certificates_have_their_time() {
        let ca = Ca::root("ca");
        let (trust, leaf) = (trust(&ca, None), [ca.leaf(&[TEAMS], BOTH)]);
        assert!(trust.client(&leaf, year(2026)).is_ok());
        assert_eq!(why(trust.client(&leaf, year(2019))), "expired");
        assert_eq!(why(trust.client(&leaf, year(2031))), "expired");
    }

    /// One of the configured names, or a wildcard of one label over it (RFC 9525 §6.3); nothing that only looks alike.
    #[test]
    fn teams_goes_by_its_names() {
        let ca = Ca::root("ca");
        let trust = trust(&ca, None);
        let judge = |names: &[&str]| {
            trust
                .client(&[ca.leaf(names, BOTH)], year(2026))
                .map(|peer| peer.realm)
        };
        for names in [
            &[TEAMS][..],
            &["x.test", "sip2.pstnhub.microsoft.com"],
            &["*.pstnhub.microsoft.com"],
        ] {
            assert_eq!(judge(names).unwrap(), Realm::Teams);
        }
        for name in [
            "*.microsoft.com",
            "pstnhub.microsoft.com",
            "sip.pstnhub.microsoft.com.test",
            "52.112.0.1",
        ] {
            assert_eq!(why(judge(&[name])), "bad_name", "{name}");
        }
        assert_eq!(why(judge(&[])), "bad_name");
    }

    /// What fails as Teams may pass as a trunk; what fails as both is told by the nearer miss.
    #[test]
    fn realms_are_tried_in_turn() {
        let (microsoft, carrier, nobody) = (
            Ca::root("microsoft"),
            Ca::root("carrier"),
            Ca::root("nobody"),
        );
        let trust = trust(&microsoft, Some(&carrier));
        let judge = |ca: &Ca, name: &str| trust.client(&[ca.leaf(&[name], BOTH)], year(2026));
        assert_eq!(judge(&microsoft, TEAMS).unwrap().realm, Realm::Teams);
        assert_eq!(judge(&carrier, TEAMS).unwrap().realm, Realm::Trunk);
        assert_eq!(judge(&carrier, "PBX.test").unwrap().names, ["pbx.test"]);
        assert_eq!(why(judge(&microsoft, "pbx.test")), "bad_name");
        assert_eq!(why(judge(&nobody, TEAMS)), "unknown_ca");
        assert_eq!(
            why(trust.client(&[carrier.leaf(&["x"], &[Usage::CodeSigning])], year(2026))),
            "bad_usage"
        );
    }

    /// A server needs the usage of servers and the name that was dialled; among the proxies of Teams any name of
    /// Teams will do (TDR-123). A realm's roots count for that realm only.
    #[test]
    fn servers_are_who_was_dialled() {
        let (microsoft, carrier) = (Ca::root("microsoft"), Ca::root("carrier"));
        let trust = trust(&microsoft, Some(&carrier));
        let judge = |realm, name: &str, leaf: &CertificateDer<'_>| {
            trust.server(
                realm,
                &ServerName::try_from(name).unwrap(),
                leaf,
                &[],
                year(2026),
            )
        };
        let proxy = microsoft.leaf(&[TEAMS], &[Usage::ServerAuth]);
        for name in [TEAMS, "sip3.pstnhub.microsoft.com", "52.112.0.1"] {
            assert!(judge(Realm::Teams, name, &proxy).is_ok(), "{name}");
        }
        assert_eq!(why(judge(Realm::Trunk, TEAMS, &proxy)), "unknown_ca");
        let pbx = carrier.leaf(&["pbx.test", "192.0.2.1"], BOTH);
        assert!(
            judge(Realm::Trunk, "pbx.test", &pbx).is_ok()
                && judge(Realm::Trunk, "192.0.2.1", &pbx).is_ok()
        );
        assert_eq!(why(judge(Realm::Trunk, "192.0.2.2", &pbx)), "bad_name");
        assert_eq!(why(judge(Realm::Trunk, "other.test", &pbx)), "bad_name");
        let client_only = carrier.leaf(&["pbx.test"], &[Usage::ClientAuth]);
        assert_eq!(
            why(judge(Realm::Trunk, "pbx.test", &client_only)),
            "bad_usage"
        );
    }

    /// Names and addresses are read from the subjectAltName.
    #[test]
    fn names_are_read() {
        let leaf = Ca::root("ca").leaf(&["A.test", "*.b.test", "192.0.2.1", "2001:db8::1"], BOTH);
        assert_eq!(dns_names(&leaf), ["a.test", "*.b.test"]);
        assert_eq!(
            addresses(&leaf),
            ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse::<IpAddr>().unwrap())
        );
    }
}
