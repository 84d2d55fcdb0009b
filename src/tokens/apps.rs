//! Which app registration each login is used with: found out where its AuthID does not say, and counted, so that the
//! operator knows when an old registration at a provider can be deleted. In memory, and bounded.

use super::{Inner, Opened, TokenService};
use crate::authid::{AppId, Grant, GrantId};
use crate::clock::{Clock, UnixTime, rfc3339};
use crate::lru::Lru;
use crate::meter::Meter;
use crate::provider::{Catalogue, RefreshError, Service, TokenResponse};
use secrecy::SecretString;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most logins whose registration was found out and is remembered; of more it is found out again.
const MOST_FOUND: u64 = 100_000;
/// Most logins that are told apart; of more it is known that they come, and not how many they are.
const MOST_SEEN: usize = 200_000;
/// For how long a login counts that came: longer than a month, for backups that run monthly.
const WINDOW: i64 = 35 * 86_400;
/// How often those are left out that came too long ago.
const SWEEP: i64 = 3600;

#[derive(Clone)]
pub(super) struct Apps {
    /// Of logins whose AuthID does not say it; and whether it is one of several.
    found: Lru<GrantId, (AppId, bool)>,
    seen: Arc<Mutex<Seen>>,
    rows: Arc<[Known]>,
}

/// A registration that is configured.
struct Known {
    app: AppId,
    provider: String,
    client: String,
    is_current: bool,
}

/// Logins that brought an access token.
#[derive(Default)]
struct Seen {
    logins: HashMap<GrantId, (AppId, UnixTime)>,
    swept: UnixTime,
    counts: HashMap<AppId, u64>,
    last: HashMap<AppId, UnixTime>,
}

/// How much the registrations are used, as far as this process has seen.
#[derive(Serialize)]
pub struct AppsView {
    /// Since when it watches, RFC 3339.
    pub watching_since: String,
    /// For how many days a login counts.
    pub window_days: i64,
    /// All that are configured.
    pub apps: Vec<AppRow>,
}

/// One registration.
#[derive(Serialize)]
pub struct AppRow {
    /// The provider.
    pub provider: String,
    /// Its mark in AuthIDs.
    pub app: String,
    /// The client id.
    pub client_id: String,
    /// Whether logins are made with it.
    pub current: bool,
    /// How many different logins came within the window.
    pub logins: u64,
    /// When the last one came, RFC 3339.
    pub last_seen: Option<String>,
}

impl Apps {
    pub(super) fn new(catalogue: &Catalogue, clock: &Clock, meter: &Meter) -> Self {
        let found = Lru::new(MOST_FOUND, Duration::MAX, clock);
        Self { found, seen: Arc::default(), rows: Self::rows(catalogue, meter) }
    }

    fn rows(catalogue: &Catalogue, meter: &Meter) -> Arc<[Known]> {
        let mut rows: BTreeMap<(String, String), Known> = BTreeMap::new();
        for service in catalogue.served() {
            let provider = service.provider.id();
            for (app, client) in service.apps() {
                let known = rows.entry((provider.to_owned(), client.to_owned())).or_insert_with(|| Known {
                    app,
                    provider: provider.to_owned(),
                    client: client.to_owned(),
                    is_current: false,
                });
                known.is_current |= service.makes_logins_with(app);
            }
        }
        let rows: Arc<[Known]> = rows.into_values().collect();
        rows.iter().for_each(|row| meter.app_logins(&row.provider, &row.app.to_string(), 0));
        rows
    }

    /// The same for the registrations of another catalogue.
    pub(super) fn with(&self, catalogue: &Catalogue, meter: &Meter) -> Self {
        let new = Self { rows: Self::rows(catalogue, meter), ..self.clone() };
        new.tell(&new.seen(), meter);
        new
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The registration that a login belongs to, as far as is known.
    pub(super) fn of(&self, login: &Grant) -> Option<AppId> {
        let found = || self.found.get(&login.id).map(|(app, _)| app);
        // One that was taken out of the configuration since is looked for again.
        login.app.or_else(|| found().filter(|app| self.has(*app)))
    }

    /// Whether a registration is configured.
    pub(super) fn has(&self, app: AppId) -> bool {
        self.rows.iter().any(|row| row.app == app)
    }

    /// Whether a login without a mark was found to belong to one of several.
    pub(super) fn was_chosen(&self, login: &Grant) -> bool {
        self.found.get(&login.id).is_some_and(|(_, chosen)| chosen)
    }

    fn came(&self, login: GrantId, app: AppId, now: UnixTime, meter: &Meter) {
        let mut seen = self.seen();
        seen.last.insert(app, now);
        let mut changed = self.sweep(&mut seen, now, SWEEP);
        if seen.logins.len() < MOST_SEEN || seen.logins.contains_key(&login) {
            match seen.logins.insert(login, (app, now)) {
                Some((before, _)) if before == app => {}
                before => {
                    changed = true;
                    *seen.counts.entry(app).or_default() += 1;
                    if let Some((before, _)) = before {
                        seen.counts.entry(before).and_modify(|count| *count -= 1);
                    }
                }
            }
        }
        if changed {
            self.tell(&seen, meter);
        }
    }

    /// Leaves out what came too long ago, if that was not done within `pause` seconds. Returns whether it was now.
    fn sweep(&self, seen: &mut Seen, now: UnixTime, pause: i64) -> bool {
        if now.saturating_sub(seen.swept) < pause {
            return false;
        }
        let Seen { logins, counts, swept, .. } = seen;
        *swept = now;
        logins.retain(|_, (_, at)| now.saturating_sub(*at) <= WINDOW);
        counts.clear();
        logins.values().for_each(|(app, _)| *counts.entry(*app).or_default() += 1);
        true
    }

    fn tell(&self, seen: &Seen, meter: &Meter) {
        for row in self.rows.iter() {
            let count = seen.counts.get(&row.app).copied().unwrap_or_default();
            meter.app_logins(&row.provider, &row.app.to_string(), count);
        }
    }

    fn view(&self, clock: &Clock, meter: &Meter) -> AppsView {
        let mut seen = self.seen();
        self.sweep(&mut seen, clock.now(), 0);
        self.tell(&seen, meter);
        let row = |row: &Known| AppRow {
            provider: row.provider.clone(),
            app: row.app.to_string(),
            client_id: row.client.clone(),
            current: row.is_current,
            logins: seen.counts.get(&row.app).copied().unwrap_or_default(),
            last_seen: seen.last.get(&row.app).map(|at| rfc3339(*at)),
        };
        AppsView {
            watching_since: rfc3339(meter.watching_since()),
            window_days: WINDOW / 86_400,
            apps: self.rows.iter().map(row).collect(),
        }
    }
}

impl TokenService {
    /// How much each registration is used.
    pub fn apps(&self) -> AppsView {
        self.0.apps.view(&self.0.clock, &self.0.meter)
    }
}

impl Inner {
    /// Asks the provider with the registration that a login belongs to, and remembers which one it is.
    pub(super) async fn refresh_with_app(
        &self,
        service: &Service,
        login: &Grant,
        token: &SecretString,
        budget: Duration,
    ) -> Result<TokenResponse, RefreshError> {
        let (tokens, app) = self.providers.refresh(service, self.apps.of(login), token, budget).await?;
        if login.app.is_none() {
            self.apps.found.insert(login.id, (app, service.apps().count() > 1));
        }
        Ok(tokens)
    }

    /// Counts a login that brought an access token.
    pub(super) fn used_app(&self, opened: &Opened) {
        if let Some(app) = self.apps.of(&opened.login) {
            self.apps.came(opened.login.id, app, self.clock.now(), &self.meter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authid::ServiceId;

    fn apps(configured: &[AppId]) -> Apps {
        let known = |(app, number): (&AppId, usize)| Known {
            app: *app,
            provider: "p".to_owned(),
            client: number.to_string(),
            is_current: number == 0,
        };
        let rows = configured.iter().zip(0..).map(known).collect();
        Apps { found: Lru::new(9, Duration::MAX, &Clock::system()), seen: Arc::default(), rows }
    }

    fn names() -> [AppId; 2] {
        ["one", "other"].map(|client| AppId::new("p", client))
    }

    fn grant(number: usize) -> GrantId {
        GrantId::new((number as u128).to_be_bytes())
    }

    #[test]
    fn what_was_found_of_a_login_holds_as_long_as_it_is_configured_and_its_own_mark_always() {
        let [one, other] = names();
        let gone = AppId::new("p", "gone");
        let apps = apps(&[one, other]);
        let login = || Grant::new(ServiceId::parse("s").unwrap(), "token".to_owned().into(), 1).unwrap();
        for (found, chosen, of) in [(other, true, Some(other)), (one, false, Some(one)), (gone, true, None)] {
            let login = login();
            assert_eq!((apps.of(&login), apps.was_chosen(&login)), (None, false));
            apps.found.insert(login.id, (found, chosen));
            assert_eq!((apps.of(&login), apps.was_chosen(&login)), (of, chosen));
            assert_eq!(apps.of(&Grant { app: Some(gone), ..login }), Some(gone));
        }
    }

    #[test]
    fn each_registration_is_told_by_its_logins_of_the_last_35_days() {
        const DAY: i64 = 86_400;
        let [one, other] = names();
        let (apps, meter, clock) = (apps(&[one, other]), Meter::default(), Clock::system());
        let told = |apps: &Apps| {
            let shown = meter.render();
            let count = |app: AppId| {
                let line = format!("authseal_app_logins{{app=\"{app}\",provider=\"p\"}} ");
                shown.lines().find_map(|shown| shown.strip_prefix(&line)).unwrap().to_owned()
            };
            let view = apps.view(&clock, &meter);
            assert_eq!(view.window_days, 35);
            let rows = view.apps.iter().map(|row| (row.logins, row.current)).collect::<Vec<_>>();
            (count(one), count(other), rows)
        };
        let now = clock.now();
        for (login, app, at) in [(1, one, now - 36 * DAY), (2, one, now - 34 * DAY), (3, other, now)] {
            apps.came(grant(login), app, at, &meter);
        }
        // Those of 36 days ago were left out when the last one came, and the others counted again.
        assert_eq!(told(&apps), ("1".to_owned(), "1".to_owned(), vec![(1, true), (1, false)]));
        let swept = apps.seen().swept;
        apps.came(grant(4), other, swept + SWEEP - 1, &meter);
        assert_eq!(apps.seen().swept, swept, "not for each request");
        assert_eq!(told(&apps).1, "2");
    }

    #[test]
    fn of_more_logins_than_are_told_apart_it_is_known_when_the_last_one_came() {
        let [one, other] = names();
        let (login, apps, meter) = (grant, apps(&[]), Meter::default());
        {
            let mut seen = apps.seen.lock().unwrap();
            seen.logins.extend((0..MOST_SEEN - 1).map(|number| (login(number), (one, 1))));
            seen.counts.insert(one, MOST_SEEN as u64 - 1);
        }
        let counted = |app| apps.seen.lock().unwrap().counts.get(&app).copied().unwrap_or_default();
        apps.came(login(MOST_SEEN - 1), other, 2, &meter);
        assert_eq!((counted(one), counted(other)), (MOST_SEEN as u64 - 1, 1));
        // One too many.
        apps.came(login(MOST_SEEN), other, 3, &meter);
        assert_eq!((counted(one), counted(other)), (MOST_SEEN as u64 - 1, 1));
        assert_eq!(apps.seen.lock().unwrap().last.get(&other), Some(&3));
        // Those that are told apart already still are.
        apps.came(login(0), other, 4, &meter);
        assert_eq!((counted(one), counted(other)), (MOST_SEEN as u64 - 2, 2));
        // And there is room again once the others came too long ago.
        apps.came(login(0), other, WINDOW + 5, &meter);
        assert_eq!((counted(one), counted(other)), (0, 1));
        apps.came(login(MOST_SEEN), one, WINDOW + 6, &meter);
        assert_eq!((counted(one), counted(other)), (1, 1));
    }
}
