//! The one place where a [`Rejection`] becomes a response, as whoever asks can read it. Duplicati's backends show what
//! they are told in many ways; `X-Reason` with the same text as the body they all show whole.

use crate::app::App;
use crate::web::audience::{AUTHID_HEADER, Audience, SentAuthId};
use crate::web::expected;
use crate::web::response::rejection::Rejection;
use actix_web::body::{BoxBody, EitherBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde_json::json;
use tracing::Level;

pub(in crate::web) static X_REASON: HeaderName = HeaderName::from_static("x-reason");

/// The response, or what a rejection in it is to whoever asks.
pub(in crate::web) fn written<B>(response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B>> {
    let rejection = response.response().error().and_then(|error| error.as_error::<Rejection>());
    match rejection.map(|rejection| write(rejection, response.request())) {
        Some(written) => response.into_response(written.map_into_right_body()),
        None => response.map_body(|_, body| EitherBody::left(body)),
    }
}

/// A rejection as a response to this request.
pub(in crate::web) fn write(rejection: &Rejection, request: &HttpRequest) -> HttpResponse {
    let app = request.app_data::<web::Data<App>>();
    if rejection.level > Level::WARN {
        expected::expect(request);
    }
    let mut response = match rejection.audience.unwrap_or_else(|| Audience::of(request)) {
        Audience::Duplicati => {
            let authid = rejection.authid.or_else(|| SentAuthId::in_header(request));
            let own = app.map_or("", |app| app.own_origin().as_str());
            let response = to_duplicati(rejection, authid, own);
            if wants_json(request) { as_json(response, rejection) } else { response }
        }
        Audience::OAuthClient => to_oauth_client(rejection),
        Audience::Browser => match (&rejection.page, app) {
            (Some(page), Some(app)) => page.show(request, app, rejection.page_status()),
            _ => HttpResponse::new(rejection.page_status()),
        },
    };
    for (name, value) in &rejection.headers {
        response.headers_mut().append(name.clone(), value.clone());
    }
    response
}

/// What Duplicati is told, by the server at `own`, when it sends this AuthID or none.
pub(in crate::web) fn to_duplicati(rejection: &Rejection, authid: Option<SentAuthId>, own: &str) -> HttpResponse {
    let response = x_reason(rejection, rejection.duplicati_status(authid.is_some()));
    match authid.and_then(SentAuthId::link).filter(|_| response.status() == StatusCode::UNAUTHORIZED) {
        Some(link) => {
            let body = format!("{}. Create a new AuthID at {own}{link}", rejection.reason);
            response.set_body(BoxBody::new(body))
        }
        None => response,
    }
}

/// The reason in `X-Reason`, which most backends show, and in the body, which the others do.
pub(in crate::web) fn x_reason(rejection: &Rejection, status: StatusCode) -> HttpResponse {
    let mut response = build(rejection, status);
    if let Ok(value) = HeaderValue::from_str(&rejection.reason) {
        response.insert_header((X_REASON.clone(), value));
    }
    response.content_type(ContentType::plaintext()).body(rejection.reason.clone().into_owned())
}

/// A response that says when to try again, where that may help.
fn build(rejection: &Rejection, status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.insert_header((header::RETRY_AFTER, rejection.wait()));
    }
    response
}

fn to_oauth_client(rejection: &Rejection) -> HttpResponse {
    let (status, error, description) = rejection.oauth_parts();
    build(rejection, status).json(json!({ "error": error, "error_description": description }))
}

fn as_json(response: HttpResponse, rejection: &Rejection) -> HttpResponse {
    let json = json!({ "error": rejection.reason }).to_string();
    let mut response = response.set_body(BoxBody::new(json));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Whether a program that is no client of Duplicati's asks for JSON.
fn wants_json(request: &HttpRequest) -> bool {
    let mut accepted = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let is_json =
        |kind: &str| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
    !request.headers().contains_key(&AUTHID_HEADER) && accepted.any(|value| value.split(',').any(is_json))
}
