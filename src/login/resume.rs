//! Who wanted to log in, read from what the browser brings back: the `ctx` of one of our links, or the `state` of a
//! callback. A login that failed, expired or is made once more still ends at the page that opened the first one.

use super::browser_cookie::BrowserCookie;
use super::login_context::{LoginContext, State};
use super::{Callback, LoginError, Logins};
use crate::net::Client;

impl Logins {
    /// What [`Logins::seal_context`] sealed, if this browser is the one it was sealed for.
    ///
    /// # Errors
    /// When it is not, or too old; when there is no cookie to tell by.
    pub fn context(&self, ctx: &str, browser_cookie: Option<&BrowserCookie>) -> Result<LoginContext, LoginError> {
        let context = LoginContext::open(ctx, &self.keyring.load(), self.clock.now()).ok_or(LoginError::StaleLink)?;
        let ours = browser_cookie.ok_or(LoginError::NoCookie)?.matches(&context.browser_cookie);
        ours.then_some(context).ok_or(LoginError::StaleLink)
    }

    /// The same for somebody who begins again, so that who opened the first page still gets the AuthID. Nothing for a
    /// browser at another address: see [`Caution::OtherAddress`](super::Caution::OtherAddress).
    pub fn resumed(&self, ctx: &str, browser_cookie: Option<&BrowserCookie>, client: Client) -> Option<LoginContext> {
        self.context(ctx, browser_cookie).ok().filter(|context| !context.has_moved(client))
    }

    /// [`Logins::resumed`] after a login that came back and failed.
    pub fn resumed_after(
        &self,
        callback: &Callback,
        browser_cookie: Option<&BrowserCookie>,
        client: Client,
    ) -> Option<LoginContext> {
        let context = self.state(callback).0?.context;
        (browser_cookie?.matches(&context.browser_cookie) && !context.has_moved(client)).then_some(context)
    }

    /// The state of a callback, and whether the provider dropped it.
    pub(super) fn state(&self, callback: &Callback) -> (Option<State>, bool) {
        let returned = callback.state.as_deref().filter(|state| !state.is_empty());
        let state = returned.or(callback.state_cookie.as_deref());
        (state.and_then(|state| State::open(state, &self.keyring.load(), self.clock.now())), returned.is_none())
    }
}
