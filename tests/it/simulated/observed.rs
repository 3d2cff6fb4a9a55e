//! Messages that Teams was really seen to send, or that its documents show: each is replayed where it would come in a
//! call, and answered sanely. They lie in the corpora and are read from there.

use std::path::Path;
use std::time::Duration;

use tollgate::sip::{Message, Method, Name};

use crate::corpora;
use crate::sim::World;
use crate::sim::agent::Side;
use crate::sim::setup::*;

/// A message of the corpus.
fn read(path: &Path) -> Message {
    let bytes = std::fs::read(path).expect("a corpus file");
    let message = Message::parse(bytes.into()).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    message.check().unwrap_or_else(|e| panic!("{path:?}: {e}"));
    message
}

/// The message with these headers in place of its own of the same names, everything else as it was written.
fn moved(message: &Message, uri: Option<&str>, headers: &[(Name, String)]) -> Vec<u8> {
    let bytes = message.bytes();
    let first = bytes.iter().position(|b| *b == b'\n').expect("a line") + 1;
    let mut text = match uri {
        Some(uri) => format!("{} {uri} SIP/2.0\r\n", message.method_text()).into_bytes(),
        None => bytes[..first].to_vec(),
    };
    for (name, value) in message.lines() {
        let new = headers
            .iter()
            .find(|(of, _)| of.text().eq_ignore_ascii_case(name));
        let value = new.map_or_else(|| value.to_string(), |(_, value)| value.clone());
        text.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&message.body());
    text
}

/// What each final response to an INVITE becomes for the exchange that called: RFC 3261 and TDR-213, TDR-515 to TDR-517.
fn relayed(status: u16) -> u16 {
    match status {
        403 | 404 | 410 | 480 | 486 | 488 | 603 => status,
        other => panic!("no rule for {other}"),
    }
}

/// A response of Teams to our INVITE.
fn replay_response(path: &Path, message: &Message) {
    let mut w = World::new();
    w.pass(Duration::from_secs(1));
    let a = w.dial(PBX);
    let b = w.incoming(TEAMS);
    let tag = message.to_tag().expect("a tag");
    let of = |name| {
        w.sides[b.0]
            .invite
            .header(name)
            .expect("of our INVITE")
            .to_string()
    };
    let bytes = moved(
        message,
        None,
        &[
            (Name::Via, of(Name::Via)),
            (Name::From, of(Name::From)),
            (Name::To, format!("{};tag={tag}", of(Name::To))),
            (Name::CallId, of(Name::CallId)),
            (Name::CSeq, of(Name::CSeq)),
        ],
    );
    w.inject(TEAMS, bytes);
    match message.status() {
        181 => {
            assert_eq!(w.provisional(a).status(), 181, "{path:?}");
            w.reject(b, 480);
            assert_eq!(w.outcome(a).status(), 480);
        }
        // TDR-212.
        503 => {
            let next = w.incoming(TEAMS2);
            w.reject(next, 486);
            assert_eq!(w.outcome(a).status(), 486);
        }
        status => {
            let answer = w.outcome(a);
            assert_eq!(answer.status(), relayed(status), "{path:?}");
            let reason = answer.header(Name::Reason).expect("a cause").to_string();
            assert!(
                !reason.contains('-'),
                "Microsoft's ids stay with us: {reason}"
            );
            assert_eq!(w.audit.invites.len(), 1, "TDR-213: {path:?}");
        }
    }
    // The agent has never said anything by itself where its answer was replayed.
    w.audit.forget();
    let [_] = w.finish();
}

/// A request of Teams in a call of ours, and outside of any.
fn replay_request(path: &Path, message: &Message) {
    let mut w = World::new();
    let (a, b) = w.call_to_teams();
    let dialog = w.sides[b.0].dialog.clone().expect("a dialog");
    let (id, number) = (dialog.id().clone(), dialog.local_seq() + 100);
    let invite = w.sides[b.0].invite.clone();
    let method = message.method();
    let inside = moved(
        message,
        Some(dialog.remote_target()),
        &[
            (Name::Via, via("inside")),
            (
                Name::From,
                format!(
                    "{};tag={}",
                    invite.header(Name::To).expect("To"),
                    id.local_tag
                ),
            ),
            (
                Name::To,
                invite.header(Name::From).expect("From").to_string(),
            ),
            (Name::CallId, id.call_id.clone()),
            (Name::CSeq, format!("{number} {method}")),
        ],
    );
    w.inject(TEAMS, inside);
    w.pass(Duration::from_secs(1));
    match method {
        Method::Bye => {
            assert!(answered(&w, "200 OK"), "{path:?}");
            w.hung_up(a);
        }
        // TDR-701: the transfer is taken, and goes to where Teams wants it, byte for byte.
        Method::Refer => {
            assert!(answered(&w, "202 Accepted"), "{path:?}");
            let asked = message.header(Name::ReferTo).expect("Refer-To").to_string();
            let target = w.incoming(TEAMS);
            assert_eq!(
                format!("<{}>", w.sides[target.0].invite.request_uri()),
                asked
            );
            w.reject(target, 480);
            w.pass(Duration::from_secs(1));
            end(&mut w, a);
        }
        _ => end(&mut w, a),
    }
    w.audit.forget();
    w.finish_all();

    let mut w = World::new();
    let outside = moved(message, None, &[(Name::Via, via("outside"))]);
    w.inject(TEAMS, outside);
    w.pass(Duration::from_secs(1));
    let wanted = match method {
        // The names are those of other peers: neither is a customer of ours.
        Method::Invite => "403 Forbidden",
        Method::Options => "200 OK",
        _ => "481 ",
    };
    assert!(answered(&w, wanted), "{path:?}: no {wanted}");
    w.audit.forget();
    w.finish_all();
}

fn via(branch: &str) -> String {
    format!("SIP/2.0/TLS 52.114.1.1:5061;branch=z9hG4bK{branch}")
}

fn answered(w: &World, status: &str) -> bool {
    w.ladder_has(&format!("teams     ← SIP/2.0 {status}"))
}

fn end(w: &mut World, side: Side) {
    if !w.sides[side.0].over {
        w.bye(side);
    }
}

/// TDR-206, TDR-1520: header names in capitals, numbers without quotes in From, opaque Contacts, references of 400
/// characters and more: everything that was seen is understood.
#[test]
fn what_teams_was_seen_to_send_is_answered_sanely() {
    for path in corpora::files("teams", ".sip") {
        let message = read(&path);
        if message.is_request() {
            replay_request(&path, &message);
        } else if message.method() == Method::Invite {
            replay_response(&path, &message);
        } else {
            // The answer to an OPTIONS of somebody else finds no transaction here.
            let mut w = World::new();
            w.inject(TEAMS, message.bytes().clone());
            w.pass(Duration::from_secs(1));
            assert_eq!(w.calls.endpoint().counters().unmatched_responses, 1);
            w.audit.forget();
            let [] = w.finish();
        }
    }
}
