//! What a start checks before it opens anything, and what only a running SBC knows.

use std::fs::{File, TryLockError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::StartError;
use crate::admin::People;
use crate::base::Random;
use crate::config::Config;
use crate::directory::Secret;
use crate::mail::{self, Mailer};
use crate::microsoft::{ConfigError, Microsoft, OpenId};
use crate::net::Addresses;
use crate::sip::{Identity, SentBy, Transport};

/// Files that a process needs besides media sockets and connections.
const OTHER_FILES: u64 = 256;
/// Sockets of one leg.
const SOCKETS_PER_LEG: u64 = 2;

/// Enough file descriptors for `calls.max_calls` and `calls.max_announcements`, or a clear word at the start instead of
/// failing calls later. That there are enough ports the configuration has checked.
pub(super) fn check_limits(config: &Config) -> Result<(), StartError> {
    let calls = &config.calls;
    let legs = calls.max_calls * Config::LEGS_PER_CALL + calls.max_announcements;
    let needed = legs as u64 * SOCKETS_PER_LEG + config.sip.max_connections as u64 + OTHER_FILES;
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| StartError::Limits(e.to_string()))?;
    if soft < needed && hard >= needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard)
            .map_err(|e| StartError::Limits(e.to_string()))?;
    } else if soft < needed {
        return Err(StartError::Limits(format!(
            "calls.max_calls = {} and sip.max_connections = {} need {needed} open files, and the limit is {hard} (ulimit -Hn)",
            calls.max_calls, config.sip.max_connections
        )));
    }
    Ok(())
}

fn make_data_dir(config: &Config) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(&config.data_dir)
        .map_err(|error| StartError::DataDir {
            path: config.data_dir.display().to_string(),
            error,
        })
}

/// Makes the data directory, and this process the only one that works on it as long as it has the file: the system takes the
/// lock back however it ends.
///
/// # Errors
/// Another process has it, or it cannot be made.
pub fn claim_data_dir(config: &Config) -> Result<File, StartError> {
    make_data_dir(config)?;
    let path = || config.data_dir.display().to_string();
    let lock = File::create(config.data_dir.join("lock")).map_err(|error| StartError::DataDir {
        path: path(),
        error,
    })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::DataDirInUse { path: path() }),
        Err(TryLockError::Error(error)) => Err(StartError::DataDir {
            path: path(),
            error,
        }),
    }
}

/// Microsoft's services. A machine without roots can do without them, as long as nobody wants them.
pub(super) fn microsoft(config: &Config) -> Result<Option<Microsoft>, StartError> {
    let settings = config.microsoft();
    let settings =
        settings.map_err(|error| ConfigError::Client(format!("client_secret_file: {error}")))?;
    let is_wanted = !settings.client_id.is_empty();
    match Microsoft::new(settings) {
        Ok(microsoft) => Ok(Some(microsoft)),
        Err(ConfigError::Roots(roots)) if !is_wanted => {
            tracing::warn!(
                roots,
                "there are no root certificates: customers cannot be activated"
            );
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Where people sign in, if at an OpenID provider.
pub(super) fn people(config: &Config) -> Result<People, StartError> {
    let settings = config.sign_in();
    let settings = settings
        .map_err(|error| ConfigError::Client(format!("sign_in.client_secret_file: {error}")))?;
    Ok(People::new(settings.map(OpenId::new).transpose()?))
}

/// By which telephones register that nobody has activated: from the file that is configured, or made once and kept.
pub(super) fn bootstrap_password(config: &Config) -> Result<Secret, StartError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let own = config.data_dir.join("bootstrap-password");
    let path = config.phones.bootstrap_password_file.as_ref();
    let path = path.unwrap_or(&own);
    let failed = |error| StartError::BootstrapPassword {
        path: path.display().to_string(),
        error,
    };
    if *path == own && !own.exists() {
        let made = Random::from_seed(rand::random()).token(32);
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let file = options.open(&own).map_err(failed)?;
        (&file).write_all(made.as_bytes()).map_err(failed)?;
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    Ok(Secret::new(text.trim()))
}

/// Whoever sends letters, if a mail server is configured.
pub(super) fn mailer(config: &Config) -> Result<Option<Mailer>, StartError> {
    let settings = config.mail().map_err(|error| mail::ConfigError::Password {
        reason: error.to_string(),
    })?;
    Ok(settings.as_ref().map(Mailer::new).transpose()?)
}

/// How peers reach us: as configured, or as it turned out.
pub(super) fn sent_by(config: &Config, addresses: &Addresses) -> SentBy {
    let identity = |bound: &[std::net::SocketAddr], transport: Transport| {
        let first = bound.first();
        Identity {
            host: config.sip.public_host.clone().unwrap_or_else(|| {
                first.map_or_else(|| "127.0.0.1".to_owned(), |a| a.ip().to_string())
            }),
            port: first.map_or(transport.default_port(), std::net::SocketAddr::port),
        }
    };
    SentBy {
        udp: identity(&addresses.udp, Transport::Udp),
        tcp: identity(&addresses.tcp, Transport::Tcp),
        tls: identity(&addresses.tls, Transport::Tls),
    }
}
