//! The OAuth client: token requests for a code, a login token and a refresh token (RFC 6749 sections 4.1.3, 4.3.2 and
//! 6), and revocation (RFC 7009). What differs between providers is read from their settings; how the client's
//! credentials and the HTTP request are sent is left to `client_auth` and `http`.

use super::call::{Call, Payload};
use super::client_auth::{ClientAuths, Form, Repeatable};
use super::connect::is_late;
use super::connection::Received;
use super::discovery::Discovery;
use super::error::{AttemptError, ProviderError, RefreshError, Retry};
use super::http::HttpClient;
use super::login_token::LoginToken;
use super::outbound::{Outbound, SetupError};
use super::rotation_check::RotationCheck;
use super::service::{Client, Provider, Service, TokenUrl};
use super::token_response::{self, TokenResponse};
use super::{Availability, Catalogue, RevokeStyle};
use crate::clock::Clock;
use crate::meter::Meter;
use hyper::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

/// How long a call takes at most that is given no budget of its own.
pub(super) const BUDGET: Duration = Duration::from_secs(20);
/// How long the response to a code or a pasted token is waited for: both work once, so what comes later is lost with
/// them. A user waits for the page; common proxies give up after 60 s.
const CODE_BUDGET: Duration = Duration::from_secs(55);
/// Names of calls; others are at their only use.
const LOGIN: &str = "login";
const REVOCATION: &str = "revocation";

/// All providers, ready to be called.
pub struct ProviderClient {
    catalogue: Catalogue,
    http: HttpClient,
    discovery: Discovery,
    client_auths: Arc<ClientAuths>,
    habits: Arc<RotationCheck>,
}

/// What came of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The provider ended the login, or it had ended before.
    Done,
    /// The provider has no way to end it from here.
    NotSupported,
}

impl ProviderClient {
    /// Sets up the HTTP client; calls nobody.
    ///
    /// # Errors
    /// When TLS or the client cannot be set up.
    pub fn new(catalogue: Catalogue, outbound: &Outbound, clock: Clock, meter: Meter) -> Result<Self, SetupError> {
        let providers = || catalogue.all().map(|service| &*service.provider);
        let discovery = Discovery::new(providers(), clock.clone());
        let habits = Arc::new(RotationCheck::new(clock.clone()));
        let http = HttpClient::new(providers(), outbound, clock, meter)?;
        Ok(Self { catalogue, http, discovery, client_auths: Arc::default(), habits })
    }

    /// The same for another catalogue: what was learned of a provider stays, and so do its calls under way.
    ///
    /// # Errors
    /// As [`ProviderClient::new`].
    pub fn with(&self, catalogue: Catalogue, outbound: &Outbound) -> Result<Self, SetupError> {
        let providers = || catalogue.all().map(|service| &*service.provider);
        let http = self.http.with(providers(), outbound)?;
        for new in providers() {
            let mut old = self.catalogue.all().map(|service| &service.provider);
            if let Some(old) = old.find(|old| old.id == new.id && old.is_same_as(new)) {
                new.take_places_of(old);
            }
        }
        let discovery = self.discovery.with(providers(), self.catalogue.all().map(|service| &*service.provider));
        let (client_auths, habits) = (self.client_auths.clone(), self.habits.clone());
        Ok(Self { catalogue, http, discovery, client_auths, habits })
    }

    pub(super) fn http(&self) -> &HttpClient {
        &self.http
    }

    pub(super) fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    pub(super) fn habits(&self) -> &RotationCheck {
        &self.habits
    }

    pub(super) fn client_auths(&self) -> &ClientAuths {
        &self.client_auths
    }

    /// Asks a server that is no provider, by GET on the ways that calls to providers take: no redirect is followed.
    /// Returns status, headers and body.
    ///
    /// # Errors
    /// When no whole response came: of the kind `TimedOut` after `deadline`, `FileTooLarge` beyond 1 MiB.
    pub async fn elsewhere(
        &self,
        url: &Url,
        headers: HeaderMap,
        deadline: Instant,
    ) -> io::Result<(u16, HeaderMap, Zeroizing<Vec<u8>>)> {
        let mut received = Received::default();
        match self.http.get(None, url, headers, deadline, &mut received).await {
            Err(error) if is_late(&*error) => Err(io::ErrorKind::TimedOut.into()),
            Err(error) => Err(io::Error::other(error)),
            Ok(()) if received.too_long => Err(io::ErrorKind::FileTooLarge.into()),
            Ok(()) => {
                let (status, headers) = received.head.ok_or(io::ErrorKind::UnexpectedEof)?;
                Ok((status, headers, received.body))
            }
        }
    }

    /// All services.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Changes a code for tokens (RFC 6749 section 4.1.3). `callback` holds all parameters that came with the code.
    ///
    /// # Errors
    /// Any [`ProviderError`]; `BadCallback` before anything is sent. A code is sent a second time only if the first
    /// never left.
    pub async fn redeem(
        &self,
        service: &Service,
        code: &SecretString,
        redirect_uri: &str,
        verifier: Option<&str>,
        callback: &[(String, String)],
    ) -> Result<TokenResponse, ProviderError> {
        let (provider, client) = offered(service)?;
        let mut fields = vec![("grant_type", "authorization_code"), ("code", code.expose_secret())];
        if provider.settings.send_redirect_uri.unwrap_or(true) {
            fields.push(("redirect_uri", redirect_uri));
        }
        fields.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        self.grant((LOGIN, Repeatable::No), service, client, fields, callback, Instant::now() + CODE_BUDGET)
            .await
            .map_err(|fault| fault.failure)
    }

    /// Changes a pasted token for tokens (RFC 6749 section 4.3.2).
    ///
    /// # Errors
    /// Any [`ProviderError`]. The token is sent a second time only if the first never left.
    pub async fn exchange_login_token(
        &self,
        service: &Service,
        pasted: &LoginToken,
    ) -> Result<TokenResponse, ProviderError> {
        let client = offered(service)?.1;
        let scope = service.joined_scopes();
        let mut fields = vec![("grant_type", "password"), ("username", pasted.username.as_str())];
        fields.push(("password", pasted.auth_token.expose_secret()));
        if !scope.is_empty() {
            fields.push(("scope", &scope));
        }
        self.grant((LOGIN, Repeatable::No), service, client, fields, &[], Instant::now() + CODE_BUDGET)
            .await
            .map_err(|fault| fault.failure)
    }

    /// Ends a login at the provider with the credentials of one client.
    pub(super) async fn revoke_as(
        &self,
        service: &Service,
        client: &Client,
        refresh_token: &SecretString,
        deadline: Instant,
    ) -> Result<Revoked, ProviderError> {
        let provider = &service.provider;
        let metadata = self.discovery.metadata(provider, &self.http, deadline).await?;
        let discovered = metadata.as_ref().and_then(|metadata| metadata.revoke.as_ref());
        let Some(url) = provider.revoke.as_ref().or(discovered).cloned() else {
            return Ok(Revoked::NotSupported);
        };
        let token = vec![("token", refresh_token.expose_secret())];
        let access_token;
        let payload = match provider.settings.revoke_style {
            RevokeStyle::Rfc7009 => {
                let metadata = metadata.as_deref();
                let repeatable = Repeatable::Yes;
                let service = service.id.as_str();
                let name = REVOCATION;
                let form =
                    Form { service, name, provider, client, metadata, url: &url, fields: &token, deadline, repeatable };
                return revoked(self.authenticated(form, token_response::revoked).await);
            }
            RevokeStyle::TokenOnly => Payload::Form(&token, None),
            RevokeStyle::Bearer => match self.refresh_as(REVOCATION, service, client, refresh_token, deadline).await {
                Ok(tokens) => {
                    access_token = tokens.access_token;
                    Payload::Bearer(&access_token)
                }
                Err(RefreshError { failure: ProviderError::Refused(_), .. }) => return Ok(Revoked::Done),
                Err(RefreshError { failure, .. }) => return Err(failure),
            },
        };
        let call = Call { provider, service: Some(service.id.as_str()), name: REVOCATION, url: &url, payload };
        revoked(self.http.send(&call, deadline, true, token_response::revoked).await)
    }

    /// Calls the token endpoint as `client`. The first says what for, and whether it may be repeated.
    pub(super) async fn grant(
        &self,
        (name, repeatable): (&'static str, Repeatable),
        service: &Service,
        client: &Client,
        fields: Vec<(&str, &str)>,
        callback: &[(String, String)],
        deadline: Instant,
    ) -> Result<TokenResponse, AttemptError> {
        let provider = &service.provider;
        let metadata = self.discovery.metadata(provider, &self.http, deadline).await;
        // The token has not been sent yet.
        let metadata = metadata.map_err(|failure| AttemptError::new(failure, Retry::Safe))?;
        let url = match (&provider.token, &metadata) {
            (Some(TokenUrl::One(url)), _) => url,
            (Some(TokenUrl::Chosen(hosts)), _) => {
                provider.names_host(callback).and_then(|value| hosts.get(value)).ok_or(ProviderError::BadCallback)?
            }
            (None, metadata) => {
                metadata.as_ref().and_then(|metadata| metadata.token.as_ref()).ok_or(ProviderError::Misconfigured)?
            }
        };
        let metadata = metadata.as_deref();
        let service = service.id.as_str();
        let form = Form { service, name, provider, client, metadata, url, fields: &fields, deadline, repeatable };
        self.authenticated(form, token_response::tokens).await
    }
}

fn revoked(outcome: Result<(), AttemptError>) -> Result<Revoked, ProviderError> {
    match outcome {
        Ok(()) | Err(AttemptError { failure: ProviderError::Refused(_), .. }) => Ok(Revoked::Done),
        Err(fault) => Err(fault.failure),
    }
}

/// What logins are made with.
pub(super) fn offered(service: &Service) -> Result<(&Arc<Provider>, &Client), ProviderError> {
    match (service.availability(), &service.client) {
        (Availability::Offered, Some(client)) => Ok((&service.provider, client)),
        _ => Err(ProviderError::NotOffered),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ErrorClass;
    use super::super::places::LEAST;
    use super::super::testing::{Reply, StubServer, example, with_urls};
    use super::*;

    const TOKENS: &str = r#"{"access_token":"at","expires_in":3600,"refresh_token":"next"}"#;

    fn ok() -> Reply {
        Reply::Http("200 OK", TOKENS.into())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn local(stub: &StubServer, more: &str) -> (ProviderClient, Arc<Service>) {
        let url = &stub.url;
        example(&format!("authorize_url = \"{url}/authorize?keep=1\"\ntoken_url = \"{url}/token\"\n{more}"))
    }

    /// What is logged by this thread, down to the last detail.
    #[derive(Clone, Default)]
    struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

    impl Log {
        fn catch() -> (Self, tracing::subscriber::DefaultGuard) {
            let log = Self::default();
            let writer = log.clone();
            let subscriber =
                tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
            (log, tracing::subscriber::set_default(subscriber.finish()))
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    async fn refresh(providers: &ProviderClient, service: &Service) -> Result<TokenResponse, ProviderError> {
        let refreshed = providers.refresh(service, None, &"r/t".into(), BUDGET).await;
        refreshed.map(|(tokens, _)| tokens).map_err(|failed| failed.failure)
    }

    #[tokio::test]
    async fn calls_that_hang_take_their_places_from_those_after_a_reload_too() {
        let stub = StubServer::with([]).await;
        let (before, service) = local(&stub, "");
        let mut held = Vec::new();
        while let Some(place) = service.provider.places().enter(Duration::ZERO, true).await {
            held.push(place);
        }
        let reloaded = |more: &str| before.with(local(&stub, more).0.catalogue, &Outbound::default()).unwrap();
        let same = reloaded("");
        assert_eq!(refresh(&same, same.catalogue.find("example").unwrap()).await.err(), Some(ProviderError::Crowded));
        assert_eq!(stub.seen().len(), 0);
        // What is called in another way may not hang.
        let other = reloaded("scope_separator = \",\"");
        assert_ne!(refresh(&other, other.catalogue.find("example").unwrap()).await.err(), Some(ProviderError::Crowded));
    }

    #[tokio::test]
    async fn an_authorization_request_carries_all_that_the_provider_wants() {
        let more = "authorize_params = { prompt = \"consent\", left_out = \"\" }";
        let (providers, service) = local(&StubServer::with([]).await, more);
        let url = providers.authorize_url(&service, "https://x.example/logged-in", "s t", Some("ch")).await.unwrap();
        let query = "keep=1&response_type=code&client_id=id%2B1&redirect_uri=https%3A%2F%2Fx.example%2Flogged-in&state=s+t\
            &scope=files&code_challenge=ch&code_challenge_method=S256&prompt=consent";
        assert_eq!((url.path(), url.query()), ("/authorize", Some(query)));
        let (providers, service) = with_urls("pcloud", "pcloud", "token_url = \"https://{host}/\"");
        let url = providers.authorize_url(&service, "https://x.example/", "s", None).await.unwrap();
        assert!(!url.as_str().contains("scope=") && !url.as_str().contains("code_challenge"), "{url}");
    }

    #[tokio::test]
    async fn a_refresh_sends_its_token_and_the_client_and_nothing_else() {
        let stub = StubServer::with([ok()]).await;
        let (providers, service) = with_urls("dropbox", "dropbox", &format!("token_url = \"{}/token\"", stub.url));
        let tokens = refresh(&providers, &service).await.unwrap();
        assert_eq!(tokens.refresh_token.unwrap().expose_secret(), "next");
        let request = stub.seen().remove(0).to_lowercase();
        assert!(request.starts_with("post /token http/1.1\r\n"), "{request}");
        assert!(request.contains("content-type: application/x-www-form-urlencoded\r\n"), "{request}");
        assert!(request.contains(concat!("user-agent: authseal/", env!("CARGO_PKG_VERSION"), "\r\n")), "{request}");
        assert!(request.contains("accept-encoding: identity\r\n") && !request.contains("cookie"), "{request}");
        let form = "grant_type=refresh_token&refresh_token=r%2Ft&client_id=id%2B1&client_secret=se%26cret";
        assert_eq!(stub.bodies(), [form]);
    }

    #[tokio::test]
    async fn a_code_is_redeemed_with_what_it_was_asked_for_with() {
        let stub = StubServer::with([ok()]).await;
        let (providers, service) = local(&stub, "client_auth = \"basic\"");
        let tokens = providers.redeem(&service, &"c".into(), "https://x.example/", Some("v"), &[]).await.unwrap();
        assert_eq!(tokens.access_token.expose_secret(), "at");
        let form = "grant_type=authorization_code&code=c&redirect_uri=https%3A%2F%2Fx.example%2F&code_verifier=v";
        assert_eq!(stub.bodies(), [form]);
        // "id%2B1:se%26cret"
        assert!(stub.seen()[0].contains("authorization: Basic aWQlMkIxOnNlJTI2Y3JldA==\r\n"));
    }

    #[tokio::test]
    async fn a_pasted_token_is_traded_with_the_public_client() {
        use base64::Engine;
        let stub = StubServer::with([ok()]).await;
        let (providers, service) = with_urls("jottacloud", "jottacloud", &format!("token_url = \"{}\"", stub.url));
        let pasted = base64::prelude::BASE64_STANDARD.encode(r#"{"username":"u","auth_token":"p"}"#);
        providers.exchange_login_token(&service, &LoginToken::parse(&pasted).unwrap()).await.unwrap();
        let form = "grant_type=password&username=u&password=p&scope=openid+offline_access&client_id=";
        assert!(stub.bodies()[0].starts_with(form), "{:?}", stub.bodies());
    }

    #[tokio::test]
    async fn a_code_goes_only_to_a_listed_host() {
        let stub = StubServer::with([ok(), ok(), ok()]).await;
        let url = format!("token_url = \"{}/{{host}}\"", stub.url);
        let (providers, service) = with_urls("pcloud", "pcloud", &url);
        let redeem = async |callback: &[(&str, &str)]| {
            providers.redeem(&service, &"c".into(), "https://x.example/", None, &pairs(callback)).await
        };
        let hostile = "evil.example api.pcloud.com@evil.example api.pcloud.com. API.PCLOUD.COM api.pcloud.com:444 api.pcloud.com/ \
            api.pcloud.com%2f [::1] 127.0.0.1 ..%2f api。pcloud。com api.pcloud.com#x";
        for host in hostile.split(' ').chain(["", " api.pcloud.com", "api.pcloud.com\r\n"]) {
            for callback in [&[("hostname", host)][..], &[("hostname", host), ("locationid", "3")]] {
                assert_eq!(redeem(callback).await.err(), Some(ProviderError::BadCallback), "{callback:?}");
            }
        }
        assert_eq!(redeem(&[]).await.err(), Some(ProviderError::BadCallback));
        assert!(stub.seen().is_empty());
        assert!(redeem(&[("locationid", "1"), ("hostname", "eapi.pcloud.com")]).await.is_ok());
        assert!(redeem(&[("hostname", "evil.example"), ("locationid", "2")]).await.is_ok());
        assert!(redeem(&[("locationid", "1")]).await.is_ok());
        let paths: Vec<_> = stub.seen().iter().map(|request| request.split(' ').nth(1).unwrap().to_owned()).collect();
        assert_eq!(paths, ["/eapi.pcloud.com", "/eapi.pcloud.com", "/api.pcloud.com"]);
        assert_eq!(stub.bodies()[0], "grant_type=authorization_code&code=c&client_id=id%2B1&client_secret=se%26cret");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_works_once_is_never_sent_twice_after_it_may_have_arrived() {
        let disturbed = Reply::Http("503 Service Unavailable", String::new());
        for (reply, failure) in [
            (Reply::Hang, ProviderError::TimedOut),
            (Reply::Close, ProviderError::Unreachable),
            (disturbed, ProviderError::Disturbed),
        ] {
            let stub = StubServer::with([reply.clone(), ok()]).await;
            let (providers, service) = local(&stub, "rotation = \"single_use\"");
            assert_eq!(refresh(&providers, &service).await.err(), Some(failure), "{reply:?}");
            assert_eq!(stub.seen().len(), 1, "{reply:?}");
            let stub = StubServer::with([reply.clone(), ok()]).await;
            let (providers, service) = local(&stub, "rotation = \"rolling\"");
            assert!(refresh(&providers, &service).await.is_ok(), "{reply:?}");
            assert_eq!(stub.seen().len(), 2, "{reply:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_works_once_is_waited_for_to_the_end_of_the_time_that_it_was_given() {
        let late = |seconds| Reply::Late(Duration::from_secs(seconds), TOKENS.into());
        let stub = StubServer::with([late(118)]).await;
        let (providers, service) = local(&stub, "rotation = \"single_use\"");
        let tokens = providers.refresh(&service, None, &"r".into(), Duration::from_secs(120)).await;
        assert_eq!(tokens.ok().unwrap().0.refresh_token.unwrap().expose_secret(), "next");
        // What may be repeated is.
        let stub = StubServer::with([late(9), ok()]).await;
        let (providers, service) = local(&stub, "rotation = \"rolling\"");
        assert!(refresh(&providers, &service).await.is_ok());
        assert_eq!(stub.seen().len(), 2);
        for (seconds, outcome) in [(54, None), (56, Some(ProviderError::TimedOut))] {
            let stub = StubServer::with([late(seconds), ok()]).await;
            let (providers, service) = local(&stub, "");
            let tokens = providers.redeem(&service, &"c".into(), "https://x.example/", None, &[]).await;
            assert_eq!((tokens.err(), stub.seen().len()), (outcome, 1));
        }
    }

    #[tokio::test]
    async fn an_answer_whose_connection_breaks_is_good_if_the_new_token_had_come() {
        let both = r#"{"access_token":"at","refresh_token":"next","x":"#;
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n";
        let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{both}\r\n", both.len());
        let long = format!("HTTP/1.1 200 OK\r\n\r\n{both}\"{}\"", "x".repeat(1 << 20));
        for answer in [format!("{cut}{both}"), chunked, long] {
            let stub = StubServer::with([Reply::Raw(answer.into())]).await;
            let (providers, service) = local(&stub, "rotation = \"single_use\"");
            let tokens = refresh(&providers, &service).await.ok().unwrap();
            assert_eq!(tokens.refresh_token.unwrap().expose_secret(), "next");
        }
        let stub = StubServer::with([Reply::Raw(format!("{cut}{}", &both[..30]).into())]).await;
        let (providers, service) = local(&stub, "rotation = \"single_use\"");
        let failed = providers.refresh(&service, None, &"r".into(), BUDGET).await.err().unwrap();
        assert_eq!(failed, RefreshError { failure: ProviderError::Unreachable, in_doubt: true, status: Some(200) });
    }

    #[tokio::test]
    async fn a_header_that_is_wrong_and_not_needed_costs_no_answer() {
        let headers = [
            "X-A : b",
            "garbage",
            "X(a): b",
            "X-A: b\r\n  c",
            "X-A: b\x01c",
            ": b",
            "Content-Type:",
            "X-A: caf\u{e9}",
            "Content-Type: text/html\r\nContent-Type: x",
            "Retry-After: 3600",
        ];
        for header in headers {
            let answer = format!("HTTP/1.1 200 OK\r\n{header}\r\nContent-Length: {}\r\n\r\n{TOKENS}", TOKENS.len());
            for rotation in ["none", "single_use"] {
                let stub = StubServer::with([Reply::Raw(answer.clone().into())]).await;
                let (providers, service) = local(&stub, &format!("rotation = \"{rotation}\""));
                let tokens =
                    refresh(&providers, &service).await.unwrap_or_else(|failure| panic!("{header:?}: {failure}"));
                assert_eq!(tokens.refresh_token.unwrap().expose_secret(), "next", "{header:?}");
            }
        }
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_spoil_only_the_text_that_they_are_in() {
        let http = |head: &str, body: &[u8]| {
            Reply::Raw([format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat())
        };
        let good = b"\xef\xbb\xbf{\"name\":\"Andr\xe9\",\"access_token\":\"at\",\"refresh_token\":\"next\"}";
        let bad = b"{\"error_description\":\"r\xe9voqu\xe9\",\"error\":\"INVALID_GRANT\"}";
        let spoiled = b"{\"access_token\":\"a\xe9\"}";
        let answers = [http("200 OK", good), http("400 Bad Request", bad), http("200 OK", spoiled)];
        let stub = StubServer::with(answers).await;
        let (providers, service) = local(&stub, "");
        assert_eq!(refresh(&providers, &service).await.ok().unwrap().refresh_token.unwrap().expose_secret(), "next");
        let refused = ProviderError::Refused(ErrorClass::LoginAgain);
        assert_eq!(refresh(&providers, &service).await.err(), Some(refused));
        assert_eq!(refresh(&providers, &service).await.err(), Some(ProviderError::BadAnswer));
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_hangs_takes_no_more_than_its_places_and_nothing_else_is_in_doubt() {
        let places = *LEAST;
        let hanging = StubServer::with((0..500).map(|_| Reply::Hang)).await;
        let well = StubServer::with([ok()]).await;
        let (providers, service) = local(&hanging, "rotation = \"single_use\"");
        let (others, other) = local(&well, "");
        let calls = futures_util::future::join_all((0..500).map(|_| {
            let token = SecretString::from("r");
            let providers = &providers;
            let service = &service;
            async move { providers.refresh(service, None, &token, BUDGET).await.err().unwrap() }
        }));
        let begun = Instant::now();
        let beside = async {
            while hanging.seen().len() < places && begun.elapsed() < BUDGET {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let asked = Instant::now();
            assert!(refresh(&others, &other).await.is_ok());
            asked.elapsed()
        };
        let (failed, beside) = tokio::join!(calls, beside);
        assert!(beside < Duration::from_secs(1), "{beside:?}");
        assert!(begun.elapsed() <= BUDGET + Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(hanging.seen().len(), places);
        let count = |failure| failed.iter().filter(|failed| failed.failure == failure).count();
        assert_eq!((count(ProviderError::TimedOut), count(ProviderError::Crowded)), (places, 500 - places));
        assert_eq!(failed.iter().filter(|failed| failed.in_doubt).count(), places);
    }

    #[tokio::test]
    async fn a_discovery_that_fails_leaves_no_token_in_doubt() {
        for reply in [Reply::Close, Reply::Http("500 No", String::new()), Reply::Http("200 OK", "{}".into())] {
            let stub = StubServer::with([reply]).await;
            let (providers, service) = example(&format!("issuer = \"{}\"\nrotation = \"single_use\"", stub.url));
            let failed = providers.refresh(&service, None, &"r".into(), BUDGET).await.err().unwrap();
            assert!(!failed.in_doubt, "{failed:?}");
        }
    }

    #[tokio::test]
    async fn a_provider_that_behaves_otherwise_than_configured_is_told_of_once() {
        let said = async |rotation: &str, refreshes: &[(&str, Reply)]| {
            let stub = StubServer::with(refreshes.iter().map(|(_, reply)| reply.clone())).await;
            let (providers, service) = local(&stub, &format!("rotation = \"{rotation}\""));
            let (log, guard) = Log::catch();
            for (token, _) in refreshes {
                let _ = providers.refresh(&service, None, &(*token).into(), BUDGET).await;
            }
            drop(guard);
            let log = log.text();
            let texts = ["although its rotation is \"none", "it seems to be single_use", "gave no new refresh token"];
            texts.map(|text| log.matches(text).count())
        };
        let dead = Reply::Http("400 Bad Request", r#"{"error":"invalid_grant"}"#.into());
        let (old, same) = (|| ("old", ok()), ("next", ok()));
        assert_eq!(said("none", &[old(), old(), ("other", ok())]).await, [1, 0, 0]);
        assert_eq!(said("none", &[same.clone(), same.clone()]).await, [0, 0, 0]);
        for (rotation, new) in [("none", 1), ("rolling", 0)] {
            let twice = [old(), ("old", dead.clone()), ("old", dead.clone()), ("x", ok()), ("x", dead.clone())];
            assert_eq!(said(rotation, &twice).await, [new, 1, 0], "{rotation}");
            // One that worked again was withdrawn later.
            assert_eq!(said(rotation, &[old(), old(), ("old", dead.clone())]).await, [new, 0, 0], "{rotation}");
            assert_eq!(said(rotation, &[("old", dead.clone())]).await, [0, 0, 0], "{rotation}");
        }
        let none = || ("old", Reply::Http("200 OK", r#"{"access_token":"at","expires_in":3600}"#.into()));
        for rotation in ["rolling", "single_use"] {
            assert_eq!(said(rotation, &[none(), same.clone(), old()]).await, [0, 0, 1], "{rotation}");
            assert_eq!(said(rotation, &[old(), none(), same.clone()]).await, [0, 0, 0], "{rotation}: now and then");
        }
        assert_eq!(said("none", &[none(), none()]).await, [0, 0, 0]);
        assert_eq!(said("single_use", &[old(), ("old", dead)]).await, [0, 0, 0]);
    }

    #[tokio::test]
    async fn a_client_that_is_refused_in_one_way_and_taken_in_the_next_is_no_error() {
        let refused = || Reply::Http("401 Unauthorized", r#"{"error":"invalid_client"}"#.into());
        for (second, errors) in [(ok(), 0), (refused(), 1)] {
            let stub = StubServer::with([refused(), second]).await;
            let (providers, service) = local(&stub, "");
            let (log, guard) = Log::catch();
            assert_eq!(refresh(&providers, &service).await.is_ok(), errors == 0);
            drop(guard);
            assert_eq!(log.text().matches("ERROR").count(), errors, "{}", log.text());
            assert!(log.text().contains("the provider refused the client"), "{}", log.text());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_not_made_in_time_is_tried_again_even_for_a_token_that_works_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let more = "rotation = \"single_use\"";
        let (providers, service) = example(&format!("authorize_url = \"{url}\"\ntoken_url = \"{url}\"\n{more}"));
        // It answers no TLS handshake.
        let accept = async { [listener.accept().await.unwrap(), listener.accept().await.unwrap()] };
        let (answer, _connections) = tokio::join!(refresh(&providers, &service), accept);
        assert_eq!(answer.err(), Some(ProviderError::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_hangs_costs_two_attempts_and_less_than_the_budget() {
        let stub = StubServer::with([Reply::Hang, Reply::Hang, ok()]).await;
        let (providers, service) = local(&stub, "");
        let start = Instant::now();
        assert_eq!(refresh(&providers, &service).await.err(), Some(ProviderError::TimedOut));
        assert!((16..18).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        let short = providers
            .refresh(&service, None, &"t".into(), Duration::from_secs(2))
            .await
            .map_err(|failed| failed.failure);
        assert!(short.is_ok());
        assert_eq!(stub.seen().len(), 3);
    }

    fn throttled(seconds: Option<u64>) -> (Reply, ProviderError) {
        let header = seconds.map_or_else(String::new, |seconds| format!("\r\nRetry-After: {seconds}"));
        let reply = Reply::Http(format!("429 Too Many Requests{header}").leak(), String::new());
        (reply, ProviderError::Busy { retry_after: seconds.map(Duration::from_secs) })
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_before_a_page_waits_for_a_short_throttling_and_is_told_of_a_long_one() {
        let redeem = async |seconds| {
            let (reply, busy) = throttled(seconds);
            let stub = StubServer::with([reply, ok()]).await;
            let (providers, service) = local(&stub, "rotation = \"single_use\"");
            let begun = Instant::now();
            let redeemed = providers.redeem(&service, &"c".into(), "https://x.example/", None, &[]).await;
            (redeemed.map_or_else(|failure| failure == busy, |_| false), begun.elapsed().as_secs(), stub.seen().len())
        };
        assert_eq!(redeem(Some(5)).await, (false, 5, 2));
        for long in [Some(6), Some(60), None] {
            assert_eq!(redeem(long).await, (true, 0, 1), "{long:?}");
        }
        let (reply, _) = throttled(Some(5));
        let stub = StubServer::with([reply, ok(), ok()]).await;
        let more = format!("token_url = \"{0}/token\"\nrevoke_url = \"{0}/revoke\"", stub.url);
        let (providers, service) = with_urls("dropbox", "dropbox", &more);
        assert_eq!(providers.revoke(&service, None, &"rt".into()).await, Ok(Revoked::Done));
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_refresh_is_left_to_who_waits_for_all_who_want_it() {
        for (rotation, seconds) in ["none", "rolling", "single_use"].into_iter().zip([Some(0), Some(5), None]) {
            let (reply, busy) = throttled(seconds);
            let stub = StubServer::with([reply, ok()]).await;
            let (providers, service) = local(&stub, &format!("rotation = \"{rotation}\""));
            assert_eq!(refresh(&providers, &service).await.err(), Some(busy));
            assert_eq!(stub.seen().len(), 1);
        }
    }

    #[tokio::test]
    async fn a_provider_that_is_not_there_is_no_dead_login() {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for url in [format!("http://{gone}/"), "https://authseal.invalid/".to_owned()] {
            let (providers, service) = example(&format!("authorize_url = \"{url}\"\ntoken_url = \"{url}\""));
            assert_eq!(refresh(&providers, &service).await.err(), Some(ProviderError::Unreachable), "{url}");
        }
    }

    #[tokio::test]
    async fn a_provider_without_a_certificate_is_not_spoken_to() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let (providers, service) = example(&format!("authorize_url = \"{url}\"\ntoken_url = \"{url}\""));
        let serve = async {
            for _ in 0..2 {
                let mut hello = [0; 1024];
                let mut stream = listener.accept().await.unwrap().0;
                assert!(stream.read(&mut hello).await.unwrap() > 0);
                assert_eq!(hello[..2], [22, 3], "a TLS handshake");
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            }
        };
        let (answer, ()) = tokio::join!(refresh(&providers, &service), serve);
        assert_eq!(answer.err(), Some(ProviderError::Unreachable));
    }

    #[tokio::test]
    async fn an_answer_is_neither_followed_elsewhere_nor_read_without_end() {
        let trap = StubServer::with([ok()]).await;
        let head = format!("307 Temporary Redirect\r\nLocation: {}/", trap.url);
        let long = format!("HTTP/1.1 200 OK\r\n\r\n{{\"access_token\":\"at\",\"x\":\"{}\"", "x ".repeat(1 << 20));
        for reply in [Reply::Http(head.leak(), String::new()), Reply::Raw(long.into_bytes())] {
            let stub = StubServer::with([reply]).await;
            let (providers, service) = local(&stub, "");
            assert_eq!(refresh(&providers, &service).await.err(), Some(ProviderError::BadAnswer));
            assert_eq!(stub.seen().len(), 1);
        }
        assert!(trap.seen().is_empty());
    }

    #[tokio::test]
    async fn a_login_is_ended_in_the_way_that_its_provider_has() {
        let dead = || Reply::Http("400 Bad Request", r#"{"error":"invalid_token"}"#.into());
        let stub = StubServer::with([ok(), ok(), dead(), dead(), ok()]).await;
        let urls = format!("token_url = \"{0}/token\"\nrevoke_url = \"{0}/revoke\"", stub.url);
        let revoke = async |id: &str, provider: &str, urls: &str| {
            let (providers, service) = with_urls(id, provider, urls);
            providers.revoke(&service, None, &"rt".into()).await.unwrap()
        };
        assert_eq!(revoke("dropbox", "dropbox", &urls).await, Revoked::Done);
        let request = &stub.seen()[1];
        assert!(request.starts_with("POST /revoke") && request.contains("authorization: Bearer at\r\n"), "{request}");
        assert_eq!(stub.bodies()[1], "");
        assert_eq!(revoke("dropbox", "dropbox", &urls).await, Revoked::Done);
        assert_eq!(revoke("gcs", "google", &urls).await, Revoked::Done);
        assert_eq!(stub.bodies()[3], "token=rt");
        assert_eq!(revoke("box", "box", &urls).await, Revoked::Done);
        assert_eq!(stub.bodies()[4], "token=rt&client_id=id%2B1&client_secret=se%26cret");
        let none = "token_url = \"https://example.com/\"";
        assert_eq!(revoke("sharepoint", "microsoft", none).await, Revoked::NotSupported);
    }

    #[tokio::test]
    async fn a_service_that_is_not_offered_is_not_called() {
        let (providers, _) = local(&StubServer::with([]).await, "");
        let (others, service) = with_urls("onedrive", "live", "");
        assert_eq!(refresh(&others, &service).await.err(), Some(ProviderError::NotOffered));
        assert_eq!(providers.authorize_url(&service, "x", "s", None).await.err(), Some(ProviderError::NotOffered));
    }

    #[tokio::test]
    async fn nothing_secret_is_logged() {
        let token = SecretString::from("CANARY-refresh");
        let (log, guard) = Log::catch();
        let refused = r#"{"error":"invalid_grant","error_description":"No CANARY-refresh, here"}"#;
        let unknown = r#"{"error":"CANARY-refresh","access_token":"CANARY-access"}"#;
        let bodies = [refused, unknown, r#"{"access_token":"CANARY-access","refresh_token":"CANARY-next"}"#];
        let heads = ["400 Bad Request", "400 Bad Request", "200 OK"];
        let replies = heads.into_iter().zip(bodies).map(|(head, body)| Reply::Http(head, body.into()));
        let stub = StubServer::with(replies).await;
        let (providers, service) = local(&stub, "");
        for _ in 0..4 {
            let outcome =
                providers.refresh(&service, None, &token, BUDGET).await.map(|_| ()).map_err(|failed| failed.failure);
            tracing::info!(?outcome);
        }
        drop(guard);
        let log = log.text();
        assert!(log.contains("No (left out) here"), "{log}");
        assert!(log.contains("invalid_grant") && log.contains("half an hour assumed"), "{log}");
        assert!(!log.contains("CANARY") && !log.contains("cret"), "{log}");
    }

    #[test]
    fn calls_can_be_made_from_any_thread() {
        fn sendable<T: Send>(_: T) {}
        let (providers, service) = with_urls("box", "box", "token_url = \"https://example.com/\"");
        sendable(refresh(&providers, &service));
        sendable(providers.authorize_url(&service, "", "", None));
        sendable(providers.revoke(&service, None, &"t".into()));
        sendable(providers.redeem(&service, &"t".into(), "", None, &[]));
    }
}
