//! The limit of file descriptors of this process, and how many of them connections may take.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many descriptors are asked for as any sensible number of connections needs.
const WANTED: u64 = 65_536;
/// What is left for files and the store, beside what each worker needs for itself.
const RESERVE: u64 = 64;
/// One in so many is left for providers: one of them alone may take half of these.
const PROVIDERS: u64 = 8;
const EACH_WORKER: u64 = 8;
/// Without a word of the operator there are no more connections than this: each may take some 20 KB.
const DEFAULT_MAX: u64 = 16_384;

/// Raises the soft limit on descriptors as far as this process may, to 65,536 at most. systemd and shells give 1,024.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
    {
        tracing::warn!(%error, "the limit on descriptors could not be raised");
    }
}

/// As many connections as are `asked` for and the limit on descriptors leaves to a server with so many workers; 16 at
/// least.
pub fn max_connections(asked: Option<u64>, workers: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(WANTED);
    let most = most(limit, workers);
    if let Some(asked) = asked.filter(|asked| *asked > most) {
        tracing::warn!(asked, most, limit, "the limit on descriptors is too low for `server.max_connections`");
    }
    usize::try_from(asked.unwrap_or(DEFAULT_MAX).min(most)).unwrap_or(usize::MAX)
}

fn most(limit: u64, workers: usize) -> u64 {
    let workers = u64::try_from(workers).unwrap_or(u64::MAX);
    let kept = RESERVE + limit / PROVIDERS;
    limit.saturating_sub(kept).saturating_sub(EACH_WORKER.saturating_mul(workers)).max(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        assert_eq!((most(256, 2), most(1024, 2), most(65_536, 8), most(64, 64)), (144, 816, 57_216, 16));
        assert_eq!(max_connections(Some(100), 2), 100);
        assert!(max_connections(None, 2) <= 16_384);
    }
}
