//! Two endpoints on a link in virtual time.

use super::*;

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
