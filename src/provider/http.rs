//! The HTTP client for providers, with its limits: timeouts, size of a response, calls at a time, at most one retry.
//! Redirects (open redirection, RFC 9700 sections 4.11 and 4.12), proxies from the environment, cookies and
//! decompression are off: each would let somebody else decide where secrets go or how much memory a response takes.
//!
//! A call that may be retried is cut off early, so that there is time for a second attempt. One that may not, since
//! what it carries works once, gets all the time there is: its response is worth more than anybody's patience.
//!
//! Connections are not kept: a request on one that the provider has just closed may or may not have arrived, and for a
//! refresh token that works once that doubt costs the login. TLS sessions are resumed.

use super::call::{Call, Head, Payload, Response};
use super::client_credentials::with_client;
use super::dns::{CachedResolver, DnsCache};
use super::error::{AttemptError, ProviderError, Retry};
use super::outbound::{Outbound, SetupError, trusting};
use super::report::{self, report};
use super::service::Provider;
use crate::clock::{Clock, UnixTime};
use crate::meter::Meter;
use crate::net::names_loopback;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, redirect, retry};
use secrecy::ExposeSecret;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use url::Url;
use zeroize::Zeroizing;

/// TCP and TLS together. Names have been looked up before.
const CONNECT: Duration = Duration::from_secs(3);
/// One attempt of a call that may be repeated, from connecting to the response's last byte.
const ATTEMPT: Duration = Duration::from_secs(8);
/// A second attempt is made only with this much time left.
const SECOND_NEEDS: Duration = Duration::from_secs(6);
/// How long a refresh waits for its turn. With a longer queue, calls would be made for clients that have gone.
const TURN: Duration = Duration::from_secs(2);
/// The longest `Retry-After` that is waited for here; longer ones are the caller's.
const WAIT: Duration = Duration::from_secs(5);
/// How much of a response is read, in bytes: many times what the tokens take, as an ID token beside them may be long.
const MAX_BODY: usize = 256 * 1024;
/// The longest `Retry-After` that is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// Clones are the same clients.
#[derive(Clone)]
pub(super) struct HttpClient {
    clients: Clients,
    /// Those of providers that have authorities of their own, by provider.
    own: Arc<HashMap<String, Clients>>,
    proxy: Option<Url>,
    /// What they were made of.
    fingerprint: [u8; 32],
    names: DnsCache,
    clock: Clock,
    meter: Meter,
}

#[derive(Clone)]
struct Clients {
    /// Connects to public addresses only.
    public: reqwest::Client,
    /// Connects anywhere.
    anywhere: reqwest::Client,
}

impl HttpClient {
    pub(super) fn new<'a>(
        providers: impl Iterator<Item = &'a Provider> + Clone,
        outbound: &Outbound,
        clock: Clock,
        meter: Meter,
    ) -> Result<Self, SetupError> {
        let fingerprint = outbound.fingerprint(providers.clone())?;
        let names = DnsCache::new(clock.clone());
        let clients = |own: Option<&Path>| {
            let tls = trusting(outbound.ca_file.as_deref().into_iter().chain(own))?;
            let connecting = |public_only| {
                let names = CachedResolver { names: names.clone(), public_only };
                Self::builder(tls.clone(), outbound).dns_resolver(names).build()
            };
            Ok::<_, SetupError>(Clients { public: connecting(true)?, anywhere: connecting(false)? })
        };
        let own = providers.filter_map(Provider::own_authorities);
        let own = own.map(|(id, file)| Ok((id.to_owned(), clients(Some(file))?))).collect::<Result<_, SetupError>>()?;
        let proxy = outbound.proxy_url();
        Ok(Self { clients: clients(None)?, own: Arc::new(own), proxy, fingerprint, names, clock, meter })
    }

    /// The same clients, unless these providers are called in another way.
    pub(super) fn with<'a>(
        &self,
        providers: impl Iterator<Item = &'a Provider> + Clone,
        outbound: &Outbound,
    ) -> Result<Self, SetupError> {
        if self.fingerprint == outbound.fingerprint(providers.clone())? {
            return Ok(self.clone());
        }
        Self::new(providers, outbound, self.clock.clone(), self.meter.clone())
    }

    fn builder(tls: rustls::ClientConfig, outbound: &Outbound) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("authseal/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(0);
        match outbound.proxy_url() {
            Some(proxy) => {
                builder.proxy(reqwest::Proxy::custom(move |url| (!names_loopback(url)).then(|| proxy.clone())))
            }
            None => builder,
        }
    }

    /// A request to a provider, for when its name has been looked up.
    ///
    /// # Errors
    /// When the name cannot be looked up before `deadline`.
    pub(super) async fn prepare(
        &self,
        provider: &Provider,
        method: Method,
        url: &Url,
        deadline: Instant,
    ) -> Result<RequestBuilder, Arc<io::Error>> {
        // A proxy looks names up by itself; where it is, the operator said.
        let proxy = self.proxy.as_ref().filter(|_| !names_loopback(url));
        self.names.prepare(proxy.unwrap_or(url), deadline).await?;
        let anywhere = proxy.is_some() || provider.settings.allow_private_addresses || names_loopback(url);
        let clients = self.own.get(&provider.id).unwrap_or(&self.clients);
        let http = if anywhere { &clients.anywhere } else { &clients.public };
        Ok(http.request(method, url.clone()))
    }

    /// A request to a server that is no provider. It may be anywhere, since the operator named it.
    ///
    /// # Errors
    /// When the name cannot be looked up before `deadline`.
    pub(super) async fn elsewhere(&self, url: &Url, deadline: Instant) -> Result<RequestBuilder, Arc<io::Error>> {
        let proxy = self.proxy.as_ref().filter(|_| !names_loopback(url));
        self.names.prepare(proxy.unwrap_or(url), deadline).await?;
        Ok(self.clients.anywhere.get(url.clone()))
    }

    /// What time it is here.
    pub(super) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Makes a call, and makes it once more if that is of use, harmless and in time. `harmless`: carrying the request
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
        let turn = if call.name == "refresh" { TURN } else { Duration::MAX };
        let mut second = false;
        loop {
            // Half of the time at most: what is left must be enough for the call itself.
            let patience = deadline.saturating_duration_since(Instant::now()) / 2;
            let Ok(place) = timeout(patience.min(turn), call.provider.places.acquire()).await else {
                tracing::debug!(
                    provider = id,
                    service = call.service,
                    call = call.name,
                    "too many calls to a provider are under way; this one was not made"
                );
                return Err(AttemptError::new(ProviderError::Crowded, Retry::Safe));
            };
            let begun = Instant::now();
            let answer = self.attempt(call, deadline, idempotent).await;
            let outcome = match &answer {
                Ok(answer) => read(call.provider, answer).map_err(|fault| {
                    // With such a status it is an outage, however much of the page came.
                    let cut = answer.cut.filter(|_| answer.status < 500);
                    AttemptError { status: Some(answer.status), ..cut.unwrap_or(fault) }
                }),
                Err(fault) => Err(*fault),
            };
            let word = outcome.as_ref().map_or_else(|fault| fault.failure.label(), |_| "ok");
            self.meter.provider_called(id, word, begun.elapsed().as_secs_f64());
            let fault = match outcome {
                Ok(result) => return Ok(result),
                Err(fault) => fault,
            };
            let remaining = deadline.saturating_duration_since(Instant::now());
            tracing::debug!(provider = id, failure = %fault.failure, second, "a call to a provider failed");
            let Some(delay) = retry_delay(fault.retry, idempotent, remaining).filter(|_| !second) else {
                answer.iter().for_each(|answer| report(call, answer, fault.failure));
                return Err(fault);
            };
            second = true;
            drop(place);
            sleep(delay).await;
        }
    }

    async fn attempt(&self, call: &Call<'_>, deadline: Instant, idempotent: bool) -> Result<Response, AttemptError> {
        let failed = |error: reqwest::Error| classify(call, &error);
        let late = |_| AttemptError::new(ProviderError::TimedOut, Retry::IfIdempotent);
        let request = self.request(call, deadline).await?;
        let until = if idempotent { deadline.min(Instant::now() + ATTEMPT) } else { deadline };
        let mut response = timeout_at(until, request.send()).await.map_err(late)?.map_err(failed)?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), self.clock.now());
        let location = response.headers().get(LOCATION).and_then(|place| call.url.join(place.to_str().ok()?).ok());
        let head = Head::read(response.headers(), location.as_ref());
        let mut body = Zeroizing::new(Vec::with_capacity(MAX_BODY)); // never grows, so no copy is left behind
        let cut = loop {
            match timeout_at(until, response.chunk()).await.map_err(late).and_then(|chunk| chunk.map_err(failed)) {
                Ok(None) => break None,
                Ok(Some(chunk)) => {
                    let room = MAX_BODY - body.len();
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if chunk.len() > room {
                        tracing::debug!(provider = call.provider.id, status, "the answer is too long");
                        break Some(AttemptError::bad_answer());
                    }
                }
                Err(fault) => break Some(fault),
            }
        };
        let body = Zeroizing::new(String::from_utf8_lossy(&body).into_owned());
        Ok(Response { status, retry_after, location, head, body, cut })
    }

    async fn request(&self, call: &Call<'_>, deadline: Instant) -> Result<RequestBuilder, AttemptError> {
        let method = if matches!(call.payload, Payload::Nothing) { Method::GET } else { Method::POST };
        let request = self.prepare(call.provider, method, &call.url, deadline).await.map_err(|error| {
            report::no_response(call, &error.to_string());
            let timed_out = error.kind() == io::ErrorKind::TimedOut;
            AttemptError::new(if timed_out { ProviderError::TimedOut } else { ProviderError::Unreachable }, Retry::Safe)
        })?;
        let request = match &call.payload {
            Payload::Nothing => request,
            Payload::Bearer(token) => request.bearer_auth(token.expose_secret()),
            Payload::Form(fields, None) => request.form(fields),
            Payload::Form(fields, Some((client, choice))) => with_client(request, fields, client, choice.auth),
        };
        // Without the second header any coding would be welcome (RFC 9110 section 12.5.3).
        Ok(request.header(ACCEPT, "application/json").header(ACCEPT_ENCODING, "identity"))
    }
}

/// How long to wait before a second attempt, if there is to be one.
fn retry_delay(retry: Retry, idempotent: bool, remaining: Duration) -> Option<Duration> {
    let wait = match retry {
        Retry::Safe => Duration::ZERO,
        Retry::IfIdempotent if idempotent => Duration::ZERO,
        Retry::After(wait) if wait <= WAIT => wait,
        _ => return None,
    };
    // Servers that failed together must not come back together.
    let [jitter] = crate::seal::random().unwrap_or_default();
    let pause = wait + Duration::from_millis(100 + u64::from(jitter));
    (remaining >= pause + SECOND_NEEDS).then_some(pause)
}

/// What a broken connection means. Whether the request arrived is known only when there never was a connection.
fn classify(call: &Call<'_>, error: &reqwest::Error) -> AttemptError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    report::no_response(call, &cause.to_string());
    match () {
        () if error.is_connect() && error.is_timeout() => AttemptError::new(ProviderError::TimedOut, Retry::Safe),
        () if error.is_connect() => AttemptError::new(ProviderError::Unreachable, Retry::Safe),
        () if error.is_builder() => AttemptError::bad_answer(),
        () if error.is_timeout() => AttemptError::new(ProviderError::TimedOut, Retry::IfIdempotent),
        () => AttemptError::new(ProviderError::Unreachable, Retry::IfIdempotent),
    }
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date that is held against `now`.
fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let now = UNIX_EPOCH + Duration::from_secs(now.try_into().unwrap_or_default());
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::super::ProviderSettings;
    use super::super::testing::{Reply, StubServer};
    use super::*;

    #[test]
    fn a_second_attempt_is_made_only_if_it_is_harmless_and_in_time() {
        let second =
            |retry, idempotent, remaining| retry_delay(retry, idempotent, Duration::from_secs(remaining)).is_some();
        assert!(second(Retry::Safe, false, 12));
        assert!(second(Retry::IfIdempotent, true, 7));
        assert!(!second(Retry::IfIdempotent, false, 12));
        assert!(!second(Retry::IfIdempotent, true, 6));
        assert!(!second(Retry::Never, true, 12));
        let after = |seconds| Retry::After(Duration::from_secs(seconds));
        assert!(second(after(5), false, 12));
        assert!(!second(after(5), false, 11));
        assert!(!second(after(6), true, 20));
        assert!(retry_delay(after(5), true, Duration::from_secs(20)).unwrap() >= Duration::from_secs(5));
    }

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

    #[tokio::test]
    async fn calls_go_through_a_proxy_that_looks_names_up_itself_and_not_to_this_machine() {
        let refused = || Reply::Http("502 Bad Gateway", String::new());
        let proxy = StubServer::with([refused(), refused()]).await;
        let near = StubServer::with([Reply::Http("200 OK", String::new())]).await;
        let outbound = Outbound { proxy: Some(proxy.url.replace("//", "//me:pass@").into()), ca_file: None };
        let http = http(&outbound);
        let soon = Instant::now() + ATTEMPT;
        let provider = Provider::unchecked("p", ProviderSettings::default());
        for url in ["https://authseal.invalid/token", "https://authseal.invalid:444/"] {
            let request = http.prepare(&provider, Method::GET, &Url::parse(url).unwrap(), soon).await.unwrap();
            assert!(request.send().await.is_err());
        }
        let seen = proxy.seen().iter().map(|asked| asked.to_lowercase()).collect::<Vec<_>>();
        assert!(seen[0].starts_with("connect authseal.invalid:443 http/1.1\r\n"), "{seen:?}");
        assert!(seen[0].contains("proxy-authorization: basic bwu6cgfzcw==\r\n"), "{seen:?}");
        assert!(seen[1].starts_with("connect authseal.invalid:444 "), "{seen:?}");
        let request = http.prepare(&provider, Method::GET, &Url::parse(&near.url).unwrap(), soon).await.unwrap();
        assert!(request.send().await.is_ok());
    }

    #[tokio::test]
    async fn a_name_that_leads_here_is_reached_only_where_the_url_says_so() {
        let stub = StubServer::with([Reply::Http("200 OK", String::new())]).await;
        let http = http(&Outbound::default());
        let soon = Instant::now() + ATTEMPT;
        let url = Url::parse(&stub.url.replace("127.0.0.1", "localhost")).unwrap();
        let provider = Provider::unchecked("p", ProviderSettings::default());
        let request = http.prepare(&provider, Method::GET, &url, soon).await.unwrap();
        assert!(http.clients.public.get(url).send().await.unwrap_err().is_connect());
        assert!(stub.seen().is_empty());
        assert!(request.send().await.is_ok());
    }
}
