//! Emergency calls (TDR section 10): the location that comes with them, and that nothing of ours stands in their way.

use tollgate::directory::{Profile, TrunkState};
use tollgate::sip::multipart::{self, Part};
use tollgate::sip::{Builder, Message, Name};

use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::sdp::line;
use crate::sim::setup::*;

const PIDF: &str = "<?xml version=\"1.0\"?>\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\">\r\n\
    <method>LIS</method>\n  <!-- ünïcode, --boundary, kept --></presence>";

fn pidf() -> String {
    format!(
        "Content-Type: application/pidf+xml\r\nContent-ID: <loc@teams>\r\nX-Odd:  kept \r\n\r\n{PIDF}"
    )
}

/// A body of Teams: these parts under this boundary, with this line break between.
fn mixed(boundary: &str, lines: &str, parts: &[String]) -> String {
    let mut body = format!("preamble{lines}");
    for part in parts {
        body += &format!("--{boundary}{lines}{part}{lines}");
    }
    body + &format!("--{boundary}--{lines}")
}

/// Dials an emergency number from Teams with this body, and the headers of RFC 6442.
fn dial(w: &mut World, boundary: &str, body: impl FnOnce(&str) -> String) -> Side {
    let uri = format!("sip:911@{ACME_FQDN}:5061;transport=tls");
    let content_type = format!("multipart/mixed; boundary=\"{boundary}\"");
    w.dial_uri(TEAMS, &uri, ALICE, |draft| {
        let sdp = draft.finish(None).body();
        let body = body(std::str::from_utf8(&sdp).unwrap());
        draft
            .header(Name::Geolocation, "<cid:loc@teams>")
            .header(Name::GeolocationRouting, "yes")
            .body(&content_type, body);
    })
}

fn takes_locations() -> Setup {
    Setup::default().trunk_with("pbx", |t| t.profile.pidf_lo = true)
}

fn parts(message: &Message) -> Vec<Part> {
    multipart::parts(message)
        .expect("a multipart body")
        .expect("parts")
}

/// The call is answered, both talk, and it ends.
fn goes_on(mut w: World, a: Side, b: Side) {
    w.answer(b);
    assert_eq!(w.outcome(a).status(), 200);
    w.acknowledged(b);
    w.pass(std::time::Duration::from_millis(100));
    assert!(w.talk(a, b));
    w.bye(a);
    w.hung_up(b);
    let [cdr] = w.finish();
    assert!(cdr.emergency);
    assert_eq!((cdr.from.as_str(), cdr.to.as_str()), (ALICE, "911"));
}

/// TDR-1002, TDR-1003, TDR-312: to a trunk that takes locations the PIDF-LO part goes byte for byte, in its place before
/// or behind the description, which is ours; parts that nobody knows stay behind.
#[test]
fn a_location_reaches_a_trunk_that_takes_it() {
    let unknown = || "Content-Type: application/x-ms;a=b\n\nsecret".to_owned();
    let sdp = |sdp: &str| format!("Content-Type: application/SDP\r\n\r\n{sdp}");
    for (lines, location_first) in [("\r\n", true), ("\n", false)] {
        let mut w = World::with(takes_locations(), 41);
        let a = dial(&mut w, "=_b ?1", |offer| {
            let (first, last) = if location_first {
                (pidf(), sdp(offer))
            } else {
                (sdp(offer), pidf())
            };
            mixed("=_b ?1", lines, &[unknown(), first, unknown(), last])
        });
        let b = w.incoming(PBX);
        let invite = w.sides[b.0].invite.clone();
        let sent = parts(&invite);
        let (location, described) = if location_first { (0, 1) } else { (1, 0) };
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[location].raw().as_ref(), pidf().as_bytes());
        assert!(sent[described].is("application/sdp"));
        let ours = String::from_utf8(sent[described].content().to_vec()).unwrap();
        assert!(
            line(&ours, "m=audio ").unwrap().contains(" RTP/AVP "),
            "{ours}"
        );
        assert!(
            ours.contains("192.0.2.1") && !ours.contains("crypto"),
            "{ours}"
        );
        for (name, value) in [
            (Name::Geolocation, "<cid:loc@teams>"),
            (Name::GeolocationRouting, "yes"),
            (Name::MimeVersion, "1.0"),
        ] {
            assert_eq!(invite.header(name).and_then(|v| v.text()), Some(value));
        }
        // The agents read plain descriptions only.
        w.sides[b.0].remote = Some(sent[described].content());
        goes_on(w, a, b);
    }
}

/// TDR-1003: a trunk that does not say so gets a plain description and no word of the place.
#[test]
fn a_location_is_stripped_for_other_trunks() {
    assert!(!Profile::trunk().pidf_lo && !Profile::teams().pidf_lo);
    let mut w = World::new();
    let a = dial(&mut w, "b", |sdp| {
        let sdp = format!("Content-Type: application/sdp\r\n\r\n{sdp}");
        mixed("b", "\r\n", &[sdp, pidf()])
    });
    let b = w.incoming(PBX);
    let invite = &w.sides[b.0].invite;
    assert_eq!(invite.content_type(), Some("application/sdp"));
    let text = String::from_utf8_lossy(invite.bytes()).to_lowercase();
    assert!(
        !text.contains("pidf") && !text.contains("geolocation"),
        "{text}"
    );
    goes_on(w, a, b);
}

/// TDR-411, TDR-1003: never towards Teams, whatever a trunk sends with its call.
#[test]
fn teams_never_gets_a_location() {
    let mut w = World::with(takes_locations(), 42);
    let a = w.dial_with(PBX, ALICE, |draft: &mut Builder| {
        let sdp = draft.finish(None).body();
        let sdp = format!(
            "Content-Type: application/sdp\r\n\r\n{}",
            std::str::from_utf8(&sdp).unwrap()
        );
        draft.header(Name::Geolocation, "<cid:loc@teams>").body(
            "multipart/mixed;boundary=x",
            mixed("x", "\r\n", &[pidf(), sdp]),
        );
    });
    let b = w.incoming(TEAMS);
    let invite = &w.sides[b.0].invite;
    assert_eq!(invite.content_type(), Some("application/sdp"));
    assert!(invite.header(Name::Geolocation).is_none());
    w.reject(b, 486);
    assert_eq!(w.outcome(a).status(), 486);
    let [_] = w.finish();
}

/// TDR-1002: a location without a description is an INVITE without an offer; ours goes out in the 200. What has no parts
/// at all is malformed; a type that nobody knows is 415, and says what would be taken.
#[test]
fn odd_bodies_are_answered_sanely() {
    for (content_type, body, status) in [
        (
            "multipart/mixed;boundary=b",
            mixed("b", "\n", &[pidf()]),
            200,
        ),
        ("application/pidf+xml", PIDF.to_owned(), 200),
        ("multipart/mixed", mixed("b", "\n", &[pidf()]), 400),
        (
            "multipart/mixed;boundary=c",
            mixed("b", "\n", &[pidf()]),
            400,
        ),
        (
            "multipart/mixed;boundary=b",
            mixed("b", "\n", &vec![pidf(); 17]),
            400,
        ),
        ("text/plain", "help".to_owned(), 415),
    ] {
        let mut w = World::new();
        let uri = format!("sip:112@{ACME_FQDN}");
        let a = w.dial_uri(TEAMS, &uri, ALICE, |draft| {
            draft.body(content_type, body);
        });
        if status != 200 {
            let answer = w.outcome(a);
            assert_eq!(answer.status(), status, "{content_type}");
            assert!(status != 415 || answer.has_token(Name::Accept, "multipart/mixed"));
            let [_] = w.finish();
            continue;
        }
        let b = w.incoming(PBX);
        let sdp = w.describe(a, "sendrecv");
        w.sides[a.0].ack_sdp = Some(sdp);
        w.answer(b);
        assert_eq!(w.outcome(a).status(), 200);
        w.acknowledged(b);
        w.bye(a);
        w.hung_up(b);
        let [_] = w.finish();
    }
}

/// TDR-1001, TDR-1007: with every limit reached, the customer's, the trunk's and the whole process's, and from a caller
/// that screening refuses, an emergency call passes; the next ordinary one does not.
#[test]
fn nothing_stands_in_the_way_of_an_emergency_call() {
    let setup = Setup::default()
        .acme_with(|c| (c.max_channels, c.caller_screening) = (1, true))
        .trunk_with("pbx", |t| t.cac_max_sessions = Some(1))
        .config_with(|c| c.max_calls = 1);
    let mut w = World::with(setup, 43);
    let (one, other) = w.call_from_teams();
    for number in ["911", "112", "933", "+112"] {
        let uri = format!("sip:{number}@{ACME_FQDN}");
        let a = w.dial_uri(TEAMS, &uri, RIVALS, |_| {});
        let b = w.incoming(PBX);
        let invite = &w.sides[b.0].invite;
        // The callback number is the caller's own, whoever it is.
        assert!(invite.from().unwrap().uri.contains(RIVALS));
        w.answer(b);
        assert_eq!(w.outcome(a).status(), 200);
        w.bye(a);
        w.hung_up(b);
    }
    let refused = w.dial(TEAMS);
    assert!([486, 503].contains(&w.outcome(refused).status()));
    w.bye(one);
    w.hung_up(other);
    let cdrs = w.finish_all();
    assert_eq!(cdrs.iter().filter(|cdr| cdr.emergency).count(), 4);
}

/// TDR-1003: the location goes to the emergency carrier that the exchange's failure leads to, and to it alone.
#[test]
fn a_location_follows_the_call_to_the_next_trunk() {
    let setup = Setup::default().trunk_with("carrier", |t| {
        (t.state, t.profile.pidf_lo) = (TrunkState::InService, true);
    });
    let mut w = World::with(setup, 44);
    let a = dial(&mut w, "b", |sdp| {
        let sdp = format!("Content-Type: application/sdp\r\n\r\n{sdp}");
        mixed("b", "\r\n", &[sdp, pidf()])
    });
    let first = w.incoming(PBX);
    let plain = w.sides[first.0].invite.content_type().map(str::to_owned);
    assert_eq!(plain.as_deref(), Some("application/sdp"));
    w.reject(first, 503);
    let b = w.incoming(CARRIER);
    let sent = parts(&w.sides[b.0].invite);
    assert_eq!(sent[1].raw().as_ref(), pidf().as_bytes());
    w.sides[b.0].remote = Some(sent[0].content());
    goes_on(w, a, b);
}
