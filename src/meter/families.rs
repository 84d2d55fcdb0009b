//! The series of every metric, and what the library that keeps them needs to be told. A series is made when it is first
//! asked for; from then on it is found without allocating.

use super::list::METRICS;
use super::metric::{Kind, Metric, Values};
use super::{NONE, Names};
use prometheus::core::Collector;
use prometheus::{Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, Opts, Registry};
use prometheus::{Result, TextEncoder};
use std::collections::BTreeMap;

/// All series, by the names of their metrics.
#[derive(Default)]
pub(super) struct Families {
    registry: Registry,
    counters: BTreeMap<&'static str, CounterVec>,
    gauges: BTreeMap<&'static str, GaugeVec>,
    histograms: BTreeMap<&'static str, HistogramVec>,
}

impl Families {
    /// Of all metrics.
    pub(super) fn new() -> Self {
        let mut families = Self::default();
        for metric in METRICS {
            let made = families.add(metric);
            // Names and labels are constants, and a test makes all of them.
            debug_assert!(made.is_ok(), "{made:?}");
        }
        families
    }

    fn add(&mut self, Metric { name, help, kind, labels, buckets }: &'static Metric) -> Result<()> {
        let names: Vec<_> = labels.iter().map(|label| label.name).collect();
        match kind {
            Kind::Counter => {
                let family = CounterVec::new(Opts::new(*name, *help), &names)?;
                self.registry.register(Box::new(family.clone()))?;
                self.counters.insert(name, family);
            }
            Kind::Gauge => {
                let family = GaugeVec::new(Opts::new(*name, *help), &names)?;
                self.registry.register(Box::new(family.clone()))?;
                self.gauges.insert(name, family);
            }
            Kind::Histogram => {
                let options = HistogramOpts::new(*name, *help).buckets(buckets.to_vec());
                let family = HistogramVec::new(options, &names)?;
                self.registry.register(Box::new(family.clone()))?;
                self.histograms.insert(name, family);
            }
        }
        Ok(())
    }

    pub(super) fn counters(&self, metric: &Metric) -> &CounterVec {
        &self.counters[metric.name]
    }

    pub(super) fn gauges(&self, metric: &Metric) -> &GaugeVec {
        &self.gauges[metric.name]
    }

    pub(super) fn histograms(&self, metric: &Metric) -> &HistogramVec {
        &self.histograms[metric.name]
    }

    pub(super) fn counter(&self, metric: &Metric, values: &[&str]) -> Counter {
        check(metric, values);
        self.counters(metric).with_label_values(values)
    }

    pub(super) fn gauge(&self, metric: &Metric, values: &[&str]) -> Gauge {
        self.gauges(metric).with_label_values(values)
    }

    pub(super) fn histogram(&self, metric: &Metric, values: &[&str]) -> Histogram {
        check(metric, values);
        self.histograms(metric).with_label_values(values)
    }

    /// Sets a counter that somebody else counts. Not to be done twice at the same time.
    pub(super) fn raise(&self, metric: &Metric, to: f64) {
        let counter = self.counter(metric, &[]);
        counter.inc_by((to - counter.get()).max(0.0));
    }

    /// The sum of all series of a counter.
    pub(super) fn total(&self, metric: &Metric) -> u64 {
        let families = self.counters(metric).collect();
        let counts =
            families.iter().flat_map(|family| family.get_metric()).map(|series| series.get_counter().get_value());
        counts.sum::<f64>() as u64
    }

    /// Makes each series that can be told beforehand.
    pub(super) fn begin(&self, names: &Names) {
        for metric in METRICS {
            let values: Option<Vec<_>> = metric.labels.iter().map(|label| label.values.all(names)).collect();
            let Some(values) = values else { continue };
            let combined = values.iter().fold(vec![Vec::new()], |begun, words| {
                let with = |word| begun.iter().map(move |before: &Vec<_>| [&before[..], &[word]].concat());
                words.iter().copied().flat_map(with).collect()
            });
            for values in combined {
                match metric.kind {
                    Kind::Counter => drop(self.counter(metric, &values)),
                    Kind::Histogram => drop(self.histogram(metric, &values)),
                    // One that is not known is not 0.
                    Kind::Gauge => {}
                }
            }
        }
    }

    /// Everything, in order.
    pub(super) fn render(&self) -> String {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather());
        text.unwrap_or_default() // it fails for a family without series, and those are left out
    }
}

impl Values {
    /// All of them, where they are known.
    fn all(self, names: &Names) -> Option<Vec<&str>> {
        let services = names.services.iter().map(String::as_str);
        match self {
            Self::Words(words) => Some(words.to_vec()),
            Self::Services => Some(services.collect()),
            Self::ServicesOrNone => Some(services.chain([NONE]).collect()),
            Self::Providers => Some(names.providers.iter().map(String::as_str).collect()),
            Self::Elsewhere => None,
        }
    }
}

/// Finds words that are missing on the list.
fn check(metric: &Metric, values: &[&str]) {
    for (label, value) in metric.labels.iter().zip(values) {
        if let Values::Words(words) = label.values {
            debug_assert!(words.contains(value), "{}: {value} is not on the list", metric.name);
        }
    }
}
