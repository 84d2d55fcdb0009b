//! The HTTP client for providers, with its limits: timeouts, size of a response, calls at a time, at most one retry.
//! Redirects (open redirection, RFC 9700 sections 4.11 and 4.12), proxies from the environment, cookies and
//! decompression are off: each would let somebody else decide where secrets go or how much memory a response takes.
//!
//! A call that may be retried is cut off early, so that there is time for a second attempt. One that may not, since
//! what it carries works once, gets all the time there is: its response is worth more than anybody's patience.
//!
//! A provider that asks for a pause gets it: of a refresh from `tokens`, which waits once for all who want it. Here a short
//! one is waited for only in calls that nobody makes again: for a code and for a revocation somebody sits before a page.
//!
//! Connections are kept for calls whose repeat is harmless. A request over one that the provider has just closed may or
//! may not have arrived: such a call is made once more, over a new connection, and that is its one retry. For a refresh
//! token or a code that works once this doubt would cost the login, so each has a new connection, on which nothing was
//! sent before the connection was whole. HTTP/2 can say that a request was not taken (REFUSED_STREAM, GOAWAY), but not
//! when a connection breaks without a word, so it makes no difference there.

use super::call::{Call, Response};
use super::connect::{Connector, NotConnected, innermost, is_late};
use super::connection::Received;
use super::dns::DnsCache;
use super::error::{AttemptError, ProviderError, Retry};
use super::outbound::{Outbound, SetupError};
use super::pool::{Kept, Pool};
use super::report::{self, report};
use super::request::{bare, request};
use super::service::Provider;
use crate::clock::{Clock, UnixTime};
use crate::meter::Meter;
use crate::net;
use hyper::HeaderMap;
use hyper::header::LOCATION;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use url::Url;

/// The name of calls that `tokens` makes again as long as somebody waits for them.
pub(super) const REFRESH: &str = "refresh";
/// One attempt of a call that may be repeated, from connecting to the response's last byte.
const ATTEMPT: Duration = Duration::from_secs(8);
/// How long a refresh waits for its turn. With a longer queue, calls would be made for clients that have gone.
const TURN: Duration = Duration::from_secs(2);
/// The longest `Retry-After` that is waited for here.
const WAIT: Duration = Duration::from_secs(5);
/// The longest `Retry-After` that is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// Clones are the same client.
#[derive(Clone)]
pub(super) struct HttpClient {
    connector: Arc<Connector>,
    pool: Pool,
    /// What it was made of.
    fingerprint: [u8; 32],
    clock: Clock,
    meter: Meter,
}

impl HttpClient {
    pub(super) fn new<'a>(
        providers: impl Iterator<Item = &'a Provider> + Clone,
        outbound: &Outbound,
        clock: Clock,
        meter: Meter,
    ) -> Result<Self, SetupError> {
        let fingerprint = outbound.fingerprint(providers.clone())?;
        let connector = Connector::new(providers, outbound, DnsCache::new(clock.clone()))?;
        Ok(Self { connector: Arc::new(connector), pool: Pool::default(), fingerprint, clock, meter })
    }

    /// The same client without the connections that it keeps, unless these providers are called in another way. A
    /// provider may have another policy now, and a connection holds what was decided when it was made.
    pub(super) fn with<'a>(
        &self,
        providers: impl Iterator<Item = &'a Provider> + Clone,
        outbound: &Outbound,
    ) -> Result<Self, SetupError> {
        if self.fingerprint == outbound.fingerprint(providers.clone())? {
            return Ok(Self { pool: Pool::default(), ..self.clone() });
        }
        Self::new(providers, outbound, self.clock.clone(), self.meter.clone())
    }

    /// GET over a new connection, which is not kept; what came of the response is in `received` after a failure, too.
    /// Without a provider the server may be anywhere, since the operator named it.
    ///
    /// # Errors
    /// Why the response is not whole; an I/O error of the kind `TimedOut` after `deadline`.
    pub(super) async fn get(
        &self,
        provider: Option<&Provider>,
        url: &Url,
        headers: HeaderMap,
        deadline: Instant,
        received: &mut Received,
    ) -> Result<(), NotConnected> {
        let mut connection = self.connector.connect(provider, url, false, deadline).await?;
        let mut request = bare(url, false)?;
        request.headers_mut().extend(headers);
        timeout_at(deadline, connection.exchange(request, received)).await.map_err(io::Error::from)??;
        Ok(())
    }

    /// What time it is here.
    pub(super) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Makes a call, and makes it once more if that is of use, harmless and in time. `idempotent`: carrying the request
    /// out twice does no damage.
    pub(super) async fn send<T>(
        &self,
        call: &Call<'_>,
        deadline: Instant,
        idempotent: bool,
        read: impl Fn(&Provider, &Response) -> Result<T, AttemptError>,
    ) -> Result<T, AttemptError> {
        let id = call.provider.id.as_str();
        // Others have somebody waiting before a page, or carry what works once.
        let is_refresh = call.name == REFRESH;
        let (turn, wait) = if is_refresh { (TURN, None) } else { (Duration::MAX, Some(WAIT)) };
        let (came, mut second) = (Instant::now(), false);
        loop {
            let places = call.provider.places();
            // Half of the time at most: what is left must be enough for the call itself.
            let patience = deadline.saturating_duration_since(Instant::now()) / 2;
            let Some(place) = places.enter(patience.min(turn), is_refresh).await else {
                tracing::debug!(
                    provider = id,
                    service = call.service,
                    call = call.name,
                    "too many calls to a provider are under way; this one was not made"
                );
                return Err(AttemptError::new(ProviderError::Crowded, Retry::Safe));
            };
            let begun = Instant::now();
            let answer = self.attempt(call, deadline, idempotent, &mut second).await;
            let outcome = match &answer {
                Ok(answer) => read(call.provider, answer).map_err(|fault| {
                    // With such a status it is an outage, however much of the page came.
                    let cut = answer.cut.filter(|_| answer.status < 500 && fault.retry != Retry::Otherwise);
                    AttemptError { status: Some(answer.status), ..cut.unwrap_or(fault) }
                }),
                Err(fault) => Err(*fault),
            };
            let word = outcome.as_ref().map_or_else(|fault| fault.failure.label(), |_| "ok");
            let took = begun.elapsed();
            self.meter.provider_called(id, word, took.as_secs_f64());
            place.leave(took, outcome.as_ref().err().map(|fault| fault.failure));
            let fault = match outcome {
                Ok(result) => {
                    if is_refresh {
                        places.took(came.elapsed());
                    }
                    return Ok(result);
                }
                Err(fault) => fault,
            };
            let remaining = deadline.saturating_duration_since(Instant::now());
            tracing::debug!(provider = id, failure = %fault.failure, second, "a call to a provider failed");
            let Some(delay) = fault.retry.delay(idempotent, remaining, wait).filter(|_| !second) else {
                let told = answer.iter().filter(|_| fault.retry != Retry::Otherwise);
                told.for_each(|answer| report(call, answer, fault.failure));
                return Err(fault);
            };
            second = true;
            if !is_refresh {
                sleep(delay).await;
            } else if timeout(delay, places.are_turned_away()).await.is_ok() {
                return Err(fault);
            }
        }
    }

    /// Over a kept connection where that is harmless. Where that one turns out to be gone before anything came, this
    /// makes the second attempt too.
    async fn attempt(
        &self,
        call: &Call<'_>,
        deadline: Instant,
        idempotent: bool,
        second: &mut bool,
    ) -> Result<Response, AttemptError> {
        let until = || if idempotent { deadline.min(Instant::now() + ATTEMPT) } else { deadline };
        if idempotent
            && !*second
            && let Some(kept) = self.pool.take(call.provider, call.url).await
        {
            match self.exchange(call, kept, until(), true).await {
                Err(Unanswered::Gone(error)) => {
                    let cause = innermost(&error).to_string();
                    tracing::debug!(provider = call.provider.id, cause, "a kept connection was gone");
                    *second = true;
                }
                Err(Unanswered::Failed(fault)) => return Err(fault),
                Ok(response) => return Ok(response),
            }
        }
        let until = until();
        // Large, and seldom needed: in a box it does not make every call large.
        let connection = Box::pin(self.connector.connect(Some(call.provider), call.url, idempotent, until)).await;
        let connection = connection.map_err(|error| {
            report::no_response(call, &innermost(&*error).to_string());
            let late = is_late(&*error);
            AttemptError::new(if late { ProviderError::TimedOut } else { ProviderError::Unreachable }, Retry::Safe)
        })?;
        let kept = Kept::new(connection, call.provider, call.url);
        if idempotent {
            self.pool.share(&kept);
        }
        self.exchange(call, kept, until, idempotent).await.map_err(|unanswered| match unanswered {
            Unanswered::Gone(error) => broken(call, &error),
            Unanswered::Failed(fault) => fault,
        })
    }

    /// One request over one connection, which is kept afterwards if it is whole and is to be.
    async fn exchange(
        &self,
        call: &Call<'_>,
        mut kept: Kept,
        until: Instant,
        keep: bool,
    ) -> Result<Response, Unanswered> {
        let request = request(call, kept.connection.is_shared()).map_err(|_| AttemptError::bad_answer())?;
        let mut received = Received::default();
        let outcome = timeout_at(until, kept.connection.exchange(request, &mut received)).await;
        let late = || {
            self.pool.forget(call.provider, call.url);
            AttemptError::new(ProviderError::TimedOut, Retry::IfIdempotent)
        };
        let Some((status, headers)) = received.head.take() else {
            return Err(match outcome {
                Ok(Err(error)) => Unanswered::Gone(error),
                _ => late().into(),
            });
        };
        let cut = match outcome {
            Ok(Ok(())) if received.too_long => {
                tracing::debug!(provider = call.provider.id, status, "the answer is too long");
                Some(AttemptError::bad_answer())
            }
            Ok(Ok(())) => {
                if keep {
                    self.pool.put(kept).await;
                }
                None
            }
            Ok(Err(error)) => Some(broken(call, &error)),
            Err(_) => Some(late()),
        };
        let location = headers.get(LOCATION).and_then(|place| call.url.join(place.to_str().ok()?).ok());
        Ok(Response {
            status,
            retry_after: retry_after(&headers, self.clock.now()),
            location,
            headers,
            body: received.text(),
            cut,
        })
    }
}

/// Why an exchange brought no response.
enum Unanswered {
    /// The connection broke before anything came back.
    Gone(hyper::Error),
    Failed(AttemptError),
}

impl From<AttemptError> for Unanswered {
    fn from(fault: AttemptError) -> Self {
        Self::Failed(fault)
    }
}

/// What a broken connection means: the request may have arrived.
fn broken(call: &Call<'_>, error: &hyper::Error) -> AttemptError {
    report::no_response(call, &innermost(error).to_string());
    AttemptError::new(ProviderError::Unreachable, Retry::IfIdempotent)
}

/// `Retry-After`, as far as it is believed.
fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    Some(net::retry_after(headers, now)?.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::super::ProviderSettings;
    use super::super::testing::{Reply, StubServer};
    use super::*;
    use hyper::header::RETRY_AFTER;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers, 784_111_777).map(|wait| wait.as_secs())
        };
        assert_eq!([read("0"), read(" 7 "), read("99999999999999999999")], [Some(0), Some(7), Some(86_400)]);
        assert_eq!(read("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:27 GMT"), Some(0));
        assert_eq!([read("-1"), read("soon"), read("")], [None; 3]);
    }

    fn http(outbound: &Outbound) -> HttpClient {
        HttpClient::new(std::iter::empty(), outbound, Clock::system(), Meter::default()).unwrap()
    }

    async fn get(http: &HttpClient, url: &Url) -> Result<(), NotConnected> {
        let provider = Provider::unchecked("p", ProviderSettings::default());
        let soon = Instant::now() + ATTEMPT;
        http.get(Some(&provider), url, HeaderMap::new(), soon, &mut Received::default()).await
    }

    #[tokio::test]
    async fn calls_go_through_a_proxy_that_looks_names_up_itself_and_not_to_this_machine() {
        let refused = || Reply::Http("502 Bad Gateway", String::new());
        let proxy = StubServer::with([refused(), refused()]).await;
        let near = StubServer::with([Reply::Http("200 OK", String::new())]).await;
        let outbound = Outbound { proxy: Some(proxy.url.replace("//", "//me:pass@").into()), ca_file: None };
        let http = http(&outbound);
        for url in ["https://authseal.invalid/token", "https://authseal.invalid:444/"] {
            assert!(get(&http, &Url::parse(url).unwrap()).await.is_err());
        }
        let seen = proxy.seen().iter().map(|asked| asked.to_lowercase()).collect::<Vec<_>>();
        assert!(seen[0].starts_with("connect authseal.invalid:443 http/1.1\r\n"), "{seen:?}");
        assert!(seen[0].contains("proxy-authorization: basic bwu6cgfzcw==\r\n"), "{seen:?}");
        assert!(seen[1].starts_with("connect authseal.invalid:444 "), "{seen:?}");
        assert!(get(&http, &Url::parse(&near.url).unwrap()).await.is_ok());
    }

    #[tokio::test]
    async fn a_name_that_leads_here_is_reached_only_where_the_url_says_so() {
        let stub = StubServer::with([Reply::Http("200 OK", String::new())]).await;
        let http = http(&Outbound::default());
        let url = |host: &str| Url::parse(&stub.url.replace("127.0.0.1", host)).unwrap();
        // Any other name that leads here, as the system's own for this machine may.
        let elsewhere = url("provider.example");
        http.connector.know("provider.example", "127.0.0.1:0".parse().unwrap());
        let refused = get(&http, &elsewhere).await.unwrap_err();
        assert_eq!(innermost(&*refused).to_string(), "the name has only private addresses");
        assert!(stub.seen().is_empty());
        assert!(get(&http, &url("localhost")).await.is_ok());
    }
}
