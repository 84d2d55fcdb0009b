//! `/`: the services to log in at, or the one that Duplicati asked for.

use super::{page, visitor};
use crate::app::App;
use crate::login::{Binder, Context, FetchToken, Opener};
use crate::provider::{Availability, Flow, Service};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

#[derive(Serialize)]
struct Page {
    title: String,
    services: Vec<Choice>,
    /// Only one service was asked for.
    filter: bool,
    start_url: Option<String>,
}

#[derive(Serialize)]
struct Choice {
    id: String,
    name: String,
    provider: String,
    url: Option<String>,
    /// Why it cannot be chosen.
    note: Option<String>,
}

/// `GET /` with `type` (show that service only), `token` (the fetch token), `redirect` or `redir` (start at once).
pub(super) async fn get(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let Some(binder) = visitor::binder(&request, &app).or_else(|| Binder::random().ok()) else {
        return super::internal(&request, &app);
    };
    let (referer, site) = (visitor::header(&request, "referer"), visitor::header(&request, "sec-fetch-site"));
    let context = Context {
        opener: app.logins().opener(referer, site),
        fetch_token: super::query(&request, "token").and_then(|token| FetchToken::parse(&token)),
        binder: binder.hash(),
    };
    let Ok(ctx) = app.logins().welcome(&context) else {
        return super::internal(&request, &app);
    };

    let find = |name| super::query(&request, name).and_then(|id| app.catalogue().find(&id).cloned());
    let at_once = find("redirect").or_else(|| find("redir"));
    let asked_for = at_once.clone().or_else(|| find("type"));
    let services: Vec<_> = match &asked_for {
        Some(service) => vec![choice(service, &ctx)],
        None => app.catalogue().all().filter(|service| is_listed(service)).map(|service| choice(service, &ctx)).collect(),
    };
    // Without a click only for those who would get the AuthID by itself anyway.
    let trusted = matches!(context.opener, Opener::Trusted(_));
    let start_url = services.first().and_then(|first| first.url.clone()).filter(|_| trusted && at_once.is_some());
    let title = match &asked_for {
        Some(service) => format!("Log in to {}", service.name()),
        None => "Log in to your storage".to_owned(),
    };
    let page = Page { title, services, filter: asked_for.is_some(), start_url };
    let mut response = page::show(&app, StatusCode::OK, "index.html", page);
    // Fails only for a cookie that is no header text; ours is base64url.
    if response.add_cookie(&visitor::binder_cookie(&binder, &app)).is_err() {
        return super::internal(&request, &app);
    }
    response
}

fn is_listed(service: &Service) -> bool {
    !service.hidden() && matches!(service.availability(), Availability::Offered | Availability::NeedsStore)
}

fn choice(service: &Service, ctx: &str) -> Choice {
    let path = match service.provider().flow() {
        Flow::Code => "/login",
        Flow::Paste => "/cli-token",
    };
    let note = super::unavailable(service.availability());
    Choice {
        id: service.id().to_string(),
        name: service.name().to_owned(),
        provider: service.provider().name().to_owned(),
        url: note.is_none().then(|| format!("{path}?id={}&ctx={ctx}", service.id())),
        note,
    }
}
