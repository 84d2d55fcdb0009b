//! OpenID Connect Discovery 1.0, or else RFC 8414: endpoints by issuer. Asked for when first needed and remembered, so
//! that a provider's outage never stops a start. An old response keeps serving while a new one is asked for, and for as
//! long as none can be had: only those who ask before the first response wait for the issuer.
//!
//! What is in a document is left to [`metadata`](super::metadata). A provider whose addresses are all configured does
//! without one.

use super::call::{Call, Payload, Response};
use super::error::{AttemptError, ProviderError};
use super::http::HttpClient;
use super::metadata::{Found, Metadata, Wrong, read};
use super::service::Provider;
use crate::clock::Clock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

/// How long a response is good.
const FRESH: Duration = Duration::from_secs(3600);
/// How long a failure stands before the issuer is asked again. Without it, callers that waited for the same question
/// would ask it one after the other.
const RETRY: Duration = Duration::from_secs(5);
/// How long an issuer may take to renew an old response, in which nobody else asks it.
const RENEWAL: Duration = Duration::from_secs(20);
/// How long somebody waits for an issuer where all addresses are known without it.
const EXTRA: Duration = Duration::from_secs(4);
/// How many redirects are followed.
const REDIRECTS: usize = 3;
/// Why there is no document that can be used.
#[derive(Clone)]
pub(super) struct Unusable {
    pub(super) failure: ProviderError,
    /// For the operator: what is wrong with it.
    pub(super) why: String,
    /// The issuer that it names, where that is another one.
    pub(super) other: Option<String>,
}

/// The issuers' answers, by provider. Lost on restart.
pub(super) struct Discovery {
    known: BTreeMap<String, Arc<Mutex<CachedMetadata>>>,
    clock: Clock,
}

/// The lock is held while asking for the first time: others who need the response wait for it. It is not while an old
/// answer is renewed.
#[derive(Default)]
struct CachedMetadata {
    metadata: Option<Arc<Metadata>>,
    /// By the clock's uptime: when to ask again, and what the last question came to.
    ask_at: Duration,
    trouble: Option<Unusable>,
}

impl Discovery {
    pub(super) fn new<'a>(providers: impl Iterator<Item = &'a Provider>, clock: Clock) -> Self {
        let known = providers.filter(|provider| provider.issuer.is_some());
        Self { known: known.map(|provider| (provider.id.clone(), Arc::default())).collect(), clock }
    }

    /// The same for these providers. What is known stays for those that are as they were among `before`.
    pub(super) fn with<'a>(
        &self,
        providers: impl Iterator<Item = &'a Provider> + Clone,
        before: impl Iterator<Item = &'a Provider>,
    ) -> Self {
        let before: BTreeMap<_, _> = before.map(|provider| (provider.id(), provider)).collect();
        let mut new = Self::new(providers.clone(), self.clock.clone());
        let is_same = |provider: &&Provider| before.get(provider.id()).is_some_and(|old| old.is_same_as(provider));
        let known = |provider: &Provider| Some((provider.id.clone(), self.known.get(provider.id())?.clone()));
        new.known.extend(providers.filter(is_same).filter_map(known));
        new
    }

    /// What a provider's issuer says; `None` for one that needs no discovery, and has no issuer or none that answers.
    pub(super) async fn metadata(
        &self,
        provider: &Arc<Provider>,
        http: &HttpClient,
        deadline: Instant,
    ) -> Result<Option<Arc<Metadata>>, ProviderError> {
        let Some(shared) = self.known.get(&provider.id) else { return Ok(None) };
        let needed = provider.discovers();
        let deadline = if needed { deadline } else { deadline.min(Instant::now() + EXTRA) };
        let Ok(mut known) = tokio::time::timeout_at(deadline, shared.lock()).await else {
            return if needed { Err(ProviderError::TimedOut) } else { Ok(None) };
        };
        if self.clock.uptime() >= known.ask_at {
            if known.metadata.is_some() || (!needed && known.trouble.is_some()) {
                known.ask_at = self.clock.uptime() + RENEWAL;
                self.renew(shared.clone(), provider.clone(), http.clone());
            } else {
                // In a box, or every call is as large as two.
                known.update(Box::pin(ask(provider, http, deadline)).await, self.clock.uptime());
            }
        }
        match (&known.metadata, &known.trouble) {
            (Some(metadata), _) => Ok(Some(Arc::clone(metadata))),
            (None, _) if !needed => Ok(None),
            (None, trouble) => Err(trouble.as_ref().map_or(ProviderError::Unreachable, |trouble| trouble.failure)),
        }
    }

    /// What the last question to a provider's issuer came to, if that was of no use.
    pub(super) async fn trouble(&self, provider: &Provider) -> Option<Unusable> {
        self.known.get(&provider.id)?.lock().await.trouble.clone()
    }

    /// Asks again without anybody waiting for it.
    fn renew(&self, known: Arc<Mutex<CachedMetadata>>, provider: Arc<Provider>, http: HttpClient) {
        let clock = self.clock.clone();
        tokio::spawn(async move {
            let asked = ask(&provider, &http, Instant::now() + RENEWAL).await;
            known.lock().await.update(asked, clock.uptime());
        });
    }
}

impl CachedMetadata {
    /// Takes in what a question came to. After a failure the old response stays; who asks for a pause gets a minute.
    fn update(&mut self, asked: Result<Metadata, Unusable>, now: Duration) {
        let pause = |trouble: &Unusable| trouble.failure.passes_after().unwrap_or_default().clamp(RETRY, 12 * RETRY);
        self.ask_at = now + asked.as_ref().map_or_else(pause, |_| FRESH);
        match asked {
            Ok(metadata) => (self.metadata, self.trouble) = (Some(Arc::new(metadata)), None),
            Err(trouble) => self.trouble = Some(trouble),
        }
    }
}

/// Redirects within the same scheme, host and port are followed: the request carries no secret.
async fn ask(provider: &Provider, http: &HttpClient, deadline: Instant) -> Result<Metadata, Unusable> {
    let unusable = |failure, why: String| Unusable { failure, why, other: None };
    let no_url = || unusable(ProviderError::Misconfigured, "its address is no URL".to_owned());
    let (mut url, mut other) = places(provider.issuer().unwrap_or_default()).ok_or_else(no_url)?;
    let mut redirects = 0;
    while redirects <= REDIRECTS {
        let wrong = Wrong::default();
        let call = Call { provider, service: None, name: "discovery", url: &url, payload: Payload::Nothing };
        let may_be_absent = other.is_some();
        let read = |provider: &Provider, answer: &Response| match answer.status {
            404 if may_be_absent => Ok(Found::Nothing),
            _ => read(provider, answer, &wrong),
        };
        match http.send(&call, deadline, true, read).await {
            Ok(Found::Document(metadata)) => return Ok(*metadata),
            Ok(Found::Nothing) => url = other.take().unwrap_or(url),
            Ok(Found::Elsewhere(place)) if place.origin() == url.origin() => {
                (url, redirects) = (place, redirects + 1);
            }
            Ok(Found::Elsewhere(place)) => {
                let why = format!("it is redirected to another place, {}", place.origin().ascii_serialization());
                tracing::warn!(provider = provider.id, why, "the discovery document cannot be used");
                return Err(unusable(ProviderError::BadAnswer, why));
            }
            Err(AttemptError { failure, .. }) => {
                let Wrong { why, other } = wrong;
                if let (Some(why), None) = (why.get(), other.get()) {
                    tracing::warn!(provider = provider.id, why, "the discovery document cannot be used");
                }
                let why = why.into_inner().unwrap_or_else(|| failure.to_string());
                return Err(Unusable { failure, why, other: other.into_inner() });
            }
        }
    }
    let why = "it is redirected too often";
    tracing::warn!(provider = provider.id, why, "the discovery document cannot be used");
    Err(unusable(ProviderError::BadAnswer, why.to_owned()))
}

/// Where an issuer's document is: OpenID Connect Discovery 1.0 section 4, and RFC 8414 section 3 for those that have
/// none there.
fn places(issuer: &str) -> Option<(Url, Option<Url>)> {
    let issuer = issuer.trim_end_matches('/');
    let openid = Url::parse(&format!("{issuer}/.well-known/openid-configuration")).ok()?;
    let mut oauth = Url::parse(issuer).ok()?;
    let path = format!("/.well-known/oauth-authorization-server{}", oauth.path().trim_end_matches('/'));
    oauth.set_path(&path);
    Some((openid, Some(oauth)))
}

#[cfg(test)]
mod tests {
    use super::super::ProviderSettings;
    use super::super::outbound::Outbound;
    use super::super::testing::{Reply, StubServer, example};
    use super::*;
    use crate::meter::Meter;
    use futures_util::future::join_all;

    fn document(issuer: &str, base: &str) -> Reply {
        let body = format!(
            r#"{{"issuer":"{issuer}","authorization_endpoint":"{base}/a","token_endpoint":"{base}/t",
                "token_endpoint_auth_methods_supported":["private_key_jwt","client_secret_post"],"jwks_uri":"x"}}"#
        );
        Reply::Http("200 OK", body)
    }

    fn provider(issuer: &str) -> Arc<Provider> {
        let unchecked = Provider::unchecked("p", ProviderSettings::default());
        Arc::new(Provider { issuer: Some(issuer.to_owned()), ..unchecked })
    }

    fn http(clock: &Clock) -> HttpClient {
        HttpClient::new(std::iter::empty(), &Outbound::default(), clock.clone(), Meter::default()).unwrap()
    }

    /// What is learnt of a provider from the answers of its issuer.
    async fn learnt(settings: &str, replies: impl FnOnce(&str) -> Vec<Reply>) -> Result<Arc<Metadata>, Unusable> {
        let stub = StubServer::with_url(replies).await;
        let settings = settings.replace("AT", &stub.url);
        let (providers, service) = example(&format!("issuer = \"{}/\"\n{settings}", stub.url));
        let provider = &service.provider;
        match providers.discovery().metadata(provider, providers.http(), soon()).await {
            Ok(Some(metadata)) => Ok(metadata),
            _ => Err(providers.discovery().trouble(provider).await.unwrap()),
        }
    }

    #[tokio::test]
    async fn what_is_not_needed_spoils_no_document() {
        let whole = |url: &str, more: &str| {
            let body = format!(
                "\u{feff}{{\"issuer\":\"x\",\"issuer\":\"{url}\",\"authorization_endpoint\":\"{url}/a\",\"token_endpoint\":\"{url}/t\",{more}}}"
            );
            vec![Reply::Http("200 OK", body)]
        };
        let odd = [
            r#""revocation_endpoint":"""#,
            r#""revocation_endpoint":"/revoke""#,
            r#""revocation_endpoint":["x"]"#,
            r#""revocation_endpoint":"http://example.com/revoke""#,
            r#""pushed_authorization_request_endpoint":"x""#,
            r#""token_endpoint_auth_methods_supported":"client_secret_post""#,
            r#""scopes_supported":7,"grant_types_supported":null,"require_pushed_authorization_requests":"yes""#,
            &format!(r#""x":"{}""#, "x".repeat(200_000)),
        ];
        for more in odd {
            let learnt = learnt("", |url| whole(url, more)).await.ok().unwrap();
            assert!(learnt.token.is_some() && learnt.revoke.is_none() && !learnt.par_required, "{more}");
        }
        let given = "token_url = \"AT/given\"";
        let odd = |url: &str| vec![Reply::Http("200 OK", format!(r#"{{"issuer":"{url}","token_endpoint":"/t"}}"#))];
        assert!(learnt(given, odd).await.is_ok());
        assert_eq!(learnt("", odd).await.err().unwrap().why, "its token_endpoint is neither https nor public");
    }

    #[tokio::test]
    async fn redirects_are_followed_on_the_same_host_alone_and_not_for_ever() {
        let to =
            |place: String| Reply::Http(format!("301 Moved Permanently\r\nLocation: {place}").leak(), String::new());
        let there = |url: &str, times| {
            let mut replies = vec![to("/.well-known/openid-configuration/".to_owned()); times];
            replies.push(document(url, url));
            replies
        };
        assert!(learnt("", |url| there(url, 1)).await.is_ok());
        assert!(learnt("", |url| there(url, REDIRECTS)).await.is_ok());
        let often = learnt("", |url| there(url, REDIRECTS + 1)).await.err().unwrap();
        assert_eq!(often.why, "it is redirected too often");
        for place in ["http://127.0.0.1:1/", "https://example.com/x", "//example.com/"] {
            let elsewhere = learnt("", |url| vec![to(place.to_owned()), document(url, url)]).await.err().unwrap();
            assert!(elsewhere.why.starts_with("it is redirected to another place"), "{}", elsewhere.why);
        }
    }

    #[tokio::test]
    async fn an_issuer_without_openid_connect_is_asked_for_the_document_of_rfc_8414() {
        let absent = || Reply::Http("404 Not Found", "<html>".into());
        for (path, place) in [("", ""), ("/tenant/a/", "/tenant/a")] {
            let stub = StubServer::with_url(|url| vec![absent(), document(&format!("{url}{path}"), url)]).await;
            let (providers, service) = example(&format!("issuer = \"{}{path}\"", stub.url));
            let metadata = providers.discovery().metadata(&service.provider, providers.http(), soon()).await;
            assert!(metadata.is_ok_and(|metadata| metadata.is_some()));
            let asked = format!("GET /.well-known/oauth-authorization-server{place} HTTP/1.1");
            assert!(stub.seen()[1].starts_with(&asked), "{:?}", stub.seen());
        }
        let neither = learnt("", |_| vec![absent(), absent()]).await.err().unwrap();
        assert_eq!(neither.why, "HTTP 404");
        // Another failure is none of its absence.
        let refused = learnt("", |url| vec![Reply::Http("403 Forbidden", String::new()), document(url, url)]).await;
        assert_eq!(refused.err().unwrap().why, "HTTP 403");
    }

    #[tokio::test]
    async fn what_is_configured_goes_before_what_is_discovered_and_does_without() {
        let settings = "authorize_url = \"AT/given\"\ntoken_url = \"AT/given\"";
        let stub = StubServer::with_url(|url| {
            let revoke = format!(r#"{{"issuer":"{url}","revocation_endpoint":"{url}/r","token_endpoint":"{url}/t"}}"#);
            vec![Reply::Http("200 OK", revoke), Reply::Http("200 OK", String::new())]
        })
        .await;
        let settings = format!("issuer = \"{}\"\n{}", stub.url, settings.replace("AT", &stub.url));
        let (providers, service) = example(&settings);
        let url = providers.authorize_url(&service, "https://x.example/", "s", None).await.unwrap();
        assert_eq!(url.path(), "/given");
        providers.revoke(&service, None, &"r".into()).await.unwrap();
        assert!(stub.seen()[1].starts_with("POST /r "), "{:?}", stub.seen());
        // Nobody answers any more.
        let gone = StubServer::with([Reply::Close, Reply::Close]).await;
        let (providers, service) = example(&settings.replace(&stub.url, &gone.url));
        assert!(providers.authorize_url(&service, "https://x.example/", "s", None).await.is_ok());
    }

    #[tokio::test]
    async fn an_issuer_is_told_as_it_was_written_and_as_its_document_says() {
        let other = learnt("", |url| vec![document("https://Other.example/x", url)]).await.err().unwrap();
        assert_eq!(
            (other.failure, other.other.as_deref()),
            (ProviderError::Misconfigured, Some("https://Other.example/x"))
        );
        for end in ["", "/"] {
            assert!(learnt("", |url| vec![document(&format!("{url}{end}"), url)]).await.is_ok());
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    /// Longer than a renewal takes. Time is paused in these tests: it passes when all have done what they can.
    async fn let_renew() {
        tokio::time::sleep(RENEWAL * 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_is_asked_once_an_hour_and_its_old_answer_outlives_its_outages() {
        let clock = Clock::system();
        let stub =
            StubServer::with_url(|url| vec![document(url, url), Reply::Close, Reply::Close, document(url, url)]).await;
        let provider = provider(&stub.url);
        let http = http(&clock);
        let discovery = Discovery::new([&*provider].into_iter(), clock.clone());
        let ask = async || discovery.metadata(&provider, &http, soon()).await.map(Option::unwrap);
        for metadata in join_all((0..8).map(|_| ask())).await {
            assert_eq!(metadata.unwrap().token.as_ref().unwrap().as_str(), format!("{}/t", stub.url));
        }
        assert_eq!(stub.seen().len(), 1);
        assert!(stub.seen()[0].starts_with("GET /.well-known/openid-configuration HTTP/1.1"));
        for (step, questions) in [(FRESH, 3), (RETRY, 4), (RETRY, 4), (FRESH, 6)] {
            clock.advance(step);
            assert!(ask().await.is_ok() && ask().await.is_ok());
            let_renew().await;
            assert!(ask().await.is_ok());
            assert_eq!(stub.seen().len(), questions, "a question that fails has a second attempt");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_asks_for_a_pause_gets_it() {
        let clock = Clock::system();
        let busy = || Reply::Http("503 Busy\r\nRetry-After: 30", String::new());
        let stub = StubServer::with_url(|url| vec![busy(), document(url, url)]).await;
        let (provider, http) = (provider(&stub.url), http(&clock));
        let discovery = Discovery::new([&*provider].into_iter(), clock.clone());
        for (passed, questions) in [(0, 1), (29, 1), (1, 2)] {
            clock.advance(Duration::from_secs(passed));
            assert_eq!(discovery.metadata(&provider, &http, soon()).await.is_ok(), questions == 2);
            assert_eq!(stub.seen().len(), questions);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_an_issuer_while_there_is_an_old_answer() {
        let clock = Clock::system();
        let moved = |url: &str| document(url, &format!("{url}/new"));
        let stub = StubServer::with_url(|url| vec![document(url, url), Reply::Hang, moved(url)]).await;
        let provider = provider(&stub.url);
        let http = http(&clock);
        let discovery = Discovery::new([&*provider].into_iter(), clock.clone());
        let ask = async || {
            discovery
                .metadata(&provider, &http, soon())
                .await
                .unwrap()
                .unwrap()
                .token
                .as_ref()
                .unwrap()
                .path()
                .to_owned()
        };
        assert_eq!(ask().await, "/t");
        clock.advance(FRESH);
        let start = Instant::now();
        assert_eq!(join_all((0..8).map(|_| ask())).await, ["/t"; 8]);
        assert_eq!(start.elapsed(), Duration::ZERO);
        let_renew().await;
        assert_eq!((ask().await.as_str(), stub.seen().len()), ("/new/t", 3));
    }

    #[tokio::test]
    async fn a_document_is_used_only_if_it_is_the_issuers_own_and_leads_to_safe_places() {
        let fails = async |document: fn(&str) -> Reply| {
            let stub = StubServer::with_url(|url| vec![document(url)]).await;
            let provider = provider(&stub.url);
            let clock = Clock::system();
            let discovery = Discovery::new([&*provider].into_iter(), clock.clone());
            let failed = discovery.metadata(&provider, &http(&clock), soon()).await.err();
            failed.zip(discovery.trouble(&provider).await.map(|trouble| trouble.why))
        };
        let fails = async |document| fails(document).await.unwrap();
        let bad = |why: &str| (ProviderError::BadAnswer, why.to_owned());
        assert_eq!(fails(|url| document(&format!("{url}/x"), url)).await.0, ProviderError::Misconfigured);
        let unsafe_place = bad("its token_endpoint is neither https nor public");
        assert_eq!(fails(|url| document(url, "http://example.com")).await, unsafe_place);
        assert_eq!(fails(|url| document(url, "https://10.0.0.1")).await, unsafe_place);
        let refusal = |_: &str| Reply::Http("400 Bad Request", r#"{"error":"invalid_grant"}"#.into());
        assert_eq!(fails(refusal).await, bad("HTTP 400"));
        assert_eq!(fails(|_| Reply::Http("200 OK", "<html>".into())).await, bad("it is no JSON object, or too long"));
    }

    #[test]
    fn a_public_issuer_cannot_lead_to_this_machine() {
        let issuer = "https://example.com";
        let Reply::Http(_, body) = document(issuer, "http://127.0.0.1:1") else { unreachable!() };
        let answer = Response {
            status: 200,
            retry_after: None,
            location: None,
            headers: Default::default(),
            body: body.into(),
            cut: None,
        };
        assert_eq!(read(&provider(issuer), &answer, &Wrong::default()).err(), Some(AttemptError::bad_answer()));
    }
}
