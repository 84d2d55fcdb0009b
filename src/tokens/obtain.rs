//! From an AuthID to an access token within the time that a client has: one try, and retries where they may be of use.
//! Never for a client that is better served at once: with a spare token, or with an error that will stay.

use super::cache::{AccessToken, TokenName};
use super::{ExchangeError, Granted, Inner, Opened, Source, TokenService};
use crate::authid::Grant;
use crate::net::ClientNet;
use crate::provider::{ProviderError, RefreshTokenPolicy, Service};
use crate::seal::NoKey;
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// The time for one answer where nothing is tried a second time: Duplicati gives up after 25 s and must read our reason
/// before that.
pub(super) const BUDGET: Duration = Duration::from_secs(20);
/// Whoever is not answered after this time waits, so that who asks a provider that answers needs no place to wait.
const PROMPT: Duration = Duration::from_secs(2);
/// How often who waits for a key looks whether it has come; the keyring's file is looked at every second.
const LOOK: Duration = Duration::from_millis(500);
/// One in so many places is for AuthIDs under an unknown key: anybody can make one up.
const UNPROVEN: usize = 8;

/// Who wants an access token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Requester {
    /// A client: what is remembered will do, be it good or bad.
    Client,
    /// The loop that tries for those who wait, the last of them until this time, and keeps its own pauses.
    Loop(Instant),
    /// Nobody: what is remembered is renewed ahead of its end.
    Renewal,
    /// Who wants to know whether the login works now.
    Tester,
}

impl TokenService {
    /// Until when a request must be answered that comes now.
    pub fn deadline(&self) -> Instant {
        let wait = self.0.patience.wait;
        Instant::now() + if wait.is_zero() { BUDGET } else { wait }
    }

    /// Opens an AuthID, revoked or not. One under a key that is newer than all here waits for that key until
    /// `deadline`.
    ///
    /// # Errors
    /// Says why it does not open.
    pub async fn open_until(&self, authid: &str, deadline: Instant) -> Result<Opened, ExchangeError> {
        let mut opened = self.open(authid).await;
        let is_newer = |opened: &_| matches!(opened, Err(ExchangeError::NoKey(_, NoKey::Newer)));
        // A keyring without a file never changes.
        if is_newer(&opened) && self.0.waits() && self.0.keyring.load_status().looked_at().is_some() {
            let Some(_place) = self.0.room.enter(UNPROVEN) else { return opened };
            let look = || self.0.ending.run_until_cancelled(sleep(LOOK));
            while is_newer(&opened) && Instant::now() + LOOK < deadline && look().await.is_some() {
                opened = self.open(authid).await;
            }
            self.0.waited(opened.as_ref().err());
        }
        opened
    }

    /// Exchanges an AuthID for an access token until `deadline`, which is [`TokenService::deadline`] of its request.
    /// `address` says the client's, where it is known; most need none. When neither provider nor store can help, a
    /// remembered token is handed out until half a minute before its end.
    ///
    /// # Errors
    /// Says why not.
    pub async fn refresh(
        &self,
        opened: &Opened,
        deadline: Instant,
        address: impl FnOnce() -> Option<ClientNet>,
    ) -> Result<Granted, ExchangeError> {
        let service = self.check(opened)?;
        let obtained = self.obtain(opened, service, deadline, address).await;
        // That took its time; a revocation may have come meanwhile.
        self.check(opened)?;
        obtained.map(|(access, source)| self.grant(opened, access, source))
    }

    async fn obtain(
        &self,
        opened: &Opened,
        service: &Arc<Service>,
        deadline: Instant,
        address: impl FnOnce() -> Option<ClientNet>,
    ) -> Result<(Arc<AccessToken>, Source), ExchangeError> {
        let inner = &self.0;
        let login = &opened.login;
        let spare = |why: Option<&ExchangeError>| {
            let access = inner.spare(login, service)?;
            tracing::debug!(why = ?why.map(ToString::to_string), "the remembered access token is handed out");
            Some((access, Source::Spare))
        };
        // An exchange that is under way may end the spare token, where refresh tokens work once.
        let rotates = inner.is_single_use(service);
        let hurries = inner.waits() || inner.cache.spare(login.id).is_some() && !rotates;
        let prompt = if hurries { deadline.min(Instant::now() + PROMPT) } else { deadline };
        let failed = match timeout_at(prompt, inner.once(login, service, Requester::Client)).await {
            Ok(Ok(access)) => return Ok((access, Source::Fetched)),
            Ok(Err(refused)) => Some(refused),
            Err(_) => None,
        };
        if failed.as_ref().map_or(!rotates, ExchangeError::passes)
            && let Some(spare) = spare(failed.as_ref())
        {
            return Ok(spare);
        }
        let waited = self.wait(opened, service, deadline, failed, address).await;
        // By now nothing else is to be had, so the exchange may as well end it.
        waited.map(|access| (access, Source::Fetched)).or_else(|refused| {
            let spare = if refused.passes() { spare(Some(&refused)) } else { None };
            spare.ok_or(refused)
        })
    }

    /// Tries again until `deadline`, where that may be of use.
    async fn wait(
        &self,
        opened: &Opened,
        service: &Arc<Service>,
        deadline: Instant,
        failed: Option<ExchangeError>,
        address: impl FnOnce() -> Option<ClientNet>,
    ) -> Result<Arc<AccessToken>, ExchangeError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if !self.0.waits() || failed.as_ref().is_some_and(|refused| !refused.may_pass(left)) {
            return Err(failed.unwrap_or_else(|| self.0.late(service)));
        }
        let place = self.0.room.enter_as(opened.login.id, address(), failed.is_some());
        let _place = place.ok_or(ExchangeError::NoRoom)?;
        let name = self.0.name_of(&opened.login, service);
        let inner = self.0.clone();
        let login = opened.login.clone();
        let theirs = service.clone();
        let attempt = move |until| {
            let inner = inner.clone();
            let login = login.clone();
            let service = theirs.clone();
            async move { inner.once(&login, &service, Requester::Loop(until)).await }.boxed()
        };
        let inner = self.0.clone();
        let rest = move || inner.cache.rest(&name);
        let may = || self.check(opened).is_ok();
        let waited = self.0.loops.wait(name, deadline, failed, attempt, rest, may).await;
        let waited = waited.map_err(|refused| refused.unwrap_or_else(|| self.0.late(service)));
        self.0.waited(waited.as_ref().err());
        waited
    }
}

impl Inner {
    /// Whether anything is waited for.
    fn waits(&self) -> bool {
        !self.patience.wait.is_zero()
    }

    /// Counts how a wait ended.
    fn waited(&self, refused: Option<&ExchangeError>) {
        self.meter.waited(refused.map_or("ok", ExchangeError::label));
    }

    /// The reason when the time is over and nothing came of a call.
    pub(super) fn late(&self, service: &Service) -> ExchangeError {
        // It continues, and its answer is kept whenever it comes.
        if self.is_single_use(service) {
            ExchangeError::Unclear(ProviderError::TimedOut, None)
        } else {
            ExchangeError::TimedOut
        }
    }

    /// Asks the provider once, together with whoever else does.
    pub(super) async fn once(
        self: &Arc<Self>,
        login: &Grant,
        service: &Arc<Service>,
        requester: Requester,
    ) -> Result<Arc<AccessToken>, ExchangeError> {
        let name = self.name_of(login, service);
        let work = || {
            let inner = self.clone();
            let login = login.clone();
            let service = service.clone();
            async move { inner.ask(name, &login, &service, requester).await }
        };
        // A refresh token that works once must not be spent by a call that ends with a worker.
        let outcome = match service.provider.rotation() {
            RefreshTokenPolicy::SingleUse => self.flights.join(name, work).await,
            RefreshTokenPolicy::Rolling | RefreshTokenPolicy::Static => self.flights.join_here(name, work).await,
        };
        outcome.unwrap_or(Err(ExchangeError::Internal))
    }

    pub(super) async fn ask(
        &self,
        name: TokenName,
        login: &Grant,
        service: &Arc<Service>,
        requester: Requester,
    ) -> Result<Arc<AccessToken>, ExchangeError> {
        let use_cached = matches!(requester, Requester::Client | Requester::Loop(_));
        // Whoever came here after an earlier flight had landed finds its result.
        if let Some(access) = self.cached_for(login, service).filter(|_| use_cached) {
            return Ok(access);
        }
        let counts = |failure: &ProviderError| match requester {
            Requester::Client | Requester::Renewal => true,
            Requester::Loop(_) => failure.passes_after() != Some(Duration::ZERO),
            // Whoever asks on purpose is kept from it only if the provider wants to be left alone.
            Requester::Tester => matches!(failure, ProviderError::Busy { .. }),
        };
        if let Some((failure, status)) = self.cache.failure(&name).filter(|(failure, _)| counts(failure)) {
            return Err(self.believed(service, login, ExchangeError::Provider(failure, status)));
        }
        // Whoever asks on purpose is a probe more.
        if let Some(why) = self.held(service, login).filter(|_| requester != Requester::Tester) {
            return Err(why);
        }
        if let Requester::Loop(until) = requester
            && service.provider.is_too_crowded_for(until.saturating_duration_since(Instant::now()))
        {
            return Err(ExchangeError::Provider(ProviderError::Crowded, None));
        }
        let outcome = self.call_provider(name, service, login, requester).await;
        if outcome.is_ok() {
            self.forecast(service, login);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the future that this function makes, in bytes.
    fn size<A, F: Future>(_: fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_call_under_way_takes_little_memory() {
        type Asked = (&'static Inner, TokenName, &'static Grant, &'static Arc<Service>);
        let call = size(|(inner, name, login, service): Asked| inner.ask(name, login, service, Requester::Client));
        assert!(call < 6_000, "{call} bytes");
    }
}
