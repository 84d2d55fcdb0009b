//! Token response to AuthID (RFC 6749 section 5.1): checks the granted scopes, seals the refresh token, writes the
//! first record, fills the mailbox. What nobody will use is revoked at the provider (RFC 7009).

use super::error::{LoginError, NoRefreshToken};
use super::login_context::LoginContext;
use super::opener::{Opener, Silence};
use super::ticket::Ticket;
use super::{Caution, LoggedIn, Logins};
use crate::authid::{self, Grant, GrantId, RevokeCode};
use crate::clock::UnixTime;
use crate::mitigation::{self, Mitigation};
use crate::net::Client;
use crate::provider::{RefreshTokenPolicy, Service, TokenResponse};
use crate::store::Shelf;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;

/// How long a user waits for access to be given back.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a login brought.
struct Issued {
    /// The AuthID, or the provider's own token.
    authid: SecretString,
    /// Its login, and what revokes that; none of a provider's own token.
    login: Option<(GrantId, SecretString)>,
    /// When the refresh token expires, whatever its use.
    ends: Option<UnixTime>,
}

impl Logins {
    /// Asks the store, before anything is spent, where a login is of no use that is not remembered.
    pub(super) async fn check_store(&self, service: &Arc<Service>) -> Result<(), LoginError> {
        if service.provider.rotation() != RefreshTokenPolicy::SingleUse {
            return Ok(());
        }
        match self.store.read(Shelf::Records, &[0; 32]).await {
            Ok(_) => Ok(()),
            Err(_) => Err(LoginError::NotRemembered(service.clone())),
        }
    }

    /// With a `caution` the AuthID is shown for copying and goes nowhere, whoever opened the page. Where there is
    /// something that the user has to read, it goes nowhere by itself: Duplicati's pages close this window at once.
    pub(super) async fn issue(
        &self,
        service: Arc<Service>,
        tokens: TokenResponse,
        context: LoginContext,
        client: Client,
        callback: &[(String, String)],
        caution: Option<Caution>,
    ) -> Result<LoggedIn, LoginError> {
        let refresh_token = tokens.refresh_token.clone();
        let Issued { authid, login, ends } = match self.usable(&service, tokens).await {
            Ok(issued) => issued,
            Err(error) => {
                self.give_back(&service, refresh_token.as_ref()).await;
                return Err(error);
            }
        };
        let (grant, revoke_code) = login.unzip();
        let shown = service.provider.shown(callback);
        let moved = mitigation::on(Mitigation::OtherAddress) && context.has_moved(client);
        let caution = if moved { Some(Caution::OtherAddress) } else { caution };
        let again = caution.is_none().then(|| self.seal_context(&context)).transpose()?;
        let opener = if caution.is_some() { Opener::None(Silence::Distrusted) } else { context.opener };
        let context = LoginContext { opener, client: client.address, ..context };
        let waits = shown.is_empty() && self.put_in_mailbox(&context, &authid).await?;
        let mailbox_failed = shown.is_empty() && !waits && context.expects_mail();
        let sendable = waits
            || match context.opener {
                Opener::Trusted(_) => !shown.is_empty(),
                Opener::Unknown(_) => true,
                Opener::None(_) => false,
            };
        let ticket = Ticket { context, authid };
        let sealed = sendable.then(|| ticket.seal(&self.keyring.load(), self.clock.now())).transpose()?;
        let Ticket { context: LoginContext { opener, fetch_token, .. }, authid } = ticket;
        let fetch_token = fetch_token.filter(|_| sendable);
        Ok(LoggedIn {
            service,
            authid,
            grant,
            revoke_code,
            ends,
            opener,
            caution,
            fetch_token,
            waits,
            mailbox_failed,
            ticket: sealed,
            again,
            shown,
        })
    }

    /// An AuthID that its user can use: with all the scopes that were asked for, remembered where that is needed, and not
    /// refused from its first moment on.
    async fn usable(&self, service: &Arc<Service>, tokens: TokenResponse) -> Result<Issued, LoginError> {
        let missing: Vec<_> = tokens.missing_scopes(service).into_iter().map(str::to_owned).collect();
        if !missing.is_empty() {
            return Err(LoginError::MissingScopes(service.clone(), missing));
        }
        let issued = self.sealed(service, tokens).await?;
        match self.tokens.dead(issued.authid.expose_secret()) {
            Some(why) => Err(LoginError::Paused(Some(service.clone()), why)),
            None => Ok(issued),
        }
    }

    /// The refresh token sealed into an AuthID, and the login's first record written; or the provider's own token.
    async fn sealed(&self, service: &Arc<Service>, tokens: TokenResponse) -> Result<Issued, LoginError> {
        if service.provider.raw_token() {
            return Ok(Issued { authid: tokens.access_token, login: None, ends: None });
        }
        let Some(refresh_token) = tokens.refresh_token.clone() else {
            return Err(LoginError::NoRefreshToken(service.clone(), why_none(service, &tokens)));
        };
        let now = self.clock.now();
        let life = tokens.refresh_token_expires_in;
        let grant = Grant {
            app: service.app(),
            ends_at: life.map(|life| now.saturating_add_unsigned(life.as_secs())),
            ..Grant::new(service.id.clone(), refresh_token, now)?
        };
        let keyring = self.keyring.load();
        let authid = authid::seal(keyring.primary(), &grant)?;
        let revoke_code = RevokeCode::new(keyring.primary(), &service.id, grant.id).encode();
        if let Err(error) = self.tokens.begin(&grant, service, tokens).await {
            tracing::error!(grant = %grant.id, %error, "a login could not be remembered, so it is of no use");
            return Err(LoginError::NotRemembered(service.clone()));
        }
        Ok(Issued {
            authid: authid.expose().to_owned().into(),
            login: Some((grant.id, revoke_code)),
            ends: service.expires_at(now, grant.ends_at),
        })
    }

    /// Ends at the provider what nobody will use, where that touches no other login.
    async fn give_back(&self, service: &Service, refresh_token: Option<&SecretString>) {
        let Some(token) = refresh_token.filter(|_| !service.provider.revoke_ends_all_logins()) else { return };
        let revoked = tokio::time::timeout(PATIENCE, self.providers.revoke(service, service.app(), token)).await;
        tracing::info!(service = %service.id, ?revoked, "the access of a refused login was given back");
    }
}

/// Why no refresh token came; said to the operator, who alone can change most of it.
fn why_none(service: &Service, tokens: &TokenResponse) -> NoRefreshToken {
    let offline =
        |scopes: &[String]| scopes.iter().flat_map(|scope| scope.split(',')).any(|scope| scope == "offline_access");
    let why = match &tokens.scopes {
        Some(granted) if offline(&service.scopes) && !offline(granted) => NoRefreshToken::NotOffline,
        _ if service.provider.gives_refresh_token_once() => NoRefreshToken::OnlyAtFirst,
        _ => NoRefreshToken::None,
    };
    let printable = |scope: &String| scope.chars().filter(|c| (' '..='~').contains(c)).take(100).collect::<String>();
    let granted = tokens.scopes.as_ref().map(|scopes| scopes.iter().take(20).map(printable).collect::<Vec<_>>());
    tracing::warn!(
        service = %service.id, provider = service.provider.id(), %why,
        granted = granted.map(tracing::field::debug), asked = ?service.scopes,
        "a login brought no refresh token; does the registration there allow them, are offline_access or access_type \
        asked for, and is prompt=consent?"
    );
    why
}
