//! What is refused before any act: a page asked for under a name that is not ours (DNS rebinding), whatever came by plain
//! http where https is meant to be, and a step of a login that a browser asked for ahead of time (Fetch Metadata).

use crate::app::App;
use crate::mitigation::{self, Mitigation};
use crate::net::Origin;
use crate::web::audience::AUTHID_HEADER;
use crate::web::client;
use crate::web::request::{authid, csrf};
use crate::web::response::errors::Answer;
use crate::web::response::page::ErrorPage;
use crate::web::response::rejection;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::uri::PathAndQuery;
use actix_web::http::{StatusCode, Uri};
use actix_web::{HttpRequest, HttpResponse};
use url::Host;

/// Gives an address that is spelled otherwise, with slashes or blanks too many, in capitals or with percent signs, the
/// spelling that we use, as predecessors took them all. Comes before every check, so that all see the same address. Names
/// of files stay as they are.
pub(in crate::web) fn fold(request: &mut ServiceRequest) {
    let path = request.match_info().as_str();
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

/// The answer to a request that goes no further.
pub(in crate::web) fn refusal(request: &HttpRequest, app: &App) -> Option<HttpResponse> {
    // As the router sees it: `%6C` is an `l`.
    let path = request.match_info().as_str();
    let has_authid = request.headers().contains_key(&AUTHID_HEADER);
    if mitigation::on(Mitigation::PlainHttp)
        && (has_authid || is_private(path))
        && client::came_by_plain_http(request, app)
    {
        return Some(plain_http(request, app));
    }
    if has_authid && !authid::is_taken_at(request, path) {
        return Some(wrong_address(request, app));
    }
    if mitigation::on(Mitigation::Navigation) && matches!(path, "/login" | "/logged-in") {
        if csrf::is_prefetch(request) {
            return Some(not_navigated(request, app, StatusCode::SERVICE_UNAVAILABLE));
        }
        if has_other_destination(request) {
            return Some(not_navigated(request, app, StatusCode::FORBIDDEN));
        }
    }
    (mitigation::on(Mitigation::HostName) && is_page(path) && !has_our_name(request, app))
        .then(|| wrong_name(request, app))
}

/// For a client that sends its AuthID elsewhere.
fn wrong_address(request: &HttpRequest, app: &App) -> HttpResponse {
    let own = app.own_origin().as_str();
    let reason =
        format!("This is not the address that gives access. Please set the client's oauth-url to {own}/refresh");
    rejection::x_reason(request, &Answer::unfit(StatusCode::NOT_FOUND, reason))
}

/// Whether the browser says that it loads something else than a page of its own: an image, a script, a frame, a `fetch`.
fn has_other_destination(request: &HttpRequest) -> bool {
    request.headers().get_all("sec-fetch-dest").any(|value| value != "document")
}

/// The same page for both. A prefetch gets 503 and is asked for again when its user does go there; nothing was spent.
fn not_navigated(request: &HttpRequest, app: &App, status: StatusCode) -> HttpResponse {
    ErrorPage::new("not_navigated").show(request, app, status)
}

/// The pages and the login flow. Clients and probes may use any name: balancers know addresses only.
fn is_page(path: &str) -> bool {
    let login =
        matches!(path, "/" | "/access" | "/login" | "/logged-in" | "/cli-token" | "/cli-token-login" | "/deliver");
    login || matches!(path, "/revoke" | "/revoked" | "/inspect" | "/privacy-policy" | "/privacy-policy.txt")
}

/// Whether something secret may travel; probes and ACME's http-01 use plain http on purpose.
fn is_private(path: &str) -> bool {
    is_page(path) || matches!(path, "/refresh" | "/token" | "/fetch" | "/token-state")
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

fn wrong_name(request: &HttpRequest, app: &App) -> HttpResponse {
    let message = "This server was asked for under a name that is not its own.";
    if request.headers().contains_key(&AUTHID_HEADER) {
        return refuse(request, StatusCode::MISDIRECTED_REQUEST, message);
    }
    ErrorPage::new("wrong_name").action(app.public_url().as_str(), "action.open_own").show(
        request,
        app,
        StatusCode::MISDIRECTED_REQUEST,
    )
}

/// The answer to what should have come by https.
pub(in crate::web) fn plain_http(request: &HttpRequest, app: &App) -> HttpResponse {
    let message = "This request came by plain http, where others on its way can read it. Use the https address.";
    // Duplicati's page opens the address that its clients use.
    let is_page = request.path() == "/refresh" && authid::is_browser(request);
    match request.path() {
        path if (path == "/refresh" && !is_page) || request.headers().contains_key(&AUTHID_HEADER) => {
            refuse(request, StatusCode::FORBIDDEN, message)
        }
        "/token" => {
            let mut response = rejection::oauth_error(StatusCode::FORBIDDEN, "invalid_request", message);
            response
                .headers_mut()
                .insert(HeaderName::from_static("x-reason"), HeaderValue::from_static(message.trim_end_matches('.')));
            response
        }
        _ => ErrorPage::new("plain_http").action(app.public_url().as_str(), "action.open_https").show(
            request,
            app,
            StatusCode::FORBIDDEN,
        ),
    }
}

fn refuse(request: &HttpRequest, status: StatusCode, message: &'static str) -> HttpResponse {
    rejection::x_reason(request, &Answer::unfit(status, message.trim_end_matches('.')))
}
