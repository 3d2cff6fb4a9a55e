//! The last step of a Sync: users get their numbers at Microsoft, where that is the asker's to do.

use super::activation_lab::{Lab, TEAMS_NUMBER, TENANT};
use super::wizard::token;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tollgate::emulate::microsoft::{Rule, Tenant, User};
use tollgate::store::AccessRole;
use uuid::Uuid;

const UPN: &str = "jo@contoso.onmicrosoft.com";
const AT_MICROSOFT: Uuid = Uuid::from_u128(0x10);

/// The lab, and the carrier's administrator in it.
struct Tenancy {
    lab: Lab,
    carrier: String,
    path: String,
}

impl Tenancy {
    /// A customer that is active or not, with a user who has a number here and is known there.
    async fn start(active: bool) -> Self {
        let lab = Lab::plain().await;
        let carrier = token(&lab, AccessRole::CarrierAdmin, None).await;
        let path = format!("/api/v1/customers/{}", lab.customer);
        let tenancy = Self { lab, carrier, path };
        tenancy.consents("granted").await;
        let user = json!({ "upn": UPN, "display_name": "Jo", "default_did": TEAMS_NUMBER });
        let (status, user) = tenancy.carrier("POST", "/users", user).await;
        assert_eq!(status, 201, "{user}");
        tenancy.knows(AT_MICROSOFT, UPN);
        if active {
            tenancy.lab.activate().await;
            tenancy.lab.until_state("active").await;
        }
        tenancy
    }

    /// Microsoft has this user, with a licence.
    fn knows(&self, id: Uuid, upn: &str) {
        let user = User {
            id,
            upn: upn.to_owned(),
            usage_location: Some("US".to_owned()),
            licenses: vec![Uuid::from_u128(0xf1)],
        };
        self.change(|home| home.users.push(user));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Tenant) -> T) -> T {
        self.lab
            .microsoft
            .change(|world| change(world.tenant(&TENANT.to_string()).unwrap()))
    }

    fn numbers(&self) -> BTreeMap<String, Uuid> {
        self.change(|home| home.numbers.clone())
    }

    /// Requests by which a number or a policy was changed.
    fn changes(&self) -> usize {
        let asked = self.lab.asked();
        let is_change = |one: &&String| one.starts_with("POST /graph/v1.0/admin/teams/");
        asked.iter().filter(is_change).count()
    }

    async fn carrier(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let path = format!("{}{path}", self.path);
        self.lab.send_as(&self.carrier, method, &path, body).await
    }

    async fn consents(&self, state: &str) {
        let path = format!("{}/co-management", self.path);
        let (status, body) = self.lab.send("PUT", &path, json!({ "state": state })).await;
        assert_eq!(status, 200, "{body}");
    }

    /// What came of a Sync of the customer's administrator, or of the carrier's.
    async fn syncs(&self, by_customer: bool) -> Value {
        let path = format!("{}/sync?wait=20", self.path);
        let (status, task) = match by_customer {
            true => self.lab.send("POST", &path, Value::Null).await,
            false => self.carrier("POST", "/sync?wait=20", Value::Null).await,
        };
        assert_eq!(status, 202, "{task}");
        assert_eq!(task["progress"], 100, "{task}");
        task
    }

    async fn sync_state(&self) -> Value {
        self.carrier("GET", "", Value::Null).await.1["sync_state"].clone()
    }
}

fn push(task: &Value) -> (&str, u64, u64, u64) {
    let push = &task["result"]["teams_push"];
    let count = |name: &str| push[name].as_u64().unwrap();
    (
        push["outcome"].as_str().unwrap(),
        count("assigned"),
        count("unassigned"),
        count("unchanged"),
    )
}

/// The first time is the customer's own; then the same again asks and changes nothing, and the carrier may with
/// co-management. A number that leaves is taken away there, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_given_in_teams() {
    let tenancy = Tenancy::start(true).await;
    let task = tenancy.syncs(false).await;
    assert_eq!(push(&task), ("needs_customer_admin", 0, 0, 0));
    assert_eq!(
        (tenancy.changes(), tenancy.sync_state().await),
        (0, json!("clean"))
    );
    let (_, items) = tenancy.carrier("GET", "/action-items", Value::Null).await;
    assert_eq!(items["items"][0]["code"], "assign_numbers", "{items}");

    let task = tenancy.syncs(true).await;
    assert_eq!(push(&task), ("done", 1, 0, 0));
    let expected = BTreeMap::from([(TEAMS_NUMBER.to_owned(), AT_MICROSOFT)]);
    assert_eq!(tenancy.numbers(), expected);
    let policy = tenancy.change(|home| home.policies[0]["value"][0].clone());
    assert_eq!(policy["policyId"], "contoso");
    assert_eq!(policy["userId"], json!(AT_MICROSOFT));
    let (_, items) = tenancy.carrier("GET", "/action-items", Value::Null).await;
    assert_eq!(items["items"], json!([]));

    let changes = tenancy.changes();
    for by_customer in [true, false] {
        let task = tenancy.syncs(by_customer).await;
        assert_eq!(push(&task), ("done", 0, 0, 1));
    }
    assert_eq!(tenancy.changes(), changes);
    tenancy.consents("revoked").await;
    let task = tenancy.syncs(false).await;
    assert_eq!(push(&task).0, "needs_customer_admin");

    tenancy.consents("granted").await;
    let (_, users) = tenancy.carrier("GET", "/users", Value::Null).await;
    let user = users["items"][0]["id"].as_str().unwrap();
    let removed = tenancy
        .carrier("DELETE", &format!("/users/{user}"), Value::Null)
        .await;
    assert_eq!(removed.0, 204, "{}", removed.1);
    let leaving = format!("/numbers/{TEAMS_NUMBER}?disposition=retain&confirm=true");
    assert_eq!(
        tenancy.carrier("DELETE", &leaving, Value::Null).await.0,
        202
    );
    // It stays its user's until somebody may take it away.
    tenancy.consents("revoked").await;
    let task = tenancy.syncs(false).await;
    assert_eq!(push(&task).0, "needs_customer_admin");
    assert!(tenancy.numbers().contains_key(TEAMS_NUMBER));
    tenancy.consents("granted").await;
    let task = tenancy.syncs(false).await;
    assert_eq!(push(&task), ("done", 0, 1, 0));
    assert_eq!(tenancy.numbers(), BTreeMap::new());
    let task = tenancy.syncs(false).await;
    assert_eq!(push(&task).0, "nothing");
    tenancy.lab.close().await;
}

/// Who has a number there that is another's here loses it to them; whom Microsoft does not know is told, calls go by the
/// number all the same, and the next Sync mends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_differs_in_teams_is_told_and_mended() {
    let tenancy = Tenancy::start(true).await;
    let other = Uuid::from_u128(0x11);
    tenancy.knows(other, "sam@contoso.onmicrosoft.com");
    tenancy.change(|home| home.numbers.insert(TEAMS_NUMBER.to_owned(), other));
    let task = tenancy.syncs(true).await;
    assert_eq!(push(&task).0, "done", "{task}");
    assert_eq!(tenancy.numbers()[TEAMS_NUMBER], AT_MICROSOFT);

    tenancy.change(|home| {
        home.users.retain(|user| user.upn != UPN);
        home.numbers.clear();
    });
    let task = tenancy.syncs(true).await;
    assert_eq!(push(&task).0, "failed");
    assert_eq!(
        (&task["state"], tenancy.sync_state().await),
        (&json!("succeeded"), json!("partial"))
    );
    let failed = &task["details"][0];
    assert_eq!(
        (&failed["kind"], &failed["key"]),
        (&json!("teams_number"), &json!(TEAMS_NUMBER))
    );
    assert_eq!(failed["code"], "not_found_at_microsoft");
    let number = format!("/numbers/{TEAMS_NUMBER}");
    let (_, shown) = tenancy.carrier("GET", &number, Value::Null).await;
    assert_eq!(
        (&shown["status"], &shown["in_service"]),
        (&json!("teams_mismatch"), &json!(true))
    );
    tenancy.call_passes().await;

    tenancy.knows(AT_MICROSOFT, UPN);
    let task = tenancy.syncs(true).await;
    assert_eq!(push(&task).0, "done");
    assert_eq!(tenancy.sync_state().await, "clean");
    let (_, shown) = tenancy.carrier("GET", &number, Value::Null).await;
    assert_eq!(shown["status"], "in_sync");
    tenancy.lab.close().await;
}

impl Tenancy {
    async fn call_passes(&self) {
        let call = self.lab.call_from_carrier().await;
        call.answered().await.unwrap();
        let far = self.lab.teams.incoming().await.unwrap();
        call.bye().await;
        far.ended().await.unwrap();
    }
}

/// Throttled in the middle it waits as long as it is told and goes on; a service that is not there leaves the Sync partial
/// and its directory in force.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_microsoft_that_is_not_well_does_not_undo_a_sync() {
    let tenancy = Tenancy::start(true).await;
    let rule = |path: &str, status: u16, times: u32| Rule {
        method: "POST".to_owned(),
        path: path.to_owned(),
        times,
        status: Some(status),
        headers: BTreeMap::from([("retry-after".to_owned(), "1".to_owned())]),
        body: Value::Null,
        delay_ms: 0,
    };
    tenancy.lab.microsoft.plant(rule("/assignNumber", 429, 2));
    let task = tenancy.syncs(true).await;
    assert_eq!(push(&task), ("done", 1, 0, 0));

    tenancy.change(|home| home.numbers.clear());
    tenancy.lab.microsoft.plant(rule("/assignNumber", 403, 1));
    let task = tenancy.syncs(true).await;
    assert_eq!(push(&task).0, "failed");
    assert_eq!(tenancy.sync_state().await, "partial");
    tenancy.call_passes().await;

    // Nobody has a number without the policy, so that both are tried again.
    tenancy
        .lab
        .microsoft
        .plant(rule("/userAssignments/assign", 403, 1));
    let task = tenancy.syncs(true).await;
    assert_eq!(push(&task).0, "failed");
    assert_eq!(tenancy.numbers(), BTreeMap::new());
    let task = tenancy.syncs(true).await;
    assert_eq!(push(&task), ("done", 1, 0, 0));
    assert_eq!(tenancy.sync_state().await, "clean");
    tenancy.lab.close().await;
}

/// A customer that is not active at Teams is synced, and nothing is asked of Microsoft; neither is it where nobody signed in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_signed_in_nothing_is_asked() {
    let tenancy = Tenancy::start(false).await;
    let task = tenancy.syncs(true).await;
    assert_eq!(push(&task).0, "not_active");
    let active = json!({ "activation_state": "active", "activation_reason": "done by hand" });
    let (status, body) = tenancy.carrier("PATCH", "", active).await;
    assert_eq!(status, 200, "{body}");
    let tried = format!("{}/sync?dry_run=true", tenancy.path);
    let (_, tried) = tenancy.lab.send("POST", &tried, Value::Null).await;
    assert_eq!(tried["teams_push"]["outcome"], "due");
    let task = tenancy.syncs(true).await;
    assert_eq!(push(&task).0, "skipped_no_token");
    assert_eq!(
        (tenancy.sync_state().await, tenancy.changes()),
        (json!("clean"), 0)
    );
    tenancy.lab.close().await;
}
