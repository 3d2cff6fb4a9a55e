//! What reading and writing a SIP message costs: nanoseconds and allocations for each, as text.
//!
//! `cargo bench --bench sip`. The figures to keep: an INVITE of 1.2 kB parsed within 1 µs; parsed, typed, rewritten
//! and printed within 1.5 µs and two allocations.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use tollgate::sip::framing::StreamFramer;
use tollgate::sip::{Builder, Message, Method, Name, Uri};

fn main() {
    let invite = invite();
    println!(
        "INVITE of {} bytes with {} headers",
        invite.len(),
        parse(&invite).lines().count()
    );
    measure("parse", || parse(&invite));
    measure("parse and check", || parse(&invite).check());
    measure("parse, typed headers", || typed(&parse(&invite)));
    measure("parse, typed, rewritten, printed", || {
        rewritten(&parse(&invite))
    });
    let message = parse(&invite);
    measure("486 to it", || {
        Builder::response(&message, 486, "")
            .to_tag("8a7b6c")
            .finish(None)
    });
    let source = "192.0.2.7:40000".parse().expect("an address");
    measure("received and rport put in", || {
        message.clone().received_from(source)
    });
    let mut framer = StreamFramer::new();
    measure("cut from a stream", || {
        framer.push(&invite);
        framer.next()
    });
}

fn parse(bytes: &Bytes) -> Message {
    Message::parse(bytes.clone()).expect("sound")
}

/// What a call reads of an INVITE.
fn typed(message: &Message) -> impl Sized + use<> {
    let uri = Uri::parse(message.request_uri()).expect("sound");
    let contact = message.contact().expect("sound").expect("there");
    let caller = Uri::parse(message.from().expect("sound").uri).expect("sound");
    let number = message.cseq().expect("sound").number;
    let branch = message.via().expect("sound").branch.map_or(0, str::len);
    let timer = message.has_token(Name::Supported, "timer");
    let lengths = (
        uri.user.map(str::len),
        caller.user.map(str::len),
        message.call_id().map_or(0, str::len),
    );
    (lengths, contact.uri.len(), number, branch, timer)
}

/// The request that leaves on the other side: own Via, identity and Contact, the rest as it came.
fn rewritten(message: &Message) -> Message {
    black_box(typed(message));
    let uri = Uri::parse(message.request_uri()).expect("sound");
    let user = uri.user.unwrap_or_default();
    let mut draft = Builder::request(Method::Invite, message.request_uri());
    draft.header(Name::MaxForwards, "69");
    draft.copy(message, Name::From);
    draft.header_fmt(
        Name::To,
        format_args!("<sip:{user}@pbx.example;user=phone>"),
    );
    draft.header(Name::CallId, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
    draft.header(Name::CSeq, "1 INVITE");
    draft.header(Name::Contact, "<sip:sbc.example:5061;transport=tls>");
    draft
        .copy(message, Name::Allow)
        .copy(message, Name::Supported)
        .copy(message, Name::SessionExpires);
    draft
        .copy(message, Name::MinSe)
        .copy(message, Name::PAssertedIdentity)
        .copy(message, Name::UserAgent);
    draft.body("application/sdp", message.body());
    draft.finish(Some(
        "SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKnashds8;rport",
    ))
}

/// Runs it for some rounds and prints the best: the others were disturbed.
fn measure<T>(what: &str, mut run: impl FnMut() -> T) {
    const RUNS: u32 = 500;
    let rounds = (0..500).map(|_| {
        let start = Instant::now();
        for _ in 0..RUNS {
            black_box(run());
        }
        start.elapsed() / RUNS
    });
    let best = rounds.min().expect("there are rounds").as_nanos();
    let count = allocation_counter::measure(|| drop(black_box(run()))).count_total;
    println!("{what:<34} {best:>6} ns {count:>3} allocations");
}

fn invite() -> Bytes {
    let body = "v=0\r\no=- 3301 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
        m=audio 49170 RTP/SAVP 8 0 9 101\r\na=rtcp:49171\r\na=rtcp-mux\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd|2^31\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";
    let text = format!(
        "INVITE sip:+15550123@customer.sbc.example:5061;user=phone;transport=tls SIP/2.0\r\n\
         Via: SIP/2.0/TLS 203.0.113.5:5061;branch=z9hG4bK5f3a9c1e77;alias\r\n\
         Record-Route: <sip:edge-a.example:5061;transport=tls;lr>\r\n\
         From: \"Ann Lee\" <sip:+15550199@edge.example:5061;user=phone>;tag=c40e6a1c0b1f4c9db3\r\n\
         To: <sip:+15550123@customer.sbc.example:5061;user=phone>\r\n\
         Call-ID: 5f2c9a0e1d7b5b0c8f6a3e2d1c0b9a88\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:api-a.example:443;x-i=7c3a61e2-40c5-4c1e-9c1d;x-c=5f2c9a0e1d7b/d/8/8a83>\r\n\
         Max-Forwards: 70\r\n\
         Allow: INVITE,ACK,OPTIONS,CANCEL,BYE,NOTIFY,UPDATE\r\n\
         Supported: timer,histinfo,replaces\r\n\
         Session-Expires: 3600\r\n\
         Min-SE: 300\r\n\
         P-Asserted-Identity: <tel:+15550199>\r\n\
         User-Agent: Example Proxy v.2026.1\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Bytes::from(text)
}
