//! The routes of the public listener: one row for each, with all that holds for it. Routing, `Allow`, the checks before
//! it, who is told what, and the log follow from these rows, and a row without an answer to each does not compile.

use crate::meter::Meter;
use crate::web::audience::{AUTHID_HEADER, Audience};
use crate::web::handlers::{
    acme, assets, cli_token, deliver, fetch, index, inspect, login, password, privacy, probes, refresh, revoke, token,
};
use crate::web::response::rejection::Rejection;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{get, post};
use actix_web::{HttpRequest, HttpResponse, Resource, guard, web};

/// How a request has to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Reach {
    /// Under our own name (Host header attacks, DNS rebinding), and not by plain http where browsers use https: pages, and
    /// the forms on them.
    OwnName,
    /// Under any name, as balancers know addresses only, but not by plain http: something secret travels.
    Https,
    /// Probes, ACME's http-01 and files use plain http on purpose.
    Open,
}

/// Whether an AuthID in its header belongs here; anywhere else its client has a wrong address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum AuthIdHeader {
    Never,
    Taken,
    /// With the form of an AuthID's owner, not with the page that asks for it.
    Posted,
}

/// In what window a browser shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Window {
    Any,
    /// A step of a login: only for what its user navigates to, never ahead of time, in a frame or as an image.
    Navigated,
    /// One cut off from whoever opened it (Cross-Origin-Opener-Policy): no popup passes through.
    Isolated,
}

/// What the log does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Log {
    /// A span for every request.
    Span,
    /// Its handler makes the span, when there is something to say: a span costs as much as opening an AuthID.
    OwnSpan,
    /// A span, and no warning when a process that ends says so.
    Probe,
}

/// A route of the public listener.
pub(in crate::web) struct Route {
    /// As the router and the metrics have it.
    pub(in crate::web) path: &'static str,
    /// As `Allow` has them (RFC 9110 section 10.2.1). What `GET` shows, `HEAD` may ask for, except where `GET` uses
    /// something up.
    pub(in crate::web) methods: &'static str,
    audience: Audience,
    pub(in crate::web) reach: Reach,
    authid: AuthIdHeader,
    pub(in crate::web) window: Window,
    pub(in crate::web) log: Log,
    handlers: fn(Resource) -> Resource,
}

use Audience::{Browser, Duplicati, OAuthClient};
use AuthIdHeader::{Never, Posted, Taken};
use Log::{OwnSpan, Probe, Span};
use Reach::{Https, Open, OwnName};
use Window::{Any, Isolated, Navigated};

/// Every route there is. Router and checks go through them in this order, so what is asked for most comes first.
#[rustfmt::skip]
pub(in crate::web) static ROUTES: [Route; 22] = [
    // path, methods, audience, reach, AuthID in its header, window, log, handlers
    route("/refresh", "GET, POST", Duplicati, Https, Taken, Any, OwnSpan, |at| at.route(get().to(refresh::get)).route(post().to(refresh::post))),
    route("/token", "POST", OAuthClient, Https, Never, Any, OwnSpan, |at| at.route(post().to(token::post))),
    route("/", "GET, HEAD", Browser, OwnName, Never, Any, Span, |at| at.route(get_or_head().to(index::get))),
    route("/access", "POST", Browser, OwnName, Never, Any, Span, |at| at.route(post().to(password::post))),
    route("/login", "GET", Browser, OwnName, Never, Navigated, Span, |at| at.route(get().to(login::begin))),
    route("/logged-in", "GET, POST", Browser, OwnName, Never, Navigated, Span, |at| at.route(get().to(login::complete)).route(post().to(login::confirm))),
    route("/cli-token", "GET", Browser, OwnName, Never, Any, Span, |at| at.route(get().to(cli_token::get))),
    route("/cli-token-login", "POST", Browser, OwnName, Never, Any, Span, |at| at.route(post().to(cli_token::post))),
    route("/deliver", "POST", Browser, OwnName, Never, Any, Span, |at| at.route(post().to(deliver::post))),
    route("/fetch", "GET", Browser, Https, Never, Any, Span, |at| at.route(get().to(fetch::fetch))),
    route("/token-state", "GET", Browser, Https, Never, Any, Span, |at| at.route(get().to(fetch::state))),
    route("/revoke", "GET, HEAD", Browser, OwnName, Never, Isolated, Span, |at| at.route(get_or_head().to(revoke::get))),
    route("/revoked", "POST", Browser, OwnName, Posted, Isolated, Span, |at| at.route(post().to(revoke::post))),
    route("/inspect", "GET, HEAD, POST", Browser, OwnName, Posted, Isolated, Span, |at| at.route(get_or_head().to(inspect::get)).route(post().to(inspect::post))),
    route("/privacy-policy", "GET, HEAD", Browser, OwnName, Never, Any, Span, |at| at.route(get_or_head().to(privacy::privacy))),
    route("/privacy-policy.txt", "GET, HEAD", Browser, OwnName, Never, Any, Span, |at| at.route(get_or_head().to(privacy::privacy))),
    route("/static/{name}", "GET, HEAD", Browser, Open, Never, Any, Span, |at| at.route(get_or_head().to(assets::asset))),
    route("/favicon.ico", "GET, HEAD", Browser, Open, Never, Any, Span, |at| at.route(get_or_head().to(assets::favicon))),
    route("/isalive", "GET, HEAD", Browser, Open, Never, Any, Span, |at| at.route(get_or_head().to(probes::isalive))),
    route("/healthz", "GET, HEAD", Browser, Open, Never, Any, Probe, |at| at.route(get_or_head().to(probes::healthz))),
    route("/readyz", "GET, HEAD", Browser, Open, Never, Any, Probe, |at| at.route(get_or_head().to(probes::readyz))),
    route("/.well-known/acme-challenge/{token}", "GET, HEAD", Browser, Open, Never, Any, Span, |at| at.route(get_or_head().to(acme::acme))),
];

/// A row; a struct would take ten lines for each.
#[allow(clippy::too_many_arguments, reason = "the columns of a table")]
const fn route(
    path: &'static str,
    methods: &'static str,
    audience: Audience,
    reach: Reach,
    authid: AuthIdHeader,
    window: Window,
    log: Log,
    handlers: fn(Resource) -> Resource,
) -> Route {
    Route { path, methods, audience, reach, authid, window, log, handlers }
}

fn get_or_head() -> actix_web::Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

impl Route {
    /// The route that a request is for, if there is one, by its path as the router sees it: `%6C` is an `l`.
    pub(in crate::web) fn of(request: &HttpRequest) -> Option<&'static Self> {
        let path = request.match_info().as_str();
        ROUTES.iter().find(|route| route.is_at(path))
    }

    fn is_at(&self, path: &str) -> bool {
        let is_in = |folder| path.strip_prefix(folder).is_some_and(|name| !name.is_empty() && !name.contains('/'));
        path == self.path || self.path.split_once('{').is_some_and(|(folder, _)| is_in(folder))
    }

    /// Whether programs read what it says when all is well.
    pub(in crate::web) fn is_for_programs(&self) -> bool {
        self.audience != Audience::Browser
    }

    /// Whether an AuthID in its header belongs here.
    pub(in crate::web) fn takes_authid(&self, method: &Method) -> bool {
        match self.authid {
            AuthIdHeader::Never => false,
            AuthIdHeader::Taken => true,
            AuthIdHeader::Posted => *method == Method::POST,
        }
    }
}

impl Audience {
    /// Who sends this request.
    pub(in crate::web) fn of(request: &HttpRequest) -> Self {
        if request.headers().contains_key(&AUTHID_HEADER) {
            return Self::Duplicati;
        }
        Route::of(request).map_or(Self::Browser, |route| route.audience)
    }
}

/// Has the router and the metrics know every route.
pub(in crate::web) fn routes(config: &mut web::ServiceConfig, meter: &Meter) {
    for route in &ROUTES {
        let resource = (route.handlers)(web::resource(route.path));
        config.service(resource.default_service(method_not_allowed(route.methods)));
        meter.route(route.path, route.methods);
    }
}

/// For every address that is none of ours.
pub(in crate::web) async fn not_found() -> Result<HttpResponse, Rejection> {
    Err(Rejection::of_status(StatusCode::NOT_FOUND))
}

/// For an address that takes other methods: those of `allow` (RFC 9110 section 15.5.6).
fn method_not_allowed(allow: &'static str) -> actix_web::Route {
    web::route().to(move || async move {
        let allow = (header::ALLOW, HeaderValue::from_static(allow));
        Err::<HttpResponse, _>(Rejection::of_status(StatusCode::METHOD_NOT_ALLOWED).with([allow]))
    })
}
