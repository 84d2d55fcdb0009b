//! `/.well-known/acme-challenge/`: what an ACME client left for http-01 (RFC 8555 section 8.3), so that a certificate
//! can be had without another server on port 80.

use crate::app::App;
use crate::web::response::rejection::Rejection;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The longest ACME http-01 token, in characters; in use are 43 (RFC 8555 section 8.3).
const MAX_ACME_TOKEN: usize = 128;
/// The longest answer to it, in bytes: a token, a dot, and a thumbprint of 43 characters (RFC 8555 section 8.1).
const MAX_ACME_ANSWER: u64 = 1024;

/// `GET /.well-known/acme-challenge/{token}`: what an ACME client left for http-01 (RFC 8555 section 8.3).
pub(in crate::web) async fn acme(token: web::Path<String>, app: web::Data<App>) -> Result<HttpResponse, Rejection> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let is_token = token.len() <= MAX_ACME_TOKEN && token.bytes().all(allowed) && !token.is_empty();
    let path = app.http().acme_challenge_dir.as_ref().filter(|_| is_token).map(|folder| folder.join(token.as_str()));
    let answer = match path {
        Some(path) => web::block(move || acme_answer(&path)).await.ok().and_then(Result::ok),
        None => None,
    };
    let answer = answer.ok_or_else(|| Rejection::of_status(StatusCode::NOT_FOUND))?;
    Ok(HttpResponse::Ok().content_type(header::ContentType::plaintext()).body(answer))
}

/// Whoever may write into the folder may be somebody else than who runs this server. So a link out of it is not followed,
/// and a pipe is not waited for.
fn acme_answer(path: &Path) -> io::Result<Vec<u8>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut answer = Vec::new();
    if file.metadata()?.is_file() {
        file.take(MAX_ACME_ANSWER + 1).read_to_end(&mut answer)?;
    }
    let fits = (1..=MAX_ACME_ANSWER).contains(&(answer.len() as u64));
    if fits { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}
