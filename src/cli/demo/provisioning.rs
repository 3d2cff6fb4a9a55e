//! The tour of a customer: entered by a partner of the carrier, activated at Microsoft, given users, upgraded, and called.

use super::api::{Answer, Api, text};
use super::calls::{nothing_to_object, refusal};
use super::ladder;
use super::play::{Cast, Scene, scene};
use super::scenes::{PBX, dial_teams, from_pbx, from_teams};
use super::stage::{BASE, CUSTOMER, PATIENCE, PBX_NUMBER, PUBLIC, Plan, Stage, TEAMS_NUMBER};
use crate::emulate::microsoft::{Microsoft, MicrosoftConfig, Tenant};
use crate::store::AccessRole;
use crate::telemetry::ladder::Ladder;
use anyhow::{Context, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The customer's organisation at Microsoft.
const TENANT: &str = "contoso.onmicrosoft.com";
/// Tollgate at Microsoft.
const CLIENT: &str = "00000000-0000-0000-0000-00000000a991";

pub(super) const ALL: &[Scene<Tour>] = &[
    scene!("a partner enters the customer and its number", enter),
    scene!("before the activation no call passes", too_early),
    scene!("the customer's administrator activates it", activate),
    scene!("the customer has the users that it may have", users),
    scene!("an upgrade is prepared behind a link", invite),
    scene!("the upgrade makes a connection", upgrade),
    scene!("Teams calls by that connection and hangs up", teams_calls),
    scene!("the connection calls Teams and hangs up", pbx_calls),
    scene!("no rule was broken on the way", rules),
];

/// The stage with an emulated Microsoft, and what is known of the customer.
pub(super) struct Tour {
    stage: Stage,
    microsoft: Microsoft,
    carrier: Api,
    /// The customer's administrator, and its path in the API.
    customer: Option<(Api, String)>,
    /// The path of its service's upgrade.
    upgrade: Option<String>,
}

impl Tour {
    /// Starts everybody; there is no customer.
    pub(super) async fn set() -> anyhow::Result<Self> {
        let secret = format!("{:032x}", rand::random::<u128>());
        let microsoft = Microsoft::start(MicrosoftConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            client_id: CLIENT.to_owned(),
            client_secret: secret.clone(),
            redirect_uris: vec![format!("{PUBLIC}/oauth/callback")],
            // Codes are put into DNS by hand here, and are believed to be there.
            nameserver: None,
            tenants: vec![Tenant::new(Uuid::from_u128(0x7e4a), TENANT)],
            script: Vec::new(),
        })
        .await
        .context("the emulated Microsoft")?;
        let plan = Plan {
            sections: format!(
                "[microsoft]\nlogin_base = {:?}\ngraph_base = {:?}\nteams_base = {:?}\nclient_id = {CLIENT:?}\n\
                 client_secret = {secret:?}\nredirect_uri = \"{PUBLIC}/oauth/callback\"\nplain_http = true\n\
                 roots = \"built-in\"\n",
                microsoft.login_base(),
                microsoft.graph_base(),
                microsoft.teams_base(),
            ),
            ..Plan::default()
        };
        let stage = Stage::bare(&plan).await?;
        let carrier = Api::of(&stage.sbc, AccessRole::CarrierAdmin, None).await?;
        Ok(Self {
            stage,
            microsoft,
            carrier,
            customer: None,
            upgrade: None,
        })
    }

    fn customer(&self) -> anyhow::Result<&(Api, String)> {
        self.customer.as_ref().context("there is no customer")
    }

    fn upgrade(&self) -> anyhow::Result<&str> {
        self.upgrade.as_deref().context("there is no upgrade")
    }

    /// An administrator follows the link of an invitation, types a code at Microsoft's page and consents: the code.
    async fn signs_in(&self, link: &str) -> anyhow::Result<String> {
        let anybody = Api::public(&self.stage.sbc)?;
        let start = format!("{link}/start-authentication");
        let started = anybody.follow(Method::POST, &start).await?.body;
        let code = text(&started, "user_code")?.to_owned();
        let page = text(&started, "verification_uri")?;
        let form = format!("user_code={code}&as={TENANT}&decision=accept");
        let typed = browser()?.post(page).body(form).send().await?;
        ensure!(typed.status().is_success(), "{page}: {}", typed.status());
        // Microsoft is asked every few seconds.
        let from = Instant::now();
        let mut now = Value::Null;
        while now["device_authenticated"] != true {
            ensure!(from.elapsed() < PATIENCE, "nobody signs in: {now}");
            tokio::time::sleep(Duration::from_millis(200)).await;
            now = anybody.follow(Method::GET, link).await?.body;
        }
        // An organisation that has consented before is not asked again.
        if now["state"] != "authentication_complete" {
            let next = format!("{link}/continue");
            let next = anybody.follow(Method::POST, &next).await?.body;
            // What the organisation consented to may be found only now.
            if next["state"] != "authentication_complete" {
                self.consents(text(&next, "consent_url")?, "decision=accept")
                    .await?;
            }
        }
        Ok(code)
    }

    /// Somebody decides at Microsoft's page behind a link and is sent back: what Tollgate answers.
    async fn consents(&self, url: &str, form: &str) -> anyhow::Result<Answer> {
        let client = browser()?;
        let page = client.get(url).send().await?;
        ensure!(page.status().is_success(), "{url}: {}", page.status());
        let page = page.text().await?;
        let action = page
            .split_once("action=\"")
            .and_then(|(_, rest)| rest.split_once('"'));
        let (action, _) = action.with_context(|| format!("no form at {url}"))?;
        let base = self.microsoft.login_base();
        let action = format!("{base}{}", action.replace("&amp;", "&"));
        let answer = client.post(action).body(form.to_owned()).send().await?;
        let back = answer.headers().get("location");
        let back = back.and_then(|to| to.to_str().ok());
        let back = back.context("Microsoft sends nobody back")?;
        Api::public(&self.stage.sbc)?
            .follow(Method::GET, back)
            .await
    }
}

/// What people use at Microsoft's pages.
fn browser() -> anyhow::Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none());
    Ok(client.build()?)
}

impl Cast for Tour {
    fn describe(&self) -> String {
        format!(
            "{} The emulated Microsoft is at {}.",
            self.stage.describe(),
            self.microsoft.login_base()
        )
    }

    fn ladder(&self, from: Instant) -> Ladder {
        let (teams, far) = (self.stage.teams.trace(), [self.stage.pbx.trace()]);
        ladder::drawn(&teams, ("connection", &far), from, ladder::calls)
    }

    async fn clear(self) {
        self.stage.clear().await;
    }
}

/// P-01, P-12, P-16: what the partner's portal asks for, and a Sync.
async fn enter(tour: &mut Tour) -> anyhow::Result<String> {
    let carrier = &tour.carrier;
    let (_, tls) = tour.stage.listening;
    let region = json!({ "code": "DEMO", "display_name": "Demonstration", "base_fqdn": BASE, "sip_port": tls.port() });
    carrier.post("/regions", region).await?;
    let customer = json!({ "account_id": "contoso", "name": "Contoso", "tenant_name": TENANT, "max_channels": 2,
        "regions": ["DEMO"], "sync_after_save": false });
    let customer = carrier.post("/customers", customer).await?;
    let id = text(&customer, "id")?;
    let path = format!("/customers/{id}");
    let gateway = json!({ "region": "DEMO", "label": "contoso" });
    carrier.post(&format!("{path}/gateways"), gateway).await?;
    let numbers = json!({ "numbers": [TEAMS_NUMBER] });
    carrier.post(&format!("{path}/numbers"), numbers).await?;
    let result = carrier.task(&format!("{path}/sync")).await?;
    ensure!(result["counts"]["added"] == 1, "the Sync: {result}");
    let own = Api::of(
        &tour.stage.sbc,
        AccessRole::CustomerAdmin,
        Some(id.parse()?),
    )
    .await?;
    let activation = own.get(&format!("{path}/activation")).await?;
    ensure!(activation["state"] == "inactive", "{activation}");
    tour.customer = Some((own, path));
    Ok(format!(
        "Contoso with 2 channels; {TEAMS_NUMBER} is in service; the activation is inactive"
    ))
}

/// O-12: Teams is not let in.
async fn too_early(tour: &mut Tour) -> anyhow::Result<String> {
    tour.customer()?;
    let call = dial_teams(&tour.stage, PBX_NUMBER).await?;
    let refused = refusal(call).await?;
    ensure!(
        refused.status == 403,
        "refused by {} instead of 403",
        refused.status
    );
    Ok("a call of Teams is refused by 403".to_owned())
}

/// O-02, O-07: consent for the whole organisation at Microsoft's page, and then every step by itself.
async fn activate(tour: &mut Tour) -> anyhow::Result<String> {
    let (own, path) = tour.customer()?;
    let activation = format!("{path}/activation");
    let started = own.done(Method::POST, &activation, None).await?;
    let url = text(&started, "consent_url")?;
    let answer = tour
        .consents(url, "decision=accept&organisation=on")
        .await?;
    ensure!(
        answer.status.is_success() || answer.status.is_redirection(),
        "back from Microsoft: {}: {}",
        answer.status,
        answer.body
    );
    own.until(&activation, |now| now["state"] == "active")
        .await?;
    let asked = tour.microsoft.log();
    let verified = asked
        .iter()
        .any(|one| one.path.ends_with(&format!("{CUSTOMER}/verify")));
    let routed = asked.iter().any(|one| one.path == "/teams/voiceRoutes");
    ensure!(verified && routed, "Microsoft was asked only {asked:?}");
    Ok(format!(
        "with consent for the organisation {CUSTOMER} was verified and has a voice route, after {} requests to Microsoft",
        asked.len()
    ))
}

/// T-10: one user has the number; beyond the limit there are none.
async fn users(tour: &mut Tour) -> anyhow::Result<String> {
    let (own, path) = tour.customer()?;
    let limit = Some(json!({ "user_limit": 1 }));
    tour.carrier.done(Method::PATCH, path, limit).await?;
    let users = format!("{path}/users");
    let user =
        json!({ "upn": "jo@contoso.example", "display_name": "Jo", "default_did": TEAMS_NUMBER });
    own.post(&users, user).await?;
    let another = Some(json!({ "upn": "li@contoso.example", "display_name": "Li" }));
    let refused = own.ask(Method::POST, &users, another).await?;
    ensure!(
        refused.status == StatusCode::CONFLICT && refused.body["code"] == "user_limit_reached",
        "one user too many: {}: {}",
        refused.status,
        refused.body
    );
    Ok(format!(
        "Jo has {TEAMS_NUMBER}; a second user is one more than the limit"
    ))
}

/// an administrator follows the link, signs in at Microsoft by a code and consents.
async fn invite(tour: &mut Tour) -> anyhow::Result<String> {
    let (_, path) = tour.customer()?;
    let service = json!({ "full_name": "Contoso Ltd", "short_name": "contoso-1", "kind": "operator_connect",
        "licensed_users": 5 });
    let services = format!("{path}/services");
    let service = tour.carrier.post(&services, service).await?;
    let upgrade = format!("{services}/{}/upgrade", text(&service, "id")?);
    let pbx = tour.stage.pbx.address;
    let draft = json!({ "license_type": "pro", "licensed_users": 20, "connection": {
        "name": "contoso-1", "role": "carrier", "transport": "udp", "host": pbx.ip(), "port": pbx.port(),
        "acl": [pbx.ip()], "cac_max_sessions": 10 } });
    let entered = tour
        .carrier
        .done(Method::PUT, &upgrade, Some(draft))
        .await?;
    let link = text(&entered["invitation"], "auth_url")?.to_owned();

    let code = tour.signs_in(&link).await?;
    let ready = |now: &Value| now["step"] == "ready_to_upgrade";
    tour.carrier.until(&upgrade, ready).await?;
    tour.upgrade = Some(upgrade);
    Ok(format!(
        "code {code} was typed for {TENANT}; the service is ready to upgrade"
    ))
}

/// the service is deployed with its licence and one connection.
async fn upgrade(tour: &mut Tour) -> anyhow::Result<String> {
    let (_, path) = tour.customer()?;
    let upgrade = tour.upgrade()?;
    let result = tour.carrier.task(upgrade).await?;
    let trunk = text(&result, "trunk_id")?;
    let service = tour
        .carrier
        .get(upgrade.trim_end_matches("/upgrade"))
        .await?;
    ensure!(
        service["state"] == "deployed" && service["license_type"] == "pro",
        "{service}"
    );
    let trunks = tour.carrier.get(&format!("{path}/trunks")).await?;
    let trunks = trunks["items"].as_array().context("no trunks")?;
    ensure!(
        trunks.len() == 1 && trunks[0]["id"] == trunk,
        "{} connections",
        trunks.len()
    );
    Ok(format!(
        "the service has {} for {} users and one connection",
        service["license_type"], service["licensed_users"]
    ))
}

async fn teams_calls(tour: &mut Tour) -> anyhow::Result<String> {
    tour.upgrade()?;
    let (teams, pbx) = from_teams(&tour.stage).await?;
    PBX.talks_until_teams_ends(&teams, &pbx).await
}

async fn pbx_calls(tour: &mut Tour) -> anyhow::Result<String> {
    tour.upgrade()?;
    let (teams, pbx) = from_pbx(&tour.stage).await?;
    PBX.talks_until_it_ends(&teams, &pbx).await
}

async fn rules(tour: &mut Tour) -> anyhow::Result<String> {
    nothing_to_object([&*tour.stage.teams, &*tour.stage.pbx])
}
