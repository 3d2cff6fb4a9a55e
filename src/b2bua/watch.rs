//! Who can take calls: OPTIONS to trunks and to Teams, and what failed calls taught (TDR section 2).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use imbl::ordmap::DiffItem;
use uuid::Uuid;

use super::troubles::PeerOf;
use super::{Calls, Report};
use crate::directory::{Directory, Trunk};
use crate::sip::{Builder, ClientKey, Failure, Hop, Message, Name, NextHop, Realm, Transport};

/// Whether a peer can take calls, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing is known yet: it is tried.
    Unknown,
    /// Its last answer was good.
    Up,
    /// It failed.
    Down(Down),
}

/// Why a peer cannot take calls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Down {
    /// Silence.
    #[error("no answer in time")]
    Timeout,
    /// No connection, or TLS refused.
    #[error("{0}")]
    Transport(String),
    /// Its name leads nowhere.
    #[error("{0}")]
    Unresolvable(String),
    /// It answered, but not as one that takes calls; Teams says why in its Reason (TDR-210).
    #[error("answers {status}{reason}")]
    Response {
        /// Its status.
        status: u16,
        /// The text of its Reason after a colon, or nothing.
        reason: String,
    },
}

impl Down {
    /// What a response says.
    pub(super) fn answered(response: &Message) -> Self {
        let reason = response.header(Name::Reason).map(|v| v.to_string());
        let text = reason.as_deref().and_then(|reason| {
            let (_, text) = reason.split_once("text=")?;
            Some(text.trim_matches('"').chars().take(MAX_REASON).collect())
        });
        Self::Response {
            status: response.status(),
            reason: text.map_or(String::new(), |text: String| format!(": {text}")),
        }
    }
}

/// Characters of a peer's Reason that are kept.
const MAX_REASON: usize = 120;

/// How long a busy peer wants to be left alone (RFC 3261 §20.33).
pub(super) fn retry_after(response: &Message) -> Option<u64> {
    let value = response.header(Name::RetryAfter)?;
    value.text()?.split([' ', ';', '(']).next()?.parse().ok()
}

impl From<&Failure> for Down {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Timeout => Self::Timeout,
            Failure::Transport(reason) => Self::Transport(reason.clone()),
            Failure::Unresolvable(reason) => Self::Unresolvable(reason.clone()),
            other => Self::Transport(other.to_string()),
        }
    }
}

/// A peer that is asked with OPTIONS, as the directory names it. In this order: trunks, then Teams' proxies as they are tried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Watched {
    Trunk(Uuid),
    /// In the name of a region's base FQDN; which of the configured proxies.
    Proxy(String, usize),
}

#[derive(Debug)]
struct Peer {
    hop: Hop,
    ping: Ping,
    health: Health,
    /// Not to be tried first before then (Retry-After, TDR-212).
    shunned_until: Option<Instant>,
    due: Instant,
}

#[derive(Debug, Clone)]
struct Ping {
    /// For metrics and logs.
    name: String,
    every: Duration,
    /// For Teams: the region's base FQDN and port, which From and Contact must carry.
    identity: Option<(String, u16)>,
}

/// The state of all peers that calls go to. There may be as many as customers: nothing here looks through all of them.
#[derive(Debug, Default)]
pub(super) struct Watch {
    peers: BTreeMap<Watched, Peer>,
    due: BTreeSet<(Instant, Watched)>,
    by_hop: HashMap<Hop, BTreeSet<Watched>>,
    /// Those that failed or were shunned, until they answer again.
    bad: HashMap<Hop, BTreeSet<Watched>>,
    /// Those that are down, and since when.
    down: BTreeMap<Watched, Instant>,
    /// Whom an OPTIONS asks, and where; a peer that has moved since is another.
    by_client: HashMap<ClientKey, (Watched, Hop)>,
}

/// How long a peer that failed a call is tried last, unless it said otherwise.
const SHUNNED_FOR: u64 = 30;
/// A Retry-After beyond this is not believed.
const SHUNNED_AT_MOST: u64 = 600;

impl Peer {
    fn shun(&mut self, seconds: u64, now: Instant) {
        let until = now + Duration::from_secs(seconds.min(SHUNNED_AT_MOST));
        self.shunned_until = Some(self.shunned_until.map_or(until, |at| at.max(until)));
    }

    fn is_bad(&self, now: Instant) -> bool {
        matches!(self.health, Health::Down(_)) || self.shunned_until.is_some_and(|at| at > now)
    }

    fn report(&self) -> Report {
        Report::PeerChanged {
            realm: self.hop.realm,
            name: self.ping.name.clone(),
            health: self.health.clone(),
        }
    }
}

impl Watch {
    /// Whether to try this peer before others; at Teams, in the name of this base FQDN, whose standing there may be
    /// another than that of the next region's.
    pub fn is_up(&self, hop: &Hop, own: Option<&str>, now: Instant) -> bool {
        let speaks_for = |peer: &&Peer| match (&peer.ping.identity, own) {
            (Some((fqdn, _)), Some(own)) => fqdn == own,
            _ => true,
        };
        let bad = self.bad.get(hop).into_iter().flatten();
        !bad.filter_map(|id| self.peers.get(id))
            .filter(speaks_for)
            .any(|peer| peer.is_bad(now))
    }

    /// A call to this peer failed for reasons of its own. It comes last until its time is over, even if it answers OPTIONS
    /// before (TDR-212), and longer if it does not. Returns what is new about it.
    pub fn failed(
        &mut self,
        hop: &Hop,
        down: &Down,
        retry_after: Option<u64>,
        now: Instant,
    ) -> Vec<Report> {
        let Some(there) = self.by_hop.get(hop) else {
            return Vec::new();
        };
        let mut changed = Vec::new();
        for id in there {
            let Some(peer) = self.peers.get_mut(id) else {
                continue;
            };
            peer.shun(retry_after.unwrap_or(SHUNNED_FOR), now);
            let health = Health::Down(down.clone());
            if peer.health != health {
                peer.health = health;
                changed.push(peer.report());
            }
            self.down.entry(id.clone()).or_insert(now);
        }
        self.bad.insert(hop.clone(), there.clone());
        changed
    }

    /// When the next OPTIONS is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Every watched peer: its metric name and what is known.
    pub fn states(&self) -> impl Iterator<Item = (Realm, &str, &Health)> {
        self.peers
            .values()
            .map(|peer| (peer.hop.realm, peer.ping.name.as_str(), &peer.health))
    }

    /// Those that are down: whose they are, their metric name, why, and since when. Trunks come first.
    pub fn down(&self) -> impl Iterator<Item = (PeerOf, &str, &Down, Instant)> {
        self.down.iter().filter_map(|(id, since)| {
            let peer = self.peers.get(id)?;
            let Health::Down(why) = &peer.health else {
                return None;
            };
            let of = match id {
                Watched::Trunk(id) => PeerOf::Trunk(*id),
                Watched::Proxy(own, _) => PeerOf::Region(own.clone()),
            };
            Some((of, peer.ping.name.as_str(), why, *since))
        })
    }

    fn put_trunk(&mut self, trunk: &Trunk, now: Instant) {
        let id = Watched::Trunk(trunk.id);
        let Some(every) = trunk.options_ping else {
            return self.remove(&id);
        };
        let ping = Ping {
            name: trunk.name.clone(),
            every,
            identity: None,
        };
        self.put(id, trunk.hop(), ping, now);
    }

    /// What is known of a peer that was there is kept.
    fn put(&mut self, id: Watched, hop: Hop, ping: Ping, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&id)
            && peer.hop == hop
            && peer.ping.name == ping.name
        {
            peer.ping = ping;
            return;
        }
        self.remove(&id);
        let there = self.by_hop.entry(hop.clone()).or_default();
        there.insert(id.clone());
        self.due.insert((now, id.clone()));
        let peer = Peer {
            hop,
            ping,
            health: Health::Unknown,
            shunned_until: None,
            due: now,
        };
        self.peers.insert(id, peer);
    }

    fn remove(&mut self, id: &Watched) {
        let Some(peer) = self.peers.remove(id) else {
            return;
        };
        self.due.remove(&(peer.due, id.clone()));
        self.down.remove(id);
        for places in [&mut self.by_hop, &mut self.bad] {
            forget(places, &peer.hop, id);
        }
    }

    fn proxies(&self) -> BTreeSet<Watched> {
        let is_proxy = |id: &&Watched| matches!(id, Watched::Proxy(..));
        // They stand behind all trunks.
        let proxies = self.peers.keys().rev().take_while(is_proxy);
        proxies.cloned().collect()
    }

    /// Whom to ask now; it is asked again when its time has come.
    fn take_due(&mut self, now: Instant) -> Option<(Watched, Hop, Ping)> {
        if self.deadline()? > now {
            return None;
        }
        let (_, id) = self.due.pop_first()?;
        let peer = self.peers.get_mut(&id)?;
        peer.due = now + peer.ping.every;
        self.due.insert((peer.due, id.clone()));
        Some((id, peer.hop.clone(), peer.ping.clone()))
    }

    /// What an OPTIONS taught about a peer; what is new about it.
    fn learnt(
        &mut self,
        id: &Watched,
        health: Health,
        shunned_for: Option<u64>,
        now: Instant,
    ) -> Option<Report> {
        let peer = self.peers.get_mut(id)?;
        if let Some(seconds) = shunned_for {
            peer.shun(seconds, now);
        }
        let is_new = peer.health != health;
        peer.health = health;
        if matches!(peer.health, Health::Down(_)) {
            self.down.entry(id.clone()).or_insert(now);
        } else {
            self.down.remove(id);
        }
        if peer.is_bad(now) {
            let bad = self.bad.entry(peer.hop.clone()).or_default();
            bad.insert(id.clone());
        } else {
            forget(&mut self.bad, &peer.hop, id);
        }
        is_new.then(|| peer.report())
    }
}

fn forget(places: &mut HashMap<Hop, BTreeSet<Watched>>, hop: &Hop, id: &Watched) {
    if let Some(there) = places.get_mut(hop) {
        there.remove(id);
        if there.is_empty() {
            places.remove(hop);
        }
    }
}

impl Calls {
    /// The peers to watch are those of the directory: each trunk that wants OPTIONS, and each Teams proxy for each
    /// region's base FQDN; never a customer's (TDR-208). What is known of peers that stay is kept. It costs what has changed
    /// since the directory before, not what is there.
    pub(super) fn watch_directory(&mut self, before: &Directory) {
        let core = &mut self.core;
        let (watch, now) = (&mut core.watch, core.now);
        for change in before.trunks_by_id().diff(core.directory.trunks_by_id()) {
            match change {
                DiffItem::Add(_, trunk) => watch.put_trunk(trunk, now),
                DiffItem::Update {
                    new: (_, trunk), ..
                } => watch.put_trunk(trunk, now),
                DiffItem::Remove(id, _) => watch.remove(&Watched::Trunk(*id)),
            }
        }
        let mut gone = watch.proxies();
        for region in core.directory.regions() {
            for (place, hop) in core.config.teams_proxies.iter().enumerate() {
                let id = Watched::Proxy(region.base_fqdn.clone(), place);
                let ping = Ping {
                    name: format!("{} via {}", region.base_fqdn, hop.host),
                    every: core.config.options_interval,
                    identity: Some((region.base_fqdn.clone(), region.sip_port)),
                };
                gone.remove(&id);
                watch.put(id, hop.clone(), ping, now);
            }
        }
        for id in gone {
            watch.remove(&id);
        }
    }

    /// Sends the OPTIONS that are due.
    pub(super) fn on_watch_time(&mut self) {
        if self.draining {
            return;
        }
        let now = self.core.now;
        while let Some((id, hop, ping)) = self.core.watch.take_due(now) {
            let draft = self.options(&hop, &ping);
            let core = &mut self.core;
            let key = core.endpoint.request(draft, NextHop::Hop(hop.clone()), now);
            core.watch.by_client.insert(key, (id, hop));
        }
    }

    /// TDR-202: no user part anywhere, our FQDN in From and Contact.
    fn options(&mut self, hop: &Hop, ping: &Ping) -> Builder {
        let core = &mut self.core;
        let host = if hop.host.contains(':') {
            format!("[{}]", hop.host)
        } else {
            hop.host.clone()
        };
        let port = hop.port.map(|p| format!(":{p}")).unwrap_or_default();
        let transport = hop.transport.unwrap_or(Transport::Udp);
        let parameter = if transport == Transport::Udp {
            String::new()
        } else {
            format!(";transport={transport}")
        };
        let own = match &ping.identity {
            Some((fqdn, port)) => format!("{fqdn}:{port}"),
            None => core.own(transport).to_string(),
        };
        let mut draft = Builder::request(
            crate::sip::Method::Options,
            &format!("sip:{host}{port}{parameter}"),
        );
        draft
            .header(Name::MaxForwards, "70")
            .header_fmt(
                Name::From,
                format_args!("<sip:{own}>;tag={}", core.random.token(10)),
            )
            .header_fmt(Name::To, format_args!("<sip:{host}{port}>"))
            .header(Name::CallId, core.random.token(22))
            .header(Name::CSeq, "1 OPTIONS")
            .header_fmt(Name::Contact, format_args!("<sip:{own}{parameter}>"))
            .header_fmt(Name::Allow, format_args!("{}, REFER", super::core::ALLOW))
            .header(Name::UserAgent, &core.config.product);
        if hop.realm == Realm::Teams {
            draft.header(Name::Extension("X-MS-SBC"), &core.config.x_ms_sbc);
        }
        draft
    }

    /// The answer to an OPTIONS of ours, or why there is none. Any answer but 408 and 503 proves that a trunk is there;
    /// from Teams only 200 does (TDR-210). Returns whether the key was one of these.
    pub(super) fn on_options_outcome(
        &mut self,
        key: ClientKey,
        outcome: Result<&Message, &Failure>,
    ) -> bool {
        if matches!(outcome, Ok(response) if response.status() < 200) {
            return self.core.watch.by_client.contains_key(&key);
        }
        let Some((id, hop)) = self.core.watch.by_client.remove(&key) else {
            return false;
        };
        let is_there = self
            .core
            .watch
            .peers
            .get(&id)
            .is_some_and(|peer| peer.hop == hop);
        if !is_there {
            return true;
        }
        let mut shunned_for = None;
        let health = match outcome.map(|response| (response, response.status())) {
            Ok((_, 200..=299)) => Health::Up,
            Ok((_, status)) if hop.realm == Realm::Trunk && !matches!(status, 408 | 500..=599) => {
                Health::Up
            }
            Ok((response, status)) => {
                // TDR-212: at least for so long, whatever the next answer is.
                shunned_for = retry_after(response).filter(|_| status == 503);
                Health::Down(Down::answered(response))
            }
            Err(failure) => Health::Down(failure.into()),
        };
        let now = self.core.now;
        if let Some(report) = self.core.watch.learnt(&id, health, shunned_for, now) {
            if let Report::PeerChanged { name, health, .. } = &report {
                tracing::info!(peer = name, ?health, "peer changed");
            }
            self.core.report(report);
        }
        true
    }
}
