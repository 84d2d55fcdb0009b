//! Which of a service's registrations at its provider a login is used with. A refresh token is bound to the client that
//! it was issued to (RFC 6749 section 6), so a login whose registration is known goes to that one and to no other. One
//! without a mark, made by another server, is tried with each in turn.
//!
//! Trying spends no token. The endpoint must authenticate the client and find that the token was issued to it before it
//! issues anything (same section); a refusal by `invalid_client`, `unauthorized_client` or `invalid_grant` (section 5.2)
//! says that it stopped there, and nothing else moves on to the next registration: no time-out, no broken connection, no
//! status from 500 on, after which a token that works once may be spent, and no error that is about the login's owner,
//! since the provider has recognised the token then.

use super::client::BUDGET;
use super::client_auth::Repeatable;
use super::error::{AttemptError, ProviderError, RefreshError};
use super::http::REFRESH;
use super::service::{Client, Service};
use super::{ErrorClass, ProviderClient, RefreshTokenPolicy, Revoked, TokenResponse};
use crate::authid::AppId;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

impl Client {
    /// How many ways there are to authenticate it, but for the method: one where it has no secret.
    pub(super) fn secrets(&self) -> usize {
        1 + self.more_secrets.len()
    }

    /// The same with its secret number `at`, from 0, alone.
    pub(super) fn with_secret(&self, at: usize) -> Self {
        let secret = at.checked_sub(1).and_then(|more| self.more_secrets.get(more)).or(self.secret.as_ref());
        Self { id: self.id.clone(), app: self.app, secret: secret.cloned(), more_secrets: Vec::new() }
    }
}

impl Service {
    /// The app registration that logins are made with; `None` where there is none.
    pub fn app(&self) -> Option<AppId> {
        self.client.as_ref().map(|client| client.app)
    }

    /// Client id and first secret of the registration that made a login; where that is not known, of the one that makes
    /// logins.
    pub fn credentials(&self, app: Option<AppId>) -> Option<(&str, Option<&SecretString>)> {
        let made = |client: &&Client| app.is_none_or(|app| client.app == app);
        self.registrations().find(made).map(|client| (client.id.as_str(), client.secret.as_ref()))
    }

    /// The registrations of which it serves logins, by mark and client id: first the one that makes them.
    pub fn apps(&self) -> impl Iterator<Item = (AppId, &str)> {
        self.registrations().map(|client| (client.app, client.id.as_str()))
    }

    /// The same for a login that began with this registration, though another one may make the new logins by now.
    pub fn begun_with(self: &Arc<Self>, app: Option<AppId>) -> Arc<Self> {
        let other = self.others.iter().position(|client| Some(client.app) == app);
        let Some(other) = other else { return self.clone() };
        let mut service = Self::clone(self);
        let began = service.others.remove(other);
        service.others.extend(service.client.replace(began));
        Arc::new(service)
    }

    /// Whether new logins are made with a registration, if there is nothing else against it.
    pub fn makes_logins_with(&self, app: AppId) -> bool {
        self.app() == Some(app) && self.accepts_logins
    }

    /// Whether it serves the logins of a registration.
    pub fn serves(&self, app: AppId) -> bool {
        self.apps().any(|(known, _)| known == app)
    }

    pub(super) fn registrations(&self) -> impl Iterator<Item = &Client> {
        self.client.iter().chain(&self.others)
    }

    /// Those that may have made a login. Nothing is sent for a service whose logins are not served: without a store, a
    /// call would end a login at a provider whose tokens work once.
    fn candidates(&self, app: Option<AppId>) -> Result<Vec<&Client>, ProviderError> {
        let made = |client: &&Client| app.is_none_or(|app| client.app == app);
        let clients: Vec<_> = self.registrations().filter(made).filter(|_| self.is_served()).collect();
        if clients.is_empty() { Err(ProviderError::NotOffered) } else { Ok(clients) }
    }
}

/// Whether a refusal may mean that another client made the login.
fn may_be_anothers(failed: RefreshError) -> bool {
    let foreign = match failed.failure {
        ProviderError::Misconfigured => failed.status.is_some(),
        ProviderError::Refused(class) => matches!(class, ErrorClass::LoginAgain | ErrorClass::Expired),
        ProviderError::Unclear { status } => matches!(status, 400 | 401 | 403),
        _ => false,
    };
    foreign && !failed.in_doubt
}

impl ProviderClient {
    /// Changes a refresh token for tokens (RFC 6749 section 6), within `budget`, in two attempts at most for each secret
    /// of its client. Where a refresh token works once, its attempt may take the whole budget, and a second is made only
    /// if the first never left or was turned away. `app` is the registration that made the login; where that is not
    /// known, each is tried. Returns the one that it was done with.
    ///
    /// # Errors
    /// Any [`ProviderError`], and whether the token may have been spent all the same.
    pub async fn refresh(
        &self,
        service: &Service,
        app: Option<AppId>,
        refresh_token: &SecretString,
        budget: Duration,
    ) -> Result<(TokenResponse, AppId), RefreshError> {
        let clients = service.candidates(app).map_err(|failure| AttemptError::from(failure).as_refresh_error())?;
        let deadline = Instant::now() + budget;
        let mut reported: Option<RefreshError> = None;
        for client in clients {
            let failed = match self.refresh_as(REFRESH, service, client, refresh_token, deadline).await {
                Ok(tokens) => return Ok((tokens, client.app)),
                Err(failed) => failed,
            };
            if !may_be_anothers(failed) {
                return Err(failed);
            }
            // A login is dead when each says so; otherwise it may be that one's whose credentials were not taken.
            let dead = |failed: &RefreshError| matches!(failed.failure, ProviderError::Refused(_));
            if reported.is_none_or(|before| dead(&before) && !dead(&failed)) {
                reported = Some(failed);
            }
        }
        Err(reported.unwrap_or_else(|| AttemptError::from(ProviderError::NotOffered).as_refresh_error()))
    }

    /// The same with one client, for the purpose that `name` says.
    pub(super) async fn refresh_as(
        &self,
        name: &'static str,
        service: &Service,
        client: &Client,
        refresh_token: &SecretString,
        deadline: Instant,
    ) -> Result<TokenResponse, RefreshError> {
        let fields = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose_secret())];
        let repeatable = match service.provider.rotation() {
            RefreshTokenPolicy::Static | RefreshTokenPolicy::Rolling => Repeatable::Yes,
            RefreshTokenPolicy::SingleUse => Repeatable::Unspent,
        };
        let outcome = self.grant((name, repeatable), service, client, fields, &[], deadline).await;
        let habits = self.habits();
        match &outcome {
            Ok(tokens) => habits.refreshed(service, client, refresh_token, tokens.refresh_token.as_ref()),
            Err(fault) if habits.is_dead(service, client, refresh_token, fault.failure) => {
                let dead = AttemptError::from(ProviderError::Refused(ErrorClass::LoginAgain));
                return Err(AttemptError { status: fault.status, ..dead }.as_refresh_error());
            }
            Err(_) => {}
        }
        outcome.map_err(AttemptError::as_refresh_error)
    }

    /// Ends a login at the provider (RFC 7009, or what the provider has instead). At some providers that ends all
    /// logins of that user at this app. `app` is the registration that made the login; where that is not known, each is
    /// asked. A server says "done" of a token that it does not know too (section 2.2), so one that could not be asked
    /// may be the one that made it.
    ///
    /// # Errors
    /// Any [`ProviderError`] but `Refused`: a login that is dead already is done with.
    pub async fn revoke(
        &self,
        service: &Service,
        app: Option<AppId>,
        refresh_token: &SecretString,
    ) -> Result<Revoked, ProviderError> {
        let deadline = Instant::now() + BUDGET;
        let mut outcome = Ok(Revoked::NotSupported);
        for client in service.candidates(app)? {
            let revoked = self.revoke_as(service, client, refresh_token, deadline).await;
            outcome = outcome.and(revoked);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Reply, StubServer};
    use super::super::{Catalogue, ClientRegistration, Outbound, ProviderSettings, ServiceSettings};
    use super::*;
    use crate::clock::Clock;
    use crate::meter::Meter;

    const TOKENS: &str = r#"{"access_token":"at","expires_in":3600,"refresh_token":"next"}"#;

    /// A provider with two registrations, whose answers come in this order.
    async fn started(rotation: &str, replies: Vec<Reply>) -> (ProviderClient, StubServer) {
        let stub = StubServer::with(replies).await;
        let provider = format!(
            "authorize_url = \"{0}/a\"\ntoken_url = \"{0}/t\"\nrevoke_url = \"{0}/r\"\nclient_auth = \"body\"\n\
             rotation = \"{rotation}\"",
            stub.url
        );
        let provider: ProviderSettings = toml::from_str(&provider).unwrap();
        let clients = "id = 'new'\nsecret = 's'\n[other.old]\nid = 'old'\nsecret = 's'";
        let clients: ClientRegistration = toml::from_str(clients).unwrap();
        let scopes = vec!["files".to_owned()];
        let service = ServiceSettings { provider: Some("p".into()), scopes, ..ServiceSettings::default() };
        let catalogue = Catalogue::build(
            [("p".to_owned(), provider)].into(),
            [("s".to_owned(), service)].into(),
            [("p".to_owned(), clients)].into(),
            true,
        );
        let providers =
            ProviderClient::new(catalogue.unwrap(), &Outbound::default(), Clock::system(), Meter::default());
        (providers.unwrap(), stub)
    }

    /// The clients that were sent, request by request.
    fn asked(stub: &StubServer) -> String {
        let bodies = stub.bodies();
        let client = |body: &String| ["new", "old"].into_iter().find(|id| body.contains(&format!("client_id={id}")));
        bodies.iter().map(|body| client(body).unwrap()).collect::<Vec<_>>().join(" ")
    }

    fn refused(code: &str) -> Reply {
        Reply::Http("400 Bad Request", format!("{{\"error\":\"{code}\"}}"))
    }

    #[tokio::test]
    async fn a_login_of_no_known_registration_moves_on_after_a_refusal_alone() {
        let moves = ["invalid_grant", "invalid_client", "unauthorized_client", "odd_error"].map(refused);
        let stays = [
            Reply::Close,
            Reply::Http("500 Internal Server Error", r#"{"error":"invalid_grant"}"#.to_owned()),
            Reply::Http("503 Service Unavailable", String::new()),
            Reply::Http("429 Too Many Requests", String::new()),
            Reply::Http("200 OK", "<html>".to_owned()),
            refused("interaction_required"),
        ];
        for rotation in ["none", "rolling", "single_use"] {
            for (first, moves_on) in moves.iter().map(|reply| (reply, true)).chain(stays.iter().map(|r| (r, false))) {
                // What may be repeated is: so the same reply twice.
                let second = if moves_on { Reply::Http("200 OK", TOKENS.into()) } else { first.clone() };
                let (providers, stub) = started(rotation, vec![first.clone(), second]).await;
                let service = providers.catalogue().find("s").unwrap();
                let outcome = providers.refresh(service, None, &"r".into(), BUDGET).await;
                let seen = asked(&stub);
                if moves_on {
                    let app = outcome.ok().unwrap().1;
                    assert_eq!((seen.as_str(), app), ("new old", AppId::new("p", "old")), "{first:?}");
                } else {
                    assert!(outcome.is_err() && !seen.contains("old"), "{rotation} {first:?}: {seen}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_login_of_a_known_registration_is_never_sent_with_another_client() {
        let replies = ["invalid_grant", "invalid_client", "unauthorized_client", "odd_error"].map(refused);
        for (reply, id) in replies.iter().flat_map(|reply| ["new", "old"].map(|id| (reply, id))) {
            let (providers, stub) = started("single_use", vec![reply.clone(), refused("invalid_token")]).await;
            let service = providers.catalogue().find("s").unwrap();
            let app = Some(AppId::new("p", id));
            assert!(providers.refresh(service, app, &"r".into(), BUDGET).await.is_err());
            let _ = providers.revoke(service, app, &"r".into()).await;
            assert_eq!(asked(&stub), format!("{id} {id}"), "{reply:?}");
        }
        // One that is not here any more is sent with none.
        let (providers, stub) = started("none", Vec::new()).await;
        let service = providers.catalogue().find("s").unwrap();
        let gone = Some(AppId::new("p", "gone"));
        let failed = providers.refresh(service, gone, &"r".into(), BUDGET).await.err().unwrap();
        assert_eq!((failed.failure, failed.in_doubt), (ProviderError::NotOffered, false));
        assert_eq!(providers.revoke(service, gone, &"r".into()).await, Err(ProviderError::NotOffered));
        assert_eq!(asked(&stub), "");
    }

    #[tokio::test]
    async fn a_revocation_of_a_login_of_no_known_registration_is_done_when_each_said_so() {
        let done = || Reply::Http("200 OK", String::new());
        let foreign = || refused("invalid_grant");
        for (replies, outcome) in [
            ([done(), done()], Ok(Revoked::Done)),
            ([foreign(), done()], Ok(Revoked::Done)),
            ([done(), foreign()], Ok(Revoked::Done)),
            ([refused("invalid_client"), done()], Err(ProviderError::Misconfigured)),
            ([done(), refused("invalid_client")], Err(ProviderError::Misconfigured)),
            ([refused("odd_error"), foreign()], Err(ProviderError::Unclear { status: 400 })),
        ] {
            let (providers, stub) = started("none", replies.to_vec()).await;
            let service = providers.catalogue().find("s").unwrap();
            assert_eq!(providers.revoke(service, None, &"r".into()).await, outcome, "{replies:?}");
            assert_eq!(asked(&stub), "new old");
        }
    }

    #[tokio::test]
    async fn a_login_is_dead_when_each_registration_says_so_and_otherwise_that_ones_whose_secret_fails() {
        for (replies, reported) in [
            (["invalid_grant", "invalid_grant"], ProviderError::Refused(ErrorClass::LoginAgain)),
            (["invalid_client", "invalid_grant"], ProviderError::Misconfigured),
            (["invalid_grant", "invalid_client"], ProviderError::Misconfigured),
        ] {
            let (providers, _stub) = started("single_use", replies.map(refused).to_vec()).await;
            let service = providers.catalogue().find("s").unwrap();
            let failed = providers.refresh(service, None, &"r".into(), BUDGET).await.err().unwrap();
            assert_eq!(failed.failure, reported, "{replies:?}");
        }
    }
}
