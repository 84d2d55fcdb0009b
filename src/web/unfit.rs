//! Requests that no act can take: no such address or method, too long, not a form, from another site. Told to people on
//! a page, to Duplicati by `X-Reason`, to OAuth libraries as RFC 6749 says.

use super::page::ErrorPage;
use super::reason::Answer;
use super::{authid, refresh, token};
use crate::app::App;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use tracing::Level;

/// The answer to a request that cannot be taken, by the status that says why.
pub(super) fn answer(request: &HttpRequest, status: StatusCode) -> HttpResponse {
    let (heading, message, next) = match status {
        StatusCode::NOT_FOUND => ("Nothing here", "There is nothing at this address.", "Begin on the start page."),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("Not possible this way", "This address does not take that kind of request.", "Begin on the start page.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            ("This form cannot be read", "The form is too large: at most 16 KiB are read.", "Go back and try again.")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (
            "This form cannot be read",
            "Forms are read as application/x-www-form-urlencoded only.",
            "Go back and try again.",
        ),
        StatusCode::URI_TOO_LONG => {
            ("This address is too long", "The address is longer than 4 KiB.", "Begin on the start page.")
        }
        StatusCode::REQUEST_TIMEOUT => {
            ("This form cannot be read", "The form took too long.", "Go back and try again.")
        }
        StatusCode::FORBIDDEN => (
            "This form came from elsewhere",
            "Another website tried to send this form in your name, or the browser did not say that it is ours.",
            "If you meant to do this, begin on our own page. If it happens again there, a proxy may strip the referrer on the way, or the browser does: the form came without its origin.",
        ),
        _ => (
            "Something went wrong",
            "The server met an unexpected fault.",
            "Try again; if it stays, tell the operator.",
        ),
    };
    match request.path() {
        // RFC 6749 section 5.2 has 400 for whatever is wrong with a request.
        "/token" if status == StatusCode::METHOD_NOT_ALLOWED => token::refuse(status, "invalid_request", message),
        "/token" => token::refuse(StatusCode::BAD_REQUEST, "invalid_request", message),
        path if path == "/refresh" || request.headers().contains_key(&authid::HEADER) => {
            refresh::refuse(&Answer { status, reason: message.into(), retry_after: None, level: Level::INFO })
        }
        _ => match request.app_data::<web::Data<App>>() {
            Some(app) => ErrorPage::new(heading, message, next).show(app, request, status),
            None => HttpResponse::new(status),
        },
    }
}

/// For every address that is none of ours.
pub(super) async fn not_found(request: HttpRequest) -> HttpResponse {
    answer(&request, StatusCode::NOT_FOUND)
}

/// For an address that takes other methods: those of `allow` (RFC 9110 section 15.5.6).
pub(super) fn method_not_allowed(allow: &'static str) -> actix_web::Route {
    web::route().to(move |request: HttpRequest| async move {
        let mut response = answer(&request, StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
        response
    })
}
