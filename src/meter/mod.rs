//! What this process counts, for Prometheus: one verb for each event, one list of all metrics. What an event means is
//! left to the one who tells of it; a word for an outcome is text of this code, never of a client or a provider.
//!
//! Each server has a meter of its own instead of one for the process, so that tests can look at one among many. What is
//! counted on every request costs a look-up in a table and no allocation.

mod epochs;
mod families;
mod file;
mod lately;
mod list;
mod metric;
mod names;
mod process;
mod replication;
mod repetition;
mod store;
mod waits;
mod usage;
mod words;

pub use file::File;
pub use lately::{ALARMS, Alarm, Alarms, Calls};
pub use list::METRICS;
pub use metric::{Kind, Label, Metric, Values};
pub use names::Names;
pub use repetition::Repetition;

use crate::clock::{Clock, UnixTime};
use arc_swap::ArcSwap;
use families::Families;
use itoa::Buffer;
use prometheus::{CounterVec, GaugeVec, HistogramVec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a label says for a service or an epoch that is not known.
const NONE: &str = "none";
/// And for a method that HTTP does not define.
const OTHER: &str = "other";

/// How many lines of the log were left out. Of the process, since the log begins before any meter.
pub static LOG_LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// Counts. Clones count together.
#[derive(Clone)]
pub struct Meter(Arc<Inner>);

struct Inner {
    families: Families,
    // What every request is counted in, found once.
    answers: CounterVec,
    refreshes: CounterVec,
    refresh_time: HistogramVec,
    last_seen: GaugeVec,
    clock: Clock,
    started: UnixTime,
    names: ArcSwap<Names>,
    providers: lately::Providers,
    /// The states of epochs that were shown once, so that they can be shown to be past. Held while all is shown.
    states: Mutex<BTreeSet<(u32, &'static str)>>,
}

impl Default for Meter {
    /// A meter that knows no services.
    fn default() -> Self {
        Self::new(Clock::system(), Names::default())
    }
}

impl Meter {
    /// Begins to count. `names` are all that a label may name.
    pub fn new(clock: Clock, names: Names) -> Self {
        let families = Families::new();
        for word in words::UNOPENED {
            families.counter(&list::REFRESHES, &[NONE, word, NONE]);
        }
        let started = clock.now();
        families.gauge(&list::BUILD, &[env!("CARGO_PKG_VERSION")]).set(1.0);
        families.gauge(&list::STARTED, &[]).set(seconds(started));
        families.gauge(&list::UNWRITTEN, &[]).set(0.0);
        families.gauge(&waits::WAITING, &[]).set(0.0);
        let meter = Self(Arc::new(Inner {
            answers: families.counters(&list::ANSWERS).clone(),
            refreshes: families.counters(&list::REFRESHES).clone(),
            refresh_time: families.histograms(&list::REFRESH_TIME).clone(),
            last_seen: families.gauges(&list::LAST_SEEN).clone(),
            families,
            clock,
            started,
            names: ArcSwap::default(),
            providers: <_>::default(),
            states: Mutex::default(),
        }));
        meter.rename(names);
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

    /// An AuthID came to be exchanged, and that took so long. `epoch` must be one of the keyring's; `None`, like a
    /// service of nobody's, for an AuthID that did not open, which may say of itself what it likes.
    pub fn refreshed(&self, service: Option<&str>, epoch: Option<u32>, outcome: &'static str, took: Duration) {
        let mut buffer = Buffer::new();
        let epoch = epoch.map_or(NONE, |epoch| buffer.format(epoch));
        self.0.refreshes.with_label_values(&[epoch, outcome, self.service(service)]).inc();
        self.0.refresh_time.with_label_values(&[outcome]).observe(took.as_secs_f64());
    }

    /// A login ended, well or not.
    pub fn login(&self, service: Option<&str>, outcome: &'static str) {
        self.count(&list::LOGINS, &[outcome, self.service(service)]);
    }

    /// An AuthID got on its way to Duplicati's page: `waiting`, `relayed`, `fetched` or `clicked`.
    pub fn delivered(&self, way: &'static str) {
        self.count(&list::DELIVERIES, &[way]);
    }

    /// A login was revoked, on the disk or in memory only.
    pub fn revoked(&self, durably: bool) {
        let outcome = if durably { "durable" } else { "not_durable" };
        self.count(&list::REVOCATIONS, &[outcome]);
    }

    /// One request to a provider was answered, or was not.
    pub fn provider_called(&self, provider: &str, outcome: &'static str, seconds: f64) {
        self.observe(&list::PROVIDER_CALLS, &[outcome, provider], seconds);
        self.0.providers.called(provider, outcome, self.0.clock.now());
    }

    /// The last calls to each provider that was called.
    pub fn providers(&self) -> BTreeMap<String, Calls> {
        self.0.providers.all()
    }

    /// When the secrets of clients end, where the configuration tells.
    pub fn secrets(&self) -> BTreeMap<String, UnixTime> {
        self.0.names.load().secrets.clone()
    }

    /// A login was refreshed that expires in so many days.
    pub fn days_left(&self, service: &str, days: i64) {
        let service = self.service(Some(service));
        self.observe(&list::DAYS_LEFT, &[service], seconds(days.max(0) * 86_400));
    }

    /// The public listener has this route: what goes wrong there is counted from 0 on.
    pub fn route(&self, route: &str, methods: &str) {
        for method in methods.split(", ") {
            for code in words::SERVER_ERRORS {
                self.0.families.counter(&list::ANSWERS, &[method, code, route]);
            }
        }
    }

    /// The public listener answered. `route` is a pattern of the route table, `code` the status.
    pub fn answered(&self, route: &str, method: &str, code: &str) {
        self.0.answers.with_label_values(&[self::method(method), code, route]).inc();
    }

    /// How many requests the public listener has answered.
    pub fn answers(&self) -> u64 {
        self.0.families.total(&list::ANSWERS)
    }

    /// How many connections a listener has, and may have.
    pub fn connections(&self, listener: &'static str, open: usize, max: usize) {
        self.set(&list::CONNECTIONS, &[listener], open as f64);
        self.set(&list::CONNECTIONS_MAX, &[listener], max as f64);
    }

    /// A connection was ended for a reason, or its request could not be read.
    pub fn connection_ended(&self, reason: &'static str) {
        self.count(&list::CONNECTIONS_ENDED, &[reason]);
    }

    /// An exchange for a login whose refresh token changes ended.
    pub fn rotation(&self, outcome: &'static str) {
        self.count(&list::ROTATIONS, &[outcome]);
    }

    /// How many new refresh tokens are not in the store yet.
    pub fn unwritten_rotations(&self, count: usize) {
        self.set(&list::UNWRITTEN, &[], count as f64);
    }

    /// How many rules the denylist has.
    pub fn denylist(&self, rules: usize) {
        self.set(&list::DENYLIST_RULES, &[], rules as f64);
    }

    /// When the certificate in force ends.
    pub fn certificate(&self, ends: UnixTime) {
        self.set(&list::CERTIFICATE_EXPIRES, &[], seconds(ends));
    }

    /// An order of a certificate ended.
    pub fn acme_order(&self, outcome: &'static str) {
        self.count(&list::ACME_ORDERS, &[outcome]);
    }

    /// When a certificate will be ordered next.
    pub fn acme_next(&self, next: UnixTime) {
        self.set(&list::ACME_NEXT, &[], seconds(next));
    }

    /// When what is in force of a file was read, whether it could be read since, and when it was last looked at.
    pub fn file(&self, file: &File, loaded: UnixTime, failed: bool, looked_at: Option<UnixTime>) {
        self.set(file.loaded, &[], seconds(loaded));
        self.set(file.failed, &[], flag(failed));
        if let Some(time) = looked_at {
            self.set(&list::LAST_LOOK, &[file.name], seconds(time));
        }
    }

    /// Whether reading from the store fails, and whether writing to it does.
    pub fn store(&self, reading_fails: bool, writing_fails: bool) {
        self.set(&list::STORE_FAILING, &[], flag(reading_fails || writing_fails));
        self.set(&list::STORE_READING_FAILS, &[], flag(reading_fails));
        self.set(&list::STORE_WRITING_FAILS, &[], flag(writing_fails));
    }

    /// Whether this process was told to end.
    pub fn process(&self, draining: bool) {
        self.set(&list::DRAINING, &[], flag(draining));
    }

    /// Everything in Prometheus's text format, version 0.0.4, in order.
    pub fn render(&self) -> String {
        let _one_at_a_time = self.states();
        let families = &self.0.families;
        families.raise(&list::LOG_DROPPED, LOG_LINES_DROPPED.load(Ordering::Relaxed) as f64);
        for (metric, value) in process::values().into_iter().filter_map(|(metric, value)| Some((metric, value?))) {
            match metric.kind {
                Kind::Counter => families.raise(metric, value),
                _ => families.gauge(metric, &[]).set(value),
            }
        }
        families.render()
    }

    fn states(&self) -> MutexGuard<'_, BTreeSet<(u32, &'static str)>> {
        self.0.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, metric: &Metric, values: &[&str]) {
        self.0.families.counter(metric, values).inc();
    }

    fn set(&self, metric: &Metric, values: &[&str], value: f64) {
        self.0.families.gauge(metric, values).set(value);
    }

    fn observe(&self, metric: &Metric, values: &[&str], value: f64) {
        self.0.families.histogram(metric, values).observe(value);
    }
}

/// A method as it is named in labels and in the log: anybody can make one up.
pub fn method(name: &str) -> &'static str {
    words::METHODS.into_iter().find(|known| *known == name).unwrap_or(OTHER)
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

    /// One service, of one provider.
    fn files() -> Names {
        let [services, providers] = ["files", "example"].map(|name| BTreeSet::from([name.to_owned()]));
        let others = BTreeSet::from(["ended".to_owned()]);
        Names {
            services,
            others,
            providers,
            secrets: std::collections::BTreeMap::from([("example".to_owned(), 86_400)]),
        }
    }

    fn lines(meter: &Meter, name: &str) -> Vec<String> {
        let text = meter.render();
        let mut lines: Vec<_> = text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Those of the lines that count something.
    fn counts(meter: &Meter, name: &str) -> Vec<String> {
        lines(meter, name).into_iter().filter(|line| !line.ends_with(" 0")).collect()
    }

    #[test]
    fn what_happens_is_counted_under_its_labels() {
        let meter = Meter::new(Clock::system(), files());
        let took = Duration::from_millis(7);
        for _ in 0..3 {
            meter.refreshed(Some("files"), Some(2), "cached", took);
        }
        meter.refreshed(Some("files"), Some(2), "denied", took);
        meter.refreshed(None, None, "invalid", took);
        let expected = [
            r#"authseal_refresh_total{epoch="2",outcome="cached",service="files"} 3"#,
            r#"authseal_refresh_total{epoch="2",outcome="denied",service="files"} 1"#,
            r#"authseal_refresh_total{epoch="none",outcome="invalid",service="none"} 1"#,
        ];
        assert_eq!(counts(&meter, "authseal_refresh_total"), expected);
        let took = |end: &str| format!(r#"authseal_refresh_seconds_bucket{{outcome="cached",le="{end}"}}"#);
        for (end, count) in [("0.005", 0), ("0.01", 3), ("60", 3), ("+Inf", 3)] {
            assert_eq!(lines(&meter, &took(end)), [format!("{} {count}", took(end))]);
        }
        meter.answered("/refresh", "GET", "200");
        meter.answered("/refresh", "POST", "204");
        meter.answered("/refresh", "GET", "404");
        meter.answered("/refresh", "BREW", "405");
        let expected = [("200", "GET"), ("204", "POST"), ("404", "GET"), ("405", "other")].map(|(code, method)| {
            format!(r#"authseal_http_answers_total{{code="{code}",method="{method}",route="/refresh"}} 1"#)
        });
        assert_eq!((counts(&meter, "authseal_http_answers_total"), meter.answers()), (expected.to_vec(), 4));
    }

    #[test]
    fn all_that_can_be_told_beforehand_is_there_from_the_start() {
        let meter = Meter::new(Clock::system(), files());
        meter.has_store("dir");
        meter.route("/refresh", "GET, POST");
        meter.keyring(&[(3, "retired"), (12, "open"), (13, "primary"), (14, "staged")].into());
        let text = meter.render();
        for series in [
            r#"authseal_refresh_total{epoch="none",outcome="no_key",service="none"}"#,
            r#"authseal_refresh_total{epoch="12",outcome="operator",service="files"}"#,
            r#"authseal_refresh_total{epoch="14",outcome="gone",service="ended"}"#,
            r#"authseal_refresh_seconds_count{outcome="timed_out"}"#,
            r#"authseal_epoch_last_seen_timestamp_seconds{epoch="12"}"#,
            r#"authseal_logins_total{outcome="bad_state",service="none"}"#,
            r#"authseal_logins_total{outcome="done",service="files"}"#,
            r#"authseal_revocations_total{outcome="not_durable"}"#,
            r#"authseal_deliveries_total{way="relayed"}"#,
            r#"authseal_provider_call_seconds_bucket{outcome="busy",provider="example",le="5"}"#,
            r#"authseal_login_time_left_seconds_bucket{service="files",le="1209600"}"#,
            r#"authseal_http_answers_total{code="503",method="POST",route="/refresh"}"#,
            r#"authseal_connections_ended_total{reason="crowded"}"#,
            r#"authseal_store_request_seconds_count{kind="dir",verb="swap"}"#,
            r#"authseal_store_failures_total{kind="dir",verb="read"}"#,
            r#"authseal_store_unacknowledged_total"#,
            r#"authseal_rotations_total{outcome="held_off"}"#,
            r#"authseal_unwritten_rotations"#,
        ] {
            assert!(text.contains(&format!("\n{series} 0\n")), "{series}\n{text}");
        }
        assert!(!text.contains(r#"{epoch="3",outcome"#), "nothing of a retired epoch opens");
        let end = r#"authseal_client_secret_expires_timestamp_seconds{client="example"} 86400"#;
        assert_eq!(lines(&meter, "authseal_client_secret_expires"), [end]);
        for line in text.lines().filter(|line| line.starts_with("process_")) {
            assert!(line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() > 0.0, "{line}");
        }
        let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert!(families.is_sorted() && families.len() > 15);
        assert_eq!(text.lines().filter(|line| line.starts_with("process_")).count(), 7);
    }

    #[test]
    fn series_are_told_apart_by_the_values_of_their_labels() {
        for metric in METRICS {
            for label in metric.labels.split_last().map_or(&[][..], |(_, before)| before) {
                let words: Vec<_> = match label.values {
                    Values::Words(words) => words.to_vec(),
                    Values::Elsewhere => match label.name {
                        // Digits alone or `none`; three digits; what begins with a letter comes behind. Eight characters.
                        "epoch" | "code" | "app" => vec![],
                        "outcome" => words::REFRESHES.to_vec(),
                        "method" => [&words::METHODS[..], &[OTHER]].concat(),
                        "kind" => vec!["memory", "dir", "redis"],
                        other => panic!("{}: {other}", metric.name),
                    },
                    _ => panic!("{}: a service or provider is to be the last label", metric.name),
                };
                for (one, other) in words.iter().flat_map(|one| words.iter().map(move |other| (one, other))) {
                    assert!(one == other || !one.starts_with(other), "{}: {one}, {other}", metric.name);
                }
            }
        }
        let meter = Meter::default();
        meter.refreshed(None, Some(1), "cached", Duration::ZERO);
        meter.refreshed(None, Some(11), "cached", Duration::ZERO);
        assert_eq!(counts(&meter, "authseal_refresh_total").len(), 2);
    }

    #[test]
    fn a_service_of_nobodys_gets_no_label_of_its_own() {
        let meter = Meter::new(Clock::system(), files());
        meter.refreshed(Some("made-up"), None, "invalid", Duration::ZERO);
        meter.login(Some("made-up"), "declined");
        meter.days_left("made-up", 3);
        assert!(!meter.render().contains("made-up"));
        let expected = [r#"authseal_logins_total{outcome="declined",service="none"} 1"#];
        assert_eq!(counts(&meter, "authseal_logins_total"), expected);
    }

    #[test]
    fn an_epoch_is_seen_when_it_was_last_used() {
        let clock = Clock::system();
        let meter = Meter::new(clock.clone(), Names::default());
        assert_eq!(meter.last_seen(1), None);
        meter.saw_epoch(1);
        let first = meter.last_seen(1).unwrap();
        clock.advance(Duration::from_secs(100));
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
        for seconds in [0.07, 0.07, 60.0, 100.0] {
            meter.provider_called("example", "ok", seconds);
        }
        let text = meter.render();
        for end in [r#"bucket{outcome="ok",provider="example",le="0.05"} 0"#, r#"le="0.1"} 2"#, r#"le="+Inf"} 4"#] {
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
            let labels = labels.iter().map(|label| format!("`{}`", label.name)).collect::<Vec<_>>().join(", ");
            let row = format!("| `{name}` | {} | {labels} | {help} |", kind.label()).replace("|  |", "| |");
            assert!(page.contains(&row), "docs/monitoring.md lacks\n{row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| `authseal_") || line.starts_with("| `process_"));
        let rows = rows.filter(|row| !row.contains(" == ") && !row.contains(" > ")); // alerts have tables, too
        assert_eq!(rows.count(), METRICS.len());
    }
}
