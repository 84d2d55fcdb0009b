//! Whether the threads that serve requests still do: each beats once a second, and one that is stuck does not. For a
//! service manager that ends a process that is stuck; a busy one beats late, and a full one still beats.

use crate::clock::Clock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// How often a thread beats.
const BEAT: Duration = Duration::from_secs(1);

/// The beats of all threads.
#[derive(Clone)]
pub struct Pulse {
    clock: Clock,
    threads: Arc<Mutex<Vec<Weak<AtomicU64>>>>,
}

impl Pulse {
    /// Of nobody yet.
    pub fn new(clock: Clock) -> Self {
        Self { clock, threads: Arc::default() }
    }

    /// The current thread beats from now on, as long as its runtime runs.
    pub(super) fn join(&self) {
        let clock = self.clock.clone();
        let last = Arc::new(AtomicU64::new(clock.uptime().as_secs()));
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&last));
        actix_web::rt::spawn(async move {
            loop {
                last.store(clock.uptime().as_secs(), Ordering::Relaxed);
                tokio::time::sleep(BEAT).await;
            }
        });
    }

    /// Whether every thread that there is has beaten within the last `bound`.
    pub fn is_there(&self, bound: Duration) -> bool {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|last| last.strong_count() > 0);
        let now = self.clock.uptime().as_secs();
        let beats = |last: &Weak<AtomicU64>| {
            last.upgrade().is_none_or(|last| now.saturating_sub(last.load(Ordering::Relaxed)) <= bound.as_secs())
        };
        threads.iter().all(beats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    #[test]
    fn one_thread_that_is_stuck_among_others_is_noticed_and_one_that_ended_is_not_missed() {
        let pulse = Pulse::new(Clock::system());
        let (release, held) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel();
        let threads = [None, Some(held)].map(|held| {
            let (pulse, started) = (pulse.clone(), started.clone());
            std::thread::spawn(move || {
                actix_web::rt::System::new().block_on(async move {
                    pulse.join();
                    started.send(()).unwrap();
                    match held {
                        Some(held) => held.recv().unwrap(),
                        None => tokio::time::sleep(Duration::from_secs(4)).await,
                    }
                });
            })
        });
        (0..2).for_each(|_| start.recv().unwrap());
        assert!(pulse.is_there(Duration::from_secs(1)));
        let end = Instant::now() + Duration::from_secs(20);
        while pulse.is_there(Duration::from_secs(1)) {
            assert!(Instant::now() < end, "the one that is stuck is not noticed");
            std::thread::sleep(Duration::from_millis(50));
        }
        release.send(()).unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(pulse.is_there(Duration::ZERO));
    }
}
