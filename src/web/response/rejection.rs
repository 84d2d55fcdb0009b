//! Requests that no act can take: no such address or method, too long, not a form, from another site. Told to people on
//! a page, to Duplicati by `X-Reason`, to OAuth libraries as RFC 6749 says.

use crate::app::App;
use crate::web::handlers::{refresh, token};
use crate::web::request::authid;
use crate::web::response::errors::Answer;
use crate::web::response::page::ErrorPage;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

/// The answer to a request that cannot be taken, by the status that says why.
pub(in crate::web) fn answer(request: &HttpRequest, status: StatusCode) -> HttpResponse {
    let (page, message) = match status {
        StatusCode::NOT_FOUND => ("not_found", "There is nothing at this address."),
        StatusCode::METHOD_NOT_ALLOWED => ("method", "This address does not take that kind of request."),
        StatusCode::PAYLOAD_TOO_LARGE => ("form_too_large", "The form is too large: at most 16 KiB are read."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ("form_type", "Forms are read as application/x-www-form-urlencoded only.")
        }
        StatusCode::URI_TOO_LONG => ("uri_too_long", "The address is longer than 4 KiB."),
        StatusCode::REQUEST_TIMEOUT => ("form_slow", "The form took too long."),
        StatusCode::FORBIDDEN => (
            "foreign_form",
            "Another website tried to send this form in your name, or the browser did not say that it is ours.",
        ),
        _ => ("fault", "The server met an unexpected fault."),
    };
    let has_authid = request.headers().contains_key(&authid::HEADER);
    match request.path() {
        path if path == "/refresh" || has_authid => {
            let answer = match status.is_server_error() {
                true => Answer::internal(),
                false => Answer::unfit(status, message.trim_end_matches('.')),
            };
            refresh::refuse(request, &answer)
        }
        // RFC 6749 section 5.2 has 400 for whatever is wrong with a request.
        "/token" if status == StatusCode::METHOD_NOT_ALLOWED => token::refuse(status, "invalid_request", message),
        "/token" => token::refuse(StatusCode::BAD_REQUEST, "invalid_request", message),
        _ => match request.app_data::<web::Data<App>>() {
            Some(app) => ErrorPage::new(page).show(request, app, status),
            None => HttpResponse::new(status),
        },
    }
}

/// For every address that is none of ours.
pub(in crate::web) async fn not_found(request: HttpRequest) -> HttpResponse {
    answer(&request, StatusCode::NOT_FOUND)
}

/// For an address that takes other methods: those of `allow` (RFC 9110 section 15.5.6).
pub(in crate::web) fn method_not_allowed(allow: &'static str) -> actix_web::Route {
    web::route().to(move |request: HttpRequest| async move {
        let mut response = answer(&request, StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
        response
    })
}
