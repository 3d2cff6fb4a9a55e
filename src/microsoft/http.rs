use super::error::short;
use super::{ConfigError, Fault, MicrosoftError, Roots};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, RequestBuilder, Url, redirect};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// The longest answer that is read: a page of a large tenant's list is shorter.
const MOST: usize = 4 << 20;

/// Requests with an end.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client,
}

/// A whole answer.
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Http {
    /// With an end after `timeout`, to servers that these roots vouch for.
    pub fn new(roots: &Roots, timeout: Duration) -> Result<Self, ConfigError> {
        let failed = |error: &dyn std::fmt::Display| ConfigError::Client(error.to_string());
        let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| failed(&e))?
            .with_root_certificates(roots.load()?)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .timeout(timeout)
            .connect_timeout(timeout)
            .user_agent(concat!("Tollgate/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            client: client.map_err(|e| failed(&e))?,
        })
    }

    pub fn get(&self, url: &str) -> RequestBuilder {
        self.client.get(url)
    }

    pub fn post(&self, url: &str) -> RequestBuilder {
        self.client.post(url)
    }

    /// A form is what a query is, in the body.
    pub fn post_form(&self, url: &Url, fields: &[(&str, &str)]) -> RequestBuilder {
        let mut form = url.clone();
        form.query_pairs_mut().clear().extend_pairs(fields);
        let body = form.query().unwrap_or_default().to_owned();
        let kind = "application/x-www-form-urlencoded";
        self.post(url.as_str())
            .header(CONTENT_TYPE, kind)
            .body(body)
    }

    /// Sends it and reads the answer to its end, or to where it becomes too long.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, MicrosoftError> {
        // Without the address: its query may hold what nobody should read.
        let unreachable = |error: reqwest::Error| {
            MicrosoftError::new(Fault::Unreachable, short(&error.without_url().to_string()))
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MOST {
                return Err(MicrosoftError::new(
                    Fault::Malformed,
                    "the answer is too long",
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn json<T: DeserializeOwned>(&self) -> Result<T, MicrosoftError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| MicrosoftError::new(Fault::Malformed, short(&error.to_string())))
    }
}
