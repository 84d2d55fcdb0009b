//! OpenID Connect Discovery 1.0: endpoints by issuer. Asked for when first needed and remembered, so that a provider's
//! outage never stops a start. An old answer goes on serving while a new one is asked for, and for as long as none can
//! be had: only those who ask before the first answer wait for the issuer.

use super::address::names_loopback;
use super::answer::{self, Answer};
use super::failure::{Failure, Fault};
use super::json::Members;
use super::service::Provider;
use super::wire::{Call, Payload, Wire};
use super::{ClientAuth, endpoint};
use crate::clock::Clock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(3600);
/// How long a failure stands before the issuer is asked again. Without it, callers that waited for the same question
/// would ask it one after the other.
const RETRY: Duration = Duration::from_secs(5);
/// How long an issuer may take to renew an old answer, in which nobody else asks it.
const RENEWAL: Duration = Duration::from_secs(20);

/// What an issuer says of itself.
pub(super) struct Metadata {
    pub(super) authorize: Option<Url>,
    pub(super) token: Url,
    pub(super) revoke: Option<Url>,
    pub(super) client_auth: ClientAuth,
}

/// The issuers' answers, by provider. Lost on restart.
pub(super) struct Discovery {
    known: BTreeMap<String, Arc<Mutex<Known>>>,
    clock: Clock,
}

/// The lock is held while asking for the first time: others who need the answer wait for it. It is not while an old
/// answer is renewed.
#[derive(Default)]
struct Known {
    metadata: Option<Arc<Metadata>>,
    /// By the clock's uptime: when to ask again, and what the last question came to.
    ask_at: Duration,
    failure: Option<Failure>,
}

impl Discovery {
    pub(super) fn new<'a>(providers: impl Iterator<Item = &'a Provider>, clock: Clock) -> Self {
        let known = providers.filter(|provider| provider.discovers());
        Self { known: known.map(|provider| (provider.id.clone(), Arc::default())).collect(), clock }
    }

    /// What a provider's issuer says; `None` for one that needs no discovery.
    pub(super) async fn metadata(
        &self,
        provider: &Arc<Provider>,
        wire: &Wire,
        deadline: Instant,
    ) -> Result<Option<Arc<Metadata>>, Failure> {
        let Some(shared) = self.known.get(&provider.id) else { return Ok(None) };
        let Ok(mut known) = tokio::time::timeout_at(deadline, shared.lock()).await else {
            return Err(Failure::TimedOut);
        };
        if self.clock.uptime() >= known.ask_at {
            if known.metadata.is_some() {
                known.ask_at = self.clock.uptime() + RENEWAL;
                self.renew(Arc::clone(shared), Arc::clone(provider), wire.clone());
            } else {
                let asked = ask(provider, wire, deadline).await;
                known.learn(asked, self.clock.uptime());
            }
        }
        match (&known.metadata, known.failure) {
            (Some(metadata), _) => Ok(Some(Arc::clone(metadata))),
            (None, failure) => Err(failure.unwrap_or(Failure::Unreachable)),
        }
    }

    /// Asks again without anybody waiting for it.
    fn renew(&self, known: Arc<Mutex<Known>>, provider: Arc<Provider>, wire: Wire) {
        let clock = self.clock.clone();
        tokio::spawn(async move {
            let asked = ask(&provider, &wire, Instant::now() + RENEWAL).await;
            known.lock().await.learn(asked, clock.uptime());
        });
    }
}

impl Known {
    /// Takes in what a question came to. After a failure the old answer stays.
    fn learn(&mut self, asked: Result<Metadata, Failure>, now: Duration) {
        self.failure = asked.as_ref().err().copied();
        self.ask_at = now + if asked.is_ok() { FRESH } else { RETRY };
        self.metadata = asked.ok().map(Arc::new).or(self.metadata.take());
    }
}

async fn ask(provider: &Provider, wire: &Wire, deadline: Instant) -> Result<Metadata, Failure> {
    let issuer = provider.issuer().unwrap_or_default().trim_end_matches('/');
    let url = Url::parse(&format!("{issuer}/.well-known/openid-configuration")).map_err(|_| Failure::Operator)?;
    let call = Call { provider, service: None, name: "discovery", url, payload: Payload::Nothing };
    wire.perform(&call, deadline, true, read).await.map_err(|fault| fault.failure)
}

/// Section 4.3 there: a document that speaks for another issuer is not to be used.
fn read(provider: &Provider, answer: &Answer) -> Result<Metadata, Fault> {
    if answer.status != 200 {
        let fault = answer::error(provider, answer);
        // Codes of a token endpoint say nothing here, least of all that a login is dead.
        let of_token = matches!(fault.failure, Failure::Refused(_) | Failure::Operator | Failure::Unclear { .. });
        return Err(if of_token { Fault::bad_answer() } else { fault });
    }
    let document = Members::read(&answer.body).filter(|document| document.whole).ok_or_else(Fault::bad_answer)?;
    let issuer = document.text("issuer").ok_or_else(Fault::bad_answer)?;
    if Some(issuer.as_str()) != provider.issuer() {
        tracing::error!(
            provider = provider.id,
            "the discovery document names another issuer; write `issuer` exactly as it does"
        );
        return Err(Failure::Operator.into());
    }
    // Only an issuer on this machine may lead to other places on it.
    let local = provider.issuer().and_then(|issuer| Url::parse(issuer).ok()).is_some_and(|url| names_loopback(&url));
    let url = |name| {
        let Some(text) = document.text(name) else { return Ok(None) };
        let url = endpoint::read(&text, provider.facts.allow_private_addresses).ok();
        let url = url.filter(|url| local || !names_loopback(url));
        if url.is_none() {
            tracing::error!(
                provider = provider.id,
                "the discovery document names an endpoint that is neither https nor public"
            );
        }
        url.map(Some).ok_or_else(Fault::bad_answer)
    };
    Ok(Metadata {
        authorize: url("authorization_endpoint")?,
        token: url("token_endpoint")?.ok_or_else(Fault::bad_answer)?,
        revoke: url("revocation_endpoint")?,
        client_auth: client_auth(document.list("token_endpoint_auth_methods_supported").as_deref()),
    })
}

/// In the body if that is taken, as more servers do it right; the specification's default is Basic.
fn client_auth(methods: Option<&[String]>) -> ClientAuth {
    match methods {
        Some(methods) if methods.iter().any(|method| method == "client_secret_post") => ClientAuth::Body,
        _ => ClientAuth::Basic,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ProviderFacts;
    use super::super::stranger::{Reply, Stranger};
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
        let unchecked = Provider::unchecked("p", ProviderFacts::default());
        Arc::new(Provider { issuer: Some(issuer.to_owned()), ..unchecked })
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
        let stranger =
            Stranger::with_url(|url| vec![document(url, url), Reply::Close, Reply::Close, document(url, url)]).await;
        let provider = provider(&stranger.url);
        let (wire, discovery) = (
            Wire::new(clock.clone(), Meter::default()).unwrap(),
            Discovery::new([&*provider].into_iter(), clock.clone()),
        );
        let ask = async || discovery.metadata(&provider, &wire, soon()).await.map(Option::unwrap);
        for metadata in join_all((0..8).map(|_| ask())).await {
            assert_eq!(metadata.unwrap().token.as_str(), format!("{}/t", stranger.url));
        }
        assert_eq!(stranger.seen().len(), 1);
        assert!(stranger.seen()[0].starts_with("GET /.well-known/openid-configuration HTTP/1.1"));
        assert_eq!(ask().await.unwrap().client_auth, ClientAuth::Body);
        for (step, questions) in [(FRESH, 3), (RETRY, 4), (RETRY, 4), (FRESH, 6)] {
            clock.advance(step);
            assert!(ask().await.is_ok() && ask().await.is_ok());
            let_renew().await;
            assert!(ask().await.is_ok());
            assert_eq!(stranger.seen().len(), questions, "a question that fails has a second attempt");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_an_issuer_while_there_is_an_old_answer() {
        let clock = Clock::system();
        let moved = |url: &str| document(url, &format!("{url}/new"));
        let stranger = Stranger::with_url(|url| vec![document(url, url), Reply::Hang, moved(url)]).await;
        let provider = provider(&stranger.url);
        let (wire, discovery) = (
            Wire::new(clock.clone(), Meter::default()).unwrap(),
            Discovery::new([&*provider].into_iter(), clock.clone()),
        );
        let ask = async || discovery.metadata(&provider, &wire, soon()).await.unwrap().unwrap().token.path().to_owned();
        assert_eq!(ask().await, "/t");
        clock.advance(FRESH);
        let start = Instant::now();
        assert_eq!(join_all((0..8).map(|_| ask())).await, ["/t"; 8]);
        assert_eq!(start.elapsed(), Duration::ZERO);
        let_renew().await;
        assert_eq!((ask().await.as_str(), stranger.seen().len()), ("/new/t", 3));
    }

    #[tokio::test]
    async fn a_document_is_used_only_if_it_is_the_issuers_own_and_leads_to_safe_places() {
        let fails = async |document: fn(&str) -> Reply| {
            let stranger = Stranger::with_url(|url| vec![document(url)]).await;
            let provider = provider(&stranger.url);
            let clock = Clock::system();
            let discovery = Discovery::new([&*provider].into_iter(), clock.clone());
            discovery.metadata(&provider, &Wire::new(clock, Meter::default()).unwrap(), soon()).await.err()
        };
        assert_eq!(fails(|url| document(&format!("{url}/"), url)).await, Some(Failure::Operator));
        assert_eq!(fails(|url| document(url, "http://example.com")).await, Some(Failure::BadAnswer));
        assert_eq!(fails(|url| document(url, "https://10.0.0.1")).await, Some(Failure::BadAnswer));
        let refusal = |_: &str| Reply::Http("400 Bad Request", r#"{"error":"invalid_grant"}"#.into());
        assert_eq!(fails(refusal).await, Some(Failure::BadAnswer));
        assert_eq!(fails(|_| Reply::Http("200 OK", "<html>".into())).await, Some(Failure::BadAnswer));
    }

    #[test]
    fn a_public_issuer_cannot_lead_to_this_machine() {
        let issuer = "https://example.com";
        let Reply::Http(_, body) = document(issuer, "http://127.0.0.1:1") else { unreachable!() };
        let answer = Answer { status: 200, retry_after: None, head: Default::default(), body: body.into(), cut: None };
        assert_eq!(read(&provider(issuer), &answer).err(), Some(Fault::bad_answer()));
    }
}
