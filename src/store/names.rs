//! Where the name of Redis's host leads. The system's resolver may take longer than a request has (a packet that is lost
//! costs five seconds), so a look-up ends by itself, not with the request that began it; there is one at a time.
//!
//! For each new connection the name is looked up again, since a failover may have moved it. What it led to last is used
//! when that takes too long or fails.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::io::AsyncDNSResolver;
use redis::{RedisError, RedisFuture};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

/// How long a new answer is waited for where there is an old one.
const PATIENCE: Duration = Duration::from_millis(200);
/// How old that may be.
const STALE: Duration = Duration::from_secs(600);

type Addresses = Vec<SocketAddr>;
type LookUp = Shared<BoxFuture<'static, Result<Addresses, Arc<io::Error>>>>;

/// For one host.
pub(super) struct Names {
    look_up: fn(String, u16) -> BoxFuture<'static, io::Result<Addresses>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    last: Option<(Instant, Addresses)>,
    under_way: Option<LookUp>,
}

impl Names {
    /// The system's resolver.
    pub(super) fn system() -> Self {
        Self::by(|host, port| async move { Ok(lookup_host((host, port)).await?.collect()) }.boxed())
    }

    fn by(look_up: fn(String, u16) -> BoxFuture<'static, io::Result<Addresses>>) -> Self {
        Self { look_up, state: Arc::default() }
    }

    /// The look-up that is under way, or a new one; and what the last one brought.
    fn ask(&self, host: &str, port: u16) -> (LookUp, Option<Addresses>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let last = state.last.clone().filter(|(at, _)| at.elapsed() < STALE).map(|(_, addresses)| addresses);
        let under_way = state.under_way.clone().filter(|look_up| look_up.peek().is_none());
        let look_up = under_way.unwrap_or_else(|| {
            let (look_up, kept) = ((self.look_up)(host.to_owned(), port), self.state.clone());
            let look_up = async move {
                let found = look_up.await?;
                kept.lock().unwrap_or_else(PoisonError::into_inner).last = Some((Instant::now(), found.clone()));
                Ok(found)
            };
            let look_up = look_up.boxed().shared();
            tokio::spawn(look_up.clone());
            look_up
        });
        state.under_way = Some(look_up.clone());
        (look_up, last)
    }
}

impl AsyncDNSResolver for Names {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        async move {
            let (look_up, last) = self.ask(host, port);
            let found = match last {
                None => look_up.await,
                Some(last) => timeout(PATIENCE, look_up).await.ok().and_then(Result::ok).map_or(Ok(last), Ok),
            };
            let found = found.map_err(|error| RedisError::from(io::Error::new(error.kind(), error.to_string())))?;
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU16, Ordering};

    /// Takes five seconds, and leads elsewhere each time.
    static LOOK_UPS: AtomicU16 = AtomicU16::new(0);

    fn slow(host: String, _: u16) -> BoxFuture<'static, io::Result<Addresses>> {
        let number = LOOK_UPS.fetch_add(1, Ordering::AcqRel);
        async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            match host.as_str() {
                "redis" => Ok(vec![SocketAddr::from(([127, 0, 0, 1], number))]),
                _ => Err(io::Error::other("no such name")),
            }
        }
        .boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_resolver_is_waited_for_by_many_requests_and_once() {
        let names = Names::by(slow);
        let ports =
            async |host| names.resolve(host, 1).await.map(|found| found.map(|at| at.port()).collect::<Vec<_>>());
        for _ in 0..4 {
            assert!(timeout(Duration::from_secs(1), ports("redis")).await.is_err());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(ports("redis").await.unwrap(), [0], "and asks again meanwhile");
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(ports("redis").await.unwrap(), [1]);
        assert_eq!(LOOK_UPS.load(Ordering::Acquire), 3);
        tokio::time::sleep(2 * STALE).await;
        assert!(timeout(Duration::from_secs(1), ports("redis")).await.is_err(), "that is too old");
        assert!(Names::by(slow).resolve("other", 1).await.is_err());
    }
}
