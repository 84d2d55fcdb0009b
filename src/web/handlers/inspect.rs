//! `/inspect`: what an AuthID is, whether it still works, and the same login sealed again. Shows nothing secret but the
//! new AuthID, to whoever has the old one.

use crate::app::App;
use crate::denylist::Denied;
use crate::mitigation::{self, Mitigation};
use crate::seal::{Epoch, KeyState};
use crate::texts::Text;
use crate::tokens::{AuthIdInfo, ExchangeError, Opened};
use crate::web::audience::Audience;
use crate::web::request::authid;
use crate::web::request::csrf::OwnForm;
use crate::web::response::page::{self, ErrorPage, When};
use crate::web::response::reason_text;
use crate::web::response::rejection::Rejection;
use crate::web::{audit, client, exchange, request_id};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::json;
use tracing::Instrument;

#[derive(Serialize)]
struct InspectedPage<'a> {
    /// The AuthID once more, for the page's buttons.
    pasted: &'a str,
    provider: &'a str,
    service: &'a str,
    grant: String,
    /// When the person logged in, and when the refresh token came; none of an old AuthID.
    login_at: Option<When>,
    sealed_at: Option<When>,
    /// When the login expires, and whether a server that remembers the newer tokens gets around it.
    ends: Option<When>,
    without_store: bool,
    /// None of an old AuthID.
    epoch: Option<u32>,
    key_state: Option<&'static str>,
    /// Whether a test found that it works, and if not, why.
    works: bool,
    revoke_code: Option<&'a str>,
    fault: Option<String>,
    denied: Option<Denied>,
    is_older: bool,
}

#[derive(Serialize)]
struct AnewPage<'a> {
    service_name: &'a str,
    authid: &'a str,
    grant: String,
    revoke_code: &'a str,
    revoke_url: String,
}

/// `GET /inspect`: the page to paste into.
pub(in crate::web) async fn get(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    page::show(&request, &app, StatusCode::OK, "inspect.html", json!({ "error": null }))
}

/// `POST /inspect` with form `authid`, and `act`: `test` to ask the provider, `anew` to seal it again.
pub(in crate::web) async fn post(
    request: HttpRequest,
    form: OwnForm,
    app: web::Data<App>,
) -> Result<HttpResponse, Rejection> {
    let pasted = match authid::of(&request, &form.0, false) {
        Ok(authid) => authid,
        Err(why) => return Ok(ask_again(StatusCode::BAD_REQUEST, &why.text(), &request, &app)),
    };
    let opened = match app.tokens().open(&pasted).await {
        Ok(opened) => opened,
        Err(refused) => {
            let (rejection, why) = exchange::unopened_on_page(&refused, &pasted, &request, &app);
            return Ok(ask_again(rejection.page_status(), &why, &request, &app));
        }
    };
    match form.only("act") {
        Ok(None) => Ok(show(&opened, &pasted, None, &request, &app)),
        Ok(Some("test")) => {
            may_test(&opened, &request, &app)?;
            let outcome = test(&opened, &request, &app).await;
            Ok(show(&opened, &pasted, Some(&outcome), &request, &app))
        }
        Ok(Some("anew")) => {
            if app.tokens().is_unproven(&opened) {
                may_test(&opened, &request, &app)?;
            }
            Ok(reseal(&opened, &request, &app).await)
        }
        _ => Ok(ask_again(StatusCode::BAD_REQUEST, &Text::new("reason.bad_form"), &request, &app)),
    }
}

/// Whether this client may have an AuthID tested at its provider now.
fn may_test(opened: &Opened, request: &HttpRequest, app: &App) -> Result<(), Rejection> {
    let client = client::of(request, app);
    if !mitigation::on(Mitigation::TestLimit) || app.limits().tests.admits(client, Some(opened.login.id)) {
        return Ok(());
    }
    let page = ErrorPage::new("too_many_tests").action("/inspect", "action.inspect");
    Err(Rejection::page(StatusCode::TOO_MANY_REQUESTS, page).to(Audience::Browser))
}

/// Asks the provider whether the AuthID works.
async fn test(opened: &Opened, request: &HttpRequest, app: &App) -> Result<(), ExchangeError> {
    let span = request_id::span(request);
    span.record("grant", tracing::field::display(opened.login.id));
    let outcome = app.tokens().check_upstream(opened).instrument(span.clone()).await;
    if let Err(refused) = &outcome {
        span.in_scope(|| exchange::log_refused(refused, opened, request, app));
    }
    outcome
}

fn show(
    opened: &Opened,
    pasted: &str,
    tested: Option<&Result<(), ExchangeError>>,
    request: &HttpRequest,
    app: &App,
) -> HttpResponse {
    let facts = app.tokens().info(opened);
    let provider = provider(opened, app);
    let fault = tested
        .and_then(|outcome| outcome.as_ref().err())
        .map(|refused| reason_text::refused(refused).with("provider", provider));
    let page = InspectedPage {
        pasted,
        provider,
        revoke_code: facts.revoke_code.as_ref().map(ExposeSecret::expose_secret),
        service: facts.service_name.as_deref().unwrap_or(facts.service.as_str()),
        grant: facts.grant.to_string(),
        login_at: facts.login_at.map(|time| When::moment(time, request, app)),
        sealed_at: facts.sealed_at.map(|time| When::moment(time, request, app)),
        ends: facts.end.as_ref().map(|end| When::day(end.at, request, app)),
        without_store: facts.end.as_ref().is_some_and(|end| end.without_store),
        epoch: facts.epoch.map(Epoch::number),
        key_state: facts.state.map(KeyState::label),
        works: tested.is_some_and(Result::is_ok),
        fault: fault.map(|why| page::say(request, app, &why)),
        denied: facts.denied,
        is_older: facts.is_older,
    };
    page::show(request, app, StatusCode::OK, "inspected.html", page)
}

async fn reseal(opened: &Opened, request: &HttpRequest, app: &App) -> HttpResponse {
    let AuthIdInfo { service, service_name, grant, .. } = app.tokens().info(opened);
    let proven = app.tokens().prove(opened).await;
    let outcome = match proven {
        Ok(()) => app.tokens().reseal(opened).await,
        Err(refused) => Err(refused),
    };
    match outcome {
        Ok(resealed) => {
            audit::made_anew(opened, resealed.epoch, request, app);
            let service_name = service_name.as_deref().unwrap_or(service.as_str());
            let page = AnewPage {
                service_name,
                authid: resealed.authid.expose(),
                grant: grant.to_string(),
                revoke_code: resealed.revoke_code.expose_secret(),
                revoke_url: page::revoke_url(app),
            };
            page::show(request, app, StatusCode::OK, "anew.html", page)
        }
        Err(refused) => {
            let status = exchange::log_refused(&refused, opened, request, app).page_status();
            ask_again(status, &reason_text::refused(&refused).with("provider", provider(opened, app)), request, app)
        }
    }
}

/// What people call the provider of an AuthID.
fn provider<'a>(opened: &'a Opened, app: &'a App) -> &'a str {
    let id = opened.login.service.as_str();
    app.catalogue().find(id).map_or(id, |service| service.provider.name())
}

/// The form once more, with what was wrong.
fn ask_again(status: StatusCode, why: &Text, request: &HttpRequest, app: &App) -> HttpResponse {
    let page = json!({ "error": page::say(request, app, why) });
    page::show(request, app, status, "inspect.html", page)
}
