//! Retries in the client's place. Most clients of Duplicati read no error but one that comes with the first response,
//! and retry nothing that fails for longer than half a minute: so what may get better within seconds is retried here.
//!
//! However many wait for a login, one loop retries for all of them, with growing pauses; it ends when nobody waits for
//! it any longer, and at once when the server ends. How many may wait is `room`'s; what is tried, and what may get
//! better, is left to others.

use super::ExchangeError;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// The pause before the second try; each one after it is twice as long, up to the last.
const FIRST: Duration = Duration::from_millis(500);
const LAST: Duration = Duration::from_secs(5);
/// Each pause is longer by a part of itself, up to this: those who failed together must not come back together.
const JITTER: Duration = Duration::from_secs(1);
/// How long before the end of all waiting the last try begins.
const TRY: Duration = Duration::from_millis(500);

/// How long clients are kept waiting, and how many of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// How long a request may take in all; 0 if nothing is to be tried a second time.
    pub wait: Duration,
    /// The most requests that wait at a time; `None` for half of the connections.
    pub most: Option<usize>,
}

/// How far the tries of a loop are.
#[derive(Clone)]
enum Tries<V> {
    /// They continue; why the last one failed, if there was one.
    GoOn(Option<ExchangeError>),
    Ended(Result<V, ExchangeError>),
}

/// A loop, as those see it who wait for it.
struct Loop<V> {
    tries: watch::Receiver<Tries<V>>,
    /// Until when the most patient of them waits.
    until: Instant,
}

type Under<K, V> = Arc<Mutex<HashMap<K, Loop<V>>>>;

/// One try: what came of it.
pub(super) type Try<V> = BoxFuture<'static, Result<V, ExchangeError>>;

/// The loops under way, by what they try for.
pub(super) struct Loops<K, V> {
    under_way: Under<K, V>,
    runtime: Handle,
    ending: CancellationToken,
}

impl<K, V> Loops<K, V>
where
    K: Copy + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// None yet; the tries will be made on the current runtime, until `ending`.
    pub(super) fn new(ending: CancellationToken) -> Self {
        Self { under_way: Arc::default(), runtime: Handle::current(), ending }
    }

    /// Waits for what is tried for under `key`, until `deadline`. If nobody does so yet, `attempt` is made, again and
    /// again, and told until when it is waited for: at first after a pause if it has `failed` already. `rest` is how
    /// long nothing should be tried, as far as that is known. Whoever no longer `may` wait is answered at the next
    /// failure.
    ///
    /// # Errors
    /// With the reason for the last failure: of a try, or at the deadline; `None` if there was no failure yet.
    pub(super) async fn wait(
        &self,
        key: K,
        deadline: Instant,
        failed: Option<ExchangeError>,
        attempt: impl Fn(Instant) -> Try<V> + Send + Sync + 'static,
        rest: impl Fn() -> Option<Duration> + Send + Sync + 'static,
        may: impl Fn() -> bool,
    ) -> Result<V, Option<ExchangeError>> {
        let mut tries = {
            let mut under_way = lock(&self.under_way);
            // One whose task has panicked tries no more.
            if under_way.get(&key).is_some_and(|this| this.tries.has_changed().is_err()) {
                under_way.remove(&key);
            }
            let this = under_way.entry(key).or_insert_with(|| {
                let (told, tries) = watch::channel(Tries::GoOn(failed.clone()));
                let task = Task { key, told, under_way: self.under_way.clone(), ending: self.ending.clone() };
                // The log should name the request that began it.
                self.runtime.spawn(task.run(failed, attempt, rest).in_current_span());
                Loop { tries, until: deadline }
            });
            this.until = this.until.max(deadline);
            this.tries.clone()
        };
        let ended = tries.wait_for(|tries| match tries {
            Tries::Ended(_) => true,
            Tries::GoOn(Some(refused)) => {
                !may() || !refused.may_pass(deadline.saturating_duration_since(Instant::now()))
            }
            Tries::GoOn(None) => false,
        });
        let ended = timeout_at(deadline, ended).await;
        let ended = ended.map(|tries| tries.map_or(Err(Some(ExchangeError::Internal)), |tries| tries.outcome()));
        ended.unwrap_or_else(|_| tries.borrow().outcome())
    }
}

impl<V: Clone> Tries<V> {
    fn outcome(&self) -> Result<V, Option<ExchangeError>> {
        match self {
            Self::Ended(outcome) => outcome.clone().map_err(Some),
            Self::GoOn(failed) => Err(failed.clone()),
        }
    }
}

/// A loop's own part.
struct Task<K, V> {
    key: K,
    told: watch::Sender<Tries<V>>,
    under_way: Under<K, V>,
    ending: CancellationToken,
}

impl<K: Copy + Eq + Hash, V: Clone> Task<K, V> {
    async fn run(
        self,
        mut failed: Option<ExchangeError>,
        attempt: impl Fn(Instant) -> Try<V>,
        rest: impl Fn() -> Option<Duration>,
    ) {
        let mut number = 0;
        let outcome = loop {
            if let Some(refused) = &failed {
                let Some(pause) = self.pause(number, refused, rest()) else { break Err(refused.clone()) };
                tracing::debug!(why = %refused, ?pause, "no access token yet; it is tried again");
                self.told.send_replace(Tries::GoOn(failed.clone()));
                number += 1;
                if self.ending.run_until_cancelled(sleep(pause)).await.is_none() {
                    break Err(refused.clone());
                }
            }
            // A first try that is under way is seen to its end.
            let tried = match &failed {
                None => attempt(self.until()).await,
                Some(refused) => {
                    let tried = self.ending.run_until_cancelled(attempt(self.until())).await;
                    tried.unwrap_or_else(|| Err(refused.clone()))
                }
            };
            match tried {
                Err(refused) => failed = Some(refused),
                Ok(found) => break Ok(found),
            }
        };
        self.told.send_replace(Tries::Ended(outcome));
        let mut under_way = lock(&self.under_way);
        // It may have been given up, and another one begun since.
        if under_way.get(&self.key).is_some_and(|this| self.is_of(this)) {
            under_way.remove(&self.key);
        }
    }

    /// How long to wait before the next try; `None`, and the loop is given up, if that would be of no use to anybody
    /// who waits.
    fn pause(&self, number: u32, refused: &ExchangeError, rest: Option<Duration>) -> Option<Duration> {
        let mut under_way = lock(&self.under_way);
        let until = under_way.get(&self.key).map(|this| this.until);
        // One of the receivers is the list's own.
        let until = until.filter(|_| self.told.receiver_count() > 1);
        let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        let pause = refused.passes_after().and_then(|least| next(number, least, rest, left, jitter()));
        if pause.is_none() {
            // Under the lock, so that whoever comes now begins again.
            under_way.remove(&self.key);
        }
        pause
    }

    /// Until when the most patient waits.
    fn until(&self) -> Instant {
        lock(&self.under_way).get(&self.key).map_or_else(Instant::now, |this| this.until)
    }

    fn is_of(&self, this: &Loop<V>) -> bool {
        this.tries.same_channel(&self.told.subscribe())
    }
}

/// The pause after so many others, `least` at the least, if there is so much time `left` that something comes of it.
/// `rest` says how long it should be. `jitter` is from 0 to 1.
fn next(number: u32, least: Duration, rest: Option<Duration>, left: Duration, jitter: f64) -> Option<Duration> {
    let pause = rest.unwrap_or_else(|| (FIRST * 2_u32.pow(number.min(8))).min(LAST)).max(least);
    let pause = pause + (pause / 2).min(JITTER).mul_f64(jitter);
    let latest = left.saturating_sub(TRY).max(least);
    Some(pause.min(latest)).filter(|pause| !pause.is_zero() && *pause < left)
}

/// 0 to 1: those who wait should not all ask at the same moment.
pub(super) fn jitter() -> f64 {
    let [byte] = crate::seal::random().unwrap_or_default();
    f64::from(byte) / 255.0
}

fn lock<K, V>(under_way: &Under<K, V>) -> MutexGuard<'_, HashMap<K, Loop<V>>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{ErrorClass, ProviderError};
    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use tokio::time::advance;

    const WAIT: Duration = Duration::from_secs(20);

    #[test]
    fn jitter_is_a_part_of_one_and_differs() {
        let parts: Vec<f64> = (0..64).map(|_| jitter()).collect();
        assert!(parts.iter().all(|part| (0.0..=1.0).contains(part)) && parts.iter().any(|part| *part != parts[0]));
    }

    /// Something that fails until a time, and counts how often it was tried.
    #[derive(Clone)]
    struct Broken {
        works_at: Instant,
        reason: ExchangeError,
        tries: Arc<Mutex<Vec<Duration>>>,
        begun: Instant,
    }

    impl Broken {
        fn for_seconds(seconds: f64, reason: ExchangeError) -> Self {
            let begun = Instant::now();
            Self { works_at: begun + Duration::from_secs_f64(seconds), reason, tries: Arc::default(), begun }
        }

        fn attempt(&self) -> impl Fn(Instant) -> Try<u8> + Send + Sync + 'static {
            let this = self.clone();
            move |_| {
                let this = this.clone();
                async move {
                    this.tries.lock().unwrap().push(this.begun.elapsed());
                    if Instant::now() >= this.works_at { Ok(7) } else { Err(this.reason) }
                }
                .boxed()
            }
        }

        fn count(&self) -> usize {
            self.tries.lock().unwrap().len()
        }

        /// Waits as somebody who has failed once, and says for how long.
        async fn wait(&self, loops: &Loops<u8, u8>) -> (Result<u8, String>, Duration) {
            let begun = Instant::now();
            let failed = Some(self.reason.clone());
            let waited = loops.wait(1, begun + WAIT, failed, self.attempt(), || None, || true).await;
            (waited.map_err(|why| why.map_or_else(String::new, |why| why.to_string())), begun.elapsed())
        }
    }

    fn loops() -> Arc<Loops<u8, u8>> {
        Arc::new(Loops::new(CancellationToken::new()))
    }

    fn busy(seconds: u64) -> ExchangeError {
        ExchangeError::Provider(ProviderError::Busy { retry_after: Some(Duration::from_secs(seconds)) }, None)
    }

    fn is_empty(loops: &Loops<u8, u8>) -> bool {
        lock(&loops.under_way).is_empty()
    }

    #[test]
    fn pauses_grow_are_never_the_same_for_all_and_leave_time_for_a_last_try() {
        let seconds = Duration::from_secs_f64;
        let pause = |number, least, left, jitter| next(number, seconds(least), None, seconds(left), jitter);
        let series = |jitter| [0, 1, 2, 3, 4, 5, 99].map(|number| pause(number, 0.0, 20.0, jitter));
        assert_eq!(series(0.0), [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0].map(|time| Some(seconds(time))));
        assert_eq!(series(1.0), [0.75, 1.5, 3.0, 5.0, 6.0, 6.0, 6.0].map(|time| Some(seconds(time))));
        for jitter in [0.0, 1.0] {
            assert_eq!(pause(5, 0.0, 3.0, jitter), Some(seconds(2.5)), "the last try");
            assert_eq!(pause(5, 0.0, 0.5, jitter), None);
            assert_eq!(pause(0, 7.0, 20.0, jitter), Some(seconds(7.0 + jitter)), "as the provider asks");
            assert_eq!(pause(0, 19.7, 20.0, jitter), Some(seconds(19.7)));
            assert_eq!(pause(0, 20.0, 20.0, jitter), None);
            assert_eq!(next(0, Duration::ZERO, Some(seconds(3.0)), WAIT, jitter), Some(seconds(3.0 + jitter)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_loop_tries_for_all_who_wait_until_it_works() {
        for (down, tries) in [(0.1, 1..=1), (3.0, 2..=4), (12.0, 4..=7), (19.0, 5..=8)] {
            let loops = loops();
            let broken = Broken::for_seconds(down, ExchangeError::StoreDown);
            for (answer, after) in join_all((0..500).map(|_| broken.wait(&loops))).await {
                assert_eq!(answer, Ok(7), "{down}");
                assert!(after.as_secs_f64() >= down && after < WAIT, "{down}: {after:?}");
            }
            assert!(tries.contains(&broken.count()), "{down}: {:?}", broken.tries.lock().unwrap());
            assert!(is_empty(&loops));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_told_the_last_reason_at_the_end_of_its_own_time() {
        let loops = loops();
        let broken = Broken::for_seconds(26.0, ExchangeError::StoreDown);
        let later = async {
            tokio::time::sleep(WAIT / 2).await;
            broken.wait(&loops).await
        };
        let (first, second) = tokio::join!(broken.wait(&loops), later);
        assert_eq!(first, (Err(ExchangeError::StoreDown.to_string()), WAIT));
        assert_eq!(second.0, Ok(7));
        assert!(broken.count() < 12, "one loop: {:?}", broken.tries.lock().unwrap());
        // Where nobody waits longer, it ends with the last try.
        let broken = Broken::for_seconds(99.0, ExchangeError::MaybeSpent);
        let (answer, after) = broken.wait(&loops).await;
        assert!(answer.is_err() && after <= WAIT && after > WAIT - Duration::from_secs(1), "{answer:?} {after:?}");
        assert!(is_empty(&loops));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_the_provider_asks_for_is_kept_and_one_that_is_too_long_is_told_at_once() {
        for seconds in [1, 7, 13, 19_u32] {
            let broken = Broken::for_seconds(f64::from(seconds), busy(seconds.into()));
            let (answer, after) = broken.wait(&loops()).await;
            assert_eq!((answer, broken.count()), (Ok(7), 1));
            assert!((seconds.into()..=u64::from(seconds) + 1).contains(&after.as_secs()), "{after:?}");
        }
        for seconds in [20, 60] {
            let broken = Broken::for_seconds(99.0, busy(seconds));
            assert_eq!(broken.wait(&loops()).await, (Err(busy(seconds).to_string()), Duration::ZERO));
        }
        // Told while others wait: only they have the time.
        let loops = loops();
        let waits = Broken::for_seconds(12.0, busy(12));
        let late = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let deadline = Instant::now() + Duration::from_secs(3);
            loops.wait(1, deadline, None, waits.attempt(), || None, || true).await.is_err()
        };
        let ((answer, _), refused) = tokio::join!(waits.wait(&loops), late);
        assert_eq!((answer, refused), (Ok(7), true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reason_that_will_stay_ends_all_waiting() {
        for reason in [
            ExchangeError::NoRecord,
            ExchangeError::Provider(ProviderError::Refused(ErrorClass::Locked), None),
            ExchangeError::NoRoom,
        ] {
            let loops = loops();
            let last = reason.clone();
            let attempt = move |_| {
                let last = last.clone();
                async move { Err(last) }.boxed()
            };
            let deadline = Instant::now() + WAIT;
            let failed = Some(ExchangeError::StoreDown);
            let all = (0..9).map(|_| loops.wait(1, deadline, failed.clone(), attempt.clone(), || None, || true));
            for answer in join_all(all).await {
                assert_eq!(answer.unwrap_err().unwrap().to_string(), reason.to_string());
            }
            assert!(Instant::now() + WAIT < deadline + Duration::from_secs(1) && is_empty(&loops));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_server_ends_all_waiting_at_once_but_not_a_first_try() {
        let loops = loops();
        let broken = Broken::for_seconds(99.0, ExchangeError::StoreDown);
        let hangs = Instant::now() + WAIT;
        let end = async {
            advance(Duration::from_secs(3)).await;
            loops.ending.cancel();
        };
        let hanging =
            loops.wait(2, hangs, Some(ExchangeError::MaybeSpent), |_| std::future::pending().boxed(), || None, || true);
        let first = |_| tokio::time::sleep(Duration::from_secs(9)).map(|()| Ok(1)).boxed();
        let first = loops.wait(3, hangs, None, first, || None, || true);
        let waiting = async { (broken.wait(&loops).await, hanging.await, hangs - Instant::now()) };
        let ((waited, hung, left), first, ()) = tokio::join!(waiting, first, end);
        assert_eq!(waited.0, Err(ExchangeError::StoreDown.to_string()));
        assert!(hung.is_err() && waited.1 < Duration::from_secs(4) && left > WAIT / 2, "{waited:?} {left:?}");
        assert_eq!(first.ok(), Some(1), "what is under way is finished");
        assert_eq!(broken.wait(&loops).await.1, Duration::ZERO, "and nobody else is kept waiting");
        assert!(is_empty(&loops));
    }

    #[tokio::test(start_paused = true)]
    async fn when_nobody_waits_any_longer_nothing_is_tried() {
        let loops = loops();
        let broken = Broken::for_seconds(99.0, ExchangeError::StoreDown);
        let gone = tokio::time::timeout(Duration::from_secs(2), broken.wait(&loops)).await;
        assert!(gone.is_err());
        let tries = broken.count();
        tokio::time::sleep(3 * WAIT).await;
        assert!(broken.count() <= tries + 1 && is_empty(&loops), "{:?}", broken.tries.lock().unwrap());
        // One that was revoked meanwhile is answered at the next failure.
        let deadline = Instant::now() + WAIT;
        let failed = Some(ExchangeError::StoreDown);
        let revoked = loops.wait(1, deadline, failed, broken.attempt(), || None, || false).await;
        assert!(revoked.is_err() && Instant::now() < deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_is_replaced() {
        let loops = loops();
        let deadline = Instant::now() + WAIT;
        let panics = |_| panic!("on purpose");
        let answer = loops.wait(1, deadline, Some(ExchangeError::StoreDown), panics, || None, || true).await;
        assert!(matches!(answer, Err(Some(ExchangeError::Internal))));
        assert_eq!(Broken::for_seconds(0.0, ExchangeError::StoreDown).wait(&loops).await.0, Ok(7));
    }
}
