use axum::extract::Request;
use axum::http::HeaderValue;
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
