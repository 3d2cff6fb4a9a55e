//! The program as a shell sees it: what it prints, and how it ends.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// `tollgate` in this directory, with nothing of ours in the environment but these.
fn command(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("TOLLGATE__")) {
        command.env_remove(key);
    }
    command
        .args(arguments)
        .current_dir(directory)
        .envs(environment.iter().copied());
    command
}

fn tollgate(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    command(directory, arguments, environment)
        .output()
        .expect("the program starts")
}

/// A `tollgate run` on free ports, and what it has printed up to the line that tells of the metrics.
struct Running {
    child: Child,
    printed: String,
    metrics: String,
}

impl Running {
    fn start(directory: &Path) -> Self {
        let any = "127.0.0.1:0";
        let keys = [
            "SIP__UDP",
            "SIP__TCP",
            "SIP__TLS",
            "ADMIN__LISTEN",
            "METRICS__LISTEN",
        ];
        let keys = keys.map(|key| format!("TOLLGATE__{key}"));
        let environment: Vec<_> = keys.iter().map(|key| (key.as_str(), any)).collect();
        let mut command = command(directory, &["run"], &environment);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut running = Self {
            child,
            printed: String::new(),
            metrics: String::new(),
        };
        for line in output.lines().map_while(Result::ok) {
            running.printed.push_str(&line);
            running.printed.push('\n');
            if let Some(address) = line.strip_prefix("  metrics       ") {
                running.metrics = address.to_owned();
            }
            if line.starts_with("ready") {
                break;
            }
        }
        running
    }

    /// Sends SIGTERM and waits for the end.
    fn stop(mut self) -> Option<i32> {
        let id = Pid::from_raw(self.child.id().cast_signed());
        kill(id, Signal::SIGTERM).expect("it runs");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended, unless a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
    for command in [
        "run",
        "demo",
        "check",
        "doctor",
        "why",
        "export",
        "import",
        "token",
        "account",
        "rotate-key",
        "certs",
        "emulate",
        "openapi",
    ] {
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
        &["export"],
        &["import", "bad.toml"],
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

/// What is provisioned goes out as a file and comes in as one, dry or not; a bad line changes nothing and is told. A Tollgate
/// that runs must do it itself.
#[test]
fn what_is_provisioned_goes_out_and_comes_in() {
    let here = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = tollgate(here.path(), arguments, &[]);
        let (told, wrong) = (
            text(&output.stdout).to_owned(),
            text(&output.stderr).to_owned(),
        );
        (output.status.code(), told, wrong)
    };
    let (status, _, wrong) = run(&["export"]);
    assert_eq!(status, Some(64));
    assert!(wrong.contains("there is no database"), "{wrong}");
    let file = "[regions.EU]\ndisplay_name = \"Europe\"\nbase_fqdn = \"eu.example.net\"\n";
    std::fs::write(here.path().join("good.toml"), file).unwrap();
    let bad = file.to_owned() + "[regions.us]\nbase_fqdn = \"us.example.net\"\n";
    std::fs::write(here.path().join("bad.toml"), bad).unwrap();
    let (status, _, wrong) = run(&["import", "bad.toml"]);
    assert_eq!(status, Some(64));
    assert!(wrong.contains("regions.us.display_name: "), "{wrong}");
    let (status, told, _) = run(&["import", "good.toml", "--dry-run"]);
    assert_eq!(status, Some(0));
    assert!(
        told.starts_with("+ regions.EU\n1 would be created, 0 would be changed"),
        "{told}"
    );
    let (status, told, _) = run(&["import", "good.toml"]);
    assert_eq!(status, Some(0));
    assert!(
        told.starts_with("+ regions.EU\n1 created, 0 changed"),
        "{told}"
    );
    let (status, told, _) = run(&["export", "-o", "out.toml"]);
    assert_eq!((status, told.as_str()), (Some(0), ""));
    let out = std::fs::read_to_string(here.path().join("out.toml")).unwrap();
    assert_eq!(run(&["export"]), (Some(0), out, String::new()));
    let (status, told, _) = run(&["import", "out.toml", "--prune"]);
    assert_eq!(status, Some(0));
    assert!(
        told.starts_with("0 created, 0 changed, 0 deleted, "),
        "{told}"
    );

    let running = Running::start(here.path());
    let (status, _, wrong) = run(&["import", "out.toml"]);
    assert_eq!(status, Some(64));
    assert!(wrong.contains("POST /api/v1/import"), "{wrong}");
    assert_eq!(run(&["export"]).0, Some(0));
    assert_eq!(running.stop(), Some(0));
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

/// Without any file: it listens on what it prints, shows a token on the first start only, and ends with 0.
#[tokio::test]
async fn it_runs_on_its_defaults_and_ends_when_told() {
    let here = tempfile::tempdir().unwrap();
    let first = Running::start(here.path());
    assert!(first.printed.contains("tg_"), "{}", first.printed);
    let client = reqwest::Client::builder().tls_certs_only([]).build();
    let answer = client
        .unwrap()
        .get(&first.metrics)
        .send()
        .await
        .expect("metrics are served");
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("tollgate_directory_generation")
    );
    assert_eq!(first.stop(), Some(0));

    let second = Running::start(here.path());
    assert!(
        second.printed.contains("ready") && !second.printed.contains("tg_"),
        "{}",
        second.printed
    );
    assert_eq!(second.stop(), Some(0));
}

/// An address that is taken is named, once, and is the user's to mend.
#[test]
fn a_taken_address_is_named() {
    let here = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let environment = [
        ("TOLLGATE__METRICS__LISTEN", address.as_str()),
        ("TOLLGATE__ADMIN__LISTEN", "127.0.0.1:0"),
    ];
    let output = tollgate(here.path(), &["run"], &environment);
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(
        text(&output.stderr).matches(&address).count(),
        1,
        "{}",
        text(&output.stderr)
    );
}

/// Two processes on one data directory would count each customer's channels apart: the second one says so and ends.
#[test]
fn a_data_directory_in_use_is_named() {
    let here = tempfile::tempdir().unwrap();
    std::fs::create_dir(here.path().join("data")).unwrap();
    let lock = std::fs::File::create(here.path().join("data/lock")).unwrap();
    lock.lock().unwrap();
    let output = tollgate(here.path(), &["run"], &[]);
    assert_eq!(output.status.code(), Some(64));
    let told = text(&output.stderr);
    assert!(told.contains("another tollgate runs on it"), "{told}");
}

/// The printed description of the API is JSON and knows the customers.
#[test]
fn the_api_is_described() {
    let here = tempfile::tempdir().unwrap();
    let output = tollgate(here.path(), &["openapi"], &[]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["paths"]["/api/v1/customers"]["post"].is_object());
}

/// The scenarios are listed with their items; what does not fit together, or names none, is the user's to mend.
#[test]
fn conformance_is_listed_and_its_arguments_are_checked() {
    let here = tempfile::tempdir().unwrap();
    let list = tollgate(here.path(), &["emulate", "teams", "--list"], &[]);
    assert_eq!(list.status.code(), Some(0));
    for shown in ["transfer-consult", "TDR-706", "byte for byte"] {
        assert!(text(&list.stdout).contains(shown), "{}", text(&list.stdout));
    }
    let try_it = ["emulate", "teams", "--conform", "127.0.0.1:9"];
    let gateway = ["--sbc-roots", "nowhere.pem", "--gateway", "sbc.test=+1"];
    for (more, complaint) in [
        (&["--scenario", "nonsense"][..], "--list"),
        (&[], "nowhere.pem"),
    ] {
        let wrong = tollgate(here.path(), &[&try_it, &gateway, more].concat(), &[]);
        assert_eq!(wrong.status.code(), Some(64), "{more:?}");
        assert!(
            text(&wrong.stderr).contains(complaint),
            "{}",
            text(&wrong.stderr)
        );
    }
    let help = tollgate(here.path(), &["emulate", "teams", "--help"], &[]);
    for option in [
        "--conform",
        "--scenario",
        "--junit",
        "--json",
        "--number",
        "--proxy",
    ] {
        assert!(
            text(&help.stdout).contains(option),
            "{option} is not in the help"
        );
    }
}
