//! The registrar for desk telephones (RFC 3261 §10, RFC 5626, RFC 7616).

use std::sync::Arc;
use std::time::Duration;

use tollgate::b2bua::{Report, UnknownPeers};
use tollgate::directory::{Directory, Phone, Rows, Secret};
use tollgate::sip::{Message, Method, Name, NameAddr};

use crate::sim::World;
use crate::sim::phone::Account;
use crate::sim::setup::*;

fn world() -> World {
    World::with(Setup::default().with_phones(), 80)
}

/// URIs and seconds of the Contacts in a 200.
fn bound(answer: &Message) -> Vec<(String, u32)> {
    assert_eq!(answer.status(), 200, "{answer:?}");
    let read = |text: &[u8]| {
        let address = NameAddr::parse(text).unwrap();
        let expires = address.params.get("expires").flatten().unwrap();
        (address.uri.to_owned(), expires.parse().unwrap())
    };
    answer
        .values(Name::Contact)
        .map(|v| read(v.bytes()))
        .collect()
}

fn outcomes(w: &World) -> Vec<&'static str> {
    let outcome = |report: &Report| match report {
        Report::Register { outcome } => Some(*outcome),
        _ => None,
    };
    w.reports.iter().filter_map(outcome).collect()
}

/// The directory as it is, changed.
fn change(w: &mut World, change: impl FnOnce(&mut Vec<Phone>)) {
    let mut rows: Rows = Setup::default().with_phones().rows;
    rows.generation = w.directory.generation + 1;
    change(&mut rows.phones);
    w.directory = Arc::new(Directory::compile(rows).unwrap());
    let directory = w.directory.clone();
    w.calls.set_directory(directory, w.now);
}

/// RFC 3261 §10.3: a telephone is asked for credentials, in SHA-256 before MD5 (RFC 8760 §2.3), and bound; a refresh
/// keeps the one binding, a query tells it, an Expires of 0 ends it.
#[test]
fn a_phone_registers_and_leaves() {
    let mut w = world();
    let asked = w.ask_to_register(DESK, DESK_ACCOUNT, None, &|draft| {
        draft.header(Name::Contact, "<sip:desk@203.0.113.5:5060>");
    });
    assert_eq!(asked.status(), 401);
    let challenges: Vec<_> = asked
        .values(Name::WwwAuthenticate)
        .map(|v| v.to_string())
        .collect();
    let joined = challenges.join(",");
    let (sha, md5) = (
        joined.find("SHA-256").unwrap(),
        joined.find("=MD5").unwrap(),
    );
    assert!(sha < md5, "{joined}");

    let first = w.register(DESK, DESK_ACCOUNT);
    let contact = "sip:desk@203.0.113.5:5060".to_owned();
    assert_eq!(bound(&first), [(contact.clone(), 300)]);
    assert!(first.header(Name::Date).is_some());
    w.pass(Duration::from_secs(100));
    let query = w.register_with(DESK, DESK_ACCOUNT, |_| {});
    assert_eq!(bound(&query), [(contact.clone(), 200)]);
    assert_eq!(bound(&w.register(DESK, DESK_ACCOUNT)), [(contact, 300)]);
    assert_eq!(w.calls.phones_registered(), 1);
    let view = w.calls.phones().next().unwrap();
    assert_eq!(view.auth_user, "desk");
    assert_eq!(view.user_agent, "Telephone desk");
    let gone = w.register_with(DESK, DESK_ACCOUNT, |draft| {
        draft.header(Name::Contact, "<sip:desk@203.0.113.5:5060>;expires=0");
    });
    assert_eq!(bound(&gone), []);
    assert_eq!(w.calls.phones_registered(), 0);
    assert_eq!(
        outcomes(&w),
        [
            "challenged",
            "challenged",
            "registered",
            "challenged",
            "query",
            "challenged",
            "refreshed",
            "challenged",
            "removed"
        ]
    );
    let [] = w.finish();
}

/// A binding that is not refreshed ends by itself; whoever shows devices hears of both.
#[test]
fn a_binding_expires() {
    let mut w = world();
    w.register(DESK, DESK_ACCOUNT);
    w.pass(Duration::from_secs(299));
    assert_eq!(w.calls.phones_registered(), 1);
    w.pass(Duration::from_secs(2));
    assert_eq!(w.calls.phones_registered(), 0);
    let device = w.directory.phone("desk").unwrap().device;
    let seen: Vec<_> = w
        .reports
        .iter()
        .filter_map(|report| match report {
            Report::PhoneOnline { device } => Some((*device, true)),
            Report::PhoneOffline { device } => Some((*device, false)),
            _ => None,
        })
        .collect();
    assert_eq!(seen, [(device, true), (device, false)]);
    let [] = w.finish();
}

/// RFC 3261 §10.3: 423 for what is too short, `*` only alone and with Expires: 0, an older number changes nothing, and
/// never more than four contacts.
#[test]
fn rules_of_a_registrar() {
    let mut w = world();
    let brief = w.register_with(DESK, DESK_ACCOUNT, |draft| {
        draft.header(Name::Contact, "<sip:desk@203.0.113.5>;expires=30");
    });
    let least = brief.header(Name::MinExpires).and_then(|v| v.number());
    assert_eq!((brief.status(), least), (423, Some(60)));
    let star = w.register_with(DESK, DESK_ACCOUNT, |draft| {
        draft.header(Name::Contact, "*");
    });
    assert_eq!(star.status(), 400);
    let required = w.register_with(DESK, DESK_ACCOUNT, |draft| {
        draft.header(Name::Require, "path, outbound");
    });
    assert_eq!(required.status(), 420);
    let unsupported = required.header(Name::Unsupported).unwrap().to_string();
    assert_eq!(unsupported, "path");
    assert_eq!(w.calls.phones_registered(), 0);

    for n in 0..6 {
        w.register_with(DESK, DESK_ACCOUNT, |draft| {
            draft.header_fmt(
                Name::Contact,
                format_args!("<sip:desk{n}@203.0.113.5>;expires=300;q=0.{n}"),
            );
        });
    }
    let query = w.register_with(DESK, DESK_ACCOUNT, |_| {});
    let uris: Vec<_> = bound(&query).into_iter().map(|(uri, _)| uri).collect();
    assert_eq!(
        uris,
        [2, 3, 4, 5].map(|n| format!("sip:desk{n}@203.0.113.5"))
    );

    w.agents[DESK].registers = 2;
    let old = w.register_with(DESK, DESK_ACCOUNT, |draft| {
        draft.header(Name::Contact, "*").header(Name::Expires, "0");
    });
    assert_eq!(old.status(), 500);
    w.agents[DESK].registers = 90;
    let all = w.register_with(DESK, DESK_ACCOUNT, |draft| {
        draft.header(Name::Contact, "*").header(Name::Expires, "0");
    });
    assert_eq!((bound(&all), w.calls.phones_registered()), (vec![], 0));
    let [] = w.finish();
}

/// What is longer than the path stays open is granted in part: ten minutes at most, two behind NAT; a telephone that keeps
/// its flow open by itself is told so (RFC 5626 §6).
#[test]
fn intervals_that_are_granted() {
    let mut w = world();
    let granted = |w: &mut World, contact: &str, outbound: bool| {
        let answer = w.register_with(DESK, DESK_ACCOUNT, |draft| {
            draft
                .header(Name::Contact, contact)
                .header(Name::Expires, "3600");
            if outbound {
                draft.header(Name::Supported, "outbound, path");
            }
        });
        let contacts = bound(&answer);
        (
            contacts[contacts.len() - 1].1,
            answer.header(Name::FlowTimer).is_some(),
        )
    };
    assert_eq!(
        granted(&mut w, "<sip:desk@203.0.113.5>", false),
        (600, false)
    );
    assert_eq!(
        granted(&mut w, "<sip:desk@192.168.1.7>", false),
        (120, false)
    );
    let instance = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-001565aabbcc>\"";
    let flow = format!("<sip:desk@192.168.1.7>;reg-id=1;{instance}");
    assert_eq!(granted(&mut w, &flow, true), (600, true));
    // The same device and flow from another address takes its own place.
    let moved = format!("<sip:desk@192.168.1.8>;reg-id=1;{instance}");
    granted(&mut w, &moved, true);
    assert_eq!(w.calls.phones().count(), 1);
    let all = w.register_with(DESK, DESK_ACCOUNT, |_| {});
    let uris: Vec<_> = bound(&all).into_iter().map(|(uri, _)| uri).collect();
    assert_eq!(uris, ["sip:desk@203.0.113.5", "sip:desk@192.168.1.8"]);
    w.register_with(DESK, DESK_ACCOUNT, |draft| {
        draft.header(Name::Contact, "*").header(Name::Expires, "0");
    });
    let [] = w.finish();
}

/// D-30, D-32, D-37: wrong, stale and deactivated credentials are refused with 403 at once, nobody else's binding
/// changes, and a binding that was made with credentials that hold no longer is called no more.
#[test]
fn credentials_that_hold_no_longer() {
    let mut w = world();
    assert_eq!(w.register(DESK, DESK_ACCOUNT).status(), 200);
    let stale = Account {
        password: "of-the-phone-before",
        ..DESK_ACCOUNT
    };
    assert_eq!(w.register(HALL, stale).status(), 403);
    let foreign = Account {
        user: "desk",
        ..HALL_ACCOUNT
    };
    assert_eq!(w.register(HALL, foreign).status(), 403);
    assert_eq!(w.calls.phones_registered(), 1);
    let reaches = |w: &mut World| {
        let a = w.dial_with(CARRIER, DESK_NUMBER, |_| {});
        let reached = w.wait("an end", |w| {
            if let Some(b) = w.agents[DESK].arrivals.pop_front() {
                return Some(Some(b));
            }
            w.sides[a.0].decided.then_some(None)
        });
        match reached {
            Some(b) => {
                w.reject(b, 486);
                assert_eq!(w.outcome(a).status(), 486);
                true
            }
            None => {
                assert_eq!(w.outcome(a).status(), 480);
                false
            }
        }
    };
    assert!(reaches(&mut w));
    change(&mut w, |phones| phones[0].password = Secret::new("new"));
    assert!(!reaches(&mut w), "the telephone before does not ring");
    assert_eq!(w.register(DESK, DESK_ACCOUNT).status(), 403);
    let new = Account {
        password: "new",
        ..DESK_ACCOUNT
    };
    assert_eq!(w.register(DESK, new).status(), 200);
    assert!(reaches(&mut w));
    change(&mut w, |phones| {
        phones[0].password = Secret::new("new");
        phones[0].active = false;
    });
    assert_eq!(w.register(DESK, new).status(), 403);
    // Its number is now Teams'.
    let a = w.dial_with(CARRIER, DESK_NUMBER, |_| {});
    let b = w.incoming(TEAMS);
    w.reject(b, 404);
    assert_eq!(w.outcome(a).status(), 404);
    let records = w.finish_all();
    let offline = records
        .iter()
        .filter(|cdr| cdr.refused_by.as_deref() == Some("device_offline"));
    assert_eq!((records.len(), offline.count()), (4, 1));
}

/// D-21, D-30: a telephone that nobody has activated registers by its MAC address, and no longer once somebody has.
#[test]
fn a_phone_out_of_its_box() {
    let mut w = world();
    change(&mut w, |phones| phones[0].active = false);
    assert_eq!(w.register(DESK, UNBOXED).status(), 200);
    let view = w.calls.phones().next().unwrap();
    assert_eq!((view.auth_user.as_str(), view.device), (UNBOXED.user, None));
    let wrong = Account {
        password: "guessed",
        ..UNBOXED
    };
    assert_eq!(w.register(HALL, wrong).status(), 403);
    change(&mut w, |_| {});
    assert_eq!(w.register(DESK, UNBOXED).status(), 403);
    let [] = w.finish();
}

/// After ten wrong passwords a name, and after thirty a source, is not listened to for five minutes; the telephone that has
/// registered from elsewhere is, and so is a name that nobody guessed.
#[test]
fn whoever_guesses_is_ignored() {
    let mut w = world();
    assert_eq!(w.register(DESK, DESK_ACCOUNT).status(), 200);
    let guess = Account {
        password: "1234",
        ..DESK_ACCOUNT
    };
    for _ in 0..10 {
        assert_eq!(w.register(STRANGER, guess).status(), 403);
    }
    w.reports.clear();
    let told = w.ask_to_register(STRANGER, guess, None, &|_| {});
    assert_eq!(told.status(), 403, "without even a challenge");
    assert_eq!(outcomes(&w), ["locked"]);
    assert_eq!(
        w.register(DESK, DESK_ACCOUNT).status(),
        200,
        "it is there already"
    );
    let nobody = Account {
        user: "nobody",
        password: "1234",
    };
    for _ in 0..20 {
        w.register(STRANGER, nobody);
    }
    let hall = w.register(STRANGER, HALL_ACCOUNT);
    assert_eq!(hall.status(), 200, "twenty wrong ones were too few");
    w.register_with(STRANGER, HALL_ACCOUNT, |draft| {
        draft.header(Name::Contact, "*").header(Name::Expires, "0");
    });
    let others = [
        Account {
            user: "a",
            password: "b",
        },
        Account {
            user: "b",
            password: "b",
        },
    ];
    for account in others {
        for _ in 0..9 {
            w.register(STRANGER, account);
        }
    }
    assert_eq!(
        w.register(STRANGER, HALL_ACCOUNT).status(),
        403,
        "the source"
    );
    assert_eq!(w.register(HALL, HALL_ACCOUNT).status(), 200);
    w.pass(Duration::from_secs(301));
    assert_eq!(w.register(STRANGER, HALL_ACCOUNT).status(), 200);
    let [] = w.finish();
}

/// An INVITE of a telephone is answered only with its credentials: 407 first (RFC 3261 §22.3), 403 for wrong ones. Who
/// names no telephone stays a stranger.
#[test]
fn an_invite_must_be_proven() {
    let mut w = world();
    let stranger = w.dial_uri(STRANGER, "sip:1002@tollgate.example", "desk", |_| {});
    let asked = w.outcome(stranger);
    assert_eq!(asked.status(), 407);
    assert!(asked.header(Name::ProxyAuthenticate).is_some());
    let other = w.dial_uri(STRANGER, "sip:1002@tollgate.example", "nobody", |_| {});
    assert_eq!(w.outcome(other).status(), 403);
    let wrong = Account {
        password: "guessed",
        ..DESK_ACCOUNT
    };
    let refused = w.dial_from(STRANGER, wrong, "1002");
    assert_eq!(w.outcome(refused).status(), 403);
    let records = w.finish_all();
    let by: Vec<_> = records
        .iter()
        .map(|cdr| cdr.refused_by.as_deref())
        .collect();
    assert_eq!(by, [Some("acl"), Some("credentials")]);
}

/// Where strangers hear nothing, a telephone that there is may register, and call once it has.
#[test]
fn strangers_hear_nothing() {
    let setup = Setup::default().with_phones();
    let setup = setup.config_with(|c| c.unknown_peers = UnknownPeers::Drop);
    let mut w = World::with(setup, 81);
    let call = |w: &mut World| {
        let side = w.dial_uri(DESK, "sip:1002@tollgate.example", "desk", |_| {});
        w.pass(Duration::from_secs(3));
        let answered = w.sides[side.0].decided;
        w.sides[side.0].over = true;
        answered
    };
    assert!(!call(&mut w), "it has not registered");
    assert_eq!(w.register(DESK, DESK_ACCOUNT).status(), 200);
    assert!(call(&mut w));
    w.pass(Duration::from_secs(40));
    let before = w.reports.len();
    let text = "REGISTER sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.66:5060;branch=z9hG4bKnobody\r\n\
        From: <sip:nobody@a>;tag=1\r\nTo: <sip:nobody@a>\r\nCall-ID: nobody\r\nCSeq: 1 REGISTER\r\n\
        Content-Length: 0\r\n\r\n";
    w.inject(STRANGER, text);
    w.pass(Duration::from_secs(1));
    assert!(matches!(w.reports[before..], [Report::Dropped { .. }]));
    let [] = w.finish();
}

/// Whoever has turned telephones off has a registrar no more.
#[test]
fn a_registrar_may_be_off() {
    let setup = Setup::default().with_phones();
    let mut w = World::with(setup.config_with(|c| c.registrar.enabled = false), 82);
    let told = w.register(DESK, DESK_ACCOUNT);
    assert_eq!(told.status(), 405);
    assert!(!told.has_token(Name::Allow, Method::Register.text()));
    let [] = w.finish();
}
