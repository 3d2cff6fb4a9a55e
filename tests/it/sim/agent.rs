//! A peer of the SBC: a user agent that does what a test tells it, and the dull rest by itself: it answers OPTIONS, BYE
//! and NOTIFY with 200, a cancelled INVITE with 487, and acknowledges every 2xx.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use tollgate::base::Random;
use tollgate::sip::auth::Challenger;
use tollgate::sip::{
    ClientKey, Dialog, Endpoint, Failure, Flow, Identity, Message, PeerCertificate, Realm, SentBy,
    ServerKey, Source, Transport,
};

use super::link::Link;
use super::registrar::Registrar;
use super::sdp::Media;
use super::setup::Who;

/// One side of a call, as the world names it: the leg of the SBC that an agent sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Side(pub usize);

/// What a side heard and no test has taken note of yet.
#[derive(Debug, Clone)]
pub enum Heard {
    Request(ServerKey, Message),
    Response(Message),
    Ack(Message),
    Cancelled(Message),
    NoAck,
    Failed(Failure),
}

/// What an agent knows of one side.
#[derive(Debug)]
pub struct SideState {
    pub who: Who,
    /// The INVITE that opened it, sent or received.
    pub invite: Message,
    /// That INVITE, if it was received.
    pub server: Option<ServerKey>,
    /// The same, if it was sent.
    pub client: Option<ClientKey>,
    /// Of this agent in this dialog.
    pub tag: String,
    pub dialog: Option<Dialog>,
    pub media: Media,
    /// The SBC's last description.
    pub remote: Option<bytes::Bytes>,
    pub inbox: VecDeque<Heard>,
    /// Whether its INVITE has a final response.
    pub decided: bool,
    /// A BYE went either way, or the INVITE failed.
    pub over: bool,
    /// The body of the next ACK.
    pub ack_sdp: Option<String>,
}

pub struct Agent {
    pub name: &'static str,
    /// In Contacts.
    pub host: &'static str,
    /// The proxy that it stands behind, for Record-Route.
    pub route: Option<&'static str>,
    pub address: SocketAddr,
    pub transport: Transport,
    pub endpoint: Endpoint,
    pub link: Link,
    /// Nothing can be sent to it; the sender is told.
    pub unreachable: bool,
    /// Nothing reaches it; nobody is told.
    pub deaf: bool,
    /// It listens to datagrams only.
    pub refuses_tcp: bool,
    /// Whether 2xx are acknowledged.
    pub acknowledges: bool,
    /// What it says to a cancelled INVITE; nothing leaves that to the test.
    pub on_cancel: Option<u16>,
    /// What it says to OPTIONS.
    pub options: u16,
    /// Payload types that its descriptions begin with.
    pub codecs: Vec<u8>,
    /// What it does with REGISTERs.
    pub registrar: Registrar,
    /// Keep-alives that came in.
    pub pings: u32,
    /// OPTIONS that came in.
    pub asked: Vec<Message>,
    /// INVITEs that open a dialog and that no test has taken yet.
    pub arrivals: VecDeque<Side>,
    /// Requests inside dialogs that it does not know.
    pub strays: Vec<Message>,
    pub clients: HashMap<ClientKey, Side>,
    /// Whether it encrypts its media though it is not Teams.
    pub secure: bool,
    /// NOTIFYs outside of dialogs.
    pub notified: Vec<Message>,
    /// Whether it asks for credentials before it heeds those.
    pub asks_notify: bool,
    /// Whoever checks them.
    pub challenger: Option<Challenger>,
    /// REGISTERs that it has sent.
    pub registers: u32,
    /// Responses to requests that belong to no side.
    pub answers: HashMap<ClientKey, Message>,
}

impl Agent {
    pub fn new(
        name: &'static str,
        host: &'static str,
        route: Option<&'static str>,
        address: &str,
        transport: Transport,
        random: Random,
    ) -> Self {
        let address: SocketAddr = address.parse().expect("an address");
        let identity = || Identity {
            host: address.ip().to_string(),
            port: address.port(),
        };
        let sent_by = SentBy {
            udp: identity(),
            tcp: identity(),
            tls: identity(),
        };
        Self {
            name,
            host,
            route,
            address,
            transport,
            endpoint: Endpoint::new(Default::default(), sent_by, random),
            link: Link::default(),
            unreachable: false,
            deaf: false,
            refuses_tcp: false,
            acknowledges: true,
            on_cancel: Some(487),
            options: 200,
            codecs: vec![8, 0, 101],
            registrar: Registrar::new(),
            pings: 0,
            asked: Vec::new(),
            arrivals: VecDeque::new(),
            strays: Vec::new(),
            clients: HashMap::new(),
            secure: false,
            notified: Vec::new(),
            asks_notify: false,
            challenger: None,
            registers: 0,
            answers: HashMap::new(),
        }
    }

    pub fn is_teams(&self) -> bool {
        self.transport == Transport::Tls
    }

    /// As the SBC sees what it sends.
    pub fn source(&self, flow: Flow) -> Source {
        let certificate = self.is_teams().then(|| {
            Arc::new(PeerCertificate {
                realm: Realm::Teams,
                names: vec!["sip.pstnhub.microsoft.com".into()],
            })
        });
        Source {
            transport: self.transport,
            flow,
            remote: self.address,
            local: super::sbc(self.transport),
            certificate,
        }
    }

    /// The value of its Contact.
    pub fn contact(&self) -> String {
        if self.is_teams() {
            // TDR-309: opaque parameters that must come back as they are.
            return format!("<sip:{}:5061;x-i=6F3a;x-c=0/d/1>", self.host);
        }
        format!("<sip:{}@{}>", self.name, self.address)
    }
}
