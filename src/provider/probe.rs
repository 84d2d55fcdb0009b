//! Connectivity probe for `check --online`: whether providers' hosts answer, with a certificate that is trusted; how
//! far their clocks are from ours; whether an issuer's discovery document can be used and fits what is configured; and
//! whether the token endpoint takes the client. No login is needed for it, and none is touched.

use super::connect::{innermost, is_late};
use super::connection::Received;
use super::metadata::Metadata;
use super::metadata_check::shortcomings;
use super::service::{Provider, Service, TokenUrl};
use super::{Flow, ProviderClient};
use crate::clock::UnixTime;
use futures_util::future::join_all;
use hyper::HeaderMap;
use hyper::header::DATE;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use thiserror::Error;
use tokio::time::Instant;
use url::Url;

/// What came of asking at one place.
#[derive(Debug)]
pub struct Probe {
    /// The provider's id.
    pub provider: String,
    /// `https://oauth2.example.com`, a token address, or the issuer whose discovery document was asked for.
    pub place: String,
    /// Whether backups fail without it. Otherwise only browsers go there, or it is for revoking.
    pub essential: bool,
    /// The time that the host told with its response, in seconds, less our own; `None` where it told none.
    pub outcome: Result<Option<i64>, ProbeError>,
}

/// Why a place is of no use as it is: the end of a sentence that begins with the place, with what to do.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum ProbeError {
    #[error(
        "has a certificate that is not trusted ({0}); if its authority is a private one, name that in ca_file; else is this \
        machine's clock right, and does nothing open TLS on the way?"
    )]
    Certificate(String),
    #[error("does not answer in time; may this machine go out to it, or is a firewall in the way?")]
    TimedOut,
    #[error("cannot be reached ({0}); is its name right, and may this machine go out to it?")]
    Unreachable(String),
    #[error("is another issuer than its discovery document names ({0}); write `issuer` exactly as that does")]
    OtherIssuer(String),
    #[error("gives no discovery document that can be used ({0}); is `issuer` right?")]
    NoDocument(String),
    #[error("{0}")]
    Document(String),
    #[error("{0}, and so is no token address; is it written as the provider has it, to the last slash?")]
    NoTokenEndpoint(String),
    #[error("refuses the client {0} (its secret sent as: {1}); is the secret right, and not too old?")]
    ClientRefused(String, String),
    #[error(
        "refuses the client {0} with what stands before number {1} in its `secrets`; take that out if it is an old one, or \
        wait until it is in force"
    )]
    EarlierSecretRefused(String, usize),
    #[error("takes the client's secret as `client_auth = \"{0}\"`; set that, or the first login after a start fails")]
    OtherAuth(&'static str),
}

impl ProviderClient {
    /// Asks at every host of every provider that is offered, all at once, until `deadline`. An issuer gets half of that
    /// time, so that there is some left for the hosts that it names. `redirect_uri` is the callback that is registered.
    pub async fn probe(&self, redirect_uri: &str, deadline: Instant) -> Vec<Probe> {
        let now = Instant::now();
        let half = now + deadline.saturating_duration_since(now) / 2;
        let offered = self.catalogue().served();
        let mut providers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        offered.for_each(|service| providers.entry(service.provider.id()).or_default().push(service));
        let probes =
            providers.into_values().map(|services| self.probe_provider(services, redirect_uri, half, deadline));
        join_all(probes).await.into_iter().flatten().collect()
    }

    async fn probe_provider(
        &self,
        services: Vec<&Arc<Service>>,
        redirect_uri: &str,
        half: Instant,
        deadline: Instant,
    ) -> Vec<Probe> {
        let Some(provider) = services.first().map(|service| &service.provider) else { return Vec::new() };
        let probe =
            |place: String, essential, outcome| Probe { provider: provider.id.clone(), place, essential, outcome };
        let mut probes = Vec::new();
        let metadata = match provider.issuer().and_then(|issuer| Some((issuer, Url::parse(issuer).ok()?))) {
            Some((issuer, url)) => {
                // The host itself, too: that tells why there is no document.
                let host = self.probe_host(provider, &url, half);
                let (host, metadata) = tokio::join!(host, self.discovery().metadata(provider, self.http(), half));
                let metadata = metadata.ok().flatten();
                let trouble = self.discovery().trouble(provider).await.filter(|_| metadata.is_none());
                let outcome = match (host, trouble) {
                    (host, None) if metadata.is_some() => host,
                    (Err(trouble), _) => Err(trouble),
                    (Ok(_), Some(trouble)) => Err(match trouble.other {
                        Some(other) => ProbeError::OtherIssuer(other),
                        None => ProbeError::NoDocument(trouble.why),
                    }),
                    (Ok(_), None) => Err(ProbeError::TimedOut),
                };
                probes.push(probe(issuer.to_owned(), provider.discovers(), outcome));
                let short = metadata.iter().flat_map(|metadata| shortcomings(&services, metadata));
                let of_document = |(fatal, text)| probe(issuer.to_owned(), fatal, Err(ProbeError::Document(text)));
                probes.extend(short.map(of_document));
                metadata
            }
            None => None,
        };
        let discovered = metadata.as_deref();
        let tokens: Vec<&Url> = match &provider.token {
            Some(TokenUrl::One(url)) => vec![url],
            Some(TokenUrl::Chosen(urls)) => urls.values().collect(),
            None => discovered.and_then(|metadata| metadata.token.as_ref()).into_iter().collect(),
        };
        let authorize = provider.authorize.as_ref().or(discovered.and_then(|metadata| metadata.authorize.as_ref()));
        let revoke = provider.revoke.as_ref().or(discovered.and_then(|metadata| metadata.revoke.as_ref()));
        let pushed = provider.pushed.as_ref().or(discovered.and_then(|metadata| metadata.pushed.as_ref()));
        let origin = |url: &Url| url.origin().ascii_serialization();
        let essential: BTreeSet<_> = tokens.iter().map(|url| origin(url)).collect();
        let hosts = tokens.iter().copied().chain(authorize).chain(revoke).chain(pushed);
        let hosts: BTreeMap<_, _> = hosts.map(|url| (origin(url), url)).collect();
        let hosts = hosts.into_iter().map(async |(place, url)| {
            let is_essential = essential.contains(&place);
            let outcome = self.probe_host(provider, url, deadline).await;
            probe(place, is_essential, outcome)
        });
        let hosts = join_all(hosts).await;
        let answers = |url: &Url| hosts.iter().any(|host| host.place == origin(url) && host.outcome.is_ok());
        let probed = match (provider.flow(), tokens.as_slice()) {
            (Flow::Code, [url]) if answers(url) => {
                self.probe_clients(&services, discovered, url, redirect_uri, deadline).await
            }
            _ => Vec::new(),
        };
        probes.extend(hosts);
        probes.extend(probed);
        probes
    }

    /// Asks a token address with each client that is sent there.
    async fn probe_clients(
        &self,
        services: &[&Arc<Service>],
        metadata: Option<&Metadata>,
        url: &Url,
        redirect_uri: &str,
        deadline: Instant,
    ) -> Vec<Probe> {
        let clients = services.iter().flat_map(|service| service.registrations().map(move |client| (service, client)));
        let clients: BTreeMap<_, _> =
            clients.map(|(service, client)| (&client.id, (&*service.provider, client))).collect();
        let probes = clients.into_values().map(async |client| {
            let (essential, trouble) = self.probe_client(client, metadata, url, redirect_uri, deadline).await?;
            let mut place = url.clone();
            place.set_query(None);
            Some(Probe { provider: client.0.id.clone(), place: place.to_string(), essential, outcome: Err(trouble) })
        });
        join_all(probes).await.into_iter().flatten().collect()
    }

    /// One request to the host of `url`, which may answer whatever it likes.
    async fn probe_host(&self, provider: &Provider, url: &Url, deadline: Instant) -> Result<Option<i64>, ProbeError> {
        let mut root = url.clone();
        root.set_path("/");
        root.set_query(None);
        let mut received = Received::default();
        let whole = self.http().get(Some(provider), &root, HeaderMap::new(), deadline, &mut received).await;
        let date = match (&received.head, whole) {
            (Some((_, headers)), _) => headers.get(DATE).and_then(|date| unix_time(date.to_str().ok()?)),
            (None, whole) => return whole.map(|()| None).map_err(|error| trouble(&*error)),
        };
        Ok(date.map(|date| date - self.http().now()))
    }
}

fn unix_time(date: &str) -> Option<UnixTime> {
    let since = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    since.as_secs().try_into().ok()
}

/// What kept a request from being answered.
fn trouble(error: &(dyn Error + 'static)) -> ProbeError {
    let cause = innermost(error);
    match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(why)) => ProbeError::Certificate(why.to_string()),
        _ if is_late(error) => ProbeError::TimedOut,
        _ => ProbeError::Unreachable(cause.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Availability;
    use super::super::testing::{Reply, StubServer, example};
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn whoever_hangs_costs_no_more_time_than_there_is() {
        let hanging = StubServer::with([Reply::Hang]).await;
        let settings =
            format!("authorize_url = \"{0}/a\"\ntoken_url = \"{0}/t\"\nsecret_required = false", hanging.url);
        let begun = Instant::now();
        let probes = example(&settings).0.probe("https://x.example/", begun + Duration::from_secs(9)).await;
        assert_eq!(probes.len(), 1, "one host, one question: {probes:?}");
        assert!(matches!(probes[0].outcome, Err(ProbeError::TimedOut)) && probes[0].essential, "{probes:?}");
        assert!(begun.elapsed() <= Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(hanging.seen().iter().all(|asked| asked.starts_with("GET / HTTP/1.1") && !asked.contains("id+1")));
    }

    #[tokio::test]
    async fn what_is_not_offered_is_not_asked() {
        let (providers, service) = example("gone = { reason = \"It ended.\" }");
        assert_ne!(service.availability(), Availability::Offered);
        assert!(providers.probe("https://x.example/", Instant::now() + Duration::from_secs(9)).await.is_empty());
    }

    /// What is wrong, by what `visit` says, with an issuer that answers `token` to a nonsense code.
    async fn troubles(document: &str, settings: &str, token: Vec<Reply>) -> Vec<(bool, String)> {
        let stub = StubServer::with_paths(|url| {
            let document = format!(
                r#"{{"issuer":"{url}","authorization_endpoint":"{url}/a","token_endpoint":"{url}/t"{document}}}"#
            );
            [
                ("GET / ", vec![Reply::Http("200 OK", String::new()); 3]),
                ("GET /.well-known", vec![Reply::Http("200 OK", document)]),
                ("POST /t", token),
            ]
        })
        .await;
        let (providers, _) = example(&format!("issuer = \"{}\"\n{settings}", stub.url));
        let probes = providers.probe("https://x.example/", Instant::now() + Duration::from_secs(9)).await;
        let troubles = probes.into_iter().filter_map(|probe| Some((probe.essential, probe.outcome.err()?.to_string())));
        troubles.collect()
    }

    #[tokio::test]
    async fn a_document_with_which_no_login_can_work_is_told() {
        let well = || vec![Reply::Http("400 Bad Request", r#"{"error":"invalid_grant"}"#.into())];
        let par = r#","require_pushed_authorization_requests":true"#;
        for (document, settings, fatal, says) in [
            (par.to_owned(), "", true, "give par_url"),
            (
                format!("{par},\"pushed_authorization_request_endpoint\":\"http://127.0.0.1:1/\""),
                "par = false",
                true,
                "leave",
            ),
            (r#","response_types_supported":["id_token","code id_token"]"#.into(), "", true, "`code`"),
            (r#","response_modes_supported":["form_post"]"#.into(), "", false, "form_post"),
            (r#","code_challenge_methods_supported":["plain"]"#.into(), "", false, "pkce = false"),
            (r#","grant_types_supported":["authorization_code"]"#.into(), "", false, "refresh_token"),
            (r#","grant_types_supported":["refresh_token"]"#.into(), "", false, "authorization_code"),
            (r#","scopes_supported":["openid"]"#.into(), "", false, "`files`"),
            (r#","token_endpoint_auth_methods_supported":["private_key_jwt"]"#.into(), "", true, "private_key_jwt"),
            (r#","token_endpoint_auth_methods_supported":["none"]"#.into(), "", true, "lists none"),
            (
                r#","token_endpoint_auth_methods_supported":["client_secret_post"]"#.into(),
                "client_auth = \"basic\"",
                false,
                "leave client_auth out",
            ),
        ] {
            let found = troubles(&document, settings, well()).await;
            assert!(
                found.iter().any(|(essential, text)| *essential == fatal && text.contains(says)),
                "{document}: {found:?}"
            );
        }
        let fine = r#","code_challenge_methods_supported":["plain","S256"],"response_types_supported":["code"],
            "grant_types_supported":["refresh_token","authorization_code"],"scopes_supported":["files"],
            "token_endpoint_auth_methods_supported":["client_secret_post"],"require_pushed_authorization_requests":false"#;
        assert_eq!(troubles(fine, "", well()).await, []);
        assert_eq!(troubles(fine, "pkce = false", well()).await, []);
    }

    #[tokio::test]
    async fn a_token_address_that_is_none_and_a_client_that_is_refused_are_told() {
        let http = |head: &'static str, body: &str| Reply::Http(head, body.to_owned());
        let refused = || http("401 Unauthorized", r#"{"error":"invalid_client"}"#);
        let grant = || http("400 Bad Request", r#"{"error":"invalid_grant"}"#);
        for (replies, says) in [
            (vec![http("404 Not Found", "<html>")], "HTTP 404"),
            (vec![http("301 Moved\r\nLocation: /t/?secret=1", "")], "/t/, and so is no token address"),
            (vec![http("200 OK", " <!doctype html>")], "answers with a page, HTTP 200"),
            (
                vec![refused(), refused(), refused()],
                "refuses the client id+1 (its secret sent as: basic, body, basic_raw)",
            ),
        ] {
            let found = troubles("", "", replies).await;
            assert!(matches!(found.as_slice(), [(true, text)] if text.contains(says)), "{says}: {found:?}");
        }
        let found = troubles("", "", vec![refused(), grant()]).await;
        assert!(matches!(found.as_slice(), [(false, text)] if text.contains("client_auth = \"body\"")), "{found:?}");
        let unauthorized = r#"{"error":"unauthorized_client"}"#;
        let odd = r#"{"error":"x"}"#;
        let bad = "400 Bad Request";
        let forbidden = "403 Forbidden";
        for (body, head) in [("", bad), ("{}", forbidden), (odd, bad), (unauthorized, forbidden)] {
            assert_eq!(troubles("", "", vec![http(head, body)]).await, [], "{head} {body}");
        }
    }

    #[tokio::test]
    async fn an_issuer_is_shown_as_it_is_written() {
        let stub = StubServer::with_paths(|_| {
            let other = r#"{"issuer":"https://Other.example","token_endpoint":"x"}"#.to_owned();
            [
                ("GET / ", vec![Reply::Http("200 OK", String::new()); 3]),
                ("GET /.well-known", vec![Reply::Http("200 OK", other)]),
                ("POST", vec![]),
            ]
        })
        .await;
        let (providers, _) = example(&format!("issuer = \"{}\"", stub.url));
        let probes = providers.probe("https://x.example/", Instant::now() + Duration::from_secs(9)).await;
        assert_eq!(probes[0].place, stub.url);
        let said = probes[0].outcome.as_ref().unwrap_err().to_string();
        assert!(said.contains("names (https://Other.example); write"), "{said}");
    }
}
