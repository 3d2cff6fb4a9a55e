//! baresip as a desk telephone that nobody has activated: it registers by each transport, calls its activation and hears
//! what it is told, word for word, and becomes its user's. linphone is another user's.

use crate::baresip::Telephone;
use crate::emulated::{self, TEAMS_TONE};
use crate::lab::{BASE, Lab, TEAMS_NUMBER};
use crate::linphone::{Line, Linphone};
use crate::process::PATIENCE;
use crate::sbc::{PHONE_FILES, Sbc, Setup, UNBOXED};
use crate::sound;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tollgate::audio::{Announcement, Law, g711};
use tollgate::emulate::By;

const NAME: &str = "act-001565aabbcc";
const MAC: &str = "001565aabbcc";
const OTHER_MAC: &str = "001565aabbdd";
const MODEL: &str = "generic-sip";
/// Where the passwords of telephones are good.
const REALM: &str = "tollgate";
const TONE: f64 = 520.0;
const HALL_TONE: f64 = 700.0;
/// Samples of which the loudness is compared, 50 ms.
const WINDOW: usize = 400;

fn loudness(samples: &[i16]) -> Vec<f64> {
    let window = |part: &[i16; WINDOW]| {
        let power: f64 = part.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
        (power / WINDOW as f64).sqrt()
    };
    samples.as_chunks::<WINDOW>().0.iter().map(window).collect()
}

/// Pearson's correlation.
fn likeness(one: &[f64], other: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (a, b) = (mean(one), mean(other));
    let pairs = || one.iter().zip(other).map(|(x, y)| (x - a, y - b));
    let together: f64 = pairs().map(|(x, y)| x * y).sum();
    let apart: f64 =
        pairs().map(|(x, _)| x * x).sum::<f64>() * pairs().map(|(_, y)| y * y).sum::<f64>();
    together / apart.sqrt()
}

/// How much like these words what was heard is, wherever they begin in it.
fn resembles(heard: &[i16], words: Announcement) -> f64 {
    let clip = words.built_in();
    let octets = (0..clip.frames()).flat_map(|n| clip.frame(Law::Mu, n).to_vec());
    let said: Vec<i16> = octets
        .map(|octet| g711::MULAW[usize::from(octet)])
        .collect();
    let said = loudness(&said);
    let starts = (0..WINDOW).step_by(80);
    let best = starts.flat_map(|skip| {
        let heard = loudness(heard.get(skip..).unwrap_or_default());
        let likenesses: Vec<f64> = heard
            .windows(said.len())
            .map(|part| likeness(part, &said))
            .collect();
        likenesses
    });
    best.fold(0.0, f64::max)
}

async fn hears(telephone: &Telephone, words: Announcement) {
    let from = Instant::now();
    loop {
        let heard = telephone.heard().pop().map(|file| sound::samples(&file));
        let likeness = resembles(&heard.unwrap_or_default(), words);
        if likeness > 0.9 {
            return;
        }
        assert!(from.elapsed() < PATIENCE, "{words:?}: {likeness}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// D-21: by UDP, TCP and TLS it registers with credentials, calls its activation and is asked for its code in words; who hangs
/// up then is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_telephone_out_of_its_box() {
    for (transport, port) in [("udp", 5060), ("tcp", 5060), ("tls", 5061)] {
        let lab = Lab::open();
        let setup = Setup {
            desk: true,
            ..Setup::default()
        };
        let sbc = Sbc::start_with(&lab, setup).await;
        let at = format!("{}:{port}", lab.sbc());
        let account = format!(
            "<sip:{NAME}@{at};transport={transport}>;auth_user={NAME};auth_pass={UNBOXED};\
             regint=120;audio_codecs=pcmu;outbound=\"sip:{at};transport={transport}\"\n"
        );
        let telephone = Telephone::start_as(&lab, &account, TONE).await;
        sbc.reaches("tollgate_phones_registered", 1.0).await;
        telephone.dial(&format!("sip:activate@{at};transport={transport}"));
        hears(&telephone, Announcement::ActivationEnter).await;
        telephone.hang_up();
        sbc.reaches("tollgate_phone_activations_total", 1.0).await;
        sbc.stop().await;
    }
}

/// Two users of the customer, who have what a telephone needs: a number and an extension, from 1001 on.
async fn office(sbc: &Sbc) -> Vec<String> {
    let customer = &sbc.customer;
    let consent = json!({ "state": "granted" });
    let own = sbc.customers_api().await;
    own.put(&format!("{customer}/co-management"), consent).await;
    let numbers = ["+14255550150", "+14255550151"];
    let body = json!({ "numbers": numbers });
    sbc.api.post(&format!("{customer}/numbers"), body).await;
    sbc.api.sync(customer).await;
    let models = format!("{customer}/device-models");
    sbc.api.post(&models, json!({ "model": MODEL })).await;
    let mut users = Vec::new();
    for (n, number) in numbers.iter().enumerate() {
        let user = json!({ "upn": format!("u{n}@contoso.example"), "display_name": format!("User {n}"),
            "extension": (1001 + n).to_string(), "default_did": number, "license_assigned": true });
        let user = sbc.api.post(&format!("{customer}/users"), user).await;
        users.push(user["id"].as_str().expect("an id").to_owned());
    }
    users
}

/// A user's telephone, by its address or by a code: what the API says of it, and its path.
async fn assign(sbc: &Sbc, user: &str, mac: Option<&str>) -> (Value, String) {
    let devices = format!("{}/devices", sbc.customer);
    let method = if mac.is_some() { "mac" } else { "code" };
    let body = json!({ "user_id": user, "model": MODEL, "method": method, "mac": mac });
    let device = sbc.api.post(&devices, body).await;
    let path = format!("{devices}/{}", device["id"].as_str().expect("an id"));
    (device, path)
}

async fn is_online(sbc: &Sbc, path: &str) {
    let from = Instant::now();
    loop {
        let device = sbc.api.get(path).await;
        if device["state"] == "online" {
            return;
        }
        assert!(from.elapsed() < PATIENCE, "{device}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What is found where telephones look for their accounts: status and text.
async fn accounts(lab: &Lab, mac: &str) -> (u16, String) {
    let root = reqwest::Certificate::from_pem(lab.sbc_roots.as_bytes()).expect("a root");
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .resolve(BASE, (lab.sbc(), 0).into());
    let url = format!("https://{BASE}:{PHONE_FILES}/prov/{mac}.accounts");
    let client = client.build().expect("a client");
    let answer = client.get(url).send().await.expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.text().await.expect("a text"))
}

/// A parameter of an account.
fn parameter<'a>(account: &'a str, name: &str) -> &'a str {
    let mut parameters = account.trim_end().split(';');
    let found = parameters.find_map(|one| one.strip_prefix(name)?.strip_prefix('='));
    found.expect("a parameter").trim_matches('"')
}

/// D-13, D-21, D-22, D-30, D-33: baresip is set up by the file of nobody's telephone, calls its activation and sends the code
/// of a user. It is thanked in words and told to look again; started with the file that is there now it is the user's, is
/// online, and calls Teams. That file is given once.
#[tokio::test(flavor = "multi_thread")]
async fn from_its_box_to_its_first_call() {
    let lab = Lab::open();
    let teams = emulated::teams(&lab, false).await;
    let setup = Setup {
        desk: true,
        ..Setup::default()
    };
    let sbc = Sbc::start_with(&lab, setup).await;
    let users = office(&sbc).await;
    let (device, path) = assign(&sbc, &users[0], None).await;
    let code = device["activation_code"]["code"].as_str().expect("a code");
    let at = |whom: &str| format!("sip:{whom}@{}:5061;transport=tls", lab.sbc());

    let (status, account) = accounts(&lab, MAC).await;
    assert_eq!((status, parameter(&account, "auth_user")), (200, NAME));
    let mut unboxed = Telephone::start_in(&lab, "box", &account, TONE).await;
    unboxed.dial(&at("activate"));
    hears(&unboxed, Announcement::ActivationEnter).await;
    unboxed.press(code);
    hears(&unboxed, Announcement::ActivationThankYou).await;
    unboxed.has_seen("Event: check-sync").await;
    drop(unboxed);

    let (status, account) = accounts(&lab, MAC).await;
    assert_eq!(status, 200);
    assert_eq!(parameter(&account, "auth_user"), device["sip_username"]);
    assert_eq!(accounts(&lab, MAC).await.0, 401, "once");
    let desk = Telephone::start_in(&lab, "desk", &account, TONE).await;
    is_online(&sbc, &path).await;
    desk.dial(&at(TEAMS_NUMBER));
    let call = teams.incoming().await.expect("a call to Teams");
    call.answered().await.expect("an answer");
    call.hears_tone(TONE).await.expect("the telephone");
    desk.hears_now(TEAMS_TONE).await;
    desk.hang_up();
    assert_eq!(call.ended().await.expect("an end").by, By::Peer);
    let records = sbc.is_at_rest(1).await;
    assert_eq!(records[0]["from"], "+14255550150");
    assert_eq!(teams.notes(), Vec::<String>::new());
    sbc.stop().await;
}

/// Telephones of two makes, each with the credentials of its own file, call each other by extension: linphone by UDP in the
/// clear, baresip by TLS.
#[tokio::test(flavor = "multi_thread")]
async fn telephones_call_each_other_by_extension() {
    let lab = Lab::open();
    let setup = Setup {
        desk: true,
        ..Setup::default()
    };
    let sbc = Sbc::start_with(&lab, setup).await;
    let users = office(&sbc).await;
    let (_, desk_path) = assign(&sbc, &users[0], Some(MAC)).await;
    let (_, hall_path) = assign(&sbc, &users[1], Some(OTHER_MAC)).await;
    let (_, account) = accounts(&lab, MAC).await;
    let mut desk = Telephone::start_as(&lab, &account, TONE).await;
    let (_, account) = accounts(&lab, OTHER_MAC).await;
    let line = Line {
        registrar: lab.sbc(),
        realm: REALM,
        user: parameter(&account, "auth_user"),
        password: parameter(&account, "auth_pass"),
    };
    let mut hall = Linphone::start_as(&lab, 0, line, HALL_TONE).await;
    is_online(&sbc, &desk_path).await;
    is_online(&sbc, &hall_path).await;

    tokio::join!(hall.dial("1001"), desk.accepts());
    hall.hears(TONE).await;
    desk.hears_now(HALL_TONE).await;
    hall.hangs_up().await;
    sbc.comes_to(0).await;

    desk.dial(&format!("sip:1002@{}:5061;transport=tls", lab.sbc()));
    hall.hears(TONE).await;
    desk.hears_now(HALL_TONE).await;
    desk.hang_up();
    let records = sbc.is_at_rest(2).await;
    let mut called: Vec<_> = records.iter().map(|record| &record["to"]).collect();
    called.sort_by_key(|to| to.to_string());
    assert_eq!(called, ["1001", "1002"]);
    sbc.stop().await;
}
