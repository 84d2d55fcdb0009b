//! Who asks, so that each is told what went wrong as it can read it. Duplicati's clients send a header of their own.

use crate::authid::{Envelope, ParseError, ServiceId, tidy};
use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use std::borrow::Cow;

/// The header that Duplicati sends.
pub(in crate::web) static AUTHID_HEADER: HeaderName = HeaderName::from_static("x-authid");

/// Who reads a response; [`Audience::of`] tells of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Audience {
    /// Duplicati's backends, and whoever else sends an AuthID: `X-Reason` and text.
    Duplicati,
    /// OAuth libraries at the token endpoint: errors of RFC 6749 section 5.2.
    OAuthClient,
    /// Users in front of a browser, and all that says nothing of itself: a page.
    Browser,
}

/// What is worth knowing of an AuthID, good or bad, that was sent with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum SentAuthId {
    /// It is for Box, or says so.
    ForBox,
    /// It is an old one that does not say what it is for.
    Unsaid,
    Other,
}

impl SentAuthId {
    pub(in crate::web) fn new(authid: &str) -> Self {
        let authid = tidy(authid);
        let is_for_box = ["v3:box.com:", "v2:box.com:"].iter().any(|beginning| authid.starts_with(beginning));
        match Envelope::parse(&authid) {
            _ if is_for_box => Self::ForBox,
            Err(ParseError::Version1) => Self::Unsaid,
            _ => Self::Other,
        }
    }

    /// That of one that opened.
    pub(in crate::web) fn of(service: &ServiceId) -> Self {
        Self::new(&format!("v3:{service}:"))
    }

    /// The page for a new one, where Duplicati does not put its link behind the reason itself: it does, but for Box.
    pub(in crate::web) fn link(self) -> Option<&'static str> {
        match self {
            Self::ForBox => Some("/?type=box.com"),
            Self::Unsaid => Some("/"),
            Self::Other => None,
        }
    }

    /// That of the AuthID in the header, if one is.
    pub(in crate::web) fn in_header(request: &HttpRequest) -> Option<Self> {
        request.headers().get(&AUTHID_HEADER).map(|value| Self::new(&text(value.as_bytes())))
    }
}

/// A header's text, which may hold more than ASCII where an AuthID was pasted: UTF-8, or else Latin-1 (RFC 9110 section
/// 5.5).
pub(in crate::web) fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), Cow::Borrowed)
}
