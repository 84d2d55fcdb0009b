//! What can be asked of providers without credentials, before anybody depends on them: whether their hosts answer, with
//! a certificate that is trusted, what time it is there, and whether an issuer's discovery document can be used. Nothing
//! is sent but `GET /` and the request for that document.

use super::failure::Failure;
use super::service::{Provider, TokenUrl};
use super::{Availability, Providers};
use crate::clock::UnixTime;
use futures_util::future::join_all;
use reqwest::Method;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use url::Url;

/// What came of asking at one place.
#[derive(Debug)]
pub struct Visit {
    /// The provider's id.
    pub provider: String,
    /// `https://oauth2.example.com`, or the issuer whose discovery document was asked for.
    pub place: String,
    /// Whether backups fail without it. Otherwise only browsers go there, or it is for revoking.
    pub essential: bool,
    /// The time that the host told with its answer, in seconds, less our own; `None` where it told none.
    pub outcome: Result<Option<i64>, Trouble>,
}

/// Why a place is of no use as it is: the end of a sentence that begins with the place, with what to do.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum Trouble {
    #[error(
        "has a certificate that is not trusted ({0}); is this machine's clock right, and does nothing open TLS on the way?"
    )]
    Certificate(String),
    #[error("does not answer in time; may this machine go out to it, or is a firewall in the way?")]
    TimedOut,
    #[error("cannot be reached ({0}); is its name right, and may this machine go out to it?")]
    Unreachable(String),
    #[error("is another issuer than its discovery document names; write `issuer` exactly as that does")]
    OtherIssuer,
    #[error("gives no discovery document that can be used ({0}); is `issuer` right?")]
    NoDocument(Failure),
}

impl Providers {
    /// Asks at every host of every provider that is offered, all at once, until `deadline`. An issuer gets half of that
    /// time, so that there is some left for the hosts that it names.
    pub async fn visit(&self, deadline: Instant) -> Vec<Visit> {
        let now = Instant::now();
        let half = now + deadline.saturating_duration_since(now) / 2;
        let offered = self.catalogue().all().filter(|service| service.availability() == Availability::Offered);
        let providers: BTreeMap<_, _> = offered.map(|service| (service.provider.id(), &service.provider)).collect();
        let visits = providers.into_values().map(|provider| self.visit_one(provider, half, deadline));
        join_all(visits).await.into_iter().flatten().collect()
    }

    async fn visit_one(&self, provider: &Arc<Provider>, half: Instant, deadline: Instant) -> Vec<Visit> {
        let visit =
            |place: String, essential, outcome| Visit { provider: provider.id.clone(), place, essential, outcome };
        let mut visits = Vec::new();
        let metadata = match provider.issuer().and_then(|issuer| Url::parse(issuer).ok()) {
            Some(issuer) if provider.discovers() => {
                // The host itself, too: that tells why there is no document.
                let host = self.knock(provider, &issuer, half);
                let (host, metadata) = tokio::join!(host, self.discovery().metadata(provider, self.wire(), half));
                let (outcome, metadata) = match (host, metadata) {
                    (Err(trouble), Err(_)) => (Err(trouble), None),
                    (_, Err(Failure::Operator)) => (Err(Trouble::OtherIssuer), None),
                    (_, Err(failure)) => (Err(Trouble::NoDocument(failure)), None),
                    (host, Ok(metadata)) => (host, metadata),
                };
                visits.push(visit(issuer.to_string(), true, outcome));
                metadata
            }
            _ => None,
        };
        let discovered = metadata.as_ref();
        let tokens: Vec<&Url> = match &provider.token {
            Some(TokenUrl::One(url)) => vec![url],
            Some(TokenUrl::Chosen(urls)) => urls.values().collect(),
            None => discovered.map(|metadata| &metadata.token).into_iter().collect(),
        };
        let authorize = provider.authorize.as_ref().or(discovered.and_then(|metadata| metadata.authorize.as_ref()));
        let revoke = provider.revoke.as_ref().or(discovered.and_then(|metadata| metadata.revoke.as_ref()));
        let origin = |url: &Url| url.origin().ascii_serialization();
        let essential: BTreeSet<_> = tokens.iter().map(|url| origin(url)).collect();
        let hosts = tokens.into_iter().chain(authorize).chain(revoke);
        let hosts: BTreeMap<_, _> = hosts.map(|url| (origin(url), url)).collect();
        let hosts = hosts.into_iter().map(async |(place, url)| {
            let (is_essential, outcome) = (essential.contains(&place), self.knock(provider, url, deadline).await);
            visit(place, is_essential, outcome)
        });
        visits.extend(join_all(hosts).await);
        visits
    }

    /// One request to the host of `url`, which may answer whatever it likes.
    async fn knock(&self, provider: &Provider, url: &Url, deadline: Instant) -> Result<Option<i64>, Trouble> {
        let mut root = url.clone();
        root.set_path("/");
        root.set_query(None);
        let request = self.wire().prepare(provider, Method::GET, &root, deadline).await.map_err(unresolved)?;
        let answer = timeout_at(deadline, request.send()).await.map_err(|_| Trouble::TimedOut)?;
        let answer = answer.map_err(|error| trouble(&error))?;
        let date = answer.headers().get(reqwest::header::DATE).and_then(|date| unix_time(date.to_str().ok()?));
        Ok(date.map(|date| date - self.wire().now()))
    }
}

fn unix_time(date: &str) -> Option<UnixTime> {
    let since = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    since.as_secs().try_into().ok()
}

fn unresolved(error: Arc<io::Error>) -> Trouble {
    match error.kind() {
        io::ErrorKind::TimedOut => Trouble::TimedOut,
        _ => Trouble::Unreachable(error.to_string()),
    }
}

/// What kept a request from being answered, by the innermost cause: the system's or the TLS library's sentence.
fn trouble(error: &reqwest::Error) -> Trouble {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(inner) = deeper(cause) {
        cause = inner;
    }
    match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(why)) => Trouble::Certificate(why.to_string()),
        _ if error.is_timeout() => Trouble::TimedOut,
        _ => Trouble::Unreachable(cause.to_string()),
    }
}

/// An I/O error gives as its source not the error that it wraps, but that one's source.
fn deeper<'e>(cause: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => cause.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::stranger::{Reply, Stranger, example};
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn whoever_hangs_costs_no_more_time_than_there_is() {
        let hanging = Stranger::with([Reply::Hang]).await;
        let facts = format!("authorize_url = \"{0}/a\"\ntoken_url = \"{0}/t\"\nsecret_required = false", hanging.url);
        let begun = Instant::now();
        let visits = example(&facts).0.visit(begun + Duration::from_secs(9)).await;
        assert_eq!(visits.len(), 1, "one host, one question: {visits:?}");
        assert!(matches!(visits[0].outcome, Err(Trouble::TimedOut)) && visits[0].essential, "{visits:?}");
        assert!(begun.elapsed() <= Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(hanging.seen().iter().all(|asked| asked.starts_with("GET / HTTP/1.1") && !asked.contains("id+1")));
    }

    #[tokio::test]
    async fn what_is_not_offered_is_not_asked() {
        let (providers, service) = example("gone = { reason = \"It ended.\" }");
        assert_ne!(service.availability(), Availability::Offered);
        assert!(providers.visit(Instant::now() + Duration::from_secs(9)).await.is_empty());
    }
}
