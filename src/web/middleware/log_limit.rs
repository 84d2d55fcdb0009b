//! A rate limit for log lines, which keeps strangers from filling the log: of what they can bring about at will, the
//! first few lines of each second are written, and then how many more there were.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How many lines of one kind are written a second.
const FIRST: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// Of the process, as the log is. A kind is a route's pattern and a status: there are few.
static KINDS: Mutex<BTreeMap<(String, u16), Kind>> = Mutex::new(BTreeMap::new());

struct Kind {
    since: Instant,
    written: u32,
    left_out: u64,
}

/// Whether to write a line for this answer. If not, a line within the next second counts it.
pub(in crate::web) fn is_to_be_logged(route: &str, status: u16) -> bool {
    with(route, status, |kind| {
        if kind.since.elapsed() >= SECOND {
            (kind.since, kind.written) = (Instant::now(), 0);
        }
        if kind.written < FIRST {
            kind.written += 1;
            return true;
        }
        kind.left_out += 1;
        if kind.left_out == 1 {
            tokio::spawn(tell(route.to_owned(), status));
        }
        false
    })
}

async fn tell(route: String, status: u16) {
    sleep(SECOND).await;
    let left_out = with(&route, status, |kind| std::mem::take(&mut kind.left_out));
    tracing::info!(route, status, left_out, "answered, beside those that were logged");
}

fn with<T>(route: &str, status: u16, act: impl FnOnce(&mut Kind) -> T) -> T {
    let mut kinds = KINDS.lock().unwrap_or_else(PoisonError::into_inner);
    let new = || Kind { since: Instant::now(), written: 0, left_out: 0 };
    act(kinds.entry((route.to_owned(), status)).or_insert_with(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_a_second_are_logged_of_each_kind_and_the_rest_is_counted() {
        let logged = |route, status, times| (0..times).filter(|_| is_to_be_logged(route, status)).count();
        let left_out = |route, status| with(route, status, |kind| kind.left_out);
        assert_eq!((logged("/a", 404, 1000), logged("/a", 405, 3), logged("/b", 404, 11)), (10, 3, 10));
        assert_eq!((left_out("/a", 404), left_out("/a", 405), left_out("/b", 404)), (990, 0, 1));
        sleep(SECOND + Duration::from_millis(1)).await;
        assert_eq!((left_out("/a", 404), left_out("/b", 404)), (0, 0), "they were told of");
        assert_eq!(logged("/a", 404, 1000), 10);
        sleep(SECOND * 60).await;
        assert_eq!((left_out("/a", 404), logged("/a", 404, 1)), (0, 1));
    }
}
