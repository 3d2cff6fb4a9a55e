use std::io;

use super::*;
use crate::emulate::agent::{Agent, Later, Role};
use crate::emulate::call;
use crate::emulate::digest::Credentials;
use crate::emulate::message::{Draft, Message};
use crate::emulate::negotiation::Manner;
use crate::emulate::tls::{Authority, KeyKind, Usage};
use crate::emulate::wire::{Inbound, Wire};
use crate::emulate::{By, Hold};

const FQDN: &str = "contoso.sbc.example";

/// A peer that does what Teams demands of an SBC, or breaks one rule.
struct Peer {
    dialler: Dialler,
    port: u16,
    contact: &'static str,
}

impl Role for Peer {
    fn manner(&self) -> Manner {
        Manner::SecurePbx
    }
    fn judge(&self, _: &Agent, _: &Inbound) -> Result<(), Draft> {
        Ok(())
    }
    fn judge_inside(&self, _: &Agent, _: &Inbound, _: &str) -> Result<(), Draft> {
        Ok(())
    }
    fn judge_answer(&self, _: &Agent, _: &Message, _: &str) {}
    fn other(&self, _: &Agent, inbound: &Inbound) -> Draft {
        let mut draft = Draft::response(&inbound.message, 200, "OK", "peer");
        draft
            .push("Contact", self.contact(""))
            .push("Allow", "OPTIONS");
        draft
    }
    fn connect<'a>(&'a self, uri: &'a str) -> Later<'a, io::Result<Wire>> {
        Box::pin(self.dialler.connect(uri))
    }
    fn sent_by(&self, _: &Wire) -> String {
        FQDN.to_owned()
    }
    fn contact(&self, _: &str) -> String {
        format!("sip:{}:{};transport=tls", self.contact, self.port)
    }
    fn dress(&self, _: &mut Draft, _: bool) {}
    fn credentials(&self) -> Option<&Credentials> {
        None
    }
}

struct Lab {
    teams: Teams,
    peer: Arc<Agent>,
    calls: mpsc::Receiver<EmuCall>,
    _doors: Vec<connections::Door>,
    _open: watch::Sender<()>,
}

async fn lab(contact: &'static str) -> Lab {
    let (microsoft, public) = (
        Authority::new("Microsoft").unwrap(),
        Authority::new("Public").unwrap(),
    );
    let ours = microsoft
        .issue(&[HOST, "*.pstnhub.microsoft.com"], Usage::Both, KeyKind::Ec)
        .unwrap();
    let theirs = public
        .issue(&["sbc.example", "*.sbc.example"], Usage::Both, KeyKind::Ec)
        .unwrap();

    let (open, closed) = watch::channel(());
    let (sink, inbound) = mpsc::channel(MAX_INBOUND);
    let idle = Duration::from_secs(60);
    let doors = Doors {
        server: tls::server(&theirs, &microsoft.pem()).unwrap(),
        idle,
        sink: sink.clone(),
        closed: closed.clone(),
    };
    let anywhere = ["127.0.0.1:0".parse().unwrap()].into_iter();
    let doors = doors.open(anywhere).await.unwrap();
    let address = doors[0].address;
    let mut config = TeamsConfig::new(address, ours.clone(), ours, public.pem());
    config.options_interval = Duration::from_millis(50);
    config.gateways = vec![Gateway {
        fqdn: FQDN.into(),
        numbers: vec!["+14255550100".into(), "+14255550199".into()],
    }];
    let teams = Teams::start(config).await.unwrap();

    let client = tls::client(&theirs, &microsoft.pem()).unwrap();
    let dialler = Dialler::new(client, teams.address, idle, sink, closed.clone());
    let role = Arc::new(Peer {
        dialler,
        port: address.port(),
        contact,
    });
    let behaviour = Behaviour::Answer(Duration::from_millis(50));
    let parts = Parts {
        role,
        media: [127, 0, 0, 1].into(),
        patience: Duration::from_secs(10),
        tone: 600.0,
        law: None,
        behaviour,
        closed: closed.clone(),
    };
    let (peer, calls) = Agent::start(parts, inbound);
    Lab {
        teams,
        peer,
        calls,
        _doors: doors,
        _open: open,
    }
}

fn to_teams(lab: &Lab, number: &str) -> Dial {
    Dial {
        uri: format!(
            "sip:{number}@{HOST}:{};user=phone;transport=tls",
            lab.teams.address.port()
        ),
        from: format!("<sip:+442075550123@{FQDN}>"),
        to: format!("<sip:{number}@{HOST}>"),
        user: "+442075550123".into(),
        without_offer: false,
        headers: Vec::new(),
        quirks: Quirks::default(),
    }
}

/// Teams calls: SRTP with its worst offer, sound both ways, a hold and a resume, and a BYE; no rule was broken.
#[tokio::test]
async fn teams_calls_and_is_heard() {
    let mut lab = lab(FQDN).await;
    let call = TeamsCall {
        to: "+442075550123".into(),
        from: "+14255550100".into(),
        gateway: FQDN.into(),
        headers: Vec::new(),
    };
    let ours = lab.teams.call(call).await.unwrap();
    let theirs = lab.calls.recv().await.unwrap();
    ours.answered().await.unwrap();
    ours.hears_tone(600.0).await.unwrap();
    theirs.hears_tone(440.0).await.unwrap();
    assert!(theirs.invite().contains("\r\nCALL-ID: "));
    ours.hold(Hold::Inactive).await.unwrap();
    let from = Instant::now();
    ours.resume().await.unwrap();
    theirs.hears_tone(440.0).await.unwrap();
    ours.refresh().await.unwrap();
    assert_eq!(
        (
            theirs.counts().reinvites,
            theirs.heard().since(from).silence()
        ),
        (3, 0.0)
    );
    ours.bye().await;
    assert_eq!(theirs.ended().await.unwrap().by, By::Peer);
    assert_eq!((ours.report().refused, theirs.report().refused), (0, 0));
    assert_eq!(lab.teams.notes(), Vec::<String>::new());
}

/// Teams is called: forks with four tags, sound both ways, its own BYE on another connection.
#[tokio::test]
async fn teams_is_called_and_forks() {
    let lab = lab(FQDN).await;
    let theirs = call::dial(lab.peer.clone(), to_teams(&lab, "+14255550100"))
        .await
        .unwrap();
    let ours = lab.teams.incoming().await.unwrap();
    theirs.answered().await.unwrap();
    assert_eq!(theirs.counts().tags, 3);
    theirs.hears_tone(440.0).await.unwrap();
    ours.hears_tone(600.0).await.unwrap();
    theirs.bye().await;
    assert_eq!(ours.ended().await.unwrap().by, By::Peer);
    assert_eq!(lab.teams.notes(), Vec::<String>::new());
}

async fn refusal(lab: &Lab, dial: Dial) -> u16 {
    match call::dial(lab.peer.clone(), dial)
        .await
        .unwrap()
        .answered()
        .await
    {
        Err(CallError::Ended(ended)) => ended.status,
        other => panic!("{other:?}"),
    }
}

/// Each rule of the appendix has its status.
#[tokio::test]
async fn teams_refuses_by_the_book() {
    let lab = lab(FQDN).await;
    let good = to_teams(&lab, "+14255550100");
    assert_eq!(refusal(&lab, to_teams(&lab, "+999")).await, 404);
    assert_eq!(
        refusal(
            &lab,
            Dial {
                without_offer: true,
                ..good.clone()
            }
        )
        .await,
        415
    );
    assert_eq!(
        refusal(
            &lab,
            Dial {
                headers: vec![("Require".into(), "100rel".into())],
                ..good.clone()
            }
        )
        .await,
        420
    );
    assert_eq!(
        refusal(
            &lab,
            Dial {
                headers: vec![("Replaces".into(), "a;to-tag=b;from-tag=c".into())],
                ..good
            }
        )
        .await,
        403
    );
    for (contact, status) in [
        ("127.0.0.1", 403),
        ("other.sbc.example", 403),
        ("contoso.example", 403),
    ] {
        let lab = self::lab(contact).await;
        assert_eq!(
            refusal(&lab, to_teams(&lab, "+14255550100")).await,
            status,
            "{contact}"
        );
    }
}

/// Before an OPTIONS comes Teams sends none; afterwards it sends its own, on its own connections.
#[tokio::test]
async fn options_begin_after_the_first() {
    let lab = lab(FQDN).await;
    assert_eq!(lab.teams.health(FQDN), None);
    let uri = format!("sip:{HOST}:{}", lab.teams.address.port());
    let wire = lab.peer.role.connect(&uri).await.unwrap();
    let mut draft = Draft::request("OPTIONS", &uri);
    draft
        .push("From", format!("<sip:{FQDN}>;tag=1"))
        .push("To", format!("<{uri}>"))
        .push("Call-ID", "o")
        .push("CSeq", "1 OPTIONS");
    draft.push("Contact", format!("<{}>", lab.peer.role.contact("")));
    lab.peer.send(
        &wire,
        draft.print(Some("SIP/2.0/TLS x;branch=z9hG4bK1"), false),
    );
    for _ in 0..500 {
        if lab.teams.health(FQDN).is_some_and(|h| h.answered > 1) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", lab.teams.health(FQDN));
}
