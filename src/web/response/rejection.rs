//! Requests that no act can take: no such address or method, too long, not a form, from another site. Told to people on
//! a page, to Duplicati by `X-Reason`, to OAuth libraries as RFC 6749 says.

use crate::app::App;
use crate::web::audience::{self, AUTHID_HEADER};
use crate::web::response::errors::Answer;
use crate::web::response::page::ErrorPage;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType, HeaderName, HeaderValue};
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
    let has_authid = request.headers().contains_key(&AUTHID_HEADER);
    match request.path() {
        path if path == "/refresh" || has_authid => {
            let answer = match status.is_server_error() {
                true => Answer::internal(),
                false => Answer::unfit(status, message.trim_end_matches('.')),
            };
            x_reason(request, &answer)
        }
        // RFC 6749 section 5.2 has 400 for whatever is wrong with a request.
        "/token" if status == StatusCode::METHOD_NOT_ALLOWED => oauth_error(status, "invalid_request", message),
        "/token" => oauth_error(StatusCode::BAD_REQUEST, "invalid_request", message),
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
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        response
    })
}

/// Refuses a request with the AuthID that is in its header, if one is.
pub(in crate::web) fn x_reason(request: &HttpRequest, answer: &Answer) -> HttpResponse {
    x_reason_for(request, answer, audience::in_header(request).as_deref())
}

/// The reason goes into `X-Reason`, which most backends show, and into the body, which the others do.
pub(in crate::web) fn x_reason_for(request: &HttpRequest, answer: &Answer, authid: Option<&str>) -> HttpResponse {
    let own = request.app_data::<web::Data<App>>().map_or("", |app| app.own_origin().as_str());
    let mut response = told(answer, authid, own);
    if !request.headers().contains_key(&AUTHID_HEADER) && wants_json(request) {
        let json = serde_json::json!({ "error": answer.reason }).to_string();
        response = response.set_body(BoxBody::new(json));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

/// What Duplicati is told, by the server at `own`, when it sends this AuthID or none.
pub(in crate::web) fn told(answer: &Answer, authid: Option<&str>, own: &str) -> HttpResponse {
    let status = answer.at_refresh(authid.is_some());
    let response = without_audience(answer, status);
    // Duplicati puts this link behind the reason itself, but for Box.
    if status == StatusCode::UNAUTHORIZED && authid.is_some_and(audience::says_box) {
        let body = format!("{}. Create a new AuthID at {own}/?type=box.com", answer.reason);
        return response.set_body(BoxBody::new(body));
    }
    response
}

/// The answer without regard to who asks.
pub(in crate::web) fn without_audience(answer: &Answer, status: StatusCode) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    if let Ok(value) = HeaderValue::from_str(&answer.reason) {
        response.insert_header((HeaderName::from_static("x-reason"), value));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.insert_header((header::RETRY_AFTER, answer.wait()));
    }
    response.content_type(ContentType::plaintext()).body(answer.reason.clone().into_owned())
}

fn wants_json(request: &HttpRequest) -> bool {
    let mut accepted = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let is_json =
        |kind: &str| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
    accepted.any(|value| value.split(',').any(is_json))
}

/// RFC 6749 section 5.2.
pub(in crate::web) fn oauth_error(status: StatusCode, error: &str, description: &str) -> HttpResponse {
    HttpResponse::build(status).json(serde_json::json!({ "error": error, "error_description": description }))
}
