use super::Config;
use super::address::is_host_name;
use super::ranges::ranges;
use crate::mail::Tls;
use crate::telemetry::log;
use std::collections::BTreeSet;

/// What the types cannot say: limits, and values that must agree. `report` gets the key and what is wrong.
pub(super) fn check(config: &Config, report: &mut dyn FnMut(&str, String)) {
    for (key, value, range) in ranges(config) {
        if !range.contains(&value) {
            let (least, most) = range.into_inner();
            report(key, format!("{value} is not from {least} to {most}"));
        }
    }
    sip(config, report);
    tls(config, report);
    media(config, report);
    microsoft(config, report);
    sign_in(config, report);
    for name in config.dns.hosts.keys().filter(|name| !is_host_name(name)) {
        report("dns.hosts", format!("{name:?} is no host name"));
    }
    for name in config.teams.names.iter().filter(|name| !is_host_name(name)) {
        report("teams.names", format!("{name:?} is no host name"));
    }
    for number in config
        .calls
        .emergency_numbers
        .iter()
        .filter(|number| !is_dialled(number))
    {
        report(
            "calls.emergency_numbers",
            format!("{number:?} is not 1 to 15 digits, * or #"),
        );
    }
    phones(config, report);
    seats(config, report);
    phone_files(config, report);
    mail(config, report);
    if let Err(error) = log::check_level(&config.log.level) {
        report("log.level", error.to_string());
    }
}

fn phones(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let phones = &config.phones;
    for (key, longest) in [
        ("phones.max_expires_s", phones.max_expires),
        ("phones.path_expires_s", phones.path_expires),
    ] {
        if longest < phones.min_expires {
            report(key, "is shorter than phones.min_expires_s".to_owned());
        }
    }
}

fn seats(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let seats = &config.seats;
    if seats.folder.is_some() && seats.url.is_some() {
        report(
            "seats.url",
            "seats.folder is set, too: there is one such system".to_owned(),
        );
    }
    let is_http = |url: &&str| !url.starts_with("http://") && !url.starts_with("https://");
    if let Some(url) = seats.url.as_deref().filter(is_http) {
        report("seats.url", format!("{url:?} is no http or https address"));
    }
    if seats.token_file.is_some() && seats.url.is_none() {
        report("seats.token_file", "goes with seats.url".to_owned());
    }
}

fn phone_files(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let from = &config.phone_files;
    if from.certificate.is_some() != from.private_key.is_some() {
        let problem = "phone_files.certificate and phone_files.private_key belong together";
        report("phone_files.private_key", problem.to_owned());
    }
    let is_development = from.certificate.is_none() && config.tls.certificate.is_none();
    if let Some(address) = from.listen
        && is_development
        && !address.ip().is_loopback()
    {
        let problem = format!(
            "phone_files.listen is {address}; development certificates serve loopback only"
        );
        report("phone_files.certificate", problem);
    }
    let is_https = |url: &str| url.starts_with("https://") && !url.contains(char::is_whitespace);
    if let Some(url) = from.base_url.as_deref().filter(|url| !is_https(url)) {
        report(
            "phone_files.base_url",
            format!("{url:?} is no https address"),
        );
    }
    if let Some(host) = from.sip_host.as_deref().filter(|host| !is_host(host)) {
        let problem = format!("{host:?} is neither a host name nor an address");
        report("phone_files.sip_host", problem);
    }
    let is_http = |url: &str| url.starts_with("http://") || url.starts_with("https://");
    if let Some(url) = from.redirect_url.as_deref().filter(|url| !is_http(url)) {
        let problem = format!("{url:?} is no http or https address");
        report("phone_files.redirect_url", problem);
    }
    if from.redirect_token_file.is_some() && from.redirect_url.is_none() {
        let problem = "goes with phone_files.redirect_url";
        report("phone_files.redirect_token_file", problem.to_owned());
    }
}

fn mail(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let mail = &config.mail;
    if mail.server.is_some() && !mail.from.contains('@') {
        report("mail.from", "is needed with mail.server".to_owned());
    }
    if mail.username.is_some() != mail.password_file.is_some() {
        report(
            "mail.password_file",
            "goes with mail.username, and the other way round".to_owned(),
        );
    }
    if mail.username.is_some() && mail.tls == Tls::None {
        report("mail.tls", "the password would go in clear".to_owned());
    }
    let url = config.admin.public_url.as_deref();
    let is_http = |url: &str| url.starts_with("http://") || url.starts_with("https://");
    if let Some(url) = url.filter(|url| !is_http(url)) {
        report(
            "admin.public_url",
            format!("{url:?} is no http or https address"),
        );
    }
    if mail.server.is_some() && url.is_none() {
        report(
            "admin.public_url",
            "is needed with mail.server: links in letters begin with it".to_owned(),
        );
    }
}

fn sip(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let sip = &config.sip;
    for (key, list) in [
        ("sip.udp", &sip.udp),
        ("sip.tcp", &sip.tcp),
        ("sip.tls", &sip.tls),
    ] {
        let fixed: Vec<_> = list.iter().filter(|address| address.port() != 0).collect();
        if fixed.iter().collect::<BTreeSet<_>>().len() < fixed.len() {
            report(key, "an address stands there twice".to_owned());
        }
    }
    for both in sip
        .tcp
        .iter()
        .filter(|address| address.port() != 0 && sip.tls.contains(address))
    {
        report("sip.tls", format!("{both} is also in sip.tcp"));
    }
    if sip.udp.is_empty() && sip.tcp.is_empty() && sip.tls.is_empty() {
        report(
            "sip.tls",
            "there is no listener: sip.udp, sip.tcp and sip.tls are all empty".to_owned(),
        );
    }
    if let Some(host) = sip.public_host.as_deref().filter(|host| !is_host(host)) {
        report(
            "sip.public_host",
            format!("{host:?} is neither a host name nor an address"),
        );
    }
}

fn tls(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let tls = &config.tls;
    if tls.certificate.is_some() != tls.private_key.is_some() {
        report(
            "tls.private_key",
            "tls.certificate and tls.private_key belong together".to_owned(),
        );
    }
    if tls.dialler_certificate.is_some() != tls.dialler_private_key.is_some() {
        let problem = "tls.dialler_certificate and tls.dialler_private_key belong together";
        report("tls.dialler_private_key", problem.to_owned());
    }
    if tls.certificate.is_none() {
        for address in config
            .sip
            .tls
            .iter()
            .filter(|address| !address.ip().is_loopback())
        {
            let problem = format!(
                "sip.tls listens at {address}; development certificates serve loopback only"
            );
            report("tls.certificate", problem);
        }
    }
}

fn microsoft(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let microsoft = &config.microsoft;
    if microsoft.client_id.is_some() && microsoft.redirect_uri.is_none() {
        let problem = "microsoft.client_id needs it: administrators must find back";
        report("microsoft.redirect_uri", problem.to_owned());
    }
    if microsoft.client_secret.is_some() && microsoft.client_secret_file.is_some() {
        let problem = "microsoft.client_secret is set, too";
        report("microsoft.client_secret_file", problem.to_owned());
    }
    let location = microsoft.usage_location.as_bytes();
    if location.len() != 2 || !location.iter().all(u8::is_ascii_uppercase) {
        report(
            "microsoft.usage_location",
            format!("{:?} is not two capital letters", microsoft.usage_location),
        );
    }
    if config.publish.key_name.is_some() != config.publish.key.is_some() {
        let problem = "publish.key_name and publish.key belong together";
        report("publish.key", problem.to_owned());
    }
}

fn sign_in(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let sign_in = &config.sign_in;
    if sign_in.issuer.is_some() && sign_in.client_id.is_none() {
        let problem = "sign_in.issuer needs it: the provider must know us";
        report("sign_in.client_id", problem.to_owned());
    }
    if sign_in.issuer.is_some() && config.admin.public_url.is_none() {
        let problem = "is needed with sign_in.issuer: people must find back";
        report("admin.public_url", problem.to_owned());
    }
    if sign_in.client_secret.is_some() && sign_in.client_secret_file.is_some() {
        let problem = "sign_in.client_secret is set, too";
        report("sign_in.client_secret_file", problem.to_owned());
    }
}

fn media(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let media = &config.media;
    let told = media.advertised_address.unwrap_or(media.address);
    if told.is_unspecified() {
        report(
            "media.advertised_address",
            format!("peers cannot send to {told}; a real address is needed"),
        );
    } else if told.is_ipv4() != media.address.is_ipv4() {
        report(
            "media.advertised_address",
            "it is of another IP version than media.address".to_owned(),
        );
    }
    if media.port_min < 1024 || media.port_min % 2 == 1 {
        report(
            "media.port_min",
            format!("{} is odd or below 1024", media.port_min),
        );
    }
    if u32::from(media.port_max) < u32::from(media.port_min) + 3 {
        let problem = format!(
            "from {} to {} there are not four ports for one call",
            media.port_min, media.port_max
        );
        report("media.port_max", problem);
        return;
    }
    let pairs = usize::from((media.port_max - media.port_min).div_ceil(2));
    let needed = config.calls.max_calls * Config::LEGS_PER_CALL;
    if pairs < needed {
        let problem = format!(
            "from {} to {} there are {pairs} pairs of ports, and calls.max_calls = {} needs {needed}",
            media.port_min, media.port_max, config.calls.max_calls
        );
        report("media.port_max", problem);
    }
}

fn is_dialled(number: &str) -> bool {
    let is_key = |c: u8| c.is_ascii_digit() || c == b'*' || c == b'#';
    (1..=15).contains(&number.len()) && number.bytes().all(is_key)
}

fn is_host(text: &str) -> bool {
    is_host_name(text)
        || text
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use crate::config::load;

    /// Each row sets keys to values that are fine alone and names the key that must be blamed for the combination.
    #[test]
    fn values_that_contradict_each_other_are_refused() {
        let rows: &[(&[(&str, &str)], &str)] = &[
            (
                &[("SIP__UDP", ""), ("SIP__TCP", ""), ("SIP__TLS", "")],
                "sip.tls",
            ),
            (&[("SIP__TCP", "127.0.0.1:5061")], "sip.tls"),
            (&[("SIP__UDP", "127.0.0.1:5060,127.0.0.1:5060")], "sip.udp"),
            (
                &[("SIP__T1_MS", "5000"), ("SIP__T4_MS", "6000")],
                "sip.t2_ms",
            ),
            (&[("SIP__TLS", "192.0.2.1:5061")], "tls.certificate"),
            (&[("TLS__CERTIFICATE", "a.pem")], "tls.private_key"),
            (&[("TEAMS__PROXIES", "")], "teams.proxies"),
            (&[("MEDIA__ADDRESS", "0.0.0.0")], "media.advertised_address"),
            (&[("MEDIA__PORT_MIN", "20001")], "media.port_min"),
            (
                &[("MEDIA__PORT_MIN", "40000"), ("MEDIA__PORT_MAX", "40002")],
                "media.port_max",
            ),
            (
                &[("MEDIA__PORT_MAX", "20999"), ("CALLS__MAX_CALLS", "251")],
                "media.port_max",
            ),
            (
                &[
                    ("CALLS__SESSION_EXPIRES_S", "100"),
                    ("CALLS__MIN_SE_S", "101"),
                ],
                "calls.min_se_s",
            ),
            (
                &[("CALLS__EMERGENCY_NUMBERS", "112,+112")],
                "calls.emergency_numbers",
            ),
            (&[("MICROSOFT__CLIENT_ID", "a")], "microsoft.redirect_uri"),
            (
                &[
                    ("MICROSOFT__CLIENT_SECRET", "a"),
                    ("MICROSOFT__CLIENT_SECRET_FILE", "b"),
                ],
                "microsoft.client_secret_file",
            ),
            (
                &[("MICROSOFT__USAGE_LOCATION", "Germany")],
                "microsoft.usage_location",
            ),
            (
                &[
                    ("SIGN_IN__ISSUER", "https://login.example"),
                    ("ADMIN__PUBLIC_URL", "https://sbc.example.net"),
                ],
                "sign_in.client_id",
            ),
            (
                &[
                    ("SIGN_IN__ISSUER", "https://login.example"),
                    ("SIGN_IN__CLIENT_ID", "a"),
                ],
                "admin.public_url",
            ),
            (
                &[
                    ("SIGN_IN__CLIENT_SECRET", "a"),
                    ("SIGN_IN__CLIENT_SECRET_FILE", "b"),
                ],
                "sign_in.client_secret_file",
            ),
            (&[("PUBLISH__KEY_NAME", "tollgate")], "publish.key"),
            (
                &[("PHONE_FILES__CERTIFICATE", "a.pem")],
                "phone_files.private_key",
            ),
            (
                &[("PHONE_FILES__LISTEN", "192.0.2.1:443")],
                "phone_files.certificate",
            ),
            (
                &[("PHONE_FILES__BASE_URL", "http://prov.example.net")],
                "phone_files.base_url",
            ),
            (&[("PHONE_FILES__SIP_HOST", "a b")], "phone_files.sip_host"),
            (
                &[("PHONE_FILES__REDIRECT_URL", "ftp://a")],
                "phone_files.redirect_url",
            ),
            (
                &[("PHONE_FILES__REDIRECT_TOKEN_FILE", "a")],
                "phone_files.redirect_token_file",
            ),
            (&[("LOG__LEVEL", "info,tollgate::net=loud")], "log.level"),
            (
                &[("DNS__HOSTS", r#"{ "a b" = ["127.0.0.1"] }"#)],
                "dns.hosts",
            ),
        ];
        for (set, blamed) in rows {
            let environment = set
                .iter()
                .map(|(key, value)| (format!("TOLLGATE__{key}"), value.to_string()));
            let error = load(None, environment).expect_err(blamed);
            let keys: Vec<_> = error.0.iter().map(|problem| problem.key.as_str()).collect();
            assert_eq!(keys, [*blamed], "{error}");
            assert!(!error.0[0].rule.is_empty());
        }
    }
}
