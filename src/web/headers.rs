//! What every answer carries: security headers, a request id, and one log line.
//!
//! A handler that needs another value sets the header itself; here only what is missing is added.

use super::reason::Answer;
use super::{gate, oauth_url, refresh, repeats, unfit};
use crate::app::App;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, web};
use futures_util::FutureExt;
use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tracing::{Instrument, Span};

/// No script, style, image or connection but our own; framed by nobody; forms only to ourselves.
pub(super) const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";
/// The longest path and query, in bytes.
pub(super) const MAX_URI: usize = 4 * 1024;
/// One year, in seconds.
const HSTS: &str = "max-age=31536000";

static PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names one request, in the log, in answers with an error and on their pages: `5f3a9c21d07b664e`.
#[derive(Clone, Copy)]
pub(super) struct RequestId(u64);

impl RequestId {
    fn next() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        Self(COUNT.fetch_add(1, Ordering::Relaxed))
    }

    fn span(self) -> Span {
        tracing::info_span!("request", id = %self, grant = tracing::field::Empty)
    }
}

/// The span of a request at an address where it is made only when there is something to say.
pub(super) fn span(request: &HttpRequest) -> Span {
    request.extensions().get().copied().map_or_else(Span::none, RequestId::span)
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SipHash with a key of this process: strangers are not told how many requests there were, and processes whose
        // lines meet in one log are told apart.
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        write!(f, "{:016x}", KEY.hash_one(self.0))
    }
}

/// The outermost layer around every route.
pub(super) async fn around(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = RequestId::next();
    request.extensions_mut().insert(id);
    let too_long = request.uri().path_and_query().is_some_and(|uri| uri.as_str().len() > MAX_URI);
    gate::fold(&mut request);
    oauth_url::read(&mut request);
    let https = request.app_data::<web::Data<App>>().is_some_and(|app| app.public_url().scheme() == "https");
    // A span costs as much as opening an AuthID. These two make their own when there is something to say.
    let fast = ["/refresh", "/token"].into_iter().find(|path| *path == request.path());
    let span = if fast.is_some() { Span::none() } else { id.span() };
    let begun = Instant::now();
    let refused = match request.app_data::<web::Data<App>>() {
        _ if too_long => Some(unfit::answer(request.request(), StatusCode::URI_TOO_LONG)),
        Some(app) => gate::refusal(request.request(), app),
        None => None,
    };
    let mut response = match refused {
        Some(answer) => request.into_response(answer).map_into_right_body(),
        None => {
            let call = AssertUnwindSafe(next.call(request)).catch_unwind().instrument(span.clone());
            call.await.unwrap_or_else(|_| Err(panicked(https)))?.map_into_left_body()
        }
    };

    protect(response.headers_mut(), https);
    let route = fast.map_or_else(|| pattern(&response), Cow::Borrowed);
    if let Some(app) = response.request().app_data::<web::Data<App>>() {
        app.meter().answered(&route, response.status().as_u16());
        if app.health().is_draining() {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
    }
    let failed = !response.status().is_success() && !response.status().is_redirection();
    if failed && let Ok(value) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    if failed || tracing::enabled!(tracing::Level::DEBUG) {
        let span = if fast.is_some() { id.span() } else { span };
        span.in_scope(|| log(&route, response.status(), begun));
    }
    Ok(response)
}

/// What is told when a handler panics; without it the connection would just end, and Duplicati ask three times more.
fn panicked(https: bool) -> Error {
    tracing::error!("a request met a fault of this program, which the line before this one names; please report it");
    let mut response = refresh::refusal(&Answer::internal(), StatusCode::SERVICE_UNAVAILABLE);
    protect(response.headers_mut(), https);
    InternalError::from_response("a panic", response).into()
}

/// Adds what is missing.
fn protect(headers: &mut HeaderMap, https: bool) {
    let mut add = |name: &HeaderName, value: &'static str| {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), HeaderValue::from_static(value));
        }
    };
    add(&header::CACHE_CONTROL, "no-store");
    add(&header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(&header::X_FRAME_OPTIONS, "DENY");
    add(&header::CONTENT_SECURITY_POLICY, CSP);
    // Not `no-referrer`: that would turn the Origin of our own forms into `null`.
    add(&header::REFERRER_POLICY, "same-origin");
    add(&PERMISSIONS_POLICY, PERMISSIONS);
    add(&RESOURCE_POLICY, "same-origin");
    if https {
        add(&header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
}

/// The route's pattern, never the URI: queries and paths may hold what must not be logged.
fn pattern<B>(response: &ServiceResponse<B>) -> Cow<'static, str> {
    response.request().match_pattern().map_or(Cow::Borrowed("none"), Cow::Owned)
}

fn log(route: &str, status: StatusCode, begun: Instant) {
    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    if status.is_server_error() {
        tracing::warn!(route, status = status.as_u16(), micros, "answered");
    } else if status.is_client_error() {
        if repeats::is_to_be_logged(route, status.as_u16()) {
            tracing::info!(route, status = status.as_u16(), micros, "answered");
        }
    } else {
        tracing::debug!(route, status = status.as_u16(), micros, "answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, init_service};
    use actix_web::{App, dev::Service};

    #[tokio::test]
    async fn a_panic_is_told_with_a_reason_and_the_same_protection() {
        let broken = web::to(|| async { if true { panic!("on purpose") } else { "ok" } });
        let app = init_service(App::new().wrap(from_fn(around)).default_service(broken)).await;
        let error = app.call(TestRequest::get().uri("/refresh").to_request()).await.err().unwrap();
        let response = error.error_response();
        assert_eq!(response.status(), 503);
        for name in ["x-reason", "retry-after", "content-security-policy", "cache-control"] {
            assert!(response.headers().contains_key(name), "{name}");
        }
    }
}
