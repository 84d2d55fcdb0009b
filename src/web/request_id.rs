//! Request ids: the name of a request in the log, in error responses and on their pages, and the span that has it.

use crate::app::App;
use crate::web::client;
use actix_web::http::header::HeaderName;
use actix_web::{HttpMessage, HttpRequest, web};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tracing::Span;

/// The longest `X-Request-Id` that is taken over, in bytes.
const MAX_ID: usize = 128;

pub(in crate::web) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Tells one request from the others of this process.
#[derive(Clone, Copy)]
struct Number(u64);

impl Number {
    /// Made when it is first asked for: most requests never need one.
    fn of(request: &HttpRequest) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let mut extensions = request.extensions_mut();
        if let Some(number) = extensions.get() {
            return *number;
        }
        let next = Self(COUNT.fetch_add(1, Ordering::Relaxed));
        extensions.insert(next);
        next
    }
}

impl fmt::Display for Number {
    /// `5f3a9c21d07b664e`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SipHash with a key of this process: strangers are not told how many requests there were, and processes whose
        // lines meet in one log are told apart.
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        write!(f, "{:016x}", KEY.hash_one(self.0))
    }
}

/// Names a request, in the log, in answers with an error and on their pages: as a trusted proxy does that sends
/// `X-Request-Id`, otherwise by its number. Made only when there is something to say.
pub(in crate::web) fn of(request: &HttpRequest) -> String {
    proxys_id(request).map_or_else(|| Number::of(request).to_string(), str::to_owned)
}

/// What a trusted proxy calls the request. Two names are none: one of them may be the client's.
fn proxys_id(request: &HttpRequest) -> Option<&str> {
    let mut values = request.headers().get_all(&REQUEST_ID);
    let (value, None) = (values.next()?.to_str().ok()?, values.next()) else { return None };
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=+/@".contains(&byte);
    let well_formed = (1..=MAX_ID).contains(&value.len()) && value.bytes().all(usual);
    let app = request.app_data::<web::Data<App>>()?;
    (well_formed && client::is_from_a_trusted_proxy(request, app)).then_some(value)
}

/// The span of a request, made where there is something to say: it costs as much as opening an AuthID.
pub(in crate::web) fn span(request: &HttpRequest) -> Span {
    tracing::info_span!("request", request_id = of(request), grant = tracing::field::Empty)
}

/// How long ago that was, as all durations in the log are told: in milliseconds, to the microsecond.
pub(in crate::web) fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_micros() as f64 / 1000.0
}
