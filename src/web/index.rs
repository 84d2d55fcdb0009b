//! `/`: the services to log in at, or the one that Duplicati asked for.

use super::cookie::Cookie;
use super::{access, client, form, page, unfit, visitor};
use crate::app::App;
use crate::login::{Binder, Context, FetchToken, Opener, Origin};
use crate::provider::{Availability, Flow, Service};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Page {
    services: Vec<Choice>,
    /// The name of the only service that was asked for.
    filter: Option<String>,
    start_url: Option<String>,
    /// A service was asked for that this server does not know.
    unknown: bool,
}

#[derive(Serialize)]
struct Choice {
    id: String,
    name: String,
    provider: String,
    url: Option<String>,
    /// Why it cannot be chosen.
    note: Option<String>,
    /// The page of the service to use instead.
    instead_url: Option<String>,
}

/// What the page was asked for, as far as the catalogue knows it.
pub(super) struct Wanted {
    /// `type`: show this service only.
    pub(super) only: Option<Arc<Service>>,
    /// `redirect` or `redir`: begin this login at once.
    pub(super) at_once: Option<Arc<Service>>,
    /// Something was asked for that the catalogue does not know.
    unknown: bool,
}

impl Wanted {
    /// Reads query or form through `parameter`.
    pub(super) fn read(app: &App, parameter: impl Fn(&str) -> Option<String>) -> Self {
        let find = |name| parameter(name).and_then(|id| app.catalogue().find(&id).cloned());
        let (only, at_once) = (find("type"), find("redirect").or_else(|| find("redir")));
        let is_named =
            ["type", "redirect", "redir"].iter().any(|name| parameter(name).is_some_and(|id| !id.is_empty()));
        Self { unknown: is_named && only.is_none() && at_once.is_none(), only, at_once }
    }
}

/// `GET /` with `type` (show that service only), `token` (the fetch token), `redirect` or `redir` (start at once).
pub(super) async fn get(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    if let Some(url) = own_address(&request, &app) {
        return HttpResponse::SeeOther().insert_header((header::LOCATION, url)).finish();
    }
    let Some(binder) = visitor::binder(&request, &app).or_else(|| Binder::random().ok()) else {
        return unfit::answer(&request, StatusCode::INTERNAL_SERVER_ERROR);
    };
    let (referer, site) = (visitor::header(&request, "referer"), visitor::header(&request, "sec-fetch-site"));
    let context = Context {
        opener: app.logins().opener(referer, site),
        fetch_token: form::query(&request, "token").and_then(|token| FetchToken::parse(&token)),
        binder: binder.hash(),
        client: client::of(&request, &app).address,
    };
    let wanted = Wanted::read(&app, |name| form::query(&request, name));
    match app.logins().welcome(&context) {
        Ok(ctx) if access::is_shut(&request, &app) => access::ask(None, &ctx, &binder, &wanted, &request, &app),
        Ok(ctx) => show(&context, &ctx, &binder, wanted, &request, &app),
        Err(_) => unfit::answer(&request, StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// The page for a visitor who may log in; `ctx` is the context, sealed.
pub(super) fn show(
    context: &Context,
    ctx: &str,
    binder: &Binder,
    wanted: Wanted,
    request: &HttpRequest,
    app: &App,
) -> HttpResponse {
    let Wanted { only, at_once, unknown } = wanted;
    let asked_for = at_once.clone().or(only);
    let choice = |service: &Arc<Service>| choice(service, ctx, request, app);
    let services: Vec<_> = match &asked_for {
        Some(service) => vec![choice(service)],
        None => app.catalogue().all().filter(|service| is_listed(service)).map(choice).collect(),
    };
    // Without a click only for those who would get the AuthID by itself anyway.
    let trusted = matches!(context.opener, Opener::Trusted(_));
    let start_url = services.first().and_then(|first| first.url.clone()).filter(|_| trusted && at_once.is_some());
    let filter = asked_for.map(|service| service.name.clone());
    let page = Page { services, filter, start_url, unknown };
    let mut response = page::show(request, app, StatusCode::OK, "index.html", page);
    Cookie::Binder.set(&binder.to_cookie(), &mut response, app);
    response
}

/// This page at our own address, for a visitor who came by another name of this machine: cookies set there would not
/// come back to the callback.
fn own_address(request: &HttpRequest, app: &App) -> Option<String> {
    let host = visitor::header(request, "host")?;
    let asked = Origin::of(&format!("{}://{host}", app.public_url().scheme()))?;
    let asked_for = request.uri().path_and_query()?;
    let other_name = asked != *app.own_origin() && asked.is_loopback() && app.own_origin().is_loopback();
    other_name.then(|| format!("{}{}", app.own_origin().as_str(), asked_for))
}

fn is_listed(service: &Service) -> bool {
    !service.hidden && matches!(service.availability(), Availability::Offered | Availability::NeedsStore)
}

fn choice(service: &Service, ctx: &str, request: &HttpRequest, app: &App) -> Choice {
    let path = match service.provider.flow() {
        Flow::Code => "/login",
        Flow::Paste => "/cli-token",
    };
    let note = super::unavailable(service).map(|why| page::say(request, app, &why));
    let instead_url = match service.availability() {
        Availability::Gone { successor: Some(id), .. } => Some(format!("/?type={id}")),
        _ => None,
    };
    Choice {
        id: service.id.to_string(),
        name: service.name.clone(),
        provider: service.provider.name().to_owned(),
        url: note.is_none().then(|| format!("{path}?id={}&ctx={ctx}", service.id)),
        note,
        instead_url,
    }
}
