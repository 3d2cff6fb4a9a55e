//! An emulated Microsoft 365: sign-in with its consent pages, the directory behind Graph, numbers, voice routes.
//!
//! [`Microsoft`] is one HTTP listener on loopback. `/{tenant}/…` is the sign-in service, `/graph/v1.0/…` is Graph,
//! `/teams/…` stands for whatever runs Teams' PowerShell, and `/control/…` is for the test: it reads the log of requests
//! (`GET /control/log`), plants answers and delays (`POST /control/script`), and reads and replaces tenants
//! (`GET` and `PUT /control/tenants/{id}`). Nothing of the client of the SBC is used here: what it asks for is judged by
//! what Microsoft documents.
//!
//! A domain is verified when its text stands in DNS, which is asked of a real name server.

pub mod cli;
mod control;
mod graph;
mod keys;
mod login;
mod script;
mod telephony;
mod world;

pub use script::{Logged, Rule};
pub use world::{Domain, Tenant, User, World};

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Who may use it, and what it looks at.
#[derive(Debug, Clone)]
pub struct MicrosoftConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The registered application.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Where it may have people sent back to.
    pub redirect_uris: Vec<String>,
    /// Asked for the texts that prove domains; without one every text is believed to be there.
    pub nameserver: Option<SocketAddr>,
    /// Who is there at the start.
    pub tenants: Vec<Tenant>,
    /// Answers planted at the start.
    pub script: Vec<Rule>,
}

/// A running one. Dropped, it is gone.
#[derive(Debug)]
pub struct Microsoft {
    /// Where it listens.
    pub address: SocketAddr,
    here: Arc<Here>,
    server: JoinHandle<()>,
}

/// What all requests share.
#[derive(Debug)]
struct Here {
    config: MicrosoftConfig,
    /// `http://127.0.0.1:1234`.
    base: String,
    world: Mutex<World>,
    script: Mutex<script::Script>,
}

type Shared = Arc<Here>;

impl Microsoft {
    /// Listens.
    ///
    /// # Errors
    /// The address is not to be had.
    pub async fn start(mut config: MicrosoftConfig) -> std::io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let here = Arc::new(Here {
            base: format!("http://{address}"),
            world: Mutex::new(World::new(std::mem::take(&mut config.tenants))),
            script: Mutex::new(script::Script::new(std::mem::take(&mut config.script))),
            config,
        });
        let router = Router::new()
            .merge(login::routes())
            .merge(graph::routes())
            .merge(telephony::routes())
            .merge(control::routes())
            .layer(from_fn_with_state(here.clone(), script::play))
            .with_state(here.clone());
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            here,
            server,
        })
    }

    /// The sign-in service's base address.
    pub fn login_base(&self) -> String {
        self.here.base.clone()
    }

    /// Graph's.
    pub fn graph_base(&self) -> String {
        format!("{}/graph", self.here.base)
    }

    /// That of whatever runs PowerShell.
    pub fn teams_base(&self) -> String {
        format!("{}/teams", self.here.base)
    }

    /// Every request so far, but those to `/control`.
    pub fn log(&self) -> Vec<Logged> {
        self.here.script().log.iter().cloned().collect()
    }

    /// Plants an answer or a delay.
    pub fn plant(&self, rule: Rule) {
        self.here.script().rules.push(rule);
    }

    /// Changes what is there, behind everybody's back.
    pub fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.here.world())
    }
}

impl Drop for Microsoft {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Here {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script(&self) -> MutexGuard<'_, script::Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this text stands at this name.
    async fn sees(&self, name: &str, text: &str) -> bool {
        let Some(server) = self.config.nameserver else {
            return true;
        };
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        (udp.port, tcp.port) = (server.port(), server.port());
        let server = NameServerConfig::new(server.ip(), true, vec![udp, tcp]);
        let servers = ResolverConfig::from_name_servers(vec![server]);
        let mut builder =
            TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
        builder.options_mut().cache_size = 0;
        builder.options_mut().timeout = Duration::from_secs(3);
        let Ok(resolver) = builder.build() else {
            return false;
        };
        let found = resolver.lookup(format!("{name}."), RecordType::TXT).await;
        found.is_ok_and(|found| {
            found.answers().iter().any(|record| match &record.data {
                RData::TXT(txt) => txt.txt_data.concat() == text.as_bytes(),
                _ => false,
            })
        })
    }
}

/// The fields of a form, or of a query.
fn fields(text: &str) -> HashMap<String, String> {
    let uri = format!("/?{text}").parse();
    let query = uri
        .ok()
        .and_then(|uri| axum::extract::Query::try_from_uri(&uri).ok());
    query.map_or_else(HashMap::new, |query| query.0)
}

/// A value of a query.
fn escaped(text: &str) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
    text.bytes()
        .map(|b| {
            if plain(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// An error as Graph words it.
fn graph_error(status: StatusCode, code: &str, message: &str) -> Response {
    let body: Value = json!({ "error": { "code": code, "message": message } });
    let id = ("request-id", format!("{:032x}", rand::random::<u128>()));
    (status, [id], axum::Json(body)).into_response()
}
