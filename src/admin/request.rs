use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::Response;

/// The id that a request has in answers, logs and the audit. Ours, whatever the client sent: it is written to logs.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub String);

/// Gives the request its id, and the answer too.
pub(super) async fn number(mut request: Request, next: Next) -> Response {
    let id = uuid::Builder::from_random_bytes(rand::random())
        .into_uuid()
        .to_string();
    let header = HeaderValue::from_str(&id).expect("a UUID is visible ASCII");
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).await;
    response.headers_mut().insert("x-request-id", header);
    response
}

/// What is done to a resource can also be written after a colon: `/customers/ID:disable` is `/customers/ID/disable`.
pub(super) async fn as_path(mut request: Request) -> Request {
    if let Some(uri) = with_slash(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

fn with_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let (resource, verb) = path.rsplit_once(':')?;
    let is_verb = !verb.is_empty() && verb.bytes().all(|c| c.is_ascii_lowercase() || c == b'-');
    // A call's id may be a Call-ID of SIP, with colons of its own.
    if !is_verb || path.starts_with("/api/v1/calls/") || resource.ends_with('/') {
        return None;
    }
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(
        format!("{resource}/{verb}{query}")
            .parse::<PathAndQuery>()
            .ok()?,
    );
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_before_a_verb_is_a_slash() {
        let written = |path: &str| with_slash(&path.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(
            written("/api/v1/customers/1:disable?x=1").as_deref(),
            Some("/api/v1/customers/1/disable?x=1")
        );
        assert_eq!(
            written("/api/v1/customers/1/users:bulk").as_deref(),
            Some("/api/v1/customers/1/users/bulk")
        );
        for other in [
            "/api/v1/customers/1",
            "/api/v1/customers/1:",
            "/api/v1/customers/1:2",
            "/api/v1/customers/:x",
            "/api/v1/calls/a:b",
            "/api/v1/calls/a:b/why",
        ] {
            assert_eq!(written(other), None, "{other}");
        }
    }
}
