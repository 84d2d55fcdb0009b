//! Pages, in the language that the browser asks for, and the page for everything that goes wrong.

use crate::app::App;
use crate::clock::{UnixTime, rfc3339};
use crate::texts::{Language, Text};
use crate::web::request_id;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use std::ops::Range;

/// Answers with a rendered template.
pub(in crate::web) fn show(
    request: &HttpRequest,
    app: &App,
    status: StatusCode,
    template: &str,
    page: impl Serialize,
) -> HttpResponse {
    let content_type = if template.ends_with(".txt") { ContentType::plaintext() } else { ContentType::html() };
    let language = Language::from_request(request);
    match app.pages().render(language, template, page) {
        Ok(page) => HttpResponse::build(status)
            .content_type(content_type)
            .insert_header((header::CONTENT_LANGUAGE, language.tag()))
            .insert_header((header::VARY, header::ACCEPT_LANGUAGE.as_str()))
            .body(page),
        Err(error) => {
            cannot_be_rendered(template, &error);
            HttpResponse::InternalServerError()
                .body("This page cannot be shown. The operator finds the cause in the log.")
        }
    }
}

/// Sends a browser on to another page of ours. With the policy of our pages, `same-origin`, it would forget which page
/// opened the window, and with it where the AuthID may go.
pub(in crate::web) fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, location))
        .insert_header((header::REFERRER_POLICY, "strict-origin-when-cross-origin"))
        .finish()
}

/// A text without markup, in the browser's language.
pub(in crate::web) fn say(request: &HttpRequest, app: &App, text: &Text) -> String {
    app.pages().say(Language::from_request(request), text).unwrap_or_else(|error| {
        cannot_be_rendered(text.key(), &error);
        String::new()
    })
}

fn cannot_be_rendered(template: &str, error: &minijinja::Error) {
    tracing::error!(template, error = format!("{error:#}"), "the template cannot be rendered");
}

/// Where people revoke, for texts that they take along.
pub(in crate::web) fn revoke_url(app: &App) -> String {
    format!("{}/revoke", app.own_origin().as_str())
}

/// A time: for programs, and in words.
#[derive(Serialize)]
pub(in crate::web) struct When {
    iso: String,
    words: String,
}

impl When {
    /// The day of that time, in UTC.
    pub(in crate::web) fn day(time: UnixTime, request: &HttpRequest, app: &App) -> Self {
        let iso: String = rfc3339(time).chars().take(10).collect();
        let part = |range: Range<usize>| iso.get(range).and_then(|part| part.parse::<u32>().ok()).unwrap_or(1);
        let day = Text::new("date.day").with("year", part(0..4)).with("month", part(5..7)).with("day", part(8..10));
        Self { words: say(request, app, &day), iso }
    }

    /// That time, to the minute.
    pub(in crate::web) fn moment(time: UnixTime, request: &HttpRequest, app: &App) -> Self {
        let iso = rfc3339(time);
        let clock: String = iso.chars().skip(11).take(5).collect();
        let moment = Text::new("date.moment").with("date", Self::day(time, request, app).words).with("time", clock);
        Self { words: say(request, app, &moment), iso }
    }
}

/// What an error page says: the texts `title`, `message` and `next` below `error.` and its name.
#[derive(Clone, Debug)]
pub(in crate::web) struct ErrorPage {
    texts: Text,
    /// Filled in as `reason`.
    reason: Option<Text>,
    action_url: String,
    action_text: Text,
}

#[derive(Serialize)]
struct Shown {
    title: String,
    message: String,
    /// What to do next.
    next: String,
    action_url: String,
    action_text: String,
    request_id: String,
}

impl ErrorPage {
    pub(in crate::web) fn new(name: &str) -> Self {
        Self {
            texts: Text::new(format!("error.{name}")),
            reason: None,
            action_url: "/".to_owned(),
            action_text: Text::new("action.start"),
        }
    }

    /// Fills in `{{ name }}`.
    pub(in crate::web) fn with(self, name: &'static str, value: impl Into<minijinja::Value>) -> Self {
        Self { texts: self.texts.with(name, value), ..self }
    }

    /// Fills in `{{ reason }}`.
    pub(in crate::web) fn because(self, reason: Text) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// Where the way on is the start page, lets that know by a sealed context who opened it first.
    pub(in crate::web) fn resuming(mut self, ctx: Option<String>) -> Self {
        match (ctx, self.action_url.strip_prefix('/')) {
            (Some(ctx), Some("")) => self.action_url = format!("/?ctx={ctx}"),
            (Some(ctx), Some(rest)) if rest.starts_with("?type=") => self.action_url = format!("/{rest}&ctx={ctx}"),
            _ => {}
        }
        self
    }

    /// Offers another way on than the start page.
    pub(in crate::web) fn action(self, url: impl Into<String>, text: &'static str) -> Self {
        Self { action_url: url.into(), action_text: Text::new(text), ..self }
    }

    /// What it says, and what to do next.
    pub(in crate::web) fn texts(&self) -> [Text; 3] {
        ["title", "message", "next"].map(|part| self.texts.below(part))
    }

    pub(in crate::web) fn show(&self, request: &HttpRequest, app: &App, status: StatusCode) -> HttpResponse {
        let reason = self.reason.as_ref().map(|reason| say(request, app, reason));
        let [title, message, next] = self.texts().map(|text| match &reason {
            Some(reason) => say(request, app, &text.with("reason", reason.as_str())),
            None => say(request, app, &text),
        });
        let page = Shown {
            title,
            message,
            next,
            action_url: self.action_url.clone(),
            action_text: say(request, app, &self.action_text),
            request_id: request_id::of(request),
        };
        show(request, app, status, "error.html", page)
    }
}
