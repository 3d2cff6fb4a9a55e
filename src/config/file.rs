use super::address::{HostPort, networks};
use crate::b2bua::UnknownPeers;
use crate::directory::{Secret, Srtp};
use crate::mail;
use crate::provisioning::device::PhoneTransport;
use crate::store::AccessRole;
use crate::telemetry::log;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The whole configuration, as `config/tollgate.toml` explains it key by key. What needs no more than a look at one
/// value is checked by the types here; the rest by [`super::load`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Config {
    pub data_dir: PathBuf,
    pub sip: Sip,
    pub tls: Tls,
    pub teams: Teams,
    pub microsoft: Microsoft,
    pub publish: Publish,
    pub media: Media,
    pub dns: Dns,
    pub calls: Calls,
    pub registrations: Registrations,
    pub phones: Phones,
    pub store: Store,
    pub cdr: Kept,
    pub why: Kept,
    pub audit: Kept,
    pub admin: Admin,
    pub sign_in: SignIn,
    pub seats: Seats,
    pub phone_files: PhoneFiles,
    pub mail: Mail,
    pub ladder: Ladder,
    pub metrics: Metrics,
    pub log: log::Config,
}

/// `[sip]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Sip {
    pub udp: Vec<SocketAddr>,
    pub tcp: Vec<SocketAddr>,
    pub tls: Vec<SocketAddr>,
    #[serde(deserialize_with = "optional")]
    pub public_host: Option<String>,
    pub unknown_peers: UnknownPeers,
    pub max_connections: usize,
    pub max_connections_per_source: usize,
    #[serde(rename = "idle_timeout_s", deserialize_with = "seconds")]
    pub idle_timeout: Duration,
    #[serde(rename = "keep_alive_s", deserialize_with = "seconds")]
    pub keep_alive: Duration,
    #[serde(rename = "handshake_timeout_s", deserialize_with = "seconds")]
    pub handshake_timeout: Duration,
    #[serde(rename = "connect_timeout_s", deserialize_with = "seconds")]
    pub connect_timeout: Duration,
    #[serde(rename = "renew_s", deserialize_with = "seconds")]
    pub renew: Duration,
    pub max_transactions: usize,
    #[serde(rename = "t1_ms", deserialize_with = "milliseconds")]
    pub t1: Duration,
    #[serde(rename = "t2_ms", deserialize_with = "milliseconds")]
    pub t2: Duration,
    #[serde(rename = "t4_ms", deserialize_with = "milliseconds")]
    pub t4: Duration,
    #[serde(rename = "trying_timeout_ms", deserialize_with = "milliseconds")]
    pub trying_timeout: Duration,
    #[serde(rename = "proceeding_timeout_s", deserialize_with = "seconds")]
    pub proceeding_timeout: Duration,
    pub dscp: u8,
}

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Tls {
    #[serde(deserialize_with = "optional")]
    pub certificate: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    pub private_key: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    pub dialler_certificate: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    pub dialler_private_key: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    pub teams_roots: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    pub trunk_roots: Option<PathBuf>,
    pub client_certificates: ClientCertificates,
    #[serde(rename = "reload_s", deserialize_with = "seconds")]
    pub reload: Duration,
}

/// Whether a TLS peer that connects must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Without one the handshake fails.
    Required,
    /// Without one the peer is anonymous until its address or password tells who it is.
    Optional,
}

/// `[teams]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Teams {
    pub proxies: Vec<HostPort>,
    pub names: Vec<String>,
    #[serde(deserialize_with = "networks")]
    pub address_ranges: Vec<IpNet>,
    #[serde(rename = "options_interval_s", deserialize_with = "seconds")]
    pub options_interval: Duration,
    pub transfer_ringback_s: u32,
}

/// `[microsoft]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Microsoft {
    pub login_base: String,
    pub graph_base: String,
    #[serde(deserialize_with = "optional")]
    pub teams_base: Option<String>,
    #[serde(deserialize_with = "optional")]
    pub client_id: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub client_secret: Option<Secret>,
    #[serde(deserialize_with = "optional")]
    pub client_secret_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    pub redirect_uri: Option<String>,
    #[serde(deserialize_with = "optional")]
    pub portal: Option<String>,
    pub roots: String,
    pub plain_http: bool,
    #[serde(rename = "timeout_s", deserialize_with = "seconds")]
    pub timeout: Duration,
    pub usage_location: String,
}

/// `[publish]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Publish {
    #[serde(deserialize_with = "optional")]
    pub primary: Option<SocketAddr>,
    #[serde(deserialize_with = "optional")]
    pub key_name: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub key: Option<Secret>,
    pub servers: Vec<SocketAddr>,
    pub ttl_s: u32,
    #[serde(rename = "timeout_s", deserialize_with = "seconds")]
    pub timeout: Duration,
}

/// `[media]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Media {
    pub address: IpAddr,
    #[serde(deserialize_with = "optional")]
    pub advertised_address: Option<IpAddr>,
    pub port_min: u16,
    pub port_max: u16,
    #[serde(rename = "cool_down_s", deserialize_with = "seconds")]
    pub cool_down: Duration,
    #[serde(rename = "inactivity_timeout_s", deserialize_with = "seconds_or_never")]
    pub inactivity_timeout: Option<Duration>,
    pub dscp: u8,
    pub threads: usize,
    pub pin_threads: bool,
    #[serde(rename = "collect_us", deserialize_with = "microseconds")]
    pub collect: Duration,
    pub receive_buffer_kib: usize,
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Dns {
    pub nameservers: Vec<SocketAddr>,
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    #[serde(rename = "timeout_s", deserialize_with = "seconds")]
    pub timeout: Duration,
}

/// `[calls]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Calls {
    pub max_calls: usize,
    #[serde(rename = "ring_timeout_s", deserialize_with = "seconds")]
    pub ring_timeout: Duration,
    #[serde(rename = "max_duration_s", deserialize_with = "seconds")]
    pub max_duration: Duration,
    #[serde(rename = "session_expires_s", deserialize_with = "seconds")]
    pub session_expires: Duration,
    #[serde(rename = "min_se_s", deserialize_with = "seconds")]
    pub min_se: Duration,
    pub emergency_numbers: Vec<String>,
    #[serde(rename = "drain_timeout_s", deserialize_with = "seconds")]
    pub drain_timeout: Duration,
    pub max_announcements: usize,
    #[serde(rename = "announcement_max_s", deserialize_with = "seconds")]
    pub announcement_max: Duration,
}

/// `[registrations]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Registrations {
    pub per_second: u32,
    pub max: usize,
}

/// `[phones]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Phones {
    pub enabled: bool,
    pub max_phones: usize,
    pub max_unactivated: usize,
    #[serde(rename = "min_expires_s", deserialize_with = "seconds")]
    pub min_expires: Duration,
    #[serde(rename = "max_expires_s", deserialize_with = "seconds")]
    pub max_expires: Duration,
    #[serde(rename = "path_expires_s", deserialize_with = "seconds")]
    pub path_expires: Duration,
    pub sha256: bool,
    pub srtp: Srtp,
    #[serde(deserialize_with = "optional")]
    pub bootstrap_password_file: Option<PathBuf>,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Store {
    #[serde(deserialize_with = "optional")]
    pub path: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    pub key_file: Option<PathBuf>,
}

/// `[cdr]`, `[why]` and `[audit]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Kept {
    pub retention_days: u16,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Admin {
    pub listen: SocketAddr,
    pub redact_for: Vec<AccessRole>,
    #[serde(deserialize_with = "optional")]
    pub public_url: Option<String>,
}

/// `[sign_in]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct SignIn {
    #[serde(deserialize_with = "optional")]
    pub issuer: Option<String>,
    #[serde(deserialize_with = "optional")]
    pub client_id: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub client_secret: Option<Secret>,
    #[serde(deserialize_with = "optional")]
    pub client_secret_file: Option<PathBuf>,
    pub roots: String,
    pub plain_http: bool,
    #[serde(rename = "timeout_s", deserialize_with = "seconds")]
    pub timeout: Duration,
}

/// `[seats]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Seats {
    #[serde(deserialize_with = "optional")]
    pub folder: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    pub url: Option<String>,
    #[serde(deserialize_with = "optional")]
    pub token_file: Option<PathBuf>,
    #[serde(rename = "timeout_s", deserialize_with = "seconds")]
    pub timeout: Duration,
}

/// `[phone_files]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct PhoneFiles {
    #[serde(deserialize_with = "optional")]
    pub listen: Option<SocketAddr>,
    #[serde(deserialize_with = "optional")]
    pub certificate: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    pub private_key: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    pub client_roots: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    pub base_url: Option<String>,
    #[serde(deserialize_with = "optional")]
    pub sip_host: Option<String>,
    pub sip_transport: PhoneTransport,
    #[serde(rename = "expires_s", deserialize_with = "seconds")]
    pub expires: Duration,
    pub max_connections: usize,
    pub max_connections_per_source: usize,
    pub requests_per_minute: u32,
    #[serde(deserialize_with = "optional")]
    pub redirect_url: Option<String>,
    #[serde(deserialize_with = "optional")]
    pub redirect_token_file: Option<PathBuf>,
    #[serde(rename = "redirect_timeout_s", deserialize_with = "seconds")]
    pub redirect_timeout: Duration,
}

/// `[mail]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Mail {
    #[serde(deserialize_with = "optional")]
    pub server: Option<String>,
    pub port: u16,
    pub tls: mail::Tls,
    pub from: String,
    #[serde(deserialize_with = "optional")]
    pub username: Option<String>,
    #[serde(deserialize_with = "optional")]
    pub password_file: Option<PathBuf>,
    #[serde(deserialize_with = "optional")]
    pub roots: Option<PathBuf>,
    #[serde(rename = "timeout_s", deserialize_with = "seconds")]
    pub timeout: Duration,
}

/// `[ladder]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Ladder {
    pub enabled: bool,
    pub max_messages: usize,
    pub max_bytes: usize,
    pub max_total_mib: usize,
    pub max_call_messages: usize,
    pub max_call_bytes: usize,
    #[serde(rename = "keep_s", deserialize_with = "seconds")]
    pub keep: Duration,
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the keys are explained in config/tollgate.toml, and nowhere twice"
)]
pub struct Metrics {
    pub listen: SocketAddr,
}

/// TOML has no null: an empty text is none.
fn optional<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|error| de::Error::custom(format_args!("{text:?}: {error}")))
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(Some(text).filter(|text| !text.is_empty()).map(Secret::new))
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u32::deserialize(deserializer).map(|s| Duration::from_secs(s.into()))
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u32::deserialize(deserializer).map(|ms| Duration::from_millis(ms.into()))
}

fn microseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u32::deserialize(deserializer).map(|us| Duration::from_micros(us.into()))
}

fn seconds_or_never<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    seconds(deserializer).map(|duration| Some(duration).filter(|duration| !duration.is_zero()))
}
