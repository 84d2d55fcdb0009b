//! Host names looked up, and remembered for a short time. The system is asked (hosts file, name servers), and its
//! resolver waits five seconds for a lost packet: longer than a connection may take to be made, so names are looked up
//! before that, one look-up for each name at a time, and an old answer serves while the system is slow or fails.
//!
//! Lost on restart. Bounded by the names that the configuration and discovery documents have.

use crate::clock::Clock;
use crate::net::is_public;
use futures_util::future::{BoxFuture, FutureExt, Shared};
use hyper_util::client::legacy::connect::dns::Name;
use std::collections::HashMap;
use std::future::{Ready, ready};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec::IntoIter;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;
use url::{Host, Url};

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(60);
/// How long an old answer serves where no new one is to be had.
const STALE: Duration = Duration::from_secs(600);
/// How long a look-up may take where there is no old answer: two time-outs of the system's resolver.
const LOOK_UP: Duration = Duration::from_secs(10);
/// How long a look-up may take before the old answer serves at once, where there is one.
const PATIENCE: Duration = Duration::from_secs(1);
/// Look-ups at a time. Each takes a thread, as long as the system likes.
const THREADS: usize = 8;

/// Asks the system for the addresses of a name; may take its time.
type Ask = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;
type LookUp = Shared<BoxFuture<'static, Result<(), Arc<io::Error>>>>;

/// Clones share what they know.
#[derive(Clone)]
pub(super) struct DnsCache {
    known: Arc<Mutex<HashMap<String, Known>>>,
    threads: Arc<Semaphore>,
    ask: Arc<Ask>,
    clock: Clock,
}

#[derive(Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    /// When they were told, by the clock's uptime; `None`: never.
    told: Option<Duration>,
    /// The look-up under way, and since when. It continues when nobody waits for it any more.
    asking: Option<(Instant, LookUp)>,
}

impl DnsCache {
    pub(super) fn new(clock: Clock) -> Self {
        Self::asking(clock, |name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    fn asking(clock: Clock, ask: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self { known: Arc::default(), threads: Arc::new(Semaphore::new(THREADS)), ask: Arc::new(ask), clock }
    }

    /// Sees to it that the host of `url` can be connected to without a look-up: call it before each request.
    ///
    /// # Errors
    /// The system's error; `TimedOut` if it does not answer in time.
    pub(super) async fn prepare(&self, url: &Url, deadline: Instant) -> Result<(), Arc<io::Error>> {
        let Some(Host::Domain(name)) = url.host() else { return Ok(()) };
        let (began, asking, old) = {
            let now = self.clock.uptime();
            let mut known = self.lock();
            known.retain(|_, known| known.asking.is_some() || known.is_younger(STALE, now));
            let known = known.entry(name.to_owned()).or_default();
            if known.is_younger(FRESH, now) {
                return Ok(());
            }
            // One that was heard of has ended, perhaps with the runtime under it.
            let under_way = known.asking.take().filter(|(_, asking)| asking.peek().is_none());
            let (began, asking) = under_way.unwrap_or_else(|| (Instant::now(), self.look_up(name.to_owned())));
            known.asking = Some((began, asking.clone()));
            (began, asking, known.is_younger(STALE, now))
        };
        let until = if old { began + PATIENCE } else { Instant::now() + LOOK_UP };
        match timeout_at(deadline.min(until), asking).await {
            Ok(Ok(())) => Ok(()),
            _ if old => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Arc::new(io::Error::new(io::ErrorKind::TimedOut, "the name was not looked up in time"))),
        }
    }

    /// A look-up in a task of its own.
    fn look_up(&self, name: String) -> LookUp {
        let names = self.clone();
        let task = tokio::spawn(async move {
            let ask = names.ask.clone();
            let asked = name.clone();
            let answer = match names.threads.acquire().await {
                Ok(_thread) => tokio::task::spawn_blocking(move || ask(&asked)).await.map_err(io::Error::other),
                Err(closed) => Err(io::Error::other(closed)),
            };
            let mut known = names.lock();
            let known = known.entry(name).or_default();
            known.asking = None;
            known.addresses = answer.flatten().map_err(Arc::new)?;
            known.told = Some(names.clock.uptime());
            Ok(())
        });
        task.map(|ended| ended.unwrap_or_else(|failed| Err(Arc::new(io::Error::other(failed))))).boxed().shared()
    }

    /// Answers for the system.
    #[cfg(test)]
    pub(super) fn know(&self, name: &str, address: SocketAddr) {
        let known = Known { addresses: vec![address], told: Some(self.clock.uptime()), asking: None };
        self.lock().insert(name.to_owned(), known);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_younger(&self, age: Duration, now: Duration) -> bool {
        self.told.is_some_and(|told| now.saturating_sub(told) < age)
    }
}

/// What a client for providers connects to: the addresses that are known of a name, all or the public ones alone. That
/// is judged at each connection, so no later answer of a name server leads into this server's own network. URLs with an
/// address in them do not come here; [`super::endpoint`] judges those.
#[derive(Clone)]
pub(super) struct CachedResolver {
    pub(super) names: DnsCache,
    pub(super) public_only: bool,
}

impl Service<Name> for CachedResolver {
    type Response = IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Response, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let mut addresses =
            self.names.lock().get(name.as_str()).map(|known| known.addresses.clone()).unwrap_or_default();
        let any = !addresses.is_empty();
        addresses.retain(|address| !self.public_only || is_public(address.ip()));
        if addresses.is_empty() && any {
            tracing::warn!(host = name.as_str(), "only private addresses; see providers.<id>.allow_private_addresses");
        }
        ready(match (addresses.is_empty(), any) {
            (false, _) => Ok(addresses.into_iter()),
            (true, true) => Err(io::Error::other("the name has only private addresses")),
            (true, false) => Err(io::Error::other("the name has no addresses")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    const GOOD: &str = "203.0.113.7:0";

    /// A system whose answers are handed in one by one: each look-up waits for the next.
    struct System {
        names: DnsCache,
        clock: Clock,
        asked: Arc<AtomicUsize>,
        answers: mpsc::Sender<Option<&'static str>>,
    }

    impl System {
        fn new() -> Self {
            let (clock, asked, (answers, waiting)) = (Clock::system(), Arc::<AtomicUsize>::default(), mpsc::channel());
            let count = asked.clone();
            let waiting = Mutex::new(waiting);
            let names = DnsCache::asking(clock.clone(), move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                let answer: Option<&str> = waiting.lock().unwrap().recv().unwrap_or(None);
                Ok(vec![answer.ok_or(io::ErrorKind::Other)?.parse().unwrap()])
            });
            Self { names, clock, asked, answers }
        }

        fn answers(&self, answer: Option<&'static str>) -> &Self {
            self.answers.send(answer).unwrap();
            self
        }

        /// In real time, so that a look-up which waits does so for as long as it takes to see.
        async fn prepare(&self, patience: Duration) -> Option<io::ErrorKind> {
            let url = Url::parse("https://provider.example/token").unwrap();
            self.names.prepare(&url, Instant::now() + patience).await.err().map(|error| error.kind())
        }

        async fn known(&self, public_only: bool) -> Vec<String> {
            let names = self.names.clone();
            let resolved = CachedResolver { names, public_only }.call("provider.example".parse().unwrap()).await;
            resolved.map(|addresses| addresses.map(|address| address.to_string()).collect()).unwrap_or_default()
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_name_is_looked_up_once_a_minute_by_all_together() {
        let system = System::new();
        assert!(system.known(false).await.is_empty());
        let all = join_all((0..20).map(|_| system.prepare(LONG)));
        let (all, _) = tokio::join!(all, async { system.answers(Some(GOOD)) });
        assert!(all.iter().all(Option::is_none));
        assert_eq!((system.asked(), system.known(true).await), (1, vec![GOOD.to_owned()]));
        system.clock.advance(FRESH - Duration::from_secs(1));
        assert_eq!((system.prepare(SHORT).await, system.asked()), (None, 1));
        system.clock.advance(Duration::from_secs(2));
        system.answers(Some("203.0.113.8:0"));
        assert_eq!((system.prepare(LONG).await, system.asked()), (None, 2));
        assert_eq!(system.known(true).await, ["203.0.113.8:0"]);
    }

    #[tokio::test]
    async fn an_old_answer_serves_ten_minutes_while_the_system_fails_or_is_slow() {
        let system = System::new();
        assert_eq!(system.answers(None).prepare(LONG).await, Some(io::ErrorKind::Other));
        assert_eq!(system.answers(Some(GOOD)).prepare(LONG).await, None);
        for _ in 0..4 {
            system.clock.advance(FRESH * 2);
            assert_eq!(system.answers(None).prepare(LONG).await, None);
        }
        assert_eq!(system.asked(), 6);
        // Now it hangs, for one look-up, whoever asks.
        for _ in 0..3 {
            assert_eq!(system.prepare(LONG).await, None);
            assert_eq!((system.asked(), system.known(true).await), (7, vec![GOOD.to_owned()]));
        }
        system.clock.advance(FRESH * 2);
        assert_eq!(system.prepare(SHORT).await, Some(io::ErrorKind::TimedOut));
        assert_eq!(system.answers(Some(GOOD)).prepare(LONG).await, None);
        assert_eq!(system.asked(), 7);
    }

    #[tokio::test]
    async fn look_ups_that_hang_take_a_bounded_number_of_threads() {
        let system = System::new();
        let urls: Vec<_> = (0..50).map(|at| Url::parse(&format!("https://p{at}.example/")).unwrap()).collect();
        let hanging = join_all(urls.iter().map(|url| system.names.prepare(url, Instant::now() + SHORT))).await;
        assert!(hanging.iter().all(|failed| failed.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::TimedOut)));
        assert!(system.asked() <= THREADS, "{}", system.asked());
        drop(system.answers);
    }

    #[tokio::test]
    async fn where_a_name_leads_is_judged_at_each_connection() {
        let system = System::new();
        system.answers(Some("127.0.0.1:0")).prepare(LONG).await;
        assert!(system.known(true).await.is_empty());
        assert_eq!(system.known(false).await, ["127.0.0.1:0"]);
        // A URL with an address in it has nothing to be looked up.
        let url = Url::parse("https://203.0.113.7/").unwrap();
        assert!(system.names.prepare(&url, Instant::now()).await.is_ok());
        assert_eq!(system.asked(), 1);
    }

    #[tokio::test]
    async fn the_system_is_asked_as_everybody_asks_it() {
        let names = DnsCache::new(Clock::system());
        let url = Url::parse("http://localhost:1/").unwrap();
        names.prepare(&url, Instant::now() + LONG).await.unwrap();
        assert!(names.lock()["localhost"].addresses.iter().all(|address| address.ip().is_loopback()));
        let url = Url::parse("https://authseal.invalid/").unwrap();
        assert!(names.prepare(&url, Instant::now() + LONG).await.is_err());
    }
}
