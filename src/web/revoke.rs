//! `/revoke` and `/revoked`: the owner of an AuthID revokes it.

use super::authid;
use super::form::Form;
use super::page::{self, ErrorPage};
use super::reason::Answer;
use super::{audit, unfit, visitor};
use crate::app::App;
use crate::denylist::Denied;
use crate::tokens::{AtProvider, Opened};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::json;

#[derive(Serialize)]
struct RevokedPage<'a> {
    title: &'static str,
    grant: String,
    service_name: &'a str,
    provider_outcome: &'static str,
    withdraw_url: Option<&'a str>,
}

/// `GET /revoke`: the page to paste into.
pub(super) async fn get(app: web::Data<App>) -> HttpResponse {
    alone(page::show(&app, StatusCode::OK, "revoke.html", json!({ "title": "Revoke access" })))
}

/// `POST /revoked` with form field `authid` (a page comes back) or header `X-AuthID` (JSON comes back).
pub(super) async fn post(request: HttpRequest, form: Form, app: web::Data<App>) -> HttpResponse {
    if visitor::is_foreign_form(&request, &app) {
        return alone(unfit::answer(&request, StatusCode::FORBIDDEN));
    }
    let as_json = request.headers().contains_key(&authid::HEADER);
    let authid = match authid::of(&request, &form.0, false) {
        Ok(authid) => authid,
        Err(why) => return refuse(&why.into(), as_json, &request, &app),
    };
    let opened = match app.tokens().open(&authid) {
        Ok(opened) => opened,
        Err(refused) => return refuse(&super::log(&refused), as_json, &request, &app),
    };
    alone(revoke(opened, as_json, &request, &app).await)
}

async fn revoke(opened: Opened, as_json: bool, request: &HttpRequest, app: &App) -> HttpResponse {
    let (grant, epoch, service) =
        (opened.login.grant, opened.epoch, app.catalogue().find(opened.login.service.as_str()).cloned());
    let before = app.tokens().denied(&opened) == Some(Denied::Grant);
    let outcome = app.tokens().revoke(opened).await;
    audit::revoked(grant, epoch, outcome.is_ok(), request, app);
    match outcome {
        Ok(outcome) => {
            let provider_outcome = match outcome {
                AtProvider::Done => "done",
                AtProvider::NotPossible => "not_supported",
                AtProvider::Failed => "failed",
            };
            if as_json {
                return HttpResponse::Ok().json(json!({
                    "revoked": true, "already": before, "grant": grant.to_string(), "provider": provider_outcome,
                }));
            }
            let page = RevokedPage {
                title: "Access revoked",
                grant: grant.to_string(),
                service_name: service.as_ref().map_or("the service", |service| service.name.as_str()),
                provider_outcome,
                withdraw_url: service.as_ref().and_then(|service| service.provider.withdraw_url()),
            };
            page::show(app, StatusCode::OK, "revoked.html", page)
        }
        Err(error) => {
            tracing::error!(%grant, %error, "a revocation could not be written down; it holds until this process ends");
            if as_json {
                let reason = "Refused from now on, but not durably revoked: the denylist could not be written.";
                return HttpResponse::InternalServerError().json(json!({ "revoked": false, "error": reason }));
            }
            ErrorPage::new(
                "Not durably revoked",
                "The AuthID is refused from now on, but that could not be written down, so a restart of the server may forget it.",
                "Tell the operator of this server, or try again later.",
            )
            .action("/revoke", "Try again")
            .show(app, request, StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn refuse(answer: &Answer, as_json: bool, request: &HttpRequest, app: &App) -> HttpResponse {
    // Nothing to log in to here, so never 401.
    let status = if answer.status.is_client_error() { StatusCode::BAD_REQUEST } else { answer.status };
    alone(if as_json {
        HttpResponse::build(status).json(json!({ "revoked": false, "error": answer.reason }))
    } else {
        ErrorPage::new(
            "This AuthID cannot be revoked here",
            answer.reason.clone(),
            "Paste the whole AuthID, as it was shown to you.",
        )
        .action("/revoke", "Try again")
        .show(app, request, status)
    })
}

/// No popup passes through these pages, so they can be cut off from whoever opened them.
fn alone(mut response: HttpResponse) -> HttpResponse {
    let name = HeaderName::from_static("cross-origin-opener-policy");
    response.headers_mut().insert(name, HeaderValue::from_static("same-origin"));
    response
}
