//! Single-flight: of many callers who want the same thing at once, one does the work and all get its result.
//!
//! The work runs in a task of its own, so that a caller who hangs up does not take it along; a panic in it ends the
//! flight like any other result.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::Instrument;

type Flight<V> = Shared<BoxFuture<'static, Option<V>>>;

/// The flights under way, by key.
pub(super) struct Flights<K, V>(Arc<Mutex<HashMap<K, Flight<V>>>>);

impl<K, V> Flights<K, V>
where
    K: Copy + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Joins the flight for `key`, or starts one with `work`. `None` when the work panicked.
    pub(super) async fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let flight = {
            let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Entered under the lock and left only by the task itself, which cannot do so before it was entered.
            flights.entry(key).or_insert_with(|| Self::start(self.0.clone(), key, work())).clone()
        };
        flight.await
    }

    fn start(
        flights: Arc<Mutex<HashMap<K, Flight<V>>>>,
        key: K,
        work: impl Future<Output = V> + Send + 'static,
    ) -> Flight<V> {
        // The log should name the request that began it.
        let flight = async move {
            let _landing = Landing { flights, key };
            work.await
        };
        let task = tokio::spawn(flight.in_current_span());
        async move { task.await.ok() }.boxed().shared()
    }
}

/// Takes the flight off the list when its work is over, however it ended.
struct Landing<K: Eq + Hash, V> {
    flights: Arc<Mutex<HashMap<K, Flight<V>>>>,
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
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn many_callers_cause_one_piece_of_work_and_later_ones_another() {
        let flights = Arc::new(Flights::<u8, u32>::new());
        let (count, go) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let callers: Vec<_> = (0..20)
            .map(|_| {
                let (flights, count, go) = (flights.clone(), count.clone(), go.clone());
                tokio::spawn(async move {
                    let work = || async move {
                        go.notified().await;
                        count.fetch_add(1, Ordering::SeqCst)
                    };
                    flights.join(1, work).await
                })
            })
            .collect();
        while flights.0.lock().unwrap().get(&1).is_none_or(|flight| flight.strong_count() != Some(21)) {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        for caller in callers {
            assert_eq!(caller.await.unwrap(), Some(0));
        }
        assert_eq!(flights.join(1, || async { 7 }).await, Some(7));
        assert!(flights.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_caller_who_leaves_does_not_take_the_work_along() {
        let flights = Arc::new(Flights::<u8, u32>::new());
        let (go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let caller = {
            let (flights, go, done) = (flights.clone(), go.clone(), done.clone());
            tokio::spawn(async move {
                let work = || async move {
                    go.notified().await;
                    done.notify_one();
                    1
                };
                flights.join(1, work).await
            })
        };
        while flights.0.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        caller.abort();
        go.notify_one();
        done.notified().await;
    }

    #[tokio::test]
    async fn a_panic_frees_the_place() {
        let flights = Flights::<u8, u32>::new();
        assert_eq!(flights.join(1, || async { panic!("on purpose") }).await, None);
        assert_eq!(flights.join(1, || async { 2 }).await, Some(2));
    }
}
