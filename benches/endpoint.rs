//! What the transactions of a call cost: `cargo bench --bench endpoint`.
//!
//! Two endpoints call each other without a network, at 500 calls a second of virtual time, so that the tables hold as
//! many transactions as they would in service. Together they handle each call's seven messages twice, once going out
//! and once coming in: as many as a back-to-back user agent does for one call.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tollgate::base::Random;
use tollgate::sip::{
    Builder, Config, Dialog, Endpoint, Event, Flow, Hop, Identity, Message, Method, Name, NextHop,
    Output, Realm, SentBy, Source, Transport,
};

const CALLS: u32 = 60_000;
const INTERVAL: Duration = Duration::from_millis(2);
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/SAVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA|2^31\r\na=rtcp-mux\r\na=sendrecv\r\n";

struct Side {
    endpoint: Endpoint,
    source: Source,
    next: NextHop,
}

impl Side {
    fn new(here: &str, there: &str, transport: Transport) -> Self {
        let identity = Identity {
            host: here.to_owned(),
            port: 5061,
        };
        let sent_by = SentBy {
            udp: identity.clone(),
            tcp: identity.clone(),
            tls: identity,
        };
        let address = |host: &str| SocketAddr::new(host.parse().expect("an address"), 5061);
        let hop = Hop {
            host: there.to_owned(),
            port: Some(5061),
            transport: Some(transport),
            realm: Realm::Trunk,
        };
        Self {
            endpoint: Endpoint::new(Config::default(), sent_by, Random::from_number(1)),
            source: Source {
                transport,
                flow: Flow(1),
                remote: address(there),
                local: address(here),
                certificate: None,
            },
            next: NextHop::Hop(hop),
        }
    }
}

fn main() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut sides = [
            Side::new("192.0.2.1", "192.0.2.2", transport),
            Side::new("192.0.2.2", "192.0.2.1", transport),
        ];
        let (begun, mut now, mut most) = (Instant::now(), Instant::now(), 0);
        for call in 0..CALLS {
            now += INTERVAL;
            sides[0].endpoint.expire(now);
            sides[1].endpoint.expire(now);
            let invite = invite(call);
            let next = sides[0].next.clone();
            sides[0].endpoint.request(invite.clone(), next, now);
            let sent = invite.finish(None);
            while pump(&mut sides, 0, &sent, now) | pump(&mut sides, 1, &sent, now) {}
            most = most.max(sides[0].endpoint.transactions() + sides[1].endpoint.transactions());
        }
        let each = begun.elapsed() / CALLS;
        let counters = sides[0].endpoint.counters();
        assert_eq!(
            counters.responses_received.of(2),
            2 * u64::from(CALLS),
            "every call was answered and ended"
        );
        println!(
            "{transport}: {each:?} a call of 14 messages and 8 transaction ends, up to {most} transactions open"
        );
    }
}

/// Carries and answers what one side has; says whether there was anything.
fn pump(sides: &mut [Side; 2], at: usize, sent: &Message, now: Instant) -> bool {
    let mut any = false;
    while let Some(output) = sides[at].endpoint.poll() {
        any = true;
        match output {
            Output::Send { bytes, .. } => {
                let source = sides[1 - at].source.clone();
                sides[1 - at].endpoint.receive(bytes, source, now);
            }
            Output::Event(Event::Request { key, message, .. })
                if message.method() == Method::Invite =>
            {
                for status in [180, 200] {
                    let mut draft = Builder::response(&message, status, "");
                    draft
                        .to_tag("callee")
                        .header(Name::Contact, "<sip:bob@192.0.2.2:5061;transport=tls>");
                    if status == 200 {
                        draft.body("application/sdp", SDP);
                    }
                    sides[at].endpoint.respond(key, draft, now);
                }
            }
            Output::Event(Event::Request { key, message, .. }) => {
                sides[at]
                    .endpoint
                    .respond(key, Builder::response(&message, 200, ""), now);
            }
            Output::Event(Event::Response { key, message, .. })
                if message.status() == 200 && message.method() == Method::Invite =>
            {
                let mut dialog = Dialog::uac(sent, &message).expect("a dialog");
                let next = sides[at].next.clone();
                sides[at]
                    .endpoint
                    .acknowledge(key, dialog.ack(1), next.clone(), now);
                sides[at]
                    .endpoint
                    .request(dialog.request(Method::Bye), next, now);
            }
            Output::Event(_) | Output::Resolve { .. } => {}
        }
    }
    any
}

fn invite(call: u32) -> Builder {
    let mut draft = Builder::request(
        Method::Invite,
        "sip:+4930123456@192.0.2.2:5061;user=phone;transport=tls",
    );
    draft
        .header(Name::MaxForwards, "70")
        .header(
            Name::From,
            "\"Alice Example\" <sip:+4930654321@sbc.example:5061;user=phone>;tag=1c2d3e4f5a",
        )
        .header(Name::To, "<sip:+4930123456@192.0.2.2:5061;user=phone>")
        .header_fmt(
            Name::CallId,
            format_args!("5d1c2b3a4f5e6d7c8b9a0f1e2d3c4b5a-{call}"),
        )
        .header(Name::CSeq, "1 INVITE")
        .header(Name::Contact, "<sip:sbc.example:5061;transport=tls>")
        .header(
            Name::Allow,
            "INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, REFER",
        )
        .header(Name::Supported, "replaces, timer")
        .header(Name::SessionExpires, "1800;refresher=uac")
        .header(Name::UserAgent, "Tollgate")
        .body("application/sdp", SDP);
    draft
}
