//! What every answer carries: security headers, a request id, and one log line.
//!
//! A handler that needs another value sets the header itself; here only what is missing is added.

use crate::app::App;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tracing::Instrument;

/// No script, style, image or connection but our own; framed by nobody; forms only to ourselves.
pub(super) const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";
/// One year, in seconds.
const HSTS: &str = "max-age=31536000";

/// Names one request, in the log, in the answer and on error pages: `5f3a9c21-17`.
#[derive(Clone)]
pub(super) struct RequestId(pub(super) String);

impl RequestId {
    fn next() -> Self {
        static START: LazyLock<u32> = LazyLock::new(|| getrandom::u32().unwrap_or_default());
        static COUNT: AtomicU64 = AtomicU64::new(1);
        Self(format!("{:08x}-{}", *START, COUNT.fetch_add(1, Ordering::Relaxed)))
    }
}

/// The outermost layer around every route.
pub(super) async fn around(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = RequestId::next();
    let method = request.method().clone();
    let https = request.app_data::<web::Data<App>>().is_some_and(|app| app.public_url().scheme() == "https");
    request.extensions_mut().insert(id.clone());
    let span = tracing::info_span!("request", id = id.0, %method, grant = tracing::field::Empty);
    let begun = Instant::now();
    let mut response = next.call(request).instrument(span.clone()).await?;

    let headers = response.response_mut().headers_mut();
    let mut add = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    add(header::CACHE_CONTROL, "no-store");
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(header::X_FRAME_OPTIONS, "DENY");
    add(header::CONTENT_SECURITY_POLICY, CSP);
    // Not `no-referrer`: that would turn the Origin of our own forms into `null`.
    add(header::REFERRER_POLICY, "same-origin");
    add(HeaderName::from_static("permissions-policy"), PERMISSIONS);
    add(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if https {
        add(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }

    // The route's pattern, never the URI: queries and paths may hold what must not be logged.
    let route = response.request().match_pattern().unwrap_or_else(|| "none".to_owned());
    let (status, micros) = (response.status(), begun.elapsed().as_micros());
    span.in_scope(|| {
        if status.is_server_error() {
            tracing::warn!(route, status = status.as_u16(), micros, "answered");
        } else if status.is_client_error() {
            tracing::info!(route, status = status.as_u16(), micros, "answered");
        } else {
            tracing::debug!(route, status = status.as_u16(), micros, "answered");
        }
    });
    Ok(response)
}
