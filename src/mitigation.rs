//! The mitigations: single decisions that keep an attacker out. Each one is asked for by name, so that a test of this
//! crate can switch one off, see its attack succeed, and so know that the attack fails because of it and nothing else.
//!
//! There is no switch outside this crate's own tests: in every other build `on` is the constant `true`.

/// A decision that keeps an attacker out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mitigation {
    /// A login ends in the browser where it began, and what was sealed for one browser is of no use in another.
    BrowserCookie,
    /// A state, a login link or a ticket ends after its time.
    Age,
    /// A callback counts once.
    Replay,
    /// A callback comes from the provider that was asked (RFC 9207).
    Issuer,
    /// Only a provider that is known to drop `state` may do so.
    StateOptional,
    /// A callback without `state` is redeemed on a click on our own page alone.
    Confirmation,
    /// An AuthID goes nowhere by itself when its login began at another address.
    OtherAddress,
    /// A login begins on our own page.
    OwnPageOnly,
    /// Another site's page sends no form of ours.
    ForeignForm,
    /// Pages are shown under our own name.
    HostName,
    /// A GET with an effect counts only as a navigation, not as a browser's guess of where its user may go next.
    Navigation,
    /// Nothing secret is taken by plain http.
    PlainHttp,
    /// Only the operator's own proxies say where a request comes from.
    TrustedProxy,
    /// What ends TLS for this server and does not say for whom is not taken for the client.
    HiddenProxy,
    /// Where there is a shared password, a login begins with it.
    Password,
    /// An AuthID goes by itself to trusted openers only.
    TrustedOpener,
    /// An AuthID is picked up at the address of its login.
    MailboxAddress,
    /// An AuthID is picked up by the page that opened the login, not by another one in the same browser.
    MailboxOrigin,
    /// What waits in the mailbox is not replaced by another browser's login.
    MailboxOwner,
    /// An AuthID is picked up by a script, not by a page or an image that somebody made a browser load.
    MailboxAsker,
    /// Nobody tries more than some fetch tokens a minute.
    FetchLimit,
    /// A fetch token that could be guessed is none.
    FetchTokenStrength,
    /// A JSONP callback is a plain name.
    JsonpCallback,
    /// No page of our own runs a script that a request made up.
    OwnJsonp,
    /// Whoever knows a login's id alone does not revoke it.
    RevokeCodeTag,
    /// Nobody has more than some AuthIDs tried at their providers a minute.
    TestLimit,
}

/// Whether a mitigation does its work: always.
#[cfg(not(test))]
pub(crate) const fn on(_: Mitigation) -> bool {
    true
}

#[cfg(test)]
pub(crate) use switch::{on, without};

#[cfg(test)]
mod switch {
    use super::Mitigation;
    use std::cell::Cell;

    thread_local! {
        // Of the thread, so that tests that run side by side do not disarm each other.
        static OFF: Cell<Option<Mitigation>> = const { Cell::new(None) };
    }

    /// Until this is dropped, a mitigation is off on this thread.
    #[must_use]
    pub(crate) struct Without;

    /// Switches a mitigation off.
    pub(crate) fn without(mitigation: Mitigation) -> Without {
        OFF.set(Some(mitigation));
        Without
    }

    impl Drop for Without {
        fn drop(&mut self) {
            OFF.set(None);
        }
    }

    pub(crate) fn on(mitigation: Mitigation) -> bool {
        OFF.get() != Some(mitigation)
    }
}
