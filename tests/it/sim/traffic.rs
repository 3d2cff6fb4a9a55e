//! What the SBC and the agents want done: what they send goes over a link, is heard, and in part answered at once.

use std::time::Duration;

use bytes::Bytes;
use tollgate::b2bua::Output;
use tollgate::sip::{
    self, Event, Flow, Hop, Message, Method, Name, Output as SipOutput, SendId, SendTo, Target,
    Transport,
};

use super::agent::{Heard, Side};
use super::link::Way;
use super::setup::Who;
use super::{Arrival, World, audit, sbc, sdp};

impl World {
    pub(super) fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { id, to, bytes } => self.send_from_sbc(id, &to, bytes),
            Output::Resolve { id, hop } => {
                let targets = self.resolve(&hop);
                let at = self.now + Duration::from_millis(1);
                self.schedule(at, Arrival::Resolved(id, targets));
            }
            Output::Media(command) => {
                if let Some(event) = self.relay.command(command) {
                    let at = self.now + Duration::from_millis(2);
                    self.schedule(at, Arrival::Media(event));
                }
            }
            Output::Cdr(cdr) => {
                self.note(format!("record: {:?} {}", cdr.sip_code, cdr.reason));
                self.cdrs.push(*cdr);
            }
            Output::Report(report) => self.reports.push(report),
            Output::Activate { id, mac, code, .. } => self.codes.push((id, mac, code)),
            Output::Resynced { auth_user, outcome } => self.resynced.push((auth_user, outcome)),
        }
    }

    pub(super) fn carry_out_for(&mut self, who: Who, output: SipOutput) {
        let now = self.now;
        match output {
            SipOutput::Send { bytes, .. } => {
                let agent = &mut self.agents[who];
                let flow = if agent.is_teams() {
                    Flow(who as u64 + 1)
                } else {
                    Flow(0)
                };
                let source = agent.source(flow);
                let (name, reliable) = (agent.name, agent.transport.is_reliable());
                let arrivals = agent
                    .link
                    .carry(Way::ToSbc, reliable, now, &mut self.random);
                if let Ok(message) = Message::parse(bytes.clone()) {
                    self.audit.sent(who, &message);
                }
                let lost = if arrivals.is_empty() { " (lost)" } else { "" };
                self.note(format!("{name:>8} →     {}{lost}", first_line(&bytes)));
                for at in arrivals {
                    self.schedule(at, Arrival::AtSbc(bytes.clone(), source.clone()));
                }
            }
            SipOutput::Resolve { id, hop } => {
                let transport = self.agents[who].transport;
                let target = Target {
                    transport,
                    address: sbc(transport),
                    name: hop.host,
                    realm: hop.realm,
                };
                self.agents[who]
                    .endpoint
                    .resolved(id, Ok(vec![target]), now);
            }
            SipOutput::Event(event) => self.on_event(who, event),
        }
    }

    fn send_from_sbc(&mut self, id: SendId, to: &SendTo, bytes: Bytes) {
        let who = match to {
            SendTo::Flow(Flow(n @ 1..), _) => Some(*n as usize - 1),
            SendTo::Flow(_, address) => self.agents.iter().position(|a| a.address == *address),
            SendTo::Target(target) => self.agents.iter().position(|a| a.address == target.address),
        };
        let who = who.unwrap_or_else(|| panic!("nobody is at {to:?}: {bytes:?}"));
        let agent = &mut self.agents[who];
        if &bytes[..] == b"\r\n\r\n" {
            agent.pings += 1;
            return;
        }
        let by_tcp = matches!(to, SendTo::Target(target) if target.transport == Transport::Tcp);
        if agent.unreachable || agent.refuses_tcp && by_tcp {
            self.note(format!(
                "{:>8}   ✗   {}",
                self.agents[who].name,
                first_line(&bytes)
            ));
            let at = self.now + Duration::from_millis(1);
            return self.schedule(at, Arrival::SendFailed(id, "connection refused".into()));
        }
        let reliable = agent.transport.is_reliable();
        let arrivals = agent
            .link
            .carry(Way::FromSbc, reliable, self.now, &mut self.random);
        self.audit.received(who, agent, &bytes);
        let lost = if arrivals.is_empty() { " (lost)" } else { "" };
        self.note(format!(
            "{:>8}     ← {}{lost}",
            self.agents[who].name,
            first_line(&bytes)
        ));
        for at in arrivals {
            self.schedule(at, Arrival::AtAgent(who, bytes.clone()));
        }
    }

    fn resolve(&self, hop: &Hop) -> Result<Vec<Target>, String> {
        let host = hop.host.to_ascii_lowercase();
        if let Some(all) = self.aliases.get(&host) {
            let target = |who: &Who| Target {
                transport: hop.transport.unwrap_or(self.agents[*who].transport),
                address: self.agents[*who].address,
                name: hop.host.clone(),
                realm: hop.realm,
            };
            return Ok(all.iter().map(target).collect());
        }
        let agent = self.agents.iter().find(|agent| {
            agent.address.ip().to_string() == host
                || agent.host == host
                || agent.route == Some(host.as_str())
        });
        let agent = agent.ok_or_else(|| format!("{} does not exist", hop.host))?;
        Ok(vec![Target {
            transport: hop.transport.unwrap_or(agent.transport),
            address: agent.address,
            name: hop.host.clone(),
            realm: hop.realm,
        }])
    }

    fn on_event(&mut self, who: Who, event: Event) {
        let side_of = |world: &Self, tag: Option<&str>| {
            let tag = tag?;
            let at = world
                .sides
                .iter()
                .position(|s| s.who == who && s.tag == tag)?;
            Some(Side(at))
        };
        match event {
            Event::Request { key, message, .. } => {
                let Some(side) = side_of(self, message.to_tag()) else {
                    return self.on_stray_request(who, key, message);
                };
                self.remember_sdp(side, &message);
                let method = message.method();
                let dull = matches!(method, Method::Bye | Method::Notify | Method::Prack);
                if method == Method::Bye {
                    self.sides[side.0].over = true;
                }
                if dull {
                    self.answer_plainly(who, key, &message, 200);
                }
                self.sides[side.0]
                    .inbox
                    .push_back(Heard::Request(key, message));
            }
            Event::Ack { message, .. } => {
                let Some(side) = side_of(self, message.to_tag()) else {
                    return self.agents[who].strays.push(message);
                };
                self.remember_sdp(side, &message);
                self.sides[side.0].inbox.push_back(Heard::Ack(message));
            }
            Event::Cancelled { key, message } => {
                let Some(at) = self
                    .sides
                    .iter()
                    .position(|s| s.server == Some(key) && s.who == who)
                else {
                    return;
                };
                self.sides[at].inbox.push_back(Heard::Cancelled(message));
                if let (Some(status), false) = (self.agents[who].on_cancel, self.sides[at].decided)
                {
                    self.reply(Side(at), status, None, |_| {});
                }
            }
            Event::Response { key, message, .. } => self.on_response(who, key, message),
            Event::Failed { key, failure } => {
                if let Some(side) = self.agents[who].clients.remove(&key) {
                    if self.sides[side.0].client == Some(key) {
                        (self.sides[side.0].decided, self.sides[side.0].over) = (true, true);
                    }
                    self.sides[side.0].inbox.push_back(Heard::Failed(failure));
                }
            }
            Event::NextTarget { .. } => {}
            // An agent that lacks a PRACK says no more.
            Event::NoPrack { .. } => {}
            Event::NoAck { key } => {
                let at = self
                    .sides
                    .iter()
                    .position(|s| s.server == Some(key) && s.who == who);
                if let Some(at) = at {
                    self.sides[at].inbox.push_back(Heard::NoAck);
                }
            }
        }
    }

    pub(super) fn remember_sdp(&mut self, side: Side, message: &Message) {
        if message.content_type() == Some("application/sdp") {
            self.sides[side.0].remote = Some(message.body());
        }
    }

    fn on_stray_request(&mut self, who: Who, key: sip::ServerKey, message: Message) {
        if message.to_tag().is_some() {
            self.agents[who].strays.push(message.clone());
        }
        match message.method() {
            Method::Options => {
                let status = self.agents[who].options;
                self.answer_plainly(who, key, &message, status);
                self.agents[who].asked.push(message);
            }
            Method::Notify if message.to_tag().is_none() => self.on_notify(who, key, message),
            Method::Invite => self.on_invite(who, key, message),
            Method::Register => {
                let now = self.now;
                let agent = &mut self.agents[who];
                let mut draft = agent.registrar.answer(&message, now);
                draft.header(Name::Extension(audit::LEAK), agent.name);
                agent.endpoint.respond(key, draft, now);
            }
            _ => self.answer_plainly(who, key, &message, 481),
        }
    }

    fn answer_plainly(&mut self, who: Who, key: sip::ServerKey, message: &Message, status: u16) {
        let mut draft = sip::Builder::response(message, status, "");
        draft.header(Name::Extension(audit::LEAK), self.agents[who].name);
        self.agents[who].endpoint.respond(key, draft, self.now);
    }

    fn on_response(&mut self, who: Who, key: sip::ClientKey, message: Message) {
        let Some(side) = self.agents[who].clients.get(&key).copied() else {
            self.agents[who].answers.insert(key, message);
            return;
        };
        self.remember_sdp(side, &message);
        let status = message.status();
        if status >= 200 && self.sides[side.0].client == Some(key) {
            self.sides[side.0].decided = true;
            self.sides[side.0].over |= status >= 300;
        }
        if (200..300).contains(&status)
            && message.method() == Method::Invite
            && self.agents[who].acknowledges
        {
            self.acknowledge(side, key, &message);
        }
        self.sides[side.0].inbox.push_back(Heard::Response(message));
    }
}

fn first_line(bytes: &Bytes) -> String {
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().next().unwrap_or_default().to_owned();
    let cseq = text
        .lines()
        .find_map(|l| l.strip_prefix("CSeq: "))
        .unwrap_or_default();
    let sdp = sdp::line(&text, "m=audio ").map_or("", |_| " +sdp");
    format!("{first}   ({cseq}{sdp})")
}
