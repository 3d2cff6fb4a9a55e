//! What is provisioned, as one file.

use super::{Api, problem};
use reqwest::Response;
use serde_json::{Value, json};
use tollgate::store::AccessRole;

impl Api {
    async fn export(&self) -> String {
        let response = self.carrier("GET", "/api/v1/export").await.send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/toml");
        response.text().await.unwrap()
    }

    async fn bring(&self, query: &str, file: &str) -> Response {
        let request = self
            .carrier("POST", &format!("/api/v1/import{query}"))
            .await;
        let request = request.header("Content-Type", "application/toml");
        request.body(file.to_owned()).send().await.unwrap()
    }

    /// What an import that is not refused says.
    async fn import(&self, query: &str, file: &str) -> Value {
        let response = self.bring(query, file).await;
        let status = response.status();
        let report: Value = response.json().await.unwrap();
        assert_eq!(status, 200, "{report}");
        report
    }
}

/// How many things were created, changed and deleted, and how many were as they are.
fn counts(report: &Value) -> [u64; 4] {
    ["created", "changed", "deleted", "unchanged"].map(|name| report[name].as_u64().unwrap())
}

/// `path action` of each change.
fn changes(report: &Value) -> Vec<String> {
    let changes = report["changes"].as_array().unwrap().iter();
    let change = |change: &Value| {
        let text = |name: &str| change[name].as_str().unwrap().to_owned();
        format!("{} {}", text("path"), text("action"))
    };
    changes.map(change).collect()
}

/// Something of every kind, most of it in other than the usual way.
async fn furnished() -> Api {
    let api = Api::start().await;
    let (id, path) = api.customer("acme").await;
    let (master, _) = api.partner("master").await;
    let reseller = json!({ "parent_id": master, "name": "R", "email": "r@partner.example", "offerings": ["trunk"] });
    let reseller = api.post("/api/v1/partners", reseller).await;
    let body = json!({
        "account_id": "a.b c", "name": "Quote \" and ü", "tenant_name": "second.onmicrosoft.com", "max_channels": 7,
        "partner_id": reseller["id"], "billing_references": ["x", "y"], "user_limit": 9,
    });
    api.post("/api/v1/customers", body).await;
    let numbers = json!({ "numbers": ["+14255550150", "+14255550151"] });
    api.post("/api/v1/numbers", numbers).await;
    let shared = json!({
        "name": "carrier one", "role": "carrier", "transport": "udp", "host": "sip.carrier.example", "auth": "digest",
        "username": "tollgate", "password": "the carrier's secret",
    });
    api.post("/api/v1/trunks", shared).await;

    let customer = api.token(AccessRole::CustomerAdmin, Some(id)).await;
    let consent = format!("{path}/co-management");
    let granted = json!({ "state": "granted" });
    assert_eq!(api.send(&customer, "PUT", &consent, granted).await.0, 200);
    let active = json!({
        "activation_state": "active", "activation_reason": "done elsewhere", "offerings": ["trunk", "pbx"],
        "pbx_types": ["netsapiens"], "emergency_numbers": ["117"],
    });
    assert_eq!(api.patch(&path, active).await.status(), 200);
    let service = json!({
        "full_name": "Acme", "short_name": "Acme_1", "license_type": "pro", "licensed_users": 5,
    });
    let service = api.post(&format!("{path}/services"), service).await;
    let gateway = json!({ "region": "EU", "label": "acme", "state": "active" });
    api.post(&format!("{path}/gateways"), gateway).await;
    let trunk = json!({
        "name": "PBX 1", "role": "pbx", "transport": "tls", "host": "pbx.acme.example", "port": 5099,
        "acl": ["198.51.100.0/24"], "service_id": service["id"], "profile": { "ring_timeout_s": 77, "session_expires_s": null },
    });
    api.post(&format!("{path}/trunks"), trunk).await;
    let numbers = json!({ "numbers": ["+14255550100", "+14255550101", "+14255550102;ext=7"] });
    api.post(&format!("{path}/numbers"), numbers).await;
    let identifiers = json!({ "numbers": ["+11000"], "kind": "extension" });
    api.post(&format!("{path}/numbers"), identifiers).await;
    let conference = json!({ "assignment": "conference", "emergency_location": "Room 7" });
    let number = format!("{path}/numbers/+14255550102");
    assert_eq!(api.patch(&number, conference).await.status(), 200);
    let user = json!({
        "upn": "jo@acme.example", "display_name": "Jo", "extension": "1001", "default_did": "+14255550101",
        "forwarded_dids": ["+14255550100"], "caller_name_policy": "Acme",
    });
    let user = api.post(&format!("{path}/users"), user).await;
    let pbx = json!({
        "pbx_type": "netsapiens", "location": "Head Quarters", "sip_domain": "acme.pbx.example", "keep_alive_s": 30,
    });
    let pbx = api.post(&format!("{path}/pbxs"), pbx).await;
    let registration = json!({
        "pbx_id": pbx["id"], "user_id": user["id"], "username": "1001", "password": "the exchange's secret",
    });
    api.post(&format!("{path}/pbx-registrations"), registration)
        .await;
    let model = json!({ "model": "yealink-t46u" });
    api.post(&format!("{path}/device-models"), model).await;
    api
}

const CARRIER_SECRET: &str = "trunks.\"carrier one\".password";
const EXCHANGE_SECRET: &str = "customers.acme.pbxs.\"Head Quarters\".registrations.1001.password";

/// Puts the secrets in, as the head of a file says.
fn with_secrets(file: &str) -> String {
    let mut whole = file.to_owned();
    for (place, secret) in [
        (CARRIER_SECRET, "the carrier's secret"),
        (EXCHANGE_SECRET, "the exchange's secret"),
    ] {
        let table = format!("\n[{}]\n", place.strip_suffix(".password").unwrap());
        assert!(whole.contains(&table), "no {table} in {whole}");
        whole = whole.replace(&table, &format!("{table}password = \"{secret}\"\n"));
    }
    whole
}

/// What one database gives, another takes: its own file is then the same, byte for byte. Secrets are in no file; an empty
/// database asks for each of them by its place, and the file has said which.
#[tokio::test]
async fn what_is_exported_is_imported_elsewhere() {
    let api = furnished().await;
    let file = api.export().await;
    assert_eq!(file, api.export().await, "in a fixed order");
    assert!(!file.contains("secret\""), "{file}");
    let other = Api::start().await;
    let (status, code, fields) = problem(other.bring("", &file).await).await;
    assert_eq!((status, code.as_str()), (422, "invalid"));
    assert_eq!(fields, [CARRIER_SECRET, EXCHANGE_SECRET]);
    for place in &fields {
        assert!(file.contains(&format!("#   {place} = ")), "{place}");
    }
    assert_eq!(other.get("/api/v1/customers").await["items"], json!([]));

    let whole = with_secrets(&file);
    let report = other.import("", &whole).await;
    assert_eq!(report["generation"], 2);
    assert_eq!(&counts(&report)[1..3], [0, 0]);
    assert_eq!(other.export().await, file);
    let customers = other.get("/api/v1/customers").await;
    let acme = &customers["items"][1];
    assert_eq!(
        (&acme["account_id"], &acme["can_manage"]),
        (&json!("acme"), &json!(true))
    );
    let path = format!("/api/v1/customers/{}", acme["id"].as_str().unwrap());
    let users = other.get(&format!("{path}/users")).await;
    assert_eq!(users["items"][0]["default_did"], "+14255550101");
    // Numbers wait for a Sync, here as everywhere.
    assert_eq!(other.sync(&path).await["counts"]["added"], 4);
    let audit = other.get("/api/v1/audit").await;
    let audit = audit.to_string();
    assert!(
        audit.contains("\"import\"") && !audit.contains("secret"),
        "{audit}"
    );
}

/// The same file again changes nothing: no version grows, and calls go on by the same directory. So it is with the file of
/// the very database, without the secrets that it has, even where all that a file does not say is taken back.
#[tokio::test]
async fn the_same_file_again_changes_nothing() {
    let api = furnished().await;
    let (file, before) = (api.export().await, api.get("/api/v1/customers").await);
    let trunks = api.get("/api/v1/trunks").await;
    let generation = api.store.directory().load().generation;
    for (query, file) in [
        ("", &file),
        ("?prune=true", &file),
        ("", &with_secrets(&file)),
    ] {
        let report = api.import(query, file).await;
        let [created, changed, deleted, unchanged] = counts(&report);
        assert_eq!([created, changed, deleted], [0, 0, 0], "{query}: {report}");
        assert!(unchanged > 15, "{report}");
        assert_eq!(report["generation"], json!(null));
    }
    assert_eq!(api.get("/api/v1/customers").await, before);
    assert_eq!(api.get("/api/v1/trunks").await, trunks);
    assert_eq!(api.store.directory().load().generation, generation);
}

/// A dry run tells every field that would change, and does nothing; without it the same happens, and calls obey it.
#[tokio::test]
async fn a_changed_field_shows_in_the_difference() {
    let api = furnished().await;
    let file = api.export().await;
    let other = file
        .replace("ring_timeout_s = 77", "ring_timeout_s = 78")
        .replace("max_channels = 7", "max_channels = 8")
        .replace(
            "\n[trunks.\"carrier one\"]\n",
            "\n[trunks.\"carrier one\"]\npassword = \"another\"\n",
        )
        + "\n[customers.acme.numbers.\"+14255550109\"]\nkind = \"did\"\n";
    let generation = api.store.directory().load().generation;
    let report = api.import("?dry_run=true", &other).await;
    assert_eq!(report["dry_run"], true);
    assert_eq!(
        changes(&report),
        [
            "trunks.\"carrier one\" change",
            "customers.\"a.b c\" change",
            "customers.acme.trunks.\"PBX 1\" change",
            "customers.acme.numbers.\"+14255550109\" create",
        ]
    );
    let field = |n: usize| report["changes"][n]["fields"].clone();
    assert_eq!(
        [field(0), field(1), field(2), field(3)],
        [
            json!([{ "field": "password", "before": null, "after": null }]),
            json!([{ "field": "max_channels", "before": 7, "after": 8 }]),
            json!([{ "field": "profile.ring_timeout_s", "before": 77, "after": 78 }]),
            json!([]),
        ]
    );
    assert_eq!(api.export().await, file);
    assert_eq!(api.store.directory().load().generation, generation);

    let done = api.import("", &other).await;
    assert_eq!(done["changes"], report["changes"]);
    assert_eq!(done["generation"], generation + 1);
    let account = |id: &str| {
        let directory = api.store.directory().load_full();
        let found = directory.customers().find(|c| c.account_id == id);
        found.unwrap().max_channels
    };
    assert_eq!(account("a.b c"), 8);
    assert_ne!(api.export().await, file);
}

/// Whatever is wrong is told by its place and its rule, all of it at once, and nothing of the file is done.
#[tokio::test]
async fn a_bad_line_applies_nothing() {
    let api = furnished().await;
    let before = api.export().await;
    let good = "[regions.US]\ndisplay_name = \"US\"\nbase_fqdn = \"us.example.net\"\n";
    let faults = async |bad: &str| {
        let answer = api.bring("", &format!("{good}{bad}")).await;
        let (status, code, fields) = problem(answer).await;
        assert_eq!(api.export().await, before, "{bad}");
        (status, code, fields.join(" "))
    };
    let invalid = |fields: &str| (422, "invalid".to_owned(), fields.to_owned());
    for (bad, fields) in [
        ("[regions.us]\ndisplay_name = \"x\"", "regions.us.base_fqdn"),
        (
            "[regions.us]\ndisplay_name = \"\"\nbase_fqdn = \"x\"",
            "regions.us.code regions.us.display_name regions.us.base_fqdn",
        ),
        ("[regions.EU]\ncode = \"EU\"", "regions.EU.code"),
        (
            "[customers.acme]\nmax_chanels = 3",
            "customers.acme.max_chanels",
        ),
        (
            "[customers.acme]\nmax_channels = \"3\"",
            "customers.acme.max_channels",
        ),
        (
            "[customers.acme]\npartner = \"r@partner.example\"",
            "customers.acme.partner",
        ),
        (
            "[customers.acme.co_management]\nrequested = true\nstate = \"granted\"",
            "customers.acme.co_management",
        ),
        (
            "[customers.acme]\nactivation_state = \"inactive\"",
            "customers.acme.activation_reason",
        ),
        (
            "[customers.acme.users.\"jo@acme.example\"]\ndefault_did = \"+14255550199\"",
            "customers.acme.users.\"jo@acme.example\".default_did",
        ),
        (
            "[customers.acme.services.Acme_1]\nlicensed_users = 1\n[customers.acme.users.\"kim@acme.example\"]\ndisplay_name = \"Kim\"",
            "customers.acme.users.\"kim@acme.example\"",
        ),
        (
            "[customers.\"a.b c\".numbers.\"+14255550100\"]",
            "customers.\"a.b c\".numbers.\"+14255550100\"",
        ),
        (
            "[customers.\"a.b c\".users.\"x@b.example\"]\ndisplay_name = \"X\"",
            "customers.\"a.b c\".users.\"x@b.example\"",
        ),
        (
            "[customers.acme.pbxs.\"Head Quarters\".registrations.1002]\nuser = \"nobody@acme.example\"",
            "customers.acme.pbxs.\"Head Quarters\".registrations.1002.user",
        ),
        ("[nothing]", "nothing"),
    ] {
        assert_eq!(faults(bad).await, invalid(fields), "{bad}");
    }
    let (status, code, _) = faults("[regions.EU").await;
    assert_eq!((status, code.as_str()), (400, "malformed_toml"));
    let request = api.carrier("POST", "/api/v1/import").await.body(good);
    assert_eq!(problem(request.send().await.unwrap()).await.0, 415);
    let large = "#".repeat((16 << 20) + 1);
    assert_eq!(problem(api.bring("", &large).await).await.0, 413);
}

/// A part of a file leaves everything else alone; with `prune` what it does not say goes, as far as rules allow it.
#[tokio::test]
async fn what_a_file_does_not_say_stays_or_is_taken_back() {
    let api = furnished().await;
    let before = api.export().await;
    let part = "[customers.acme]\nname = \"Acme & Co\"\n";
    let report = api.import("", part).await;
    assert_eq!(changes(&report), ["customers.acme change"]);
    assert_eq!(
        api.export().await,
        before.replace("name = \"acme\"\noff", "name = \"Acme & Co\"\noff")
    );
    // The other customer carries no calls, but it is enabled.
    let (status, _, fields) = problem(api.bring("?prune=true", part).await).await;
    assert_eq!(status, 422);
    assert!(
        fields.contains(&"customers.\"a.b c\"".to_owned()),
        "{fields:?}"
    );

    let lines = before.lines().collect::<Vec<_>>();
    let less = lines
        .split(|line| line.is_empty())
        .filter(|table| {
            let gone = [
                "users.\"jo@",
                "\"Head Quarters\"",
                "numbers.\"+14255550150\"",
                "device_models",
            ];
            !gone.iter().any(|gone| table[0].contains(gone))
        })
        .map(|table| table.join("\n"))
        .collect::<Vec<_>>()
        .join("\n\n")
        .replace("device_models = [\"yealink-t46u\"]\n", "")
        .replace("emergency_location = \"Room 7\"\n", "");
    let report = api.import("?prune=true&dry_run=true", &less).await;
    assert_eq!(
        changes(&report),
        [
            "customers.acme change",
            "customers.acme.pbxs.\"Head Quarters\".registrations.1001 delete",
            "customers.acme.pbxs.\"Head Quarters\" delete",
            "customers.acme.users.\"jo@acme.example\" delete",
            "customers.acme.numbers.\"+14255550102\" change",
            "customers.acme.device_models.yealink-t46u delete",
            "numbers.\"+14255550150\" delete",
        ]
    );
    assert_eq!(
        report["changes"][4]["fields"],
        json!([{ "field": "emergency_location", "before": "Room 7", "after": null }])
    );
    api.import("?prune=true", &less).await;
    let report = api.import("?prune=true", &with_secrets(&before)).await;
    assert_eq!(counts(&report)[0], 5, "{report}");
    assert_eq!(api.export().await, before);
    let less = "[customers.\"a.b c\"]\nunset = [\"user_limit\"]\n";
    let report = api.import("", less).await;
    let fields = json!([{ "field": "user_limit", "before": 9, "after": null }]);
    assert_eq!(report["changes"][0]["fields"], fields);
}

/// A hundred customers, each with a gateway, a trunk, numbers and users, come in one file and one generation.
#[tokio::test]
async fn a_hundred_customers_come_in_one_file() {
    let mut file =
        "[regions.EU]\ndisplay_name = \"Europe\"\nbase_fqdn = \"eu.example.net\"\n".to_owned();
    for n in 100..200 {
        file += &format!(
            "[customers.c{n}]\nname = \"C {n}\"\ntenant_name = \"c{n}.onmicrosoft.com\"\nmax_channels = 10\nregions = [\"EU\"]\n\
             activation_state = \"active\"\n[customers.c{n}.gateways.EU]\nlabel = \"c{n}\"\nstate = \"active\"\n\
             [customers.c{n}.trunks.pbx]\nrole = \"pbx\"\ntransport = \"udp\"\nhost = \"192.0.2.{n}\"\nacl = [\"192.0.2.{n}\"]\n\
             [customers.c{n}.numbers.\"+1425555{n}0\"]\n[customers.c{n}.numbers.\"+1425555{n}1\"]\n\
             [customers.c{n}.users.\"jo@c{n}.example\"]\ndisplay_name = \"Jo\"\ndefault_did = \"+1425555{n}1\"\n"
        );
    }
    let api = Api::start().await;
    let report = api.import("", &file).await;
    assert_eq!(counts(&report), [601, 0, 0, 0]);
    assert_eq!(report["generation"], 2);
    let directory = api.store.directory().load_full();
    assert_eq!(directory.customers().count(), 100);
    let exported = api.export().await;
    assert_eq!(counts(&api.import("", &file).await), [0, 0, 0, 601]);
    let other = Api::start().await;
    other.import("", &exported).await;
    assert_eq!(other.export().await, exported);
}
