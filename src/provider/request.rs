//! A call as an HTTP request. HTTP/1.1 names the host in a header, HTTP/2 in the target. The body is wiped when it has
//! been sent; what the connection's buffers hold of it is not.

use super::call::{Call, Payload};
use super::client_credentials::{form, with_client};
use super::connection::Body;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT,
};
use hyper::{Method, Request};
use secrecy::ExposeSecret;
use url::{Position, Url};
use zeroize::Zeroizing;

/// A call as a request of HTTP/1.1 or HTTP/2.
///
/// # Errors
/// When something in it cannot be sent, like a token with a line break in a header.
pub(super) fn request(call: &Call<'_>, http2: bool) -> Result<Request<Body>, hyper::http::Error> {
    let url = call.url;
    let mut authorization = None;
    let text = match &call.payload {
        Payload::Nothing => None,
        Payload::Bearer(token) => {
            let mut header = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?;
            header.set_sensitive(true);
            authorization = Some(header);
            Some(Zeroizing::default())
        }
        Payload::Form(fields, None) => Some(form(fields)),
        Payload::Form(fields, Some((client, choice))) => {
            let text;
            (text, authorization) = with_client(fields, client, choice.auth);
            Some(text)
        }
    };
    let mut request = bare(url, http2)?;
    let headers = request.headers_mut();
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization);
    }
    if let Payload::Form(..) = &call.payload {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    }
    if let Some(text) = text {
        if text.is_empty() {
            // RFC 9110 section 8.6; the library says nothing of a body that is not there.
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        *request.method_mut() = Method::POST;
        *request.body_mut() = Body::new(Bytes::from_owner(Wiped(text)));
    }
    Ok(request)
}

/// A GET request with what each request has.
///
/// # Errors
/// When the URL has something that no request can.
pub(super) fn bare(url: &Url, http2: bool) -> Result<Request<Body>, hyper::http::Error> {
    let target = &url[if http2 { Position::BeforeScheme } else { Position::BeforePath }..Position::AfterQuery];
    let mut request = Request::new(Body::default());
    *request.uri_mut() = target.parse()?;
    let headers = request.headers_mut();
    if !http2 {
        headers.insert(HOST, HeaderValue::try_from(&url[Position::BeforeHost..Position::AfterPort])?);
    }
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    // Without this one any coding would be welcome (RFC 9110 section 12.5.3).
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("authseal/", env!("CARGO_PKG_VERSION"))));
    Ok(request)
}

/// A text as the owner of bytes.
struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
