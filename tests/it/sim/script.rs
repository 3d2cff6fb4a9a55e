//! What a test can tell agents to do, and wait for.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tollgate::media::{LegId, Play};
use tollgate::sip::{
    Builder, ClientKey, Dialog, Hop, Message, Method, Name, NextHop, Realm, ServerKey,
};

use super::agent::{Heard, Side, SideState};
use super::audit::LEAK;
use super::sdp::{self, Media};
use super::setup::{ACME_FQDN, ALICE, OUTSIDE, Who};
use super::{World, relay, sbc};

impl World {
    /// An INVITE with an offer: from Teams for a number outside, else for Alice.
    pub fn dial(&mut self, who: Who) -> Side {
        let number = if self.agents[who].is_teams() {
            OUTSIDE
        } else {
            ALICE
        };
        self.dial_with(who, number, |_| {})
    }

    /// An INVITE with an offer, changed before it goes out.
    pub fn dial_with(&mut self, who: Who, number: &str, change: impl FnOnce(&mut Builder)) -> Side {
        let teams = self.agents[who].is_teams();
        let uri = match teams {
            true => format!("sip:{number}@{ACME_FQDN}:5061;user=phone;transport=tls"),
            false => format!("sip:{number}@{}", sbc(self.agents[who].transport)),
        };
        let caller = if teams { ALICE } else { OUTSIDE };
        self.dial_uri(who, &uri, caller, change)
    }

    /// An INVITE to this Request-URI.
    pub fn dial_uri(
        &mut self,
        who: Who,
        uri: &str,
        caller: &str,
        change: impl FnOnce(&mut Builder),
    ) -> Side {
        let (tag, call_id) = (self.random.token(8), self.random.token(16));
        let mut media = self.new_media(who);
        let agent = &self.agents[who];
        let mut draft = Builder::request(Method::Invite, uri);
        draft
            .header(Name::MaxForwards, "70")
            .header_fmt(
                Name::From,
                format_args!("\"Jane Doe\" <sip:{caller}@{}>;tag={tag}", agent.host),
            )
            .header_fmt(Name::To, format_args!("<{uri}>"))
            .header(Name::CallId, &call_id)
            .header(Name::CSeq, "1 INVITE")
            .header(Name::Contact, agent.contact())
            .header(Name::Allow, "INVITE, ACK, CANCEL, BYE, NOTIFY, REFER")
            .header(Name::Supported, "timer")
            .header(Name::UserAgent, agent.name)
            .header(Name::Extension(LEAK), agent.name)
            .body("application/sdp", media.describe("sendrecv"));
        if let Some(route) = agent.route {
            draft.header_fmt(
                Name::RecordRoute,
                format_args!("<sip:{route}:5061;transport=tls;lr>"),
            );
        }
        change(&mut draft);
        let invite = draft.finish(None);
        let tag = invite.from_tag().unwrap_or(&tag).to_owned();
        let next = self.sbc_hop(who);
        let client = self.agents[who].endpoint.request(draft, next, self.now);
        let side = self.new_side(who, invite, tag, media);
        self.sides[side.0].client = Some(client);
        self.agents[who].clients.insert(client, side);
        self.settle();
        side
    }

    /// The INVITE that opens a dialog and has come, or comes next.
    pub fn incoming(&mut self, who: Who) -> Side {
        let name = self.agents[who].name;
        self.wait(&format!("an INVITE at {name}"), |w| {
            w.agents[who].arrivals.pop_front()
        })
    }

    pub(super) fn on_invite(&mut self, who: Who, key: ServerKey, message: Message) {
        let (tag, media) = (self.random.token(8), self.new_media(who));
        let side = self.new_side(who, message.clone(), tag, media);
        self.sides[side.0].server = Some(key);
        self.remember_sdp(side, &message);
        self.agents[who].arrivals.push_back(side);
    }

    fn new_side(&mut self, who: Who, invite: Message, tag: String, media: Media) -> Side {
        self.sides.push(SideState {
            who,
            invite,
            server: None,
            client: None,
            tag,
            dialog: None,
            media,
            remote: None,
            inbox: Default::default(),
            decided: false,
            over: false,
            ack_sdp: None,
        });
        Side(self.sides.len() - 1)
    }

    fn new_media(&mut self, who: Who) -> Media {
        let teams = self.agents[who].is_teams();
        let key =
            (teams || self.agents[who].secure).then(|| STANDARD.encode(self.random.bytes::<30>()));
        let gateway = self.directory.gateway(ACME_FQDN);
        let bypass = teams && gateway.is_some_and(|gateway| gateway.media_bypass);
        let ice = bypass.then(|| (self.random.token(4), self.random.token(24)));
        let address = match teams {
            true => IpAddr::V4(Ipv4Addr::new(52, 112, 7, 7)),
            false => self.agents[who].address.ip(),
        };
        let port = 30_000 + 2 * u16::try_from(self.sides.len()).expect("few sides");
        Media {
            address,
            port,
            key,
            ice,
            codecs: self.agents[who].codecs.clone(),
            version: 0,
        }
    }

    fn sbc_hop(&self, who: Who) -> NextHop {
        let agent = &self.agents[who];
        NextHop::Hop(Hop {
            host: "192.0.2.1".into(),
            port: Some(sbc(agent.transport).port()),
            transport: Some(agent.transport),
            realm: if agent.is_teams() {
                Realm::Teams
            } else {
                Realm::Trunk
            },
        })
    }

    /// A response to the INVITE that opened this side.
    pub fn reply(
        &mut self,
        side: Side,
        status: u16,
        sdp: Option<String>,
        change: impl FnOnce(&mut Builder),
    ) {
        let SideState {
            who,
            invite,
            server,
            tag,
            ..
        } = &self.sides[side.0];
        let (who, tag, server) = (*who, tag.clone(), server.expect("an INVITE that came in"));
        let agent = &self.agents[who];
        let mut draft = Builder::response(invite, status, "");
        draft.header(Name::Extension(LEAK), agent.name);
        if status < 300 {
            draft
                .header(Name::Contact, agent.contact())
                .header(Name::Allow, "INVITE, ACK, CANCEL, BYE, NOTIFY");
            if let Some(route) = agent.route {
                draft.header_fmt(
                    Name::RecordRoute,
                    format_args!("<sip:{route}:5061;transport=tls;lr>"),
                );
            }
        }
        if let Some(sdp) = sdp {
            draft.body("application/sdp", sdp);
        }
        change(&mut draft);
        draft.to_tag(&tag);
        let state = &mut self.sides[side.0];
        state.decided |= status >= 200;
        state.over |= status >= 300;
        if (200..300).contains(&status) {
            let sent = draft.finish(None);
            state.tag = sent.to_tag().expect("a tag").to_owned();
            let dialog = Dialog::uas(&state.invite, &state.tag);
            state.dialog = Some(dialog.expect("an INVITE that makes a dialog"));
        }
        self.agents[who].endpoint.respond(server, draft, self.now);
        self.settle();
    }

    /// 180 without a description.
    pub fn ring(&mut self, side: Side) {
        self.reply(side, 180, None, |_| {});
    }

    /// 200 with an answer.
    pub fn answer(&mut self, side: Side) {
        let sdp = self.describe(side, "sendrecv");
        self.reply(side, 200, Some(sdp), |_| {});
    }

    /// A final response that is none to be glad of.
    pub fn reject(&mut self, side: Side, status: u16) {
        self.reply(side, status, None, |_| {});
    }

    /// This side's media, described anew.
    pub fn describe(&mut self, side: Side, direction: &str) -> String {
        self.sides[side.0].media.describe(direction)
    }

    /// A call that rings and is answered; both sides talk.
    pub fn connect(&mut self, from: Who, to: Who) -> (Side, Side) {
        let a = self.dial(from);
        let b = self.incoming(to);
        self.ring(b);
        assert_eq!(self.provisional(a).status(), 180);
        self.answer(b);
        assert_eq!(self.outcome(a).status(), 200);
        self.acknowledged(b);
        self.pass(std::time::Duration::from_millis(100));
        assert!(self.talk(a, b), "both talk");
        (a, b)
    }

    /// A call from Teams to its PBX.
    pub fn call_from_teams(&mut self) -> (Side, Side) {
        self.connect(super::setup::TEAMS, super::setup::PBX)
    }

    /// A call from the PBX to Teams.
    pub fn call_to_teams(&mut self) -> (Side, Side) {
        self.connect(super::setup::PBX, super::setup::TEAMS)
    }

    pub(super) fn acknowledge(&mut self, side: Side, key: ClientKey, response: &Message) {
        let now = self.now;
        let state = &mut self.sides[side.0];
        let who = state.who;
        let number = response.cseq().expect("a CSeq").number;
        match &mut state.dialog {
            Some(dialog) => dialog.refresh_target(response),
            dialog => {
                *dialog = Some(Dialog::uac(&state.invite, response).expect("a dialog"));
            }
        }
        let dialog = state.dialog.as_ref().expect("made above");
        let mut ack = dialog.ack(number);
        if let Some(sdp) = state.ack_sdp.take() {
            ack.body("application/sdp", sdp);
        }
        let next = self.sbc_hop(who);
        self.agents[who].endpoint.acknowledge(key, ack, next, now);
    }

    /// The first thing in a side's inbox that `pick` takes, now or later.
    pub fn hear<T>(&mut self, side: Side, what: &str, pick: impl Fn(&Heard) -> Option<T>) -> T {
        let name = self.agents[self.sides[side.0].who].name;
        self.wait(&format!("{what} at {name}"), |w| {
            let inbox = &mut w.sides[side.0].inbox;
            let at = inbox.iter().position(|heard| pick(heard).is_some())?;
            pick(&inbox.remove(at)?)
        })
    }

    /// The next response but 100 that is not final.
    pub fn provisional(&mut self, side: Side) -> Message {
        self.hear(side, "a provisional response", |heard| match heard {
            Heard::Response(m) if (101..200).contains(&m.status()) => Some(m.clone()),
            _ => None,
        })
    }

    /// The next final response.
    pub fn outcome(&mut self, side: Side) -> Message {
        self.hear(side, "a final response", |heard| match heard {
            Heard::Response(m) if m.status() >= 200 => Some(m.clone()),
            _ => None,
        })
    }

    /// The next request of this method.
    pub fn request(&mut self, side: Side, method: Method) -> (ServerKey, Message) {
        self.hear(side, method.text(), |heard| match heard {
            Heard::Request(key, m) if m.method() == method => Some((*key, m.clone())),
            _ => None,
        })
    }

    /// The SBC's BYE.
    pub fn hung_up(&mut self, side: Side) -> Message {
        self.request(side, Method::Bye).1
    }

    /// The SBC's ACK of a 2xx.
    pub fn acknowledged(&mut self, side: Side) -> Message {
        self.hear(side, "an ACK", |heard| match heard {
            Heard::Ack(m) => Some(m.clone()),
            _ => None,
        })
    }

    /// The SBC's CANCEL.
    pub fn cancelled(&mut self, side: Side) -> Message {
        self.hear(side, "a CANCEL", |heard| match heard {
            Heard::Cancelled(m) => Some(m.clone()),
            _ => None,
        })
    }

    /// Whether a request of this method lies in the inbox.
    pub fn has_heard(&self, side: Side, method: Method) -> bool {
        self.sides[side.0]
            .inbox
            .iter()
            .any(|heard| matches!(heard, Heard::Request(_, m) if m.method() == method))
    }

    /// Gives an INVITE up.
    pub fn cancel(&mut self, side: Side) {
        let state = &self.sides[side.0];
        let (who, key) = (state.who, state.client.expect("an INVITE of its own"));
        self.agents[who].endpoint.cancel(key, None, self.now);
        self.settle();
    }

    /// A request inside the dialog.
    pub fn send(
        &mut self,
        side: Side,
        method: Method,
        sdp: Option<String>,
        change: impl FnOnce(&mut Builder),
    ) -> ClientKey {
        let who = self.sides[side.0].who;
        let agent = &self.agents[who];
        let (contact, name) = (agent.contact(), agent.name);
        let dialog = self.sides[side.0].dialog.as_mut().expect("a dialog");
        let mut draft = dialog.request(method);
        draft
            .header(Name::Contact, contact)
            .header(Name::Extension(LEAK), name);
        if let Some(sdp) = sdp {
            draft.body("application/sdp", sdp);
        }
        change(&mut draft);
        self.sides[side.0].over |= method == Method::Bye;
        let next = self.sbc_hop(who);
        let key = self.agents[who].endpoint.request(draft, next, self.now);
        self.agents[who].clients.insert(key, side);
        self.settle();
        key
    }

    /// Hangs up; the status of the answer.
    pub fn bye(&mut self, side: Side) -> u16 {
        self.send(side, Method::Bye, None, |_| {});
        self.outcome_of(side, Method::Bye).status()
    }

    /// The next final response to a request of this method.
    pub fn outcome_of(&mut self, side: Side, method: Method) -> Message {
        self.hear(side, "a final response", |heard| match heard {
            Heard::Response(m) if m.status() >= 200 && m.method() == method => Some(m.clone()),
            _ => None,
        })
    }

    /// A request of no side of a call; its final response.
    pub fn ask(&mut self, who: Who, draft: Builder) -> Message {
        let next = self.sbc_hop(who);
        let key = self.agents[who].endpoint.request(draft, next, self.now);
        self.settle();
        self.wait("an answer", |w| {
            let answer = w.agents[who].answers.get(&key)?;
            (answer.status() >= 200).then(|| answer.clone())
        })
    }

    /// Describes its media anew in a re-INVITE; the final response.
    pub fn reinvite(&mut self, side: Side, direction: &str) -> Message {
        let sdp = self.describe(side, direction);
        self.send(side, Method::Invite, Some(sdp), |_| {});
        self.outcome_of(side, Method::Invite)
    }

    /// Answers a request that came inside the dialog.
    pub fn respond(
        &mut self,
        side: Side,
        (key, message): &(ServerKey, Message),
        status: u16,
        sdp: Option<String>,
        change: impl FnOnce(&mut Builder),
    ) {
        let who = self.sides[side.0].who;
        let agent = &self.agents[who];
        let mut draft = Builder::response(message, status, "");
        draft.header(Name::Extension(LEAK), agent.name);
        if status < 300 {
            draft.header(Name::Contact, agent.contact());
        }
        if let Some(sdp) = sdp {
            draft.body("application/sdp", sdp);
        }
        change(&mut draft);
        self.agents[who].endpoint.respond(*key, draft, self.now);
        self.settle();
    }

    /// The relay's leg that this side sends to, by the last description of the SBC.
    pub fn leg(&self, side: Side) -> Option<(LegId, &relay::Leg)> {
        let port = sdp::port(self.sides[side.0].remote.as_ref()?)?;
        let found = self.relay.open.iter().find(|(_, leg)| leg.port == port);
        found.map(|(id, leg)| (*id, leg))
    }

    /// Whether packets go both ways between these two, and to where they said.
    pub fn talk(&self, one: Side, other: Side) -> bool {
        let (Some((one_id, a)), Some((other_id, b))) = (self.leg(one), self.leg(other)) else {
            return false;
        };
        let open = |side: Side, leg: &relay::Leg| {
            let media = &self.sides[side.0].media;
            leg.config.as_ref().is_some_and(|config| {
                config.send
                    && config.receive
                    && config.remote_rtp == (media.address, media.port).into()
                    && config.crypto.is_some() == media.key.is_some()
            })
        };
        a.partner == Some(other_id)
            && b.partner == Some(one_id)
            && a.play.is_none()
            && b.play.is_none()
            && open(one, a)
            && open(other, b)
    }

    /// What music this side hears from the relay.
    pub fn music(&self, side: Side) -> Option<Play> {
        self.leg(side).expect("a leg").1.play.clone()
    }

    /// The SBC's last description for this side.
    pub fn described(&self, side: Side) -> Bytes {
        self.sides[side.0].remote.clone().expect("a description")
    }
}
