//! How many descriptors this process may have, and how many of them connections may take.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many descriptors are asked for as any sensible number of connections needs.
const WANTED: u64 = 65_536;
/// What is left for files, the store and providers, beside what each worker needs for itself.
const RESERVE: u64 = 64;
const EACH_WORKER: u64 = 8;
/// Without a word of the operator there are no more connections than this: each may take some 20 KB, with TLS.
const DEFAULT_MAX: u64 = 10_000;

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

/// What the limit on descriptors leaves for connections.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    /// The soft limit.
    pub limit: u64,
    workers: u64,
}

impl Descriptors {
    /// What this process has now, for a server with so many workers.
    pub fn now(workers: usize) -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(WANTED);
        Self { limit, workers: u64::try_from(workers).unwrap_or(1) }
    }

    /// As many connections as are asked for and can be had; 16 at least.
    pub fn connections(&self, asked: Option<u64>) -> usize {
        let most = self.limit.saturating_sub(RESERVE + EACH_WORKER * self.workers).max(16);
        if let Some(asked) = asked.filter(|asked| *asked > most) {
            let limit = self.limit;
            tracing::warn!(asked, most, limit, "the limit on descriptors is too low for `server.max_connections`");
        }
        usize::try_from(asked.unwrap_or(DEFAULT_MAX).min(most)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        let at = |limit, workers| Descriptors { limit, workers };
        assert_eq!(at(256, 2).connections(None), 176);
        assert_eq!(at(1024, 2).connections(None), 944);
        assert_eq!(at(1024, 2).connections(Some(5000)), 944);
        assert_eq!(at(65_536, 8).connections(None), 10_000);
        assert_eq!(at(65_536, 8).connections(Some(60_000)), 60_000);
        assert_eq!(at(64, 64).connections(None), 16);
    }
}
