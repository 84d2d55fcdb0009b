//! The authorization request (RFC 6749 section 4.1.1): what it carries, and how it gets to the provider, in the
//! browser's URL or pushed beforehand (RFC 9126), so that the browser carries a reference alone.

use super::call::Response;
use super::client::{BUDGET, offered};
use super::client_auth::{Form, Repeatable};
use super::error::{AttemptError, ProviderError};
use super::json::Members;
use super::metadata::Metadata;
use super::service::{Client, Provider, Service};
use super::token_response;
use super::{Flow, ProviderClient};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::borrow::Cow;
use tokio::time::Instant;
use url::Url;

/// What an authorization request carries.
pub(super) struct Request<'a> {
    fields: Vec<(&'a str, Cow<'a, str>)>,
    /// The service's id, for the log.
    service: &'a str,
}

impl<'a> Request<'a> {
    pub(super) fn new(
        service: &'a Service,
        client: &'a Client,
        redirect_uri: &'a str,
        state: &'a str,
        challenge: Option<&'a str>,
    ) -> Self {
        let settings = &service.provider.settings;
        let mut fields: Vec<(&str, Cow<'_, str>)> = vec![
            ("response_type", "code".into()),
            ("client_id", client.id.as_str().into()),
            ("redirect_uri", redirect_uri.into()),
            ("state", state.into()),
        ];
        let sent = if settings.send_scope.unwrap_or(true) { service.scopes.as_slice() } else { &[] };
        if !sent.is_empty() {
            fields.push(("scope", service.joined_scopes().into()));
        }
        if let Some(challenge) = challenge {
            fields.push(("code_challenge", challenge.into()));
            fields.push(("code_challenge_method", "S256".into()));
        }
        let asks = |scope: &str| sent.iter().any(|sent| sent == scope);
        let unset = |name: &str| !settings.authorize_params.contains_key(name);
        // OpenID Connect Core 1.0 section 11: without it `offline_access` counts for nothing.
        if asks("offline_access") && settings.issuer.is_some() && unset("prompt") {
            fields.push(("prompt", "consent".into()));
        }
        // Some servers insist on one. No ID token is read here, so nothing is compared with it.
        if asks("openid") && unset("nonce") {
            let nonce: [u8; 16] = crate::seal::random().unwrap_or_default();
            fields.push(("nonce", BASE64_URL_SAFE_NO_PAD.encode(nonce).into()));
        }
        let given = settings.authorize_params.iter().filter(|(_, value)| !value.is_empty());
        fields.extend(given.map(|(name, value)| (name.as_str(), value.as_str().into())));
        Self { fields, service: service.id.as_str() }
    }
}

/// Where authorization requests are pushed to, if they are.
fn pushed_to<'a>(provider: &'a Provider, metadata: Option<&'a Metadata>) -> Result<Option<&'a Url>, ProviderError> {
    let required = provider.pushed.is_some() || metadata.is_some_and(|metadata| metadata.par_required);
    if !provider.settings.par.unwrap_or(required) {
        return Ok(None);
    }
    let place = provider.pushed.as_ref().or(metadata.and_then(|metadata| metadata.pushed.as_ref()));
    if place.is_none() {
        tracing::error!(
            provider = provider.id,
            "authorization requests are to be pushed, but there is no address for it; set providers.<id>.par_url"
        );
    }
    place.map(Some).ok_or(ProviderError::Misconfigured)
}

impl ProviderClient {
    /// Where to send a browser for consent (RFC 6749 section 4.1.1, RFC 7636 section 4.3). `challenge` is the S256 one.
    ///
    /// # Errors
    /// When the service is not offered or has no such flow, its endpoints cannot be discovered, or the request is to be
    /// pushed and the provider does not take it.
    pub async fn authorize_url(
        &self,
        service: &Service,
        redirect_uri: &str,
        state: &str,
        challenge: Option<&str>,
    ) -> Result<Url, ProviderError> {
        let (provider, client) = offered(service)?;
        let deadline = Instant::now() + BUDGET;
        let metadata = self.discovery().metadata(provider, self.http(), deadline).await?;
        let request = Request::new(service, client, redirect_uri, state, challenge);
        self.requested((provider, client), metadata.as_deref(), request, deadline).await
    }

    /// The URL that a browser takes to the provider.
    async fn requested(
        &self,
        (provider, client): (&Provider, &Client),
        metadata: Option<&Metadata>,
        request: Request<'_>,
        deadline: Instant,
    ) -> Result<Url, ProviderError> {
        let discovered = metadata.and_then(|metadata| metadata.authorize.as_ref());
        let url = provider.authorize.as_ref().or(discovered).filter(|_| provider.flow() == Flow::Code);
        let mut url = url.cloned().ok_or(ProviderError::NotOffered)?;
        let Some(place) = pushed_to(provider, metadata)? else {
            url.query_pairs_mut().extend_pairs(&request.fields);
            return Ok(url);
        };
        let Request { fields, service } = &request;
        let fields = fields.iter().map(|(name, value)| (*name, value.as_ref())).collect::<Vec<_>>();
        let repeatable = Repeatable::Yes;
        let name = "pushed request";
        let form =
            Form { service, name, provider, client, metadata, url: place, fields: &fields, deadline, repeatable };
        let reference = self.authenticated(form, reference).await.map_err(|fault| fault.failure)?;
        url.query_pairs_mut().append_pair("client_id", &client.id).append_pair("request_uri", &reference);
        Ok(url)
    }
}

/// Reads the response to a pushed request (RFC 9126 section 2.2).
fn reference(provider: &Provider, answer: &Response) -> Result<String, AttemptError> {
    let pushed = (200..300).contains(&answer.status).then(|| Members::read(&answer.body)?.string("request_uri"));
    match pushed {
        Some(reference) => reference.filter(|reference| !reference.is_empty()).ok_or_else(AttemptError::bad_answer),
        None => {
            let fault = token_response::error(provider, answer);
            tracing::warn!(
                provider = provider.id,
                status = answer.status,
                "the provider did not take the pushed authorization request"
            );
            // No login is there yet that could be dead.
            Err(if matches!(fault.failure, ProviderError::Refused(_)) {
                ProviderError::Misconfigured.into()
            } else {
                fault
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Reply, StubServer, example_asking};
    use super::*;
    use std::collections::BTreeMap;

    async fn asked(settings: &str, scopes: &[&str], replies: Vec<Reply>) -> (Result<Url, ProviderError>, StubServer) {
        let stub = StubServer::with(replies).await;
        let settings = settings.replace("AT", &stub.url);
        let settings = format!("authorize_url = \"{0}/a?keep=1\"\ntoken_url = \"{0}/t\"\n{settings}", stub.url);
        let (providers, service) = example_asking(&settings, scopes);
        (providers.authorize_url(&service, "https://x.example/logged-in", "s t", Some("ch")).await, stub)
    }

    async fn query(settings: &str, scopes: &[&str]) -> BTreeMap<String, String> {
        let url = asked(settings, scopes, Vec::new()).await.0.unwrap();
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    #[tokio::test]
    async fn consent_is_asked_for_with_offline_access_and_a_nonce_is_sent_with_openid() {
        let issuer = "issuer = \"AT\"";
        let query_of = async |settings, scopes: &[&str]| query(settings, scopes).await;
        let full = query_of(issuer, &["openid", "offline_access"]).await;
        assert_eq!(full["prompt"], "consent");
        assert_eq!(full["nonce"].len(), 22);
        assert_ne!(full["nonce"], query_of(issuer, &["openid"]).await["nonce"]);
        assert!(!query_of(issuer, &["openid"]).await.contains_key("prompt"));
        assert!(!query_of(issuer, &["offline_access"]).await.contains_key("nonce"));
        assert!(!query_of("", &["offline_access"]).await.contains_key("prompt"));
        let own = format!("{issuer}\nauthorize_params = {{ prompt = \"login\", nonce = \"\" }}");
        let own = query(&own, &["openid", "offline_access"]).await;
        assert_eq!((own["prompt"].as_str(), own.contains_key("nonce")), ("login", false));
        let silent = query(&format!("{issuer}\nsend_scope = false"), &["openid", "offline_access"]).await;
        assert!(!silent.contains_key("prompt") && !silent.contains_key("nonce"));
        assert_eq!(query("scope_separator = \",\"", &["a", "b"]).await["scope"], "a,b");
    }

    #[tokio::test]
    async fn a_request_is_pushed_and_the_browser_carries_its_reference_alone() {
        let created = || Reply::Http("201 Created", r#"{"request_uri":"urn:x:1&2","expires_in":60}"#.into());
        for (auth, id) in [("body", true), ("basic", false)] {
            let settings =
                format!("par_url = \"AT/par\"\nclient_auth = \"{auth}\"\nauthorize_params = {{ a = \"b\" }}");
            let (url, stub) = asked(&settings, &["files"], vec![created()]).await;
            assert_eq!(url.unwrap().query(), Some("keep=1&client_id=id%2B1&request_uri=urn%3Ax%3A1%262"));
            let body = &stub.bodies()[0];
            let sent = "response_type=code&client_id=id%2B1&redirect_uri=https%3A%2F%2Fx.example%2Flogged-in&state=s+t\
                &scope=files&code_challenge=ch&code_challenge_method=S256&a=b";
            assert!(stub.seen()[0].starts_with("POST /par ") && body.starts_with(sent), "{body}");
            assert_eq!((body.contains("&client_secret="), body.matches("client_id=").count()), (id, 1));
        }
        let off = asked("par_url = \"AT/par\"\npar = false", &["files"], Vec::new()).await.0.unwrap();
        assert!(off.as_str().contains("redirect_uri="));
    }

    #[tokio::test]
    async fn a_document_that_requires_pushed_requests_is_followed() {
        for (required, pushed) in [("true", true), ("false", false)] {
            let stub = StubServer::with_url(|url| {
                let document = format!(
                    r#"{{"issuer":"{url}","authorization_endpoint":"{url}/a","token_endpoint":"{url}/t",
                        "pushed_authorization_request_endpoint":"{url}/par",
                        "require_pushed_authorization_requests":{required}}}"#
                );
                vec![Reply::Http("200 OK", document), Reply::Http("201 Created", r#"{"request_uri":"urn:x"}"#.into())]
            })
            .await;
            let (providers, service) = example_asking(&format!("issuer = \"{}\"", stub.url), &["files"]);
            let url = providers.authorize_url(&service, "https://x.example/", "s", None).await.unwrap();
            assert_eq!(url.query() == Some("client_id=id%2B1&request_uri=urn%3Ax"), pushed, "{url}");
        }
    }

    #[tokio::test]
    async fn a_pushed_request_that_is_not_taken_is_told() {
        let error = |code: &str| Reply::Http("400 Bad Request", format!(r#"{{"error":"{code}"}}"#));
        for (replies, failure) in [
            (vec![error("invalid_grant")], ProviderError::Misconfigured),
            (vec![error("invalid_client"), error("invalid_client")], ProviderError::Misconfigured),
            (vec![Reply::Http("201 Created", r#"{"request_uri":""}"#.into())], ProviderError::BadAnswer),
            (vec![Reply::Http("200 OK", "<html>".into())], ProviderError::BadAnswer),
            (vec![Reply::Http("429 No", String::new())], ProviderError::Busy { retry_after: None }),
        ] {
            assert_eq!(asked("par_url = \"AT/par\"", &["files"], replies).await.0.err(), Some(failure));
        }
        let (url, stub) =
            asked("issuer = \"AT\"\npar = true", &["files"], vec![Reply::Http("200 OK", "{}".into())]).await;
        assert_eq!(
            (url.err(), stub.seen().len()),
            (Some(ProviderError::Misconfigured), 1),
            "there is no address for it"
        );
    }
}
