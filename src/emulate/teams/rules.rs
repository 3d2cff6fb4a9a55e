//! Teams as a role: what it refuses, what it notes, and how its own messages look.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::connections::{Dialler, Door, Met};
use super::{ALLOW, API, Gateway, Health, PROXY, SERVER, lock};
use crate::emulate::agent::{Agent, Later, Role, phrase, refuse};
use crate::emulate::digest::Credentials;
use crate::emulate::message::{Draft, Message, host_of, uri_of, user_of};
use crate::emulate::negotiation::Manner;
use crate::emulate::sdp::{Direction, Sdp};
use crate::emulate::tls;
use crate::emulate::wire::{Inbound, Wire};

/// Transfer targets expected at once.
const MAX_EXPECTED: usize = 64;

/// What a proxy is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// As it should be.
    #[default]
    Serving,
    /// Answers every INVITE that starts a call 503 with this Retry-After, in seconds (TDR-212).
    Busy(u32),
    /// Takes connections and hears nothing that comes on them.
    Deaf,
    /// Has no listener.
    Gone,
}

/// Teams as a role.
pub(super) struct Rules {
    pub port: u16,
    pub dialler: Dialler,
    pub gateways: Mutex<Vec<Gateway>>,
    pub health: Mutex<HashMap<String, Health>>,
    pub interval: Duration,
    media_bypass: bool,
    pub wake: tokio::sync::Notify,
    doors: Vec<Door>,
    moods: Mutex<Vec<Mood>>,
    expected: Mutex<HashSet<String>>,
}

/// Why the SBC is not whom it says it is.
struct Unidentified {
    item: &'static str,
    status: u16,
    why: String,
}

impl Unidentified {
    fn new(item: &'static str, status: u16, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { item, status, why }
    }

    fn draft(&self, message: &Message) -> Draft {
        let mut draft = refuse(message, self.status);
        let text = self.why.replace('"', "'");
        draft.push("Reason", format!("Q.850;cause=63;text=\"{text}\""));
        draft
    }
}

impl Rules {
    pub(super) fn new(
        port: u16,
        doors: Vec<Door>,
        dialler: Dialler,
        gateways: Vec<Gateway>,
        interval: Duration,
        media_bypass: bool,
    ) -> Self {
        Self {
            port,
            dialler,
            gateways: Mutex::new(gateways),
            health: Mutex::default(),
            interval,
            media_bypass,
            wake: tokio::sync::Notify::new(),
            moods: Mutex::new(vec![Mood::Serving; doors.len()]),
            doors,
            expected: Mutex::default(),
        }
    }

    pub(super) fn set_mood(&self, proxy: usize, mood: Mood) {
        if let (Some(now), Some(door)) = (lock(&self.moods).get_mut(proxy), self.doors.get(proxy)) {
            *now = mood;
            door.set_open(mood != Mood::Gone);
        }
    }

    pub(super) fn forget_moods(&self) {
        for proxy in 0..self.doors.len() {
            self.set_mood(proxy, Mood::Serving);
        }
        lock(&self.expected).clear();
    }

    pub(super) fn expect(&self, uri: &str) {
        let mut expected = lock(&self.expected);
        if expected.len() < MAX_EXPECTED {
            expected.insert(uri.to_owned());
        }
    }

    pub(super) fn visitors(&self) -> Vec<(Met, u64)> {
        let wires = self.doors.iter().flat_map(Door::visitors);
        wires
            .filter_map(|wire| Some((Met::on(&wire)?, wire.pings())))
            .collect()
    }

    /// How the proxy is that a message came to.
    fn mood(&self, inbound: &Inbound) -> Mood {
        let about = inbound.wire.about().filter(|about| !about.ours);
        let door =
            about.and_then(|about| self.doors.iter().position(|d| d.address == about.ends.0));
        door.and_then(|door| lock(&self.moods).get(door).copied())
            .unwrap_or_default()
    }

    fn numbers(&self, fqdn: &str) -> Option<Vec<String>> {
        lock(&self.gateways)
            .iter()
            .find(|g| g.fqdn.eq_ignore_ascii_case(fqdn))
            .map(|g| g.numbers.clone())
    }

    /// TDR-129, TDR-203, TDR-403, TDR-404: whom the SBC says it is, against the certificate it showed.
    fn identify(&self, inbound: &Inbound) -> Result<String, Unidentified> {
        let message = &inbound.message;
        let Some(said) = message.header("Record-Route").or(message.header("Contact")) else {
            let why = "Record-Route and Contact headers are missing";
            return Err(Unidentified::new("TDR-403", 400, why));
        };
        let uri = uri_of(said);
        let (host, _) = host_of(uri);
        if uri.starts_with("sips:") || host.parse::<IpAddr>().is_ok() {
            let why = format!("the Contact {uri} names an address or is a sips URI");
            return Err(Unidentified::new("TDR-403", 403, why));
        }
        let shown = inbound
            .wire
            .about()
            .map(|about| about.names.as_slice())
            .unwrap_or_default();
        if !shown.iter().any(|name| tls::covers(name, &host)) {
            let why = format!(
                "the Contact {uri} is not in the certificate for {}",
                shown.join(", ")
            );
            return Err(Unidentified::new("TDR-129", 403, why));
        }
        if self.numbers(&host).is_none() {
            let why = format!("the Contact {uri} is no registered gateway");
            return Err(Unidentified::new("TDR-402", 403, why));
        }
        Ok(host)
    }

    /// TDR-706: whether the Request-URI is that of a transfer, byte for byte. One that resembles it is an error.
    fn is_expected(&self, agent: &Agent, message: &Message) -> Result<bool, Draft> {
        let uri = message.uri();
        if lock(&self.expected).contains(uri) {
            return Ok(true);
        }
        if user_of(uri).is_empty() || uri.to_ascii_lowercase().contains(";x-m=") {
            agent.note("TDR-706", format!("nobody was transferred to {uri}"));
            return Err(refuse(message, 400));
        }
        Ok(false)
    }
}

/// TDR-140: the SBC's requests come on connections that the SBC opened.
fn judge_direction(agent: &Agent, inbound: &Inbound) -> Result<(), Draft> {
    if inbound.wire.about().is_none_or(|about| !about.ours) {
        return Ok(());
    }
    let method = inbound.message.method();
    agent.note(
        "TDR-140",
        format!("{method} came on a connection that Teams opened"),
    );
    let why = "this connection carries Teams' requests only";
    Err(Unidentified::new("TDR-140", 403, why).draft(&inbound.message))
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
        if let Mood::Busy(seconds) = self.mood(inbound) {
            let mut draft = refuse(message, 503);
            draft.push("Retry-After", seconds.to_string());
            return Err(draft);
        }
        let fqdn = self.identify(inbound).map_err(|unidentified| {
            agent.note(unidentified.item, unidentified.why.clone());
            unidentified.draft(message)
        })?;
        if message.lists("Require", "100rel") {
            agent.note("TDR-413", "an INVITE requires 100rel");
            let mut draft = refuse(message, 420);
            draft.push("Unsupported", "100rel");
            return Err(draft);
        }
        if message.header("Replaces").is_some() {
            agent.note("TDR-412", "an INVITE to Teams has a Replaces header");
            let why = "Replaces is not supported";
            return Err(Unidentified::new("TDR-412", 403, why).draft(message));
        }
        let described = message.header("Content-Type").is_some_and(|t| {
            t.split(';')
                .next()
                .is_some_and(|t| t.trim().eq_ignore_ascii_case("application/sdp"))
        });
        if message.body.is_empty() || !described {
            agent.note("TDR-411", "an INVITE to Teams has no session description");
            return Err(refuse(message, 415));
        }
        if self.is_expected(agent, message)? {
            return Ok(());
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
            let (method, uri) = (message.method(), message.uri());
            agent.note(
                "TDR-309",
                format!("{method} went to {uri} instead of {contact}"),
            );
            return Err(refuse(message, 400));
        }
        let followed = message
            .header("Route")
            .map(|route| host_of(uri_of(route)).0);
        if followed.as_deref() != Some(PROXY) {
            let method = message.method();
            agent.note(
                "TDR-309",
                format!("{method} did not follow the recorded route"),
            );
            return Err(refuse(message, 400));
        }
        if message.method() == "INVITE" {
            self.identify(inbound).map_err(|unidentified| {
                agent.note(unidentified.item, unidentified.why.clone());
                unidentified.draft(message)
            })?;
            let direction = Sdp::parse(&message.body).ok().map(|sdp| sdp.direction);
            if matches!(direction, Some(Direction::SendOnly | Direction::RecvOnly)) {
                agent.note("TDR-601", "a one-way direction was offered to Teams");
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
                agent.note(
                    "TDR-403",
                    format!("a {status} names {host} in {name} instead of {dialled}"),
                );
            }
        }
        if response.header("Contact").is_none() {
            agent.note("TDR-403", format!("a {status} has no Contact"));
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
            Err(unidentified) => unidentified.draft(message),
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

    fn is_deaf(&self, inbound: &Inbound) -> bool {
        self.mood(inbound) == Mood::Deaf
    }

    fn is_own_route(&self, route: &str) -> bool {
        host_of(uri_of(route)).0 == PROXY
    }

    fn credentials(&self) -> Option<&Credentials> {
        None
    }
}
