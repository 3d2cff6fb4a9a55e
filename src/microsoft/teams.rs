//! What Microsoft offers to PowerShell only: the way from a tenant's users to our gateways.
//!
//! There is no public REST interface for voice routes. A carrier that wants them set by itself runs the cmdlets somewhere
//! and lets us reach that by one request, `POST {teams_base}/voiceRoutes`; without it the script is for a person.

use super::http::Http;
use super::login::under;
use super::{Microsoft, MicrosoftError};
use crate::directory::Secret;
use serde::Serialize;
use uuid::Uuid;

/// Whatever runs Teams' cmdlets for us.
#[derive(Debug, Clone, Copy)]
pub struct Teams<'a> {
    base: &'a str,
    http: &'a Http,
}

/// A usage, a route and a policy of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VoiceRoute<'a> {
    /// Whose.
    pub tenant_id: Uuid,
    /// What they are called.
    pub name: &'a str,
    /// Where calls go, in the order of trial.
    pub gateways: &'a [String],
    /// Which numbers.
    pub number_pattern: &'a str,
}

impl<'a> Teams<'a> {
    pub(super) fn new(microsoft: &'a Microsoft) -> Option<Self> {
        Some(Self {
            base: microsoft.config.teams_base.as_deref()?,
            http: &microsoft.http,
        })
    }

    /// Makes a route, or makes it as it should be; `token` is for the tenant.
    ///
    /// # Errors
    /// [`DomainNotReady`](super::Fault::DomainNotReady) while Teams does not know the gateways' domains, and whatever else
    /// goes wrong.
    pub async fn set_voice_route(
        &self,
        route: &VoiceRoute<'_>,
        token: &Secret,
    ) -> Result<(), MicrosoftError> {
        let url = under(self.base, ["voiceRoutes"])?;
        let request = self
            .http
            .post(url.as_str())
            .json(route)
            .bearer_auth(token.expose());
        let answer = self.http.send(request).await?;
        if answer.is_success() {
            return Ok(());
        }
        Err(MicrosoftError::from_graph(
            answer.status,
            &answer.headers,
            &answer.body,
        ))
    }
}
