//! The start page: the services to log in at, or the one that Duplicati asked for.

use crate::app::App;
use crate::login::{LoginContext, LoginError, Opener};
use crate::provider::{Availability, Flow, Service};
use crate::texts::Text;
use crate::web::handlers::start_link::{Wanted, address};
use crate::web::handlers::{cli_token, login_errors};
use crate::web::response::rejection::Rejection;
use crate::web::response::{page, reason_text};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
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

/// The page for a visitor who may log in; `ctx` is the context, sealed. Whatever comes of it carries `cookies`.
pub(in crate::web) fn show(
    context: &LoginContext,
    ctx: &str,
    cookies: Vec<(HeaderName, HeaderValue)>,
    wanted: Wanted,
    request: &HttpRequest,
    app: &App,
) -> Result<HttpResponse, Rejection> {
    let Wanted { only, at_once, unknown } = wanted;
    // Without a click only for those who would get the AuthID by itself anyway.
    let begins = at_once.is_some() && matches!(context.opener, Opener::Trusted(_));
    let hurry = context.fetch_token.is_some();
    let asked_for = at_once.or(only);
    if let Some(error) = paused(asked_for.as_ref(), app) {
        return Err(login_errors::reject(&error, Some(context), request, app).with(cookies));
    }
    let pasted = asked_for.as_ref().filter(|service| service.provider.flow() == Flow::LoginToken);
    let mut response = match pasted {
        Some(service) if service.availability() == Availability::Offered => {
            cli_token::show(service, ctx, hurry, false, request, app)
        }
        _ => {
            let page = Page { hurry, unknown, ..choices(asked_for.as_deref(), ctx, begins, request, app) };
            page::show(request, app, StatusCode::OK, "index.html", page)
        }
    };
    for (name, value) in cookies {
        response.headers_mut().append(name, value);
    }
    Ok(response)
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

fn is_listed(service: &Service) -> bool {
    !service.hidden
        && matches!(service.availability(), Availability::Offered | Availability::Closed | Availability::NeedsStore)
}

fn choice(service: &Service, ctx: &str, request: &HttpRequest, app: &App) -> Choice {
    let path = match service.provider.flow() {
        Flow::Code => "/login",
        Flow::LoginToken => "/cli-token",
    };
    let paused = || app.tokens().paused(service).map(|_| Text::new("unavailable.paused"));
    let note = reason_text::unavailable(service).or_else(paused).map(|why| page::say(request, app, &why));
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
