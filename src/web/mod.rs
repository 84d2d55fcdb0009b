//! HTTP: the route table, and one file for each act. Handlers are a few calls and an answer; they touch neither keys
//! nor caches nor providers.
//!
//! Errors for Duplicati are made in [`reason`], for visitors in [`page`] and `login_error`; errors for operators are
//! log lines.

mod authid;
mod cli_token;
mod fetch;
mod fixed;
mod headers;
mod index;
mod login;
mod login_error;
mod page;
mod reason;
mod refresh;
mod revoke;
mod server;
mod token;
mod visitor;

pub use server::{Server, service};

use crate::app::App;
use crate::authid::ServiceId;
use crate::provider::{Availability, Service};
use crate::tokens::{Granted, Refused};
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest, HttpResponse, dev, web};
use page::ErrorPage;
use reason::Answer;
use std::future::Future;
use std::pin::Pin;
use tracing::Instrument;

/// The longest form, in bytes.
const MAX_FORM: usize = 16 * 1024;

/// Every route of the public listener.
fn routes(config: &mut web::ServiceConfig) {
    use web::{get, post, resource};
    let not_allowed = || web::route().to(method_not_allowed);
    let mut at = |path: &str, methods: Vec<actix_web::Route>| {
        let resource = methods.into_iter().fold(resource(path), actix_web::Resource::route);
        config.service(resource.default_service(not_allowed()));
    };
    at("/", vec![get().to(index::get)]);
    at("/login", vec![get().to(login::begin)]);
    at("/logged-in", vec![get().to(login::complete)]);
    at("/cli-token", vec![get().to(cli_token::get)]);
    at("/cli-token-login", vec![post().to(cli_token::post)]);
    at("/fetch", vec![get().to(fetch::fetch)]);
    at("/token-state", vec![get().to(fetch::state)]);
    at("/refresh", vec![get().to(refresh::get), post().to(refresh::post)]);
    at("/token", vec![post().to(token::post)]);
    at("/revoke", vec![get().to(revoke::get)]);
    at("/revoked", vec![post().to(revoke::post)]);
    at("/privacy-policy", vec![get().to(fixed::privacy)]);
    at("/privacy-policy.txt", vec![get().to(fixed::privacy)]);
    at("/static/{name}", vec![get().to(fixed::asset)]);
    at("/favicon.ico", vec![get().to(fixed::favicon)]);
    at("/isalive", vec![get().to(fixed::isalive)]);
    at("/healthz", vec![get().to(fixed::healthz)]);
    at("/readyz", vec![get().to(fixed::readyz)]);
    at("/.well-known/acme-challenge/{token}", vec![get().to(fixed::acme)]);
}

/// The parameters of the query, in order.
fn query_pairs(request: &HttpRequest) -> Vec<(String, String)> {
    url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect()
}

/// The first parameter of that name in the query.
fn query(request: &HttpRequest, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(request.query_string().as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The fields of a form, in order: at most [`MAX_FORM`] bytes of `application/x-www-form-urlencoded`.
struct Form(Vec<(String, String)>);

impl Form {
    /// The field of that name; `Err` when there are several (RFC 6749 section 3.2 forbids it).
    fn only(&self, name: &str) -> Result<Option<&str>, ()> {
        let mut fields = self.0.iter().filter(|(key, _)| key == name);
        let first = fields.next().map(|(_, value)| value.as_str());
        fields.next().map_or(Ok(first), |_| Err(()))
    }
}

impl FromRequest for Form {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let request = request.clone();
        let body = web::Bytes::from_request(&request, payload);
        Box::pin(async move {
            let body = body.await.map_err(|error| refuse_body(&request, error.as_response_error().status_code()))?;
            let has_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let is_form = has_type.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
            if !body.is_empty() && !is_form {
                return Err(refuse_body(&request, StatusCode::UNSUPPORTED_MEDIA_TYPE));
            }
            Ok(Self(url::form_urlencoded::parse(&body).into_owned().collect()))
        })
    }
}

fn refuse_body(request: &HttpRequest, status: StatusCode) -> actix_web::Error {
    let message = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "The form is too large: at most 16 KiB are read.",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "Send the form as application/x-www-form-urlencoded.",
        _ => "The form could not be read.",
    };
    let response = match request.app_data::<web::Data<App>>() {
        Some(app) => {
            ErrorPage::new("This form cannot be read", message, "Go back and try again.").show(app, request, status)
        }
        None => HttpResponse::new(status),
    };
    actix_web::error::InternalError::from_response(message, response).into()
}

/// Exchanges an AuthID: from what is remembered if possible, otherwise with everything that is worth a log line.
async fn access(request: &HttpRequest, app: &App, authid: &str) -> Result<Granted, Answer> {
    if let Some(granted) = app.tokens().recall(authid) {
        return Ok(granted);
    }
    let access = async { app.tokens().access(authid).await.map_err(|refused| log(&refused)) };
    access.instrument(headers::span(request)).await
}

/// Writes the cause of a refusal to the log, where its operator finds it, and returns what the client is told.
fn log(refused: &Refused) -> Answer {
    let answer = Answer::from(refused);
    match answer.level {
        tracing::Level::ERROR => tracing::error!(why = %refused, "no access token"),
        tracing::Level::WARN => tracing::warn!(why = %refused, "no access token"),
        _ => tracing::info!(why = %refused, "no access token"),
    }
    answer
}

/// Why a service cannot be chosen, for visitors; `None` if it can.
fn unavailable(service: &Service) -> Option<String> {
    match service.availability() {
        Availability::Offered => None,
        Availability::NotConfigured => Some("This server is not set up for this service.".to_owned()),
        Availability::NeedsStore => Some(
            "Its logins change with every use, and this server has nowhere to remember the change, so it is switched off.".to_owned(),
        ),
        Availability::Gone { reason, .. } => Some(reason.to_owned()),
    }
}

fn to_index(service: &ServiceId) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, format!("/?type={service}"))).finish()
}

fn unknown_service(request: &HttpRequest, app: &App) -> HttpResponse {
    ErrorPage::new(
        "Unknown service",
        "This server does not know the service that was asked for.",
        "Choose one of the services on the start page.",
    )
    .action("/", "Show all services")
    .show(app, request, StatusCode::NOT_FOUND)
}

fn foreign_form(request: &HttpRequest, app: &App) -> HttpResponse {
    ErrorPage::new(
        "This form came from elsewhere",
        "Another website tried to send this form in your name.",
        "If you meant to do this, begin on our own page.",
    )
    .show(app, request, StatusCode::FORBIDDEN)
}

fn internal(request: &HttpRequest, app: &App) -> HttpResponse {
    ErrorPage::new(
        "Something went wrong",
        "The server met an unexpected fault.",
        "Try again; if it stays, tell the operator the number below.",
    )
    .show(app, request, StatusCode::INTERNAL_SERVER_ERROR)
}

fn not_found_page(request: &HttpRequest, app: &App) -> HttpResponse {
    ErrorPage::new("Nothing here", "There is no page at this address.", "Begin on the start page.").show(
        app,
        request,
        StatusCode::NOT_FOUND,
    )
}

async fn not_found(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    not_found_page(&request, &app)
}

async fn method_not_allowed(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    ErrorPage::new(
        "Not possible this way",
        "This address does not take that kind of request.",
        "Begin on the start page.",
    )
    .show(&app, &request, StatusCode::METHOD_NOT_ALLOWED)
}
