//! Who asks: Duplicati's clients say so by a header of their own.

use crate::authid::tidy;
use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use std::borrow::Cow;

/// The header that Duplicati sends.
pub(in crate::web) static AUTHID_HEADER: HeaderName = HeaderName::from_static("x-authid");

/// The AuthID in the header, as far as it is text.
pub(in crate::web) fn in_header(request: &HttpRequest) -> Option<Cow<'_, str>> {
    request.headers().get(&AUTHID_HEADER).map(|value| text(value.as_bytes()))
}

/// Whether an AuthID, good or bad, says that it is for Box.
pub(in crate::web) fn says_box(authid: &str) -> bool {
    let authid = tidy(authid);
    ["v3:box.com:", "v2:box.com:"].iter().any(|beginning| authid.starts_with(beginning))
}

/// A header's text, which may hold more than ASCII where an AuthID was pasted: UTF-8, or else Latin-1 (RFC 9110 section
/// 5.5).
pub(in crate::web) fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), Cow::Borrowed)
}
