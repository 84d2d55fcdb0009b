//! How many calls to one provider may be under way at a time: few at first, so that one that hangs takes neither
//! descriptors nor memory from the others; one more with each that is answered at once while all places are taken; and
//! one less with each that shows the provider to be down or slow.

use super::error::ProviderError;
use rustix::process::{Resource, getrlimit};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// At least so many: at 300 ms each that is some 200 a second.
pub(super) const LEAST: usize = 64;
/// At most so many; fewer where this process may have few descriptors.
pub(super) static MOST: LazyLock<usize> = LazyLock::new(|| {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    limit.map_or(512, |limit| (limit / 16).clamp(LEAST, 512))
});

/// What is answered within this time is answered at once.
const QUICK: Duration = Duration::from_secs(1);

pub(super) struct Places {
    free: Semaphore,
    all: AtomicUsize,
}

/// A place, until it is [left](Place::leave).
pub(super) struct Place<'a> {
    places: &'a Places,
    permit: SemaphorePermit<'a>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { free: Semaphore::new(LEAST), all: LEAST.into() }
    }

    /// Waits for a place; the longest wait ends first.
    pub(super) async fn enter(&self) -> Option<Place<'_>> {
        Some(Place { places: self, permit: self.free.acquire().await.ok()? })
    }
}

impl Place<'_> {
    /// The call came to its end after some time.
    pub(super) fn leave(self, took: Duration, failure: Option<ProviderError>) {
        let Self { places: Places { free, all }, permit } = self;
        let change =
            |to: fn(usize) -> Option<usize>| all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, to).is_ok();
        if took < QUICK && failure.is_none_or(|failure| failure.passes_after().is_none()) {
            if free.available_permits() == 0 && change(|all| (all < *MOST).then_some(all + 1)) {
                free.add_permits(1);
            }
        } else if change(|all| (all > LEAST).then(|| all - 1)) {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn there_are_more_places_while_all_goes_well_and_they_are_wanted_and_fewer_when_it_does_not() {
        let places = Places::new();
        let take = || std::iter::from_fn(|| places.enter().now_or_never().flatten());
        let count = || places.free.available_permits();
        take().collect::<Vec<_>>().into_iter().for_each(|place| place.leave(Duration::ZERO, None));
        assert_eq!(count(), LEAST + 1, "nobody waited for the others");
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
            assert_eq!(count(), LEAST, "{failure:?}");
            all.extend(take());
        }
        all.drain(..).for_each(|place| place.leave(Duration::ZERO, Some(ProviderError::Misconfigured)));
        assert_eq!(count(), LEAST + 1, "an answer is an answer");
    }
}
