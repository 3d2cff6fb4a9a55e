//! Who can take calls: OPTIONS to trunks and to Teams, and what failed calls taught (TDR section 2).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Calls, Report};
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

/// The state of all peers that calls go to.
#[derive(Debug, Default)]
pub(super) struct Watch {
    peers: Vec<Peer>,
    by_client: HashMap<ClientKey, usize>,
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
}

impl Watch {
    /// Whether to try this peer before others; at Teams, in the name of this base FQDN, whose standing there may be
    /// another than that of the next region's.
    pub fn is_up(&self, hop: &Hop, own: Option<&str>, now: Instant) -> bool {
        let speaks_for = |peer: &&Peer| match (&peer.ping.identity, own) {
            (Some((fqdn, _)), Some(own)) => fqdn == own,
            _ => true,
        };
        self.peers
            .iter()
            .filter(|peer| peer.hop == *hop)
            .filter(speaks_for)
            .all(|peer| {
                !matches!(peer.health, Health::Down(_))
                    && peer.shunned_until.is_none_or(|until| until <= now)
            })
    }

    /// A call to this peer failed for reasons of its own. It comes last until its time is over, even if it answers OPTIONS
    /// before (TDR-212), and longer if it does not.
    pub fn failed(&mut self, hop: &Hop, down: Down, retry_after: Option<u64>, now: Instant) {
        for peer in self.peers.iter_mut().filter(|peer| peer.hop == *hop) {
            peer.shun(retry_after.unwrap_or(SHUNNED_FOR), now);
            peer.health = Health::Down(down.clone());
        }
    }

    /// When the next OPTIONS is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.peers.iter().map(|peer| peer.due).min()
    }

    /// Every watched peer: its metric name and what is known.
    pub fn states(&self) -> impl Iterator<Item = (Realm, &str, &Health)> {
        self.peers
            .iter()
            .map(|peer| (peer.hop.realm, peer.ping.name.as_str(), &peer.health))
    }
}

impl Calls {
    /// The peers to watch are those of the directory: each trunk that wants OPTIONS, and each Teams proxy for each
    /// region's base FQDN; never a customer's (TDR-208). What is known of peers that stay is kept.
    pub(super) fn watch_directory(&mut self) {
        let core = &mut self.core;
        let mut wanted: Vec<(Hop, Ping)> = Vec::new();
        for trunk in core.directory.trunks() {
            let Some(every) = trunk.options_ping else {
                continue;
            };
            let hop = Hop {
                host: trunk.host.clone(),
                port: trunk.port,
                transport: Some(trunk.transport),
                realm: Realm::Trunk,
            };
            wanted.push((
                hop,
                Ping {
                    name: trunk.name.clone(),
                    every,
                    identity: None,
                },
            ));
        }
        for region in core.directory.regions() {
            for hop in &core.config.teams_proxies {
                let name = format!("{} via {}", region.base_fqdn, hop.host);
                let identity = Some((region.base_fqdn.clone(), region.sip_port));
                wanted.push((
                    hop.clone(),
                    Ping {
                        name,
                        every: core.config.options_interval,
                        identity,
                    },
                ));
            }
        }
        let mut known = std::mem::take(&mut core.watch.peers);
        for (hop, ping) in wanted {
            let at = known
                .iter()
                .position(|peer| peer.hop == hop && peer.ping.name == ping.name);
            let peer = match at {
                Some(at) => Peer {
                    ping,
                    ..known.swap_remove(at)
                },
                None => Peer {
                    hop,
                    ping,
                    health: Health::Unknown,
                    shunned_until: None,
                    due: core.now,
                },
            };
            core.watch.peers.push(peer);
        }
        core.watch.by_client.clear();
    }

    /// Sends the OPTIONS that are due.
    pub(super) fn on_watch_time(&mut self) {
        for at in 0..self.core.watch.peers.len() {
            let core = &mut self.core;
            let peer = &mut core.watch.peers[at];
            if peer.due > core.now || self.draining {
                continue;
            }
            let (hop, ping) = (peer.hop.clone(), peer.ping.clone());
            peer.due = core.now + ping.every;
            let draft = self.options(&hop, &ping);
            let core = &mut self.core;
            let key = core.endpoint.request(draft, NextHop::Hop(hop), core.now);
            core.watch.by_client.insert(key, at);
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
        let Some(at) = self.core.watch.by_client.get(&key).copied() else {
            return false;
        };
        if matches!(outcome, Ok(response) if response.status() < 200) {
            return true;
        }
        self.core.watch.by_client.remove(&key);
        let core_now = self.core.now;
        let Some(peer) = self.core.watch.peers.get_mut(at) else {
            return true;
        };
        let health = match outcome.map(|response| (response, response.status())) {
            Ok((_, 200..=299)) => Health::Up,
            Ok((_, status))
                if peer.hop.realm == Realm::Trunk && !matches!(status, 408 | 500..=599) =>
            {
                Health::Up
            }
            Ok((response, status)) => {
                // TDR-212: at least for so long, whatever the next answer is.
                if let Some(seconds) = retry_after(response).filter(|_| status == 503) {
                    peer.shun(seconds, core_now);
                }
                Health::Down(Down::answered(response))
            }
            Err(failure) => Health::Down(failure.into()),
        };
        if health != peer.health {
            tracing::info!(peer = peer.ping.name, ?health, "peer changed");
            peer.health = health;
            self.core.report(Report::PeerChanged);
        }
        true
    }
}
