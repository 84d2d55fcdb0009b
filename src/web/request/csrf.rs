//! Where a request comes from, as a browser tells it (Fetch Metadata, `Origin`): the defence against CSRF, and against
//! login steps that a browser takes ahead of time.

use crate::app::App;
use crate::mitigation::{self, Mitigation};
use crate::web::request::form::Form;
use crate::web::response::rejection::Rejection;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use actix_web::{FromRequest, HttpRequest, dev, web};
use std::future::{Future, Ready, ready};
use std::ops::Deref;
use std::pin::Pin;

/// Proof that no other site's page sent this request (CSRF, RFC 9700 section 4.7): whoever posts to us has to have it.
pub(in crate::web) struct SameOrigin;

impl FromRequest for SameOrigin {
    type Error = Rejection;
    type Future = Ready<Result<Self, Rejection>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        let is_foreign = request.app_data::<web::Data<App>>().is_none_or(|app| is_foreign_form(request, app));
        ready(if is_foreign { Err(Rejection::of_status(StatusCode::FORBIDDEN)) } else { Ok(Self) })
    }
}

/// A form from a page of ours. The plain [`Form`] is for `/refresh` and `/token`, which no browser sends on its own.
pub(in crate::web) struct OwnForm(Form);

impl Deref for OwnForm {
    type Target = Form;

    fn deref(&self) -> &Form {
        &self.0
    }
}

impl FromRequest for OwnForm {
    type Error = Rejection;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Rejection>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let form = Form::from_request(request, payload);
        let origin = SameOrigin::from_request(request, payload);
        Box::pin(async move {
            let form = form.await?;
            origin.await?;
            Ok(Self(form))
        })
    }
}

/// The text of a header, if there is one and it is text.
pub(in crate::web) fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// Whether another site's page sent this form. Where the browser says by `Sec-Fetch-Site` who did, that decides: no page
/// can change it, while `Origin` becomes `null` where a proxy or a setting strips the referrer. Without it, and where it
/// says that no page did (a form sent once more), `Origin` must be ours or missing.
fn is_foreign_form(request: &HttpRequest, app: &App) -> bool {
    let is_foreign = || match cause(request) {
        Cause::OurPage => false,
        Cause::OtherPage => true,
        Cause::Unknown => {
            let mut origins = request.headers().get_all("origin");
            origins.any(|origin| origin.as_bytes() != app.own_origin().as_str().as_bytes())
        }
    };
    mitigation::on(Mitigation::ForeignForm) && is_foreign()
}

/// Whether the request is known to come from another place than our own pages.
pub(in crate::web) fn is_not_from_our_page(request: &HttpRequest) -> bool {
    mitigation::on(Mitigation::OwnPageOnly) && sites(request).any(|site| site != b"same-origin")
}

/// What made the browser send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Cause {
    /// A page of ours.
    OurPage,
    /// Somebody else's page.
    OtherPage,
    /// Its user, or the browser does not say.
    Unknown,
}

/// Told by `Sec-Fetch-Site` (Fetch Metadata section 2.3), whose other values are ignored as the standard wants. One that
/// names somebody else's page outweighs another one beside it.
pub(in crate::web) fn cause(request: &HttpRequest) -> Cause {
    let all: Vec<_> = sites(request).collect();
    match all.as_slice() {
        all if all.iter().any(|site| matches!(*site, b"same-site" | b"cross-site")) => Cause::OtherPage,
        [b"same-origin", rest @ ..] if rest.iter().all(|site| *site == b"same-origin") => Cause::OurPage,
        _ => Cause::Unknown,
    }
}

fn sites(request: &HttpRequest) -> impl Iterator<Item = &[u8]> {
    request.headers().get_all("sec-fetch-site").map(HeaderValue::as_bytes)
}

/// Whether a browser asks ahead of time. `Sec-Purpose` is the standard's name (Fetch, section 3.7); older browsers send
/// the others. A request that renders ahead (`prefetch;prerender`, `preview`) is one of them.
pub(in crate::web) fn is_prefetch(request: &HttpRequest) -> bool {
    let mut purposes = ["sec-purpose", "purpose", "x-purpose", "x-moz"].into_iter();
    purposes.any(|name| {
        request.headers().get_all(name).any(|value| {
            let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
            ["prefetch", "prerender", "preview"].iter().any(|purpose| value.contains(purpose))
        })
    })
}
