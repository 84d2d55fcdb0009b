//! Asks a token endpoint with a code that cannot be good, before anybody depends on it: the response tells whether the
//! URL is one, and whether the client's id and secret are taken. Most servers look at the client first, so only a
//! refusal of the client says something, and any other refusal of the request is well.

use super::call::{Call, Payload, Response, place};
use super::client_auth::{candidates, refuses_client};
use super::client_credentials::Choice;
use super::error::{AttemptError, ProviderError};
use super::metadata::Metadata;
use super::service::{Client, Provider};
use super::{ClientAuth, ProbeError, ProviderClient};
use tokio::time::Instant;
use url::Url;

/// As long as the shortest verifier (RFC 7636 section 4.1).
const NONSENSE: &str = "authseal-check-this-is-no-code-of-anybody-and-never-was";

enum Verdict {
    Well,
    ClientRefused,
    NoTokenEndpoint(String),
}

impl ProviderClient {
    /// What is wrong at a token address, and whether nothing works with it; `None`: nothing, as far as can be told.
    pub(super) async fn probe_client(
        &self,
        (provider, client): (&Provider, &Client),
        metadata: Option<&Metadata>,
        url: &Url,
        redirect_uri: &str,
        deadline: Instant,
    ) -> Option<(bool, ProbeError)> {
        // One good secret is enough: that is how a new one is put in place before the old one ends.
        let mut refused = None;
        for at in 0..client.secrets() {
            let one = client.with_secret(at);
            match self.probe_secret((provider, &one), metadata, url, redirect_uri, deadline).await {
                trouble @ Some((_, ProbeError::ClientRefused(..))) => refused = trouble,
                None if at > 0 => return Some((false, ProbeError::EarlierSecretRefused(client.id.clone(), at + 1))),
                other => return other,
            }
        }
        refused
    }

    async fn probe_secret(
        &self,
        (provider, client): (&Provider, &Client),
        metadata: Option<&Metadata>,
        url: &Url,
        redirect_uri: &str,
        deadline: Instant,
    ) -> Option<(bool, ProbeError)> {
        let ways = match (provider.settings.client_auth, &client.secret) {
            (Some(auth), Some(_)) => vec![auth],
            (_, None) => vec![ClientAuth::Body],
            (None, Some(_)) => candidates(client, metadata).0,
        };
        for (at, auth) in ways.iter().enumerate() {
            let mut fields =
                vec![("grant_type", "authorization_code"), ("code", NONSENSE), ("redirect_uri", redirect_uri)];
            fields.extend(provider.pkce().then_some(("code_verifier", NONSENSE)));
            let payload =
                Payload::Form(&fields, Some((client, Choice { auth: *auth, why: "each is tried", next: None })));
            let call = Call { provider, service: None, name: "check", url, payload };
            match self.http().send(&call, deadline, true, verdict).await {
                Ok(Verdict::ClientRefused) => {}
                Ok(Verdict::NoTokenEndpoint(what)) => return Some((true, ProbeError::NoTokenEndpoint(what))),
                Ok(Verdict::Well) if at > 0 => return Some((false, ProbeError::OtherAuth(auth.name()))),
                Ok(Verdict::Well) => return None,
                Err(AttemptError { failure: ProviderError::TimedOut, .. }) => {
                    return Some((true, ProbeError::TimedOut));
                }
                Err(_) => return None,
            }
        }
        let tried: Vec<_> = ways.into_iter().map(ClientAuth::name).collect();
        Some((true, ProbeError::ClientRefused(client.id.clone(), tried.join(", "))))
    }
}

fn verdict(provider: &Provider, answer: &Response) -> Result<Verdict, AttemptError> {
    let none = |what: String| Ok(Verdict::NoTokenEndpoint(what));
    let status = answer.status;
    match (status, &answer.location) {
        // By its code, or without one. Some servers call any client unauthorized whose code is no good.
        _ if refuses_client(provider, answer).is_some_and(|plain| plain || status == 401) => Ok(Verdict::ClientRefused),
        (300..400, Some(to)) => none(format!("is redirected to {}", place(to))),
        (300..400 | 404 | 405 | 410, _) => none(format!("answers with HTTP {status}")),
        _ if answer.body.trim_start().starts_with('<') => none(format!("answers with a page, HTTP {status}")),
        _ => Ok(Verdict::Well),
    }
}
