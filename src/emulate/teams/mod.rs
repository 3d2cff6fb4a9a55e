//! A stand-in for Microsoft's side of Direct Routing, as strict as what is known of it (TDR, appendix A).

mod connections;
mod options;
mod rules;

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::agent::{Behaviour, MAX_INBOUND, Parts};
use super::call::{CallError, Dial, EmuCall, Quirks};
use super::desk::Desk;
use super::g711::Law;
use super::tls::{self, Identity, TlsError};
pub use connections::Met;
use connections::{Dialler, Doors};
pub use rules::Mood;
use rules::Rules;

/// Everything that the stand-in needs to know.
#[derive(Debug, Clone)]
pub struct TeamsConfig {
    /// Where the SBC dials to; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where it finds the proxies that come after the first, at most 8.
    pub others: Vec<SocketAddr>,
    /// Where every gateway name leads to; see also [`Teams::aim`].
    pub sbc: SocketAddr,
    /// Where media is bound.
    pub media: IpAddr,
    /// Shown to the SBC when it dials.
    pub listener: Identity,
    /// Shown to the SBC when Teams dials; serverAuth only, if it is as strict as Teams' own (TDR-126).
    pub dialler: Identity,
    /// PEM: whoever signed the SBC's certificates.
    pub sbc_roots: String,
    /// Registered names with their numbers (`+` and digits).
    pub gateways: Vec<Gateway>,
    /// Between OPTIONS to a gateway that sent one itself (TDR-201).
    pub options_interval: Duration,
    /// Connections without a message for this long are closed (TDR-143).
    pub idle: Duration,
    /// Whether the trunk has media bypass: every client has full ICE, and no session timer is offered.
    pub media_bypass: bool,
    /// What becomes of calls to numbers without a behaviour of their own.
    pub behaviour: Behaviour,
    /// Hz, played in every call.
    pub tone: f64,
    /// The one law of G.711 that it speaks; none: both.
    pub law: Option<Law>,
    /// How long waiting methods of calls wait.
    pub patience: Duration,
}

/// A registered name: a carrier's trunk or a customer's derived one (TDR-1201).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// In lower case.
    pub fqdn: String,
    /// Whom Teams finds behind it.
    pub numbers: Vec<String>,
}

impl TeamsConfig {
    /// Loopback, a free port, minute-long intervals as Microsoft's, 440 Hz, answering after 200 ms.
    pub fn new(sbc: SocketAddr, listener: Identity, dialler: Identity, sbc_roots: String) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            others: Vec::new(),
            sbc,
            media: IpAddr::from([127, 0, 0, 1]),
            listener,
            dialler,
            sbc_roots,
            gateways: Vec::new(),
            options_interval: Duration::from_secs(60),
            idle: Duration::from_secs(120),
            media_bypass: false,
            behaviour: Behaviour::Answer(Duration::from_millis(200)),
            tone: 440.0,
            law: None,
            patience: Duration::from_secs(10),
        }
    }
}

/// A call from Teams to the SBC.
#[derive(Debug, Clone)]
pub struct TeamsCall {
    /// The called number.
    pub to: String,
    /// The caller's number.
    pub from: String,
    /// The derived trunk's name: host of the Request-URI (TDR-301).
    pub gateway: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

/// A running stand-in. Dropping it closes everything.
pub struct Teams {
    /// Where it listens.
    pub address: SocketAddr,
    /// The same of all its proxies, the first one first.
    pub proxies: Vec<SocketAddr>,
    /// All these, and where requests inside calls come to.
    pub listening: Vec<SocketAddr>,
    desk: Desk,
    rules: Arc<Rules>,
    _open: watch::Sender<()>,
}

/// Why a meeting did not come about.
#[derive(Debug, thiserror::Error)]
pub enum MeetError {
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The SBC ended the connection, or could not be reached.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Proxies besides the first.
const MAX_OTHERS: usize = 8;

/// The names that Teams' messages carry (TDR-309): a proxy for routes, another host for Contact.
const PROXY: &str = "sip-du-a-eu.pstnhub.microsoft.com";
const API: &str = "api-du-a-euwe.pstnhub.microsoft.com";
/// Host of From.
const HOST: &str = "sip.pstnhub.microsoft.com";
/// TDR-206.
const ALLOW: &str = "INVITE,ACK,OPTIONS,CANCEL,BYE,NOTIFY";
const SERVER: &str = "Microsoft.PSTNHub.SIPProxy v.2026.11.2.4 i.EUWE.3";

impl Teams {
    /// The host names that the SBC has to find at [`Teams::address`].
    pub const NAMES: [&'static str; 6] = [
        HOST,
        "sip2.pstnhub.microsoft.com",
        "sip3.pstnhub.microsoft.com",
        PROXY,
        "sip-du-a-us.pstnhub.microsoft.com",
        API,
    ];

    /// Binds and starts.
    pub async fn start(config: TeamsConfig) -> Result<Self, TlsError> {
        let server = tls::server(&config.listener, &config.sbc_roots)?;
        let client = tls::client(&config.dialler, &config.sbc_roots)?;
        let (open, closed) = watch::channel(());
        let (sink, inbound) = mpsc::channel(MAX_INBOUND);
        let doors = Doors {
            server,
            idle: config.idle,
            sink: sink.clone(),
            closed: closed.clone(),
        };
        // Where there are several proxies, one may be gone while calls that came by it go on by the recorded route.
        let inside = SocketAddr::new(config.listen.ip(), 0);
        let inside = (!config.others.is_empty()).then_some(inside);
        let others = config.others.into_iter().take(MAX_OTHERS);
        let proxies = 1 + others.len();
        let all = [config.listen].into_iter().chain(others).chain(inside);
        let doors = doors.open(all).await?;
        let listening: Vec<_> = doors.iter().map(|door| door.address).collect();
        let (address, recorded) = (listening[0], listening[listening.len() - 1]);
        let dialler = Dialler::new(client, config.sbc, config.idle, sink, closed.clone());
        let rules = Arc::new(Rules::new(
            recorded.port(),
            doors,
            dialler,
            config.gateways,
            config.options_interval,
            config.media_bypass,
        ));
        let parts = Parts {
            role: rules.clone(),
            media: config.media,
            patience: config.patience,
            tone: config.tone,
            law: config.law,
            behaviour: config.behaviour,
            closed: closed.clone(),
        };
        let desk = Desk::open(parts, inbound);
        tokio::spawn(options::ping(desk.agent.clone(), rules.clone()));
        Ok(Self {
            address,
            proxies: listening[..proxies].to_vec(),
            listening,
            desk,
            rules,
            _open: open,
        })
    }

    /// Calls the SBC.
    pub async fn call(&self, call: TeamsCall) -> Result<EmuCall, CallError> {
        self.call_oddly(call, Quirks::default()).await
    }

    /// Calls the SBC, and not in the ordinary way.
    pub async fn call_oddly(&self, call: TeamsCall, quirks: Quirks) -> Result<EmuCall, CallError> {
        let TeamsCall {
            to,
            from,
            gateway,
            headers,
        } = call;
        let port = self.rules.dialler.sbc().port();
        let dial = Dial {
            uri: format!("sip:{to}@{gateway}:{port};user=phone;transport=tls"),
            from: format!("\"Caller\" <sip:{from}@{HOST}:5061;user=phone>"),
            to: format!("<sip:{to}@{gateway}:{port};user=phone>"),
            user: from,
            without_offer: false,
            headers,
            quirks,
        };
        self.desk.dial(dial).await
    }

    /// Has gateway names lead to another address from now on.
    pub fn aim(&self, sbc: SocketAddr) {
        self.rules.dialler.aim(sbc);
    }

    /// Registers a gateway and its numbers.
    pub fn register(&self, gateway: Gateway) {
        lock(&self.rules.gateways).push(gateway);
    }

    /// What one proxy is like from now on; the first is 0.
    pub fn set_mood(&self, proxy: usize, mood: Mood) {
        self.rules.set_mood(proxy, mood);
    }

    /// Whom calls may be transferred to: a Request-URI, byte for byte, and what becomes of calls to it (TDR-706).
    pub fn expect(&self, uri: &str, behaviour: Behaviour) {
        self.rules.expect(uri);
        self.desk.behave(uri, behaviour);
    }

    /// Opens its connections from this address from now on, or from any (TDR-105).
    pub fn dial_from(&self, source: Option<IpAddr>) {
        self.rules.dialler.dial_from(source);
    }

    /// Dials the SBC as `gateway`, and says whom it met; a certificate other than that name's is an error (TDR-129).
    pub async fn meet(&self, gateway: &str) -> std::io::Result<Met> {
        self.rules.dialler.meet(gateway).await
    }

    /// The same, showing another certificate or none; the error says how the SBC refused it.
    pub async fn meet_as(
        &self,
        gateway: &str,
        identity: Option<&Identity>,
        roots: &str,
    ) -> Result<(), MeetError> {
        let client = tls::client_as(identity, roots)?;
        Ok(self.rules.dialler.intrude(gateway, client).await?)
    }

    /// Sends a keep-alive of RFC 5626 on a connection of its own and waits for the answer (TDR-143).
    pub async fn keep_alive(&self, gateway: &str) -> Result<(), CallError> {
        self.rules
            .dialler
            .keep_alive(gateway, self.desk.agent.patience)
            .await
    }

    /// Closes every connection that it opened (TDR-144).
    pub async fn hang_up_connections(&self) {
        self.rules.dialler.close().await;
    }

    /// Whom it met on the connections that the SBC has open now, and how many pings came on each.
    pub fn visitors(&self) -> Vec<(Met, u64)> {
        self.rules.visitors()
    }

    /// [`Desk::clear`], and forgets what [`Teams::expect`] and [`Teams::set_mood`] decided.
    pub async fn clear(&self) {
        self.rules.forget_moods();
        self.desk.clear().await;
    }

    /// What Teams knows of a gateway's health.
    pub fn health(&self, fqdn: &str) -> Option<Health> {
        lock(&self.rules.health).get(fqdn).cloned()
    }
}

impl Deref for Teams {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

/// OPTIONS in both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// OPTIONS that the SBC sent.
    pub received: u64,
    /// When it sent the last.
    pub last: Instant,
    /// OPTIONS that Teams sent.
    pub sent: u64,
    /// Those that the SBC answered 200.
    pub answered: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
