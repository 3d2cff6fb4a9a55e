//! The API against its own description: schemathesis makes requests of what the description says, and of what it forbids.

use crate::process::{PATIENCE, Running};
use crate::sbc::tollgate;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// Where `tests/run` puts it.
const PROGRAM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/schemathesis/bin/schemathesis"
);
/// What holds for every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// Every answer has a status, a media type and a shape that the description has for it, and none is the server's fault. The
/// requests are the same each time; so many seconds are enough for all of them, but that is no rule.
#[tokio::test]
async fn the_api_is_as_it_is_described() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("its address");
    drop(free);
    std::fs::write(
        here.join("tollgate.toml"),
        configuration(&address.to_string()),
    )
    .expect("a file");
    let run = ["run", "--config", "tollgate.toml"];
    let mut running = Running::start("tollgate", here, tollgate().args(run));
    assert!(running.prints("\nready\n").await, "{}", running.printed());
    let token = token(here);
    let base = format!("http://{address}");
    let mut command = Command::new(PROGRAM);
    command
        .args([
            "run",
            &format!("{base}/api/v1/openapi.json"),
            "--url",
            &base,
        ])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", CHECKS, "--phases", "examples,coverage"])
        // Signing out would end the token that all the others carry; the pages for people are no part of the API.
        .args(["--exclude-operation-id", "sign_out"])
        .args(["--exclude-path-regex", "^/api/docs"])
        .args(["--max-examples", "5", "--seed", "1", "--no-shrink"])
        .args(["--continue-on-failure", "--max-time", "240"])
        .args(["--request-timeout", &PATIENCE.as_secs().to_string()])
        .current_dir(here);
    let command = tokio::task::spawn_blocking(move || command.output());
    let output = command.await.expect("it is waited for");
    let output = output.unwrap_or_else(|error| panic!("{PROGRAM}: {error}; tests/run installs it"));
    let told = String::from_utf8_lossy(&output.stdout).replace(&token, "…");
    assert!(output.status.success(), "{told}");
    assert!(!told.contains("No operations"), "{told}");
    let printed = running.printed();
    assert!(!printed.contains("panicked"), "{printed}");
}

fn token(here: &Path) -> String {
    let token = ["token", "create", "--role", "carrier_admin"];
    let mut command = tollgate();
    command.args(token).args(["--config", "tollgate.toml"]);
    let token = command.current_dir(here).output().expect("it starts");
    assert!(token.status.success(), "{token:?}");
    let token = String::from_utf8(token.stdout).expect("a token");
    token.trim().to_owned()
}

fn configuration(address: &str) -> String {
    let any = "127.0.0.1:0";
    format!(
        "[sip]\nudp = [\"{any}\"]\ntcp = [\"{any}\"]\ntls = [\"{any}\"]\n[admin]\nlisten = \"{address}\"\n\
         [metrics]\nlisten = \"{any}\"\n[calls]\nmax_calls = 8\n"
    )
}
