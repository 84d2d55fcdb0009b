//! What a browser tells about itself: the binder cookie, where it comes from, whether a form is our own.

use super::cookie::Cookie;
use crate::app::App;
use crate::guard::{self, Guard};
use crate::login::Binder;
use actix_web::HttpRequest;

/// The text of a header, if there is one and it is text.
pub(super) fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// The browser's binder, if its cookie holds one.
pub(super) fn binder(request: &HttpRequest, app: &App) -> Option<Binder> {
    Binder::parse(Cookie::Binder.read(request, app)?)
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
