//! A provider that keeps its connections, over HTTP/1.1 byte by byte or HTTP/2, plain or over TLS, and ends an exchange
//! at whatever point it is told.

use super::super::testing::example;
use super::super::{ProviderClient, Service};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

const TOKENS: &str = r#"{"access_token":"at","expires_in":3600}"#;

/// Where an exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It does not.
    Nowhere,
    /// The answer takes that long.
    Late(Duration),
    /// When the connection is there.
    Unread,
    /// When a part of the request has been read.
    InRequest,
    BeforeAnswer,
    InHead,
    InBody,
    /// The answer is whole, and does not say that it is the last.
    AfterAnswer,
    /// There is more after the answer.
    Overlong,
    /// The other side is left waiting.
    Silent,
    /// HTTP/2: the stream is refused.
    Refused,
    /// HTTP/2: the connection is given up without an answer.
    GoneAway,
    /// HTTP/2: the connection is given up, and the stream answered.
    LastAnswer,
}

/// What is asked about, before it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Connected,
    Requested,
}

type Plan = Box<dyn FnMut(Moment) -> End + Send>;

struct State {
    plan: Plan,
    seen: Seen,
}

/// What has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) connections: usize,
    /// Connections that were closed although a request may have been under way on them.
    pub(super) unread: usize,
    /// TLS sessions that were resumed.
    pub(super) resumed: usize,
    /// The connections that are still open.
    pub(super) open: usize,
    /// The connection's number for each request that was begun.
    pub(super) requests: Vec<usize>,
}

impl Seen {
    /// How often something was sent that may have arrived.
    pub(super) fn sent(&self) -> usize {
        self.requests.len() + self.unread
    }
}

pub(super) struct Peer {
    pub(super) url: String,
    authority: Option<TempDir>,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Peer {
    /// `protocols`: none for plain HTTP, else what TLS offers.
    pub(super) async fn new(protocols: &[&str], plan: impl FnMut(Moment) -> End + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (authority, tls) = match protocols {
            [] => (None, None),
            _ => Some(tls(protocols)).unzip(),
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::new(Mutex::new(State { plan: Box::new(plan), seen: Seen::default() }));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (number, end) = {
                    let mut state = shared.lock().unwrap();
                    state.seen.connections += 1;
                    let end = (state.plan)(Moment::Connected);
                    // Nothing is sent before there is TLS.
                    state.seen.unread += usize::from(end == End::Unread && tls.is_none());
                    (state.seen.connections, end)
                };
                if end == End::Unread {
                    continue;
                }
                let (state, tls) = (shared.clone(), tls.clone());
                tokio::spawn(async move {
                    let open = Open::new(&state);
                    let Some(tls) = tls else { return http1(socket, &state, number).await };
                    let Ok(stream) = tls.accept(socket).await else { return };
                    let session = &stream.get_ref().1;
                    if session.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
                        state.lock().unwrap().seen.resumed += 1;
                    }
                    match session.alpn_protocol() {
                        Some(b"h2") => http2(stream, &state, number).await,
                        _ => http1(stream, &state, number).await,
                    }
                    drop(open);
                });
            }
        });
        Self { url: format!("{scheme}://{address}"), authority, state, task }
    }

    /// A client for it, whose tokens change in this way.
    pub(super) fn client(&self, rotation: &str) -> (ProviderClient, Arc<Service>) {
        let authority = self.authority.as_ref().map(|folder| folder.path().join("ca.pem"));
        let authority = authority.map(|file| format!("ca_file = {file:?}\n")).unwrap_or_default();
        let url = &self.url;
        example(&format!(
            "authorize_url = \"{url}/a\"\ntoken_url = \"{url}/t\"\nrotation = \"{rotation}\"\n{authority}"
        ))
    }

    pub(super) fn seen(&self) -> Seen {
        self.state.lock().unwrap().seen.clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Mutex<State>>);

impl Open {
    fn new(state: &Arc<Mutex<State>>) -> Self {
        state.lock().unwrap().seen.open += 1;
        Self(state.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().unwrap().seen.open -= 1;
    }
}

fn tls(protocols: &[&str]) -> (TempDir, TlsAcceptor) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from(certificate)];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    (folder, Arc::new(config).into())
}

fn requested(state: &Mutex<State>, number: usize) -> End {
    let mut state = state.lock().unwrap();
    state.seen.requests.push(number);
    (state.plan)(Moment::Requested)
}

async fn http1(mut socket: impl AsyncRead + AsyncWrite + Unpin, state: &Mutex<State>, number: usize) {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{TOKENS}", TOKENS.len());
    let mut chunk = [0; 4096];
    loop {
        let mut request = String::new();
        let mut end = None;
        loop {
            let Ok(len @ 1..) = socket.read(&mut chunk).await else { return };
            if *end.get_or_insert_with(|| requested(state, number)) == End::InRequest {
                return;
            }
            request.push_str(std::str::from_utf8(&chunk[..len]).unwrap());
            let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                break;
            }
        }
        let until = match end.unwrap() {
            End::Unread | End::InRequest | End::BeforeAnswer | End::GoneAway => return,
            End::InHead | End::Refused => answer.len() / 3,
            End::InBody => answer.len() - TOKENS.len() / 2,
            End::Silent => {
                while socket.read(&mut chunk).await.is_ok_and(|len| len > 0) {}
                return;
            }
            End::Late(time) => {
                sleep(time).await;
                answer.len()
            }
            End::Nowhere | End::AfterAnswer | End::LastAnswer | End::Overlong => answer.len(),
        };
        let (answer, more) = (&answer[..until], if end == Some(End::Overlong) { answer.as_str() } else { "" });
        if socket.write_all([answer, more].concat().as_bytes()).await.is_err() || socket.flush().await.is_err() {
            return;
        }
        if !matches!(end, Some(End::Nowhere | End::Overlong | End::Late(_))) {
            return;
        }
    }
}

async fn http2(socket: impl AsyncRead + AsyncWrite + Unpin, state: &Mutex<State>, number: usize) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let end = requested(state, number);
        let whole = match end {
            End::Refused => {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
                continue;
            }
            End::GoneAway => {
                connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                let _ = poll_fn(|context| connection.poll_closed(context)).await;
                return;
            }
            End::Unread | End::InRequest | End::BeforeAnswer | End::InHead => return,
            End::Silent => {
                tokio::spawn(async move {
                    let _respond = respond;
                    std::future::pending::<()>().await;
                });
                continue;
            }
            End::LastAnswer => {
                connection.graceful_shutdown();
                true
            }
            End::InBody => false,
            End::Late(_) | End::Nowhere | End::AfterAnswer | End::Overlong => true,
        };
        let answering = tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
            }
            if let End::Late(time) = end {
                sleep(time).await;
            }
            let Ok(mut stream) = respond.send_response(hyper::Response::new(()), false) else { return };
            let len = if whole { TOKENS.len() } else { TOKENS.len() / 2 };
            let _ = stream.send_data(TOKENS[..len].into(), whole);
            if !whole {
                std::future::pending::<()>().await;
            }
        });
        if matches!(end, End::InBody | End::AfterAnswer) {
            // Until it has been sent.
            let _ = timeout(Duration::from_millis(20), poll_fn(|context| connection.poll_closed(context))).await;
            answering.abort();
            return;
        }
    }
}
