//! How a provider can misbehave at its token endpoint.

use super::honeypot::Honeypot;
use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use std::any::Any;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

/// One kind of misbehaviour.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Another answer than the right one.
    Reply { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// Takes the request and says nothing, ever.
    HangBeforeHeaders,
    /// The right answer in another form.
    Dressed(fn(&str) -> Vec<u8>),
    /// The right answer, a byte a second.
    Drip,
    /// The right answer up to its middle, then nothing, ever.
    StallMidBody,
    /// A body that never ends, as fast as it is read.
    Endless,
    /// The connection is closed before a byte of answer.
    CloseBeforeHeaders,
    /// The connection is closed in the middle of the body.
    CloseMidBody,
    /// Sends the caller, with this status, to a place where its secrets would be caught.
    RedirectToTrap(u16),
    /// Not HTTP at all.
    NotHttp,
}

impl Fault {
    /// JSON with a status.
    pub(crate) fn json(status: u16, body: impl Into<String>) -> Self {
        let headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
        Self::Reply { status, headers, body: body.into().into_bytes() }
    }

    /// A balancer's error page.
    pub(crate) fn html(status: u16) -> Self {
        let body =
            format!("<!DOCTYPE html><html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>");
        Self::Reply { status, headers: vec![("content-type", "text/html".to_owned())], body: body.into_bytes() }
    }

    /// Too many requests; `retry_after` goes into the header as it is.
    pub(crate) fn too_many(retry_after: &str) -> Self {
        let headers = vec![("content-type", "application/json".to_owned()), ("retry-after", retry_after.to_owned())];
        Self::Reply { status: 429, headers, body: br#"{"error":"rate_limit_exceeded"}"#.to_vec() }
    }

    /// An OAuth error with a text of the provider's.
    pub(crate) fn oauth(status: u16, error: &str, text: &str) -> Self {
        Self::json(status, serde_json::json!({"error": error, "error_description": text}).to_string())
    }

    /// One of Microsoft's errors.
    pub(crate) fn microsoft(status: u16, error: &str, code: u32) -> Self {
        let (status, body) = super::refusal::microsoft_body(status, error, code, "Something happened.");
        Self::json(status, body.to_string())
    }

    /// A body that calls itself compressed and would unpack to a gigabyte.
    pub(crate) fn gzip_bomb() -> Self {
        let headers = vec![("content-type", "application/json".to_owned()), ("content-encoding", "gzip".to_owned())];
        // The head of a long run of zeros as gzip writes it; every further byte means a thousand of them: 60 MB.
        let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff, 0xec, 0xc1, 1, 1, 0, 0, 0, 0x80, 0x90, 0xfe];
        body.extend([0xaf, 0xee, 8, 0x0a]);
        body.resize(60_000, 0);
        Self::Reply { status: 200, headers, body }
    }

    /// Answers; `good` is what a provider in good health would say: status and JSON.
    pub(crate) async fn answer(self, req: &HttpRequest, honeypot: &Honeypot, good: (u16, String)) -> HttpResponse {
        let (status, text) = good;
        let mut ok = HttpResponse::build(status_code(status));
        ok.content_type("application/json");
        match self {
            Self::Reply { status, headers, body } => {
                let mut reply = HttpResponse::build(status_code(status));
                for header in headers {
                    reply.append_header(header);
                }
                reply.body(body)
            }
            Self::Dressed(dress) => ok.body(dress(&text)),
            Self::HangBeforeHeaders => std::future::pending().await,
            Self::Drip => {
                let length = text.len() as u64;
                let bytes = stream::unfold(text.into_bytes().into_iter(), |mut rest| async {
                    let byte = rest.next()?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Some((Ok::<_, std::io::Error>(Bytes::from(vec![byte])), rest))
                });
                ok.body(SizedStream::new(length, Box::pin(bytes)))
            }
            Self::StallMidBody => {
                let length = text.len() as u64;
                let half = Bytes::from(text.into_bytes()).slice(..length as usize / 2);
                let bytes = stream::unfold(Some(half), |half| async {
                    match half {
                        Some(half) => Some((Ok::<_, std::io::Error>(half), None)),
                        None => std::future::pending().await,
                    }
                });
                ok.body(SizedStream::new(length, Box::pin(bytes)))
            }
            Self::Endless => {
                let block = Bytes::from(vec![b' '; 65_536]);
                ok.body(BodyStream::new(stream::repeat_with(move || Ok::<_, std::io::Error>(block.clone()))))
            }
            Self::CloseBeforeHeaders => cut(req, b""),
            Self::CloseMidBody => {
                let head = format!(
                    "HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    text.len()
                );
                cut(req, [head.as_bytes(), &text.as_bytes()[..text.len() / 2]].concat().as_slice())
            }
            Self::RedirectToTrap(status) => {
                HttpResponse::build(status_code(status)).append_header(("location", honeypot.url())).finish()
            }
            Self::NotHttp => cut(req, b"220 mail.example ESMTP ready\r\n"),
        }
    }
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap()
}

/// A second handle on a connection's socket, so that a handler can end it without a word.
struct Socket(TcpStream);

/// Remembers each connection's socket with it; for `HttpServer::on_connect`.
pub(crate) fn keep_socket(io: &dyn Any, data: &mut actix_web::dev::Extensions) {
    if let Some(socket) = io.downcast_ref::<actix_web::rt::net::TcpStream>() {
        data.insert(Socket(TcpStream::from(socket.as_fd().try_clone_to_owned().unwrap())));
    }
}

/// Writes `last` and closes the connection under the server's feet.
fn cut(req: &HttpRequest, last: &[u8]) -> HttpResponse {
    let Socket(socket) = req.conn_data::<Socket>().unwrap();
    let mut socket = socket;
    // The other side may be gone already; then there is nothing left to cut.
    let _ = socket.write_all(last);
    let _ = socket.shutdown(Shutdown::Both);
    HttpResponse::Ok().finish()
}
