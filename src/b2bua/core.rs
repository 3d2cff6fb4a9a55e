//! What all calls share: the transaction layer, the directory, channels, ports, randomness, the present time, and the
//! indexes by which an event finds its call.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::call::{Call, CallKey};
use super::leg::{Leg, Peer};
use super::refusal::{Answer, Refusal, q850_text};
use super::registrar::{Registrar, RegistrarConfig};
use super::registrations::{RegistrationConfig, Standing};
use super::transfer::Join;
use super::watch::Watch;
use super::{Cdr, Output, Report};
use crate::base::Random;
use crate::directory::{Denied, Directory, Ledger, Origin, Profile};
use crate::media::{Command, LegId, Passages, Ports};
use crate::sip::auth::{Algorithm, Challenger};
use crate::sip::{
    Builder, ClientKey, Endpoint, Hop, Identity, Message, Name, ResolveId, SentBy, ServerKey,
    Source, Transport, Uri,
};

/// How calls behave; times and limits.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long a called party may ring.
    pub ring_timeout: Duration,
    /// A call ends after so long; `None` for never.
    pub max_duration: Option<Duration>,
    /// Calls at once, in all stages; one more is refused with 503.
    pub max_calls: usize,
    /// Refused callers that hear an announcement at once.
    pub max_announcements: usize,
    /// After this long an announcement is cut off.
    pub announcement_max: Duration,
    /// A call ends when one of its peers sent no packet for so long, unless the call is held; `None` for never.
    pub media_inactivity: Option<Duration>,
    /// Where the relay binds.
    pub media_address: IpAddr,
    /// What session descriptions say in its place.
    pub advertised_address: IpAddr,
    /// How Teams differs from other peers.
    pub teams_profile: Arc<Profile>,
    /// How desk telephones differ from other peers.
    pub phone_profile: Arc<Profile>,
    /// How they register.
    pub registrar: RegistrarConfig,
    /// Microsoft's SIP proxies in order of trial (TDR-211).
    pub teams_proxies: Vec<Hop>,
    /// Host names that a Refer-To of Teams may lead to, besides the proxies: `pstnhub.microsoft.com` stands for all
    /// below it.
    pub teams_domains: Vec<String>,
    /// How often to send OPTIONS to Teams for each region's base FQDN.
    pub options_interval: Duration,
    /// What an unknown peer hears.
    pub unknown_peers: UnknownPeers,
    /// How users of exchanges are registered there.
    pub registrations: RegistrationConfig,
    /// User-Agent and Server.
    pub product: String,
    /// `X-MS-SBC` towards Teams (TDR-420): vendor/model/version.
    pub x_ms_sbc: String,
}

/// What a peer that no trunk and no certificate vouches for hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownPeers {
    /// 403.
    #[default]
    Refuse,
    /// Nothing: scanners learn nothing, not even that we are here.
    Drop,
}

pub(super) struct Core {
    pub config: Config,
    pub endpoint: Endpoint,
    pub sent_by: SentBy,
    pub directory: Arc<Directory>,
    pub ledger: Ledger,
    pub ports: Ports,
    pub passages: Passages,
    pub random: Random,
    pub watch: Watch,
    /// Where users of exchanges are registered.
    pub standing: Standing,
    pub now: Instant,
    wall: (Instant, OffsetDateTime),
    pub outputs: VecDeque<Output>,
    /// In which call a leg is.
    pub homes: HashMap<LegId, CallKey>,
    /// Our tag of every dialog.
    pub dialogs: HashMap<String, LegId>,
    /// Our requests whose answers are awaited.
    pub clients: HashMap<ClientKey, LegId>,
    /// INVITEs of peers that may be cancelled, or whose answer may stay without ACK.
    pub servers: HashMap<ServerKey, LegId>,
    /// Call-IDs of our own INVITEs, by which a loop is seen.
    pub call_ids: HashMap<String, CallKey>,
    /// Legs that moved to another call, and the one that they left, until it knows what went through them before.
    pub moved: HashMap<LegId, CallKey>,
    /// REFERs with Replaces that wait for both calls to be at hand.
    pub joins: Vec<Join>,
    pub challenger: Challenger,
    /// Where desk telephones are.
    pub registrar: Registrar,
    next_leg: u64,
}

/// What every 2xx and INVITE of ours allows; REFER only where the peer's profile wants it (TDR-501).
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY";

/// What every 2xx and INVITE of ours supports (TDR-401, TDR-502).
pub(super) const SUPPORTED: &str = "replaces, timer";

impl Core {
    #[allow(clippy::too_many_arguments, reason = "the one place that joins them")]
    pub fn new(
        config: Config,
        endpoint: Endpoint,
        sent_by: SentBy,
        directory: Arc<Directory>,
        ledger: Ledger,
        ports: Ports,
        mut random: Random,
        now: Instant,
        wall: OffsetDateTime,
    ) -> Self {
        let challenger = Challenger::new(
            "tollgate",
            &[Algorithm::SHA256, Algorithm::MD5],
            &mut random,
            now,
        );
        Self {
            config,
            endpoint,
            sent_by,
            directory,
            ledger,
            ports,
            passages: Passages::default(),
            random,
            watch: Watch::default(),
            standing: Standing::default(),
            now,
            wall: (now, wall),
            outputs: VecDeque::new(),
            homes: HashMap::new(),
            dialogs: HashMap::new(),
            clients: HashMap::new(),
            servers: HashMap::new(),
            call_ids: HashMap::new(),
            moved: HashMap::new(),
            joins: Vec::new(),
            challenger,
            registrar: Registrar::default(),
            next_leg: 0,
        }
    }

    pub fn new_leg_id(&mut self) -> LegId {
        self.next_leg += 1;
        LegId(self.next_leg)
    }

    /// The wall clock as it stands now, for records. Differences are never taken from it.
    pub fn wall(&self) -> OffsetDateTime {
        self.wall_at(self.now)
    }

    /// The same at another time.
    pub fn wall_at(&self, at: Instant) -> OffsetDateTime {
        match at.checked_duration_since(self.wall.0) {
            Some(after) => self.wall.1 + after,
            None => self.wall.1 - (self.wall.0 - at),
        }
    }

    /// Who sent a request outside a dialog: whoever calls the Contact of a registration is its exchange, if it is where
    /// that stands; others are known by their address and certificate.
    pub fn origin(&self, message: &Message, source: &Source) -> Result<Origin, Denied> {
        let uri = Uri::parse(message.request_uri()).ok();
        let user = uri.and_then(|uri| uri.user);
        let line = user.and_then(|user| self.directory.registration_of_token(user));
        let address = source.remote.ip().to_canonical();
        let Some(line) = line else {
            return self.directory.origin(source).or_else(|denied| {
                self.registered_origin(address, source.transport)
                    .ok_or(denied)
            });
        };
        let place = self.standing.at(line.id);
        let trunk = match self.directory.trunk(line.id) {
            Some(trunk) => trunk.standing_at(place),
            None => line.trunk(place),
        };
        match trunk.acl.iter().any(|network| network.contains(&address)) {
            true => Ok(Origin::Trunk(trunk.into())),
            false => Err(Denied::UnknownPeer),
        }
    }

    /// The trunks whose registrations stand at an address that no list names.
    fn registered_origin(&self, address: IpAddr, transport: Transport) -> Option<Origin> {
        let ids = self.standing.trunks_at(address);
        let trunks = ids.filter_map(|id| self.directory.trunk(id));
        let trunks = trunks.filter(|trunk| trunk.transport == transport);
        let mut trunks: Vec<_> = trunks
            .map(|trunk| Arc::new(trunk.standing_at(Some(address))))
            .collect();
        match trunks.len() {
            0 => None,
            1 => trunks.pop().map(Origin::Trunk),
            _ => Some(Origin::Shared(trunks)),
        }
    }

    /// Sets the wall clock right, as NTP moves it.
    pub fn set_wall(&mut self, wall: OffsetDateTime) {
        self.wall = (self.now, wall);
    }

    pub fn media(&mut self, command: Command) {
        self.outputs.push_back(Output::Media(command));
    }

    pub fn write(&mut self, cdr: Cdr) {
        self.outputs.push_back(Output::Cdr(Box::new(cdr)));
    }

    pub fn report(&mut self, report: Report) {
        self.outputs.push_back(Output::Report(report));
    }

    /// For which leg DNS is asked this.
    pub fn asker(&self, id: ResolveId) -> Option<LegId> {
        self.clients.get(&self.endpoint.asker(id)?).copied()
    }

    /// Forgets a call and all by which it could be found.
    pub fn forget(&mut self, call: &Call) {
        for leg in &call.legs {
            self.forget_leg(leg);
        }
    }

    /// Forgets all by which a leg could be found.
    pub fn forget_leg(&mut self, leg: &Leg) {
        for (key, _) in &leg.pending {
            self.clients.remove(key);
            self.endpoint.forget(*key);
        }
        for key in &leg.invites {
            self.servers.remove(key);
        }
        self.homes.remove(&leg.id);
        self.dialogs.remove(&leg.local_tag);
        if let Some(outgoing) = &leg.outgoing {
            self.call_ids.remove(&outgoing.call_id);
        }
    }

    /// A response with what all of ours carry. `peer` decides about Teams' own headers.
    pub fn response(&self, request: &Message, status: u16, teams: bool) -> Builder {
        let mut draft = Builder::response(request, status, "");
        draft.header(Name::Server, &self.config.product);
        if teams {
            draft.header(Name::Extension("X-MS-SBC"), &self.config.x_ms_sbc);
        }
        draft
    }

    /// Answers a request that has no more to say than a status.
    pub fn answer(&mut self, key: ServerKey, request: &Message, status: u16, teams: bool) {
        let draft = self.response(request, status, teams);
        self.endpoint.respond(key, draft, self.now);
    }

    /// Refuses an INVITE, or with an empty tag a request inside a dialog.
    pub fn refuse(
        &mut self,
        key: ServerKey,
        request: &Message,
        refusal: &Refusal,
        peer: Option<&Peer>,
        local_tag: &str,
    ) {
        let towards = peer.map_or(super::refusal::Towards::Pbx, Peer::towards);
        let Answer { status, q850 } = refusal.answer(towards);
        if let (Some(peer), true) = (peer, !local_tag.is_empty()) {
            self.report(Report::Response {
                peer: peer.label(),
                outgoing: true,
                status,
            });
        }
        let mut draft = self.response(request, status, peer.is_some_and(Peer::is_teams));
        if !local_tag.is_empty() {
            draft.to_tag(local_tag);
        }
        if let Some(cause) = q850 {
            draft.header_fmt(
                Name::Reason,
                format_args!("Q.850;cause={cause};text=\"{}\"", q850_text(cause)),
            );
        }
        match refusal {
            Refusal::Extension(name) => {
                draft.header(Name::Unsupported, name);
            }
            Refusal::ContentType(_) => {
                draft.header(Name::Accept, super::body::ACCEPTED);
            }
            Refusal::IntervalTooSmall => {
                let least = peer.map_or(90, |peer| peer.profile().min_se_s);
                draft.header_fmt(Name::MinSe, format_args!("{least}"));
            }
            // Only a peer that we know is told more than the status.
            _ if peer.is_some() => {
                draft.header_fmt(
                    Name::Warning,
                    format_args!("399 tollgate \"{}\"", plain(&refusal.to_string())),
                );
            }
            _ => {}
        }
        self.endpoint.respond(key, draft, self.now);
    }

    /// The Contact of a leg: on Teams legs the customer's own FQDN, never an address (TDR-402, TDR-403).
    pub fn contact(&self, peer: &Peer, user: &str, transport: Transport) -> String {
        let user = escape(user);
        match peer {
            Peer::Teams(gateway, _) => format!(
                "<sip:{user}@{}:{};transport=tls>",
                gateway.fqdn, gateway.sip_port
            ),
            Peer::Trunk(_) | Peer::Phone(..) => {
                let own = self.own(transport);
                let line = peer.trunk().and_then(|trunk| trunk.line.as_ref());
                let user = line.map_or(&*user, |line| &*line.token);
                let parameter = match transport {
                    Transport::Udp => "",
                    Transport::Tcp => ";transport=tcp",
                    Transport::Tls => ";transport=tls",
                };
                format!("<sip:{user}@{own}{parameter}>")
            }
        }
    }

    /// A name by which Teams knows us, and the port that goes with it: a customer's gateway or a region's base.
    pub fn own_name(&self, host: &str) -> Option<(String, u16)> {
        let gateway = self
            .directory
            .gateway(host)
            .map(|g| (g.fqdn.clone(), g.sip_port));
        gateway.or_else(|| {
            let region = self
                .directory
                .regions()
                .find(|region| region.base_fqdn.eq_ignore_ascii_case(host))?;
            Some((region.base_fqdn.clone(), region.sip_port))
        })
    }

    /// Our host and port, as peers of this transport reach us.
    pub fn own(&self, transport: Transport) -> &Identity {
        match transport {
            Transport::Udp => &self.sent_by.udp,
            Transport::Tcp => &self.sent_by.tcp,
            Transport::Tls => &self.sent_by.tls,
        }
    }

    /// What we allow the peer to do, in INVITEs and 2xx.
    pub fn allow(peer: &Peer) -> String {
        let refer = if peer.profile().refer { ", REFER" } else { "" };
        let prack = if peer.knows_reliable() { ", PRACK" } else { "" };
        format!("{ALLOW}{refer}{prack}")
    }
}

/// A dialled string as a user part: `#` may not stand there plain (RFC 3261 §25.1), though Teams sends it so.
pub(super) fn escape(user: &str) -> String {
    user.replace('#', "%23")
}

/// Text that may stand inside a quoted string without escapes.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ' {
                c
            } else {
                '?'
            }
        })
        .take(200)
        .collect()
}
