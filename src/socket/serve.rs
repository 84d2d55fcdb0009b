//! From a listener to the HTTP library: what `actix_web::HttpServer` does, with the wrapper in between and TLS accepted
//! here, so that handshakes have no gate of their own that silent clients could fill.

use super::arrivals::Batches;
use super::conn::{CHUNKED, Conn, Phase, Reason, Told};
use super::crowd::{Crowd, Place};
use super::handed::Listener;
use super::opening;
use super::pulse::Pulse;
use super::stream::Stream;
use actix_http::body::MessageBody;
use actix_http::error::{DispatchError, ParseError};
use actix_http::{HttpService, KeepAlive, Payload, Protocol, Request, Response};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt};
use actix_service::{apply_fn_factory, fn_service, map_config};
use actix_web::dev::{AppConfig, Server};
use actix_web::http::header;
use rustix::net::sockopt;
use rustls::ServerConfig;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// As it was accepted.
type Accepted = Either<TcpStream, UnixStream>;
/// Plain, or with TLS.
type Socket = Either<Accepted, Box<TlsStream<TcpStream>>>;

/// The protocol that is spoken where TLS's ALPN has its say.
const HTTP: &[u8] = b"http/1.1";
/// How long what a client still sends is read after a response that did not wait for it, so that it comes to read that.
const LINGER: Duration = Duration::from_secs(1);

/// What the kernel may keep of a connection each way, in bytes: more than a request has, and almost all responses. By
/// itself it lets who reads nothing have megabytes.
const BUFFER: usize = 64 * 1024;

/// A server of `app` on these listeners: `workers` threads, and at most as many connections as the crowd may have.
/// `finish` is how long what is under way may take when it ends. Each of the threads beats with
/// `pulse`. Unix sockets are plain http's: what comes by one has not left this machine.
///
/// # Errors
/// When a listener cannot be used.
pub fn serve<F, I, S, B>(
    app: F,
    listeners: Vec<Listener>,
    tls: Option<ServerConfig>,
    crowd: &Arc<Crowd>,
    pulse: &Pulse,
    workers: usize,
    finish: Duration,
) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let tls = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(crowd.max().div_ceil(workers))
        .shutdown_timeout(finish.as_secs())
        .disable_signals();
    let server = listeners.into_iter().try_fold(server, |server, listener| {
        // What is accepted has them too.
        sockopt::set_socket_send_buffer_size(&listener, BUFFER)?;
        sockopt::set_socket_recv_buffer_size(&listener, BUFFER)?;
        let (app, tls, crowd, pulse) = (app.clone(), tls.clone(), crowd.clone(), pulse.clone());
        // For the two kinds of listeners, which have streams of two types.
        macro_rules! pipeline {
            ($accepted:expr) => {
                move || {
                    pulse.join();
                    let app = map_config(app().into_factory(), |()| AppConfig::default());
                    let app = app.map_err(|error: S::Error| error.into().error_response());
                    // All bounds of time are ours but this one.
                    let http = HttpService::build()
                        .keep_alive(KeepAlive::Os)
                        .client_request_timeout(Duration::ZERO)
                        .client_disconnect_timeout(LINGER)
                        .on_connect_ext(|stream: &Stream<Socket>, data| _ = data.insert(Arc::clone(stream.place())))
                        .finish(apply_fn_factory(app, watched));
                    let (tls, crowd, counts) = (tls.clone(), crowd.clone(), crowd.clone());
                    let batches = Batches::new(crowd.arrivals().clone());
                    let door = fn_service(move |stream| {
                        let (tls, crowd, arrival) = (tls.clone(), crowd.clone(), batches.take());
                        async move {
                            arrival.begin().await;
                            enter($accepted(stream), tls.as_ref(), &crowd).await
                        }
                    });
                    door.and_then(http).map_err(move |error| {
                        let DispatchError::Parse(error) = error else { return };
                        tracing::debug!(%error, "a request could not be read");
                        let large = matches!(error, ParseError::TooLarge);
                        counts.count(if large { Reason::TooLarge } else { Reason::Malformed });
                    })
                }
            };
        }
        match listener {
            Listener::Tcp(listener) => server.listen("http", listener, pipeline!(Either::Left)),
            Listener::Unix(listener) => server.listen_uds("http", listener, pipeline!(Either::Right)),
        }
    })?;
    Ok(server.run())
}

/// A connection's way in, through the TLS handshake where there is one.
async fn enter(
    stream: Accepted,
    tls: Option<&TlsAcceptor>,
    crowd: &Arc<Crowd>,
) -> Result<(Stream<Socket>, Protocol, Option<SocketAddr>), DispatchError> {
    let peer = match &stream {
        Either::Left(stream) => stream.peer_addr().ok(),
        Either::Right(_) => Some((Ipv4Addr::LOCALHOST, 0).into()),
    };
    let address = peer.map(|peer| peer.ip());
    let (socket, place) = match (stream, tls) {
        (Either::Left(stream), Some(tls)) => {
            let place = crowd.enter(address, Phase::Handshake);
            let foreign = first_bytes(&stream, &place).await;
            if let Some(reason) = foreign {
                opening::tell(reason, address);
            }
            let stream = handshake(stream, tls, &place).await.inspect_err(|error| {
                // Who only looks whether somebody listens says nothing and is gone.
                if !matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::UnexpectedEof) {
                    place.count(foreign.unwrap_or(Reason::BadHandshake));
                }
            });
            let stream = stream.map_err(DispatchError::Io)?;
            if stream.get_ref().1.alpn_protocol().is_some_and(|protocol| protocol != HTTP) {
                // The handshake was all there is to it: the authority of tls-alpn-01 (RFC 8737 section 3) looks at that.
                return Err(DispatchError::Io(io::ErrorKind::ConnectionAborted.into()));
            }
            place.enter(Phase::Opened);
            (Either::Right(Box::new(stream)), place)
        }
        (stream, _) => (Either::Left(stream), crowd.enter(address, Phase::Opened)),
    };
    let plain = matches!(socket, Either::Left(_));
    Ok((Stream::new(socket, place, address, plain), Protocol::Http1, peer))
}

/// What the client begins with instead of a handshake. What is looked at is left where it is.
async fn first_bytes(stream: &TcpStream, place: &Place) -> Option<Reason> {
    let mut bytes = [0; 16];
    let mut bytes = ReadBuf::new(&mut bytes);
    let peeked = poll_fn(|cx| match place.told(cx) {
        Told::Nothing => stream.poll_peek(cx, &mut bytes).map(|peeked| peeked.is_ok()),
        _ => Poll::Ready(false),
    });
    if peeked.await { opening::foreign_to_tls(bytes.filled()) } else { None }
}

async fn handshake(stream: TcpStream, tls: &TlsAcceptor, place: &Place) -> io::Result<TlsStream<TcpStream>> {
    let mut accepted = tls.accept(stream);
    poll_fn(|cx| match place.told(cx) {
        Told::Nothing => Pin::new(&mut accepted).poll(cx),
        _ => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
    })
    .await
}

/// Serves a request and lets its connection know how far it is.
fn watched<S: Service<Request>>(
    mut request: Request,
    app: &S,
) -> impl Future<Output = Result<S::Response, S::Error>> + use<S> {
    let conn = request.conn_data::<Arc<Conn>>().cloned();
    if let Some(conn) = &conn {
        let none = matches!(request.payload(), Payload::None);
        let headers = &request.head().headers;
        let length = || headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        conn.called(match none {
            true => 0,
            false if headers.contains_key(header::TRANSFER_ENCODING) => CHUNKED,
            false => length().unwrap_or(CHUNKED),
        });
    }
    let answer = app.call(request);
    async move {
        let answer = answer.await;
        if let Some(conn) = conn {
            conn.answered();
        }
        answer
    }
}
