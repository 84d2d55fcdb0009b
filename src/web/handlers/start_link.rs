//! Links to the start page: which service they ask for, and the sealed context by which whoever opened the first page
//! still counts as the opener.

use crate::app::App;
use crate::authid::ServiceId;
use crate::login::LoginContext;
use crate::provider::Service;
use crate::web::request::csrf::{self, Cause};
use crate::web::response::page;
use crate::web::{client, cookie};
use actix_web::{HttpRequest, HttpResponse};
use std::sync::Arc;

/// What the page was asked for, as far as the catalogue knows it.
pub(in crate::web) struct Wanted {
    /// `type`: show this service only.
    pub(in crate::web) only: Option<Arc<Service>>,
    /// `redirect` or `redir`: begin this login at once.
    pub(in crate::web) at_once: Option<Arc<Service>>,
    /// Something was asked for that the catalogue does not know.
    pub(in crate::web) unknown: bool,
}

impl Wanted {
    /// Reads query or form through `parameter`.
    pub(in crate::web) fn read(app: &App, parameter: impl Fn(&str) -> Option<String>) -> Self {
        let find = |name| parameter(name).and_then(|id| app.catalogue().find(&id).cloned());
        let (only, at_once) = (find("type"), find("redirect").or_else(|| find("redir")));
        let is_named =
            ["type", "redirect", "redir"].iter().any(|name| parameter(name).is_some_and(|id| !id.is_empty()));
        Self { unknown: is_named && only.is_none() && at_once.is_none(), only, at_once }
    }
}

/// The address of this page, of one service if that is known. With a sealed context whoever opened the first page still
/// counts as the opener.
pub(in crate::web) fn address(service: Option<&str>, ctx: Option<&str>) -> String {
    let only = service.map(|id| format!("type={id}"));
    let query: Vec<_> = only.into_iter().chain(ctx.map(|ctx| format!("ctx={ctx}"))).collect();
    if query.is_empty() { "/".to_owned() } else { format!("/?{}", query.join("&")) }
}

/// Back to this page with the `ctx` that a link or a form of ours had, if it had one.
pub(in crate::web) fn redirect(service: &ServiceId, ctx: &str, request: &HttpRequest, app: &App) -> HttpResponse {
    let ctx = seal(resumed(ctx, request, app).as_ref(), app);
    page::see_other(&address(Some(service.as_str()), ctx.as_deref()))
}

/// What a `ctx` of this browser says of the one who brings it back, unless another site's page sent them with it.
pub(in crate::web) fn resumed(ctx: &str, request: &HttpRequest, app: &App) -> Option<LoginContext> {
    let ours = csrf::cause(request) != Cause::OtherPage;
    let resume = || app.logins().resumed(ctx, cookie::browser_cookie(request, app).as_ref(), client::of(request, app));
    if ours { resume() } else { None }
}

/// A context for the next link. Without randomness the link works all the same.
pub(in crate::web) fn seal(context: Option<&LoginContext>, app: &App) -> Option<String> {
    app.logins().seal_context(context?).ok()
}
