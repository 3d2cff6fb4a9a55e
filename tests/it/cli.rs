//! The program as a shell sees it: what it prints, and how it ends.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `tollgate` in a directory of its own, with nothing of ours in the environment but these.
fn tollgate(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let ours = std::env::vars()
        .map(|(key, _)| key)
        .filter(|key| key.starts_with("TOLLGATE__"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    ours.for_each(|key| {
        command.env_remove(key);
    });
    let command = command
        .args(arguments)
        .current_dir(directory)
        .envs(environment.iter().copied());
    command.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program prints UTF-8")
}

/// Help is no error; a wrong word is one that the user must mend, told on standard error.
#[test]
fn arguments_are_explained_or_refused() {
    let here = tempfile::tempdir().unwrap();
    let help = tollgate(here.path(), &["--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    for command in ["check", "token", "certs"] {
        assert!(
            text(&help.stdout).contains(&format!("\n  {command}")),
            "{command} is not in the help"
        );
    }
    let wrong = tollgate(here.path(), &["rnu"], &[]);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(text(&wrong.stderr).contains("rnu"));
}

/// Each command that reads the configuration ends with 64 and tells every mistake in it.
#[test]
fn a_wrong_configuration_ends_every_command_with_64() {
    let here = tempfile::tempdir().unwrap();
    std::fs::write(
        here.path().join("bad.toml"),
        "[sip]\nt1_ms = 1\n[media]\nport_mni = 40000\n",
    )
    .unwrap();
    for command in [
        &["check"][..],
        &["certs", "dev"],
        &["token", "create", "--role", "noc"],
    ] {
        let output = tollgate(
            here.path(),
            &[command, &["--config", "bad.toml"]].concat(),
            &[],
        );
        assert_eq!(output.status.code(), Some(64), "{command:?}");
        let said = text(&output.stderr);
        assert!(
            said.contains("sip.t1_ms") && said.contains("media.port_mni"),
            "{command:?}: {said}"
        );
    }
    assert_eq!(
        std::fs::read_dir(here.path()).unwrap().count(),
        1,
        "a refused configuration leaves nothing behind"
    );
}

/// `check` changes nothing; `certs dev` makes three files once, of which `check` then tells.
#[test]
fn development_certificates_are_made_and_checked() {
    let here = tempfile::tempdir().unwrap();
    let check = tollgate(here.path(), &["check"], &[]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    assert!(!here.path().join("data").exists());

    let made = tollgate(here.path(), &["certs", "dev", "sbc.test"], &[]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let certificate = here.path().join("data/certs/sbc.crt");
    let first = std::fs::read(&certificate).unwrap();
    tollgate(here.path(), &["certs", "dev", "sbc.test"], &[]);
    assert_eq!(std::fs::read(&certificate).unwrap(), first);

    let check = tollgate(here.path(), &["check"], &[]);
    assert!(
        text(&check.stdout).contains("sbc.test"),
        "{}",
        text(&check.stdout)
    );
}

/// A certificate that is not there and one that is none are both named, with all else that is wrong.
#[test]
fn check_names_every_bad_file() {
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("none.crt"), "no certificate").unwrap();
    std::fs::write(
        here.path().join("tollgate.db"),
        "no database, but long enough to be taken for one".repeat(40),
    )
    .unwrap();
    let environment = [
        ("TOLLGATE__TLS__CERTIFICATE", "none.crt"),
        ("TOLLGATE__TLS__PRIVATE_KEY", "nowhere.key"),
        ("TOLLGATE__STORE__PATH", "tollgate.db"),
    ];
    let check = tollgate(here.path(), &["check"], &environment);
    assert_eq!(check.status.code(), Some(64));
    let said = text(&check.stderr);
    for bad in ["none.crt", "nowhere.key", "tollgate.db"] {
        assert!(said.contains(bad), "{bad} is not in:\n{said}");
    }
}

/// A token is printed alone on standard output, belongs to the database in the data directory, and needs a scope
/// exactly if its role has one.
#[test]
fn a_token_is_created_on_the_command_line() {
    let here = tempfile::tempdir().unwrap();
    let made = tollgate(
        here.path(),
        &["token", "create", "--role", "noc", "--days", "30"],
        &[],
    );
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let token = text(&made.stdout).trim();
    assert!(
        token.starts_with("tg_") && token.len() > 40 && !token.contains(char::is_whitespace),
        "{token}"
    );
    let database = std::fs::read(here.path().join("data/tollgate.db")).unwrap();
    let shown = database
        .windows(token.len())
        .any(|bytes| bytes == token.as_bytes());
    assert!(!shown, "the database holds the token itself, not its hash");

    let check = tollgate(here.path(), &["check"], &[]);
    assert!(
        text(&check.stdout).contains("0 customers"),
        "{}",
        text(&check.stdout)
    );
    let no_scope = tollgate(
        here.path(),
        &["token", "create", "--role", "customer_admin"],
        &[],
    );
    assert_eq!(no_scope.status.code(), Some(64));
    assert!(text(&no_scope.stderr).contains("--scope"));
    let no_role = tollgate(here.path(), &["token", "create", "--role", "king"], &[]);
    assert_eq!(no_role.status.code(), Some(64));
}
