//! What the kernel counts of this process, under the names that Prometheus's own libraries use. What cannot be read is
//! left out: a container may have no `/proc`.

use super::list;
use super::metric::Metric;
use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs;

/// Each metric with its value now.
pub(super) fn values() -> [(&'static Metric, Option<f64>); 6] {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let memory = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    // In pages: all of it, what is in RAM, and more (proc(5)).
    let mut pages = memory.split_ascii_whitespace().map(|pages| pages.parse::<f64>().ok());
    let mut bytes = || Some(pages.next()?? * page_size() as f64);
    let entries = |folder| Some(fs::read_dir(folder).ok()?.count());
    [
        (&list::CPU, Some(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9)),
        (&list::VIRTUAL, bytes()),
        (&list::RESIDENT, bytes()),
        // Less the one for looking.
        (&list::OPEN_FDS, entries("/proc/self/fd").map(|open| open.saturating_sub(1) as f64)),
        (&list::MAX_FDS, getrlimit(Resource::Nofile).current.map(|most| most as f64)),
        (&list::THREADS, entries("/proc/self/task").map(|threads| threads as f64)),
    ]
}
