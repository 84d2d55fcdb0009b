//! Where a request carries its AuthID: header, form or query.

use crate::texts::Text;
use crate::web::audience::{self, AUTHID_HEADER};
use crate::web::request::form;
use crate::web::response::rejection::Rejection;
use actix_web::HttpRequest;
use std::borrow::Cow;
use std::ops::Deref;

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
    let mut headers = request.headers().get_all(&AUTHID_HEADER);
    if let Some(header) = headers.next() {
        return headers.next().map_or_else(|| Ok(Sent(audience::text(header.as_bytes()))), |_| Err(NoAuthId::Several));
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

/// Whether a request without an AuthID is a browser that looks for the login page.
pub(in crate::web) fn is_browser(request: &HttpRequest) -> bool {
    let navigates = request.headers().get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    navigates || form::query(request, "type").is_some()
}

impl NoAuthId {
    /// What a page says of it.
    pub(in crate::web) fn text(self) -> Text {
        Text::new(match self {
            Self::Missing => "reason.missing",
            Self::Several => "reason.several",
            Self::InUrl => "reason.in_url",
        })
    }
}

impl From<NoAuthId> for Rejection {
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
