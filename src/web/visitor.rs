//! What a browser tells about itself: the binder cookie, where it comes from, whether a form is our own.

use crate::access::PASS_LIFETIME;
use crate::app::App;
use crate::guard::{self, Guard};
use crate::login::{BINDER_LIFETIME, Binder, STATE_LIFETIME};
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::{HttpRequest, HttpResponse};

/// The text of a header, if there is one and it is text.
pub(super) fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// The browser's binder, if its cookie holds one.
pub(super) fn binder(request: &HttpRequest, app: &App) -> Option<Binder> {
    Binder::parse(request.cookie(binder_name(app))?.value())
}

/// The cookie that keeps a binder for an hour.
pub(super) fn binder_cookie(binder: &Binder, app: &App) -> Cookie<'static> {
    cookie(app, binder_name(app), binder.to_cookie(), BINDER_LIFETIME)
}

/// The state of a login at a provider that may drop it on the way back, if its cookie is there.
pub(super) fn kept_state(request: &HttpRequest, app: &App) -> Option<String> {
    request.cookie(state_name(app)).map(|cookie| cookie.value().to_owned())
}

/// The cookie that keeps such a state for ten minutes.
pub(super) fn state_cookie(state: String, app: &App) -> Cookie<'static> {
    cookie(app, state_name(app), state, STATE_LIFETIME)
}

/// The pass of a browser in which the shared password was given, if its cookie is there.
pub(super) fn pass(request: &HttpRequest, app: &App) -> Option<String> {
    request.cookie(pass_name(app)).map(|cookie| cookie.value().to_owned())
}

/// The cookie that keeps such a pass for 30 days.
pub(super) fn pass_cookie(pass: String, app: &App) -> Cookie<'static> {
    cookie(app, pass_name(app), pass, PASS_LIFETIME)
}

/// Sends a cookie along.
pub(super) fn keep(response: &mut HttpResponse, cookie: &Cookie<'_>) {
    // Fails only for a cookie that is no header text; ours are base64url.
    let _ = response.add_cookie(cookie);
}

/// Whether another site's page sent this form.
pub(super) fn is_foreign_form(request: &HttpRequest, app: &App) -> bool {
    let foreign_origin = header(request, "origin").is_some_and(|origin| origin != app.own_origin().as_str());
    guard::on(Guard::ForeignForm) && (foreign_origin || header(request, "sec-fetch-site") == Some("cross-site"))
}

/// Whether the request is known to come from another place than our own pages.
pub(super) fn is_not_from_our_page(request: &HttpRequest) -> bool {
    guard::on(Guard::OwnPageOnly) && header(request, "sec-fetch-site").is_some_and(|site| site != "same-origin")
}

// The `__Host-` prefix keeps other hosts of the same domain from setting the cookie. Browsers want https for it, and
// plain http is for loopback.
fn binder_name(app: &App) -> &'static str {
    if is_https(app) { "__Host-authseal" } else { "authseal" }
}

fn state_name(app: &App) -> &'static str {
    if is_https(app) { "__Host-authseal-state" } else { "authseal-state" }
}

fn pass_name(app: &App) -> &'static str {
    if is_https(app) { "__Host-authseal-access" } else { "authseal-access" }
}

fn is_https(app: &App) -> bool {
    app.public_url().scheme() == "https"
}

/// `Lax`, not `Strict`: the cookie must be there when the provider sends the browser back.
fn cookie(app: &App, name: &'static str, value: String, seconds: i64) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .secure(is_https(app))
        .same_site(SameSite::Lax)
        .max_age(Duration::seconds(seconds))
        .finish()
}
