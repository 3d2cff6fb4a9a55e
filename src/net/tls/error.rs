use std::path::PathBuf;

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
