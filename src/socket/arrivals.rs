//! Who was accepted and waits for a thread. The library that accepts hands everybody on to the threads at once, and one
//! takes as many at a time as its runtime lets it: so a full batch tells that there are more than it can serve, and those
//! who come next would wait for all before them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::timeout;

/// A batch of so many is full: tokio lets a task take 128 of anything before others have their turn.
const FULL: usize = 64;
/// When no thread takes anybody for so long, those that are late are stuck.
const STUCK: Duration = Duration::from_secs(1);

/// Who was accepted at one listener.
#[derive(Default)]
pub(super) struct Arrivals {
    /// Counts up whenever one is taken.
    taken: AtomicUsize,
    /// How many threads have more than they can serve.
    late: watch::Sender<usize>,
}

/// Those that one thread takes.
pub(super) struct Batches {
    arrivals: Arc<Arrivals>,
    /// Taken, and not begun with.
    waiting: Cell<usize>,
    /// How many there are in the current batch.
    size: Cell<usize>,
    taken: Cell<usize>,
    late: Cell<bool>,
}

/// One that was taken, until the thread begins with it.
pub(super) struct Arrival(Rc<Batches>);

impl Arrivals {
    /// Until a thread has more than it can serve.
    pub(super) async fn are_late(&self) {
        let _ = self.late.subscribe().wait_for(|late| *late > 0).await;
    }

    /// Until none has, where nobody else is accepted.
    pub(super) async fn have_caught_up(&self) {
        let (mut late, mut before) = (self.late.subscribe(), None);
        while before != Some(self.taken.load(Ordering::Relaxed)) {
            before = Some(self.taken.load(Ordering::Relaxed));
            if timeout(STUCK, late.wait_for(|late| *late == 0)).await.is_ok() {
                break;
            }
        }
    }
}

impl Batches {
    pub(super) fn new(arrivals: Arc<Arrivals>) -> Rc<Self> {
        let (waiting, size, taken, late) = Default::default();
        Rc::new(Self { arrivals, waiting, size, taken, late })
    }

    pub(super) fn take(self: &Rc<Self>) -> Arrival {
        let size = if self.waiting.get() == 0 { 1 } else { self.size.get() + 1 };
        self.waiting.set(self.waiting.get() + 1);
        self.size.set(size);
        self.taken.set(self.taken.get().wrapping_add(1));
        self.arrivals.taken.fetch_add(1, Ordering::Relaxed);
        if size == FULL && !self.late.replace(true) {
            self.arrivals.late.send_modify(|late| *late += 1);
        }
        Arrival(self.clone())
    }

    fn caught_up(&self) {
        if self.late.take() {
            self.arrivals.late.send_modify(|late| *late -= 1);
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.caught_up();
    }
}

impl Arrival {
    /// The thread begins with it.
    pub(super) async fn begin(self) {
        let batches = self.0.clone();
        drop(self);
        if batches.waiting.get() == 0 && batches.late.get() {
            let before = batches.taken.get();
            // If there are more, the thread takes them before it comes back to this.
            yield_now().await;
            yield_now().await;
            if batches.taken.get() == before {
                batches.caught_up();
            }
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::join_all;

    fn batch(batches: &Rc<Batches>, size: usize) -> Vec<Arrival> {
        (0..size).map(|_| batches.take()).collect()
    }

    #[test]
    fn a_thread_is_late_that_takes_a_full_batch_until_there_is_nobody_left() {
        actix_web::rt::System::new().block_on(async {
            let arrivals = Arc::new(Arrivals::default());
            let batches = Batches::new(arrivals.clone());
            let late = || arrivals.are_late().now_or_never().is_some();
            let caught_up = || arrivals.have_caught_up().now_or_never().is_some();
            for _ in 0..3 {
                join_all(batch(&batches, FULL - 1).into_iter().map(Arrival::begin)).await;
            }
            assert!(!late() && caught_up());
            let all = batch(&batches, 2 * FULL);
            assert!(late() && !caught_up());
            let begun = join_all(all.into_iter().map(Arrival::begin));
            let (_, more) = tokio::join!(begun, async { batches.take() });
            assert!(late() && !caught_up(), "there are more");
            more.begin().await;
            assert!(!late() && caught_up());
        });
    }

    #[tokio::test]
    async fn a_thread_that_ended_is_not_late_any_more() {
        let arrivals = Arc::new(Arrivals::default());
        let theirs = arrivals.clone();
        let thread = std::thread::spawn(move || {
            let late = async { drop(batch(&Batches::new(theirs), FULL)) };
            actix_web::rt::System::new().block_on(late);
        });
        thread.join().unwrap();
        assert!(arrivals.have_caught_up().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_is_stuck_keeps_nobody_out() {
        let arrivals = Arc::new(Arrivals::default());
        let _all = batch(&Batches::new(arrivals.clone()), FULL);
        arrivals.have_caught_up().await;
    }
}
