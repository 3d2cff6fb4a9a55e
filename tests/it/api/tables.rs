//! Numbers and users as tables.

use super::Api;
use serde_json::{Value, json};
use tollgate::store::AccessRole;

impl Api {
    async fn table(&self, path: &str) -> String {
        let response = self.carrier("GET", path).await.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with("text/csv"), "{kind}");
        response.text().await.unwrap()
    }

    async fn add_table(&self, path: &str, table: &str) -> (u16, Value) {
        let request = self.carrier("POST", path).await;
        let request = request.header("Content-Type", "text/csv");
        let response = request.body(table.to_owned()).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// A customer that lets others manage its users.
    async fn managed(&self, account: &str) -> String {
        let (id, path) = self.customer(account).await;
        let customer = self.token(AccessRole::CustomerAdmin, Some(id)).await;
        let granted = json!({ "state": "granted" });
        let consent = format!("{path}/co-management");
        assert_eq!(self.send(&customer, "PUT", &consent, granted).await.0, 200);
        path
    }
}

/// Each line of a table of numbers by itself; what a customer's table holds, another customer takes as it is, once the first
/// has it no more.
#[tokio::test]
async fn numbers_go_out_as_a_table_and_come_in_as_one() {
    let api = Api::start().await;
    let (_, acme) = api.customer("acme").await;
    let (_, rival) = api.customer("rival").await;
    let table = "Number,kind,extension\r\n+1 425 555 0100,,\r\n+11000,extension,\r\n\r\n+14255550102,did,7\r\n\
                 12,did,\r\n+14255550103,fax,\r\n+14255550104,did,x\r\n";
    let numbers = format!("{acme}/numbers");
    let (status, tried) = api
        .add_table(&format!("{numbers}?dry_run=true"), table)
        .await;
    assert_eq!((status, &tried["created"]), (200, &json!(3)));
    let (status, added) = api.add_table(&numbers, table).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&added["created"], &added["failed"]),
        (&json!(3), &json!(3))
    );
    let results = added["results"].as_array().unwrap();
    let lines: Vec<_> = results
        .iter()
        .map(|result| (result["line"].as_u64().unwrap(), result["code"].as_str()))
        .collect();
    let wrong = Some("format");
    assert_eq!(
        lines,
        [
            (2, None),
            (3, None),
            (5, None),
            (6, wrong),
            (7, wrong),
            (8, wrong)
        ]
    );
    let told = api.table(&format!("{acme}/numbers.csv")).await;
    assert_eq!(
        told,
        "number,extension,kind,source,assignment,user_id,status,in_service,emergency_location\r\n\
         '+14255550100,,did,portal,unassigned,,needs_sync,false,\r\n\
         '+11000,,extension,portal,unassigned,,needs_sync,false,\r\n\
         '+14255550102,7,did,portal,unassigned,,needs_sync,false,\r\n"
    );
    let (status, taken) = api.add_table(&format!("{rival}/numbers"), &told).await;
    assert_eq!((status, &taken["created"]), (200, &json!(1)), "{taken}");
    for number in ["+14255550100", "+14255550102"] {
        assert_eq!(api.remove_number(&acme, number).await, 202);
    }
    api.sync(&acme).await;
    let (status, taken) = api.add_table(&format!("{rival}/numbers"), &told).await;
    assert_eq!((status, &taken["created"]), (200, &json!(2)), "{taken}");
    for (table, code) in [
        ("number,number\n", "required"),
        ("kind\ndid\n", "csv"),
        ("a,b\n1\n", "csv"),
    ] {
        let (status, problem) = api.add_table(&numbers, table).await;
        assert_eq!(
            (status, &problem["errors"][0]["code"]),
            (422, &json!(code)),
            "{table}"
        );
    }
}

/// A customer's table of users makes the same users of another customer, fifty rows at a time.
#[tokio::test]
async fn users_go_out_as_a_table_and_come_in_as_one() {
    let api = Api::start().await;
    let (acme, rival) = (api.managed("acme").await, api.managed("rival").await);
    for (path, digit) in [(&acme, 1), (&rival, 2)] {
        let all: Vec<_> = (0..3).map(|n| format!("+1425555{digit}10{n}")).collect();
        api.post(&format!("{path}/numbers"), json!({ "numbers": all }))
            .await;
    }
    let jo = json!({
        "upn": "jo@acme.example", "display_name": "Jo, \"the first\"", "extension": "1001", "sip_user": "jo",
        "default_did": "+14255551101", "forwarded_dids": ["+14255551100", "+14255551102"], "user_tag": "=1+1",
    });
    api.post(&format!("{acme}/users"), jo).await;
    let kim =
        json!({ "upn": "kim@acme.example", "display_name": "Kim", "offering": "device_only" });
    api.post(&format!("{acme}/users"), kim).await;
    let table = api.table(&format!("{acme}/users.csv")).await;
    assert_eq!(
        table,
        "upn,display_name,extension,sip_user,default_did,did_list,offering,user_tag,state\r\n\
         jo@acme.example,\"Jo, \"\"the first\"\"\",1001,jo,'+14255551101,'+14255551100;+14255551102,trunk,'=1+1,enabled\r\n\
         kim@acme.example,Kim,,,,,device_only,,enabled\r\n"
    );
    let table = table.replace("+14255551", "+14255552");
    let (status, task) = api.add_table(&format!("{rival}/users:bulk"), &table).await;
    assert_eq!(status, 202);
    assert_eq!(
        task["result"],
        json!({ "created": 2, "failed": 0 }),
        "{task}"
    );
    let again = api.table(&format!("{rival}/users.csv")).await;
    assert_eq!(again, table);
    let row = table.lines().nth(2).unwrap();
    let many = |rows| {
        format!(
            "{}\n{}",
            table.lines().next().unwrap(),
            format!("{row}\n").repeat(rows)
        )
    };
    let (status, _) = api
        .add_table(&format!("{rival}/users/bulk"), &many(50))
        .await;
    assert_eq!(status, 202);
    let (status, problem) = api
        .add_table(&format!("{rival}/users/bulk"), &many(51))
        .await;
    assert_eq!(
        (status, &problem["errors"][0]["code"]),
        (422, &json!("csv"))
    );
}
