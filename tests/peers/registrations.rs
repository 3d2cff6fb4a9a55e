//! Tollgate as a user of exchanges of other people: Kamailio with a telephone, and the registrar of Net::SIP.

use crate::baresip::Telephone;
use crate::emulated::{self, TEAMS_TONE};
use crate::kamailio;
use crate::lab::{Lab, PBX_NUMBER, TEAMS_NUMBER};
use crate::process::{PATIENCE, Running};
use crate::sbc::{Sbc, Setup};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

const BARESIP_TONE: f64 = 600.0;

/// A user of the exchange for the number at Teams, as its registration's path.
async fn user_of(lab: &Lab, sbc: &Sbc, expires_s: u32) -> String {
    let customer = &sbc.customer;
    let offers = json!({ "offerings": ["pbx", "trunk"], "pbx_types": ["generic"] });
    sbc.api.patch(customer, offers).await;
    // On loopback baresip's media comes from another address than it says, and latching is for addresses of the list.
    let pbx = json!({
        "pbx_type": "generic", "location": "Headquarters", "sip_domain": lab.pbx(), "dns_lookup": "a",
        "expires_s": expires_s, "acl": ["127.0.0.1"], "profile": { "latch": true },
    });
    let pbx = sbc.api.post(&format!("{customer}/pbxs"), pbx).await;
    let api = sbc.customers_api().await;
    let user =
        json!({ "upn": "jo@contoso.example", "display_name": "Jo", "default_did": TEAMS_NUMBER });
    let user = api.post(&format!("{customer}/users"), user).await;
    let registration = json!({
        "user_id": user["id"], "pbx_id": pbx["id"], "username": "1001", "password": "of a telephone",
    });
    let path = format!("{customer}/pbx-registrations");
    let made = api.post(&path, registration).await;
    format!("{path}/{}", made["id"].as_str().expect("an id"))
}

/// Waits until it stands so.
async fn stands(sbc: &Sbc, path: &str, state: &str) -> Value {
    let (from, api) = (Instant::now(), sbc.customers_api().await);
    loop {
        let shown = api.get(path).await;
        if shown["state"] == state {
            return shown;
        }
        assert!(from.elapsed() < PATIENCE, "not {state}: {shown}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Kamailio registers us by digest for a minute instead of an hour, sends the telephone's call to our Contact, and asks our
/// call for the user's credentials (407). Each hears the other. The end of Tollgate is the end of the registration.
#[tokio::test(flavor = "multi_thread")]
async fn kamailio_has_us_as_a_user() {
    let lab = Lab::open();
    let mut exchange = kamailio::registrar(&lab).await;
    let teams = emulated::teams(&lab, false).await;
    let sbc = Sbc::start_with(&lab, Setup::default()).await;
    let path = user_of(&lab, &sbc, 3600).await;
    let shown = stands(&sbc, &path, "registered").await;
    let at = |key: &str| {
        let text = shown[key].as_str().expect("a time");
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
            .expect("a time")
    };
    assert_eq!((at("expires_at") - at("registered_at")).whole_seconds(), 60);
    let baresip = Telephone::start(&lab, PBX_NUMBER, BARESIP_TONE).await;

    let call = emulated::call(&teams).await;
    call.hears_tone(BARESIP_TONE).await.expect("the telephone");
    baresip.hears_now(TEAMS_TONE).await;
    call.bye().await;
    sbc.comes_to(0).await;

    baresip.dial(&format!("sip:1001@{}", lab.pbx()));
    let call = teams.incoming().await.expect("a call to Teams");
    call.answered().await.expect("an answer");
    call.hears_tone(BARESIP_TONE).await.expect("the telephone");
    baresip.hears_now(TEAMS_TONE).await;
    call.bye().await;
    let records = sbc.is_at_rest(2).await;
    assert_eq!(records[0]["to"], TEAMS_NUMBER);
    assert_eq!(teams.notes(), Vec::<String>::new());
    sbc.stop().await;
    assert!(exchange.prints("registers 1001 for 0\n").await);
}

/// Net::SIP wants at least a minute and grants what is asked beyond; it finds our credentials right, unasked ones too.
#[tokio::test(flavor = "multi_thread")]
async fn the_registrar_of_net_sip_has_us() {
    let lab = Lab::open();
    lab.write("registrar.pl", include_str!("registrar.pl"));
    let address = lab.pbx().to_string();
    let mut perl = Command::new("perl");
    perl.arg("registrar.pl").args([&address, &address]);
    let mut registrar = Running::start("registrar", lab.directory(), &mut perl);
    assert!(
        registrar.prints("ready to serve").await,
        "{}",
        registrar.printed()
    );
    let sbc = Sbc::start_with(&lab, Setup::default()).await;
    let path = user_of(&lab, &sbc, 300).await;
    let shown = stands(&sbc, &path, "registered").await;
    assert_eq!(shown["last_code"], 200);
    sbc.stop().await;
    assert!(
        registrar
            .prints("REGISTER without credentials for 300\n")
            .await
    );
    assert!(
        registrar
            .prints("REGISTER with credentials for 300\n")
            .await
    );
    assert!(registrar.prints("REGISTER with credentials for 0\n").await);
}
