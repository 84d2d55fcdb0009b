//! `/`: the services to log in at, or the one that Duplicati asked for.

use crate::app::App;
use crate::authid::ServiceId;
use crate::login::{Binder, Context, FetchToken, LoginError, Opener, Origin};
use crate::provider::{Availability, Flow, Service};
use crate::texts::Text;
use crate::web::client;
use crate::web::cookie::Cookie;
use crate::web::handlers::{cli_token, login_errors, password};
use crate::web::request::csrf::{self, Cause};
use crate::web::request::form;
use crate::web::response::{page, rejection};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Page {
    services: Vec<Choice>,
    /// The name of the only service that was asked for.
    filter: Option<String>,
    /// What there is instead, where that one cannot be chosen.
    others: Vec<Choice>,
    start_url: Option<String>,
    /// Whether Duplicati's page, the classic one, closes this window after some time.
    hurry: bool,
    /// A service was asked for that this server does not know.
    unknown: bool,
}

#[derive(Serialize)]
struct Choice {
    id: String,
    name: String,
    provider: String,
    url: Option<String>,
    /// Whether Duplicati has a backend for it.
    duplicati: bool,
    /// The page that shows it alone.
    page_url: String,
    /// Why it cannot be chosen.
    note: Option<String>,
    /// The page of the service to use instead.
    instead_url: Option<String>,
}

/// What the page was asked for, as far as the catalogue knows it.
pub(in crate::web) struct Wanted {
    /// `type`: show this service only.
    pub(in crate::web) only: Option<Arc<Service>>,
    /// `redirect` or `redir`: begin this login at once.
    pub(in crate::web) at_once: Option<Arc<Service>>,
    /// Something was asked for that the catalogue does not know.
    unknown: bool,
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

/// `GET /` with `type` (show that service only), `token` (the fetch token), `redirect` or `redir` (start at once), and
/// `ctx` from a page of ours for those who begin again.
pub(in crate::web) async fn get(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    if let Some(url) = own_address(&request, &app) {
        return crate::web::see_other(&url);
    }
    let Some(binder) = csrf::binder(&request, &app).or_else(|| Binder::random().ok()) else {
        return rejection::answer(&request, StatusCode::INTERNAL_SERVER_ERROR);
    };
    let (referer, site) = (csrf::header(&request, "referer"), csrf::header(&request, "sec-fetch-site"));
    let (opener, client) = (app.logins().opener(referer, site), client::of(&request, &app).address);
    let ctx = form::query(&request, "ctx").filter(|_| matches!(opener, Opener::None(_)));
    let context = match ctx.and_then(|ctx| resumed(&ctx, &request, &app)) {
        Some(first) => Context { client, ..first },
        None => Context {
            opener,
            fetch_token: form::query(&request, "token").and_then(|token| FetchToken::parse(&token)),
            binder: binder.hash(),
            client,
        },
    };
    let wanted = Wanted::read(&app, |name| form::query(&request, name));
    match app.logins().welcome(&context) {
        Ok(ctx) if password::is_shut(&request, &app) => password::ask(None, &ctx, &binder, &wanted, &request, &app),
        Ok(ctx) => show(&context, &ctx, &binder, wanted, &request, &app),
        Err(_) => rejection::answer(&request, StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// The page for a visitor who may log in; `ctx` is the context, sealed.
pub(in crate::web) fn show(
    context: &Context,
    ctx: &str,
    binder: &Binder,
    wanted: Wanted,
    request: &HttpRequest,
    app: &App,
) -> HttpResponse {
    let Wanted { only, at_once, unknown } = wanted;
    // Without a click only for those who would get the AuthID by itself anyway.
    let begins = at_once.is_some() && matches!(context.opener, Opener::Trusted(_));
    let hurry = context.fetch_token.is_some();
    let asked_for = at_once.or(only);
    let pasted = asked_for.as_ref().filter(|service| service.provider.flow() == Flow::Paste);
    let mut response = match (paused(asked_for.as_ref(), app), pasted) {
        (Some(error), _) => login_errors::show(error, Some(context), request, app),
        (None, Some(service)) if service.availability() == Availability::Offered => {
            cli_token::show(service, ctx, hurry, false, request, app)
        }
        _ => {
            let page = Page { hurry, unknown, ..choices(asked_for.as_deref(), ctx, begins, request, app) };
            page::show(request, app, StatusCode::OK, "index.html", page)
        }
    };
    Cookie::Binder.set(&binder.to_cookie(), &mut response, app);
    response
}

/// Why a login would be for nothing: at the service that was asked for, or at each that there is.
fn paused(asked_for: Option<&Arc<Service>>, app: &App) -> Option<LoginError> {
    let why = |service: &Arc<Service>| app.tokens().paused(service);
    if let Some(service) = asked_for {
        let offered = service.availability() == Availability::Offered;
        return why(service).filter(|_| offered).map(|why| LoginError::Paused(Some(service.clone()), why));
    }
    let mut all = app.catalogue().offered().map(why);
    let first = all.next().flatten()?;
    all.all(|why| why.is_some()).then_some(LoginError::Paused(None, first))
}

/// The list of services, or the one that was asked for, and what there is instead where that cannot be chosen.
fn choices(asked_for: Option<&Service>, ctx: &str, begins: bool, request: &HttpRequest, app: &App) -> Page {
    let choice = |service: &Service| choice(service, ctx, request, app);
    let listed = app.catalogue().all().filter(|service| is_listed(service)).map(|service| choice(service));
    let (services, others) = match asked_for.map(choice) {
        None => (listed.collect(), Vec::new()),
        Some(choice) if choice.url.is_some() => (vec![choice], Vec::new()),
        Some(choice) => (vec![choice], listed.filter(|other| other.url.is_some()).collect()),
    };
    let start_url = services.first().and_then(|first| first.url.clone()).filter(|_| begins);
    Page {
        filter: asked_for.map(|service| service.name.clone()),
        services,
        others,
        start_url,
        hurry: false,
        unknown: false,
    }
}

/// This page at our own address, for a visitor who came by another name of this machine: cookies set there would not
/// come back to the callback.
fn own_address(request: &HttpRequest, app: &App) -> Option<String> {
    let host = csrf::header(request, "host")?;
    let asked = Origin::of(&format!("{}://{host}", app.public_url().scheme()))?;
    let asked_for = request.uri().path_and_query()?;
    let other_name = asked != *app.own_origin() && asked.is_loopback() && app.own_origin().is_loopback();
    other_name.then(|| format!("{}{}", app.own_origin().as_str(), asked_for))
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
    crate::web::see_other(&address(Some(service.as_str()), ctx.as_deref()))
}

/// What a `ctx` of this browser says of the one who brings it back, unless another site's page sent them with it.
pub(in crate::web) fn resumed(ctx: &str, request: &HttpRequest, app: &App) -> Option<Context> {
    let ours = csrf::cause(request) != Cause::OtherPage;
    let resume = || app.logins().resumed(ctx, csrf::binder(request, app).as_ref(), client::of(request, app));
    if ours { resume() } else { None }
}

/// A context for the next link. Without randomness the link works all the same.
pub(in crate::web) fn seal(context: Option<&Context>, app: &App) -> Option<String> {
    app.logins().welcome(context?).ok()
}

fn is_listed(service: &Service) -> bool {
    !service.hidden && matches!(service.availability(), Availability::Offered | Availability::NeedsStore)
}

fn choice(service: &Service, ctx: &str, request: &HttpRequest, app: &App) -> Choice {
    let path = match service.provider.flow() {
        Flow::Code => "/login",
        Flow::Paste => "/cli-token",
    };
    let paused = || app.tokens().paused(service).map(|_| Text::new("unavailable.paused"));
    let note = crate::web::unavailable(service).or_else(paused).map(|why| page::say(request, app, &why));
    let instead_url = match service.availability() {
        Availability::Gone { successor: Some(id), .. } => Some(address(Some(id), Some(ctx))),
        _ => None,
    };
    Choice {
        id: service.id.to_string(),
        name: service.name.clone(),
        provider: service.provider.name().to_owned(),
        url: note.is_none().then(|| format!("{path}?id={}&ctx={ctx}", service.id)),
        duplicati: service.duplicati,
        page_url: address(Some(service.id.as_str()), Some(ctx)),
        note,
        instead_url,
    }
}
