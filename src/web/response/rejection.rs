//! Why a request is not served, as a value. Handlers, extractors and checks return it and use `?`; the outermost layer,
//! `middleware::rejections`, is the only one that knows who asks and writes it: for Duplicati's clients `X-Reason` and
//! text, for OAuth libraries an error of RFC 6749 section 5.2, for browsers a page.
//!
//! The sentences about AuthIDs are in `errors`, those of pages in `templates/texts/`.

use crate::web::audience::{Audience, SentAuthId};
use crate::web::response::page::ErrorPage;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use std::borrow::Cow;
use std::fmt;
use tracing::Level;

/// Seconds until another try where nobody named a time.
const SOON: u64 = 30;

/// A request that is not served.
#[derive(Debug)]
pub(in crate::web) struct Rejection {
    /// What happened. The status that is sent depends on who asks.
    pub(in crate::web) status: StatusCode,
    /// `X-Reason`: printable ASCII without a full stop at its end, at most 300 characters. Empty where only browsers ask.
    pub(in crate::web) reason: Cow<'static, str>,
    /// Seconds that somebody named for `Retry-After`.
    pub(in crate::web) retry_after: Option<u64>,
    /// How loud the log is.
    pub(in crate::web) level: Level,
    /// The error code of RFC 6749 section 5.2, where the status alone does not tell it.
    pub(in crate::web) oauth_error: Option<&'static str>,
    /// What a browser shows.
    pub(in crate::web) page: Option<Box<ErrorPage>>,
    /// Who asks, where the request alone does not tell.
    pub(in crate::web) audience: Option<Audience>,
    /// The AuthID that it is about, if that did not come in its header.
    pub(in crate::web) authid: Option<SentAuthId>,
    /// What the response carries besides.
    pub(in crate::web) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Rejection {
    pub(in crate::web) fn new(status: StatusCode, level: Level, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            reason: reason.into(),
            retry_after: None,
            level,
            oauth_error: None,
            page: None,
            audience: None,
            authid: None,
            headers: Vec::new(),
        }
    }

    /// For a request that is not made as it has to be; a full stop at the end of `message` is for those who show it whole.
    pub(in crate::web) fn bad(status: StatusCode, message: &'static str, page: ErrorPage) -> Self {
        Self {
            oauth_error: Some("invalid_request"),
            page: Some(Box::new(page)),
            ..Self::new(status, Level::INFO, message.trim_end_matches('.'))
        }
    }

    /// For parameters that are not as they have to be.
    pub(in crate::web) fn bad_request(reason: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Level::INFO, reason)
    }

    /// For a request that no handler takes, by the status that says why.
    pub(in crate::web) fn of_status(status: StatusCode) -> Self {
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
        let page = ErrorPage::new(page);
        if status.is_server_error() {
            return Self { status, page: Some(Box::new(page)), ..Self::internal() };
        }
        Self::bad(status, message, page)
    }

    /// For what only browsers ask for.
    pub(in crate::web) fn page(status: StatusCode, page: ErrorPage) -> Self {
        Self { page: Some(Box::new(page)), ..Self::new(status, Level::INFO, "") }
    }

    /// For what is wrong with a token request, by its error code (RFC 6749 section 5.2).
    pub(in crate::web) fn oauth(error: &'static str, description: &'static str) -> Self {
        Self { oauth_error: Some(error), ..Self::bad_request(description.trim_end_matches('.')) }
    }

    /// Is told to `audience`, whatever the request looks like.
    pub(in crate::web) fn to(self, audience: Audience) -> Self {
        Self { audience: Some(audience), ..self }
    }

    /// Is about this AuthID, of which nothing better is known.
    pub(in crate::web) fn about(self, authid: &str) -> Self {
        Self { authid: self.authid.or_else(|| Some(SentAuthId::new(authid))), ..self }
    }

    /// Carries these headers besides.
    pub(in crate::web) fn with(mut self, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        self.headers.extend(headers);
        self
    }

    /// The reason as a whole sentence, for a page.
    pub(in crate::web) fn sentence(&self) -> String {
        format!("{}.", self.reason)
    }

    /// Seconds for `Retry-After`.
    pub(in crate::web) fn wait(&self) -> u64 {
        self.retry_after.unwrap_or(SOON)
    }

    /// The status of a page: never 401, which browsers answer with a dialogue.
    pub(in crate::web) fn page_status(&self) -> StatusCode {
        if self.status == StatusCode::UNAUTHORIZED { StatusCode::BAD_REQUEST } else { self.status }
    }

    /// The status for Duplicati. 503 with a reason is read in full by all its backends, after one request: for whatever is
    /// not its user's turn. 401 for what is, and 400 where there is no AuthID to begin with.
    pub(in crate::web) fn duplicati_status(&self, has_authid: bool) -> StatusCode {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => StatusCode::SERVICE_UNAVAILABLE,
            status if !status.is_client_error() => StatusCode::SERVICE_UNAVAILABLE,
            // An AuthID may be in what was not read.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => {
                StatusCode::UNAUTHORIZED
            }
            _ if has_authid => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Status, error code and description for OAuth libraries. RFC 6749 section 5.2 has 400 for whatever is wrong with a
    /// request; two statuses say more to those who debug one.
    pub(in crate::web) fn oauth_parts(&self) -> (StatusCode, &'static str, Cow<'_, str>) {
        match (self.oauth_error, self.status) {
            (Some(error), StatusCode::METHOD_NOT_ALLOWED | StatusCode::FORBIDDEN) => {
                (self.status, error, self.sentence().into())
            }
            (Some(error), _) => (StatusCode::BAD_REQUEST, error, self.sentence().into()),
            (None, status) if status.is_client_error() => {
                (StatusCode::BAD_REQUEST, "invalid_grant", self.reason.as_ref().into())
            }
            (None, _) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", self.reason.as_ref().into()),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl ResponseError for Rejection {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    /// What stands in for it until it is written.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status)
    }
}
