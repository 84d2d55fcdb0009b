//! Responses in JSON that hold a token.

use crate::web::response::rejection::Rejection;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

/// What such a response has beside its texts, in bytes, at most.
const MEMBERS: usize = 128;

/// `body`, of which the texts have so many bytes, in a buffer that does not grow: growing would leave copies behind.
pub(in crate::web) fn json(
    mut response: HttpResponseBuilder,
    body: &impl Serialize,
    texts: usize,
) -> Result<HttpResponse, Rejection> {
    let mut text = Vec::with_capacity(MEMBERS + texts);
    serde_json::to_writer(&mut text, body).map_err(|_| Rejection::internal())?;
    response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
    Ok(response.body(text))
}
