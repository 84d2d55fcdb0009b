//! Request ids: the name of a request in the log, in error responses and on their pages, and the span that has it.

use crate::app::App;
use crate::web::client;
use actix_web::dev::Extensions;
use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, web};
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tracing::Span;

/// The longest `X-Request-Id` that is taken over, in bytes.
const MAX_ID: usize = 128;

pub(in crate::web) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Tells one request from the others of this process. Made when it is first asked for: most requests never need one.
#[derive(Default)]
pub(in crate::web) struct Number(Cell<Option<NonZeroU64>>);

impl Number {
    /// `5f3a9c21d07b664e`.
    fn shown(&self) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        // SipHash with a key of this process: strangers are not told how many requests there were, and processes whose
        // lines meet in one log are told apart.
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let number = self.0.get().or_else(|| NonZeroU64::new(COUNT.fetch_add(1, Ordering::Relaxed)));
        self.0.set(number);
        format!("{:016x}", KEY.hash_one(number))
    }
}

/// Names a request, in the log, in answers with an error and on their pages: as a trusted proxy does that sends
/// `X-Request-Id`, otherwise by its number. Made only when there is something to say.
pub(in crate::web) fn of(request: &HttpRequest) -> String {
    chosen(proxys_id(request), request.app_data())
}

/// The proxy's, where it sent one, else the request's own.
fn chosen(proxys: Option<&str>, number: Option<&Number>) -> String {
    let own = || number.map_or_else(|| Number::default().shown(), Number::shown);
    proxys.map_or_else(own, str::to_owned)
}

/// The name of a request that may be gone: a panic takes it along.
pub(in crate::web) struct Kept {
    proxys: Option<String>,
    pinned: Rc<Extensions>,
}

impl Kept {
    /// Of a request with that `pinned` to it.
    pub(in crate::web) fn of(request: &HttpRequest, pinned: Rc<Extensions>) -> Self {
        Self { proxys: proxys_id(request).map(str::to_owned), pinned }
    }

    /// What [`of`] says of it.
    pub(in crate::web) fn id(&self) -> String {
        chosen(self.proxys.as_deref(), self.pinned.get())
    }
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
    named(of(request))
}

/// The same of one that is called `id`.
pub(in crate::web) fn named(id: String) -> Span {
    tracing::info_span!("request", request_id = id, grant = tracing::field::Empty)
}

/// How long ago that was, as all durations in the log are told: in milliseconds, to the microsecond.
pub(in crate::web) fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_micros() as f64 / 1000.0
}
