//! `/inspect`: what an AuthID is, whether it still works, and the same login sealed anew. Shows nothing secret but the
//! new AuthID, to whoever has the old one.

use super::form::Form;
use super::page::{self, ErrorPage, alone};
use super::reason::{Answer, verdict};
use super::{audit, authid, client, exchange, headers, unfit, visitor};
use crate::app::App;
use crate::guard::{self, Guard};
use crate::tokens::{Facts, Opened, Refused};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::json;
use std::borrow::Cow;
use tracing::Instrument;

#[derive(Serialize)]
struct InspectedPage<'a> {
    title: &'static str,
    /// The AuthID once more, for the page's buttons.
    pasted: &'a str,
    rows: Vec<Row>,
    works: bool,
    /// What a test has found.
    verdict: Option<Cow<'static, str>>,
    denied: bool,
    is_older: bool,
}

#[derive(Serialize)]
struct Row {
    label: &'static str,
    value: String,
}

#[derive(Serialize)]
struct AnewPage<'a> {
    title: String,
    service_name: &'a str,
    authid: &'a str,
    grant: String,
    revoke_code: &'a str,
}

/// `GET /inspect`: the page to paste into.
pub(super) async fn get(app: web::Data<App>) -> HttpResponse {
    alone(page::show(&app, StatusCode::OK, "inspect.html", json!({ "title": "Check an AuthID" })))
}

/// `POST /inspect` with form `authid`, and `act`: `test` to ask the provider, `anew` to seal it anew.
pub(super) async fn post(request: HttpRequest, form: Form, app: web::Data<App>) -> HttpResponse {
    if visitor::is_foreign_form(&request, &app) {
        return alone(unfit::answer(&request, StatusCode::FORBIDDEN));
    }
    let pasted = match authid::of(&request, &form.0, false) {
        Ok(authid) => authid,
        Err(why) => return refuse(&why.into(), &request, &app),
    };
    let opened = match app.tokens().open(&pasted) {
        Ok(opened) => opened,
        Err(refused) => return refuse(&exchange::unopened(&refused, &pasted, &request, &app), &request, &app),
    };
    match form.only("act") {
        Ok(None) => show(&opened, &pasted, None, &app),
        Ok(Some("test")) if !may_test(&opened, &request, &app) => too_many(&request, &app),
        Ok(Some("test")) => {
            let span = headers::span(&request);
            span.record("grant", tracing::field::display(opened.login.grant));
            let outcome = app.tokens().test(&opened).instrument(span.clone()).await;
            if let Err(refused) = &outcome {
                span.in_scope(|| exchange::refused(refused, &opened, &request, &app));
            }
            show(&opened, &pasted, Some(&outcome), &app)
        }
        Ok(Some("anew")) => anew(&opened, &request, &app).await,
        _ => refuse(&Answer::bad_request("act must be test or anew, or left out."), &request, &app),
    }
}

/// Whether this client may have an AuthID tested at its provider now.
fn may_test(opened: &Opened, request: &HttpRequest, app: &App) -> bool {
    let client = client::of(request, app);
    !guard::on(Guard::TestLimit) || app.limits().tests.admits(client, Some(opened.login.grant))
}

fn show(opened: &Opened, pasted: &str, tested: Option<&Result<(), Refused>>, app: &App) -> HttpResponse {
    let facts = app.tokens().facts(opened);
    let page = InspectedPage {
        title: "What this AuthID is",
        pasted,
        rows: facts.rows().into_iter().map(|(label, value)| Row { label, value }).collect(),
        works: tested.is_some_and(Result::is_ok),
        verdict: tested.map(verdict),
        denied: facts.denied.is_some(),
        is_older: facts.is_older,
    };
    alone(page::show(app, StatusCode::OK, "inspected.html", page))
}

async fn anew(opened: &Opened, request: &HttpRequest, app: &App) -> HttpResponse {
    let Facts { service, service_name, grant, .. } = app.tokens().facts(opened);
    match app.tokens().anew(opened).await {
        Ok(anew) => {
            audit::made_anew(opened, anew.epoch, request, app);
            let service_name = service_name.as_deref().unwrap_or(service.as_str());
            let page = AnewPage {
                title: format!("Your AuthID for {service_name}, made anew"),
                service_name,
                authid: anew.authid.expose(),
                grant: grant.to_string(),
                revoke_code: anew.revoke_code.expose_secret(),
            };
            alone(page::show(app, StatusCode::OK, "anew.html", page))
        }
        Err(refused) => refuse(&exchange::refused(&refused, opened, request, app), request, app),
    }
}

fn too_many(request: &HttpRequest, app: &App) -> HttpResponse {
    let page = ErrorPage::new(
        "Too many tests",
        "More AuthIDs were tested here in the last minute than this server passes on to providers.",
        "Wait a minute, then test once more. Nothing is wrong with your AuthID because of this.",
    );
    alone(page.action("/inspect", "Check an AuthID").show(app, request, StatusCode::TOO_MANY_REQUESTS))
}

fn refuse(answer: &Answer, request: &HttpRequest, app: &App) -> HttpResponse {
    // Never a 401, which browsers answer with a dialogue.
    let status = if answer.status.is_client_error() { StatusCode::BAD_REQUEST } else { answer.status };
    let page = ErrorPage::new(
        "This AuthID cannot be used here",
        answer.reason.clone(),
        "If it was not pasted whole, as it was shown to you, try again. Otherwise log in anew.",
    );
    alone(page.action("/inspect", "Try again").show(app, request, status))
}
