//! A telephone as a role: one connection, on which everything goes both ways (RFC 5626 without its extensions).

use std::io;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;

use super::{PhoneConfig, PhoneError, PhoneFile};
use crate::emulate::agent::{Agent, Later, Role, phrase, refuse};
use crate::emulate::digest::{self, Credentials};
use crate::emulate::message::{Draft, Message};
use crate::emulate::negotiation::Manner;
use crate::emulate::tls;
use crate::emulate::wire::{About, Inbound, Sink, Wire, serve_stream};

/// A connection without a message is closed after this.
const IDLE: Duration = Duration::from_secs(600);

/// Opens the connection to the registrar, which must prove to be the one of the file.
pub(super) async fn connect(
    config: &PhoneConfig,
    file: &PhoneFile,
    sink: Sink,
    closed: watch::Receiver<()>,
) -> Result<Wire, PhoneError> {
    let name = ServerName::try_from(file.host.clone()).map_err(io::Error::other)?;
    let client = tls::client_as(None, &config.roots)?;
    let tcp = TcpStream::connect((config.address, file.port)).await?;
    tcp.set_nodelay(true)?;
    let about = About {
        transport: "TLS",
        ours: true,
        names: vec![file.host.to_ascii_lowercase()],
        ends: (tcp.local_addr()?, tcp.peer_addr()?),
    };
    let stream = TlsConnector::from(client).connect(name, tcp).await?;
    Ok(serve_stream(stream, about, IDLE, sink, closed))
}

/// What a telephone is to the SBC.
pub(super) struct Line {
    file: PhoneFile,
    wire: Wire,
    /// `address:port` of our end.
    own: String,
    tell: mpsc::Sender<String>,
}

impl Line {
    pub(super) fn new(
        file: PhoneFile,
        wire: Wire,
        tell: mpsc::Sender<String>,
    ) -> Result<Self, PhoneError> {
        let about = wire.about().ok_or(PhoneError::Silent)?;
        let own = about.ends.0.to_string();
        Ok(Self {
            file,
            wire,
            own,
            tell,
        })
    }

    /// RFC 3261 §10.2, with credentials once they are asked for.
    pub(super) async fn register(&self, agent: &Agent) -> Result<(), PhoneError> {
        let call_id = format!("{:032x}", rand::random::<u128>());
        let inbox = agent.inbox(&call_id).ok_or(PhoneError::Silent)?;
        let outcome = self.registered(agent, &call_id, inbox).await;
        agent.forget(&call_id);
        outcome
    }

    async fn registered(
        &self,
        agent: &Agent,
        call_id: &str,
        mut inbox: mpsc::Receiver<Inbound>,
    ) -> Result<(), PhoneError> {
        let registrar = format!("sip:{}", self.file.host);
        let tag = format!("{:08x}", rand::random::<u32>());
        let mut proof: Option<(&str, String)> = None;
        for number in 1.. {
            let mut draft = self.request(&registrar, call_id, &tag, number);
            if let Some((name, value)) = &proof {
                draft.push(name, value);
            }
            let via = format!(
                "SIP/2.0/TLS {};branch=z9hG4bK{:016x};rport",
                self.own,
                rand::random::<u64>()
            );
            agent.send(&self.wire, draft.print(Some(&via), false));
            let answer = answer(&mut inbox).await?;
            let status = answer.status().unwrap_or(0);
            match status {
                200..300 => return Ok(()),
                401 | 407 if proof.is_none() => {
                    proof = digest::answer(&answer, &self.file.line, "REGISTER", &registrar);
                    if proof.is_none() {
                        break;
                    }
                }
                _ => return Err(PhoneError::Unregistered(status)),
            }
        }
        Err(PhoneError::Unregistered(401))
    }

    fn request(&self, registrar: &str, call_id: &str, tag: &str, number: u32) -> Draft {
        let user = &self.file.line.username;
        let itself = format!("<sip:{user}@{}>", self.file.host);
        let mut draft = Draft::request("REGISTER", registrar);
        draft
            .push("From", format!("{itself};tag={tag}"))
            .push("To", &itself)
            .push("Call-ID", call_id)
            .push("CSeq", format!("{number} REGISTER"))
            .push("Max-Forwards", "70")
            .push("Contact", format!("<{}>", self.contact(user)))
            .push("Expires", self.file.expires_s.to_string());
        self.dress(&mut draft, true);
        draft
    }

    fn notified(&self, message: &Message) -> Draft {
        let event = message.header("Event").unwrap_or_default();
        if !event.starts_with("check-sync") {
            return refuse(message, 489);
        }
        // Whoever is told so often need not hear each time.
        let _ = self.tell.try_send(event.to_owned());
        let mut draft = Draft::response(message, 200, phrase(200), "telephone");
        self.dress(&mut draft, false);
        draft
    }
}

/// The next final response.
async fn answer(inbox: &mut mpsc::Receiver<Inbound>) -> Result<Message, PhoneError> {
    loop {
        let inbound = inbox.recv().await.ok_or(PhoneError::Silent)?;
        if inbound.message.status() >= Some(200) {
            return Ok(inbound.message);
        }
    }
}

impl Role for Line {
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
        let message = &inbound.message;
        match message.method() {
            "NOTIFY" => self.notified(message),
            "OPTIONS" => {
                let mut draft = Draft::response(message, 200, phrase(200), "telephone");
                self.dress(&mut draft, false);
                draft
            }
            _ => refuse(message, 405),
        }
    }

    /// There is but one way.
    fn connect<'a>(&'a self, _: &'a str) -> Later<'a, io::Result<Wire>> {
        let wire = self.wire.is_open().then(|| self.wire.clone());
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        Box::pin(async move { wire.ok_or_else(gone) })
    }

    fn sent_by(&self, _: &Wire) -> String {
        self.own.clone()
    }

    fn contact(&self, user: &str) -> String {
        format!("sip:{user}@{};transport=tls", self.own)
    }

    fn dress(&self, draft: &mut Draft, request: bool) {
        draft.push("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY");
        draft.push(
            if request { "User-Agent" } else { "Server" },
            "Emulated telephone",
        );
    }

    fn credentials(&self) -> Option<&Credentials> {
        Some(&self.file.line)
    }
}
