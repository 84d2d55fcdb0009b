//! How long a server asks to be left alone.

use crate::clock::UnixTime;
use hyper::HeaderMap;
use hyper::header::RETRY_AFTER;
use std::time::{Duration, UNIX_EPOCH};

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date that is held against `now`. Not bounded: a server may say
/// anything.
pub fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let now = UNIX_EPOCH + Duration::from_secs(now.try_into().unwrap_or_default());
    Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
}
