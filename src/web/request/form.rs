//! Forms and queries, as pairs in their order: what is there twice must not be mistaken for something else.

use crate::web::audience::AUTHID_HEADER;
use crate::web::response::rejection::Rejection;
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest, dev, web};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// The longest form, in bytes.
pub(in crate::web) const MAX_FORM: usize = 16 * 1024;
/// How long a client may take to send it.
const FORM_TIME: Duration = Duration::from_secs(10);

/// The parameters of the query, in order.
pub(in crate::web) fn query_pairs(request: &HttpRequest) -> Vec<(String, String)> {
    url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect()
}

/// The first parameter of that name in the query.
pub(in crate::web) fn query(request: &HttpRequest, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(request.query_string().as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The fields of a form: at most [`MAX_FORM`] bytes of `application/x-www-form-urlencoded`, in 10 s. Empty when the
/// AuthID came in its header: then no form is needed, and none is read.
pub(in crate::web) struct Form(pub(in crate::web) Vec<(String, String)>);

impl Form {
    /// The field of that name; empty when there is none, or several.
    pub(in crate::web) fn field(&self, name: &str) -> &str {
        self.only(name).ok().flatten().unwrap_or_default()
    }

    /// The field of that name; `Err` when there are several (RFC 6749 section 3.2 forbids it).
    pub(in crate::web) fn only(&self, name: &str) -> Result<Option<&str>, ()> {
        let mut fields = self.0.iter().filter(|(key, _)| key == name);
        let first = fields.next().map(|(_, value)| value.as_str());
        fields.next().map_or(Ok(first), |_| Err(()))
    }
}

impl FromRequest for Form {
    type Error = Rejection;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let request = request.clone();
        let body = web::Bytes::from_request(&request, payload);
        Box::pin(async move {
            if request.headers().contains_key(&AUTHID_HEADER) {
                return Ok(Self(Vec::new()));
            }
            let refuse = Rejection::of_status;
            let body = tokio::time::timeout(FORM_TIME, body).await.map_err(|_| refuse(StatusCode::REQUEST_TIMEOUT))?;
            let body = body.map_err(|error| refuse(error.as_response_error().status_code()))?;
            if !body.is_empty() && !has_form_type(&request) {
                return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE));
            }
            Ok(Self(url::form_urlencoded::parse(&body).into_owned().collect()))
        })
    }
}

fn has_form_type(request: &HttpRequest) -> bool {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
