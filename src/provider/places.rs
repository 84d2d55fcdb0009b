//! How many calls to one provider may be under way at a time: few at first, so that one that hangs takes neither
//! descriptors nor memory from the others; one more with each that is answered at once while all places are taken; and
//! one less with each that shows the provider to be down or slow. Calls that nobody waits for take a few of them, and only
//! while most are free.

use super::error::ProviderError;
use rustix::process::{Resource, getrlimit};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// At least so many: at 300 ms each that is some 200 a second. Fewer where this process may have few descriptors, by
/// the hard limit: the soft one is not raised to it yet when this is asked for first.
pub(super) static LEAST: LazyLock<usize> = LazyLock::new(|| least(getrlimit(Resource::Nofile).maximum));
/// At most so many; fewer where there are few descriptors.
pub(super) static MOST: LazyLock<usize> =
    LazyLock::new(|| share(getrlimit(Resource::Nofile).current).clamp(*LEAST, 512));

fn least(limit: Option<u64>) -> usize {
    share(limit).clamp(8, 64)
}

/// What one provider may have of a limit on descriptors.
fn share(limit: Option<u64>) -> usize {
    limit.and_then(|limit| usize::try_from(limit / 16).ok()).unwrap_or(usize::MAX)
}

/// One in so many is for calls that nobody waits for.
const AHEAD: usize = 4;

/// What is answered within this time is answered at once.
const QUICK: Duration = Duration::from_secs(1);

pub(super) struct Places {
    free: Semaphore,
    all: AtomicUsize,
    ahead: Arc<Semaphore>,
    turned_away: Notify,
    /// How long a refresh takes of late until it brings a token, its turn included, in milliseconds.
    takes: AtomicU64,
}

/// A place, until it is [left](Place::leave).
pub(super) struct Place<'a> {
    places: &'a Places,
    permit: SemaphorePermit<'a>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            free: Semaphore::new(*LEAST),
            all: AtomicUsize::new(*LEAST),
            ahead: Arc::new(Semaphore::new(*LEAST / AHEAD)),
            turned_away: Notify::new(),
            takes: AtomicU64::new(0),
        }
    }

    /// A place, waited for so long at most; the longest wait ends first. `None` after that, and as soon as those who
    /// are `for_refresh` are [turned away](Self::turn_away).
    pub(super) async fn enter(&self, patience: Duration, for_refresh: bool) -> Option<Place<'_>> {
        let permit = match self.free.try_acquire() {
            Ok(permit) => permit,
            // In this order: a place that is free because a call failed is of no use either.
            Err(_) => tokio::select! {
                biased;
                () = self.are_turned_away(), if for_refresh => return None,
                permit = timeout(patience, self.free.acquire()) => permit.ok()?.ok()?,
            },
        };
        Some(Place { places: self, permit })
    }

    /// Until refreshes are that have not been made.
    pub(super) async fn are_turned_away(&self) {
        self.turned_away.notified().await;
    }

    /// By now it is known that the provider is not to be asked.
    pub(super) fn turn_away(&self) {
        self.turned_away.notify_waiters();
    }

    /// One for a call that nobody waits for; `None` while those who wait may need it.
    pub(super) fn ahead(&self) -> Option<OwnedSemaphorePermit> {
        let is_quiet = self.free.available_permits() > self.all.load(Ordering::Relaxed) / 2;
        is_quiet.then(|| self.ahead.clone().try_acquire_owned().ok()).flatten()
    }

    /// A refresh brought a token after so long, its turn included.
    pub(super) fn took(&self, time: Duration) {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let takes = self.takes.load(Ordering::Relaxed);
        self.takes.store(takes - takes / 8 + time / 8, Ordering::Relaxed);
    }

    /// Whether a refresh would come too late for who has this time `left`: all are taken, and by what refreshes take of
    /// late there is no time for one.
    pub(super) fn are_too_few_for(&self, left: Duration) -> bool {
        let takes = Duration::from_millis(self.takes.load(Ordering::Relaxed));
        self.free.available_permits() == 0 && left < takes + takes / 8
    }
}

impl Place<'_> {
    /// The call came to its end after some time.
    pub(super) fn leave(self, took: Duration, failure: Option<ProviderError>) {
        let Self { places: Places { free, all, .. }, permit } = self;
        let change =
            |to: fn(usize) -> Option<usize>| all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, to).is_ok();
        if took < QUICK && failure.is_none_or(|failure| failure.passes_after().is_none()) {
            if free.available_permits() == 0 && change(|all| (all < *MOST).then_some(all + 1)) {
                free.add_permits(1);
            }
        } else if change(|all| (all > *LEAST).then(|| all - 1)) {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn with_few_descriptors_a_provider_that_hangs_takes_few() {
        let limits = [Some(64), Some(256), Some(1024), Some(65_536), None];
        assert_eq!(limits.map(least), [8, 16, 64, 64, 64]);
    }

    #[tokio::test]
    async fn there_are_more_places_while_all_goes_well_and_they_are_wanted_and_fewer_when_it_does_not() {
        let places = Places::new();
        let take = || std::iter::from_fn(|| places.enter(Duration::ZERO, false).now_or_never().flatten());
        let count = || places.free.available_permits();
        take().collect::<Vec<_>>().into_iter().for_each(|place| place.leave(Duration::ZERO, None));
        assert_eq!(count(), *LEAST + 1, "nobody waited for the others");
        let mut all: Vec<_> = take().collect();
        for _ in 0..2 * *MOST {
            all.pop().unwrap().leave(Duration::ZERO, None);
            all.extend(take());
        }
        assert_eq!(all.len(), *MOST);
        let slow = (QUICK, None);
        let failed = |failure| (Duration::ZERO, Some(failure));
        for (took, failure) in [slow, failed(ProviderError::Disturbed), failed(ProviderError::TimedOut)] {
            all.drain(..).for_each(|place| place.leave(took, failure));
            assert_eq!(count(), *LEAST, "{failure:?}");
            all.extend(take());
        }
        all.drain(..).for_each(|place| place.leave(Duration::ZERO, Some(ProviderError::Misconfigured)));
        assert_eq!(count(), *LEAST + 1, "an answer is an answer");
    }

    #[tokio::test]
    async fn refreshes_that_wait_are_turned_away_and_those_who_come_later_are_not() {
        let places = Places::new();
        let all = places.free.acquire_many(*LEAST as u32).await;
        let (refresh, code, ()) = tokio::join!(biased; places.enter(Duration::MAX, true), places.enter(Duration::MAX, false), async {
            drop(all);
            places.turn_away();
        });
        assert!(refresh.is_none() && code.is_some());
        assert!(places.enter(Duration::MAX, true).now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn what_nobody_waits_for_takes_few_places_and_none_of_a_provider_that_is_busy() {
        let places = Places::new();
        let ahead: Vec<_> = std::iter::from_fn(|| places.ahead()).collect();
        assert_eq!(ahead.len(), *LEAST / 4);
        drop(ahead);
        let busy = places.free.acquire_many(*LEAST as u32 / 2).await;
        assert!(places.ahead().is_none());
        drop(busy);
        assert!(places.ahead().is_some());
    }
}
