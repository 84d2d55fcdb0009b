//! In-browser communication (RFC 9700 section 4.17): the ways of an AuthID to Duplicati's page. It waits in the mailbox and
//! is picked up there, or is sent after a click that names who gets it. To origins that nobody listed it never goes by
//! itself; the script that calls `postMessage` is in `templates/static/`.

use super::Logins;
use super::browser_cookie::BrowserCookie;
use super::error::LoginError;
use super::fetch_token::FetchToken;
use super::login_context::LoginContext;
use super::mailbox::{self, Recipient, Requester};
use super::opener::Opener;
use super::ticket::Ticket;
use crate::mitigation::{self, Mitigation};
use crate::net::{Client, Origin};
use crate::seal::SealError;
use secrecy::{ExposeSecret, SecretString};

impl Logins {
    /// Sends an AuthID on because its person pressed a button: into the mailbox, if somebody asks there; and to the
    /// opener of the page, whose origin is returned with it, by the page's own script. `to_requester` says that the person
    /// agreed to somebody at another address: it is given to the address that asked, or to everybody where no address is
    /// known. To a trusted opener it may go without a button.
    ///
    /// # Errors
    /// When the ticket is not of this browser, or older than ten minutes, or the AuthID was revoked meanwhile.
    pub async fn deliver(
        &self,
        ticket: &str,
        browser_cookie: Option<&BrowserCookie>,
        to_requester: bool,
    ) -> Result<(Origin, SecretString), LoginError> {
        let ticket = Ticket::open(ticket, &self.keyring.load(), self.clock.now()).ok_or(LoginError::StaleLink)?;
        if !browser_cookie.is_some_and(|cookie| cookie.matches(&ticket.context.browser_cookie)) {
            return Err(LoginError::OtherBrowser);
        }
        if let Some(why) = self.tokens.dead(ticket.authid.expose_secret()) {
            return Err(LoginError::Paused(None, why));
        }
        let LoginContext { opener, fetch_token, browser_cookie, client } = ticket.context;
        let (origin, to_anybody) = match opener {
            // It goes to the opener by itself; only the click is meant for somebody else who asks.
            Opener::Trusted(origin) => (origin, to_requester && client.is_none()),
            Opener::Unknown(origin) => (origin, client.is_none()),
            Opener::None(_) => return Err(LoginError::StaleLink),
        };
        if let Some(token) = fetch_token
            && !self.was_picked_up(&token).await
        {
            let keyring = self.keyring.load();
            let requester = mailbox::asked_from(&self.store, &keyring, &token).await.flatten().filter(|_| to_requester);
            let recipient = match requester {
                Some(address) => Recipient::Address(address),
                None if to_anybody => Recipient::Anybody,
                None => Recipient::Only(Requester { address: client, origin: Some(origin.clone()) }),
            };
            mailbox::put(&self.store, &keyring, &token, &browser_cookie, &recipient, &ticket.authid).await?;
        }
        Ok((origin, ticket.authid))
    }

    /// The AuthID that waits for a fetch token, if it may go to a page of this origin at this client. It is given once.
    /// Who tries too many tokens finds nothing.
    pub async fn pick_up(&self, token: &FetchToken, client: Client, origin: Option<Origin>) -> Option<SecretString> {
        let trusted = origin.as_ref().is_some_and(|origin| self.rules.trusts(origin));
        if mitigation::on(Mitigation::FetchLimit) && !self.fetch_limit.admits(client, trusted, token) {
            return None;
        }
        let requester = Requester { address: client.address, origin };
        let authid = mailbox::take(&self.store, &self.keyring.load(), token, &requester).await?;
        self.fetch_limit.forget(client, trusted, token);
        if let Some(why) = self.tokens.dead(authid.expose_secret()) {
            tracing::info!(%why, "an AuthID that was waiting is of no use by now, and was not handed out");
            return None;
        }
        Some(authid)
    }

    /// Whether somebody asked for the AuthID of a fetch token who does not get it without the person's word.
    pub async fn was_asked_for(&self, token: &FetchToken) -> bool {
        mailbox::asked_from(&self.store, &self.keyring.load(), token).await.is_some()
    }

    /// Whether the AuthID for a fetch token was picked up.
    pub async fn was_picked_up(&self, token: &FetchToken) -> bool {
        mailbox::was_picked_up(&self.store, &self.keyring.load(), token).await
    }

    /// Puts the AuthID into the mailbox, for trusted openers only; whether it is there.
    pub(super) async fn put_in_mailbox(
        &self,
        context: &LoginContext,
        authid: &SecretString,
    ) -> Result<bool, SealError> {
        let (Opener::Trusted(origin), Some(token)) = (&context.opener, &context.fetch_token) else { return Ok(false) };
        let recipient = Recipient::Only(Requester { address: context.client, origin: Some(origin.clone()) });
        mailbox::put(&self.store, &self.keyring.load(), token, &context.browser_cookie, &recipient, authid).await
    }
}
