//! One connection to a provider, and one exchange over it.
//!
//! Over HTTP/1.1 whoever has the connection has it alone and moves it on while waiting: no task of its own, and nobody
//! between the socket and who asked. It can be used again only when a response has come to its end and nothing more
//! after it, so no response is ever taken for that to another request; one that was left in the middle closes when it
//! is dropped. HTTP/2 has many exchanges at once, and a task.

use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use zeroize::Zeroizing;

/// How much of a response is read, in bytes: many times what the tokens take, as what is beside them may be long.
const MAX_BODY: usize = 1024 * 1024;
/// The longest head of a response over HTTP/1.1, and how much is read at a time, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// What an HTTP/2 connection may send us unasked, of all responses together.
const WINDOW: u32 = 1024 * 1024;
/// Exchanges at a time over one HTTP/2 connection; servers allow at least that many (RFC 9113 section 6.5.2).
const STREAMS: usize = 100;

pub(super) type Stream = TokioIo<Either<TlsStream<TcpStream>, TcpStream>>;
pub(super) type Body = Full<Bytes>;

pub(super) enum Connection {
    Http1 {
        sender: http1::SendRequest<Body>,
        /// `None` when it has ended.
        driver: Option<Box<http1::Connection<Stream, Body>>>,
    },
    Http2 {
        sender: http2::SendRequest<Body>,
        /// One for each who has the connection.
        users: Arc<()>,
    },
}

/// What came of a response so far.
#[derive(Default)]
pub(super) struct Received {
    /// Status and headers.
    pub(super) head: Option<(u16, HeaderMap)>,
    pub(super) body: Zeroizing<Vec<u8>>,
    /// There is more of it than is read.
    pub(super) too_long: bool,
}

impl Connection {
    pub(super) async fn http1(io: Stream) -> hyper::Result<Self> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD);
        // A header that nobody needs is no reason to lose a response.
        builder.ignore_invalid_headers_in_responses(true);
        builder.allow_obsolete_multiline_headers_in_responses(true);
        builder.allow_spaces_after_header_name_in_responses(true);
        let (sender, driver) = builder.handshake(io).await?;
        Ok(Self::Http1 { sender, driver: Some(Box::new(driver)) })
    }

    pub(super) async fn http2(io: Stream) -> hyper::Result<Self> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (sender, driver) = builder.handshake(io).await?;
        tokio::spawn(driver);
        Ok(Self::Http2 { sender, users: Arc::default() })
    }

    /// The same connection for one more, where it can have several.
    pub(super) fn shared(&self) -> Option<Self> {
        match self {
            Self::Http1 { .. } => None,
            Self::Http2 { sender, users } => Some(Self::Http2 { sender: sender.clone(), users: users.clone() }),
        }
    }

    /// Whether several can have it at the same time.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Http2 { .. })
    }

    /// Whether it is shared and has room for one more.
    pub(super) fn has_room(&self) -> bool {
        matches!(self, Self::Http2 { users, .. } if !self.has_ended() && Arc::strong_count(users) <= STREAMS)
    }

    /// Whether it has ended, as far as that can be told without looking.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Http1 { driver, .. } => driver.is_none(),
            Self::Http2 { sender, .. } => sender.is_closed(),
        }
    }

    /// Whether another request can be sent: it was not closed, and nothing came that nobody asked for.
    pub(super) async fn is_usable(&mut self) -> bool {
        match self {
            Self::Http1 { sender, driver } => {
                beside(driver, ready(())).await;
                driver.is_some() && sender.is_ready()
            }
            Self::Http2 { .. } => !self.has_ended(),
        }
    }

    /// Sends a request and takes in the response, as far as it comes: what is in `received` when this fails or is left
    /// did come.
    pub(super) async fn exchange(&mut self, request: Request<Body>, received: &mut Received) -> hyper::Result<()> {
        match self {
            Self::Http1 { sender, driver } => {
                let response = sender.send_request(request);
                beside(driver, async { received.take(response.await?).await }).await
            }
            Self::Http2 { sender, .. } => received.take(sender.send_request(request).await?).await,
        }
    }
}

impl Received {
    async fn take(&mut self, response: hyper::Response<Incoming>) -> hyper::Result<()> {
        let (head, mut body) = response.into_parts();
        self.head = Some((head.status.as_u16(), head.headers));
        while let Some(frame) = body.frame().await.transpose()? {
            let Ok(data) = frame.into_data() else { continue };
            let room = MAX_BODY - self.body.len();
            self.too_long = data.len() > room;
            // What is still to come, as far as the response says.
            let rest = body.size_hint().exact().unwrap_or(0).try_into().unwrap_or(MAX_BODY);
            self.append(&data[..data.len().min(room)], rest);
            if self.too_long {
                break;
            }
        }
        Ok(())
    }

    /// The body. What is no UTF-8 in it is replaced.
    pub(super) fn text(mut self) -> Zeroizing<String> {
        Zeroizing::new(String::from_utf8(std::mem::take(&mut *self.body)).unwrap_or_else(|other| {
            let body = Zeroizing::new(other.into_bytes());
            String::from_utf8_lossy(&body).into_owned()
        }))
    }

    /// Grows without leaving a copy behind that is not wiped.
    fn append(&mut self, data: &[u8], rest: usize) {
        let len = self.body.len() + data.len();
        if len > self.body.capacity() {
            let more = Vec::with_capacity((len.saturating_add(rest)).max(2 * self.body.len()).min(MAX_BODY));
            let old = std::mem::replace(&mut *self.body, more);
            self.body.extend_from_slice(&Zeroizing::new(old));
        }
        self.body.extend_from_slice(data);
    }
}

/// Moves a connection on for as long as `work` takes that waits for it.
async fn beside<T>(driver: &mut Option<Box<http1::Connection<Stream, Body>>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        // Twice, as the work may have asked the connection for more.
        for _ in 0..2 {
            if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(context).is_ready()) {
                *driver = None;
            }
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    })
    .await
}
