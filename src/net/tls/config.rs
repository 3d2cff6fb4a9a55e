use std::path::PathBuf;

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
