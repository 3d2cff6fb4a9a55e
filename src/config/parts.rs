use super::{ClientCertificates, Config, HostPort};
use crate::directory::{Profile, Secret};
use crate::microsoft::{self, Roots};
use crate::net::https::HttpsConfig;
use crate::net::zone::{ZoneConfig, ZoneKey};
use crate::net::{dev_certificates, relay};
use crate::sip::{Hop, Identity, Realm, SentBy, Transport};
use crate::store::Retention;
use crate::telemetry::ladder::recorder;
use crate::{b2bua, backend, directory, doctor, mail, net};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

/// What the modules below are configured with. Limits that no key sets keep the module's own default.
impl Config {
    /// For [`net::start`].
    pub fn net(&self) -> net::Config {
        let sip = &self.sip;
        net::Config {
            udp: sip.udp.clone(),
            tcp: sip.tcp.clone(),
            tls: sip.tls.clone(),
            max_connections: sip.max_connections,
            max_connections_per_source: sip.max_connections_per_source,
            handshake_timeout: sip.handshake_timeout,
            connect_timeout: sip.connect_timeout,
            idle_timeout: sip.idle_timeout,
            keep_alive: sip.keep_alive,
            renew_after: sip.renew,
            reload_poll: self.tls.reload,
            dscp: sip.dscp,
            dns: net::DnsConfig {
                nameservers: self.dns.nameservers.clone(),
                hosts: self.dns.hosts.clone().into_iter().collect(),
                timeout: self.dns.timeout,
                ..net::DnsConfig::default()
            },
            ..net::Config::default()
        }
    }

    /// For [`net::TlsMaterial::load`]. Where no certificate is configured, it is the development set that
    /// [`dev_certificates::ensure`] makes in [`Self::development_directory`], and its root is trusted for trunks.
    pub fn tls(&self) -> net::TlsConfig {
        let tls = &self.tls;
        let own = identity(&tls.certificate, &tls.private_key);
        let development = dev_certificates::files(&self.development_directory());
        let root = own.is_none().then_some(development.ca);
        net::TlsConfig {
            listener: own.unwrap_or(development.identity),
            dialler: identity(&tls.dialler_certificate, &tls.dialler_private_key),
            teams_roots: tls.teams_roots.clone(),
            trunk_roots: tls.trunk_roots.clone().or(root),
            teams_names: self.teams.names.clone(),
            client_certificates: match tls.client_certificates {
                ClientCertificates::Required => net::ClientCertificates::Required,
                ClientCertificates::Optional => net::ClientCertificates::Optional,
            },
        }
    }

    /// Whether certificates of our own making serve on loopback, because none is configured.
    pub fn uses_development_certificates(&self) -> bool {
        self.tls.certificate.is_none()
    }

    /// Where the development set lies.
    pub fn development_directory(&self) -> PathBuf {
        self.data_dir.join("certs")
    }

    /// Names and addresses that the development set must carry.
    pub fn development_names(&self) -> Vec<String> {
        let mut names = DEVELOPMENT_NAMES.map(str::to_owned).to_vec();
        names.extend(self.sip.public_host.clone());
        names.extend(self.sip.tls.iter().map(|address| address.ip().to_string()));
        names.sort();
        names.dedup();
        names
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.store
            .path
            .clone()
            .unwrap_or_else(|| self.data_dir.join("tollgate.db"))
    }

    /// The file of the keys that secrets in the database are sealed with.
    pub fn key_file(&self) -> PathBuf {
        let default = || self.data_dir.join("secrets.key");
        self.store.key_file.clone().unwrap_or_else(default)
    }

    /// For [`backend::open`].
    pub fn seats(&self) -> backend::Config {
        let seats = &self.seats;
        backend::Config {
            folder: seats.folder.clone(),
            url: seats.url.clone(),
            token_file: seats.token_file.clone(),
            timeout: seats.timeout,
        }
    }

    /// For [`Https::bind`](net::https::Https::bind), of the files of desk telephones; none: they are not served.
    pub fn phone_files(&self) -> Option<HttpsConfig> {
        let from = &self.phone_files;
        let own = identity(&from.certificate, &from.private_key);
        Some(HttpsConfig {
            listen: from.listen?,
            identity: own.unwrap_or_else(|| self.tls().listener),
            client_roots: from.client_roots.clone(),
            max_connections: from.max_connections,
            max_connections_per_source: from.max_connections_per_source,
        })
    }

    /// For [`Recorder::new`](crate::telemetry::ladder::recorder::Recorder::new); none: it is off.
    pub fn ladders(&self) -> Option<recorder::Limits> {
        let ladder = &self.ladder;
        ladder.enabled.then_some(recorder::Limits {
            messages: ladder.max_messages,
            bytes: ladder.max_bytes,
            total: ladder.max_total_mib << 20,
            keep: ladder.keep,
            call_messages: ladder.max_call_messages,
            call_bytes: ladder.max_call_bytes,
        })
    }

    /// For [`Doctor::new`](doctor::Doctor::new), of an SBC that need not run.
    pub fn doctor(&self) -> doctor::Config {
        let tls = self.tls();
        let mut certificates = vec![tls.listener.certificate];
        certificates.extend(tls.dialler.map(|identity| identity.certificate));
        let own = |bound: &[SocketAddr], transport: Transport| Identity {
            host: self.sip.public_host.clone().unwrap_or_else(|| {
                bound
                    .first()
                    .map_or_else(|| "127.0.0.1".to_owned(), |a| a.ip().to_string())
            }),
            port: bound
                .first()
                .map_or(transport.default_port(), SocketAddr::port),
        };
        let net = self.net();
        doctor::Config {
            dns: net.dns,
            timeout: self.sip.connect_timeout + self.sip.t1 * 4,
            certificates,
            roots: None,
            listening: self.sip.tls.clone(),
            calls: self.calls(),
            endpoint: self.endpoint(),
            sent_by: SentBy {
                udp: own(&self.sip.udp, Transport::Udp),
                tcp: own(&self.sip.tcp, Transport::Tcp),
                tls: own(&self.sip.tls, Transport::Tls),
            },
            teams_ranges: self.teams.address_ranges.clone(),
        }
    }

    /// For [`housekeeping`](crate::store::housekeeping()).
    pub fn retention(&self) -> Retention {
        let kept = |days: u16| (days > 0).then(|| Duration::from_secs(u64::from(days) * 86_400));
        Retention {
            cdrs: kept(self.cdr.retention_days),
            traces: kept(self.why.retention_days),
            audit: kept(self.audit.retention_days),
        }
    }

    /// Where call records wait for the database.
    pub fn spool(&self) -> PathBuf {
        self.data_dir.join("cdr")
    }

    /// Legs of one call, in the long run.
    pub const LEGS_PER_CALL: usize = 2;

    /// For [`relay::Relay::start`](crate::net::relay::Relay::start).
    pub fn relay(&self) -> relay::Config {
        let legs = (self.calls.max_calls + 1) * Self::LEGS_PER_CALL + self.calls.max_announcements;
        relay::Config {
            threads: match self.media.threads {
                0 => available_parallelism().map_or(1, usize::from),
                threads => threads,
            },
            pin: self.media.pin_threads,
            legs,
            dscp: self.media.dscp,
            receive_buffer: self.media.receive_buffer_kib << 10,
            collect: self.media.collect,
            ..relay::Config::default()
        }
    }

    /// For [`Endpoint::new`](crate::sip::Endpoint::new).
    pub fn endpoint(&self) -> crate::sip::Config {
        let sip = &self.sip;
        crate::sip::Config {
            t1: sip.t1,
            t2: sip.t2,
            t4: sip.t4,
            trying_timeout: sip.trying_timeout,
            proceeding_timeout: sip.proceeding_timeout,
            max_transactions: sip.max_transactions,
        }
    }

    /// For [`Calls::new`](b2bua::Calls::new).
    pub fn calls(&self) -> b2bua::Config {
        let seconds = |d: Duration| u32::try_from(d.as_secs()).unwrap_or(u32::MAX);
        let teams = &self.teams;
        let hop = |proxy: &HostPort| Hop {
            host: proxy.host.clone(),
            port: Some(proxy.port),
            transport: Some(Transport::Tls),
            realm: Realm::Teams,
        };
        let version = env!("CARGO_PKG_VERSION");
        b2bua::Config {
            ring_timeout: self.calls.ring_timeout,
            max_duration: Some(self.calls.max_duration),
            max_calls: self.calls.max_calls,
            max_announcements: self.calls.max_announcements,
            announcement_max: self.calls.announcement_max,
            media_inactivity: self.media.inactivity_timeout,
            media_address: self.media.address,
            advertised_address: self.media.advertised_address.unwrap_or(self.media.address),
            teams_profile: Arc::new(Profile {
                session_expires_s: Some(seconds(self.calls.session_expires)),
                min_se_s: seconds(self.calls.min_se),
                transfer_ringback_s: teams.transfer_ringback_s,
                ..Profile::teams()
            }),
            phone_profile: Arc::new(Profile {
                srtp: self.phones.srtp,
                session_expires_s: Some(seconds(self.calls.session_expires)),
                min_se_s: seconds(self.calls.min_se),
                ..Profile::phone()
            }),
            registrar: b2bua::RegistrarConfig {
                enabled: self.phones.enabled,
                max_phones: self.phones.max_phones,
                max_bootstraps: self.phones.max_unactivated,
                min_expires: self.phones.min_expires,
                max_expires: self.phones.max_expires,
                path_expires: self.phones.path_expires,
                sha256: self.phones.sha256,
                // Only who runs reads the file.
                bootstrap_password: None,
            },
            teams_proxies: teams.proxies.iter().map(hop).collect(),
            teams_domains: teams.names.iter().filter_map(|name| domain(name)).collect(),
            options_interval: teams.options_interval,
            unknown_peers: self.sip.unknown_peers,
            registrations: b2bua::RegistrationConfig {
                per_second: self.registrations.per_second,
                most: self.registrations.max,
            },
            product: format!("Tollgate/{version}"),
            x_ms_sbc: format!("Tollgate/Tollgate/{version}"),
        }
    }

    /// For [`microsoft::Microsoft::new`](crate::microsoft::Microsoft::new).
    ///
    /// # Errors
    /// The file with the secret cannot be read.
    pub fn microsoft(&self) -> std::io::Result<microsoft::Config> {
        let from = &self.microsoft;
        let client_secret = one_of(
            from.client_secret.as_ref(),
            from.client_secret_file.as_deref(),
        )?;
        Ok(microsoft::Config {
            login_base: from.login_base.clone(),
            graph_base: from.graph_base.clone(),
            teams_base: from.teams_base.clone(),
            client_id: from.client_id.clone().unwrap_or_default(),
            client_secret,
            redirect_uri: from.redirect_uri.clone().unwrap_or_default(),
            roots: roots(&from.roots),
            plain_http: from.plain_http,
            timeout: from.timeout,
        })
    }

    /// For [`microsoft::OpenId::new`]; none if people sign in with passwords only.
    ///
    /// # Errors
    /// The file with the secret cannot be read.
    pub fn sign_in(&self) -> std::io::Result<Option<microsoft::OpenIdConfig>> {
        let from = &self.sign_in;
        let Some(issuer) = from.issuer.clone() else {
            return Ok(None);
        };
        let public_url = self.admin.public_url.as_deref().unwrap_or_default();
        Ok(Some(microsoft::OpenIdConfig {
            issuer,
            client_id: from.client_id.clone().unwrap_or_default(),
            client_secret: one_of(
                from.client_secret.as_ref(),
                from.client_secret_file.as_deref(),
            )?,
            redirect_uri: format!("{}/oidc/callback", public_url.trim_end_matches('/')),
            roots: roots(&from.roots),
            plain_http: from.plain_http,
            timeout: from.timeout,
        }))
    }

    /// For [`mail::Mailer::new`]; none if no server is configured.
    ///
    /// # Errors
    /// The file with the password cannot be read.
    pub fn mail(&self) -> std::io::Result<Option<mail::Config>> {
        let from = &self.mail;
        let Some(server) = from.server.clone() else {
            return Ok(None);
        };
        let password = from.password_file.as_ref().map(std::fs::read_to_string);
        let password = password.transpose()?;
        let password = password.map(|text| Secret::new(text.trim_end_matches(['\r', '\n'])));
        Ok(Some(mail::Config {
            server,
            port: from.port,
            tls: from.tls,
            from: from.from.clone(),
            credentials: from.username.clone().zip(password),
            roots: from.roots.clone(),
            timeout: from.timeout,
        }))
    }

    /// Where people reach the API and its pages, which listens there, without a slash at the end.
    pub fn public_url(&self, listening: SocketAddr) -> String {
        match &self.admin.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{listening}"),
        }
    }

    /// For [`net::zone::Zones`].
    pub fn zones(&self) -> ZoneConfig {
        let from = &self.publish;
        let key = from.key_name.clone().zip(from.key.clone());
        ZoneConfig {
            primary: from.primary,
            key: key.map(|(name, secret)| ZoneKey { name, secret }),
            servers: from.servers.clone(),
            ttl_s: from.ttl_s,
            timeout: from.timeout,
        }
    }

    /// For [`directory::Rows`].
    pub fn directory(&self) -> directory::Config {
        directory::Config {
            teams_ranges: self.teams.address_ranges.clone(),
            emergency_numbers: self.calls.emergency_numbers.clone(),
        }
    }
}

/// A base FQDN, its customers, and this machine.
const DEVELOPMENT_NAMES: [&str; 3] = ["sbc.tollgate.test", "*.sbc.tollgate.test", "localhost"];

/// A secret as it stands in the file, or in a file of its own.
fn one_of(secret: Option<&Secret>, file: Option<&Path>) -> std::io::Result<Option<Secret>> {
    Ok(match file {
        None => secret.cloned(),
        Some(path) => Some(Secret::new(std::fs::read_to_string(path)?.trim())),
    })
}

fn roots(text: &str) -> Roots {
    match text {
        "system" => Roots::System,
        "built-in" => Roots::BuiltIn,
        path => Roots::File(path.into()),
    }
}

/// What all of Microsoft's SIP names lie below: `pstnhub.microsoft.com` for `sip.pstnhub.microsoft.com`.
fn domain(name: &str) -> Option<String> {
    let (_, domain) = name.split_once('.')?;
    domain.contains('.').then(|| domain.to_ascii_lowercase())
}

/// A certificate without a key does not pass [`super::load`], nor a key without a certificate.
fn identity(certificate: &Option<PathBuf>, private_key: &Option<PathBuf>) -> Option<net::Identity> {
    Some(net::Identity {
        certificate: certificate.clone()?,
        private_key: private_key.clone()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    /// A default stands in `config/tollgate.toml` and in the module that it is for; both say the same.
    #[test]
    fn the_file_agrees_with_the_modules_own_defaults() {
        let config = load(None, []).unwrap();
        let listeners = config.net();
        let expected = net::Config {
            udp: listeners.udp.clone(),
            tcp: listeners.tcp.clone(),
            tls: listeners.tls.clone(),
            ..net::Config::default()
        };
        assert_eq!(listeners, expected);
        assert_eq!(config.directory(), directory::Config::default());
        let phones = config.calls().registrar;
        assert_eq!(phones, b2bua::RegistrarConfig::default());
    }

    /// The development set serves where nothing is configured, and a configured certificate ends its trust.
    #[test]
    fn a_configured_certificate_replaces_the_development_set() {
        let tls = load(None, []).unwrap().tls();
        assert_eq!(
            tls.listener.certificate,
            PathBuf::from("data/certs/sbc.crt")
        );
        assert_eq!(tls.trunk_roots, Some(PathBuf::from("data/certs/ca.crt")));
        assert_eq!(tls.teams_roots, None);
        let own = [
            ("TOLLGATE__TLS__CERTIFICATE", "a.crt"),
            ("TOLLGATE__TLS__PRIVATE_KEY", "a.key"),
        ];
        let tls = load(
            None,
            own.map(|(key, value)| (key.to_owned(), value.to_owned())),
        )
        .unwrap()
        .tls();
        assert_eq!(
            (tls.listener.certificate, tls.trunk_roots),
            (PathBuf::from("a.crt"), None)
        );
    }
}
