//! Pages as answers, and the page for everything that goes wrong.

use super::headers::request_id;
use crate::app::App;
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

/// Answers with a rendered template.
pub(super) fn show(app: &App, status: StatusCode, template: &str, context: impl Serialize) -> HttpResponse {
    let content_type = if template.ends_with(".txt") { ContentType::plaintext() } else { ContentType::html() };
    match app.pages().render(template, context) {
        Ok(page) => HttpResponse::build(status).content_type(content_type).body(page),
        Err(error) => {
            tracing::error!(template, error = format!("{error:#}"), "the template cannot be rendered");
            HttpResponse::InternalServerError()
                .body("This page cannot be shown. The operator finds the cause in the log.")
        }
    }
}

/// A page that no popup passes through, so it can be cut off from whoever opened it.
pub(super) fn alone(mut response: HttpResponse) -> HttpResponse {
    let name = HeaderName::from_static("cross-origin-opener-policy");
    response.headers_mut().insert(name, HeaderValue::from_static("same-origin"));
    response
}

/// What an error page says.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ErrorPage {
    title: String,
    message: String,
    /// What to do next.
    next: String,
    action_url: Option<String>,
    action_text: String,
    request_id: String,
}

impl ErrorPage {
    pub(super) fn new(title: &str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            title: title.to_owned(),
            message: message.into(),
            next: next.into(),
            action_url: Some("/".to_owned()),
            action_text: "Start again".to_owned(),
            request_id: String::new(),
        }
    }

    /// Offers another way on than the start page.
    pub(super) fn action(self, url: impl Into<String>, text: &str) -> Self {
        Self { action_url: Some(url.into()), action_text: text.to_owned(), ..self }
    }

    pub(super) fn show(mut self, app: &App, request: &HttpRequest, status: StatusCode) -> HttpResponse {
        self.request_id = request_id(request);
        show(app, status, "error.html", self)
    }
}
