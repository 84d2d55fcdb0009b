//! Where a request carries its AuthID.

use super::reason::Answer;
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use secrecy::SecretString;
use tracing::Level;

/// The header that Duplicati sends.
const HEADER: &str = "x-authid";

/// Why a request has no usable AuthID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAuthId {
    /// It has none.
    Missing,
    /// It has several.
    Several,
    /// It has one in its URL, where proxies log it.
    InUrl,
}

/// The AuthID of a request: the header, else the form field `authid`, else, where that is allowed, the query.
pub(super) fn of(
    request: &HttpRequest,
    form: &[(String, String)],
    allow_query: bool,
) -> Result<SecretString, NoAuthId> {
    let mut headers = request.headers().get_all(HEADER);
    if let Some(header) = headers.next() {
        if headers.next().is_some() {
            return Err(NoAuthId::Several);
        }
        // Bytes that are no text are no AuthID; an empty one says so in the usual way.
        return Ok(header.to_str().unwrap_or_default().to_owned().into());
    }
    let mut fields = form.iter().filter(|(name, _)| name == "authid");
    if let Some((_, authid)) = fields.next() {
        return if fields.next().is_some() { Err(NoAuthId::Several) } else { Ok(authid.clone().into()) };
    }
    match super::query(request, "authid") {
        Some(authid) if allow_query => Ok(authid.into()),
        Some(_) => Err(NoAuthId::InUrl),
        None => Err(NoAuthId::Missing),
    }
}

/// Whether a request without an AuthID is a browser that looks for the login page.
pub(super) fn is_browser(request: &HttpRequest) -> bool {
    let navigates = request.headers().get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    navigates || super::query(request, "type").is_some()
}

impl From<NoAuthId> for Answer {
    fn from(why: NoAuthId) -> Self {
        let reason = match why {
            NoAuthId::Missing => "No AuthID was sent. Send it in the header X-AuthID.",
            NoAuthId::Several => "More than one AuthID was sent. Send exactly one.",
            NoAuthId::InUrl => {
                "An AuthID does not belong in a URL, where it ends up in logs. Send it in the header X-AuthID."
            }
        };
        Self { status: StatusCode::BAD_REQUEST, reason: reason.into(), retry_after: None, level: Level::INFO }
    }
}
