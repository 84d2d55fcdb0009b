//! How a connection to Redis is got: one for all requests, made when it is first needed, and replaced when it broke,
//! hangs or leads to the wrong server. A request that failed for that is made once more on the new one.
//!
//! A connection that goes silent (a machine without power, a balancer that forgot it, an address that moved) looks like
//! a slow Redis. So whoever waited for `FIRST` in vain replaces the connection, unless another has already: a Redis that
//! is only slow gets one new connection in that time and each request twice at most.

use super::names::Names;
use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, RedisResult,
    ServerErrorKind, TlsCertificates, Value,
};
use socket2::TcpKeepalive;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// For the first attempt, with names, TCP, TLS and authentication where the connection is new.
const FIRST: Duration = Duration::from_millis(700);
/// For the second. Both together end before [`LIMIT`](super::LIMIT), so that what hangs is replaced for the next request.
const SECOND: Duration = Duration::from_millis(1200);
/// From when on the system asks whether the other side of a quiet connection is still there, and how often.
const PROBE: Duration = Duration::from_secs(10);
/// After so many probes without an answer the connection has ended.
const PROBES: u32 = 3;
/// After so long without a word that what was sent has arrived, the connection has ended.
const UNHEARD: Duration = Duration::from_secs(5);

type Connection = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

pub(super) struct Line {
    client: Client,
    config: AsyncConnectionConfig,
    connection: ArcSwap<Connection>,
    replaced: Arc<AtomicBool>,
}

/// What came of a request: the answer to its first command, those to the others, and whether it was made twice.
pub(super) struct Answer {
    pub(super) first: Value,
    pub(super) others: Vec<RedisResult<Value>>,
    pub(super) repeated: bool,
}

impl Line {
    /// A line to `client`'s server; `replaced` is set when it gets a new connection.
    pub(super) fn new(client: Client, replaced: Arc<AtomicBool>) -> Self {
        // The time is measured for each attempt, connecting and answering together.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let config = config.set_dns_resolver(Names::system());
        let connection = ArcSwap::from_pointee(connect(client.clone(), config.clone()));
        Self { client, config, connection, replaced }
    }

    /// Makes a request.
    ///
    /// # Errors
    /// When there is no answer in time, or the first command's is an error.
    pub(super) async fn ask(&self, request: &Pipeline) -> RedisResult<Answer> {
        let connection = self.connection.load_full();
        match attempt(&connection, request, FIRST).await {
            Err(error) if self.replace(&connection, &error) && is_worth_repeating(&error) => {
                let connection = self.connection.load_full();
                let again = attempt(&connection, request, SECOND).await;
                if let Err(error) = &again {
                    self.replace(&connection, error);
                }
                let (first, others) = again?;
                Ok(Answer { first, others, repeated: true })
            }
            outcome => outcome.map(|(first, others)| Answer { first, others, repeated: false }),
        }
    }

    /// Replaces a connection that a request failed on, unless the error was the request's own. Returns whether another
    /// one is there now.
    fn replace(&self, failed: &Arc<Connection>, error: &RedisError) -> bool {
        // A primary that has become a replica is the wrong server.
        if matches!(error.kind(), ErrorKind::Server(kind) if kind != ServerErrorKind::ReadOnly) {
            return false;
        }
        let new = Arc::new(connect(self.client.clone(), self.config.clone()));
        if Arc::ptr_eq(&self.connection.compare_and_swap(failed, new), failed) {
            self.replaced.store(true, Ordering::Release);
        }
        true
    }
}

/// A client for a URL. Its server is not asked for anything yet.
///
/// # Errors
/// When URL or certificate cannot be used.
pub(super) fn client(url: &str, root_cert: Option<Vec<u8>>) -> RedisResult<Client> {
    let keepalive = TcpKeepalive::new().with_time(PROBE).with_interval(PROBE).with_retries(PROBES);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(UNHEARD);
    let server = url.into_connection_info()?.set_tcp_settings(tcp);
    match root_cert {
        Some(_) => Client::build_with_tls(server, TlsCertificates { client_tls: None, root_cert }),
        None => Client::open(server),
    }
}

/// One after the other on one connection; an error of one does not end the others.
pub(super) fn requests<const N: usize>(requests: [Cmd; N]) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for request in requests {
        pipeline.add_command(request);
    }
    pipeline
}

/// A connection that is made when it is first waited for.
fn connect(client: Client, config: AsyncConnectionConfig) -> Connection {
    async move { client.get_multiplexed_async_connection_with_config(&config).await }.boxed().shared()
}

async fn attempt(
    connection: &Connection,
    request: &Pipeline,
    time: Duration,
) -> RedisResult<(Value, Vec<RedisResult<Value>>)> {
    let asked = timeout(time, async {
        let mut connection = connection.clone().await?;
        request.query_async::<Vec<RedisResult<Value>>>(&mut connection).await
    });
    let mut answers = asked.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))?.into_iter();
    let first = answers.next().unwrap_or(Ok(Value::Nil))?;
    Ok((first, answers.collect()))
}

/// Whether another connection may make it better at once. Where nobody listens, or the password is wrong, it does not.
fn is_worth_repeating(error: &RedisError) -> bool {
    let dropped = error.is_connection_dropped() && !error.is_connection_refusal();
    dropped || error.is_timeout() || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}
