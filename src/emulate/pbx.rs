//! A stand-in for a hosted PBX: a trunk towards the SBC, phones that answer, and a registrar.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc, watch};

use super::agent::{Agent, Behaviour, Later, MAX_INBOUND, Parts, Role, phrase, refuse};
use super::call::{CallError, Dial, EmuCall, Quirks};
use super::desk::Desk;
use super::digest::{Challenger, Credentials};
use super::g711::Law;
use super::message::{Draft, Message, host_of, parameter, uri_of, user_of};
use super::negotiation::Manner;
use super::wire::{About, Inbound, Sink, Wire, serve_datagrams, serve_stream};

/// Connections at once.
const MAX_CONNECTIONS: usize = 256;
/// Registered contacts at once.
const MAX_BINDINGS: usize = 1000;
/// Connections without a message are closed after this.
const IDLE: Duration = Duration::from_secs(300);
/// Setting up a connection may take this long.
const CONNECTING: Duration = Duration::from_secs(4);

/// What carries the PBX's own requests. It listens on both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
}

/// Everything that the stand-in needs to know.
#[derive(Debug, Clone)]
pub struct PbxConfig {
    /// UDP and TCP; port 0 takes a free one.
    pub listen: SocketAddr,
    /// For its own requests.
    pub carrier: Carrier,
    /// Where calls are sent.
    pub sbc: SocketAddr,
    /// Where media is bound.
    pub media: IpAddr,
    /// Media over SRTP with SDES instead of RTP.
    pub secure: bool,
    /// Answers the SBC's challenges.
    pub credentials: Option<Credentials>,
    /// Users that may register, and their passwords.
    pub users: HashMap<String, String>,
    /// Users that prove themselves by another name than their own, by that name; `users` has their passwords under it too.
    pub auth_ids: HashMap<String, String>,
    /// Whether an INVITE from the SBC must be by one of the users.
    pub challenge_calls: bool,
    /// Challenges ask for SHA-256 instead of MD5.
    pub sha256: bool,
    /// What becomes of calls to numbers without a behaviour of their own.
    pub behaviour: Behaviour,
    /// Hz, played in every call.
    pub tone: f64,
    /// The one law of G.711 that it speaks; none: both.
    pub law: Option<Law>,
    /// How long waiting methods of calls wait.
    pub patience: Duration,
}

impl PbxConfig {
    /// Loopback, a free port, UDP, 600 Hz, no authentication, answering after 200 ms.
    pub fn new(sbc: SocketAddr) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            carrier: Carrier::Udp,
            sbc,
            media: IpAddr::from([127, 0, 0, 1]),
            secure: false,
            credentials: None,
            users: HashMap::new(),
            auth_ids: HashMap::new(),
            challenge_calls: false,
            sha256: false,
            behaviour: Behaviour::Answer(Duration::from_millis(200)),
            tone: 600.0,
            law: None,
            patience: Duration::from_secs(10),
        }
    }
}

/// A call from the PBX to the SBC.
#[derive(Debug, Clone, Default)]
pub struct PbxCall {
    /// The called number.
    pub to: String,
    /// The caller's number.
    pub from: String,
    /// An INVITE without a description.
    pub without_offer: bool,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

/// A running stand-in. Dropping it closes everything.
pub struct Pbx {
    /// Where it listens, on UDP and TCP.
    pub address: SocketAddr,
    desk: Desk,
    rules: Arc<Rules>,
    _open: watch::Sender<()>,
}

impl Pbx {
    /// Binds and starts.
    pub async fn start(config: PbxConfig) -> io::Result<Self> {
        let (socket, listener) = bind(config.listen).await?;
        let address = socket.local_addr()?;
        let (open, closed) = watch::channel(());
        let (sink, inbound) = mpsc::channel(MAX_INBOUND);
        let rules = Arc::new(Rules {
            address,
            socket: Arc::new(socket),
            carrier: config.carrier,
            sbc: config.sbc,
            sink: sink.clone(),
            closed: closed.clone(),
            pool: tokio::sync::Mutex::default(),
            manner: if config.secure {
                Manner::SecurePbx
            } else {
                Manner::Pbx
            },
            credentials: config.credentials,
            users: config.users,
            auth_ids: config.auth_ids,
            challenge_calls: config.challenge_calls,
            challenger: Challenger::new("pbx", config.sha256),
            bindings: Mutex::default(),
        });
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
        serve_datagrams(rules.socket.clone(), sink.clone(), closed.clone());
        tokio::spawn(listen(listener, sink, closed));
        Ok(Self {
            address,
            desk,
            rules,
            _open: open,
        })
    }

    /// Calls the SBC.
    pub async fn call(&self, call: PbxCall) -> Result<EmuCall, CallError> {
        let PbxCall {
            to,
            from,
            without_offer,
            headers,
        } = call;
        let (sbc, own) = (self.rules.sbc, self.address);
        let dial = Dial {
            uri: format!("sip:{to}@{sbc}{}", self.rules.transport()),
            from: format!("\"{from}\" <sip:{from}@{own}>"),
            to: format!("<sip:{to}@{sbc}>"),
            user: from,
            without_offer,
            headers,
            quirks: Quirks::default(),
        };
        self.desk.dial(dial).await
    }

    /// Registered contacts by user.
    pub fn registrations(&self) -> Vec<(String, String)> {
        let now = Instant::now();
        lock(&self.rules.bindings)
            .iter()
            .filter(|b| b.ends > now)
            .map(|b| (b.user.clone(), b.contact.clone()))
            .collect()
    }
}

impl Deref for Pbx {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

/// A phone's contact (RFC 3261 §10).
struct Binding {
    user: String,
    contact: String,
    ends: Instant,
}

/// The PBX as a role.
struct Rules {
    address: SocketAddr,
    socket: Arc<UdpSocket>,
    carrier: Carrier,
    manner: Manner,
    sbc: SocketAddr,
    sink: Sink,
    closed: watch::Receiver<()>,
    pool: tokio::sync::Mutex<HashMap<SocketAddr, Wire>>,
    credentials: Option<Credentials>,
    users: HashMap<String, String>,
    auth_ids: HashMap<String, String>,
    challenge_calls: bool,
    challenger: Challenger,
    bindings: Mutex<Vec<Binding>>,
}

impl Rules {
    fn transport(&self) -> &'static str {
        match self.carrier {
            Carrier::Udp => "",
            Carrier::Tcp => ";transport=tcp",
        }
    }

    fn authenticated(&self, message: &Message) -> Option<String> {
        let name = self
            .challenger
            .check(message, |user| self.users.get(user).cloned())?;
        Some(self.auth_ids.get(&name).cloned().unwrap_or(name))
    }

    /// RFC 3261 §10.3, for one contact in a request.
    fn register(&self, message: &Message) -> Draft {
        let Some(user) = self.authenticated(message) else {
            return self.challenger.challenge(message);
        };
        if user != user_of(message.header("To").map(uri_of).unwrap_or_default()) {
            return refuse(message, 403);
        }
        let now = Instant::now();
        let mut bindings = lock(&self.bindings);
        bindings.retain(|b| b.ends > now);
        if let Some(contact) = message.header("Contact") {
            let after = contact.rsplit('>').next().unwrap_or_default();
            let asked = parameter(after, "expires")
                .or(message.header("Expires"))
                .and_then(|e| e.parse().ok());
            let ends = now + Duration::from_secs(asked.unwrap_or(3600).min(3600));
            let uri = uri_of(contact);
            bindings.retain(|b| b.user != user || (contact != "*" && b.contact != uri));
            if bindings.len() >= MAX_BINDINGS {
                return refuse(message, 503);
            }
            if ends > now {
                bindings.push(Binding {
                    user: user.clone(),
                    contact: uri.to_owned(),
                    ends,
                });
            }
        }
        let mut draft = Draft::response(message, 200, phrase(200), "registrar");
        for binding in bindings.iter().filter(|b| b.user == user) {
            draft.push(
                "Contact",
                format!(
                    "<{}>;expires={}",
                    binding.contact,
                    (binding.ends - now).as_secs()
                ),
            );
        }
        draft
    }

    async fn open(&self, address: SocketAddr) -> io::Result<Wire> {
        if self.carrier == Carrier::Udp {
            return Ok(Wire::Udp {
                socket: self.socket.clone(),
                peer: address,
            });
        }
        let mut pool = self.pool.lock().await;
        pool.retain(|_, wire| wire.is_open());
        if let Some(wire) = pool.get(&address) {
            return Ok(wire.clone());
        }
        if pool.len() >= MAX_CONNECTIONS {
            return Err(io::Error::other("too many connections"));
        }
        let tcp = tokio::time::timeout(CONNECTING, TcpStream::connect(address))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let wire = serve(tcp, true, self.sink.clone(), self.closed.clone())?;
        pool.insert(address, wire.clone());
        Ok(wire)
    }
}

impl Role for Rules {
    fn manner(&self) -> Manner {
        self.manner
    }

    fn judge(&self, _: &Agent, inbound: &Inbound) -> Result<(), Draft> {
        let message = &inbound.message;
        match self.challenge_calls && self.authenticated(message).is_none() {
            true => Err(self.challenger.challenge(message)),
            false => Ok(()),
        }
    }

    fn judge_inside(&self, _: &Agent, _: &Inbound, _: &str) -> Result<(), Draft> {
        Ok(())
    }

    fn judge_answer(&self, _: &Agent, _: &Message, _: &str) {}

    fn other(&self, _: &Agent, inbound: &Inbound) -> Draft {
        let message = &inbound.message;
        match message.method() {
            "REGISTER" => self.register(message),
            "OPTIONS" => {
                let mut draft = Draft::response(message, 200, phrase(200), "options");
                self.dress(&mut draft, false);
                draft
            }
            _ => refuse(message, 405),
        }
    }

    /// Hosts of the SBC's URIs are addresses here; a name leads to the SBC.
    fn connect<'a>(&'a self, uri: &'a str) -> Later<'a, io::Result<Wire>> {
        let (host, port) = host_of(uri);
        let address = host
            .parse()
            .map_or(self.sbc, |ip| SocketAddr::new(ip, port.unwrap_or(5060)));
        Box::pin(self.open(address))
    }

    fn sent_by(&self, _: &Wire) -> String {
        self.address.to_string()
    }

    fn contact(&self, user: &str) -> String {
        format!("sip:{user}@{}{}", self.address, self.transport())
    }

    fn dress(&self, draft: &mut Draft, request: bool) {
        draft.push("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, NOTIFY");
        draft.push(
            if request { "User-Agent" } else { "Server" },
            "Emulated PBX",
        );
    }

    fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }
}

/// UDP and TCP at one port.
async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = None;
    for _ in 0..20 {
        let socket = UdpSocket::bind(address).await?;
        match TcpListener::bind(socket.local_addr()?).await {
            Ok(listener) => return Ok((socket, listener)),
            Err(error) if address.port() != 0 => return Err(error),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrInUse)))
}

async fn listen(listener: TcpListener, sink: Sink, mut closed: watch::Receiver<()>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
        let Ok(wire) = serve(tcp, false, sink.clone(), closed.clone()) else {
            continue;
        };
        tokio::spawn(async move {
            wire.ended().await;
            drop(place);
        });
    }
}

fn serve(tcp: TcpStream, ours: bool, sink: Sink, closed: watch::Receiver<()>) -> io::Result<Wire> {
    tcp.set_nodelay(true)?;
    let about = About {
        transport: "TCP",
        ours,
        names: Vec::new(),
        ends: (tcp.local_addr()?, tcp.peer_addr()?),
    };
    Ok(serve_stream(tcp, about, IDLE, sink, closed))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::{By, Hold, Phase};
    use super::*;

    /// Two PBXes that call each other as each other's SBC; the first one's calls go out as `change` says.
    async fn two(change: impl FnOnce(&mut PbxConfig, &mut PbxConfig)) -> (Pbx, Pbx) {
        let mut b = PbxConfig::new("127.0.0.1:9".parse().unwrap());
        let mut a = b.clone();
        a.tone = 440.0;
        change(&mut a, &mut b);
        let b = Pbx::start(b).await.unwrap();
        a.sbc = b.address;
        (Pbx::start(a).await.unwrap(), b)
    }

    fn call(to: &str) -> PbxCall {
        PbxCall {
            to: to.into(),
            from: "100".into(),
            ..PbxCall::default()
        }
    }

    /// Over UDP and TCP, with RTP and SRTP, with and without an offer: both hear each other, and a BYE ends it.
    #[tokio::test]
    async fn both_sides_hear_each_other() {
        for (carrier, secure, without_offer) in [
            (Carrier::Udp, false, false),
            (Carrier::Tcp, true, false),
            (Carrier::Udp, false, true),
        ] {
            let (a, b) = two(|a, b| {
                (a.carrier, b.carrier) = (carrier, carrier);
                (a.secure, b.secure) = (secure, secure);
            })
            .await;
            let caller = a
                .call(PbxCall {
                    without_offer,
                    ..call("200")
                })
                .await
                .unwrap();
            let called = b.incoming().await.unwrap();
            caller.answered().await.unwrap();
            caller.hears_tone(600.0).await.unwrap();
            called.hears_tone(440.0).await.unwrap();
            called.bye().await;
            assert_eq!(caller.ended().await.unwrap().by, By::Peer);
            assert_eq!((a.notes(), b.notes()), (Vec::new(), Vec::new()));
        }
    }

    /// Every way to hold silences the holder's tone or the held one's, and resuming brings sound back.
    #[tokio::test]
    async fn every_hold_can_be_resumed() {
        let (a, b) = two(|_, _| {}).await;
        let caller = a.call(call("200")).await.unwrap();
        let called = b.incoming().await.unwrap();
        caller.answered().await.unwrap();
        for (hold, called_hears) in [
            (Hold::Inactive, false),
            (Hold::SendOnly, true),
            (Hold::ZeroAddress, true),
        ] {
            caller.hold(hold).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let from = Instant::now();
            if called_hears {
                called.hears(|h| h.windows.len() > 10).await.unwrap();
            } else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                assert!(called.heard().since(from).windows.is_empty(), "{hold:?}");
            }
            assert!(caller.heard().since(from).windows.is_empty(), "{hold:?}");
            caller.resume().await.unwrap();
            caller.hears_tone(600.0).await.unwrap();
            called.hears_tone(440.0).await.unwrap();
        }
        assert_eq!(called.counts().reinvites, 6);
    }

    /// Each behaviour ends or leaves a call as its name says.
    #[tokio::test]
    async fn phones_behave_as_told() {
        let (a, b) = two(|_, _| {}).await;
        for (number, behaviour, status) in [
            ("1", Behaviour::Refuse(486), 486),
            ("2", Behaviour::Refuse(603), 603),
            ("3", Behaviour::Redirect("sip:x@y".into()), 302),
        ] {
            b.behave(number, behaviour);
            let call = a.call(call(number)).await.unwrap();
            assert_eq!(call.ended().await.unwrap().status, status);
        }
        b.behave("4", Behaviour::Ring);
        let ringing = a.call(call("4")).await.unwrap();
        ringing.ringing().await.unwrap();
        ringing.cancel().await;
        assert_eq!(ringing.ended().await.unwrap().status, 487);
        b.behave("5", Behaviour::EarlyMedia(Duration::from_secs(60)));
        let early = a.call(call("5")).await.unwrap();
        early.hears_tone(600.0).await.unwrap();
        assert_eq!(early.phase(), Phase::Ringing);
        b.behave("6", Behaviour::Manual);
        while b
            .incoming()
            .await
            .is_some_and(|call| !call.invite().contains("sip:5@"))
        {}
        let manual = a.call(call("6")).await.unwrap();
        let taken = b.incoming().await.unwrap();
        taken.ring().await;
        manual.ringing().await.unwrap();
        taken.answer().await;
        manual.answered().await.unwrap();
    }

    /// Digits arrive, and a call by digest passes with the right password only.
    #[tokio::test]
    async fn a_challenged_call_needs_its_password() {
        for (password, sha256, status) in [
            ("secret", false, None),
            ("secret", true, None),
            ("guess", false, Some(401)),
        ] {
            let (a, b) = two(|a, b| {
                a.credentials = Some(Credentials {
                    username: "trunk".into(),
                    password: password.into(),
                });
                b.users = HashMap::from([("trunk".into(), "secret".into())]);
                (b.challenge_calls, b.sha256) = (true, sha256);
            })
            .await;
            let caller = a.call(call("200")).await.unwrap();
            match status {
                Some(status) => assert_eq!(caller.ended().await.unwrap().status, status),
                None => {
                    caller.answered().await.unwrap();
                    let called = b.incoming().await.unwrap();
                    caller.dial("42");
                    called
                        .hears(|_| called.report().digits == "42")
                        .await
                        .unwrap();
                }
            }
        }
    }

    /// A phone registers, is listed and goes.
    #[tokio::test]
    async fn a_phone_registers_and_goes() {
        let (a, _b) = two(|a, _| a.users = HashMap::from([("u".into(), "secret".into())])).await;
        let credentials = Credentials {
            username: "u".into(),
            password: "secret".into(),
        };
        let register = |extra: String, expires: u32| {
            let text = format!(
                "REGISTER sip:pbx SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:u@pbx>;tag=1\r\nTo: <sip:u@pbx>\r\nCall-ID: x\r\n\
                 CSeq: 1 REGISTER\r\nContact: <sip:u@10.0.0.1>\r\nExpires: {expires}\r\n{extra}\r\n"
            );
            let answer = a
                .rules
                .register(&Message::parse(text.as_bytes(), false).unwrap());
            Message::parse(&answer.print(None, false), false).unwrap()
        };
        let authorization = |challenge: &Message| {
            let (name, value) =
                super::super::digest::answer(challenge, &credentials, "REGISTER", "sip:pbx")
                    .unwrap();
            format!("{name}: {value}\r\n")
        };
        let challenge = register(String::new(), 60);
        assert_eq!(challenge.status(), Some(401));
        let registered = register(authorization(&challenge), 60);
        assert!(
            registered
                .header("Contact")
                .unwrap()
                .starts_with("<sip:u@10.0.0.1>;expires=")
        );
        assert_eq!(
            a.registrations(),
            [("u".to_owned(), "sip:u@10.0.0.1".to_owned())]
        );
        register(authorization(&challenge), 0);
        assert_eq!(a.registrations(), []);
    }
}
