use super::{ConfigFile, Failure};
use crate::app::{Listening, Sbc};
use crate::config::Config;
use crate::store::{AccessRole, StoreError};
use crate::telemetry::log;
use anyhow::Context;
use std::fmt::Display;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// `tollgate run`
pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    log::start(&config.log).context("logging")?;
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    runtime.block_on(serve(&config, file))
}

async fn serve(config: &Config, file: &ConfigFile) -> Result<(), Failure> {
    // Before anything else, so that an impatient signal does not kill what has begun to write.
    let mut signals = Signals::new().context("signals")?;
    let mut sbc = Sbc::start(config).await.map_err(Failure::mend)?;
    announce(config, file, &sbc.listening());
    first_token(&sbc).await.map_err(Failure::mend)?;
    println!("ready");
    signals.until_stop(&mut sbc).await?;
    eprintln!(
        "tollgate: ending; calls may go on for {} s, a second signal ends them now",
        config.calls.drain_timeout.as_secs()
    );
    tokio::select! {
        () = sbc.shut_down() => {}
        () = signals.stop() => tracing::warn!("ended by a second signal; call records of calls that were up are lost"),
    }
    Ok(())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// SIGINT or SIGTERM.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// The same; SIGHUP before that reads certificates again.
    async fn until_stop(&mut self, sbc: &mut Sbc) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return Ok(()),
                _ = self.terminate.recv() => return Ok(()),
                _ = self.hang_up.recv() => reload(sbc),
                how = sbc.broken() => anyhow::bail!(how),
            }
        }
    }
}

fn reload(sbc: &Sbc) {
    match sbc.reload() {
        Ok(()) => tracing::info!("certificates read again"),
        Err(error) => tracing::error!(%error, "certificates stay as they were"),
    }
}

fn announce(config: &Config, file: &ConfigFile, listening: &Listening) {
    let configuration = file.config.as_ref().map_or_else(
        || "built-in defaults".into(),
        |path| path.display().to_string(),
    );
    println!(
        "Tollgate {}: {configuration}, data in {}",
        env!("CARGO_PKG_VERSION"),
        config.data_dir.display()
    );
    println!("  SIP over UDP  {}", listed(&listening.sip.udp));
    println!("  SIP over TCP  {}", listed(&listening.sip.tcp));
    println!("  SIP over TLS  {}", listed(&listening.sip.tls));
    println!(
        "  media         {} ports {} to {}",
        config.media.address, config.media.port_min, config.media.port_max
    );
    println!("  REST API      http://{}/api/v1", listening.admin);
    println!("  metrics       http://{}/metrics", listening.metrics);
    if let Some(address) = listening.phone_files {
        println!("  phone files   https://{address}/prov/");
    }
    if config.uses_development_certificates() {
        println!(
            "  certificates  for trials on this machine only, in {}",
            config.development_directory().display()
        );
    }
}

fn listed(addresses: &[impl Display]) -> String {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    if texts.is_empty() {
        "none".to_owned()
    } else {
        texts.join(" ")
    }
}

/// A store without any token has just been made, and nobody could log in.
async fn first_token(sbc: &Sbc) -> Result<(), StoreError> {
    let tokens = sbc.store().tokens();
    if !tokens.list().await?.is_empty() {
        return Ok(());
    }
    let token = tokens
        .create("first start", AccessRole::CarrierAdmin, None, None)
        .await?;
    println!(
        "\nThe API's first token, shown only now; send it as `Authorization: Bearer …`:\n  {}\n",
        token.text.expose()
    );
    Ok(())
}
