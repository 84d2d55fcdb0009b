//! Single-flight: of many callers who want the same thing at once, one does the work and all get its result.
//!
//! The work runs in a task of its own, so a caller who hangs up does not take it along. Nor does the end of a worker's
//! thread, as it runs on the runtime that the flights were made on; but the way to another thread and back costs more
//! than the rest of a flight. So work whose repeat is harmless may stay [here](Flights::join_here). A panic ends a flight
//! like any other result.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::Instrument;

type Flight<V> = Shared<BoxFuture<'static, Landed<V>>>;

/// How a flight ended.
#[derive(Clone)]
enum Landed<V> {
    Done(V),
    Panicked,
    /// With the runtime under it.
    Dropped,
}

type Under<K, V> = Arc<Mutex<HashMap<K, Flight<V>>>>;

/// The flights under way, by key. Clones are the same flights.
#[derive(Clone)]
pub(super) struct Flights<K, V> {
    under_way: Under<K, V>,
    runtime: Handle,
}

impl<K, V> Flights<K, V>
where
    K: Copy + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// None yet; the work will be done on the current runtime.
    pub(super) fn new() -> Self {
        Self { under_way: Arc::default(), runtime: Handle::current() }
    }

    /// Waits until all have landed.
    pub(super) async fn settle(&self) {
        let next = || self.under_way.lock().unwrap_or_else(PoisonError::into_inner).values().next().cloned();
        while let Some(flight) = next() {
            flight.await;
        }
    }

    /// Waits until the one for `key` has landed, if there is one.
    pub(super) async fn landed(&self, key: &K) {
        let flight = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(flight) = flight {
            flight.await;
        }
    }

    /// Starts a flight for `key` that nobody waits for, unless there is one.
    pub(super) fn begin(&self, key: K, work: impl Future<Output = V> + Send + 'static) {
        let _ = self.flight(key, &self.runtime, || work);
    }

    /// Joins the flight for `key`, or starts one with `work`. `None` when the work panicked, or the runtime has ended.
    pub(super) async fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (flight, _) = self.flight(key, &self.runtime, work);
        match flight.await {
            Landed::Done(result) => Some(result),
            Landed::Panicked | Landed::Dropped => None,
        }
    }

    /// The same on the runtime of whoever starts it. Where that one ends before the work, who waits elsewhere starts it
    /// again.
    pub(super) async fn join_here<F>(&self, key: K, work: impl Fn() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        loop {
            let (flight, is_own) = self.flight(key, &Handle::current(), &work);
            match flight.await {
                Landed::Done(result) => return Some(result),
                Landed::Panicked => return None,
                // It is this runtime that has ended.
                Landed::Dropped if is_own => return None,
                Landed::Dropped => {}
            }
        }
    }

    /// The flight for `key`, and whether it was started for that.
    fn flight<F>(&self, key: K, runtime: &Handle, work: impl FnOnce() -> F) -> (Flight<V>, bool)
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (flight, start) = match self.under_way.lock().unwrap_or_else(PoisonError::into_inner).entry(key) {
            Entry::Occupied(under_way) => return (under_way.get().clone(), false),
            Entry::Vacant(place) => {
                let (start, started) = oneshot::channel();
                (place.insert(landed(started).boxed().shared()).clone(), start)
            }
        };
        // Entered already, so that the task finds what it takes off. Not under the lock: a runtime that has ended drops the
        // task at once, and that takes the lock.
        let _ = start.send(self.start(key, runtime, work));
        (flight, true)
    }

    fn start<F>(&self, key: K, runtime: &Handle, work: impl FnOnce() -> F) -> JoinHandle<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        // Before the work is made, which may panic, and in the task before it begins: a runtime may end before that.
        let landing = Landing { flights: self.under_way.clone(), key };
        // In a box, as it is handed from one to the next.
        let work = work().boxed();
        let flight = async move {
            let _landing = landing;
            work.await
        };
        // The log should name the request that began it.
        runtime.spawn(flight.in_current_span())
    }
}

/// How the flight ends that is about to start.
async fn landed<V>(started: oneshot::Receiver<JoinHandle<V>>) -> Landed<V> {
    // Nothing is started where a panic makes nothing to start.
    let Ok(task) = started.await else { return Landed::Panicked };
    match task.await {
        Ok(result) => Landed::Done(result),
        Err(failed) if failed.is_panic() => Landed::Panicked,
        Err(_) => Landed::Dropped,
    }
}

/// Takes the flight off the list when its work is over, however it ended.
struct Landing<K: Eq + Hash, V> {
    flights: Under<K, V>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::AssertUnwindSafe;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn many_callers_cause_one_piece_of_work_and_later_ones_another() {
        let flights = Arc::new(Flights::<u8, u32>::new());
        let count = Arc::new(AtomicU32::new(0));
        let go = Arc::new(Notify::new());
        let callers: Vec<_> = (0..20)
            .map(|_| {
                let flights = flights.clone();
                let count = count.clone();
                let go = go.clone();
                tokio::spawn(async move {
                    let work = || async move {
                        go.notified().await;
                        count.fetch_add(1, Ordering::SeqCst)
                    };
                    flights.join(1, work).await
                })
            })
            .collect();
        while flights.under_way.lock().unwrap().get(&1).is_none_or(|flight| flight.strong_count() != Some(21)) {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        for caller in callers {
            assert_eq!(caller.await.unwrap(), Some(0));
        }
        assert_eq!(flights.join(1, || async { 7 }).await, Some(7));
        assert!(flights.under_way.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_caller_who_leaves_does_not_take_the_work_along() {
        let flights = Arc::new(Flights::<u8, u32>::new());
        let go = Arc::new(Notify::new());
        let done = Arc::new(Notify::new());
        let caller = {
            let flights = flights.clone();
            let go = go.clone();
            let done = done.clone();
            tokio::spawn(async move {
                let work = || async move {
                    go.notified().await;
                    done.notify_one();
                    1
                };
                flights.join(1, work).await
            })
        };
        while flights.under_way.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        caller.abort();
        go.notify_one();
        flights.settle().await;
        assert!(done.notified().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_panic_frees_the_place() {
        let flights = Flights::<u8, u32>::new();
        assert_eq!(flights.join(1, || async { panic!("on purpose") }).await, None);
        assert_eq!(flights.join(1, || async { 2 }).await, Some(2));
        let begun = Arc::new(AtomicU32::new(0));
        let panics = || {
            let begun = begun.clone();
            async move {
                assert!(begun.fetch_add(1, Ordering::SeqCst) > 0, "on purpose");
                3
            }
        };
        assert_eq!(flights.join_here(1, panics).await, None, "not begun again");
        assert_eq!(flights.join_here(1, panics).await, Some(3));
    }

    #[tokio::test]
    async fn the_end_of_a_thread_takes_along_only_work_that_may_be_done_again() {
        let flights = Flights::<u8, u32>::new();
        let (theirs, end) = (flights.clone(), Arc::new(Notify::new()));
        let ends = end.clone();
        let worker = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let never = std::future::pending::<u32>;
                tokio::select! {
                    _ = theirs.join(1, never) => {}
                    _ = theirs.join_here(2, never) => {}
                    () = ends.notified() => {}
                }
            });
        });
        while flights.under_way.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        let begun_again = flights.join_here(2, || async { 7 });
        let (result, ()) = tokio::join!(begun_again, async { end.notify_one() });
        assert_eq!(result, Some(7));
        worker.join().unwrap();
        assert!(flights.landed(&1).now_or_never().is_none(), "seen to its end");
    }

    #[tokio::test]
    async fn work_that_a_thread_never_began_is_begun_elsewhere() {
        let flights = Flights::<u8, u32>::new();
        let ended = tokio::runtime::Builder::new_current_thread().build().unwrap();
        {
            let _here = ended.enter();
            assert!(flights.join_here(1, || async { 1 }).now_or_never().is_none());
        }
        assert_eq!(flights.under_way.lock().unwrap().len(), 1);
        std::thread::spawn(|| drop(ended)).join().unwrap();
        assert_eq!(flights.join_here(1, || async { 2 }).now_or_never(), None);
        assert_eq!(flights.join_here(1, || async { 3 }).await, Some(2));
    }

    /// What `work` comes to, in a thread of its own: whoever waits for a lock that it has itself never comes back.
    fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let (told, outcome) = mpsc::channel();
        std::thread::spawn(move || told.send(work()));
        outcome.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    #[test]
    fn work_for_a_runtime_that_has_ended_is_given_up_and_leaves_its_place_free() {
        let (joined, left) = in_time(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let here = runtime.handle().clone();
            let flights = here.block_on(async { Flights::<u8, u32>::new() });
            drop(runtime);
            let _here = here.enter();
            flights.begin(1, async { 1 });
            flights.settle().now_or_never().unwrap();
            let join = flights.join(1, || async { 1 }).now_or_never();
            let join_here = flights.join_here(1, || async { 1 }).now_or_never();
            ([join, join_here], flights.under_way.lock().unwrap().len())
        });
        assert_eq!((joined, left), ([Some(None); 2], 0));
    }

    #[test]
    fn work_may_start_other_work_as_it_is_made_or_panic() {
        let joined = in_time(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let flights = Flights::<u8, u32>::new();
                let made = || {
                    flights.begin(2, async { 2 });
                    async { 1 }
                };
                let made = flights.join(1, made).await;
                let panics = || -> std::future::Ready<u32> { panic!("on purpose") };
                let panicked = AssertUnwindSafe(flights.join(1, panics)).catch_unwind().await;
                (made, panicked.is_err(), flights.join(1, || async { 3 }).await)
            })
        });
        assert_eq!(joined, (Some(1), true, Some(3)));
    }
}
