//! What this process counts, for Prometheus: one verb for each event, one list of all metrics. What an event means is
//! left to the one who tells of it; a word for an outcome is text of this code, never of a client or a provider.
//!
//! Each server has a meter of its own instead of one for the process, so that tests can look at one among many. What is
//! counted on every request costs a look-up in a table that never locks; the rest may take a microsecond.

mod handles;
mod list;
mod waits;

pub use list::{File, Kind, METRICS, Metric};

use crate::clock::{Clock, UnixTime};
use arc_swap::ArcSwap;
use handles::Handles;
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What stands in a label for a service or an epoch that is not known.
const NONE: &str = "none";
/// After so many samples the histograms take them in. Until then each lies in a list, which would grow forever where
/// nobody asks for the metrics.
const SAMPLES: u64 = 1024;

static METADATA: Metadata<'static> = Metadata::new("authseal", Level::INFO, None);

/// How many lines of the log were left out. Of the process, since the log begins before any meter.
pub static LOG_LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// Counts. Clones count together.
#[derive(Clone)]
pub struct Meter(Arc<Inner>);

struct Inner {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    clock: Clock,
    started: UnixTime,
    /// The series of each service's refreshes, by epoch and outcome.
    refreshes: HashMap<String, Handles<(Option<u32>, &'static str)>>,
    /// Those of AuthIDs for no service of ours.
    strangers: Handles<(Option<u32>, &'static str)>,
    /// By the hundreds of the status, each by route.
    answers: [Handles<String>; 6],
    seen: ArcSwap<BTreeMap<u32, Arc<AtomicI64>>>,
    /// The states of epochs that were shown once, so that they can be shown to be past.
    states: Mutex<BTreeSet<(u32, &'static str)>>,
    samples: AtomicU64,
}

impl Default for Meter {
    /// A meter that knows no services.
    fn default() -> Self {
        Self::new(Clock::system(), [])
    }
}

impl Meter {
    /// Begins to count. `services` are all that a label may name.
    pub fn new<'a>(clock: Clock, services: impl IntoIterator<Item = &'a str>) -> Self {
        let builder = METRICS.iter().filter(|metric| !metric.buckets.is_empty());
        let builder = builder.fold(PrometheusBuilder::new(), |builder, metric| {
            // Refuses only a histogram without buckets, and those are left out above.
            let with = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), metric.buckets);
            with.unwrap_or_default()
        });
        let recorder = builder.build_recorder();
        for metric in METRICS {
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Histogram => recorder.describe_histogram(name, None, help),
            }
        }
        let started = clock.now();
        let meter = Self(Arc::new(Inner {
            handle: recorder.handle(),
            recorder,
            clock,
            started,
            refreshes: services.into_iter().map(|id| (id.to_owned(), Handles::default())).collect(),
            strangers: Handles::default(),
            answers: Default::default(),
            seen: ArcSwap::default(),
            states: Mutex::default(),
            samples: AtomicU64::new(0),
        }));
        meter.gauge(&list::BUILD, &[env!("CARGO_PKG_VERSION")]).set(1.0);
        meter.gauge(&list::STARTED, &[]).set(seconds(started));
        meter.gauge(&list::UNWRITTEN, &[]).set(0.0);
        meter.waiting(0.0);
        meter
    }

    /// The clock that it goes by.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// When this meter began to count: what was before is unknown.
    pub fn watching_since(&self) -> UnixTime {
        self.0.started
    }

    /// An AuthID came to be exchanged. `epoch` must be one of the keyring's; `None`, like a service of nobody's, for an
    /// AuthID that did not open, which may say of itself what it likes.
    pub fn refreshed(&self, service: Option<&str>, epoch: Option<u32>, outcome: &'static str) {
        let known = service.and_then(|id| self.0.refreshes.get_key_value(id));
        let (service, series) = known.map_or((NONE, &self.0.strangers), |(id, series)| (id, series));
        series.count(&(epoch, outcome), || {
            let epoch = epoch.map_or_else(|| NONE.to_owned(), |epoch| epoch.to_string());
            self.counter(&list::REFRESHES, &[service, &epoch, outcome])
        });
    }

    /// An AuthID of this epoch of the keyring is in use.
    pub fn saw_epoch(&self, epoch: u32) {
        let now = self.0.clock.now();
        if let Some(seen) = self.0.seen.load().get(&epoch) {
            return seen.store(now, Ordering::Relaxed);
        }
        self.0.seen.rcu(|known| {
            let mut known = BTreeMap::clone(known);
            known.entry(epoch).or_default().store(now, Ordering::Relaxed);
            known
        });
    }

    /// When [`Meter::saw_epoch`] was last called for this epoch.
    pub fn last_seen(&self, epoch: u32) -> Option<UnixTime> {
        self.0.seen.load().get(&epoch).map(|time| time.load(Ordering::Relaxed))
    }

    /// A login ended, well or not.
    pub fn login(&self, service: Option<&str>, outcome: &'static str) {
        self.counter(&list::LOGINS, &[self.service(service), outcome]).increment(1);
    }

    /// An AuthID got on its way to Duplicati's page: `waiting`, `relayed`, `fetched` or `clicked`.
    pub fn delivered(&self, way: &'static str) {
        self.counter(&list::DELIVERIES, &[way]).increment(1);
    }

    /// A login was revoked, on the disk or in memory only.
    pub fn revoked(&self, durably: bool) {
        let outcome = if durably { "durable" } else { "not_durable" };
        self.counter(&list::REVOCATIONS, &[outcome]).increment(1);
    }

    /// One request to a provider was answered, or was not.
    pub fn provider_called(&self, provider: &str, outcome: &'static str, seconds: f64) {
        self.observe(&list::PROVIDER_CALLS, &[provider, outcome], seconds);
    }

    /// A login was refreshed that ends of age in so many days.
    pub fn days_left(&self, service: &str, days: i64) {
        self.observe(&list::DAYS_LEFT, &[self.service(Some(service))], seconds(days.max(0)));
    }

    /// The public listener answered. `route` is a pattern of the route table.
    pub fn answered(&self, route: &str, status: u16) {
        let hundreds = usize::from(status / 100);
        if let Some(series) = self.0.answers.get(hundreds) {
            let class = ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"].get(hundreds).copied().unwrap_or(NONE);
            series.count(route, || self.counter(&list::ANSWERS, &[route, class]));
        }
    }

    /// How many connections a listener has, and may have.
    pub fn connections(&self, listener: &'static str, open: usize, max: usize) {
        self.gauge(&list::CONNECTIONS, &[listener]).set(open as f64);
        self.gauge(&list::CONNECTIONS_MAX, &[listener]).set(max as f64);
    }

    /// So many connections more were ended for a reason.
    pub fn connections_ended(&self, reason: &'static str, more: u64) {
        self.counter(&list::CONNECTIONS_ENDED, &[reason]).increment(more);
    }

    /// A store of some kind answered a request, or failed.
    pub fn store_asked(&self, kind: &'static str, verb: &'static str, seconds: f64, well: bool) {
        self.observe(&list::STORE_REQUESTS, &[kind, verb], seconds);
        if !well {
            self.counter(&list::STORE_FAILURES, &[kind, verb]).increment(1);
        }
    }

    /// Fewer replicas of Redis than asked for have a record.
    pub fn store_unacknowledged(&self) {
        self.counter(&list::STORE_UNACKNOWLEDGED, &[]).increment(1);
    }

    /// An exchange for a login whose refresh token changes ended.
    pub fn rotation(&self, outcome: &'static str) {
        self.counter(&list::ROTATIONS, &[outcome]).increment(1);
    }

    /// How many new refresh tokens are not in the store yet.
    pub fn unwritten_rotations(&self, count: usize) {
        self.gauge(&list::UNWRITTEN, &[]).set(count as f64);
    }

    /// The epochs of the keyring, each with its state.
    pub fn keyring(&self, states: &BTreeSet<(u32, &'static str)>) {
        let mut shown = self.0.states.lock().unwrap_or_else(PoisonError::into_inner);
        shown.extend(states);
        for series in shown.iter() {
            let (epoch, state) = series;
            self.gauge(&list::KEYRING_STATES, &[&epoch.to_string(), state]).set(flag(states.contains(series)));
        }
    }

    /// How many rules the denylist has.
    pub fn denylist(&self, rules: usize) {
        self.gauge(&list::DENYLIST_RULES, &[]).set(rules as f64);
    }

    /// When the certificate in force ends.
    pub fn certificate(&self, ends: UnixTime) {
        self.gauge(&list::CERTIFICATE_EXPIRES, &[]).set(seconds(ends));
    }

    /// When what is in force of a file was read, whether it could be read since, and when it was last looked at.
    pub fn file(&self, file: &File, loaded: UnixTime, failed: bool, looked_at: Option<UnixTime>) {
        self.gauge(file.loaded, &[]).set(seconds(loaded));
        self.gauge(file.failed, &[]).set(flag(failed));
        if let Some(time) = looked_at {
            self.gauge(&list::LAST_LOOK, &[file.name]).set(seconds(time));
        }
    }

    /// Whether reading from the store fails, and whether writing to it does.
    pub fn store(&self, reading_fails: bool, writing_fails: bool) {
        self.gauge(&list::STORE_FAILING, &[]).set(flag(reading_fails || writing_fails));
        self.gauge(&list::STORE_READING_FAILS, &[]).set(flag(reading_fails));
        self.gauge(&list::STORE_WRITING_FAILS, &[]).set(flag(writing_fails));
    }

    /// Whether this process was told to end.
    pub fn process(&self, draining: bool) {
        self.gauge(&list::DRAINING, &[]).set(flag(draining));
    }

    /// Everything in Prometheus's text format, version 0.0.4.
    pub fn render(&self) -> String {
        for (epoch, time) in self.0.seen.load().iter() {
            self.gauge(&list::LAST_SEEN, &[&epoch.to_string()]).set(seconds(time.load(Ordering::Relaxed)));
        }
        self.counter(&list::LOG_DROPPED, &[]).absolute(LOG_LINES_DROPPED.load(Ordering::Relaxed));
        self.0.handle.render()
    }

    fn service<'a>(&'a self, id: Option<&str>) -> &'a str {
        id.and_then(|id| self.0.refreshes.get_key_value(id)).map_or(NONE, |(id, _)| id)
    }

    fn counter(&self, metric: &Metric, values: &[&str]) -> Counter {
        self.0.recorder.register_counter(&key(metric, values), &METADATA)
    }

    fn gauge(&self, metric: &Metric, values: &[&str]) -> Gauge {
        self.0.recorder.register_gauge(&key(metric, values), &METADATA)
    }

    fn observe(&self, metric: &Metric, values: &[&str], value: f64) {
        let histogram: Histogram = self.0.recorder.register_histogram(&key(metric, values), &METADATA);
        histogram.record(value);
        if self.0.samples.fetch_add(1, Ordering::Relaxed) % SAMPLES == SAMPLES - 1 {
            self.0.handle.run_upkeep();
        }
    }
}

fn key(metric: &Metric, values: &[&str]) -> Key {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    let labels = metric.labels.iter().zip(values);
    Key::from_parts(
        metric.name,
        labels.map(|(label, value)| Label::new(*label, (*value).to_owned())).collect::<Vec<_>>(),
    )
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Exact for times and days: below 2^53.
fn seconds(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(meter: &Meter, name: &str) -> Vec<String> {
        let text = meter.render();
        let mut lines: Vec<_> = text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn what_happens_is_counted_under_its_labels() {
        let meter = Meter::new(Clock::system(), ["files"]);
        for _ in 0..3 {
            meter.refreshed(Some("files"), Some(2), "cached");
        }
        meter.refreshed(Some("files"), Some(2), "denied");
        meter.refreshed(None, None, "invalid");
        let expected = [
            r#"authseal_refresh_total{service="files",epoch="2",outcome="cached"} 3"#,
            r#"authseal_refresh_total{service="files",epoch="2",outcome="denied"} 1"#,
            r#"authseal_refresh_total{service="none",epoch="none",outcome="invalid"} 1"#,
        ];
        assert_eq!(lines(&meter, "authseal_refresh_total"), expected);
        meter.answered("/refresh", 200);
        meter.answered("/refresh", 204);
        meter.answered("/refresh", 404);
        let expected = [
            r#"authseal_http_answers_total{route="/refresh",class="2xx"} 2"#,
            r#"authseal_http_answers_total{route="/refresh",class="4xx"} 1"#,
        ];
        assert_eq!(lines(&meter, "authseal_http_answers_total"), expected);
    }

    #[test]
    fn a_service_of_nobodys_gets_no_label_of_its_own() {
        let meter = Meter::new(Clock::system(), ["files"]);
        meter.refreshed(Some("made-up"), None, "invalid");
        meter.login(Some("made-up"), "declined");
        meter.days_left("made-up", 3);
        assert!(!meter.render().contains("made-up"));
        assert_eq!(
            lines(&meter, "authseal_logins_total"),
            [r#"authseal_logins_total{service="none",outcome="declined"} 1"#]
        );
    }

    #[test]
    fn an_epoch_is_seen_when_it_was_last_used() {
        let clock = Clock::system();
        let meter = Meter::new(clock.clone(), []);
        assert_eq!((meter.last_seen(1), lines(&meter, "authseal_epoch_last_seen").len()), (None, 0));
        meter.saw_epoch(1);
        let first = meter.last_seen(1).unwrap();
        clock.advance(std::time::Duration::from_secs(100));
        meter.saw_epoch(2);
        assert_eq!(meter.last_seen(1), Some(first));
        meter.saw_epoch(1);
        assert!(meter.last_seen(1).unwrap() >= first + 100 && meter.watching_since() <= first);
        let line =
            format!(r#"authseal_epoch_last_seen_timestamp_seconds{{epoch="1"}} {}"#, meter.last_seen(1).unwrap());
        assert!(lines(&meter, "authseal_epoch_last_seen").contains(&line));
    }

    #[test]
    fn a_state_that_is_past_is_shown_as_past() {
        let meter = Meter::default();
        meter.keyring(&[(1, "primary"), (2, "staged")].into());
        meter.keyring(&[(2, "primary")].into());
        meter.file(&File::KEYRING, 8, true, Some(9));
        let expected = [("1", "primary", 0), ("2", "primary", 1), ("2", "staged", 0)];
        let expected = expected.map(|(epoch, state, is)| {
            format!(r#"authseal_keyring_epoch_state{{epoch="{epoch}",state="{state}"}} {is}"#)
        });
        assert_eq!(lines(&meter, "authseal_keyring_epoch_state"), expected);
        assert_eq!(lines(&meter, "authseal_keyring_load_failed"), ["authseal_keyring_load_failed 1"]);
        let looked = ["authseal_file_last_look_timestamp_seconds{file=\"keyring\"} 9"];
        assert_eq!(lines(&meter, "authseal_file_last_look"), looked);
    }

    #[test]
    fn durations_fall_into_buckets() {
        let meter = Meter::default();
        // Enough to be taken in on the way, and one more.
        for _ in 0..SAMPLES {
            meter.provider_called("example", "ok", 0.07);
        }
        meter.provider_called("example", "ok", 60.0);
        let text = meter.render();
        for end in [r#"bucket{provider="example",outcome="ok",le="0.05"} 0"#, r#"le="0.1"} 1024"#, r#"le="+Inf"} 1025"#]
        {
            assert!(text.contains(end), "{end}\n{text}");
        }
    }

    #[test]
    fn every_metric_has_a_name_of_its_own_and_a_sentence() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        }
    }

    #[test]
    fn the_documentation_lists_every_metric_and_no_other() {
        let page = include_str!("../../docs/monitoring.md");
        for Metric { name, kind, labels, help, .. } in METRICS {
            let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let row = format!("| `{name}` | {} | {labels} | {help} |", kind.word()).replace("|  |", "| |");
            assert!(page.contains(&row), "docs/monitoring.md lacks\n{row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| `authseal_") || line.starts_with("| `process_"));
        let rows = rows.filter(|row| !row.contains(" == ") && !row.contains(" > ")); // alerts have tables, too
        assert_eq!(rows.count(), METRICS.len());
    }
}
