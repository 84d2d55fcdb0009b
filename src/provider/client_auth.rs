//! Client authentication (RFC 6749 section 2.3) where `client_auth` does not say which: found out. The methods that
//! come into question are those that the discovery document lists; the first is used until the provider refuses the
//! client, then the next one. What a login found out serves all refreshes.
//!
//! A code is never sent a second time: some servers spend it although they refuse the client. What was found out is
//! kept in the process, by provider and client, and is bounded by these.

use super::ClientAuth;
use super::call::Response;
use super::client_credentials::{Choice, is_plain};
use super::json::Members;
use super::metadata::Metadata;
use super::service::{Client, Provider};
use crate::authid::AppId;
use secrecy::ExposeSecret;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;
use url::Url;

/// What is known of how clients show their secrets.
#[derive(Default)]
pub(super) struct ClientAuths {
    known: Mutex<HashMap<AppId, Known>>,
    /// Of clients with several secrets: which one is sent, and how many refusals there were since one was taken.
    secrets: Mutex<HashMap<AppId, (usize, usize)>>,
}

#[derive(Clone, Copy)]
struct Known {
    auth: ClientAuth,
    worked: bool,
}

/// Whether a request may be made again after the client was refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeatable {
    /// It does no harm, even if the request was carried out.
    Yes,
    /// Only if the provider says that it refused the client, and so looked at nothing else.
    Unspent,
    No,
}

/// A form for a provider, with the client's credentials.
pub(super) struct Form<'a> {
    pub(super) service: &'a str,
    /// What it is for, in a word for the log.
    pub(super) name: &'static str,
    pub(super) provider: &'a Provider,
    pub(super) client: &'a Client,
    pub(super) metadata: Option<&'a Metadata>,
    pub(super) url: &'a Url,
    pub(super) fields: &'a [(&'a str, &'a str)],
    pub(super) deadline: Instant,
    pub(super) repeatable: Repeatable,
}

/// Whether a response refuses the client; `Some(true)`: by its code (RFC 6749 section 5.2), `Some(false)`: as it seems.
pub(super) fn refuses_client(provider: &Provider, answer: &Response) -> Option<bool> {
    if !(400..500).contains(&answer.status) {
        return None;
    }
    let code = Members::read(&answer.body).and_then(|members| members.string("error"));
    match (answer.status, code.map(|code| code.trim().to_ascii_lowercase()).as_deref()) {
        // The operator knows better.
        (_, Some(code)) if provider.settings.errors.contains_key(code) => None,
        (_, Some("invalid_client")) => Some(true),
        (401, None) | (401 | 403, Some("unauthorized_client")) => Some(false),
        _ => None,
    }
}

impl ClientAuths {
    /// The way to take now.
    pub(super) fn choose(&self, provider: &Provider, client: &Client, metadata: Option<&Metadata>) -> Choice {
        if client.secret.is_none() {
            return Choice { auth: ClientAuth::Body, why: "the client has no secret", next: None };
        }
        if let Some(auth) = provider.settings.client_auth {
            return Choice { auth, why: "client_auth says so", next: None };
        }
        let (ways, why) = candidates(client, metadata);
        let known = self.lock().get(&client.app).copied().filter(|known| ways.contains(&known.auth));
        let (auth, why) = match known {
            Some(Known { auth, worked: true }) => (auth, "it worked before"),
            Some(Known { auth, worked: false }) => (auth, "another way was refused"),
            None => (ways[0], why),
        };
        let at = ways.iter().position(|way| *way == auth).unwrap_or_default();
        Choice { auth, why, next: Some(ways[(at + 1) % ways.len()]).filter(|next| *next != auth) }
    }

    pub(super) fn worked(&self, provider: &Provider, client: &Client, auth: ClientAuth) {
        let before = self.lock().insert(client.app, Known { auth, worked: true });
        if before.is_some_and(|before| !before.worked) {
            tracing::info!(
                provider = provider.id,
                client_auth = auth.name(),
                "the provider takes the client's secret in this way; client_auth keeps it over a restart"
            );
        }
    }

    pub(super) fn refused(&self, provider: &Provider, client: &Client, choice: Choice) {
        tracing::warn!(
            provider = provider.id,
            client_auth = choice.auth.name(),
            why = choice.why,
            next = choice.next.map_or("none", ClientAuth::name),
            "the provider refused the client: its secret is wrong, or is to be sent in another way, see client_auth"
        );
        if let Some(auth) = choice.next {
            let mut known = self.lock();
            let known = known.entry(client.app).or_insert(Known { auth: choice.auth, worked: false });
            // Somebody else may have found out more meanwhile.
            if known.auth == choice.auth {
                *known = Known { auth, worked: false };
            }
        }
    }

    /// Leaves a way that was taken since another one was refused, and has not worked since.
    pub(super) fn pass_over(&self, client: &Client, choice: Choice) {
        let mut known = self.lock();
        let tried = known.get_mut(&client.app).filter(|known| known.auth == choice.auth && !known.worked);
        if let (Some(known), Some(auth)) = (tried, choice.next) {
            known.auth = auth;
        }
    }

    /// The number of the secret to send now.
    pub(super) fn secret(&self, client: &Client) -> usize {
        self.lock_secrets().get(&client.app).map_or(0, |(at, _)| *at)
    }

    pub(super) fn secret_worked(&self, provider: &Provider, client: &Client, at: usize) {
        let before = self.lock_secrets().insert(client.app, (at, 0));
        if before.is_none_or(|(before, misses)| before != at || misses > 0) {
            let (provider, client, number) = (&provider.id, &client.id, at + 1);
            tracing::info!(provider, client, number, "the provider takes this secret of the client's, by its number");
        }
    }

    /// Moves on from a secret that was refused. Returns whether each was by now, so that it may be the way.
    pub(super) fn secret_refused(&self, provider: &Provider, client: &Client, at: usize) -> bool {
        let count = client.secrets();
        let mut secrets = self.lock_secrets();
        let (now, misses) = secrets.entry(client.app).or_default();
        // Somebody else may have found out more meanwhile.
        let is_news = *now == at;
        if is_news {
            (*now, *misses) = ((at + 1) % count, *misses + 1);
        }
        let all = is_news && *misses % count == 0;
        drop(secrets);
        if !all {
            let (provider, client, number) = (&provider.id, &client.id, at + 1);
            tracing::warn!(
                provider,
                client,
                number,
                "the provider refused a secret of the client; the next one is tried"
            );
        }
        all
    }

    fn lock_secrets(&self) -> MutexGuard<'_, HashMap<AppId, (usize, usize)>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AppId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ways that come into question, at least one, and why the first is taken.
pub(super) fn candidates(client: &Client, metadata: Option<&Metadata>) -> (Vec<ClientAuth>, &'static str) {
    let methods = metadata.and_then(|metadata| metadata.auth_methods.as_deref());
    let lists = |method: &str| methods.is_some_and(|methods| methods.iter().any(|listed| listed == method));
    // Both: in the body, as more servers do it right.
    let (ways, why): (&[_], _) = match (lists("client_secret_post"), lists("client_secret_basic")) {
        (true, true) => (&[ClientAuth::Body, ClientAuth::Basic], "the discovery document lists it"),
        (true, false) => (&[ClientAuth::Body], "the discovery document lists it alone"),
        (false, true) => (&[ClientAuth::Basic], "the discovery document lists it alone"),
        // OpenID Connect Discovery 1.0 section 3.
        (false, false) if metadata.is_some() => {
            (&[ClientAuth::Basic, ClientAuth::Body], "the discovery document lists none, and this is the default then")
        }
        (false, false) => (&[ClientAuth::Body, ClientAuth::Basic], "nothing says otherwise"),
    };
    let same = is_plain(&client.id) && client.secret.as_ref().is_none_or(|secret| is_plain(secret.expose_secret()));
    let mut ways = ways.to_vec();
    if !same && ways.contains(&ClientAuth::Basic) {
        ways.push(ClientAuth::BasicRaw);
    }
    (ways, why)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Reply, StubServer, example};
    use super::super::{ProviderClient, ProviderError, RefreshError, Service};
    use std::time::Duration;

    fn ok() -> Reply {
        Reply::Http("200 OK", r#"{"access_token":"at","expires_in":3600,"refresh_token":"next"}"#.into())
    }

    fn refused() -> Reply {
        Reply::Http("400 Bad Request", r#"{"error":"invalid_client","error_description":"no"}"#.into())
    }

    fn dead() -> Reply {
        Reply::Http("401 Unauthorized", r#"{"error":"invalid_grant"}"#.into())
    }

    async fn refresh(providers: &ProviderClient, service: &Service) -> Result<(), RefreshError> {
        providers.refresh(service, None, &"r".into(), Duration::from_secs(20)).await.map(|_| ())
    }

    async fn redeem(providers: &ProviderClient, service: &Service) -> bool {
        providers.redeem(service, &"c".into(), "https://x.example/", None, &[]).await.is_ok()
    }

    /// How the secret was sent, request by request.
    fn ways(stub: &StubServer) -> String {
        let seen = stub.seen();
        let posts = seen.iter().filter(|request| request.starts_with("POST /"));
        let ways = posts.map(|request| match request.to_lowercase() {
            // id%2B1:se%26cret
            asked if asked.contains("authorization: basic awqlmkixonnljti2y3jlda==") => "basic",
            // id+1:se&cret
            asked if asked.contains("authorization: basic awqrmtpzzszjcmv0") => "raw",
            asked if asked.contains("client_secret=se%26cret") && !asked.contains("authorization:") => "body",
            _ => "?",
        });
        ways.collect::<Vec<_>>().join(" ")
    }

    fn by_urls(stub: &StubServer, more: &str) -> (ProviderClient, std::sync::Arc<Service>) {
        example(&format!("authorize_url = \"{0}/a\"\ntoken_url = \"{0}/t\"\n{more}", stub.url))
    }

    #[tokio::test]
    async fn what_is_refused_at_one_login_is_sent_otherwise_at_the_next_and_kept() {
        let bare = || Reply::Http("401 Unauthorized", String::new());
        for no in [refused, bare] {
            let stub = StubServer::with([no(), no(), ok(), ok(), ok()]).await;
            let (providers, service) = by_urls(&stub, "rotation = \"single_use\"");
            assert!(!redeem(&providers, &service).await && !redeem(&providers, &service).await);
            assert!(redeem(&providers, &service).await && redeem(&providers, &service).await);
            assert!(refresh(&providers, &service).await.is_ok());
            assert_eq!(ways(&stub), "body basic raw raw raw", "a code is sent once");
        }
        // Other refusals say nothing of the client.
        let stub = StubServer::with([dead(), ok()]).await;
        let (providers, service) = by_urls(&stub, "");
        assert!(!redeem(&providers, &service).await && redeem(&providers, &service).await);
        assert_eq!(ways(&stub), "body body");
    }

    #[tokio::test]
    async fn a_refresh_is_sent_in_the_other_way_at_once_where_nothing_was_spent() {
        let bare = || Reply::Http("401 Unauthorized", "no".into());
        for (rotation, reply, seen) in [
            ("none", refused(), "body basic"),
            ("rolling", bare(), "body basic"),
            ("single_use", refused(), "body basic"),
            ("single_use", bare(), "body"),
            ("rolling", dead(), "body"),
        ] {
            let stub = StubServer::with([reply, ok()]).await;
            let (providers, service) = by_urls(&stub, &format!("rotation = \"{rotation}\""));
            assert_eq!(refresh(&providers, &service).await.is_ok(), seen == "body basic", "{rotation}");
            assert_eq!(ways(&stub), seen, "{rotation}");
        }
        let stub = StubServer::with([refused(), refused(), ok()]).await;
        let (providers, service) = by_urls(&stub, "");
        assert_eq!(
            refresh(&providers, &service).await.err().map(|failed| failed.failure),
            Some(ProviderError::Misconfigured)
        );
        assert!(refresh(&providers, &service).await.is_ok());
        assert_eq!(ways(&stub), "body basic raw", "twice at most");
    }

    #[tokio::test]
    async fn a_refusal_that_passes_does_not_leave_a_way_that_never_worked() {
        let odd = || Reply::Http("400 Bad Request", r#"{"error":"invalid_request"}"#.into());
        let stub = StubServer::with([ok(), refused(), odd(), odd(), ok(), ok()]).await;
        let (providers, service) = by_urls(&stub, "");
        assert!(refresh(&providers, &service).await.is_ok());
        for _ in 0..2 {
            assert!(refresh(&providers, &service).await.is_err());
        }
        assert!(refresh(&providers, &service).await.is_ok() && refresh(&providers, &service).await.is_ok());
        assert_eq!(ways(&stub), "body body basic raw body body");
    }

    #[tokio::test]
    async fn what_is_configured_or_listed_alone_is_what_is_sent() {
        for (auth, seen) in [("body", "body body"), ("basic", "basic basic"), ("basic_raw", "raw raw")] {
            let stub = StubServer::with([refused(), refused(), ok()]).await;
            let (providers, service) = by_urls(&stub, &format!("client_auth = \"{auth}\""));
            for _ in 0..2 {
                assert!(refresh(&providers, &service).await.is_err());
            }
            assert_eq!(ways(&stub), seen);
        }
        for (methods, seen) in [
            (r#"["client_secret_post","client_secret_basic"]"#, "body basic"),
            (r#"["client_secret_basic","private_key_jwt","client_secret_post"]"#, "body basic"),
            (r#"["client_secret_post"]"#, "body"),
            (r#"["client_secret_basic"]"#, "basic raw"),
            (r#"["private_key_jwt"]"#, "basic body"),
            ("7", "basic body"),
        ] {
            let stub = StubServer::with_url(|url| {
                let document = format!(
                    r#"{{"issuer":"{url}","authorization_endpoint":"{url}/a","token_endpoint":"{url}/t",
                        "token_endpoint_auth_methods_supported":{methods}}}"#
                );
                vec![Reply::Http("200 OK", document), refused(), refused()]
            })
            .await;
            let (providers, service) = example(&format!("issuer = \"{}\"", stub.url));
            assert!(refresh(&providers, &service).await.is_err());
            assert_eq!(ways(&stub), seen, "{methods}");
        }
    }

    #[tokio::test]
    async fn an_operator_who_gave_the_code_a_meaning_is_believed() {
        let stub = StubServer::with([refused(), ok()]).await;
        let (providers, service) = by_urls(&stub, "errors = { invalid_client = \"login_again\" }");
        assert!(refresh(&providers, &service).await.is_err());
        assert_eq!(ways(&stub), "body");
    }
}
