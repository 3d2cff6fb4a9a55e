use super::{Asked, BackendError, MOST_BYTES, SeatBackend, segment};
use crate::directory::Number;
use crate::provisioning::Seats;
use std::fmt;
use std::time::Duration;

/// A system that is asked over HTTP: `POST URL/accounts/ACCOUNT/seats` with `{"numbers": ["+14255550100"]}`, answered 200
/// with the JSON of [`Seats`], or 404 if there is no such account.
pub struct HttpBackend {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl HttpBackend {
    /// At this address, with this bearer token.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(
        base: &str,
        token: Option<String>,
        timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(timeout)
            // A token is for the system that was configured, and for nobody that it points to.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
            token,
        })
    }

    async fn ask(&self, account: &str, numbers: &[Number]) -> Result<Seats, BackendError> {
        let url = format!("{}/accounts/{}/seats", self.base, segment(account));
        let numbers: Vec<_> = numbers.iter().map(Number::as_str).collect();
        let mut request = self
            .client
            .post(url)
            .json(&serde_json::json!({ "numbers": numbers }));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let unreachable =
            |error: reqwest::Error| BackendError::Unreachable(error.without_url().to_string());
        let mut response = request.send().await.map_err(unreachable)?;
        match response.status().as_u16() {
            200 => {}
            404 => return Err(BackendError::UnknownAccount),
            status => return Err(BackendError::Refused(status)),
        }
        let mut bytes = Vec::new();
        while let Some(part) = response.chunk().await.map_err(unreachable)? {
            if bytes.len() + part.len() > MOST_BYTES {
                return Err(BackendError::TooLarge);
            }
            bytes.extend_from_slice(&part);
        }
        Ok(Seats::from_json(&bytes)?)
    }
}

impl SeatBackend for HttpBackend {
    fn seats<'a>(&'a self, account: &'a str, numbers: &'a [Number]) -> Asked<'a> {
        Box::pin(self.ask(account, numbers))
    }
}

/// The token is nobody's business.
impl fmt::Debug for HttpBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpBackend")
            .field("base", &self.base)
            .field("token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}
