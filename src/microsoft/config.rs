use crate::directory::Secret;
use reqwest::Url;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::PathBuf;
use std::time::Duration;

/// Where the services are, and who we are to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Sign-in, `https://login.microsoftonline.com`.
    pub login_base: String,
    /// Graph, `https://graph.microsoft.com`.
    pub graph_base: String,
    /// Whatever runs Teams' PowerShell for us, if there is such a thing.
    pub teams_base: Option<String>,
    /// Our application's id; empty: nothing can be done in customers' names.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Option<Secret>,
    /// Where Microsoft sends people back to, as registered with it.
    pub redirect_uri: String,
    /// Whose certificates are believed.
    pub roots: Roots,
    /// Whether a service may be at plain HTTP on loopback: an emulated one.
    pub plain_http: bool,
    /// For one request.
    pub timeout: Duration,
}

/// Whom a server's certificate may lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// The operating system's bundle.
    System,
    /// The roots that Microsoft issues from, as they are built in for Teams.
    BuiltIn,
    /// A PEM file.
    File(PathBuf),
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No address, or one that must not be spoken to without TLS.
    #[error("{0:?} is no https address")]
    Address(String),
    /// No roots.
    #[error("no root certificates in {0}")]
    Roots(String),
    /// TLS or the client cannot be set up.
    #[error("{0}")]
    Client(String),
}

/// Where Linux distributions keep the roots that everybody trusts.
const SYSTEM_ROOTS: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];
const BUILT_IN: &[u8] = include_bytes!("../../certs/teams-roots.crt");

impl Config {
    /// Every base address, checked.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bases = [
            Some(&self.login_base),
            Some(&self.graph_base),
            self.teams_base.as_ref(),
        ];
        for base in bases.into_iter().flatten() {
            if !is_allowed(base, self.plain_http) {
                return Err(ConfigError::Address(base.clone()));
            }
        }
        Ok(())
    }
}

/// HTTPS, or plain HTTP to this machine where that is wanted.
pub(super) fn is_allowed(base: &str, plain_http: bool) -> bool {
    let Ok(url) = Url::parse(base) else {
        return false;
    };
    let is_loopback = url.host_str().is_some_and(|host| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost"
            || host
                .parse()
                .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    });
    match url.scheme() {
        "https" => url.host_str().is_some(),
        "http" => plain_http && is_loopback,
        _ => false,
    }
}

impl Roots {
    pub(super) fn load(&self) -> Result<RootCertStore, ConfigError> {
        let (name, pem) = match self {
            Self::BuiltIn => ("the program".to_owned(), BUILT_IN.to_vec()),
            Self::File(path) => (
                path.display().to_string(),
                std::fs::read(path).unwrap_or_default(),
            ),
            Self::System => {
                let found = SYSTEM_ROOTS
                    .iter()
                    .find_map(|path| std::fs::read(path).ok());
                ("the operating system".to_owned(), found.unwrap_or_default())
            }
        };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        if store.is_empty() {
            return Err(ConfigError::Roots(name));
        }
        Ok(store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plain HTTP carries secrets for everybody to read: only to this machine, and only when asked for.
    #[test]
    fn plain_http_stays_on_this_machine() {
        for (base, plain, allowed) in [
            ("https://login.microsoftonline.com", false, true),
            ("http://127.0.0.1:80", true, true),
            ("http://[::1]:80", true, true),
            ("http://localhost", true, true),
            ("http://127.0.0.1:80", false, false),
            ("http://192.0.2.1", true, false),
            ("http://localhost.example", true, false),
            ("ftp://127.0.0.1", true, false),
            ("login.microsoftonline.com", true, false),
        ] {
            assert_eq!(is_allowed(base, plain), allowed, "{base}");
        }
    }

    #[test]
    fn the_built_in_roots_are_there() {
        assert_eq!(Roots::BuiltIn.load().unwrap().len(), 7);
        assert!(Roots::File("nowhere".into()).load().is_err());
    }
}
