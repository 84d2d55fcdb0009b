//! The outermost layer around every route: the checks before it, rejections written for whoever asks, and what every
//! response carries: security headers (clickjacking, RFC 9700 section 4.16; referrer leakage, section 4.2; HSTS), a
//! request id, metrics and one log line.
//!
//! A handler that needs another value sets the header itself; here only what is missing is added.

pub(in crate::web) mod https_and_host;
pub(in crate::web) mod oauth_url;
pub(in crate::web) mod rejections;

use crate::app::App;
use crate::meter;
use crate::web::audience::AUTHID_HEADER;
use crate::web::expected;
use crate::web::pin::pin;
use crate::web::request_id::{self, REQUEST_ID, milliseconds};
use crate::web::response::rejection::Rejection;
use crate::web::routes::{Log, Route, Window};
use actix_web::body::MessageBody;
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, web};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Instant;
use tracing::{Instrument, Span};

/// No script, style, image or connection but our own; framed by nobody; forms only to ourselves.
pub(in crate::web) const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";
/// The longest path and query, in bytes.
pub(in crate::web) const MAX_URI: usize = 4 * 1024;
/// What a request gets whose handler panicked.
const PANICKED: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
/// One year, in seconds.
const HSTS: &str = "max-age=31536000";

static PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
static OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The outermost layer around every route.
pub(in crate::web) async fn wrap(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let pinned = pin(&mut request);
    let too_long = request.uri().path_and_query().is_some_and(|uri| uri.as_str().len() > MAX_URI);
    let has_authid = request.headers().contains_key(&AUTHID_HEADER);
    https_and_host::fold(&mut request);
    if !has_authid {
        oauth_url::read(&mut request);
    }
    let asked = Asked::of(request.request(), has_authid, pinned);
    let checked = match &asked.app {
        _ if too_long => Err(Rejection::of_status(StatusCode::URI_TOO_LONG)),
        Some(app) => https_and_host::check(request.request(), asked.route, has_authid, app),
        None => Ok(()),
    };
    let answered = async {
        match checked {
            Ok(()) => Ok::<_, Error>(rejections::written(next.call(request).await?)),
            Err(rejection) => {
                let response = rejections::write(&rejection, request.request());
                Ok(request.into_response(response.map_into_right_body()))
            }
        }
    };
    let answered = AssertUnwindSafe(answered).catch_unwind().instrument(asked.span.clone()).await;
    let Ok(answered) = answered else { return Err(asked.panicked()) };
    let mut response = answered?;
    asked.complete(&mut response);
    Ok(response)
}

/// What is known of a request before it is answered.
struct Asked {
    app: Option<web::Data<App>>,
    route: Option<&'static Route>,
    method: Method,
    has_authid: bool,
    name: request_id::Kept,
    /// None at all where its handler makes one.
    span: Span,
    begun: Instant,
}

impl Asked {
    fn of(request: &HttpRequest, has_authid: bool, pinned: Rc<Extensions>) -> Self {
        let route = Route::of(request);
        Self {
            app: request.app_data::<web::Data<App>>().cloned(),
            route,
            method: request.method().clone(),
            has_authid,
            name: request_id::Kept::of(request, pinned),
            span: if has_own_span(route) { Span::none() } else { request_id::span(request) },
            begun: Instant::now(),
        }
    }

    /// The route's pattern, never the URI: queries and paths may hold what must not be logged.
    fn path(&self) -> &'static str {
        self.route.map_or("none", |route| route.path)
    }

    fn is_https(&self) -> bool {
        self.app.as_ref().is_some_and(|app| app.public_url().scheme() == "https")
    }

    /// Gives a response what is still missing, and tells meter and log of it.
    fn complete<B>(&self, response: &mut ServiceResponse<B>) {
        if self.route.is_some_and(|route| route.window == Window::Isolated) {
            response.headers_mut().insert(OPENER_POLICY.clone(), HeaderValue::from_static("same-origin"));
        }
        let is_for_a_program =
            self.has_authid && response.status() == StatusCode::OK && self.route.is_some_and(Route::is_for_programs);
        protect(response.headers_mut(), self.is_https(), is_for_a_program);
        if let Some(app) = &self.app {
            app.meter().answered(self.path(), self.method.as_str(), response.status().as_str());
            if app.health().is_draining() {
                response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
            }
        }
        let failed = !response.status().is_success() && !response.status().is_redirection();
        if failed {
            name(response.headers_mut(), &self.name.id());
        }
        if failed || tracing::enabled!(tracing::Level::DEBUG) {
            let is_probe = self.route.is_some_and(|route| route.log == Log::Probe);
            self.late_span().in_scope(|| log(self.path(), is_probe, response.request(), response.status(), self.begun));
        }
    }

    /// What is told when a handler panics; without it the connection would just end, and Duplicati ask three times more.
    fn panicked(&self) -> Error {
        if let Some(app) = &self.app {
            app.meter().answered(self.path(), self.method.as_str(), PANICKED.as_str());
        }
        self.late_span().in_scope(|| {
            tracing::error!(
                "a request met a fault of this program, which the line before this one names; please report it"
            );
        });
        let mut response = rejections::x_reason(&Rejection::internal(), PANICKED);
        protect(response.headers_mut(), self.is_https(), false);
        name(response.headers_mut(), &self.name.id());
        InternalError::from_response("a panic", response).into()
    }

    /// Its span, made now where its handler makes its own.
    fn late_span(&self) -> Span {
        if has_own_span(self.route) { request_id::named(self.name.id()) } else { self.span.clone() }
    }
}

fn has_own_span(route: Option<&Route>) -> bool {
    route.is_some_and(|route| route.log == Log::OwnSpan)
}

fn name(headers: &mut HeaderMap, request_id: &str) {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID.clone(), value);
    }
}

/// Adds what is missing. Where an AuthID came in its header and brought a token, no browser shows what it gets: only a
/// script sends that header, to another origin after a preflight alone, which nothing here answers. So there is no page to
/// protect.
fn protect(headers: &mut HeaderMap, https: bool, is_for_a_program: bool) {
    let mut add = |name: &HeaderName, value: &'static str| {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), HeaderValue::from_static(value));
        }
    };
    add(&header::CACHE_CONTROL, "no-store");
    add(&header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if https {
        add(&header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    if is_for_a_program {
        return;
    }
    add(&header::X_FRAME_OPTIONS, "DENY");
    add(&header::CONTENT_SECURITY_POLICY, CSP);
    // Not `no-referrer`: that would turn the Origin of our own forms into `null`.
    add(&header::REFERRER_POLICY, "same-origin");
    add(&PERMISSIONS_POLICY, PERMISSIONS);
    add(&RESOURCE_POLICY, "same-origin");
}

fn log(route: &str, is_probe: bool, request: &HttpRequest, status: StatusCode, begun: Instant) {
    let (method, duration_ms) = (meter::method(request.method().as_str()), milliseconds(begun));
    // A process that ends says so to every probe; that is no fault.
    let (is_fault, is_refusal) = (status.is_server_error() && !is_probe, status.is_client_error());
    let status = status.as_u16();
    let app = request.app_data::<web::Data<App>>();
    let admits = || app.is_none_or(|app| app.limits().log.admits("answered", format!("{route} {status}")));
    if is_fault && !expected::is_expected(request) {
        if admits() {
            tracing::warn!(method, route, status, duration_ms, "answered");
        }
    } else if is_fault || is_refusal {
        if admits() {
            tracing::info!(method, route, status, duration_ms, "answered");
        }
    } else {
        tracing::debug!(method, route, status, duration_ms, "answered");
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
        let app = init_service(App::new().wrap(from_fn(wrap)).default_service(broken)).await;
        let error = app.call(TestRequest::get().uri("/refresh").to_request()).await.err().unwrap();
        let response = error.error_response();
        assert_eq!(response.status(), 503);
        for name in ["x-reason", "retry-after", "content-security-policy", "cache-control", "x-request-id"] {
            assert!(response.headers().contains_key(name), "{name}");
        }
    }
}
