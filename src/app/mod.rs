//! Builds every part from [`Config`], connects them, runs, drains and shuts down in order.

mod activation;
mod desk;
mod live;
mod observe;
mod phones;
mod post;
mod registrations;
mod renewal;
mod shard;
mod start;
mod tenants;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::admin::{self, Activations, Admin, Devices, Ladders, Letters, Listeners, SignIns};
use crate::b2bua::Calls;
use crate::backend;
use crate::base::Random;
use crate::config::Config;
use crate::directory::Ledger;
use crate::doctor::{self, Doctor};
use crate::mail;
use crate::media::Ports;
use crate::microsoft::ConfigError;
use crate::net::clock::Clock;
use crate::net::dev_certificates::{self, DevCertificatesError};
use crate::net::https::HttpsError;
use crate::net::relay::{Relay, RelayError};
use crate::net::zone::Zones;
use crate::net::{self, Addresses, NetError, Network, TlsErrors, TlsMaterial};
use crate::onboarding::Onboarding;
use crate::sip::Endpoint;
use crate::store::{self, Retention, Spool, SpoolError, Store, StoreError};
use crate::sync::Syncs;
use crate::telemetry::health::{Health, Part};
use crate::telemetry::ladder::recorder::Recorder;
use crate::telemetry::metrics::{self, MetricsError};
use shard::{Drain, Shard};
pub use start::claim_data_dir;

/// Why the SBC does not start. All but the last are the user's to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made.
    #[error("data_dir {path}: {error}")]
    DataDir {
        /// As configured.
        path: String,
        /// The operating system's words.
        error: std::io::Error,
    },
    /// Another process works on the data directory: two would spend each customer's channels twice.
    #[error("data_dir {path}: another tollgate runs on it")]
    DataDirInUse {
        /// As configured.
        path: String,
    },
    /// The database.
    #[error("database: {0}")]
    Store(#[from] StoreError),
    /// The folder of call records.
    #[error("{0}")]
    Spool(#[from] SpoolError),
    /// Development certificates cannot be made.
    #[error("development certificates: {0}")]
    DevCertificates(#[from] DevCertificatesError),
    /// Certificates, keys or roots.
    #[error("certificates: {0}")]
    Tls(#[from] TlsErrors),
    /// A SIP listener.
    #[error("{0}")]
    Net(#[from] NetError),
    /// The metrics listener.
    #[error("{0}")]
    Metrics(#[from] MetricsError),
    /// The API's listener.
    #[error("admin.listen {address}: {error}")]
    Admin {
        /// As configured.
        address: SocketAddr,
        /// The operating system's words.
        error: std::io::Error,
    },
    /// What is needed to speak to Microsoft.
    #[error("microsoft: {0}")]
    Microsoft(#[from] ConfigError),
    /// The password of telephones that nobody has activated.
    #[error("phones.bootstrap_password_file {path}: {error}")]
    BootstrapPassword {
        /// Where it is kept.
        path: String,
        /// The operating system's words.
        error: std::io::Error,
    },
    /// What is needed to send letters.
    #[error("mail: {0}")]
    Mail(#[from] mail::ConfigError),
    /// Sockets that media needs.
    #[error("{0}")]
    Limits(String),
    /// The way to the carrier's system of seats.
    #[error("seats: {0}")]
    Seats(String),
    /// The listener for the files of telephones.
    #[error("phone_files: {0}")]
    PhoneFiles(#[from] HttpsError),
    /// The way to the service that sends telephones here.
    #[error("phone_files.redirect_url: {0}")]
    Redirect(String),
    /// The relay threads.
    #[error("{0}")]
    Relay(#[from] RelayError),
}

/// A running SBC. Dropped without [`Sbc::shut_down`], its calls are lost.
pub struct Sbc {
    network: Network,
    store: Store,
    ledger: Ledger,
    clock: Clock,
    health: Health,
    admin: SocketAddr,
    phone_files: Option<SocketAddr>,
    metrics: metrics::Exporter,
    drain: mpsc::Sender<Drain>,
    spool: Arc<Spool>,
    shard: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
    patience: Duration,
    /// Held as long as this lives.
    _lock: std::fs::File,
}

/// Where a running SBC listens.
#[derive(Debug, Clone)]
pub struct Listening {
    /// SIP.
    pub sip: Addresses,
    /// The API, over HTTP.
    pub admin: SocketAddr,
    /// Metrics, over HTTP.
    pub metrics: SocketAddr,
    /// The files of telephones, over HTTPS.
    pub phone_files: Option<SocketAddr>,
}

/// Questions about live calls that may wait.
const QUESTIONS: usize = 64;
/// Proven gateways that may wait to be noted.
const PROVEN: usize = 64;
/// Events about registrations that may wait to be noted.
const TOLD: usize = 1024;
/// Between two moves of call records into the database.
const SETTLE_EVERY: Duration = Duration::from_millis(500);

impl Sbc {
    /// Starts everything. When this returns, calls are taken.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let health = Health::default();
        health.down(Part::Program, "starting");
        start::check_limits(config)?;
        let lock = claim_data_dir(config)?;
        let store =
            Store::open_with_keys(&config.database(), &config.key_file(), config.directory())
                .await?;
        let spool = Arc::new(Spool::open(&config.spool())?);
        spool.settle(&store).await?;
        let exporter = metrics::serve(config.metrics.listen).await?;
        let listen = config.admin.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| StartError::Admin {
                address: listen,
                error,
            })?;
        let admin_address = listener.local_addr().map_err(|error| StartError::Admin {
            address: listen,
            error,
        })?;

        if config.uses_development_certificates() {
            dev_certificates::ensure(&config.development_directory(), &config.development_names())?;
        }
        let tls = Arc::new(TlsMaterial::load(config.tls())?);
        let material = tls.clone();
        let (network, arrivals) = net::start(config.net(), Some(tls))?;
        let mut random = Random::from_seed(rand::random());
        let (relay, media) = Relay::start(config.relay(), random.split())?;

        let ledger = Ledger::default();
        let directory = store.directory();
        let sent_by = start::sent_by(config, network.addresses());
        let own = sent_by.clone();
        let endpoint = Endpoint::new(config.endpoint(), sent_by.clone(), random.split());
        let ports = Ports::new(
            config.media.port_min..=config.media.port_max,
            config.media.cool_down,
            &mut random,
        );
        let mut settings = config.calls();
        let bootstrap = start::bootstrap_password(config)?;
        settings.registrar.bootstrap_password = Some(bootstrap.clone());
        let calls = Calls::new(
            settings,
            endpoint,
            sent_by,
            directory.load_full(),
            ledger.clone(),
            ports,
            random,
            Instant::now(),
            OffsetDateTime::now_utc(),
        );
        let runner = activation::Runner {
            store: store.clone(),
            microsoft: start::microsoft(config)?,
            zones: Zones::new(config.zones()),
            clock: Clock::default(),
            wake: Arc::default(),
            usage_location: config.microsoft.usage_location.clone(),
        };
        let activations = Activations {
            microsoft: runner.microsoft.clone(),
            zones: runner.zones.clone(),
            clock: runner.clock.clone(),
            wake: runner.wake.clone(),
            portal: config.microsoft.portal.clone(),
        };
        let clock = runner.clock.clone();
        let post = post::Post {
            store: store.clone(),
            mailer: start::mailer(config)?,
            clock: clock.clone(),
            wake: Arc::default(),
        };
        let onboarding = Onboarding::new(store.clone(), runner.microsoft.clone(), clock.clone());
        let letters = Letters {
            are_sent: post.mailer.is_some(),
            wake: post.wake.clone(),
            public_url: config.public_url(admin_address),
        };
        let (prove, proven) = mpsc::channel(PROVEN);
        let (tell, told) = mpsc::channel(TOLD);
        let (live, asked) = admin::Calls::new(QUESTIONS);
        let (phones, waking) = admin::Phones::new(QUESTIONS);
        let (desk, clerk) = desk::Desk::new(waking);
        let interval = config.phones.max_expires;
        let (porter, presence) = desk::Porter::new(store.clone(), clock.clone(), interval);
        let ladders = config.ladders().map_or_else(Recorder::off, Recorder::new);
        let (drain, drained) = mpsc::channel(1);
        let shard = Shard {
            calls,
            network: network.clone(),
            arrivals,
            relay,
            media,
            asked,
            desk,
            drain: drained,
            directory: directory.clone(),
            generation: directory.load().generation,
            renewal: renewal::Renewal::default(),
            spool: spool.clone(),
            observer: observe::Observer {
                directory: directory.clone(),
                ledger: ledger.clone(),
                max_calls: config.calls.max_calls,
                max_announcements: config.calls.max_announcements,
                proven: prove,
                registrations: tell,
                presence,
            },
            ladders: ladders.clone(),
        };
        store.recover_tasks().await?;
        let seats = config.seats();
        let backend = backend::open(&seats).map_err(StartError::Seats)?;
        let tenants = tenants::open(&onboarding, runner.microsoft.as_ref());
        let devices = Devices {
            phones,
            ..Devices::default()
        };
        let (devices, served) = phones::begin(
            config,
            devices,
            bootstrap,
            &store,
            &clock,
            network.addresses(),
        )?;
        let looked_up = clerk.run(store.clone(), clock.clone(), devices.clone());
        let phone_files = served.as_ref().map(|served| served.address);
        let api = Admin {
            store: store.clone(),
            syncs: Syncs::new(store.clone(), backend, seats.timeout, tenants),
            ledger: ledger.clone(),
            calls: live,
            health: health.clone(),
            spool: spool.clone(),
            redact_for: config.admin.redact_for.clone(),
            ladders: Ladders {
                recorder: ladders,
                listening: network.addresses().clone(),
            },
            doctor: Some(Arc::new(Doctor::new(
                doctor::Config {
                    listening: network.addresses().tls.clone(),
                    sent_by: own,
                    ..config.doctor()
                },
                Ok(material),
            ))),
            activations,
            devices,
            letters,
            onboarding: onboarding.clone(),
            sign_ins: SignIns::default(),
            people: start::people(config)?,
            listeners: Listeners::default(),
        };
        let mut tasks = vec![
            tokio::spawn(settle_records(spool.clone(), store.clone(), health.clone())),
            tokio::spawn(keep_house(
                store.clone(),
                ledger.clone(),
                config.retention(),
            )),
            tokio::spawn(serve_admin(listener, admin::router(api))),
            tokio::spawn(runner.run(proven)),
            tokio::spawn(registrations::keep(store.clone(), told)),
            tokio::spawn(looked_up),
            tokio::spawn(porter.run()),
            tokio::spawn(post.run()),
            tokio::spawn(onboarding.run()),
        ];
        tasks.extend(served.map(|served| served.task));
        let shard = tokio::spawn(shard.run());
        health.up(Part::Program);
        let patience = config.calls.drain_timeout;
        Ok(Self {
            network,
            store,
            ledger,
            clock,
            health,
            admin: admin_address,
            phone_files,
            metrics: exporter,
            drain,
            spool,
            shard,
            tasks,
            patience,
            _lock: lock,
        })
    }

    /// Where it listens.
    pub fn listening(&self) -> Listening {
        Listening {
            sip: self.network.addresses().clone(),
            admin: self.admin,
            metrics: self.metrics.address(),
            phone_files: self.phone_files,
        }
    }

    /// What is provisioned.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Channels in use.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The time by which customers are activated; it can be put forward.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Reads certificates again (SIGHUP does this).
    ///
    /// # Errors
    /// What is wrong with them; the old ones stay.
    pub fn reload(&self) -> Result<(), TlsErrors> {
        self.network.reload()
    }

    /// Waits until the control plane ends without having been told to, which is a defect of ours, and says how. Calls
    /// are lost then; there is nothing left to shut down.
    pub async fn broken(&mut self) -> String {
        match (&mut self.shard).await {
            Ok(()) => "the control plane has ended".to_owned(),
            Err(error) => format!("the control plane has failed: {error}"),
        }
    }

    /// Refuses new calls, lets those that are go on for `calls.drain_timeout_s`, ends the rest, keeps all records,
    /// closes everything.
    pub async fn shut_down(self) {
        self.health.down(Part::Program, "draining");
        let (done, drained) = oneshot::channel();
        if self
            .drain
            .send(Drain {
                patience: self.patience,
                done,
            })
            .await
            .is_ok()
        {
            let _ = drained.await;
        }
        let _ = self.shard.await;
        for task in &self.tasks {
            task.abort();
        }
        self.network.close().await;
        if let Err(error) = self.spool.settle(&self.store).await {
            tracing::warn!(%error, "call records stay in the spool until the next start");
        }
        self.store.close().await;
    }
}

async fn settle_records(spool: Arc<Spool>, store: Store, health: Health) {
    let mut clock = tokio::time::interval(SETTLE_EVERY);
    loop {
        clock.tick().await;
        metrics::CDR_SPOOLED.set([], spool.waiting() as f64);
        match spool.settle(&store).await {
            Ok(_) => health.up(Part::Store),
            Err(error) => {
                tracing::warn!(%error, "call records wait in the spool");
                health.down(Part::Store, "the database does not take call records");
            }
        }
    }
}

async fn keep_house(store: Store, ledger: Ledger, retention: Retention) {
    store::housekeeping(&store, &ledger, retention).await;
}

async fn serve_admin(listener: TcpListener, router: axum::Router) {
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the API is no longer served");
    }
}
