//! The files of desk telephones, and whoever sends telephones here.

use super::{StartError, start};
use crate::admin::{Devices, PhoneFiles, phone_files};
use crate::backend::HttpRedirect;
use crate::config::Config;
use crate::directory::Secret;
use crate::net::Addresses;
use crate::net::clock::Clock;
use crate::net::https::{Client, Https, HttpsCounters};
use crate::provisioning::device::PhoneTransport;
use crate::provisioning::phone_file::Site;
use crate::store::Store;
use crate::telemetry::metrics;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Between two looks at what is counted elsewhere.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A listener that is served.
pub(super) struct Served {
    pub address: SocketAddr,
    pub task: JoinHandle<()>,
}

/// Serves the files if they are configured, and completes what the API needs for telephones.
pub(super) fn begin(
    config: &Config,
    mut devices: Devices,
    bootstrap: Secret,
    store: &Store,
    clock: &Clock,
    addresses: &Addresses,
) -> Result<(Devices, Option<Served>), StartError> {
    let Some(settings) = config.phone_files() else {
        return Ok((devices, None));
    };
    let from = &config.phone_files;
    if let Some(url) = &from.redirect_url {
        let token = from.redirect_token_file.as_deref();
        let provider = HttpRedirect::open(url, token, from.redirect_timeout);
        devices.redirect = Some(Arc::new(provider.map_err(StartError::Redirect)?));
    }
    let https = Https::bind(settings)?;
    let address = https.address();
    let site = site(config, address, addresses);
    devices.url.clone_from(&site.base_url);
    let router = phone_files(PhoneFiles {
        store: store.clone(),
        site,
        bootstrap,
        clock: clock.clone(),
        per_minute: from.requests_per_minute,
    });
    let task = tokio::spawn(serve(https, router));
    Ok((devices, Some(Served { address, task })))
}

async fn serve(https: Https, router: axum::Router) {
    let counters = https.counters();
    let service = router.into_make_service_with_connect_info::<Client>();
    tokio::select! {
        served = axum::serve(https, service).into_future() => {
            if let Err(error) = served {
                tracing::error!(%error, "files of telephones are no longer served");
            }
        }
        () = observe(counters) => {}
    }
}

fn site(config: &Config, listening: SocketAddr, addresses: &Addresses) -> Site {
    let from = &config.phone_files;
    let sent_by = start::sent_by(config, addresses);
    let registrar = match from.sip_transport {
        PhoneTransport::Udp => sent_by.udp,
        PhoneTransport::Tcp => sent_by.tcp,
        PhoneTransport::Tls => sent_by.tls,
    };
    let base = from.base_url.clone();
    let base = base.unwrap_or_else(|| format!("https://{listening}"));
    Site {
        base_url: format!("{}/prov/", base.trim_end_matches('/')),
        host: from.sip_host.clone().unwrap_or(registrar.host),
        port: registrar.port,
        transport: from.sip_transport,
        expires_s: u32::try_from(from.expires.as_secs()).unwrap_or(u32::MAX),
    }
}

async fn observe(counters: Arc<HttpsCounters>) {
    loop {
        metrics::PHONE_CONNECTIONS.total(["accepted"], counters.accepted.get());
        metrics::PHONE_CONNECTIONS.total(["refused"], counters.refused.get());
        metrics::PHONE_CONNECTIONS.total(["failed"], counters.failed.get());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
