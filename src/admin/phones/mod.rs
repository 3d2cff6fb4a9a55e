//! The files of desk telephones, on a listener of their own: by name and MAC address, each to its own telephone.
//!
//! A telephone that is nobody's gets a file by which it can be activated and nothing else. One that is somebody's has to
//! prove that it is the one: by the certificate that its maker put into it, by credentials that its file told it, or by
//! being the first that asks within half an hour of its activation.

mod limit;

use crate::directory::Secret;
use crate::net::clock::Clock;
use crate::net::https::Client;
use crate::provisioning::device::{Access, DeviceModel, Family, Lock, Mac, Shown};
use crate::provisioning::phone_file::{FileName, Line, Part, Site, content_type, own, pointer};
use crate::store::{DeviceRecord, Fetch, Opening, Store, StoreError, devices};
use crate::telemetry::metrics;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use limit::Limits;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::macros::format_description;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

/// Bytes of a log or another file that a telephone brings.
const MOST_BROUGHT: usize = 256 << 10;
/// What asking for nothing, or with wrong credentials, costs beside the request.
const IN_VAIN: u32 = 9;
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What the files stand on.
#[derive(Debug)]
pub struct PhoneFiles {
    /// Which telephones there are.
    pub store: Store,
    /// Where they are, and where telephones register.
    pub site: Site,
    /// Of the names under which telephones register that are nobody's.
    pub bootstrap: Secret,
    /// What time it is.
    pub clock: Clock,
    /// Requests of one address in a minute.
    pub per_minute: u32,
}

struct Serving {
    files: PhoneFiles,
    limits: Mutex<Limits>,
}

/// All files, for a listener that tells who has connected.
pub fn phone_files(files: PhoneFiles) -> Router {
    let limits = Mutex::new(Limits::new(files.per_minute));
    let serving = Arc::new(Serving { files, limits });
    Router::new()
        .route("/prov/{name}", get(fetch).put(bring))
        .fallback(nothing)
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            TIMEOUT,
        ))
        .with_state(serving)
}

/// What becomes of a request; each is counted by its name.
enum Outcome {
    /// The telephone's own file, a bootstrap file or one that leads there.
    Given {
        what: &'static str,
        family: Family,
        text: String,
        changed: Option<OffsetDateTime>,
    },
    /// A log or the like, which nobody keeps.
    Brought(Family),
    /// It has to prove which telephone it is.
    Unproven(Family),
    /// It is another telephone.
    Forbidden(Family),
    /// The telephone may ask for such a file, but there is none.
    Absent(Family),
    /// No telephone that we know asks for that.
    Unknown,
    /// What it brings is too large.
    TooLarge(Family),
}

impl Outcome {
    fn labels(&self) -> [&'static str; 2] {
        match self {
            Self::Given { family, what, .. } => [family.name(), what],
            Self::Brought(family) => [family.name(), "brought"],
            Self::Unproven(family) => [family.name(), "unproven"],
            Self::Forbidden(family) => [family.name(), "forbidden"],
            Self::Absent(family) => [family.name(), "absent"],
            Self::Unknown => ["unknown", "unknown"],
            Self::TooLarge(family) => [family.name(), "too_large"],
        }
    }

    fn response(self, headers: &HeaderMap) -> Response {
        match self {
            Self::Given {
                family,
                text,
                changed,
                ..
            } => given(family, text, changed, headers),
            Self::Brought(_) => StatusCode::NO_CONTENT.into_response(),
            Self::Unproven(_) => {
                let scheme = [(header::WWW_AUTHENTICATE, "Basic realm=\"Tollgate\"")];
                (StatusCode::UNAUTHORIZED, scheme).into_response()
            }
            Self::Forbidden(_) => StatusCode::FORBIDDEN.into_response(),
            Self::Absent(_) | Self::Unknown => StatusCode::NOT_FOUND.into_response(),
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        }
    }
}

async fn fetch(
    State(serving): State<Arc<Serving>>,
    ConnectInfo(client): ConnectInfo<Client>,
    method: Method,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = serving.too_many(&client) {
        return refused;
    }
    let request = Request {
        client: &client,
        headers: &headers,
        looks_only: method == Method::HEAD,
    };
    let outcome = serving.looked_up(&request, &name).await;
    serving.answered(&client, &name, &headers, outcome)
}

async fn bring(
    State(serving): State<Arc<Serving>>,
    ConnectInfo(client): ConnectInfo<Client>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Some(refused) = serving.too_many(&client) {
        return refused;
    }
    let read = FileName::read(&name);
    let family = read.and_then(|read| read.mac).and_then(Family::of);
    let outcome = match (family, read) {
        (Some(family), Some(read)) if read.part(family) == Some(Part::Brought) => {
            match to_bytes(body, MOST_BROUGHT).await {
                Ok(_) => Outcome::Brought(family),
                Err(_) => Outcome::TooLarge(family),
            }
        }
        _ => Outcome::Unknown,
    };
    serving.answered(&client, &name, &headers, Ok(outcome))
}

async fn nothing(
    State(serving): State<Arc<Serving>>,
    ConnectInfo(client): ConnectInfo<Client>,
    headers: HeaderMap,
) -> Response {
    match serving.too_many(&client) {
        Some(refused) => refused,
        None => serving.answered(&client, "", &headers, Ok(Outcome::Unknown)),
    }
}

/// Who asks, and how.
struct Request<'a> {
    client: &'a Client,
    headers: &'a HeaderMap,
    looks_only: bool,
}

impl Request<'_> {
    fn shown(&self) -> Shown {
        let subject = self.client.subject.as_deref();
        Shown {
            certificate: subject.and_then(Mac::find),
            credentials: credentials(self.headers),
        }
    }

    fn agent(&self) -> Option<&str> {
        let agent = self.headers.get(header::USER_AGENT)?;
        agent.to_str().ok()
    }
}

impl Serving {
    async fn looked_up(&self, request: &Request<'_>, name: &str) -> Result<Outcome, StoreError> {
        let Some(read) = FileName::read(name) else {
            return Ok(Outcome::Unknown);
        };
        let Some(mac) = read.mac else {
            return Ok(self.common(read));
        };
        let mut connection = self.files.store.read().await?;
        let held = devices::files::locked(&mut connection, mac).await?;
        drop(connection);
        let model = held
            .as_ref()
            .map(|(device, _)| DeviceModel::of(&device.model));
        let family = match model {
            Some(model) => model.map(|model| model.config_format),
            None => Family::of(mac).map(|family| asking(read, family)),
        };
        let Some(family) = family else {
            return Ok(Outcome::Unknown);
        };
        let certificate = request.client.subject.as_deref().and_then(Mac::find);
        if certificate.is_some_and(|certified| certified != mac) {
            return Ok(Outcome::Forbidden(family));
        }
        match (read.part(family), held) {
            (None | Some(Part::Brought), _) => Ok(Outcome::Absent(family)),
            (Some(Part::Pointer), _) => Ok(self.pointer(family, Some(mac))),
            (Some(Part::Own), None) => Ok(self.bootstrap(family, mac)),
            (Some(Part::Own), Some((device, opening))) => {
                self.own(request, family, mac, &device, opening).await
            }
        }
    }

    fn common(&self, read: FileName) -> Outcome {
        match read.family() {
            Some(family) => self.pointer(family, None),
            None => Outcome::Unknown,
        }
    }

    fn pointer(&self, family: Family, mac: Option<Mac>) -> Outcome {
        match pointer(family, &self.files.site, mac) {
            Some(text) => Outcome::Given {
                what: "pointer",
                family,
                text,
                changed: None,
            },
            None => Outcome::Absent(family),
        }
    }

    fn bootstrap(&self, family: Family, mac: Mac) -> Outcome {
        let line = Line::bootstrap(mac, self.files.bootstrap.clone());
        Outcome::Given {
            what: "bootstrap",
            family,
            text: own(family, &self.files.site, &line),
            changed: None,
        }
    }

    async fn own(
        &self,
        request: &Request<'_>,
        family: Family,
        mac: Mac,
        device: &DeviceRecord,
        opening: Opening,
    ) -> Result<Outcome, StoreError> {
        let now = self.files.clock.now();
        let secrets = device.secrets(self.files.store.keys())?;
        let lock = Lock {
            mac,
            password: &secrets.file,
            open_until: opening.until,
            opened: opening.opened_at.is_some(),
        };
        let access = lock.access(&request.shown(), now);
        let fetch = Fetch {
            ip: request.client.address.ip(),
            user_agent: request.agent(),
            once: access == Access::Once,
        };
        let has_it = match access {
            Access::Forbidden => return Ok(Outcome::Forbidden(family)),
            Access::Unproven => false,
            Access::Granted | Access::Once if request.looks_only => true,
            Access::Granted | Access::Once => {
                let store = &self.files.store;
                store.device_fetched(device.id, &fetch, now).await?
            }
        };
        if !has_it {
            return Ok(Outcome::Unproven(family));
        }
        let extension = device.extension.clone().unwrap_or_default();
        let line = Line {
            mac,
            display_name: device
                .user_name
                .clone()
                .unwrap_or_else(|| extension.clone()),
            label: extension,
            user: device.sip_username.clone(),
            password: secrets.sip,
            hotline: None,
            admin: Some(secrets.admin),
            file: Some(secrets.file),
        };
        Ok(Outcome::Given {
            what: "own",
            family,
            text: own(family, &self.files.site, &line),
            changed: Some(device.changed_at),
        })
    }

    /// An answer if this address has asked for too much.
    fn too_many(&self, client: &Client) -> Option<Response> {
        let mut limits = self.limits();
        if limits.take(client.address.ip(), Instant::now()) {
            return None;
        }
        metrics::PHONE_FILES_LIMITED.add([], 1);
        let later = [(header::RETRY_AFTER, "60")];
        Some((StatusCode::TOO_MANY_REQUESTS, later).into_response())
    }

    fn limits(&self) -> std::sync::MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts and logs what became of a request.
    fn answered(
        &self,
        client: &Client,
        name: &str,
        headers: &HeaderMap,
        outcome: Result<Outcome, StoreError>,
    ) -> Response {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "a telephone's file cannot be looked up");
                metrics::PHONE_FILES.add(["unknown", "failed"], 1);
                let later = [(header::RETRY_AFTER, "30")];
                return (StatusCode::SERVICE_UNAVAILABLE, later).into_response();
            }
        };
        let in_vain = match &outcome {
            Outcome::Unknown | Outcome::Forbidden(_) => true,
            Outcome::Unproven(_) => headers.contains_key(header::AUTHORIZATION),
            _ => false,
        };
        let ip = client.address.ip();
        if in_vain {
            self.limits().charge(ip, IN_VAIN, Instant::now());
        }
        let labels = outcome.labels();
        metrics::PHONE_FILES.add(labels, 1);
        let [vendor, result] = labels;
        let name: String = name.chars().take(64).collect();
        let agent = headers
            .get(header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok());
        let agent = agent.map(|agent| agent.chars().take(128).collect::<String>());
        tracing::info!(%ip, file = ?name, vendor, result, ?agent, "a telephone asked for a file");
        outcome.response(headers)
    }
}

/// What reads a telephone of this family that is nobody's yet: its maker's files, or, if it asks for one, the file that other
/// programs understand.
fn asking(read: FileName, family: Family) -> Family {
    match read.family() {
        Some(Family::Generic) => Family::Generic,
        _ => family,
    }
}

/// RFC 7617 §2.
fn credentials(headers: &HeaderMap) -> Option<(String, Secret)> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, text) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = BASE64_STANDARD.decode(text.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), Secret::new(password)))
}

/// With what telephones tell by that they have it already (RFC 9110 §8.8).
fn given(
    family: Family,
    text: String,
    changed: Option<OffsetDateTime>,
    headers: &HeaderMap,
) -> Response {
    let digest = Sha256::digest(text.as_bytes());
    let short: String = digest
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tag = format!("\"{short}\"");
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|list| {
            let mut tags = list.split(',').map(str::trim);
            tags.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
        });
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, content_type(family))], text).into_response(),
    };
    let answer = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.insert(header::ETAG, tag);
    }
    answer.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    if let Some(date) = changed.and_then(http_date) {
        answer.insert(header::LAST_MODIFIED, date);
    }
    response
}

/// RFC 9110 §5.6.7.
fn http_date(at: OffsetDateTime) -> Option<HeaderValue> {
    let form = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let text = at.to_offset(time::UtcOffset::UTC).format(form).ok()?;
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn dates_are_those_of_http() {
        let date = http_date(datetime!(1994-11-06 09:49:37 +1)).unwrap();
        assert_eq!(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    /// What is no user name and password is none.
    #[test]
    fn credentials_are_those_of_basic() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            credentials(&headers).map(|(user, secret)| (user, secret.expose().to_owned()))
        };
        let expected = ("a".to_owned(), "b:c".to_owned());
        assert_eq!(read("Basic YTpiOmM="), Some(expected.clone()));
        assert_eq!(read("bASIC  YTpiOmM="), Some(expected));
        for bad in [
            "Basic",
            "Basic YQ==",
            "Basic ?",
            "Bearer YTpiOmM=",
            "Basic /w==",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
