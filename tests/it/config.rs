//! Configuration files as users write them.

use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use tollgate::config::{Config, ConfigError, DEFAULTS, load};
use tollgate::sip::Transport;

/// A file with this text; it lives as long as the directory.
fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("tollgate.toml");
    fs::write(&path, text).expect("a file in it");
    (directory, path)
}

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let (_directory, path) = file(text);
    let environment = environment
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    load(Some(&path), environment)
}

/// Each problem as `key: what is wrong`, without the path of the temporary file.
fn problems(error: &ConfigError) -> Vec<String> {
    error
        .0
        .iter()
        .map(|problem| format!("{}: {}", problem.key, problem.problem))
        .collect()
}

/// The commented file of the repository, given as a user's own, changes nothing.
#[test]
fn the_shipped_file_equals_the_defaults() {
    assert_eq!(read(DEFAULTS, &[]).unwrap(), load(None, []).unwrap());
}

/// The file wins over the defaults, the environment over the file, key by key; names with dots are names.
#[test]
fn layers_win_in_order() {
    let text = r#"
        data_dir = "/var/lib/tollgate"
        [sip]
        udp = ["192.0.2.1:5060"]
        t1_ms = 300
        [dns.hosts]
        "sip.pstnhub.microsoft.com" = ["127.0.0.2", "::1"]
    "#;
    let config = read(text, &[("TOLLGATE__SIP__T1_MS", "400")]).unwrap();
    assert_eq!(config.sip.udp, ["192.0.2.1:5060".parse().unwrap()]);
    assert_eq!(
        (config.sip.t1.as_millis(), config.sip.t2.as_millis()),
        (400, 4000)
    );
    assert_eq!(config.dns.hosts["sip.pstnhub.microsoft.com"].len(), 2);
    assert_eq!(
        config.database(),
        PathBuf::from("/var/lib/tollgate/tollgate.db")
    );
}

/// A text is no number in a file, a whole number no fraction, a port no 70000, and all are told together with what
/// would be right; a mistake in one key does not hide the rule that another breaks.
#[test]
fn every_mistake_of_a_file_is_told() {
    let text = r#"
        data_dri = "x"
        [sip]
        t1_ms = "500"
        max_connections = 10.5
        [admin]
        listen = "127.0.0.1:70000"
        [media]
        port_min = 70000
        dscp = 64
        [log]
        format = "xml"
        [portal]
        colour = "blue"
    "#;
    let error = read(
        text,
        &[("TOLLGATE__TEAMS__ADDRESS_RANGES", "52.113.0.0/14")],
    )
    .unwrap_err();
    let expected = [
        "admin.listen: invalid socket address syntax",
        "data_dri: there is no such key; is it data_dir?",
        "log.format: unknown variant `xml`, expected `text` or `json`",
        "media.dscp: 64 is not from 0 to 63",
        "media.port_min: invalid value: integer `70000`, expected u16",
        "portal.colour: there is no such section; there are admin, audit, calls, cdr, dns, ladder, log, mail, media, metrics, microsoft, phone_files, phones, publish, registrations, seats, sign_in, sip, store, teams, tls, why",
        "sip.max_connections: invalid type: floating point `10.5`, expected usize",
        r#"sip.t1_ms: invalid type: string "500", expected u32"#,
        r#"teams.address_ranges: "52.113.0.0/14": address bits after the prefix must be zero"#,
    ];
    assert_eq!(problems(&error), expected);
    for problem in error
        .0
        .iter()
        .filter(|problem| !problem.problem.contains("no such"))
    {
        assert!(problem.rule.ends_with('.'), "{problem}");
    }
    let text = error.to_string();
    assert!(
        text.contains("tollgate.toml") && text.contains("the environment"),
        "{text}"
    );
}

/// A file that is not TOML is told with the place; so is one that does not exist. What the environment says wrong is
/// told as well.
#[test]
fn an_unreadable_file_is_told() {
    let error = read("[sip]\nudp = [\n", &[("TOLLGATE__SIP__NOPE", "1")]).unwrap_err();
    assert_eq!(error.0.len(), 2, "{error}");
    assert!(error.0[0].problem.contains("line"), "{error}");
    let error = load(Some(PathBuf::from("/nowhere/tollgate.toml").as_path()), []).unwrap_err();
    assert!(
        error.to_string().contains("/nowhere/tollgate.toml"),
        "{error}"
    );
}

/// TDR-101, TDR-106: Microsoft's three proxies in their order, by TLS to 5061, and no name that Microsoft has withdrawn.
#[test]
fn the_proxies_are_microsofts_three() {
    let config = load(None, []).unwrap();
    let proxies = config.calls().teams_proxies;
    let hosts: Vec<_> = proxies.iter().map(|hop| hop.host.as_str()).collect();
    let wanted = ["sip", "sip2", "sip3"].map(|name| format!("{name}.pstnhub.microsoft.com"));
    assert_eq!(hosts, wanted);
    for hop in &proxies {
        assert_eq!(
            (hop.port, hop.transport),
            (Some(5061), Some(Transport::Tls))
        );
    }
    let withdrawn = ["sip-all.pstnhub", "baltimore"];
    for file in ["config/tollgate.toml", "config/trial.toml"] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = fs::read_to_string(path).unwrap().to_lowercase();
        assert!(withdrawn.iter().all(|name| !text.contains(name)), "{file}");
    }
}

/// What `config/trial.toml` sets is what the emulators need: names and networks of this machine.
#[test]
fn the_configuration_for_trials_is_good() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/trial.toml");
    let config = load(Some(&path), []).unwrap();
    assert!(config.uses_development_certificates());
    for proxy in &config.teams.proxies {
        assert!(
            config.dns.hosts[&proxy.host]
                .iter()
                .all(std::net::IpAddr::is_loopback)
        );
    }
}
