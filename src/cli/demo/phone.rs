//! The tour of a desk telephone: from its box to its first calls.

use super::api::{Api, text};
use super::calls::{Far, ended_by_peer, nothing_to_object, patiently, refusal};
use super::ladder;
use super::play::{Cast, Scene, scene};
use super::scenes::dial_teams;
use super::stage::{Plan, Stage, TEAMS_NUMBER};
use super::words::likeness;
use crate::audio::Announcement;
use crate::emulate::{Desk, EmuCall, Phone, PhoneConfig, PhoneError, Trace};
use crate::store::AccessRole;
use crate::telemetry::ladder::Ladder;
use anyhow::{Context, bail, ensure};
use reqwest::Method;
use serde_json::json;
use std::time::Instant;
use uuid::Uuid;

/// The telephone's own address, and its user's number and extension.
const MAC: &str = "001565aabbcc";
const NUMBER: &str = "+14255550150";
const EXTENSION: &str = "1001";
const MODEL: &str = "yealink-t46u";
const DESK: Far = Far {
    who: "the telephone",
    tone: 520.0,
};

pub(super) const ALL: &[Scene<Tour>] = &[
    scene!("a telephone out of its box finds a file", out_of_the_box),
    scene!("it reaches nobody", nobody),
    scene!("its user's code is typed", activation),
    scene!("it is told to look again, and is its user's", restart),
    scene!("nobody else gets that file", proof),
    scene!("it calls a user at Teams and hangs up", calls),
    scene!("a user at Teams calls it and hangs up", is_called),
    scene!("no rule was broken on the way", rules),
];

/// The stage, a telephone, and what is known of it.
pub(super) struct Tour {
    stage: Stage,
    carrier: Api,
    /// The customer's path in the API.
    customer: String,
    user: String,
    config: PhoneConfig,
    phone: Option<Phone>,
    /// What went by at the telephone, from one start to the next.
    traces: Vec<Trace>,
    /// Its path in the API, and as whom it registers once it is activated.
    device: Option<(String, String)>,
}

impl Tour {
    /// Starts everybody; the customer has a user at Teams, and one who waits for a telephone.
    pub(super) async fn set() -> anyhow::Result<Self> {
        let plan = Plan {
            desk: true,
            ..Plan::default()
        };
        let stage = Stage::set(&plan).await?;
        let carrier = Api::of(&stage.sbc, AccessRole::CarrierAdmin, None).await?;
        let customers = carrier.get("/customers").await?;
        let id = text(&customers["items"][0], "id")?.to_owned();
        let customer = format!("/customers/{id}");
        let id: Uuid = id.parse()?;
        let own = Api::of(&stage.sbc, AccessRole::CustomerAdmin, Some(id)).await?;
        let granted = Some(json!({ "state": "granted" }));
        let consent = format!("{customer}/co-management");
        own.done(Method::PUT, &consent, granted).await?;
        let below = |what: &str| format!("{customer}/{what}");
        let numbers = json!({ "numbers": [NUMBER] });
        carrier.post(&below("numbers"), numbers).await?;
        carrier.task(&below("sync")).await?;
        let user = json!({ "upn": "jo@contoso.example", "display_name": "Jo", "extension": EXTENSION,
            "default_did": NUMBER, "license_assigned": true });
        let user = carrier.post(&below("users"), user).await?;
        let model = json!({ "model": MODEL });
        carrier.post(&below("device-models"), model).await?;
        let files = stage.sbc.listening().phone_files.context("no files")?;
        let config = PhoneConfig {
            mac: MAC.to_owned(),
            files: format!("https://{files}/prov/"),
            roots: stage.sbc_roots.clone(),
            address: files.ip(),
            tone: DESK.tone,
            patience: Plan::default().patience,
        };
        Ok(Self {
            user: text(&user, "id")?.to_owned(),
            stage,
            carrier,
            customer,
            config,
            phone: None,
            traces: Vec::new(),
            device: None,
        })
    }

    fn phone(&self) -> anyhow::Result<&Phone> {
        self.phone.as_ref().context("there is no telephone")
    }

    fn device(&self) -> anyhow::Result<&(String, String)> {
        self.device.as_ref().context("it is nobody's")
    }

    /// Puts it on the desk.
    fn place(&mut self, phone: Phone) -> &Phone {
        self.traces.push(phone.trace());
        self.phone.insert(phone)
    }
}

impl Cast for Tour {
    fn describe(&self) -> String {
        format!(
            "{} The emulated telephone {MAC} looks for its file at {}.",
            self.stage.describe(),
            self.config.files
        )
    }

    fn ladder(&self, from: Instant) -> Ladder {
        let teams = self.stage.teams.trace();
        ladder::drawn(&teams, ("telephone", &self.traces), from, ladder::calls)
    }

    async fn clear(self) {
        drop(self.phone);
        self.stage.clear().await;
    }
}

/// It registers as nobody's.
async fn out_of_the_box(tour: &mut Tour) -> anyhow::Result<String> {
    let phone = Phone::switch_on(tour.config.clone()).await?;
    let file = tour.place(phone).file();
    ensure!(
        file.line.username == format!("act-{MAC}"),
        "it registers as {}",
        file.line.username
    );
    Ok(format!(
        "it shows {:?} and is registered as {} by TLS; a lifted handset calls {:?}",
        file.label,
        file.line.username,
        file.hotline.as_deref().unwrap_or_default()
    ))
}

async fn nobody(tour: &mut Tour) -> anyhow::Result<String> {
    let mut statuses = Vec::new();
    for number in [TEAMS_NUMBER, EXTENSION] {
        let call = tour.phone()?.call(number).await?;
        let refused = refusal(call).await?;
        ensure!(
            refused.status == 403,
            "{number} is refused by {} instead of 403",
            refused.status
        );
        statuses.push(number);
    }
    Ok(format!("{} are refused by 403", statuses.join(" and ")))
}

/// The prompts must be those that are built in, word for word.
async fn activation(tour: &mut Tour) -> anyhow::Result<String> {
    let wanted = json!({ "user_id": tour.user, "model": MODEL, "method": "code" });
    let devices = format!("{}/devices", tour.customer);
    let device = tour.carrier.post(&devices, wanted).await?;
    let code = text(&device["activation_code"], "code")?.to_owned();
    let (id, name) = (text(&device, "id")?, text(&device, "sip_username")?);
    tour.device = Some((format!("{devices}/{id}"), name.to_owned()));

    let phone = tour.phone()?;
    let hotline = phone.file().hotline.as_deref().context("no hotline")?;
    let call = phone.call(hotline).await?;
    call.answered().await.context("the line is not answered")?;
    let asked = hears(&call, Announcement::ActivationEnter).await?;
    call.dial(&code);
    let thanked = hears(&call, Announcement::ActivationThankYou).await?;
    ended_by_peer(&call, DESK.who).await?;
    Ok(format!(
        "the telephone was asked for a code in words (alike to {asked:.3}), sent {} keys, was thanked ({thanked:.3}) and hung up on",
        code.len()
    ))
}

/// Waits until these words were heard in a call; how much like them that was.
async fn hears(call: &EmuCall, words: Announcement) -> anyhow::Result<f64> {
    let mut best = -1.0_f64;
    let heard = patiently(|| {
        best = best.max(likeness(&call.heard(), words));
        (best > 0.9).then_some(best)
    });
    let outcome = heard.await;
    outcome.with_context(|| {
        format!(
            "{} is not heard, but what is alike to {best:.3}",
            words.name()
        )
    })
}

/// It fetches its file by what it has proven, registers as its user's, and the API says so.
async fn restart(tour: &mut Tour) -> anyhow::Result<String> {
    let event = tour.phone()?.told().await.context("it is told nothing")?;
    ensure!(
        event == "check-sync;reboot=true",
        "it is told {event:?}, and does not restart"
    );
    let phone = tour.phone.take().context("there is no telephone")?;
    let phone = phone.restart().await?;
    let file = tour.place(phone).file().clone();
    let (path, name) = tour.device()?;
    ensure!(
        (file.line.username.as_str(), file.label.as_str()) == (name.as_str(), EXTENSION),
        "it is {} and shows {:?}",
        file.line.username,
        file.label
    );
    let online = |device: &serde_json::Value| device["state"] == "online";
    let shown = tour.carrier.until(path, online).await?;
    Ok(format!(
        "NOTIFY said {event}; now it shows {:?}, is registered as {name}, and the report has {} {}",
        file.label, shown["mac"], shown["state"]
    ))
}

/// D-20: the file was given once, and is not given to whoever only knows the telephone's address.
async fn proof(tour: &mut Tour) -> anyhow::Result<String> {
    tour.device()?;
    match Phone::switch_on(tour.config.clone()).await {
        Err(PhoneError::Refused(401)) => {}
        Err(error) => return Err(error.into()),
        Ok(phone) => bail!("whoever asks becomes {}", phone.file().line.username),
    }
    Ok(format!(
        "whoever asks for {MAC}.cfg without its password is refused by 401"
    ))
}

async fn calls(tour: &mut Tour) -> anyhow::Result<String> {
    let desk = tour.phone()?.call(TEAMS_NUMBER).await?;
    desk.answered().await.context("Teams does not answer")?;
    let teams = tour.stage.teams.incoming().await;
    let teams = teams.context("nothing came to Teams")?;
    ensure!(
        teams.invite().contains(NUMBER),
        "Teams is not told {NUMBER}"
    );
    DESK.talks_until_it_ends(&teams, &desk).await
}

async fn is_called(tour: &mut Tour) -> anyhow::Result<String> {
    let teams = dial_teams(&tour.stage, NUMBER).await?;
    teams.answered().await.context("it does not answer")?;
    let desk = tour.phone()?.incoming().await;
    let desk = desk.context("nothing came to the telephone")?;
    DESK.talks_until_it_ends(&teams, &desk).await
}

async fn rules(tour: &mut Tour) -> anyhow::Result<String> {
    let desk: &Desk = tour.phone()?;
    nothing_to_object([&*tour.stage.teams, desk])
}
