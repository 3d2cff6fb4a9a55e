//! A stand-in for a desk telephone: it looks for its file over HTTPS, registers by what it finds there over TLS, calls, is
//! called, and restarts when it is told to look again. It reads the files of Yealink's telephones.

mod file;
mod line;

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};

use super::agent::{Behaviour, MAX_INBOUND, Parts};
use super::call::{CallError, Dial, EmuCall, Quirks};
use super::desk::Desk;
use super::tls::TlsError;
pub use file::PhoneFile;
use line::Line;

/// Requests to look again that wait for [`Phone::told`]; further ones are forgotten.
const MAX_TOLD: usize = 16;

/// What is in the box, and what the network tells.
#[derive(Debug, Clone)]
pub struct PhoneConfig {
    /// Its own address: twelve digits in lower case.
    pub mac: String,
    /// Where it is told to look for its file, with a slash at the end.
    pub files: String,
    /// PEM: whoever signed the certificates of that server and of the registrar.
    pub roots: String,
    /// Where every name leads to, and where media is bound.
    pub address: IpAddr,
    /// Hz, played in every call.
    pub tone: f64,
    /// How long waiting methods wait.
    pub patience: Duration,
}

/// Why a telephone is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// The server of files does not answer.
    #[error("its file cannot be fetched: {0}")]
    Fetching(#[from] reqwest::Error),
    /// It refuses.
    #[error("its file is refused with {0}")]
    Refused(u16),
    /// It goes on for ever.
    #[error("its file is too long")]
    TooLong,
    /// What is needed does not stand in the file, or is of no use.
    #[error("its file is of no use for {0}")]
    Useless(&'static str),
    /// No certificate can be believed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The registrar cannot be reached.
    #[error("the registrar cannot be reached: {0}")]
    Connecting(#[from] std::io::Error),
    /// The registrar does not answer.
    #[error("the registrar says nothing")]
    Silent,
    /// The registrar refuses.
    #[error("the registrar refuses with {0}")]
    Unregistered(u16),
}

/// A telephone that is registered. Dropping it takes it from the network, without a word to the registrar.
pub struct Phone {
    config: PhoneConfig,
    file: PhoneFile,
    desk: Desk,
    told: Mutex<mpsc::Receiver<String>>,
    _open: watch::Sender<()>,
}

impl Phone {
    /// Takes it out of its box: it fetches its file and registers.
    pub async fn switch_on(config: PhoneConfig) -> Result<Self, PhoneError> {
        let file = PhoneFile::fetch(&config, None).await?;
        Self::with(config, file).await
    }

    /// The same for one that has a file by now, which says where the next one is and how to prove whose it is.
    pub async fn restart(self) -> Result<Self, PhoneError> {
        let Self { config, file, .. } = self;
        let file = PhoneFile::fetch(&config, Some(&file)).await?;
        Self::with(config, file).await
    }

    async fn with(config: PhoneConfig, file: PhoneFile) -> Result<Self, PhoneError> {
        let (open, closed) = watch::channel(());
        let (sink, inbound) = mpsc::channel(MAX_INBOUND);
        let (tell, told) = mpsc::channel(MAX_TOLD);
        let connecting = line::connect(&config, &file, sink, closed.clone());
        let wire = tokio::time::timeout(config.patience, connecting)
            .await
            .map_err(|_| PhoneError::Silent)??;
        let line = Arc::new(Line::new(file.clone(), wire, tell)?);
        let parts = Parts {
            role: line.clone(),
            media: config.address,
            patience: config.patience,
            tone: config.tone,
            law: None,
            behaviour: Behaviour::Answer(Duration::from_millis(200)),
            closed,
        };
        let desk = Desk::open(parts, inbound);
        let registering = line.register(&desk.agent);
        tokio::time::timeout(config.patience, registering)
            .await
            .map_err(|_| PhoneError::Silent)??;
        Ok(Self {
            config,
            file,
            desk,
            told: Mutex::new(told),
            _open: open,
        })
    }

    /// What it found out about itself.
    pub fn file(&self) -> &PhoneFile {
        &self.file
    }

    /// Calls a number.
    pub async fn call(&self, number: &str) -> Result<EmuCall, CallError> {
        let PhoneFile {
            host, port, line, ..
        } = &self.file;
        let dial = Dial {
            uri: format!("sip:{number}@{host}:{port};transport=tls"),
            from: format!("<sip:{}@{host}>", line.username),
            to: format!("<sip:{number}@{host}>"),
            user: line.username.clone(),
            without_offer: false,
            headers: Vec::new(),
            quirks: Quirks::default(),
        };
        self.desk.dial(dial).await
    }

    /// The next time that it is told to look for its file: the Event header. `None` when that does not come within the
    /// patience.
    pub async fn told(&self) -> Option<String> {
        let next = async { self.told.lock().await.recv().await };
        tokio::time::timeout(self.config.patience, next)
            .await
            .ok()
            .flatten()
    }
}

impl Deref for Phone {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}
