//! A stand-in for Microsoft's side of Direct Routing, as strict as what is known of it (TDR, appendix A).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::agent::{Agent, Behaviour, Later, MAX_INBOUND, Parts, Role, phrase, refuse};
use super::call::{self, CallError, Dial, EmuCall};
use super::digest::Credentials;
use super::message::{Draft, Message, host_of, uri_of, user_of};
use super::negotiation::Manner;
use super::sdp::{Direction, Sdp};
use super::tls::{self, Identity, TlsError};
use super::trace::Trace;
use super::wire::{About, Inbound, Sink, Wire, serve_stream};

/// Connections at once, over both directions.
const MAX_CONNECTIONS: usize = 512;
/// Handshakes and connection set-ups may take this long.
const CONNECTING: Duration = Duration::from_secs(4);

/// Everything that the stand-in needs to know.
#[derive(Debug, Clone)]
pub struct TeamsConfig {
    /// Where the SBC dials to; port 0 takes a free one.
    pub listen: SocketAddr,
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
    agent: Arc<Agent>,
    rules: Arc<Rules>,
    incoming: tokio::sync::Mutex<mpsc::Receiver<EmuCall>>,
    _open: watch::Sender<()>,
}

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
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let (open, closed) = watch::channel(());
        let (sink, inbound) = mpsc::channel(MAX_INBOUND);
        let rules = Arc::new(Rules {
            port: address.port(),
            dialler: Dialler {
                client,
                sbc: Mutex::new(config.sbc),
                idle: config.idle,
                sink: sink.clone(),
                closed: closed.clone(),
                pool: tokio::sync::Mutex::default(),
                turn: AtomicU64::new(0),
            },
            gateways: Mutex::new(config.gateways),
            health: Mutex::default(),
            media_bypass: config.media_bypass,
            interval: config.options_interval,
            wake: tokio::sync::Notify::new(),
        });
        let parts = Parts {
            role: rules.clone(),
            media: config.media,
            patience: config.patience,
            tone: config.tone,
            behaviour: config.behaviour,
            closed: closed.clone(),
        };
        let (agent, incoming) = Agent::start(parts, inbound);
        tokio::spawn(listen(listener, server, config.idle, sink, closed));
        tokio::spawn(ping(agent.clone(), rules.clone()));
        Ok(Self {
            address,
            agent,
            rules,
            incoming: tokio::sync::Mutex::new(incoming),
            _open: open,
        })
    }

    /// Calls the SBC.
    pub async fn call(&self, call: TeamsCall) -> Result<EmuCall, CallError> {
        let TeamsCall {
            to,
            from,
            gateway,
            headers,
        } = call;
        let port = self.rules.dialler.sbc().port();
        call::dial(
            self.agent.clone(),
            Dial {
                uri: format!("sip:{to}@{gateway}:{port};user=phone;transport=tls"),
                from: format!("\"Caller\" <sip:{from}@{HOST}:5061;user=phone>"),
                to: format!("<sip:{to}@{gateway}:{port};user=phone>"),
                user: from,
                without_offer: false,
                headers,
            },
        )
        .await
    }

    /// The next call that came in, answered or not; `None` when it does not come within the patience.
    pub async fn incoming(&self) -> Option<EmuCall> {
        tokio::time::timeout(self.agent.patience, async {
            self.incoming.lock().await.recv().await
        })
        .await
        .ok()
        .flatten()
    }

    /// Decides what becomes of calls to `number`.
    pub fn behave(&self, number: &str, behaviour: Behaviour) {
        self.agent.behave(number, behaviour);
    }

    /// Has gateway names lead to another address from now on.
    pub fn aim(&self, sbc: SocketAddr) {
        *lock(&self.rules.dialler.sbc) = sbc;
    }

    /// Registers a gateway and its numbers.
    pub fn register(&self, gateway: Gateway) {
        lock(&self.rules.gateways).push(gateway);
    }

    /// Rules of TDR that the SBC broke so far, in words.
    pub fn notes(&self) -> Vec<String> {
        self.agent.notes()
    }

    /// What went by.
    pub fn trace(&self) -> Trace {
        self.agent.trace.clone()
    }

    /// What Teams knows of a gateway's health.
    pub fn health(&self, fqdn: &str) -> Option<Health> {
        lock(&self.rules.health).get(fqdn).cloned()
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

/// Teams as a role.
struct Rules {
    port: u16,
    dialler: Dialler,
    gateways: Mutex<Vec<Gateway>>,
    health: Mutex<HashMap<String, Health>>,
    media_bypass: bool,
    interval: Duration,
    wake: tokio::sync::Notify,
}

impl Rules {
    fn numbers(&self, fqdn: &str) -> Option<Vec<String>> {
        lock(&self.gateways)
            .iter()
            .find(|g| g.fqdn.eq_ignore_ascii_case(fqdn))
            .map(|g| g.numbers.clone())
    }

    /// TDR-129, TDR-203, TDR-403, TDR-404: whom the SBC says it is, against the certificate it showed.
    fn identify(&self, inbound: &Inbound) -> Result<String, Draft> {
        let message = &inbound.message;
        let Some(said) = message.header("Record-Route").or(message.header("Contact")) else {
            let mut draft = refuse(message, 400);
            draft.push(
                "Reason",
                "Q.850;cause=63;text=\"Record-Route and Contact headers are missing\"",
            );
            return Err(draft);
        };
        let uri = uri_of(said);
        let (host, _) = host_of(uri);
        if uri.starts_with("sips:") || host.parse::<IpAddr>().is_ok() {
            return Err(forbidden(
                message,
                "the Contact names an address or a sips URI",
            ));
        }
        let shown = inbound
            .wire
            .about()
            .map(|about| about.names.as_slice())
            .unwrap_or_default();
        if !shown.iter().any(|name| tls::covers(name, &host)) {
            return Err(forbidden(message, "the Contact is not in the certificate"));
        }
        if self.numbers(&host).is_none() {
            return Err(forbidden(message, "the Contact is no registered gateway"));
        }
        Ok(host)
    }
}

/// TDR-140: the SBC's requests come on connections that the SBC opened.
fn judge_direction(agent: &Agent, inbound: &Inbound) -> Result<(), Draft> {
    if inbound.wire.about().is_none_or(|about| !about.ours) {
        return Ok(());
    }
    agent.note(format!(
        "{} came on a connection that Teams opened (TDR-140)",
        inbound.message.method()
    ));
    Err(forbidden(
        &inbound.message,
        "this connection carries Teams' requests only",
    ))
}

fn forbidden(message: &Message, why: &str) -> Draft {
    let mut draft = refuse(message, 403);
    draft.push("Reason", format!("Q.850;cause=63;text=\"{why}\""));
    draft
}

impl Role for Rules {
    fn manner(&self) -> Manner {
        if self.media_bypass {
            Manner::TeamsBypass
        } else {
            Manner::Teams
        }
    }

    fn judge(&self, agent: &Agent, inbound: &Inbound) -> Result<(), Draft> {
        judge_direction(agent, inbound)?;
        let message = &inbound.message;
        let fqdn = self.identify(inbound)?;
        if message.lists("Require", "100rel") {
            let mut draft = refuse(message, 420);
            draft.push("Unsupported", "100rel");
            return Err(draft);
        }
        if message.header("Replaces").is_some() {
            return Err(forbidden(message, "Replaces is not supported"));
        }
        let described = message.header("Content-Type").is_some_and(|t| {
            t.split(';')
                .next()
                .is_some_and(|t| t.trim().eq_ignore_ascii_case("application/sdp"))
        });
        if message.body.is_empty() || !described {
            return Err(refuse(message, 415));
        }
        // TDR-402: the number is looked up in that gateway's tenant only.
        if !self
            .numbers(&fqdn)
            .unwrap_or_default()
            .iter()
            .any(|number| number == user_of(message.uri()))
        {
            return Err(refuse(message, 404));
        }
        Ok(())
    }

    fn judge_inside(&self, agent: &Agent, inbound: &Inbound, contact: &str) -> Result<(), Draft> {
        judge_direction(agent, inbound)?;
        let message = &inbound.message;
        if message.uri() != contact {
            agent.note(format!(
                "{} went to {} instead of {contact} (TDR-309)",
                message.method(),
                message.uri()
            ));
            return Err(refuse(message, 400));
        }
        let followed = message
            .header("Route")
            .map(|route| host_of(uri_of(route)).0);
        if followed.as_deref() != Some(PROXY) {
            agent.note(format!(
                "{} did not follow the recorded route (TDR-309)",
                message.method()
            ));
            return Err(refuse(message, 400));
        }
        if message.method() == "INVITE" {
            self.identify(inbound)?;
            let direction = Sdp::parse(&message.body).ok().map(|sdp| sdp.direction);
            if matches!(direction, Some(Direction::SendOnly | Direction::RecvOnly)) {
                agent.note("a one-way direction was offered to Teams (TDR-601)");
            }
        }
        Ok(())
    }

    /// TDR-403: every answer to Teams names the dialled gateway, and TDR-404: no Record-Route of another name.
    fn judge_answer(&self, agent: &Agent, response: &Message, uri: &str) {
        let dialled = host_of(uri).0;
        let status = response.status().unwrap_or(0);
        for name in ["Contact", "Record-Route"] {
            let host = response
                .all(name)
                .map(|value| host_of(uri_of(value)).0)
                .find(|host| *host != dialled && *host != PROXY);
            if let Some(host) = host {
                agent.note(format!(
                    "a {status} names {host} in {name} instead of {dialled} (TDR-403)"
                ));
            }
        }
        if response.header("Contact").is_none() {
            agent.note(format!("a {status} has no Contact (TDR-403)"));
        }
    }

    fn other(&self, agent: &Agent, inbound: &Inbound) -> Draft {
        let message = &inbound.message;
        if let Err(refusal) = judge_direction(agent, inbound) {
            return refusal;
        }
        if message.method() != "OPTIONS" {
            return refuse(message, 405);
        }
        match self.identify(inbound) {
            Err(refusal) => refusal,
            Ok(fqdn) => {
                let new = Health {
                    received: 0,
                    last: Instant::now(),
                    sent: 0,
                    answered: 0,
                };
                let mut health = lock(&self.health);
                // At most one entry for each registered name.
                let entry = health.entry(fqdn).or_insert(new);
                entry.received += 1;
                entry.last = Instant::now();
                self.wake.notify_one();
                let mut draft = Draft::response(
                    message,
                    200,
                    phrase(200),
                    &format!("{:08x}", rand::random::<u32>()),
                );
                draft.push("Allow", ALLOW).push("Server", SERVER);
                draft
            }
        }
    }

    fn connect<'a>(&'a self, uri: &'a str) -> Later<'a, io::Result<Wire>> {
        Box::pin(self.dialler.connect(uri))
    }

    fn sent_by(&self, _: &Wire) -> String {
        format!("{PROXY}:{}", self.port)
    }

    fn contact(&self, _: &str) -> String {
        let (cluster, call) = (rand::random::<u64>(), rand::random::<u128>());
        format!("sip:{API}:443;x-i={cluster:016x};x-c={call:032X}/d/8/aB%2fCd")
    }

    fn dress(&self, draft: &mut Draft, request: bool) {
        draft.push(
            "Record-Route",
            format!("<sip:{PROXY}:{};transport=tls;lr>", self.port),
        );
        draft.push("Allow", ALLOW);
        if request {
            draft
                .push("User-Agent", SERVER)
                .push("Supported", "histinfo,timer");
            // TDR-512.
            if !self.media_bypass {
                draft.push("Session-Expires", "1800").push("Min-SE", "300");
            }
        } else {
            draft.push("Server", SERVER);
        }
    }

    fn is_own_route(&self, route: &str) -> bool {
        host_of(uri_of(route)).0 == PROXY
    }

    fn credentials(&self) -> Option<&Credentials> {
        None
    }
}

/// The connections that Teams opens: two to each name, used in turn, so that requests of one call come on either (TDR-142).
struct Dialler {
    client: Arc<ClientConfig>,
    sbc: Mutex<SocketAddr>,
    idle: Duration,
    sink: Sink,
    closed: watch::Receiver<()>,
    pool: tokio::sync::Mutex<HashMap<(String, u16, u64), Wire>>,
    turn: AtomicU64,
}

impl Dialler {
    fn sbc(&self) -> SocketAddr {
        *lock(&self.sbc)
    }

    async fn connect(&self, uri: &str) -> io::Result<Wire> {
        let (host, port) = host_of(uri);
        let port = port.unwrap_or(self.sbc().port());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % 2;
        let mut pool = self.pool.lock().await;
        pool.retain(|_, wire| wire.is_open());
        if let Some(wire) = pool.get(&(host.clone(), port, turn)) {
            return Ok(wire.clone());
        }
        if pool.len() >= MAX_CONNECTIONS {
            return Err(io::Error::other("too many connections"));
        }
        let opening = tokio::time::timeout(CONNECTING, self.open(&host, port));
        let wire = opening
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        pool.insert((host, port, turn), wire.clone());
        Ok(wire)
    }

    /// The server must prove to be the name that was dialled (TDR-129).
    async fn open(&self, host: &str, port: u16) -> io::Result<Wire> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let tcp = TcpStream::connect((self.sbc().ip(), port)).await?;
        tcp.set_nodelay(true)?;
        let stream = TlsConnector::from(self.client.clone())
            .connect(name, tcp)
            .await?;
        let about = About {
            transport: "TLS",
            ours: true,
            names: shown(stream.get_ref().1.peer_certificates()),
        };
        Ok(serve_stream(
            stream,
            about,
            self.idle,
            self.sink.clone(),
            self.closed.clone(),
        ))
    }
}

fn shown(certificates: Option<&[rustls::pki_types::CertificateDer<'_>]>) -> Vec<String> {
    certificates
        .and_then(|chain| chain.first())
        .map(tls::names)
        .unwrap_or_default()
}

/// Takes the SBC's connections.
async fn listen(
    listener: TcpListener,
    server: Arc<ServerConfig>,
    idle: Duration,
    sink: Sink,
    mut closed: watch::Receiver<()>,
) {
    let (acceptor, room) = (
        TlsAcceptor::from(server),
        Arc::new(Semaphore::new(MAX_CONNECTIONS)),
    );
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.changed() => return,
        };
        let Ok((tcp, _)) = accepted else {
            // Out of descriptors, most likely: trying again at once would only spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            continue;
        };
        let (acceptor, sink, closed) = (acceptor.clone(), sink.clone(), closed.clone());
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            let Ok(Ok(stream)) = tokio::time::timeout(CONNECTING, acceptor.accept(tcp)).await
            else {
                return;
            };
            let about = About {
                transport: "TLS",
                ours: false,
                names: shown(stream.get_ref().1.peer_certificates()),
            };
            let wire = serve_stream(stream, about, idle, sink, closed);
            wire.ended().await;
            drop(place);
        });
    }
}

/// Sends OPTIONS to every gateway that sent one itself.
async fn ping(agent: Arc<Agent>, rules: Arc<Rules>) {
    let mut closed = agent.closed.clone();
    loop {
        let known: Vec<String> = lock(&rules.health)
            .iter()
            .filter(|(_, h)| h.sent == 0)
            .map(|(fqdn, _)| fqdn.clone())
            .collect();
        for fqdn in known {
            tokio::spawn(ping_one(agent.clone(), rules.clone(), fqdn.clone()));
            if let Some(health) = lock(&rules.health).get_mut(&fqdn) {
                health.sent = 1;
            }
        }
        tokio::select! {
            () = rules.wake.notified() => {}
            _ = closed.changed() => return,
        }
    }
}

async fn ping_one(agent: Arc<Agent>, rules: Arc<Rules>, fqdn: String) {
    let mut closed = agent.closed.clone();
    let mut number = 0;
    let call_id = format!("{:032x}", rand::random::<u128>());
    let Some(mut inbox) = agent.inbox(&call_id) else {
        return;
    };
    let mut tick = tokio::time::interval(rules.interval.max(Duration::from_millis(10)));
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            Some(inbound) = inbox.recv() => {
                if inbound.message.status() == Some(200) && let Some(health) = lock(&rules.health).get_mut(&fqdn) {
                    health.answered += 1;
                }
                if inbound.message.status() == Some(200) {
                    judge_pong(&agent, &inbound.message, &fqdn);
                }
                continue;
            }
            _ = closed.changed() => return,
        }
        number += 1;
        let uri = format!("sip:{fqdn}:{};transport=tls", rules.dialler.sbc().port());
        let Ok(wire) = rules.dialler.connect(&uri).await else {
            continue;
        };
        let mut draft = Draft::request("OPTIONS", &uri);
        draft
            .push(
                "From",
                format!(
                    "<sip:{PROXY}:{}>;tag={:08x}",
                    rules.port,
                    rand::random::<u32>()
                ),
            )
            .push("To", format!("<sip:{fqdn}>"));
        draft
            .push("Call-ID", &call_id)
            .push("CSeq", format!("{number} OPTIONS"))
            .push("Max-Forwards", "70");
        draft
            .push(
                "Contact",
                format!("<sip:{PROXY}:{};transport=tls>", rules.port),
            )
            .push("User-Agent", SERVER);
        let via = format!(
            "SIP/2.0/TLS {PROXY}:{};branch=z9hG4bK{:016x}",
            rules.port,
            rand::random::<u64>()
        );
        if number > 1
            && let Some(health) = lock(&rules.health).get_mut(&fqdn)
        {
            health.sent += 1;
        }
        agent.send(&wire, draft.print(Some(&via), true));
    }
}

/// TDR-207: the 200 to OPTIONS has a Contact with the gateway's name and an Allow.
fn judge_pong(agent: &Agent, response: &Message, fqdn: &str) {
    let named = response
        .header("Contact")
        .is_some_and(|contact| host_of(uri_of(contact)).0 == fqdn);
    if !named || response.header("Allow").is_none() {
        agent.note(format!(
            "the 200 to OPTIONS lacks Allow or a Contact of {fqdn} (TDR-207)"
        ));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::tls::{Authority, KeyKind, Usage};
    use super::*;

    const FQDN: &str = "contoso.sbc.example";

    /// A peer that does what Teams demands of an SBC, or breaks one rule.
    struct Peer {
        dialler: Dialler,
        port: u16,
        contact: &'static str,
    }

    impl Role for Peer {
        fn manner(&self) -> Manner {
            Manner::SecurePbx
        }
        fn judge(&self, _: &Agent, _: &Inbound) -> Result<(), Draft> {
            Ok(())
        }
        fn judge_inside(&self, _: &Agent, _: &Inbound, _: &str) -> Result<(), Draft> {
            Ok(())
        }
        fn judge_answer(&self, _: &Agent, _: &Message, _: &str) {}
        fn other(&self, _: &Agent, inbound: &Inbound) -> Draft {
            let mut draft = Draft::response(&inbound.message, 200, "OK", "peer");
            draft
                .push("Contact", self.contact(""))
                .push("Allow", "OPTIONS");
            draft
        }
        fn connect<'a>(&'a self, uri: &'a str) -> Later<'a, io::Result<Wire>> {
            Box::pin(self.dialler.connect(uri))
        }
        fn sent_by(&self, _: &Wire) -> String {
            FQDN.to_owned()
        }
        fn contact(&self, _: &str) -> String {
            format!("sip:{}:{};transport=tls", self.contact, self.port)
        }
        fn dress(&self, _: &mut Draft, _: bool) {}
        fn credentials(&self) -> Option<&Credentials> {
            None
        }
    }

    struct Lab {
        teams: Teams,
        peer: Arc<Agent>,
        calls: mpsc::Receiver<EmuCall>,
        _open: watch::Sender<()>,
    }

    async fn lab(contact: &'static str) -> Lab {
        let (microsoft, public) = (
            Authority::new("Microsoft").unwrap(),
            Authority::new("Public").unwrap(),
        );
        let ours = microsoft
            .issue(&[HOST, "*.pstnhub.microsoft.com"], Usage::Both, KeyKind::Ec)
            .unwrap();
        let theirs = public
            .issue(&["sbc.example", "*.sbc.example"], Usage::Both, KeyKind::Ec)
            .unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = TeamsConfig::new(address, ours.clone(), ours, public.pem());
        config.options_interval = Duration::from_millis(50);
        config.gateways = vec![Gateway {
            fqdn: FQDN.into(),
            numbers: vec!["+14255550100".into(), "+14255550199".into()],
        }];
        let teams = Teams::start(config).await.unwrap();

        let (open, closed) = watch::channel(());
        let (sink, inbound) = mpsc::channel(MAX_INBOUND);
        let server = tls::server(&theirs, &microsoft.pem()).unwrap();
        let client = tls::client(&theirs, &microsoft.pem()).unwrap();
        let idle = Duration::from_secs(60);
        let dialler = Dialler {
            client,
            sbc: Mutex::new(teams.address),
            idle,
            sink: sink.clone(),
            closed: closed.clone(),
            pool: Default::default(),
            turn: AtomicU64::new(0),
        };
        let role = Arc::new(Peer {
            dialler,
            port: address.port(),
            contact,
        });
        let behaviour = Behaviour::Answer(Duration::from_millis(50));
        let parts = Parts {
            role,
            media: [127, 0, 0, 1].into(),
            patience: Duration::from_secs(10),
            tone: 600.0,
            behaviour,
            closed: closed.clone(),
        };
        let (peer, calls) = Agent::start(parts, inbound);
        tokio::spawn(listen(listener, server, idle, sink, closed));
        Lab {
            teams,
            peer,
            calls,
            _open: open,
        }
    }

    fn to_teams(lab: &Lab, number: &str) -> Dial {
        Dial {
            uri: format!(
                "sip:{number}@{HOST}:{};user=phone;transport=tls",
                lab.teams.address.port()
            ),
            from: format!("<sip:+442075550123@{FQDN}>"),
            to: format!("<sip:{number}@{HOST}>"),
            user: "+442075550123".into(),
            without_offer: false,
            headers: Vec::new(),
        }
    }

    /// Teams calls: SRTP with its worst offer, sound both ways, a hold and a resume, and a BYE; no rule was broken.
    #[tokio::test]
    async fn teams_calls_and_is_heard() {
        let mut lab = lab(FQDN).await;
        let call = TeamsCall {
            to: "+442075550123".into(),
            from: "+14255550100".into(),
            gateway: FQDN.into(),
            headers: Vec::new(),
        };
        let ours = lab.teams.call(call).await.unwrap();
        let theirs = lab.calls.recv().await.unwrap();
        ours.answered().await.unwrap();
        ours.hears_tone(600.0).await.unwrap();
        theirs.hears_tone(440.0).await.unwrap();
        assert!(theirs.invite().contains("\r\nCALL-ID: "));
        ours.hold(super::super::Hold::Inactive).await.unwrap();
        let from = Instant::now();
        ours.resume().await.unwrap();
        theirs.hears_tone(440.0).await.unwrap();
        ours.refresh().await.unwrap();
        assert_eq!(
            (
                theirs.counts().reinvites,
                theirs.heard().since(from).silence()
            ),
            (3, 0.0)
        );
        ours.bye().await;
        assert_eq!(theirs.ended().await.unwrap().by, super::super::By::Peer);
        assert_eq!((ours.report().refused, theirs.report().refused), (0, 0));
        assert_eq!(lab.teams.notes(), Vec::<String>::new());
    }

    /// Teams is called: forks with four tags, sound both ways, its own BYE on another connection.
    #[tokio::test]
    async fn teams_is_called_and_forks() {
        let lab = lab(FQDN).await;
        let theirs = call::dial(lab.peer.clone(), to_teams(&lab, "+14255550100"))
            .await
            .unwrap();
        let ours = lab.teams.incoming().await.unwrap();
        theirs.answered().await.unwrap();
        assert_eq!(theirs.counts().tags, 3);
        theirs.hears_tone(440.0).await.unwrap();
        ours.hears_tone(600.0).await.unwrap();
        theirs.bye().await;
        assert_eq!(ours.ended().await.unwrap().by, super::super::By::Peer);
        assert_eq!(lab.teams.notes(), Vec::<String>::new());
    }

    async fn refusal(lab: &Lab, dial: Dial) -> u16 {
        match call::dial(lab.peer.clone(), dial)
            .await
            .unwrap()
            .answered()
            .await
        {
            Err(CallError::Ended(ended)) => ended.status,
            other => panic!("{other:?}"),
        }
    }

    /// Each rule of the appendix has its status.
    #[tokio::test]
    async fn teams_refuses_by_the_book() {
        let lab = lab(FQDN).await;
        let good = to_teams(&lab, "+14255550100");
        assert_eq!(refusal(&lab, to_teams(&lab, "+999")).await, 404);
        assert_eq!(
            refusal(
                &lab,
                Dial {
                    without_offer: true,
                    ..good.clone()
                }
            )
            .await,
            415
        );
        assert_eq!(
            refusal(
                &lab,
                Dial {
                    headers: vec![("Require".into(), "100rel".into())],
                    ..good.clone()
                }
            )
            .await,
            420
        );
        assert_eq!(
            refusal(
                &lab,
                Dial {
                    headers: vec![("Replaces".into(), "a;to-tag=b;from-tag=c".into())],
                    ..good
                }
            )
            .await,
            403
        );
        for (contact, status) in [
            ("127.0.0.1", 403),
            ("other.sbc.example", 403),
            ("contoso.example", 403),
        ] {
            let lab = self::lab(contact).await;
            assert_eq!(
                refusal(&lab, to_teams(&lab, "+14255550100")).await,
                status,
                "{contact}"
            );
        }
    }

    /// Before an OPTIONS comes Teams sends none; afterwards it sends its own, on its own connections.
    #[tokio::test]
    async fn options_begin_after_the_first() {
        let lab = lab(FQDN).await;
        assert_eq!(lab.teams.health(FQDN), None);
        let uri = format!("sip:{HOST}:{}", lab.teams.address.port());
        let wire = lab.peer.role.connect(&uri).await.unwrap();
        let mut draft = Draft::request("OPTIONS", &uri);
        draft
            .push("From", format!("<sip:{FQDN}>;tag=1"))
            .push("To", format!("<{uri}>"))
            .push("Call-ID", "o")
            .push("CSeq", "1 OPTIONS");
        draft.push("Contact", format!("<{}>", lab.peer.role.contact("")));
        lab.peer.send(
            &wire,
            draft.print(Some("SIP/2.0/TLS x;branch=z9hG4bK1"), false),
        );
        for _ in 0..500 {
            if lab.teams.health(FQDN).is_some_and(|h| h.answered > 1) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?}", lab.teams.health(FQDN));
    }
}
