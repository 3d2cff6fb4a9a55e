//! The demonstration as a user runs it: the built program, real sockets, every row.

use std::process::Command;

/// Every row holds, the promised ones among them, and the exit status says the same.
#[test]
fn every_row_of_the_demonstration_holds() {
    let program = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["demo", "--json"])
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&program.stdout);
    let complaints = String::from_utf8_lossy(&program.stderr);
    let verdict: serde_json::Value =
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}{complaints}"));
    let rows = verdict["rows"].as_array().expect("rows");
    let failed: Vec<_> = rows.iter().filter(|row| row["ok"] != true).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    for shown in [
        "Teams calls",
        "the PBX calls",
        "holds",
        "limit",
        "unknown peer",
    ] {
        let named =
            |row: &serde_json::Value| row["name"].as_str().is_some_and(|n| n.contains(shown));
        assert!(rows.iter().any(named), "no row about {shown}");
    }
    assert_eq!(
        (verdict["ok"].clone(), program.status.code()),
        (true.into(), Some(0))
    );
}

/// Every scenario of conformance passes against Tollgate, in the shape that is promised, and the exit status says the
/// same.
#[test]
fn every_scenario_of_conformance_passes() {
    let program = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["demo", "--conform", "--json"])
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&program.stdout);
    let complaints = String::from_utf8_lossy(&program.stderr);
    let verdict: serde_json::Value =
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}{complaints}"));
    let rows = verdict["rows"].as_array().expect("rows");
    assert!(rows.len() > 40 && rows.iter().all(|row| row["items"][0].is_string()));
    let failed: Vec<_> = rows.iter().filter(|row| row["ok"] != true).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(
        (verdict["ok"].clone(), program.status.code()),
        (true.into(), Some(0))
    );
}
