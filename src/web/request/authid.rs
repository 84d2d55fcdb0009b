//! Where a request carries its AuthID.

use crate::app::App;
use crate::authid::tidy;
use crate::web::handlers::refresh;
use crate::web::request::form;
use crate::web::response::errors::Answer;
use actix_web::http::header::HeaderName;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use std::borrow::Cow;
use std::ops::Deref;

/// The header that Duplicati sends.
pub(in crate::web) static HEADER: HeaderName = HeaderName::from_static("x-authid");

/// Why a request has no usable AuthID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum NoAuthId {
    /// It has none.
    Missing,
    /// It has several.
    Several,
    /// It has one in its URL, where proxies log it.
    InUrl,
}

/// An AuthID as it was sent. Derefs to its text and cannot be printed.
pub(in crate::web) struct Sent<'a>(Cow<'a, str>);

impl Deref for Sent<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The AuthID of a request: the header, else the form field `authid`, else, where that is allowed, the query.
pub(in crate::web) fn of<'a>(
    request: &'a HttpRequest,
    form: &'a [(String, String)],
    allow_query: bool,
) -> Result<Sent<'a>, NoAuthId> {
    let mut headers = request.headers().get_all(&HEADER);
    if let Some(header) = headers.next() {
        return headers.next().map_or_else(|| Ok(Sent(text(header.as_bytes()))), |_| Err(NoAuthId::Several));
    }
    let mut fields = form.iter().filter(|(name, _)| name == "authid");
    if let Some((_, authid)) = fields.next() {
        return fields.next().map_or(Ok(Sent(authid.into())), |_| Err(NoAuthId::Several));
    }
    match form::query(request, "authid") {
        Some(authid) if allow_query => Ok(Sent(authid.into())),
        Some(_) => Err(NoAuthId::InUrl),
        None => Err(NoAuthId::Missing),
    }
}

/// A header's text, which may hold more than ASCII where an AuthID was pasted: UTF-8, or else Latin-1 (RFC 9110 section
/// 5.5).
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), Cow::Borrowed)
}

/// The AuthID in the header, as far as it is text.
pub(in crate::web) fn in_header(request: &HttpRequest) -> Option<Cow<'_, str>> {
    request.headers().get(&HEADER).map(|value| text(value.as_bytes()))
}

/// Whether an AuthID, good or bad, says that it is for Box.
pub(in crate::web) fn says_box(authid: &str) -> bool {
    tidy(authid).starts_with("v3:box.com:")
}

/// Whether the header belongs to an address: to no page, and to no form but those of an AuthID's owner.
pub(in crate::web) fn is_taken_at(request: &HttpRequest, path: &str) -> bool {
    path == "/refresh" || matches!(path, "/revoked" | "/inspect") && *request.method() == Method::POST
}

/// For a client that sends its AuthID elsewhere.
pub(in crate::web) fn wrong_address(request: &HttpRequest, app: &App) -> HttpResponse {
    let own = app.own_origin().as_str();
    let reason =
        format!("This is not the address that gives access. Please set the client's oauth-url to {own}/refresh");
    refresh::refuse(request, &Answer::unfit(StatusCode::NOT_FOUND, reason))
}

/// Whether a request without an AuthID is a browser that looks for the login page.
pub(in crate::web) fn is_browser(request: &HttpRequest) -> bool {
    let navigates = request.headers().get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    navigates || form::query(request, "type").is_some()
}

impl From<NoAuthId> for Answer {
    fn from(why: NoAuthId) -> Self {
        let reason = match why {
            NoAuthId::Missing => "No AuthID was sent. Please send it in the header X-AuthID",
            NoAuthId::Several => "More than one AuthID was sent. Please send exactly one",
            NoAuthId::InUrl => {
                "An AuthID does not belong in a URL, where it ends up in logs. Please send it in the header X-AuthID"
            }
        };
        Self::bad_request(reason)
    }
}
