//! The demonstration as a user runs it: the built program, real sockets, every row.

use std::process::Command;

/// What the program says of a performance, in which every row holds and the exit status says the same.
fn verdict(arguments: &[&str]) -> Vec<serde_json::Value> {
    let program = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg("demo")
        .args(arguments)
        .arg("--json")
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&program.stdout);
    let complaints = String::from_utf8_lossy(&program.stderr);
    let verdict: serde_json::Value =
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}{complaints}"));
    let rows = verdict["rows"].as_array().expect("rows").clone();
    let failed: Vec<_> = rows.iter().filter(|row| row["ok"] != true).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(
        (verdict["ok"].clone(), program.status.code()),
        (true.into(), Some(0))
    );
    rows
}

/// There are rows about all of this.
fn shows(rows: &[serde_json::Value], all: &[&str]) {
    for shown in all {
        let named =
            |row: &serde_json::Value| row["name"].as_str().is_some_and(|n| n.contains(shown));
        assert!(rows.iter().any(named), "no row about {shown}");
    }
}

/// Every row holds, the promised ones among them.
#[test]
fn every_row_of_the_demonstration_holds() {
    let promised = [
        "Teams calls",
        "the PBX calls",
        "holds",
        "limit",
        "unknown peer",
    ];
    shows(&verdict(&[]), &promised);
}

/// Every scenario of conformance passes against Tollgate, in the shape that is promised.
#[test]
fn every_scenario_of_conformance_passes() {
    let rows = verdict(&["--conform"]);
    assert!(rows.len() > 40 && rows.iter().all(|row| row["items"][0].is_string()));
}

/// D-21, D-22, D-30, D-33: a telephone comes out of its box and is activated by its keys; it calls and is called.
#[test]
fn a_telephone_is_taken_out_of_its_box() {
    let promised = [
        "finds a file",
        "code is typed",
        "told to look again",
        "calls a user at Teams",
        "Teams calls it",
    ];
    shows(&verdict(&["--phone"]), &promised);
}

/// P-16, O-07, T-10, A-20, A-21: a customer is entered, activated, gets users and an upgrade, and is called both ways.
#[test]
fn a_customer_is_taken_to_its_first_calls() {
    let promised = [
        "enters the customer",
        "activates it",
        "users",
        "the upgrade makes",
        "Teams calls",
        "calls Teams",
    ];
    shows(&verdict(&["--provisioning"]), &promised);
}
