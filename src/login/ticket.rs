//! The ticket: what the page with the AuthID hands back when its user presses a button to have the AuthID sent. It holds
//! the AuthID itself, so nothing is stored for those who never press; and it is of use in the browser of the login alone
//! (CSRF).
//!
//! `context | AuthID`, sealed as contexts are, under a key of its own.

use super::login_context::{LoginContext, Reader, STATE_LIFETIME};
use crate::clock::UnixTime;
use crate::seal::{Keyring, Purpose, SealError};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// An AuthID that may be sent, and what is known of the login that made it.
pub(super) struct Ticket {
    /// Who opened the login page, in which browser, and where that ended the login.
    pub(super) context: LoginContext,
    /// What is to be sent.
    pub(super) authid: SecretString,
}

impl Ticket {
    /// Seals it.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub(super) fn seal(&self, keyring: &Keyring, now: UnixTime) -> Result<String, SealError> {
        let authid = self.authid.expose_secret();
        let context = self.context.encode(now);
        let mut bytes = Zeroizing::new(Vec::with_capacity(context.len() + authid.len()));
        bytes.extend(context);
        bytes.extend_from_slice(authid.as_bytes());
        keyring.seal_param(Purpose::DeliveryTicket, b"", &bytes).map(|(text, _)| text)
    }

    /// Opens what [`Ticket::seal`] made in the last ten minutes.
    pub(super) fn open(text: &str, keyring: &Keyring, now: UnixTime) -> Option<Self> {
        let opened = keyring.open_param(text, Purpose::DeliveryTicket, b"")?;
        let mut reader = Reader(&opened.plaintext);
        let context = LoginContext::decode(&mut reader, now, STATE_LIFETIME)?;
        let authid = std::str::from_utf8(reader.0).ok()?.to_owned().into();
        Some(Self { context, authid })
    }
}
