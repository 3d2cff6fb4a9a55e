//! Two endpoints on a link in virtual time, and one alone whose peer the test plays.

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

/// A link that carries each message after 20 ms, or loses it, or carries it twice.
struct Link {
    ends: [Endpoint; 2],
    transport: Transport,
    now: Instant,
    /// Of 100 messages, as many are lost, and as many come twice.
    loss: u32,
    random: Random,
    under_way: BTreeMap<(Instant, u64), (usize, Bytes)>,
    sent: u64,
}

impl Link {
    fn new(transport: Transport, loss: u32, seed: u64, config: &Config) -> Self {
        let ends = ["192.0.2.1", "192.0.2.2"].map(|host| endpoint(host, config.clone()));
        let (now, random) = (Instant::now(), Random::from_number(seed));
        Self {
            ends,
            transport,
            now,
            loss,
            random,
            under_way: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Carries and waits until one end has something to tell, or nothing is left to wait for.
    fn next(&mut self) -> Option<(usize, Event)> {
        loop {
            for end in 0..2 {
                while let Some(output) = self.ends[end].poll() {
                    match output {
                        Output::Event(event) => return Some((end, event)),
                        Output::Send { to, bytes, .. } => self.carry(end, to, bytes),
                        Output::Resolve { .. } => panic!("an address needs no DNS"),
                    }
                }
            }
            let arrival = self.under_way.first_key_value().map(|((at, _), _)| *at);
            let deadlines = [self.ends[0].deadline(), self.ends[1].deadline()];
            let at = deadlines.into_iter().chain([arrival]).flatten().min()?;
            self.now = self.now.max(at);
            if arrival == Some(at) {
                let (_, (end, bytes)) = self.under_way.pop_first().unwrap();
                let source = source(self.transport, [B, A][end], [A, B][end]);
                self.ends[end].receive(bytes, source, self.now);
            }
            self.ends.iter_mut().for_each(|end| end.expire(self.now));
        }
    }

    fn carry(&mut self, from: usize, to: SendTo, bytes: Bytes) {
        let (SendTo::Flow(_, address) | SendTo::Target(Target { address, .. })) = to;
        let end = [A, B]
            .iter()
            .position(|known| *known == address.to_string())
            .unwrap();
        assert_ne!(from, end);
        let lossy = !self.transport.is_reliable();
        let copies = match self.random.u32() % 100 {
            drawn if lossy && drawn < self.loss => 0,
            drawn if lossy && drawn < 2 * self.loss => 2,
            _ => 1,
        };
        for _ in 0..copies {
            self.sent += 1;
            self.under_way.insert(
                (self.now + Duration::from_millis(20), self.sent),
                (end, bytes.clone()),
            );
        }
    }

    /// Waits for what is left, and then expects both ends to hold nothing.
    fn finish(mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Some((_, event)) = self.next() {
            told.push(tell(&event));
        }
        for end in &self.ends {
            assert!(end.is_empty(), "{end:?}");
        }
        told
    }
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

/// INVITE, 180, 200, ACK, BYE, 200. Tells what each end heard.
fn call(link: &mut Link) -> Vec<String> {
    let (transport, mut told) = (link.transport, Vec::new());
    let invite = request(Method::Invite, 1);
    link.ends[0].request(invite.clone(), hop("192.0.2.2", transport), link.now);
    let sent = invite.finish(None);
    while let Some((end, event)) = link.next() {
        let now = link.now;
        told.push(format!("{} {}", ["A", "B"][end], tell(&event)));
        match event {
            Event::Request { key, message, .. } if message.method() == Method::Invite => {
                link.ends[end].respond(key, response(&message, 180, "b"), now);
                link.ends[end].respond(key, response(&message, 200, "b"), now);
            }
            Event::Request { key, message, .. } => {
                link.ends[end].respond(key, Builder::response(&message, 200, ""), now)
            }
            Event::Response { key, message, .. }
                if message.status() == 200 && message.method() == Method::Invite =>
            {
                let mut dialog = Dialog::uac(&sent, &message).unwrap();
                let next = NextHop::Hop(Hop {
                    transport: Some(transport),
                    port: Some(5060),
                    ..dialog.next_hop(Realm::Trunk)
                });
                link.ends[end].acknowledge(key, dialog.ack(1), next.clone(), now);
                link.ends[end].request(dialog.request(Method::Bye), next, now);
            }
            _ => {}
        }
    }
    told
}

/// A call without losses takes the seven messages that one expects, on every transport, and leaves nothing behind.
#[test]
fn a_call_on_a_good_link() {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let mut link = Link::new(transport, 0, 1, &Config::default());
        let mut told = call(&mut link);
        told.sort();
        let expected = [
            "A 100 INVITE",
            "A 180 INVITE",
            "A 200 BYE",
            "A 200 INVITE",
            "B ACK known",
            "B BYE",
            "B INVITE",
        ];
        assert_eq!(told, expected, "{transport}");
        assert_eq!(link.sent, 7);
        assert!(link.finish().is_empty());
    }
}

/// With three in ten messages lost and three in ten doubled, each end still hears everything once, in whatever order;
/// an end that gave up was told so. Nothing is left behind.
#[test]
fn a_call_on_a_bad_link() {
    let config = Config {
        trying_timeout: Duration::from_secs(40),
        ..Config::default()
    };
    let mut whole = 0;
    for seed in 0..300 {
        let mut link = Link::new(Transport::Udp, 30, seed, &config);
        let told = call(&mut link);
        let count = |what: &str| told.iter().filter(|told| *told == what).count();
        for once in [
            "A 200 INVITE",
            "A 200 BYE",
            "B INVITE",
            "B ACK known",
            "B BYE",
        ] {
            assert!(count(once) <= 1, "seed {seed}: {told:?}");
        }
        let timeouts = count(&format!("A {}", Failure::Timeout));
        let (answered, ended) = (count("A 200 INVITE"), count("A 200 BYE"));
        // The INVITE ended one way or the other, and so did the BYE, if there was one.
        assert_eq!(
            answered + ended + timeouts,
            1 + answered,
            "seed {seed}: {told:?}"
        );
        assert_eq!(
            count("B ACK known") + count("B no ACK"),
            count("B INVITE"),
            "seed {seed}: {told:?}"
        );
        whole += usize::from(ended == 1 && count("B ACK known") == 1);
        assert!(link.finish().is_empty(), "seed {seed}");
    }
    assert!(whole > 280, "{whole}");
}

/// The 200 of a callee that answers while a CANCEL is on its way reaches the user, as does a 487; the copy of a CANCEL
/// on a bad link is told once.
#[test]
fn cancel_meets_the_answer() {
    for (seed, answered_first) in (0..100).flat_map(|seed| [(seed, true), (seed, false)]) {
        let config = Config {
            trying_timeout: Duration::from_secs(40),
            ..Config::default()
        };
        let mut link = Link::new(Transport::Udp, 20, seed, &config);
        let key = link.ends[0].request(
            request(Method::Invite, 1),
            hop("192.0.2.2", Transport::Udp),
            link.now,
        );
        link.ends[0].cancel(key, Some("SIP;cause=200"), link.now);
        let (mut invite, mut told) = (None, Vec::new());
        while let Some((end, event)) = link.next() {
            let now = link.now;
            told.push(tell(&event));
            match event {
                Event::Request { key, message, .. } if answered_first => {
                    link.ends[end].respond(key, response(&message, 200, "b"), now);
                }
                Event::Request { message, .. } => invite = Some(message),
                Event::Cancelled { key, message } => {
                    assert_eq!(
                        message.header(Name::Reason).unwrap().text(),
                        Some("SIP;cause=200")
                    );
                    let invite = invite.take().expect("a CANCEL is told once");
                    link.ends[end].respond(key, response(&invite, 487, "b"), now);
                }
                Event::Response { key, message, .. } if message.status() == 200 => {
                    let dialog =
                        Dialog::uac(&request(Method::Invite, 1).finish(None), &message).unwrap();
                    let next = NextHop::Hop(dialog.next_hop(Realm::Trunk));
                    link.ends[end].acknowledge(key, dialog.ack(1), next, now);
                }
                _ => {}
            }
        }
        let count = |what: &str| told.iter().filter(|told| *told == what).count();
        let failed = count(&Failure::Timeout.to_string());
        let (good, bad) = if answered_first {
            ("200 INVITE", "487 INVITE")
        } else {
            ("487 INVITE", "200 INVITE")
        };
        assert_eq!(
            (count(good) + failed, count(bad)),
            (1, 0),
            "seed {seed}: {told:?}"
        );
        link.finish();
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

/// A target that cannot be reached is left at once for the next, by a new transaction; the last failure is told.
#[test]
fn an_unreachable_target_is_left() {
    let mut alone = Alone::new(Transport::Tls);
    let (_, (first, way, invite)) = alone.invite(&[ONE, TWO]);
    assert_eq!(to(&way), ONE);
    alone
        .endpoint
        .send_failed(first, "refused".to_owned(), alone.now);
    let (second, way, again) = alone.one();
    assert_eq!(to(&way), TWO);
    assert_ne!(first, second);
    assert_ne!(invite.via().unwrap().branch, again.via().unwrap().branch);
    assert_eq!(again.via().unwrap().transport, "TLS");
    // What is told late of the first target no longer matters.
    alone
        .endpoint
        .send_failed(first, "refused".to_owned(), alone.now);
    assert!(alone.outputs().is_empty());
    alone
        .endpoint
        .send_failed(second, "reset".to_owned(), alone.now);
    assert_eq!(alone.told(), ["the request could not be sent: reset"]);
    assert_eq!(alone.endpoint.counters().failovers, 1);
    alone.finish();
}

/// Each target that is left is told with what it did; the last one's failure is that of the request.
#[test]
fn every_target_that_fails_is_told() {
    let mut alone = Alone::new(Transport::Tls);
    let (_, (first, _, _)) = alone.invite(&[ONE, TWO]);
    alone
        .endpoint
        .send_failed(first, "refused".to_owned(), alone.now);
    let refused = "next target: the request could not be sent: refused";
    assert_eq!(alone.told(), [refused]);
    alone.wait(4_500);
    assert_eq!(alone.told(), [Failure::Timeout.to_string()]);
    let (_, (_, _, invite)) = alone.invite(&[ONE, TWO]);
    alone.receive(&response(&invite, 503, "x").finish(None));
    assert_eq!(alone.told(), ["next target: the peer answered 503"]);
    alone.finish();
}

/// A 503 is acknowledged, then the next target is tried; the last target's 503 reaches the user.
#[test]
fn a_busy_target_is_left() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut alone = Alone::new(transport);
        let (_, (_, _, invite)) = alone.invite(&[ONE, TWO]);
        alone.receive(&response(&invite, 503, "x").finish(None));
        let sent = alone.sent();
        assert_eq!(
            sent.iter().map(|(_, way, _)| to(way)).collect::<Vec<_>>(),
            [ONE, TWO]
        );
        assert_eq!(
            [sent[0].2.method(), sent[1].2.method()],
            [Method::Ack, Method::Invite]
        );
        alone.receive(&response(&sent[1].2, 503, "y").finish(None));
        assert_eq!(alone.told(), ["503 INVITE"]);
        alone.finish();
    }
}

/// TDR-213: no retry on any other refusal.
#[test]
fn other_refusals_are_final() {
    let mut alone = Alone::new(Transport::Tls);
    let (_, (_, _, invite)) = alone.invite(&[ONE, TWO]);
    alone.receive(&response(&invite, 603, "x").finish(None));
    let outputs = alone.outputs();
    assert!(
        matches!(
            outputs[..],
            [Output::Send { .. }, Output::Event(Event::Response { .. })]
        ),
        "{outputs:?}"
    );
    assert_eq!(alone.finish(), [""; 0]);
}

/// A target that keeps silent is left after the trying timeout; a single one has failed then.
#[test]
fn a_silent_target_is_left() {
    let mut alone = Alone::new(Transport::Tls);
    alone.invite(&[ONE, TWO]);
    alone.wait(4_499);
    assert!(alone.outputs().is_empty());
    alone.wait(1);
    assert_eq!(to(&alone.one().1), TWO);
    alone.wait(4_500);
    assert_eq!(alone.told(), [Failure::Timeout.to_string()]);
    assert_eq!(alone.finish(), [""; 0]);
}

/// After a provisional there is no trying timeout, but timer C, with a CANCEL.
#[test]
fn ringing_for_too_long_fails() {
    let mut alone = Alone::new(Transport::Tls);
    let (_, (_, _, invite)) = alone.invite(&[ONE, TWO]);
    alone.receive(&response(&invite, 180, "x").finish(None));
    assert_eq!(alone.told(), ["180 INVITE"]);
    alone.wait(179_999);
    assert!(alone.outputs().is_empty());
    alone.wait(1);
    let outputs = alone.outputs();
    assert!(
        matches!(
            outputs[..],
            [Output::Send { .. }, Output::Event(Event::Failed { .. })]
        ),
        "{outputs:?}"
    );
    alone.finish();
}

/// A target that was left answers late: its ringing is cancelled, its 200 is acknowledged and hung up, and copies of that
/// 200 are only acknowledged. The user hears nothing of it.
#[test]
fn a_late_answer_is_undone() {
    let mut alone = Alone::new(Transport::Tls);
    let (_, (_, _, invite)) = alone.invite(&[ONE, TWO]);
    alone.wait(4_500);
    let (_, _, second) = alone.one();
    alone.receive(&response(&invite, 180, "late").finish(None));
    let (_, way, cancel) = alone.one();
    assert_eq!(
        (cancel.method(), to(&way)),
        (Method::Cancel, ONE.to_owned())
    );
    let answer = response(&invite, 200, "late").finish(None);
    alone.receive(&answer);
    let methods: Vec<_> = alone
        .sent()
        .iter()
        .map(|(_, _, message)| message.method())
        .collect();
    assert_eq!(methods, [Method::Ack, Method::Bye]);
    alone.receive(&answer);
    assert_eq!(alone.one().2.method(), Method::Ack);
    alone.receive(&response(&second, 486, "busy").finish(None));
    assert_eq!(alone.finish(), ["486 INVITE"]);
}

/// A CANCEL looks like its INVITE, as does the ACK of its 487 (RFC 3261 §9.1, §17.1.1.3).
#[test]
fn what_follows_an_invite_looks_like_it() {
    let mut alone = Alone::new(Transport::Tls);
    let mut draft = request(Method::Invite, 1);
    draft.header(Name::Route, "<sip:192.0.2.9;lr>");
    let key = alone
        .endpoint
        .request(draft, hop("192.0.2.2", Transport::Tls), alone.now);
    let (_, _, invite) = alone.one();
    alone
        .endpoint
        .cancel(key, Some("Q.850;cause=16"), alone.now);
    assert!(alone.outputs().is_empty(), "held until a provisional");
    alone.receive(&Builder::response(&invite, 100, "").finish(None));
    let (_, _, cancel) = alone.one();
    alone.receive(&response(&cancel, 200, "b").finish(None));
    alone.receive(&response(&invite, 487, "b").finish(None));
    let outputs = alone.outputs();
    let [
        Output::Send { bytes, .. },
        Output::Event(Event::Response { .. }),
    ] = &outputs[..]
    else {
        panic!("{outputs:?}")
    };
    let ack = Message::parse(bytes.clone()).unwrap();
    for (message, method) in [(&cancel, "CANCEL"), (&ack, "ACK")] {
        assert_eq!(message.method_text(), method);
        assert_eq!(message.request_uri(), invite.request_uri());
        for name in [Name::Via, Name::From, Name::CallId, Name::Route] {
            assert_eq!(message.header(name), invite.header(name), "{name}");
        }
        assert_eq!(
            message.header(Name::CSeq).unwrap().text(),
            Some(format!("1 {method}").as_str())
        );
        assert_eq!(message.headers(Name::Via).count(), 1);
    }
    assert_eq!((cancel.to_tag(), ack.to_tag()), (None, Some("b")));
    assert_eq!(
        cancel.header(Name::Reason).unwrap().text(),
        Some("Q.850;cause=16")
    );
    alone.finish();
}

/// Cancelled before DNS has answered, nothing goes out; cancelled before a provisional, no other target is tried.
#[test]
fn a_cancelled_request_goes_nowhere_else() {
    let mut alone = Alone::new(Transport::Tls);
    let key = alone.endpoint.request(
        request(Method::Invite, 1),
        hop("peer.example", Transport::Tls),
        alone.now,
    );
    alone.outputs();
    alone.endpoint.cancel(key, None, alone.now);
    assert_eq!(alone.told(), [Failure::Cancelled.to_string()]);
    let (key, (first, ..)) = alone.invite(&[ONE, TWO]);
    alone.endpoint.cancel(key, None, alone.now);
    alone
        .endpoint
        .send_failed(first, "refused".to_owned(), alone.now);
    assert_eq!(alone.told(), ["the request could not be sent: refused"]);
    let (key, (_, _, invite)) = alone.invite(&[ONE, TWO]);
    alone.receive(&Builder::response(&invite, 100, "").finish(None));
    alone.endpoint.cancel(key, None, alone.now);
    alone.receive(&response(&invite, 503, "x").finish(None));
    assert_eq!(alone.finish(), ["100 INVITE", "503 INVITE"]);
}

/// Two forks answer: both 200s are told, each with its own ACK, which goes out again for every copy. A ringing fork is
/// told while it can still matter.
#[test]
fn forks_are_told_apart() {
    let mut alone = Alone::new(Transport::Udp);
    let (key, (_, _, invite)) = alone.invite(&[B]);
    for (status, tag) in [
        (180, "one"),
        (180, "two"),
        (183, "three"),
        (200, "two"),
        (200, "four"),
    ] {
        alone.receive(&response(&invite, status, tag).finish(None));
    }
    assert_eq!(
        alone.told(),
        [
            "180 INVITE",
            "180 INVITE",
            "183 INVITE",
            "200 INVITE",
            "200 INVITE"
        ]
    );
    alone.receive(&response(&invite, 200, "two").finish(None));
    assert!(
        alone.outputs().is_empty(),
        "the user knows of it and has not acknowledged it yet"
    );
    for tag in ["two", "four"] {
        let answer = response(&invite, 200, tag).finish(None);
        let dialog = Dialog::uac(&invite, &answer).unwrap();
        alone.endpoint.acknowledge(
            key,
            dialog.ack(1),
            NextHop::Hop(dialog.next_hop(Realm::Trunk)),
            alone.now,
        );
        let (_, _, ack) = alone.one();
        alone.receive(&answer);
        let (_, _, copy) = alone.one();
        assert_eq!((&ack, ack.to_tag()), (&copy, Some(tag)));
    }
    assert_eq!(alone.finish(), [""; 0]);
}

/// An ACK whose target cannot be reached takes the next.
#[test]
fn an_ack_fails_over() {
    let mut alone = Alone::new(Transport::Tls);
    let (key, (_, _, invite)) = alone.invite(&[ONE]);
    let answer = response(&invite, 200, "b").finish(None);
    alone.receive(&answer);
    alone.outputs();
    let ack = Dialog::uac(&invite, &answer).unwrap().ack(1);
    alone
        .endpoint
        .acknowledge(key, ack, hop("peer.example", Transport::Tls), alone.now);
    let outputs = alone.outputs();
    let [Output::Resolve { id, .. }] = outputs[..] else {
        panic!("{outputs:?}")
    };
    let targets = [ONE, TWO].map(|at| target(Transport::Tls, at));
    alone.endpoint.resolved(id, Ok(targets.to_vec()), alone.now);
    let (id, ..) = alone.one();
    alone
        .endpoint
        .send_failed(id, "refused".to_owned(), alone.now);
    assert_eq!(to(&alone.one().1), TWO);
    alone.receive(&answer);
    assert_eq!(to(&alone.one().1), TWO);
    alone.finish();
}

/// RFC 3261 §18.1.1: where it may, what a datagram should not carry goes by TCP to the same place, and says so in its Via;
/// where TCP is refused, by UDP after all. What fits goes by UDP, and so does everything where nobody allowed TCP.
#[test]
fn large_requests_go_by_tcp() {
    let asked = |size: usize, by_size: bool| {
        let mut alone = Alone::new(Transport::Udp);
        let mut draft = request(Method::Invite, 1);
        let with = |draft: &mut Builder, subject: usize| {
            draft.replace(Name::Subject, "x".repeat(subject));
        };
        with(&mut draft, 1);
        // The branch is as long as any: the size on the wire is exact.
        let via = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK----------------;rport";
        let rest = draft.finish(Some(via)).bytes().len() - 1;
        with(&mut draft, size - rest);
        let NextHop::Hop(hop) = hop("192.0.2.2", Transport::Udp) else {
            unreachable!()
        };
        let next = if by_size {
            NextHop::BySize(hop)
        } else {
            NextHop::Hop(hop)
        };
        alone.endpoint.request(draft, next, alone.now);
        alone
    };
    let by = |way: &SendTo, message: &Message| {
        let SendTo::Target(target) = way else {
            panic!("{way:?}")
        };
        let via = message.via().unwrap().transport.to_owned();
        (target.transport, via, target.address == address(B))
    };
    for (size, by_size, transport) in [
        (1300, true, Transport::Udp),
        (1301, true, Transport::Tcp),
        (1301, false, Transport::Udp),
    ] {
        let mut alone = asked(size, by_size);
        let (_, way, message) = alone.one();
        assert_eq!(
            by(&way, &message),
            (transport, transport.via().to_owned(), true)
        );
        assert!(transport != Transport::Udp || message.bytes().len() == size);
    }
    let mut alone = asked(1400, true);
    let (id, ..) = alone.one();
    alone
        .endpoint
        .send_failed(id, "refused".to_owned(), alone.now);
    let (_, way, message) = alone.one();
    assert_eq!(by(&way, &message), (Transport::Udp, "UDP".to_owned(), true));
    alone.finish();
}

/// A name that leads nowhere, and DNS that never answers, fail the request.
#[test]
fn dns_fails() {
    let mut alone = Alone::new(Transport::Tls);
    let ask = |alone: &mut Alone| {
        alone.endpoint.request(
            request(Method::Options, 1),
            hop("peer.example", Transport::Tls),
            alone.now,
        );
        let outputs = alone.outputs();
        let [Output::Resolve { id, .. }] = outputs[..] else {
            panic!("{outputs:?}")
        };
        id
    };
    let id = ask(&mut alone);
    alone.endpoint.resolved(id, Ok(Vec::new()), alone.now);
    assert_eq!(
        alone.told(),
        ["the next hop could not be resolved: the name leads nowhere"]
    );
    let late = ask(&mut alone);
    alone.wait(32_000);
    assert_eq!(
        alone.told(),
        ["the next hop could not be resolved: no answer"]
    );
    alone
        .endpoint
        .resolved(late, Ok(vec![target(Transport::Tls, ONE)]), alone.now);
    assert!(alone.finish().is_empty());
}

/// RFC 3261 §12.2.2: what belongs to one call leaves in the order in which it was asked for, whichever answer of DNS
/// comes first, and an answer that never comes does not keep the others. Another call does not wait.
#[test]
fn requests_of_a_call_do_not_overtake_each_other() {
    for first_is_found in [true, false] {
        let mut alone = Alone::new(Transport::Tls);
        let asked: Vec<_> = [
            (Method::Notify, 1),
            (Method::Notify, 1),
            (Method::Bye, 1),
            (Method::Info, 2),
        ]
        .into_iter()
        .map(|(method, call)| {
            let hop = hop("peer.example", Transport::Tls);
            alone
                .endpoint
                .request(request(method, call), hop, alone.now);
            let outputs = alone.outputs();
            let [Output::Resolve { id, .. }] = outputs[..] else {
                panic!("{outputs:?}")
            };
            id
        })
        .collect();
        let sent = |alone: &mut Alone| -> Vec<Method> {
            let outputs = alone.outputs().into_iter();
            outputs
                .filter_map(|output| match output {
                    Output::Send { bytes, .. } => Some(Message::parse(bytes).unwrap().method()),
                    _ => None,
                })
                .collect()
        };
        let answer = |alone: &mut Alone, n: usize| {
            let targets = vec![target(Transport::Tls, ONE)];
            alone.endpoint.resolved(asked[n], Ok(targets), alone.now);
        };
        answer(&mut alone, 2);
        answer(&mut alone, 1);
        assert_eq!(sent(&mut alone), []);
        answer(&mut alone, 3);
        assert_eq!(sent(&mut alone), [Method::Info]);
        if first_is_found {
            answer(&mut alone, 0);
            assert_eq!(
                sent(&mut alone),
                [Method::Notify, Method::Notify, Method::Bye]
            );
        } else {
            alone.wait(32_000);
            assert_eq!(sent(&mut alone), [Method::Notify, Method::Bye]);
        }
        alone.finish();
    }
}

/// An INVITE that is given up before DNS has answered does not keep what comes after it.
#[test]
fn who_gives_up_lets_others_pass() {
    let mut alone = Alone::new(Transport::Tls);
    let ask = |alone: &mut Alone, method| {
        let hop = hop("peer.example", Transport::Tls);
        let key = alone.endpoint.request(request(method, 1), hop, alone.now);
        let outputs = alone.outputs();
        let [Output::Resolve { id, .. }] = outputs[..] else {
            panic!("{outputs:?}")
        };
        (key, id)
    };
    let (invite, _) = ask(&mut alone, Method::Invite);
    let (_, bye) = ask(&mut alone, Method::Bye);
    let targets = vec![target(Transport::Tls, ONE)];
    alone.endpoint.resolved(bye, Ok(targets), alone.now);
    assert!(alone.outputs().is_empty());
    alone.endpoint.cancel(invite, None, alone.now);
    let outputs = alone.outputs();
    let is_bye = |output: &Output| matches!(output, Output::Send { bytes, .. } if bytes.starts_with(b"BYE "));
    assert!(outputs.iter().any(is_bye), "{outputs:?}");
    alone.finish();
}

const OPTIONS: &str = "OPTIONS sip:sbc.example SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.1:5999;branch=z9hG4bKx\n\
    Max-Forwards: 70\nFrom: <sip:a@a.example>;tag=1\nTo: <sip:sbc.example>\nCall-ID: c\nCSeq: 1 OPTIONS\n\
    Content-Length: 0\n\n";

fn invite_text() -> String {
    OPTIONS.replace("OPTIONS", "INVITE").replace(
        "Content-Length",
        "Contact: <sip:a@192.0.2.2>\nContent-Length",
    )
}

/// RFC 3261 §18.2.2 and RFC 3581: without rport a response goes to the sent-by's port, with it to the source's, both at the
/// source's address. On a stream it takes the connection.
#[test]
fn responses_find_back() {
    let answer = |transport, text: &str| {
        let mut alone = Alone::new(transport);
        alone.receive_text(text);
        let (key, request) = alone.key();
        alone
            .endpoint
            .respond(key, Builder::response(&request, 200, ""), alone.now);
        let (id, to, message) = alone.one();
        (alone, id, to, message)
    };
    let (_, _, way, message) = answer(Transport::Udp, OPTIONS);
    assert_eq!(way, SendTo::Flow(Flow(7), address("192.0.2.2:5999")));
    assert_eq!(message.via().unwrap().received, Some("192.0.2.2"));
    assert!(message.to_tag().is_some());
    let (_, _, way, message) = answer(
        Transport::Udp,
        &OPTIONS.replace("z9hG4bKx", "z9hG4bKx;rport"),
    );
    assert_eq!(
        (to(&way), message.via().unwrap().rport),
        (B.to_owned(), Some(Some(5060)))
    );
    let (mut alone, id, way, message) = answer(Transport::Tls, OPTIONS);
    assert_eq!(way, SendTo::Flow(Flow(7), address(B)));
    // The connection is gone: a new one to the source's address and the sent-by's port.
    alone
        .endpoint
        .send_failed(id, "closed".to_owned(), alone.now);
    let (id, way, again) = alone.one();
    let SendTo::Target(target) = &way else {
        panic!("{way:?}")
    };
    assert_eq!(
        (target.address, target.name.as_str()),
        (address("192.0.2.2:5999"), "198.51.100.1")
    );
    assert_eq!(again, message);
    alone
        .endpoint
        .send_failed(id, "refused".to_owned(), alone.now);
    assert!(alone.outputs().is_empty());
    alone.finish();
}

/// A copy is answered with what was answered last, and is not told; the branch's case does not matter, the sent-by does.
#[test]
fn copies_are_absorbed() {
    let mut alone = Alone::new(Transport::Udp);
    alone.receive_text(OPTIONS);
    let (key, request) = alone.key();
    alone.receive_text(OPTIONS);
    assert!(alone.outputs().is_empty());
    alone
        .endpoint
        .respond(key, Builder::response(&request, 404, ""), alone.now);
    let (_, _, answer) = alone.one();
    alone.receive_text(&OPTIONS.replace("z9hG4bKx", "Z9HG4bKX"));
    assert_eq!(alone.one().2.bytes().len(), answer.bytes().len());
    alone
        .endpoint
        .respond(key, Builder::response(&request, 200, ""), alone.now);
    assert!(alone.outputs().is_empty(), "there is one final response");
    alone.receive_text(
        &OPTIONS
            .replace("198.51.100.1", "198.51.100.2")
            .replace("Call-ID: c", "Call-ID: d"),
    );
    assert_eq!(alone.told(), ["OPTIONS"]);
    assert_eq!(alone.endpoint.counters().retransmissions_received, 2);
}

/// A peer of RFC 2543 has no magic cookie; its copies, its ACK and its CANCEL still find their transaction.
#[test]
fn old_branches_match_too() {
    let mut alone = Alone::new(Transport::Udp);
    let old = invite_text().replace("branch=z9hG4bKx", "branch=1");
    alone.receive_text(&old);
    let events = alone.events();
    let [Event::Request { key, message, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    alone.receive_text(&old);
    assert_eq!(alone.one().2.status(), 100);
    let later = old.replace("Call-ID: c", "Call-ID: d");
    alone.receive_text(&later);
    assert_eq!(
        alone.told(),
        ["INVITE"],
        "another call with the same branch"
    );
    alone.receive_text(&old.replace("INVITE", "CANCEL"));
    assert_eq!(alone.told(), ["cancelled"]);
    alone
        .endpoint
        .respond(*key, Builder::response(message, 487, ""), alone.now);
    let (_, _, refusal) = alone.one();
    let tag = refusal.to_tag().unwrap();
    let ack = old.replace("INVITE", "ACK").replace(
        "To: <sip:sbc.example>",
        &format!("To: <sip:sbc.example>;tag={tag}"),
    );
    alone.receive_text(&ack);
    alone.wait(500);
    assert!(alone.outputs().is_empty(), "the ACK was understood");
}

/// A CANCEL is answered, with the tag that the INVITE gets, and told while the INVITE is open; one of nothing gets a 481.
#[test]
fn cancels_of_a_peer() {
    let mut alone = Alone::new(Transport::Udp);
    alone.receive_text(&invite_text());
    let (key, invite) = alone.key();
    let cancel = invite_text().replace("INVITE", "CANCEL");
    alone.receive_text(&cancel);
    let outputs = alone.outputs();
    let [
        Output::Send { bytes, .. },
        Output::Event(Event::Cancelled { key: cancelled, .. }),
    ] = &outputs[..]
    else {
        panic!("{outputs:?}")
    };
    assert_eq!(*cancelled, key);
    let ok = Message::parse(bytes.clone()).unwrap();
    assert_eq!((ok.status(), ok.method()), (200, Method::Cancel));
    alone
        .endpoint
        .respond(key, Builder::response(&invite, 487, ""), alone.now);
    assert_eq!(alone.one().2.to_tag(), ok.to_tag());
    alone.receive_text(&cancel);
    assert_eq!(alone.one().2, ok);
    alone.receive_text(&cancel.replace("z9hG4bKx", "z9hG4bKother"));
    assert_eq!(alone.one().2.status(), 481);
}

/// RFC 3261 §8.2.2.2: the second way of a forked request is refused, unless the first was refused too.
#[test]
fn merged_requests_are_refused() {
    let mut alone = Alone::new(Transport::Udp);
    alone.receive_text(&invite_text());
    let (key, invite) = alone.key();
    let fork = |branch: &str| invite_text().replace("z9hG4bKx", branch);
    alone.receive_text(&fork("z9hG4bKy"));
    assert_eq!(alone.one().2.status(), 482);
    alone
        .endpoint
        .respond(key, Builder::response(&invite, 404, ""), alone.now);
    alone.outputs();
    alone.receive_text(&fork("z9hG4bKz"));
    assert_eq!(alone.told(), ["INVITE"]);
}

/// An ACK of a 2xx is told once with its INVITE; one with another tag belongs to nothing.
#[test]
fn acks_of_a_peer() {
    let mut alone = Alone::new(Transport::Udp);
    alone.receive_text(&invite_text());
    let (key, invite) = alone.key();
    alone
        .endpoint
        .respond(key, response(&invite, 200, "mine"), alone.now);
    alone.outputs();
    let ack = |tag: &str| {
        let text = invite_text()
            .replace("INVITE", "ACK")
            .replace("z9hG4bKx", "z9hG4bKack");
        text.replace(
            "To: <sip:sbc.example>",
            &format!("To: <sip:sbc.example>;tag={tag}"),
        )
    };
    alone.receive_text(&ack("other"));
    assert_eq!(alone.told(), ["ACK unknown"]);
    alone.receive_text(&ack("mine"));
    assert_eq!(alone.told(), ["ACK known"]);
    alone.receive_text(&ack("mine"));
    assert!(alone.finish().is_empty());
}

/// Without an ACK, the 200 goes out 11 times on TLS too, and then the user is told.
#[test]
fn a_missing_ack_is_told() {
    let mut alone = Alone::new(Transport::Tls);
    alone.receive_text(&invite_text());
    let (key, invite) = alone.key();
    alone
        .endpoint
        .respond(key, response(&invite, 200, "mine"), alone.now);
    alone.outputs();
    let mut copies = 0;
    for _ in 0..64 {
        alone.wait(500);
        let outputs = alone.outputs();
        copies += outputs
            .iter()
            .filter(|output| matches!(output, Output::Send { .. }))
            .count();
        if outputs.iter().any(
            |output| matches!(output, Output::Event(Event::NoAck { key: told }) if *told == key),
        ) {
            assert_eq!((copies, alone.endpoint.counters().unacknowledged), (10, 1));
            assert!(alone.finish().is_empty());
            return;
        }
    }
    panic!("never told");
}

/// What cannot be read is answered 400 if it can be answered at all, and an ACK never.
#[test]
fn malformed_requests() {
    let mut alone = Alone::new(Transport::Udp);
    alone.receive_text(&OPTIONS.replace("1 OPTIONS", "x OPTIONS"));
    let (_, way, answer) = alone.one();
    assert_eq!(
        (answer.status(), to(&way)),
        (400, "192.0.2.2:5999".to_owned())
    );
    alone.receive_text(&OPTIONS.replace("Content-Length: 0", "Content-Length: 99"));
    assert_eq!(alone.one().2.status(), 400);
    for text in [
        OPTIONS.replace("Via", "X-Via"),
        OPTIONS.replace("Call-ID", "X-Call-ID"),
        OPTIONS.replace("OPTIONS", "ACK").replace("1 ACK", "x ACK"),
        "nonsense".to_owned(),
        "SIP/2.0 200 OK\n\n".to_owned(),
    ] {
        alone.receive_text(&text);
        assert!(alone.outputs().is_empty(), "{text}");
    }
    assert_eq!(
        (
            alone.endpoint.counters().malformed,
            alone.endpoint.transactions()
        ),
        (7, 0)
    );
    alone.receive_text("\n\n");
    assert_eq!(
        alone.endpoint.counters().malformed,
        7,
        "a keep-alive is no error"
    );
}

/// Beyond the limit requests get a 503, ours fail at once, and both are counted.
#[test]
fn the_table_is_bounded() {
    let mut alone = Alone::with(
        Transport::Udp,
        Config {
            max_transactions: 10,
            ..Config::default()
        },
    );
    for call in 0..12 {
        alone.receive_text(
            &OPTIONS
                .replace("z9hG4bKx", &format!("z9hG4bK{call}"))
                .replace("ID: c", &format!("ID: {call}")),
        );
        alone.endpoint.request(
            request(Method::Options, call),
            hop("peer.example", Transport::Udp),
            alone.now,
        );
    }
    let outputs = alone.outputs();
    let count =
        |wanted: fn(&Output) -> bool| outputs.iter().filter(|output| wanted(output)).count();
    assert_eq!(
        count(|output| matches!(output, Output::Event(Event::Request { .. }))),
        10
    );
    assert_eq!(count(|output| matches!(output, Output::Send { .. })), 2);
    let overloaded = |output: &Output| {
        matches!(
            output,
            Output::Event(Event::Failed {
                failure: Failure::Overloaded,
                ..
            })
        )
    };
    assert_eq!(count(overloaded), 2);
    assert_eq!(
        (
            alone.endpoint.transactions(),
            alone.endpoint.counters().table_full
        ),
        (20, 4)
    );
}

/// Responses to nothing, and such as passed several proxies back, are counted and dropped.
#[test]
fn strange_responses_are_dropped() {
    let mut alone = Alone::new(Transport::Udp);
    let (_, (_, _, invite)) = alone.invite(&[B]);
    let answer = response(&invite, 200, "b").finish(None);
    let text = String::from_utf8(answer.bytes().to_vec())
        .unwrap()
        .replace("\r\n", "\n");
    alone.receive_text(&text.replace("z9hG4bK", "z9hG4bKx"));
    alone.receive_text(&text.replace("INVITE", "BYE"));
    alone.receive_text(&text.replacen(
        "\nVia",
        "\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKq\nVia",
        1,
    ));
    assert!(alone.outputs().is_empty());
    assert_eq!(alone.endpoint.counters().unmatched_responses, 3);
}

/// A request on a flow that the peer opened stays on it, and CANCEL and ACK do too.
#[test]
fn flows_are_kept() {
    let mut alone = Alone::new(Transport::Tcp);
    let next = NextHop::Flow(Flow(42), target(Transport::Tcp, B));
    let key = alone
        .endpoint
        .request(request(Method::Invite, 1), next, alone.now);
    let (_, way, invite) = alone.one();
    assert_eq!(way, SendTo::Flow(Flow(42), address(B)));
    alone.receive(&Builder::response(&invite, 100, "").finish(None));
    alone.endpoint.cancel(key, None, alone.now);
    alone.receive(&response(&invite, 487, "b").finish(None));
    let ways: Vec<_> = alone.sent().into_iter().map(|(_, way, _)| way).collect();
    let same = || SendTo::Flow(Flow(42), address(B));
    assert_eq!(ways, [same(), same()]);
    alone.finish();
}

/// Timers count from the clock that is handed in, also when it comes late: no burst of copies.
#[test]
fn a_stalled_process_sends_no_burst() {
    let mut alone = Alone::with(
        Transport::Udp,
        Config {
            trying_timeout: Duration::from_secs(60),
            ..Config::default()
        },
    );
    alone.invite(&[B]);
    alone.wait(20_000);
    assert_eq!(alone.sent().len(), 1);
    assert_eq!(
        alone.endpoint.deadline(),
        Some(alone.now + Duration::from_secs(1))
    );
}
