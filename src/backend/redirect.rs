//! Makers of telephones run services that tell a new telephone where its files are. Each is another one; what they have in
//! common is asked of one address, behind which a carrier has whatever speaks to the makers it buys from.

use super::segment;
use std::fmt::{self, Debug};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

/// Why a maker's service did not take it.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// It cannot be reached, or takes too long.
    #[error("the redirect service did not answer: {0}")]
    Unreachable(String),
    /// It answered with an error.
    #[error("the redirect service answered {0}")]
    Refused(u16),
}

/// What telling gives, some time later.
pub type Told<'a> = Pin<Box<dyn Future<Output = Result<(), RedirectError>> + Send + 'a>>;

/// A service that tells telephones where their files are.
pub trait RedirectProvider: Debug + Send + Sync {
    /// This telephone's are below `url`. Saying it twice is no error.
    fn register<'a>(&'a self, mac: &'a str, vendor: &'a str, url: &'a str) -> Told<'a>;

    /// This telephone's are no longer here. That it was not known is no error.
    fn release<'a>(&'a self, mac: &'a str, vendor: &'a str) -> Told<'a>;
}

/// A service that is asked over HTTP: `PUT URL/phones/MAC` with `{"vendor": "Yealink", "url": "https://…/prov/"}`, and
/// `DELETE URL/phones/MAC?vendor=Yealink`. Any answer of 2xx is well, and so is 404 to a DELETE. MAC is 12 digits in lower
/// case.
pub struct HttpRedirect {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl HttpRedirect {
    /// At this address, with the bearer token that is the first line of a file.
    ///
    /// # Errors
    /// What is wrong with the file or the client, in words.
    pub fn open(base: &str, token: Option<&Path>, timeout: Duration) -> Result<Self, String> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let token = token.map(read).transpose()?;
        let token = token.map(|text| text.lines().next().unwrap_or_default().trim().to_owned());
        let client = reqwest::Client::builder()
            .timeout(timeout)
            // A token is for the service that was configured, and for nobody that it points to.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
            token,
        })
    }

    fn place(&self, mac: &str) -> String {
        format!("{}/phones/{}", self.base, segment(mac))
    }

    async fn tell(
        &self,
        request: reqwest::RequestBuilder,
        may_be_absent: bool,
    ) -> Result<(), RedirectError> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request
            .send()
            .await
            .map_err(|error| RedirectError::Unreachable(error.without_url().to_string()))?;
        match answer.status().as_u16() {
            200..300 => Ok(()),
            404 if may_be_absent => Ok(()),
            status => Err(RedirectError::Refused(status)),
        }
    }
}

impl RedirectProvider for HttpRedirect {
    fn register<'a>(&'a self, mac: &'a str, vendor: &'a str, url: &'a str) -> Told<'a> {
        let body = serde_json::json!({ "vendor": vendor, "url": url });
        let request = self.client.put(self.place(mac)).json(&body);
        Box::pin(self.tell(request, false))
    }

    fn release<'a>(&'a self, mac: &'a str, vendor: &'a str) -> Told<'a> {
        let url = format!("{}?vendor={}", self.place(mac), segment(vendor));
        Box::pin(self.tell(self.client.delete(url), true))
    }
}

/// The token is nobody's business.
impl Debug for HttpRedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRedirect")
            .field("base", &self.base)
            .field("token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}
