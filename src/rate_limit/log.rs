//! What keeps strangers from filling the log: of the lines that clients can bring about at will, the first few of each
//! kind and second are written, and then how many more there were. Acts that change something are logged one by one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How many lines of one kind are written a second.
const FIRST: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// A count of lines for each kind: a line's text and what it is about, in words of this program, so there are few.
/// Clones count together.
#[derive(Clone, Default)]
pub struct LogLimit(Arc<Mutex<BTreeMap<(&'static str, String), Kind>>>);

struct Kind {
    since: Instant,
    written: u32,
    left_out: u64,
}

impl LogLimit {
    /// Whether to write one more line with this `text` about this. If not, a line within the next second counts it.
    pub fn admits(&self, text: &'static str, about: String) -> bool {
        self.with(text, &about, |kind| {
            if kind.since.elapsed() >= SECOND {
                (kind.since, kind.written) = (Instant::now(), 0);
            }
            if kind.written < FIRST {
                kind.written += 1;
                return true;
            }
            kind.left_out += 1;
            if kind.left_out == 1 {
                tokio::spawn(self.clone().tell(text, about.clone()));
            }
            false
        })
    }

    async fn tell(self, text: &'static str, about: String) {
        sleep(SECOND).await;
        let left_out = self.with(text, &about, |kind| std::mem::take(&mut kind.left_out));
        tracing::info!(text, about, left_out, "more such lines, which were left out");
    }

    fn with<T>(&self, text: &'static str, about: &str, act: impl FnOnce(&mut Kind) -> T) -> T {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Kind { since: Instant::now(), written: 0, left_out: 0 };
        act(kinds.entry((text, about.to_owned())).or_insert_with(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_a_second_are_logged_of_each_kind_and_the_rest_is_counted() {
        let limit = LogLimit::default();
        let logged = |text, about: &str, times| (0..times).filter(|_| limit.admits(text, about.to_owned())).count();
        let left_out = |text, about| limit.with(text, about, |kind| kind.left_out);
        assert_eq!((logged("one", "a", 1000), logged("one", "b", 3), logged("other", "a", 11)), (10, 3, 10));
        assert_eq!((left_out("one", "a"), left_out("one", "b"), left_out("other", "a")), (990, 0, 1));
        sleep(SECOND + Duration::from_millis(1)).await;
        assert_eq!((left_out("one", "a"), left_out("other", "a")), (0, 0), "they were told of");
        assert_eq!(logged("one", "a", 1000), 10);
        sleep(SECOND * 60).await;
        assert_eq!((left_out("one", "a"), logged("one", "a", 1)), (0, 1));
    }
}
