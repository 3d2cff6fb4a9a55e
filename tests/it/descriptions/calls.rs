//! Whole exchanges of descriptions between Teams, us and a PBX, as golden files: one file a call, in the order of the
//! call, ours in full and of the peers' that they came: what they say stands below. `TOLLGATE_BLESS=1` writes the files anew; the difference is then to be
//! read, not only accepted.

use std::path::Path;
use tollgate::base::Random;
use tollgate::media::{Anchor, Dtmf, Fate, MediaPolicy, SrtpPolicy};
use tollgate::sdp::{Codec, Direction, Suite};

/// Two legs, and what was said on them.
struct Call {
    teams: Anchor,
    pbx: Anchor,
    said: String,
}

impl Call {
    fn new() -> Self {
        let mut random = Random::from_number(2026);
        let policy = |srtp, codecs: &[&str]| MediaPolicy {
            srtp,
            suites: vec![Suite::AesCm128HmacSha1_80],
            rtcp_mux: srtp == SrtpPolicy::Required,
            codecs: codecs.iter().map(|&name| name.to_owned()).collect(),
            latch: false,
            ice: false,
            dtmf: Dtmf::Events,
            lifetime: true,
        };
        let (public, inside) = ([203, 0, 113, 10].into(), [10, 0, 0, 10].into());
        let teams = policy(SrtpPolicy::Required, &["PCMA", "PCMU", "G722"]);
        let pbx = policy(SrtpPolicy::Never, &["PCMA", "PCMU"]);
        Self {
            teams: Anchor::new(public, 30000, teams, &mut random),
            pbx: Anchor::new(inside, 30002, pbx, &mut random),
            said: String::new(),
        }
    }

    /// Notes a description of ours, whose lines all end in CR LF.
    fn say(&mut self, who: &str, body: &[u8]) {
        let text = std::str::from_utf8(body).expect("ours are text");
        assert!(
            text.split_inclusive('\n')
                .all(|line| line.ends_with("\r\n"))
        );
        let text = text.replace("\r\n", "\n");
        self.said.push_str(&format!("# {who}\n{text}\n"));
    }

    /// Notes that a peer's description came.
    fn hear(&mut self, who: &str) {
        self.said.push_str(&format!("# {who}\n\n"));
    }

    /// Teams offers, we pass it on, the PBX answers, we pass that on.
    fn teams_calls(&mut self, direction: Direction, offer: &str, answer: &str) {
        let (offer, answer) = (wire(offer), wire(answer));
        self.hear("Teams offers");
        let offered = self.teams.accept_offer(&offer).expect("an offer of Teams");
        let ours = self
            .pbx
            .offer(&offered.codecs, direction, offered.ptime)
            .expect("codecs for the PBX");
        self.say("we offer to the PBX", &ours);
        self.hear("the PBX answers");
        let answered = self.pbx.accept_answer(&answer).expect("the PBX's answer");
        let ours = self
            .teams
            .answer(&answered.codecs, answered.effective_direction())
            .expect("codecs for Teams");
        self.say("we answer Teams", &ours);
    }

    fn pbx_calls(&mut self, offer: &str, answer: &str) {
        let (offer, answer) = (wire(offer), wire(answer));
        self.hear("the PBX offers");
        let offered = self.pbx.accept_offer(&offer).expect("an offer of the PBX");
        let ours = self
            .teams
            .offer(
                &offered.codecs,
                offered.effective_direction(),
                offered.ptime,
            )
            .expect("codecs for Teams");
        self.say("we offer to Teams", &ours);
        self.hear("Teams answers");
        let answered = self
            .teams
            .accept_answer(&answer)
            .expect("an answer of Teams");
        let ours = self
            .pbx
            .answer(&answered.codecs, answered.effective_direction())
            .expect("codecs for the PBX");
        self.say("we answer the PBX", &ours);
    }

    fn compare(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/it/golden/sdp")
            .join(name);
        if std::env::var_os("TOLLGATE_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().expect("golden files have a folder"))
                .expect("the folder can be made");
            std::fs::write(&path, &self.said).expect("the golden file can be written");
        }
        let golden =
            std::fs::read_to_string(&path).expect("the golden file is part of the project");
        assert_eq!(self.said, golden, "{name} differs");
    }
}

/// Lines as they travel.
fn wire(text: &str) -> Vec<u8> {
    text.trim_start()
        .lines()
        .flat_map(|line| [line.trim_start(), "\r\n"])
        .collect::<String>()
        .into_bytes()
}

/// TDR-810, 811, 819, 831: codecs that we do not carry, ICE on a trunk without bypass, the weaker suite first, video.
const TEAMS_OFFERS: &str = "
    v=0
    o=- 5502 0 IN IP4 127.0.0.1
    s=session
    c=IN IP4 192.0.2.21
    b=CT:10000000
    t=0 0
    m=audio 50320 RTP/SAVP 104 9 111 18 0 8 97 13 118 101
    c=IN IP4 192.0.2.21
    a=rtcp:50320
    a=rtcp-mux
    a=ice-ufrag:Ab12
    a=ice-pwd:0123456789abcdefABCDEF01
    a=candidate:1 1 UDP 2130706431 192.0.2.21 50320 typ host
    a=crypto:0 AES_CM_128_HMAC_SHA1_32 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd|2^31
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:HR4fICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6|2^31
    a=rtpmap:104 SILK/16000
    a=rtpmap:9 G722/8000
    a=rtpmap:111 SIREN/16000
    a=fmtp:111 bitrate=16000
    a=rtpmap:18 G729/8000
    a=fmtp:18 annexb=no
    a=rtpmap:0 PCMU/8000
    a=rtpmap:8 PCMA/8000
    a=rtpmap:97 RED/8000
    a=rtpmap:13 CN/8000
    a=rtpmap:118 CN/16000
    a=rtpmap:101 telephone-event/8000
    a=fmtp:101 0-16
    a=ptime:20
    a=maxptime:200
    m=video 50322 RTP/SAVP 122
    a=rtpmap:122 X-H264UC/90000
    a=sendrecv
";

const TEAMS_ANSWERS: &str = "
    v=0
    o=- 4401 0 IN IP4 127.0.0.1
    s=session
    c=IN IP4 192.0.2.20
    b=CT:10000000
    t=0 0
    m=audio 50124 RTP/SAVP 8 13 101
    c=IN IP4 192.0.2.20
    a=rtcp:50124
    a=rtcp-mux
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:HR4fICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6|2^31
    a=rtpmap:8 PCMA/8000
    a=rtpmap:13 CN/8000
    a=rtpmap:101 telephone-event/8000
    a=fmtp:101 0-16
    a=ptime:20
    a=sendrecv
";

/// A PBX that numbers telephone events by itself and knows no comfort noise.
const PBX_ANSWERS: &str = "
    v=0
    o=pbx 17 17 IN IP4 198.51.100.5
    s=call
    c=IN IP4 198.51.100.5
    t=0 0
    m=audio 12000 RTP/AVP 8 96
    a=rtpmap:8 PCMA/8000
    a=rtpmap:96 telephone-event/8000
    a=fmtp:96 0-15
    a=sendrecv
";

const PBX_OFFERS: &str = "
    v=0
    o=pbx 18 18 IN IP4 198.51.100.5
    s=call
    c=IN IP4 198.51.100.5
    t=0 0
    m=audio 12002 RTP/AVP 111 0 8 13 96
    a=rtpmap:111 opus/48000/2
    a=rtpmap:0 PCMU/8000
    a=rtpmap:8 PCMA/8000
    a=rtpmap:13 CN/8000
    a=rtpmap:96 telephone-event/8000
    a=fmtp:96 0-15
    a=sendrecv
";

/// Teams calls, holds with `inactive`, resumes, and refreshes: keys, ports and codecs stay, versions count changes only.
#[test]
fn teams_calls_holds_resumes_and_refreshes() {
    let mut call = Call::new();
    let directed = |text: &str, direction: &str| text.replace("a=sendrecv", direction);
    // The video line's direction is no matter; the audio's is said at its end.
    let offer = |direction: &str| TEAMS_OFFERS.replace("a=maxptime:200", direction);
    call.teams_calls(Direction::SendRecv, &offer("a=sendrecv"), PBX_ANSWERS);
    call.teams_calls(
        Direction::Inactive,
        &offer("a=inactive"),
        &directed(PBX_ANSWERS, "a=inactive"),
    );
    call.teams_calls(Direction::SendRecv, &offer("a=sendrecv"), PBX_ANSWERS);
    call.teams_calls(Direction::SendRecv, &offer("a=sendrecv"), PBX_ANSWERS);
    assert_eq!(call.teams.passage(&call.pbx).of(101), Fate::As(101));
    assert_eq!(call.pbx.passage(&call.teams).of(101), Fate::As(96));
    call.compare("teams-calls.txt");
}

/// The PBX calls; the PBX holds by `sendonly` and Teams hears of `inactive` only (TDR-601); we resume.
#[test]
fn the_pbx_calls_holds_and_resumes() {
    let mut call = Call::new();
    call.pbx_calls(PBX_OFFERS, TEAMS_ANSWERS);
    let hold = wire(&PBX_OFFERS.replace("a=sendrecv", "a=sendonly"));
    call.hear("the PBX holds");
    let held = call.pbx.accept_offer(&hold).expect("a hold");
    assert!(held.holds());
    let ours = call
        .teams
        .offer_again(Direction::Inactive)
        .expect("an agreed call");
    call.say("we hold Teams", &ours);
    let answer = wire(&TEAMS_ANSWERS.replace("a=sendrecv", "a=inactive"));
    call.hear("Teams answers");
    let answered = call
        .teams
        .accept_answer(&answer)
        .expect("an answer to a hold");
    let ours = call
        .pbx
        .answer(&answered.codecs, Direction::Inactive)
        .expect("codecs for the PBX");
    call.say("we answer the PBX", &ours);
    call.pbx_calls(PBX_OFFERS, TEAMS_ANSWERS);
    call.compare("pbx-calls.txt");
}

/// The PBX calls without an offer: Teams gets ours (TDR-411), and the PBX gets one in the 2xx and answers in its ACK.
#[test]
fn the_pbx_calls_without_an_offer() {
    let mut call = Call::new();
    let ours = call
        .teams
        .offer(&Codec::basic(), Direction::SendRecv, None)
        .expect("codecs for Teams");
    call.say("we offer to Teams", &ours);
    let answer = wire(TEAMS_ANSWERS);
    call.hear("Teams answers");
    let answered = call
        .teams
        .accept_answer(&answer)
        .expect("an answer of Teams");
    let ours = call
        .pbx
        .offer(&answered.codecs, Direction::SendRecv, answered.ptime)
        .expect("codecs for the PBX");
    call.say("we offer to the PBX", &ours);
    let answer = wire(PBX_ANSWERS);
    call.hear("the PBX answers");
    call.pbx.accept_answer(&answer).expect("the PBX's answer");
    assert_eq!(call.pbx.passage(&call.teams).of(101), Fate::As(96));
    call.compare("late-offer.txt");
}
