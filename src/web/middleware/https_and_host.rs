//! Checks before routing: the Host header (DNS rebinding), https behind a TLS-terminating proxy, AuthIDs sent to an
//! address that does not take them, and login steps that a browser asks for ahead of time or in a frame (Fetch
//! Metadata). What holds for which route is in [`crate::web::routes`].

use crate::app::App;
use crate::mitigation::{self, Mitigation};
use crate::net::Origin;
use crate::web::audience::{AUTHID_HEADER, Audience};
use crate::web::client;
use crate::web::middleware::rejections::X_REASON;
use crate::web::request::{authid, csrf};
use crate::web::response::page::ErrorPage;
use crate::web::response::rejection::Rejection;
use crate::web::routes::{Reach, Route, Window};
use actix_web::HttpRequest;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::uri::PathAndQuery;
use actix_web::http::{StatusCode, Uri};
use url::Host;

/// Gives an address that is spelled otherwise, with slashes or blanks too many, in capitals or with percent signs, the
/// spelling that we use, as predecessors took them all. Comes before every check, so that all see the same address. Names
/// of files stay as they are.
pub(in crate::web) fn fold(request: &mut ServiceRequest) {
    let path = request.match_info().as_str();
    if path == request.path() && Route::of(request.request()).is_some() {
        return;
    }
    let parts = path.split('/').map(str::trim).filter(|part| !part.is_empty());
    let folded: String = parts.flat_map(|part| ["/", part]).collect::<String>().to_ascii_lowercase();
    let is_plain = folded.bytes().all(|b| b.is_ascii_lowercase() || b"/.-".contains(&b));
    let is_file = ["/static/", "/.well-known/"].iter().any(|folder| folded.starts_with(folder));
    if !is_plain || is_file || !path.starts_with('/') || folded == request.path() || folded.is_empty() {
        return;
    }
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut uri = request.uri().clone().into_parts();
    uri.path_and_query = PathAndQuery::try_from(folded + &query).ok();
    if let Ok(uri) = Uri::from_parts(uri) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
}

/// Whether a request may go on to its handler.
pub(in crate::web) fn check(
    request: &HttpRequest,
    route: Option<&Route>,
    has_authid: bool,
    app: &App,
) -> Result<(), Rejection> {
    let is_private = has_authid || route.is_some_and(|route| route.reach != Reach::Open);
    if mitigation::on(Mitigation::PlainHttp) && is_private && client::came_by_plain_http(request, app) {
        return Err(plain_http(request, app));
    }
    if has_authid && !route.is_some_and(|route| route.takes_authid(request.method())) {
        return Err(Rejection::wrong_address(app.own_origin().as_str()));
    }
    let Some(route) = route else { return Ok(()) };
    if mitigation::on(Mitigation::Navigation) && route.window == Window::Navigated {
        if csrf::is_prefetch(request) {
            return Err(not_navigated(StatusCode::SERVICE_UNAVAILABLE));
        }
        if has_other_destination(request) {
            return Err(not_navigated(StatusCode::FORBIDDEN));
        }
    }
    if mitigation::on(Mitigation::HostName) && route.reach == Reach::OwnName && !has_our_name(request, app) {
        return Err(wrong_name(app));
    }
    Ok(())
}

/// Whether the browser says that it loads something else than a page of its own: an image, a script, a frame, a `fetch`.
fn has_other_destination(request: &HttpRequest) -> bool {
    request.headers().get_all("sec-fetch-dest").any(|value| value != "document")
}

/// The same page for both. A prefetch gets 503 and is asked for again when its user does go there; nothing was spent.
fn not_navigated(status: StatusCode) -> Rejection {
    Rejection::page(status, ErrorPage::new("not_navigated"))
}

/// Whether the host is that of the public URL, or this very machine. The port does not matter.
fn has_our_name(request: &HttpRequest, app: &App) -> bool {
    let is_ours = |host: Host| is_loopback(&host) || app.public_url().host() == Some(by_reference(&host));
    let mut hosts = hosts(request).peekable();
    hosts.peek().is_some() && hosts.all(|host| host.is_some_and(is_ours))
}

/// Every host that the request says it is for, without port; `None` for what is no host.
pub(in crate::web) fn hosts(request: &HttpRequest) -> impl Iterator<Item = Option<Host>> {
    let in_target = request.uri().authority().map(|authority| authority.as_str());
    let in_header = request.headers().get_all(header::HOST).map(|host| host.to_str().unwrap_or_default());
    in_header.chain(in_target).map(|host| {
        let port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let name = host.rsplit_once(':').filter(|(_, after)| port(after)).map_or(host, |(name, _)| name);
        Host::parse(name).ok()
    })
}

/// Whether it names this very machine.
pub(in crate::web) fn is_loopback(host: &Host) -> bool {
    Origin::parse(&format!("http://{host}")).is_some_and(|origin| origin.is_loopback())
}

fn by_reference(host: &Host) -> Host<&str> {
    match host {
        Host::Domain(name) => Host::Domain(name),
        Host::Ipv4(address) => Host::Ipv4(*address),
        Host::Ipv6(address) => Host::Ipv6(*address),
    }
}

fn wrong_name(app: &App) -> Rejection {
    Rejection::bad(
        StatusCode::MISDIRECTED_REQUEST,
        "This server was asked for under a name that is not its own.",
        ErrorPage::new("wrong_name").action(app.public_url().as_str(), "action.open_own"),
    )
}

/// For what should have come by https.
pub(in crate::web) fn plain_http(request: &HttpRequest, app: &App) -> Rejection {
    let rejection = Rejection::bad(
        StatusCode::FORBIDDEN,
        "This request came by plain http, where others on its way can read it. Use the https address.",
        ErrorPage::new("plain_http").action(app.public_url().as_str(), "action.open_https"),
    );
    let has_authid = request.headers().contains_key(&AUTHID_HEADER);
    match Audience::of(request) {
        // Duplicati's page opens the address that its clients use.
        Audience::Duplicati if !has_authid && authid::is_browser(request) => rejection.to(Audience::Browser),
        Audience::OAuthClient => {
            let reason = HeaderValue::from_str(&rejection.reason).ok();
            rejection.with(reason.map(|reason| (X_REASON.clone(), reason)))
        }
        _ => rejection,
    }
}
