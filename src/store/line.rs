//! How a connection to Redis is got: one for all requests, made when it is first needed, and replaced when it broke,
//! hangs or leads to the wrong server. A request that failed for that is made once more on the new one.
//!
//! A connection that goes silent (a machine without power, a balancer that forgot it, an address that moved) looks like
//! a slow Redis. So whoever waited for `FIRST` in vain replaces the connection, unless another has already: a Redis that
//! is only slow gets one new connection in that time and each request twice at most.

use super::names::Names;
use super::server::{Connection, Server};
use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::cluster_routing::SingleNodeRoutingInfo;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// For the first attempt, with names, TCP, TLS and authentication where the connection is new.
const FIRST: Duration = Duration::from_millis(700);
/// For the second. Both together end before [`LIMIT`](super::LIMIT), so that what hangs is replaced for the next request.
const SECOND: Duration = Duration::from_millis(1200);
type Making = Shared<BoxFuture<'static, RedisResult<Connection>>>;

/// A node of a cluster that is meant; `None` for the one that has the key.
type Node = Option<SingleNodeRoutingInfo>;

pub(super) struct Line {
    server: Arc<Server>,
    config: AsyncConnectionConfig,
    connection: ArcSwap<Making>,
    replaced: Arc<AtomicBool>,
}

/// What came of a request: the answer to its first command, those to the others, and whether it was made twice.
pub(super) struct Answer {
    pub(super) first: Value,
    pub(super) others: Vec<RedisResult<Value>>,
    pub(super) repeated: bool,
}

impl Line {
    /// A line to `server`; `replaced` is set when it gets a new connection.
    pub(super) fn new(server: Arc<Server>, replaced: Arc<AtomicBool>) -> Self {
        // The time is measured for each attempt, connecting and answering together.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let config = config.set_dns_resolver(Names::system());
        let connection = ArcSwap::from_pointee(connect(server.clone(), config.clone()));
        Self { server, config, connection, replaced }
    }

    /// Whether keys are at several nodes. Then a request may be made more than once without our knowing.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(*self.server, Server::Cluster(_))
    }

    /// Makes a request where its key is.
    ///
    /// # Errors
    /// When there is no answer in time, or the first command's is an error.
    pub(super) async fn ask(&self, request: &Pipeline) -> RedisResult<Answer> {
        self.ask_at(None, request).await
    }

    /// Makes a request at a node of a cluster, where there is one.
    ///
    /// # Errors
    /// As [`Line::ask`].
    pub(super) async fn ask_at(&self, node: Node, request: &Pipeline) -> RedisResult<Answer> {
        let connection = self.connection.load_full();
        match attempt(&connection, &node, request, FIRST).await {
            Err(error) if self.replace(&connection, &error) && is_worth_repeating(&error) => {
                let connection = self.connection.load_full();
                let again = attempt(&connection, &node, request, SECOND).await;
                if let Err(error) = &again {
                    self.replace(&connection, error);
                }
                let (first, others) = again?;
                Ok(Answer { first, others, repeated: true })
            }
            outcome => outcome.map(|(first, others)| Answer { first, others, repeated: self.is_cluster() }),
        }
    }

    /// Replaces a connection that a request failed on, unless the error was the request's own. Returns whether another
    /// one is there now.
    fn replace(&self, failed: &Arc<Making>, error: &RedisError) -> bool {
        // One that Redis refused with an answer was never there, and comes about in no other way.
        let was_made = matches!(failed.peek(), Some(Ok(_)));
        // What this client has no word for, as when memory is full, is an extension.
        let answered = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension);
        if was_made && answered && !is_wrong_server(error) {
            return false;
        }
        let new = Arc::new(connect(self.server.clone(), self.config.clone()));
        if Arc::ptr_eq(&self.connection.compare_and_swap(failed, new), failed) {
            self.replaced.store(true, Ordering::Release);
        }
        true
    }
}

/// One after the other on one connection; an error of one does not end the others.
pub(super) fn requests(requests: impl IntoIterator<Item = Cmd>) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for request in requests {
        pipeline.add_command(request);
    }
    pipeline
}

/// A connection that is made when it is first waited for.
fn connect(server: Arc<Server>, config: AsyncConnectionConfig) -> Making {
    async move { server.connect(&config).await }.boxed().shared()
}

async fn attempt(
    connection: &Making,
    node: &Node,
    request: &Pipeline,
    time: Duration,
) -> RedisResult<(Value, Vec<RedisResult<Value>>)> {
    let asked = timeout(time, async {
        let mut connection = connection.clone().await?;
        connection.ask(request, node.clone()).await
    });
    let mut answers = asked.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))?.into_iter();
    let first = answers.next().unwrap_or(Ok(Value::Nil))?;
    Ok((first, answers.collect()))
}

/// Whether another connection may make it better at once. Where nobody listens, or the password is wrong, it does not.
fn is_worth_repeating(error: &RedisError) -> bool {
    let dropped = error.is_connection_dropped() && !error.is_connection_refusal();
    dropped || error.is_timeout() || is_wrong_server(error)
}

/// Whether another one is the primary: this one has become a replica, or has lost its own, as one does that a failover
/// left behind a broken network.
fn is_wrong_server(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) || error.code() == Some("NOREPLICAS")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(said: &str) -> RedisError {
        redis::parse_redis_value(format!("-{said}\r\n").as_bytes()).and_then(Value::extract_error).unwrap_err()
    }

    #[test]
    fn a_request_is_made_again_where_another_server_may_take_it() {
        for said in ["READONLY You can't write against a read only replica.", "NOREPLICAS Not enough good replicas."] {
            assert!(is_wrong_server(&error(said)) && is_worth_repeating(&error(said)), "{said}");
        }
        for said in ["OOM command not allowed", "NOAUTH Authentication required.", "ERR unknown command"] {
            assert!(!is_wrong_server(&error(said)) && !is_worth_repeating(&error(said)), "{said}");
        }
        let failed = |kind: io::ErrorKind| RedisError::from(io::Error::from(kind));
        assert!(is_worth_repeating(&failed(io::ErrorKind::BrokenPipe)));
        assert!(is_worth_repeating(&failed(io::ErrorKind::TimedOut)));
        assert!(!is_worth_repeating(&failed(io::ErrorKind::ConnectionRefused)));
    }
}
