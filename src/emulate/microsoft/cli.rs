//! `tollgate emulate microsoft` runs until it is interrupted.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use uuid::Uuid;

use super::{Microsoft, MicrosoftConfig, Rule, Tenant};
use crate::emulate::cli::RunError;

/// Stand in for Microsoft 365: sign-in with consent pages and device codes, Graph, voice routes.
///
/// Whatever is asked of it is noted and can be read at /control/log. Answers and delays are planted by --script or at
/// /control/script, tenants are read and replaced at /control/tenants/ID.
#[derive(Debug, Clone, Args)]
pub struct MicrosoftArgs {
    /// HTTP; "login_base" is this, "graph_base" has /graph after it and "teams_base" /teams.
    #[arg(long, default_value = "127.0.0.1:8365")]
    pub listen: SocketAddr,
    /// The registered application.
    #[arg(long, default_value = "00000000-0000-0000-0000-00000000a991")]
    pub client_id: String,
    /// Its secret.
    #[arg(long, default_value = "emulated")]
    pub client_secret: String,
    /// Where it may have people sent back to (may be repeated).
    #[arg(
        long = "redirect-uri",
        default_value = "http://127.0.0.1:8080/oauth/callback"
    )]
    pub redirect_uris: Vec<String>,
    /// Asked for the texts that prove domains; without one every text is believed to be there.
    #[arg(long)]
    pub nameserver: Option<SocketAddr>,
    /// A tenant, which has two licences: ID=NAME (may be repeated).
    #[arg(long = "tenant", value_name = "ID=NAME", value_parser = tenant)]
    pub tenants: Vec<Tenant>,
    /// JSON file with planted answers: [{"method": "POST", "path": "/verify", "times": 1, "status": 429, "headers": {…},
    /// "body": {…}, "delay_ms": 0}].
    #[arg(long)]
    pub script: Option<PathBuf>,
}

/// Runs until interrupted.
pub async fn run_microsoft(args: MicrosoftArgs) -> Result<(), RunError> {
    let script: Vec<Rule> = match &args.script {
        None => Vec::new(),
        Some(path) => serde_json::from_slice(&std::fs::read(path)?)
            .map_err(|error| RunError::Usage(format!("{}: {error}", path.display())))?,
    };
    let microsoft = Microsoft::start(MicrosoftConfig {
        listen: args.listen,
        client_id: args.client_id,
        client_secret: args.client_secret,
        redirect_uris: args.redirect_uris,
        nameserver: args.nameserver,
        tenants: args.tenants,
        script,
    })
    .await?;
    // Whoever closed the pipe has seen enough.
    let _ = writeln!(
        std::io::stdout(),
        "microsoft listens: login_base = {:?}, graph_base = {:?}, teams_base = {:?}",
        microsoft.login_base(),
        microsoft.graph_base(),
        microsoft.teams_base()
    );
    Ok(tokio::signal::ctrl_c().await?)
}

fn tenant(text: &str) -> Result<Tenant, String> {
    let (id, name) = text.split_once('=').ok_or("expected ID=NAME")?;
    let id: Uuid = id.parse().map_err(|_| format!("{id:?} is no GUID"))?;
    Ok(Tenant::new(id, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_an_id_and_a_name() {
        let read = tenant("00000000-0000-0000-0000-000000000007=contoso.onmicrosoft.com").unwrap();
        assert_eq!(
            (read.id.as_u128(), read.name.as_str()),
            (7, "contoso.onmicrosoft.com")
        );
        assert!(tenant("contoso").is_err() && tenant("7=contoso").is_err());
    }
}
