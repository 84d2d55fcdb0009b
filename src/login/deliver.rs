//! The ways of an AuthID to Duplicati's page: waiting in the mailbox, picked up there, or sent on by a click.

use super::Logins;
use super::binder::Binder;
use super::context::Context;
use super::error::LoginError;
use super::fetch_token::FetchToken;
use super::mailbox::{self, Asker, Receiver};
use super::origin::{Opener, Origin};
use super::ticket::Ticket;
use crate::mitigation::{self, Mitigation};
use crate::net::Client;
use crate::seal::SealError;
use secrecy::{ExposeSecret, SecretString};

impl Logins {
    /// Sends an AuthID on because its person pressed a button: into the mailbox, if somebody asks there; and to the
    /// opener of the page, whose origin is returned with it, by the page's own script. `to_asker` says that the person
    /// agreed to somebody at another address: it is given to the address that asked, or to everybody where no address is
    /// known. To a trusted opener it may go without a button.
    ///
    /// # Errors
    /// When the ticket is not of this browser, or older than ten minutes, or the AuthID was revoked meanwhile.
    pub async fn deliver(
        &self,
        ticket: &str,
        binder: Option<&Binder>,
        to_asker: bool,
    ) -> Result<(Origin, SecretString), LoginError> {
        let ticket = Ticket::open(ticket, &self.keyring.load(), self.clock.now()).ok_or(LoginError::StaleLink)?;
        if !binder.is_some_and(|binder| binder.fits(&ticket.context.binder)) {
            return Err(LoginError::OtherBrowser);
        }
        if let Some(why) = self.tokens.dead(ticket.authid.expose_secret()) {
            return Err(LoginError::Paused(None, why));
        }
        let Context { opener, fetch_token, binder, client } = ticket.context;
        let (origin, to_anybody) = match opener {
            // It goes to the opener by itself; only the click is meant for somebody else who asks.
            Opener::Trusted(origin) => (origin, to_asker && client.is_none()),
            Opener::Unknown(origin) => (origin, client.is_none()),
            Opener::None(_) => return Err(LoginError::StaleLink),
        };
        if let Some(token) = fetch_token
            && !self.was_picked_up(&token).await
        {
            let keyring = self.keyring.load();
            let asker = mailbox::asked_from(&self.store, &keyring, &token).await.flatten().filter(|_| to_asker);
            let receiver = match asker {
                Some(address) => Receiver::Address(address),
                None if to_anybody => Receiver::Anybody,
                None => Receiver::Only(Asker { address: client, origin: Some(origin.clone()) }),
            };
            mailbox::leave(&self.store, &keyring, &token, &binder, &receiver, &ticket.authid).await?;
        }
        Ok((origin, ticket.authid))
    }

    /// The AuthID that waits for a fetch token, if it may go to a page of this origin at this client. It is given once.
    /// Who tries too many tokens finds nothing.
    pub async fn pick_up(&self, token: &FetchToken, client: Client, origin: Option<Origin>) -> Option<SecretString> {
        let trusted = origin.as_ref().is_some_and(|origin| self.rules.trusts(origin));
        if mitigation::on(Mitigation::FetchLimit) && !self.fetches.admits(client, trusted, token) {
            return None;
        }
        let asker = Asker { address: client.address, origin };
        let authid = mailbox::pick_up(&self.store, &self.keyring.load(), token, &asker).await?;
        self.fetches.forget(client, trusted, token);
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
    pub(super) async fn leave(&self, context: &Context, authid: &SecretString) -> Result<bool, SealError> {
        let (Opener::Trusted(origin), Some(token)) = (&context.opener, &context.fetch_token) else { return Ok(false) };
        let receiver = Receiver::Only(Asker { address: context.client, origin: Some(origin.clone()) });
        mailbox::leave(&self.store, &self.keyring.load(), token, &context.binder, &receiver, authid).await
    }
}
