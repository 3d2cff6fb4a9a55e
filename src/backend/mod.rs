//! The carrier's system, which knows the seats of each account: asked by a Sync, and by nothing else. And the service
//! that sends telephones here.
//!
//! Two ways to it, chosen by configuration: a folder into which it drops a file for each account, and HTTP. Both speak
//! the contract of [`Seats`]. Without either, what is stored here is all that there is.

mod files;
mod http;
mod redirect;

pub use files::FileDrop;
pub use http::HttpBackend;
pub use redirect::{HttpRedirect, RedirectError, RedirectProvider, Told};

use crate::directory::Number;
use crate::provisioning::{Seats, SeatsError};
use std::fmt::Debug;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Where the carrier's system is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// A folder of files, `ACCOUNT.json` or `ACCOUNT.csv`.
    pub folder: Option<PathBuf>,
    /// The base of `POST URL/accounts/ACCOUNT/seats`.
    pub url: Option<String>,
    /// A file whose first line is what goes after `Authorization: Bearer`.
    pub token_file: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// Why the carrier's system said nothing that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// It cannot be reached, or takes too long.
    #[error("the carrier's system did not answer: {0}")]
    Unreachable(String),
    /// It answered with an error.
    #[error("the carrier's system answered {0}")]
    Refused(u16),
    /// It knows no such account.
    #[error("the carrier's system knows no such account")]
    UnknownAccount,
    /// What it said is not the contract's.
    #[error("the carrier's system said what is no list of seats: {0}")]
    Malformed(#[from] SeatsError),
    /// It said more than is read.
    #[error("the carrier's system said more than {MOST_BYTES} bytes")]
    TooLarge,
}

impl BackendError {
    /// For programs; stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "backend_unreachable",
            Self::Refused(_) => "backend_refused",
            Self::UnknownAccount => "backend_unknown_account",
            Self::Malformed(_) | Self::TooLarge => "backend_malformed",
        }
    }
}

/// Bytes that are read of one account.
const MOST_BYTES: usize = 16 << 20;

/// What a question gives, some time later.
pub type Asked<'a> = Pin<Box<dyn Future<Output = Result<Seats, BackendError>> + Send + 'a>>;

/// A system that knows who has which number.
pub trait SeatBackend: Debug + Send + Sync {
    /// The seats of an account, and which of these numbers sit on other accounts.
    fn seats<'a>(&'a self, account: &'a str, numbers: &'a [Number]) -> Asked<'a>;
}

/// The system of this configuration, if there is one.
///
/// # Errors
/// What is wrong with the token's file, in words.
pub fn open(config: &Config) -> Result<Option<Arc<dyn SeatBackend>>, String> {
    if let Some(folder) = &config.folder {
        return Ok(Some(Arc::new(FileDrop::new(folder.clone()))));
    }
    let Some(url) = &config.url else {
        return Ok(None);
    };
    let token = config.token_file.as_ref().map(|path| {
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    });
    let token = token.transpose()?;
    let token = token.map(|text| text.lines().next().unwrap_or_default().trim().to_owned());
    let http = HttpBackend::new(url, token, config.timeout).map_err(|error| error.to_string())?;
    Ok(Some(Arc::new(http)))
}

/// A text as one segment of a path: letters, digits, `-` and `_` as they are, all else escaped (RFC 3986 §2.1).
fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let escape = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No account id leads anywhere else.
    #[test]
    fn an_account_is_one_segment() {
        assert_eq!(segment("Contoso-7_a"), "Contoso-7_a");
        assert_eq!(segment("../etc/x?y#z"), "%2E%2E%2Fetc%2Fx%3Fy%23z");
        assert_eq!(segment("ä b"), "%C3%A4%20b");
    }
}
