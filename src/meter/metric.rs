//! What a metric is: a name, labels and what they may say, a sentence. Which there are is left to the list.

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many values were at most how large.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What may be the value of a label.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// These words and no others.
    Words(&'static [&'static str]),
    /// The services that are offered.
    Services,
    /// The same, and `none`.
    ServicesOrNone,
    /// The providers of these services.
    Providers,
    /// A closed set as well, which is known only where the metric is counted.
    Elsewhere,
}

/// A label of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What it may say.
    pub values: Values,
}

pub(super) const fn label(name: &'static str, values: Values) -> Label {
    Label { name, values }
}

pub(super) const fn outcome(words: &'static [&'static str]) -> Label {
    label("outcome", Values::Words(words))
}

pub(super) const fn elsewhere(name: &'static str) -> Label {
    label(name, Values::Elsewhere)
}

/// A metric. Its unit is in its name, as is the custom.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its labels. The library tells series apart by their values in this order, one behind the other without anything
    /// in between: so of all labels but the last no value may begin with another.
    pub labels: &'static [Label],
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Of a histogram, the upper ends of its buckets.
    pub(super) buckets: &'static [f64],
}

pub(super) const fn counter(name: &'static str, labels: &'static [Label], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help, buckets: &[] }
}

pub(super) const fn gauge(name: &'static str, labels: &'static [Label], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help, buckets: &[] }
}

pub(super) const fn histogram(
    name: &'static str,
    labels: &'static [Label],
    help: &'static str,
    buckets: &'static [f64],
) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help, buckets }
}
