//! What an outsider sees between Tollgate and Teams: ciphertext, and checks of ICE that prove themselves.

use crate::baresip::Telephone;
use crate::emulated::{self, TEAMS_TONE};
use crate::kamailio;
use crate::lab::{Lab, PBX_NUMBER};
use crate::sbc::{Sbc, Setup};
use crate::script::{Script, TEAMS_KEY};
use crate::sipp::Scenario;
use crate::tshark::{Capture, Trace, bytes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::collections::HashSet;
use tokio::net::UdpSocket;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

/// Such that no two packets of ten seconds are alike.
const PHONE_TONE: f64 = 613.7;
/// Packets of media, two seconds of them.
const ENOUGH: usize = 100;
/// Where sipp says that Teams wants its media.
const MEDIA_PORT: u16 = 26000;

/// TDR-140, TDR-830: whatever goes between Tollgate and Teams is TLS or SRTP; no key is in the clear anywhere. Each SRTP
/// packet carries a tag that is right for the key that Teams was told, and under it what the telephone has sent.
#[tokio::test(flavor = "multi_thread")]
async fn teams_is_sent_nothing_but_ciphertext() {
    let lab = Lab::open();
    let _edge = kamailio::edge(&lab).await;
    let _exchange = kamailio::exchange(&lab).await;
    let Some(capture) = Capture::of_all(&lab).await else {
        return;
    };
    let sbc = Sbc::start_with(&lab, Setup::default()).await;
    let telephone = Telephone::start(&lab, PBX_NUMBER, PHONE_TONE).await;
    let media = UdpSocket::bind((lab.microsoft(), MEDIA_PORT))
        .await
        .expect("a port");
    let script = Script::teams().calls("").may_hear_ringing().hears_answer();
    let mut teams = Scenario::of_teams("listener", script.hears_bye(), &lab).start(&lab);
    let key = teams.tells("key").await;
    let mut packet = [0; 2048];
    for _ in 0..ENOUGH {
        media.recv(&mut packet).await.expect("a packet");
    }
    telephone.hang_up();
    teams.succeeds().await;
    sbc.is_at_rest(1).await;
    sbc.stop().await;

    let trace = capture.read().await;
    let (ours, theirs) = (lab.sbc(), lab.microsoft());
    let between = format!("ip.addr == {ours} && ip.addr == {theirs}");
    let count = |filter: &str| trace.select(filter, &["frame.number"]).len();
    assert!(
        count(&format!("{between} && tls.app_data")) >= 8,
        "the call's messages"
    );
    let other = format!("!(tcp.port == 5061) && !(udp.port == {MEDIA_PORT})");
    let words = ["SIP/2.0", "INVITE", "crypto:", "inline:", "CONTACT"];
    let words = words
        .map(|word| format!("frame contains \"{word}\""))
        .join(" || ");
    let keys = format!("frame contains \"{key}\" || frame contains \"{TEAMS_KEY}\"");
    let forbidden = format!("({between} && (({other}) || {words})) || {keys}");
    assert_eq!(
        count(&forbidden),
        0,
        "what is neither TLS nor SRTP, or tells"
    );
    // The telephone's side is in the clear, so that the words would have been found.
    assert!(count(&words) > 0);
    carries_what_was_said(&lab, &trace, &key);
}

/// The telephone's packets, under the SBC's key.
fn carries_what_was_said(lab: &Lab, trace: &Trace, key: &str) {
    let to_teams = format!(
        "ip.src == {} && ip.dst == {} && udp.dstport == {MEDIA_PORT}",
        lab.sbc(),
        lab.microsoft()
    );
    let sent = trace.payloads(&to_teams, "udp.payload");
    assert!(sent.len() >= ENOUGH, "{} packets", sent.len());
    // RFC 5761 §4: what is multiplexed is told by the payload type.
    let is_rtp = |packet: &&Vec<u8>| !(64..96).contains(&(packet[1] & 0x7f));
    let from_phone = format!("rtp && ip.dst == {} && rtp.p_type == 8", lab.sbc());
    let said: HashSet<_> = trace
        .payloads(&from_phone, "rtp.payload")
        .into_iter()
        .collect();
    assert!(said.len() > ENOUGH / 2, "{} different packets", said.len());
    let (mut context, mut heard) = (srtp(key), 0);
    for packet in sent.iter().filter(is_rtp) {
        let plain = context.decrypt_rtp(packet).expect("a tag that is right");
        assert_eq!(packet.len(), plain.len() + TAG, "a tag of 80 bits");
        assert!(said.contains(&plain[RTP_HEADER..]), "what nobody has said");
        assert!(
            !said.contains(&packet[RTP_HEADER..packet.len() - TAG]),
            "in the clear"
        );
        let mut damaged = packet.clone();
        *damaged.last_mut().expect("a tag") ^= 1;
        srtp(key)
            .decrypt_rtp(&damaged)
            .expect_err("a tag that is wrong");
        srtp(TEAMS_KEY)
            .decrypt_rtp(packet)
            .expect_err("another's key");
        heard += 1;
    }
    assert!(heard >= ENOUGH / 2, "{heard} packets of RTP");
}

/// AES_CM_128_HMAC_SHA1_80 (RFC 4568 §6.2).
const TAG: usize = 10;
const RTP_HEADER: usize = 12;

/// A receiver with the key and salt of a crypto attribute.
fn srtp(key: &str) -> Context {
    let both = STANDARD.decode(key).expect("Base64");
    let (key, salt) = both.split_at(16);
    let profile = ProtectionProfile::Aes128CmHmacSha1_80;
    Context::new(key, salt, profile, None, None).expect("a context")
}

/// TDR-840: the checks of a client with ICE, and what Tollgate answers, are STUN to tshark, with the right FINGERPRINT
/// and a MESSAGE-INTEGRITY under Tollgate's password (RFC 8445 §7.2.2). Tollgate itself checks nobody.
#[tokio::test(flavor = "multi_thread")]
async fn checks_of_a_bypass_region_prove_themselves() {
    let lab = Lab::open();
    let _exchange = kamailio::exchange(&lab).await;
    let Some(capture) = Capture::of_datagrams(&lab).await else {
        return;
    };
    let teams = emulated::teams(&lab, true).await;
    let setup = Setup {
        bypass: true,
        ..Setup::default()
    };
    let sbc = Sbc::start_with(&lab, setup).await;
    let telephone = Telephone::start(&lab, PBX_NUMBER, PHONE_TONE).await;
    let call = emulated::call(&teams).await;
    call.hears_tone(PHONE_TONE).await.expect("the telephone");
    telephone.hears(1, TEAMS_TONE).await;
    let answer = call.message("SIP/2.0 200").expect("an answer");
    let report = call.report();
    assert!(report.nominated, "{report:?}");
    call.bye().await;
    sbc.is_at_rest(1).await;
    sbc.stop().await;

    let ice = |name: &str| {
        let found = answer.lines().find_map(|line| line.strip_prefix(name));
        found
            .unwrap_or_else(|| panic!("no {name} in {answer}"))
            .trim()
    };
    let (fragment, password) = (ice("a=ice-ufrag:"), ice("a=ice-pwd:"));
    let trace = capture.read().await;
    trace.is_well_formed();
    // For tshark, the status 1 of a FINGERPRINT is "Good".
    let fields = [
        "ip.src",
        "stun.type",
        "stun.att.crc32.status",
        "stun.att.hmac",
        "udp.payload",
        "stun.att.username",
    ];
    let all = trace.select("stun", &fields);
    let (us, client) = (lab.sbc().to_string(), lab.microsoft().to_string());
    let (mut checks, mut answers) = (0, 0);
    for line in &all {
        let words: Vec<_> = line.split_whitespace().collect();
        let code = match words[..] {
            [from, "0x0001", "1", code, _, name] if from == client => {
                assert!(name.starts_with(&format!("{fragment}:")), "{line}");
                checks += 1;
                code
            }
            [from, "0x0101", "1", code, _] if from == us => {
                answers += 1;
                code
            }
            _ => panic!("neither a check of the client nor an answer: {line}"),
        };
        assert_eq!(bytes(code), integrity(&bytes(words[4]), password), "{line}");
    }
    assert!(checks >= 2 && answers == checks, "{all:#?}");
}

/// MESSAGE-INTEGRITY as it ought to be (RFC 8489 §14.5).
fn integrity(message: &[u8], password: &str) -> Vec<u8> {
    // FINGERPRINT is last with 8 bytes, before it stands the attribute with 4 + 20; the length counts up to that.
    let end = message.len() - 8 - 24;
    let length = u16::try_from(end + 24 - 20).expect("a short message");
    let mut mac = Hmac::<Sha1>::new_from_slice(password.as_bytes()).expect("any key");
    mac.update(&message[..2]);
    mac.update(&length.to_be_bytes());
    mac.update(&message[4..end]);
    mac.finalize().into_bytes().to_vec()
}
