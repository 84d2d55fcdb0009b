//! Token response to AuthID (RFC 6749 section 5.1): checks the granted scopes, seals the refresh token, writes the
//! first record, fills the mailbox. What nobody will use is revoked at the provider (RFC 7009).

use super::error::{LoginError, NoRefreshToken};
use super::login_context::LoginContext;
use super::opener::{Opener, Silence};
use super::ticket::Ticket;
use super::{Caution, LoggedIn, Logins};
use crate::authid::{self, Grant, RevokeCode};
use crate::mitigation::{self, Mitigation};
use crate::net::Client;
use crate::provider::{RefreshTokenPolicy, Service, TokenResponse};
use crate::store::Shelf;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;

/// How long a user waits for access to be given back.
const PATIENCE: Duration = Duration::from_secs(5);

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
        let missing: Vec<_> = tokens.missing_scopes(&service).into_iter().map(str::to_owned).collect();
        if !missing.is_empty() {
            self.give_back(&service, tokens.refresh_token.as_ref()).await;
            return Err(LoginError::MissingScopes(service, missing));
        }
        let refresh_token = tokens.refresh_token.clone();
        let (authid, named, ends) = if service.provider.raw_token() {
            (tokens.access_token, None, None)
        } else {
            let Some(refresh_token) = refresh_token.clone() else {
                let why = why_none(&service, &tokens);
                return Err(LoginError::NoRefreshToken(service, why));
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
            if let Err(error) = self.tokens.begin(&grant, &service, tokens).await {
                tracing::error!(grant = %grant.id, %error, "a login could not be remembered, so it is of no use");
                self.give_back(&service, Some(&grant.refresh_token)).await;
                return Err(LoginError::NotRemembered(service));
            }
            let ends = service.expires_at(now, grant.ends_at);
            (authid.expose().to_owned().into(), Some((grant.id, revoke_code)), ends)
        };
        if let Some(why) = self.tokens.dead(authid.expose_secret()) {
            self.give_back(&service, refresh_token.as_ref()).await;
            return Err(LoginError::Paused(Some(service), why));
        }
        let (grant_id, revoke_code) = named.unzip();
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
            grant: grant_id,
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
