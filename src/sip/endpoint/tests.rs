//! What all tests of the endpoint stand on, and one endpoint alone whose peer the test plays.

mod clients;
mod link;
mod servers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::sip::{Dialog, Flow, Hop, Message, Method, Name, Realm, SendTo, Transport};

const A: &str = "192.0.2.1:5060";
const B: &str = "192.0.2.2:5060";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn source(transport: Transport, from: &str, to: &str) -> Source {
    Source {
        transport,
        flow: Flow(7),
        remote: address(from),
        local: address(to),
        certificate: None,
    }
}

fn target(transport: Transport, at: &str) -> Target {
    Target {
        transport,
        address: address(at),
        name: "peer.example".to_owned(),
        realm: Realm::Trunk,
    }
}

fn hop(host: &str, transport: Transport) -> NextHop {
    NextHop::Hop(Hop {
        host: host.to_owned(),
        port: Some(5060),
        transport: Some(transport),
        realm: Realm::Trunk,
    })
}

fn endpoint(host: &str, config: Config) -> Endpoint {
    let identity = Identity {
        host: host.to_owned(),
        port: 5060,
    };
    let sent_by = SentBy {
        udp: identity.clone(),
        tcp: identity.clone(),
        tls: identity,
    };
    Endpoint::new(config, sent_by, Random::from_number(1))
}

fn request(method: Method, call: u32) -> Builder {
    let mut draft = Builder::request(method, "sip:bob@192.0.2.2");
    draft
        .header(Name::MaxForwards, "70")
        .header(Name::From, "<sip:alice@192.0.2.1>;tag=a")
        .header(Name::To, "<sip:bob@192.0.2.2>")
        .header_fmt(Name::CallId, format_args!("call-{call}"))
        .header_fmt(Name::CSeq, format_args!("1 {method}"))
        .header(Name::Contact, "<sip:alice@192.0.2.1>");
    draft
}

fn response(request: &Message, status: u16, tag: &str) -> Builder {
    let mut draft = Builder::response(request, status, "");
    draft
        .to_tag(tag)
        .header(Name::Contact, "<sip:bob@192.0.2.2>");
    draft
}

fn tell(event: &Event) -> String {
    match event {
        Event::Request { message, .. } => message.method().to_string(),
        Event::Ack { key, .. } => {
            format!("ACK {}", if key.is_some() { "known" } else { "unknown" })
        }
        Event::Cancelled { .. } => "cancelled".to_owned(),
        Event::Response { message, .. } => format!("{} {}", message.status(), message.method()),
        Event::NextTarget { failure, .. } => format!("next target: {failure}"),
        Event::Failed { failure, .. } => failure.to_string(),
        Event::NoPrack { .. } => "no PRACK".to_owned(),
        Event::NoAck { .. } => "no ACK".to_owned(),
    }
}

/// One endpoint, whose peer is the test.
struct Alone {
    endpoint: Endpoint,
    now: Instant,
    transport: Transport,
}

impl Alone {
    fn new(transport: Transport) -> Self {
        Self::with(transport, Config::default())
    }

    fn with(transport: Transport, config: Config) -> Self {
        Self {
            endpoint: endpoint("192.0.2.1", config),
            now: Instant::now(),
            transport,
        }
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.endpoint.poll()).collect()
    }

    /// What is sent now, with whom to blame.
    fn sent(&mut self) -> Vec<(SendId, SendTo, Message)> {
        let outputs = self.outputs().into_iter();
        let sent = outputs.filter_map(|output| match output {
            Output::Send { id, to, bytes } => Some((id, to, Message::parse(bytes).unwrap())),
            _ => None,
        });
        sent.collect()
    }

    fn one(&mut self) -> (SendId, SendTo, Message) {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    fn events(&mut self) -> Vec<Event> {
        let outputs = self.outputs().into_iter();
        outputs
            .filter_map(|output| {
                if let Output::Event(event) = output {
                    Some(event)
                } else {
                    None
                }
            })
            .collect()
    }

    fn told(&mut self) -> Vec<String> {
        self.events().iter().map(tell).collect()
    }

    fn receive(&mut self, message: &Message) {
        let source = source(self.transport, B, A);
        self.endpoint
            .receive(message.bytes().clone(), source, self.now);
    }

    fn receive_text(&mut self, text: &str) {
        let source = source(self.transport, B, A);
        self.endpoint
            .receive(Bytes::from(text.replace('\n', "\r\n")), source, self.now);
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.endpoint.expire(self.now);
    }

    /// Asks for an INVITE to a name with these targets, and gives its key and what went out.
    fn invite(&mut self, targets: &[&str]) -> (ClientKey, (SendId, SendTo, Message)) {
        let key = self.endpoint.request(
            request(Method::Invite, 1),
            hop("peer.example", self.transport),
            self.now,
        );
        let outputs = self.outputs();
        let [Output::Resolve { id, .. }] = outputs[..] else {
            panic!("{outputs:?}")
        };
        let targets = targets
            .iter()
            .map(|at| target(self.transport, at))
            .collect();
        self.endpoint.resolved(id, Ok(targets), self.now);
        (key, self.one())
    }

    fn key(&mut self) -> (ServerKey, Message) {
        let events = self.events();
        let [Event::Request { key, message, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        (*key, message.clone())
    }

    /// Lets all time pass, and expects that nothing is left.
    fn finish(mut self) -> Vec<String> {
        let mut told = self.told();
        while let Some(at) = self.endpoint.deadline() {
            self.now = at;
            self.endpoint.expire(at);
            told.extend(self.told());
        }
        assert!(self.endpoint.is_empty(), "{:?}", self.endpoint);
        told
    }
}

fn to(way: &SendTo) -> String {
    let (SendTo::Flow(_, address) | SendTo::Target(Target { address, .. })) = way;
    address.to_string()
}

const ONE: &str = "192.0.2.11:5061";
const TWO: &str = "192.0.2.12:5061";
