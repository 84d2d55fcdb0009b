//! The brake for mass refusals. When a provider refuses many logins one after the other that worked lately, the fault is
//! this server's app registration there (a secret that ended, told as `invalid_grant`; an app that was blocked) and not
//! the people's: nobody is told to log in again, few logins are tried, and it ends by itself when those work.
//!
//! Only logins that worked here lately count, each of them once for a success, and one success takes all back: who sends
//! dead logins on purpose, however many, changes nothing. Each process judges for itself, for each registration. In
//! memory and bounded; a restart forgets which logins worked, so that nothing is held back until enough have worked.

use crate::authid::{AppId, GrantId};
use crate::clock::Clock;
use crate::meter::Meter;
use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A login counts as one that worked lately for as long as this, and up to twice as long: over a weekend. The brake is on
/// for twice as long at most.
const PERIOD: Duration = Duration::from_secs(2 * 86_400);
/// Most logins that are remembered of a registration and a period, 17 bytes each. With more, a random part of them is.
const MAX_LOGINS: usize = 32_768;
/// One in so many logins that worked lately has to be refused, at the least: the brake is not for a small part of many.
const PART: usize = 500;
/// The time between two probes, as long as they are refused.
const PROBE: Duration = Duration::from_secs(2);
/// After this time without a probe, a login will do that is not known to have worked.
const ANY: Duration = Duration::from_secs(60);
/// No login is a probe twice in this time.
const AGAIN: Duration = Duration::from_secs(3600);
/// So many different logins have to work one after the other to release it.
const ENOUGH: usize = 3;

/// When the brake comes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct BrakeSettings {
    /// It is for registrations of which so many logins worked lately; 0 if it is for none.
    pub logins: usize,
    /// So many of those have to be refused with no success between them.
    pub refused: usize,
}

/// The brakes of all registrations. Clones share all but the settings.
#[derive(Clone)]
pub(super) struct Brakes {
    settings: BrakeSettings,
    apps: Arc<Mutex<HashMap<AppId, App>>>,
    clock: Clock,
    meter: Meter,
}

/// What is known of a registration.
#[derive(Default)]
struct App {
    worked: Sample,
    worked_before: Sample,
    period_began: Duration,
    /// Refused since the last success, and not since they worked.
    refused: HashSet<GrantId>,
    on: Option<On>,
}

/// A brake that is on.
struct On {
    provider: String,
    since: Duration,
    /// When the next login may be tried.
    probe_at: Duration,
    tried: HashSet<GrantId>,
    tried_since: Duration,
    /// Those that worked since the last refusal.
    worked: HashSet<GrantId>,
}

/// Logins, or a random part of them: grant ids are random.
#[derive(Default)]
struct Sample {
    logins: HashSet<GrantId>,
    /// One in two to the power of this.
    part: u32,
}

impl Brakes {
    pub(super) fn new(settings: BrakeSettings, clock: Clock, meter: Meter) -> Self {
        Self { settings, apps: Arc::default(), clock, meter }
    }

    /// The same brakes by other settings.
    pub(super) fn with_settings(&self, settings: BrakeSettings) -> Self {
        if settings.logins == 0 {
            for (_, this) in self.apps.lock().unwrap_or_else(PoisonError::into_inner).drain() {
                this.on.iter().for_each(|on| self.release(on, self.clock.uptime()));
            }
        }
        Self { settings, ..self.clone() }
    }

    /// What made logins be refused may have been put right: those that were tried may be tried again, the next one at
    /// once. Otherwise, where all have been, nobody could be a probe for an hour. Of a registration that is not `served`
    /// any more none will be.
    pub(super) fn try_again(&self, served: impl Fn(AppId) -> bool) {
        let now = self.clock.uptime();
        for (app, this) in self.apps.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let gone = this.on.take_if(|_| !served(*app));
            gone.into_iter().for_each(|on| self.release(&on, now));
            let Some(on) = &mut this.on else { continue };
            on.probe_at = now;
            // They had worked, but for one a minute.
            on.tried.drain().for_each(|login| this.worked.insert(login));
        }
    }

    /// Whether a login is not to be tried now. If it is, it may be as a probe, and counts as one.
    pub(super) fn holds(&self, app: AppId, login: GrantId) -> bool {
        self.with(app, |this, now| {
            let worked = this.worked.has(&login) || this.worked_before.has(&login);
            this.on.as_mut().is_some_and(|on| !on.may_try(login, worked, now))
        })
    }

    /// Whether the brake is on.
    pub(super) fn is_on(&self, app: AppId) -> bool {
        self.with(app, |this, _| this.on.is_some())
    }

    /// The provider gave an access token for a login.
    pub(super) fn worked(&self, app: AppId, login: GrantId) {
        if self.settings.logins == 0 {
            return;
        }
        self.with(app, |this, now| {
            this.worked.insert(login);
            this.refused.clear();
            if let Some(on) = &mut this.on {
                on.worked.insert(login);
                // The next one may be tried at once.
                on.probe_at = now;
            }
            let released = this.on.take_if(|on| on.worked.len() >= ENOUGH);
            released.into_iter().for_each(|on| self.release(&on, now));
        });
    }

    /// The provider refused a login. Whether that says nothing against the login.
    pub(super) fn refused(&self, app: AppId, login: GrantId, provider: &str) -> bool {
        self.with(app, |this, now| {
            let worked = this.worked.remove(&login) | this.worked_before.remove(&login);
            if let Some(on) = &mut this.on {
                // Of others, who sends them on purpose could keep it on.
                if worked {
                    on.worked.clear();
                }
                return true;
            }
            if !worked {
                return false;
            }
            this.refused.insert(login);
            let sample =
                if this.worked.count() > this.worked_before.count() { &this.worked } else { &this.worked_before };
            let (logins, remembered) = (sample.count(), sample.logins.len());
            // Those that were refused are no longer among them.
            let is_few = logins + this.refused.len() < self.settings.logins;
            if is_few || this.refused.len() < self.settings.refused.max(remembered / PART) {
                return false;
            }
            let (tried, worked) = (mem::take(&mut this.refused), HashSet::new());
            let provider = provider.to_owned();
            self.meter.mass_refusal(&provider, 1.0);
            tracing::error!(
                provider,
                logins,
                "a provider suddenly refuses many logins that worked lately: look at this server's app there; until \
                 logins work again clients are told that their AuthIDs should be fine"
            );
            this.on = Some(On { provider, since: now, probe_at: now + PROBE, tried, tried_since: now, worked });
            true
        })
    }

    fn release(&self, on: &On, now: Duration) {
        self.meter.mass_refusal(&on.provider, -1.0);
        let (provider, seconds) = (&on.provider, now.saturating_sub(on.since).as_secs());
        let works = on.worked.len() >= ENOUGH;
        tracing::warn!(provider, seconds, works, "a provider's refusals are taken for what they say again");
    }

    fn with<T>(&self, app: AppId, act: impl FnOnce(&mut App, Duration) -> T) -> T {
        let now = self.clock.uptime();
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let this = apps.entry(app).or_default();
        let passed = now.saturating_sub(this.period_began);
        if passed >= PERIOD {
            let last = mem::take(&mut this.worked);
            this.worked_before = if passed < 2 * PERIOD { last } else { Sample::default() };
            this.period_began = now;
        }
        if let Some(on) = this.on.take_if(|on| now.saturating_sub(on.since) >= 2 * PERIOD) {
            self.release(&on, now);
            // Or it would come back at once.
            (this.worked, this.worked_before) = Default::default();
        }
        act(this, now)
    }
}

impl On {
    /// Whether a login is to be tried now, which `worked` lately or is not known to have.
    fn may_try(&mut self, login: GrantId, worked: bool, now: Duration) -> bool {
        if now.saturating_sub(self.tried_since) >= AGAIN {
            self.tried.clear();
            self.tried_since = now;
        }
        let since = if worked { self.probe_at } else { self.probe_at + ANY };
        if now < since || !self.tried.insert(login) {
            return false;
        }
        self.probe_at = now + PROBE;
        true
    }
}

impl Sample {
    fn takes(part: u32, login: &GrantId) -> bool {
        u128::from_le_bytes(*login.as_bytes()).trailing_zeros() >= part
    }

    fn insert(&mut self, login: GrantId) {
        if Self::takes(self.part, &login) {
            self.logins.insert(login);
        }
        while self.logins.len() > MAX_LOGINS {
            self.part += 1;
            self.logins.retain(|login| Self::takes(self.part, login));
        }
    }

    fn has(&self, login: &GrantId) -> bool {
        self.logins.contains(login)
    }

    /// Whether it was there.
    fn remove(&mut self, login: &GrantId) -> bool {
        self.logins.remove(login)
    }

    /// How many logins there are, of which these are a part.
    fn count(&self) -> usize {
        self.logins.len() << self.part.min(31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BrakeSettings = BrakeSettings { logins: 100, refused: 20 };

    fn app(number: u8) -> AppId {
        AppId::new("example", &number.to_string())
    }

    fn login(number: u128) -> GrantId {
        // Spread over all bits, as random ones are.
        GrantId::new(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes())
    }

    fn brakes() -> (Brakes, Clock) {
        let clock = Clock::system();
        (Brakes::new(SETTINGS, clock.clone(), Meter::default()), clock)
    }

    fn work(brakes: &Brakes, logins: impl Iterator<Item = u128>) {
        logins.for_each(|number| brakes.worked(app(1), login(number)));
    }

    /// How many of these are told that they were refused.
    fn refuse(brakes: &Brakes, logins: impl Iterator<Item = u128>) -> usize {
        logins.filter(|number| !brakes.refused(app(1), login(*number), "example")).count()
    }

    #[test]
    fn many_refusals_of_logins_that_worked_hold_the_rest_until_some_work_again() {
        let (brakes, clock) = brakes();
        work(&brakes, 0..10_000);
        // As many more as were under way when it came on.
        assert_eq!(refuse(&brakes, 0..64), 19);
        assert!(brakes.is_on(app(1)) && !brakes.is_on(app(2)), "each registration by itself");
        assert!((0..10_000).all(|number| brakes.holds(app(1), login(number))), "none so soon");
        clock.advance(PROBE);
        let tried: Vec<_> = (0..1000).filter(|number| !brakes.holds(app(1), login(*number))).collect();
        assert_eq!(tried, [64], "those before it have been refused already");
        assert_eq!(refuse(&brakes, 64..65), 0);
        // Not released by one, nor by some with a refusal between them.
        for number in [100, 101] {
            clock.advance(PROBE);
            assert!(!brakes.holds(app(1), login(number)));
            work(&brakes, number..=number);
        }
        assert_eq!(refuse(&brakes, 102..103), 0);
        clock.advance(PROBE);
        work(&brakes, 109..110);
        assert_eq!(refuse(&brakes, 20_000..30_000), 0, "those that never worked do not hold it on");
        for number in 110..112 {
            assert!(!brakes.holds(app(1), login(number)), "after one that works the next is tried at once");
            work(&brakes, number..=number);
        }
        assert!(!brakes.is_on(app(1)) && !brakes.holds(app(1), login(5000)));
        assert_eq!(refuse(&brakes, 150..151), 1, "and a single one is believed");
    }

    #[test]
    fn dead_logins_sent_on_purpose_and_a_success_between_refusals_change_nothing() {
        let (brakes, _) = brakes();
        work(&brakes, 0..1000);
        assert_eq!(refuse(&brakes, 5000..9000), 4000, "none of them ever worked here");
        assert_eq!(refuse(&brakes, (0..19).cycle().take(5000)), 5000, "one login counts once");
        work(&brakes, 500..501);
        assert_eq!(refuse(&brakes, 0..19), 19, "nor again after a success, if it did not work itself");
        for number in 100..400 {
            assert_eq!(refuse(&brakes, number..=number), 1);
            if number % 19 == 0 {
                work(&brakes, 500..501);
            }
        }
        assert!(!brakes.is_on(app(1)));
    }

    #[test]
    fn a_registration_with_few_logins_has_no_brake_and_none_has_one_if_it_is_switched_off() {
        let (brakes, _) = brakes();
        work(&brakes, 0..99);
        assert_eq!(refuse(&brakes, 0..99), 99);
        let (enough, _) = self::brakes();
        work(&enough, 0..100);
        assert_eq!(refuse(&enough, 0..100), 19);
        let off = Brakes::new(BrakeSettings { logins: 0, refused: 20 }, Clock::system(), Meter::default());
        work(&off, 0..1000);
        assert_eq!(refuse(&off, 0..1000), 1000);
    }

    #[test]
    fn after_a_repair_those_that_were_tried_may_be_tried_again_and_release_it() {
        let (brakes, clock) = brakes();
        work(&brakes, 0..100);
        refuse(&brakes, 0..20);
        let try_all = || (0..100).filter(|number| !brakes.holds(app(1), login(*number))).collect::<Vec<_>>();
        for number in 20..100 {
            clock.advance(PROBE);
            assert_eq!(try_all(), [number]);
            assert_eq!(refuse(&brakes, number..=number), 0);
        }
        clock.advance(60 * PROBE);
        assert_eq!(try_all(), [0; 0], "each of them was tried within the hour");
        brakes.try_again(|served| served == app(1));
        assert!(brakes.is_on(app(1)), "nobody knows yet whether that was it");
        for number in 0..3 {
            assert_eq!(try_all(), [number]);
            work(&brakes, number..=number);
        }
        assert!(!brakes.is_on(app(1)));
        work(&brakes, 0..100);
        refuse(&brakes, 0..20);
        brakes.try_again(|_| false);
        assert!(!brakes.is_on(app(1)), "that registration was taken out");
    }

    #[test]
    fn probes_are_few_and_no_login_is_one_twice_within_the_hour() {
        let (brakes, clock) = brakes();
        work(&brakes, 0..1000);
        refuse(&brakes, 0..20);
        let mut probes = Vec::new();
        for _ in 0..60 {
            clock.advance(Duration::from_secs(1));
            let tried = (0..40).chain(9000..9040).filter(|number| !brakes.holds(app(1), login(*number)));
            probes.extend(tried.inspect(|number| assert_eq!(refuse(&brakes, *number..=*number), 0)));
        }
        assert_eq!(probes, (20..40).collect::<Vec<_>>(), "none that is not known to have worked");
        // Where nobody else comes, one of those will do.
        clock.advance(ANY);
        let tried: Vec<_> = (0..40).chain(9000..9040).filter(|number| !brakes.holds(app(1), login(*number))).collect();
        assert_eq!(tried.len(), 1);
        clock.advance(AGAIN);
        assert!(!brakes.holds(app(1), login(20)));
        // Of one whose probe says nothing, too.
        clock.advance(PROBE);
        assert!(!brakes.holds(app(1), login(50)));
        clock.advance(PROBE);
        assert!(brakes.holds(app(1), login(50)) && !brakes.holds(app(1), login(51)));
        clock.advance(AGAIN);
        assert!(!brakes.holds(app(1), login(50)));
    }

    #[test]
    fn logins_that_worked_count_for_two_days_and_up_to_four() {
        for (days, told) in [(2, 19), (4, 1000)] {
            let (brakes, clock) = brakes();
            work(&brakes, 0..1000);
            clock.advance(Duration::from_secs(days * 86_400));
            assert_eq!(refuse(&brakes, 0..1000), told, "{days} days later");
        }
    }

    #[test]
    fn other_settings_hold_at_once_and_a_brake_that_is_switched_off_is_released() {
        let (clock, meter) = (Clock::system(), Meter::default());
        let shown = || meter.render().contains("authseal_mass_refusal{provider=\"example\"} 1\n");
        let none_is_shown = || meter.render().contains("authseal_mass_refusal{provider=\"example\"} 0\n");
        let brakes = Brakes::new(BrakeSettings::default(), clock, meter.clone()).with_settings(SETTINGS);
        work(&brakes, 0..1000);
        assert_eq!((refuse(&brakes, 0..20), brakes.is_on(app(1)), shown()), (19, true, true));
        let brakes = brakes.with_settings(BrakeSettings { logins: 100, refused: 30 });
        assert!(brakes.is_on(app(1)) && brakes.holds(app(1), login(30)) && shown(), "it stays on");
        let off = brakes.with_settings(BrakeSettings::default());
        assert!(!off.is_on(app(1)) && !off.holds(app(1), login(30)) && none_is_shown());
        let brakes = off.with_settings(BrakeSettings { logins: 100, refused: 30 });
        work(&brakes, 0..1000);
        assert_eq!(refuse(&brakes, 0..1000), 29);
    }

    #[test]
    fn it_ends_by_itself_when_nothing_works_for_days_and_only_new_logins_that_work_bring_it_back() {
        let (brakes, clock) = brakes();
        work(&brakes, 0..1000);
        refuse(&brakes, 0..20);
        clock.advance(Duration::from_secs(4 * 86_400 - 1));
        assert!(brakes.is_on(app(1)));
        clock.advance(Duration::from_secs(1));
        assert!(!brakes.is_on(app(1)));
        assert_eq!(refuse(&brakes, 0..1000), 1000);
        work(&brakes, 0..1000);
        assert_eq!(refuse(&brakes, 0..1000), 19);
    }

    #[test]
    fn of_very_many_logins_a_part_is_remembered_and_few_of_them_are_told() {
        let (brakes, _) = brakes();
        let all = 300_000;
        work(&brakes, 0..all);
        let remembered = brakes.with(app(1), |this, _| (this.worked.logins.len(), this.worked.count()));
        assert!(remembered.0 <= MAX_LOGINS && (250_000..350_000).contains(&remembered.1), "{remembered:?}");
        let told = refuse(&brakes, 0..all);
        assert!((300..3000).contains(&told), "{told}: fewer than one in a hundred");
    }
}
